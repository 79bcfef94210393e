import json
from pathlib import Path

import pytest

from data_prep.crawl.urls import (
    MALFORMED,
    MEDIA,
    OTHER_SCHEME,
    PRIVATE,
    Link,
    UrlRules,
    url_cleaner,
)

RULES = UrlRules(
    hosts={
        "reddit": frozenset({"reddit.com", "redd.it"}),
        "wikipedia": frozenset({"wikipedia.org"}),
        "blocked domain": frozenset({"maps.google.com", "t.co"}),
    },
    extensions=frozenset({"jpg", "pdf", "css", "gz", "php"}),
    tracking=("utm_*", "fbclid"),
    unwrap=True,
)
clean = url_cleaner(RULES)


def link(url: str) -> Link:
    result = clean(url)
    assert isinstance(result, Link), f"{url}: {result}"
    return result


@pytest.mark.parametrize(
    ("posted", "fetched"),
    [
        ("http://a.com/x?a=1&amp;b=2", "http://a.com/x?a=1&b=2"),
        ("http://a.com/x?a=1&amp;amp;b=2", "http://a.com/x?a=1&b=2"),
        ("http://a.com/x?a=1&copy=2", "http://a.com/x?a=1&copy=2"),
        ("HTTP://EXAMPLE.com:80/A/../b", "http://example.com/b"),
        ("https://example.com:443", "https://example.com/"),
        ("http://user:secret@example.com/", "http://example.com/"),
        ("  http://example.com/a b ", "http://example.com/a%20b"),
        ("http://bücher.de/é", "http://xn--bcher-kva.de/%C3%A9"),
        ("http://example.com/?utm_source=x&id=3&UTM_Medium=y&fbclid=z", "http://example.com/?id=3"),
        ("http://example.com/?utm_source=x", "http://example.com/"),
        ("http://example.com/a#part", "http://example.com/a"),
        ("http://example.com/#!/page", "http://example.com/#!/page"),
        ("http://www.example.com/a/", "http://www.example.com/a/"),
        ("http://web.archive.org/web/20100101id_/http://b.com/x", "http://b.com/x"),
        ("https://archive.is/20140101/http://b.com/x", "http://b.com/x"),
        ("https://www.google.com/amp/s/b.com/amp/x", "https://b.com/amp/x"),
        ("//example.com/a", "http://example.com/a"),
        ("https://b-com.cdn.ampproject.org/c/s/b.com/x", "https://b.com/x"),
    ],
)
def test_the_url_to_fetch(posted: str, fetched: str) -> None:
    assert link(posted).url == fetched


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://example.com/a", "https://www.example.com/a/"),
        ("http://example.com/%7Euser/%2f", "http://example.com/~user/%2F"),
        ("http://example.com/?a=1&b=2", "http://example.com/?b=2&a=1&utm_campaign=z"),
        ("http://example.com./a", "http://EXAMPLE.com/a#top"),
    ],
)
def test_variants_share_an_identity(one: str, other: str) -> None:
    assert link(one).id == link(other).id


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://example.com/a", "http://example.com/A"),
        ("http://example.com/a%2Fb", "http://example.com/a/b"),
        ("http://example.com/?a=1", "http://example.com/?a=2"),
        ("http://example.com:8080/", "http://example.com/"),
        ("http://m.example.com/", "http://example.com/"),
        ("http://www.com/", "http://com.com/"),
        ("http://example.com/#!/a", "http://example.com/#!/b"),
    ],
)
def test_different_pages_keep_different_identities(one: str, other: str) -> None:
    assert link(one).id != link(other).id


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", MALFORMED),
        ("example.com/a", MALFORMED),
        ("http://", MALFORMED),
        ("http://exa mple.com/", MALFORMED),
        ("http://localhost/", MALFORMED),
        ("http://no-such-suffix.invalidtld/", MALFORMED),
        ("ftp://example.com/a", OTHER_SCHEME),
        ("javascript:alert(1)", OTHER_SCHEME),
        ("http://127.0.0.1/", PRIVATE),
        ("http://0x7f.1/", PRIVATE),
        ("http://169.254.169.254/latest/meta-data", PRIVATE),
        ("http://[::1]/", PRIVATE),
        ("http://[::ffff:10.0.0.1]/", PRIVATE),
        ("http://example.com/a.JPG?x=1", MEDIA),
        ("http://example.com/dir.d/a.pdf", MEDIA),
        ("http://example.com/a.css;v=1?x", MEDIA),
        ("http://example.com/a%2Ecss", MEDIA),
        ("http://example.com/a.c%73s", MEDIA),
        ("http://example.com/file.tar.GZ#part", MEDIA),
        ("http://example.com/index.php", MEDIA),
        ("/r/pics/comments/1a2b3c/title/", "reddit"),
        ("  /r/pics/comments/1a2b3c/a.css", "reddit"),
        ("/user/someone/comments/1a2b3c/", "reddit"),
        ("/u/someone", "reddit"),
        ("/comments/1a2b3c", "reddit"),
        ("//redd.it/1a2b3c", "reddit"),
        ("//np.reddit.com/r/x", "reddit"),
        ("http://np.reddit.com/r/x", "reddit"),
        ("//", MALFORMED),
        ("r/pics", MALFORMED),
        ("//10.0.0.1/a", PRIVATE),
        ("http://en.wikipedia.org/wiki/A", "wikipedia"),
        ("http://maps.google.com/x", "blocked domain"),
    ],
)
def test_rejected_with_a_reason(url: str, reason: str) -> None:
    assert clean(url) == reason


@pytest.mark.parametrize(
    ("url", "domain"),
    [
        ("http://notwikipedia.org/", "notwikipedia.org"),
        ("http://wikipedia.org.evil.com/", "evil.com"),
        ("http://google.com/maps.google.com", "google.com"),
        ("http://reddit.co/", "reddit.co"),
        ("http://news.bbc.co.uk/1/hi.stm", "bbc.co.uk"),
        ("http://x.blogspot.com/", "blogspot.com"),
        ("http://example.com/jpg", "example.com"),
        ("http://8.8.8.8/", "8.8.8.8"),
    ],
)
def test_hosts_are_judged_by_registered_domain(url: str, domain: str) -> None:
    assert link(url).domain == domain


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "http://www.example.com/",
        "http://example.com/docs/css",
        "http://example.com/v1.2/docs/css",
        "http://example.com/v1%2E2/docs/css",
        "http://example.com/index.php/foo",
        "http://example.com/a.css/",
        "http://example.com/get?file=a.css",
        "http://example.com/page#a.css",
        "http://example.com/page;b.css",
        "http://example.com/a.css.html",
        "http://example.com/a.css%2Ehtml",
        "http://example.com/css.",
    ],
)
def test_only_the_last_segment_has_an_extension(url: str) -> None:
    link(url)


def test_the_end_of_a_host_is_no_extension() -> None:
    keep = url_cleaner(UrlRules({}, frozenset({"com"}), ()))
    assert not isinstance(keep("http://example.com"), str)
    assert keep("http://example.com/command.com") == MEDIA


def test_a_dot_in_a_folder_is_no_extension(cases: Path) -> None:
    rules = UrlRules({}, frozenset({"css"}), ())
    rows = map(json.loads, (cases / "corpus/dot_in_path.ndjson").read_text().splitlines())
    found = [url_cleaner(rules)(row["url"]) for row in rows]
    assert [one if isinstance(one, str) else one.url for one in found] == [
        "http://example.com/docs/css", "http://example.com/v1.2/docs/css", MEDIA,
    ]  # fmt: skip
