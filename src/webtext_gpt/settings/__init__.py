"""Settings of every command: typed, checked as a whole, and described in one place.

`kinds` and `lists` say what a value may be, `base` how settings are declared, `lookup` how keys are
found, `reading` how values are checked, `composition` how Hydra chooses the files of conf/, and
`saved` how a run keeps its settings. The other modules hold the settings of a command or group.
"""

from webtext_gpt.settings.checks import number, whole_number

__all__ = ["number", "whole_number"]
