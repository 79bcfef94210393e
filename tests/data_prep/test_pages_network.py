"""Crawls without a network, through proxies, and with unusual robots.txt files.

A process of its own crawls with a fake resolver: names that begin with `host` are this machine
while the file `online` exists; `inside.example.com` always is; all others, such as `dead`, are
unknown.
"""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import ROOT
from .site import Site, page, reply
from .test_pages import archived, links, statuses

CRAWL = """
import json, socket, sys
from pathlib import Path
from data_prep import pages
from data_prep.crawl.urls import UrlRules
from webtext_gpt.errors import UserError

source, out, online, private, politeness, more = map(json.loads, sys.argv[1:])
real = socket.getaddrinfo
def known(host):
    if host.startswith("127.") or host == "inside.example.com":
        return True
    return host.startswith("host") and Path(online).exists()
def getaddrinfo(host, *args, **kwargs):
    if not known(host):
        raise socket.gaierror(-3, "Temporary failure in name resolution")
    return real("127.0.0.1", *args, **kwargs)
def gethostbyname(host):
    return getaddrinfo(host, None)[0][4][0]
socket.getaddrinfo, socket.gethostbyname = getaddrinfo, gethostbyname
polite = {"user_agent": "test", "delay": 0.0, "timeout": 5.0, "retries": 1, **politeness}
try:
    pages.fetch_pages([source], out, UrlRules({}, frozenset(), (), allow_private=private), polite,
                      **more)
except UserError as error:
    sys.exit(str(error))
"""

Crawl = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def crawl(tmp_path: Path) -> Crawl:
    """`crawl(SOURCE, ...)` fetches links to `tmp_path / "out"`."""

    def run(
        source: str,
        politeness: dict[str, Any] | None = None,
        environment: dict[str, str] | None = None,
        private: bool = True,
        **more: Any,
    ) -> subprocess.CompletedProcess[str]:
        given = [source, str(tmp_path / "out"), str(tmp_path / "online"), private,
                 politeness or {}, more]  # fmt: skip
        clean = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        return subprocess.run(
            [sys.executable, "-c", CRAWL, *map(json.dumps, given)],
            capture_output=True, text=True, timeout=120, check=False, cwd=ROOT,
            env={**clean, **(environment or {})},
        )  # fmt: skip

    return run


def at(site: Site, name: str) -> str:
    return f"http://{name}.example.com:{site.root.rpartition(':')[2]}/ok"


