"""Tokenizers: GPT-2's byte-level BPE, and vocabularies of characters and words."""

from webtext_gpt.tokenizer.byte_level import GPT2_PATTERN
from webtext_gpt.tokenizer.gpt2_files import from_gpt2_files, load_gpt2, read_merges
from webtext_gpt.tokenizer.tokenizer import END_OF_TEXT, EncodingError, Tokenizer
from webtext_gpt.tokenizer.training import LONGEST_TRAINED, build_char_vocabulary, train_bpe

__all__ = [
    "END_OF_TEXT",
    "GPT2_PATTERN",
    "LONGEST_TRAINED",
    "EncodingError",
    "Tokenizer",
    "build_char_vocabulary",
    "from_gpt2_files",
    "load_gpt2",
    "read_merges",
    "train_bpe",
]
