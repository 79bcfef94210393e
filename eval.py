"""Zero-shot evaluation as in the paper: `python eval.py checkpoint=RUN tasks=[lambada]`."""

from pathlib import Path

from omegaconf import DictConfig

from webtext_gpt.cli import entry_point, run_folder
from webtext_gpt.errors import UserError


@entry_point("eval", verbatim=["checkpoint", "data_dir", "run_dir"])
def main(cfg: DictConfig) -> None:
    """Evaluate a checkpoint, or compare finished runs by model size with `report=`."""
    with run_folder() as (run_dir, _):
        if cfg.report is not None:
            from webtext_gpt.evaluation.scaling import write_scaling_report

            runs = [cfg.report] if isinstance(cfg.report, str) else list(cfg.report)
            print(write_scaling_report([Path(run).expanduser() for run in runs], Path(run_dir)))
            print(f"\nwritten to {run_dir}/scaling.md and {run_dir}/scaling.png")
            return
        if cfg.checkpoint is None:
            raise UserError("checkpoint has no value; give checkpoint=..., or report=[RUN,RUN]")
        from webtext_gpt.evaluation.benchmark import Options  # imports torch: not for --help
        from webtext_gpt.evaluation.command import evaluate_checkpoint

        evaluate_checkpoint(
            cfg.checkpoint,
            Path(run_dir),
            tasks=cfg.tasks,
            data_dir=cfg.data_dir,
            options=Options(cfg.limit, cfg.detokenize, cfg.batch_size),
            device=cfg.device,
            precision=cfg.precision,
            batch_tokens=cfg.batch_tokens,
            stride=cfg.stride,
        )


if __name__ == "__main__":
    main()
