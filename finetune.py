"""Fine-tune a GPT, or use a fine-tuned one: `python finetune.py checkpoint=RUN task=sst2`."""

import sys

from omegaconf import DictConfig

from webtext_gpt.cli import entry_point, run_folder

PATHS = ("run_dir", "resume", "checkpoint", "predict", "evaluate", "out")
TASK_TEXTS = (
    *("hub", "train", "validation", "test"),
    *("text", "text_pair", "label", "label_until", "positive", "separator", "encoding", "between"),
)


@entry_point(
    "finetune",
    verbatim=[*PATHS, *(f"task.{key}" for key in TASK_TEXTS)],
    # Without task=NAME, task.KEY=VALUE changes a key of the saved classifier's task.
    open_keys=() if any(word.startswith("task=") for word in sys.argv) else ("task",),
)
def main(cfg: DictConfig) -> None:
    """Train a classifier or a completion model, label texts, or measure a classifier."""
    from webtext_gpt.finetuning.command import run_command  # imports torch: not for --help

    with run_folder() as (run_dir, overrides):
        cfg.run_dir = run_dir
        run_command(cfg, overrides)


if __name__ == "__main__":
    main()
