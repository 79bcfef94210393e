"""Politeness of the crawl towards hosts, and protection of the network it runs in.

Scrapy provides robots.txt, delay and concurrency per host, throttling, redirects, and limits on
size and time. This module adds URL rules that also apply to redirects, and a check of every
connection's address.
"""

import ipaddress
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import scrapy
from scrapy.crawler import Crawler
from scrapy.exceptions import IgnoreRequest

from data_prep.crawl.proxies import PrivateAddressError
from data_prep.crawl.robots import REDIRECTS, is_robots
from data_prep.crawl.urls import is_public


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
        proxies: Whether to connect through the proxies that the environment names.
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
    proxies: bool = False
    allow_private: bool = False

    def settings(self) -> dict[str, Any]:
        """Return Scrapy's settings; everything that is not needed to fetch pages is off."""
        checked = self.proxies and not self.allow_private
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
            "REDIRECT_MAX_TIMES": max(self.max_redirects, REDIRECTS),  # pages have their own limit
            "METAREFRESH_MAXDELAY": 5,
            "HTTPERROR_ALLOW_ALL": True,
            "RETRY_ENABLED": False,  # Scrapy would retry without waiting
            "DUPEFILTER_CLASS": "scrapy.dupefilters.BaseDupeFilter",
            "DOWNLOADER_MIDDLEWARES": {
                "data_prep.crawl.politeness.Filter": 50,
                "data_prep.crawl.robots.Robots": 100,
                "data_prep.crawl.robots.RobotsBody": 595,  # Scrapy decompresses at 590
                # Scrapy chooses the proxy at 750
                "data_prep.crawl.proxies.ProxyGuard": 760 if checked else None,
                "scrapy.downloadermiddlewares.robotstxt.RobotsTxtMiddleware": None,
                "data_prep.crawl.compression.Decompression": 590,
                "scrapy.downloadermiddlewares.httpcompression.HttpCompressionMiddleware": None,
            },
            "DOWNLOAD_HANDLERS": dict.fromkeys(("data", "file", "ftp", "s3")),
            "HTTPPROXY_ENABLED": self.proxies,
            "COOKIES_ENABLED": False,
            "REFERER_ENABLED": False,
            "REACTOR_THREADPOOL_MAXSIZE": 32,
            "TELNETCONSOLE_ENABLED": False,
            "REMOTE_CONTROL_ENABLED": False,
            "LOG_ENABLED": False,
        }


def guard(reactor: Any, proxies: Collection[tuple[str, int]] = ()) -> None:
    """Restrict a Twisted reactor to public addresses.

    Every TCP connection passes through `connectTCP` with the resolved address. So neither a
    redirect, nor a host name, nor a name whose address changes can lead to a private address.

    Args:
        reactor: The reactor.
        proxies: Addresses and ports of proxies, which may be private.
    """
    connect = reactor.connectTCP

    def guarded(host: Any, port: int, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        try:
            address = ipaddress.ip_address(name.partition("%")[0])
            public = is_public(address) or (name, port) in proxies
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
        if not is_robots(request):
            spider: Any = self._crawler.spider  # a PageSpider, whose module imports this one
            link = spider.clean(request.url)
            if isinstance(link, str):
                raise IgnoreRequest(link)
