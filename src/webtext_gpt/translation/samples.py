"""Translations of a few validation sentences during training."""

from collections.abc import Sequence
from pathlib import Path

import lightning as L
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from webtext_gpt.data.pairs import Pair
from webtext_gpt.generation.translate import translate
from webtext_gpt.training.callbacks.samples import SAMPLES, STEP, remove_later_samples
from webtext_gpt.training.distributed.gather import whole_model


class Translations(L.Callback):
    """Appends greedy translations of the first validation pairs to `samples.txt`.

    They are written after every validation, each with its source and the translation of the data.

    Args:
        run_dir: the run's folder.
        pairs: the pairs whose sources are translated.
    """

    def __init__(self, run_dir: Path, pairs: Sequence[Pair]) -> None:
        self.path = run_dir / SAMPLES
        self.pairs = pairs

    @rank_zero_only
    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remove samples of validations that are newer than the checkpoint of a resumed run."""
        remove_later_samples(self.path, pl_module.validated_step)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Translate and write."""
        with whole_model(trainer, pl_module.model) as model:
            if model is None:  # only rank 0 writes
                return
            texts = [pair.source for pair in self.pairs]
            translated = translate(model, pl_module.tokenizer, texts, num_beams=1)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(f"{STEP}{trainer.global_step}\n")
            for pair, text in zip(self.pairs, translated, strict=True):
                stream.write(f"source      {pair.source}\nmodel       {text}\n")
                stream.write(f"reference   {pair.target}\n\n")
