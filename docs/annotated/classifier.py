# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The classification head of GPT-1, statement by statement
#
# A language model becomes a classifier by one more matrix and a short training on labelled texts.
# The recipe is in sections 3.2, 3.3 and 4.1 of "Improving Language Understanding by Generative
# Pre-Training" (Radford et al. 2018), and `finetune.py` follows it for GPT-1 and GPT-2 alike. This
# page goes through the statements of those sections (in indented blocks, in our own words), each
# with the code that implements it and a run on a tiny model.
#
# Code headed by the name of a function and a file is read from `src/webtext_gpt/` when the page is
# built. All other code was run to make this page, which is also a notebook,
# `docs/annotated/classifier.ipynb`. [The annotated GPT-2](annotated_gpt2.md) explains the language
# model itself. B is the number of texts in a batch, T their length in tokens, C the model's width.

# %% tags=["remove_cell"]
import matplotlib.pyplot as plt

from showing import show

plt.rcParams.update({"figure.dpi": 100, "font.size": 11, "axes.spines.top": False})
plt.rcParams.update({"axes.spines.right": False, "figure.constrained_layout.use": True})

# %% [markdown]
# ## 1. Much text, few labels
#
# > **Section 1.** Unlabelled text is abundant and labelled data is scarce. Learn from the text
# > first, then adapt to the task "with minimal changes to the model architecture".
#
# The unlabelled text on this page is made up: what guests thought of a dish, and what they did
# then. There are 12 words of praise and 12 of blame. No label says which is which, but guests who
# praise ask for more, and guests who blame ask for a refund:

# %%
from reviews import BLAME, PRAISE, labelled, reviews

unlabelled = reviews()
print(f"{len(unlabelled):,} unlabelled texts, for example")
for text in unlabelled[:4]:
    print(text)

# %% [markdown]
# The task is to classify an opinion, without what the guest did, as praise or blame. Labels exist
# for 4 words of each kind only. The test consists of opinions with the other 8 words of each, which
# never have a label:

# %%
training, test = labelled(slice(0, 4))[:512], labelled(slice(4, None))[:400]
print("words with labels:", *PRAISE[:4], "|", *BLAME[:4])
print("words in the test:", *PRAISE[4:], "|", *BLAME[4:])
print(f"{len(training)} labelled texts, {len(test)} test texts, for example")
for text, label in training[:2]:
    print(f"{label}: {text}")

# %% [markdown]
# ## 2. Unsupervised pre-training
#
# > **Section 3.1.** Train a language model: maximize
# > $L_1 = \sum_i \log P(u_i \mid u_{i-k}, \dots, u_{i-1})$.
#
# This is the loop of the annotated GPT-2, on the unlabelled texts:

# %%
import torch

from pretraining import Stream
from webtext_gpt.data.pretraining import TrainingBlocks
from webtext_gpt.model import GPT, GPTConfig
from webtext_gpt.tokenizer import train_bpe

text_tokenizer = train_bpe(unlabelled, vocab_size=1024)
config = GPTConfig(
    n_layer=2,
    n_head=2,
    n_embd=64,
    block_size=48,
    vocab_size=text_tokenizer.vocab_size,
    init_std=0.07,
)
torch.manual_seed(0)
pretrained = GPT(config)
print(f"{pretrained.num_parameters:,} parameters, {config.vocab_size} tokens")

# %% tags=["measured"]
from pretraining import train

blocks = TrainingBlocks(Stream(unlabelled, text_tokenizer), block_size=48, seed=0)
for step, loss in enumerate(train(pretrained, blocks, steps=400)):
    if step % 100 == 0 or step == 399:
        print(f"step {step:3}: {loss:.2f} nats a token")

