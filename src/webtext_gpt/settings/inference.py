"""Settings of the commands that use a trained model: generate, eval, serve and weights."""

from typing import Annotated, ClassVar, Self

from pydantic import model_validator

from webtext_gpt.settings import checks
from webtext_gpt.settings.base import Settings, setting
from webtext_gpt.settings.benchmarks import TASKS
from webtext_gpt.settings.kinds import (
    Number,
    OneOf,
    PathText,
    Switch,
    Text,
    Whole,
)
from webtext_gpt.settings.lists import Listed
from webtext_gpt.settings.run import dated

DEVICE = Text("auto, cpu, cuda, cuda:1, ... or mps", pattern=r"auto|cpu|mps|(cuda|xpu)(:\d+)?")
NO_FP16 = "fp16 is not offered, because it overflows where bf16 does not"
INFERENCE_PRECISION = OneOf(
    ("auto", "fp32", "bf16"),
    instead={
        **dict.fromkeys(("fp16", "16", "16-mixed", "16-true", "half", "float16"), NO_FP16),
        **dict.fromkeys(("32", "32-true", "float32"), "give fp32"),
        **dict.fromkeys(("bf16-mixed", "bf16-true", "bfloat16"), "give bf16"),
    },
)
INFERENCE_WEIGHTS = OneOf(("float", "int8"), instead={"int4": "give int8 or float"})
WEIGHTS_MEANING = "int8: rounded weights, for speed on CPUs; slightly less exact"
MODEL = "run folder, .ckpt file, Hugging Face folder or hub name"


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


class Evaluate(Settings):
    """Evaluate a model zero-shot, as the GPT-2 paper did, or its translations or music.

    With compare=[A,B], evaluate two and test their differences. With report=[RUN,RUN,...], compare
    finished runs by model size (figure 4) instead.
    """

    examples: ClassVar[dict[str, str]] = {
        "{command} checkpoint=runs/... tasks=[lambada,wikitext2] limit=100": "from the hub, a part",
        "{command} checkpoint=runs/... tasks=core data_dir=eval_bundle/": "from local files",
        "{command} compare=[runs/a,runs/b] tasks=lambada": "are two models different?",
        "{command} checkpoint=TRANSLATOR tasks=translation source=test.en reference=test.de": (
            "BLEU and chrF of translations"
        ),
        "{command} report=[runs/small,runs/medium]": "loss by model size",
    }

    checkpoint: Annotated[
        str | None, PathText(what=f"a {MODEL}", null="only with compare or report")
    ] = setting(None, f"model: {MODEL}", common=True)
    tasks: Annotated[list[str], TASKS] = setting(
        lambda: ["all"], "benchmarks: all, or a list", common=True
    )
    data_dir: Annotated[str | None, PathText(null="download from the hub")] = setting(
        None, "folder with the benchmarks' files", common=True
    )
    run_dir: Annotated[str, PathText()] = setting(
        lambda: dated("evaluations"),
        "folder for evaluation.json and evaluation.md",
        common=True,
        shown="evaluations/DATE_TIME",
    )
    source: Annotated[str | None, PathText(null="test.source in data_dir", remote=True)] = setting(
        None, "task translation: file of sentences, one per line; a path, or a name in data_dir"
    )
    reference: Annotated[str | None, PathText(null="test.target in data_dir", remote=True)] = (
        setting(None, "task translation: file of their translations, line by line")
    )
    num_beams: Annotated[int, Whole(1)] = setting(5, "task translation: width of the beam search")
    length_penalty: Annotated[float, Number(0)] = setting(
        0.6, "task translation: as length_penalty of generate.py"
    )
    pieces: Annotated[
        list[str] | None, Listed(PathText(), null="Jsb16thSeparated.json in data_dir")
    ] = setting(
        None,
        "task music: held-out pieces, as MIDI files, folders or patterns, or a JSON file of "
        "chorales, of which the split test is read",
    )
    limit: Annotated[int | None, Whole(1, unit="examples", null="all")] = setting(
        None, "evaluate only this many examples of each task", common=True
    )
    stride: Annotated[int | None, Whole(1, unit="tokens", null="half the model's context")] = (
        setting(None, "distance by which the sliding window moves")
    )
    detokenize: Annotated[bool, Switch()] = setting(
        True, "undo the benchmarks' tokenization, as the paper does"
    )
    batch_tokens: Annotated[int, Whole(1, unit="tokens")] = setting(
        8192, "maximum size of a forward pass"
    )
    batch_size: Annotated[int, Whole(1, unit="prompts")] = setting(16, "prompts completed at once")
    device: Annotated[str, DEVICE] = setting("auto", "device; auto: a GPU if there is one")
    precision: Annotated[str, INFERENCE_PRECISION] = setting(
        "fp32", "number format; bf16 is faster on GPUs and slightly less exact"
    )
    weights: Annotated[str, INFERENCE_WEIGHTS] = setting("float", WEIGHTS_MEANING)
    compare: Annotated[
        list[str] | None, Listed(PathText(what=f"a {MODEL}"), null="evaluate one model")
    ] = setting(
        None,
        "two models to evaluate on the same examples, with a paired test of each difference",
        common=True,
    )
    report: Annotated[list[str] | None, Listed(PathText(), null="evaluate a model")] = setting(
        None, "finished runs to compare by model size, figure 4 of the paper", common=True
    )

    @model_validator(mode="after")
    def _need_a_model_or_runs(self) -> Self:
        checks.int8_weights(self.weights, self.device, self.precision)
        self._refuse_keys_of_other_tasks()
        given = [key for key in ("checkpoint", "compare", "report") if getattr(self, key)]
        if not given:
            raise ValueError(
                "checkpoint has no value; give checkpoint=..., compare=[A,B] or report=[RUN,RUN]"
            )
        if self.compare is not None and len(self.compare) != 2:
            raise ValueError(
                f"compare= takes two models, not {len(self.compare)}; compare more of them in pairs"
            )
        if "compare" in given and len(given) > 1:
            raise ValueError(f"give only one of {', '.join(f'{key}=' for key in given)}")
        return self

    def _refuse_keys_of_other_tasks(self) -> None:
        if self.pieces is not None and "music" not in self.tasks:
            raise ValueError("pieces= is for the task music; give tasks=music, or leave it out")
        of_translation = ("source", "reference", "num_beams", "length_penalty")
        given = [key for key in of_translation if key in self.model_fields_set]
        if given and "translation" not in self.tasks:
            raise ValueError(
                f"{given[0]}= is for the task translation; give tasks=translation, or leave it out"
            )
        if (self.source is None) != (self.reference is None):
            raise ValueError("source= and reference= name the two sides of a test set; give both")


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


