"""What makes a stage's folder a corpus: manifest, atomic parts, resume, refusal to overwrite.

A stage's output folder goes through two states. While it is made, `_work/plan.json` says what
it is made of and `_work/done/NAME.json` marks each finished unit of work; a killed stage finds
them and repeats only what is unfinished. When all is written, `manifest.json` appears and
`_work` goes. A folder in any other state, or made of other inputs or settings, is refused.
"""

import fcntl
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import xxhash

from webtext_gpt.errors import UserError

FORMAT = 1
MANIFEST = "manifest.json"


def fingerprint(path: Path) -> dict[str, Any]:
    """Name, size and content hash (XXH3, 128 bits) of one input file.

    Raises:
        UserError: the file cannot be read.
    """
    digest = xxhash.xxh3_128()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    return {"name": path.name, "bytes": path.stat().st_size, "xxh3": digest.hexdigest()}


def refuse_repeats(prints: Iterable[dict[str, Any]]) -> None:
    """Refuse files of one content, whose documents would count twice; `prints` in any order.

    Raises:
        UserError: two have the same hash.
    """
    ordered = sorted(prints, key=lambda entry: (entry["xxh3"], entry["name"]))
    for one, other in pairwise(ordered):
        if one["xxh3"] == other["xxh3"]:
            raise UserError(
                f"{one['name']} and {other['name']} have the same content: give each input once; "
                "leave one of the two out, or move it out of the folder"
            )


