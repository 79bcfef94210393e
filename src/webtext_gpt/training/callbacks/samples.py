"""Text sampled from the model during training."""

import re
from pathlib import Path

import lightning as L
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from webtext_gpt.files import write_text
from webtext_gpt.generation import Sampling, complete
from webtext_gpt.training.distributed.gather import whole_model

SAMPLES = "samples.txt"
"""File of the texts in a run's folder."""
STEP = "=== step "
"""Begins the line above a text; the optimizer step follows."""
HEAD = re.compile(rf"^{STEP}(\d+)$", re.MULTILINE)


class Samples(L.Callback):
    """Appends sampled texts to `samples.txt` after every validation.

    Args:
        run_dir: the run's folder.
        prompt: text to continue; an empty prompt starts a new document.
        num_samples: texts per validation.
        max_new_tokens: length of each text.
        temperature: see `webtext_gpt.generation.Sampling`.
        top_k: see `webtext_gpt.generation.Sampling`.
        seed: seed of the sampling, the same at every step so that texts can be compared.
    """

    def __init__(
        self,
        run_dir: str,
        *,
        prompt: str = "",
        num_samples: int = 1,
        max_new_tokens: int = 100,
        temperature: float = 0.8,
        top_k: int | None = 40,
        seed: int = 0,
    ) -> None:
        self.path = Path(run_dir) / SAMPLES
        self.prompt = prompt
        self.num_samples = num_samples
        self.max_new_tokens = max_new_tokens
        self.sampling = Sampling(temperature=temperature, top_k=top_k)
        self.seed = seed
        self.latest: list[str] = []

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Refuse, before training, a prompt that the tokenizer cannot encode."""
        pl_module.tokenizer.encode(self.prompt)

    @rank_zero_only
    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remove samples of validations that are newer than the checkpoint of a resumed run."""
        remove_later_samples(self.path, pl_module.validated_step)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write samples, unless this is Lightning's sanity check before training."""
        if not trainer.sanity_checking:
            self._write(trainer, pl_module)

    def _write(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        with whole_model(trainer, pl_module.model) as model:
            if model is None:  # only rank 0 writes
                return
            continuations = complete(
                model,
                pl_module.tokenizer,
                [self.prompt] * self.num_samples,
                max_new_tokens=self.max_new_tokens,
                sampling=self.sampling,
                seed=self.seed,
            )
        self.latest = [self.prompt + text for text in continuations]
        with self.path.open("a", encoding="utf-8") as stream:
            for text in self.latest:
                stream.write(f"{STEP}{trainer.global_step}\n{text}\n\n")


def remove_later_samples(path: Path, step: int) -> None:
    """Remove from a file of samples, if there is one, those after an optimizer step."""
    if not path.is_file():
        return
    text = path.read_text(encoding="utf-8")
    later = [head.start() for head in HEAD.finditer(text) if int(head[1]) > step]
    if later:
        write_text(path, text[: later[0]])


def last_samples(path: Path) -> tuple[int, list[str]] | None:
    """Return the step of the last samples in a file, and their texts; None if it has none."""
    if not path.is_file():
        return None
    _, *parts = HEAD.split(path.read_text(encoding="utf-8"))
    samples = list(zip(map(int, parts[::2]), parts[1::2], strict=True))
    if not samples:
        return None
    last = samples[-1][0]
    return last, [text.strip() for step, text in samples if step == last]
