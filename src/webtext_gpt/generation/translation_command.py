"""The command `generate` with a translation model: translate the prompts, print or write them."""

from collections.abc import Sequence
from pathlib import Path

from webtext_gpt.errors import UserError
from webtext_gpt.files import write_json_lines, write_text
from webtext_gpt.generation.translate import LENGTH_PENALTY, NUM_BEAMS, translate
from webtext_gpt.model.transformer import Transformer
from webtext_gpt.paths import local_path
from webtext_gpt.progress import progress_bar
from webtext_gpt.settings.generate import Generate
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.training.precision import place_for_inference

APPLY = frozenset(
    [
        *("checkpoint", "prompt", "prompts", "out", "num_beams", "length_penalty"),
        *("device", "precision", "weights"),
    ]
)
"""Settings of `generate` that apply to translation."""


def print_translations(
    settings: Generate,
    model: Transformer,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    device: str,
) -> None:
    """Print the translation of each text on a line of its own, or write them to `settings.out`.

    Raises:
        UserError: a setting is given that is for language models, or a text cannot be translated.
    """
    if names := sorted(settings.model_fields_set - APPLY):
        raise UserError(
            f"{settings.checkpoint} holds a translation model, and {', '.join(names)} "
            f"{'is' if len(names) == 1 else 'are'} for language models; leave "
            f"{'it' if len(names) == 1 else 'them'} out"
        )
    if settings.prompts is None and not settings.prompt.strip():
        raise UserError(
            f"{settings.checkpoint} holds a translation model, and there is no text to translate; "
            'give prompt="..." or prompts=FILE'
        )
    place_for_inference(model, device, settings.precision, settings.weights)
    alpha = settings.length_penalty
    with progress_bar("translating", total=len(texts), unit="text") as bar:
        translations = translate(
            model,
            tokenizer,
            texts,
            num_beams=settings.num_beams if "num_beams" in settings.model_fields_set else NUM_BEAMS,
            length_penalty=LENGTH_PENALTY if alpha is None else alpha,
            advance=bar.update,
        )
    if settings.out is None:
        print(*map(_on_a_line, translations), sep="\n")
    else:
        write_translations(local_path(settings.out, "out"), texts, translations)


def write_translations(path: Path, texts: Sequence[str], translations: Sequence[str]) -> None:
    """Write JSONL rows of prompt and completion to a `.jsonl` file, else a translation on a line.

    A line break within a translation becomes a space in a file of lines.

    Raises:
        OSError: the file cannot be written; nothing is left behind.
    """
    if path.suffix == ".jsonl":
        pairs = zip(texts, translations, strict=True)
        write_json_lines(path, ({"prompt": p, "completion": c} for p, c in pairs))
    else:
        write_text(path, "".join(f"{_on_a_line(text)}\n" for text in translations))


def _on_a_line(text: str) -> str:
    return " ".join(text.splitlines())
