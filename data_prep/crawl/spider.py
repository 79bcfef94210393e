"""Scrapy spider that fetches a list of URLs and gives each a status.

It adds to Scrapy: retries with exponential back-off that respect Retry-After; stopping a download
that is not text as soon as its headers arrive; ending when the network is down (see `outage`); and
memory that does not grow with the list.
"""

import asyncio
import heapq
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any

import scrapy
from scrapy import signals
from scrapy.crawler import Crawler
from scrapy.exceptions import (
    CannotResolveHostError,
    DownloadCancelledError,
    DownloadConnectionRefusedError,
    DownloadTimeoutError,
    IgnoreRequest,
    ResponseDataLossError,
    StopDownload,
)
from scrapy.http import Headers, Response
from twisted.python.failure import Failure

from data_prep.crawl.compression import joined
from data_prep.crawl.mime import TEXTUAL, declared_type, page_type
from data_prep.crawl.outage import UNREACHED, Outage
from data_prep.crawl.politeness import Politeness
from data_prep.crawl.proxies import (
    PrivateAddressError,
    headers_may_be_proxys,
    refused_by_proxy,
)
from data_prep.crawl.robots import RobotsUnavailableError
from data_prep.crawl.urls import MALFORMED, MEDIA, PRIVATE, Link
from webtext_gpt.errors import causes

RETRIED = frozenset({408, 429, 500, 502, 503, 504, 522, 524})
FINAL = (IgnoreRequest, DownloadCancelledError, StopDownload)


