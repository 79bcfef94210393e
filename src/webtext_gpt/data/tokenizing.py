"""Token ids of a stream of documents, for `train.py` and for `data_prep/shards.py`.

Documents are read in batches. Threads encode several batches at once, since the compiled loops
release Python's lock; the results come in the order of the documents, whatever the number of
threads. The beginning of the stream is also encoded by `tokenizers`, and the ids are compared.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from webtext_gpt.data.encoding import FastEncoder, Ids, slow_because
from webtext_gpt.data.shards import Split
from webtext_gpt.music.vocabulary import encoding_of
from webtext_gpt.terminal import say
from webtext_gpt.tokenizer import Tokenizer

Batch = list[tuple[Split, str]]

FAST_FROM = 4_000_000
"""Characters below which loading the compiled loops takes longer than they save; also the size of
a batch for `tokenizers`, which encodes the documents of a batch on all cores."""
BATCH = 1_000_000
"""Characters of a batch for the compiled loops, a few hundredths of a second for one thread."""
CHECKED = 100_000
"""Characters at the beginning whose token ids are compared with those of `tokenizers`."""
SLOW = "`tokenizers` encodes, several times slower than possible: {reason}"
"""Note on tokenizing without the compiled loops."""


def tokenized(
    documents: Iterable[tuple[Split, str]],
    tokenizer: Tokenizer,
    threads: int = 1,
    *,
    encoder: FastEncoder | None = None,
) -> Iterator[tuple[Split, str, Ids]]:
    """Yield split, text and token ids of each document.

    Args:
        documents: split and text of each document.
        tokenizer: encodes the documents.
        threads: number of batches that the compiled loops encode at once.
        encoder: an encoder to reuse, for a stream that is one of many. By default one is made if
            there are enough documents.

    Raises:
        UserError: the tokenizer refuses a text.
        RuntimeError: the compiled loops give other ids than `tokenizers`.
    """
    rest = iter(documents)
    first = _batch(rest, FAST_FROM)
    if encoder is None and sum(len(text) for _, text in first) >= FAST_FROM:
        encoder = FastEncoder(tokenizer)
        # Corpora of music are small, so speed does not matter there.
        if (reason := slow_because(tokenizer)) and encoding_of(tokenizer) is None:
            say(SLOW.format(reason=reason), label="note")
    batch = first
    if encoder is None or not encoder.is_fast:
        while batch:
            yield from _with_ids(batch, tokenizer.encode_batch([text for _, text in batch]))
            batch = _batch(rest, FAST_FROM)
        return
    _check(encoder, tokenizer, [text for _, text in first])
    waiting: deque[tuple[Batch, Future[list[Ids]]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            while batch or waiting:
                if batch:
                    texts = [text for _, text in batch]
                    waiting.append((batch, pool.submit(encoder.encode_batch, texts)))
                    batch = _batch(rest, BATCH)
                # One batch more than there are threads: none waits while this one is written.
                if waiting and (not batch or len(waiting) > threads):
                    done, ids = waiting.popleft()
                    yield from _with_ids(done, ids.result())
        finally:
            pool.shutdown(cancel_futures=True)


def _with_ids(batch: Batch, ids: list[Ids]) -> Iterator[tuple[Split, str, Ids]]:
    return ((split, text, i) for (split, text), i in zip(batch, ids, strict=True))


def _batch(documents: Iterator[tuple[Split, str]], characters: int) -> Batch:
    """Take documents up to a number of characters; an empty list at the end."""
    batch: Batch = []
    size = 0
    for split, text in documents:
        batch.append((split, text))
        size += len(text)
        if size >= characters:
            break
    return batch


def _check(encoder: FastEncoder, tokenizer: Tokenizer, texts: list[str]) -> None:
    """Compare the ids of the first characters of some texts."""
    some: list[str] = []
    left = CHECKED
    for text in texts:
        some.append(text[:left])
        left -= len(some[-1])
        if not left:
            break
    for ours, theirs in zip(encoder.encode_batch(some), tokenizer.encode_batch(some), strict=True):
        if not np.array_equal(ours, theirs):
            raise RuntimeError(
                "the compiled loops give other token ids than `tokenizers`; please report the text"
            )
