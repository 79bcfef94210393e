"""Changes to the documented commands in their test, and the commands that it does not run.

Everything is keyed by the text of a command, never by its page.
"""

import re
from typing import NamedTuple

HUB = "reads the Hugging Face hub: "
PIP = "installs packages from an index; tests/test_dependencies.py compares them with the imports"
TARGET = "a target that installs the environment first; its recipe is run by: "
MACHINES = "needs two machines: "

NOT_RUN = {
    "make quickstart": TARGET + "python train.py experiment=speedrun_tiny",
    "make test": TARGET + "this test run",
    "make test-all": TARGET + "this test run",
    "make check": TARGET + "ruff and mypy, before each commit",
    "make format": TARGET + "ruff, before each commit",
    "make docs": TARGET + "tests/test_site.py",
    "make bench": TARGET + "tests/test_benchmarks.py",
    "make bench quick=1": TARGET + "tests/test_benchmarks.py",
    "make bench only=training_speed,evaluation_speed": TARGET + "tests/test_benchmarks.py",
    "make bench only=NAME": TARGET + "tests/test_benchmarks.py",
    "make bench quick=1 only=NAME": TARGET + "tests/test_benchmarks.py",
    "make bench realdata=FOLDER nanogpt=FOLDER datatrove=PYTHON": "needs nanoGPT and datatrove",
    ".venv/bin/pre-commit install": "writes a hook into the clone's own .git",
    "source .venv/bin/activate": "changes the shell that it is typed in",
    "python -m pytest tests/contracts/test_parity.py": "a test of this test run",
    "pip install .": PIP,
    "pip install -e '.[corpus,wandb]'": PIP,
    "pip install './webtext_gpt-0.1.0-py3-none-any.whl[corpus]'": PIP,
    "pip install -c constraints.txt -e '.[hub,deepspeed,corpus]'": PIP,
    "pip install -c constraints.txt -e '.[corpus]'": PIP,
    "pip install -q -c constraints.txt -e '.[finetuning]'": PIP,
    "pip install -e '.[lm-eval]'": PIP,
    "pip install -e '.[explorer]'": PIP,
    "pip install -e '.[gguf]'": PIP,
    "pip install -e '.[onnx]'": PIP,
    "pip install '.[ray]'": PIP,
    "pip wheel --no-deps .": "tests/contracts/test_base_installation.py makes and installs a wheel",
    "pip wheel --wheel-dir wheels --constraint constraints.txt '.[deepspeed,hub]'": PIP,
    "docker build --tag webtext-gpt .": "needs Docker; tests/test_dockerfile.py reads the file",
    'docker run --rm --volume "$PWD/runs:/data/runs" webtext-gpt train run_dir=runs/first': (
        "needs Docker; tests/test_dockerfile.py reads the file"
    ),
    "python -m webtext_gpt.training.distributed.network first-machine 29500 || exit": (
        MACHINES + "tests/hosts/test_torchrun.py"
    ),
    'torchrun --nnodes=2 --nproc-per-node=8 --node-rank="$node" --master-addr=first-machine '
    "--master-port=29500 --rdzv-conf=timeout=50 train.py model=xl trainer.devices=8 "
    "trainer.num_nodes=2 data=shards data.path=/shared/shards run_dir=/shared/runs/xl "
    "resume=auto": MACHINES + "tests/hosts/test_torchrun.py",
    "srun --kill-on-bad-exit=1 python train.py model=xl trainer.devices=8 trainer.num_nodes=2 "
    "data=shards data.path=/shared/shards run_dir=/shared/runs/xl resume=auto": (
        MACHINES + "tests/hosts/test_slurm.py"
    ),
    "python benchmarks/gpu_training.py --devices 8": "needs eight GPUs",
    "python train.py budget=30": "trains for 30 minutes; tests/webtext_gpt/dial/ tests the choice",
    "python benchmarks/ladder.py runs/ladder": "trains for hours, and writes into the checkout",
    "python benchmarks/installation.py HEAD:.venv/.base-up-to-date a3d1839:setup": PIP,
    "python benchmarks/shakespeare.py nanoGPT tinyshakespeare.txt --rounds 1": "needs nanoGPT",
    "python benchmarks/training_speed.py --nanogpt nanoGPT": "needs nanoGPT",
    "python benchmarks/translation.py multi30k/ --minutes 60 --seeds 3": (
        "scores a test set of 1,000 sentences, which takes minutes; needs Multi30k"
    ),
    "python benchmarks/translation.py multi30k/ --longest 12 model.positions=learned": (
        "scores a test set of 1,000 sentences, which takes minutes; needs Multi30k"
    ),
    "python benchmarks/corpus_scale.py base=0.25 out=docs/pictures/corpus_scale.png": (
        "measures seven stages at four sizes for minutes; the stages' commands are run"
    ),
    "python benchmarks/ablations.py --accelerator cuda --corpora DOCSTRINGS NOVELS": (
        "trains for hours on a GPU; tests/test_benchmarks.py tests its parts"
    ),
    "python benchmarks/modern_recipe.py --corpora DOCSTRINGS NOVELS --steps 320 "
    "--shares 0.55 0.45 0.4 0.25 0.2 0.15 --accelerator cuda": (
        "trains for hours on a GPU; tests/test_benchmarks.py tests its parts"
    ),
    "python benchmarks/memory_by_model.py": (
        "estimates a whole table for over 30 s; tests/test_benchmarks.py tests its cells"
    ),
    "python benchmarks/finetuning.py CHECKPOINT DATA OUT": "needs four data sets, and minutes",
}
"""Commands that are not run, each with the reason and where else its work is tested."""


