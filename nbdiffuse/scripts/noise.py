"""How a plain diffusers program begins a run with a share of noise."""

from __future__ import annotations

from ..families.first_step import start_at
from ..families.parameters import number_text
from ..recipes.noise_start import noise_start
from ..recipes.recipe import Recipe
from .listing import Listing
from .statements import call, literal


def begin(listing: Listing, recipe: Recipe) -> None:
    """Write the lines that let the next call of a complete recipe begin with its share of noise; none where a step does."""
    start = noise_start(recipe)
    if start is None or start.first is None:
        if listing.starts_between:
            listing.add('vars(pipeline.scheduler).pop("set_timesteps", None)')
        listing.starts_between = False
        return
    first = start.first
    listing.use("functools")
    listing.use("typing", "Any")
    listing.define(start_at)
    given = [f"place={first.place}", f"timestep={literal(first.timestep)}"]
    given += [f"sigma={literal(first.sigma)}"] if first.sigma is not None else []
    given += ["moves_rest=True"] if first.moves_rest else []
    listing.add(f"# The run begins with noise {number_text(recipe.noise or 0)}, between two steps of the schedule.")
    listing.add(*call("start_at", ["pipeline.scheduler", *given]))
    listing.starts_between = True
