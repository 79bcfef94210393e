"""Each benchmark on a few examples, against figures worked out by hand or by the plainest loop."""

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation import prompted
from webtext_gpt.evaluation.answers import best_f1, exact_match, f1
from webtext_gpt.evaluation.benchmark import Measured, MissingDataError, Options
from webtext_gpt.evaluation.registry import BENCHMARKS
from webtext_gpt.evaluation.scoring import Score, Scorer
from webtext_gpt.evaluation.tasks.lambada import STOP_WORDS, stop_word_tokens
from webtext_gpt.evaluation.tasks.summarization import sentences
from webtext_gpt.evaluation.tasks.translation import ENGLISH_TO_FRENCH, FRENCH_TO_ENGLISH
from webtext_gpt.evaluation.tasks.winograd import WinogradSchemas, substituted
from webtext_gpt.tokenizer import Tokenizer

Reference = Callable[[str, str], float]


def _write_rows(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _run(name: str, scorer: Scorer, data_dir: Path, **options) -> Measured:
    return BENCHMARKS[name].run(scorer, data_dir, Options(**options))


def test_lambada_perplexities(
    scorer: Scorer, log_probability: Reference, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    passages = ["the cat saw the dog", "and the dog sat on the mat", "a cat, a dog and zebras\n"]
    _write_rows(tmp_path / "lambada_test.jsonl", [{"text": text} for text in passages])
    words, tokens = [], []
    for text in passages:
        context, _, word = text.rstrip().rpartition(" ")
        words.append(log_probability(context, " " + word))
        ids = tokenizer.encode(text.rstrip())
        tokens.append(log_probability(tokenizer.decode(ids[:-1]), tokenizer.decode(ids[-1:])))
    figures = _run("lambada", scorer, tmp_path).metrics
    assert figures["perplexity"] == pytest.approx(math.exp(-sum(words) / 3), rel=1e-4)
    assert figures["last_token_perplexity"] == pytest.approx(math.exp(-sum(tokens) / 3), rel=1e-4)
    assert _run("lambada", scorer, tmp_path, limit=2).examples == 2


def test_lambada_accuracies(
    scorer: Scorer, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three last words: of one token, guessed with the filter; of two, with the last right."""
    _write_rows(tmp_path / "lambada_test.jsonl", [{"text": t} for t in ("a the cat", "the zcat")])
    cat, the = tokenizer.encode(" cat")[0], tokenizer.encode(" the")[0]
    word = tokenizer.encode(" zcat")
    zeros = torch.zeros(len(word), dtype=torch.float64)
    wrong_start = torch.tensor([the, *word[1:]])
    scores = [
        Score(zeros[:1], torch.tensor([the]), torch.tensor([cat])),
        Score(zeros, wrong_start, wrong_start),
    ]
    monkeypatch.setattr(scorer, "score", lambda windows, banned, progress: scores)
    assert _run("lambada", scorer, tmp_path).metrics == {
        "perplexity": 1,
        "accuracy": 0,
        "accuracy_stop_words": 50,
        "last_token_perplexity": 1,
        "last_token_accuracy": 50,
        "last_token_accuracy_stop_words": 100,
    }


def test_stop_words_are_words_of_grammar(tokenizer: Tokenizer) -> None:
    banned = stop_word_tokens(tokenizer)
    assert {tokenizer.decode([i]) for i in banned.nonzero()[:, 0].tolist()} >= {" the", " and"}
    assert not banned[tokenizer.encode(" cat")[0]]
    assert not banned[tokenizer.encode("a")[0]]  # within a word, no space before
    assert {"the", "was", "him", "would"} < STOP_WORDS
    assert STOP_WORDS.isdisjoint({"man", "door", "time", "said"})


@pytest.mark.parametrize("detokenise", [True, False])
def test_perplexity_a_word(
    scorer: Scorer, log_probability: Reference, tmp_path: Path, detokenise: bool
) -> None:
    (tmp_path / "wikitext2_test.raw").write_text(" \n = Cats = \n \n The cat , sat . \n")
    text = " \n = Cats = \n \n The cat , sat . \n"
    if detokenise:
        text = "\n= Cats =\n\nThe cat, sat.\n"
    measured = _run("wikitext2", scorer, tmp_path, detokenise=detokenise)
    total = log_probability("", text)
    assert measured.counts["words"] == 8  # = Cats = The cat , sat .
    assert measured.counts["lines"] == 4
    assert measured.counts["bytes"] == len(text)
    assert measured.metrics == pytest.approx(
        {
            "perplexity": math.exp(-total / 8),
            "perplexity_with_line_ends": math.exp(-total / 12),
            "token_perplexity": math.exp(-total / measured.counts["tokens"]),
            "bits_per_byte": -total / math.log(2) / len(text),
        },
        rel=1e-4,
    )


def test_the_hubs_rows_are_the_text(scorer: Scorer, tmp_path: Path) -> None:
    lines = " \n = Cats = \n \n The cat , sat . \n"
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "wikitext2_test.raw").write_text(lines)
    rows = ["", " = Cats = \n", "", " The cat , sat . \n"]
    _write_rows(tmp_path / "wikitext2_test.jsonl", [{"text": row} for row in rows])
    assert _run("wikitext2", scorer, tmp_path) == _run("wikitext2", scorer, tmp_path / "text")


def test_limited_text_is_measured_by_its_own_words(
    scorer: Scorer, log_probability: Reference, tmp_path: Path
) -> None:
    (tmp_path / "ptb_test.txt").write_text(" the cat sat on the mat and the dog did n't \n" * 9)
    measured = _run("ptb", scorer, tmp_path, limit=1)
    n_tokens = measured.counts["tokens"]
    assert n_tokens == 64  # one window
    text = "the cat sat on the mat and the dog didn't\n" * 9
    scored = scorer.tokenizer.decode(scorer.tokenizer.encode(text)[:64])
    words = len(scored.replace("didn't", "did n't").split())
    assert measured.counts["words"] == words
    total = log_probability("", scored)
    assert measured.metrics["perplexity"] == pytest.approx(math.exp(-total / words), rel=1e-4)


def test_sentences_of_1bw_are_documents(
    scorer: Scorer, log_probability: Reference, tmp_path: Path
) -> None:
    (tmp_path / "one_billion_words_test.txt").write_text("The cat sat .\nA dog , too .\n")
    measured = _run("one_billion_words", scorer, tmp_path)
    total = log_probability("", "The cat sat.") + log_probability("", "A dog, too.")
    assert measured.metrics == pytest.approx(
        {
            "perplexity": math.exp(-total / 9),
            "token_perplexity": math.exp(-total / measured.counts["tokens"]),
            "bits_per_byte": -total / math.log(2) / 23,
        },
        rel=1e-4,
    )
    limited = _run("one_billion_words", scorer, tmp_path, limit=1)
    total = log_probability("", "The cat sat.")
    assert limited.metrics["perplexity"] == pytest.approx(math.exp(-total / 4), rel=1e-4)


def test_sentences_longer_than_the_context_are_scored_whole(
    scorer: Scorer, log_probability: Reference, tmp_path: Path
) -> None:
    sentence = "the\u2028cat saw zebras " * 12 + "."  # a line of its own, whatever Unicode says
    (tmp_path / "one_billion_words_test.txt").write_text(f"{sentence}\n" * 3)
    once = _run("one_billion_words", scorer, tmp_path, limit=1)
    whole = _run("one_billion_words", scorer, tmp_path)
    assert once.examples > 1
    assert whole.counts["lines"] == 3
    assert once.metrics == pytest.approx(whole.metrics)


def test_lines_may_end_as_on_windows(scorer: Scorer, tmp_path: Path) -> None:
    text = " \n = Cats = \n \n The cat , sat . \n"
    for name, ends in (("unix", "\n"), ("windows", "\r\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "wikitext2_test.raw").write_bytes(text.replace("\n", ends).encode())
    unix = _run("wikitext2", scorer, tmp_path / "unix")
    assert _run("wikitext2", scorer, tmp_path / "windows") == unix


def test_prompts_need_room(scorer: Scorer, tmp_path: Path) -> None:
    _write_rows(tmp_path / "cnn_dailymail_test.jsonl", [{"article": "a", "highlights": "b"}])
    with pytest.raises(UserError, match="context of 64"):
        _run("cnn_dailymail", scorer, tmp_path)


def test_half_a_character_is_left_out(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("é☃ the cat")  # two bytes and three are five tokens
    assert prompted.cut_beginning(tokenizer, "é☃ the cat", len(ids) - 1) == "☃ the cat"
    assert prompted.cut_end(tokenizer, "the é☃", len(tokenizer.encode("the é☃")) - 1) == "the é"


def test_bits_of_enwik8_and_text8(
    scorer: Scorer, log_probability: Reference, tmp_path: Path
) -> None:
    text = "é the cat sat on the mat"
    (tmp_path / "enwik8_test.txt").write_text(text)
    bits = -log_probability("", text) / math.log(2)
    figures = _run("enwik8", scorer, tmp_path).metrics
    assert figures == pytest.approx({"bits_per_byte": bits / 25}, rel=1e-4)
    (tmp_path / "text8").write_text("x" * 19 * 20 + "the cat saw the dog ")  # the last 1/20
    bits = -log_probability("", "the cat saw the dog ") / math.log(2)
    figures = _run("text8", scorer, tmp_path).metrics
    assert figures == pytest.approx({"bits_per_character": bits / 20}, rel=1e-4)


CBT = "".join(f"{n} The cat sat on mat {n} .\n" for n in range(1, 21))
CHOICES = ["cat", "dog", "mat", "the", "sat", "and", "saw", "on", "zebra", "tree"]


def test_cbt_chooses_the_likeliest_whole(
    scorer: Scorer, log_probability: Reference, tmp_path: Path
) -> None:
    question = "21 Then XXXXX went , did n't it ?"
    blocks = [f"{CBT}{question}\t{answer}\t\t{'|'.join(CHOICES)}\n" for answer in CHOICES]
    (tmp_path / "cbtest_CN_test_2500ex.txt").write_text("\n".join(blocks))
    lines = [f"The cat sat on mat {n}." for n in range(1, 21)]
    context = "\n".join(lines) + "\n"
    cut = scorer.tokenizer.decode(scorer.tokenizer.encode(context)[-40:])
    totals = [log_probability(cut, f"Then {c} went, didn't it?") for c in CHOICES]
    measured = _run("cbt_cn", scorer, tmp_path)
    assert measured.metrics == {"accuracy": 10.0}  # one of ten answers is the model's choice
    best = CHOICES[totals.index(max(totals))]
    (tmp_path / "cbtest_NE_test_2500ex.txt").write_text(blocks[CHOICES.index(best)])
    assert _run("cbt_ne", scorer, tmp_path).metrics == {"accuracy": 100.0}


def test_cbt_refuses_odd_questions(scorer: Scorer, tmp_path: Path) -> None:
    file = tmp_path / "cbtest_CN_test_2500ex.txt"
    for text, message in (
        ("1 a\n2 b XXXXX\tc\t\tc|d\n", "question 1 is not 20 sentences"),
        (f"{CBT}21 none\tcat\t\tcat|dog\n", "no XXXXX"),
        (f"{CBT}21 XXXXX\tcow\t\tcat|dog\n", "an answer that is no choice"),
    ):
        file.write_text(text)
        with pytest.raises(UserError, match=message):
            _run("cbt_cn", scorer, tmp_path)


WINOGRAD = {
    "text": "Mark told Pete about his trip. He should have gone.",
    "pronoun": "He",
    "pronoun_loc": 31,
    "options": ["Mark", "Pete"],
    "label": 1,
}


def test_winograd_schemas(scorer: Scorer, log_probability: Reference, tmp_path: Path) -> None:
    begin = "Mark told Pete about his trip. "
    parts = [log_probability(begin + name, " should have gone.") for name in ("Mark", "Pete")]
    wholes = [log_probability("", f"{begin}{name} should have gone.") for name in ("Mark", "Pete")]
    rows = [{**WINOGRAD, "label": label} for label in (0, 1, 1)]
    _write_rows(tmp_path / "winograd_test.jsonl", rows)
    shares = [100 / 3, 200 / 3]
    assert _run("winograd", scorer, tmp_path).metrics == pytest.approx(
        {
            "accuracy": shares[parts[1] > parts[0]],
            "accuracy_full": shares[wholes[1] > wholes[0]],
        }
    )


def test_candidates_take_the_pronouns_place() -> None:
    row = {
        "text": "The city refused because they feared it.",
        "pronoun": "they",
        "pronoun_loc": 25,
        "options": ["The city", "Al Gore"],
    }
    assert substituted("x", row) == [
        ("The city refused because the city", " feared it."),
        ("The city refused because Al Gore", " feared it."),
    ]
    begins = {**row, "text": "It sat. They left.", "pronoun": "They", "pronoun_loc": 8}
    assert substituted("x", begins)[0] == ("It sat. The city", " left.")
    own = {**row, "text": "Ann took her bag.", "pronoun": "her", "pronoun_loc": 9}
    assert substituted("x", own)[1] == ("Ann took Al Gore's", " bag.")
    with pytest.raises(UserError, match="'they' is not at character 3"):
        substituted("x", {**row, "pronoun_loc": 3})
    with pytest.raises(UserError, match="pronoun_loc=3.5"):
        substituted("x", {**row, "pronoun_loc": 3.5})


def test_answers_are_compared_as_squad_does() -> None:
    assert f1("The cat!", "a cat") == 1
    assert f1("the big cat", "cat sat") == pytest.approx(0.5)  # 1 of 2, 1 of 2
    assert f1("", "the") == 1  # nothing is left of either
    assert f1("dog", "cat") == 0
    assert f1("cat cat", "cat") == pytest.approx(2 / 3)
    # Each reference is left out once: (best of b, c) + (of a, c) + (of a, b), over three.
    assert best_f1("cat", ["cat", "big cat", "dog"]) == pytest.approx((2 / 3 + 1 + 1) / 3)
    assert exact_match("The Beatles.", ["Queen", "beatles"])
    assert not exact_match("The Beatles sang", ["beatles"])


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], list[str]]:
    """Makes the model answer by what its prompt ends with; collects the prompts."""

    def script(replies: dict[str, str]) -> list[str]:
        seen: list[str] = []

        def complete(model, tokenizer, prompts, **settings) -> list[str]:
            seen.extend(prompts)
            return [next(r for end, r in replies.items() if p.endswith(end)) for p in prompts]

        monkeypatch.setattr(prompted, "complete", complete)
        return seen

    return script


def test_coqa(
    scorer: Scorer, scripted: Callable[[dict[str, str]], list[str]], tmp_path: Path
) -> None:
    authors = {
        "data": [
            {
                "story": "Ann has a red cat. ",
                "questions": [{"input_text": "Who?"}, {"input_text": "Colour?"}],
                "answers": [{"input_text": "Ann"}, {"input_text": "red"}],
                "additional_answers": {"0": [{"input_text": "ann"}, {"input_text": "a dark red"}]},
            }
        ]
    }
    (tmp_path / "coqa-dev-v1.0.json").write_text(json.dumps(authors))
    scorer.block_size = 200
    seen = scripted({"Who?\nA:": " Ann", "Colour?\nA:": " dark blue"})
    # " dark blue" against "red": 0, against "dark red": 1 of 2 and 1 of 2; each left out once.
    assert _run("coqa", scorer, tmp_path).metrics == {"f1": pytest.approx(100 * (1 + 0.25) / 2)}
    assert "Ann has a red cat.\n\nQ: Who?\nA: Ann\nQ: Colour?\nA:" in seen
    hub = {"story": "S.", "questions": ["Who?"], "answers": {"input_text": ["Ann B."]}}
    _write_rows(tmp_path / "coqa_validation.jsonl", [hub])
    assert _run("coqa", scorer, tmp_path).metrics == {"f1": pytest.approx(200 / 3)}


def test_summaries(
    scorer: Scorer, scripted: Callable[[dict[str, str]], list[str]], tmp_path: Path
) -> None:
    row = {"article": "the cat " * 60, "highlights": "The cat sat .\nThe dog ran ."}
    _write_rows(tmp_path / "cnn_dailymail_test.jsonl", [row])
    scorer.block_size = 140
    seen = scripted({"TL;DR:": " The cat sat. The dog ran.\nA bird! And more. And more."})
    # 8 words (the third sentence has two), of which 6 are the reference's 6: 2 * 6 / (8 + 6).
    figures = _run("cnn_dailymail", scorer, tmp_path).metrics
    assert figures["rouge1"] == pytest.approx(100 * 12 / 14)
    assert figures["rougeL"] == pytest.approx(100 * 12 / 14)
    assert figures["rouge2"] == pytest.approx(100 * 2 * 5 / (7 + 5))
    assert seen[0].startswith("the cat the cat")
    assert len(scorer.tokenizer.encode(seen[0])) <= 40  # room is left for 100 tokens
    assert sentences("One. Two?  Three!\nFour") == ["One.", "Two?", "Three!", "Four"]


def test_translation(
    scorer: Scorer, scripted: Callable[[dict[str, str]], list[str]], tmp_path: Path
) -> None:
    pair = {"en": "The small cat sat on the mat .", "fr": "Le petit chat dort sur le tapis ."}
    _write_rows(tmp_path / "wmt14_test.jsonl", [{"translation": pair}])
    scorer.block_size = 1000
    replies = {f"{pair['en']} =": f" {pair['fr']}", f"{pair['fr']} =": " A cow ran away !"}
    seen = scripted(replies)
    assert _run("wmt14_en_fr", scorer, tmp_path).metrics["bleu"] == pytest.approx(100)
    assert _run("wmt14_fr_en", scorer, tmp_path).metrics["bleu"] < 10
    assert "The house is very old. = La maison est très vieille.\n" in seen[0]
    assert "La maison est très vieille. = The house is very old.\n" in seen[1]
    assert ENGLISH_TO_FRENCH.prompt("x").endswith("\nx =")
    _write_rows(tmp_path / "wmt14_test.jsonl", [{"translation": {"en": "a", "de": "b"}}])
    with pytest.raises(UserError, match="translation is not"):
        FRENCH_TO_ENGLISH.run(scorer, tmp_path, Options())


def test_natural_questions(
    scorer: Scorer, scripted: Callable[[dict[str, str]], list[str]], tmp_path: Path
) -> None:
    rows = [
        {"question": "who wrote dracula", "answer": ["Bram Stoker", "Stoker"]},
        {"question": "how many legs has a cat?", "answer": ["four", "4"]},
    ]
    _write_rows(tmp_path / "natural_questions_validation.jsonl", rows)
    scorer.block_size = 1000
    seen = scripted({"dracula?\nA:": " Abraham Stoker", "cat?\nA:": " Four."})
    assert _run("natural_questions", scorer, tmp_path).metrics == {"exact_match": 50.0}
    assert all(prompt.startswith("Q: who wrote the play hamlet?\nA: William") for prompt in seen)


def test_prompts_are_really_continued(scorer: Scorer) -> None:
    texts = prompted.answers(
        scorer, "x", ["the cat", "a", "the dog saw the"], max_new_tokens=5, batch_size=2
    )
    alone = prompted.answers(scorer, "x", ["a"], max_new_tokens=5, batch_size=2)
    assert texts[1] == alone[0]
    assert all(texts)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_missing_data_says_what_to_do(scorer: Scorer, tmp_path: Path, name: str) -> None:
    with pytest.raises(MissingDataError, match=r"has none of .*; put one there"):
        _run(name, scorer, tmp_path)


_CBT_ROW = '{"sentences": ["a"], "options": ["b", "c"], "answer": "b", %s}\n'
_COQA_ROW = '{"questions": ["a"], "answers": ["b"], "story": %s}\n'


@pytest.mark.parametrize(
    ("name", "file", "text", "message"),
    [
        ("lambada", "lambada_test.jsonl", "", "is empty"),
        ("lambada", "lambada_test.jsonl", '{"text": "one"}\n', "line 1: there is no last word"),
        ("wikitext2", "wikitext2_test.raw", "a b c\n" * 9, "9 of 9 lines do not begin and end"),
        ("cbt_cn", "cbt_cn_test.jsonl", _CBT_ROW % '"question": 5', "'question' is int, not text"),
        ("cbt_cn", "cbt_cn_test.jsonl", _CBT_ROW % '"question": "x"', "no XXXXX"),
        ("coqa", "coqa_validation.jsonl", _COQA_ROW % "1", "'story' is int, not text"),
        ("coqa", "coqa_validation.jsonl", _COQA_ROW % '"s", "answers": {}', "not as many answers"),
        ("lambada", "lambada_test.jsonl", '{"txt": "a b"}\n', "line 1 has no key 'text'"),
        ("wikitext2", "wikitext2_test.raw", " \n", "holds no text"),
        ("text8", "text8_test.txt", "", "is empty"),
        ("coqa", "coqa-dev-v1.0.json", "{}", "is not CoQA's JSON"),
    ],
)
def test_bad_data_is_named(
    scorer: Scorer, tmp_path: Path, name: str, file: str, text: str, message: str
) -> None:
    (tmp_path / file).write_text(text)
    with pytest.raises(UserError, match=message):
        _run(name, scorer, tmp_path)


def test_the_hubs_folders_give_one_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the hub's Parquet branch has them: CONFIG/SPLIT/0000.parquet."""
    import datasets

    rows = [WINOGRAD, {**WINOGRAD, "label": 0}]
    for folder, split, some in (
        ("wsc273", "test", rows),
        ("wsc285", "test", rows[:1]),
        ("wsc273", "train", rows[:1]),
    ):
        path = tmp_path / "hub" / folder / split
        path.mkdir(parents=True)
        datasets.Dataset.from_list(some).to_parquet(path / "0000.parquet")
    source = dataclasses.replace(WinogradSchemas().source, hub=str(tmp_path / "hub"))
    assert [row["label"] for _, row in source.rows(None)] == [1, 0]
    assert [row["label"] for _, row in source.rows(None, limit=1)] == [1]
    absent = dataclasses.replace(source, hub=str(tmp_path / "none"))
    with pytest.raises(MissingDataError, match=r"cannot be loaded .* winograd_test.jsonl in it"):
        absent.rows(None)
