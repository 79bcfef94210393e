"""The piano roll shows the model's numbers, also by keyboard and on a phone, and composes."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest

from webtext_gpt.checkpoint.load import load
from webtext_gpt.explorer.music import MusicInspector
from webtext_gpt.music.grid import CHORALE

from .conftest import Browser, serving
from .test_page import ALL, AXE, COLOURS, axe  # noqa: F401 - a fixture

PIECE = "beat S60 A55 T50 B43 S60 A57 T- B43 S62 A57 T50 B43"
CHORD = "beat S72 A67 T64 B48"
PARTS, OUTLINES, RESULT = ".cells rect", ".outlines rect", "#panel-roll [aria-live=polite]"
SELECTS = "#panel-roll select"
STATUS, FAILURE = "#panel-roll [role=status]", "#panel-roll .failure"


@pytest.fixture(scope="module")
def addresses(music_checkpoints: dict[str, Path]) -> Iterator[dict[str, str]]:
    """Addresses of the pages of both models of music."""
    pytest.importorskip("uvicorn", reason="needs the extra explorer")
    from webtext_gpt.explorer.application import make_application
    from webtext_gpt.explorer.workspace import Workspace

    chorale, performance = (
        make_application(Workspace(str(music_checkpoints[name])))
        for name in ("chorale", "performance")
    )
    with serving(chorale) as one, serving(performance) as other:
        yield {"chorale": one, "performance": other}


@pytest.fixture
def page(browser: Browser, addresses: dict[str, str]) -> Browser:
    """The view of the model of chorales, with PIECE."""
    browser.open(addresses["chorale"])
    browser.type(PIECE)
    browser.wait(lambda: len(browser.texts(OUTLINES)) == 7)
    return browser


def press(browser: Browser, name: str) -> None:
    """Press the button of a name in the view."""
    browser.run(
        "[...document.querySelectorAll('#panel-roll button')]"
        ".find((e) => e.textContent === arguments[0]).click()",
        name,
    )


def click_sound(browser: Browser) -> None:
    """Click the button that plays or stops; browsers let only people begin a sound."""
    browser.driver.find_elements("css selector", "#panel-roll .row button")[3].click()


def piece(browser: Browser) -> str:
    """Return the words in the page's text field."""
    return str(browser.run("return document.getElementById('text').value"))


def expect(browser: Browser, sentence: str) -> None:
    """Wait until the result has a part."""
    browser.wait(lambda: sentence in browser.texts(RESULT)[0].replace("\xa0", " "))


def fills(browser: Browser) -> list[str]:
    """Return how the parts are filled, from the first voice to the last, each in time."""
    return list(
        browser.run(
            "return [...document.querySelectorAll(arguments[0])].map((e) => e.style.fill)", PARTS
        )
    )


def expected_fills(row: np.ndarray[Any, Any], tokens: list[int]) -> list[str]:
    """Return the steps of the scale: the root of weight over the largest; none for later ones."""
    most = max(row[token] for token in tokens if token < len(row))
    return [
        f"var(--scale-{min(9, int(10 * np.sqrt(row[token] / most)))})"
        if token < len(row)
        else "none"
        for token in tokens
    ]


TOKENS = [2, 6, 10, 3, 7, 11, 4, 12, 5, 9, 13]
"""Of the parts of PIECE, by voice: token 0 is end-of-text, token 1 the beat."""


def row_of(inspector: MusicInspector, position: int, layer: int, head: int | None) -> Any:
    """Return the weights of a position, from the rows of all heads."""
    rows = inspector.heads(PIECE, position)[layer]
    return rows.mean(0) if head is None else rows[head]


