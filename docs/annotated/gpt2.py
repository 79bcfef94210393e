# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # GPT-2, statement by statement
#
# This page follows a text through GPT-2, from characters to tokens, through the model, and back to
# new text. Each step has three parts: the statement in the paper, the code of this project that
# implements it, and a run of that code on a model small enough to print.
#
# Section 2 of "Language Models are Unsupervised Multitask Learners" (Radford et al. 2019) describes
# GPT-2 in a page and a half, because the model "largely follows" GPT-1, "Improving Language
# Understanding by Generative Pre-Training" (Radford et al. 2018). Statements of both papers are
# given here in our own words, with short quotations, in indented blocks like this one:
#
# > **GPT-2, section 2.3.** GPT-1, with a few modifications.
#
# You need linear algebra and a little Python. Code headed by the name of a function and a file is
# read from `src/webtext_gpt/` when the page is built; some of its branches are for options that
# GPT-2 does not have, and the text says which to skip. All other code was run to make this page,
# which is also a notebook, `docs/annotated/gpt2.ipynb`.
#
# | symbol | meaning | on this page | GPT-2 small |
# |---|---|---|---|
# | B | sequences in a batch | 16 | 512 |
# | T | tokens in a sequence, at most `block_size` | 48 | 1,024 |
# | C | width of the model, `n_embd` | 64 | 768 |
# | V | size of the vocabulary, `vocab_size` | 377 | 50,257 |
# | | blocks, `n_layer` | 2 | 12 |
# | | attention heads in a block, `n_head` | 2 | 12 |

# %% tags=["remove_cell"]
import matplotlib.pyplot as plt

from showing import show

plt.rcParams.update({"figure.dpi": 100, "font.size": 11, "axes.spines.top": False})
plt.rcParams.update({"axes.spines.right": False, "figure.constrained_layout.use": True})

# %% [markdown]
# ## 1. The objective: predict the next token
#
# > **GPT-2, section 2.** The probability of a text is the product of the probabilities of its
# > tokens, each given those before it:
# > $p(x) = \prod_{t} p(x_t \mid x_1, \dots, x_{t-1})$.
# > A task can be written as text, too: question first, answer after it. A model that predicts such
# > text well performs the task, "without the need for explicit supervision of which symbols are the
# > outputs to be predicted".
#
# The second half is the paper's thesis, so the text on this page has a task in it. Each story has
# two sentences, and the last word of the second can be known from the first:

# %%
from stories import split_stories

seen, unseen = split_stories()
print(f"{len(seen):,} stories to learn from, {len(unseen)} kept back; for example")
for text in seen[:3]:
    print(text)

# %% [markdown]
# The stories are all combinations of 12 names, 12 colours and 12 things. No label marks the colour
# as an answer. Section 14 asks the trained model about stories that it has not seen.
#
# ## 2. From text to tokens
#
# > **GPT-2, section 2.2.** Byte-level BPE (byte pair encoding): the base vocabulary is the 256
# > bytes, so that every string can be encoded. Then the most frequent pair of neighbours becomes a
# > new token, again and again. Merges "across character categories" are prevented, with "an
# > exception for spaces".
#
# A regular expression enforces the categories. It cuts a text into pieces before any merge, and
# merges happen only within a piece. Its alternatives are, in order: English contractions, letters,
# numbers, other characters (each of the three with at most one space before), and white space.

# %%
from tokenizers import Regex
from tokenizers.pre_tokenizers import Split

from webtext_gpt.tokenizer import GPT2_PATTERN, train_bpe

print(GPT2_PATTERN)
split = Split(Regex(GPT2_PATTERN), behavior="isolated")
print([piece for piece, _ in split.pre_tokenize_str("Ann's kite is 100% red!!  Yes.")])

# %% [markdown]
# Without this rule, `dog`, `dog.`, `dog!` and `dog?` would each take a place in the vocabulary,
# which is the paper's example. `byte_level` puts the expression and the mapping to bytes before
# the merges. Counting and merging are left to the library `tokenizers`, which is fast enough for a
# whole corpus:

# %% tags=["source"]
from webtext_gpt.tokenizer.byte_level import byte_level

