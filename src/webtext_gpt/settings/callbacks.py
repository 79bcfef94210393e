"""Settings of the callbacks of training: `callbacks.NAME.KEY`; null leaves a callback out."""

from typing import Annotated, Literal

from webtext_gpt.settings.base import (
    Settings,
    Target,
    keys,
    setting,
)
from webtext_gpt.settings.benchmarks import TASKS
from webtext_gpt.settings.kinds import (
    Number,
    PathText,
    Switch,
    Text,
    Whole,
)

Steps = Whole(1, unit="optimizer steps")


class Throughput(Target):
    """Measures tokens per second and the use of the hardware."""

    target: Literal["webtext_gpt.training.callbacks.throughput.Throughput"] = setting(
        "webtext_gpt.training.callbacks.throughput.Throughput", alias="_target_"
    )


class Samples(Target):
    """`callbacks=default`: writes generated text to samples.txt at every validation."""

    target: Literal["webtext_gpt.training.callbacks.samples.Samples"] = setting(
        "webtext_gpt.training.callbacks.samples.Samples", alias="_target_"
    )
    prompt: Annotated[str, Text(empty=True)] = setting(
        "", "start of each text; empty: a new document"
    )
    num_samples: Annotated[int, Whole(1)] = setting(1, "texts per validation")
    max_new_tokens: Annotated[int, Whole(1, unit="tokens")] = setting(100, "length of a text")
    temperature: Annotated[float, Number(0)] = setting(0.8, "divides the logits; 0: greedy")
    top_k: Annotated[int | None, Whole(1, null="all")] = setting(
        40, "sample from the k most probable tokens"
    )
    seed: Annotated[int, Whole(0, 2**32 - 1)] = setting(0, "seed of the texts")


class Checkpoints(Target):
    """Saves checkpoints, and keeps the best and the newest."""

    target: Literal["webtext_gpt.training.callbacks.checkpoints.Checkpoints"] = setting(
        "webtext_gpt.training.callbacks.checkpoints.Checkpoints", alias="_target_"
    )
    save_every: Annotated[int, Steps] = setting(500, "interval between checkpoints")
    keep_last: Annotated[int, Whole(1)] = setting(
        2, "newest checkpoints to keep; more than one protects against damage"
    )
    keep_every: Annotated[int | None, Whole(1, unit="optimizer steps", null="none")] = setting(
        None, "interval between checkpoints that are kept permanently"
    )
    monitor: Annotated[
        str | None, Text("a metric", null="val_loss; in fine-tuning the first of task.metrics")
    ] = setting(None, "validation metric that chooses the best checkpoint")
    lower_is_better: Annotated[bool | None, Switch(null="known from the metric")] = setting(
        None, "whether a lower value of monitor is better"
    )


class EarlyStopping(Target):
    """`callbacks=finetuning`: ends training when the monitored metric no longer improves."""

    target: Literal["webtext_gpt.training.callbacks.early_stopping.early_stopping"] = setting(
        "webtext_gpt.training.callbacks.early_stopping.early_stopping", alias="_target_"
    )
    patience: Annotated[int | None, Whole(1, unit="validations", null="never end early")] = setting(
        3, "end training after this many validations without a new best"
    )


class LossCurve(Target):
    """Draws loss.png during training, in at most 1 % of the time, and at the end."""

    target: Literal["webtext_gpt.training.callbacks.loss_curve.LossCurve"] = setting(
        "webtext_gpt.training.callbacks.loss_curve.LossCurve", alias="_target_"
    )


class Interrupt(Target):
    """Saves a checkpoint when the run is stopped by a signal."""

    target: Literal["webtext_gpt.training.callbacks.interrupt.GracefulInterrupt"] = setting(
        "webtext_gpt.training.callbacks.interrupt.GracefulInterrupt", alias="_target_"
    )


class Console(Target):
    """Shows the progress bar and a line per validation."""

    target: Literal["webtext_gpt.training.callbacks.console.Console"] = setting(
        "webtext_gpt.training.callbacks.console.Console", alias="_target_"
    )


class ZeroShot(Target):
    """`callbacks=zero_shot`: runs zero-shot benchmarks during training."""

    target: Literal["webtext_gpt.training.callbacks.zero_shot.ZeroShot"] = setting(
        "webtext_gpt.training.callbacks.zero_shot.ZeroShot", alias="_target_"
    )
    every: Annotated[int, Steps] = setting(1000, "interval between evaluations")
    tasks: Annotated[list[str], TASKS] = setting(
        lambda: ["lambada", "wikitext2"], "benchmarks, as in eval.py"
    )
    data_dir: Annotated[str | None, PathText(null="download from the hub")] = setting(
        None, "folder with the benchmarks' files"
    )
    limit: Annotated[int | None, Whole(1, unit="examples", null="all")] = setting(
        500, "examples of each benchmark"
    )


class Callbacks(Settings):
    """Actions during training besides the steps."""

    throughput: Throughput | None = keys(None)
    samples: Samples | None = keys(None)
    checkpoints: Checkpoints | None = keys(None)
    early_stopping: EarlyStopping | None = keys(None)
    loss_curve: LossCurve | None = keys(None)
    interrupt: Interrupt | None = keys(None)
    console: Console | None = keys(None)
    zero_shot: ZeroShot | None = keys(None)
