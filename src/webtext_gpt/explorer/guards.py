"""Guards of the server: only its own page may ask, and requests are bounded in size and number.

Any page that is open in the browser can send requests to 127.0.0.1. Those of other sites carry
another `Origin`, or another `Host` if their name was made to point here (DNS rebinding); both are
refused. The page itself may load nothing from elsewhere, nor run a script contained in a text.
"""

import asyncio
import re
from collections.abc import Callable
from typing import TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOSTS = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?", re.IGNORECASE)
"""Accepted names of this machine, at any port, since a tunnel may use another port."""

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",  # an upgraded page is shown at once; unchanged files answer 304
}

BODY_SECONDS = 10.0
"""Seconds within which a request's body has to arrive."""

T = TypeVar("T")


class Guard:
    """Refuses requests of other hosts and sites, and adds `HEADERS` to every response."""

    def __init__(self, application: ASGIApp) -> None:
        self.application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as an ASGI application does."""

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        problem = refusal(Headers(scope=scope), scope["path"])
        answer: ASGIApp = self.application
        if problem is not None:
            answer = JSONResponse({"error": problem}, status_code=403)
        await answer(scope, receive, guarded)


def refusal(headers: Headers, path: str) -> str | None:
    """Return why a request is refused; None if it comes from this machine and our page."""
    host, origin = headers.get("host", ""), headers.get("origin")
    if not HOSTS.fullmatch(host):
        return f"the host {host!r} is not this machine; open http://127.0.0.1 with the port"
    if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
        return f"the request comes from another site, {origin!r}; only the explorer's page may ask"
    site = headers.get("sec-fetch-site", "none")
    if path.startswith("/api/") and site not in ("none", "same-origin"):
        return f"the request comes from another site ({site}); only the explorer's page may ask"
    return None


async def read_body(request: Request, most: int) -> bytes:
    """Return a request's body.

    Raises:
        HTTPException: its type is not JSON, it is too long, or it arrives too slowly.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, f"the content type is {kind!r}; send application/json")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise HTTPException(413, f"the request has over {most:,} bytes; shorten it")
    except TimeoutError:
        raise HTTPException(
            408, f"the request did not arrive within {BODY_SECONDS:g} s; send it again"
        ) from None
    return bytes(body)


class Queue:
    """Runs computations in threads, a few at a time; the others wait, and too many are refused.

    Args:
        at_once: maximum number of computations at a time.
        most: maximum number of requests that compute or wait.
    """

    def __init__(self, at_once: int = 2, most: int = 32) -> None:
        self._turns = asyncio.Semaphore(at_once)
        self._most = most
        self._inside = 0

    async def run(self, request: Request, work: Callable[[], T]) -> T:
        """Return what `work` returns.

        Raises:
            HTTPException: too many requests wait already.
            ClientDisconnect: the client disconnected while it waited.
        """
        if self._inside >= self._most:
            busy = "the server is busy with other requests; ask again in a moment"
            raise HTTPException(503, busy, headers={"Retry-After": "1"})
        self._inside += 1
        try:
            async with self._turns:
                if await request.is_disconnected():
                    raise ClientDisconnect
                return await run_in_threadpool(work)
        finally:
            self._inside -= 1
