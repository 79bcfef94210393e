"""WMT-14 in both directions."""

from collections.abc import Callable
from pathlib import Path

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Measurement, Options
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.evaluation.tasks.translation import (
    ENGLISH_TO_FRENCH,
    FRENCH_TO_ENGLISH,
    SOURCE,
)


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


def pairs(folder: Path) -> list[tuple[str, str]]:
    rows = [row["translation"] for _, row in SOURCE.rows(folder)]
    return [(row["en"], row["fr"]) for row in rows]


def test_files_of_lines(tmp_path: Path) -> None:
    english = "\ufeffA cat &amp; a dog.\r\nIt's\u2028late\x85now.\r\n"
    (tmp_path / "newstest2014.en").write_bytes(english.encode())
    (tmp_path / "newstest2014.fr").write_bytes("Un chat.\nIl est tard\xa0!".encode())
    assert pairs(tmp_path) == [
        ("A cat &amp; a dog.", "Un chat."),
        ("It's\u2028late\x85now.", "Il est tard\xa0!"),
    ]


SGM = """<srcset setid="newstest2014" srclang="any">
<doc sysid="ref" docid="1" genre="news" origlang="en">
<p>
%s
</p>
</doc>
</srcset>
"""


@pytest.mark.parametrize("sides", [("src", "ref"), ("ref", "src")])
@pytest.mark.parametrize("folder", ["", "test-full"])
def test_files_of_the_workshop(tmp_path: Path, sides: tuple[str, str], folder: str) -> None:
    (tmp_path / folder).mkdir(exist_ok=True)
    english = (
        '<seg id="1">R&D &amp; &quot;more&quot; &lt;b&gt;</seg>\n<seg id="2"> Two\nlines. </seg>'
    )
    french = '<seg id="1">Un.</seg>\r\n<SEG id="2">Deux.</SEG>'
    for side, language, text in zip(sides, ("en", "fr"), (english, french), strict=True):
        file = tmp_path / folder / f"newstest2014-fren-{side}.{language}.sgm"
        file.write_bytes((SGM % text).encode())
    assert pairs(tmp_path) == [('R&D & "more" <b>', "Un."), ("Two lines.", "Deux.")]
    file.write_bytes((SGM % french.replace("</seg>", "")).encode())
    with pytest.raises(UserError, match=rf"{file.name}: 2 segments begin and 1 end"):
        pairs(tmp_path)


def test_files_that_do_not_correspond_are_refused(tmp_path: Path) -> None:
    english, french = tmp_path / "newstest2014.en", tmp_path / "newstest2014.fr"
    english.write_text("One.\nTwo.\nThree.\n")
    with pytest.raises(UserError, match=rf"{english} needs newstest2014.fr, which"):
        pairs(tmp_path)
    french.write_text("Un.\nDeux.\n")
    with pytest.raises(UserError, match=rf"{english} has 3 sentences and {french} has 2"):
        pairs(tmp_path)
    french.write_text("Un.\n \nTrois.\n")
    with pytest.raises(UserError, match=rf"{french}: sentence 2 is empty"):
        pairs(tmp_path)
    french.write_text("")
    english.write_text("")
    with pytest.raises(UserError, match="sentence 1 is empty"):
        pairs(tmp_path)
    french.rename(tmp_path / "x")
    english.rename(french)
    with pytest.raises(UserError, match=rf"{french} needs newstest2014.en, which"):
        pairs(tmp_path)


def test_a_sentence_that_is_no_text_is_refused(
    measure: Callable[..., Measurement],
    write_rows: Callable[[Path, list[dict]], None],
    tmp_path: Path,
) -> None:
    rows = [{"translation": {"en": "a", "fr": fr}} for fr in ("b", None)]
    write_rows(tmp_path / "wmt14_test.jsonl", rows)
    with pytest.raises(UserError, match="line 2: 'fr' is NoneType, not text"):
        measure("wmt14_en_fr", tmp_path)
