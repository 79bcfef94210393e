"""The benchmarks of `make bench`, in the order of docs/reference/performance.md.

To add one: a script in this folder that measures ours and the peers in turn
(`common/timing.py::alternate`) and calls `common/report.py::report_costs` or `report`, and its line
here. The page shows the output of a script that reports nothing.
"""

from typing import NamedTuple


class Benchmark(NamedTuple):
    """Call of a script.

    Attributes:
        name: name of the script, without `.py`; or another, if a script runs in more than one way.
        title: heading on the page.
        arguments: arguments of the script. `{realdata}`, `{nanogpt}` and `{datatrove}` are replaced
            by the paths that `run_all.py` is given; without the path, the benchmark is skipped.
        quick: arguments of a trial that takes seconds, added after `arguments`; the last value of
            an option counts.
        minutes: time limit.
        peers: modules that have to be installed.
        gpu: whether it needs a GPU.
        on_request: runs only if `--only` names it, because it takes hours.
        source: the script's name, if it is not `name`.
    """

    name: str
    title: str
    arguments: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()
    minutes: float = 15
    peers: tuple[str, ...] = ()
    gpu: bool = False
    on_request: bool = False
    source: str | None = None

    @property
    def script(self) -> str:
        """Path of the script, relative to the repository."""
        return f"benchmarks/{self.source or self.name}.py"

    @property
    def quick_arguments(self) -> tuple[str, ...]:
        """Arguments of a trial."""
        return (*self.arguments, *self.quick)

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the paths that the arguments contain."""
        known = ("realdata", "nanogpt", "datatrove")
        return tuple(name for name in known if f"{{{name}}}" in " ".join(self.arguments))


_TINY = ("--n-layer", "1", "--n-head", "2", "--n-embd", "32", "--rounds", "2")

CATALOGUE = (
    Benchmark(
        "training_speed", "Training step",
        quick=(*_TINY, "--block-size", "32", "--batch", "1", "--vocab-size", "512"),
        peers=("transformers",),
    ),
    Benchmark("gpu_training", "Training on GPUs", gpu=True, minutes=60,
              quick=("--model", "tiny", "--steps", "20"), peers=("transformers",)),
    Benchmark(
        "shakespeare", "nanoGPT's character model, the whole command",
        ("{nanogpt}", "{realdata}/text/tinyshakespeare.txt"),
        minutes=60, on_request=True,
    ),
    Benchmark(
        "mask_documents", "Attention within documents",
        quick=(*_TINY, "--block-size", "64", "--vocab-size", "512"),
    ),
    Benchmark("start_up", "Start-up", quick=("repeats=1",), minutes=20),
    Benchmark(
        "loading_speed", "Loading a model",
        quick=(*_TINY, "--vocab-size", "512"), peers=("transformers",),
    ),
    Benchmark(
        "generation_speed", "Generation",
        quick=("--n-layer", "1", "--n-head", "2", "--n-embd", "32", "--new-tokens", "8"),
        peers=("transformers",),
    ),
    Benchmark("explorer", "The explorer", quick=(*_TINY, "--vocab-size", "512", "--tokens", "32")),
    Benchmark(
        "evaluation_speed", "Evaluation",
        ("{realdata}/evalsets/wikitext2_test.raw", "{realdata}/tokenizer"),
        quick=(*_TINY, "--windows", "1"), peers=("transformers",),
    ),
    Benchmark(
        "checkpoint_stall", "Writing checkpoints",
        quick=("--gib", "0.5", "--rounds", "1", "--tokens", "1"),
    ),
    Benchmark(
        "checkpoint_stall_gpu", "Writing checkpoints of a GPU",
        ("--device", "cuda"), quick=("--gib", "0.5", "--rounds", "1"), gpu=True,
        source="checkpoint_stall",
    ),
    Benchmark(
        "tokenizing_speed", "Tokenizing", ("{realdata}",),
        quick=("--rounds", "1", "--novels", "1"), peers=("tiktoken", "numba"),
    ),
    Benchmark("links_speed", "Links", ("{realdata}",),
              quick=("--megabytes", "5", "--rounds", "1")),
    Benchmark("extractors", "Text of pages", ("{realdata}",),
              quick=("--pages", "3"), peers=("trafilatura", "resiliparse")),
    Benchmark(
        "dedup_speed", "De-duplication", ("{realdata}", "{datatrove}"),
        quick=("--rounds", "1"), minutes=30,
    ),
    Benchmark("overlap_speed", "Overlap", ("{realdata}",), quick=("--millions", "4"),
              peers=("rbloom",)),
    Benchmark("corpus_scale", "The corpus's stages by size", quick=("base=0.02",), minutes=60,
              on_request=True),
    Benchmark("scale_signatures", "Clusters of 8 million documents", ("stage=signatures",),
              quick=("sizes=40_000",), minutes=120, on_request=True, source="webtext_scale"),
    Benchmark("scale_bloom", "Bloom filters of up to 10^10 8-grams", ("stage=bloom",),
              quick=("sizes=1_000_000",), source="webtext_scale"),
    Benchmark("scale_tokens", "Shards of up to 10^10 tokens", ("stage=tokens",),
              quick=("sizes=3_000_000",), source="webtext_scale"),
    Benchmark("ablations", "What each option gives", minutes=24 * 60, on_request=True,
              quick=("--steps", "8", "--seeds", "1", "--options", "muon", "--out",
                     "runs/quick/ablations")),
    Benchmark("modern_recipe", "Tokens and time to the same loss", minutes=24 * 60,
              on_request=True,
              quick=("--minutes", "0.1", "--seeds", "1", *_TINY[:6], "--out",
                     "runs/quick/modern_recipe")),
)  # fmt: skip

NOT_HERE = (
    "corpus_ranking",
    "finetuning",
    "installation",
    "ladder",
    "memory_by_model",
    "midi_round_trip",
    "overlap_directions",
    "translation",
    "webtext_stages",
)
"""Scripts that compare versions of the project, count what differs, print a table of the estimate,
or take hours and need trained models; their figures are in docs/reference/measurements.md,
docs/reference/corpus.md, docs/how-to/gpu-memory.md and docs/explanation/scale.md."""
