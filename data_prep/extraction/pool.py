"""Guarded processes that extract documents from pages.

A page that crashes its process, hangs, or exceeds the memory limit is rejected, and no other page
is affected. A page hangs if it takes too much CPU time, or sleeps for too long; neither a busy
machine nor the start of a process is its fault.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

from data_prep.crawl.warc import Page
from data_prep.extraction.page import Document, TextRules
from data_prep.stage import workers

Extractor = Callable[[Page, TextRules], Document]
"""Turns a page into a document, which may hold the reason to reject it."""

_WORDS = "Every import that a page needs is made before the first page, and so is every model. "
_FIRST_PAGE = Page(
    "http://example.com/", "text/html", "utf-8",
    f"<html><body><article>{f'<p>{_WORDS * 8}</p>' * 4}</article></body></html>".encode(),
)  # fmt: skip


class ExtractorPool:
    """Guarded processes that turn pages into documents, in the order of the pages.

    Use it as a context manager. An error in the block ends the processes at once.

    Args:
        extract: Called in the processes, which import it.
        rules: Second argument of `extract`.
        count: Number of processes. None means one per core.
        seconds: Time limit of a page: CPU time, or time asleep.
        memory: Limit of the address space of a process, in bytes.
    """

    def __init__(
        self, extract: Extractor, rules: TextRules, count: int | None, seconds: float, memory: int
    ) -> None:
        from pebble import ProcessPool

        self._extract, self._rules = extract, rules
        self._count, self._seconds = count or workers.cores(), seconds
        self._pool = ProcessPool(
            self._count, context=multiprocessing.get_context("spawn"),
            initializer=_start_worker, initargs=(os.getpid(), memory, extract, rules),
        )  # fmt: skip

    def __enter__(self) -> "ExtractorPool":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind:
            self._pool.stop()
        else:
            self._pool.close()
        self._pool.join()

    def extract(self, pages: Iterator[Page | str]) -> Iterator[tuple[Page | None, Document]]:
        """Turn pages into documents. A string in place of a page is the reason to reject it."""
        waiting: deque[tuple[Page | None, Document | Future[Document]]] = deque()
        for page in pages:
            if isinstance(page, str):
                waiting.append((None, Document(reason=page)))
            else:
                arguments = (self._extract, page, self._rules, self._seconds)
                waiting.append((page, self._pool.schedule(_limited, arguments)))
            while len(waiting) > 4 * self._count:
                yield _result_of(*waiting.popleft())
        while waiting:
            yield _result_of(*waiting.popleft())


def _result_of(
    page: Page | None, result: Document | Future[Document]
) -> tuple[Page | None, Document]:
    """Wait for a document; an error becomes the reason to reject its page."""
    from pebble import ProcessExpired

    if isinstance(result, Document):
        return page, result
    try:
        return page, result.result()
    except (ProcessExpired, MemoryError) as error:
        if getattr(error, "exitcode", None) == -signal.SIGPROF:
            return page, Document(reason="extractor hung")
        return page, Document(reason="extractor crashed or ran out of memory")
    except Exception as error:  # any other error of an extractor rejects its page
        return page, Document(reason=f"extractor failed: {type(error).__name__}")


def _start_worker(parent: int, memory_bytes: int, extract: Extractor, rules: TextRules) -> None:
    import resource

    workers.end_with(parent)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process, even within compiled code
    with suppress(Exception):  # an extractor that fails on every page fails on the pages, too
        extract(_FIRST_PAGE, rules)


def _limited(extract: Extractor, page: Page, rules: TextRules, seconds: float) -> Document:
    """Extract one page; SIGPROF ends the process if that takes too long."""
    done = threading.Event()
    threading.Thread(target=_end_if_asleep, args=(done, seconds), daemon=True).start()
    signal.setitimer(signal.ITIMER_PROF, seconds)  # CPU seconds
    try:
        return extract(page, rules)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        done.set()


def _end_if_asleep(done: threading.Event, seconds: float) -> None:
    """End the process if it sleeps for `seconds`, neither running nor waiting for a core."""
    step = min(seconds / 4, 0.5)
    asleep, before = 0.0, time.process_time()
    while not done.wait(step):
        now = time.process_time()
        asleep = asleep + step if now - before < step / 100 and _main_thread_sleeps() else 0.0
        before = now
        if asleep >= seconds:
            os.kill(os.getpid(), signal.SIGPROF)


def _main_thread_sleeps() -> bool:
    """Return whether the main thread waits for something other than a core, if that is known."""
    try:
        status = Path("/proc/self/stat").read_text()
    except OSError:  # another system than Linux
        return True
    return status.rpartition(")")[2].split()[0] == "S"
