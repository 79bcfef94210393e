"""Generate text from a trained model: `python generate.py checkpoint=RUN prompt="..."`."""

from omegaconf import DictConfig

from webtext_gpt.cli import entry_point
from webtext_gpt.errors import UserError


@entry_point("generate", verbatim=["prompt", "checkpoint", "prompts", "out"])
def main(cfg: DictConfig) -> None:
    """Load a model, and print its continuations or its next-token candidates."""
    from webtext_gpt.checkpoint.load import load_language_model  # imports torch: not for --help
    from webtext_gpt.generation import Sampling, command
    from webtext_gpt.training.precision import place_for_inference

    sampling = Sampling(
        repetition_penalty=cfg.repetition_penalty,
        temperature=cfg.temperature,
        top_k=cfg.top_k,
        top_p=cfg.top_p,
    )
    model, tokenizer = load_language_model(cfg.checkpoint)
    place_for_inference(model, cfg.device, cfg.precision)
    if cfg.next is not None:
        if cfg.prompts is not None:
            raise UserError("next= works with prompt=, not with a file of prompts=")
        command.print_candidates(model, tokenizer, cfg.prompt, n=cfg.next, steps=cfg.steps)
        return
    command.print_samples(
        model,
        tokenizer,
        prompt=cfg.prompt,
        prompts=cfg.prompts,
        out=cfg.out,
        num_samples=cfg.num_samples,
        batch_size=cfg.batch_size,
        seed=cfg.seed,
        stream=cfg.stream,
        settings={
            "max_new_tokens": cfg.max_new_tokens,
            "sampling": sampling,
            "stop": command.stop_strings(cfg.stop),
            "overflow": cfg.overflow,
            "num_beams": cfg.num_beams,
        },
    )


if __name__ == "__main__":
    main()
