"""A page that is fetched is read by the same rules as one from an archive."""

import gzip
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_prep.crawl.warc import Page, archived_pages
from data_prep.extraction.decoding import decode

from ..site import Site, page, reply
from ..test_pages import LOCAL, links, statuses

TEXT = "café — “what a day,” he said…"
BODY = f"<html><body><p>{TEXT}</p></body></html>"

ANSWERS: dict[str, tuple[bytes, dict[str, str]]] = {
    "/untrue": (BODY.encode(), {"Content-Type": "text/html", "Content-Encoding": "gzip"}),
    "/cut": (gzip.compress(BODY.encode() * 50)[:-10],
             {"Content-Type": "text/html", "Content-Encoding": "gzip"}),
    "/no-type": (BODY.encode(), {}),
    "/any-type": (BODY.encode(), {"Content-Type": "*/*"}),
    "/latin1": (BODY.encode("cp1252"), {"Content-Type": "text/html;charset=ISO-8859-1"}),
    "/mojibake": (BODY.encode(), {"Content-Type": "text/html;charset=ISO-8859-1"}),
    "/picture-without-type": (b"\x89PNG\r\n\x1a\n\0\0", {}),
}  # fmt: skip


class OddSite(Site):
    def answer(self, ask: Any, pages: Callable[[str], bytes], delay: float) -> None:
        if ask.path in ANSWERS:
            return reply(ask, 200, *ANSWERS[ask.path])
        return super().answer(ask, pages, delay)


def test_odd_answers(
    tmp_path: Path, stage: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    with OddSite(page) as site:
        urls = [site.root + path for path in ANSWERS]
        source = links(tmp_path / "links.parquet", urls)
        done = stage("pages", f"links=[{source}]", f"out={tmp_path / 'out'}", *LOCAL)
    assert done.returncode == 0, done.stderr
    found = {url.removeprefix(site.root): s for url, s in statuses(tmp_path / "out").items()}
    assert found == {path: "not text" if "picture" in path else "fetched" for path in ANSWERS}
    (archive,) = (tmp_path / "out").glob("pages-*.warc.gz")
    pages = [item for item in archived_pages(archive, 10**6) if isinstance(item, Page)]
    faults = {p.url.removeprefix(site.root): p.faults for p in pages}
    assert faults == {
        "/untrue": ("says gzip and is not",), "/cut": ("cut gzip body",),
        "/no-type": ("no content type",), "/any-type": ("no content type",),
        "/latin1": (), "/mojibake": (),
    }  # fmt: skip
    assert all(TEXT in decode(p.body, p.content_type, p.charset).text for p in pages)
