"""Text from a model, one token at a time."""

import torch
from torch import Tensor

from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT
from webtext_gpt.tokenizer import Tokenizer


@torch.inference_mode()
def generate(
    model: GPT,
    tokens: Tensor,
    *,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Sample continuations.

    Args:
        model: in evaluation mode.
        tokens: `(B, T)` prompts, T at least 1; beyond the model's context only the end is seen.
        max_new_tokens: tokens to add.
        temperature: divides the logits; 0 takes the likeliest token.
        top_k: sample among the k likeliest tokens (Fan et al. 2018).
        top_p: sample among the fewest likeliest tokens that together have probability p
            (Holtzman et al. 2020).
        generator: source of randomness.

    Returns:
        `(B, T + max_new_tokens)`, prompts included.

    Raises:
        UserError: a setting is out of range.
    """
    check_sampling(temperature, top_k, top_p)
    for _ in range(max_new_tokens):
        logits = model(tokens[:, -model.config.block_size :])[:, -1].float()
        next_token = _sample(logits, temperature, top_k, top_p, generator)
        tokens = torch.cat((tokens, next_token), dim=1)
    return tokens


def check_sampling(temperature: float, top_k: int | None, top_p: float | None) -> None:
    """Refuse settings that no sampling can follow.

    Raises:
        UserError: names the setting.
    """
    if temperature < 0:
        raise UserError(f"temperature={temperature} must be 0 (likeliest token) or above")
    if top_k is not None and top_k < 1:
        raise UserError(f"top_k={top_k} must be at least 1, or null for no limit")
    if top_p is not None and not 0 < top_p <= 1:
        raise UserError(f"top_p={top_p} must lie above 0 and be at most 1, or null for no limit")


def _sample(
    logits: Tensor,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    generator: torch.Generator | None,
) -> Tensor:
    """One token `(B, 1)` from logits `(B, vocab_size)`."""
    if temperature == 0:
        return logits.argmax(dim=-1, keepdim=True)
    probabilities = truncate(logits / temperature, top_k, top_p).softmax(dim=-1)
    return torch.multinomial(probabilities, num_samples=1, generator=generator)


def truncate(logits: Tensor, top_k: int | None, top_p: float | None) -> Tensor:
    """Logits with -inf for the tokens that top-k, then top-p exclude."""
    if top_k is not None and top_k < logits.size(-1):
        kth = logits.topk(top_k, dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < kth, float("-inf"))
    if top_p is not None and top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True)
        probabilities = ordered.softmax(dim=-1)
        before = probabilities.cumsum(dim=-1) - probabilities  # mass of the likelier tokens
        excluded = (before >= top_p).scatter(-1, order, before >= top_p)
        logits = logits.masked_fill(excluded, float("-inf"))
    return logits


def sample_texts(
    model: GPT,
    tokenizer: Tokenizer,
    prompt: str = "",
    *,
    num_samples: int = 1,
    max_new_tokens: int = 128,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
) -> list[str]:
    """Continuations of a prompt as text, prompt included, each ended at its end-of-text token.

    An empty prompt begins a new document. The rest as `generate`.

    Raises:
        UserError: a setting is out of range, or the prompt has characters that the model lacks.
    """
    device = next(model.parameters()).device
    generator = torch.Generator(device)
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    prompt_ids = [tokenizer.end_of_text, *tokenizer.encode(prompt)]
    tokens = torch.tensor([prompt_ids], device=device).repeat(num_samples, 1)
    generated = generate(
        model,
        tokens,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        generator=generator,
    )
    texts = []
    for row in generated.tolist():
        new = row[len(prompt_ids) :]
        end = new.index(tokenizer.end_of_text) if tokenizer.end_of_text in new else len(new)
        texts.append(tokenizer.decode(row[1 : len(prompt_ids)] + new[:end]))
    return texts
