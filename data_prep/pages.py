"""Links to pages: fetches URLs politely into web archives, with a status for every URL.

    python data_prep/pages.py links=[corpus/links] out=corpus/pages shard=1/4

Killed or interrupted, the same command goes on where it was.
"""

import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash
from omegaconf import DictConfig

from data_prep.crawl.journal import Journal
from data_prep.crawl.urls import UrlRules, url_cleaner, url_rules
from data_prep.stage import ledger
from data_prep.stage.settings import settings
from webtext_gpt.cli import entry_point
from webtext_gpt.errors import UserError

ROWS_AT_ONCE = 8192
SCHEMA = pa.schema([
    ("id", pa.string()), ("url", pa.string()), ("final_url", pa.string()),
    ("status", pa.string()), ("bytes", pa.int64()),
])  # fmt: skip


def fetch_pages(
    links: Sequence[str],
    out: str | Path,
    rules: UrlRules,
    politeness: Mapping[str, Any],
    *,
    shard: str = "1/1",
    archive_bytes: int = 1_000_000_000,
) -> dict[str, Any]:
    """Fetch the links' URLs into `out` and return its manifest.

    `links` are Parquet files with `id`, `url` and `domain`. Shard `i/n` is the i-th of n parts,
    cut by registered domain, so that one machine alone talks to a host. A process can crawl
    once: Twisted's reactor does not start again.

    Raises:
        UserError: unreadable links; `out` that holds something else; an interrupted crawl.
    """
    from data_prep.crawl.politeness import Politeness

    watch = ledger.Stopwatch()
    number, of = _shard(shard)
    polite = Politeness(**politeness, allow_private=rules.allow_private)
    paths = ledger.expand(links, (".parquet",))
    config = {
        "shard": shard, "max_bytes": polite.max_bytes, "max_redirects": polite.max_redirects,
        "urls": _digest(rules), "allow_private": rules.allow_private,
    }  # fmt: skip
    prints = [ledger.fingerprint(path) for path in paths]
    with ledger.Ledger(Path(out), "pages", config, prints, sources=ledger.sources(paths)) as book:
        if book.manifest is None:
            journal = Journal(book.out, book.work / "journal.jsonl", archive_bytes)
            total, others = _count(paths, number, of)
            try:
                links_of_shard = (batch for batch, _ in _batches(paths, number, of))
                _crawl(links_of_shard, journal, rules, polite, total)
            finally:
                journal.close()
            _finish(book, journal, total, others, watch)
        assert book.manifest is not None  # noqa: S101 - for the type checker
        return book.manifest


def _digest(rules: UrlRules) -> str:
    """What tells one set of rules from another, without its thousands of names."""
    hosts = sorted((reason, sorted(names)) for reason, names in rules.hosts.items())
    text = repr((hosts, sorted(rules.extensions), rules.tracking, rules.unwrap))
    return xxhash.xxh3_128_hexdigest(text.encode())


def _shard(text: str) -> tuple[int, int]:
    number, _, of = text.partition("/")
    if not (number.isdigit() and of.isdigit() and 1 <= int(number) <= int(of)):
        raise UserError(f"shard={text}: expected i/n with 1 <= i <= n")
    return int(number), int(of)


def _batches(paths: Sequence[Path], number: int, of: int) -> Iterator[tuple[pa.Table, int]]:
    """Links of a shard, and how many of the same rows are other shards'."""
    for path in paths:
        try:
            for batch in pq.ParquetFile(path).iter_batches(
                ROWS_AT_ONCE, columns=["id", "url", "domain"]
            ):
                names = batch["domain"].to_pylist()
                mine = [xxhash.xxh3_64_intdigest(n.encode()) % of == number - 1 for n in names]
                yield batch.filter(pa.array(mine, pa.bool_())), len(mine) - sum(mine)
        except (pa.ArrowInvalid, KeyError) as error:
            raise UserError(f"{path}: no links that can be read: {error}") from error


def _count(paths: Sequence[Path], number: int, of: int) -> tuple[int, int]:
    mine = others = 0
    for batch, left in _batches(paths, number, of):
        mine, others = mine + batch.num_rows, others + left
    return mine, others


