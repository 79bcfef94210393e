"""Settings that several corpus commands share."""

from typing import Annotated, Self

from pydantic import model_validator

from webtext_gpt.settings.base import Settings, setting
from webtext_gpt.settings.kinds import (
    OneOf,
    PathText,
    Switch,
    Text,
    Whole,
)
from webtext_gpt.settings.lists import Listed

Paths = Listed(PathText(remote=True))
Workers = Whole(1, unit="processes", null="one per core")
Out = Annotated[str, PathText(remote=True)]


Address = Text("auto or HOST:PORT", null="start a local cluster", pattern=r"auto|[^/]+:\d{1,5}")


class Engine(Settings):
    """`engine=native`, or `engine=ray` for a Ray cluster."""

    name: Annotated[str, OneOf(("native", "ray"))] = setting(
        "native", "native: processes and threads of this machine; ray: the nodes of a Ray cluster"
    )
    address: Annotated[str | None, Address] = setting(
        None, "a running Ray cluster; auto: the one that this machine has joined"
    )

    @model_validator(mode="after")
    def _address_of_ray(self) -> Self:
        if self.address is not None and self.name != "ray":
            raise ValueError(f"engine.address={self.address} has an effect only with engine=ray")
        return self


class TextRows(Settings):
    """Layout of the documents in a file."""

    lines: Annotated[bool, Switch()] = setting(False, "read each line of a text file as a document")
    text_key: Annotated[str, Text("the name of a column")] = setting(
        "text", "text column of JSONL and Parquet files"
    )


class Parallel(Settings):
    """Number of worker processes."""

    workers: Annotated[int | None, Workers] = setting(None, "processes at once")
