"""Fine-tune a GPT, or use a fine-tuned one: `python finetune.py checkpoint=RUN task=sst2`."""

from webtext_gpt.commands import run

if __name__ == "__main__":
    run("finetune")