show(byte_level)

# %%
tokenizer = train_bpe(seen, vocab_size=1024)
V = tokenizer.vocab_size
print(
    f"{V} tokens = 256 bytes + {V - 257} merges + <|endoftext|>, whose id is {tokenizer.end_of_text}"
)
print("first merges:", [tokenizer.token_bytes(256 + n).decode() for n in range(12)])

# %% [markdown]
# The first merges are parts of the most frequent words, with the space before them. Merging stops
# here when every piece of the stories is one token, before the requested 1,024. GPT-2's vocabulary
# comes from the same procedure on WebText: 256 bytes + 50,000 merges + `<|endoftext|>` = 50,257.

# %%
for text in (seen[0], "Zoë's naïve 🪁"):
    ids = tokenizer.encode(text)
    print(f"{len(text)} characters, {len(ids)} tokens:", [tokenizer.token_bytes(i) for i in ids])
    print("decoded to the same text:", tokenizer.decode(ids) == text)

# %% [markdown]
# Words that are frequent in the training text are one token. A text with unknown characters needs
# more tokens, down to single bytes, but there is no "unknown" token and nothing is lost.
#
# ## 3. From tokens to training samples
#
# > **GPT-1, section 3.1.** Maximize $L_1 = \sum_i \log P(u_i \mid u_{i-k}, \dots, u_{i-1})$ over
# > the tokens $u_i$ of the corpus; $k$ is the size of the context.
# >
# > **GPT-2, section 2.3.** The context grows from 512 to 1,024 tokens; a batch has 512 sequences.
#
# The documents are joined into one stream, each preceded by `<|endoftext|>`. A training sample is a
# block of T + 1 consecutive tokens at a pseudo-random place. Its first T tokens are the inputs and
# its last T the targets, so the target at each position is the token that follows:

# %% tags=["source"]
from webtext_gpt.data.pretraining import TrainingBlocks

show(TrainingBlocks.__getitem__)

# %%
from pretraining import Stream

blocks = TrainingBlocks(Stream(seen, tokenizer), block_size=48, seed=0)
inputs, targets = blocks[0]
print("inputs", tuple(inputs.shape), "targets", tuple(targets.shape))
for t in range(6):
    print(
        f"position {t}: {tokenizer.decode([inputs[t]])!r:>10} -> {tokenizer.decode([targets[t]])!r}"
    )

# %% [markdown]
# One pass over a block trains T predictions at once, each with a context of another length: 1 token
# at the first position, T at the last. Blocks begin anywhere, also in the middle of a story.
#
# ## 4. The model in one function
#
# > **GPT-1, section 3.1.** $h_0 = U W_e + W_p$, the token embeddings plus the position embeddings;
# > $h_l = \mathrm{block}(h_{l-1})$ for each layer $l$; $P(u) = \mathrm{softmax}(h_n W_e^\top)$.
#
# These three equations are `GPT.hidden_states` and `GPT.forward`. For GPT-2, `table` is the matrix
# $W_p$ of learned position embeddings, `self.wpe.weight`. You can skip `scale_embeddings`,
# `rotary`, `residual_scalars` and `value_embeddings`, which are options of other models, and
# `layout` and `cache`, which section 13 explains.

# %% tags=["source"]
from webtext_gpt.model import GPT

show(GPT.hidden_states, "x = self.wte(tokens)", "hidden: Tensor")

# %%
import torch

from webtext_gpt.model import GPTConfig

config = GPTConfig(
    n_layer=2, n_head=2, n_embd=64, block_size=48, vocab_size=V, init_std=0.02 * (768 / 64) ** 0.5
)
torch.manual_seed(0)
model = GPT(config).eval()

tokens = torch.tensor([[tokenizer.end_of_text, *tokenizer.encode(seen[0])]])
with torch.no_grad():
    embedded = model.wte(tokens) + model.wpe.weight[: tokens.size(1)]
    hidden = model.hidden_states(tokens)
    logits = model(tokens)
