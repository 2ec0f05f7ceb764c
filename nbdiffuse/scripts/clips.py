"""A clip as a program of plain diffusers calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image

from ..families.motion import CALLED
from ..images.picture import Picture
from ..recipes.clip_rules import clip_pipeline
from ..recipes.recipe import Recipe
from . import loading
from .calls import generator
from .listing import Listing
from .statements import exploded, literal
from .writing import Script


def of_clip(
    recipe: Recipe,
    frames: Sequence[Image.Image],
    adapter: str,
    machine: Mapping[str, str],
    *,
    own_folder: bool = False,
    name: str = "result",
) -> Script:
    """Write the program that redraws a clip with a motion adapter.

    Parameters
    ----------
    recipe
        Complete, of one frame.
    frames
        RGB, of the run's size; they become files of the program.
    adapter
        Directory or hub id of the motion adapter.
    machine, own_folder, name
        As for `writing.of_steps`.
    """
    listing = Listing(own_folder)
    loading.load(listing, recipe, machine)
    pipeline, dtype, device = clip_pipeline(recipe), machine.get("dtype", "float32"), machine.get("device", "cpu")
    listing.use("diffusers", pipeline, "MotionAdapter")
    listing.use("torch")
    typed = [f"dtype=torch.{dtype}"]
    listing.assign("motion_adapter", "MotionAdapter.from_pretrained", [*loading.located(listing, adapter), *typed])
    listing.assign("pipeline", f"{pipeline}.from_pipe", ["pipeline", "motion_adapter=motion_adapter", *typed])
    if device != "cpu":
        listing.add(f"pipeline.to({literal(device)})")
    listing.section()
    opened = [listing.opened(Picture.of(frame), f"frame-{number:03d}") for number, frame in enumerate(frames)]
    listing.add("frames = [", *(f"    {one}," for one in opened), "]")
    values = [f"{field}={literal(recipe.get(field))}" for field in CALLED if recipe.get(field) not in (None, "")]
    lines = ["video=frames", *values, generator(literal(recipe.seed), recipe)]
    listing.add(*exploded("made = pipeline", lines, ".frames[0]"))
    listing.add("for number, frame in enumerate(made):", f'    frame.save(f"{name}-{{number:03d}}.png")')
    files = tuple(f"{name}-{number:03d}.png" for number in range(len(frames)))
    return Script(listing.text("A clip redrawn as a whole with diffusers."), listing.pictures, files)
