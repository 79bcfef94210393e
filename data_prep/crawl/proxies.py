"""Proxies of the environment, and the check of addresses that a proxy would connect to."""

import ipaddress
import socket
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from urllib.request import getproxies

import scrapy
from scrapy.http import Response
from scrapy.utils.defer import maybe_deferred_to_future

from data_prep.crawl.urls import is_public
from webtext_gpt.errors import UserError

GATEWAY = frozenset({407, 502, 503, 504})
"""Statuses of a proxy that cannot reach a host, or refuses this client."""


class PrivateAddressError(Exception):
    """A connection would have gone to a private address."""


def headers_may_be_proxys(request: scrapy.Request | None) -> bool:
    """Return whether a proxy may have answered in place of a host: HTTP without a tunnel."""
    return request is not None and bool(request.meta.get("proxy")) and request.url[:5] == "http:"


def refused_by_proxy(response: Response) -> bool:
    """Return whether a response says that a proxy does not reach the host."""
    return response.status in GATEWAY and headers_may_be_proxys(response.request)


def environment_proxies() -> list[str]:
    """Return the proxies that `http_proxy` and `https_proxy` name, without their passwords.

    Raises:
        UserError: There is none, or one that does not speak HTTP.
    """
    found = {kind: url for kind, url in getproxies().items() if kind in ("http", "https")}
    if not found:
        raise UserError(
            "proxies=true, but the environment names no proxy; set http_proxy and https_proxy, as "
            "in https_proxy=http://proxy.example.org:3128"
        )
    addresses = []
    for kind, url in found.items():
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            known = parts.scheme == "http" and parts.hostname and (parts.port or 80)
        except ValueError:
            known = False
        if not known:
            raise UserError(
                f"{kind}_proxy={url}: expected the address of an HTTP proxy, http://..."
            )
        bare = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], "", "", ""))
        if bare not in addresses:
            addresses.append(bare)
    return addresses


def proxy_endpoints(proxies: list[str]) -> set[tuple[str, int]]:
    """Return the addresses and ports of proxies; a proxy whose name is not found has none."""
    endpoints = set()
    for proxy in proxies:
        parts = urlsplit(proxy)
        try:
            found = socket.getaddrinfo(parts.hostname, parts.port or 80, type=socket.SOCK_STREAM)
        except OSError:  # its connections will fail, and the crawl says so
            continue
        endpoints |= {(str(address[0]), int(address[1])) for *_, address in found}
    return endpoints


class ProxyGuard:
    """Downloader middleware that refuses to send requests for private addresses to a proxy.

    A name that cannot be resolved here goes to the proxy, which looks it up in its own network.
    """

    async def process_request(self, request: scrapy.Request) -> None:
        """Resolve the host of a request that goes to a proxy.

        Raises:
            PrivateAddressError: One of its addresses is private.
        """
        host = urlsplit(request.url).hostname
        if request.meta.get("proxy") and host:
            for address in await _addresses(host):
                if not is_public(ipaddress.ip_address(address.partition("%")[0])):
                    raise PrivateAddressError(f"{host} is not a public address")


async def _addresses(host: str) -> list[str]:
    from twisted.internet.threads import deferToThread

    try:
        found: list[Any] = await maybe_deferred_to_future(
            deferToThread(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM)
        )
    except (OSError, UnicodeError):
        return []
    return [str(address[0]) for *_, address in found]
