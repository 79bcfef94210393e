"""Exceptions for bad input and for a requested stop."""

EXIT_PREEMPTED = 75
"""Exit code of a run that a system signal stopped after saving: EX_TEMPFAIL."""


class UserError(ValueError):
    """Bad input. The message names the file, key or row, what was found, and what to do.

    Entry points print the message and exit. Other exceptions are bugs and keep their traceback.

    Attributes:
        exit_code: exit code of the process.
    """

    exit_code = 1


class Stopped(UserError):  # noqa: N818 - not an error
    """All processes of a run have agreed to stop, and its state is saved.

    Args:
        message: what was saved and how to resume.
        exit_code: `EXIT_PREEMPTED` after a system signal, 1 after Ctrl-C.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code
