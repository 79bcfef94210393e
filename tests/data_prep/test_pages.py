import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash
from fastwarc.warc import ArchiveIterator as FastIterator
from fastwarc.warc import WarcRecordType
from warcio.archiveiterator import ArchiveIterator

from data_prep.crawl.journal import Journal
from data_prep.crawl.outage import Outage
from data_prep.crawl.politeness import Politeness
from data_prep.crawl.spider import PageSpider

from .conftest import ROOT, manifest_of
from .site import Site, page

Stage = Callable[..., subprocess.CompletedProcess[str]]
LOCAL = ("allow_private=true", "politeness.delay=0", "politeness.per_host=8")


def links(path: Path, urls: list[str], domain: str = "127.0.0.1") -> str:
    ids = [xxhash.xxh3_128_hexdigest(url.encode()) for url in urls]
    pq.write_table(pa.table({"id": ids, "url": urls, "domain": [domain] * len(urls)}), path)
    return str(path)


def statuses(out: Path) -> dict[str, str]:
    rows = pq.read_table(out / "status.parquet").to_pylist()
    found = {row["url"]: row["status"] for row in rows}
    assert len(found) == len(rows)
    return found


def archived(out: Path) -> dict[str, bytes]:
    """Read bodies by URL with warcio; fastwarc has to agree, and no page may be repeated."""
    bodies: dict[str, bytes] = {}
    for path in sorted(out.glob("pages-*.warc.gz")):
        with path.open("rb") as file:
            for record in ArchiveIterator(file, check_digests="raise"):
                if record.rec_type == "response":
                    url = record.rec_headers.get_header("WARC-Target-URI")
                    assert url not in bodies
                    bodies[url] = record.content_stream().read()
        with path.open("rb") as file:
            for record in FastIterator(file, record_types=WarcRecordType.response):
                assert record.verify_payload_digest()
                assert record.reader.read() == bodies[record.headers["WARC-Target-URI"]]
    return bodies


