"""What can stand in a chain."""

from __future__ import annotations

import importlib
from typing import Any


class Link:
    """What can stand in a chain: `a >> b` redraws with b what a makes."""

    def __rshift__(self, other: Link) -> Any:
        """Return the `Chain` of both."""
        if not isinstance(other, Link):
            return NotImplemented
        # A chain is made of recipes and stands above them, so it is looked up when two are joined.
        return importlib.import_module(".chain", __package__).joined(self, other)
