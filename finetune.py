"""Fine-tune a GPT, or use what was fine-tuned: `python finetune.py checkpoint=RUN task=sst2`."""

from omegaconf import DictConfig

from webtext_gpt.cli import entry_point, run_folder

FILES = ("train", "validation", "test")


@entry_point(
    "finetune",
    verbatim=[
        *("run_dir", "resume", "checkpoint", "predict", "evaluate", "out", "task.between"),
        *(f"task.{name}" for name in FILES),
    ],
)
def main(cfg: DictConfig) -> None:
    """Train a classifier or a model of completions, label texts, or measure a classifier."""
    from webtext_gpt.training.finetune_call import carry_out_call  # imports torch: not for --help

    with run_folder() as (run_dir, overrides):
        cfg.run_dir = run_dir
        carry_out_call(cfg, overrides)


if __name__ == "__main__":
    main()
