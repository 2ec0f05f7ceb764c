"""Parts of a recipe: ControlNets, reference pictures and the mask, each a frozen value; LoRA and others have their own modules.

A further kind of part is one class and one field of `recipe.Recipe`; options, controls, JSON and sweep axes follow from both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from PIL import Image

from ..errors import ParameterError, breaks_rule, did_you_mean
from ..families.parameters import Param
from ..images import latent_masks, outpainting
from ..images.latents import Latents
from ..images.mask_content import CONTENTS
from ..images.mask_shapes import MOST_PIXELS, shaped
from ..images.masks import OVERLAYS
from ..images.picture import Picture


def declared_in_part(name: str, param: Param, default: Any = None, *, argument: str = "") -> Any:
    """Declare a field of a part.

    Parameters
    ----------
    name
        Its option.
    param
        What it may hold.
    default
        Its value where none is given.
    argument
        The argument of diffusers' calls that gets it; the one called `name`, where there is one, when not given.
    """
    return field(default=default, metadata={"name": name, "param": param, "argument": argument or name})


@dataclass(frozen=True, kw_only=True)
class Part:
    """What all parts have in common: fields that may be open, checked by their declarations."""

    TITLE: ClassVar[str] = ""
    NOTATION: ClassVar[str] = ""
    """Option that holds a whole part as one text, where there is one."""
    FORM: ClassVar[str] = ""
    """What that text is, for people."""
    REPEATED: ClassVar[str] = ""
    """Option that begins a further part where it is given again, as the first one does."""

    def __post_init__(self) -> None:
        for name, declaration in declarations(type(self)).items():
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, declaration.metadata["param"].check(declaration.metadata["name"], value))

    @property
    def empty(self) -> bool:
        """Whether nothing is said about it."""
        return all(getattr(self, name) is None for name in declarations(type(self)))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that are set, pictures as content addresses."""
        held = {name: getattr(self, name) for name in declarations(type(self))}
        return {
            name: value.address if isinstance(value, (Picture, Latents)) else value
            for name, value in held.items()
            if value is not None
        }

    @classmethod
    def of(cls, value: Any) -> Any:
        """Return a part: as it is, from a mapping of its fields, or from its notation.

        Raises
        ------
        ParameterError
            It is none of these, or names an unknown field.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, Mapping):
            known = declarations(cls)
            for name in value:
                if name not in known:
                    raise ParameterError(f"{name!r} is not a field of {cls.__name__}. {did_you_mean(str(name), known)}")
            return cls(**value)
        if cls.NOTATION and isinstance(value, str):
            return cls.from_text(value)
        raise ParameterError(breaks_rule(cls.TITLE, f"a {cls.__name__}", value))

    @classmethod
    def from_text(cls, text: str) -> Any:
        """Read the notation of a part that has one."""
        raise NotImplementedError

    @classmethod
    def several(cls, text: str) -> tuple[Any, ...]:
        """Read a text that may hold more than one part in its notation."""
        return (cls.from_text(text),)


def declarations(part: type[Part]) -> Mapping[str, dataclasses.Field[Any]]:
    """Return the declared fields of a kind of part, by name, in order."""
    return {one.name: one for one in dataclasses.fields(part)}


@dataclass(frozen=True, kw_only=True)
class ControlNet(Part):
    """A ControlNet and what it follows.

    Parameters
    ----------
    checkpoint
        Its name, see `controlnets.CONTROLNETS`; or any other one by its hub id or directory.
    image
        What it follows, such as a depth map; any mode and size. "auto" has one
        made from the initial picture, when all else is checked: by its own preprocessor,
        or by one that is named, such as "auto:canny".
    scale
        Its weight, in [0, 2]; diffusers' `controlnet_conditioning_scale`.
    start, end
        Part of the steps in which it acts, in [0, 1].
    mode
        What its picture is, by number, for a ControlNet that follows several kinds, such as 2 for depth in
        Flux's union ones; its own page says which.

    Raises
    ------
    ParameterError
        A value breaks its rule.
    """

    TITLE: ClassVar[str] = "controlnet"

    checkpoint: str | None = declared_in_part(
        "controlnet", Param(str, "ControlNet that keeps the layout: depth, a hub id or a directory; may be given several times")
    )
    image: Any = declared_in_part(
        "control_image", Param(Picture, "what the ControlNet follows, such as a depth map", word="auto")
    )
    scale: float | None = declared_in_part("controlnet_conditioning_scale", Param(float, "weight of the ControlNet", 0, 2, 0.05))
    start: float | None = declared_in_part(
        "control_guidance_start", Param(float, "when the ControlNet starts: 0 first step, 1 last", 0, 1, 0.05)
    )
    end: float | None = declared_in_part(
        "control_guidance_end", Param(float, "when the ControlNet ends: 0 first step, 1 last", 0, 1, 0.05)
    )
    mode: int | None = declared_in_part(
        "control_mode", Param(int, "what the control image is, by a union ControlNet's own numbers", 0, 100, 1)
    )


SHAPING = ("mask_invert", "mask_grow", "mask_blur")
"""Fields that say what is done to a mask's picture."""


