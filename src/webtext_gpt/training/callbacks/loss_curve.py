"""Plot of the loss over the optimizer steps."""

from pathlib import Path

import lightning as L
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from webtext_gpt.commands import many_imports
from webtext_gpt.files import replaced
from webtext_gpt.model import perplexity
from webtext_gpt.training.metrics import METRICS, read_metrics


class LossCurve(L.Callback):
    """Draws `loss.png` from `metrics.csv` when training ends.

    Args:
        run_dir: the run's folder.
        metric: validation metric, drawn in addition to the validation loss.
    """

    def __init__(self, run_dir: str, metric: str = "val_loss") -> None:
        self.run_dir = Path(run_dir)
        self.metric = metric

    @rank_zero_only
    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw the plot."""
        for logger in trainer.loggers:
            logger.save()
        draw_loss_curve(self.run_dir / METRICS, self.run_dir / "loss.png", self.metric)


def draw_loss_curve(metrics: Path, picture: Path, metric: str = "val_loss") -> None:
    """Plot training and validation loss, in nats, by optimizer step.

    Args:
        metrics: a run's `metrics.csv`.
        picture: the PNG to write.
        metric: column drawn on a second axis, unless it is `val_loss`.
    """
    with many_imports():
        from matplotlib.figure import Figure

    rows = read_metrics(metrics)
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for column, label, style in (
        ("train_loss", "training (each point one global batch)", {"linewidth": 0.8, "alpha": 0.7}),
        ("val_loss", "validation", {"linewidth": 2, "marker": "o", "markersize": 3}),
    ):
        points = [(row["step"], row[column]) for row in rows if column in row]
        if points:
            axes.plot(*zip(*points, strict=True), label=label, **style)
    validated = [row["val_loss"] for row in rows if "val_loss" in row]
    scores = [(row["step"], row[metric]) for row in rows if metric in row]
    if scores and metric != "val_loss":
        name = metric.removeprefix("val_")
        axes.set_title(f"{name} of the validation: {scores[-1][1]:.4f} at the end")
        right = axes.twinx()
        right.set_ylabel(name)
        right.plot(*zip(*scores, strict=True), color="tab:green", marker="s", markersize=3)
        axes.plot([], [], color="tab:green", marker="s", markersize=3, label=name)
    elif validated:
        last = validated[-1]
        axes.set_title(f"validation loss {last:.3f}, perplexity {perplexity(last):.1f}")
    axes.set_xlabel("optimizer steps")
    axes.set_ylabel("loss (nats per token)" if metric == "val_loss" else "loss (nats)")
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend()
    with replaced(picture) as partial:
        figure.savefig(partial, dpi=120, format="png")
