"""Models from one format to another: `python -m webtext_gpt.weights checkpoint=... out=...`."""

from omegaconf import DictConfig

from webtext_gpt.cli import entry_point


@entry_point("weights", verbatim=["checkpoint", "out", "tokenizer"])
def main(cfg: DictConfig) -> None:
    """Convert, then say what was written."""
    from webtext_gpt.weights.convert import convert  # imports torch: not for --help

    model, tokenizer = convert(cfg.checkpoint, cfg.out, cfg.tokenizer, cfg.force)
    parameters = sum(value.numel() for value in model.parameters())
    print(
        f"{cfg.out}: {type(model).__name__}, {parameters:,} parameters, "
        f"{tokenizer.vocab_size:,} token ids"
    )


if __name__ == "__main__":
    main()
