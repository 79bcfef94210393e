"""The forward pass in JavaScript beside PyTorch's, with every option of GPTConfig."""

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from webtext_gpt.checkpoint.load import LoadedModel
from webtext_gpt.explorer.bundle import bundle
from webtext_gpt.explorer.export import STATIC
from webtext_gpt.explorer.inspector import Inspector
from webtext_gpt.explorer.tokenizer_rules import tokenizer_rules
from webtext_gpt.generation.sampling import truncate
from webtext_gpt.model import GPT, GPTConfig
from webtext_gpt.tokenizer import build_char_vocabulary

LETTERS = "abcdefghijk"  # and <|endoftext|>: a vocabulary of 12
TEXT = "abacadaek"
T = len(TEXT)
IDS = torch.tensor([[LETTERS.index(letter) for letter in TEXT]])  # (1, T)

OPTIONS: list[dict[str, Any]] = [
    {},  # GPT-2
    {"norm": "post", "activation": "gelu"},
    {"positions": "sinusoidal", "scale_embeddings": True, "norm": "post", "activation": "relu"},
    {"positions": "rotary", "norm_type": "rms", "qk_norm": True, "tied_embeddings": False},
    {"biases": False, "norm_gains": False, "activation": "relu_squared", "logits_soft_cap": 3.0},
    {
        **{"positions": "rotary", "norm_type": "rms", "norm_gains": False, "qk_norm": True},
        **{"biases": False, "residual_scalars": True, "value_embeddings": True},
        **{"activation": "relu_squared", "tied_embeddings": False},
    },
    {"norm": "post", "norm_type": "rms", "residual_scalars": True, "value_embeddings": True},
]
"""Every option of the forward pass, away from its default at least once."""


def random_model(**options: Any) -> GPT:
    """Return a small model whose every weight is random, so that each of them matters."""
    shape = {"n_layer": 3, "n_head": 2, "n_embd": 8, "block_size": 12, "vocab_size": 12}
    model = GPT(GPTConfig(**shape, **options)).eval()
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, std=0.4)
        if name.endswith(("ln_1.weight", "ln_2.weight", "ln_f.weight")):
            parameter.data += 1.0
    return model


def given(model: GPT) -> list[Any]:
    """Return what `MAKE` makes a LocalBackend of."""
    rules = tokenizer_rules(build_char_vocabulary([LETTERS]))
    weights = [[name, value.flatten().tolist()] for name, value in model.state_dict().items()]
    return [vars(model.config), rules, weights]


MAKE = """
  const { LocalBackend } = modules["local/backend.js"];
  const make = ([config, rules, weights]) => new LocalBackend(
    { config }, rules, new Map(weights.map(([name, values]) => [name, new Float32Array(values)])));
"""


def test_probabilities_with_every_option_are_those_of_pytorch(
    run_modules: Callable[..., Any],
) -> None:
    models = [random_model(**options) for options in OPTIONS]
    found = run_modules(
        MAKE
        + """
        const [models, text] = given;
        const probabilities = async (backend) => {
          const rows = [];
          for (let position = 0; position < text.length; position++) {
            const { layers } = await backend.lens({ text, position, n: 12 });
            rows.push(layers.at(-1).tokens.sort((a, b) => a.id - b.id).map((t) => t.probability));
          }
          return rows;
        };
        return Promise.all(models.map(make).map(probabilities));
        """,
        [given(model) for model in models],
        TEXT,
    )
    for options, model, rows in zip(OPTIONS, models, found, strict=True):
        with torch.no_grad():
            due = model(IDS)[0].softmax(-1).numpy()
        assert due.std() > 0.03, options  # far from uniform
        np.testing.assert_allclose(rows, due, atol=2e-6, err_msg=str(options))


Computed = tuple[GPT, dict[str, Any], dict[str, Any]]


