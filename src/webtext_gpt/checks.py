"""Settings that come from a command line: of the right kind, and in range."""

from webtext_gpt.errors import UserError


def whole_number(name: str, value: object, least: int) -> None:
    """Refuse what is no whole number of at least `least`.

    Raises:
        UserError: names the setting.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UserError(f"{name}={value} must be a whole number, {least} or above")


def number(name: str, value: object) -> float:
    """The value as a float.

    Raises:
        UserError: it is no number; names the setting.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{name}={value} must be a number")
    return float(value)
