"""Attention and what happens between the layers, in headless Chromium, against NumPy."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from webtext_gpt.checkpoint.load import LoadedModel, load
from webtext_gpt.model import GPT

from .conftest import Browser, serving

TEXT = "the old cat sees a bird"
CHOSEN = 5  # the position that tests choose
TOKENS = ".panel:not([hidden]) .token-text [role=option]"
CELLS = ".head-grid .cell"
RESULT = "#panel-attention [aria-live=polite]"
SUM = "#panel-attention .sum"

Array = NDArray[np.float64]


class Heads(NamedTuple):
    """Queries, keys and values `(n_layer, n_head, T, head_dim)`, weights `(..., T, T)`."""

    ids: list[int]
    q: Array
    k: Array
    v: Array
    weights: Array
    streams: list[Array]
    """`(T, n_embd)` after the embedding and after each block."""


@pytest.fixture(scope="module")
def loaded(small_checkpoint: Path) -> LoadedModel:
    """The served model."""
    return load(small_checkpoint)


@pytest.fixture(scope="module")
def heads(loaded: LoadedModel) -> Heads:
    """Queries, keys and values of the layers for TEXT; the rest is computed in NumPy."""
    model = loaded.model
    assert isinstance(model, GPT)
    config = model.config
    ids = loaded.tokenizer.encode(TEXT)
    qkv: list[Array] = []
    streams: list[Array] = []
    hooks = [
        block.attn.c_attn.register_forward_hook(lambda _m, _i, out: qkv.append(out[0].numpy()))
        for block in model.blocks
    ]
    hooks += [
        block.register_forward_hook(lambda _m, _i, out: streams.append(out[0].numpy()))
        for block in model.blocks
    ]
    hooks.append(
        model.blocks[0].register_forward_pre_hook(lambda _m, i: streams.append(i[0][0].numpy()))
    )
    with torch.no_grad():
        model(torch.tensor([ids]))
    for hook in hooks:
        hook.remove()
    T, head_dim = len(ids), config.n_embd // config.n_head
    split = np.stack(qkv).astype(np.float64).reshape(config.n_layer, T, 3, config.n_head, head_dim)
    q, k, v = split.transpose(2, 0, 3, 1, 4)
    scores = np.einsum("lhqd,lhkd->lhqk", q, k) / np.sqrt(head_dim)
    powers = np.exp(scores) * np.tri(T)
    return Heads(ids, q, k, v, powers / powers.sum(-1, keepdims=True), streams)


@pytest.fixture
def attention(browser: Browser, served: str) -> Browser:
    """The view of attention with TEXT and the token CHOSEN."""
    return opened(browser, f"{served}/#attention")


@pytest.fixture
def inside(browser: Browser, served: str) -> Browser:
    """The view of what happens between the layers with TEXT and the token CHOSEN."""
    return opened(browser, f"{served}/#inside")


def opened(browser: Browser, address: str) -> Browser:
    browser.open(address)
    browser.type(TEXT)
    browser.click(TOKENS, CHOSEN)
    assert browser.texts(f"{TOKENS}[aria-selected=true] title")[0].startswith(f"{CHOSEN + 1}: ")
    return browser


def keys(browser: Browser, selector: str, *names: str) -> None:
    """Focus an element, then press keys, each on what has the focus by then."""
    from selenium.webdriver.common.keys import Keys

    browser.run("document.querySelector(arguments[0]).focus()", selector)
    for name in names:
        browser.driver.switch_to.active_element.send_keys(getattr(Keys, name))
    browser.settle()


def choose(browser: Browser, layer: int, head: str) -> None:
    """Choose a layer (from 1) and a head in the lists."""
    script = (
        "const [layers, heads] = document.querySelectorAll('#panel-attention select');"
        "layers.value = arguments[0]; heads.value = arguments[1];"
        "heads.dispatchEvent(new Event('change'))"
    )
    browser.run(script, layer - 1, head)
    browser.settle()


def shown_weights(browser: Browser) -> list[float]:
    """Return the weights that the tokens' names say, of 0 to 1."""
    names = browser.texts(f"{TOKENS} title")
    said = [name.rsplit("weight", 1)[1] for name in names if "weight" in name]
    return [float(text.replace("%", "").replace("<", "")) / 100 for text in said]


def assert_weights(browser: Browser, row: Array) -> None:
    """Wait until the tokens up to the chosen one say these weights, and the later ones none."""

    def agree() -> bool:
        shown = shown_weights(browser)
        return len(shown) == len(row) and np.allclose(shown, row, atol=0.000501)

    browser.wait(agree)


