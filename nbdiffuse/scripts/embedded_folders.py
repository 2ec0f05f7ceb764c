"""How a plain diffusers program finds the checkpoints and adapters that come with this package."""

from __future__ import annotations

from .listing import Listing
from .statements import literal


def embedded_folder(listing: Listing, name: str) -> str:
    """Return the folder of an embedded checkpoint or adapter as source, and write what it is looked up with."""
    listing.use("importlib.util", "find_spec")
    listing.use("pathlib", "Path")
    listing.constant(
        'checkpoints = Path(find_spec("nbdiffuse").origin).parent / "embedded/checkpoints"',
        "Small checkpoints that come with nbdiffuse, which is looked up here and not imported.",
    )
    return f"checkpoints / {literal(name)}"
