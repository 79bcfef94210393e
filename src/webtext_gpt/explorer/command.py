"""The command `serve`: load a model, and serve the explorer's page, or write it to one file."""

import getpass
import os
import socket
import sys
import threading
import webbrowser
from pathlib import Path

from webtext_gpt.checkpoint.load import load
from webtext_gpt.cli import Call
from webtext_gpt.errors import UserError
from webtext_gpt.explorer.checkpoints import Checkpoints
from webtext_gpt.extras import check_installed
from webtext_gpt.paths import check_output_file, local_path, shown
from webtext_gpt.settings.serve import Serve
from webtext_gpt.terminal import quoted, say


def serve(settings: Serve, call: Call) -> None:
    """Serve the page until it is interrupted, or write it to the file of `export`.

    Raises:
        UserError: the port is in use, a model cannot be loaded, or `export` cannot be written.
    """
    if settings.export is not None:
        export(settings.checkpoint, settings.export)
        return
    for package in ("starlette", "uvicorn"):
        check_installed(package)
    from webtext_gpt.explorer.application import make_application
    from webtext_gpt.explorer.serving import listen, make_server
    from webtext_gpt.explorer.workspace import MOST_LOADED, Workspace

    listener = listen(settings.port)
    workspace = Workspace(settings.checkpoint, settings.compare)
    port: int = listener.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    opened = workspace.open()
    n = sum(p.numel() for p in opened.loaded.model.parameters())
    print(f"model       {quoted(settings.checkpoint)}: {n:,} parameters")
    say(
        f"{opened.n_bytes / 2**20:,.1f} MiB for the weights of a checkpoint; at most "
        f"{MOST_LOADED} are kept",
        label="memory",
    )
    if (forwarding := port_forwarding(port)) is not None:
        print(f"over ssh    {forwarding}")
    print(f"explorer    {address}   (Ctrl-C stops it)", flush=True)
    if has_display() if settings.open is None else settings.open:
        open_browser(address)
    try:
        make_server(make_application(workspace)).run(sockets=[listener])
    except KeyboardInterrupt:
        print("\nstopped")


def export(checkpoint: str, out: str) -> None:
    """Write the page with a model in it.

    Raises:
        UserError: the file exists or cannot be written, or the model does not fit a page.
    """
    path = local_path(out, "export")
    check_output_file(path, "export")
    if path.exists():
        raise UserError(f"export={shown(path)} exists; remove it or give another export=")
    if path.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"export={shown(path)} must end in .html, or no browser opens it")
    from webtext_gpt.explorer.export import export_page

    export_page(load(checkpoint), Checkpoints(checkpoint).name, Path(path))
    print(f"page        {path.stat().st_size / 1e6:,.1f} MB; any browser opens it")
    print(f"written     {quoted(path)}")


def open_browser(address: str) -> None:
    """Open an address in the user's browser; some browsers return only when they are closed."""
    threading.Thread(target=webbrowser.open, args=[address], daemon=True).start()


def has_display() -> bool:
    """Return whether a browser can open a window for the user of this process."""
    if any(name in os.environ for name in ("SSH_CONNECTION", "SSH_TTY")):
        return False
    return sys.platform == "darwin" or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )


def port_forwarding(port: int) -> str | None:
    """Return how to open the page from another machine; None if there is a display here."""
    if has_display():
        return None
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "USER"
    login = f"{user}@{socket.gethostname()}"
    return f"run on your own machine: ssh -N -L {port}:127.0.0.1:{port} {login}"
