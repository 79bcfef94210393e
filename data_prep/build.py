r"""Build a corpus with one command, from Reddit dumps or any later stage to token shards.

    python data_prep/build.py dumps=[RS_2013-*.zst] out=corpus
    python data_prep/build.py from=documents inputs=[crawl/*.warc.gz] out=corpus
    python data_prep/build.py from=tokenizer inputs=[my_texts.jsonl] out=corpus

Each stage has its own folder in `out`, and its settings under its name (`links.min_karma=5`). If
the build is killed or interrupted, the same command resumes it.
"""

if __name__ == "__main__":
    from webtext_gpt.commands import run_script

    run_script("build")


from collections.abc import Callable, Sequence
from importlib import import_module

from data_prep.classifier.model import load_model
from data_prep.crawl.urls import url_rules
from data_prep.links import post_rules
from data_prep.ngrams.filter_lookup import open_filter
from data_prep.ngrams.testsets import find_test_set
from data_prep.report import webtext_table, write_report
from data_prep.settings import (
    REPORTED,
    Build,
    Documents,
    Links,
    Overlap,
    Pages,
    Shards,
    TokenizerSettings,
)
from data_prep.stage.limit import LIMIT, take
from data_prep.stage.manifest import Manifest, print_counts
from data_prep.stage.plan import PlannedStage, plan
from data_prep.stage.readers import Layout
from webtext_gpt.cli import Call
from webtext_gpt.commands import shell_command
from webtext_gpt.errors import UserError
from webtext_gpt.paths import (
    absence,
    check_output_folder,
    local_path,
    names_files,
    place_of,
    readable_path,
    shown,
)
from webtext_gpt.remote.addresses import is_address, under
from webtext_gpt.settings.base import Settings
from webtext_gpt.terminal import LABEL_WIDTH, quoted, say, say_rows
from webtext_gpt.tokenizer import load_gpt2


def build(settings: Build) -> dict[str, Manifest]:
    """Run all stages and write the report.

    Returns:
        The manifests by stage.

    Raises:
        UserError: Settings of a stage contradict each other, or a stage raised it.
    """
    stages = plan(settings)
    if not is_address(settings.out):
        check_output_folder(local_path(settings.out, "out"), "out")
    for stage in stages:
        _check_files(stage.settings, settings)
    if settings.webtext_domains is not None:
        webtext_table(settings.webtext_domains)
    _check_inputs(settings)
    manifests: dict[str, Manifest] = {}
    for number, stage in enumerate(stages, start=1):
        if stage.all_inputs is not None and settings.limit is not None:
            layout = _layout(stages[-1].settings)
            print_counts(take(stage.all_inputs, under(settings.out, LIMIT), settings.limit, layout))
        print(f"[{number}/{len(stages)}] {stage.name}", flush=True)
        manifests[stage.name] = _run(stage)
        _print_result(stage.name, manifests[stage.name])
    reported = {stage: under(settings.out, stage) for stage in manifests if stage in REPORTED}
    write_report(reported, under(settings.out, "report"), settings.webtext_domains)
    return manifests


def _run(stage: PlannedStage) -> Manifest:
    """Run one stage, and name it in errors, since the stages before it have finished."""
    try:
        manifest: Manifest = import_module(f"data_prep.{stage.name}").run(stage.settings)
    except UserError as error:
        error.args = (f"{stage.name}: {error}",)
        raise
    return manifest


def _check_inputs(settings: Build) -> None:
    """Refuse missing inputs, and name them by the key that `build` has for them."""
    key = "dumps" if settings.first == "links" else "inputs"
    for pattern in getattr(settings, key) or []:
        path = place_of(pattern, key)
        if not names_files(pattern):
            missing = "does not exist" if is_address(pattern) else absence(path)
            raise UserError(f"{key}={shown(pattern)} {missing}")


def _check_files(settings: Settings, whole: Build) -> None:
    """Check the files that a stage reads besides its inputs, before the first stage starts.

    Raises:
        UserError: A file cannot be read.
    """
    match settings:
        case Links():
            post_rules(settings)
        case Pages():
            url_rules(settings.urls)
        case Documents() if settings.quality.model is not None:
            load_model(settings.quality.model, "documents.quality.model")
        case Overlap():
            for name, where in settings.tests.items():
                find_test_set(name, where, settings.evalsets)
            if settings.filter is not None:
                open_filter(readable_path(settings.filter, "filter"))
        case TokenizerSettings(gpt2=str(given)):
            load_gpt2(given, key="tokenizer.gpt2")
        case Shards(tokenizer=given) if "tokenizer" not in whole.stages:
            load_gpt2(given, key="shards.tokenizer")


def _layout(shards: object) -> Layout:
    """Return the layout of the last stage's documents; a trial build assumes it for all stages."""
    assert isinstance(shards, Shards)  # noqa: S101 - for the type checker
    return Layout(shards.lines, shards.text_key)


def _print_result(stage: str, manifest: Manifest) -> None:
    from data_prep.documents import print_documents
    from data_prep.overlap import print_overlap
    from data_prep.shards import print_shards
    from data_prep.tokenizer import print_tokenizer

    printers: dict[str, Callable[[Manifest], None]] = {
        "documents": print_documents, "overlap": print_overlap,
        "tokenizer": print_tokenizer, "shards": print_shards,
    }  # fmt: skip
    printers.get(stage, print_counts)(manifest)


def train_commands(shards: str, tokens: int) -> Sequence[str]:
    """Return the commands that train a small model and the paper's on a corpus.

    The one that suits the number of tokens comes first.
    """
    data = f"data.path={shards}"
    return (
        shell_command("train", "data=shards", data),
        shell_command("train", "experiment=webtext", data, "trainer.devices=8"),
    )[:: 1 if tokens < 10**9 else -1]


def main(settings: Build, call: Call) -> None:
    """Run the stages and print how to train on the result."""
    from data_prep.documents import refuse_lost_archives

    manifests = build(settings)
    tokens = sum(file["n_tokens"] for file in manifests["shards"]["files"])
    say("\ntrain with")
    for command in train_commands(under(settings.out, "shards"), tokens):
        say(f"  {command}")
    report = under(settings.out, "report/report.html")
    say_rows({"report": quoted(report)}, least=LABEL_WIDTH)
    if "documents" in manifests:
        refuse_lost_archives(manifests["documents"])