def floats(browser: Browser, selector: str) -> list[float]:
    """Return the numbers that elements show, per cents as shares."""
    texts = [text.replace("\u2212", "-") for text in browser.texts(selector)]
    return [float(t.rstrip("\xa0%")) / (100 if t.endswith("%") else 1) for t in texts]


def test_weights_of_a_head_chosen_in_the_lists(attention: Browser, heads: Heads) -> None:
    choose(attention, 2, "1")  # values count from 0: the second head
    row = heads.weights[1, 1, CHOSEN, : CHOSEN + 1]
    assert_weights(attention, row)
    later = attention.texts(f"{TOKENS} title")[CHOSEN + 1 :]
    assert all(title.endswith("masked") for title in later)
    widths = attention.run(
        "return [...document.querySelectorAll('.lines path')]"
        ".map((e) => Number(e.getAttribute('stroke-width')))"
    )
    assert sorted(widths) == pytest.approx(np.sort(0.5 + 5.5 * row[:-1]), abs=1e-4)


def test_arrow_keys_and_enter_choose_a_head_in_the_grid(attention: Browser, heads: Heads) -> None:
    attention.wait(lambda: len(attention.texts(CELLS)) == 6)  # 2 layers: 2 heads and their mean
    keys(attention, f"{CELLS}.chosen", "ARROW_RIGHT", "ARROW_DOWN", "ENTER")
    assert_weights(attention, heads.weights[1, 1, CHOSEN, : CHOSEN + 1])
    attention.wait(lambda: "layer 2, head 2" in attention.texts(RESULT)[0])
    attention.wait(
        lambda: attention.run(
            "return document.activeElement.matches('.cell.chosen')"  # the focus stays where it was
        )
    )


def test_small_pictures_say_the_strongest_token(attention: Browser, heads: Heads) -> None:
    rows = heads.weights[:, :, CHOSEN, : CHOSEN + 1]
    expected = np.concatenate([rows, rows.mean(axis=1, keepdims=True)], axis=1).max(axis=-1)

    def agree() -> bool:
        said = [title.split("(")[1].rstrip("\xa0%)") for title in attention.texts(f"{CELLS} title")]
        shown = [float(text) / 100 for text in said]
        return len(shown) == 6 and np.allclose(shown, expected.ravel(), atol=0.000501)

    attention.wait(agree)


def test_mean_over_heads(attention: Browser, heads: Heads) -> None:
    choose(attention, 1, "mean")
    assert_weights(attention, heads.weights[0, :, CHOSEN, : CHOSEN + 1].mean(axis=0))
    attention.wait(lambda: "no query" in attention.texts(SUM)[0])
    assert attention.texts(f"{SUM} table") == []


def test_one_head_is_asked_for_at_a_time(attention: Browser, heads: Heads) -> None:
    attention.requests()
    choose(attention, 2, "0")
    assert_weights(attention, heads.weights[1, 0, CHOSEN, : CHOSEN + 1])
    attention.wait(
        lambda: attention.texts(f"{CELLS}.chosen title")[0].startswith("Layer 2, head 1")
    )
    asked = [address.rsplit("/", 1)[1] for address in attention.requests()]
    assert asked.count("attention") == asked.count("head") == 1
    assert asked.count("tokens") == asked.count("heads") == 0  # the same for every head


def test_calculation_has_the_real_numbers(attention: Browser, heads: Heads) -> None:
    choose(attention, 2, "1")
    assert_weights(attention, heads.weights[1, 1, CHOSEN, : CHOSEN + 1])
    attention.wait(lambda: attention.texts(f"{SUM} table"))
    n = CHOSEN + 1  # all six are among the strongest six
    q, k, v = heads.q[1, 1, CHOSEN], heads.k[1, 1, :n], heads.v[1, 1, :n]
    weights = heads.weights[1, 1, CHOSEN, :n]
    order = np.argsort(-weights)
    products = k @ q
    scores = products / np.sqrt(len(q))
    powers = np.exp(scores - scores.max())
    columns = np.array(floats(attention, f"{SUM} tbody tr:not(.total) > td.number")).reshape(n, 4)
    expected = np.stack([products, scores, powers, weights], axis=1)[order]
    np.testing.assert_allclose(columns, expected, atol=0.000501, rtol=1e-5)
    assert floats(attention, f"{SUM} .total .number") == pytest.approx([powers.sum(), 1], abs=6e-4)
    # The third component of every strip, reached by the keyboard on one of them.
    keys(attention, f"{SUM} .strip", "ARROW_RIGHT", "ARROW_RIGHT")
    third = np.concatenate(
        [q[2:3], np.stack([k[order, 2], v[order, 2]], 1).ravel(), weights @ v[:, 2:3]]
    )
    np.testing.assert_allclose(floats(attention, f"{SUM} .vector .number"), third, atol=0.000501)
    worked = attention.texts(f"{SUM} .worked")[0].replace("\u2212", "-")
    assert worked.startswith("Component 3 of the output: ")
    terms, total = worked.split(": ")[1].split(" = ")
    pairs = [[float(number) for number in term.split(" \u00d7 ")] for term in terms.split(" + ")]
    np.testing.assert_allclose(pairs, np.stack([weights, v[:, 2]], 1)[order], atol=0.000501)
    assert float(total) == pytest.approx(weights @ v[:, 2], abs=6e-4)


