"""Zero-shot evaluation as in the paper: `python eval.py checkpoint=RUN tasks=[lambada]`."""

from webtext_gpt.commands import run

if __name__ == "__main__":
    run("eval")
