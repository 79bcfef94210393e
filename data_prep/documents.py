"""Web pages (WARC) to documents: the main text of pages that pass language and length rules.

    python data_prep/documents.py pages=[corpus/pages] out=corpus/documents

Each archive is a unit of work. Pages are extracted in guarded processes: a page that crashes its
process, hangs, or exceeds the memory limit is rejected, and no other page is affected.
"""

if __name__ == "__main__":
    from webtext_gpt.commands import run_script

    run_script("documents")


import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from data_prep.classifier.model import QualityModel, load_model
from data_prep.classifier.scoring import QualityLimit, score_documents
from data_prep.crawl.warc import Damage, Page, archived_pages
from data_prep.extraction.page import Document, TextRules, document_of
from data_prep.extraction.pool import Extractor, ExtractorPool
from data_prep.settings import Documents
from data_prep.stage import workers
from data_prep.stage.engine import NATIVE, Engine, start_engine
from data_prep.stage.inputs import InputFile, find_inputs
from data_prep.stage.ledger import Ledger
from data_prep.stage.manifest import Manifest, print_counts, source_manifests
from webtext_gpt.cli import Call
from webtext_gpt.errors import UserError
from webtext_gpt.files import replaced
from webtext_gpt.signatures import head_of, other_kind
from webtext_gpt.terminal import say

SUFFIXES = tuple(
    f".{kind}{packed}"
    for kind in ("warc", "arc", "warc.wet")
    for packed in ("", ".gz", ".lz4", ".zst")
)  # fmt: skip
SCHEMA = pa.schema([
    ("id", pa.string()), ("text", pa.string()), ("url", pa.string()), ("domain", pa.string()),
    ("language", pa.string()), ("language_score", pa.float32()), ("tokens", pa.int64()),
])  # fmt: skip
DROPPED = pa.schema([("url", pa.string()), ("reason", pa.string()), ("text", pa.string())])
READER_VERSION = 2  # recorded, so that no corpus mixes pages that were read by different rules
SAMPLE_CHARACTERS = 2000  # characters kept of each dropped text, for inspection
WRITE_CHARACTERS = 32_000_000  # characters of text buffered before they are written


class ArchiveRecord(TypedDict):
    """Record of one archive.

    Attributes:
        rows: Records read.
        rejected: Records rejected, by reason.
        repaired: Pages whose faults were repaired, by fault.
        broken: Name of the archive if it is damaged, or "".
        damage: Where the archive is damaged, and how much.
    """

    rows: int
    rejected: dict[str, int]
    repaired: dict[str, int]
    broken: str
    damage: dict[str, Any]


