"""The engine that runs relational steps: Daft, on this machine or on a Ray cluster."""

import os
from collections.abc import Mapping
from typing import Any

from webtext_gpt.errors import UserError

NATIVE = {"name": "native"}


def start_engine(engine: Mapping[str, Any]) -> None:
    """Choose Daft's runner for this process: `{name: native}` or `{name: ray, address: ...}`.

    A process has one runner from its first choice on; choosing it again changes nothing.

    Raises:
        UserError: an engine that is not known, that cannot be reached, or that is not the one
            this process has already.
    """
    name = engine.get("name")
    if name == "ray":
        _join_ray(engine.get("address"))
    elif name != "native":
        raise UserError(f"engine {name!r} is not known: native, ray")
    os.environ.setdefault("DAFT_PROGRESS_BAR", "0")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ["DAFT_RUNNER"] = name
    from daft.runners import get_or_create_runner

    if (runner := get_or_create_runner().name) != name:
        raise UserError(f"engine={name}: this process runs on {runner} already")


def _join_ray(address: str | None) -> None:
    """Connect to the cluster at `address`, or start a local one that ends with this process."""
    try:
        import ray
    except ImportError as error:
        raise UserError("engine=ray needs Ray: pip install 'webtext-gpt[ray]'") from error
    if ray.is_initialized():
        return
    try:
        ray.init(address=address, log_to_driver=False, include_dashboard=False)
    except ConnectionError as error:
        raise UserError(f"engine.address={address}: no Ray cluster answers: {error}") from error
