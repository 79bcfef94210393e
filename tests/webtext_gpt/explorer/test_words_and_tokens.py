"""The views of next words and of tokens, in headless Chromium."""

import math
from pathlib import Path

import numpy as np
import pytest

from webtext_gpt.checkpoint.load import LoadedModel, load
from webtext_gpt.generation.texts import next_tokens
from webtext_gpt.model import GPT

from .conftest import Browser

TEXT = "the old cat sees a bird"
BARS = ".next-bars button"
SHARES = ".next-bars .number"


@pytest.fixture(scope="module")
def loaded(small_checkpoint: Path) -> LoadedModel:
    """The served model."""
    return load(small_checkpoint)


def probabilities(loaded: LoadedModel, text: str) -> np.ndarray:
    """Return the probability of every token after a text, by `generate.py next=`'s function."""
    assert isinstance(loaded.model, GPT)
    n = loaded.tokenizer.vocab_size
    found = next(next_tokens(loaded.model, loaded.tokenizer, text, n=n))
    values = np.zeros(n)
    values[[each.token for each in found]] = [each.probability for each in found]
    return values


def shares(browser: Browser) -> list[float]:
    """Return the shares that the bars say, in per cent; 0 for those cut off."""
    return [0.0 if t == "cut off" else float(t.split()[0]) for t in browser.texts(SHARES)]


def assert_shares(browser: Browser, expected: np.ndarray) -> None:
    """Wait until the bars say these shares, of 0 to 1, as exactly as they are written."""

    def agree() -> bool:
        shown = shares(browser)
        return len(shown) == len(expected) and np.allclose(shown, 100 * expected, atol=0.0501)

    browser.wait(agree)


def test_bars_are_the_probabilities_of_generate(
    browser: Browser, served: str, loaded: LoadedModel
) -> None:
    browser.open(served)
    browser.type(TEXT)
    top = np.sort(probabilities(loaded, TEXT))[::-1][:10]
    assert_shares(browser, top)
    widths = browser.run(
        "return [...document.querySelectorAll('.next-bars .bar')].map((e) => e.style.width)"
    )
    end = min(end for end in (0.1, 0.25, 0.5, 1) if end >= top[0])
    expected = 100 * top / end
    assert [float(width.rstrip("%")) for width in widths] == pytest.approx(expected, abs=1e-2)


def test_typing_updates_the_bars(browser: Browser, served: str, loaded: LoadedModel) -> None:
    browser.open(served)
    field = browser.driver.find_element("id", "text")
    field.clear()
    field.send_keys("a small dog")
    assert_shares(browser, np.sort(probabilities(loaded, "a small dog"))[::-1][:10])


def test_part_of_a_character_cannot_be_appended(
    browser: Browser, served: str, loaded: LoadedModel
) -> None:
    browser.open(served)
    browser.type(TEXT)
    top = np.argsort(-probabilities(loaded, TEXT), kind="stable")[:10]
    whole = ["\ufffd" not in loaded.tokenizer.decode([token]) for token in top]
    assert not all(whole)  # else the test shows nothing
    script = "return [...document.querySelectorAll(arguments[0])].map((e) => !e.disabled)"
    assert browser.run(script, BARS) == whole


def first_to_append(browser: Browser) -> int:
    """Return the index of the first bar whose token can be appended."""
    return browser.run(
        "return [...document.querySelectorAll(arguments[0])].findIndex((e) => !e.disabled)", BARS
    )


def text_of(browser: Browser) -> str:
    return browser.run("return document.getElementById('text').value")


