"""Text from a trained model: `python generate.py checkpoint=RUN prompt="..."`."""

from omegaconf import DictConfig

from webtext_gpt.cli import entry_point


@entry_point("generate", verbatim=["prompt", "checkpoint"])
def main(cfg: DictConfig) -> None:
    """Load the model, print its samples."""
    from webtext_gpt.checkpoint import load_model  # imports torch: not for --help
    from webtext_gpt.generation import sample_texts

    model, tokenizer = load_model(cfg.checkpoint)
    texts = sample_texts(
        model,
        tokenizer,
        cfg.prompt,
        num_samples=cfg.num_samples,
        max_new_tokens=cfg.max_new_tokens,
        temperature=cfg.temperature,
        top_k=cfg.top_k,
        top_p=cfg.top_p,
        seed=cfg.seed,
    )
    for number, text in enumerate(texts, start=1):
        if len(texts) > 1:
            print(f"=== sample {number}")
        print(text)


if __name__ == "__main__":
    main()