def build_documents(
    pages: Sequence[str],
    out: str | Path,
    rules: TextRules,
    *,
    keep_dropped: bool = False,
    max_page_bytes: int = 10_000_000,
    page_seconds: float = 30,
    page_memory_bytes: int = 4_000_000_000,
    workers_at_once: int | None = None,
    engine: Engine = NATIVE,
    extract: Extractor = document_of,
    model: QualityModel | None = None,
    limit: QualityLimit | None = None,
) -> Manifest:
    """Extract the documents of some archives.

    Args:
        pages: Files, folders or globs of WARC or ARC archives.
        out: Folder to create.
        rules: Rules for keeping and changing texts.
        keep_dropped: Whether to write dropped texts and their reasons to `out/dropped`.
        max_page_bytes: Larger pages are rejected.
        page_seconds: Time limit of a page: CPU time, or time asleep.
        page_memory_bytes: Limit of the address space of an extracting process.
        workers_at_once: Number of processes. None means one per core.
        engine: Where the processes run: natively, all of them read one archive after the other; on
            a cluster, each has an archive of its own.
        extract: Turns a page into a document. It runs in another process, which imports it.
        model: Gives the column `quality`. None means that there is none.
        limit: Rule for dropping documents by quality. None drops none.

    Returns:
        The manifest. Its `repaired` counts the faults of pages that were kept, `broken` names the
        damaged archives, and `damage` says where and how much.

    Raises:
        UserError: No archive is found, a file has no WARC or ARC record, or `out` holds other
            files.
    """
    started = time.monotonic()
    files = find_inputs(pages, SUFFIXES, "pages", any_name=True, check_later=True, out=out)
    config = {
        **asdict(rules), "keep_dropped": keep_dropped, "max_page_bytes": max_page_bytes,
        "page_seconds": page_seconds, "page_memory_bytes": page_memory_bytes,
        "reader": READER_VERSION,
    }  # fmt: skip
    limit = limit or QualityLimit()
    if model is not None:
        config["quality"] = {"model": model.hash, **asdict(limit)}
    sources = source_manifests(file.path for file in files)
    with Ledger(
        out, "documents", config, files, sources=sources, started=started,
        newer_keys=["reader"], earlier={"extractor": "fast"},
    ) as ledger:  # fmt: skip
        if not ledger.finished:
            folder = ledger.out if model is None else ledger.work / "without scores"
            folder.mkdir(exist_ok=True)
            start_engine(engine, files, ledger.out)
            make_pool = partial(
                ExtractorPool, extract, rules, seconds=page_seconds, memory=page_memory_bytes
            )
            read = partial(
                _read_archive, folder=folder, max_page_bytes=max_page_bytes,
                keep_dropped=keep_dropped,
            )  # fmt: skip
            run_files = partial(ledger.run_files, files=ledger.inputs, label="archives")
            if engine["name"] == "native":
                with make_pool(count=workers_at_once) as pool:
                    records = run_files(partial(read, pool=pool), workers=1)
            else:
                alone = partial(_read_alone, make_pool=make_pool, read=read)
                records = run_files(alone, workers=workers_at_once, engine=engine)
            rows, rejected = records.total("rows"), records.rejected
            more: dict[str, Any] = {}
            if model is not None:
                by_part = partial(ledger.run_parts, workers=workers_at_once, engine=engine)
                low, scores = score_documents(
                    ledger, folder, model, limit, SAMPLE_CHARACTERS, by_part
                )
                rejected, more = rejected + low, {"quality": scores}
            repaired = sum((Counter(r["repaired"]) for r in records), Counter[str]())
            damaged = sorted((r for r in records if r["broken"]), key=lambda r: r["broken"])
            ledger.finish(
                rows_in=rows,
                rows_out=rows - rejected.total(),
                rejected=rejected,
                repaired=dict(sorted(repaired.items())),
                broken=[record["broken"] for record in damaged],
                damage=[record["damage"] for record in damaged],
                **more,
            )
        return ledger.manifest


def _read_archive(
    file: InputFile, pool: ExtractorPool, folder: Path, max_page_bytes: int, keep_dropped: bool
) -> ArchiveRecord:
    """Extract the documents of one archive in the processes of a pool."""
    damage = Damage()
    documents = pool.extract(archived_pages(file.path, max_page_bytes, damage))
    record = _write_archive(file, folder, documents, damage, keep_dropped)
    workers.advance(file.size)
    return record


def _read_alone(
    file: InputFile,
    make_pool: Callable[..., ExtractorPool],
    read: Callable[..., ArchiveRecord],
) -> ArchiveRecord:
    """Extract the documents of one archive in a guarded process of its own."""
    with make_pool(count=1) as pool:
        return read(file, pool=pool)


