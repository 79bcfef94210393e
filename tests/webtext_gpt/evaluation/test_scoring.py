"""Log-probabilities of batched windows, and windows that score every token once."""

from collections.abc import Callable

import pytest
import torch

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.scoring import Scorer, Window
from webtext_gpt.model import GPT
from webtext_gpt.tokenizer import Tokenizer

TEXT = "the cat sat on the mat , and the dog saw the cat . " * 8


def test_batched_scores_equal_those_of_each_window_alone(scorer: Scorer, model: GPT) -> None:
    torch.manual_seed(0)
    lengths = [(2, 1), (65, 64), (30, 7), (65, 1), (12, 11), (40, 20)]
    windows = [Window(torch.randint(257, (n,)).tolist(), scored) for n, scored in lengths]
    banned = torch.arange(260) % 2 == 0  # the vocabulary is larger
    scores = scorer.score(windows, banned)
    for window, score in zip(windows, scores, strict=True):
        ids = torch.tensor(window.tokens)
        logits = model(ids[None, :-1])[0, -window.scored :].double()
        targets = ids[-window.scored :, None]
        expected = logits.log_softmax(-1).gather(1, targets)[:, 0]
        torch.testing.assert_close(score.log_probabilities, expected, atol=1e-5, rtol=1e-5)
        assert torch.equal(score.likeliest, logits.argmax(-1))
        odd = logits[:, 1:260:2].argmax(-1) * 2 + 1
        assert torch.equal(score.likeliest_allowed, odd)


@pytest.mark.parametrize("stride", [1, 7, 20, 63, 64])
def test_every_token_is_scored_once_from_a_long_context(
    model: GPT, tokenizer: Tokenizer, stride: int
) -> None:
    scorer = Scorer(model, tokenizer, stride=stride)
    windows = scorer.sliding_windows(TEXT)
    ids = tokenizer.encode(TEXT)
    assert [t for w in windows for t in w.tokens[-w.scored :]] == ids
    assert windows[0].tokens[0] == tokenizer.end_of_text
    assert all(len(w.tokens) == 65 for w in windows)  # including the last one
    assert all(w.scored <= stride for w in windows[1:])
    assert len(scorer.sliding_windows("cat")) == 1
    assert scorer.sliding_windows("") == []


def test_sliding_windows_worked_out_by_hand(model: GPT, tokenizer: Tokenizer) -> None:
    """Context 64, stride 20, 110 tokens: 64 are predicted, then 20, 20 and the last 6."""
    text = "z" * 110  # no merge contains a z, so each letter is a token
    [z] = tokenizer.encode("z")
    end = tokenizer.end_of_text
    windows = Scorer(model, tokenizer, stride=20).sliding_windows(text)
    assert [(list(w.tokens), w.scored) for w in windows] == [
        ([end] + 64 * [z], 64),  # tokens 1 to 64
        (65 * [z], 20),  # tokens 65 to 84, after tokens 20 to 64
        (65 * [z], 20),  # tokens 85 to 104
        (65 * [z], 6),  # tokens 105 to 110
    ]


@pytest.mark.slow
def test_sliding_by_one_token_equals_a_plain_loop(
    model: GPT, tokenizer: Tokenizer, log_probability: Callable[[str, str], float]
) -> None:
    """With a stride of 1, each token is predicted from the 64 before it."""
    scorer = Scorer(model, tokenizer, stride=1)
    total, n_tokens = scorer.total(scorer.sliding_windows(TEXT))
    assert total == pytest.approx(log_probability("", TEXT), rel=1e-6)
    assert n_tokens == len(tokenizer.encode(TEXT))


def test_disjoint_windows_equal_those_of_lm_eval(model: GPT, tokenizer: Tokenizer) -> None:
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

    scorer = Scorer(model, tokenizer, stride=64)
    for n_characters in (1, 30, 100, len(TEXT)):
        text = TEXT[:n_characters]
        theirs = map(
            make_disjoint_window,
            get_rolling_token_windows(tokenizer.encode(text), tokenizer.end_of_text, 64, 1),
        )
        mine = [(list(w.tokens), w.scored) for w in scorer.sliding_windows(text)]
        assert mine == [([*context, *scored], len(scored)) for context, scored in theirs]


@pytest.mark.parametrize("context", ["the mat and the", ""])
@pytest.mark.parametrize("shared", ["", " the cat saw the"])
def test_choices_are_scored_from_the_first_difference(
    scorer: Scorer, log_probability: Callable[[str, str], float], context: str, shared: str
) -> None:
    texts = [" cat sat .", " dog sat .", " catcatcatcat", " c"]
    found = [float(s.sum()) for s in scorer.choices(context, [shared + text for text in texts])]
    before = log_probability(context, shared) if shared else 0.0
    expected = [log_probability(context, shared + text) - before for text in texts]
    assert found == pytest.approx(expected, abs=1e-4)


@torch.inference_mode()
def test_choices_after_a_long_context_see_the_same_part_of_it(scorer: Scorer, model: GPT) -> None:
    texts = [" cat", " dog"]
    ids = [scorer.tokenizer.encode(TEXT + text) for text in texts]
    longest = max(map(len, ids))
    expected = []
    for row in ids:
        seen = torch.tensor(row[longest - 65 :])
        log_probabilities = model(seen[None, :-1])[0].double().log_softmax(-1)
        first = next(n for n, (a, b) in enumerate(zip(*ids, strict=False)) if a != b)
        places = range(first - (longest - 65), len(seen))
        expected.append(sum(float(log_probabilities[p - 1, seen[p]]) for p in places))
    found = [float(s.sum()) for s in scorer.choices(TEXT, texts)]
    assert found == pytest.approx(expected, abs=1e-4)


def test_a_long_context_loses_its_beginning(scorer: Scorer) -> None:
    window = scorer.continuation(TEXT, " the end")
    ids = scorer.tokenizer.encode(TEXT + " the end")
    assert list(window.tokens) == ids[-65:]
    assert window.scored == len(ids) - len(scorer.tokenizer.encode(TEXT))


def test_bad_texts_and_settings_are_refused(model: GPT, tokenizer: Tokenizer) -> None:
    with pytest.raises(UserError, match="context of 64"):
        Scorer(model, tokenizer).continuation("the", TEXT)
    with pytest.raises(UserError, match="0 tokens"):
        Scorer(model, tokenizer).continuation("the", "")
    for stride in (0, 65, "x"):
        with pytest.raises(UserError, match=f"stride={stride}"):
            Scorer(model, tokenizer, stride=stride)
    with pytest.raises(UserError, match="batch_tokens=0"):
        Scorer(model, tokenizer, batch_tokens=0)
