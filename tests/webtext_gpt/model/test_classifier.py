"""The classification head: it reads the extract token's state, and padding has no effect."""

from pathlib import Path

import pytest
import torch

from webtext_gpt.checkpoint.load import load, load_language_model, save_model
from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT, ClassifierConfig, GPTClassifier, GPTConfig
from webtext_gpt.tokenizer import build_char_vocabulary

PAD, EXTRACT = 18, 19
CONFIG = ClassifierConfig(
    labels=("no", "yes", "maybe"), pad_token_id=PAD, extract_token_id=EXTRACT, dropout=0.0
)


@pytest.fixture
def model() -> GPTClassifier:
    torch.manual_seed(0)
    body = GPT(GPTConfig(n_layer=2, n_head=2, n_embd=16, block_size=32, vocab_size=20))
    classifier = GPTClassifier(body, CONFIG).eval()
    for value in classifier.parameters():
        torch.nn.init.normal_(value, std=0.3)
    return classifier


def _padded(*texts: list[int], to: int) -> torch.Tensor:
    return torch.tensor([text + [PAD] * (to - len(text)) for text in texts])


def test_logits_come_from_the_extract_tokens_state(model: GPTClassifier) -> None:
    text = [1, 2, 3, EXTRACT]
    state = model.body.hidden_states(torch.tensor([text]))[0, 3]
    expected = model.head.weight @ state
    torch.testing.assert_close(model(torch.tensor([text]))[0], expected)


def test_a_text_has_one_result_in_any_batch(model: GPTClassifier) -> None:
    text, longer = [1, 2, EXTRACT], [5] * 29 + [EXTRACT]
    alone = model(torch.tensor([text]))[0]
    among_short = model(_padded([4, EXTRACT], text, to=4))[1]
    among_long = model(_padded(text, longer, to=30), torch.tensor([3, 30]))[0]
    torch.testing.assert_close(among_short, alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(among_long, alone, atol=1e-5, rtol=0)


def test_a_pad_id_inside_a_text_does_not_end_it(model: GPTClassifier) -> None:
    tokens = _padded([1, PAD, 2, EXTRACT], [EXTRACT], [], to=6)
    assert model.last_positions(tokens).tolist() == [3, 0, 0]


def test_both_orders_of_a_pair_are_added_before_the_head(model: GPTClassifier) -> None:
    there, back = [1, 2, 3, EXTRACT], [3, 2, 1, EXTRACT]
    both = torch.stack((_padded(there, to=6), _padded(back, to=6)), dim=1)  # (1, 2, 6)
    alone = model(torch.tensor([there])) + model(torch.tensor([back]))  # the head is linear
    torch.testing.assert_close(model(both), alone)
    torch.testing.assert_close(model(both, torch.tensor([4])), alone)


def test_given_factors_replace_dropout(model: GPTClassifier) -> None:
    model.dropout.p = 0.5
    model.train()
    states, kept = torch.ones(1, 16), torch.tensor([[2.0, 0.0] * 8])
    expected = 2 * model.head.weight[:, ::2].sum(dim=1)
    torch.testing.assert_close(model.classify(states, kept)[0], expected)


def test_dropout_acts_on_the_state(model: GPTClassifier) -> None:
    model.dropout.p = 0.5
    state = torch.ones(1, 16)
    assert torch.equal(model.classify(state), model.classify(state))
    model.train()
    assert not torch.equal(model.classify(state), model.classify(state))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": ()}, "at least one label"),
        ({"labels": ("a", "b", "a")}, "label 'a' is given to two classes"),
        ({"pad_token_id": EXTRACT}, "pad_token_id and extract_token_id are both 19"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"start_token_id": 20}, "start_token_id is 20, outside the model's vocabulary of 20"),
        ({"pad_token_id": -1}, "pad_token_id is -1"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(
    model: GPTClassifier, options: dict, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        GPTClassifier(model.body, ClassifierConfig(**{**CONFIG.to_dict(), **options}))


def test_a_checkpoint_carries_the_head(model: GPTClassifier, tmp_path: Path) -> None:
    save_model(model, build_char_vocabulary(["abc"]), tmp_path / "classifier.ckpt")
    opened = load(tmp_path / "classifier.ckpt")
    loaded, tokenizer = opened.model, opened.tokenizer
    assert isinstance(loaded, GPTClassifier)
    assert loaded.config == CONFIG
    assert loaded.body.lm_head.weight is loaded.body.wte.weight
    assert tokenizer.encode("cab") == [2, 0, 1]
    tokens = torch.tensor([[1, 2, EXTRACT]])
    assert torch.equal(loaded(tokens), model(tokens))
    with pytest.raises(UserError, match="holds a classifier"):
        load_language_model(tmp_path / "classifier.ckpt")
