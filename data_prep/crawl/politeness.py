"""Politeness of the crawl towards hosts, and protection of the network it runs in.

Scrapy provides robots.txt, delay and concurrency per host, throttling, redirects, and limits on
size and time. This module adds URL rules that also apply to redirects, respect for hosts whose
robots.txt cannot be read, and a check of every connection's address.
"""

import asyncio
import ipaddress
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import scrapy
from scrapy.crawler import Crawler
from scrapy.downloadermiddlewares.robotstxt import RobotsTxtMiddleware
from scrapy.exceptions import IgnoreRequest
from scrapy.http import Response

from data_prep.crawl.urls import is_public


class PrivateAddressError(Exception):
    """A connection would have gone to a private address."""


class RobotsUnavailableError(Exception):
    """A host answered the request for its robots.txt with an error."""


@dataclass(frozen=True)
class Politeness:
    """Rates, limits and retries with which the crawler treats hosts.

    Attributes:
        user_agent: User-Agent header; should say how to reach the operator.
        delay: Minimum seconds between two requests to a host.
        per_host: Concurrent requests to one host.
        concurrency: Concurrent requests in total.
        timeout: Seconds after which a request or a name lookup fails.
        max_bytes: Maximum size of a page, in bytes.
        retries: Retries after a failure that may be temporary.
        max_wait: Maximum wait before a retry, in seconds.
        max_redirects: Maximum number of redirects in a row.
        verify_tls: Whether to refuse hosts with an invalid certificate.
        allow_private: Whether private addresses may be fetched (for tests).
    """

    user_agent: str
    delay: float = 1.0
    per_host: int = 1
    concurrency: int = 64
    timeout: float = 30.0
    max_bytes: int = 5_000_000
    retries: int = 2
    max_wait: float = 120.0
    max_redirects: int = 8
    verify_tls: bool = False
    allow_private: bool = False

    def settings(self) -> dict[str, Any]:
        """Return Scrapy's settings; everything that is not needed to fetch pages is off."""
        return {
            "USER_AGENT": self.user_agent,
            "ROBOTSTXT_OBEY": True,
            "DOWNLOAD_DELAY": self.delay,
            "AUTOTHROTTLE_ENABLED": True,
            "AUTOTHROTTLE_START_DELAY": self.delay,
            "AUTOTHROTTLE_TARGET_CONCURRENCY": float(self.per_host),
            "CONCURRENT_REQUESTS": self.concurrency,
            "CONCURRENT_REQUESTS_PER_DOMAIN": self.per_host,
            "DOWNLOAD_TIMEOUT": self.timeout,
            "DNS_TIMEOUT": self.timeout,
            "DOWNLOAD_MAXSIZE": self.max_bytes,
            "DOWNLOAD_WARNSIZE": 0,
            "DOWNLOAD_VERIFY_CERTIFICATES": self.verify_tls,
            "REDIRECT_MAX_TIMES": self.max_redirects,
            "METAREFRESH_MAXDELAY": 5,
            "HTTPERROR_ALLOW_ALL": True,
            "RETRY_ENABLED": False,  # Scrapy would retry without waiting
            "DUPEFILTER_CLASS": "scrapy.dupefilters.BaseDupeFilter",
            "DOWNLOADER_MIDDLEWARES": {
                "data_prep.crawl.politeness.Filter": 50,
                "data_prep.crawl.politeness.Robots": 100,
                "scrapy.downloadermiddlewares.robotstxt.RobotsTxtMiddleware": None,
                "data_prep.crawl.compression.Decompression": 590,
                "scrapy.downloadermiddlewares.httpcompression.HttpCompressionMiddleware": None,
            },
            "DOWNLOAD_HANDLERS": dict.fromkeys(("data", "file", "ftp", "s3")),
            "HTTPPROXY_ENABLED": False,  # the guard cannot check a proxy's connections
            "COOKIES_ENABLED": False,
            "REFERER_ENABLED": False,
            "REACTOR_THREADPOOL_MAXSIZE": 32,
            "TELNETCONSOLE_ENABLED": False,
            "REMOTE_CONTROL_ENABLED": False,
            "LOG_ENABLED": False,
        }


def guard(reactor: Any) -> None:
    """Restrict a Twisted reactor to public addresses.

    Every TCP connection passes through `connectTCP` with the resolved address. So neither a
    redirect, nor a host name, nor a name whose address changes can lead to a private address.
    """
    connect = reactor.connectTCP

    def guarded(host: Any, port: int, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        try:
            public = is_public(ipaddress.ip_address(name.partition("%")[0]))
        except ValueError:
            public = False  # a name, which would be resolved after this check
        if not public:
            raise PrivateAddressError(f"{name} is not a public address")
        return connect(host, port, *args, **kwargs)

    reactor.connectTCP = guarded


class Filter:
    """Downloader middleware that applies the URL rules to every page, redirects included."""

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> "Filter":
        """Construct the middleware; called by Scrapy."""
        return cls(crawler)

    def process_request(self, request: scrapy.Request) -> None:
        """Drop a request whose URL the rules reject, unless it is for robots.txt."""
        if not request.meta.get("dont_obey_robotstxt"):
            spider: Any = self._crawler.spider  # a PageSpider, whose module imports this one
            link = spider.clean(request.url)
            if isinstance(link, str):
                raise IgnoreRequest(link)


class Robots(RobotsTxtMiddleware):
    """Robots.txt middleware that does not treat an unreachable robots.txt as permission.

    Scrapy fetches pages of hosts whose robots.txt times out or answers 5xx. RFC 9309, section
    2.3.1, forbids that. Here such a page fails with the error of its robots.txt, which is
    requested again when the page is retried.
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
        if request.meta.get("dont_obey_robotstxt"):
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
            raise RobotsUnavailableError(f"{response.url}: {response.status}")
        await super()._parse_robots(response, netloc, request)

    def _robots_error(self, exc: Exception, netloc: str) -> None:
        if not isinstance(exc, IgnoreRequest):  # a redirect loop means that there is no robots.txt
            self._failed[netloc] = (time.monotonic(), exc)
        super()._robots_error(exc, netloc)
