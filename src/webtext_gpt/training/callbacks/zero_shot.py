"""Zero-shot benchmarks during training."""

from collections.abc import Sequence

import lightning as L

from webtext_gpt.evaluation.benchmark import Options
from webtext_gpt.evaluation.registry import select_benchmarks
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.paths import local_path
from webtext_gpt.settings import whole_number
from webtext_gpt.training.distributed.gather import whole_model


class ZeroShot(L.Callback):
    """Logs benchmark figures, such as `lambada_accuracy`, every `every` optimizer steps.

    Rank 0 measures while the others wait.

    Args:
        every: optimizer steps between two measurements.
        tasks: names from `webtext_gpt.evaluation.registry`.
        data_dir: folder with the tasks' files; `None` loads them from the hub.
        limit: maximum examples of each task; `None` means all.

    Raises:
        UserError: a task does not exist or, when training starts, its data is missing.
    """

    def __init__(
        self,
        every: int,
        tasks: Sequence[str],
        data_dir: str | None = None,
        limit: int | None = None,
    ) -> None:
        whole_number("callbacks.zero_shot.every", every, least=1)
        self.every = every
        self.benchmarks = select_benchmarks(list(tasks))
        self.data_dir = None if data_dir is None else local_path(data_dir, "data_dir")
        self.limit = limit
        self._measured_step = 0

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Measure one example of each task, so that missing data is reported before training."""
        self._measured_step = trainer.global_step
        self._figures(trainer, pl_module, limit=1)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *args: object
    ) -> None:
        """Measure every `every` steps."""
        step = trainer.global_step
        if step % self.every == 0 and step != self._measured_step:
            self._measured_step = step
            figures = self._figures(trainer, pl_module, self.limit)
            for logger in trainer.loggers:
                logger.log_metrics({"step": float(step), **figures}, step=step)

    def _figures(
        self, trainer: L.Trainer, pl_module: L.LightningModule, limit: int | None
    ) -> dict[str, float]:
        options = Options(limit=limit)
        with (
            whole_model(trainer, pl_module.model) as model,
            trainer.strategy.precision_plugin.forward_context(),
        ):
            if model is None:  # only rank 0 measures
                return {}
            scorer = Scorer(model, pl_module.tokenizer)
            was_training = model.training
            model.eval()
            figures = {
                f"{benchmark.name}_{metric}": value
                for benchmark in self.benchmarks
                for metric, value in benchmark.run(scorer, self.data_dir, options).metrics.items()
            }
            model.train(was_training)
        return figures
