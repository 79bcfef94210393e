"""The explorer as one HTML file with a small language model inside, which opens from disk.

The file holds the style, the scripts, and the model: weights in float16, the vocabulary and the
tokenizer's rules. Its scripts do the server's computations in plain JavaScript. Its policy allows
only these scripts, by their hashes, and no requests.

Weights are in float16, not in 8 bits: after 300 prompts, the quickstart's model has the same ten
likeliest tokens as in fp32 in 99.7 % of the cases; with 8 bits and a scale per row, in 87 %.
"""

import base64
import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from webtext_gpt.checkpoint.load import LoadedModel, kind_of
from webtext_gpt.errors import UserError
from webtext_gpt.explorer.bundle import bundle
from webtext_gpt.explorer.examples import example
from webtext_gpt.explorer.tokenizer_rules import tokenizer_rules
from webtext_gpt.files import write_text
from webtext_gpt.model import GPT

STATIC = Path(__file__).with_name("static")
MOST_PARAMETERS = 32_000_000
"""Largest model in a page: 64 MB of weights, and about 0.1 seconds of JavaScript per token."""

_STYLE = re.compile(r'<link rel="stylesheet" href="static/([^"]+)">')
_SCRIPT = re.compile(r'\s*<script\b([^>]*) src="static/([^"]+)"[^>]*></script>')


def export_page(loaded: LoadedModel, name: str, path: Path) -> None:
    """Write a page with a language model inside; an existing file is replaced.

    Args:
        loaded: the model and its tokenizer.
        name: the model's name on the page.
        path: the HTML file to write. It appears when it is complete.

    Raises:
        UserError: the model is no language model or too large, float16 cannot hold its weights, or
            its tokenizer has rules that the page does not know.
    """
    model = loaded.model
    if not isinstance(model, GPT):
        raise UserError(
            f"export={path}: {name} is a {kind_of(model)}, and a page can hold only a language "
            "model; leave export out to explore it"
        )
    if model.num_parameters > MOST_PARAMETERS:
        raise UserError(
            f"export={path}: {name} has {model.num_parameters:,} parameters, and a page can hold "
            f"{MOST_PARAMETERS:,}; leave export out to explore it"
        )
    contents = {
        "described": _described(loaded, model, name),
        "rules": tokenizer_rules(loaded.tokenizer),
        "shapes": [[key, list(value.shape)] for key, value in _weights(model)],
    }
    write_text(path, _page(contents, _float16(model, name, path)))


def _described(loaded: LoadedModel, model: GPT, name: str) -> dict[str, Any]:
    """Return the answer to `/api/model`; the page adds the names of its views."""
    return {
        "name": name,
        "kind": "language_model",
        "checkpoints": [{"id": "default", "label": name, "step": None}],
        "default": "default",
        "config": dataclasses.asdict(model.config),
        "parameters": model.num_parameters,
        "labels": None,
        "takes_pairs": False,
        "example": example(loaded.tokenizer),
        "has_curve": False,
    }


def _weights(model: GPT) -> Iterator[tuple[str, Tensor]]:
    """Yield the names and values of the weights; a tied output layer is left out."""
    for name, value in model.state_dict().items():
        if not (model.config.tied_embeddings and name == "lm_head.weight"):
            yield name, value


def _float16(model: GPT, name: str, path: Path) -> bytes:
    """Return all weights in little-endian float16, row after row."""
    parts = []
    for key, value in _weights(model):
        with np.errstate(over="ignore"):
            half = value.numpy().astype("<f2")
        if not np.isfinite(half).all():
            raise UserError(
                f"export={path}: {name} has a value in {key} that float16 cannot hold, above "
                f"{np.finfo(np.float16).max:,.0f} or not a number; leave export out to explore it"
            )
        parts.append(half.tobytes())
    return b"".join(parts)


def _page(contents: dict[str, Any], weights: bytes) -> str:
    """Return the HTML file: static/index.html with all files that it refers to inside."""
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    classic = [file for options, file in _SCRIPT.findall(page) if "module" not in options]
    scripts = [(STATIC / file).read_text(encoding="utf-8") for file in classic]
    modules = bundle(STATIC, "local/main.js")
    styles = [(STATIC / file).read_text(encoding="utf-8") for file in _STYLE.findall(page)]
    model = json.dumps(contents, separators=(",", ":")).replace("<", "\\u003c")
    inside = [
        *(_inline("script", "", script) for script in scripts),
        _inline("script", ' type="application/json" id="page-model"', model),
        _inline(
            "script", ' type="text/plain" id="page-weights"', base64.b64encode(weights).decode()
        ),
        _inline("script", ' type="module"', modules),
    ]
    page = _SCRIPT.sub("", _STYLE.sub("", page))
    page = page.replace("</body>", "".join(inside) + "</body>")
    policy = _policy([*scripts, modules], styles)
    head = f'<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="{policy}">'
    page = page.replace('<meta charset="utf-8">', head)
    return page.replace("</head>", "".join(_inline("style", "", s) for s in styles) + "</head>")


def _policy(scripts: list[str], styles: list[str]) -> str:
    """Return the Content-Security-Policy that allows these scripts and styles, and no request."""
    return (
        f"default-src 'none'; script-src {_hashes(scripts)}; style-src {_hashes(styles)}; "
        "img-src blob: data:; base-uri 'none'; form-action 'none'"
    )


def _hashes(texts: list[str]) -> str:
    digests = (hashlib.sha256(text.encode()).digest() for text in texts)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


def _inline(tag: str, attributes: str, text: str) -> str:
    """Return an element with a text, which must not contain the element's end or a comment."""
    if re.search(rf"</{tag}|<!--", text, re.IGNORECASE):
        raise ValueError(f"a {tag} inside the page holds its own end, or a comment of HTML")
    return f"<{tag}{attributes}>{text}</{tag}>\n"