@pytest.fixture
def computed(run_modules: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Computed:
    """A model with the quickstart's options, what the page computes, and what PyTorch does."""
    model = random_model(**OPTIONS[5])
    seen: list[tuple[np.ndarray, ...]] = []
    attend = torch.nn.functional.scaled_dot_product_attention

    def watched(q: Tensor, k: Tensor, v: Tensor, **rest: Any) -> Tensor:
        seen.append(tuple(part[0].double().numpy() for part in (q, k, v)))  # (n_head, T, head_dim)
        return attend(q, k, v, **rest)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    units: list[Tensor] = []
    for block in model.blocks:
        block.mlp.activation.register_forward_hook(lambda _, __, out: units.append(out[0]))
    with torch.no_grad():
        logits = model(IDS)[0].double()
    weights = [_causal(q @ k.transpose(0, 2, 1) / 2) for q, k, _ in seen]  # sqrt(head_dim) = 2
    due = {"qkv": seen, "units": units, "logits": logits, "weights": weights}
    found = run_modules(
        MAKE
        + """
        const [model, text] = given;
        const backend = make(model);
        const position = 6;
        return {
          tokens: await backend.tokens({ text }),
          attention: Array.from((await backend.attention({ text, layer: 1, head: 1 })).weights),
          mean: Array.from((await backend.attention({ text, layer: 2, head: null })).weights),
          heads: Array.from(await backend.heads({ text, position })),
          head: await backend.head({ text, layer: 1, head: 1, position, n: 3 }),
          lens: await backend.lens({ text, position, n: 2 }),
          units: await backend.units({ text, position, n: 4 }),
          positions: await backend.positions().then(({ values, ...rest }) =>
            ({ ...rest, values: Array.from(values) })),
          neighbours: await backend.neighbours({ id: 4, n: 3 }),
        };
        """,
        given(model),
        TEXT,
    )
    return model, found, due


def test_surprises_are_those_of_pytorch(computed: Computed) -> None:
    _, found, due = computed
    log_probabilities = due["logits"].log_softmax(-1)[range(T - 1), IDS[0, 1:]]
    surprise = -log_probabilities / np.log(2)
    assert found["tokens"]["tokens"][0]["surprise"] is None
    bits = [token["surprise"] for token in found["tokens"]["tokens"][1:]]
    np.testing.assert_allclose(bits, surprise, rtol=1e-5)
    assert found["tokens"]["bits_per_byte"] == pytest.approx(surprise.sum().item() / (T - 1))


def test_weights_of_attention_are_the_softmax_of_scaled_products(computed: Computed) -> None:
    _, found, due = computed
    lower = np.tri(T, dtype=bool)
    np.testing.assert_allclose(found["attention"], due["weights"][1][1][lower], atol=1e-6)
    np.testing.assert_allclose(found["mean"], due["weights"][2].mean(0)[lower], atol=1e-6)
    rows = np.stack(due["weights"])[:, :, 6, :7]
    np.testing.assert_allclose(np.reshape(found["heads"], rows.shape), rows, atol=1e-6)


def test_the_numbers_of_a_head_are_those_that_pytorch_multiplies(computed: Computed) -> None:
    _, found, due = computed
    head, row = found["head"], due["weights"][1][1, 6, :7]
    q, k, v = (part[1] for part in due["qkv"][1])
    assert head["scale"] == 0.5
    np.testing.assert_allclose(head["query"], q[6], atol=5e-6)
    np.testing.assert_allclose(head["scores"], q[6] @ k[:7].T / 2, atol=5e-6)
    np.testing.assert_allclose(head["weights"], row, atol=1e-6)
    np.testing.assert_allclose(head["output"], row @ v[:7], atol=5e-6)
    order = np.argsort(-row)[:3]
    assert [top["position"] for top in head["top"]] == order.tolist()
    np.testing.assert_allclose([top["key"] for top in head["top"]], k[order], atol=5e-6)
    np.testing.assert_allclose([top["value"] for top in head["top"]], v[order], atol=5e-6)


def test_the_lens_begins_with_the_embedding_and_ends_with_the_model(computed: Computed) -> None:
    model, found, due = computed
    first, *_, last = layers = found["lens"]["layers"]
    assert [layer["name"] for layer in layers] == ["embedding", "block 1", "block 2", "block 3"]
    embedded = model.wte.weight[IDS[0, 6]].detach()
    assert first["norm"] == pytest.approx(embedded.norm().item(), rel=1e-6)
    rescaled = embedded / (embedded.square().mean() + 1e-5).sqrt()
    early = (model.lm_head.weight.detach() @ rescaled).softmax(-1)
    for layer, probabilities in ((first, early), (last, due["logits"][6].softmax(-1))):
        following = probabilities[IDS[0, 7]].item()
        assert layer["next_probability"] == pytest.approx(following, abs=1e-6)
        assert [token["id"] for token in layer["tokens"]] == probabilities.topk(2).indices.tolist()
    assert found["lens"]["next"] == {"id": IDS[0, 7], "text": TEXT[7], "bytes": [ord(TEXT[7])]}


def test_units_are_the_most_active_ones(computed: Computed) -> None:
    model, found, due = computed
    for layer, active in zip(found["units"]["layers"], due["units"], strict=True):
        top = active[6].topk(4)
        assert [unit["unit"] for unit in layer["units"]] == top.indices.tolist()
        activations = [unit["activation"] for unit in layer["units"]]
        np.testing.assert_allclose(activations, top.values, atol=1e-5)
    unit = found["units"]["layers"][2]["units"][0]
    column = model.blocks[2].mlp.c_proj.weight[:, unit["unit"]]
    promoted = (model.lm_head.weight @ column).topk(3).indices.tolist()
    assert [token["id"] for token in unit["promotes"]] == promoted


def test_positions_and_neighbours_are_those_of_the_embeddings(computed: Computed) -> None:
    model, found, _ = computed
    positions = found["positions"]
    assert (positions["rows"], positions["columns"], positions["kind"]) == (12, 4, "rotary")
    table = np.reshape(positions["values"], (12, 4))  # angles p and p / 100
    np.testing.assert_allclose(table[7], [np.sin(7), np.cos(7), np.sin(0.07), np.cos(0.07)], 1e-6)
    cosines = torch.cosine_similarity(model.wte.weight, model.wte.weight[4], dim=1)
    cosines[4] = -1
    near = found["neighbours"]["neighbours"]
    assert [token["id"] for token in near] == cosines.topk(3).indices.tolist()
    assert near[0]["similarity"] == pytest.approx(cosines.max().item(), abs=1e-6)


def _causal(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores) * np.tri(scores.shape[-1])
    return powers / powers.sum(-1, keepdims=True)


CALLS: list[tuple[str, dict[str, Any]]] = [
    ("next", {"text": "", "n": 20}),
    ("next", {"text": TEXT, "n": 4, "temperature": 0.7, "top_k": 3, "top_p": 0.9}),
    ("next", {"text": TEXT, "temperature": 0}),
    ("tree", {"text": TEXT + TEXT, "width": 2, "depth": 3}),
    ("tokens", {"text": TEXT + TEXT}),
    ("tokens", {"text": ""}),
    ("attention", {"text": TEXT, "layer": 2, "head": 0}),
    ("attention", {"text": TEXT, "layer": 0, "head": None}),
    ("heads", {"text": TEXT, "position": 5}),
    ("head", {"text": TEXT, "layer": 1, "head": 1, "position": 8, "n": 20}),
    ("lens", {"text": TEXT, "position": 8, "n": 3}),
    ("units", {"text": TEXT, "position": 3, "n": 5}),
    ("positions", {}),
    ("neighbours", {"id": 0, "n": 20}),
]
"""Calls of every view; some ask for more than there is."""


@pytest.mark.parametrize("options", [OPTIONS[1], OPTIONS[2], OPTIONS[5]])
def test_answers_are_those_of_the_server(
    run_modules: Callable[..., Any], options: dict[str, Any]
) -> None:
    model = random_model(**options)
    found = run_modules(
        MAKE
        + """
        const [model, calls] = given;
        const backend = make(model);
        return Promise.all(calls.map(async ([name, args]) => {
          const answer = await backend[name](args);
          const parts = [answer, answer.weights, answer.values];
          const bulk = parts.find((part) => part instanceof Float32Array);
          return bulk === undefined ? answer : Array.from(bulk);
        }));
        """,
        given(model),
        CALLS,
    )
    inspector = Inspector(LoadedModel(model, build_char_vocabulary([LETTERS])))
    for (name, arguments), answer in zip(CALLS, found, strict=True):
        due = getattr(inspector, name)(**arguments)
        if isinstance(due, np.ndarray):
            np.testing.assert_allclose(answer, due.ravel(), atol=2e-6, err_msg=name)
        else:
            _check_same(answer, due, f"{name}{arguments}")


def _check_same(found: Any, due: Any, place: str) -> None:
    """Compare two nested values, numbers up to the rounding of fp32."""
    if isinstance(due, dict):
        assert found.keys() == due.keys(), place
        for key in due:
            _check_same(found[key], due[key], f"{place}.{key}")
    elif isinstance(due, list):
        assert len(found) == len(due), place
        for number, pair in enumerate(zip(found, due, strict=True)):
            _check_same(*pair, f"{place}[{number}]")
    elif isinstance(due, float):
        assert found == pytest.approx(due, rel=1e-5, abs=1e-5), place
    else:
        assert found == due, place


def test_every_float16_is_read(browser: Any) -> None:
    halves = np.arange(1 << 16, dtype="<u2").view("<f2")
    found = browser.run(
        bundle(STATIC, "local/weights.js")
        + """
        const { readWeights } = modules["local/weights.js"];
        const weights = readWeights([["a", [2, 5]], ["b", [65526]]], arguments[0]);
        return [...weights.get("a"), ...weights.get("b")].map((value) => value.toString());
        """,
        base64.b64encode(halves.tobytes()).decode(),
    )
    values = np.array([float(value.replace("Infinity", "inf")) for value in found])
    np.testing.assert_array_equal(values, halves.astype(np.float64))


def test_truncation_is_that_of_generation(run_modules: Callable[..., Any]) -> None:
    model = random_model()
    settings = [
        *({"temperature": 0.5}, {"temperature": 2, "top_k": 3}, {"top_p": 0.6}),
        {"temperature": 1.5, "top_k": 6, "top_p": 0.7},
    ]
    found = run_modules(
        MAKE
        + """
        const [model, text, settings] = given;
        const backend = make(model);
        return Promise.all(settings.map(async (one) => {
          const { tokens, n_tokens, n_cut } = await backend.next({ text, n: 12, ...one });
          return { n_tokens, n_cut, rows: tokens.map((t) => [t.id, t.probability, t.rank]) };
        }));
        """,
        given(model),
        TEXT + TEXT,  # 18 tokens, of which the context holds the last 12
        settings,
    )
    tokens = torch.tensor([[LETTERS.index(letter) for letter in (TEXT + TEXT)[-12:]]])
    with torch.no_grad():
        logits = model(tokens)[:, -1]
    order = logits[0].argsort(descending=True)
    for one, answer in zip(settings, found, strict=True):
        kept = truncate(logits / one.get("temperature", 1), one.get("top_k"), one.get("top_p"))
        due = kept.softmax(-1)[0, order]
        assert (answer["n_tokens"], answer["n_cut"]) == (12, 6)
        assert [rank for _, _, rank in answer["rows"]] == list(range(1, 13))
        assert [number for number, _, _ in answer["rows"]] == order.tolist()
        np.testing.assert_allclose([p for _, p, _ in answer["rows"]], due, atol=1e-6)
        assert sum(p == 0 for _, p, _ in answer["rows"]) == (due == 0).sum()


def test_a_tree_is_the_chain_of_next_tokens_also_where_the_context_is_full(
    run_modules: Callable[..., Any],
) -> None:
    model = random_model(**OPTIONS[3])
    found = run_modules(
        MAKE
        + """
        const [model, text] = given;
        const backend = make(model);
        const trees = [];
        for (const one of [text, text + text]) {
          trees.push((await backend.tree({ text: one, width: 2, depth: 3 })).children);
        }
        return trees;
        """,
        given(model),
        TEXT,
    )

    def grow(ids: list[int], shorter: list[int], joint: float, levels: int) -> list[Any]:
        with torch.no_grad():
            top = model(torch.tensor([ids]))[0, -1].softmax(-1).topk(2)
        children = []
        for token, p in zip(top.indices.tolist(), top.values.tolist(), strict=True):
            longer = [*shorter, token]
            below = grow(longer, longer, joint * p, levels - 1) if levels > 1 else []
            children.append([token, p, joint * p, below])
        return children

    def plain(children: list[Any]) -> list[Any]:
        return [[c["id"], c["probability"], c["joint"], plain(c["children"])] for c in children]

    ids = [LETTERS.index(letter) for letter in TEXT]
    full = (ids + ids)[-12:]
    for tree, due in zip(found, [grow(ids, ids, 1, 3), grow(full, full[-10:], 1, 3)], strict=True):
        flat = [np.array(_numbers(each)) for each in (plain(tree), due)]
        np.testing.assert_allclose(*flat, atol=1e-6)


def _numbers(nested: list[Any]) -> list[float]:
    return [n for each in nested for n in (_numbers(each) if isinstance(each, list) else [each])]


def test_arguments_out_of_range_are_refused_by_name(run_modules: Callable[..., Any]) -> None:
    found = run_modules(
        MAKE
        + """
        const [model, asked] = given;
        const backend = make(model);
        return Promise.all(asked.map(([name, args]) =>
          backend[name]({ text: "abc", ...args }).then(() => "no error", (e) => e.message)));
        """,
        given(random_model()),
        [
            ["attention", {"layer": 3, "head": 0}],
            ["attention", {"layer": 0, "head": 2}],
            ["lens", {"position": 3}],
            ["heads", {"position": -1}],
            ["neighbours", {"id": 12}],
        ],
    )
    assert found == [
        "layer is 3, but must be a whole number from 0 to 2",
        "head is 2, but must be a whole number from 0 to 1",
        "position is 3, but must be a whole number from 0 to 2",
        "position is -1, but must be a whole number from 0 to 2",
        "id is 12, but must be a whole number from 0 to 11",
    ]