# %% [markdown]
# ## 3. Input transformations (section 3.3)
#
# > **Section 3.3 and figure 1.** Structured inputs become one sequence of tokens, so that the model
# > needs no parts of its own for each task. Every sequence has a start token and an end token; two
# > texts have a delimiter between them.
#
# | task | sequence |
# |---|---|
# | classification | start, text, extract |
# | entailment | start, premise, delimiter, hypothesis, extract |
# | similarity | both orders of the two texts, each as above; the two states are added |
#
# (The paper has a fourth, multiple choice: one sequence for each answer. Here, such tasks are
# scored without fine-tuning.) The end token is called *extract*, because the classifier reads the
# state there. `add_head` adds the extract and delimiter tokens to the vocabulary. The start token
# is `<|endoftext|>`, which the model knows from pretraining as the beginning of a document.

# %% tags=["source"]
from webtext_gpt.finetuning.model import add_head

show(add_head)

# %% [markdown]
# A new token needs a row in the embedding matrix. It begins near the mean of all rows, with some
# noise added, so that the new tokens are unlikely as predictions, and the others nearly as likely
# as before.

# %% tags=["source"]
from webtext_gpt.finetuning.data.sequences import encode_texts

show(encode_texts, "start, delimiter, extract = (", "return Sequences")

# %%
import copy


def classifier_of(body, **options):
    """Return a classifier on a copy of a language model, and its tokenizer."""
    torch.manual_seed(0)
    options = {"pairs": False, "both_orders": False, "dropout": 0.1} | options
    return add_head(copy.deepcopy(body), text_tokenizer, ("praise", "blame"), **options)


def printed(tokenizer, ids):
    return " ".join(tokenizer.decode([token]).strip() for token in ids)


model, tokenizer = classifier_of(pretrained)
(one,) = encode_texts(tokenizer, model.config, 48, [training[0][0]]).tokens
print("classification:", printed(tokenizer, one))

pair_model, pair_tokenizer = classifier_of(pretrained, pairs=True, both_orders=True)
(two,) = encode_texts(pair_tokenizer, pair_model.config, 48, ["Ann left"], ["Ben smiled"]).tokens
print("similarity, ids", two.shape)
for order in two:
    print("   ", printed(pair_tokenizer, order))

# %% [markdown]
# ## 4. The head (section 3.2)
#
# > **Section 3.2.** The final block's activation at the last token, $h_l^m$, is fed into an added
# > linear layer: $P(y \mid x^1, \dots, x^m) = \mathrm{softmax}(h_l^m W_y)$.
#
# The last token is the right one to read, because attention is causal: its state is the only one
# that has seen the whole text.

# %% tags=["source"]
from webtext_gpt.model import GPTClassifier

show(GPTClassifier.forward)

# %% tags=["source"]
show(GPTClassifier.extract_states)

# %% tags=["source"]
show(GPTClassifier.classify)

# %% [markdown]
# Shorter texts of a batch are padded on the right, after their extract token. Since no position
# looks to the right, padding changes nothing:

# %%
from webtext_gpt.finetuning.data.sequences import pad_right

texts = ["Ann found the soup tasty", "Ben found the cake stale and sent it back"]
sequences = encode_texts(tokenizer, model.config, 48, texts).tokens
tokens, lengths = pad_right(sequences, pad=model.config.pad_token_id)
with torch.no_grad():
    hidden = model.eval().hidden_states(tokens)
    states = model.extract_states(hidden, tokens, lengths)
    logits = model.classify(states)
    alone = model(tokens[:1, : lengths[0]], lengths[:1])
print("tokens       (B, T)       ", tuple(tokens.shape), "lengths", lengths.tolist())
print("hidden       (B, T, C)    ", tuple(hidden.shape))
print("last states  (B, C)       ", tuple(states.shape))
print("logits       (B, n_labels)", tuple(logits.shape))
print("the same without padding:", torch.allclose(logits[:1], alone, atol=1e-5))

# %% [markdown]
# ## 5. The loss: labels and language (section 3.2)
#
# > **Section 3.2.** Maximize $L_2 = \sum_{(x, y)} \log P(y \mid x^1, \dots, x^m)$. Language
# > modelling as an auxiliary objective improves generalization and speeds up convergence: $L_3 =
# > L_2 + \lambda L_1$. **Section 4.1.** $\lambda = 0.5$.
#
# The program minimizes, so its losses have the opposite sign, and are means. One pass through the
# body serves both: the last state goes to the head, and all states go to the output layer of the
# language model, which predicts the next token of the labelled text.

