"""Links to pages: fetch the URLs into web archives (WARC) and record a status for each one.

    python data_prep/pages.py links=[corpus/links] out=corpus/pages shard=1/4

If the crawl is killed or interrupted, the same command resumes it.
"""

if __name__ == "__main__":
    from webtext_gpt.commands import run_script

    run_script("pages")


import io
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from data_prep.crawl.journal import Journal, keys_of
from data_prep.crawl.outage import Outage
from data_prep.crawl.urls import UrlRules, url_cleaner, url_rules
from data_prep.crawl.warc import REPAIRED_FIELD
from data_prep.settings import Pages
from data_prep.stage.inputs import InputFile, find_inputs
from data_prep.stage.ledger import Ledger
from data_prep.stage.manifest import Manifest, print_counts, source_manifests
from data_prep.stage.readers import open_parquet
from webtext_gpt.cli import Call
from webtext_gpt.data.parquet import as_text
from webtext_gpt.errors import UserError
from webtext_gpt.files import replaced
from webtext_gpt.progress import progress_bar

if TYPE_CHECKING:
    from scrapy.http import Response

    from data_prep.crawl.politeness import Politeness

LINK_COLUMNS = ["id", "url", "domain"]
ROWS_AT_ONCE = 8192  # links that are held in memory
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
    proxies: bool = False,
    accept_unreachable: bool = False,
) -> Manifest:
    """Fetch the URLs of some links.

    A process can crawl only once, because Twisted's reactor cannot be restarted.

    Args:
        links: Parquet files (or folders, or globs) with the columns `id`, `url` and `domain`.
        out: Folder to create.
        rules: URL rules that redirects must pass, too.
        politeness: Keyword arguments of `Politeness`.
        shard: `i/n` fetches the i-th of n parts. Links are divided by registered domain, so only
            one machine talks to a host.
        archive_bytes: Size after which a new archive is started.
        proxies: Whether to connect through the proxies that the environment names.
        accept_unreachable: Whether to count a failed link as dead even if no other host answers.

    Returns:
        The manifest.

    Raises:
        UserError: The links cannot be read, `out` holds other files, the crawl was interrupted,
            or the network is down.
    """
    from data_prep.crawl.politeness import Politeness

    started = time.monotonic()
    number, shards = map(int, shard.split("/"))
    polite = Politeness(**politeness, proxies=proxies, allow_private=rules.allow_private)
    files = find_inputs(links, (".parquet",), "links", check_later=True, out=out)
    config = {
        "shard": shard, "max_bytes": polite.max_bytes, "max_redirects": polite.max_redirects,
        "urls": _digest(rules), "allow_private": rules.allow_private,
    }  # fmt: skip
    sources = source_manifests(file.path for file in files)
    with Ledger(out, "pages", config, files, sources=sources, started=started) as ledger:
        if not ledger.finished:
            for file in files:
                file.check()
            counts, repeated = _count(files, number, shards)  # refuses a bad file before writing
            journal = Journal(ledger.out, ledger.work / "journal.jsonl", archive_bytes)
            try:
                links_of_shard = _new_links(_batches(files, number, shards), journal, repeated)
                outage = Outage(journal.answered, accept=accept_unreachable)
                _crawl(links_of_shard, journal, rules, polite, counts.links, outage)
            finally:
                journal.close()
            _finish(ledger, journal, counts)
        return ledger.manifest


def _digest(rules: UrlRules) -> str:
    """Hash the rules, which may hold thousands of names."""
    hosts = sorted((reason, sorted(names)) for reason, names in rules.hosts.items())
    text = repr((hosts, sorted(rules.extensions), rules.tracking, rules.unwrap))
    return xxhash.xxh3_128_hexdigest(text.encode())


