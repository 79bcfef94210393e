"""What a finished run tells its user."""

from pathlib import Path

from lightning.pytorch.utilities.rank_zero import rank_zero_only

from webtext_gpt.training.summary import Summary


@rank_zero_only
def print_report(run_dir: str, summary: Summary) -> None:
    """The figures, the last sample of text, and what can be done next."""
    samples = Path(run_dir) / "samples.txt"
    if samples.exists():
        print(f"\n--- sample text\n{samples.read_text(encoding='utf-8').split('=== ')[-1].strip()}")
    model = summary["val_bits_per_byte"]
    compressors = {name: summary[f"{name}_bits_per_byte"] for name in ("gzip", "xz")}
    beaten = [name for name, bits in compressors.items() if model < bits]
    print(
        f"\n--- after {summary['step']:,} steps, {summary['tokens']:,} tokens, "
        f"{summary['seconds']:,.0f} s\n"
        f"validation loss   {summary['val_loss']:.4f} nats a token\n"
        f"perplexity        {summary['val_perplexity']:.2f}\n"
        f"bits per byte     {model:.3f}   (gzip -9: {compressors['gzip']:.3f}, "
        f"xz -9: {compressors['xz']:.3f}, of the same text; "
        f"the model beats {' and '.join(beaten) or 'neither yet'})\n"
        f"run               {run_dir}\n"
        f"loss curve        {run_dir}/loss.png\n"
        f"try it            python generate.py checkpoint={run_dir} prompt='The'"
    )