def _crawl(
    links: Iterator[pa.Table], journal: Journal, rules: UrlRules, polite: Any, total: int
) -> None:
    from scrapy.crawler import CrawlerProcess
    from tqdm import tqdm

    from data_prep.crawl.politeness import guard
    from data_prep.crawl.spider import PageSpider

    done = len(journal.settled)
    if done == total:
        return
    process = CrawlerProcess(polite.settings())
    crawler = process.create_crawler(PageSpider)

    def todo() -> Iterator[tuple[str, str]]:
        for batch in links:
            ids = batch["id"].to_pylist()
            new = np.flatnonzero(~journal.is_settled(ids))
            urls = batch["url"].to_pylist()
            yield from ((ids[at], urls[at]) for at in new)

    with tqdm(total=total, initial=done, unit="page", desc="pages", disable=None) as bar:

        def settle(name: str, url: str, status: str, response: Any) -> None:
            nonlocal done
            entry = {"id": name, "url": url, "status": status, "final_url": None, "bytes": 0}
            records = b""
            if status == "fetched":
                entry.update(final_url=response.url, bytes=len(response.body))
                records = _records(name, response)
            journal.settle(entry, records)
            done += 1
            bar.update()

        process.crawl(crawler, todo=todo(), settle=settle, clean=url_cleaner(rules),
                      politeness=polite)  # fmt: skip
        from twisted.internet import reactor

        if not rules.allow_private:
            guard(reactor)
        process.start()
    if isinstance(crawler.spider, PageSpider) and crawler.spider.failure:
        raise crawler.spider.failure
    if done < total:
        raise UserError(f"paused after {done:,} of {total:,}; run the same command to go on")


def _records(name: str, response: Any) -> bytes:
    """One page as WARC records, request and response, each a gzip member."""
    from warcio.statusandheaders import StatusAndHeaders
    from warcio.warcwriter import WARCWriter

    buffer = io.BytesIO()
    writer = WARCWriter(buffer, gzip=True)
    # The body is stored unpacked, so that the headers of packing would be untrue.
    packing = {"content-encoding", "transfer-encoding", "content-length"}
    headers = [
        (key.decode("latin-1"), value.decode("latin-1"))
        for key, values in response.headers.items()
        for value in values
        if key.decode("latin-1").lower() not in packing
    ]
    headers.append(("Content-Length", str(len(response.body))))
    answer = StatusAndHeaders(f"{response.status} OK", headers, protocol="HTTP/1.1")
    path = response.url.partition("://")[2].partition("/")[2]
    asked = StatusAndHeaders(
        f"GET /{path} HTTP/1.1",
        [
            (k.decode("latin-1"), v[0].decode("latin-1"))
            for k, v in response.request.headers.items()
        ],
        is_http_request=True,
    )
    extra = {"WARC-IP-Address": str(response.ip_address)} if response.ip_address else {}
    page = writer.create_warc_record(
        response.url, "response", io.BytesIO(response.body), http_headers=answer,
        warc_headers_dict={**extra, "X-Link-ID": name},
    )  # fmt: skip
    request = writer.create_warc_record(response.url, "request", http_headers=asked)
    writer.write_request_response_pair(request, page)
    return buffer.getvalue()


def _finish(
    book: ledger.Ledger, journal: Journal, total: int, others: int, watch: ledger.Stopwatch
) -> None:
    entries, tables = journal.entries(), []
    while some := list(islice(entries, ROWS_AT_ONCE)):
        tables.append(pa.Table.from_pylist(some, SCHEMA))
    table = pa.concat_tables([SCHEMA.empty_table(), *tables]).sort_by("id")
    with ledger.aside(book.out / "status.parquet") as temporary:
        pq.write_table(table, temporary, compression="zstd")
    counts: Counter[str] = Counter()
    for entry in pc.value_counts(table["status"]).to_pylist():
        counts[entry["values"]] = entry["counts"]
    fetched = counts.pop("fetched", 0)
    if others:
        counts["other shard"] = others
    book.finish(rows_in=total + others, rows_out=fetched, rejected=counts, seconds=watch.seconds)


def run(cfg: DictConfig) -> dict[str, Any]:
    """Fetch the pages that a composed configuration asks for. Returns the manifest."""
    polite = {"delay": float, "timeout": float, "max_wait": float, "verify_tls": bool,
              "user_agent": str, "per_host": int, "concurrency": int, "max_bytes": int,
              "retries": int, "max_redirects": int}  # fmt: skip
    kinds = {f"politeness.{key}": kind for key, kind in polite.items()}
    options = settings(cfg, {"links": list, "allow_private": bool, "archive_bytes": int, **kinds})
    return fetch_pages(
        options["links"],
        options["out"],
        url_rules(options["urls"], allow_private=options["allow_private"]),
        options["politeness"],
        shard=str(options["shard"]),
        archive_bytes=options["archive_bytes"],
    )


@entry_point("data_prep/pages")
def main(cfg: DictConfig) -> None:
    """Compose the configuration, fetch the pages, print the counts."""
    manifest = run(cfg)
    ledger.print_counts(manifest)


if __name__ == "__main__":
    main()
