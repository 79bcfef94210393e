"""Fine-tune a GPT, or use what was fine-tuned: `python finetune.py checkpoint=RUN task=sst2`."""

import sys

from omegaconf import DictConfig

from webtext_gpt.cli import entry_point, run_folder

PATHS = ("run_dir", "resume", "checkpoint", "predict", "evaluate", "out")
OF_TASK = (
    *("hub", "train", "validation", "test"),
    *("text", "text_pair", "label", "label_until", "positive", "separator", "encoding", "between"),
)


@entry_point(
    "finetune",
    verbatim=[*PATHS, *(f"task.{key}" for key in OF_TASK)],
    # Without a task, its keys change those that a saved classifier has.
    open_keys=() if any(word.startswith("task=") for word in sys.argv) else ("task",),
)
def main(cfg: DictConfig) -> None:
    """Train a classifier or a model of completions, label texts, or measure a classifier."""
    from webtext_gpt.finetuning.command import run_command  # imports torch: not for --help

    with run_folder() as (run_dir, overrides):
        cfg.run_dir = run_dir
        run_command(cfg, overrides)


if __name__ == "__main__":
    main()
