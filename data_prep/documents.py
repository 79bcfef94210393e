"""Web pages (WARC) to documents: main text, repaired, in the language wanted, long enough.

    python data_prep/documents.py pages=[corpus/pages] out=corpus/documents

Each archive is a unit of work. Pages are judged in guarded processes: one that crashes, hangs
or outgrows its memory costs its own page and no other.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from omegaconf import DictConfig

from data_prep.crawl.warc import Page, archived_pages
from data_prep.extraction.page import Document, TextRules, document_of
from data_prep.stage import ledger, workers
from data_prep.stage.settings import settings
from webtext_gpt.cli import entry_point
from webtext_gpt.errors import UserError

Judge = Callable[[Page, TextRules], Document]

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
SAMPLE_CHARACTERS = 2000  # of a dropped text, for inspection
WRITE_CHARACTERS = 32_000_000


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
    judge: Judge = document_of,
) -> dict[str, Any]:
    """Make `out` from archives (files, folders, globs) and return its manifest.

    A page may take `page_seconds` and its process `page_memory_bytes` of address space.
    `judge` runs in another process, which imports it. `keep_dropped` writes what was dropped,
    with reasons, beside the documents.

    Raises:
        UserError: no archive; a file without a single record; `out` that holds something else.
    """
    watch = ledger.Stopwatch()
    paths = ledger.expand(pages, SUFFIXES)
    prints = {path: ledger.fingerprint(path) for path in paths}
    config = {
        **asdict(rules), "keep_dropped": keep_dropped, "max_page_bytes": max_page_bytes,
        "page_seconds": page_seconds, "page_memory_bytes": page_memory_bytes,
    }  # fmt: skip
    with ledger.Ledger(
        Path(out), "documents", config, list(prints.values()), sources=ledger.sources(prints)
    ) as book:
        if book.manifest is None:
            todo = [path for path, entry in prints.items() if book.done(entry["xxh3"]) is None]
            judges = _Judges(judge, rules, workers_at_once, page_seconds, page_memory_bytes)
            with judges:
                for path in _shown(todo):
                    name = prints[path]["xxh3"]
                    found = judges.judge(archived_pages(path, max_page_bytes))
                    book.finish_unit(name, _write_archive(path, book, name, found, keep_dropped))
            _finish(book, watch)
        assert book.manifest is not None  # noqa: S101 - for the type checker
        return book.manifest


def _shown(paths: Sequence[Path]) -> Iterator[Path]:
    from tqdm import tqdm

    total = sum(path.stat().st_size for path in paths)
    with tqdm(total=total, unit="B", unit_scale=True, desc="archives", disable=None) as bar:
        for path in paths:
            yield path
            bar.update(path.stat().st_size)


def _write_archive(
    path: Path,
    book: ledger.Ledger,
    name: str,
    found: Iterator[tuple[Page | None, Document]],
    keep_dropped: bool,
) -> dict[str, Any]:
    """Write one archive's documents in the order of its records, and what was dropped."""
    rejected: Counter[str] = Counter()
    domain_of = _domains()
    kept, dropped, rows = list[Any](), list[Any](), 0
    target, side = book.out / f"documents-{name}.parquet", book.out / "dropped" / f"{name}.parquet"
    with (
        ledger.aside(target) as temporary,
        pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as writer,
    ):
        held = 0
        for page, document in found:
            rows += 1
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
    if rows == rejected["broken archive"] and path.stat().st_size:
        target.unlink()
        raise UserError(f"{path}: no WARC or ARC record in it")
    if keep_dropped:
        side.parent.mkdir(exist_ok=True)
        with ledger.aside(side) as temporary:
            pq.write_table(_table(dropped, DROPPED), temporary, compression="zstd")
    broken = path.name if rejected["broken archive"] or rejected["broken record"] else ""
    return {"rows": rows, "rejected": dict(rejected), "broken": broken}