print("tokens              (B, T)   ", tuple(tokens.shape))
print("embeddings W_e      (V, C)   ", tuple(model.wte.weight.shape))
print("positions W_p       (T, C)   ", tuple(model.wpe.weight.shape))
print("first states h_0    (B, T, C)", tuple(embedded.shape))
print("last states h_n     (B, T, C)", tuple(hidden.shape))
print("logits              (B, T, V)", tuple(logits.shape))

# %% [markdown]
# The logits at position t are unnormalized log-probabilities of the token at t + 1, one for each of
# the V tokens. The vectors of one position, from $h_0$ to $h_n$, are called its *residual stream*:
# blocks read from it and add to it.
#
# ## 5. Causal self-attention
#
# > **Vaswani et al. 2017, section 3.2.** $\mathrm{Attention}(Q, K, V) = \mathrm{softmax}(Q K^\top /
# > \sqrt{d}) V$, in several heads at once. **GPT-1, section 3.1.** The self-attention is *masked*:
# > a position sees itself and earlier ones.
#
# Attention is the only place where positions exchange information. Each position has a query, a key
# and a value, all linear functions of its state. A query is compared with the keys of the positions
# up to its own; the softmax turns the scores into weights that sum to 1; the output is the mean of
# the values with these weights. One matrix, `c_attn`, makes queries, keys and values of all heads:

# %% tags=["source"]
from webtext_gpt.model.gpt import CausalSelfAttention

show(CausalSelfAttention.heads, "B, T, C =", "q, k, v =")

# %% tags=["source"]
show(CausalSelfAttention.forward, "B, T, C = x.shape")

# %% [markdown]
# `attention` is the formula. PyTorch's `scaled_dot_product_attention` computes it without storing
# the (T, T) matrix of weights. Here it is step by step, for the first block:

# %%
block = model.blocks[0]


def attention_weights(block, x):
    """Return the weights (B, n_head, T, T) of a block for its input (B, T, C)."""
    q, k, _ = block.attn.heads(block.attn.c_attn(block.ln_1(x)))  # each (B, n_head, T, head_dim)
    scores = q @ k.transpose(2, 3) / q.size(-1) ** 0.5
    future = torch.ones_like(scores, dtype=torch.bool).triu(1)
    return scores.masked_fill(future, float("-inf")).softmax(dim=-1)


with torch.no_grad():
    x = block.ln_1(embedded)
    weights = attention_weights(block, embedded)
    _, _, v = block.attn.heads(block.attn.c_attn(x))
    joined = (weights @ v).transpose(1, 2).flatten(2)  # heads side by side: (B, T, C)
    by_hand = block.attn.c_proj(joined)
    print("equal to CausalSelfAttention:", torch.allclose(by_hand, block.attn(x), atol=1e-5))
print("weights of head 0 at the first four positions, in %:")
for row in weights[0, 0, :4, :4]:
    print(*(f"{100 * weight:4.0f}" for weight in row))

# %% [markdown]
# Row t holds the weights of position t. The upper right is 0, since those positions are in the
# future. Before training, the rows are close to a plain mean. The mask is what makes it possible to
# train on all T predictions at once: no prediction can see its own target.

# %%
changed = tokens.clone()
changed[0, 6] = tokenizer.end_of_text
with torch.no_grad():
    differs = (model(changed) - model(tokens)).abs().amax(dim=-1)[0] > 1e-4
print("token 6 changed; logits that differ:", differs.nonzero().flatten().tolist())

# %% [markdown]
# ## 6. The MLP
#
# > **GPT-1, section 4.1.** A position-wise feed-forward network with an inner width of 3,072 = 4 C
# > and the GELU activation.
#
# Each position by itself: to four times the width, an activation, and back. GELU is $x \Phi(x)$,
# where $\Phi$ is the normal distribution function. Both GPTs compute an approximation with tanh.

# %% tags=["source"]
from webtext_gpt.model.gpt import MLP

show(MLP.forward)

# %%
points = torch.tensor([-3.0, -1.0, 0.0, 1.0, 3.0])
inner = (2 / torch.pi) ** 0.5 * (points + 0.044715 * points**3)
print("x      ", *(f"{value:7.3f}" for value in points))
print("formula", *(f"{value:7.3f}" for value in 0.5 * points * (1 + inner.tanh())))
print("model  ", *(f"{value:7.3f}" for value in model.blocks[0].mlp.activation(points)))