def test_click_appends_and_the_path_leads_back(
    browser: Browser, served: str, loaded: LoadedModel
) -> None:
    browser.open(served)
    browser.type(TEXT)
    texts = [TEXT]
    for _ in range(3):
        index = first_to_append(browser)
        order = np.argsort(-probabilities(loaded, texts[-1]), kind="stable")
        browser.click(BARS, index)
        texts.append(texts[-1] + loaded.tokenizer.decode([order[index]]))
        assert text_of(browser) == texts[-1]
        assert_shares(browser, np.sort(probabilities(loaded, texts[-1]))[::-1][:10])
    assert len(browser.texts(".path li")) == 4  # the start and three choices
    browser.click("[aria-label='Chosen tokens'] > button")  # undo
    assert text_of(browser) == texts[2]
    browser.click(".path button", 1)
    assert text_of(browser) == texts[1]
    browser.click(".path button", 0)
    assert text_of(browser) == TEXT
    assert browser.texts(".path li") == []


def test_typing_begins_a_new_path(browser: Browser, served: str) -> None:
    browser.open(served)
    browser.type(TEXT)
    browser.click(BARS, first_to_append(browser))
    assert len(browser.texts(".path li")) == 2
    browser.type("another text")
    assert browser.texts(".path li") == []


def press(browser: Browser, name: str, key: str, times: int) -> None:
    from selenium.webdriver.common.keys import Keys

    slider = browser.driver.find_element("id", f"sampling-{name}")
    slider.send_keys(getattr(Keys, key) * times)


def test_sliders_move_the_bars(browser: Browser, served: str, loaded: LoadedModel) -> None:
    browser.open(served)
    browser.type(TEXT)
    plain = np.sort(probabilities(loaded, TEXT))[::-1]

    press(browser, "temperature", "ARROW_LEFT", 10)  # 1 - 10 * 0.05
    sharp = plain**2 / (plain**2).sum()
    assert_shares(browser, sharp[:10])

    press(browser, "top_k", "HOME", 1)
    press(browser, "top_k", "ARROW_RIGHT", 2)  # 3
    kept = sharp[:3] / sharp[:3].sum()
    assert_shares(browser, np.append(kept, np.zeros(7)))
    assert browser.texts(SHARES).count("cut off") == 7
    struck = browser.run(
        "return [...document.querySelectorAll(arguments[0])]"
        ".map((e) => getComputedStyle(e).textDecorationLine)",
        ".next-bars .token",
    )
    assert struck == ["none"] * 3 + ["line-through"] * 7

    browser.click("[aria-label=Sampling] button")  # reset
    assert_shares(browser, plain[:10])
    press(browser, "top_p", "HOME", 1)  # 5 %: the fewest tokens that reach it
    n = int(np.searchsorted(np.cumsum(plain), 0.05)) + 1
    assert_shares(browser, np.append(plain[:n] / plain[:n].sum(), np.zeros(10))[:10])


def test_branch_of_the_tree_is_adopted_by_keyboard(
    browser: Browser, served: str, loaded: LoadedModel
) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.open(served)
    browser.type(TEXT)
    nodes = browser.run(
        "return [...document.querySelectorAll('.tree [role=treeitem]')].map((e) => ("
        "{level: e.ariaLevel, label: e.querySelector('title').textContent}))"
    )
    assert [int(node["level"]) for node in nodes].count(3) == 27
    first = np.argsort(-probabilities(loaded, TEXT), kind="stable")[:3]
    top = [node for node in nodes if node["level"] == "1"]
    expected = 100 * probabilities(loaded, TEXT)[first]
    assert [float(n["label"].split(": ")[-1].split()[0]) for n in top] == pytest.approx(
        expected, abs=0.051
    )
    active = browser.driver.find_element("css selector", ".tree [tabindex='0'][role=treeitem]")
    active.send_keys(Keys.ARROW_DOWN)
    browser.driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    chosen = browser.driver.switch_to.active_element
    assert chosen.get_attribute("aria-level") == "2"
    two = [int(first[1])]
    after = next(
        next_tokens(loaded.model, loaded.tokenizer, [*loaded.tokenizer.encode(TEXT), *two], n=1)
    )
    two.append(after[0].token)
    chosen.send_keys(Keys.ENTER)
    browser.settle()
    added = b"".join(loaded.tokenizer.token_bytes(token) for token in two).decode()
    assert text_of(browser) == TEXT + added
    assert len(browser.texts(".path li")) == 2  # the branch is one step of the path


