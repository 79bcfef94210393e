"""Exceptions that an entry point reports without a traceback."""

EXIT_PREEMPTED = 75
"""Exit code of a run that was saved and ended by a signal of the system: EX_TEMPFAIL, try again."""


class UserError(ValueError):
    """Invalid input. The message names the file, key or row, what was found, and what to do.

    Entry points print the message and exit. Any other exception is a bug of ours and keeps its
    traceback.

    Attributes:
        exit_code: exit code of the process.
    """

    exit_code = 1


class Stopped(UserError):  # noqa: N818 - not an error
    """A run was asked to stop: all its processes agreed, and it is saved.

    Args:
        message: what was saved and how to resume.
        exit_code: `EXIT_PREEMPTED` if the system asked, 1 if the user did.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code
