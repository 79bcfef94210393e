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
# "Attention Is All You Need" (Vaswani et al. 2017) introduced the Transformer: an encoder that
# reads a sentence and a decoder that writes its translation. This page goes through sections 3 to 6
# of the paper. Its statements are given in our own words, in indented blocks. Each is followed by
# the code of this project that implements it and by a run on a model small enough to print.
#
# Code headed by the name of a function and a file is read from `src/webtext_gpt/` when the page is
# built. All other code was run to make this page, which is also a notebook,
# `docs/annotated/transformer.ipynb`. [The annotated GPT-2](annotated_gpt2.md) treats the decoder
# alone, and in more detail; [translation](../how-to/translation.md) is about training on real
# sentences.
#
# | symbol | meaning |
# |---|---|
# | B | sentences in a batch |
# | S | tokens of the longest source |
# | T | tokens of the longest target |
# | C | width of the model; the paper's $d_{model}$ |

# %% tags=["remove_cell"]
from showing import show

# %% [markdown]
# ## The task
#
# The model reads a sequence in one language and writes it in another. Here the languages are Arabic
# and Roman numerals, which a tiny model can learn while this page is built. Characters are its
# tokens; one vocabulary serves both languages, as in section 5.1. `<|endoftext|>` ends each source,
# and begins and ends each target.

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
# > One matrix is the embedding of both languages and the output layer. Embeddings are multiplied by
# > $\sqrt{C}$.

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
# > Attention does not depend on the order of its inputs, so a vector for the position is added to
# > each token's embedding: $PE(p, 2i) = \sin(p / 10000^{2i/C})$ and $PE(p, 2i + 1)$ the cosine of
# > the same angle. The wavelengths grow from $2\pi$ to $10000 \cdot 2\pi$.

# %% tags=["source"]
from webtext_gpt.model.gpt import sinusoidal_positions

show(sinusoidal_positions)

# %% [markdown]
# > For a fixed offset $k$, the encoding of position $p + k$ is a linear function of that of $p$.
#
# The function is a rotation of each pair of a sine and a cosine, by an angle that depends on $k$
# but not on $p$:

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
# > $\mathrm{Attention}(Q, K, V) = \mathrm{softmax}(Q K^\top / \sqrt{d_k}) V$, with queries Q, keys
# > K and values V of width $d_k$.
#
# PyTorch computes it without storing the weights. (The branch for bf16 on CPUs is only about
# speed.)

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
# > Queries, keys and values are projected once for each head. The heads attend in parallel; their
# > outputs are concatenated and projected again.
#
# A single matrix, `c_attn`, holds the projections of all heads. `values`, `qk_norm` and `rotation`
# are options of later models; `cache` is used in generation.

# %% tags=["source"]
from webtext_gpt.model.gpt import CausalSelfAttention

show(CausalSelfAttention.heads)

# %% tags=["source"]
show(CausalSelfAttention.forward)

# %% [markdown]
# ## 3.1 Encoder
#
# > The encoder is a stack of identical layers. Each has two sub-layers, self-attention and a
# > feed-forward network. The output of a sub-layer is $\mathrm{LayerNorm}(x +
# > \mathrm{Sublayer}(x))$.
#
# This is the second branch. In the first, which GPT-2 uses, each sub-layer normalizes its input.

# %% tags=["source"]
from webtext_gpt.model.gpt import Block

show(Block.forward)

# %% [markdown]
# The encoder sees the whole source. Its mask hides only the padding of shorter sentences.

# %% tags=["source"]
show(Transformer.encode)

# %% [markdown]
# A sentence therefore has the same encoding whether it is alone or in a batch with a longer one:

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
# > $\mathrm{FFN}(x) = \max(0, x W_1 + b_1) W_2 + b_2$, applied to each position separately, with an
# > inner width of 4 C.

# %% tags=["source"]
from webtext_gpt.model.gpt import MLP

show(MLP.forward)

# %% [markdown]
# ## 3.2.3 Three uses of attention
#
# > 1. In the encoder, every position attends to all positions of the source.
# > 2. In the decoder, a position attends to itself and to earlier ones.
# > 3. From decoder to encoder: queries come from the decoder, keys and values from the encoder's
# >    output.
#
# A decoder layer has the second use (`attn`), the third (`cross`), and the feed-forward network:

# %% tags=["source"]
from webtext_gpt.model.transformer import CrossAttention, DecoderBlock

show(DecoderBlock.forward)

# %% [markdown]
# The keys and values of the source are computed once per sentence, not once per written token:

# %% tags=["source"]
show(CrossAttention.keys_and_values)

# %% tags=["source"]
show(CrossAttention.forward)

# %% [markdown]
# > Masking preserves the auto-regressive property: a prediction depends on earlier tokens only.
#
# If one target token is changed, the logits before it stay the same:

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
# > Sentence pairs of similar length are batched together; a batch has about 25,000 tokens of each
# > language.
#
# The pairs are shuffled, sorted by length, and cut into batches of a given number of tokens. The
# order of the batches is random again:

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
# > Dropout is applied to the output of each sub-layer before it is added to its input, and to the
# > sums of embeddings and positions. Label smoothing of 0.1 makes the model less sure, which raises
# > its perplexity but improves its translations.
#
# Dropout is `dropout` in the blocks and in `_embedded` above. With label smoothing $e$, the target
# is the right token with probability $1 - e$, and any token of the vocabulary with probability $e$:

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
# > Adam with $\beta = (0.9, 0.98)$ and $\epsilon = 10^{-9}$. The learning rate is
# > $C^{-0.5} \min(n^{-0.5}, n \, w^{-1.5})$ at step $n$, with $w = 4000$ steps of warm-up.
#
# `train.py` has a schedule as a factor of the peak rate, which is $(C w)^{-0.5}$ here:

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
# All parts are together, and the training loop is short. `train.py experiment=translation` runs the
# same loss with validation, checkpoints and several devices. The learning rate is higher here and
# the warm-up shorter, because the model is small.

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
# > Beam search with a beam of 4 and a length penalty of $\alpha = 0.6$. A translation has at most
# > 50 tokens more than its source.
#
# The log-probability of a text is a sum over its tokens, so a longer text has a lower one. Beam
# search compares texts by their log-probability divided by a penalty that grows with the length:

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
# The paper's figures 3 to 5 show the attention of single heads. The decoder's attention to the
# source shows which digit each Roman letter comes from. Each row is the step that writes a letter:

# %% tags=["measured"]
from webtext_gpt.generation.alignment import alignment

source = "1994"
(target,) = translate(model, tokenizer, [source])
weights = alignment(model, tokenizer, source, target)  # (n_decoder_layer, n_head, T, S)
print("layer 0, mean of its heads, in %")
print("    ", *(f"{mark:>4}" for mark in [*source, "end"]))
for letter, row in zip([*target, "end"], weights[0].mean(dim=0)):
    print(f"{letter:>4} ", *(f"{100 * weight:4.0f}" for weight in row))
