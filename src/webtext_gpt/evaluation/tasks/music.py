"""The task `music`: how well a model of music predicts held-out pieces, in nats a note.

What counts as a note differs between encodings, and figures per note compare only where it is the
same, so the report says what it is.
"""

import math
from dataclasses import dataclass
from pathlib import Path

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Benchmark, Measurement, Options
from webtext_gpt.evaluation.confidence import ratio_values
from webtext_gpt.evaluation.data_source import DataSource
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.music.vocabulary import Encoding, encoding_of
from webtext_gpt.progress import progress_bar


@dataclass(frozen=True)
class Music(Benchmark):
    """Nats a note and nats a token of whole pieces."""

    def run(self, scorer: Scorer, data_dir: Path | None, options: Options) -> Measurement:
        """Score every token of each piece, its end too, with a sliding window.

        A piece follows the end-of-text token, so its first note is predicted from that. The nats of
        all tokens, also of those that are no notes, are divided by the number of notes.

        Raises:
            UserError: the model is one of text; no pieces are named; or none can be read.
        """
        encoding = encoding_of(scorer.tokenizer)
        if encoding is None:
            raise UserError("this task needs a model of music, not of text")
        pieces, left_out = self._pieces(encoding, data_dir, options)
        windows = [scorer.sliding_windows(" ".join(words), with_end=True) for words in pieces]
        with progress_bar(self.name, total=sum(map(len, windows)), unit="window") as bar:
            nats = [-total for total in scorer.documents(windows, bar.update)]
        tokens = [sum(window.scored for window in own) for own in windows]
        notes = [sum(map(encoding.is_note, words)) for words in pieces]
        sizes = {"nats_per_note": notes, "nats_per_token": tokens}
        return Measurement(
            {metric: math.fsum(nats) / sum(size) for metric, size in sizes.items()},
            len(pieces),
            counts={"notes": sum(notes), "tokens": sum(tokens), "left_out": left_out},
            per_example={
                metric: ratio_values(nats, size, sum(size)) for metric, size in sizes.items()
            },
            notes={
                "nats_per_note": f"the nats of all tokens, ends included, over the notes; a note "
                f"is a {encoding.note_unit}",
                "nats_per_token": f"{encoding.name} encoding of {len(encoding.words)} words",
            },
        )
