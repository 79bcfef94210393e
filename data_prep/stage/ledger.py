"""Output folder of a stage while it is being made: plan, lock, upload, manifest.

Until the stage is finished, `_work/plan.json` holds its settings and the fingerprints of its
inputs, and `_work/done/NAME.json` the record of each finished unit of work (`units.py`). A stage
that was killed and is run again repeats only the unfinished units. When everything is written,
`manifest.json` appears and `_work` is deleted. A folder with anything else in it, or one that
was made with other settings or inputs, is refused.

A folder at an address (`s3://...`) is made in the cache by these rules, on the machine that began
it, and then uploaded; there, too, `_work/plan.json` is first and `manifest.json` last.
"""

import fcntl
import json
import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from data_prep.stage.inputs import InputFile, by_content, refuse_repeats
from data_prep.stage.manifest import MANIFEST, Manifest, read_manifest, write_manifest
from data_prep.stage.outputs import OutputHashes
from data_prep.stage.same_corpus import difference_of
from data_prep.stage.units import Units
from webtext_gpt.errors import UserError
from webtext_gpt.files import remove
from webtext_gpt.manifests import sealed
from webtext_gpt.paths import check_output_folder, local_path
from webtext_gpt.remote.addresses import is_address
from webtext_gpt.remote.uploads import WORK, Upload, sent_files
from webtext_gpt.terminal import say

FORMAT = 1
PLAN = f"{WORK}/plan.json"
LEFTOVERS = (".*.partial", ".*.tmp")
"""Names of half-written files that a killed stage leaves; `.tmp` is the older form."""