def test_notes_are_shaded_by_the_attention_of_the_chosen_one(
    page: Browser, music_checkpoints: dict[str, Path]
) -> None:
    from selenium.webdriver import ActionChains
    from selenium.webdriver.support.select import Select

    inspector = MusicInspector(load(music_checkpoints["chorale"]), CHORALE)
    assert page.texts("[role=tab]")[0] == "Piano roll"
    assert page.texts("label[for=text]") == ["Piece that the model reads, as words"]
    expect(page, "Word “B43”, bass G2 at beat 1.5, token 14 of 14")
    assert fills(page) == expected_fills(row_of(inspector, 13, 1, None), TOKENS)

    part = page.driver.find_elements("css selector", PARTS)[4]  # the alto's second sixteenth
    ActionChains(page.driver).move_to_element(part).perform()
    expect(page, "Word “A57”, alto A3 at beat 1.25, token 8 of 14")
    layer, head, _ = (Select(e) for e in page.driver.find_elements("css selector", SELECTS))
    layer.select_by_visible_text("1")
    head.select_by_visible_text("2")
    expect(page, "In layer 1, head 2 looks most at")
    row = row_of(inspector, 7, 0, 1)
    assert fills(page) == expected_fills(row, TOKENS)
    by_note = {"soprano C4": row[[2, 6]].sum(), "alto G3": row[3], "itself, alto A3": row[7]}
    by_note |= {"tenor D3": row[4], "bass G2": row[5]}
    shown = re.findall(r"([\w, ]+ [A-G]\d) at beat [\d.]+ \(([\d.]+) %\)", summary(page))
    strongest = sorted(by_note, key=lambda name: -by_note[name])[:3]
    assert [name.strip(", ") for name, _ in shown] == strongest
    assert [float(share) for _, share in shown] == pytest.approx(
        [100 * by_note[name] for name in strongest], abs=0.06
    )
    rest = float(re.search(r"gives ([\d.]+) % to words that are no", summary(page))[1])
    assert rest == pytest.approx(100 * (row[0] + row[1]), abs=0.06)


def summary(browser: Browser) -> str:
    """Return what the view says of the chosen word, after the heads' names."""
    said = browser.texts(RESULT)[0].replace("\xa0", " ")
    return str(said.partition("looks most at")[2])


def test_arrow_keys_choose_a_note(page: Browser) -> None:
    from selenium.webdriver.common.keys import Keys

    roll = page.driver.find_element("css selector", ".roll svg")
    for key, sentence in [
        (Keys.HOME, "bass G2 at beat 1, token 6 of 14"),
        (Keys.ARROW_UP, "tenor D3 at beat 1, token 5 of 14"),
        (Keys.ARROW_RIGHT, "tenor D3 at beat 1.5, token 13 of 14"),  # after the rest
        (Keys.ARROW_UP, "alto A3 at beat 1.5, token 12 of 14"),
        (Keys.ARROW_LEFT, "alto A3 at beat 1.25, token 8 of 14"),
        (Keys.ARROW_DOWN, "bass G2 at beat 1.25, token 10 of 14"),
        (Keys.END, "bass G2 at beat 1.5, token 14 of 14"),
    ]:
        roll.send_keys(key)
        expect(page, sentence)
    assert page.run("return document.activeElement.closest('.roll') !== null")
    page.click("#tab-tokens")  # the same token is chosen in the other views
    assert page.texts(".chip[aria-pressed=true] .token") == ["B43"]


def test_a_word_that_is_no_note(page: Browser) -> None:
    page.click("#tab-tokens")
    page.run("document.querySelectorAll('.chip')[1].click()")
    page.click("#tab-roll")
    expect(page, "Word “beat”, which is no note, token 2 of 14")
    expect(page, "gives 100.0 % to words that are no notes")


def test_surprise_and_voices_as_colours(page: Browser, music_checkpoints: dict[str, Path]) -> None:
    from selenium.webdriver.support.select import Select

    inspector = MusicInspector(load(music_checkpoints["chorale"]), CHORALE)
    surprise = [each["surprise"] for each in inspector.tokens(PIECE)["tokens"]]
    colour = Select(page.driver.find_elements("css selector", SELECTS)[2])
    colour.select_by_visible_text("surprise")
    row = np.array([0.0, *surprise[1:]])
    page.wait(lambda: fills(page) == expected_fills(row, TOKENS))
    colour.select_by_visible_text("voices")
    page.wait(lambda: fills(page)[-1] == "var(--voice-3)")
    assert fills(page)[:4] == ["var(--voice-0)"] * 3 + ["var(--voice-1)"]


