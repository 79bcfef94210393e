# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The Transformer of 2017, statement by statement
#
# "Attention Is All You Need" (Vaswani et al. 2017) describes its model in sections 3 to 6. This page
# goes through them in the paper's order. Each statement is followed by the code that makes it true,
# taken from the package when the page is built, and by a small model that runs it.
#
# This page is `docs/annotated/transformer.ipynb`, run from top to bottom. B is the number of
# sentences, S the length of the longest source, T of the longest target, and C the width of the model
# (d_model in the paper).

# %% tags=["remove_cell"]
import ast
import inspect
import textwrap

from IPython.display import Markdown


def show(part):
    """Show the source of a function without its docstring, and where it is."""
    source = textwrap.dedent(inspect.getsource(part))
    first = ast.parse(source).body[0].body[0]
    lines = source.splitlines()
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        del lines[first.lineno - 1 : first.end_lineno]
    file = "/".join(part.__module__.split(".")[1:]) + ".py"
    return Markdown(
        f"`{part.__qualname__}` in `{file}`:\n\n```python\n" + "\n".join(lines) + "\n```"
    )


# %% [markdown]
# ## The task
#
# The model reads a sequence in one language and writes it in another. Here the languages are Arabic
# and Roman numerals, which a tiny model can learn while this page is built. Characters are its tokens;
# one vocabulary serves both languages, as in section 5.1. `<|endoftext|>` ends each source, and begins
# and ends each target.

# %%
import math

import torch

from webtext_gpt.data.pair_layout import decoder_input, decoder_target, source_ids
from webtext_gpt.tokenizer import build_char_vocabulary

ROMAN = {1000: "M", 900: "CM", 500: "D", 400: "CD", 100: "C", 90: "XC", 50: "L", 40: "XL"}
ROMAN |= {10: "X", 9: "IX", 5: "V", 4: "IV", 1: "I"}