class Ledger(Units):
    """Output folder of one stage while it is being made.

    Use it as a context manager: the folder is locked inside the block. If `finished` is true
    there, the folder already holds this corpus and there is nothing to do. Its units of work are
    run by the methods of `Units`.

    Args:
        out: The folder, which may not exist yet, or its address in an object store.
        stage: Name of the stage.
        config: Every setting that changes the output, as plain JSON values.
        inputs: The files that the stage reads. Together with `config` they decide whether a folder
            that is found finished or half-made is this corpus or another one.
        sources: Manifests of the stages that wrote the inputs, see `source_manifests`.
        format: Format of the output, stored in the manifest.
        started: `time.monotonic()` at which the stage began. Defaults to now.
        newer_keys: Keys of `config` that an earlier version did not record. A finished corpus
            without them is accepted. An unfinished one starts again, because its parts would mix
            both versions.
        outputs: Whether the manifest lists the files with their hashes; false for a stage that
            records hashes of its own.
        repeats: Whether inputs may have the same content, because the stage drops repeated rows.
        earlier: Newer keys whose value an earlier version had without recording it. A finished
            corpus without such a key is accepted if the value is the same now.

    Raises:
        UserError: `out` holds other files or another corpus, two inputs have the same content
            and `repeats` is false, another process is writing to `out`, or a store cannot be
            reached or refuses.
    """

    def __init__(
        self,
        out: str | Path,
        stage: str,
        config: Mapping[str, Any],
        inputs: Sequence[InputFile],
        *,
        sources: Sequence[Manifest] = (),
        format: int | str = FORMAT,
        started: float | None = None,
        newer_keys: Sequence[str] = (),
        outputs: bool = True,
        repeats: bool = False,
        earlier: Mapping[str, object] | None = None,
    ) -> None:
        self._upload = Upload(str(out)) if is_address(out) else None
        folder = self._upload.folder if self._upload else local_path(out, "out")
        self.out = folder.absolute()  # Arrow takes a relative `a:b/c` for a URL
        super().__init__(self.out / WORK, OutputHashes(self.out, WORK) if outputs else None)
        self.inputs = by_content(inputs)
        self._started = time.monotonic() if started is None else started
        self._plan: Manifest = {
            "stage": stage, "format": format, "config": dict(config),
            "inputs": [file.fingerprint for file in self.inputs],
        }  # fmt: skip
        self._sources = list(sources)
        self._earlier = earlier or {}
        self._newer_keys = (*newer_keys, *self._earlier)
        self._lock: IO[str] | None = None
        self._outdated = False  # unfinished, and started by a version without the newer keys
        if not repeats:
            refuse_repeats(self.inputs)
        self._manifest = self._open()

    def __enter__(self) -> "Ledger":
        if not self.finished:
            self._lock = (self.work / "lock").open("w")
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                self._lock.close()
                raise UserError(f"{self.out}: another process is making this corpus") from error
            if self._outdated:
                self._start_again()
            self._remove_leftovers()
            if (self.out / MANIFEST).exists():  # only the upload is left
                self._manifest = read_manifest(self.out / MANIFEST)
                self._conclude()
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is not None and issubclass(error, UserError):
            self._forget_if_nothing_is_done()
        if self._lock:
            self._lock.close()

    @property
    def finished(self) -> bool:
        """Whether the folder holds the complete corpus."""
        return self._manifest is not None

    @property
    def manifest(self) -> Manifest:
        """Manifest of the finished corpus."""
        if self._manifest is None:
            raise RuntimeError(f"{self.out}: the stage is not finished")
        return self._manifest

    def finish(
        self,
        *,
        rows_in: int,
        rows_out: int,
        rejected: Counter[str],
        rows_used: int | None = None,
        **more: Any,
    ) -> None:
        """Write the manifest and delete `_work`.

        The manifest holds `stage`, `format`, `config`, `inputs`, `rows_in`, `rows_used`,
        `rows_out`, `rejected`, the stage's own keys, `sources`, `bytes` (of all files),
        `outputs` (name, size and hash of each file), `seconds` (of the run that finished) and a
        hash of all these.

        Args:
            rows_in: Rows read.
            rows_out: Rows written.
            rejected: Rows dropped, by reason.
            rows_used: Rows that went into `rows_out`. Defaults to `rows_out`; differs where the
                stage merges rows.
            more: The stage's own keys.

        Raises:
            RuntimeError: The rows do not add up, which is a defect of the stage.
        """
        used = rows_out if rows_used is None else rows_used
        if rows_in != used + rejected.total():
            raise RuntimeError(f"{rows_in} rows in, but {used} used + {rejected.total()} rejected")
        self._remove_leftovers()  # files of nodes that have failed
        files = [p for p in self.out.rglob("*") if p.is_file() and self.work not in p.parents]
        manifest = {
            **self._plan,
            "rows_in": rows_in,
            "rows_used": used,
            "rows_out": rows_out,
            "rejected": dict(sorted((+rejected).items())),
            **more,
            "sources": self._sources,
            "bytes": sum(p.stat().st_size for p in files),
            **({"outputs": self._hashes.all_of(files)} if self._hashes else {}),
            "seconds": round(time.monotonic() - self._started, 3),
        }
        self._manifest = sealed(manifest)
        write_manifest(self.out / MANIFEST, self._manifest)
        self._conclude()

    def _remove_leftovers(self) -> None:
        for pattern in LEFTOVERS:
            for path in self.out.rglob(pattern):
                path.unlink()

    def _conclude(self) -> None:
        """Send the finished folder if it has an address, and delete `_work`."""
        if self._upload is not None:
            self._upload.send(sent_files(self.out), self.out / MANIFEST)
            self._upload.remove(PLAN)
        shutil.rmtree(self.work)
        if self._upload is not None:
            self._upload.keep_as_copy()

    def discard(self) -> None:
        """Delete the unfinished folder, whose units a corrected call could not use."""
        shutil.rmtree(self.out)
        if self._upload is not None:
            self._upload.remove(PLAN)

    def _open(self) -> Manifest | None:
        """Return the manifest if the folder is finished, None if work is left."""
        check_output_folder(self.out, "out")
        manifest, plan = self.out / MANIFEST, self.out / PLAN
        if self._upload is not None and (sent := self._look_at(self._upload)) is not None:
            return sent
        if manifest.exists():
            found = read_manifest(manifest)
            self._refuse_another(found, "a finished corpus", may_lack=self._newer_keys)
            if self._upload is None or not self.work.exists():
                return found
            return None
        if plan.exists():
            found = read_manifest(plan)
            self._refuse_another(found, "an unfinished corpus", may_lack=self._newer_keys)
            self._outdated = not set(self._newer_keys) <= set(found.get("config", {}))
        elif self.out.exists() and any(p != self.work for p in self.out.iterdir()):
            raise UserError(
                f"{self.out} is not empty and not the folder of a stage; choose another out="
            )
        else:
            (self.work / "done").mkdir(parents=True, exist_ok=True)
            write_manifest(plan, self._plan)
        return None

    def _look_at(self, upload: Upload) -> Manifest | None:
        """Return the manifest at an address if it is there; else claim the address.

        The plan is written there before any work, which shows that the store lets us write.
        """
        there = f"{upload.address} holds"
        if (manifest := upload.copy(MANIFEST)) is not None:
            found = read_manifest(manifest)
            self._refuse_another(found, "a finished corpus", there, may_lack=self._newer_keys)
            if upload.folder.exists():  # the process was killed just after it had sent everything
                shutil.rmtree(upload.folder)
                upload.remove(PLAN)
            return found
        if (plan := upload.copy(PLAN)) is not None:
            found = read_manifest(plan)
            self._refuse_another(found, "an unfinished corpus", there, may_lack=self._newer_keys)
        elif upload.holds_files():
            raise UserError(
                f"{upload.address} is not empty and not the folder of a stage; choose another out="
            )
        upload.write(PLAN, self._plan)
        return None

    def _forget_if_nothing_is_done(self) -> None:
        """Remove the plan if bad input stopped the stage, so that a corrected call can run."""
        ours = {self.work / "lock", self.out / PLAN, self.work / "done"}
        if (
            not self.finished
            and self.out.exists()
            and set(self.out.iterdir()) == {self.work}
            and set(self.work.iterdir()) <= ours
            and not any((self.work / "done").iterdir())
        ):
            shutil.rmtree(self.work)
            self.out.rmdir()
            if self._upload is not None:
                self._upload.remove(PLAN)

    def _start_again(self) -> None:
        """Delete what an earlier version left unfinished, and write this version's plan."""
        say(f"{self.out}: started by an earlier version of this stage; starting again")
        plan = self.out / PLAN  # replaced last, so that a killed process starts again, too
        for path in (*self.out.iterdir(), *self.work.iterdir()):
            if path not in (self.work, self.work / "lock", plan):
                remove(path)
        (self.work / "done").mkdir()
        write_manifest(plan, self._plan)

    def _refuse_another(
        self, found: Manifest, kind: str, there: str = "", *, may_lack: Sequence[str]
    ) -> None:
        """Raise UserError unless a plan or manifest matches this stage's plan."""
        found = {**found, "config": {**self._earlier, **found.get("config", {})}}
        difference = difference_of(found, json.loads(json.dumps(self._plan)), may_lack)
        if difference:
            raise UserError(
                f"{there or f'{self.out} holds'} {kind} that differs: {difference}\n"
                "choose another out=, or delete the folder"
            )
