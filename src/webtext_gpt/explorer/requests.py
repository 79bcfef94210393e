"""The requests of the page: the fields of each, their types and their ranges.

The names and fields are those of the methods of `webtext_gpt.explorer.inspector.Inspector`,
`webtext_gpt.explorer.music.MusicInspector` and
`webtext_gpt.explorer.translation.TranslationInspector`, and of the functions in
`webtext_gpt.explorer.attribution`.
"""

from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Struct

from webtext_gpt.errors import UserError
from webtext_gpt.explorer.music import MOST_NEW_WORDS
from webtext_gpt.explorer.translation import MOST_BEAMS
from webtext_gpt.generation.translate import LENGTH_PENALTY, NUM_BEAMS

MOST_CHARACTERS = 100_000
"""Maximum characters of a text. The model reads no more of it than fits its context."""
MOST_BYTES = 1 << 20
"""Maximum bytes of a request's body: enough for the longest text at four bytes a character."""
MOST_MIDI_BYTES = 700_000
"""Maximum bytes of a MIDI file, which a request holds in base64."""

Text = Annotated[str, Meta(max_length=MOST_CHARACTERS)]
Index = Annotated[int, Meta(ge=0, le=10_000_000)]
Few = Annotated[int, Meta(ge=1, le=100)]


class Asked(Struct, forbid_unknown_fields=True, kw_only=True):
    """The field that every request may have."""

    checkpoint: Annotated[str, Meta(max_length=200)] | None = None
    """Id of a checkpoint; None: the default one."""

    def arguments(self) -> dict[str, object]:
        """Return the other fields, which are keyword arguments of the method."""
        fields = msgspec.structs.asdict(self)
        del fields["checkpoint"]
        return fields


class Tokens(Asked):
    """Fields of `/api/tokens`."""

    text: Text


class Next(Tokens):
    """Fields of `/api/next`."""

    n: Annotated[int, Meta(ge=1, le=1000)] = 10
    temperature: Annotated[float, Meta(ge=0, le=1000)] = 1.0
    top_k: Annotated[int, Meta(ge=1, le=10_000_000)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None


class Tree(Tokens):
    """Fields of `/api/tree`; the model reads the text once more for each of its nodes."""

    width: Annotated[int, Meta(ge=1, le=10)] = 3
    depth: Annotated[int, Meta(ge=1, le=10)] = 3


class Attention(Tokens):
    """Fields of `/api/attention`."""

    layer: Index
    head: Index | None


class Heads(Tokens):
    """Fields of `/api/heads`."""

    position: Index


class Head(Heads):
    """Fields of `/api/head`."""

    layer: Index
    head: Index
    n: Few = 6


class Lens(Heads):
    """Fields of `/api/lens`."""

    n: Few = 5


class Units(Heads):
    """Fields of `/api/units`."""

    n: Few = 8


class Neighbours(Asked):
    """Fields of `/api/neighbours`."""

    id: Index
    n: Few = 12


class Classify(Tokens):
    """Fields of `/api/classify`."""

    second: Text | None = None


class Attributions(Classify):
    """Fields of `/api/attributions`."""

    label: Annotated[str, Meta(max_length=1000)] | None = None


class Translate(Tokens):
    """Fields of `/api/translate`."""

    target: Text | None = None
    num_beams: Annotated[int, Meta(ge=1, le=MOST_BEAMS)] = NUM_BEAMS
    length_penalty: Annotated[float, Meta(ge=0, le=10)] = LENGTH_PENALTY


class Alignment(Tokens):
    """Fields of `/api/alignment`."""

    target: Text
    layer: Index
    head: Index | None


class Compose(Tokens):
    """Fields of `/api/compose`."""

    n_words: Annotated[int, Meta(ge=1, le=MOST_NEW_WORDS)]
    seed: Annotated[int, Meta(ge=0, lt=1 << 32)]
    temperature: Annotated[float, Meta(ge=0, le=1000)] = 1.0


class Midi(Asked):
    """Fields of `/api/midi`."""

    name: Annotated[str, Meta(max_length=1000)]
    data: Annotated[bytes, Meta(max_length=MOST_MIDI_BYTES)]


REQUESTS: dict[str, type[Asked]] = {
    "next": Next,
    "tree": Tree,
    "tokens": Tokens,
    "attention": Attention,
    "heads": Heads,
    "head": Head,
    "lens": Lens,
    "units": Units,
    "neighbours": Neighbours,
    "classify": Classify,
    "attributions": Attributions,
    "translate": Translate,
    "alignment": Alignment,
    "piece": Tokens,
    "compose": Compose,
    "midi": Midi,
}
"""Requests that are sent as a JSON object to `/api/NAME`."""

AnyAsked = TypeVar("AnyAsked", bound=Asked)


def read_request(body: bytes, kind: type[AnyAsked]) -> AnyAsked:
    """Return a request's fields.

    Raises:
        UserError: the body is not JSON in UTF-8, or a field is missing, unknown or wrong.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise UserError(_sentence(str(error))) from None
    except UnicodeDecodeError as error:
        raise UserError(f"the request is not UTF-8 (byte {error.start}); send JSON") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise UserError(f"the request is not JSON ({error}); send a JSON object") from None


def _sentence(problem: str) -> str:
    """Return msgspec's message with the field in front: `n: expected int, got str`."""
    problem, _, place = problem.replace("`", "").partition(" - at $.")
    return f"{place or 'the request'}: {problem[0].lower()}{problem[1:]}"
