r"""Documents to token shards that `train.py data=shards` reads (docs/shards.md).

    python data_prep/shards.py documents=[corpus/dedup] tokenizer=corpus/tokenizer \
        out=corpus/shards

Each file of documents is a unit of work, read and written once by one process. A document is held
out for validation by a hash of its text.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from data_prep.stage import ledger, workers
from data_prep.stage.readers import SUFFIXES, Layout, batches
from data_prep.stage.settings import settings
from data_prep.tokenizer import NAME
from webtext_gpt.cli import entry_point
from webtext_gpt.data.encoding import FastEncoder
from webtext_gpt.data.prepare import held_out
from webtext_gpt.data.shard_writer import SHARD_TOKENS, manifest_of, write_files
from webtext_gpt.data.shards import FORMAT, TOKENIZER, ShardFile, Split
from webtext_gpt.errors import UserError
from webtext_gpt.tokenizer import Tokenizer, load_gpt2

CHECKED = 16
"""Documents of each file whose ids are compared with those of `tokenizers`."""


def build_shards(
    documents: Sequence[str],
    tokenizer: str | Path,
    out: str | Path,
    *,
    val_fraction: float = 0.05,
    shard_tokens: int = SHARD_TOKENS,
    layout: Layout = Layout(),  # noqa: B008 - frozen
    workers_at_once: int | None = None,
) -> dict[str, Any]:
    """Make the shard folder `out` and return its manifest.

    `tokenizer` is a folder or a `tokenizer.json`, or GPT-2's two files in a folder.
    `val_fraction` of the documents are held out (5 % in the paper).

    Raises:
        UserError: documents or a tokenizer that cannot be read; a split without a document;
            `out` that holds something else, or shards of another tokenizer.
    """
    if not 0 < val_fraction < 1 or shard_tokens < 1:
        raise UserError(
            f"val_fraction={val_fraction} must lie between 0 and 1, shard_tokens={shard_tokens} "
            "above 0"
        )
    watch = ledger.Stopwatch()
    paths = ledger.expand(documents, SUFFIXES)
    prints = {path: ledger.fingerprint(path) for path in paths}
    encoder = load_gpt2(tokenizer)
    config = {
        "tokenizer_sha256": encoder.hash, "val_fraction": val_fraction,
        "shard_tokens": shard_tokens, "lines": layout.lines, "text_key": layout.text_key,
    }  # fmt: skip
    folder = Path(tokenizer)
    made_by = ledger.sources([*paths, folder / NAME if folder.is_dir() else folder])
    with ledger.Ledger(
        Path(out), "shards", config, list(prints.values()), sources=made_by, format=FORMAT
    ) as book:
        if book.manifest is None:
            if not FastEncoder(encoder).is_fast:
                print("shards: no byte-level BPE of GPT-2's kind, so `tokenizers` encodes, "
                      "several times slower", flush=True)  # fmt: skip
            todo = [path for path, entry in prints.items() if book.done(entry["xxh3"]) is None]
            todo.sort(key=lambda path: -path.stat().st_size)  # the longest first
            tokenize = partial(
                _tokenize, prints=prints, out=book.out, tokenizer=encoder.to_json(),
                val_fraction=val_fraction, shard_tokens=shard_tokens, layout=layout,
            )  # fmt: skip
            size = sum(path.stat().st_size for path in todo)
            for path, record in workers.each(
                tokenize, todo, workers_at_once, total=size, unit="B", label="tokenizing"
            ):
                book.finish_unit(prints[path]["xxh3"], record)
            _finish(book, encoder, val_fraction, watch)
        assert book.manifest is not None  # noqa: S101 - for the type checker
        return book.manifest


def _tokenize(
    path: Path,
    prints: Mapping[Path, dict[str, Any]],
    out: Path,
    tokenizer: str,
    val_fraction: float,
    shard_tokens: int,
    layout: Layout,
) -> dict[str, Any]:
    """Write the shards of one file of documents, named by its hash until all are there."""
    own, rejected = Tokenizer.from_json(tokenizer), Counter[str]()
    documents = _encoded(path, layout, own, val_fraction, rejected)
    name = prints[path]["xxh3"]
    files = write_files(
        documents, own, out, lambda _: None, prefix=f"{name}-", shard_tokens=shard_tokens
    )
    return {"files": [asdict(file) for file in files], "rejected": dict(rejected)}


def _encoded(
    path: Path, layout: Layout, own: Tokenizer, val_fraction: float, rejected: Counter[str]
) -> Iterator[tuple[Split, str, Any]]:
    encoder, checked = FastEncoder(own), 0
    for batch in batches(path, layout, workers.advance):
        rejected.update(batch.rejected)
        texts = batch.texts.to_pylist()
        found = encoder.encode_batch(texts)
        some = max(CHECKED - checked, 0)
        for ids, due in zip(found[:some], own.encode_batch(texts[:some]), strict=True):
            if not np.array_equal(ids, due):
                raise RuntimeError(f"{path}: the fast encoder's ids differ from the tokenizer's")
        checked += len(texts)
        for text, ids in zip(texts, found, strict=True):
            yield ("validation" if held_out(text, val_fraction) else "train"), text, ids


def _finish(
    book: ledger.Ledger, tokenizer: Tokenizer, val_fraction: float, watch: ledger.Stopwatch
) -> None:
    """Number the files in an order that the inputs' content decides, and write the manifest."""
    records = [book.done(entry["xxh3"]) or {} for entry in book.inputs]
    found = [ShardFile(**file) for record in records for file in record["files"]]
    splits = {file.split for file in found}
    if splits != {"train", "validation"}:
        which = "train" if "train" not in splits else "validation"
        raise UserError(
            f"no document fell into the {which} split: give more documents, or another "
            f"val_fraction than {val_fraction}, and another out"
        )
    numbered = []
    for number, file in enumerate(found):
        new = replace(file, tokens_file=f"tokens-{number:05d}.bin",
                      documents_file=f"documents-{number:05d}.bin")  # fmt: skip
        for old, name in (
            (file.tokens_file, new.tokens_file),
            (file.documents_file, new.documents_file),
        ):
            if (book.out / old).exists():  # else an earlier run came so far
                (book.out / old).replace(book.out / name)
        numbered.append(new)
    with ledger.aside(book.out / TOKENIZER) as temporary:
        tokenizer.save(temporary)
    rejected = sum((Counter(record["rejected"]) for record in records), Counter[str]())
    rows = sum(file.n_documents for file in numbered)
    source = {"kind": "corpus", "val_fraction": val_fraction}
    more = manifest_of(tokenizer, numbered, source)
    del more["format"]  # the ledger writes it
    book.finish(
        rows_in=rows + rejected.total(), rows_out=rows, rejected=rejected, seconds=watch.seconds,
        **more,
    )  # fmt: skip


def print_shards(manifest: Mapping[str, Any]) -> None:
    """Show what a manifest says of its shards."""
    for split in ("train", "validation"):
        files = [file for file in manifest["files"] if file["split"] == split]
        tokens, documents = (sum(f[key] for f in files) for key in ("n_tokens", "n_documents"))
        print(f"shards: {tokens:>16,} tokens of {documents:,} documents, {split}")


def run(cfg: DictConfig) -> dict[str, Any]:
    """Write the shards that a composed configuration asks for. Returns the manifest."""
    options = settings(
        cfg,
        {"documents": list, "tokenizer": str, "val_fraction": float, "shard_tokens": int,
         "lines": bool, "text_key": str},
    )  # fmt: skip
    return build_shards(
        options["documents"],
        options["tokenizer"],
        options["out"],
        val_fraction=options["val_fraction"],
        shard_tokens=options["shard_tokens"],
        layout=Layout(options["lines"], options["text_key"]),
        workers_at_once=options["workers"],
    )


@entry_point("data_prep/shards")
def main(cfg: DictConfig) -> None:
    """Compose the configuration, write the shards, print the counts."""
    manifest = run(cfg)
    print_shards(manifest)


if __name__ == "__main__":
    main()
