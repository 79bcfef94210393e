r"""Documents to token shards that `train.py data=shards` reads (docs/reference/shards.md).

    python data_prep/shards.py documents=[corpus/dedup] tokenizer=corpus/tokenizer \
        out=corpus/shards

Each file of documents is a unit of work, read and written once by one process. A hash of its text
decides whether a document is held out for validation.
"""

if __name__ == "__main__":
    from webtext_gpt.commands import run_script

    run_script("shards")


import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypedDict

from data_prep.settings import Shards
from data_prep.stage import workers
from data_prep.stage.engine import NATIVE, Engine, start_engine
from data_prep.stage.inputs import InputFile, find_inputs
from data_prep.stage.ledger import Ledger
from data_prep.stage.manifest import Manifest, source_manifests
from data_prep.stage.readers import SUFFIXES, Layout, batches
from data_prep.stage.records import Records
from webtext_gpt.cli import Call
from webtext_gpt.data.encoding import FastEncoder, slow_because
from webtext_gpt.data.prepare import held_out
from webtext_gpt.data.rows import plural
from webtext_gpt.data.shard_writer import SHARD_TOKENS, manifest_of, write_files
from webtext_gpt.data.shards import FORMAT, TOKENIZER, ShardFile, Split
from webtext_gpt.data.tokenizing import FAST_FROM, SLOW, tokenized
from webtext_gpt.errors import UserError
from webtext_gpt.files import replaced
from webtext_gpt.machine import cores
from webtext_gpt.paths import place_of
from webtext_gpt.terminal import say
from webtext_gpt.tokenizer import Tokenizer, load_gpt2


class FileRecord(TypedDict):
    """Record of one input: the shards made of it, as fields of `ShardFile`, and rejected rows."""

    files: list[dict[str, Any]]
    rejected: dict[str, int]


