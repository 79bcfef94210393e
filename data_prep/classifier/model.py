"""The trained classifier, and its file.

The score of a text is the probability of the class "good" by logistic regression on the mean of its
n-grams' weights, as in fastText with two classes. It depends on the text alone, so batches, workers
and the order of texts do not change it. The file holds numbers alone and is checked by its hash.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from data_prep.classifier.features import buckets_of
from data_prep.ngrams.words import WORDS_VERSION
from data_prep.stage.manifest import MANIFEST, read_manifest
from data_prep.stage.outputs import fingerprint
from webtext_gpt.errors import UserError
from webtext_gpt.files import replaced
from webtext_gpt.paths import readable_path

STAGE = "quality"
FILE = "model.safetensors"

Scores = npt.NDArray[np.float32]


@dataclass(frozen=True)
class QualityModel:
    """A linear classifier over hashed n-grams.

    Attributes:
        weights: One weight per bucket, (buckets,), float32.
        bias: Logit of a text without words.
        ngram: Words of the longest n-gram.
        hash: Hash of the file, which names the model in manifests.
        auc: Area under the ROC curve on the texts held out from training.
    """

    weights: npt.NDArray[np.float32]
    bias: float
    ngram: int
    hash: str = ""
    auc: float = float("nan")

    def scores(self, texts: pa.Array) -> Scores:
        """Return the probability that each text is good, (texts,)."""
        buckets, offsets = buckets_of(texts, self.ngram, len(self.weights))
        counts = np.diff(offsets)
        owner = np.repeat(np.arange(len(texts)), counts)
        sums = np.bincount(owner, self.weights[buckets], minlength=len(texts))  # in float64
        logits = self.bias + sums / np.maximum(counts, 1)
        return (1 / (1 + np.exp(-logits))).astype(np.float32)

    def save(self, folder: Path) -> str:
        """Write the model to a folder and return the hash of its file."""
        tensors: dict[str, npt.NDArray[Any]] = {
            "weights": self.weights, "bias": np.array([self.bias], np.float64)
        }  # fmt: skip
        described = json.dumps({"words": WORDS_VERSION, "ngram": self.ngram})
        with replaced(folder / FILE) as partial:
            partial.write_bytes(save(tensors, metadata={"settings": described}))
        return fingerprint(folder / FILE)["xxh3"]


def load_model(folder: str | Path, key: str = "quality.model") -> QualityModel:
    """Read a model that `quality.py` made.

    Args:
        folder: The output of `quality.py`.
        key: The setting that gives the folder, for messages.

    Raises:
        UserError: The folder holds no finished model, the model is damaged, or it was made with
            another definition of a word.
    """
    place = readable_path(folder, key)
    if not (place / MANIFEST).is_file():
        raise UserError(
            f"{key}={folder}: no {MANIFEST} there; give the output of data_prep/quality.py"
        )
    manifest = read_manifest(place / MANIFEST)
    recorded, auc = manifest.get("model"), manifest.get("auc")
    if manifest.get("stage") != STAGE:
        raise UserError(f"{key}={folder} was made by {manifest.get('stage')}, not {STAGE}")
    if fingerprint(place / FILE)["xxh3"] != recorded or not isinstance(auc, float):
        raise UserError(
            f"{place / FILE} is not the file that {MANIFEST} describes: one of them is damaged or "
            "was replaced; train the model again"
        )
    try:
        with safe_open(place / FILE, framework="numpy") as file:
            described = json.loads(file.metadata()["settings"])  # one entry: their order varies
            weights, bias = file.get_tensor("weights"), float(file.get_tensor("bias")[0])
    except SafetensorError as error:
        raise UserError(f"{place / FILE} cannot be read as safetensors: {error}") from error
    if described["words"] != WORDS_VERSION:
        raise UserError(
            f"{key}={folder} was trained with the words of {described['words']}, and this version "
            f"reads {WORDS_VERSION}; train the model again"
        )
    return QualityModel(weights, bias, described["ngram"], recorded, auc)