def roman(number):
    written = ""
    for value, letters in ROMAN.items():
        written += letters * (number // value)
        number %= value
    return written


tokenizer = build_char_vocabulary(["0123456789", "IVXLCDM"])
end = tokenizer.end_of_text
for role, ids in (
    ("encoder reads   ", source_ids(tokenizer.encode("42"), end)),
    ("decoder reads   ", decoder_input(tokenizer.encode(roman(42)), end)),
    ("decoder predicts", decoder_target(tokenizer.encode(roman(42)), end)),
):
    print(role, ids)

# %% [markdown]
# ## 3.4 Embeddings and softmax
#
# *One matrix serves as the embedding of both languages and as the output layer; embeddings are
# multiplied by the square root of the width.*

# %%
from webtext_gpt.model.transformer import Transformer, TransformerConfig

config = TransformerConfig(
    n_encoder_layer=2,
    n_decoder_layer=2,
    n_head=2,
    n_embd=48,
    block_size=32,
    vocab_size=tokenizer.vocab_size,
)
torch.manual_seed(0)
model = Transformer(config).eval()
print("output layer and embedding are one:", model.lm_head.weight is model.wte.weight)
print(f"{model.num_parameters:,} parameters")

# %% tags=["source"]
show(Transformer._embedded)

# %% [markdown]
# ## 3.5 Positional encoding
#
# *Nothing in attention knows the order of its inputs, so each position adds a vector to its token's
# embedding: sines and cosines, whose wavelengths grow from 2 pi to 10,000 times 2 pi.*

# %% tags=["source"]
from webtext_gpt.model.gpt import sinusoidal_positions

show(sinusoidal_positions)

# %% [markdown]
# *The encoding of position p + k is a linear function of that of position p.* Each pair of a sine and
# a cosine is rotated, by the same angle for every p:

# %%
table = sinusoidal_positions(64, 8)
k, i = 5, 2  # 5 positions further, in the pair of dimensions 4 and 5
sines, cosines = table[:, 2 * i], table[:, 2 * i + 1]
angle = k / 10_000 ** (2 * i / 8)
moved = sines[:-k] * math.cos(angle) + cosines[:-k] * math.sin(angle)
print("equal:", torch.allclose(moved, sines[k:], atol=1e-6))

# %% [markdown]
# ## 3.2.1 Scaled dot-product attention
#
# *Attention(Q, K, V) = softmax(Q K^T / sqrt(d_k)) V.* Torch computes it without storing the weights:

# %% tags=["source"]
from webtext_gpt.model.gpt import attention

show(attention)

# %%
q, k, v = torch.randn(3, 1, 2, 5, 32)  # batch of 1, 2 heads, 5 positions, 32 values each
weights = (q @ k.transpose(2, 3) / 32**0.5).softmax(dim=-1)  # (1, 2, 5, 5)
print("equal to the formula:", torch.allclose(attention(q, k, v), weights @ v, atol=1e-6))

# %% [markdown]
# ## 3.2.2 Multi-head attention
#
# *Queries, keys and values are projected for each of h heads; the heads attend side by side, and their
# outputs are joined and projected again.* A single matrix holds the projections of all heads.

# %% tags=["source"]
from webtext_gpt.model.gpt import CausalSelfAttention

show(CausalSelfAttention.heads)

# %% tags=["source"]
show(CausalSelfAttention.forward)

# %% [markdown]
# ## 3.1 Encoder
#
# *The encoder is a stack of equal layers; each has self-attention and then a feed-forward network. A
# sub-layer's output is LayerNorm(x + Sublayer(x)).* That is the branch below without `pre_norm`;
# GPT-2's blocks normalize before each sub-layer.

# %% tags=["source"]
from webtext_gpt.model.gpt import Block

show(Block.forward)

# %% [markdown]
# The encoder sees the whole source. Its mask hides only the padding of shorter sentences.

# %% tags=["source"]
show(Transformer.encode)

# %% [markdown]
# A sentence therefore has the same encoding alone as beside a longer one:

# %%
sources = [source_ids(tokenizer.encode(digits), end) for digits in ("42", "1990")]
lengths = torch.tensor([len(ids) for ids in sources])
padded = torch.nn.utils.rnn.pad_sequence([torch.tensor(ids) for ids in sources], batch_first=True)
with torch.no_grad():
    together = model.encode(padded, lengths)
    alone = model.encode(padded[:1, :3], lengths[:1])
print("keys of the first decoder layer, (B, n_head, S, head_dim):", tuple(together.keys[0].shape))
print("equal:", torch.allclose(together.keys[0][:1, :, :3], alone.keys[0], atol=1e-5))

# %% [markdown]
# ## 3.3 Position-wise feed-forward network
#
# *FFN(x) = max(0, x W1 + b1) W2 + b2, with four times the width inside, for each position by itself.*

# %% tags=["source"]
from webtext_gpt.model.gpt import MLP

show(MLP.forward)

# %% [markdown]
# ## 3.2.3 Three uses of attention
#
# *In the encoder, every position attends to all positions of the source. In the decoder, a position
# attends to itself and those before it. Between the two, the decoder's positions attend to the
# encoder's output: queries come from the decoder, keys and values from the encoder.*
#
# A decoder layer has the second and the third use, then the feed-forward network:

# %% tags=["source"]
from webtext_gpt.model.transformer import CrossAttention, DecoderBlock

show(DecoderBlock.forward)

# %% [markdown]
# The keys and values of the source are computed once, however long the translation becomes:

# %% tags=["source"]
show(CrossAttention.keys_and_values)

# %% tags=["source"]
show(CrossAttention.forward)

# %% [markdown]
# *Masking preserves the auto-regressive property:* a later token changes nothing before it.

# %%
targets = torch.tensor([decoder_input(tokenizer.encode(roman(42)), end)])
changed = targets.clone()
changed[0, 3] = tokenizer.encode("V")[0]
with torch.no_grad():
    before, after = (model(padded[:1, :3], lengths[:1], ids) for ids in (targets, changed))
same = [torch.allclose(before[0, t], after[0, t], atol=1e-5) for t in range(targets.size(1))]
print("logits, (B, T, vocab_size):", tuple(before.shape))
print("unchanged positions:", [t for t, is_same in enumerate(same) if is_same])

# %% [markdown]
# ## 5.1 Batches
#
# *Pairs of similar length share a batch, whose size is counted in tokens.*

# %%
import numpy as np

from webtext_gpt.translation.batches import TokenBatches

show(TokenBatches._epoch)

# %%
numbers = np.random.default_rng(0).permutation(np.arange(1, 4000)).tolist()
unseen, seen = numbers[:200], numbers[200:]
encoded = [(source_ids(tokenizer.encode(str(n)), end), tokenizer.encode(roman(n))) for n in seen]
n_source = np.array([len(source) for source, _ in encoded])
n_target = np.array([len(target) + 1 for _, target in encoded])
batches = TokenBatches(n_source, n_target, tokens=384, seed=0)
filled = batches.targets.sum() / sum(
    n_target[rows].max() * len(rows) for rows in map(batches.rows, range(batches.per_epoch))
)
print(f"{batches.per_epoch} batches an epoch; {filled:.0%} of the targets' positions are tokens")

# %% [markdown]
# ## 5.4 Regularization
#
# *Dropout is applied to the output of each sub-layer before it is added, and to the sums of embeddings
# and positions.* It is the `dropout` of the blocks and of `_embedded` above. *Label smoothing of 0.1
# teaches the model to be less sure than its data:*

# %% tags=["source"]
from webtext_gpt.translation.module import summed_loss

show(summed_loss)

# %%
logits, label, e = torch.tensor([[2.0, 0.0, -1.0]]), torch.tensor([0]), 0.1
log_p = logits.log_softmax(dim=-1)[0]
by_hand = -(1 - e) * log_p[0] - e * log_p.mean()
by_torch = torch.nn.functional.cross_entropy(logits, label, label_smoothing=e)
print(f"by hand {by_hand:.4f}, by torch {by_torch:.4f}, without smoothing {-log_p[0]:.4f}")

# %% [markdown]
# ## 5.3 Optimizer
#
# *Adam with betas 0.9 and 0.98; the learning rate is C^-0.5 min(step^-0.5, step warmup^-1.5).*
# `train.py` has the schedule as a factor of the peak, (C warmup)^-0.5:

# %% tags=["source"]
from webtext_gpt.training.schedule import inverse_sqrt

show(inverse_sqrt)

# %%
width, warmup = 512, 4000
for step in (1, 4000, 100_000):
    rate = (width * warmup) ** -0.5 * inverse_sqrt(step - 1, warmup_steps=warmup)
    formula = width**-0.5 * min(step**-0.5, step * warmup**-1.5)
    print(f"step {step:>7,}: {rate:.3e}, by the formula {formula:.3e}")

# %% [markdown]
# Now the model learns. `train.py` does this with checkpoints, devices and validation; the loop itself
# is short. The rate is higher and the warm-up shorter than the paper's, because the model is small.

# %% tags=["measured"]
from webtext_gpt.translation.encoding import PairBatch


def batch_of(rows):
    pairs = [encoded[row] for row in rows]
    pad = torch.nn.utils.rnn.pad_sequence
    return PairBatch(
        source=pad([torch.tensor(source) for source, _ in pairs], batch_first=True),
        lengths=torch.tensor([len(source) for source, _ in pairs]),
        inputs=pad([torch.tensor(decoder_input(t, end)) for _, t in pairs], batch_first=True),
        targets=pad(
            [torch.tensor(decoder_target(t, end)) for _, t in pairs],
            batch_first=True,
            padding_value=-100,
        ),
        weight=torch.tensor(1.0),
    )


model.train()
optimizer = torch.optim.Adam(model.parameters(), lr=4e-3, betas=(0.9, 0.98), eps=1e-9)
schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: inverse_sqrt(n, warmup_steps=100))
for step in range(501):
    batch = batch_of(batches.rows(step))
    n_targets = (batch.targets != -100).sum()
    loss = summed_loss(model, batch, label_smoothing=0.1) / n_targets
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
    if step % 100 == 0:
        print(f"step {step:3}: {loss:.1f} nats a token, smoothing included")

