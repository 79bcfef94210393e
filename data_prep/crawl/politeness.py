"""How the crawl behaves: towards hosts, towards their robots.txt, and towards this network.

Scrapy brings robots.txt, delay and concurrency a host, throttling, redirects, limits of size
and time. Added here: filters that redirects pass too, respect for a robots.txt that cannot be
read, and a guard under every connection.
"""

import asyncio
import ipaddress
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import scrapy
from scrapy.downloadermiddlewares.robotstxt import RobotsTxtMiddleware
from scrapy.exceptions import IgnoreRequest

from data_prep.crawl.urls import is_public


class PrivateAddressError(Exception):
    """A connection was about to go where the internet does not."""


class RobotsUnavailableError(Exception):
    """A host answers with an error when asked for its robots.txt."""


@dataclass(frozen=True)
class Politeness:
    """How the crawl treats hosts. Seconds and bytes."""

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
        """As Scrapy's settings; all that is not needed to fetch pages is off."""
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
            "RETRY_ENABLED": False,  # Scrapy's retries do not wait
            "DUPEFILTER_CLASS": "scrapy.dupefilters.BaseDupeFilter",
            "DOWNLOADER_MIDDLEWARES": {
                "data_prep.crawl.politeness.Filter": 50,
                "data_prep.crawl.politeness.Robots": 100,
                "scrapy.downloadermiddlewares.robotstxt.RobotsTxtMiddleware": None,
            },
            "DOWNLOAD_HANDLERS": dict.fromkeys(("data", "file", "ftp", "s3")),
            "HTTPPROXY_ENABLED": False,  # a proxy would connect where the guard cannot see
            "COOKIES_ENABLED": False,
            "REFERER_ENABLED": False,
            "REACTOR_THREADPOOL_MAXSIZE": 32,
            "TELNETCONSOLE_ENABLED": False,
            "REMOTE_CONTROL_ENABLED": False,
            "LOG_ENABLED": False,
        }


def guard(reactor: Any) -> None:
    """Let a reactor connect to public addresses only.

    Every TCP connection of Twisted passes here with the address that names were resolved to, so
    neither a redirect nor a name, nor a name that changes its address, leads elsewhere.
    """
    connect = reactor.connectTCP

    def guarded(host: Any, port: int, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        try:
            public = is_public(ipaddress.ip_address(name.partition("%")[0]))
        except ValueError:
            public = False  # a name that would be resolved later, unseen
        if not public:
            raise PrivateAddressError(f"{name} is no public address")
        return connect(host, port, *args, **kwargs)

    reactor.connectTCP = guarded


class Filter:
    """Downloader middleware: every page's URL, a redirect's too, has to pass the rules."""

    def __init__(self, crawler: Any) -> None:
        self._crawler = crawler

    @classmethod
    def from_crawler(cls, crawler: Any) -> "Filter":
        """Scrapy's constructor."""
        return cls(crawler)

    def process_request(self, request: scrapy.Request) -> None:
        """Refuse what the rules refuse; robots.txt is not a page."""
        if not request.meta.get("dont_obey_robotstxt"):
            link = self._crawler.spider.clean(request.url)
            if isinstance(link, str):
                raise IgnoreRequest(link)


class Robots(RobotsTxtMiddleware):
    """Scrapy's robots.txt, but what cannot be asked does not mean yes (RFC 9309, section 2.3.1).

    Scrapy fetches pages of hosts whose robots.txt times out or answers 5xx. Here such a page
    fails as its robots.txt did, and asks again when it is retried.
    """

    def __init__(self, crawler: Any) -> None:
        super().__init__(crawler)
        self._failed: dict[str, tuple[float, Exception]] = {}
        # Shorter than any wait before a retry, so that a retry asks again.
        self._patience = max(1.5 * crawler.settings.getfloat("DOWNLOAD_DELAY"), 0.05)
        self._asking: dict[str, asyncio.Lock] = {}

    async def process_request(self, request: scrapy.Request, spider: Any = None) -> None:
        """Refuse what the host's rules refuse, or fail as asking for them failed."""
        if request.meta.get("dont_obey_robotstxt"):
            return
        host = urlsplit(request.url).netloc
        # One asks, the others wait here: of several that wait for Scrapy's own answer only the
        # first gets the rules (2.19), and the others would take none for leave.
        async with self._asking.setdefault(host, asyncio.Lock()):
            since, error = self._failed.get(host, (0.0, None))
            if error is None or time.monotonic() - since > self._patience:
                self._failed.pop(host, None)
                if error is not None:
                    self._parsers.pop(host, None)
                rules = await self.robot_parser(request)
                _, error = self._failed.get(host, (0.0, None))
            if error is not None:  # those who waited fail with the one who asked
                raise error
        self.process_request_2(rules, request)

    async def _parse_robots(self, response: Any, netloc: str, request: scrapy.Request) -> None:
        if response.status >= 500 or response.status == 429:
            raise RobotsUnavailableError(f"{response.url}: {response.status}")
        await super()._parse_robots(response, netloc, request)

    def _robots_error(self, exc: Exception, netloc: str) -> None:
        if not isinstance(exc, IgnoreRequest):  # a loop of redirects: there are no rules
            self._failed[netloc] = (time.monotonic(), exc)
        super()._robots_error(exc, netloc)
