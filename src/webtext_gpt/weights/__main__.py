"""Convert a model: `python -m webtext_gpt.weights checkpoint=... out=...`."""

from omegaconf import DictConfig

from webtext_gpt.cli import entry_point


@entry_point("weights", verbatim=["checkpoint", "out", "tokenizer"])
def main(cfg: DictConfig) -> None:
    """Convert a model and print its class, size and vocabulary."""
    from webtext_gpt.weights.convert import convert  # imports torch: not for --help

    written = convert(cfg.checkpoint, cfg.out, cfg.tokenizer, cfg.force)
    parameters = sum(value.numel() for value in written.model.parameters())
    print(
        f"{cfg.out}: {type(written.model).__name__}, {parameters:,} parameters, "
        f"{written.tokenizer.vocab_size:,} token ids"
    )


if __name__ == "__main__":
    main()
