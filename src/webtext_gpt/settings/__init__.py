"""Settings of every command: typed, checked as a whole, and described in one place.

`kinds` says what a value may be, `base` how settings are declared and read, `composition` how Hydra
chooses the files of conf/; the other modules hold the settings of one command or group each.
"""

from webtext_gpt.settings.checks import number, whole_number

__all__ = ["number", "whole_number"]
