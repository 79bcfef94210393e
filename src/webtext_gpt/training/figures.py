"""Meaning of the figures in a run's `summary.json`, in a few words for its report."""

SPLITS = {"val_": "validation", "test_": "test"}

MEANINGS = {
    "accuracy": "fraction of the {rows} rows whose class is right",
    "f1_macro": "mean of the classes' F1, each of the same weight",
    "f1_positive": "F1 of the class task.positive, by default the last of two",
    "matthews": "Matthews correlation: 1 if every row is right, about 0 if classes are guessed",
    "pearson": "linear correlation of predicted and true values",
    "spearman": "correlation of the ranks of predicted and true values",
    "loss": "{unit}",
    "constant": "every {rows} row has the same prediction",
    "perplexity": "exponential of the loss",
    "bits_per_byte": "length of the text, compressed with the model, over its size",
    "gzip_bits_per_byte": "the same of gzip -9",
    "xz_bits_per_byte": "the same of xz -9",
    "share": "fraction of the validation text that the last validation read; 1 is all of it",
    "skipped": "{rows} rows left out, by task.skip_empty or task.skip_labels",
    "truncated": "{rows} rows longer than the context, whose end was cut off",
    "step": "optimizer steps taken",
    "stopped_early": "validation no longer improved",
    "skipped_steps": "steps without an update, because the loss or the gradient was not usable",
    "tokens": "tokens read in training, repeated ones included",
    "seconds": "time of training",
    "left_out_tokens": "training tokens that fill no whole sequence",
    "epochs": "passes over the training rows",
    "parameters": "weights of the model",
    "trained_parameters": "weights that training changes",
    "examples": "training rows",
    "answers": "{rows} prompts that the model answered",
    "shortened_prompts": "{rows} prompts cut to leave room for an answer",
    "stopped": "{rows} answers that reached the maximum length",
    "bleu": "overlap of the answers with the references, from 0 to 100",
}
"""By name without the split; `{rows}` is the split, `{unit}` that of the loss."""


def explained(name: str, unit: str) -> str:
    """Return what a figure means; empty if its name says it.

    Args:
        name: a key of `summary.json`.
        unit: unit of the loss.
    """
    if name.startswith("best_"):
        return "best validation while training, in training's precision; chose best.ckpt"
    if name.removeprefix("val_").removeprefix("test_").startswith("naive_bayes_"):
        return "the same of naive Bayes on words and word pairs, trained on the same rows"
    split = next((prefix for prefix in SPLITS if name.startswith(prefix)), "")
    said = MEANINGS.get(name.removeprefix(split), "")
    return said.format(rows=SPLITS.get(split, "training"), unit=unit)
