"""Exceptions for bad input and for a requested stop."""

EXIT_PREEMPTED = 75
"""Exit code of a run that saved and stopped after a system signal: EX_TEMPFAIL."""


class UserError(ValueError):
    """Bad input. The message names the file, key or row, what was found, and what to do.

    Entry points print the message and exit. Other exceptions are bugs and keep their traceback.

    Attributes:
        exit_code: exit code of the process.
    """

    exit_code = 1


class Stopped(UserError):  # noqa: N818 - not an error
    """All processes of a run agreed to stop, and the run is saved.

    Args:
        message: what was saved and how to resume.
        exit_code: `EXIT_PREEMPTED` if the system asked, 1 if the user did.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code
