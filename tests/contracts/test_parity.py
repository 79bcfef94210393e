"""Contract 2: same logits as Hugging Face with the same weights; import undoes export."""

import gc
import hashlib
from pathlib import Path

import pytest
import torch

from webtext_gpt.generation import GREEDY, generate
from webtext_gpt.model import GPT, ClassifierConfig, GPTClassifier, GPTConfig
from webtext_gpt.tokenizer import Tokenizer, build_char_vocabulary
from webtext_gpt.weights import hugging_face

SHAPES = {
    "small": (12, 12, 768),
    "medium": (24, 16, 1024),
    "large": (36, 20, 1280),
    "xl": (48, 25, 1600),
}
VOCAB_SIZE = 500


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return build_char_vocabulary(["abc"])


def _randomize(model: torch.nn.Module) -> None:
    """Draw biases and gains too, because their initial values hide errors."""
    for name, value in model.named_parameters():
        is_gain = "ln_" in name and name.endswith("weight")
        torch.nn.init.normal_(value, mean=1.0 if is_gain else 0.0, std=0.1 if is_gain else 0.02)


def _random_gpt(seed: int = 0, **config: object) -> GPT:
    torch.manual_seed(seed)
    model = GPT(GPTConfig(**{"vocab_size": VOCAB_SIZE, "block_size": 128, **config})).eval()
    _randomize(model)
    return model


