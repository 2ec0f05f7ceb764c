"""Latents as values: what one pipeline hands to the next without decoding, with the VAE that they belong to."""

from __future__ import annotations

import hashlib
import weakref
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from ..errors import ImageInputError, breaks_rule
from .picture import Picture

MARK = "latents:"
"""How the address of latents begins; a picture's begins with "sha256:"."""

_registry: weakref.WeakValueDictionary[str, Latents] = weakref.WeakValueDictionary()


@dataclass(frozen=True, eq=False)
class Latents:
    """Latents of one picture; equal to others iff space and numbers are.

    Parameters
    ----------
    array
        Scaled latents as diffusers returns them for `output_type="latent"`, shape
        (channels, h, w), float32 or float16, finite.
    space
        What identifies the VAE they belong to; see `latent_space.latent_space_id`.
    view
        The same picture decoded, for people; not compared.
    """

    array: np.ndarray[Any, Any]
    space: str
    view: Picture
    address: str = field(init=False)

    def __post_init__(self) -> None:
        array = np.ascontiguousarray(self.array)
        if array.ndim != 3 or array.dtype not in (np.float32, np.float16) or not np.isfinite(array).all():
            given = f"{array.dtype} {array.shape}"
            raise ImageInputError(breaks_rule("latents", "finite float32 or float16 of shape (channels, h, w)", given))
        array.flags.writeable = False
        digest = hashlib.sha256(f"{self.space} {array.dtype} {array.shape}:".encode() + array.tobytes())
        object.__setattr__(self, "array", array)
        object.__setattr__(self, "address", f"{MARK}{digest.hexdigest()}")
        _registry[self.address] = self

    @classmethod
    def at(cls, address: str) -> Latents:
        """Return the latents with an address, while this process holds them.

        Raises
        ------
        ImageInputError
            It does not.
        """
        found = _registry.get(address)
        if found is None:
            way_out = "Run the chain again: latents are not kept in files."
            raise ImageInputError(breaks_rule("image", "latents that this process holds", address, way_out))
        return found

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the decoded picture, in pixels."""
        return self.view.size

    @property
    def image(self) -> Image.Image:
        """The decoded picture, RGB, the caller's own copy."""
        return self.view.image

    @property
    def label(self) -> str:
        """Short name to show."""
        return self.view.label

    @property
    def notices(self) -> tuple[str, ...]:
        """What a person should know about the picture."""
        return self.view.notices

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Latents) and self.address == other.address

    def __hash__(self) -> int:
        return hash(self.address)

    def __repr__(self) -> str:
        return f"Latents({self.array.shape}, {self.address[:16]}…)"
