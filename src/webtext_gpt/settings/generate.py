"""Settings of generate.py."""

from typing import Annotated, ClassVar, Self

from pydantic import model_validator

from webtext_gpt.settings import checks
from webtext_gpt.settings.base import Settings, setting
from webtext_gpt.settings.inference import (
    DEVICE,
    INFERENCE_PRECISION,
    INFERENCE_WEIGHTS,
    MODEL,
    WEIGHTS_MEANING,
)
from webtext_gpt.settings.kinds import Number, OneOf, PathText, Switch, Text, Whole
from webtext_gpt.settings.lists import Listed


class Generate(Settings):
    """Generate text from a trained model."""

    examples: ClassVar[dict[str, str]] = {
        '{command} checkpoint=runs/... prompt="The meaning of life is"': "continue a text",
        '{command} checkpoint=runs/... prompt="The capital is" next=10': (
            "the most probable next tokens"
        ),
        "{command} checkpoint=openai-community/gpt2 prompts=prompts.txt out=completions.jsonl": (
            "a file of prompts"
        ),
        "{command} checkpoint=runs/... num_beams=4 stop=[.]": "beam search, up to a full stop",
        "{command} checkpoint=TRANSLATOR prompts=test.en out=test.de": (
            "translate a file, line by line"
        ),
    }

    checkpoint: Annotated[str, PathText(what=f"a {MODEL}")] = setting(
        ..., f"model: {MODEL}", common=True
    )
    prompt: Annotated[str, Text(empty=True)] = setting(
        "",
        "text to continue, for a model of music a MIDI file; empty: begin a new document",
        common=True,
    )
    prompts: Annotated[str | None, PathText(null="use prompt", remote=True)] = setting(
        None,
        'file of prompts: one per line, or JSONL or Parquet with a column "prompt"',
        common=True,
    )
    out: Annotated[str | None, PathText(null="print them")] = setting(
        None,
        "JSONL file for prompts and completions; translations may be a file of lines; music is a "
        "MIDI file, with pictures and perhaps its sound beside it",
        common=True,
    )
    num_samples: Annotated[int, Whole(1)] = setting(
        1, "continuations per prompt; with num_beams, the best that the search found", common=True
    )
    max_new_tokens: Annotated[int, Whole(1, unit="tokens")] = setting(
        200, "maximum length of a continuation; music's is 2048", common=True
    )
    temperature: Annotated[float, Number(0)] = setting(
        1.0, "divides the logits; 0: always take the most probable token", common=True
    )
    top_k: Annotated[int | None, Whole(1, null="all")] = setting(
        40, "sample from the k most probable tokens", common=True
    )
    top_p: Annotated[float | None, Number(above=0, most=1, null="all")] = setting(
        None, "sample from the smallest set of tokens with total probability p", common=True
    )
    repetition_penalty: Annotated[float, Number(above=0)] = setting(
        1.0,
        "above 1: lower the logits of tokens that already occur in the text",
    )
    num_beams: Annotated[int, Whole(1)] = setting(
        1, "above 1: beam search of this width instead of sampling; a translation model's is 5"
    )
    length_penalty: Annotated[float | None, Number(0, null="0.6")] = setting(
        None,
        "of a translation model: a text of n tokens scores its log-probability divided by "
        "((5 + n) / 6)^length_penalty",
    )
    stop: Annotated[list[str] | None, Listed(Text(), empty=True, null="none")] = setting(
        list, r'strings that end a text; \n, \t and \\ are read: stop=["\n"]'
    )
    seed: Annotated[int | None, Whole(0, null="random")] = setting(
        None, "seed of the first text; each later text uses the next number"
    )
    between: Annotated[
        str | None,
        Text(empty=True, null="task.between of a model that task=pairs made, else nothing"),
    ] = setting(
        None,
        r"text that every prompt is to end with; empty: none; \n, \t and \\ are read",
    )
    overflow: Annotated[
        str | None,
        OneOf(("slide", "refuse", "shorten"), null="shorten for a model of task=pairs, else slide"),
    ] = setting(
        None,
        "when the text outgrows the context: slide (slow from then on), refuse, or shorten prompts "
        "that do not fit and end the text where the context ends",
    )
    next: Annotated[int | None, Whole(1, null="generate text")] = setting(
        None, "print this many of the most probable next tokens instead of text", common=True
    )
    steps: Annotated[int, Whole(1)] = setting(
        1, "with next: number of steps; each one appends the most probable token"
    )
    batch_size: Annotated[int, Whole(1)] = setting(8, "texts generated at once")
    stream: Annotated[bool, Switch()] = setting(True, "print a single text while it is generated")
    device: Annotated[str, DEVICE] = setting("auto", "device; auto: a GPU if there is one")
    precision: Annotated[str, INFERENCE_PRECISION] = setting(
        "auto", "number format; auto: bf16 on GPUs that multiply it, else fp32"
    )
    weights: Annotated[str, INFERENCE_WEIGHTS] = setting("float", WEIGHTS_MEANING)
    draft: Annotated[str | None, OneOf(("ngram",), null="none")] = setting(
        None,
        "ngram: draft tokens from repetitions in the text, for speed; the model verifies them, and "
        "the text stays the same",
    )

    @model_validator(mode="after")
    def _refuse_conflicts(self) -> Self:
        checks.int8_weights(self.weights, self.device, self.precision)
        if self.num_beams > 1:
            self._refuse_for_beams()
        if self.prompts is not None and self.prompt:
            raise ValueError("give prompt= or prompts=FILE, not both")
        if self.next is not None and self.prompts is not None:
            raise ValueError("next= works with prompt=, not with a file of prompts=")
        if self.next is not None and self.draft is not None:
            raise ValueError(f"next= ranks single tokens; leave draft={self.draft} out")
        if self.next is not None and self.out is not None:
            raise ValueError("next= prints its tokens and writes no file; leave out= out")
        return self

    def _refuse_for_beams(self) -> None:
        drawing = self.model_fields_set & {"temperature", "top_k", "top_p"}
        if self.seed is not None:
            drawing |= {"seed"}
        checks.beams(self.num_beams, self.num_samples, drawing, self.draft)
        if self.next is not None:
            raise ValueError(
                f"next= ranks single tokens, and num_beams={self.num_beams} searches for texts; "
                "give one of them"
            )
