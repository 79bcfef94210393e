"""webtext-gpt: the GPT-2 paper, end to end."""