PIXELS = """
async function pixels() {
  const image = new Image();
  image.src = document.querySelector(".matrix image").getAttribute("href");
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.width, image.height];
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  return [image.width, [...context.getImageData(0, 0, image.width, image.height).data]];
}
"""


def test_matrix_is_a_lower_triangle_the_darker_the_larger(attention: Browser, heads: Heads) -> None:
    choose(attention, 2, "1")
    assert_weights(attention, heads.weights[1, 1, CHOSEN, : CHOSEN + 1])
    width, data = attention.driver.execute_async_script(PIXELS + "pixels().then(arguments[0])")
    T = len(heads.ids)
    assert width == T
    pixels = np.array(data).reshape(T, T, 4)
    triangle = np.tri(T, dtype=bool)
    assert (pixels[..., 3] == 255 * triangle).all()  # nothing is drawn over the hatching
    lightness = pixels[..., :3].sum(axis=-1)[triangle]
    order = np.argsort(heads.weights[1, 1][triangle])
    assert (np.diff(lightness[order]) <= 0).all()


LARGE = """
const done = arguments[1];
const text = import("/static/views/token_text.js");
const map = import("/static/views/heat_map.js");
Promise.all([text, map]).then(([{ tokenText }, { heatMap }]) => {
  const size = arguments[0];
  const box = document.createElement("div");
  document.body.append(box);
  const drawn = tokenText(box, { label: "many", onChoose() {} });
  const tokens = Array.from({ length: size }, (_, id) => ({ id, text: " a", bytes: [32, 97] }));
  const weights = Float32Array.from(tokens, (_, i) => i / size);
  drawn.draw({ tokens, chosen: size - 1, weights });
  const lines = [...box.querySelectorAll(".lines path")];
  const widths = lines.map((line) => Number(line.getAttribute("stroke-width")));
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "matrix");
  document.body.prepend(svg);
  const at = (row, column) => (column > row ? NaN : row === 1001 && column === 500 ? 1 : 0);
  const matrix = { rows: size, columns: size, at, shade: Math.cbrt, pool: d3.max };
  const shape = { size: { width: 400, height: 400 }, labels: null, chosenRow: 3 };
  heatMap(svg, matrix, { ...shape, rowTitle: "", columnTitle: "" });
  return pixels().then(([width, data]) => {
    const isDark = (i) => data[4 * i + 3] === 255 && data[4 * i] < 100;
    const dark = d3.range(width * width).filter(isDark);
    done([widths.length, Math.min(...widths), width, dark]);
  });
});
"""


@pytest.mark.slow
def test_1024_tokens_have_the_strongest_200_lines_and_no_weight_is_lost(
    browser: Browser, served: str
) -> None:
    browser.open(served)
    found = browser.driver.execute_async_script(PIXELS + LARGE, 1024)
    n_lines, thinnest, width, dark = found
    assert n_lines == 200
    assert thinnest == pytest.approx(0.5 + 5.5 * (1022 - 199) / 1024, abs=1e-3)
    assert width == 512
    assert dark == [500 * 512 + 250]  # the one weight of 1, at (1001, 500)


def softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def lens(heads: Heads, model: Any, position: int) -> Array:
    """Return the logit lens in NumPy: probabilities `(n_layer + 1, vocab_size)`."""
    states = np.stack([stream[position] for stream in heads.streams]).astype(np.float64)
    centred = states - states.mean(axis=-1, keepdims=True)
    gain, bias = (part.detach().numpy() for part in (model.ln_f.weight, model.ln_f.bias))
    normal = centred / np.sqrt(states.var(axis=-1, keepdims=True) + 1e-5) * gain + bias
    return softmax(normal @ model.lm_head.weight.detach().numpy().T)


