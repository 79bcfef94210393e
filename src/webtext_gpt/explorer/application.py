"""The explorer's web application: the page's files, and its requests under `/api/`."""

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from webtext_gpt.errors import UserError
from webtext_gpt.explorer.guards import Guard, Queue, read_body
from webtext_gpt.explorer.requests import MOST_BYTES, REQUESTS, Asked, read_request
from webtext_gpt.explorer.workspace import UnknownCheckpoint, Workspace

STATIC = Path(__file__).parent / "static"

Endpoint = Callable[[Request], Awaitable[Response]]


def make_application(workspace: Workspace) -> ASGIApp:
    """Return the application for the models of a workspace."""
    queue = Queue()

    async def page(request: Request) -> Response:
        return FileResponse(STATIC / "index.html")

    async def model(request: Request) -> Response:
        asked = request.query_params.get("checkpoint")
        return answer(await queue.run(request, partial(workspace.describe, asked)))

    async def curve(request: Request) -> Response:
        return answer(await queue.run(request, workspace.losses))

    async def positions(request: Request) -> Response:
        asked = request.query_params.get("checkpoint")
        values = await queue.run(request, partial(workspace.compute, "positions", asked, {}))
        config = workspace.open(asked).config
        response = answer(values)
        response.headers["X-Rows"], response.headers["X-Columns"] = map(str, values.shape)
        response.headers["X-Kind"] = config.positions
        return response

    def computed(name: str, kind: type[Asked]) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            asked = read_request(await read_body(request, MOST_BYTES), kind)
            work = partial(workspace.compute, name, asked.checkpoint, asked.arguments())
            return answer(await queue.run(request, work))

        return endpoint

    application = Starlette(
        routes=[
            Route("/", page),
            Route("/api/model", model),
            Route("/api/curve", curve),
            Route("/api/positions", positions),
            *(
                Route(f"/api/{name}", computed(name, kind), methods=["POST"])
                for name, kind in REQUESTS.items()
            ),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        exception_handlers={
            UserError: _bad_input,
            HTTPException: _http_error,
            ClientDisconnect: _gone,
            Exception: _bug,
        },
    )
    return Guard(application)


def answer(result: Any) -> Response:
    """Return a result as JSON, or an array as its values in little-endian float32."""
    if isinstance(result, np.ndarray):
        values = np.ascontiguousarray(result, dtype="<f4")
        return Response(values.tobytes(), media_type="application/octet-stream")
    return Response(msgspec.json.encode(result), media_type="application/json")


def _error(problem: str, status: int, headers: Any = None) -> Response:
    return JSONResponse({"error": problem}, status, headers)


def _bad_input(request: Request, error: Exception) -> Response:
    return _error(str(error), 404 if isinstance(error, UnknownCheckpoint) else 400)


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - Starlette's type for handlers is wider
    path = request.url.path
    problem = {
        404: f"there is nothing at {path}",
        405: f"{path} cannot be asked with {request.method}",
    }.get(error.status_code, error.detail)
    return _error(problem, error.status_code, error.headers)


def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it


def _bug(request: Request, error: Exception) -> Response:
    return _error(f"{type(error).__name__} in the server; the terminal shows where", 500)