# %% tags=["source"]
from webtext_gpt.finetuning.classification import ClassificationModule

show(ClassificationModule.__init__, "def loss(", "return loss_of_labels + lm_weight")

# %% tags=["source"]
from webtext_gpt.finetuning.module import text_losses

show(text_losses)

# %%
from webtext_gpt.finetuning.classification import label_loss
from webtext_gpt.finetuning.module import mean_text_loss


def losses(model, tokens, lengths, targets):
    """Return the loss of the labels and that of the language, in nats."""
    hidden = model.hidden_states(tokens)
    logits = model.classify(model.extract_states(hidden, tokens, lengths))
    starts = torch.ones_like(lengths)  # the start token is given, not predicted
    language = mean_text_loss(model.body.lm_head, hidden, tokens, lengths, starts)
    return label_loss(logits, targets, None), language


# %% tags=["measured"]
with torch.no_grad():
    of_labels, of_language = losses(model, tokens, lengths, torch.tensor([0, 1]))
print(f"before fine-tuning: labels {of_labels:.2f} (ln 2 = 0.69), language {of_language:.2f}")

# %% [markdown]
# ## 6. What is trained
#
# > **Section 3.2.** The only new parameters are $W_y$ and the embeddings of the delimiter tokens.
# > **Section 4.1.** Dropout of 0.1 on the classifier; otherwise the settings of pre-training.
#
# All weights are trained, old and new. The head has no bias. `dropout` in `classify` sets a tenth
# of the values of the last state to 0, at random, in training only. `finetune.py layers=1` trains
# the last block and the head alone, and `layers=0` the head; the rows of the new tokens are trained
# in any case.

# %% tags=["source"]
from webtext_gpt.finetuning.model import choose_trained, freeze

show(freeze, "body.requires_grad_(False)")

# %%
print("head W_y:", tuple(model.head.weight.shape))
print("new rows in the embedding:", model.body.config.vocab_size - config.vocab_size)
for layers in ("all", 1, 0):
    partly, _ = classifier_of(pretrained)
    choose_trained(partly, layers, lora=None, lm_weight=0.5)
    trained = sum(p.numel() for p in partly.parameters() if p.requires_grad)
    print(f"layers={layers}: {trained:,} trained parameters")

# %% [markdown]
# ## 7. Fine-tuning
#
# > **Section 4.1.** Learning rate 6.25e-5, batches of 32, 3 epochs. The rate decays linearly, after
# > a warm-up over 0.2 % of the training.
#
# 6.25e-5 is for width 768. The project's default for other widths is 6.25e-5 $(768 / C)^{1.5}$,
# which is 2.6e-3 here. The runs below take 1e-3, and one of them the default. The schedule is
# `linear`:

# %% tags=["source"]
from webtext_gpt.training.schedule import linear

show(linear)

# %%
from functools import partial

from webtext_gpt.training.optim import adamw, default_lr

LABELS = ("praise", "blame")


def batch_of(tokenizer, model, rows):
    """Return tokens (B, T), lengths (B,) and class numbers (B,) of labelled texts."""
    sequences = encode_texts(tokenizer, model.config, 48, [text for text, _ in rows]).tokens
    tokens, lengths = pad_right(sequences, pad=model.config.pad_token_id)
    return tokens, lengths, torch.tensor([LABELS.index(label) for _, label in rows])


@torch.no_grad()
def accuracy(model, tokens, lengths, targets):
    return (model.eval()(tokens, lengths).argmax(dim=1) == targets).float().mean().item()


def finetune(body, lm_weight=0.5, lr=1e-3, epochs=3, batch_size=32):
    """Return a classifier, its tokenizer, and its test accuracy after each step."""
    model, tokenizer = classifier_of(body)
    starts = range(0, len(training), batch_size)
    optimizer = adamw(model, lr=lr, betas=(0.9, 0.999), weight_decay=0.01)
    rate = partial(linear, total_steps=epochs * len(starts), warmup_ratio=0.002)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    examples = batch_of(tokenizer, model, test)
    accuracies = [accuracy(model, *examples)]
    for start in [*starts] * epochs:
        rows = training[start : start + batch_size]
        of_labels, of_language = losses(model.train(), *batch_of(tokenizer, model, rows))
        optimizer.zero_grad()
        (of_labels + lm_weight * of_language).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        accuracies.append(accuracy(model, *examples))
    return model, tokenizer, accuracies