# %% [markdown]
# ## 7. The block, normalized at its input
#
# > **GPT-2, section 2.3.** Layer normalization is "moved to the input of each sub-block", and one
# > more is added "after the final self-attention block".
#
# This is the main change from GPT-1, whose branch is the second one. With `pre_norm`, the residual
# stream itself is never normalized: both sub-blocks read a normalized copy and add their output.
# The gradient reaches every block through a chain of plain sums, which keeps deep models trainable.
# The normalization that was added is `ln_f`, at the end of `hidden_states` above.

# %% tags=["source"]
from webtext_gpt.model.gpt import Block

show(Block.forward)

# %% [markdown]
# Layer normalization shifts and scales the C values of each position to mean 0 and variance 1, and
# then applies a trained gain and bias for each value, which start at 1 and 0:

# %%
with torch.no_grad():
    normalized = block.ln_1(embedded)[0, 0]
print(f"mean {normalized.mean().abs():.2f}, variance {normalized.var(unbiased=False):.2f}")

# %% [markdown]
# ## 8. The output layer is the embedding
#
# > **GPT-1, section 3.1.** The logits are $h_n W_e^\top$, with the same matrix $W_e$ that embeds.
#
# The logit of a token is thus the scalar product of the last state and the token's own embedding.
# One tensor has both names, so its gradient is the sum of both uses:

# %%
with torch.no_grad():
    by_hand = hidden @ model.wte.weight.T
print("one tensor:", model.lm_head.weight is model.wte.weight)
print("equal:", torch.allclose(by_hand, logits, atol=1e-5))

# %% [markdown]
# Now every weight is known. A block has $3C^2 + C^2$ for attention and $8C^2$ for the MLP, and
# biases and gains. Counted for the four models of the paper's table 2, whose own totals were too
# low (its first row says 117M):

# %%
from webtext_gpt.model.config import GPT2_VOCAB_SIZE
from webtext_gpt.training.memory import count_parameters

for name, n_layer, n_head, C in (
    ("small", 12, 12, 768),
    ("medium", 24, 16, 1024),
    ("large", 36, 20, 1280),
    ("xl", 48, 25, 1600),
):
    block_weights = 12 * C**2 + 13 * C  # matrices, then biases and gains
    total = (GPT2_VOCAB_SIZE + 1024) * C + n_layer * block_weights + 2 * C
    counted = count_parameters(GPTConfig(n_layer=n_layer, n_head=n_head, n_embd=C))
    print(f"{name:6} {total:13,} by the formula, {counted:13,} in the model")

# %% [markdown]
# ## 9. Initial weights
#
# > **GPT-1, section 4.1.** Weights are drawn from N(0, 0.02). **GPT-2, section 2.3.** The weights
# > of residual layers are scaled "by a factor of $1/\sqrt{N}$ where N is the number of residual
# > layers".
#
# Each block adds to the residual stream twice, so $N = 2\,n_{layer}$. Sums of N independent terms
# grow like $\sqrt{N}$; the factor compensates that. It applies to the last matrix of each
# sub-block, which is called `c_proj` in both:

# %% tags=["source"]
show(GPT.init_weights, "std = self.config.init_std", "nn.init.normal_(module.weight, std=std)")

# %%
import dataclasses

wide = GPTConfig(n_layer=6, n_head=4, n_embd=256, block_size=48, vocab_size=V, init_std=0.035)
print("variance that the blocks have added to the residual stream, without and with the factor")
for n_layer in (6, 12, 24):
    added = []
    for scaled in (False, True):
        torch.manual_seed(0)
        deep = GPT(dataclasses.replace(wide, n_layer=n_layer, scaled_residual_init=scaled))
        with torch.no_grad():
            start = x = deep.wte(tokens) + deep.wpe.weight[: tokens.size(1)]
            for layer in deep.blocks:
                x = layer(x)
        added.append((x - start).var().item())
    print(f"{n_layer:2} blocks: {added[0]:5.2f} {added[1]:6.3f}")

