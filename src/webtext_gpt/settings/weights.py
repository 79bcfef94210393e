"""Settings of the command that converts models."""

from typing import Annotated, ClassVar

from webtext_gpt.settings.base import Settings, setting
from webtext_gpt.settings.inference import MODEL
from webtext_gpt.settings.kinds import PathText, Switch


class Weights(Settings):
    """Convert a model from one format to another.

    It reads our runs and .ckpt files, Hugging Face's GPT-2, GPT-1, their sequence classifiers and
    MarianMT as written here, nanoGPT's and minGPT's files. It writes our .ckpt, a folder for
    transformers, a .gguf file for llama.cpp, or an .onnx file with tokenizer.json beside it.
    """

    examples: ClassVar[dict[str, str]] = {
        "{command} checkpoint=runs/... out=gpt2_folder": "to a Hugging Face folder",
        "{command} checkpoint=openai-community/gpt2 out=gpt2.ckpt": "from the hub",
        "{command} checkpoint=ckpt.pt tokenizer=input.txt out=shakespeare.ckpt": (
            "nanoGPT's character model, with its training text"
        ),
        "{command} checkpoint=runs/... out=model.gguf": "for llama.cpp",
        "{command} checkpoint=runs/... out=onnx/model.onnx": "for onnxruntime, with tokenizer.json",
    }

    checkpoint: Annotated[str, PathText(what="a model")] = setting(
        ..., f"model: {MODEL}, or nanoGPT's ckpt.pt", common=True
    )
    out: Annotated[str, PathText()] = setting(
        ...,
        "file whose ending names the format, .ckpt (ours), .gguf or .onnx; any other name: a "
        "Hugging Face folder",
        common=True,
    )
    tokenizer: Annotated[str | None, PathText(what="a tokenizer", null="the model's own")] = (
        setting(
            None,
            "for a model without one: tokenizer.json, a folder or hub name, or the training text "
            "of a character model (input.txt)",
            common=True,
        )
    )
    force: Annotated[bool, Switch()] = setting(
        False, "replace the file at out, or the model in the folder; other files stay", common=True
    )
