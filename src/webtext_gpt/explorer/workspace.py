"""The models that the explorer shows: their checkpoints, a few of which are kept in memory."""

import dataclasses
import sys
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webtext_gpt.checkpoint.load import LoadedModel, kind_of, load
from webtext_gpt.checkpoint.store import DamagedCheckpoint
from webtext_gpt.errors import UserError
from webtext_gpt.explorer.checkpoints import Checkpoints, Kept
from webtext_gpt.explorer.curve import Curve
from webtext_gpt.explorer.examples import (
    LONGEST_MISTAKE,
    SENTENCES,
    SPECIAL_TOKENS,
    example,
    mistakes,
    phrases,
)
from webtext_gpt.explorer.inspector import Inspector
from webtext_gpt.explorer.music import MusicInspector
from webtext_gpt.explorer.tokens import described
from webtext_gpt.explorer.translation import TranslationInspector
from webtext_gpt.model import GPT, ClassifierConfig, GPTClassifier, GPTConfig
from webtext_gpt.model.transformer import Transformer, TransformerConfig
from webtext_gpt.music.vocabulary import encoding_of
from webtext_gpt.terminal import say
from webtext_gpt.tokenizer import Tokenizer

MOST_LOADED = 2
"""Maximum checkpoints in memory at a time: as many as the page shows side by side."""
COMPARED = "compare-"
"""Beginning of the ids of the second model's checkpoints."""

OF_CLASSIFIERS = ("classify", "attributions")
"""Views that `explorer.attribution` computes."""


class UnknownCheckpoint(UserError):  # noqa: N818 - names what was asked for
    """There is no checkpoint with this id."""


@dataclass(frozen=True)
class Opened:
    """A checkpoint in memory."""

    loaded: LoadedModel
    inspector: Inspector | TranslationInspector

    @property
    def kind(self) -> str:
        """Kind of the model; see `kind_of`. Language models of music are a separate kind."""
        if isinstance(self.inspector, MusicInspector):
            return "music model"
        return kind_of(self.loaded.model)

    @property
    def config(self) -> GPTConfig | TransformerConfig:
        """Shape and options of the model, or of a classifier's body."""
        return self.inspector.model.config

    @property
    def views(self) -> tuple[str, ...]:
        """Names of the views that the model has."""
        is_classifier = isinstance(self.loaded.model, GPTClassifier)
        return (*self.inspector.views, *(OF_CLASSIFIERS if is_classifier else ()))

    @property
    def n_bytes(self) -> int:
        """Bytes of the weights; tied ones count once."""
        return sum(p.numel() * p.element_size() for p in self.loaded.model.parameters())