class PageSpider(scrapy.Spider):
    """Spider that fetches URLs and reports the outcome of each.

    Args:
        todo: Yields the id and the URL of each page.
        report: Called once for each page with (id, url, status, response). There is a response
            only if the page was downloaded completely.
        clean: URL rules; returns the reason as a string if a URL is rejected.
        politeness: Rates, limits and retries.
        outage: Decides which links are dead, and whether the network is down.
        kwargs: Arguments of Scrapy's spider.

    Attributes:
        failure: The error that ended the crawl.
        offline: Whether the crawl ended because the network is down.
    """

    name = "pages"

    def __init__(
        self,
        todo: Iterator[tuple[str, str]],
        report: Callable[[str, str, str, Response | None], None],
        clean: Callable[[str], Link | str],
        politeness: Politeness,
        outage: Outage,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.clean = clean
        self._todo, self._report, self._polite = todo, report, politeness
        self._outage = outage
        self._under_way = self._probing = 0
        self._probed = False
        self._waiting: list[tuple[float, str, scrapy.Request]] = []
        self.failure: BaseException | None = None
        self.offline = False

    @classmethod
    def from_crawler(cls, crawler: Crawler, *args: Any, **kwargs: Any) -> "PageSpider":
        """Construct the spider; called by Scrapy."""
        spider = super().from_crawler(crawler, *args, **kwargs)
        crawler.signals.connect(spider.check_headers, signals.headers_received)
        crawler.signals.connect(spider.check_answer, signals.response_downloaded)
        return spider

    async def start(self) -> AsyncIterator[scrapy.Request]:
        """Yield requests while there is room for them, and retries when they are due."""
        with self._failing():
            window = 50 * self._polite.concurrency  # wide enough that slow hosts do not fill it
            todo = iter(self._todo)
            more, outage = True, self._outage
            while (more or self._under_way) and not self.offline and self.failure is None:
                room = self._under_way < window
                for meta in outage.release():
                    self._probed = False
                    self._retry({**meta, "attempt": -1}, None)
                if self._waiting and self._waiting[0][0] <= time.monotonic():
                    yield heapq.heappop(self._waiting)[2]
                elif self._is_stuck(more and room and not outage.suspected):
                    probes = [] if self._probed else outage.probes()
                    self._probed = True
                    self._probing = len(probes)
                    for url in probes:
                        yield self._probe(url)
                    if not probes:
                        self.offline = True
                        self.crawler.engine.close_spider(self, "offline")
                elif more and room and not outage.suspected:
                    if (entry := next(todo, None)) is None:
                        more = False
                    else:
                        self._under_way += 1
                        if (request := self._first_request(*entry)) is not None:
                            yield request
                else:
                    await asyncio.sleep(0.05)

    def _is_stuck(self, more: bool) -> bool:
        """Return whether only held links remain, and no probe is under way.

        Args:
            more: Whether another link can be taken.
        """
        outage = self._outage
        if more or self._probing or not len(outage):
            return False
        # Whatever was under way when the first was held has been answered or given up by now.
        late = outage.suspected and outage.seconds > self._polite.timeout
        return late or self._under_way == len(outage)

    def _probe(self, url: str) -> scrapy.Request:
        def done(_: Response | Failure) -> None:
            self._probing -= 1

        meta = {"dont_obey_robotstxt": True}
        return scrapy.Request(url, done, errback=done, dont_filter=True, priority=1, meta=meta)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """End the crawl at an error in the block, which Scrapy would only log."""
        try:
            yield
        except Exception as error:
            self.failure = self.failure or error
            self.crawler.engine.close_spider(self, "failed")
            raise

    def _first_request(self, name: str, url: str) -> scrapy.Request | None:
        """Return the request for a link, or report a link that is no URL."""
        try:
            return self._request(name, url)
        except ValueError:
            self._done({"id": name, "posted": url}, MALFORMED)
            return None

    def _request(self, name: str, url: str) -> scrapy.Request:
        return scrapy.Request(
            url, self.parse_page, errback=self.parse_failure, dont_filter=True,
            meta={
                "id": name, "posted": url, "attempt": 0,
                "redirect_ttl": self._polite.max_redirects,
            },
        )  # fmt: skip

    def check_headers(self, headers: Headers, request: scrapy.Request, **_: Any) -> None:
        """Stop a download that is not text. Redirects may have any content type."""
        request.meta["sent"] = time.monotonic() - request.meta.get("download_latency", 0.0)
        if not headers_may_be_proxys(request):
            self._outage.answer(request.url, request.meta["sent"])
            request.meta["answered"] = True
        kind = declared_type(joined(headers, "Content-Type"))[0]
        if kind and kind not in TEXTUAL and "id" in request.meta:
            if headers.get(b"Location"):
                return
            request.meta["not_text"] = True
            raise StopDownload(fail=True)

    def check_answer(self, response: Response, request: scrapy.Request, **_: Any) -> None:
        """Note that a host answered, unless a proxy answered in its place."""
        if not refused_by_proxy(response.replace(request=request)):
            self._outage.answer(request.url, request.meta["sent"])

    def parse_page(self, response: Response) -> None:
        """Report a response, or retry it if its status may be temporary."""
        with self._failing():
            self._judge_response(response)

    def _judge_response(self, response: Response) -> None:
        meta = response.meta
        status = f"http {response.status}"
        unreached = refused_by_proxy(response)
        if unreached:
            self._outage.fail(meta)
        if response.status in RETRIED and meta["attempt"] < self._polite.retries:
            self._slow_down(meta)
            self._retry(meta, _retry_after(response.headers.get("Retry-After")))
        elif unreached:
            self._unreached(meta, status)
        elif response.status != 200:
            self._done(meta, status)
        else:
            kind, _, _ = page_type(joined(response.headers, "Content-Type"), response.body)
            self._done(meta, "fetched" if kind in TEXTUAL else "not text", response)

    def parse_failure(self, failure: Failure) -> None:
        """Report a request without a response, or retry it if the failure may be temporary."""
        with self._failing():
            self._judge_failure(failure)

    def _judge_failure(self, failure: Failure) -> None:
        failed: Any = failure  # Scrapy adds `request`, which the type lacks
        meta, error = failed.request.meta, failed.value
        status = _status_of(error)
        if meta.get("not_text"):
            status = "not text"
        unreached = (status in UNREACHED and "answered" not in meta) or (
            isinstance(error, RobotsUnavailableError) and error.by_proxy
        )
        if unreached:
            self._outage.fail(meta)
        retry = not isinstance(error, FINAL) and status != PRIVATE
        if retry and meta["attempt"] < self._polite.retries:
            self._retry(meta, None)
        elif unreached:
            self._unreached(meta, status)
        else:
            self._done(meta, status)

    def _unreached(self, meta: dict[str, Any], status: str) -> None:
        """Report a link as dead, or hold it if the network may be down."""
        if self._outage.is_dead(meta):
            self._done(meta, status)
        else:
            self._outage.hold(meta, status)

    def _retry(self, meta: dict[str, Any], wait: float | None) -> None:
        request = self._request(meta["id"], meta["posted"])
        request.meta["attempt"] = attempt = meta["attempt"] + 1
        if "first_failed" in meta:
            request.meta["first_failed"] = meta["first_failed"]
        backed_off = max(self._polite.delay, 0.1) * 2**attempt
        due = time.monotonic() + min(max(wait or 0, backed_off), self._polite.max_wait)
        heapq.heappush(self._waiting, (due, meta["id"], request))

    def _slow_down(self, meta: dict[str, Any]) -> None:
        """Double the delay of a host that answered with a temporary error."""
        slot = self.crawler.engine.downloader.slots.get(meta.get("download_slot", ""))
        if slot is not None:
            slot.delay = min(slot.delay * 2, self._polite.max_wait)

    def _done(self, meta: dict[str, Any], status: str, response: Response | None = None) -> None:
        self._report(meta["id"], meta["posted"], status, response)
        self._under_way -= 1


def _retry_after(header: bytes | None) -> float | None:
    """Return the seconds that a Retry-After header, a number or a date, asks for."""
    text = (header or b"").decode("latin-1").strip()
    if text.isdigit():
        return float(text)
    try:
        return max(parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except (ValueError, TypeError):
        return None


def _status_of(error: BaseException) -> str:
    """Return the status under which a failure is counted."""
    chain: list[BaseException] = []
    for cause in causes(error):
        chain.append(cause)
        chain += [r.value for r in getattr(cause, "reasons", []) or [] if hasattr(r, "value")]
    if any(isinstance(c, PrivateAddressError) for c in chain):
        return PRIVATE
    text = str(error)
    known = {
        "robots.txt": "robots.txt",
        "max redirections": "redirect loop",
        "DOWNLOAD_MAXSIZE": "too large",
    }
    if isinstance(error, IgnoreRequest):
        return next((status for part, status in known.items() if part in text), text or MEDIA)
    kinds = {
        RobotsUnavailableError: "robots.txt unavailable",
        DownloadTimeoutError: "timeout",
        CannotResolveHostError: "no such host",
        DownloadConnectionRefusedError: "connection refused",
        DownloadCancelledError: "too large",
        ResponseDataLossError: "cut short",
    }
    found = next((status for kind, status in kinds.items() if isinstance(error, kind)), "")
    return found or ("TLS error" if "SSL" in repr(chain) else "connection failed")