def journaled(tmp_path: Path) -> list[str]:
    lines = (tmp_path / "out/_work/journal.jsonl").read_text().splitlines()
    return [json.loads(line)["status"] for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize("hosts", [1, 120])
def test_offline_from_the_start(tmp_path: Path, crawl: Crawl, hosts: int) -> None:
    with Site() as site:
        urls = [at(site, f"host{n}") for n in range(hosts)]
        source = links(tmp_path / "links.parquet", urls)
        done = crawl(source)
        assert done.returncode == 1
        assert "no network: the last" in done.stderr
        assert f"paused after 0 of {hosts}; run the same command" in done.stderr
        assert "no such host: " in done.stderr
        assert done.stderr.count("\n") == 1
        assert not (tmp_path / "out/manifest.json").exists()
        assert journaled(tmp_path) == []
        (tmp_path / "online").touch()
        again = crawl(source)
        assert again.returncode == 0, again.stderr
        assert statuses(tmp_path / "out") == dict.fromkeys(urls, "fetched")


class Unplugged(Site):
    """A site whose connections are lost while `down`, from the hundredth page on."""

    down, served = False, 0

    def answer(self, ask: Any, pages: Callable[[str], bytes], delay: float) -> None:
        if self.down:
            ask.close_connection = True
            return None
        if ask.path != "/robots.txt":
            self.served += 1
            self.down = self.served == 100
        return super().answer(ask, pages, delay)


@pytest.mark.slow
def test_a_network_lost_during_a_crawl(tmp_path: Path, crawl: Crawl) -> None:
    """Every tenth host is dead. The network ends with the hundredth page."""
    (tmp_path / "online").touch()
    with Unplugged() as site:
        urls = [at(site, f"{'dead' if n % 10 == 0 else 'host'}{n}") for n in range(300)]
        expected = {url: "no such host" if "dead" in url else "fetched" for url in urls}
        source = links(tmp_path / "links.parquet", urls)
        polite = {"concurrency": 4, "retries": 0}
        done = crawl(source, polite)
        assert done.returncode == 1
        assert "no network: the last" in done.stderr
        found = journaled(tmp_path)
        assert found.count("fetched") == 100
        assert set(found) <= {"fetched", "no such host"}
        again = crawl(source, polite)  # the network is still down
        assert again.returncode == 1
        assert journaled(tmp_path) == found
        site.down = False
        last = crawl(source, polite)
        assert last.returncode == 0, last.stderr
        assert statuses(tmp_path / "out") == expected
        assert len(archived(tmp_path / "out")) == 270


@pytest.mark.parametrize("retries", [pytest.param(0, marks=pytest.mark.slow), 2])
def test_dead_hosts_among_live_ones_are_counted(tmp_path: Path, crawl: Crawl, retries: int) -> None:
    """The dead ones are the last of the list, and no host answers after them by itself."""
    (tmp_path / "online").touch()
    with Site() as site:
        urls = [
            *(at(site, f"host{n}") for n in range(5)),
            *(at(site, f"dead{n}") for n in range(3)),
        ]
        source = links(tmp_path / "links.parquet", urls)
        done = crawl(source, {"retries": retries, "concurrency": 1})
        assert done.returncode == 0, done.stderr
        expected = {url: "no such host" if "dead" in url else "fetched" for url in urls}
        assert statuses(tmp_path / "out") == expected


@pytest.mark.slow
def test_more_dead_hosts_in_a_row_than_make_an_outage(tmp_path: Path, crawl: Crawl) -> None:
    (tmp_path / "online").touch()
    with Site() as site:
        names = ["host0", *(f"dead{n}" for n in range(60)), "host1"]
        urls = [at(site, name) for name in names]
        source = links(tmp_path / "links.parquet", urls)
        done = crawl(source, {"retries": 0, "concurrency": 1})
        assert done.returncode == 0, done.stderr
        expected = {url: "no such host" if "dead" in url else "fetched" for url in urls}
        assert statuses(tmp_path / "out") == expected


@pytest.mark.slow
def test_a_list_of_dead_hosts_ends_only_by_choice(tmp_path: Path, crawl: Crawl) -> None:
    (tmp_path / "online").touch()
    with Site() as site:
        urls = [at(site, "dead1"), "http://127.0.0.1:9/closed"]
        source = links(tmp_path / "links.parquet", urls)
        done = crawl(source)
        assert done.returncode == 1
        assert "connection refused: 1, no such host: 1" in done.stderr
        assert "accept_unreachable=true if these hosts are gone" in done.stderr
        done = crawl(source, accept_unreachable=True)
        assert done.returncode == 0, done.stderr
        found = dict(zip(urls, ["no such host", "connection refused"], strict=True))
        assert statuses(tmp_path / "out") == found


@pytest.mark.slow
def test_an_earlier_run_tells_which_host_may_answer(tmp_path: Path, crawl: Crawl) -> None:
    """The network is lost when only a dead host is left; the crawl ends once it is back."""
    online = tmp_path / "online"

    def pages(path: str) -> bytes:
        online.unlink(missing_ok=True)
        return page(path)

    online.touch()
    with Site(pages) as site:
        urls = [at(site, "host0"), at(site, "dead0")]
        source = links(tmp_path / "links.parquet", urls)
        polite = {"concurrency": 1, "retries": 0, "delay": 0.5}
        for _ in range(2):
            done = crawl(source, polite)
            assert done.returncode in (0, 1)
            if done.returncode == 0:
                break
            online.touch()
        assert done.returncode == 0, done.stderr
        assert set(statuses(tmp_path / "out").values()) == {"fetched", "no such host"}


@pytest.mark.slow
def test_proxies_of_the_environment(tmp_path: Path, crawl: Crawl) -> None:
    """The site is the proxy. No name is known here, and the addresses of links are private."""
    with Site() as proxy:
        urls = [
            "http://page1.example.com/a", "http://page2.example.com/b",
            f"http://inside.example.com:{proxy.root.rpartition(':')[2]}/private",
            "http://10.0.0.1/router", "http://[::1]/",
        ]  # fmt: skip
        source = links(tmp_path / "links.parquet", urls)
        environment = {"http_proxy": f"http://me:secret@{proxy.root.removeprefix('http://')}"}
        done = crawl(source, environment=environment, private=False, proxies=True)
        assert done.returncode == 0, done.stderr
        expected = dict.fromkeys(urls[:2], "fetched") | dict.fromkeys(urls[2:], "private address")
        assert statuses(tmp_path / "out") == expected
        assert {path for path in proxy.hits if not path.endswith("/robots.txt")} == set(urls[:2])
        assert len(proxy.hits) == 4  # with two robots.txt


def test_proxies_are_not_used_unless_asked_for(tmp_path: Path, crawl: Crawl) -> None:
    with Site() as proxy:
        source = links(tmp_path / "links.parquet", ["http://page1.example.com/a"])
        environment = {"http_proxy": proxy.root, "https_proxy": proxy.root}
        done = crawl(source, environment=environment, private=False)
        assert done.returncode == 1
        assert not proxy.log


def test_a_proxy_for_which_no_proxy_makes_an_exception(tmp_path: Path, crawl: Crawl) -> None:
    (tmp_path / "online").touch()
    with Site() as proxy, Site() as site:
        urls = [at(site, "host1"), "http://page1.example.com/a"]
        source = links(tmp_path / "links.parquet", urls)
        environment = {"http_proxy": proxy.root, "no_proxy": "host1.example.com"}
        done = crawl(source, environment=environment, proxies=True)
        assert done.returncode == 0, done.stderr
        assert statuses(tmp_path / "out") == dict.fromkeys(urls, "fetched")
        assert set(site.log) == {"/robots.txt", "/ok"}


class BadGateway(Site):
    """A proxy that reaches no host while `down`."""

    down = True

    def answer(self, ask: Any, pages: Callable[[str], bytes], delay: float) -> None:
        if self.down:
            return reply(ask, 503, b"cannot resolve", {"Content-Type": "text/html"})
        return super().answer(ask, pages, delay)


@pytest.mark.slow
def test_a_proxy_that_is_down_or_reaches_nothing(tmp_path: Path, crawl: Crawl) -> None:
    urls = [f"http://page{n}.example.com/a" for n in range(5)]
    urls += [f"https://page{n}.example.com/a" for n in range(5)]
    source = links(tmp_path / "links.parquet", urls)
    with BadGateway() as proxy:
        environment = {"http_proxy": proxy.root, "https_proxy": proxy.root}
        done = crawl(source, environment=environment, private=False, proxies=True)
        assert done.returncode == 1
        assert f"all failed through the proxy {proxy.root} (" in done.stderr
        assert journaled(tmp_path) == []
    done = crawl(source, environment=environment, private=False, proxies=True)
    assert done.returncode == 1
    assert "connection refused: 10" in done.stderr
    assert journaled(tmp_path) == []


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "the environment names no proxy"),
        ({"https_proxy": "socks5://127.0.0.1:1"}, "https_proxy=socks5://127.0.0.1:1: expected"),
        ({"http_proxy": "http://host:port"}, "http_proxy=http://host:port: expected"),
    ],
)
def test_proxies_that_cannot_be_used(
    tmp_path: Path, crawl: Crawl, environment: dict[str, str], message: str
) -> None:
    source = links(tmp_path / "links.parquet", ["http://page1.example.com/a"])
    done = crawl(source, environment=environment, proxies=True)
    assert done.returncode == 1
    assert message in done.stderr


