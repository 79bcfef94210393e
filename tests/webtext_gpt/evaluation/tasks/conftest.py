"""A model whose completions are scripted."""

from collections.abc import Callable

import pytest

from webtext_gpt.evaluation import prompted


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], list[str]]:
    """`scripted({ending: reply})` makes the model reply by the ending of its prompt.

    It returns a list that collects the prompts.
    """

    def script(replies: dict[str, str]) -> list[str]:
        seen: list[str] = []

        def complete(model, tokenizer, prompts, **settings) -> list[str]:
            seen.extend(prompts)
            return [next(r for end, r in replies.items() if p.endswith(end)) for p in prompts]

        monkeypatch.setattr(prompted, "complete", complete)
        return seen

    return script