def test_logit_lens_and_norms(inside: Browser, heads: Heads, loaded: LoadedModel) -> None:
    probabilities = lens(heads, loaded.model, CHOSEN)

    def agree() -> bool:
        top = floats(inside, ".lens td .share")
        expected = np.sort(probabilities, axis=-1)[:, ::-1][:, :5]
        return len(top) == expected.size and np.allclose(top, expected.ravel(), atol=0.000501)

    inside.wait(agree)
    follows = probabilities[:, heads.ids[CHOSEN + 1]]
    assert floats(inside, ".lens td.number") == pytest.approx(follows, abs=6e-4)
    norms = [float(t.split(": ")[1].replace(",", "")) for t in inside.texts(".norm circle title")]
    expected = [np.linalg.norm(stream[CHOSEN]) for stream in heads.streams]
    assert norms == pytest.approx(expected, abs=0.051)


def test_lens_frames_the_token_that_follows(
    browser: Browser, served: str, heads: Heads, loaded: LoadedModel
) -> None:
    # The text goes on with one of the five likeliest tokens of some layer, cut as such.
    last = len(heads.ids) - 1
    probabilities = lens(heads, loaded.model, last)
    likely = np.argsort(-probabilities, axis=-1)[:, :5]
    encode, decode = loaded.tokenizer.encode, loaded.tokenizer.decode
    follows = next(
        token
        for token in likely.ravel().tolist()
        if encode(TEXT + decode([token])) == [*heads.ids, token]
    )
    browser.size(390)
    browser.open(f"{served}/#inside")
    browser.type(TEXT + decode([follows]))
    browser.click(TOKENS, last)
    framed = browser.run(
        "return [...document.querySelectorAll('.lens tbody tr')]"
        ".map((row) => [...row.cells].findIndex((cell) => cell.matches('.follows')))"
    )
    ranks = [np.flatnonzero(row == follows) for row in likely]
    assert framed == [rank[0] + 1 if len(rank) else -1 for rank in ranks]
    assert browser.run("return document.documentElement.scrollWidth") == 390


def test_units_of_a_layer(inside: Browser, heads: Heads, loaded: LoadedModel) -> None:
    model: Any = loaded.model
    seen: list[Array] = []
    hook = model.blocks[0].mlp.activation.register_forward_hook(
        lambda _m, _i, out: seen.append(out[0, CHOSEN].numpy())
    )
    with torch.no_grad():
        model(torch.tensor([heads.ids]))
    hook.remove()
    inside.wait(lambda: inside.texts(".units tbody tr"))
    inside.run(
        "const list = document.querySelector('section:has(.units) select');"
        "list.value = 0; list.dispatchEvent(new Event('change'))"
    )
    order = np.argsort(-seen[0])[:8]
    inside.wait(lambda: inside.texts(".units th[scope=row]") == [str(unit + 1) for unit in order])
    assert floats(inside, ".units td.number") == pytest.approx(seen[0][order], abs=0.0051)


def test_neighbours_of_the_chosen_token(inside: Browser, heads: Heads, loaded: LoadedModel) -> None:
    model: Any = loaded.model
    vectors = model.wte.weight.detach().numpy().astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    similarities = np.delete(vectors @ vectors[heads.ids[CHOSEN]], heads.ids[CHOSEN])
    bars = "section[aria-label^=Neighbours] .value-label"
    expected = np.sort(similarities)[::-1][:12]
    inside.wait(lambda: np.allclose(floats(inside, bars), expected, atol=0.000501))


def test_positions_have_a_row_for_each(inside: Browser) -> None:
    inside.wait(lambda: inside.texts(".positions .chosen-row"))
    label = inside.run("return document.querySelector('.positions').ariaLabel")
    assert label.startswith("64 positions by 32 columns. A learned vector")
    top, height = inside.run(
        "const box = document.querySelector('.positions .cells');"
        "return ['y', 'height'].map((name) => Number(box.getAttribute(name)))"
    )
    row = inside.run(
        "return Number(document.querySelector('.positions .chosen-row').getAttribute('y'))"
    )
    assert row == pytest.approx(top + CHOSEN * height / 64 - 1)


def test_chosen_token_is_shared_by_the_views(inside: Browser, heads: Heads) -> None:
    keys(inside, f"{TOKENS}[tabindex='0']", "HOME", *["ARROW_RIGHT"] * CHOSEN)
    inside.click("#tab-attention")
    assert_weights(inside, heads.weights[0, 0, CHOSEN, : CHOSEN + 1])
    keys(inside, f"{TOKENS}[tabindex='0']", "HOME")
    assert_weights(inside, np.ones(1))  # the first token has only itself to look at
    inside.click("#tab-inside")
    inside.wait(lambda: inside.texts(f"{TOKENS}[aria-selected=true] title")[0].startswith("1: "))


