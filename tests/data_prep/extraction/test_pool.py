import multiprocessing
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from data_prep.crawl.warc import Page
from data_prep.extraction.page import Document, TextRules, document_of
from data_prep.extraction.pool import ExtractorPool

MEMORY = 4_000_000_000


def page(name: str, words: str = "") -> Page:
    body = f"<html><body><article><p>{words}</p></article></body></html>".encode()
    return Page(f"http://a.com/{name}", "text/html", "utf-8", body)


def judge(page: Page, rules: TextRules) -> Document:
    """Stands for an extractor; the last part of the URL says what happens."""
    what = page.url.rpartition("/")[2]
    if what == "endless":
        while True:
            pass
    if what == "catastrophe":
        re.match(r"(a+)+$", "a" * 64 + "b")  # 2^64 steps of compiled code that looks at no signal
    if what == "asleep":
        time.sleep(1000)
    if what == "work":
        until = time.process_time() + 0.4
        while time.process_time() < until:
            pass
    return Document(what)


def outcomes(pool: ExtractorPool, pages: list[Page]) -> list[str]:
    return [document.reason or document.text for _, document in pool.extract(iter(pages))]


@contextmanager
def busy_machine() -> Iterator[None]:
    """Keep every core busy several times over."""
    context = multiprocessing.get_context("spawn")
    count = 3 * len(os.sched_getaffinity(0))
    processes = [context.Process(target=_spin, daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()


def _spin() -> None:
    while True:
        pass


def test_a_loop_in_python_and_one_in_compiled_code_are_ended() -> None:
    names = ["a", "endless", "b", "catastrophe", "c"]
    with ExtractorPool(judge, TextRules(), 2, 1.0, MEMORY) as pool:
        found = outcomes(pool, [page(name) for name in names])
    assert found == ["a", "extractor hung", "b", "extractor hung", "c"]


def test_a_page_that_sleeps_is_ended_by_the_clock() -> None:
    with ExtractorPool(judge, TextRules(), 1, 1.0, MEMORY) as pool:
        assert outcomes(pool, [page("asleep"), page("a")]) == ["extractor hung", "a"]


@pytest.mark.slow
def test_a_busy_machine_and_slow_imports_are_not_the_fault_of_a_page() -> None:
    """Each page needs half of its time, and takes several times as long by the clock."""
    with busy_machine(), ExtractorPool(judge, TextRules(), 2, 0.8, MEMORY) as pool:
        assert outcomes(pool, [page("a")]) == ["a"]
        started = time.monotonic()
        assert outcomes(pool, [page("work")] * 4) == ["work"] * 4
        assert time.monotonic() - started > 2 * 0.8


def test_imports_and_models_are_loaded_before_the_first_page() -> None:
    """They take seconds of CPU time, the page a few hundredths."""
    words = (
        "The first page of a process is as fast as any other, and it is kept as any other. " * 20
    )
    with ExtractorPool(document_of, TextRules(), 1, 0.5, MEMORY) as pool:
        assert outcomes(pool, [page("a", words)]) == [words.strip()]
