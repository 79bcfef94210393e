"""The task `translation`: a translation model on a test set of sentences and their translations.

The test set is two files of lines, which `source=` and `reference=` name, or the files of `SOURCE`
in `data_dir`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from webtext_gpt.data.rows import Row, text_value
from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Benchmark, Measurement, Options
from webtext_gpt.evaluation.data_source import DataSource, Original
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.evaluation.tasks.translation import paired_sentences
from webtext_gpt.evaluation.translation_metrics import bootstrap_errors, translation_scores
from webtext_gpt.generation.translate import translate
from webtext_gpt.paths import absence, readable_path, shown
from webtext_gpt.progress import progress_bar

COLUMNS = ("source", "target")


def _read(files: Sequence[Path]) -> Iterator[tuple[str, Row]]:
    return paired_sentences(files, COLUMNS)


SOURCE = DataSource(
    files=("translation.jsonl", "translation.parquet"),
    columns=COLUMNS,
    originals=(Original(("test.source", "test.target"), _read),),
)


@dataclass(frozen=True)
class ParallelText(Benchmark):
    """BLEU and chrF of a translation model; see `translation_scores`."""

    def run(self, scorer: Scorer, data_dir: Path | None, options: Options) -> Measurement:
        """Translate every source by beam search. See `Benchmark.run`."""
        model = scorer.translator
        pairs = [
            tuple(text_value(row, column, place).strip() for column in COLUMNS)
            for place, row in self._rows(data_dir, options)
        ]
        with progress_bar(self.name, total=len(pairs), unit="sentence") as bar:
            written = translate(
                model,
                scorer.tokenizer,
                [source for source, _ in pairs],
                num_beams=options.num_beams,
                length_penalty=options.length_penalty,
                batch_tokens=scorer.batch_tokens,
                advance=bar.update,
            )
        references = [reference for _, reference in pairs]
        scores = translation_scores(written, references)
        return Measurement(
            {name: score.value for name, score in scores.items()},
            len(pairs),
            notes={name: score.signature for name, score in scores.items()},
            standard_errors=bootstrap_errors(written, references, scores),
            written=list(zip(written, references, strict=True)),
        )

    def _rows(self, data_dir: Path | None, options: Options) -> list[tuple[str, Row]]:
        if options.pair is not None:
            named = zip(("source", "reference"), options.pair, strict=True)
            files = [_file(key, name, data_dir) for key, name in named]
            rows = list(_read(files))
            return rows if options.limit is None else rows[: options.limit]
        if data_dir is None:
            raise UserError(
                "there is no test set; give source=FILE and reference=FILE, or data_dir=FOLDER "
                "with test.source and test.target in it"
            )
        return self.source.rows(data_dir, options.limit)


def _file(key: str, name: str, data_dir: Path | None) -> Path:
    """Return the file of that name in `data_dir`, or else the file of that path.

    Raises:
        UserError: there is none.
    """
    if data_dir is not None and (data_dir / name).is_file():
        return data_dir / name
    path = readable_path(name, key)
    if not path.is_file():
        where = "" if data_dir is None else f", also in {data_dir}"
        problem = "is not a file" if path.exists() else f"{absence(path)}{where}"
        raise UserError(f"{key}={shown(name)} {problem}")
    return path


TRANSLATION = ParallelText(name="translation", source=SOURCE, paper={})
