r"""Build a corpus with one command, from Reddit dumps or any later stage to token shards.

    python data_prep/build.py dumps=[RS_2013-*.zst] out=corpus
    python data_prep/build.py from=documents inputs=[crawl/*.warc.gz] out=corpus
    python data_prep/build.py from=tokenizer inputs=[my_texts.jsonl] out=corpus

Each stage has its own folder in `out`, and its settings under its name (`links.min_karma=5`). If
the build is killed or interrupted, the same command resumes it.
"""

if __name__ == "__main__":  # before the imports below fail
    from webtext_gpt.extras import require

    require("corpus")

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from data_prep.report import STAGES as REPORTED
from data_prep.report import write_report
from data_prep.stage.limit import LIMIT, take
from data_prep.stage.manifest import Manifest, print_counts
from data_prep.stage.readers import Layout
from data_prep.stage.settings import settings
from webtext_gpt.cli import entry_point, quoted
from webtext_gpt.errors import UserError
from webtext_gpt.paths import absence, check_output_folder, local_path, names_files, shown

INPUT = {
    "links": "dumps", "pages": "links", "documents": "pages", "dedup": "documents",
    "overlap": "train", "tokenizer": "documents", "shards": "documents",
}  # fmt: skip
"""The stages in order, each with the key of its configuration that names its inputs."""

STAGES = tuple(INPUT)

Compose = Callable[[str], DictConfig]
"""Function from the name of a stage to its configuration in conf/data_prep."""


@dataclass
class Plan:
    """Inputs, stages and settings of a build.

    Attributes:
        out: Folder that will hold the folders of all stages.
        inputs: Inputs of the first stage.
        first: Name of the first stage.
        limit: Number of links or documents of a trial build. None means all.
        settings: Changed keys of the configurations, by stage.
        shared: Keys that are set in every stage that has them (`workers`, `engine`).
        webtext_domains: Table for the report, see `write_report`.
    """

    out: Path
    inputs: list[str]
    first: str = "links"
    limit: int | None = None
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    shared: Mapping[str, Any] = field(default_factory=dict)
    webtext_domains: str | None = None

    def stages(self) -> list[str]:
        """Return the stages to run, in order.

        Overlap runs only if test sets are named, tokenizer only if `shards` is not given one.
        """
        left_out = set()
        if not self.settings.get("overlap", {}).get("tests"):
            left_out.add("overlap")
        if self.settings.get("shards", {}).get("tokenizer") is not None:
            left_out.add("tokenizer")
        return [s for s in STAGES[STAGES.index(self.first) :] if s not in left_out]

    def limited_stage(self) -> str | None:
        """Return the stage before which a trial build drops rows; None for a build without limit.

        It is pages if this build makes or reads links, else the first stage that reads documents.
        """
        if self.limit is None:
            return None
        earliest = "pages" if self.first in ("links", "pages") else "dedup"
        return next(s for s in self.stages() if STAGES.index(s) >= STAGES.index(earliest))


def build(plan: Plan, compose: Compose) -> dict[str, Manifest]:
    """Run all stages of a plan and write the report.

    Args:
        plan: Inputs, stages and settings.
        compose: Composes the configuration of a stage.

    Returns:
        The manifests by stage.

    Raises:
        UserError: A setting does not exist or contradicts another one, or a stage raised it.
    """
    if plan.limit is not None and plan.limit < 1:
        raise UserError(f"limit={plan.limit}: must be at least 1")
    check_output_folder(plan.out, "out")
    _refuse_reserved_keys(plan)
    stages = plan.stages()
    configs = {stage: _stage_config(plan, stage, compose(stage)) for stage in stages}
    if "tokenizer" not in stages and OmegaConf.is_missing(configs["shards"], "tokenizer"):
        raise UserError("from=shards needs shards.tokenizer=FOLDER or a tokenizer.json")
    _check_inputs(plan)
    manifests: dict[str, Manifest] = {}
    inputs = plan.inputs
    for number, stage in enumerate(stages, start=1):
        cfg = configs[stage]
        if stage == plan.limited_stage():
            assert plan.limit is not None  # noqa: S101 - for the type checker
            target = plan.out / LIMIT
            print_counts(take(inputs, target, plan.limit, _layout(configs)))
            inputs = [str(target)]
        print(f"[{number}/{len(stages)}] {stage}", flush=True)
        if stage != "tokenizer" or cfg.gpt2 is None:
            cfg[INPUT[stage]] = inputs
        if stage == "shards" and "tokenizer" in stages:
            cfg.tokenizer = str(plan.out / "tokenizer")
        cfg.out = str(plan.out / stage)
        manifests[stage] = import_module(f"data_prep.{stage}").run(cfg)
        _print_result(stage, manifests[stage])
        if stage != "tokenizer" and (stage != "overlap" or cfg.remove):
            inputs = [cfg.out]
    reported = {stage: plan.out / stage for stage in stages if stage in REPORTED}
    write_report(reported, plan.out / "report", plan.webtext_domains)
    return manifests


