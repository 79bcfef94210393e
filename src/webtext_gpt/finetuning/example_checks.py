"""What is checked and said of the examples of a fine-tuning run, before it begins."""

import hashlib

from lightning.pytorch.utilities.rank_zero import rank_zero_only

from webtext_gpt.finetuning.data.datamodule import EncodedExamples
from webtext_gpt.finetuning.data.examples import Examples, check_labels, overlap
from webtext_gpt.finetuning.data.task import Task


def check_split(
    task: Task, labels: tuple[str, ...], train: Examples, examples: Examples, name: str
) -> None:
    """Refuse labels that are not learned; warn of rows that are also learned from.

    Args:
        task: of both.
        labels: that training knows.
        train: what is learned from.
        examples: what is to be measured.
        name: of the split that they are.

    Raises:
        UserError: names the first row with another label.
    """
    check_labels(examples, labels, task)
    if same := overlap(train, examples):
        _say(
            f"warning: {len(same):,} of the {len(examples):,} {name} rows are in the training data "
            f"too, the first {examples.places[same[0]]}; figures of {name} are flattered"
            + (" and mean nothing" if len(same) > len(examples) / 2 else "")
        )


def say_truncated(name: str, examples: EncodedExamples) -> None:
    """Say how many texts lost tokens."""
    if cut := examples.sequences.truncated:
        n = len(examples.places)
        _say(f"{cut:,} of the {n:,} {name} rows do not fit the context, and are cut")


def hash_of(examples: EncodedExamples) -> str:
    """SHA-256 of token sequences and targets."""
    digest = hashlib.sha256(examples.targets.tobytes())
    for tokens, start in zip(examples.sequences.tokens, examples.sequences.starts, strict=True):
        digest.update(f"{tokens.shape} {start} ".encode())
        digest.update(tokens.tobytes())
    return digest.hexdigest()


@rank_zero_only
def _say(message: str) -> None:
    print(message, flush=True)
