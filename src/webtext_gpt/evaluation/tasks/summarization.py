"""CNN/Daily Mail: summarize an article after `TL;DR:` (See et al. 2017; section 3.6).

100 tokens are sampled with top-k 2. Their first three sentences are the summary.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from webtext_gpt.data.rows import text_value
from webtext_gpt.evaluation.benchmark import Benchmark, Measurement, Options, PaperFigures
from webtext_gpt.evaluation.data_source import DataSource
from webtext_gpt.evaluation.prompted import answers, cut_end, room_for_prompt
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.evaluation.text_metrics import rouge
from webtext_gpt.generation import Sampling

HINT = "\nTL;DR:"
SUMMARY_TOKENS = 100
SUMMARY_SENTENCES = 3


@dataclass(frozen=True)
class Summarization(Benchmark):
    """F-measures of ROUGE-1, ROUGE-2 and ROUGE-L, and their mean."""

    def run(self, scorer: Scorer, data_dir: Path | None, options: Options) -> Measurement:
        """Summarize every article. See `Benchmark.run`."""
        rows = self.source.rows(data_dir, options.limit)
        room = room_for_prompt(scorer, SUMMARY_TOKENS + len(scorer.tokenizer.encode(HINT)))
        articles = [text_value(row, "article", place).strip() for place, row in rows]
        written = answers(
            scorer,
            self.name,
            [cut_end(scorer.tokenizer, article, room) + HINT for article in articles],
            max_new_tokens=SUMMARY_TOKENS,
            batch_size=options.batch_size,
            sampling=Sampling(top_k=2),
        )
        summaries = ["\n".join(sentences(text)[:SUMMARY_SENTENCES]) for text in written]
        highlights = [text_value(row, "highlights", place) for place, row in rows]
        r1, r2, rl = rouge(summaries, highlights, ("rouge1", "rouge2", "rougeLsum")).values()
        metrics = {"rouge1": r1, "rouge2": r2, "rougeL": rl, "rouge_average": (r1 + r2 + rl) / 3}
        return Measurement(metrics, len(rows))


def sentences(text: str) -> list[str]:
    """Split a text after `.`, `!` or `?` and at line breaks; empty sentences are dropped."""
    return [part.strip() for part in re.split(r"(?<=[.!?])\s+|\n+", text) if part.strip()]


CNN_DAILYMAIL = Summarization(
    name="cnn_dailymail",
    source=DataSource(
        files=("cnn_dailymail_test.jsonl", "cnn_dailymail_test.parquet"),
        columns=("article", "highlights"),
        hub="abisee/cnn_dailymail",
        config="3.0.0",
    ),
    paper={  # table 4
        "rouge1": PaperFigures(xl=29.34),
        "rouge2": PaperFigures(xl=8.27),
        "rougeL": PaperFigures(xl=26.58),
        "rouge_average": PaperFigures(xl=21.40),
    },
)
