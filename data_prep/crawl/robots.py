"""Robots.txt by RFC 9309, where Scrapy's middleware differs from it.

A robots.txt beyond the size limit is parsed to the limit (section 2.5). One that cannot be reached,
or answers 5xx, forbids its host, and one that answers 4xx allows everything (section 2.3.1). Its
redirects are followed five times, whatever the limit for pages.
"""

import asyncio
import time
import zlib
from typing import Any
from urllib.parse import urlsplit

import scrapy
from scrapy import signals
from scrapy.crawler import Crawler
from scrapy.downloadermiddlewares.robotstxt import RobotsTxtMiddleware
from scrapy.exceptions import IgnoreRequest, StopDownload
from scrapy.http import Response

from data_prep.crawl.proxies import refused_by_proxy

ROBOTS_BYTES = 1 << 19
"""Bytes of a robots.txt that are parsed. RFC 9309 asks for at least 500 KiB."""

REDIRECTS = 5
"""Redirects of a robots.txt that are followed; RFC 9309 asks for at least five."""


class RobotsUnavailableError(Exception):
    """The request for a robots.txt was answered with an error.

    Attributes:
        by_proxy: Whether the error is a proxy's, which does not reach the host.
    """

    def __init__(self, message: str, *, by_proxy: bool = False) -> None:
        super().__init__(message)
        self.by_proxy = by_proxy


def is_robots(request: scrapy.Request) -> bool:
    """Return whether a request is for a robots.txt, or another one that needs no permission."""
    return bool(request.meta.get("dont_obey_robotstxt"))


class Robots(RobotsTxtMiddleware):
    """Robots.txt middleware that does not treat an unreachable robots.txt as permission.

    Scrapy fetches pages of hosts whose robots.txt times out or answers 5xx. Here such a page fails
    with the error of its robots.txt, which is requested again when the page is retried.
    """

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        self._failed: dict[str, tuple[float, Exception]] = {}
        # Seconds for which a failure is remembered. They are fewer than any wait before a retry, so
        # that a retry requests robots.txt again.
        self._memory_seconds = max(1.5 * crawler.settings.getfloat("DOWNLOAD_DELAY"), 0.05)
        self._locks: dict[str, asyncio.Lock] = {}

    async def process_request(
        self, request: scrapy.Request, spider: scrapy.Spider | None = None
    ) -> None:
        """Drop a page that robots.txt disallows; raise the error of an unreachable robots.txt."""
        if is_robots(request):
            return
        host = urlsplit(request.url).netloc
        # One request per host; the others wait here. If several waited inside Scrapy (2.19), only
        # the first would get the rules, and the others would treat their absence as permission.
        async with self._locks.setdefault(host, asyncio.Lock()):
            since, error = self._failed.get(host, (0.0, None))
            if error is None or time.monotonic() - since > self._memory_seconds:
                self._failed.pop(host, None)
                if error is not None:
                    self._parsers.pop(host, None)
                rules = await self.robot_parser(request)
                _, error = self._failed.get(host, (0.0, None))
            if error is not None:  # the waiting pages fail with the same error
                raise error
        self.process_request_2(rules, request)

    async def _parse_robots(self, response: Response, netloc: str, request: scrapy.Request) -> None:
        if response.status >= 500 or response.status == 429:
            proxy = refused_by_proxy(response)
            raise RobotsUnavailableError(f"{response.url}: {response.status}", by_proxy=proxy)
        if not 200 <= response.status < 300:
            response = response.replace(body=b"")  # the page of an error 404 holds no rules
        await super()._parse_robots(response, netloc, request)

    def _robots_error(self, exc: Exception, netloc: str) -> None:
        # A redirect loop means that there is no robots.txt.
        if not (isinstance(exc, IgnoreRequest) and "max redirections" in str(exc)):
            if isinstance(exc, IgnoreRequest):
                exc = RobotsUnavailableError(str(exc))  # decompressed, it is too large
            self._failed[netloc] = (time.monotonic(), exc)
        super()._robots_error(exc, netloc)


class RobotsBody:
    """Downloader middleware that gives `Robots` the first ROBOTS_BYTES of a robots.txt.

    It must be nearer to the downloader than Scrapy's decompression, which fails on a body that is
    cut or that becomes too large.
    """

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> "RobotsBody":
        """Construct the middleware; called by Scrapy."""
        middleware = cls()
        crawler.signals.connect(middleware.stop_at_limit, signals.bytes_received)
        return middleware

    def process_request(self, request: scrapy.Request) -> None:
        """Let a robots.txt be of any size, and ask for it uncompressed."""
        if is_robots(request):
            request.meta.update(download_maxsize=0, robots_bytes=0)
            request.headers["Accept-Encoding"] = b"identity"

    def stop_at_limit(self, data: bytes, request: scrapy.Request, **_: Any) -> None:
        """Stop the download of a robots.txt that is beyond the limit; what was read is kept."""
        if is_robots(request):
            request.meta["robots_bytes"] += len(data)
            if request.meta["robots_bytes"] > ROBOTS_BYTES:
                raise StopDownload(fail=False)

    def process_response(self, request: scrapy.Request, response: Response) -> Response:
        """Decompress a robots.txt to the limit, and cut it there at the end of a line."""
        if not is_robots(request):
            return response
        body, cut = response.body, "download_stopped" in response.flags
        encoding = (response.headers.get("Content-Encoding") or b"").strip().lower()
        headers = response.headers
        if encoding in (b"gzip", b"x-gzip", b"deflate") or body.startswith(b"\x1f\x8b"):
            body, left = _inflated(body)
            cut = cut or left
            headers = headers.copy()
            headers.pop("Content-Encoding", None)
        elif encoding:
            request.meta["download_maxsize"] = ROBOTS_BYTES  # Scrapy decompresses it
            return response
        if cut or len(body) > ROBOTS_BYTES:
            body = body[:ROBOTS_BYTES]
            body = body[: max(body.rfind(b"\n"), body.rfind(b"\r")) + 1]
        return response.replace(body=body, headers=headers)


def _inflated(body: bytes) -> tuple[bytes, bool]:
    """Decompress up to ROBOTS_BYTES; return them, and whether more follows or is missing.

    A body that is not compressed, although it is declared to be, is returned unchanged.
    """
    for window in (47, -15):  # gzip or zlib by its header, then raw deflate
        decompressor = zlib.decompressobj(window)
        try:
            plain = decompressor.decompress(body, ROBOTS_BYTES)
        except zlib.error:
            continue
        return plain, not decompressor.eof
    return body, False
