"""Speed of training: tokens/s, model FLOP/s, their fraction of the peak, and peak memory."""

import resource
import time

import lightning as L
import torch

from webtext_gpt.model import language_model
from webtext_gpt.training.precision import peak_flops


class Throughput(L.Callback):
    """Logs the mean speed since the last log.

    The first step, in which kernels warm up, and the time of validation, samples and checkpoints
    are not counted.
    """

    def __init__(self) -> None:
        self._total_seconds = 0.0
        self._total_tokens = 0
        self._seconds = 0.0  # since the last log
        self._tokens = 0
        self._peak: float | None = None
        self._knows_peak = False
        self._warm = False
        self._last_step = 0
        self._started = 0.0

    @property
    def tokens_per_second(self) -> float | None:
        """Mean speed of the run so far; `None` before the second step."""
        seconds = self._total_seconds + self._seconds
        return (self._total_tokens + self._tokens) / seconds if seconds else None

    def state_dict(self) -> dict[str, float]:
        """Return the time and tokens so far, for a checkpoint."""
        return {
            "seconds": self._total_seconds + self._seconds,
            "tokens": self._total_tokens + self._tokens,
        }

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Restore what `state_dict` returned."""
        self._total_seconds = state_dict["seconds"]
        self._total_tokens = int(state_dict["tokens"])

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note the first step."""
        self._last_step = trainer.global_step
        self._warm = False

    def on_train_batch_start(self, trainer: L.Trainer, *args: object) -> None:
        """Start timing a micro-batch."""
        self._started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *args: object
    ) -> None:
        """Stop timing, and log after every `log_every_n_steps` optimizer steps."""
        stepped = trainer.global_step != self._last_step
        every = trainer.log_every_n_steps
        log_now = stepped and every > 0 and trainer.global_step % every == 0
        if log_now and pl_module.device.type == "cuda":
            torch.cuda.synchronize()
        if self._warm:
            self._seconds += time.perf_counter() - self._started
        if not stepped:
            return
        self._last_step = trainer.global_step
        if self._warm:
            self._tokens += pl_module.tokens_per_step
        self._warm = True
        if log_now and self._seconds:
            self._log(trainer, pl_module)

    def _log(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        speed = self._tokens / self._seconds
        flops = speed * language_model(pl_module.model).config.flops_per_token
        metrics = {"tokens_per_second": speed, "model_tflops": flops / 1e12}
        if not self._knows_peak:  # on CPUs, measuring it takes longer than a first step
            dtypes = {"bf16": torch.bfloat16, "64": torch.float64}
            dtype = dtypes.get(str(trainer.precision).partition("-")[0], torch.float32)
            self._peak = peak_flops(pl_module.device, dtype)
            self._knows_peak = True
        if self._peak:
            metrics["share_of_peak"] = flops / (self._peak * trainer.world_size)
        metrics["peak_memory_gib"] = peak_memory(pl_module.device) / 2**30
        pl_module.log_dict(metrics)
        self._start_window()

    def _start_window(self) -> None:
        self._total_seconds += self._seconds
        self._total_tokens += self._tokens
        self._seconds, self._tokens = 0.0, 0


def peak_memory(device: torch.device) -> int:
    """Return the peak memory so far, in bytes: of the GPU, or on CPUs of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
