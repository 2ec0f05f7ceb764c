"""Lineages: what a picture was made from, and what that was made from, drawn as a tree."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image

from ..families.parameters import number_text
from ..images.contact_sheets import png_bytes
from ..images.latents import Latents
from ..images.picture import Picture
from ..metadata.provenance import Provenance
from ..recipes.fields import first_name
from ..recipes.recipe import Recipe
from ..recipes.steps import steps_line
from ..recipes.summary import weights_label
from .index import PictureIndex

THUMBNAIL = 128
"""Longer side of a thumbnail, in pixels."""
GIVEN = {
    "image": "initial image",
    "mask_image": "mask",
    "control_image": "control image",
    "image_reference": "reference",
}
"""What people call the pictures that a recipe starts from."""
MAX_DEPTH = 100
"""Steps that are followed back; a line that goes round in a circle ends there too."""


def given_as(field: str) -> str:
    """Return what people call a picture that a recipe starts from, such as "control image 2" for "controlnets.2.image"."""
    first = first_name(field)
    number = "" if first == field else f" {field.split('.')[1]}"
    return GIVEN.get(first, first) + number


@dataclass(frozen=True, eq=False)
class Lineage:
    """A picture and what it was made from.

    Parameters
    ----------
    recipe
        What made it, or None where nothing tells: a photo, a drawing, a file without text.
    image
        RGB, or None where its pixels are nowhere.
    where
        Where its making was found: "this session", "the store", or a file's name.
    address
        Content address, or "" for a step of a chain whose picture was not kept.
    parents
        The pictures it was made from, by the recipe's field.
    """

    recipe: Recipe | None
    image: Image.Image | None
    where: str
    address: str
    parents: tuple[tuple[str, Lineage], ...] = ()

    def __iter__(self) -> Iterator[Lineage]:
        """Yield every picture once, the ancestors before what was made from them."""
        seen: set[int] = set()
        for node in self._walk():
            if id(node) not in seen:
                seen.add(id(node))
                yield node

    def _walk(self) -> Iterator[Lineage]:
        for _, parent in self.parents:
            yield from parent._walk()
        yield self

    @property
    def caption(self) -> str:
        """What is said under the picture: one step's recipe, or where the picture comes from."""
        if self.recipe is None:
            kept = "" if self.image is not None else ", not at hand"
            return f"as it was given{kept}\n{self.address[7:19]}"
        return f"{step_text(self.recipe)}\n{self.where}"

    def __repr__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self, role: str = "", depth: int = 0) -> Iterator[str]:
        head = f"{role}: " if role else ""
        yield "  " * depth + head + " | ".join(_printable(self.caption).splitlines())
        for field, parent in self.parents:
            yield from parent._lines(given_as(field), depth + 1)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/html": self.to_html(), "text/plain": repr(self)}

    def to_html(self) -> str:
        """Return HTML without scripts, in the colours of the page it stands in; the oldest stands left."""
        return f'<div style="overflow-x:auto;padding:.3em 0">{self._html("")}</div>'

    def _html(self, role: str) -> str:
        before = "".join(parent._html(given_as(field)) for field, parent in self.parents)
        arrow = f'<div aria-hidden="true" style="opacity:.6;font-size:1.4em;line-height:{THUMBNAIL}px">→</div>'
        left = (
            f'<div style="display:flex;flex-direction:column;gap:.8em;align-items:flex-end">{before}</div>{arrow}'
            if before
            else ""
        )
        return f'<div style="display:flex;align-items:flex-start;gap:.6em;width:max-content">{left}{self._figure(role)}</div>'

    def _figure(self, role: str) -> str:
        # That a result was the next one's initial image is what the arrow says.
        named = role and (self.recipe is None or role != GIVEN["image"])
        lines = [f'<b style="font-weight:600">{html.escape(role)}</b>'] if named else []
        lines += [html.escape(_printable(line)) for line in self.caption.splitlines()]
        shown = "".join(f'<div style="overflow-wrap:anywhere">{line}</div>' for line in lines)
        style = f"margin:0;width:{THUMBNAIL + 40}px;font-size:.8em;line-height:1.35"
        return f'<figure style="{style}">{thumbnail_html(self.image)}<figcaption>{shown}</figcaption></figure>'


