"""The site has pages from outside of docs/, and reads Markdown as GitHub does: hooks of MkDocs.

README.md, CONTRIBUTING.md and CHANGELOG.md are pages as they are, with their links as seen from
docs/. Other files of the repository that a page links to are copied as texts; a folder is a list of
its files. The API's pages name modules, whose docstrings mkdocstrings renders. Formulas become
MathML, which browsers draw without a script.
"""

import html
import os
import re
from pathlib import Path

import latex2mathml.converter
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).parents[2]
TOP = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""Pages at the top of the repository, and their names in the site."""

BOOST = {"tutorials": 4, "how-to": 4, "reference/api": 0.2, ".": 0.2}
"""Weights of folders in the search: how to do something first, internals last."""

API = {
    "Models": (
        "GPT-2 and GPT-1, the Transformer of 2017, classification heads and LoRA.",
        "model model.transformer model.lora",
    ),
    "Checkpoints and weights": (
        "`load` opens any checkpoint of ours and any foreign model.",
        "checkpoint.load checkpoint.store weights weights.foreign",
    ),
    "Tokenizer": ("Text to token ids and back.", "tokenizer pair_tokenizer"),
    "Data": (
        "Sources of text, token shards, and the order of samples.",
        "data.sources data.prepare data.shards data.shard_writer data.pretraining data.sampler",
    ),
    "Training": (
        "Pretraining, optimizers and schedules.",
        "training.pretrain training.module training.optim training.schedule training.batch "
        "training.summary",
    ),
    "Fine-tuning": (
        "Classifiers and completion models, and their predictions.",
        "finetuning.run finetuning.predict finetuning.metrics",
    ),
    "Generation": (
        "Decoding with a key-value cache, sampling and beam search.",
        "generation.decoding generation.sampling generation.beams generation.translate",
    ),
    "Evaluation": (
        "Benchmarks and their scores; adapters for EleutherAI's harness.",
        "evaluation.benchmark evaluation.registry evaluation.scoring evaluation.detokenizers "
        "lm_eval",
    ),
    "Corpus": (
        "Each stage of the corpus as a function.",
        "links pages documents quality dedup overlap filters tokenizer shards report build",
    ),
    "Errors": ("A wrong input raises `UserError`; any other exception is a defect.", "errors"),
}
"""Pages of the API: what each is about, and its public modules; those of Corpus are data_prep's."""

LINK = re.compile(r"(\]\()([^)\s#]+)")
ITEM = re.compile(r"(?:[-*+]|\d+[.)]) +")
STARTS = re.compile(r"(?:[-*+]|1[.)]) +")
FENCE = re.compile(r" *(```|~~~)")
TABLE = re.compile(r"<table>.*?</table>", re.DOTALL)
CODE = re.compile(r"(?<=<code>)[^<]+")
JOINT = re.compile(r"::(?=\w)|[./=,](?=\w{5})|(?<=\w{5})_(?=\w{4})")
MATH = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages whose sources are outside of docs/."""
    for source, page in TOP.items():
        text = LINK.sub(_from_docs, (REPOSITORY / source).read_text(encoding="utf-8"))
        head = "---\nhide: [navigation]\n---\n" if page == "index.md" else ""  # it is alone there
        files.append(File.generated(config, page, content=head + text))
    for file in list(files.documentation_pages()):
        for link in LINK.finditer(file.content_string):
            path = _outside(link[2], Path(file.src_uri).parent)
            if path and files.get_file_from_path(_copy(path)) is None:
                files.append(File.generated(config, _copy(path), content=_text(path)))
    for title, (about, modules) in API.items():
        page = f"reference/{api_page(title)}"
        files.append(File.generated(config, page, content=_api(title, about, modules)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return a page as Python-Markdown has to be given it, and rank it in the search."""
    folder = Path(page.file.src_uri).parent
    page.meta["search"] = {"boost": BOOST.get(folder.as_posix(), 1)}

    def to_copy(link: re.Match[str]) -> str:
        path = _outside(link[2], folder)
        return link[1] + os.path.relpath(_copy(path), folder) if path else link[0]

    markdown = LINK.sub(to_copy, markdown)
    return as_github(markdown)


def as_github(markdown: str) -> str:
    """Return Markdown that Python-Markdown renders as GitHub renders the given one.

    A list may follow a paragraph without an empty line between them, and what belongs to an item is
    indented by four spaces, not by the width of the item's marker.
    """
    lines: list[str] = []
    offsets: list[int] = []  # columns where the text of the open items begins
    fence = previous = ""
    several_blocks = False  # whether the last item has more than one paragraph
    for line in markdown.split("\n"):
        text = line.lstrip(" ")
        column = len(line) - len(text)
        if not text:
            lines.append("")
            previous, several_blocks = "", True
            continue
        depth = len(offsets)
        while not fence and offsets and column < offsets[-1]:
            offsets.pop()
        indent = 4 * len(offsets) + max(0, column - (offsets[-1] if offsets else 0))
        # Inside a paragraph, a line begins a list only as a bullet or with the number 1.
        item = None if fence else (STARTS if previous and not depth else ITEM).match(text)
        if item:
            if previous and (several_blocks or len(offsets) != depth - 1):
                lines.append("")
            offsets.append(column + item.end())
            several_blocks = False
        if opened := FENCE.match(line):
            fence = "" if fence == opened[1] else fence or opened[1]
        lines.append(" " * indent + text)
        previous = "" if fence else line
    return "\n".join(lines)


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Draw formulas, and let wide tables scroll by themselves, with names that break in places."""
    content = MATH.sub(_mathml, content)
    return TABLE.sub(lambda table: f'<div class="wide">{breakable(table[0])}</div>', content)


def breakable(table: str) -> str:
    """Return the HTML of a table in whose code a line may break between the parts of a name.

    A bar that is escaped, as tables on GitHub need it, loses its backslash.
    """
    return CODE.sub(lambda code: JOINT.sub(r"\g<0><wbr>", code[0].replace(r"\|", "|")), table)


def _text(path: str) -> str:
    """Return the text of a file, or the names in a folder."""
    place = REPOSITORY / path
    if place.is_dir():
        return "".join(f"{path}/{name}\n" for name in sorted(p.name for p in place.iterdir()))
    return place.read_text(encoding="utf-8")


def _outside(link: str, folder: Path) -> str | None:
    """Return what a page in a folder links to, if it is in the repository but not in docs/."""
    path = (REPOSITORY / "docs" / folder / link).resolve()
    docs = REPOSITORY / "docs"
    if not path.exists() or path.is_relative_to(docs) or not path.is_relative_to(REPOSITORY):
        return None
    return path.relative_to(REPOSITORY).as_posix()


def _copy(path: str) -> str:
    return TOP.get(path, f"repository/{path}.txt")


def _from_docs(link: re.Match[str]) -> str:
    """Return the start of a link of a page at the top, as seen from docs/."""
    path = TOP.get(link[2], link[2].removeprefix("docs/"))
    return link[1] + path


def api_page(title: str) -> str:
    """Return the file of a page of the API, as seen from reference/."""
    return f"api/{title.lower().replace(' ', '-')}.md"


def _api(title: str, about: str, modules: str) -> str:
    package = "data_prep" if title == "Corpus" else "webtext_gpt"
    names = [f"::: {package}.{module}" for module in modules.split()]
    return "\n\n".join([f"# {title}", about, *names]) + "\n"


def _mathml(formula: re.Match[str]) -> str:
    display = "block" if formula[1] == "div" else "inline"
    return latex2mathml.converter.convert(html.unescape(formula[2]), display=display)
