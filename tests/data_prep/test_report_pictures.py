"""Pictures of the corpus report: what their bars and labels say."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_prep.report_pictures import (
    draw_clusters,
    draw_domains,
    draw_funnel,
    draw_lengths,
    draw_quality,
)
from data_prep.report_pictures import waterfall as bars_of

LINKS = {
    "rows_in": 1000,
    "rows_used": 300,
    "rows_out": 250,
    "rejected": {"self post": 500, "low karma": 190, "a": 4, "b": 3, "c": 2, "d": 1, "e": 0},
}


def test_a_waterfall_leads_from_the_rows_in_to_the_rows_out() -> None:
    bars = [(name, start, count) for name, start, count, _ in bars_of(LINKS)]
    assert bars == [
        ("self post", 500, 500),
        ("low karma", 310, 190),
        ("a", 306, 4),
        ("b", 303, 3),
        ("c", 301, 2),
        ("2 other reasons", 300, 1),
        ("merged with others", 250, 50),
        ("out", 0, 250),
    ]


def test_a_funnel_names_stages_reasons_and_counts(tmp_path: Path, figures: list[Any]) -> None:
    pages = {"rows_in": 250, "rows_used": 249, "rows_out": 249, "rejected": {"http 404": 1}}
    draw_funnel(tmp_path / "funnel.png", {"links": LINKS, "pages": pages})
    (axes,) = figures[0].axes
    assert figures[0]._suptitle.get_text() == "1,000 rows in, 249 rows out"
    written = {text.get_text() for text in axes.texts}
    assert {"links", "pages", "500", "190", "250", "1", "249"} <= written
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names[-2:] == ["http 404", "out"]
    assert [round(bar.get_width(), 1) for bar in axes.patches][-2:] == [0.4, 99.6]  # per cent
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not any(a.overlaps(b) for at, a in enumerate(boxes) for b in boxes[:at])
    assert all(figures[0].bbox.contains(*point) for box in boxes for point in (box.min, box.max))


def test_lengths_are_on_a_logarithmic_axis(tmp_path: Path, figures: list[Any]) -> None:
    draw_lengths(tmp_path / "lengths.png", np.array([0, 10, 100, 1000, 100_000]))
    (axes,) = figures[0].axes
    assert axes.get_xscale() == "log"
    assert figures[0]._suptitle.get_text() == "Half of the documents have 10 to 1,000 characters"
    assert [text.get_text().strip() for text in axes.texts] == ["median 100"]
    assert sum(bar.get_height() for bar in axes.patches) == 5
    assert {"100", "10,000"} <= {text.get_text() for text in axes.get_xticklabels()}


def test_domains_have_marks_of_webtext(tmp_path: Path, figures: list[Any]) -> None:
    draw_domains(tmp_path / "domains.png", [("a.com", 0.5, 0.01), ("b.org", 0.25, None)], 3)
    (axes,) = figures[0].axes
    assert "2 largest domains have 75% of the documents, of 3 domains" in (
        figures[0]._suptitle.get_text().replace("\n", " ")
    )
    assert [bar.get_width() for bar in axes.patches] == [50, 25]
    assert axes.lines[0].get_xydata().tolist() == [[1.0, 0.0]]


def test_one_document_has_a_bar(tmp_path: Path, figures: list[Any]) -> None:
    draw_lengths(tmp_path / "lengths.png", np.array([512]))
    draw_quality(tmp_path / "quality.png", np.array([]), 1.0)
    assert figures[0]._suptitle.get_text() == "1 document of 512 characters"
    assert sum(bar.get_height() for bar in figures[0].axes[0].patches) == 1
    assert figures[1]._suptitle.get_text() == "0 documents kept"
    for figure in figures:
        ticks = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
        assert ticks[:2] == ["0", "1"]


def test_long_domains_leave_room_for_the_bars(tmp_path: Path, figures: list[Any]) -> None:
    name = f"{'very-' * 12}long-name.com"
    draw_domains(tmp_path / "domains.png", [(name, 0.5, 0.01)] * 3, 3)
    (axes,) = figures[0].axes
    assert axes.bbox.width > figures[0].bbox.width / 2
    label = axes.xaxis.label.get_window_extent()
    assert 0 <= label.x0 < label.x1 <= figures[0].bbox.width


@pytest.mark.parametrize("sizes", [{2: 2}, {2: 900, 3: 20, 120: 1}])
def test_clusters_have_a_point_for_each_size(
    tmp_path: Path, figures: list[Any], sizes: dict[int, int]
) -> None:
    draw_clusters(tmp_path / "clusters.png", sizes)
    (axes,) = figures[0].axes
    assert axes.lines[0].get_xydata().tolist() == [[k, v] for k, v in sizes.items()]
    (low, high), (left, right) = axes.get_ylim(), axes.get_xlim()
    assert all(left < k < right and low < v < high for k, v in sizes.items())
