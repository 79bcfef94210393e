"""Notes that accompany the figures of a test set."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.stage.readers import Layout

from .overlaps import measure, sentences


def test_unusable_test_sets_get_a_note_and_no_percentage(tmp_path: Path, corpus: Path) -> None:
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "blank.jsonl").write_text('{"text": "  "}\n')
    (tmp_path / "nothing.jsonl").write_text("")
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "no_row.parquet")
    (tmp_path / "short.txt").write_text("seven words are not eight of them")
    (tmp_path / "part.txt").write_text(sentences(3, 50))
    (tmp_path / "other.txt").write_text(sentences(999, 50))
    files = {name: tmp_path / f"{name}.txt" for name in ("empty", "short", "part", "other")}
    files |= {"blank": tmp_path / "blank.jsonl", "same": corpus / "a.parquet"}
    files |= {"nothing": tmp_path / "nothing.jsonl", "no_row": tmp_path / "no_row.parquet"}
    found = measure(tmp_path, corpus, files)
    for name in ("empty", "blank", "nothing", "no_row"):
        assert found[name]["note"].startswith("empty: it has no text")
    assert "no sample has 8 words" in found["short"]["note"]
    for name in ("empty", "blank", "nothing", "no_row", "short"):
        assert found[name]["percent"] is None
        assert found[name]["percent_unique"] is None
    assert found["same"]["note"] == "is among the training files themselves"
    assert found["same"]["percent"] == 100
    assert found["part"]["note"] == "every 8-gram is in train"  # 43 of them may be chance
    assert "note" not in found["other"]
    assert found["other"]["percent"] == 0
    assert "- **short**: no sample has 8 words" in (tmp_path / "out/overlap.md").read_text()


def test_a_large_test_set_found_as_a_whole_is_reported_as_part_of_train(
    tmp_path: Path, corpus: Path
) -> None:
    whole = [sentences(n, 200) for n in range(60)]
    (tmp_path / "t.txt").write_text("\n".join(whole))
    found = measure(tmp_path, corpus, {"t": tmp_path / "t.txt"}, tests_layout=Layout(lines=True))
    assert found["t"]["ngrams"] == 60 * 193
    assert found["t"]["note"] == ("every 8-gram is in train: it is the training set, or part of it")