print(f"default learning rate for width 64: {default_lr(64, 6.25e-5):.1e}")

# %% [markdown]
# Four runs: as described, without the auxiliary objective, on a model that was not pretrained, and
# with the higher learning rate.

# %% tags=["measured"]
torch.manual_seed(1)
runs = {}
for name, body, lm_weight, lr in (
    ("pretrained", pretrained, 0.5, 1e-3),
    ("pretrained, labels only", pretrained, 0.0, 1e-3),
    ("not pretrained", GPT(config), 0.5, 1e-3),
    ("pretrained, rate 2.6e-3", pretrained, 0.5, 2.6e-3),
):
    fitted, fitted_tokenizer, accuracies = finetune(body, lm_weight, lr)
    runs[name] = fitted, accuracies
    on_training = accuracy(fitted, *batch_of(fitted_tokenizer, fitted, training))
    print(f"{name + ':':24} {accuracies[-1]:4.0%} of the test, {on_training:4.0%} of the training")

# %% tags=["measured"] picture="accuracy" alt="Test accuracy against fine-tuning step: the pretrained models rise from about one half to 100 %; the model that was not pretrained stays at chance"
figure, axes = plt.subplots(figsize=(7, 3.6))
for (name, (_, accuracies)), colour in zip(
    runs.items(), ("#0072B2", "#56B4E9", "#D55E00", "#009E73")
):
    axes.plot([100 * value for value in accuracies], color=colour, linewidth=2, label=name)
axes.axhline(50, color="#767676", linestyle=":")
axes.text(47.5, 51, "chance", color="#767676", ha="right")
axes.set(xlabel="fine-tuning step", ylabel="test accuracy in %", ylim=(0, 104), xlim=(0, 48))
axes.set_title("Words that never had a label: only the pretrained model knows them", loc="left")
axes.legend(frameon=False, loc="lower right")
plt.show()

# %% [markdown]
# All of them fit the training texts. The words of the test had no label, so only a model that has
# read about them can classify them. In pretraining, `rotten` was followed by the same reactions as
# `awful`. To predict them, the model had to represent the two words alike; a few labels then name
# the two groups. This is how fine-tuning works with little data, in its simplest case: one cannot
# tell from labels alone that a word which they do not contain is bad.
#
# The auxiliary objective does not help here, and the high learning rate does harm with it, probably
# since the labelled texts contain 8 of the 24 words, and a language model that is trained on them
# alone unlearns the other 16. The paper found that the objective helps with larger datasets and not
# with smaller ones (section 5). `lm_weight=0` turns it off.
#
# ## 8. Classifying a new text
#
# `TextClassifier` encodes texts, groups them by length and returns logits. The second text has more
# than an opinion in it, and none of its words of blame had a label:

# %% tags=["measured"]
from webtext_gpt.finetuning.predict import TextClassifier

model, _ = runs["pretrained"]
classifier = TextClassifier(model.eval(), tokenizer)
new = ["Kim found the curry tender", "Leo found the pizza soggy and Ida found the stew watery"]
for text, probabilities in zip(new, classifier.logits(new).softmax(dim=1).tolist()):
    label, probability = max(zip(classifier.labels, probabilities), key=lambda pair: pair[1])
    print(f"{label} ({probability:.0%}): {text}")

# %% [markdown]
# ## The same by one command
#
# `finetune.py` does all of this for files and datasets of your own, with validation, metrics,
# several seeds and devices. Labels are any column of a CSV:
#
# ```bash
# python finetune.py checkpoint=gpt2 task=file task.train=reviews.csv task.text=review task.label=opinion run_dir=my_classifier
# python finetune.py checkpoint=my_classifier predict=new.csv out=labels.csv
# ```
