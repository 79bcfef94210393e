"""Generate text from a trained model: `python generate.py checkpoint=RUN prompt="..."`."""

from webtext_gpt.commands import run

if __name__ == "__main__":
    run("generate")
