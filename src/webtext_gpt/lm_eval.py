"""Adapter that runs our models in EleutherAI's lm-evaluation-harness.

`webtext-gpt lm-eval --model webtext_gpt --model_args checkpoint=RUN --tasks ...`, or in a checkout
`python -m webtext_gpt.lm_eval ...`, takes every argument of `lm_eval`. The harness has no option to
load a model class from another package, so this module registers ours and then calls the harness's
command line.
"""

if __name__ == "__main__":  # before the imports below fail
    from webtext_gpt.extras import require

    require("lm-eval")

import math
import os
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model

from webtext_gpt.checkpoint.load import load_language_model
from webtext_gpt.cli import clear_errors
from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import errors_at
from webtext_gpt.evaluation.prompted import cut_beginning, room_for_prompt
from webtext_gpt.evaluation.scoring import Scorer, Window
from webtext_gpt.generation import complete
from webtext_gpt.lm_eval_generation import generation_settings
from webtext_gpt.lm_eval_tasks import MODEL, KeepFinished
from webtext_gpt.progress import progress_bar
from webtext_gpt.training.precision import place_for_inference

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance


@register_model(MODEL)
class WebtextGPT(TemplateLM):
    """Answers the harness's requests with `Scorer` and `complete`.

    Args:
        checkpoint: anything that `webtext_gpt.checkpoint.load.load` reads, as a language model.
        device: `auto`, `cpu`, `cuda`, ...
        precision: `fp32`, `bf16` or `auto`.
        batch_size: prompts completed at once. Scoring is batched by tokens instead.
        batch_tokens: tokens scored at once.
        max_batch_size: part of the harness's interface; ignored.

    Raises:
        UserError: the model cannot be loaded, or an argument is out of range.
    """

    def __init__(
        self,
        checkpoint: str,
        device: str = "auto",
        precision: str = "fp32",
        batch_size: int | str = 8,
        batch_tokens: int = 8192,
        max_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        model, self._tokenizer = load_language_model(checkpoint)
        if not torch.cuda.is_available() and device.startswith("cuda"):
            device = "cpu"  # the harness's default is cuda:0
        place_for_inference(model, device, precision)
        # The harness scores long texts in windows that do not overlap.
        stride = model.config.block_size
        self.scorer = Scorer(model, self._tokenizer, int(batch_tokens), stride)
        self.batch_size = 8 if str(batch_size).startswith("auto") else int(batch_size)

    @property
    def eot_token_id(self) -> int:
        """Id of the end-of-text token, which precedes a document."""
        return self._tokenizer.end_of_text

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **kwargs: Any
    ) -> list[int]:
        """Return token ids. No special tokens are added; `add_special_tokens` is ignored."""
        return self._tokenizer.encode(string)

    def _loglikelihood_tokens(
        self,
        requests: list[tuple[tuple[str, str], list[int], list[int]]],
        disable_tqdm: bool = False,
        **kwargs: Any,
    ) -> list[tuple[float, bool]]:
        longest = self.scorer.block_size
        windows = []
        for (_, text), context, continuation in requests:
            if not 0 < len(continuation) <= longest:
                raise UserError(
                    f"a text of {len(continuation)} tokens cannot be scored by a model with a "
                    f"context of {longest}: {text[:60]!r}"
                )
            tokens = [*context, *continuation][-(longest + 1) :]
            windows.append(Window(tokens, len(continuation)))
        with progress_bar("scoring", total=len(windows), disable=disable_tqdm) as bar:
            scores = self.scorer.score(windows, progress=bar.update)
        return [
            (
                math.fsum(score.log_probabilities.tolist()),
                score.likeliest.tolist() == list(window.tokens[-window.scored :]),
            )
            for score, window in zip(scores, windows, strict=True)
        ]

    def loglikelihood_rolling(
        self, requests: list["Instance"], disable_tqdm: bool = False
    ) -> list[float]:
        """Return the log-probability of each text, in nats, using non-overlapping windows."""
        totals = []
        for request in progress_bar("scoring texts", iterable=requests, disable=disable_tqdm):
            total, _ = self.scorer.total(self.scorer.sliding_windows(request.args[0]))
            totals.append(total)
        return totals

    def generate_until(self, requests: list["Instance"], disable_tqdm: bool = False) -> list[str]:
        """Return a completion of each context, greedy unless the task asks for sampling or beams.

        Raises:
            UserError: a request's settings are not supported; no request has been answered.
        """
        groups = [list(group) for _, group in groupby(requests, key=lambda r: repr(r.args[1]))]
        rows = []  # one for requests with the same settings, one after another
        for group in groups:
            with errors_at(f"task {group[0].task_name}"):
                settings = generation_settings(group[0].args[1])
                rows.append(
                    (group, settings, room_for_prompt(self.scorer, settings["max_new_tokens"]))
                )
        texts = []
        with progress_bar("generating", total=len(requests), disable=disable_tqdm) as bar:
            for group, settings, room in rows:
                prompts = [cut_beginning(self._tokenizer, r.args[0], room) for r in group]
                for start in range(0, len(prompts), self.batch_size):
                    batch = prompts[start : start + self.batch_size]
                    seed = None if settings["num_beams"] > 1 else start
                    model = self.scorer.model
                    written = complete(model, self._tokenizer, batch, seed=seed, **settings)
                    for request, text in zip(group[start:], written, strict=False):
                        self.cache_hook.add_partial("generate_until", request.args, text)
                    texts += written
                    bar.update(len(batch))
        return texts


def main() -> None:
    """Run the harness's command line with our model registered."""
    # The harness estimates standard errors in forked processes. A fork of a process with threads,
    # such as PyTorch's, can hang; one process draws the same samples in its stead.
    os.environ.setdefault("DISABLE_MULTIPROC", "1")
    import lm_eval
    from lm_eval.__main__ import cli_evaluate

    evaluate = lm_eval.simple_evaluate
    keeper = KeepFinished(evaluate)
    with clear_errors():
        try:
            lm_eval.simple_evaluate = keeper  # the command line looks it up when it runs
            cli_evaluate()
            keeper.raise_failures()
        except SystemExit as end:
            if end.code == 2:  # the harness has printed its own message
                raise UserError(
                    "the harness does not take these arguments; --help lists those it takes"
                ) from None
            raise
        finally:
            lm_eval.simple_evaluate = evaluate


if __name__ == "__main__":
    main()