class Workspace:
    """One model or two, with all their checkpoints, which are loaded when they are asked for.

    The default checkpoint of each is loaded at once, so that errors are found at the start.

    Args:
        checkpoint: the model, as in every command.
        compare: a second one.

    Raises:
        UserError: a model cannot be loaded, or the two are of different kinds.
    """

    def __init__(self, checkpoint: str, compare: str | None = None) -> None:
        self._lock = threading.Lock()
        self._opened: OrderedDict[str, Opened] = OrderedDict()
        self._damaged: set[str] = set()
        self.sources = [Checkpoints(checkpoint)]
        if compare is not None:
            self.sources.append(Checkpoints(compare, COMPARED))
        defaults = [self._open_preferred(source) for source in reversed(self.sources)]
        kinds = [self.open(kept).kind for kept in reversed(defaults)]
        if len(set(kinds)) > 1:
            raise UserError(
                f"checkpoint={checkpoint} is a {kinds[0]} and compare={compare} is a {kinds[1]}; "
                "compare two of a kind"
            )
        run_dir = self.sources[0].run_dir
        self.curve = Curve(run_dir) if run_dir is not None else None

    @property
    def default(self) -> str:
        """Id of the checkpoint that is shown first: the first model's best, else its last."""
        preferred = [kept.id for kept in self.sources[0].preferred()]
        return next((id for id in preferred if id not in self._damaged), preferred[0])

    def checkpoints(self) -> list[Kept]:
        """Return the current checkpoints by step; those of the second model come last."""
        found: list[Kept] = []
        for source in self.sources:
            one = source.kept()
            if len(self.sources) > 1:
                one = [k if k.label == source.name else _named(k, source.name) for k in one]
            found += one
        return found

    def describe(self, checkpoint: str | None = None) -> dict[str, Any]:
        """Return the page's description of a checkpoint's model, the answer to `/api/model`.

        Raises:
            UserError: there is no such checkpoint, or it cannot be loaded.
        """
        opened = self.open(checkpoint)
        model, has_curve = opened.loaded.model, self.curve is not None and self.curve.exists
        head = model.config if isinstance(model, GPTClassifier) else None
        return {
            "name": self.sources[0].name,
            "kind": opened.kind.replace(" ", "_"),
            "checkpoints": [
                {"id": kept.id, "label": kept.label, "step": kept.step}
                for kept in self.checkpoints()
            ],
            "default": self.default,
            "config": dataclasses.asdict(opened.config),
            "parameters": sum(p.numel() for p in model.parameters()),
            "labels": None if head is None else list(head.labels),
            "takes_pairs": head is not None and head.delimiter_token_id is not None,
            "added": None if head is None else _added(head, opened.loaded.tokenizer),
            "example": _example(opened, self.sources[0].run_dir),
            "has_curve": has_curve,
            "views": [*opened.views, *(["curve"] if has_curve else [])],
        }

    def losses(self) -> dict[str, Any]:
        """Return the loss curve and the steps of the checkpoints, the answer to `/api/curve`.

        Raises:
            UserError: the model is not in a run's folder, or its metrics cannot be read.
        """
        if self.curve is None:
            raise UserError("the model is not in a run's folder, so there is no loss curve")
        steps = [kept.step for kept in self.sources[0].kept() if kept.step is not None]
        return {**self.curve.points(), "checkpoints": steps}

    def compute(self, name: str, checkpoint: str | None, arguments: Mapping[str, Any]) -> Any:
        """Return a method's result for a checkpoint: plain values or an array.

        Raises:
            UserError: there is no such checkpoint, its model has no such view, or an argument is
                out of range.
        """
        opened = self.open(checkpoint)
        if name not in opened.views:
            raise UserError(
                f"{name} cannot be asked of a {opened.kind}, only {', '.join(opened.views)}"
            )
        if name in OF_CLASSIFIERS:
            from webtext_gpt.explorer import attribution

            return getattr(attribution, name)(opened.loaded, **arguments)
        return getattr(opened.inspector, name)(**arguments)

    def open(self, checkpoint: str | None = None) -> Opened:
        """Return a checkpoint, loaded; the least recently used one leaves memory if need be.

        Args:
            checkpoint: its id; None, or `default`, for the default one.

        Raises:
            UserError: there is no such checkpoint, or it cannot be loaded.
        """
        wanted = self.default if checkpoint in (None, "default") else str(checkpoint)
        with self._lock:
            if wanted not in self._opened:
                kept = {kept.id: kept for kept in self.checkpoints()}
                if wanted not in kept:
                    raise UnknownCheckpoint(
                        f"checkpoint {wanted!r} does not exist, or the run has removed it; there "
                        f"are {', '.join(kept)}"
                    )
                while len(self._opened) >= MOST_LOADED:
                    self._opened.popitem(last=False)
                self._opened[wanted] = _opened(kept[wanted])
            self._opened.move_to_end(wanted)
            return self._opened[wanted]

    def _open_preferred(self, source: Checkpoints) -> str:
        """Open the best checkpoint, else the last, else the newest that is not damaged.

        Returns:
            Its id.
        """
        kept, *others = source.preferred()
        while True:
            try:
                self.open(kept.id)
            except DamagedCheckpoint as damaged:
                if not others:
                    raise
                self._damaged.add(kept.id)
                say(f"{damaged}; {others[0].path} is used instead", sys.stderr)
                kept = others.pop(0)
            else:
                return kept.id


def _opened(kept: Kept) -> Opened:
    loaded = load(kept.path)
    if isinstance(loaded.model, Transformer):
        return Opened(loaded, TranslationInspector(loaded))
    encoding = encoding_of(loaded.tokenizer) if isinstance(loaded.model, GPT) else None
    if encoding is not None:
        return Opened(loaded, MusicInspector(loaded, encoding))
    return Opened(loaded, Inspector(loaded))


def _example(opened: Opened, run_dir: Path | None) -> str:
    tokenizer, most = opened.loaded.tokenizer, opened.config.block_size - 1
    if isinstance(opened.inspector, TranslationInspector):
        return example(tokenizer, SENTENCES, most)
    if isinstance(opened.inspector, MusicInspector):
        return example(tokenizer, phrases(opened.inspector.encoding), most)
    if isinstance(opened.loaded.model, GPTClassifier):
        texts = [] if run_dir is None else mistakes(run_dir)  # none of a classifier of pairs
        return example(tokenizer, texts, min(most - SPECIAL_TOKENS, LONGEST_MISTAKE))
    return example(tokenizer)


def _added(config: ClassifierConfig, tokenizer: Tokenizer) -> dict[str, Any]:
    """Return the tokens that a classifier puts around texts, None for one that it does not add."""
    ids = {
        "start": config.start_token_id,
        "delimiter": config.delimiter_token_id,
        "extract": config.extract_token_id,
    }
    return {
        name: None if token is None else described(tokenizer, [token])[0]
        for name, token in ids.items()
    }


def _named(kept: Kept, name: str) -> Kept:
    return dataclasses.replace(kept, label=f"{name}, {kept.label}")