@pytest.mark.slow
def test_every_url_of_a_bad_site_ends_with_a_status(tmp_path: Path, stage: Stage) -> None:
    with socket.socket() as closed, Site() as site:
        closed.bind(("127.0.0.1", 0))  # bound, but not listening
        expected = {
            "/ok/1": "fetched", "/packed": "fetched", "/moved": "fetched",
            "/slow": "timeout", "/drip": "timeout", "/endless": "too large", "/bomb": "too large",
            "/loop": "redirect loop", "/to-blocked": "wikipedia",
            "/to-picture": "media or binary file", "/private/1": "robots.txt",
            "/patience429": "fetched", "/patience503": "fetched", "/never": "http 503",
            "/missing": "http 404", "/picture": "not text", "/short": "cut short",
        }  # fmt: skip
        wanted = {site.root + path: status for path, status in expected.items()}
        wanted[f"http://127.0.0.1:{closed.getsockname()[1]}/"] = "connection refused"
        wanted[site.root.replace("http:", "https:") + "/tls"] = "TLS error"
        source = links(tmp_path / "links.parquet", list(wanted))
        out = tmp_path / "out"
        done = stage(
            "pages", f"links=[{source}]", f"out={out}", *LOCAL, "politeness.timeout=2",
            "politeness.max_bytes=1000000", "politeness.retries=1",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert statuses(out) == wanted
        assert site.hits["/private/1"] == 0
        assert site.hits["/x.jpg"] == 0
        assert site.hits["/patience429"] == site.hits["/never"] == 2
        bodies = archived(out)
        assert bodies[site.root + "/packed"] == page("/packed")
        assert bodies[site.root + "/ok/moved"] == page("/ok/moved")
        assert len(bodies) == 5
        manifest = manifest_of(out)
        assert (manifest["rows_in"], manifest["rows_out"]) == (19, 5)


def test_retry_after_is_respected(tmp_path: Path, stage: Stage) -> None:
    with Site() as site:
        source = links(tmp_path / "links.parquet", [site.root + "/patience429"])
        start = time.monotonic()
        done = stage("pages", f"links=[{source}]", f"out={tmp_path / 'out'}", *LOCAL)
        assert done.returncode == 0, done.stderr
        assert time.monotonic() - start > 1  # Retry-After is 1


@pytest.mark.slow
def test_killed_five_times_no_page_is_lost_or_fetched_twice(tmp_path: Path) -> None:
    with Site(delay=0.02) as site:
        urls = [f"{site.root}/ok/{n}" for n in range(400)]
        source = links(tmp_path / "links.parquet", urls)
        out = tmp_path / "out"
        command = [
            sys.executable, str(ROOT / "data_prep/pages.py"), f"links=[{source}]", f"out={out}",
            *LOCAL, "politeness.concurrency=8", "archive_bytes=20000",
        ]  # fmt: skip
        journal = out / "_work/journal.jsonl"
        finished: set[str] = set()
        requests: Counter[str] = Counter()
        for kill in range(5):
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            goal = (kill + 1) * 40
            while not journal.exists() or journal.read_bytes().count(b"\n") < goal:
                assert process.poll() is None
                time.sleep(0.01)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            time.sleep(0.2)  # until requests that are on their way have arrived
            again = Counter(site.log) - requests
            assert not finished & {site.root + path for path in again}  # not fetched again
            lines = journal.read_bytes().rpartition(b"\n")[0].splitlines()
            finished = {json.loads(line)["url"] for line in lines}
            assert len(finished) == len(lines)
            requests = Counter(site.log)
        process = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert process.returncode == 0, process.stderr
        again = Counter(site.log) - requests
        assert not finished & {site.root + path for path in again}
        assert statuses(out) == dict.fromkeys(urls, "fetched")
        assert archived(out) == {url: page(url.removeprefix(site.root)) for url in urls}


def test_robots_rules_apply_to_concurrent_requests(tmp_path: Path, stage: Stage) -> None:
    with Site() as site:
        urls = [f"{site.root}/private/{n}" for n in range(30)]
        source = links(tmp_path / "links.parquet", urls)
        done = stage("pages", f"links=[{source}]", f"out={tmp_path / 'out'}", *LOCAL)
        assert done.returncode == 0, done.stderr
        assert statuses(tmp_path / "out") == dict.fromkeys(urls, "robots.txt")
        assert dict(site.hits) == {"/robots.txt": 1}


def test_a_host_without_a_readable_robots_txt_is_not_fetched(tmp_path: Path, stage: Stage) -> None:
    with Site(robots=503) as refuses, Site(robots=404) as has_none:
        urls = [*(f"{refuses.root}/ok/{n}" for n in range(9)), has_none.root + "/ok/1"]
        source = links(tmp_path / "links.parquet", urls)
        done = stage("pages", f"links=[{source}]", f"out={tmp_path / 'out'}", *LOCAL,
                     "politeness.retries=1")  # fmt: skip
        assert done.returncode == 0, done.stderr
        expected = dict.fromkeys(urls, "robots.txt unavailable") | {urls[-1]: "fetched"}
        assert statuses(tmp_path / "out") == expected
        assert set(refuses.hits) == {"/robots.txt"}
        assert 2 <= refuses.hits["/robots.txt"] <= 4  # retried, but not once per request


RESOLVES_TO_LOOPBACK = """
import sys
from data_prep import pages
from data_prep.crawl.urls import UrlRules
import socket
real = socket.getaddrinfo
def fake(host, *args, **kwargs):
    return real("127.0.0.1" if host == "inside.example.com" else host, *args, **kwargs)
socket.getaddrinfo = fake
socket.gethostbyname = lambda host: "127.0.0.1"
pages.fetch_pages([sys.argv[1]], sys.argv[2], UrlRules({}, frozenset(), ()),
                  {"user_agent": "test", "delay": 0.0, "timeout": 5.0, "retries": 0})
"""


def test_private_addresses_are_never_contacted(tmp_path: Path) -> None:
    """Neither an address nor a name that resolves to one is reached, not even for robots.txt."""
    with Site() as site:
        port = site.root.rpartition(":")[2]
        urls = [
            f"http://127.0.0.1:{port}/a", f"http://[::1]:{port}/b", f"http://0x7f.1:{port}/c",
            "http://169.254.169.254/latest/meta-data", "http://10.0.0.1/",
            f"http://inside.example.com:{port}/d",
        ]  # fmt: skip
        source = links(tmp_path / "links.parquet", urls, "example.com")
        done = subprocess.run(
            [sys.executable, "-c", RESOLVES_TO_LOOPBACK, source, str(tmp_path / "out")],
            capture_output=True, text=True, timeout=60, check=False, cwd=ROOT,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert set(statuses(tmp_path / "out").values()) == {"private address"}
        assert not site.log


@pytest.mark.slow
def test_no_two_shards_contact_the_same_host(tmp_path: Path, stage: Stage) -> None:
    with Site() as site:
        urls = [f"{site.root}/ok/{n}" for n in range(20)]
        ids = [xxhash.xxh3_128_hexdigest(url.encode()) for url in urls]
        domains = [f"site{n % 5}.com" for n in range(20)]
        pq.write_table(
            pa.table({"id": ids, "url": urls, "domain": domains}), tmp_path / "l.parquet"
        )
        found = []
        for shard in ("1/2", "2/2"):
            out = tmp_path / shard.replace("/", "-")
            done = stage(
                "pages", f"links=[{tmp_path / 'l.parquet'}]", f"out={out}", f"shard={shard}", *LOCAL
            )
            assert done.returncode == 0, done.stderr
            assert manifest_of(out)["rows_in"] == 20
            found.append(set(statuses(out)))
        assert found[0] | found[1] == set(urls)
        assert not found[0] & found[1]
        hosts = [{domains[urls.index(url)] for url in urls_} for urls_ in found]
        assert not hosts[0] & hosts[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["shard=3/2"], "shard=3/2: expected i/n"),
        (["links=[nowhere.parquet]"], "links=nowhere.parquet does not exist"),
        (["links=[bad.parquet]"], "bad.parquet: not a readable Parquet file"),
        (["links=[nulls.parquet]"], "nulls.parquet: 1 links have no domain"),
    ],
)
def test_bad_input(
    tmp_path: Path,
    stage: Stage,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.parquet").write_bytes(b"no")
    nulls = {"id": ["1"], "url": ["http://a.com/"], "domain": pa.array([None], pa.string())}
    pq.write_table(pa.table(nulls), tmp_path / "nulls.parquet")
    links(tmp_path / "links.parquet", ["http://a.com/"])
    done = stage("pages", "links=[links.parquet]", f"out={tmp_path / 'out'}", *arguments)
    assert done.returncode == 1
    assert message in done.stderr


def test_links_that_other_programs_wrote(tmp_path: Path, stage: Stage) -> None:
    """Ids of any text, repeated ones, and what is no URL."""
    with Site() as site:
        rows = [
            ("zz", "/ok/1"), ("", "/ok/2"), ("-1", "/ok/3"), ("два\r\n\r\nX: y", "/ok/4"),
            ("zz", "/ok/5"), ("0000000000000000a", "/ok/6"), ("0000000000000000b", "/ok/7"),
        ]  # fmt: skip
        urls = {name: site.root + path for name, path in reversed(rows)}
        bad = {"b1": "foo", "b2": "http://[::1", "b3": "ftp://a.com/"}
        ids = [*(name for name, _ in rows), *bad]
        addresses = [*(site.root + path for _, path in rows), *bad.values()]
        table = {"id": pa.array(ids).dictionary_encode(), "url": addresses}
        source = tmp_path / "links.parquet"
        pq.write_table(pa.table({**table, "domain": ["127.0.0.1"] * len(ids)}), source)
        out = tmp_path / "out"
        done = stage("pages", f"links=[{source}]", f"out={out}", *LOCAL)
        assert done.returncode == 0, done.stderr
        found = pq.read_table(out / "status.parquet").to_pylist()
        assert {row["id"]: row["url"] for row in found if row["status"] == "fetched"} == urls
        assert len(archived(out)) == len(urls) == 6
        manifest = manifest_of(out)
        assert (manifest["rows_in"], manifest["rows_out"]) == (10, 6)
        assert manifest["rejected"] == {"repeated link": 1, "malformed URL": 2, "not http": 1}


def test_an_error_while_links_are_read_ends_the_crawl(tmp_path: Path) -> None:
    def todo() -> Iterator[tuple[str, str]]:
        yield "1", "http://a.com/"
        raise OSError("the disk is gone")

    closed: list[str] = []
    engine = SimpleNamespace(close_spider=lambda _, reason: closed.append(reason))
    spider = PageSpider(todo(), print, lambda _: "", Politeness("us"), Outage())
    spider.crawler = SimpleNamespace(engine=engine)  # type: ignore[assignment]

    async def started() -> list[str]:
        return [request.url async for request in spider.start()]

    with pytest.raises(OSError, match="the disk is gone"):
        asyncio.run(started())
    assert str(spider.failure) == "the disk is gone"
    assert closed == ["failed"]


def test_an_incomplete_journal_is_cut_to_complete_lines(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    path = tmp_path / "journal.jsonl"
    entry: dict[str, Any] = {"url": "u", "status": "fetched", "final_url": "u", "bytes": 1}
    journal = Journal(tmp_path / "out", path, 10**9)
    ids = [f"{number:016x}{0:016x}" for number in range(4)]
    for number in range(3):
        journal.record({**entry, "id": ids[number]}, b"record%d" % number)
    journal.close()
    archive = tmp_path / "out/pages-00000.warc.gz"
    archive.write_bytes(archive.read_bytes() + b"half a rec")
    path.write_bytes(path.read_bytes()[:-5])
    again = Journal(tmp_path / "out", path, 10**9)
    assert archive.read_bytes() == b"record0record1"
    assert again.is_finished(ids).tolist() == [True, True, False, False]
    assert len(list(again.entries())) == 2
    again.close()