def test_a_piece_is_continued_and_begun_and_taken_back(
    page: Browser, music_checkpoints: dict[str, Path]
) -> None:
    inspector = MusicInspector(load(music_checkpoints["chorale"]), CHORALE)
    page.run("Math.random = () => 0.25")
    for button, given in (("Continue the piece", PIECE), ("New piece", "")):
        expected = inspector.compose(given, n_words=136, seed=2**30)
        assert expected["text"] != PIECE
        press(page, button)
        page.wait(lambda text=expected["text"]: piece(page) == text)
        said = "The model has ended the piece." if expected["is_ended"] else "Composed."
        page.wait(lambda said=said: page.texts(STATUS)[0] == said)
        press(page, "Undo")
        assert piece(page) == PIECE


def test_notes_that_the_context_has_no_room_for(page: Browser) -> None:
    page.type("beat S60 A55 T50 B43 S60 A55 T50 B43 S60 A55 T50 B43 S62 A55 T50 B43 " * 4)
    page.wait(lambda: len(page.texts(OUTLINES)) == 8 + 3)
    # 68 words and end-of-text in a context of 64: five are left out, with three parts of notes
    assert "5\xa0tokens left out" in page.texts("#panel-roll > p.small")[0]
    assert page.texts(f"{OUTLINES}.cut") == []  # the rest of each note is read
    page.type(
        "beat S65 A55 T50 B43 S60 A55 T50 B43 S60 A55 T50 B43 S60 A55 T50 B43 "
        + "beat S60 A55 T50 B43 S60 A55 T50 B43 S60 A55 T50 B43 S60 A55 T50 B43 " * 3
    )
    page.wait(lambda: len(page.texts(OUTLINES)) == 5)
    page.wait(lambda: len(page.texts(f"{OUTLINES}.cut")) == 1)
    assert fills(page)[0] == "none"


def test_a_midi_file_is_opened(page: Browser, tmp_path: Path) -> None:
    written = mido.MidiFile(ticks_per_beat=480)
    for pitch in (72, 67, 64, 48):
        on = mido.Message("note_on", note=pitch, velocity=64)
        off = mido.Message("note_off", note=pitch, time=120)
        written.tracks.append(mido.MidiTrack([on, off]))
    written.save(tmp_path / "chord.mid")
    field = page.driver.find_element("id", "midi")
    field.send_keys(str(tmp_path / "chord.mid"))
    page.wait(lambda: page.texts(STATUS)[0] == "chord.mid is opened.")
    assert piece(page) == CHORD
    (tmp_path / "bad.mid").write_bytes(b"no MIDI file")
    field.send_keys(str(tmp_path / "bad.mid"))
    page.wait(lambda: "bad.mid" in page.texts(FAILURE)[-1])
    assert piece(page) == CHORD
    (tmp_path / "long.mid").write_bytes(bytes(700_001))
    field.send_keys(str(tmp_path / "long.mid"))
    page.wait(lambda: "long.mid has 700,001\xa0bytes" in page.texts(FAILURE)[-1])


def test_an_empty_piece_and_one_that_is_no_music(page: Browser) -> None:
    page.type("")
    page.wait(lambda: not page.driver.find_element("css selector", ".roll").is_displayed())
    assert "There is no note yet: compose a piece." in page.texts("#panel-roll p.muted")
    assert page.run(
        "return [...document.querySelectorAll('#panel-roll button')]"
        ".find((e) => e.textContent === 'Play').disabled"
    )
    page.type("beat A60")
    assert "word 1 of the music, 'A60', stands where" in page.texts("#error")[0]


