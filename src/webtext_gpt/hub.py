"""Access to Hugging Face's hub, and explanations of failed downloads."""

import contextlib
import functools
import os
import re
import socket
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from webtext_gpt.errors import causes
from webtext_gpt.paths import local_path

TIMEOUT = 3.0
"""Seconds within which the hub has to accept a connection."""
OFFLINE_MODULES = ("huggingface_hub.constants", "datasets.config")
"""Modules with a constant `HF_HUB_OFFLINE`, which makes their libraries use earlier downloads."""

NAME = re.compile(r"(?:[A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]*")

UNREACHABLE = {
    *("ConnectionError", "ConnectError", "ConnectTimeout", "ReadTimeout", "TimeoutError"),
    *("LocalEntryNotFoundError", "gaierror"),
}
"""Classes of errors, of several libraries, that mean that there is no connection."""

REASONS = {
    "GatedRepoError": "its owner gives access on request: ask for it at huggingface.co, then log "
    "in with hf auth login",
    "RepositoryNotFoundError": "the hub has nothing of that name, or it is private",
    "DatasetNotFoundError": "the hub has no dataset of that name, or it is private",
    "RevisionNotFoundError": "it has no such revision",
    "HFValidationError": "no file, folder or dataset on the hub can have that name",
}


@functools.cache
def can_connect() -> bool:
    """Return whether the hub accepts connections, tested once; behind a proxy, assume so."""
    if urllib.request.getproxies():
        return True
    address = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
    port = address.port or (80 if address.scheme == "http" else 443)
    try:
        socket.create_connection((address.hostname or "", port), TIMEOUT).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def hub_access() -> Iterator[None]:
    """Use only earlier downloads in the block if the hub cannot be reached.

    Hugging Face's libraries, which have to be imported by now, would retry for half a minute first.
    """
    modules: list[Any] = [sys.modules[name] for name in OFFLINE_MODULES if name in sys.modules]
    before = [module.HF_HUB_OFFLINE for module in modules]
    offline = not all(before) and not can_connect()
    try:
        for module in modules if offline else ():
            module.HF_HUB_OFFLINE = True
        yield
    finally:
        for module, value in zip(modules, before, strict=True):
            module.HF_HUB_OFFLINE = value


def may_be_on_hub(name: str | Path) -> bool:
    """Return whether a name has the form OWNER/NAME or NAME, and its first folder is not here."""
    text = str(name)
    return NAME.fullmatch(text) is not None and not Path(local_path(text).parts[0]).exists()


def hub_problem(error: BaseException) -> str:
    """Return why something could not be loaded from the hub: one line, without a full stop."""
    names = [kind.__name__ for each in causes(error) for kind in type(each).__mro__]
    for name, reason in REASONS.items():
        if name in names:
            return reason
    is_offline = "OfflineModeIsEnabled" in names
    if is_offline and any(map(_is_set, ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))):
        return "HF_HUB_OFFLINE=1 is set, and it was not downloaded before"
    if is_offline or UNREACHABLE.intersection(names):
        return (
            "the hub (huggingface.co) cannot be reached from this machine, and Hugging Face's "
            "cache on this machine has no copy (set HF_HOME if it is elsewhere)"
        )
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "").upper() in ("1", "ON", "YES", "TRUE")