def test_surprise_of_each_token(browser: Browser, served: str, loaded: LoadedModel) -> None:
    text = "the cat sees\na bird — ☃"
    browser.open(f"{served}/#tokens")
    browser.type(text)
    ids = loaded.tokenizer.encode(text)
    surprises = [
        -math.log2(probabilities(loaded, loaded.tokenizer.decode(ids[:i]))[token])
        for i, token in enumerate(ids)
        if 0 < i < 8  # the texts of the first tokens are cut alike on their own
    ]
    assert len(browser.texts(".chip")) == len(ids)
    shown = browser.texts(".chip-bits")
    assert shown[0] == "first"
    assert shown[1].endswith(" bits")
    assert [float(bits.split()[0]) for bits in shown[1:8]] == pytest.approx(surprises, abs=0.051)


def test_table_of_tokens_has_ids_and_bytes(
    browser: Browser, served: str, loaded: LoadedModel
) -> None:
    browser.open(f"{served}/#tokens")
    browser.type("a ☃")
    browser.click("#panel-tokens summary")
    browser.wait(lambda: browser.texts("#panel-tokens tbody tr"))
    cells = np.array(browser.texts("#panel-tokens tbody td")).reshape(-1, 6)
    ids = loaded.tokenizer.encode("a ☃")
    assert cells[:, 2].tolist() == [str(token) for token in ids]
    assert " ".join(cells[:, 3].tolist()) == "61 20 E2 98 83"


@pytest.mark.parametrize(
    ("text", "data", "shown", "said"),
    [
        (" a", b" a", "·a", "space a"),
        ("\n\t", b"\n\t", "↵⇥", "newline tab"),
        ("\ufffd", b"\xe2\x98", "⟨E2 98⟩", "bytes E2 98"),
        (" \ufffd", b" \xf0", "·⟨F0⟩", "space byte F0"),
        ("\u200b", "\u200b".encode(), "⟨U+200B⟩", "U+200B"),
        ("\x07", b"\x07", "⟨U+0007⟩", "U+0007"),
        ("<b>é</b>", "<b>é</b>".encode(), "<b>é</b>", "<b>é</b>"),
        ("<|endoftext|>", b"", "⟨end of text⟩", "end of text"),
        ("<|extract|>", b"", "⟨extract⟩", "extract"),
        ("<|extract|>", b"<|extract|>", "<|extract|>", "<|extract|>"),
    ],
)
def test_odd_characters_are_visible(
    browser: Browser, served: str, text: str, data: bytes, shown: str, said: str
) -> None:
    browser.driver.get(served)
    found = browser.driver.execute_async_script(
        "const done = arguments[1]; import('/static/tokens.js').then((t) => {"
        "const node = t.tokenNode(arguments[0]);"
        "done([node.textContent, t.spoken(arguments[0]), t.visible(arguments[0])])})",
        {"text": text, "bytes": list(data), "id": 0},
    )
    assert found == [shown, said, shown]


def test_requests_do_not_overtake_each_other(browser: Browser, served: str) -> None:
    browser.driver.get(served)
    seen = browser.driver.execute_async_script(
        """
        const done = arguments[0];
        import("/static/timing.js").then(async ({ serial }) => {
          const seen = [];
          let run = 0;
          const refresh = serial(async () => {
            const mine = ++run;
            seen.push(`begin ${mine}`);
            await new Promise((next) => setTimeout(next, 20));
            seen.push(`end ${mine}`);
            if (mine === 1) throw new Error("outdated, so it is nobody's");
          });
          await Promise.all([refresh(), refresh(), refresh()]);
          run = 0;
          await refresh().catch((error) => seen.push(error.message));
          done(seen);
        });
        """
    )
    assert seen == [
        *("begin 1", "end 1", "begin 2", "end 2"),
        *("begin 1", "end 1", "outdated, so it is nobody's"),
    ]