def build_shards(
    documents: Sequence[str],
    tokenizer: str | Path,
    out: str | Path,
    *,
    val_fraction: float = 0.05,
    shard_tokens: int = SHARD_TOKENS,
    layout: Layout = Layout(),  # noqa: B008 - frozen
    workers_at_once: int | None = None,
    engine: Engine = NATIVE,
) -> Manifest:
    """Tokenize documents into a folder of shards.

    Args:
        documents: Files, folders or globs of documents.
        tokenizer: Folder, `tokenizer.json`, or folder with GPT-2's two files.
        out: Folder to create.
        val_fraction: Fraction of the documents that is held out for validation; 0.05 in the paper.
        shard_tokens: Number of tokens after which a new file is started.
        layout: Layout of the documents in the files.
        workers_at_once: Number of processes. None means one per core.
        engine: Where the processes run.

    Returns:
        The manifest.

    Raises:
        UserError: Documents or the tokenizer cannot be read, a split has no document, or `out`
            holds something else or shards of another tokenizer.
    """
    if not 0 < val_fraction < 1 or shard_tokens < 1:
        raise UserError(
            f"val_fraction={val_fraction} must lie between 0 and 1, shard_tokens={shard_tokens} "
            "must be at least 1"
        )
    started = time.monotonic()
    files = find_inputs(documents, SUFFIXES, "documents", check_later=True, out=out)
    encoder = load_gpt2(tokenizer, "tokenizer")
    config = {
        "tokenizer_sha256": encoder.hash, "val_fraction": val_fraction,
        "shard_tokens": shard_tokens, "lines": layout.lines, "text_key": layout.text_key,
    }  # fmt: skip
    folder = place_of(tokenizer)
    vocabulary = folder / TOKENIZER if folder.is_dir() else folder
    sources = source_manifests([*(file.path for file in files), vocabulary])
    with Ledger(
        out,
        "shards",
        config,
        files,
        sources=sources,
        format=FORMAT,
        started=started,
        outputs=False,  # it records its own
    ) as ledger:
        if not ledger.finished:
            if reason := slow_because(encoder):
                say(SLOW.format(reason=reason), label="note")
            start_engine(engine, files, ledger.out)
            # Here, cores that are left over encode by threads; Ray gives each task a core.
            at_once = (workers_at_once or cores()) if engine["name"] == "native" else 1
            is_large = sum(file.path.stat().st_size for file in files) >= FAST_FROM
            tokenize = partial(
                _tokenize, out=ledger.out, tokenizer=encoder.to_json(), val_fraction=val_fraction,
                shard_tokens=shard_tokens, layout=layout, threads=max(at_once // len(files), 1),
                is_large=is_large,
            )  # fmt: skip
            records = ledger.run_files(
                tokenize, ledger.inputs, label="tokenizing", workers=workers_at_once, engine=engine
            )
            _finish(ledger, records, encoder, val_fraction)
        return ledger.manifest


def _tokenize(
    file: InputFile,
    out: Path,
    tokenizer: str,
    val_fraction: float,
    shard_tokens: int,
    layout: Layout,
    threads: int,
    is_large: bool,
) -> FileRecord:
    """Write the shards of one file, named by its hash until `_finish` numbers them."""
    own, rejected = _loaded(tokenizer), Counter[str]()
    documents = _documents(file.path, layout, val_fraction, rejected)
    encoded = tokenized(documents, own, threads, encoder=_encoder(own) if is_large else None)
    files = write_files(
        encoded, own, out, lambda _: None, prefix=f"{file.hash}-", shard_tokens=shard_tokens
    )
    return {"files": [asdict(file) for file in files], "rejected": dict(rejected)}


# A process keeps one tokenizer and its encoder for all of its files.
_loaded = lru_cache(maxsize=1)(Tokenizer.from_json)
_encoder = lru_cache(maxsize=1)(FastEncoder)


def _documents(
    path: Path, layout: Layout, val_fraction: float, rejected: Counter[str]
) -> Iterator[tuple[Split, str]]:
    """Yield split and text of each document; count rejected rows."""
    for batch in batches(path, layout, workers.advance):
        rejected.update(batch.rejected)
        for text in batch.texts.to_pylist():
            yield ("validation" if held_out(text, val_fraction) else "train"), text


def _finish(
    ledger: Ledger, records: Records[FileRecord], tokenizer: Tokenizer, val_fraction: float
) -> None:
    """Number the files in the order of the inputs' hashes, and write the manifest."""
    found = [ShardFile(**file) for record in records for file in record["files"]]
    if not found:
        ledger.discard()
        raise UserError(
            f"{ledger.inputs[0].path} and the other files hold no text, so there is nothing to "
            "make shards of; give other documents"
        )
    splits = {file.split for file in found}
    if splits != {"train", "validation"}:
        which = "train" if "train" not in splits else "validation"
        ledger.discard()
        raise UserError(
            f"no document fell into the {which} split: give more documents, or a val_fraction "
            f"other than {val_fraction}"
        )
    numbered = []
    for number, file in enumerate(found):
        new = replace(file, tokens_file=f"tokens-{number:05d}.bin",
                      documents_file=f"documents-{number:05d}.bin")  # fmt: skip
        for old, name in (
            (file.tokens_file, new.tokens_file),
            (file.documents_file, new.documents_file),
        ):
            if (ledger.out / old).exists():  # otherwise a killed run has renamed it already
                (ledger.out / old).replace(ledger.out / name)
        numbered.append(new)
    with replaced(ledger.out / TOKENIZER) as temporary:
        tokenizer.save(temporary)
    rows = sum(file.n_documents for file in numbered)
    more = manifest_of(tokenizer, numbered, {"kind": "corpus", "val_fraction": val_fraction})
    del more["format"]  # the ledger writes it
    ledger.finish(
        rows_in=rows + records.rejected.total(), rows_out=rows, rejected=records.rejected, **more
    )


def print_shards(manifest: Manifest) -> None:
    """Print the tokens and documents of each split."""
    for split in ("train", "validation"):
        files = [file for file in manifest["files"] if file["split"] == split]
        tokens, documents = (sum(f[key] for f in files) for key in ("n_tokens", "n_documents"))
        say(f"{tokens:,} tokens of {plural(documents, 'document')}, {split}", label="shards")


def run(settings: Shards) -> Manifest:
    """Run the stage and return the manifest."""
    return build_shards(
        settings.documents,
        settings.tokenizer,
        settings.out,
        val_fraction=settings.val_fraction,
        shard_tokens=settings.shard_tokens,
        layout=Layout(settings.lines, settings.text_key),
        workers_at_once=settings.workers,
        engine=settings.engine.arguments(),
    )


def main(settings: Shards, call: Call) -> None:
    """Write the shards and print the counts."""
    print_shards(run(settings))