def test_notes_sound_with_their_pitches(page: Browser) -> None:
    page.type(CHORD)
    page.wait(lambda: len(page.texts(OUTLINES)) == 4)
    page.run(
        "window.heard = []; const Old = OscillatorNode;"
        "window.OscillatorNode = class extends Old {"
        "constructor(context, options) { super(context, options); heard.push(options.frequency) }}"
    )
    click_sound(page)
    # A4 is 440 Hz: C5, G4, E4 and C3 in equal temperament.
    assert page.run("return heard") == pytest.approx([523.25, 392.0, 329.63, 130.81], abs=0.01)
    page.wait(lambda: "Play" in page.texts("#panel-roll .row button"))  # it ends after 0.15 s
    page.type(PIECE)
    page.wait(lambda: len(page.texts(OUTLINES)) == 7)
    click_sound(page)
    page.wait(lambda: page.run("return document.querySelectorAll('line.playing').length"))
    click_sound(page)
    assert page.run("return document.querySelectorAll('line.playing').length") == 0


def test_a_likely_next_word_is_appended_after_a_space(page: Browser) -> None:
    page.click("#tab-next")
    word = page.texts(".next-bars .token")[0]
    page.click(".next-bars button")
    assert piece(page) == f"{PIECE} {word}"
    assert page.texts("#error") == [""]


def test_a_performance_by_its_loudness(browser: Browser, addresses: dict[str, str]) -> None:
    from selenium.webdriver.support.select import Select

    browser.open(addresses["performance"])
    browser.type("vel7 on60 shift50 vel31 on64 shift25 off60 off64")
    browser.wait(lambda: len(browser.texts(OUTLINES)) == 2)
    expect(browser, "Word “off64”, E4 at 0.50 s, token 9 of 9")
    colour = Select(browser.driver.find_elements("css selector", SELECTS)[2])
    colour.select_by_visible_text("loudness")
    # velocities 7 * 4 + 2 = 30 and 31 * 4 + 2 = 126, of 128
    browser.wait(lambda: fills(browser) == ["var(--scale-2)", "var(--scale-9)"])


@pytest.mark.parametrize(
    ("scheme", "rules", "width"),
    [
        ("light", ALL, 390),
        *(
            pytest.param(scheme, rules, 1280, marks=pytest.mark.slow)
            for scheme, rules in (("light", ALL), ("dark", COLOURS))
        ),
    ],
)
@pytest.mark.parametrize("name", ["chorale", "performance"])
def test_accessible_quiet_and_narrow(
    browser: Browser,
    addresses: dict[str, str],
    axe: str,  # noqa: F811 - the fixture
    name: str,
    scheme: str,
    rules: dict[str, Any],
    width: int,
) -> None:
    browser.size(width)
    browser.prefer(scheme)
    browser.open(addresses[name])
    press(browser, "Continue the piece")
    browser.wait(lambda: browser.texts(STATUS)[0] != "The model composes…")
    browser.settle()
    assert browser.texts(STATUS)[0] in ("Composed.", "The model has ended the piece.")
    assert browser.run("return document.documentElement.scrollWidth - innerWidth") <= 0
    assert browser.problems() == []  # axe adds one of its own
    browser.run(axe)
    found = browser.driver.execute_async_script(AXE, {"resultTypes": ["violations"], **rules})
    assert [each for each in found if each[0] in ("serious", "critical")] == []
    ours = (f"{addresses[name]}/", "data:", "blob:", "about:")
    assert [address for address in browser.requests() if not address.startswith(ours)] == []


def test_the_roll_is_kept_as_a_picture(page: Browser, tmp_path: Path) -> None:
    page.driver.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    page.click("#panel-roll .save")
    page.wait((tmp_path / "piano-roll.svg").is_file)
    drawn = (tmp_path / "piano-roll.svg").read_text()
    assert drawn.count("<rect") == 1 + 11 + 7 + 1  # background, parts, notes, the chosen part
    assert "var(" not in drawn
