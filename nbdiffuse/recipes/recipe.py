"""The recipe: one frozen value that says everything a run depends on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..errors import ParameterError
from ..images.latents import MARK, Latents
from ..images.picture import Picture
from ..prompts import dialects
from .aliases import unknown_parameter
from .chain import Link
from .parameters import Param, declared, named_fields

FORMAT = 1
"""Format number of a recipe's JSON; raised when a field changes its meaning."""
_DRAWN = "Leave it out to draw one."


@named_fields
@dataclass(frozen=True, kw_only=True)
class Recipe(Link):
    """Everything that one run depends on, under diffusers' own parameter names.

    `None` means "the preset's default"; `completion.resolve` fills it in and draws
    the seed. A recipe is hashable and equal to another iff every field and every
    pixel of its pictures is. With a picture it is image-to-image, without one
    text-to-image.

    Parameters
    ----------
    prompt
        What to draw.
    image
        Initial picture: a PIL image, a path, bytes or a numpy array; any mode and
        size (see `images.Picture.of`); or the `Latents` of a result.
    model
        Name of a preset, see `presets.PRESETS`.
    strength
        How far to move away from the initial picture, in [0, 1].
    guidance_scale
        Classifier-free guidance, in [0, 100]; values up to 1 ignore the negative prompt.
    num_inference_steps
        Length of the schedule, in [1, 1000] steps.
    seed
        Seed of `torch.Generator("cpu")`, in [0, 2**63 - 1].
    negative_prompt
        What to keep away from.
    scheduler
        Name of a diffusers scheduler class without its suffix, such as "DDIM".
    width, height
        Size of the result in pixels, multiples of 8 in [64, 4096].
    resize_mode
        How the initial picture meets that size: "fit" keeps everything and the
        proportions to within the multiple of 8, "crop" fills the size and cuts the
        rest, "pad" keeps everything and adds borders.
    checkpoint
        The weights: a name of the embedded family, a hub id with "@revision" behind it
        where one is meant, or a local directory; what `model` stands for when not given.
    mask_image
        Inpainting: white is redrawn, black stays; any mode and size.
    controlnet
        Name of a ControlNet, see `controlnets.CONTROLNETS`; or any other one by its hub id or directory.
    control_image
        What the ControlNet follows, such as a depth map; any mode and size.
    controlnet_conditioning_scale
        Weight of the ControlNet, in [0, 2].
    control_guidance_start, control_guidance_end
        Part of the steps in which the ControlNet acts, in [0, 1].
    controlnet_2, control_image_2, controlnet_conditioning_scale_2, control_guidance_start_2, control_guidance_end_2
        A second ControlNet, which acts together with the first, and the same about it.
    prompt_2, negative_prompt_2
        Prompts of SDXL's second text encoder; the first ones when not given.
    aesthetic_score, negative_aesthetic_score
        What the SDXL refiner is told about the picture, in [0, 10].
    prior_guidance_scale, prior_num_inference_steps
        The same as `guidance_scale` and `num_inference_steps` for Kandinsky's prior.
    noise_level
        How much noise the x4 upscaler adds to the picture it is given, in [0, 350].
    lora
        LoRA files over the checkpoint's weights, `FILE:WEIGHT`, see `lora.read`.
    weighting
        Dialect in which the prompts weigh words: "compel" (`jungle++`), "a1111"
        (`(jungle:1.3)`), or "none".

    Raises
    ------
    ParameterError
        A value breaks its rule.
    ImageInputError
        A picture cannot be read.
    """

    prompt: str = declared("", Param(str, "what to draw"))
    image: Any = declared(None, Param(Picture, "initial picture: a file, or the name of a variable"))
    model: str = declared("sd15", Param(str, "preset of the checkpoint", short="-m"))
    strength: float | None = declared(None, Param(float, "how far to move away from the initial picture", 0, 1, 0.05, short="-s"))
    guidance_scale: float | None = declared(
        None, Param(float, "how strongly the prompt pulls (CFG)", 0, 100, 0.5, short="-g", usual=(1, 20))
    )
    num_inference_steps: int | None = declared(
        None, Param(int, "length of the denoising schedule", 1, 1000, 1, short="-n", unit="of steps", usual=(1, 100))
    )
    seed: int | None = declared(None, Param(int, "seed of the noise; drawn when not given", 0, 2**63 - 1, 1, advice=_DRAWN))
    negative_prompt: str | None = declared(None, Param(str, "what to keep away from"))
    scheduler: str | None = declared(None, Param(str, "diffusers scheduler, such as DDIM or EulerDiscrete"))
    width: int | None = declared(None, Param(int, "width of the result in pixels", 64, 4096, 8, multiple=True))
    height: int | None = declared(None, Param(int, "height of the result in pixels", 64, 4096, 8, multiple=True))
    resize_mode: str | None = declared(None, Param(str, "how the initial picture meets the size", choices=("fit", "crop", "pad")))
    checkpoint: str | None = declared(None, Param(str, "weights: an embedded name, a hub id, or a directory"))
    mask_image: Any = declared(None, Param(Picture, "inpainting mask: white is redrawn"))
    controlnet: str | None = declared(None, Param(str, "ControlNet that keeps the layout: depth, a hub id or a directory"))
    control_image: Any = declared(None, Param(Picture, "what the ControlNet follows, such as a depth map"))
    controlnet_conditioning_scale: float | None = declared(None, Param(float, "weight of the ControlNet", 0, 2, 0.05))
    control_guidance_start: float | None = declared(None, Param(float, "part of the steps where it begins", 0, 1, 0.05))
    control_guidance_end: float | None = declared(None, Param(float, "part of the steps where it ends", 0, 1, 0.05))
    controlnet_2: str | None = declared(None, Param(str, "second ControlNet, beside the first"))
    control_image_2: Any = declared(None, Param(Picture, "what the second ControlNet follows"))
    controlnet_conditioning_scale_2: float | None = declared(None, Param(float, "weight of the second ControlNet", 0, 2, 0.05))
    control_guidance_start_2: float | None = declared(None, Param(float, "part of the steps where the second begins", 0, 1, 0.05))
    control_guidance_end_2: float | None = declared(None, Param(float, "part of the steps where the second ends", 0, 1, 0.05))
    prompt_2: str | None = declared(None, Param(str, "prompt of SDXL's second text encoder"))
    negative_prompt_2: str | None = declared(None, Param(str, "negative prompt of SDXL's second text encoder"))
    aesthetic_score: float | None = declared(None, Param(float, "score the SDXL refiner aims at", 0, 10, 0.5))
    negative_aesthetic_score: float | None = declared(None, Param(float, "score the SDXL refiner keeps away from", 0, 10, 0.5))
    prior_guidance_scale: float | None = declared(None, Param(float, "guidance of Kandinsky's prior", 0, 100, 0.5, usual=(1, 20)))
    prior_num_inference_steps: int | None = declared(
        None, Param(int, "steps of Kandinsky's prior", 1, 1000, 1, unit="of steps", usual=(1, 100))
    )
    noise_level: int | None = declared(None, Param(int, "noise the x4 upscaler adds to its picture", 0, 350, 1))
    lora: str | None = declared(None, Param(str, "LoRA over the weights, such as style.safetensors:0.8"))
    weighting: str | None = declared(None, Param(str, "how prompts weigh words", choices=tuple(dialects.READERS)))

    def __post_init__(self) -> None:
        for name, param in PARAMS.items():
            value = getattr(self, name)
            required = name in ("prompt", "model")
            if value is not None or required:
                object.__setattr__(self, name, param.check(name, value))

    @property
    def task(self) -> str:
        """ "img2img" with an initial picture, "txt2img" without."""
        return "txt2img" if self.image is None else "img2img"

    @property
    def weighs(self) -> bool:
        """Whether the prompts are read in a dialect of weighting."""
        return self.weighting not in (None, dialects.NONE)

    @property
    def pictures(self) -> dict[str, Picture | Latents]:
        """The pictures that are set, by field."""
        held = {name: getattr(self, name) for name, param in PARAMS.items() if param.kind is Picture}
        return {name: picture for name, picture in held.items() if picture is not None}

    def replace(self, **changes: Any) -> Recipe:
        """Return a copy with some fields changed; unknown names are refused with the nearest one."""
        for name in changes:
            if name not in PARAMS:
                raise ParameterError(unknown_parameter(name, PARAMS))
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that are set, pictures as content addresses."""
        values = {name: getattr(self, name) for name in PARAMS}
        held = {name: value for name, value in values.items() if value is not None}
        return {name: value.address if isinstance(value, (Picture, Latents)) else value for name, value in held.items()}

    def to_json(self) -> str:
        """Return canonical JSON: sorted keys, no blanks, a format number."""
        return json.dumps({"format": FORMAT, **self.to_dict()}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """Build a recipe from names and values; content addresses become pictures."""
        for name in values:
            if name not in PARAMS:
                raise ParameterError(unknown_parameter(name, PARAMS))
        pictures = {
            name: Latents.at(value) if value.startswith(MARK) else Picture(value)
            for name, value in values.items()
            if PARAMS[name].kind is Picture and isinstance(value, str) and value.startswith(("sha256:", MARK))
        }
        return cls(**{**values, **pictures})

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Read what `to_json` wrote."""
        try:
            values = json.loads(text, object_pairs_hook=_each_once)
        except ParameterError:
            raise
        except ValueError as error:
            raise ParameterError(f"A recipe must be JSON: {error}.") from None
        if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
            raise ParameterError(f"A recipe must be a JSON object of format {FORMAT}.")
        return cls.from_dict(values)

    @cached_property
    def digest(self) -> str:
        """sha256 of the canonical JSON, in hexadecimal."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build a JSON object, and refuse a name that is in it twice instead of forgetting the first."""
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ParameterError(f"`{twice}` must be given once in a recipe's JSON, got it twice. Leave one out.")
    return values


PROMPTS = ("prompt", "negative_prompt", "prompt_2", "negative_prompt_2")
"""Fields that a text encoder reads."""
PARAMS: dict[str, Param] = {f.name: f.metadata["param"] for f in dataclasses.fields(Recipe)}
"""Declaration of every field, by name, in order."""