# %% [markdown]
# Without the factor, the variance grows with the depth; with it, it stays about the same. (0.02
# suits a width of 768. For narrower models, this page multiplies it by $\sqrt{768 / C}$, so that
# the sums have the size that they have in GPT-2 small.)
#
# ## 10. The loss
#
# The loss is the mean over positions of $-\ln p(\text{target})$: cross-entropy, in nats per token.
# Minimizing it is maximizing $L_1$ of section 3. Its exponential is the perplexity of the paper's
# tables.

# %% tags=["source"]
from webtext_gpt.model import cross_entropy

show(cross_entropy, "return F.cross_entropy")

# %%
inputs, targets = (torch.stack(part) for part in zip(*(blocks[n] for n in range(16))))
with torch.no_grad():
    loss = cross_entropy(model(inputs), targets)
print("inputs", tuple(inputs.shape))
print(f"loss before training {loss:.1f}; ln V = {torch.tensor(V).log():.1f}")

# %% [markdown]
# An untrained model gives every token about the same probability, 1 / V, and so a loss of about ln
# V. A first loss far from ln V is a sign of an error.
#
# ## 11. Optimizer and learning rate
#
# > **GPT-1, section 4.1.** Adam; the learning rate rises linearly to 2.5e-4 over 2,000 updates,
# > then falls to 0 along a cosine. Weight decay of 0.01 "on all non bias or gain weights". **GPT-2,
# > section 2.3.** The learning rate was tuned by hand, for the perplexity on 5 % of WebText that
# > was held out. No values are given.
#
# The missing values are taken from GPT-3 (Brown et al. 2020, section 2 and appendix B), which is
# the next paper in the series: a peak of 6e-4 for width 768, $\beta = (0.9, 0.95)$, weight decay
# 0.1, and gradients clipped to a norm of 1. Decay is separate from the gradient (AdamW). Matrices
# have two dimensions, biases and gains one, which is how they are told apart:

# %% tags=["source"]
from webtext_gpt.training import optim

show(optim._adamw, "groups: list")

# %% tags=["source"]
from webtext_gpt.training.schedule import cosine

show(cosine)

# %%
for step in (0, 999, 1999, 51_000, 99_999):
    print(
        f"update {step + 1:7,}: {cosine(step, warmup_steps=2000, total_steps=100_000):.4f} of the peak"
    )

# %% [markdown]
# ## 12. Training
#
# All parts are together, and the loop is short. `train.py` runs the same loss and optimizer with
# validation, checkpoints and several devices. This loop is in `docs/annotated/`:

# %% tags=["source"]
from pretraining import train

show(train)

# %% tags=["measured"]
held = torch.tensor([[tokenizer.end_of_text, *tokenizer.encode(text)] for text in unseen])


@torch.no_grad()
def loss_of_unseen():
    return cross_entropy(model.eval()(held[:, :-1]), held[:, 1:]).item()


curve = []
for step, loss in enumerate(train(model, blocks, steps=300)):
    if step % 10 == 0 or step == 299:
        curve.append((step, loss, loss_of_unseen()))
    if step % 50 == 0 or step == 299:
        print(f"step {step:3}: training {loss:.2f}, unseen stories {curve[-1][2]:.2f} nats a token")

# %% [markdown]
# For these stories, the levels on the way down can be computed. A story has 12 tokens; three words
# are chosen from 12 each, and each of them is written twice.
#
# - A model that knows nothing: $\ln V$ at each token, 5.9 nats.
# - A model that knows which words come where, but cannot look back, guesses a word of 12 six times
#   in 12 tokens: $6 \ln 12 / 12 = 1.24$.
# - A model that looks back guesses three times only: $3 \ln 12 / 12 = 0.62$. Nothing can do better.

# %% tags=["measured"] picture="loss" alt="Loss against training step: it falls steeply from 5.9 to a plateau at 1.24 nats, stays there until about step 100, then falls to 0.62"
import math