# %% [markdown]
# ## 6.1 Beam search
#
# *Beam search with a length penalty of 0.6; a translation has at most 50 tokens more than its source.*
# A text's score is its log-probability divided by the penalty, so that short texts do not win only
# because they are products of fewer probabilities.

# %% tags=["source"]
from webtext_gpt.generation.translation_beams import length_penalty_of

show(length_penalty_of)

# %% tags=["measured"]
from webtext_gpt.generation.translate import translate

model.eval()
written = translate(model, tokenizer, [str(n) for n in unseen])
right = sum(text == roman(n) for n, text in zip(unseen, written))
print(f"{right} of {len(unseen)} numbers that it has not been trained on are right; for example")
for n, text in [*zip(unseen, written)][:5]:
    print(f"{n} -> {text}")

# %% [markdown]
# ## What it attends to
#
# The paper's figures 3 to 5 show the attention of single heads. The decoder's attention to the source
# shows which digit each Roman letter comes from. Each row is the step that writes a letter:

# %% tags=["measured"]
from webtext_gpt.generation.alignment import alignment

source = "1994"
(target,) = translate(model, tokenizer, [source])
weights = alignment(model, tokenizer, source, target)  # (n_decoder_layer, n_head, T, S)
print("layer 0, mean of its heads, in %")
print("    ", *(f"{mark:>4}" for mark in [*source, "end"]))
for letter, row in zip([*target, "end"], weights[0].mean(dim=0)):
    print(f"{letter:>4} ", *(f"{100 * weight:4.0f}" for weight in row))
