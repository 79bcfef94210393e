"""Show what a trained model does, on a page in the browser: `python serve.py checkpoint=RUN`."""

from webtext_gpt.commands import run

if __name__ == "__main__":
    run("serve")
