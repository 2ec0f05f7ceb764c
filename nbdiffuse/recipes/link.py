"""Link: what recipes and chains have in common, the operator `>>`."""

from __future__ import annotations

import importlib
from typing import Any


class Link:
    """A recipe or a chain: `a >> b` is the chain in which b redraws the result of a."""

    def __rshift__(self, other: Link) -> Any:
        """Return the `Chain` of both."""
        if not isinstance(other, Link):
            return NotImplemented
        # A chain is made of recipes and stands above them, so it is looked up when two are joined.
        return importlib.import_module(".chain", __package__).joined(self, other)