def _check_inputs(plan: Plan) -> None:
    """Refuse inputs that are not there under the key that `build` has for them."""
    key = "dumps" if plan.first == "links" else "inputs"
    for pattern in plan.inputs:
        path = local_path(pattern, key)
        if not names_files(pattern):
            raise UserError(f"{key}={shown(pattern)} {absence(path)}")


def _refuse_reserved_keys(plan: Plan) -> None:
    """Refuse settings that the build would overwrite or ignore."""
    for stage, own in plan.settings.items():
        source = "dumps=, or from= and inputs=" if stage == plan.first else "the previous stage"
        for key, instead in ((INPUT[stage], f"comes from {source}"), ("out", "is out/STAGE")):
            if key in own:
                raise UserError(f"{stage}.{key}={own[key]}: build sets this key; it {instead}")
    if "tokenizer" not in plan.stages() and "shards" in plan.settings:
        given = plan.settings["shards"].get("tokenizer")
        if given is not None and (plan.settings.get("tokenizer") or plan.first == "tokenizer"):
            raise UserError(
                f"shards.tokenizer={given} replaces the tokenizer stage: remove it, or remove "
                "tokenizer.* and from=tokenizer"
            )


def _stage_config(plan: Plan, stage: str, cfg: DictConfig) -> DictConfig:
    """Return the configuration of a stage with the plan's settings."""
    OmegaConf.set_struct(cfg, True)
    own = dict(plan.settings.get(stage, {}))
    shared = {key: value for key, value in plan.shared.items() if key in cfg}
    try:
        for key, value in shared.items():
            OmegaConf.update(cfg, key, value, merge=False, force_add=key == "engine")
        if "tests" in own:
            OmegaConf.update(cfg, "tests", own.pop("tests"), force_add=True)
        return OmegaConf.merge(cfg, own)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        raise UserError(f"{stage}.{str(error).splitlines()[0]}") from error


def _layout(configs: Mapping[str, DictConfig]) -> Layout:
    shards = configs["shards"]
    return Layout(shards.lines, shards.text_key)


def _print_result(stage: str, manifest: Manifest) -> None:
    from data_prep.overlap import print_overlap
    from data_prep.shards import print_shards
    from data_prep.tokenizer import print_tokenizer

    printers: dict[str, Callable[[Manifest], None]] = {
        "overlap": print_overlap, "tokenizer": print_tokenizer, "shards": print_shards,
    }  # fmt: skip
    printers.get(stage, print_counts)(manifest)


def train_commands(shards: Path, tokens: int) -> Sequence[str]:
    """Return the commands that train a small model and the paper's on a corpus.

    The one that suits the number of tokens comes first. The path is quoted for Hydra's grammar and
    then for the shell, if needed.
    """
    path = str(shards)
    if not re.fullmatch(r"[A-Za-z0-9_./-]+", path):
        path = quoted(path)
    data = shlex.quote(f"data.path={path}")
    return (
        f"python train.py data=shards {data}",
        f"python train.py experiment=webtext {data} trainer.devices=8",
    )[:: 1 if tokens < 10**9 else -1]


@entry_point("data_prep/build", open_keys=STAGES)
def main(cfg: DictConfig) -> None:
    """Run the stages and print how to train on the result."""
    from hydra import compose

    kinds: dict[str, type] = {"from": str, "out": str}
    lists = {key: list for key in ("dumps", "inputs") if cfg[key] is not None}
    limit = {"limit": int} if cfg.limit is not None else {}
    options = settings(cfg, kinds | lists | limit)
    first = options["from"]
    if first not in STAGES:
        raise UserError(f"from={first}: expected one of {', '.join(STAGES)}")
    inputs = options["dumps"] if first == "links" else options["inputs"]
    if not inputs:
        raise UserError(
            "give dumps=[FILES]" if first == "links"
            else f"from={first} needs inputs=[FILES], which {first}.py reads as {INPUT[first]}="
        )  # fmt: skip
    plan = Plan(
        out=Path(options["out"]), inputs=inputs, first=first, limit=options["limit"],
        settings={stage: options[stage] or {} for stage in STAGES},
        shared={"workers": options["workers"], "engine": options["engine"],
                "evalsets": options["evalsets"]},
        webtext_domains=options["webtext_domains"],
    )  # fmt: skip
    manifests = build(plan, compose)
    shards = plan.out / "shards"
    tokens = sum(file["n_tokens"] for file in manifests["shards"]["files"])
    print(f"\nreport  {plan.out / 'report' / 'report.md'}\ntrain with")
    for command in train_commands(shards, tokens):
        print(f"  {command}")


if __name__ == "__main__":
    main()
