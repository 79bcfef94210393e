"""The picture of the overlap, which has to tell 0 and 100 % from all between."""

from pathlib import Path
from typing import Any

import numpy as np

from data_prep.ngrams.overlap_picture import CLASSES, classes_of, draw_overlap


def test_classes_of_shares() -> None:
    shares = np.array([0, 0, 0.5, 1, 9.9, 10, 49, 50, 99.9, 100, 100, 100])
    assert classes_of(shares).tolist() == [2, 1, 2, 2, 2, 3]
    assert classes_of(np.empty(0)).tolist() == [0] * 6


def test_bars_add_up_to_all_samples(tmp_path: Path, figures: list[Any]) -> None:
    sets = {"none": np.zeros(4), "some": np.array([0.0, 0.0, 5.0, 100.0]), "all": np.full(2, 100.0)}
    draw_overlap(tmp_path / "overlap.png", sets)
    (axes,) = figures[0].axes
    # of 10 samples, 4 share an 8-gram
    assert figures[0]._suptitle.get_text().startswith("40.0% of 10 samples share")
    widths = np.array([bar.get_width() for bar in axes.patches]).reshape(len(CLASSES), 3)
    assert widths.sum(axis=0).tolist() == [100, 100, 100]
    assert widths[0].tolist() == [100, 50, 0]
    assert widths[-1].tolist() == [0, 25, 100]
    assert [text.get_text() for text in axes.texts] == [
        *("100%", "50.0%", "25.0%", "25.0%", "100%")
    ]
    legend = figures[0].legends[0]
    assert [text.get_text() for text in legend.get_texts()] == list(CLASSES)
    assert not legend.get_window_extent().overlaps(axes.bbox)


def test_without_samples_there_is_a_picture(tmp_path: Path, figures: list[Any]) -> None:
    draw_overlap(tmp_path / "overlap.png", {"empty": np.empty(0)})
    assert figures[0]._suptitle.get_text() == "No sample has an 8-gram"


def test_the_title_of_one_sample_and_of_no_overlap(tmp_path: Path, figures: list[Any]) -> None:
    for shares in ([100.0], [0.0, 0.0]):
        draw_overlap(tmp_path / "overlap.png", {"test": np.array(shares)})
    assert [figure._suptitle.get_text().replace("\n", " ") for figure in figures] == [
        "100.0% of 1 sample shares an 8-gram with the training set",
        "None of 2 samples shares an 8-gram with the training set",
    ]
