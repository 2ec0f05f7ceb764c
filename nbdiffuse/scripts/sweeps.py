"""How a sweep becomes a plain diffusers program: a loop over what changes from call to call, a block for what is loaded anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..families.number_lists import called_value
from ..images import latent_masks
from ..images.picture import Picture
from ..recipes.fields import first_name, names_of
from ..recipes.recipe import PARAMS, PROMPTS, Recipe
from ..sweeps.cell import SweepCell
from ..sweeps.sweep import Sweep
from . import adapters, calls, loading, masks, noise, weighting
from .listing import Listing
from .statements import WIDTH, call, exploded, literal
from .writing import OF_MASKS, SIZES, WEIGHTS, Script, Step, refuse_what_no_program_says, size_remark

OF_ADAPTERS = tuple(name for name in names_of("ip_adapters") if name != "ip_adapter_image")
OF_SCHEDULERS = ("scheduler", *names_of("scheduler_config"), *names_of("variation"))
SET_UP = (
    "model",
    "checkpoint",
    "vae",
    "controlnet",
    "lora",
    "embedding",
    *OF_ADAPTERS,
    *OF_SCHEDULERS,
    "weighting",
    "freeu",
    *SIZES,
    *OF_MASKS,
    "extend",
)
"""Fields that change more of a program than an argument of the call; pictures do too."""


@dataclass(frozen=True)
class Block:
    """Cells that differ by arguments of the call alone.

    Parameters
    ----------
    cells
        At least one, in the order of the sweep.
    looped
        The axes on which they differ.
    """

    cells: tuple[SweepCell, ...]
    looped: tuple[str, ...]

    @property
    def recipe(self) -> Recipe:
        """That of the first cell."""
        return self.cells[0].recipe

    def values(self, axis: str) -> list[Any]:
        """Return what the call gets on one of its axes, in order."""
        values = dict.fromkeys(cell.recipe.get(axis) for cell in self.cells)
        # An empty negative prompt is none: SDXL tells the two apart.
        return [value or None if axis == "negative_prompt" else called_value(axis, value) for value in values]

    @property
    def opened(self) -> tuple[Any, ...]:
        """What decides how its pictures are opened."""
        recipe = self.recipe
        mask = tuple(recipe.get(name) for name in OF_MASKS)
        return tuple(recipe.pictures.values()), recipe.width, recipe.height, recipe.resize_mode, mask


def of_sweep(sweep: Sweep, machine: Mapping[str, str], *, own_folder: bool = False, name: str = "cell") -> Script:
    """Write the program that makes the same pixels as a sweep's cells, each run for itself.

    Parameters
    ----------
    sweep
        What to write.
    machine
        As in `writing.Step`; a commit that it names is pinned where one checkpoint serves all cells.
    own_folder
        Whether the program looks for its pictures beside itself, and not where it is run.
    name
        Of the files that it writes, before their number.

    Raises
    ------
    ParameterError
        A cell begins with latents, which are in no file.
    """
    blocks = _blocks(sweep)
    several = len({block.recipe.checkpoint for block in blocks}) > 1
    known = {key: value for key, value in machine.items() if not (several and WEIGHTS.fullmatch(key))}
    listing = Listing(own_folder)
    loaded: tuple[Any, ...] = ()
    opened: tuple[Any, ...] = ()
    for block in blocks:
        recipe = block.recipe
        refuse_what_no_program_says(recipe)
        setup = Step(recipe, known).setup
        if setup != loaded:
            listing.section()
            loading.load(listing, recipe, known)
            loaded = setup
        if recipe.pictures and block.opened != opened:
            listing.section(size_remark(recipe))
            pictures = {field: one for field, one in recipe.pictures.items() if isinstance(one, Picture)}
            calls.open_pictures(listing, recipe, pictures)
            opened = block.opened
        embeddings = weighting.embed(listing, recipe) if recipe.weighs else None
        listing.section()
        _write_calls(listing, block, name, embeddings)
    files = tuple(f"{name}-{cell.index:03d}.png" for cell in sweep.cells())
    return Script(listing.text("A sweep with diffusers."), listing.pictures, files)


def _blocks(sweep: Sweep) -> list[Block]:
    """Return the blocks; those that load the same stand together."""
    names = [axis.name for axis in sweep.axes]
    fixed = {name for name in names if first_name(name) in SET_UP or PARAMS[name].kind is Picture}
    if any(cell.recipe.weighs for cell in sweep.cells()):
        # Weighted prompts are encoded before the call, and a guidance up to 1 leaves the negative one out.
        fixed |= {*PROMPTS, "guidance_scale"}
    if any(cell.recipe.get("mask_content") in ("noise", *latent_masks.CONTENTS) for cell in sweep.cells()):
        # The noise under the mask is the seed's, and so are the latents of the picture.
        fixed.add("seed")
    if any(cell.recipe.variation is not None for cell in sweep.cells()):
        fixed.add("seed")
    if any(cell.recipe.noise is not None for cell in sweep.cells()):
        # Each begins elsewhere in its schedule.
        fixed |= {"strength", "noise", "num_inference_steps"}
    looped = tuple(name for name in names if name not in fixed)
    held: dict[tuple[Any, ...], list[SweepCell]] = {}
    for cell in sweep.cells():
        held.setdefault(tuple(value for axis, value in cell.coordinates if axis not in looped), []).append(cell)
    blocks = [Block(tuple(cells), looped) for cells in held.values()]
    setups = list(dict.fromkeys(Step(block.recipe, {}).setup for block in blocks))
    return sorted(blocks, key=lambda block: setups.index(Step(block.recipe, {}).setup))


def _write_calls(listing: Listing, block: Block, name: str, embeddings: Mapping[str, str] | None) -> None:
    sources, numbers = calls.picture_sources(block.recipe), [cell.index for cell in block.cells]
    varied = {axis: calls.variable_of(axis) for axis in block.looped}
    variables = list(varied.values())
    of_adapters = adapters.put_masks(listing, block.recipe, sources)
    called = masks.put_content(listing, block.recipe, sources)
    lines = [*calls.arguments(block.recipe, called, varied, embeddings), *of_adapters]
    overlay = masks.lay_over(listing, block.recipe, sources)
    noise.begin(listing, block.recipe)
    calls.define_slerp(listing, block.recipe)
    if not block.looped:
        drawn = calls.turned_noise(listing, block.recipe)
        calls.run(listing, block.recipe, lines, literal(block.recipe.seed), overlay=overlay, drawn=drawn)
        listing.add(f"image.save({literal(f'{name}-{numbers[0]:03d}.png')})")
        return
    for axis, variable in varied.items():
        _write_values(listing, f"{variable}_values", block.values(axis))
    places = f"{variables[0]}_values"
    if len(block.looped) > 1:
        listing.use("itertools")
        listing.add(*call("cells = itertools.product", [f"{variable}_values" for variable in variables]))
        places = "cells"
    counted = _counted(listing, places, numbers)
    line = f"for number, {variables[0]} in {counted}:"
    if len(block.looped) > 1:
        line = f"for number, ({', '.join(variables)}) in {counted}:"
    listing.add(*([line] if len(line) <= WIDTH else exploded("for number, ", variables, f" in {counted}:")))
    seed = "seed" if "seed" in varied else literal(block.recipe.seed)
    drawn = calls.turned_noise(listing, block.recipe, "    ")
    calls.run(listing, block.recipe, lines, seed, indent="    ", overlay=overlay, drawn=drawn)
    listing.add(f"    image.save({_file(name)})")


def _write_values(listing: Listing, name: str, values: Sequence[Any]) -> None:
    line = f"{name} = {literal(list(values))}"
    listing.add(*([line] if len(line) <= WIDTH else [f"{name} = [", *(f"    {literal(value)}," for value in values), "]"]))


def _counted(listing: Listing, places: str, numbers: Sequence[int]) -> str:
    """Return the source that counts places as the sweep counts its cells."""
    first, last = numbers[0], numbers[-1]
    if list(numbers) == list(range(first, last + 1)):
        return f"enumerate({places})" if first == 0 else f"enumerate({places}, start={first})"
    _write_values(listing, "numbers", numbers)
    return f"zip(numbers, {places}, strict=True)"


def _file(name: str) -> str:
    text = literal(name.replace("{", "{{").replace("}", "}}"))
    return f"f{text[:-1]}-{{number:03d}}.png{text[-1]}"