def _table(rows: list[Any], schema: pa.Schema) -> pa.Table:
    columns: list[Any] = list(zip(*rows, strict=True)) or [()] * len(schema)
    return pa.table(
        [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema
    )


def _domains() -> Any:
    from data_prep.crawl.urls import Link, UrlRules, url_cleaner

    clean = url_cleaner(UrlRules({}, frozenset(), (), allow_private=True))

    def domain_of(url: str) -> str:
        link = clean(url)
        return link.domain if isinstance(link, Link) else ""

    return domain_of


def _finish(book: ledger.Ledger, watch: ledger.Stopwatch) -> None:
    records = [book.done(entry["xxh3"]) or {} for entry in book.inputs]
    rejected: Counter[str] = Counter()
    for record in records:
        rejected.update(record["rejected"])
    rows = sum(record["rows"] for record in records)
    book.finish(
        rows_in=rows,
        rows_out=rows - rejected.total(),
        rejected=rejected,
        seconds=watch.seconds,
        broken=sorted(record["broken"] for record in records if record["broken"]),
    )


class _Judges:
    """Guarded processes that turn pages into documents; results come in the order of pages."""

    def __init__(
        self, judge: Judge, rules: TextRules, count: int | None, seconds: float, memory: int
    ) -> None:
        import multiprocessing
        import os

        from pebble import ProcessPool

        self._judge, self._rules = judge, rules
        self._count, self._seconds = count or workers.cores(), seconds
        self._pool = ProcessPool(
            self._count, context=multiprocessing.get_context("spawn"),
            initializer=_start_judge, initargs=(os.getpid(), memory),
        )  # fmt: skip

    def __enter__(self) -> "_Judges":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind:
            self._pool.stop()
        else:
            self._pool.close()
        self._pool.join()

    def judge(self, pages: Iterator[Page | str]) -> Iterator[tuple[Page | None, Document]]:
        """Judge the pages; a reason in the place of a page passes through."""
        waiting: deque[tuple[Page | None, Any]] = deque()
        for page in pages:
            if isinstance(page, str):
                waiting.append((None, Document(reason=page)))
            else:
                arguments = (page, self._rules)
                future = self._pool.schedule(self._judge, arguments, timeout=self._seconds)
                waiting.append((page, future))
            while len(waiting) > 4 * self._count:
                yield _settled(*waiting.popleft())
        while waiting:
            yield _settled(*waiting.popleft())


def _settled(page: Page | None, result: Any) -> tuple[Page | None, Document]:
    from pebble import ProcessExpired

    if page is None:
        return page, result
    try:
        return page, result.result()
    except FutureTimeout:
        return page, Document(reason="extractor hung")
    except (ProcessExpired, MemoryError):
        return page, Document(reason="extractor crashed or ran out of memory")
    except Exception as error:  # whatever an extractor raises costs one page, and is counted
        return page, Document(reason=f"extractor failed: {type(error).__name__}")


def _start_judge(parent: int, memory_bytes: int) -> None:
    import resource

    workers.end_with(parent)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def run(cfg: DictConfig) -> dict[str, Any]:
    """Extract the documents that a composed configuration asks for. Returns the manifest."""
    options = settings(
        cfg,
        {"pages": list, "keep_dropped": bool, "max_page_bytes": int, "page_seconds": float,
         "page_memory_bytes": int, "text.language": str, "text.min_language": float,
         "text.min_tokens": int, "text.gopher": bool, "text.c4": bool, "text.mask": bool},
    )  # fmt: skip
    return build_documents(
        options["pages"],
        options["out"],
        TextRules(**options["text"]),
        keep_dropped=options["keep_dropped"],
        max_page_bytes=options["max_page_bytes"],
        page_seconds=options["page_seconds"],
        page_memory_bytes=options["page_memory_bytes"],
        workers_at_once=options["workers"],
    )


@entry_point("data_prep/documents")
def main(cfg: DictConfig) -> None:
    """Compose the configuration, extract the documents, print the counts."""
    manifest = run(cfg)
    ledger.print_counts(manifest)
    for name in manifest["broken"]:
        print(f"  {name}: damaged; what could be read of it was taken")


if __name__ == "__main__":
    main()
