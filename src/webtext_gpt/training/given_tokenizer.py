"""Token shards with the tokenizer of the checkpoint that a run starts from."""

from itertools import islice
from pathlib import Path

from webtext_gpt.data.prepare import prepare_shards
from webtext_gpt.data.shards import TokenShards
from webtext_gpt.data.sources import SplitSource, TextSource
from webtext_gpt.errors import UserError
from webtext_gpt.tokenizer import EncodingError, Tokenizer

COMPARED_DOCUMENTS, COMPARED = 100, 1000
"""Number of documents, and of tokens of each, on which two tokenizers are compared."""


def shards_with(
    source: TextSource | SplitSource | TokenShards,
    tokenizer: Tokenizer,
    cache: str | Path,
    checkpoint: str | None,
) -> TokenShards:
    """Return a source as token shards of the given tokenizer, built if the cache lacks them.

    Args:
        source: documents; or token shards, which need only be checked.
        tokenizer: the checkpoint's.
        cache: parent folder of the token shards that are built.
        checkpoint: its name, for messages.

    Raises:
        UserError: the tokenizer cannot encode the text, or is not the one of the shards.
    """
    if isinstance(source, TokenShards):
        _refuse_other_tokenizer(source, tokenizer, checkpoint)
        return source
    if isinstance(source, SplitSource):
        if source.tokenizer.tokens() != tokenizer.tokens():
            raise UserError(
                f"checkpoint={checkpoint} has another vocabulary ({tokenizer.vocab_size:,} ids) "
                f"than this data=, which has its own ({source.tokenizer.vocab_size:,} ids); start "
                "from a model that was trained on such data, or from new weights"
            )
        return prepare_shards(source, source.tokenizer, cache)
    try:
        return prepare_shards(source, tokenizer, cache)
    except EncodingError as error:
        raise UserError(
            f"the tokenizer of checkpoint={checkpoint} cannot encode this text: "
            f"{error}; take such characters out of the text, or start from a model with a "
            "byte-level tokenizer"
        ) from error


def _refuse_other_tokenizer(
    shards: TokenShards, tokenizer: Tokenizer, checkpoint: str | None
) -> None:
    """Refuse shards of another tokenizer than the checkpoint's.

    The same vocabulary is written in several forms, as OpenAI's and Hugging Face's files of GPT-2
    are. Unless the hashes agree, all tokens and the ids of the first documents are compared.

    Raises:
        UserError: names both tokenizers.
    """
    own = shards.tokenizer
    if own.hash == tokenizer.hash:
        return
    documents = shards.split("train").documents()
    ids = [document[:COMPARED].tolist() for document in islice(documents, COMPARED_DOCUMENTS)]
    texts = own.decode_batch(ids)
    same = own.tokens() == tokenizer.tokens() and all(
        ours.tolist() == theirs.tolist()
        for ours, theirs in zip(own.encode_batch(texts), tokenizer.encode_batch(texts), strict=True)
    )
    if not same:
        raise UserError(
            f"the token shards in {shards.folder} were made with another tokenizer "
            f"({own.vocab_size:,} ids, SHA-256 {own.hash[:12]}) than that of "
            f"checkpoint={checkpoint} ({tokenizer.vocab_size:,} ids, {tokenizer.hash[:12]}); "
            "give the text instead (data=files), or build the shards with the checkpoint's "
            "tokenizer"
        )
