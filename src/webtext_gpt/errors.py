"""The exceptions that mean "what you gave us cannot be used" and "you asked us to stop"."""

EXIT_PREEMPTED = 75
"""Of a run that a signal of the system ended after saving: EX_TEMPFAIL, "try again later"."""


class UserError(ValueError):
    """Bad input: the message names the file, key or row, what was found, and what to do.

    Entry points print it on one screen and exit with code 1; anything else is a defect of ours
    and keeps its traceback.

    Attributes:
        exit_code: of the process.
    """

    exit_code = 1


class Stopped(UserError):  # noqa: N818 - nothing went wrong
    """A run was asked to stop, by all its processes' agreement, and is saved.

    Args:
        message: what was saved and how to go on.
        exit_code: `EXIT_PREEMPTED` where the system asked, 1 where its user did.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code