figure, axes = plt.subplots(figsize=(7, 3.8))
steps, training, validation = zip(*curve)
axes.plot(steps, training, color="#999999", label="training")
axes.plot(steps, validation, color="#0072B2", linewidth=2, label="unseen stories")
for level, text in ((6, "no looking back: 1.24"), (3, "the least possible: 0.62")):
    axes.axhline(level * math.log(12) / 12, color="#D55E00", linestyle=":")
    axes.text(300, level * math.log(12) / 12 + 0.12, text, color="#D55E00", ha="right")
axes.set(xlabel="training step", ylabel="nats per token", ylim=(0, 6.2), xlim=(0, 302))
axes.set_title("The model first learns the words, then to look back", loc="left")
axes.legend(frameon=False)
plt.show()

# %% [markdown]
# The plateau is real: embeddings and MLPs learn the words within a few dozen steps, but copying a
# word needs an attention head that has learned where to look.
#
# ### Where it looks
#
# These are attention weights of the trained model for a story that it has not seen, in the first
# head and in the head that looks at the colour most. Row t shows where position t looks while it
# predicts token t + 1. `is`, third from the bottom, has to predict the colour.

# %% tags=["measured"] picture="attention" alt="Attention weights of two heads, as matrices over the tokens of an unseen story. In the row of the second 'is', one head puts most of its weight on the colour in the first sentence"
story = held[:1]
labels = ["(start)", *(tokenizer.decode([token]).strip() for token in story[0, 1:])]
with torch.no_grad():
    x, every = model.wte(story) + model.wpe.weight[: story.size(1)], []
    for block in model.blocks:
        every.append(attention_weights(block, x)[0])  # (n_head, T, T)
        x = block(x)
question, answer = story.size(1) - 3, 4  # `is`, and the colour in the first sentence
strongest = max(
    ((layer, head) for layer in range(2) for head in range(2)),
    key=lambda place: every[place[0]][place[1], question, answer],
)
figure, panels = plt.subplots(1, 2, figsize=(7, 4.4), sharey=True)
figure.suptitle("To predict the colour, 'is' looks back at it", x=0.01, ha="left")
for panel, (layer, head) in zip(panels, ((0, 0), strongest)):
    panel.imshow(every[layer][head], cmap="Blues", vmin=0, vmax=1)
    panel.set_title(f"block {layer}, head {head}", loc="left", fontsize=11)
    panel.set_xticks(range(len(labels)), labels, rotation=90)
    panel.set_yticks(range(len(labels)), labels)
    panel.tick_params(length=0)
    panel.set_xlabel("position that is looked at")
panels[0].set_ylabel("position that looks")
panels[1].add_patch(
    plt.Rectangle(
        (answer - 0.5, question - 0.5), 1, 1, fill=False, edgecolor="#D55E00", linewidth=2
    )
)
plt.show()
print(f"weight from 'is' to the colour: {every[strongest[0]][strongest[1], question, answer]:.2f}")

# %% [markdown]
# ## 13. Sampling
#
# > **GPT-2, section 3.6 and the released samples.** Top-k random sampling (Fan et al. 2018): the
# > next token is drawn from the k most probable ones, with k = 40 for the samples, and k = 2 for
# > summaries.
#
# Small probabilities of many unlikely tokens add up, and one of them can derail a text. Top-k sets
# them to 0 before the softmax:

# %% tags=["source"]
from webtext_gpt.generation.sampling import Sampling, truncate

show(truncate, "if top_k is not None", "logits = logits.masked_fill(logits < kth")

# %%
from webtext_gpt.generation.decoding import generate

# %% tags=["measured"]
start = [tokenizer.end_of_text]
for new in generate(
    model.eval(), [start] * 4, max_new_tokens=12, sampling=Sampling(top_k=40), seeds=range(4)
):
    text = tokenizer.decode(new)
    print(
        f"{text}   {'a new one' if text in unseen else 'seen' if text in seen else 'not a story'}"
    )

# %% [markdown]
# A sample can go wrong, as one with another colour in its second sentence does: the model still
# gives some probability to other colours, and sampling sometimes draws one.
#
# ### The cache changes nothing
#
# To write token t + 1, attention needs the keys and values of all tokens up to t. They depend on
# earlier tokens only, so those of the text so far never change. `KeyValueCache` keeps them, and
# each step passes a single new token through the model. This is the `cache` of the code above:

