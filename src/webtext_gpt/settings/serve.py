"""Settings of serve.py."""

from typing import Annotated, ClassVar, Self

from pydantic import model_validator

from webtext_gpt.settings.base import Settings, setting
from webtext_gpt.settings.inference import MODEL
from webtext_gpt.settings.kinds import PathText, Switch, Whole


class Serve(Settings):
    """Show what a model does, on a page that only this machine can open.

    It shows next words, the surprise of each token, attention, the prediction after each layer, the
    loss curve and all checkpoints of a run, the tokens that decided a classifier's answer, and the
    attention of translations. It makes no request to another machine.
    """

    examples: ClassVar[dict[str, str]] = {
        "{command} checkpoint=runs/...": "a run, also while it is training",
        "{command} checkpoint=runs/a compare=runs/b": "two models side by side",
        "{command} checkpoint=openai-community/gpt2 port=9000": "GPT-2 small",
        "{command} checkpoint=runs/... export=page.html": "a page to send, with the model in it",
    }

    checkpoint: Annotated[str, PathText(what=f"a {MODEL}")] = setting(
        ..., f"model: {MODEL}; a run shows every checkpoint that it has kept", common=True
    )
    compare: Annotated[str | None, PathText(what=f"a {MODEL}", null="one model")] = setting(
        None, "a second model of the same kind, to show beside the first", common=True
    )
    port: Annotated[int | None, Whole(0, 65535, null="8000")] = setting(
        None,
        "port on 127.0.0.1; null: 8000, or a free one if it is taken; 0: a free one",
        common=True,
    )
    open: Annotated[bool | None, Switch(null="where there is one")] = setting(
        None, "open the page in the browser; null: where there is a display", common=True
    )
    export: Annotated[str | None, PathText(null="serve the page")] = setting(
        None,
        "write one .html file with the page and a small model in it, and exit",
        common=True,
    )

    @model_validator(mode="after")
    def _export_one_model(self) -> Self:
        if self.export is not None and self.compare is not None:
            raise ValueError("export= writes a page with one model; leave compare= out")
        return self
