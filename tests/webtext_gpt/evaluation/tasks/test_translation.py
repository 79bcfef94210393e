"""WMT-14 in both directions."""

from collections.abc import Callable
from pathlib import Path

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Measurement, Options
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.evaluation.tasks.translation import ENGLISH_TO_FRENCH, FRENCH_TO_ENGLISH


def test_bleu_of_both_directions(
    scorer: Scorer,
    measure: Callable[..., Measurement],
    write_rows: Callable[[Path, list[dict]], None],
    scripted: Callable[[dict[str, str]], list[str]],
    tmp_path: Path,
) -> None:
    pair = {"en": "The small cat sat on the mat .", "fr": "Le petit chat dort sur le tapis ."}
    write_rows(tmp_path / "wmt14_test.jsonl", [{"translation": pair}])
    scorer.block_size = 1000
    replies = {f"{pair['en']} =": f" {pair['fr']}", f"{pair['fr']} =": " A cow ran away !"}
    seen = scripted(replies)
    assert measure("wmt14_en_fr", tmp_path).metrics["bleu"] == pytest.approx(100)
    assert measure("wmt14_fr_en", tmp_path).metrics["bleu"] < 10
    assert "The house is very old. = La maison est très vieille.\n" in seen[0]
    assert "La maison est très vieille. = The house is very old.\n" in seen[1]
    assert ENGLISH_TO_FRENCH.prompt("x").endswith("\nx =")
    write_rows(tmp_path / "wmt14_test.jsonl", [{"translation": {"en": "a", "de": "b"}}])
    with pytest.raises(UserError, match="translation is not an object with the keys fr and en"):
        FRENCH_TO_ENGLISH.run(scorer, tmp_path, Options())
