"""The one exception that means "what you gave us cannot be used"."""


class UserError(ValueError):
    """Bad input: the message names the file, key or row, what was found, and what to do.

    Entry points print it on one screen and exit with code 1; anything else is a defect of ours
    and keeps its traceback.
    """
