"""The recipe: one frozen value that says everything a run depends on."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..errors import ParameterError, breaks_rule
from ..families.aliases import unknown_parameter
from ..families.arguments import ARGUMENTS
from ..families.parameters import Param, declared
from ..families.recognition import model_of_weights
from ..images.fitting import RESIZE_MODES
from ..images.latents import Latents
from ..images.picture import Picture
from ..prompts import dialects
from .call_arguments import Arguments, checked_arguments
from .corrections import Corrections
from .fields import OF_PARTS, PARTS, SINGLE, Place, place_of
from .ip_adapter import IPAdapter
from .link import Link
from .lora import Lora
from .parts import ControlNet, Mask
from .recipe_json import each_once, with_pictures
from .reference import Reference
from .scheduler_config import SchedulerConfig
from .textual_inversion import TextualInversion
from .values_by_name import assign, listed, of_part, order, parts_of, places, value_of
from .variation import Variation

FORMAT = 2
"""Format number of a recipe's JSON; format 1, without parts, is read too."""
_DRAWN = "Leave it out to draw one."


@dataclass(frozen=True, init=False)
class Recipe(Link):
    """Everything that one run depends on, under diffusers' own parameter names.

    `None` means "not said"; `resolve.resolve` fills it in and draws the seed. A recipe is
    hashable and equal to another iff every field and every pixel of its pictures is.
    With a picture it is image-to-image, without one text-to-image.

    Parameters
    ----------
    prompt
        What to draw.
    image
        Initial picture: a PIL image, a path, bytes or a numpy array; any mode and
        size (`images.Picture.of`); or the `Latents` of a result.
    model
        Name of a preset, see `presets.PRESETS`.
    strength
        How far to move away from the initial picture, in [0, 1].
    noise
        Share of noise that the run begins with, in [0.01, 1], in place of a strength; see `noise_start.NoiseStart`.
    guidance_scale
        Classifier-free guidance, in [0, 100]; values up to 1 ignore the negative prompt.
    num_inference_steps
        Number of steps, in [1, 1000].
    seed
        Seed of `torch.Generator("cpu")`, in [0, 2**63 - 1].
    negative_prompt
        What to keep away from.
    scheduler
        Name of a diffusers scheduler class without its suffix, such as "DDIM"; the
        checkpoint's own when not given; or another tool's name, such as "DPM++ 2M Karras".
    width, height
        Size of the result in pixels, multiples of 8 in [64, 4096].
    resize_mode
        How the initial picture, or without one the ControlNet's, meets that size: "fit" keeps everything and the
        proportions, so that the result is the largest that lies within `width` and `height`; "crop" fills the size and
        cuts the rest; "pad" adds borders; "stretch" fills the size without regard to the proportions, as diffusers does
        by itself. Mask and control pictures lie over the whole initial picture and follow it.
    checkpoint
        The weights: an embedded name, a hub id, perhaps with "@revision", or a directory; what `model` stands for if not given.
    vae
        In the place of the checkpoint's own: a directory, a hub id or a .safetensors file; or a tiny one for drafts.
    weighting
        Dialect in which the prompts weigh words: "compel" (`jungle++`), "a1111" (`(jungle:1.3)`), or "none".
    safety_checker
        "none" runs without the checkpoint's own; else pictures that it flags come out black, and none of them is kept.
    mask
        A `Mask`: inpainting.
    references, controlnets, ip_adapters, loras, embeddings
        Any number of `Reference` (or pictures), `ControlNet`, `IPAdapter`, `Lora` and `TextualInversion`.
    scheduler_config, variation, corrections
        What is set of the scheduler, how the noise of `seed` is turned, and what is done to the finished picture.
    arguments
        Further arguments of the family's call by diffusers' name, such as `{"aesthetic_score": 6.5}`; see `families.arguments`.
    **named
        Fields of parts and arguments by the name of their option, such as
        `controlnet="depth", control_image=picture, mask_image=mask, lora="style.safetensors:0.8"`,
        or by their place, such as `"controlnets.2.scale"`.

    Raises
    ------
    ParameterError, ImageInputError
        A value breaks its rule, a name is unknown, or a picture cannot be read.
    """

    prompt: str = declared("", Param(str, "what to draw"))
    image: Any = declared(None, Param(Picture, "initial picture: a file, or the name of a variable"))
    model: str = declared("sd15", Param(str, "preset of the checkpoint", short="-m"))
    strength: float | None = declared(None, Param(float, "how far to move away from the initial picture", 0, 1, 0.05, short="-s"))
    noise: float | None = declared(None, Param(float, "share of noise to begin with, instead of a strength", 0.01, 1, 0.01))
    guidance_scale: float | None = declared(
        None, Param(float, "how strongly the prompt pulls (CFG)", 0, 100, 0.5, short="-g", usual=(1, 20))
    )
    num_inference_steps: int | None = declared(
        None, Param(int, "number of steps", 1, 1000, 1, short="-n", unit="of steps", usual=(1, 100), label="steps")
    )
    seed: int | None = declared(None, Param(int, "seed of the noise; drawn when not given", 0, 2**63 - 1, 1, advice=_DRAWN))
    negative_prompt: str | None = declared(None, Param(str, "what to keep away from"))
    scheduler: str | None = declared(None, Param(str, "diffusers scheduler, such as DDIM; the checkpoint's own when not given"))
    width: int | None = declared(None, Param(int, "width of the result in pixels", 64, 4096, 8, multiple=True))
    height: int | None = declared(None, Param(int, "height of the result in pixels", 64, 4096, 8, multiple=True))
    resize_mode: str | None = declared(None, Param(str, "what is done where the shapes differ", choices=RESIZE_MODES))
    checkpoint: str | None = declared(None, Param(str, "weights: an embedded name, a hub id, or a directory"))
    vae: str | None = declared(None, Param(str, "VAE in the place of the checkpoint's own: a directory, a hub id, or a file"))
    weighting: str | None = declared(None, Param(str, "how prompts weigh words", choices=tuple(dialects.READERS)))
    safety_checker: str | None = declared(
        None, Param(str, "none runs without the safety checker that the checkpoint brings", choices=("none",))
    )
    mask: Mask | None = None
    references: tuple[Reference, ...] = ()
    controlnets: tuple[ControlNet, ...] = ()
    ip_adapters: tuple[IPAdapter, ...] = ()
    loras: tuple[Lora, ...] = ()
    embeddings: tuple[TextualInversion, ...] = ()
    scheduler_config: SchedulerConfig | None = None
    variation: Variation | None = None
    corrections: Corrections | None = None
    arguments: Mapping[str, Any] = field(default_factory=Arguments)

    def __init__(self, *unnamed: Any, **given: Any) -> None:
        if unnamed:
            raise ParameterError(breaks_rule("Recipe", "given values by name, such as prompt='a cat'", unnamed[0]))
        given |= model_of_weights(given)
        values: dict[str, Any] = {one.name: given.pop(one.name, _default(one)) for one in dataclasses.fields(self)}
        for name, param in CORE.items():
            if values[name] is not None or name in REQUIRED:
                values[name] = param.check(name, values[name])
        for name, kind in PARTS.items():
            values[name] = parts_of(kind, name, values[name])
        values["arguments"] = checked_arguments(values["arguments"], _place)
        for name, value in given.items():
            assign(values, name, _place(name), value)
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def task(self) -> str:
        """ "img2img" with an initial picture, "txt2img" without."""
        return "txt2img" if self.image is None else "img2img"

    @property
    def weighs(self) -> bool:
        """Whether the prompts are read in a dialect of weighting."""
        return self.weighting not in (None, dialects.NONE)

    @property
    def keeps_pixels(self) -> bool:
        """Whether what is black in the mask gets the initial picture's own pixels back; of a complete recipe."""
        return self.mask is not None and self.mask.keeps_pixels

    @property
    def pictures(self) -> dict[str, Picture | Latents]:
        """The pictures that are set, by field."""
        return {name: value for name, value in self.values().items() if isinstance(value, (Picture, Latents))}

    def get(self, name: str) -> Any:
        """Return the value of a field by any of its names, or None where it is open or there is no such part.

        Raises
        ------
        ParameterError
            There is no such field; the line offers the nearest name.
        """
        return value_of(self, _place(name))

    def values(self) -> dict[str, Any]:
        """Return every field that is set, those of parts among them, by name."""
        found = {name: getattr(self, name) for name in CORE}
        for part in PARTS:
            for number, one in enumerate(listed(getattr(self, part)), start=1):
                for place in places(part, number):
                    found[place.name] = of_part(one, place)
        found |= self.arguments
        return {
            name: found[name] for name in sorted(found, key=lambda name: order(_place(name), CORE)) if found[name] is not None
        }

    def replace(self, **changes: Any) -> Recipe:
        """Return a copy with some fields changed, where one of `STARTS` takes the other's place; unknown names are refused."""
        own = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        own |= {other: None for one, other in (STARTS, STARTS[::-1]) if changes.get(one) is not None}
        return Recipe(**{**own, **changes})

    def to_dict(self) -> dict[str, Any]:
        """Return what is set: the core's fields, and parts and arguments as their own objects; pictures as content addresses."""
        held: dict[str, Any] = {name: getattr(self, name) for name in CORE}
        held = {name: value.address if isinstance(value, (Picture, Latents)) else value for name, value in held.items()}
        for part in SINGLE:
            held[part] = (one := getattr(self, part)) and one.to_dict()
        for part in PARTS.keys() - SINGLE:
            held[part] = [one.to_dict() for one in getattr(self, part)] or None
        held["arguments"] = dict(self.arguments) or None
        return {name: value for name, value in held.items() if value is not None}

    def to_json(self) -> str:
        """Return canonical JSON: sorted keys, no blanks, a format number."""
        return json.dumps({"format": FORMAT, **self.to_dict()}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """Build a recipe from what `to_dict` returns, or from names and values; content addresses become pictures."""
        return cls(**{name: with_pictures(name, value, CORE) for name, value in values.items()})

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Read what `to_json` wrote, also at format 1."""
        try:
            values = json.loads(text, object_pairs_hook=each_once)
        except ParameterError:
            raise
        except ValueError as error:
            raise ParameterError(f"A recipe must be JSON: {error}.") from None
        if not isinstance(values, dict) or values.pop("format", None) not in (1, FORMAT):
            raise ParameterError(f"A recipe must be a JSON object of format {FORMAT} or 1.")
        # What is written has a model: no file that a stranger's recipe names is looked into for one.
        return cls.from_dict({"model": cls.model, **values})

    @cached_property
    def digest(self) -> str:
        """sha256 of the canonical JSON, in hexadecimal."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


def _default(one: dataclasses.Field[Any]) -> Any:
    return Arguments() if one.default is dataclasses.MISSING else one.default


def _place(name: str) -> Place:
    place = place_of(name, CORE)
    if place is None:
        raise ParameterError(unknown_parameter(name, PARAMS))
    return place


def shown_name(name: str) -> str:
    """Return the one name of a field that is shown and stored, for any of its names; raise a line for what names none."""
    return _place(name).name


class _Params(Mapping[str, Param]):
    """What every field may hold, by any of its names; iteration gives each once, in the order in which they are shown."""

    def __getitem__(self, name: str) -> Param:
        place = place_of(name, CORE)
        if place is None:
            raise KeyError(name)
        return place.param

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and place_of(name, CORE) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(_SHOWN)

    def __len__(self) -> int:
        return len(_SHOWN)


PROMPTS = ("prompt", "negative_prompt", "prompt_2", "negative_prompt_2")
"""Fields that a text encoder reads."""
STARTS = ("strength", "noise")
"""Fields that say where a run begins, of which a recipe has one."""
REQUIRED = ("prompt", "model")
CORE: dict[str, Param] = {one.name: one.metadata["param"] for one in dataclasses.fields(Recipe) if "param" in one.metadata}
"""Declaration of every field of the core, by name, in order."""
_SHOWN = (*CORE, *OF_PARTS, *ARGUMENTS)
PARAMS: Mapping[str, Param] = _Params()
"""Declaration of every field, by name."""
Recipe.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [
        inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=_default(one), annotation=one.type)
        for one in dataclasses.fields(Recipe)
    ]
    + [inspect.Parameter("named", inspect.Parameter.VAR_KEYWORD)]
)
