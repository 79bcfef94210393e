"""A server on 127.0.0.1 that answers as the hub does for one dataset, `me/texts`.

It has the requests by which `hf://` reads: the repository, its tree, and the contents of a file.
"""

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

REPOSITORY = "/api/datasets/me/texts"
TREE = f"{REPOSITORY}/tree/main"
CONTENTS = "/datasets/me/texts/resolve/main/"


def _object_id(data: bytes) -> str:
    """Return git's hash of a file."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class _Hub(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    files: Mapping[str, bytes] = {}

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        path = unquote(address.path)
        if path == REPOSITORY:
            return self._answer(200, json.dumps({"id": "me/texts", "sha": "1" * 40}).encode())
        if path == TREE or path.startswith(f"{TREE}/"):
            tree = self._tree(path[len(TREE) + 1 :], "recursive=true" in address.query.lower())
            if not tree:
                return self._answer(404, b"{}", **{"X-Error-Code": "EntryNotFound"})
            return self._answer(200, json.dumps(tree).encode())
        data = self.files.get(path.removeprefix(CONTENTS))
        if path.startswith(CONTENTS) and data is not None:
            return self._answer(200, data, ETag=f'"{_object_id(data)}"')
        return self._answer(404, b"{}", **{"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET  # noqa: N815 - named by http.server

    def _tree(self, folder: str, recursive: bool) -> list[dict[str, object]]:
        """List the files of a folder, and the folders in it; of these only, unless recursive."""
        start = f"{folder}/" if folder else ""
        found: dict[str, dict[str, object]] = {}
        for name, data in self.files.items():
            first, _, rest = name.removeprefix(start).partition("/")
            if not name.startswith(start):
                continue
            if rest:
                path = start + first
                found[path] = {"type": "directory", "oid": "0" * 40, "path": path, "size": 0}
            if recursive or not rest:
                found[name] = {
                    "type": "file", "oid": _object_id(data), "path": name, "size": len(data),
                }  # fmt: skip
        return list(found.values())

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@contextmanager
def fake_hub(files: Mapping[str, bytes]) -> Iterator[str]:
    """Serve the files of `datasets/me/texts`; yield the address for `HF_ENDPOINT`."""
    handler = type("Hub", (_Hub,), {"files": files})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
