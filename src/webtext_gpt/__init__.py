"""webtext-gpt: the GPT-2 paper, end to end."""

from webtext_gpt import lean_imports

lean_imports.install()
