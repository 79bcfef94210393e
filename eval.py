"""Zero-shot evaluation as in the paper: `python eval.py checkpoint=RUN tasks=[lambada]`."""

from pathlib import Path

from omegaconf import DictConfig

from webtext_gpt.cli import entry_point, run_folder
from webtext_gpt.errors import UserError


@entry_point("eval", verbatim=["checkpoint", "data_dir", "run_dir"])
def main(cfg: DictConfig) -> None:
    """Evaluate a model, or draw runs by size; print tables."""
    with run_folder() as (run_dir, _):
        if cfg.report is not None:
            runs = [cfg.report] if isinstance(cfg.report, str) else list(cfg.report)
            _report_scaling([Path(run).expanduser() for run in runs], Path(run_dir))
        elif cfg.checkpoint is None:
            raise UserError("checkpoint has no value; give checkpoint=..., or report=[RUN,RUN]")
        else:
            _evaluate(cfg, Path(run_dir))


def _evaluate(cfg: DictConfig, out: Path) -> None:
    from webtext_gpt.checkpoint.load import load_language_model  # imports torch: not for --help
    from webtext_gpt.evaluation import registry, report, run
    from webtext_gpt.evaluation.benchmark import Options, Result
    from webtext_gpt.evaluation.scoring import Scorer
    from webtext_gpt.training.precision import place_for_inference

    run.refuse_other_evaluation(out)
    benchmarks = registry.chosen(cfg.tasks)
    options = Options(limit=cfg.limit, detokenise=cfg.detokenise, batch_size=cfg.batch_size)
    model, tokenizer = load_language_model(cfg.checkpoint)
    place_for_inference(model, cfg.device, cfg.precision)
    scorer = Scorer(model, tokenizer, batch_tokens=cfg.batch_tokens, stride=cfg.stride)
    title = Path(cfg.checkpoint).name
    data_dir = None if cfg.data_dir is None else Path(cfg.data_dir).expanduser()
    results: list[Result] = []
    try:
        for result in run.evaluate(scorer, benchmarks, data_dir=data_dir, options=options):
            results.extend(result)
            run.write(results, out, title, model.num_parameters)
    finally:
        if results:
            print(report.terminal(results, title, model.num_parameters))
            print(f"\nwritten to {out}/{run.RESULTS} and {out}/{run.REPORT}")


def _report_scaling(runs: list[Path], out: Path) -> None:
    from webtext_gpt.evaluation import scaling

    print(scaling.write_scaling_report(runs, out))
    print(f"\nwritten to {out}/scaling.md and {out}/scaling.png")


if __name__ == "__main__":
    main()