class Weights(Settings):
    """Convert a model from one format to another.

    It reads our runs and .ckpt files, Hugging Face's GPT-2, GPT-1, their sequence classifiers and
    MarianMT as written here, nanoGPT's and minGPT's files. It writes our .ckpt, a folder for
    transformers, a .gguf file for llama.cpp, or an .onnx file with tokenizer.json beside it.
    """

    examples: ClassVar[dict[str, str]] = {
        "{command} checkpoint=runs/... out=gpt2_folder": "to a Hugging Face folder",
        "{command} checkpoint=openai-community/gpt2 out=gpt2.ckpt": "from the hub",
        "{command} checkpoint=ckpt.pt tokenizer=input.txt out=shakespeare.ckpt": (
            "nanoGPT's character model, with its training text"
        ),
        "{command} checkpoint=runs/... out=model.gguf": "for llama.cpp",
        "{command} checkpoint=runs/... out=onnx/model.onnx": "for onnxruntime, with tokenizer.json",
    }

    checkpoint: Annotated[str, PathText(what="a model")] = setting(
        ..., f"model: {MODEL}, or nanoGPT's ckpt.pt", common=True
    )
    out: Annotated[str, PathText()] = setting(
        ...,
        "file whose ending names the format, .ckpt (ours), .gguf or .onnx; any other name: a "
        "Hugging Face folder",
        common=True,
    )
    tokenizer: Annotated[str | None, PathText(what="a tokenizer", null="the model's own")] = (
        setting(
            None,
            "for a model without one: tokenizer.json, a folder or hub name, or the training text "
            "of a character model (input.txt)",
            common=True,
        )
    )
    force: Annotated[bool, Switch()] = setting(
        False, "replace the file at out, or the model in the folder; other files stay", common=True
    )
