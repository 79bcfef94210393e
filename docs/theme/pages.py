"""Pages of the site that have their source elsewhere: the start page, the API, and mathematics.

A hook of MkDocs (mkdocs.yml). README.md, CONTRIBUTING.md and CHANGELOG.md are pages as they are, with
their links as seen from docs/. The API's pages name modules, whose docstrings mkdocstrings renders.
Formulas become MathML, which browsers draw without a script.
"""

import html
import re
from pathlib import Path

import latex2mathml.converter
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).parents[2]
TOP = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Pages at the top of the repository, and their names in the site."""

API = {
    "Models": {
        "about": "GPT-2 and GPT-1, the Transformer of 2017, classification heads and LoRA.",
        "modules": ["model", "model.transformer", "model.lora"],
    },
    "Checkpoints and weights": {
        "about": "`load` opens any checkpoint of ours and any foreign model.",
        "modules": ["checkpoint.load", "checkpoint.store", "weights", "weights.foreign"],
    },
    "Tokenizer": {
        "about": "Text to token ids and back.",
        "modules": ["tokenizer", "pair_tokenizer"],
    },
    "Data": {
        "about": "Sources of text, token shards, and the order of samples.",
        "modules": ["data.sources", "data.prepare", "data.shards", "data.shard_writer",
                    "data.pretraining", "data.sampler"],  # fmt: skip
    },
    "Training": {
        "about": "Pretraining, optimizers and schedules.",
        "modules": ["training.pretrain", "training.module", "training.optim", "training.schedule",
                    "training.batch", "training.summary"],  # fmt: skip
    },
    "Fine-tuning": {
        "about": "Classifiers and completion models, and their predictions.",
        "modules": ["finetuning.run", "finetuning.predict", "finetuning.metrics"],
    },
    "Generation": {
        "about": "Decoding with a key-value cache, sampling and beam search.",
        "modules": ["generation.decoding", "generation.sampling", "generation.beams",
                    "generation.translate"],  # fmt: skip
    },
    "Evaluation": {
        "about": "Benchmarks and their scores; adapters for EleutherAI's harness.",
        "modules": ["evaluation.benchmark", "evaluation.registry", "evaluation.scoring",
                    "evaluation.detokenizers", "lm_eval"],  # fmt: skip
    },
    "Corpus": {
        "about": "Each stage of the corpus as a function.",
        "modules": [f"data_prep.{stage}" for stage in (
            "links", "pages", "documents", "quality", "dedup", "overlap", "filters", "tokenizer",
            "shards", "report", "build")],  # fmt: skip
    },
    "Errors": {
        "about": "A wrong input raises `UserError`; any other exception is a defect.",
        "modules": ["errors"],
    },
}
"""Pages of the API: the public modules of each."""

LINK = re.compile(r"(\]\()([^)\s#]+)")
MATH = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages whose sources are outside of docs/."""
    for source, page in TOP.items():
        text = (REPOSITORY / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=LINK.sub(_from_docs, text)))
    for title, entry in API.items():
        name = title.lower().replace(" ", "-")
        files.append(
            File.generated(config, f"reference/api/{name}.md", content=_api(title, **entry))
        )
    return files


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Draw formulas, and let wide tables scroll by themselves."""
    content = MATH.sub(_mathml, content)
    return re.sub(r"<table>.*?</table>", r'<div class="wide">\g<0></div>', content, flags=re.DOTALL)


def _from_docs(link: re.Match[str]) -> str:
    """Return the start of a link of a page at the top, as seen from docs/."""
    path = TOP.get(link[2], link[2].removeprefix("docs/"))
    return link[1] + path


def _api(title: str, about: str, modules: list[str]) -> str:
    names = [m if m.startswith("data_prep") else f"webtext_gpt.{m}" for m in modules]
    return "\n\n".join([f"# {title}", about, *(f"::: {name}" for name in names)]) + "\n"


def _mathml(formula: re.Match[str]) -> str:
    display = "block" if formula[1] == "div" else "inline"
    return latex2mathml.converter.convert(html.unescape(formula[2]), display=display)
