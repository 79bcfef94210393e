"""The engine that runs relational steps: Daft, on this machine or on a Ray cluster."""

import os
from collections.abc import Mapping
from typing import Any

from webtext_gpt.errors import UserError


def start_engine(engine: Mapping[str, Any]) -> None:
    """Choose Daft's runner for this process: `{name: native}` or `{name: ray, address: ...}`.

    Raises:
        UserError: an engine that is not known, or Ray where it is not installed.
    """
    os.environ.setdefault("DAFT_PROGRESS_BAR", "0")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    import daft

    name, address = engine.get("name"), engine.get("address")
    if name == "native":
        daft.set_runner_native()
    elif name == "ray":
        try:
            import ray
        except ImportError as error:
            raise UserError("engine=ray needs Ray: pip install 'webtext-gpt[ray]'") from error
        if not ray.is_initialized():
            # The workers import this package by name, from the installation.
            ray.init(address=address, log_to_driver=False, configure_logging=False)
        daft.set_runner_ray(noop_if_initialized=True)
    else:
        raise UserError(f"engine {name!r} is not known: native, ray")