def _write_archive(
    file: InputFile,
    out: Path,
    documents: Iterator[tuple[Page | None, Document]],
    damage: Damage,
    keep_dropped: bool,
) -> ArchiveRecord:
    """Write the kept and the dropped documents of one archive, in the order of its records."""
    rejected: Counter[str] = Counter()
    repaired: Counter[str] = Counter()
    domain_of = _domains()
    kept: list[tuple[Any, ...]] = []
    dropped: list[tuple[Any, ...]] = []
    rows = held = 0
    target = out / f"documents-{file.hash}.parquet"
    with (
        replaced(target) as temporary,
        pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as writer,
    ):
        for page, document in documents:
            rows += 1
            repaired.update((*(page.faults if page else ()), *document.faults))
            if document.reason or page is None:
                rejected[document.reason] += 1
                if keep_dropped and page is not None:
                    dropped.append((page.url, document.reason, document.text[:SAMPLE_CHARACTERS]))
                continue
            digest = xxhash.xxh3_128_hexdigest(f"{page.url}\n{document.text}".encode())
            kept.append((
                digest, document.text, page.url, domain_of(page.url), document.language,
                document.score, document.tokens,
            ))  # fmt: skip
            held += len(document.text)
            if held > WRITE_CHARACTERS:
                writer.write_table(_table(kept, SCHEMA))
                kept, held = [], 0
        writer.write_table(_table(kept, SCHEMA))
    if rows == rejected["broken archive"] and file.size:
        target.unlink()
        known = other_kind(file.path, head_of(file.path), "a web archive")
        raise UserError(known or f"{file.path} holds no WARC or ARC record")
    if keep_dropped:
        side = out / "dropped" / f"{file.hash}.parquet"
        side.parent.mkdir(exist_ok=True)
        with replaced(side) as temporary:
            pq.write_table(_table(dropped, DROPPED), temporary, compression="zstd")
    return {
        "rows": rows, "rejected": dict(rejected), "repaired": dict(repaired),
        "broken": file.name if damage.places else "",
        "damage": {"name": file.name, "bytes": file.size, **asdict(damage)},
    }  # fmt: skip


def _table(rows: list[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    columns: list[tuple[Any, ...]] = list(zip(*rows, strict=True)) or [()] * len(schema)
    return pa.table(
        [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema
    )


def _domains() -> Callable[[str], str]:
    """Return a function from a URL to its registered domain, or "" if it has none."""
    from data_prep.crawl.urls import Link, UrlRules, url_cleaner

    clean = url_cleaner(UrlRules({}, frozenset(), (), allow_private=True))

    def domain_of(url: str) -> str:
        link = clean(url)
        return link.domain if isinstance(link, Link) else ""

    return domain_of


def run(settings: Documents) -> Manifest:
    """Run the stage and return the manifest."""
    quality = settings.quality
    return build_documents(
        settings.pages,
        settings.out,
        TextRules(**settings.text.arguments()),
        keep_dropped=settings.keep_dropped,
        max_page_bytes=settings.max_page_bytes,
        page_seconds=settings.page_seconds,
        page_memory_bytes=settings.page_memory_bytes,
        workers_at_once=settings.workers,
        engine=settings.engine.arguments(),
        model=None if quality.model is None else load_model(quality.model),
        limit=QualityLimit(quality.threshold, quality.percentile),
    )


def print_documents(manifest: Manifest) -> None:
    """Print the counts, and the faults of pages and archives."""
    print_counts(manifest)
    for fault, count in sorted(manifest.get("repaired", {}).items(), key=lambda item: -item[1]):
        say(f"  {count:>12,}  repaired: {fault}")
    for damage in manifest.get("damage", []):
        say(_described(damage), label="damage")


def refuse_lost_archives(manifest: Manifest) -> None:
    """Refuse archives of which more than half of the bytes could not be read.

    A flipped bit or a cut download costs less; more means that most pages are missing.

    Raises:
        UserError: There is such an archive.
    """
    damages = manifest.get("damage", [])
    if lost := [_described(d) for d in damages if 2 * d["lost_bytes"] > d["bytes"]]:
        raise UserError(
            "\n".join(lost) + "\neverything else is done; for the rest, get these archives again "
            "and give them with the others and another out="
        )


def _described(damage: Mapping[str, Any]) -> str:
    return (
        f"{damage['name']}: damaged after {damage['records_before']:,} records; "
        f"{damage['lost_bytes']:,} of its {damage['bytes']:,} bytes could not be read"
    )


def main(settings: Documents, call: Call) -> None:
    """Extract the documents and print the counts."""
    manifest = run(settings)
    print_documents(manifest)
    refuse_lost_archives(manifest)