def sources(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """The manifests of the finished corpora that some files are parts of, one a folder."""
    folders = {path.parent for path in paths}
    found = [read_manifest(f / MANIFEST) for f in folders if (f / MANIFEST).exists()]
    return sorted(found, key=lambda manifest: json.dumps(manifest.get("inputs"), sort_keys=True))


def expand(patterns: Iterable[str], suffixes: tuple[str, ...] = ()) -> list[Path]:
    """The files that paths, folders and glob patterns name, sorted.

    A folder stands for the files in it that end in `suffixes`; one of ours for its parts
    (`documents-00000.parquet`), not for the tables about them (`clusters.parquet`).

    Raises:
        UserError: a pattern names nothing.
    """
    found: set[Path] = set()
    for pattern in patterns:
        path = Path(pattern).expanduser()
        if path.is_dir():
            files = [p for p in path.iterdir() if p.name.endswith(suffixes) and p.is_file()]
            if (path / MANIFEST).exists():
                files = [p for p in files if "-" in p.name]
        elif path.exists():
            files = [path]
        else:
            files = [p for p in Path(path.anchor or ".").glob(_relative(path)) if p.is_file()]
        if not files:
            wanted = f" with a file in {', '.join(suffixes)}" if path.is_dir() and suffixes else ""
            raise UserError(f"{pattern}: no such file or folder{wanted}")
        found.update(p.resolve() for p in files)
    return sorted(found)


def _relative(path: Path) -> str:
    return str(path.relative_to(path.anchor)) if path.anchor else str(path)


@contextmanager
def aside(path: Path) -> Iterator[Path]:
    """A temporary name in `path`'s folder; renamed to `path` if the block ends without error."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write JSON aside and rename it into place."""
    with aside(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", "utf-8")


class Ledger:
    """One stage's output folder while it is being made.

    `config` holds every setting that changes the output, as plain JSON values; `inputs` the
    fingerprints of what is read. Both decide whether a folder found half-made, or finished,
    is this corpus or another one. Use as a context manager: the folder is locked meanwhile.

    `sources` are the manifests of the folders that the inputs lie in, as `sources` finds them,
    so that each manifest leads back to the dumps. `format` is written as it is given.
    `newer_keys` are keys of `config` that an earlier version did not record: a finished corpus
    without them is accepted, an unfinished one is refused, since its parts would mix both.

    Raises:
        UserError: `out` holds something else, another corpus, or another process is at work.
    """

    def __init__(
        self,
        out: Path,
        stage: str,
        config: dict[str, Any],
        inputs: list[dict[str, Any]],
        *,
        sources: Sequence[dict[str, Any]] = (),
        format: int | str = FORMAT,
        newer_keys: Sequence[str] = (),
    ) -> None:
        self.out = out
        self.work = out / "_work"
        # Hashes alone decide the order, so that it is not that of the command line.
        self.inputs = sorted(inputs, key=lambda entry: (entry["xxh3"], entry["name"]))
        self._plan = {"stage": stage, "format": format, "config": config, "inputs": self.inputs}
        self._sources = list(sources)
        self._newer_keys = newer_keys
        self._lock: IO[str] | None = None
        refuse_repeats(self.inputs)
        self.manifest = self._open()

    def __enter__(self) -> "Ledger":
        if self.manifest is None:
            self._lock = (self.work / "lock").open("w")
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise UserError(f"{self.out}: another process is making this corpus") from error
            for left_by_a_killed_run in self.out.rglob(".*.tmp"):
                left_by_a_killed_run.unlink()
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock:
            self._lock.close()

    def _open(self) -> dict[str, Any] | None:
        """The manifest if the folder is finished and is this corpus; None if work is left."""
        manifest, plan = self.out / MANIFEST, self.work / "plan.json"
        if manifest.exists():
            found = read_manifest(manifest)
            self._refuse_another(found, "a finished corpus", may_lack=self._newer_keys)
            return found
        if plan.exists():
            self._refuse_another(read_manifest(plan), "an unfinished corpus")
        elif self.out.exists() and any(p != self.work for p in self.out.iterdir()):
            raise UserError(
                f"{self.out} is not empty and holds no corpus of ours; choose another out="
            )
        else:
            (self.work / "done").mkdir(parents=True, exist_ok=True)
            write_json(plan, self._plan)
        return None

    def _refuse_another(
        self, found: dict[str, Any], kind: str, may_lack: Sequence[str] = ()
    ) -> None:
        for key in ("stage", "format"):
            if found.get(key) != self._plan[key]:
                self._refuse(kind, f"{key} is {found.get(key)!r} there, {self._plan[key]!r} here")
        theirs, ours = found.get("config", {}), json.loads(json.dumps(self._plan["config"]))
        for key in sorted(theirs.keys() | ours.keys()):
            if key not in theirs:
                if key not in may_lack:
                    self._refuse(kind, f"{key} is not recorded there, {ours[key]!r} here")
            elif theirs[key] != ours.get(key):
                self._refuse(kind, f"{key} is {theirs.get(key)!r} there, {ours.get(key)!r} here")
        before = {entry["xxh3"]: entry["name"] for entry in found.get("inputs", [])}
        now = {entry["xxh3"]: entry["name"] for entry in self.inputs}
        if before.keys() != now.keys():
            changed = sorted(before[k] for k in before.keys() - now.keys())
            added = sorted(now[k] for k in now.keys() - before.keys())
            self._refuse(kind, f"inputs differ (there: {changed}, here: {added})")

    def _refuse(self, kind: str, why: str) -> None:
        raise UserError(
            f"{self.out} holds {kind} made otherwise: {why}\n"
            "choose another out=, or delete that folder"
        )

    def done(self, unit: str) -> dict[str, Any] | None:
        """What `finish_unit` recorded of a unit of work, or None while it is unfinished."""
        path = self.work / "done" / f"{unit}.json"
        return read_manifest(path) if path.exists() else None

    def finish_unit(self, unit: str, record: dict[str, Any]) -> dict[str, Any]:
        """Mark a unit of work as finished; its files must be in place already."""
        write_json(self.work / "done" / f"{unit}.json", record)
        return record

    def finish(
        self,
        *,
        rows_in: int,
        rows_out: int,
        rejected: Counter[str],
        seconds: float,
        **more: Any,
    ) -> dict[str, Any]:
        """Write the manifest and drop what only a resume needs.

        `seconds` are those of the run that finished. `rows_used` is taken as `rows_out` where the
        stage merges no rows.

        Raises:
            RuntimeError: the rows do not add up, which is a defect of the stage.
        """
        used = more.pop("rows_used", rows_out)
        if rows_in != used + rejected.total():
            raise RuntimeError(f"{rows_in} rows in, but {used} used + {rejected.total()} rejected")
        counts = {"rows_in": rows_in, "rows_used": used, "rows_out": rows_out}
        files = (p for p in self.out.rglob("*") if p.is_file() and self.work not in p.parents)
        self.manifest = {
            **self._plan,
            **counts,
            "rejected": dict(sorted(rejected.items())),
            **more,
            "sources": self._sources,
            "bytes": sum(p.stat().st_size for p in files),
            "seconds": round(seconds, 3),
        }
        write_json(self.out / MANIFEST, self.manifest)
        shutil.rmtree(self.work)
        return self.manifest


def read_manifest(path: Path) -> dict[str, Any]:
    """Read a manifest or a plan.

    Raises:
        UserError: the file is not one.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}); choose another out=") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: not a manifest; choose another out=")
    return value


class Stopwatch:
    """Seconds since it was made, monotonic."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    @property
    def seconds(self) -> float:
        """Elapsed so far."""
        return time.monotonic() - self._start


def print_counts(manifest: dict[str, Any]) -> None:
    """Show a manifest's counts on the terminal."""
    print(f"{manifest['stage']}: {manifest['rows_in']:,} rows in, {manifest['rows_out']:,} out")
    for reason, count in sorted(manifest["rejected"].items(), key=lambda item: -item[1]):
        print(f"  {count:>12,}  {reason}")
    if manifest["rows_used"] != manifest["rows_out"]:
        print(f"  {manifest['rows_used']:>12,}  merged into the rows out")
