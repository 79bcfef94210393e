"""Settings of every command: typed, checked as a whole, and described in one place.

`kinds` and `lists` define the types of values, `base` declares settings, `lookup` finds keys,
`reading` checks values, `composition` lets Hydra choose the files of conf/, and `saved` writes and
reads the settings of a run. The other modules hold the settings of a command or group.
"""

from webtext_gpt.settings.checks import number, whole_number

__all__ = ["number", "whole_number"]
