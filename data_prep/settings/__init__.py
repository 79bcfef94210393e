"""Settings of the corpus commands, a class for each."""

from data_prep.settings.build import Build
from data_prep.settings.quality import Quality
from data_prep.settings.texts import Dedup, Documents, Filters, Overlap
from data_prep.settings.tokens import REPORTED, Report, Shards, TokenizerSettings
from data_prep.settings.web import Engine, Links, Pages, Politeness, Urls

__all__ = [
    "REPORTED", "Build", "Dedup", "Documents", "Engine", "Filters", "Links", "Overlap", "Pages",
    "Politeness", "Quality", "Report", "Shards", "TokenizerSettings", "Urls",
]  # fmt: skip