def thumbnail_html(image: Image.Image | None, side: int = THUMBNAIL) -> str:
    """Return an HTML picture whose longer side has `side` pixels, or an empty frame where there is none."""
    frame = "border:1px solid rgba(128,128,128,.45);border-radius:3px;box-sizing:border-box;display:block"
    if image is None:
        return f'<div style="{frame};width:{side}px;height:{side // 2}px" role="img" aria-label="not at hand"></div>'
    scale = side / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    # Twice as many pixels as the page shows, for sharp screens; never more than the picture has.
    small = image.copy()
    small.thumbnail((2 * size[0], 2 * size[1]))
    data = base64.b64encode(png_bytes(small)).decode()
    return f'<img alt="" style="{frame}" width="{size[0]}" height="{size[1]}" src="data:image/png;base64,{data}">'


def step_text(recipe: Recipe) -> str:
    """Say what one step does, in a few short lines."""
    prompt = recipe.prompt if len(recipe.prompt) <= 120 else recipe.prompt[:119] + "…"
    guidance = "" if recipe.guidance_scale is None else f"guidance {number_text(recipe.guidance_scale)}, "
    lines = [_one_line(prompt) or "(no prompt)", weights_label(recipe)]
    if recipe.num_inference_steps is not None:
        lines.append(steps_line(recipe))
    return "\n".join([*lines, f"{guidance}seed {recipe.seed}"])


def trace(image: Image.Image | None, provenance: Provenance, picture_index: PictureIndex, where: str = "") -> Lineage:
    """Follow a picture back to what it was made from.

    Parameters
    ----------
    image
        RGB, or None.
    provenance
        How it was made.
    picture_index
        Where ancestors are looked for.
    where
        Where this was found, for people.
    """
    return _Tracer(picture_index).made(image, provenance, where, "")


class _Tracer:
    """One walk back; a picture that several others were made from is followed once."""

    def __init__(self, picture_index: PictureIndex) -> None:
        self._archive = picture_index
        self._known: dict[str, Lineage] = {}
        self._open: set[str] = set()

    def made(self, image: Image.Image | None, provenance: Provenance, where: str, address: str) -> Lineage:
        chain = provenance.chain
        if chain is None or len(chain) == 1:
            return Lineage(provenance.recipe, image, where, address, self._parents(provenance.recipe))
        before: Lineage | None = None
        for number, step in enumerate(chain, start=1):
            last = number == len(chain)
            parents = self._parents(step)
            if before is not None:
                parents = (("image", before), *parents)
            picture = self._step_picture(provenance, number)
            own = (image, address) if last else (picture.image if picture else None, picture.address if picture else "")
            before = Lineage(step, own[0], f"step {number} of {len(chain)}" + (f", {where}" if where else ""), own[1], parents)
        return before or Lineage(provenance.recipe, image, where, address)

    def _step_picture(self, provenance: Provenance, number: int) -> Picture | None:
        """Return what the last step but one made, which is the last one's initial picture; of those before nothing is known."""
        if provenance.chain is None or number != len(provenance.chain) - 1:
            return None
        start = provenance.recipe.image
        return self._archive.picture(start.address) if isinstance(start, Picture) else None

    def _parents(self, recipe: Recipe) -> tuple[tuple[str, Lineage], ...]:
        return tuple((field, self._at(picture)) for field, picture in recipe.pictures.items())

    def _at(self, picture: Picture | Latents) -> Lineage:
        address = picture.address if isinstance(picture, Picture) else picture.view.address
        if address in self._known:
            return self._known[address]
        found = None
        if address not in self._open and len(self._open) < MAX_DEPTH:
            found = self._archive.made(address)
        if found is None:
            held = self._archive.picture(address)
            node = Lineage(None, held.image if held else None, "", address)
        else:
            self._open.add(address)
            try:
                node = self.made(found.image, found.provenance, found.where, address)
            finally:
                self._open.discard(address)
        self._known[address] = node
        return node


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text)
