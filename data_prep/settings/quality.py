"""Settings of `quality.py`, and of the scores that `documents.py` gives with its classifier."""

from typing import Annotated, ClassVar, Self

from pydantic import model_validator

from data_prep.settings.common import Out, TextRows
from webtext_gpt.settings.base import Settings, setting
from webtext_gpt.settings.kinds import Number, PathText, Text, Whole
from webtext_gpt.settings.lists import Listed

Files = Annotated[list[str] | None, Listed(PathText(remote=True), null="none")]
Labels = Annotated[list[str], Listed(Text("a label"))]


class Quality(TextRows):
    """Labelled texts -> a classifier of good and bad texts, for the scores of documents.py."""

    elsewhere: ClassVar[dict[str, str]] = {
        "engine": "the classifier is trained by one process, on this machine",
    }
    examples: ClassVar[dict[str, str]] = {
        "{command} good=[wanted.jsonl] bad=[unwanted.jsonl] out=quality": "two sets of texts",
        "{command} labelled=[rows.csv] label_key=label out=quality": "rows with a label",
        "{command} labelled=[rows.jsonl] label_key=stars good_labels=[4,5] bad_labels=[1,2] "
        "out=quality": "labels of one's own",
        "{command} documents=documents links=links good_karma=50 bad_karma=4 out=quality": (
            "karma as the label"
        ),
        "{command} good=[a.txt] bad=[b.txt] lines=true out=quality": "a text per line",
    }

    good: Files = setting(
        None, "files, folders or globs of good texts: text, JSONL, Parquet, CSV", common=True
    )
    bad: Files = setting(None, "files, folders or globs of bad texts", common=True)
    labelled: Files = setting(
        None, "instead: files, folders or globs of rows with a label", common=True
    )
    label_key: Annotated[str, Text("the name of a column")] = setting(
        "label", "label column of labelled=", common=True
    )
    good_labels: Labels = setting(
        lambda: ["good", "true", "1"], "labels of good texts, compared as text", common=True
    )
    bad_labels: Labels = setting(
        lambda: ["bad", "false", "0"], "labels of bad texts; rows with others are left out",
        common=True,
    )  # fmt: skip
    documents: Files = setting(
        None, "instead: documents to label by karma, with a column url", common=True
    )
    links: Files = setting(
        None, "output of links.py, which has the karma of the documents' pages", common=True
    )
    good_karma: Annotated[int | None, Whole(null="only with links")] = setting(
        None, "lowest karma of a good text", common=True
    )
    bad_karma: Annotated[int | None, Whole(null="only with links")] = setting(
        None, "highest karma of a bad text", common=True
    )
    out: Out = setting(..., "folder to create", common=True)
    held_out: Annotated[float, Number(above=0, below=1)] = setting(
        0.1, "fraction of texts to measure on, chosen by a hash of the text"
    )
    texts: Annotated[int, Whole(1, unit="texts")] = setting(
        200_000, "most texts of a class, chosen by a hash of the text"
    )
    ngram: Annotated[int, Whole(1, 5, unit="words")] = setting(2, "words of the longest n-gram")
    buckets: Annotated[int, Whole(1, 2**28)] = setting(
        2**20, "weights, one per bucket of hashed n-grams; 4 bytes each"
    )
    l2: Annotated[float, Number(above=0)] = setting(
        1e-3, "penalty on the squared weights, relative to the sum of the losses"
    )

    @model_validator(mode="after")
    def _one_kind_of_labels(self) -> Self:
        kinds = {
            "good= and bad=": (self.good, self.bad), "labelled=": (self.labelled,),
            "documents= and links=": (self.documents, self.links),
        }  # fmt: skip
        given = [name for name, values in kinds.items() if any(v is not None for v in values)]
        if len(given) != 1 or None in kinds[given[0]]:
            listed = ", or ".join(kinds)
            raise ValueError(f"give either {listed}; given: {', '.join(given) or 'none of them'}")
        return self

    @model_validator(mode="after")
    def _classes_apart(self) -> Self:
        if both := sorted(set(self.good_labels) & set(self.bad_labels)):
            raise ValueError(f"bad_labels={both[0]} is among good_labels, too")
        karmas = (self.good_karma, self.bad_karma)
        if self.links is not None and None in karmas:
            raise ValueError("links= needs good_karma= and bad_karma=")
        if self.links is None and karmas != (None, None):
            raise ValueError("good_karma and bad_karma have an effect only with links=")
        match karmas:
            case (int(good), int(bad)) if bad >= good:
                raise ValueError(f"bad_karma={bad} is not below good_karma={good}")
        return self


class QualityScores(Settings):
    """Quality scores of documents, by a classifier of quality.py."""

    model: Annotated[str | None, PathText(null="no scores", remote=True)] = setting(
        None, "output of quality.py: adds the column quality, from 0 to 1", common=True
    )
    threshold: Annotated[float | None, Number(0, 1, null="none")] = setting(
        None, "drop documents with a score below this", common=True
    )
    percentile: Annotated[float | None, Number(above=0, below=100, unit="%", null="none")] = (
        setting(
            None, "instead: drop this percentage of the documents that are scored, the lowest",
            common=True,
        )
    )  # fmt: skip

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        for key in ("threshold", "percentile"):
            if getattr(self, key) is not None and self.model is None:
                raise ValueError(f"{key} needs model=FOLDER, the output of quality.py")
        if self.threshold is not None and self.percentile is not None:
            raise ValueError("percentile: threshold= is given, too; leave one of the two out")
        return self