@pytest.mark.parametrize("view", ["attention", "inside"])
def test_narrow_pages_do_not_scroll_sideways(browser: Browser, served: str, view: str) -> None:
    browser.size(390)
    opened(browser, f"{served}/#{view}")
    assert browser.run("return document.documentElement.scrollWidth") == 390
    assert browser.problems() == []


def test_long_text_says_what_the_context_leaves_out(
    browser: Browser, served: str, loaded: LoadedModel
) -> None:
    browser.open(f"{served}/#attention")
    text = TEXT * 6
    browser.type(text)
    assert len(browser.texts(TOKENS)) == 64
    n_cut = len(loaded.tokenizer.encode(text)) - 64
    assert f"{n_cut}\xa0tokens left out" in browser.texts("#panel-attention > .small")[0]
    assert sum(shown_weights(browser)) == pytest.approx(1, abs=64 * 0.0005)
    browser.type(TEXT)
    assert browser.run("return document.querySelector('#panel-attention > .small').hidden")


def test_error_is_shown_and_goes(browser: Browser, served: str, heads: Heads) -> None:
    opened(browser, f"{served}/#attention")
    browser.run(
        "window.asked = fetch; window.fetch = async () =>"
        ' new Response(\'{"error": "a <b>sentence</b>"}\', { status: 400 })'
    )
    choose(browser, 2, "0")
    failure = "#panel-attention > [role=alert]:not([hidden])"
    assert browser.texts(failure) == ["a <b>sentence</b>"]
    browser.run("window.fetch = window.asked")
    choose(browser, 2, "1")
    assert browser.texts(failure) == []
    assert_weights(browser, heads.weights[1, 1, CHOSEN, : CHOSEN + 1])


@pytest.mark.slow
def test_model_to_compare_may_have_another_shape(
    browser: Browser, small_checkpoint: Path, loaded: LoadedModel, tmp_path: Path
) -> None:
    from webtext_gpt.checkpoint.load import save_model
    from webtext_gpt.explorer.application import make_application
    from webtext_gpt.explorer.workspace import Workspace
    from webtext_gpt.model import GPTConfig

    shape = {"n_layer": 1, "n_head": 4, "n_embd": 16, "block_size": 64}
    other = GPT(GPTConfig(**shape, vocab_size=loaded.tokenizer.vocab_size))
    save_model(other, loaded.tokenizer, tmp_path / "other.ckpt")
    workspace = Workspace(str(small_checkpoint), str(tmp_path / "other.ckpt"))
    with serving(make_application(workspace)) as address:
        opened(browser, f"{address}/#attention")
        choose(browser, 2, "1")
        assert len(browser.texts(CELLS)) == 2 * (2 + 1)
        browser.run(
            "const list = document.getElementById('checkpoint');"
            "list.selectedIndex = 1; list.dispatchEvent(new Event('change'))"
        )
        browser.settle()
        assert len(browser.texts(CELLS)) == 1 * (4 + 1)
        # There is no second layer any more: the first is chosen, and the head stays.
        assert "layer 1, head 2" in browser.texts(RESULT)[0]
        assert browser.problems() == []


def test_cells_of_the_matrix_by_keyboard(attention: Browser, heads: Heads) -> None:
    from selenium.webdriver.common.keys import Keys

    choose(attention, 2, "1")
    assert_weights(attention, heads.weights[1, 1, CHOSEN, : CHOSEN + 1])
    readout = "#panel-attention .readout"
    matrix = attention.driver.find_element("css selector", "svg.matrix")
    for key in (Keys.ARROW_UP, Keys.HOME, Keys.ARROW_RIGHT):
        matrix.send_keys(key)
    pair, _, share = attention.texts(readout)[0].rpartition(": ")
    assert f"({CHOSEN})" in pair  # the row above the chosen one, which counts from 1
    assert "(2)" in pair
    expected = heads.weights[1, 1, CHOSEN - 1, 1]
    assert float(share.rstrip("\xa0%")) / 100 == pytest.approx(expected, abs=0.00051)
    matrix.send_keys(Keys.END)
    assert attention.texts(readout)[0].endswith(": masked")
    matrix.send_keys(Keys.ENTER)
    assert_weights(attention, heads.weights[1, 1, CHOSEN - 1, :CHOSEN])
