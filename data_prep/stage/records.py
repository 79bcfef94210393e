"""Records of the units of work of a stage."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

Record = TypeVar("Record", bound=Mapping[str, Any])


class Records(list[Record], Generic[Record]):
    """Records of finished units of work, in an order that does not depend on who finished first."""

    def total(self, key: str) -> int:
        """Add up the numbers under `key`."""
        return sum(int(record[key]) for record in self)

    @property
    def rejected(self) -> Counter[str]:
        """Rejected rows by reason, added up."""
        return sum((Counter(record["rejected"]) for record in self), Counter[str]())
