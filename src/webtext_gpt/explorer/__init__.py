"""The explorer: a page that shows what a model does, served on this machine."""