# %% tags=["source"]
from webtext_gpt.model import KeyValueCache

show(KeyValueCache.extend)

# %%
prompt = [[tokenizer.end_of_text, *tokenizer.encode("Ann has a")]]
written = [
    generate(model.eval(), prompt, max_new_tokens=40, seeds=[0], use_cache=use_cache)
    for use_cache in (True, False)
]
print("the same 40 tokens:", written[0] == written[1])
first = len(prompt[0])
print(
    f"positions computed: {first + 39} with the cache, {sum(range(first, first + 40)):,} without it"
)

# %% [markdown]
# ## 14. The task in the text
#
# > **GPT-2, section 2 and 3.** Tasks are tested "zero-shot": no weight is changed, the task is
# > given as a text to continue.
#
# The model was trained to predict stories. Cut off before its last word, a story is a question.
# Each of these combinations of name, colour and thing is new to the model:

# %% tags=["measured"]
with torch.no_grad():
    answers = model(held[:, :-2])[:, -1].argmax(dim=-1)
right = (answers == held[:, -2]).sum()
print(
    f"{right} of {len(unseen)} questions about unseen stories are answered correctly; for example"
)
for ids, answer in [*zip(held, answers)][:3]:
    print(f"{tokenizer.decode(ids[1:-2])} ->{tokenizer.decode([answer])}")

# %% [markdown]
# By chance it would be one in 12. GPT-2 does the same with questions, summaries and translations
# that it met in WebText, with far lower scores: its text does not consist of one task, and its
# tasks are harder.
#
# ## 15. The real weights
#
# OpenAI's weights fit this model, because its parts and names are theirs. Hugging Face's folders
# are the common format for them. Here is one, with the tiny model in it:

# %%
import tempfile
from pathlib import Path

from safetensors.torch import load_file

from webtext_gpt.weights import hugging_face

folder = Path(tempfile.mkdtemp()) / "tiny"
hugging_face.save(model, tokenizer, folder)
stored = load_file(folder / "model.safetensors")
for name in ("wte", "wpe", "h.0.attn.c_attn", "h.0.mlp.c_fc", "ln_f"):
    weight = stored[f"transformer.{name}.weight"]
    print(f"transformer.{name + '.weight':24} {tuple(weight.shape)}")

# %% [markdown]
# `c_attn` is stored as (64, 192), inputs first, while `nn.Linear` has (192, 64). OpenAI's code had
# the transpose of what PyTorch uses, and the format kept it. A table translates the names; four
# matrices of each block are transposed:

# %%
from webtext_gpt.weights.gpt2 import NAMES
from webtext_gpt.weights.names import LINEAR

for ours in ("wte.weight", "blocks.{}.attn.c_attn.weight", "blocks.{}.mlp.c_fc.weight"):
    print(f"{ours} -> {NAMES[ours]}")
print("transposed:", *LINEAR)

# %% [markdown]
# Read back, the model is the same. As a check from outside, Hugging Face's own `GPT2LMHeadModel`
# reads the folder and computes the same logits:

# %%
from webtext_gpt.checkpoint.load import load

with torch.no_grad():
    ours = model.eval()(tokens)
    print("read back, equal:", torch.equal(load(folder).model(tokens), ours))

# %% tags=["measured"]
import transformers

theirs = transformers.GPT2LMHeadModel.from_pretrained(folder)
with torch.no_grad():
    difference = (theirs(tokens).logits - ours).abs().max()
print(
    f"largest difference from transformers: {difference:.0e}, within 1e-4: {bool(difference < 1e-4)}"
)

# %% [markdown]
# The name of a model on the hub works in the place of a folder:
#
# ```bash
# python generate.py checkpoint=gpt2 prompt="In a shocking finding," top_k=40
# python train.py
# ```
#
# The first line samples from OpenAI's weights, which it downloads. The second trains a model of 4
# blocks and width 128 on the documentation strings of the installed Python packages.
# [The annotated classifier](annotated_classifier.md) continues from here: it puts a new head on a
# pretrained model. [The annotated Transformer](annotated_transformer.md) is about the
# encoder-decoder of 2017, from which GPT-1 took its blocks.
