"""How training is spread over devices."""

from lightning.pytorch.strategies import DDPStrategy


def automatic() -> str:
    """Lightning's choice: one process alone, DDP with several."""
    return "auto"


def ddp(process_group_backend: str | None = None) -> DDPStrategy:
    """Replicas on every device, gradients averaged (NCCL between GPUs, gloo between CPUs).

    Args:
        process_group_backend: `nccl`, `gloo`; `None` takes the device's own.
    """
    # No static_graph: torch 2.13 fails on it when gradients are accumulated.
    return DDPStrategy(process_group_backend=process_group_backend, gradient_as_bucket_view=True)
