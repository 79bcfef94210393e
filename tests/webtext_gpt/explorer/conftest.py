"""Fixtures of the page: what tests ask of a browser, and a server of a tiny model."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from starlette.types import ASGIApp

SECONDS = 20.0
"""How long a test waits for the page, on a busy machine."""


class Browser:
    """A browser with what tests of the page ask of it again and again."""

    def __init__(self, driver: "Chrome") -> None:
        self.driver = driver

    def open(self, address: str) -> None:
        """Open an address as a new page, and wait until its views no longer compute."""
        self.driver.get("about:blank")
        self.driver.get(address)
        self.settle()

    def size(self, width: int, height: int = 900) -> None:
        """Set the size of the page's window, in CSS pixels."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
        )

    def prefer(self, scheme: str) -> None:
        """Prefer the colour scheme `light` or `dark`, as a system does."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def run(self, script: str, *arguments: Any) -> Any:
        """Return what a script in the page returns."""
        return self.driver.execute_script(script, *arguments)

    def texts(self, selector: str) -> list[str]:
        """Return the text of each element that a CSS selector finds."""
        script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)"
        return self.run(script, selector)

    def click(self, selector: str, index: int = 0) -> None:
        """Click an element, and wait until the views no longer compute."""
        self.driver.find_elements("css selector", selector)[index].click()
        self.settle()

    def type(self, text: str) -> None:
        """Replace the text that the model reads, and wait for the views."""
        self.run(
            "const field = document.getElementById('text'); field.value = arguments[0];"
            "field.dispatchEvent(new Event('change'))",
            text,
        )
        self.settle()

    def wait(self, condition: Callable[[], Any]) -> Any:
        """Return a condition's value as soon as it is true."""
        from selenium.webdriver.support.wait import WebDriverWait

        return WebDriverWait(self.driver, SECONDS, 0.02).until(lambda _: condition())

    def settle(self) -> None:
        """Wait until the shown view has been updated."""
        ready = (
            "const panel = document.querySelector('[role=tabpanel]:not([hidden])');"
            "return panel ? panel.ariaBusy === 'false' : !document.getElementById('error').hidden"
        )
        self.wait(lambda: self.run(ready))

    def problems(self) -> list[str]:
        """Return what the console has complained about since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Return the addresses asked for since the last call."""
        entries = [json.loads(entry["message"]) for entry in self.driver.get_log("performance")]
        sent = [e["message"] for e in entries]
        return [
            message["params"]["request"]["url"]
            for message in sent
            if message["method"] == "Network.requestWillBeSent"
        ]


@pytest.fixture
def browser(chromium: "Chrome") -> Browser:
    """The session's Chromium as a new user finds it: 1,280 px wide, light, nothing stored."""
    browser = Browser(chromium)
    chromium.get("about:blank")
    chromium.execute_cdp_cmd("Storage.clearDataForOrigin", {"origin": "*", "storageTypes": "all"})
    browser.size(1280)
    browser.prefer("light")
    browser.problems()
    browser.requests()
    return browser


@pytest.fixture
def run_modules(browser: Browser) -> Callable[..., Any]:
    """`run_modules(body, *arguments)`: run an async function beside static/local's modules."""
    from webtext_gpt.explorer.bundle import bundle
    from webtext_gpt.explorer.export import STATIC

    modules = bundle(STATIC, "local/backend.js")
    browser.driver.set_script_timeout(120)

    def call(body: str, *arguments: Any) -> Any:
        script = (
            f'"use strict"; const done = arguments[arguments.length - 1]; {modules}'
            f"(async (...given) => {{ {body} }})(...arguments)"
            ".then((result) => done([result]), (error) => done(error.message));"
        )
        found = browser.driver.execute_async_script(script, *arguments)
        assert isinstance(found, list), found
        return found[0]

    return call


@contextlib.contextmanager
def serving(application: "ASGIApp") -> Iterator[str]:
    """Serve an application on a free port in a thread; yields the address."""
    from webtext_gpt.explorer.serving import listen, make_server

    listener = listen(0)
    listener.listen()
    server = make_server(application)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(SECONDS)
        listener.close()


@pytest.fixture(scope="session")
def served(small_checkpoint: Path) -> Iterator[str]:
    """Address of the explorer's page of a tiny language model."""
    pytest.importorskip("uvicorn", reason="needs the extra explorer")
    from webtext_gpt.explorer.application import make_application
    from webtext_gpt.explorer.workspace import Workspace

    with serving(make_application(Workspace(str(small_checkpoint)))) as address:
        yield address


@pytest.fixture(scope="session")
def music_checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints with random weights of a model of chorales and one of performances, by name."""
    import torch

    from webtext_gpt.checkpoint.load import save_model
    from webtext_gpt.model import GPT, GPTConfig
    from webtext_gpt.music.events import PERFORMANCE
    from webtext_gpt.music.grid import CHORALE

    folder = tmp_path_factory.mktemp("music")
    paths = {}
    for encoding in (CHORALE, PERFORMANCE):
        torch.manual_seed(0)
        shape = {"n_layer": 2, "n_head": 2, "n_embd": 32, "block_size": 64}
        model = GPT(GPTConfig(**shape, vocab_size=encoding.tokenizer.vocab_size)).eval()
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        paths[encoding.name] = folder / f"{encoding.name}.ckpt"
        save_model(model, encoding.tokenizer, paths[encoding.name])
    return paths
