"""Script: a program with its pictures, and how a recipe becomes one."""

from __future__ import annotations

import dataclasses
import io
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from ..errors import FileError, ParameterError
from ..families.diffusers_classes import call_defaults
from ..files.atomic import write_atomic
from ..files.targets import check_file, made_folder
from ..images.latents import Latents
from ..images.picture import Picture
from ..recipes.fields import first_name, names_of
from ..recipes.parts import SHAPING
from ..recipes.presets import mode_of, preset_of
from ..recipes.recipe import Recipe
from ..recipes.resolve import call_fields
from ..recipes.sizes import initial_size, keeps_own_size
from . import adapters, calls, loading, masks, noise, weighting
from .listing import Listing
from .statements import literal

TITLES = {
    "txt2img": "Text-to-image with diffusers.",
    "img2img": "Image-to-image with diffusers.",
    "img2img+mask": "Inpainting with diffusers.",
    "edit": "Editing by an instruction with diffusers.",
    "edit+mask": "Editing what a mask says with diffusers.",
}


WEIGHTS = re.compile(r"checkpoint|vae|(controlnet|embedding|ip_adapter|lora)(_[0-9]+)?")
"""Parts of a fingerprint that say whose weights were used."""
SIZES = ("width", "height", "resize_mode")
OF_MASKS = ("mask_overlay", "mask_content", "mask_differential", *SHAPING)
WRITTEN = frozenset(
    {
        "model",
        "checkpoint",
        "vae",
        "controlnet",
        "lora",
        "embedding",
        *(name for name in names_of("ip_adapters") if name != "ip_adapter_image"),
        "safety_checker",
        "scheduler",
        *names_of("scheduler_config"),
        *names_of("variation"),
        "weighting",
        "freeu",
        "seed",
        *SIZES,
        *OF_MASKS,
    }
)
"""Fields that a program says elsewhere than in the call."""


