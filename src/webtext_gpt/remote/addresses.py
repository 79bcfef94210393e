"""Addresses as the user gives them, and the paths in the cache that correspond to them."""

import os
import re
from pathlib import Path

from webtext_gpt.errors import UserError

PATTERN_CHARACTERS = "*?["
"""Characters of a glob pattern."""

REMOTE = "remote"
"""Folder of the cache that holds copies of remote files, and folders that are being made."""
UNFINISHED = "unfinished"
"""Folder in it with the folders that are made here and not uploaded yet."""

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.:-]*://")


def is_address(given: object) -> bool:
    """Return whether a text is an address in an object store: `SCHEME://...`, except `file://`."""
    return isinstance(given, str) and bool(_ADDRESS.match(given)) and given[:7] != "file://"


def under(folder: str, name: str) -> str:
    """Return the path or address of a file or folder in a folder, which may be an address."""
    return f"{folder.rstrip('/')}/{name}" if is_address(folder) else str(Path(folder) / name)


def checked_address(given: str, key: str = "") -> str:
    """Return an address without slashes at its end.

    Raises:
        UserError: it holds a password or a query, which would be recorded; it chains stores; or
            it has empty or dotted parts, which cannot be folders of the cache.
    """
    scheme, _, rest = given.partition("://")
    named = f"{key}=" if key else ""
    host, _, path = rest.partition("/")
    if "@" in host:
        raise UserError(
            f"{named}{scheme}://***@{host.rpartition('@')[2]}/{path}: an address is recorded, so "
            "it must not hold a user or password; give them in the environment"
        )
    if scheme.startswith("http") and "?" in rest:
        raise UserError(
            f"{named}{scheme}://{rest.partition('?')[0]}?...: the part after ? may hold a secret, "
            "and addresses are recorded; download the file first"
        )
    if ":" in scheme:
        raise UserError(f"{named}{given}: give one address, without ::")
    parts = rest.rstrip("/").split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise UserError(
            f"{named}{given}: an address is SCHEME://BUCKET/FOLDER, and no part of it may be "
            "empty, . or .."
        )
    return f"{scheme}://{'/'.join(parts)}"


def remote_cache() -> Path:
    """Return the folder `REMOTE` of the cache that `WEBTEXT_GPT_CACHE` names, or of the default."""
    from webtext_gpt.settings.run import cache_folder

    return Path(cache_folder()).expanduser().absolute() / REMOTE


def mirrored(address: str, key: str = "") -> Path:
    """Return the path in the cache that corresponds to an address. Nothing is read."""
    scheme, _, rest = checked_address(address, key).partition("://")
    return remote_cache().joinpath(scheme.lower(), *rest.split("/"))


def unsupported(given: str, key: str = "") -> UserError:
    """Return the error for an address where only a path of this machine can be used."""
    scheme = given.partition("://")[0]
    shown = f"{key}={given}" if key else given
    if "@" in given:
        shown = f"{key or 'a path'}: an address {scheme}://"
    return UserError(
        f"{shown} is an address, but a path on this machine is needed here; only data is read "
        "from and written to object stores. Copy the file or folder with the store's own tool, "
        "and name the copy"
    )


def refuse_address_as_folder(path: Path, key: str) -> None:
    """Refuse a path that an address became: `s3:/bucket` for `s3://bucket`."""
    first, *rest = path.parts or ("",)
    is_scheme = re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:", first)
    if rest and is_scheme and not os.path.lexists(first):
        raise unsupported(f"{first}//{'/'.join(rest)}", key)