@dataclass(frozen=True, kw_only=True)
class Mask(Part):
    """What inpainting redraws.

    Parameters
    ----------
    image
        White is redrawn, black stays, grey mixes; any mode and size. Of a layer with
        transparent pixels the painted part is redrawn, see `masks.as_mask`; of a picture
        that is padded the borders are redrawn. A text selects a part of the initial picture, see
        `mask_selection`: "auto:alpha", "color:#87ceeb~40", or by a model "text:sky" and
        "auto:subject"; a complete recipe has the mask itself.
    overlay
        What becomes of the black part: "exact" puts the initial picture's own pixels back, "feather" does and has what
        was redrawn come in over 4 pixels inside of the border, so that no seam shows,
        "none" leaves what the pipeline made, which differs from them nearly everywhere.
    crop
        Only the masked part is given to the model: what lies around the mask and this many
        pixels more, in [0, 4096] of the picture's own, is brought to the run's `width` and `height`,
        redrawn and put back; diffusers' `padding_mask_crop`, AUTOMATIC1111's "Only masked". The
        result has the picture's own size, unless `resize_mode` is crop, pad or stretch. The
        pipeline puts the initial picture's own pixels back itself, also where `overlay` is "none".
    invert
        Whether the other part is meant: black is redrawn, white stays.
    grow
        Pixels by which the redrawn part is grown to every side, in [-256, 256]; negative ones shrink it.
    blur
        Standard deviation of the blur that softens the edge, in [0, 256] pixels. Where
        `overlay` is "exact", a soft edge blends the two pictures.
    extend
        In the place of `image`: the picture is put on a larger canvas, and what is new there is
        drawn, with a strip of the picture along it. "left:64,top:128" says the pixels that are
        added, "1:1" the shape that is filled up, both in the run's pixels: `width` and `height`
        are the picture's before. A complete recipe has the canvas and its mask, see `outpainting`.
    content
        What is under the mask at the start: the "original" picture, a "fill" of the blurred
        colours around it, "noise" from the seed, or "nothing", which is grey; "latent_noise" and "latent_nothing"
        put the seed's noise or zeros in the place of the latents. AUTOMATIC1111's "Masked content". With `strength` 1
        most models start from noise alone and do not see it.

    differential
        Whether grey is a strength of its own: a part is redrawn for as many of the last steps as it is bright, see
        `latent_masks.differential`. Otherwise grey mixes what was redrawn with the picture.

    A mask is inverted, then grown, then blurred, in its own pixels and before it is brought to
    the run's size, see `mask_shapes.shaped`.

    Raises
    ------
    ParameterError
        A value breaks its rule.
    """

    TITLE: ClassVar[str] = "mask"

    image: Any = declared_in_part(
        "mask_image",
        Param(Picture, "mask: white or painted is redrawn; or text:sky, auto:subject, auto:alpha, color:#87ceeb~40", mask=True),
    )
    overlay: str | None = declared_in_part(
        "mask_overlay",
        Param(
            str,
            "what is black in the mask: the picture's exact pixels, these with a soft seam, or none of them",
            choices=OVERLAYS,
        ),
    )
    crop: int | None = declared_in_part(
        "mask_crop",
        Param(
            int,
            "redraw only the masked part, with this much around it, and put it back into the picture at its own size",
            0,
            4096,
            1,
            unit="of pixels",
            usual=(0, 256),
        ),
        argument="padding_mask_crop",
    )
    invert: bool | None = declared_in_part("mask_invert", Param(bool, "redraw what is black in the mask, and keep what is white"))
    grow: int | None = declared_in_part(
        "mask_grow",
        Param(
            int,
            "grow what is redrawn to every side; a negative number shrinks it",
            -MOST_PIXELS,
            MOST_PIXELS,
            1,
            unit="of pixels",
            usual=(-32, 32),
        ),
    )
    blur: float | None = declared_in_part(
        "mask_blur",
        Param(float, "soften the edge of the mask; radius in its pixels", 0, MOST_PIXELS, 0.5, unit="of pixels", usual=(0, 32)),
    )

    extend: str | None = declared_in_part(
        "extend",
        Param(
            str, "draw more around the picture: left:64,top:128, or 1:1 to fill a shape", checked=outpainting.checked, bars=True
        ),
    )
    content: str | None = declared_in_part(
        "mask_content",
        Param(str, "what is under the mask at the start: the picture, its surroundings, noise or grey", choices=CONTENTS),
    )
    differential: bool | None = declared_in_part(
        "mask_differential", Param(bool, "grey in the mask is a strength for each pixel, and no mixture: differential diffusion")
    )

    def shaped(self, mask: Image.Image) -> Image.Image:
        """Return an L picture as this mask has it inverted, grown and blurred."""
        return shaped(mask, invert=bool(self.invert), grow=self.grow or 0, blur=self.blur or 0)

    @property
    def is_shaped(self) -> bool:
        """Whether anything is done to its picture."""
        return bool(self.invert or self.grow or self.blur)

    @property
    def hides(self) -> bool:
        """Whether something else than the picture is under it at the start."""
        return self.content not in (None, "original")

    @property
    def hides_latents(self) -> bool:
        """Whether that is put there in the place of latents."""
        return self.content in latent_masks.CONTENTS

    @property
    def is_laid_over(self) -> bool:
        """Whether something is laid over after the call: with a crop the pipeline has put the picture's own pixels back."""
        return self.keeps_pixels and (self.crop is None or self.overlay == "feather")

    @property
    def keeps_pixels(self) -> bool:
        """Whether what is black gets the initial picture's own pixels back; of a complete recipe."""
        return self.overlay in ("exact", "feather")
