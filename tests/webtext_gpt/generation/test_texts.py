"""Continuations as text: where they end, what is shown, files of prompts, candidates."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from webtext_gpt.errors import UserError
from webtext_gpt.generation import GREEDY, complete, next_tokens
from webtext_gpt.generation import command as show
from webtext_gpt.generation.prompts import read_prompts, stop_strings, write_completions
from webtext_gpt.model import GPT, GPTConfig
from webtext_gpt.tokenizer import Tokenizer, train_bpe


def test_a_seed_fixes_the_text(model: GPT, tokenizer: Tokenizer) -> None:
    def sample(seed: int) -> list[str]:
        return complete(model, tokenizer, ["ab"] * 3, max_new_tokens=20, seed=seed)

    assert sample(1) == sample(1)
    assert sample(1) != sample(2)
    assert sample(1)[1:] == sample(2)[:2]  # each text has a seed of its own


def test_text_ends_where_the_document_does(model: GPT, tokenizer: Tokenizer) -> None:
    texts = complete(model, tokenizer, [""] * 30, max_new_tokens=20, seed=0)
    assert not any("<|endoftext|>" in text for text in texts)
    assert min(map(len, texts)) < 20


def test_text_ends_before_a_stop_string(model: GPT, tokenizer: Tokenizer) -> None:
    settings = {"max_new_tokens": 40, "seed": 0}
    whole = complete(model, tokenizer, [""] * 30, **settings)
    ended = complete(model, tokenizer, [""] * 30, stop=["ca", "dd"], **settings)
    ends = [min(t.find("ca") % 99, t.find("dd") % 99) for t in whole]  # -1, none, becomes 98
    assert ended == [text[:end] for text, end in zip(whole, ends, strict=True)]
    assert sum(end < 98 for end in ends) > 5
    with pytest.raises(UserError, match="stop holds ''"):
        complete(model, tokenizer, ["a"], stop=["b", ""])


@pytest.mark.parametrize("stop", [[], ["ca", "ddd"]])
def test_pieces_shown_add_up_to_the_text(model: GPT, tokenizer: Tokenizer, stop: list[str]) -> None:
    for seed in range(20):
        pieces: list[str] = []
        [text] = complete(
            model, tokenizer, ["a"], max_new_tokens=30, seed=seed, stop=stop, show=pieces.append
        )
        assert "".join(pieces) == text
        assert len(pieces) > 1 or len(text) < 3


def test_characters_of_several_tokens_are_shown_whole() -> None:
    tokenizer = train_bpe(["plain"], 257)  # bytes alone
    torch.manual_seed(0)
    model = GPT(GPTConfig(n_layer=1, n_head=1, n_embd=8, block_size=64, vocab_size=257)).eval()
    emoji = tokenizer.encode("é☃😀")
    emit = iter([*emoji, tokenizer.end_of_text])
    model.lm_head = _Fixed(emit, 257)
    pieces: list[str] = []
    complete(model, tokenizer, ["x"], max_new_tokens=50, sampling=GREEDY, show=pieces.append)
    assert [piece for piece in pieces if piece] == ["é", "☃", "😀"]


class _Fixed(torch.nn.Module):
    """An output layer that wants the given tokens, one after another."""

    def __init__(self, tokens, vocab_size: int) -> None:
        super().__init__()
        self.tokens, self.vocab_size = tokens, vocab_size

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(hidden.size(0), self.vocab_size)
        logits[:, next(self.tokens)] = 1
        return logits


def test_candidates_are_the_models_probabilities(model: GPT, tokenizer: Tokenizer) -> None:
    first, second = next_tokens(model, tokenizer, "ab", n=3, steps=2)
    expected = model(torch.tensor([[0, 1]]))[0, -1].softmax(-1)
    assert [c.probability for c in first] == pytest.approx(expected.topk(3).values.tolist())
    assert [c.token for c in first] == expected.topk(3).indices.tolist()
    assert [c.text for c in first] == [tokenizer.decode([c.token]) for c in first]
    after = model(torch.tensor([[0, 1, first[0].token]]))[0, -1].softmax(-1)
    assert [c.probability for c in second] == pytest.approx(after.topk(3).values.tolist(), rel=1e-4)
    [everything] = next_tokens(model, tokenizer, "", n=10)  # from end-of-text; five there are
    assert sum(c.probability for c in everything) == pytest.approx(1)
    for settings, message in (({"n": 0}, "next=0"), ({"n": 1, "steps": 0}, "steps=0")):
        with pytest.raises(UserError, match=message):
            next(next_tokens(model, tokenizer, "a", **settings))


def test_prompts_of_files(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_bytes("one\r\ntwo \u2028x\n\n three\n\n".encode())
    assert read_prompts(tmp_path / "p.txt") == ["one", "two \u2028x", "", " three"]
    (tmp_path / "p.jsonl").write_text('{"prompt": "a\\nb", "id": 1}\n\n{"prompt": "c"}\n')
    assert read_prompts(tmp_path / "p.jsonl") == ["a\nb", "c"]
    (tmp_path / "bad.jsonl").write_text('{"prompt": "a"}\n{"text": "c"}\n')
    with pytest.raises(UserError, match=r"bad.jsonl, line 2 has no key 'prompt', only text"):
        read_prompts(tmp_path / "bad.jsonl")
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(UserError, match="empty.txt holds no prompt"):
        read_prompts(tmp_path / "empty.txt")


@pytest.fixture
def print_samples(model: GPT, tokenizer: Tokenizer) -> Callable[..., None]:
    def call(**changes) -> None:
        settings = {
            "prompt": "",
            "prompts": None,
            "out": None,
            "num_samples": 1,
            "batch_size": 2,
            "seed": 0,
            "stream": True,
            "settings": {"max_new_tokens": 10},
        }
        show.samples(model, tokenizer, **{**settings, **changes})

    return call


def test_a_file_of_prompts_to_a_file_of_completions(
    print_samples: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts, out = tmp_path / "p.txt", tmp_path / "out.jsonl"
    prompts.write_text("ab\nc\ndda\n")
    print_samples(prompts=str(prompts), out=str(out), num_samples=2)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["prompt"] for row in rows] == ["ab", "ab", "c", "c", "dda", "dda"]
    print_samples(prompts=str(prompts), num_samples=2, batch_size=5)  # the same, however divided
    printed = capsys.readouterr().out
    for number, row in enumerate(rows, start=1):
        assert f"=== sample {number}\n{row['prompt']}{row['completion']}\n" in printed
    with pytest.raises(UserError, match="out.jsonl exists"):
        print_samples(prompts=str(prompts), out=str(out))


def test_prompts_are_checked_before_the_first_is_continued(
    print_samples: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = tmp_path / "p.txt"
    for text, settings, message in (
        ("a\nb\nabcdabcd\n", {"overflow": "refuse", "max_new_tokens": 1}, "prompt 3 has 8"),
        ("a\nb\nxyz\n", {"max_new_tokens": 1}, "prompt 3: character 0, 'x'"),
    ):
        prompts.write_text(text)
        with pytest.raises(UserError, match=message):
            print_samples(prompts=str(prompts), settings=settings)
    assert capsys.readouterr().out == ""


def test_beams_obey_the_context(model: GPT, tokenizer: Tokenizer) -> None:
    with pytest.raises(UserError, match="does not fit"):
        complete(model, tokenizer, ["abcdabc"], max_new_tokens=5, num_beams=2, overflow="refuse")


@pytest.mark.parametrize(
    ("given", "strings"),
    [
        (None, []),
        ("a", ["a"]),
        ([r"\n", r"x\ty", r"\\n"], ["\n", "x\ty", r"\n"]),
        (["\n", r"\d"], ["\n", r"\d"]),
    ],
)
def test_stop_strings_of_a_command_line(given: object, strings: list[str]) -> None:
    assert stop_strings(given) == strings
    with pytest.raises(UserError, match="stop=5 is no text"):
        stop_strings([5])


def test_half_a_file_of_completions_is_none(tmp_path: Path) -> None:
    def pairs():
        yield "a", "b"
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        list(write_completions(tmp_path / "out.jsonl", pairs()))
    assert list(tmp_path.iterdir()) == []


def test_a_single_sample_streams_what_it_would_print(
    print_samples: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    print_samples(prompt="ab")
    streamed = capsys.readouterr().out
    print_samples(prompt="ab", stream=False)
    assert capsys.readouterr().out == streamed
    assert streamed.startswith("ab")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_samples": 0}, "num_samples=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"num_samples": "x"}, "num_samples=x"),
        ({"seed": -1}, "seed=-1"),
        ({"settings": {"max_new_tokens": -1}}, "max_new_tokens=-1"),
        ({"settings": {"max_new_tokens": 9, "num_beams": 0}}, "num_beams=0"),
        ({"prompt": "a", "prompts": "p.txt"}, "not both"),
    ],
)
def test_bad_settings(print_samples: Callable[..., None], changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        print_samples(**changes)