def _batches(
    files: Sequence[InputFile], number: int, shards: int
) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Yield links of shard `number` of `shards`, and the number of rows of other shards."""
    for file in files:
        hint = "; give a file of links, as links.py writes it"
        with open_parquet(file.path, LINK_COLUMNS, hint) as parquet:
            for stored in parquet.iter_batches(ROWS_AT_ONCE, columns=LINK_COLUMNS):
                batch = _texts(stored, file.path)
                names = batch["domain"].to_pylist()
                mine = [xxhash.xxh3_64_intdigest(n.encode()) % shards == number - 1 for n in names]
                yield batch.filter(pa.array(mine, pa.bool_())), len(mine) - sum(mine)


def _texts(stored: pa.RecordBatch, path: Path) -> pa.RecordBatch:
    """Return links with their columns as strings.

    Raises:
        UserError: A value is missing.
    """
    columns = [as_text(stored.column(name)) for name in LINK_COLUMNS]
    for name, column in zip(LINK_COLUMNS, columns, strict=True):
        if column.null_count:
            raise UserError(f"{path}: {column.null_count:,} links have no {name}; every link needs "
                            f"{', '.join(LINK_COLUMNS)}, as links.py writes them")  # fmt: skip
    return pa.RecordBatch.from_arrays(columns, names=LINK_COLUMNS)


class LinkCounts(NamedTuple):
    """Links of the shard, rows that repeat one of their ids, and links of other shards."""

    links: int
    repeated: int
    others: int


def _count(files: Sequence[InputFile], number: int, shards: int) -> tuple[LinkCounts, set[int]]:
    """Count links, and return the keys (see `journal.keys_of`) of ids that occur more than once."""
    others = 0
    found = [np.zeros(0, np.uint64)]
    for batch, left in _batches(files, number, shards):
        others += left
        found.append(keys_of(batch["id"].to_pylist()))
    keys, times = np.unique(np.concatenate(found), return_counts=True)
    counts = LinkCounts(len(keys), int(times.sum()) - len(keys), others)
    return counts, set(keys[times > 1].tolist())


def _new_links(
    batches: Iterator[tuple[pa.RecordBatch, int]], journal: Journal, repeated: set[int]
) -> Iterator[tuple[str, str]]:
    """Yield the id and the URL of each link that the journal does not hold, once each."""
    given: set[int] = set()
    for batch, _ in batches:
        ids, urls = batch["id"].to_pylist(), batch["url"].to_pylist()
        for at in np.flatnonzero(~journal.is_finished(ids)):
            if repeated and (key := int(keys_of([ids[at]])[0])) in repeated:
                if key in given:
                    continue
                given.add(key)
            yield ids[at], urls[at]


def _crawl(
    links: Iterator[tuple[str, str]],
    journal: Journal,
    rules: UrlRules,
    polite: "Politeness",
    total: int,
    outage: Outage,
) -> None:
    """Fetch links, given as pairs of id and URL, which the journal does not hold yet.

    Raises:
        UserError: The crawl was interrupted, or the network is down.
    """
    from scrapy.crawler import CrawlerProcess

    from data_prep.crawl.politeness import guard
    from data_prep.crawl.proxies import environment_proxies, proxy_endpoints
    from data_prep.crawl.spider import PageSpider

    done = len(journal.finished)
    if done == total:
        return
    proxies = environment_proxies() if polite.proxies else []
    process = CrawlerProcess(polite.settings())
    crawler = process.create_crawler(PageSpider)

    with progress_bar("pages", total=total, initial=done, unit="page") as bar:

        def report(name: str, url: str, status: str, response: "Response | None") -> None:
            nonlocal done
            entry: dict[str, Any] = {
                "id": name, "url": url, "status": status, "final_url": None, "bytes": 0,
            }  # fmt: skip
            records = b""
            if status == "fetched" and response is not None:
                entry.update(final_url=response.url, bytes=len(response.body))
                records = _records(name, response)
            journal.record(entry, records)
            done += 1
            bar.update()

        process.crawl(crawler, todo=links, report=report, clean=url_cleaner(rules),
                      politeness=polite, outage=outage)  # fmt: skip
        from twisted.internet import reactor

        if not rules.allow_private:
            guard(reactor, proxy_endpoints(proxies))
        process.start()
    paused = f"paused after {done:,} of {total:,}"
    if isinstance(crawler.spider, PageSpider):
        if crawler.spider.failure:
            raise crawler.spider.failure
        if crawler.spider.offline:
            raise UserError(
                f"{outage.message(proxies)}; {paused}; run the same command when the network is "
                "back, or with accept_unreachable=true if these hosts are gone"
            )
    if done < total:
        raise UserError(f"{paused}; run the same command to resume")


def _records(name: str, response: "Response") -> bytes:
    """Return a page as two WARC records, request and response, each a gzip member."""
    from warcio.statusandheaders import StatusAndHeaders
    from warcio.warcwriter import WARCWriter

    from data_prep.crawl.compression import FAULTS

    assert response.request is not None  # noqa: S101 - for the type checker
    buffer = io.BytesIO()
    writer = WARCWriter(buffer, gzip=True)
    # The body is stored decompressed, so headers about its encoding would be wrong.
    encoding = {"content-encoding", "transfer-encoding", "content-length"}
    headers = [
        (key.decode("latin-1"), value.decode("latin-1"))
        for key, values in response.headers.items()
        for value in values
        if key.decode("latin-1").lower() not in encoding
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
    known = response.ip_address and not response.request.meta.get("proxy")  # not the proxy's
    extra = {"WARC-IP-Address": str(response.ip_address)} if known else {}
    if faults := response.request.meta.get(FAULTS):
        extra[REPAIRED_FIELD] = ", ".join(faults)
    page = writer.create_warc_record(
        response.url, "response", io.BytesIO(response.body), http_headers=answer,
        warc_headers_dict={**extra, "X-Link-ID": " ".join(name.split())},
    )  # fmt: skip
    request = writer.create_warc_record(response.url, "request", http_headers=asked)
    writer.write_request_response_pair(request, page)
    return buffer.getvalue()


def _finish(ledger: Ledger, journal: Journal, links: LinkCounts) -> None:
    """Write `status.parquet` from the journal, and the manifest."""
    entries, tables = journal.entries(), []
    while some := list(islice(entries, ROWS_AT_ONCE)):
        tables.append(pa.Table.from_pylist(some, SCHEMA))
    table = pa.concat_tables([SCHEMA.empty_table(), *tables]).sort_by("id")
    with replaced(ledger.out / "status.parquet") as temporary:
        pq.write_table(table, temporary, compression="zstd")
    counts: Counter[str] = Counter()
    for entry in pc.value_counts(table["status"]).to_pylist():
        counts[entry["values"]] = entry["counts"]
    fetched = counts.pop("fetched", 0)
    more = {"other shard": links.others, "repeated link": links.repeated}
    counts.update({reason: count for reason, count in more.items() if count})
    ledger.finish(rows_in=sum(links), rows_out=fetched, rejected=counts)


def run(settings: Pages) -> Manifest:
    """Run the stage and return the manifest."""
    return fetch_pages(
        settings.links,
        settings.out,
        url_rules(settings.urls, allow_private=settings.allow_private),
        settings.politeness.arguments(),
        shard=settings.shard,
        archive_bytes=settings.archive_bytes,
        proxies=settings.proxies,
        accept_unreachable=settings.accept_unreachable,
    )


def main(settings: Pages, call: Call) -> None:
    """Fetch the pages and print the counts."""
    print_counts(run(settings))