@dataclass(frozen=True)
class Script:
    """A program and the pictures that it opens.

    Parameters
    ----------
    text
        Python source; it imports torch, diffusers and Pillow, and not this package.
    pictures
        RGB pictures by the name of the file that the program expects, a PNG.
    results
        Files that the program writes, one for each picture that it makes.
    """

    text: str
    pictures: Mapping[str, Image.Image]
    results: tuple[str, ...]

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the program, and its pictures beside it.

        Raises
        ------
        FileError
            The suffix is not .py, or a file cannot be written.
        """
        target = check_file(path, (".py",))
        made_folder(target.parent)
        try:
            for name, picture in self.pictures.items():
                data = io.BytesIO()
                picture.save(data, "PNG")
                write_atomic(target.parent / name, data.getvalue())
            write_atomic(target, self.text.encode())
        except OSError as error:
            raise FileError(f"{target} cannot be written: {error.strerror or error}.") from None
        return target


@dataclass(frozen=True)
class Step:
    """One call of a pipeline.

    Parameters
    ----------
    recipe
        Complete; of a later step, `image` is a picture of the size that the one before makes.
    machine
        The fingerprint of its result, or what is known of it before there is one:
        "device", "dtype"; a CPU with float32 where it says nothing.
    decoded
        Of a later step, why it gets a picture; empty where it gets latents.
    """

    recipe: Recipe
    machine: Mapping[str, str]
    decoded: str = ""

    @property
    def setup(self) -> tuple[Any, ...]:
        """What has to be loaded for it."""
        recipe = self.recipe
        nets = tuple(net.checkpoint for net in recipe.controlnets)
        adapters = tuple(dataclasses.replace(one, image=None, mask=None) for one in recipe.ip_adapters)
        weights = recipe.checkpoint, recipe.loras, recipe.embeddings, nets, adapters
        return (
            preset_of(recipe.model).pipeline(recipe),
            *weights,
            recipe.scheduler,
            recipe.scheduler_config,
            recipe.vae,
            recipe.safety_checker,
            recipe.get("clip_skip") is not None,
            recipe.get("freeu"),
        )


def of_steps(steps: Sequence[Step], *, own_folder: bool = False, name: str = "result") -> Script:
    """Write the program that makes the same pixels as a recipe or a chain.

    Parameters
    ----------
    steps
        At least one.
    own_folder
        Whether the program looks for its pictures beside itself, and not where it is run.
    name
        Of the file that it writes, without a suffix.

    Raises
    ------
    ParameterError
        The first step begins with latents, which are in no file.
    """
    for step in steps:
        refuse_what_no_program_says(step.recipe)
    listing = Listing(own_folder)
    loaded: tuple[Any, ...] = ()
    for number, step in enumerate(steps):
        if number:
            reason = (
                f"The next step gets the picture: {step.decoded}." if step.decoded else "The next step goes on from the latents."
            )
            listing.section(reason)
        if step.setup != loaded:
            loading.load(listing, step.recipe, step.machine)
            loaded = step.setup
        to_latents = number + 1 < len(steps) and not steps[number + 1].decoded
        _write_step(listing, step, bool(number), to_latents)
    file = f"{name}.png"
    listing.add(f"image.save({literal(file)})")
    title = _title(mode_of(steps[0].recipe)) if len(steps) == 1 else "A chain of pipelines with diffusers."
    return Script(listing.text(title), listing.pictures, (file,))


def _title(mode: str) -> str:
    """Return what a program of one step is, in one line."""
    task = mode.partition("+controlnet")[0].removesuffix("+pag")
    named = ["a ControlNet"] if "+controlnet" in mode else []
    named += ["perturbed-attention guidance"] if mode.endswith("+pag") else []
    return TITLES[task].replace("diffusers.", " and ".join([*named, "diffusers."]))


def _write_step(listing: Listing, step: Step, later: bool, to_latents: bool) -> None:
    recipe = step.recipe
    sources = calls.picture_sources(recipe)
    if later:
        sources["image"] = "image" if step.decoded else "latents"
    opened = {
        field: picture
        for field, picture in recipe.pictures.items()
        if isinstance(picture, Picture) and not (later and field == "image")
    }
    if opened:
        listing.section(size_remark(recipe))
    if later and step.decoded:
        calls.bring_to_size(listing, recipe, "image", "image")
    calls.open_pictures(listing, recipe, opened)
    embeddings = weighting.embed(listing, recipe) if recipe.weighs else None
    if not later or opened or embeddings:
        listing.section()
    of_adapters = adapters.put_masks(listing, recipe, sources)
    called = masks.put_content(listing, recipe, sources)
    lines = [*calls.arguments(recipe, called, embeddings=embeddings), *of_adapters]
    noise.begin(listing, recipe)
    drawn = calls.turned_noise(listing, recipe, decoded=not later or bool(step.decoded))
    if to_latents:
        calls.run(listing, recipe, [*lines, 'output_type="latent"'], literal(recipe.seed), "latents", drawn=drawn)
        if preset_of(recipe.model).packed:
            listing.add("# They come as a row of patches, and go on as a picture.")
            laid_out = f"latents[None], {recipe.height}, {recipe.width}, pipeline.vae_scale_factor"
            listing.add(f"latents = pipeline._unpack_latents({laid_out})")
    else:
        overlay = masks.lay_over(listing, recipe, sources)
        calls.run(listing, recipe, lines, literal(recipe.seed), overlay=overlay, drawn=drawn)


def refuse_what_no_program_says(recipe: Recipe) -> None:
    """Raise `ParameterError` where a complete recipe begins with latents, or has a field that is written nowhere."""
    if isinstance(recipe.image, Latents):
        way_out = "Give the whole chain, or the decoded picture: `result.image`."
        raise ParameterError(f"`image` must be a picture in a program, got latents. {way_out}")
    preset = preset_of(recipe.model)
    called = call_fields(recipe, call_defaults(preset.pipeline(recipe))).values()
    said = WRITTEN | {field for fields in called for field in fields} | preset.options(recipe).keys()
    for field in recipe.values():
        if field not in said and first_name(field) not in WRITTEN:
            raise ParameterError(f"`{field}` must be left out in a program, which does not say it yet.")


def size_remark(recipe: Recipe) -> str:
    """Say why pictures are resized; empty where they are not."""
    size = initial_size(recipe)
    if all(picture.size == size for field, picture in recipe.pictures.items() if not keeps_own_size(field)):
        return ""
    multiple = preset_of(recipe.model).origin_of(str(recipe.checkpoint)).size_multiple
    return f"Both sides of what the model is given have to be multiples of {multiple}."
