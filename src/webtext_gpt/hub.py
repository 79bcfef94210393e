"""Why Hugging Face's hub did not give a dataset, model or tokenizer, in one line."""

import re
from collections.abc import Iterator
from pathlib import Path

from webtext_gpt.paths import local_path

NAME = re.compile(r"(?:[A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]*")

UNREACHABLE = {
    *("ConnectionError", "ConnectError", "ConnectTimeout", "ReadTimeout", "TimeoutError"),
    *("LocalEntryNotFoundError", "gaierror"),
}
"""Classes of errors, of several libraries, that mean that there is no connection."""

REASONS = {
    "OfflineModeIsEnabled": "HF_HUB_OFFLINE=1 is set, and it was not downloaded before",
    "GatedRepoError": "its owner gives access on request: ask for it at huggingface.co, then log "
    "in with hf auth login",
    "RepositoryNotFoundError": "the hub has nothing of that name, or it is private",
    "DatasetNotFoundError": "the hub has no dataset of that name, or it is private",
    "RevisionNotFoundError": "it has no such revision",
    "HFValidationError": "no file, folder or dataset on the hub can have that name",
}


def may_be_on_hub(name: str | Path) -> bool:
    """Return whether a name has the form OWNER/NAME or NAME, and its first folder is not here."""
    text = str(name)
    return NAME.fullmatch(text) is not None and not Path(local_path(text).parts[0]).exists()


def hub_problem(error: BaseException) -> str:
    """Return why something could not be loaded from the hub: one line, without a full stop."""
    names = [kind.__name__ for each in _chain(error) for kind in type(each).__mro__]
    for name, reason in REASONS.items():
        if name in names:
            return reason
    if UNREACHABLE.intersection(names):
        return "the hub (huggingface.co) cannot be reached from this machine"
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and the errors that caused it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