class Change(NamedTuple):
    """Arguments that are put behind those of commands, so that they win.

    Attributes:
        pattern: regular expression that is searched in the text of a command.
        why: what would be wrong with the command as it stands in the page.
        arguments: the arguments.
    """

    pattern: str
    why: str
    arguments: tuple[str, ...]


NO_RUN = r"--help|--cfg|estimate="
TRAIN = rf"^(?:python train\.py|webtext-gpt train)(?!.*(?:{NO_RUN}))"
FINETUNE = r"^python finetune\.py(?!.*(?:predict|evaluate)=)"
PAIRS = r"experiment=translation|data=pairs"
MUSIC = r"experiment=chorales|data=midi"
OWN_WEIGHTS = r"checkpoint=|resume="
GIVEN_TOKENIZER = (
    r"tokenizer=gpt2|data=shards|shakespeare_char|experiment=gpt2|experiment=speedrun_small"
)

SHAPE = ("model.n_layer=1", "model.n_head=2", "model.n_embd=32", "model.block_size=64")
TRANSLATOR = (
    *("model.n_encoder_layer=1", "model.n_decoder_layer=1", "model.n_head=2", "model.n_embd=32"),
    "model.block_size=128",
)

CHANGES = (
    Change(TRAIN, "trains for minutes or days", ("trainer.max_steps=4",)),
    Change(rf"{TRAIN}.*max_tokens=", "a length in steps replaces it", ("trainer.max_tokens=null",)),
    Change(rf"{TRAIN}.*resume=", "goes on for two steps", ("trainer.max_steps=6",)),
    Change(
        rf"{TRAIN}(?!.*(?:{OWN_WEIGHTS}))", "a step of the batch takes minutes on a CPU",
        ("global_batch_tokens=256", "micro_batch_size=null"),
    ),
    Change(
        rf"{TRAIN}.*checkpoint=", "a step of the batch takes minutes on a CPU",
        ("global_batch_tokens=1024",),
    ),
    Change(rf"{TRAIN}(?!.*(?:{OWN_WEIGHTS}|{PAIRS}|size=))", "a step takes seconds on CPUs", SHAPE),
    Change(rf"{TRAIN}.*(?:{PAIRS})", "a step takes seconds on a CPU", TRANSLATOR),
    Change(
        rf"{TRAIN}(?!.*(?:{OWN_WEIGHTS}|{GIVEN_TOKENIZER}|{MUSIC}))",
        "the texts of the test have too few words for more", ("tokenizer.vocab_size=280",),
    ),
    Change(rf"{TRAIN}.*compile=true", "compiling takes a minute", ("compile=false",)),
    Change(rf"{TRAIN}.*{MUSIC}", "a piece has up to 2,048 words",
           ("callbacks.samples.max_new_tokens=40",)),
    Change(rf"{TRAIN}.*devices=8", "there are no eight devices", ("trainer.devices=1",)),
    Change(
        rf"{TRAIN}.*devices=4", "there are no four GPUs",
        ("trainer.devices=2", "trainer.accelerator=cpu"),
    ),
    Change(
        rf"{TRAIN}.*(?:tokenizer=gpt2|experiment=gpt2|experiment=speedrun_small)",
        HUB + "GPT-2's tokenizer", ("tokenizer.path=gpt2", "model.vocab_size=null"),
    ),
    Change(
        rf"{TRAIN}.*(?:data=hub|experiment=gpt2|experiment=speedrun_small)",
        HUB + "the text",
        ("data.name=text", "data.config=null", "data.data_files=my_texts/a.txt",
         "data.val_fraction=0.1"),
    ),
    Change(r"zero_shot\.every=1000", "the run ends before", ("callbacks.zero_shot.every=2",)),
    Change(rf"{FINETUNE}", "trains for minutes", ("trainer.max_steps=4",)),
    Change(rf"{FINETUNE}.*epochs=", "a length in steps replaces it", ("epochs=null",)),
    Change(r"task=pairs", "greedy answers take seconds each", ("score_limit=2",)),
    Change(
        r"task=sst2$", HUB + "SST-2",
        ("task.train=sst2/train.tsv", "task.validation=sst2/dev.tsv"),
    ),
    Change(r"python generate\.py(?!.*(?:next=|my_translator))",
           "a text of 200 tokens takes seconds", ("max_new_tokens=12",)),
    Change(r"generate\.py.*my_chorales", "a piece has up to 2,048 words", ("max_new_tokens=60",)),
    Change(r"eval\.py checkpoint=runs/my_run$", HUB + "the benchmarks", ("data_dir=evalsets",)),
    Change(r"eval\.py.*tasks=\[(?:lambada,wikitext2|blimp_\w+,\w+)\](?!.*data_dir)",
           HUB + "the benchmarks", ("data_dir=evalsets",)),
    Change(
        r"evaluation\.corpora", "trains models for hours",
        ("tokens=2000", "limit=1", "recipe=[" + ",".join((
            *SHAPE, "tokenizer.vocab_size=280", "global_batch_tokens=256", "optimizer.lr=1e-3",
        )) + "]"),
    ),
    Change(r"lm_eval", HUB + "LAMBADA", ("--include_path", "lm_eval_tasks", "--device", "cpu")),
    Change(r"^python serve\.py(?!.*export=)", "8000 may be another program's",
           ("port=0", "open=false")),
    Change(r"checkpoint=RUN", "stands for a run", ("checkpoint=runs/my_translator",)),
    Change(r"out=FOLDER", "stands for a folder", ("out=exported",)),
    Change(r"tests\.lambada=\.\.\. out=\.\.\.", "stands for a file and a folder",
           ("tests.lambada=lambada_test.jsonl", "out=overlap")),
    Change(r"build\.py dumps=", "the links lead to a site of the test on this machine", (
        "links.allow_private=true", "pages.allow_private=true", "pages.politeness.delay=0",
        "pages.politeness.per_host=8",
    )),
    Change(r"^(?:python data_prep/links\.py|webtext-gpt links)",
           "the links lead to a site of the test on this machine", ("allow_private=true",)),
    Change(r"^python data_prep/pages\.py", "the links lead to a site of the test on this machine",
           ("allow_private=true", "politeness.delay=0", "politeness.per_host=8")),
    Change(r"build\.py(?!.*from=shards)", "the texts of the test have too few words for more",
           ("tokenizer.vocab_size=280",)),
    Change(r"^python data_prep/tokenizer\.py", "the texts of the test have too few words for more",
           ("vocab_size=280",)),
    Change(r"filters\.py train=", "the filter would have 45 GB", ("ngrams=100000",)),
    Change(r"benchmarks/(?:mask|training_speed|explorer|generation|evaluation)",
           "measures GPT-2 small for minutes",
           ("--n-layer", "1", "--n-head", "2", "--n-embd", "32")),
    Change(r"benchmarks/(?:mask|training_speed|explorer|evaluation)",
           "measures for minutes", ("--rounds", "1")),
    Change(r"benchmarks/mask_documents", "measures for minutes",
           ("--block-size", "64", "--vocab-size", "512")),
    Change(r"benchmarks/training_speed", "measures for minutes",
           ("--eager", "--block-size", "32", "--batch", "1", "--vocab-size", "512")),
    Change(r"benchmarks/explorer", "measures for minutes",
           ("--vocab-size", "512", "--tokens", "32")),
    Change(r"benchmarks/generation_speed", "measures for minutes",
           ("--new-tokens", "4", "--threads", "1")),
    Change(r"benchmarks/evaluation_speed", "measures for minutes", ("--windows", "1")),
    Change(r"benchmarks/checkpoint_stall", "needs 4 GB",
           ("--gib", "0.5", "--rounds", "1", "--tokens", "1")),
    Change(r"benchmarks/midi_round_trip", "converts 433 scores for minutes", ("--limit", "2")),
)  # fmt: skip


def changes_of(text: str) -> list[Change]:
    """Return the changes of a command, in order."""
    return [change for change in CHANGES if re.search(change.pattern, text)]
