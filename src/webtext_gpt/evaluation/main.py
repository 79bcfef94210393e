"""The command `eval`: evaluate a model, or compare finished runs by model size."""

from webtext_gpt.cli import Call
from webtext_gpt.paths import local_path
from webtext_gpt.settings.evaluate import Evaluate
from webtext_gpt.terminal import quoted, say_rows


def main(settings: Evaluate, call: Call) -> None:
    """Evaluate a checkpoint, or with `report` compare runs, which needs no model and no torch.

    Raises:
        UserError: see `evaluate_checkpoint` and `write_scaling_report`.
    """
    run_dir = local_path(settings.run_dir, "run_dir")
    if settings.report is not None:
        from webtext_gpt.evaluation.scaling import write_scaling_report

        runs = [local_path(run, "report") for run in settings.report]
        print(write_scaling_report(runs, run_dir))
        files = [quoted(f"{run_dir}/scaling.{ending}") for ending in ("md", "png")]
        print()
        say_rows({"written": files[0], "": files[1]})
        return
    from webtext_gpt.evaluation.benchmark import Options
    from webtext_gpt.evaluation.command import Evaluation, evaluate_checkpoint
    from webtext_gpt.evaluation.compare import compare_checkpoints

    pair = settings.source, settings.reference
    how: Evaluation = {
        "tasks": settings.tasks,
        "data_dir": settings.data_dir,
        "options": Options(
            settings.limit,
            settings.detokenize,
            settings.batch_size,
            None if pair[0] is None or pair[1] is None else (pair[0], pair[1]),
            settings.num_beams,
            settings.length_penalty,
            settings.pieces,
        ),
        "device": settings.device,
        "precision": settings.precision,
        "weights": settings.weights,
        "batch_tokens": settings.batch_tokens,
        "stride": settings.stride,
    }
    if settings.compare is not None:
        a, b = settings.compare
        compare_checkpoints((a, b), run_dir, **how)
    else:
        assert settings.checkpoint is not None  # noqa: S101 - checked by Evaluate
        evaluate_checkpoint(settings.checkpoint, run_dir, **how)
