"""Access to object stores by fsspec, with short timeouts, and errors with address and cause."""

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from webtext_gpt.errors import UserError, causes
from webtext_gpt.remote.addresses import checked_address

CONTACT_SECONDS = 20.0
"""Longest wait for the first answer of a store."""
CONNECT_SECONDS, READ_SECONDS = 4, 5
"""Longest waits of one attempt for a connection, and for the next bytes of a transfer."""
ATTEMPTS = 2
"""Attempts of botocore, and of s3fs around it: four, so that a stalled transfer ends in 25 s."""

_LIBRARIES = {
    *("aiobotocore", "aiohttp", "asyncio", "botocore", "fsspec", "gcsfs", "google", "httpcore"),
    *("httpcore2", "httpx", "httpx2", "huggingface_hub", "requests", "s3fs", "urllib3"),
}
_OF_THIS_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE}
_NO_CREDENTIALS = {"NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError"}
_UNREACHABLE = {
    *("EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ConnectError"),
    *("ConnectionClosedError", "ClientConnectorError", "ConnectTimeout", "ReadTimeout"),
    *("ConnectionError", "gaierror", "TimeoutError", "LocalEntryNotFoundError", "FSTimeoutError"),
}

Result = TypeVar("Result")


def open_store(address: str, key: str = "") -> tuple[Any, str]:
    """Return the file system of an address (`fsspec.AbstractFileSystem`) and the path in it.

    Raises:
        UserError: the address is malformed, or of an unknown kind; or the package for its kind is
            not installed.
    """
    import fsspec

    from webtext_gpt.extras import missing_extra

    address = checked_address(address, key)
    scheme = address.partition("://")[0]
    if scheme not in fsspec.available_protocols():
        raise UserError(
            f"{f'{key}=' if key else ''}{address}: no kind of address begins with {scheme}://; "
            "s3://, gs:// and hf:// are some that do"
        )
    try:
        with reaching(address):
            store, path = fsspec.core.url_to_fs(address, **_short_waits(scheme))
    except ImportError as error:
        raise UserError(f"{address}: {missing_extra(error) or error}") from error
    if hasattr(store, "retries"):  # s3fs, beside botocore's own
        store.retries = ATTEMPTS
    return store, path


def _short_waits(scheme: str) -> dict[str, Any]:
    """Return options with short time limits; those in `FSSPEC_S3` take precedence."""
    import fsspec

    if scheme not in ("s3", "s3a"):
        return {}
    given = fsspec.config.conf.get(scheme, {}).get("config_kwargs", {})
    waits = {"connect_timeout": CONNECT_SECONDS, "read_timeout": READ_SECONDS,
             "retries": {"total_max_attempts": ATTEMPTS}}  # fmt: skip
    return {"config_kwargs": {**waits, **given}}


@contextmanager
def reaching(address: str) -> Iterator[None]:
    """Report an error of a store inside the block as a `UserError` with address and cause."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        library = type(error).__module__.partition(".")[0]
        is_local = isinstance(error, OSError) and error.errno in _OF_THIS_MACHINE
        if is_local or not (isinstance(error, OSError) or library in _LIBRARIES):
            raise
        raise UserError(f"{address}: {_cause(error, address)}") from error


def first_answer(address: str, question: Callable[[], Result]) -> Result:
    """Return the answer of a store to a first, small question.

    `FileNotFoundError` is an answer, and is raised as it is.

    Raises:
        UserError: the store refuses, or does not answer within `CONTACT_SECONDS`.
    """
    answers: list[Result] = []
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            answers.append(question())
        except BaseException as error:  # raised below, in the thread that waits
            errors.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(CONTACT_SECONDS)
    with reaching(address):
        if errors:
            if isinstance(errors[0], FileNotFoundError):
                return _not_there(errors[0])
            raise errors[0]
        if not answers:
            raise UserError(
                f"{address}: the store does not answer within {CONTACT_SECONDS:.0f} seconds; check "
                f"the network{_endpoint(address)}"
            )
    return answers[0]


def _not_there(error: FileNotFoundError) -> Any:
    raise NotThereError(str(error)) from error


class NotThereError(Exception):
    """A store has no such file or bucket; the message is the store's."""


def _cause(error: BaseException, address: str) -> str:
    """Return why a request to a store failed, and what to do."""
    names = {kind.__name__ for each in causes(error) for kind in type(each).__mro__}
    lines = str(error).strip().splitlines()
    said = lines[0].rstrip(".") if lines else type(error).__name__
    if names & _NO_CREDENTIALS:
        public = ", or FSSPEC_S3='{\"anon\": true}' for a public bucket"
        return (
            "no credentials are found; they come from the environment or the configuration of the "
            f"store's own tool{public if address.startswith('s3') else ''}"
        )
    if names & _UNREACHABLE:
        return f"the host cannot be reached ({said}); check the network{_endpoint(address)}"
    if isinstance(error, PermissionError):
        return f"access is refused ({said}); check the credentials in the environment"
    if isinstance(error, FileNotFoundError):
        return absence_of(str(error))
    return said


def absence_of(said: str) -> str:
    """Return the end of a message about an address under which a store has nothing."""
    return f"does not exist ({said.rstrip('.')})" if " " in said else "does not exist"


def _endpoint(address: str) -> str:
    """Return the S3 endpoint that the environment sets, for a message, or an empty text."""
    found = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if not found or not address.startswith("s3"):
        return ""
    host = found.partition("://")[2].rpartition("@")[2]
    return f" and AWS_ENDPOINT_URL, which names {host}"