RULES = b"User-agent: *\nDisallow: /private/\n"
LATE = b"Disallow: /late/\n"
PADDING = b"# padding of a very long file of rules\n" * 13_000  # 507,000 bytes
WITHIN = RULES + PADDING[: 511_990 - len(RULES) - len(LATE)].rpartition(b"\n")[0] + b"\n" + LATE
BEYOND = RULES + PADDING * 3 + LATE


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "body", "headers", "expected"),
    [  # the statuses of /private/1, /late/1 and /ok
        (200, WITHIN + PADDING * 12, {}, "robots.txt robots.txt fetched"),
        (200, BEYOND, {}, "robots.txt fetched fetched"),
        (200, gzip.compress(BEYOND), {"Content-Encoding": "gzip"}, "robots.txt fetched fetched"),
        (200, gzip.compress(WITHIN), {}, "robots.txt robots.txt fetched"),
        (200, RULES, {"Content-Encoding": "gzip"}, "robots.txt fetched fetched"),
        (200, gzip.compress(RULES + bytes(80_000_000)), {"Content-Encoding": "gzip"},
         "robots.txt fetched fetched"),
        (200, RULES + b"Disallow: /" + b"x" * 600_000, {}, "robots.txt fetched fetched"),
        (200, b"\xef\xbb\xbf" + RULES, {}, "robots.txt fetched fetched"),
        (200, RULES.replace(b"\n", b"\r"), {}, "robots.txt fetched fetched"),
        (200, page("/"), {"Content-Type": "text/html"}, "fetched fetched fetched"),
        (404, RULES, {}, "fetched fetched fetched"),
        (403, RULES, {}, "fetched fetched fetched"),
        (500, RULES, {}, " ".join(["robots.txt/unavailable"] * 3)),
        (429, RULES, {}, " ".join(["robots.txt/unavailable"] * 3)),
    ],
)  # fmt: skip
def test_robots_txt_of_every_kind(
    tmp_path: Path,
    crawl: Crawl,
    status: int,
    body: bytes,
    headers: dict[str, str],
    expected: str,
) -> None:
    class Robots(Site):
        def answer(self, ask: Any, pages: Callable[[str], bytes], delay: float) -> None:
            if ask.path == "/robots.txt":
                return reply(ask, status, body, {"Content-Type": "text/plain", **headers})
            return super().answer(ask, pages, delay)

    with Robots() as site:
        urls = [site.root + path for path in ("/private/1", "/late/1", "/ok")]
        source = links(tmp_path / "links.parquet", urls)
        done = crawl(source, {"max_bytes": 100_000, "retries": 0, "max_redirects": 0})
        assert done.returncode == 0, done.stderr
        found = statuses(tmp_path / "out")
        assert [found[url].replace(" ", "/") for url in urls] == expected.split()


def test_a_robots_txt_is_followed_over_redirects_that_pages_may_not_take(
    tmp_path: Path, crawl: Crawl
) -> None:
    class Moved(Site):
        def answer(self, ask: Any, pages: Callable[[str], bytes], delay: float) -> None:
            hops = {"/robots.txt": "/1", "/1": "/2", "/2": "/3", "/3": "/4", "/4": "/rules"}
            if ask.path in hops:
                return reply(ask, 302, b"", {"Location": hops[ask.path]})
            if ask.path == "/rules":
                return reply(ask, 200, RULES, {"Content-Type": "text/plain"})
            return super().answer(ask, pages, delay)

    with Moved() as site:
        urls = [site.root + "/private/1", site.root + "/moved"]
        source = links(tmp_path / "links.parquet", urls)
        done = crawl(source, {"max_redirects": 0})
        assert done.returncode == 0, done.stderr
        expected = dict(zip(urls, ["robots.txt", "redirect loop"], strict=True))
        assert statuses(tmp_path / "out") == expected
