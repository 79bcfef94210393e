"""The made-up corpus of benchmarks: its known answers, by the textbook formula and the stages."""

from pathlib import Path

import pyarrow as pa
import pytest

from benchmarks.common.webtext import CHANGED, WebText, page, posts, spelled
from data_prep.extraction.page import Page, main_text
from data_prep.links import build_links, rules_of

from .conftest import manifest_of
from .near_duplicates.documents import plain_jaccard


def test_copies_have_the_similarities_that_are_stated() -> None:
    """100 5-grams, of which 0, 5, 10 and 15 differ: 100/100, 95/105, 90/110 and 85/115."""
    made = pa.concat_tables(WebText(words=104).tables(60))
    texts = made["text"].to_pylist()
    for kind, expected in zip(range(len(CHANGED)), (1, 95 / 105, 90 / 110, 85 / 115), strict=True):
        copies = WebText(words=104).copies(kind, 60)
        assert copies.similarity == pytest.approx(expected)
        assert copies.original.tolist() == [2 * kind, 20 + 2 * kind, 40 + 2 * kind]
        for one, other in zip(copies.original, copies.copy, strict=True):
            assert texts[one] != texts[other]
            assert plain_jaccard(texts[one], texts[other]) == pytest.approx(expected)
    others = [text for number, text in enumerate(texts) if number % 20 not in (1, 3, 5, 7)]
    assert max(plain_jaccard(others[0], text) for text in others[1:]) < 0.01
    assert len(set(made["id"].to_pylist())) == 60


def test_a_large_corpus_begins_with_a_small_one() -> None:
    small, large = (pa.concat_tables(WebText().tables(count)) for count in (50, 4_100))
    assert large.slice(0, 50).equals(small)
    assert large.num_rows == 4_100
    assert large["text"][0] != next(WebText(seed=1).tables(1))["text"][0]


def test_words_follow_zipfs_law() -> None:
    """The first word has the probability 1/2.7, divided by the sum of 1/(r + 2.7): 0.0325."""
    assert [spelled(rank) for rank in (0, 1, 99, 100, 101)] == ["ba", "be", "zu", "baba", "babe"]
    harmonic = sum(1 / (rank + 2.7) for rank in range(200_000))
    words = " ".join(next(WebText().tables(4_000))["text"].to_pylist()).lower().split()
    assert words.count("ba") / len(words) == pytest.approx(1 / 2.7 / harmonic, rel=0.03)


def test_of_twenty_posts_eighteen_are_links(tmp_path: Path) -> None:
    (tmp_path / "RS.ndjson").write_bytes(b"".join(posts(0, 200)))
    build_links([str(tmp_path / "RS.ndjson")], tmp_path / "out", rules_of([]), workers_at_once=1)
    manifest = manifest_of(tmp_path / "out")
    assert (manifest["rows_in"], manifest["rows_out"], manifest["rows_used"]) == (200, 180, 190)
    assert manifest["rejected"] == {"low karma": 10}


def test_the_text_of_a_page_is_extracted() -> None:
    text = next(WebText(words=200).tables(1))["text"][0].as_py()
    found = main_text(Page("http://a.com/1", "text/html", "utf-8", page(text, "A title")))
    assert " ".join(text.split()[1:59]) in found
    assert "Section 7" not in found