def _hashes(folder: Path) -> dict[str, str]:
    found = {}
    for file in folder.iterdir():
        with file.open("rb") as stream:
            found[file.name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return found


def _check_round_trip(model: GPT, tokenizer: Tokenizer, folder: Path, remarks: list[str]) -> None:
    """Export, compare transformers' logits, import and export again: the same bytes."""
    from transformers import AutoModelForCausalLM

    config, tokens = model.config, torch.randint(model.config.vocab_size, (2, 100))
    with torch.inference_mode():
        ours = model(tokens)
    hugging_face.save(model, tokenizer, folder / "out")
    del model
    theirs = AutoModelForCausalLM.from_pretrained(folder / "out")
    assert remarks == []
    with torch.inference_mode():
        torch.testing.assert_close(theirs(tokens).logits, ours, atol=1e-4, rtol=0)
    tied = theirs.get_output_embeddings().weight is theirs.get_input_embeddings().weight
    assert tied == config.tied_embeddings
    del theirs
    gc.collect()
    again, its_tokenizer = hugging_face.load(folder / "out")
    assert again.config == config
    assert not again.training
    assert (again.lm_head.weight is again.wte.weight) == config.tied_embeddings
    hugging_face.save(again, its_tokenizer, folder / "again")
    assert _hashes(folder / "out") == _hashes(folder / "again")


@pytest.mark.parametrize(
    ("size", "n_layer"),
    [
        ("small", 2),
        *(pytest.param(size, 2, marks=pytest.mark.slow) for size in ("medium", "large", "xl")),
    ],
)
def test_gpt2_survives_export_and_import(
    size: str, n_layer: int, tokenizer: Tokenizer, tmp_path: Path, transformers_remarks: list[str]
) -> None:
    """Widths and heads of the four sizes, with fewer layers and a small vocabulary."""
    _, n_head, n_embd = SHAPES[size]
    model = _random_gpt(n_layer=n_layer, n_head=n_head, n_embd=n_embd, attn_dropout=0.2)
    _check_round_trip(model, tokenizer, tmp_path, transformers_remarks)


@pytest.mark.slow
def test_gpt2_small_of_full_size(
    tokenizer: Tokenizer, tmp_path: Path, transformers_remarks: list[str]
) -> None:
    model = _random_gpt(vocab_size=50_257, block_size=1024)
    assert model.num_parameters == 124_439_808
    _check_round_trip(model, tokenizer, tmp_path, transformers_remarks)


@pytest.mark.slow
@pytest.mark.parametrize("size", ["medium", "large", "xl"])
def test_larger_gpt2_of_full_size(
    size: str, tokenizer: Tokenizer, tmp_path: Path, transformers_remarks: list[str]
) -> None:
    """For xl, which is exported in shards, 13 GB of memory and of disk are needed."""
    n_layer, n_head, n_embd = SHAPES[size]
    model = _random_gpt(
        n_layer=n_layer, n_head=n_head, n_embd=n_embd, vocab_size=50_257, block_size=1024
    )
    _check_round_trip(model, tokenizer, tmp_path, transformers_remarks)


@pytest.mark.parametrize(
    "n_layer", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 12))]
)
def test_greedy_text_of_200_tokens(n_layer: int, tokenizer: Tokenizer, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = _random_gpt(n_layer=n_layer, vocab_size=50_257, block_size=1024)
    with torch.no_grad():
        model.wpe.weight.normal_(std=0.3)  # otherwise every text soon repeats itself
    hugging_face.save(model, tokenizer, tmp_path / "out")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    prompt = torch.randint(50_257, (1, 7))
    settings = {"do_sample": False, "max_new_tokens": 200, "eos_token_id": None}
    mask = torch.ones_like(prompt)
    expected = theirs.generate(prompt, attention_mask=mask, **settings)[0, 7:].tolist()
    [mine] = generate(model, prompt.tolist(), max_new_tokens=200, sampling=GREEDY)
    assert mine == expected
    assert len(set(mine)) > 50


@pytest.mark.parametrize(
    "options",
    [
        {"norm": "post"},
        {"norm": "post", "activation": "relu"},
        {"activation": "gelu"},
        {"activation": "relu"},
        {"tied_embeddings": False},
        {"norm": "post", "tied_embeddings": False},
    ],
    ids=str,
)
def test_other_models_survive_export_and_import(
    options: dict, tokenizer: Tokenizer, tmp_path: Path, transformers_remarks: list[str]
) -> None:
    """GPT-1, and other options that Hugging Face's two classes can express."""
    model = _random_gpt(n_layer=2, n_head=4, n_embd=64, **options)
    _check_round_trip(model, tokenizer, tmp_path, transformers_remarks)


@pytest.mark.parametrize("in_pickles", [False, True])
@pytest.mark.parametrize("in_shards", [False, True])
@pytest.mark.parametrize("kind", ["GPT2LMHeadModel", "GPT2Model", "OpenAIGPTLMHeadModel"])
def test_folders_saved_by_transformers_are_read(
    kind: str, in_shards: bool, in_pickles: bool, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """`GPT2Model` is saved without the prefix `transformer.` and without a head."""
    import transformers

    torch.manual_seed(0)
    sizes = {"n_layer": 2, "n_head": 4, "n_embd": 64, "n_positions": 128, "vocab_size": VOCAB_SIZE}
    config_class = getattr(transformers, kind).config_class
    theirs = getattr(transformers, kind)(config_class(**sizes, resid_pdrop=0.25)).eval()
    _randomize(theirs)
    theirs.save_pretrained(tmp_path, max_shard_size="100KB" if in_shards else "5GB")
    if in_pickles:
        _pickled(tmp_path)
    assert (len(list(tmp_path.glob("*.index.json"))) == 1) == in_shards
    tokenizer.save(tmp_path / "tokenizer.json")
    ours, _ = hugging_face.load(tmp_path)
    assert ours.config.resid_dropout == 0.25
    tokens = torch.randint(VOCAB_SIZE, (2, 100))
    with torch.inference_mode():
        if kind == "GPT2Model":
            expected, found = theirs(tokens).last_hidden_state, ours.hidden_states(tokens)
        else:
            expected, found = theirs(tokens).logits, ours(tokens)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def _pickled(folder: Path) -> None:
    """Turn a folder's safetensors into pickles, as in old folders."""
    from safetensors.torch import load_file

    for file in list(folder.glob("model*.safetensors")):
        name = file.name.replace("model", "pytorch_model", 1).replace(".safetensors", ".bin")
        tensors = load_file(file)
        if "transformer.h.0.attn.c_attn.weight" in tensors:  # buffers of early releases
            mask = torch.ones(1, 1, 128, 128, dtype=torch.uint8).tril()
            tensors["transformer.h.0.attn.bias"] = mask
            tensors["transformer.h.0.attn.masked_bias"] = torch.tensor(-1e4)
        torch.save(tensors, folder / name)
        file.unlink()
    for index in folder.glob("*.index.json"):
        text = index.read_text().replace("model-", "pytorch_model-").replace(".safetensors", ".bin")
        (folder / "pytorch_model.bin.index.json").write_text(text)
        index.unlink()


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_classifiers_survive_export_and_import(
    norm: str, tokenizer: Tokenizer, tmp_path: Path, transformers_remarks: list[str]
) -> None:
    from transformers import AutoModelForSequenceClassification

    body = _random_gpt(n_layer=2, n_head=4, n_embd=64, norm=norm)
    config = ClassifierConfig(labels=("bad", "so-so", "gut"), pad_token_id=3, extract_token_id=2)
    model = GPTClassifier(body, config).eval()
    torch.nn.init.normal_(model.head.weight)
    tokens = torch.randint(4, VOCAB_SIZE, (4, 30))
    lengths = torch.tensor([30, 1, 7, 29])
    for row, length in enumerate(lengths):
        tokens[row, length:] = config.pad_token_id
    hugging_face.save(model, tokenizer, tmp_path / "out")
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    assert transformers_remarks == []
    assert theirs.config.id2label == {0: "bad", 1: "so-so", 2: "gut"}
    with torch.inference_mode():
        expected = theirs(tokens).logits
        torch.testing.assert_close(model(tokens), expected, atol=1e-4, rtol=0)
        torch.testing.assert_close(model(tokens, lengths), expected, atol=1e-4, rtol=0)
    again, its_tokenizer = hugging_face.load(tmp_path / "out")
    assert again.config == config
    assert again.body.config == body.config
    assert again.body.lm_head.weight is again.body.wte.weight
    hugging_face.save(again, its_tokenizer, tmp_path / "again")
    assert _hashes(tmp_path / "out") == _hashes(tmp_path / "again")
