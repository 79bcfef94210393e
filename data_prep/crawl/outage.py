"""Tell hosts that are gone from a network that is down.

A link whose name lookup or connection failed counts as dead if some host answered a request that
was sent between two of its failures, so that the network was up in the meantime. Until then it is
held. When an answer comes, it is tried again. If links to many hosts are held, or nothing else is
left to do, hosts that answered before are asked once more; without an answer the network is down.
"""

import time
from collections import Counter, deque
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

HOSTS = 20
"""Hosts in a row without an answer at which the network is suspected to be down."""

PROBES = 3
"""Hosts that answered and are asked again when the network is suspected to be down."""

UNREACHED = frozenset({"no such host", "connection refused", "connection failed", "timeout"})
"""Statuses of links that may have failed for lack of a network."""


class Outage:
    """Links that failed without an answer from any host since.

    Args:
        accept: Whether to believe every failure, as if the network were never down.
        answered: URLs that were answered by earlier runs.
    """

    def __init__(self, answered: Iterable[str] = (), *, accept: bool = False) -> None:
        self._accept = accept
        self._last_answer = self._held_since = 0.0
        self._held: dict[str, tuple[dict[str, Any], str]] = {}
        self._origins: deque[str] = deque(maxlen=PROBES)
        for url in answered:
            self._remember(url)

    def __len__(self) -> int:
        return len(self._held)

    def answer(self, url: str, sent: float) -> None:
        """Note that a host answered.

        Args:
            url: The URL that was requested.
            sent: `time.monotonic()` of the request. The network was up then, but may be down by
                the end of an answer.
        """
        self._last_answer = max(self._last_answer, sent)
        self._remember(url)

    def _remember(self, url: str) -> None:
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}/"
        if origin in self._origins:
            self._origins.remove(origin)
        self._origins.append(origin)

    def fail(self, meta: dict[str, Any]) -> None:
        """Note an attempt that failed, in the metadata of its request."""
        meta.setdefault("first_failed", time.monotonic())

    def is_dead(self, meta: dict[str, Any]) -> bool:
        """Return whether the link failed while other hosts could be reached."""
        return self._accept or self._last_answer > meta["first_failed"]

    def hold(self, meta: dict[str, Any], status: str) -> None:
        """Hold a link that may have failed for lack of a network."""
        if not self._held:
            self._held_since = time.monotonic()
        self._held[meta["id"]] = (meta, status)

    def release(self) -> list[dict[str, Any]]:
        """Return the links to try again, if a host has answered since the first was held."""
        if not self._held or self._last_answer <= self._held_since:
            return []
        links = [meta for meta, _ in self._held.values()]
        self._held.clear()
        return links

    @property
    def suspected(self) -> bool:
        """Whether links to so many hosts are held that no more should be tried."""
        return len(self._held) >= HOSTS and self._hosts() >= HOSTS

    @property
    def seconds(self) -> float:
        """Seconds since the first of the links was held."""
        return time.monotonic() - self._held_since

    def probes(self) -> list[str]:
        """Return URLs that should be answered if the network is up."""
        return [f"{origin}robots.txt" for origin in reversed(self._origins)]

    def message(self, proxies: Iterable[str] = ()) -> str:
        """Describe the outage to the user, with the addresses of the proxies in use."""
        counts = Counter(status for _, status in self._held.values())
        kinds = ", ".join(f"{status}: {count:,}" for status, count in sorted(counts.items()))
        through = f" through the proxy {', '.join(proxies)}" if proxies else ""
        return (
            f"no network: the last {len(self._held):,} links, to {self._hosts():,} hosts, all "
            f"failed{through} ({kinds}) and are not counted"
        )

    def _hosts(self) -> int:
        return len({urlsplit(meta["posted"]).hostname for meta, _ in self._held.values()})
