"""Pretrain a GPT: `python train.py [group=choice ...] [key=value ...]`; `--help` lists them."""

from omegaconf import DictConfig

from webtext_gpt.cli import entry_point, run_folder


@entry_point("train", verbatim=["run_dir", "resume"])
def main(cfg: DictConfig) -> None:
    """Train, and print the result."""
    from webtext_gpt.training.pretrain import pretrain  # imports torch: not for --help
    from webtext_gpt.training.summary import print_summary

    with run_folder() as (run_dir, overrides):
        cfg.run_dir = run_dir
        summary = pretrain(cfg, overrides)
        if summary:
            print_summary(run_dir, summary)


if __name__ == "__main__":
    main()
