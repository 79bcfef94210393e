"""The work of the command `corpora`: check everything, train and measure the models, report."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from webtext_gpt.cli import Call
from webtext_gpt.commands import COMMANDS
from webtext_gpt.data.shards import TokenShards
from webtext_gpt.errors import Stopped, UserError
from webtext_gpt.evaluation.benchmark import Benchmark, Options
from webtext_gpt.evaluation.command import data_folder
from webtext_gpt.evaluation.corpora.heldout import benchmark_of
from webtext_gpt.evaluation.corpora.inputs import open_corpora, read_heldout, scan
from webtext_gpt.evaluation.corpora.measuring import measure, read_measurements
from webtext_gpt.evaluation.corpora.preparation import (
    corpus_shards,
    refuse_other_comparison,
    shared_tokenizer,
    training_arguments,
    training_settings,
)
from webtext_gpt.evaluation.corpora.report import Trained, write_report
from webtext_gpt.evaluation.registry import select_benchmarks, select_suites
from webtext_gpt.paths import check_output_folder, local_path
from webtext_gpt.settings.base import Settings
from webtext_gpt.settings.corpora import Corpora
from webtext_gpt.settings.train import Train
from webtext_gpt.sweep import Job, run_jobs
from webtext_gpt.training.command import train
from webtext_gpt.training.run_folder import read_summary


@dataclass(frozen=True)
class Model:
    """One model of a comparison: a corpus, a seed, and its folder and file of measurements."""

    corpus: str
    seed: int
    folder: Path
    measurements: Path


def main(settings: Corpora, call: Call) -> None:
    """Rank corpora. All input is checked before the first training.

    Raises:
        UserError: a corpus, a held-out set, a benchmark's file or the recipe cannot be used; or
            `run_dir` holds another comparison. After all others: models or benchmarks have failed.
        Stopped: a signal stopped a training; the same call continues.
    """
    run_dir = local_path(settings.run_dir, "run_dir")
    check_output_folder(run_dir, "run_dir")
    recipe = _checked_recipe(settings, run_dir)
    data_dir = None if settings.data_dir is None else data_folder(settings.data_dir)
    tasks = _benchmarks(settings.tasks, data_dir)
    corpora = open_corpora(settings.corpora, settings.text_key, settings.val_fraction)
    heldout = read_heldout(settings.heldout, settings.text_key)
    scanned = scan(corpora, heldout)
    refuse_other_comparison(settings, corpora, run_dir)
    tokenizer = shared_tokenizer(recipe, corpora, scanned, heldout, run_dir)
    shards = corpus_shards(settings, corpora, tokenizer, recipe.model.block_size, run_dir)
    models = list(_models(settings.seeds, shards, run_dir))
    benchmarks = [*map(benchmark_of, heldout), *tasks]
    options = Options(settings.limit)
    failed: dict[str, str] = {}

    def work(model: Model, training: Train) -> None:
        if not read_summary(model.folder):
            train(training, Call(frozenset({"run_dir"}), in_sweep=True))
        failed.update(
            measure(
                model.folder,
                model.measurements,
                benchmarks,
                data_dir=data_dir,
                options=options,
                device=settings.device,
            )
        )

    try:
        _run(settings, models, shards, work)
    finally:
        measured = {
            (m.corpus, m.seed): read_measurements(m.measurements, benchmarks, data_dir, options)
            for m in models
        }
        trained = {name: Trained(own, shards[name]) for name, own in scanned.items()}
        write_report(settings, trained, measured, heldout, select_suites(settings.tasks), run_dir)
    if failed:
        listed = "\n".join(f"- {name}: {reason}" for name, reason in failed.items())
        raise UserError(f"{len(failed)} of {len(benchmarks)} tasks could not be run:\n{listed}")


def _checked_recipe(settings: Corpora, run_dir: Path) -> Train:
    """Check the recipe by composing the settings of train.py for an imaginary model.

    Raises:
        UserError: a setting is wrong, or leaves nothing to measure.
    """
    arguments = training_arguments(settings, run_dir, settings.seeds[0], run_dir)
    recipe = training_settings(arguments)
    if recipe.callbacks.checkpoints is None:
        raise UserError("recipe: callbacks.checkpoints=null leaves no model to measure")
    return recipe


def _benchmarks(tasks: Sequence[str], data_dir: Path | None) -> list[Benchmark]:
    """Return the benchmarks that are asked for; with a folder, check that it has their files.

    Raises:
        MissingDataError: a file is missing.
    """
    chosen = select_benchmarks(tasks) if tasks else []
    for benchmark in chosen if data_dir is not None else ():
        assert data_dir is not None  # noqa: S101 - see above
        benchmark.source.file(data_dir)
    return chosen


def _models(seeds: Sequence[int], corpora: Mapping[str, object], run_dir: Path) -> Iterator[Model]:
    """Yield all models, seed by seed, so that an early end leaves complete seeds."""
    for seed in seeds:
        for name in corpora:
            own = f"{name}/seed-{seed}"
            measurements = run_dir / "measurements" / f"{own}.json"
            yield Model(name, seed, run_dir / "models" / own, measurements)


def _run(
    settings: Corpora,
    models: Sequence[Model],
    shards: Mapping[str, TokenShards],
    work: Callable[[Model, Train], None],
) -> None:
    """Train and measure all models, as a sweep of train.py over corpora and seeds.

    Raises:
        UserError: some have failed; the others have been trained and measured.
        Stopped: a signal stopped a training.
    """
    jobs, trainings, of_folder = [], [], {}
    for number, model in enumerate(models, 1):
        arguments = training_arguments(
            settings, shards[model.corpus].folder, model.seed, model.folder
        )
        name = f"model {number} of {len(models)} ({model.corpus}, seed {model.seed})"
        jobs.append(Job(arguments, name, arguments, str(model.folder)))
        trainings.append(training_settings(arguments))
        of_folder[str(model.folder)] = model

    def train_and_measure(training: Settings) -> None:
        assert isinstance(training, Train)  # noqa: S101 - made above
        work(of_folder[training.run_dir], training)

    try:
        run_jobs(COMMANDS["corpora"], jobs, trainings, train_and_measure)
    except Stopped as stopped:
        again = f"{stopped}\ngive the same call again, with its run_dir=, to continue all of them"
        raise Stopped(again, stopped.exit_code) from None
