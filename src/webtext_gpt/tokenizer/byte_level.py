"""The two steps of GPT-2's byte-level BPE ahead of its merges: pieces, and their bytes.

GPT-2's pattern splits text into pieces of one character category, each with at most one leading
space. A piece is mapped to its UTF-8 bytes, and bytes are merged only within a piece. Every string
can be encoded, and decoding returns exactly that string (Radford et al. 2019, section 2.2).
"""

import tokenizers
from tokenizers import Regex, decoders, models, pre_tokenizers

GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""GPT-2's pre-tokenization: contractions, letters, numbers, other characters, spaces."""

N_BYTES = 256
_PRINTED = [*range(33, 127), *range(161, 173), *range(174, 256)]
BYTE_OF_LETTER = {chr(byte): byte for byte in _PRINTED} | {
    chr(N_BYTES + n): byte
    for n, byte in enumerate(byte for byte in range(N_BYTES) if byte not in _PRINTED)
}
"""The byte of each letter in the names of byte-level tokens (GPT-2's `bytes_to_unicode`)."""


def byte_level(model: models.Model) -> tokenizers.Tokenizer:
    """Return a tokenizer of the pieces and bytes of a text, with the merges of a model."""
    backend = tokenizers.Tokenizer(model)
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(GPT2_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    return backend
