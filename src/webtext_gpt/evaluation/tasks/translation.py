"""WMT-14 between English and French, from example pairs (section 3.7).

The context holds pairs of the form `english sentence = french sentence`, then `sentence =`; the
first sentence that is written greedily is the translation.
"""

from dataclasses import dataclass
from pathlib import Path

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Measured, Options, Source
from webtext_gpt.evaluation.generated import bleu
from webtext_gpt.evaluation.prompted import answers, cut_beginning, room_for_prompt
from webtext_gpt.evaluation.scoring import Scorer

EXAMPLES = (
    ("The house is very old.", "La maison est très vieille."),
    ("I do not know where he lives.", "Je ne sais pas où il habite."),
    ("We will leave tomorrow morning.", "Nous partirons demain matin."),
    ("The government has announced a new law.", "Le gouvernement a annoncé une nouvelle loi."),
    ("How many people live in this town?", "Combien de personnes vivent dans cette ville ?"),
)
LONGEST_TRANSLATION = 100


SOURCE = Source(
    files=("wmt14_test.jsonl", "wmt14_test.parquet"),
    columns=("translation",),
    hub="wmt/wmt14",
    config="fr-en",
)


@dataclass(frozen=True)
class Translation:
    """BLEU of one direction, by sacrebleu with its own tokenisation."""

    name: str
    origin: str
    target: str
    source: Source = SOURCE

    def run(self, scorer: Scorer, data_dir: Path | None, options: Options) -> Measured:
        """See `Benchmark.run`."""
        rows = self.source.rows(data_dir, options.limit)
        pairs = []
        for place, row in rows:
            pair = row["translation"]
            if not isinstance(pair, dict) or not {self.origin, self.target} <= set(pair):
                raise UserError(f"{place}: translation is not {{{self.origin}, {self.target}}}")
            pairs.append((pair[self.origin].strip(), pair[self.target].strip()))
        room = room_for_prompt(scorer, LONGEST_TRANSLATION)
        written = answers(
            scorer,
            self.name,
            [cut_beginning(scorer.tokenizer, self.prompt(text), room) for text, _ in pairs],
            max_new_tokens=LONGEST_TRANSLATION,
            batch_size=options.batch_size,
            stop=["\n"],
        )
        references = [reference for _, reference in pairs]
        score = bleu([text.strip() for text in written], references)
        return Measured({"bleu": score}, len(pairs))

    def prompt(self, text: str) -> str:
        """Example pairs, then the text to be translated."""
        order = {"en": 0, "fr": 1}
        first, second = order[self.origin], order[self.target]
        lines = [f"{pair[first]} = {pair[second]}" for pair in EXAMPLES]
        return "\n".join([*lines, f"{text} ="])


ENGLISH_TO_FRENCH = Translation("wmt14_en_fr", "en", "fr")
FRENCH_TO_ENGLISH = Translation("wmt14_fr_en", "fr", "en")
