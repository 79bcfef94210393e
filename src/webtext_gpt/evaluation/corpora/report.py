"""The report of a comparison: `corpora.html`, `corpora.md`, `corpora.json` and `corpora.png`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from webtext_gpt.data.shards import TokenShards
from webtext_gpt.evaluation.benchmark import Measurement, Suite
from webtext_gpt.evaluation.corpora.figures import figures_of
from webtext_gpt.evaluation.corpora.inputs import HeldOutSet, Scanned
from webtext_gpt.evaluation.corpora.ranking import (
    LEVEL,
    Difference,
    Figure,
    compare,
    error_between_seeds,
    ranked,
)
from webtext_gpt.evaluation.tables import aligned, escaped, markdown_table
from webtext_gpt.files import write_json, write_text
from webtext_gpt.page import write_page
from webtext_gpt.pictures import SKY, headline, picture, short
from webtext_gpt.settings.corpora import Corpora
from webtext_gpt.terminal import quoted, say_rows

NAME = "corpora"


@dataclass(frozen=True)
class Trained:
    """A corpus, and its token shards."""

    scanned: Scanned
    shards: TokenShards

    @property
    def tokens(self) -> int:
        """Number of tokens of its training split."""
        return self.shards.split("train").n_tokens


def write_report(
    settings: Corpora,
    corpora: Mapping[str, Trained],
    measured: Mapping[tuple[str, int], Mapping[str, Measurement]],
    heldout: Sequence[HeldOutSet],
    suites: Sequence[Suite],
    run_dir: Path,
) -> None:
    """Write and print the report on the seeds for which every corpus has a model.

    If there is no such seed, nothing is written.
    """
    seeds = [s for s in settings.seeds if all(_has(measured[name, s], heldout) for name in corpora)]
    if not seeds:
        return
    figures = figures_of([*corpora], seeds, measured, heldout, suites)
    differences = {figure.name: compare(figure) for figure in figures}
    rows = _ranking(figures, corpora, settings.tokens)
    text = _markdown(settings, seeds, rows, figures, differences)
    write_json(run_dir / f"{NAME}.json", _json(settings, seeds, corpora, figures, differences))
    write_text(run_dir / f"{NAME}.md", text)
    plot(figures, run_dir / f"{NAME}.png")
    write_page(run_dir / f"{NAME}.md")
    print(f"\n{aligned(rows)}\n\n{aligned(_pairs(differences[figures[0].name]))}")
    print(f"\n{_verdict(figures[0], differences[figures[0].name])}")
    report, numbers = (quoted(f"{run_dir}/{NAME}.{ending}") for ending in ("html", "json"))
    say_rows({"report": report, "figures": numbers})


def _has(measured: Mapping[str, Measurement], heldout: Sequence[HeldOutSet]) -> bool:
    return all(held.name in measured for held in heldout)


def _ranking(
    figures: Sequence[Figure], corpora: Mapping[str, Trained], tokens: int
) -> list[list[str]]:
    """Return the ranking table: a row per corpus, by the first figure, the best first."""
    rows = [["", "corpus", "tokens", "epochs", *(figure.name for figure in figures)]]
    errors = [error_between_seeds(figure) for figure in figures]
    for place, name in enumerate(ranked(figures[0]), 1):
        size = corpora[name].tokens
        cells = [
            _with_error(float(figure.values[name].mean()), error)
            for figure, error in zip(figures, errors, strict=True)
        ]
        rows.append([str(place), name, f"{size:,}", f"{tokens / size:.2f}", *cells])
    return rows


def _pairs(differences: Sequence[Difference]) -> list[list[str]]:
    """Return the table of the comparisons of one figure."""
    rows = [["better", "worse", "difference", "error: seeds", "examples", "p (Holm)", ""]]
    for one in differences:
        value = one.p_corrected
        p = "-" if value is None else f"{value:.2g}" if value > 1e-16 else "<1e-16"
        errors = map(_error, (one.error_of_seeds, one.error_of_examples))
        verdict = "" if one.is_distinguishable else "not distinguishable"
        verdict = "one seed, no test" if one.p is None else verdict
        rows.append([one.better, one.worse, f"{one.difference:+.4f}", *errors, p, verdict])
    return rows


def _verdict(figure: Figure, differences: Sequence[Difference]) -> str:
    """Return the ranking in one line, and the pairs whose order may be chance."""
    line = f"ranking by {figure.name}, the best first: {', '.join(ranked(figure))}"
    open_pairs = [f"{d.better} and {d.worse}" for d in differences if not d.is_distinguishable]
    if differences[0].p is None:
        return f"{line}\none seed alone tells nothing about the order; give seeds=[0,1,2]"
    if not open_pairs:
        return f"{line}; every pair is distinguishable (p < {LEVEL:g})"
    return f"{line}\nnot distinguishable (p >= {LEVEL:g}): {'; '.join(open_pairs)}"


def _markdown(
    settings: Corpora,
    seeds: Sequence[int],
    rows: Sequence[Sequence[str]],
    figures: Sequence[Figure],
    differences: Mapping[str, Sequence[Difference]],
) -> str:
    first = figures[0]
    parts = [
        "# Ranking of corpora",
        f"{settings.tokens:,} tokens per model, seeds {', '.join(map(str, seeds))}; the errors in "
        "this table are standard errors between seeds, pooled over the corpora.",
        markdown_table([[escaped(cell) for cell in row] for row in rows]),
        escaped(_verdict(first, differences[first.name])).replace("\n", "\n\n"),
        "![figures by corpus](corpora.png)",
        "## Pairs",
        "A difference has two standard errors: for other seeds, and for other examples of the same "
        "kind. The p value counts both, and is corrected for all pairs of its table.",
    ]
    for figure in figures:
        table = [[escaped(cell) for cell in row] for row in _pairs(differences[figure.name])]
        parts += [f"### {escaped(figure.name)}", markdown_table(table)]
    return "\n\n".join(parts) + "\n"


def _json(
    settings: Corpora,
    seeds: Sequence[int],
    corpora: Mapping[str, Trained],
    figures: Sequence[Figure],
    differences: Mapping[str, Sequence[Difference]],
) -> dict[str, object]:
    return {
        "tokens": settings.tokens,
        "seeds": [*seeds],
        "corpora": {
            name: {
                **asdict(own.scanned),
                "tokens": own.tokens,
                "epochs": settings.tokens / own.tokens,
            }
            for name, own in corpora.items()
        },
        "figures": {
            figure.name: {
                "lower_is_better": figure.lower_is_better,
                "ranking": ranked(figure),
                "values": {name: values.tolist() for name, values in figure.values.items()},
                "means": {name: float(v.mean()) for name, v in figure.values.items()},
                "standard_error_between_seeds": error_between_seeds(figure),
                "pairs": [
                    {**asdict(one), "is_distinguishable": one.is_distinguishable}
                    for one in differences[figure.name]
                ],
            }
            for figure in figures
        },
    }


def plot(figures: Sequence[Figure], file: Path) -> None:
    """Plot each figure as a PNG: a dot per model, and the corpus's mean with its error."""
    names = ranked(figures[0])
    equal = [
        d.worse for d in compare(figures[0]) if d.better == names[0] and not d.is_distinguishable
    ]
    open_end = f"; perhaps {' or '.join(equal)}" if equal else ""
    with picture(file, height=0.65 + (0.8 + 0.33 * len(names)) * len(figures)) as canvas:
        headline(canvas, f"Best by {figures[0].name}: {names[0]}{open_end}")
        grid = canvas.subplots(len(figures), 1, squeeze=False)
        for axes, figure in zip(grid[:, 0], figures, strict=True):
            for place, name in enumerate(names):
                values = figure.values[name]
                axes.plot(values, [place] * len(values), "o", color=SKY, markersize=5)
                error = error_between_seeds(figure) or 0.0
                axes.errorbar(values.mean(), place, xerr=error, fmt="|k", capsize=4, markersize=12)
            axes.set_yticks(range(len(names)), [short(name, 24) for name in names])
            axes.set_ylim(len(names) - 0.5, -0.5)
            better = "lower" if figure.lower_is_better else "higher"
            axes.set_xlabel(f"{figure.name} ({better} is better)")
            axes.grid(visible=False, axis="y")
        if error_between_seeds(figures[0]) is not None:
            axes.set_xlabel(f"{axes.get_xlabel()}\ndots: seeds; bars: mean ± standard error")


def _with_error(value: float, error: float | None) -> str:
    return f"{value:.4f}" if error is None else f"{value:.4f} ± {error:.4f}"


def _error(error: float | None) -> str:
    return "-" if error is None else f"{error:.4f}"
