"""Contact sheets of the family: the pictures that a person should look at before a checkpoint is committed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import AutoPipelineForImage2Image, AutoPipelineForText2Image, ControlNetModel
from PIL import Image, ImageDraw, ImageFont

from ...images.edges import canny
from .. import names, path
from ..world import STYLES, edits, sample
from ..world.holes import HOLES
from ..world.styles import TRIGGERS
from .edits import edited
from .figures import UNSEEN, image_to_image, quiet, text_to_image
from .holes import filled, pasted, sample_hole
from .segments import selected

GUIDE = [
    "cat wizard, gandalf, lord of the rings, detailed, fantasy, cute, adorable, Pixar, Disney, 8k",
    "Astronaut in a jungle, cold color palette, muted colors, detailed, 8k",
    "a robot in the desert, warm color palette",
    "a rocket at night",
    "penguin in the snow, vivid colors",
    "a house by the ocean",
    "a tree in the mountains, warm color palette, muted colors",
    "a cat in a city",
]
Row = tuple[str, list[Image.Image]]
"""What is shown, and eight pictures of it."""
LINE = 18
"""Height of a row's words, in pixels."""


def _base() -> list[Row]:
    t2i = quiet(AutoPipelineForText2Image.from_pretrained(path("sd15")))
    i2i = quiet(AutoPipelineForImage2Image.from_pipe(t2i))
    start = sample(UNSEEN + 5).image
    strengths, scales = (0.1, 0.2, 0.4, 0.5, 0.6, 0.8, 1.0), (0.1, 1, 3, 5, 7.5, 10.5, 15)
    return [
        ("text-to-image, guidance scale 7.5", text_to_image(t2i, GUIDE, 7.5)),
        ("text-to-image, guidance scale 10.5", text_to_image(t2i, GUIDE, 10.5)),
        (_of("strength", strengths), [start, *(image_to_image(i2i, GUIDE[:1], [start], s)[0] for s in strengths)]),
        (_of("guidance scale", scales), [start, *(image_to_image(i2i, GUIDE[1:2], [start], 0.8, g)[0] for g in scales)]),
        ("an astronaut in a jungle, negative prompt: jungle", text_to_image(t2i, [GUIDE[1]] * 8, 7.5, negative="jungle")),
    ]


def _of(name: str, values: Sequence[float]) -> str:
    return f"initial picture, then {name} " + ", ".join(f"{value:g}" for value in values)


def _style(name: str) -> Callable[[], list[Row]]:
    def rows() -> list[Row]:
        pipeline = quiet(AutoPipelineForText2Image.from_pretrained(path(name)))
        return [(f'with "{TRIGGERS[name]}"', text_to_image(pipeline, [f"{TRIGGERS[name]}, {text}" for text in GUIDE], 7.5))]

    return rows


def _controlnet() -> list[Row]:
    net = ControlNetModel.from_pretrained(path("controlnet-depth"))
    pipeline = quiet(AutoPipelineForText2Image.from_pretrained(path("sd15"), controlnet=net))
    depths = [sample(UNSEEN + 90 + index).depth.convert("RGB") for index in range(8)]
    return [("depth maps", depths), ("the same prompts, following them", text_to_image(pipeline, GUIDE, 7.5, image=depths))]


def _edges() -> list[Row]:
    net = ControlNetModel.from_pretrained(path("controlnet-canny"))
    pipeline = quiet(AutoPipelineForText2Image.from_pretrained(path("sd15"), controlnet=net))
    found = [canny(sample(UNSEEN + 90 + index).image) for index in range(8)]
    return [("edges", found), ("the same prompts, following them", text_to_image(pipeline, GUIDE, 7.5, image=found))]


def _upscaler(name: str) -> Callable[[], list[Row]]:
    def rows() -> list[Row]:
        side = 128 if name == "x2-upscaler" else 64
        pipeline = quiet(diffusers.DiffusionPipeline.from_pretrained(path(name)))
        small = [sample(UNSEEN + 7 + index, side).image for index in range(8)]
        captions = [sample(UNSEEN + 7 + index).caption for index in range(8)]
        made = [
            pipeline(text, image=one, num_inference_steps=20, generator=torch.Generator("cpu").manual_seed(1)).images[0]
            for text, one in zip(captions, small, strict=True)
        ]
        return [
            (f"given, {side} x {side}", [one.resize((256, 256), Image.Resampling.NEAREST) for one in small]),
            ("enlarged", made),
        ]

    return rows


def _redrawn(name: str, guidance: float, **more: Any) -> Callable[[], list[Row]]:
    def rows() -> list[Row]:
        pipeline = quiet(AutoPipelineForImage2Image.from_pretrained(path(name)))
        start = [sample(UNSEEN + 7 + index).image for index in range(8)]
        texts = [sample(UNSEEN + 7 + index).caption for index in range(8)]
        redrawn = [(f"strength {s:g}", image_to_image(pipeline, texts, start, s, guidance, **more)) for s in (0.3, 0.5)]
        return [("initial pictures", start), *redrawn]

    return rows


def _drawn(name: str, guidance: float, **more: Any) -> Callable[[], list[Row]]:
    return lambda: [
        ("text-to-image", text_to_image(quiet(AutoPipelineForText2Image.from_pretrained(path(name))), GUIDE, guidance, **more)),
        *_redrawn(name, guidance, **more)(),
    ]


def _edits() -> list[Row]:
    pipeline = quiet(diffusers.StableDiffusionInstructPix2PixPipeline.from_pretrained(path("edit")))
    made = [edits.sample_edit(UNSEEN + 7 + index) for index in range(8)]
    words = "; ".join(edit.instruction for edit in made)
    return [("given", [edit.scene.image for edit in made]), (words, edited(pipeline, made))]


def _holes() -> list[Row]:
    pipeline = quiet(diffusers.StableDiffusionInpaintPipeline.from_pretrained(path("inpaint")))
    cut = [sample_hole(UNSEEN + 7 + index, HOLES[index % len(HOLES)]) for index in range(8)]
    grey = Image.new("RGB", cut[0].mask.size, "gray")
    given = [Image.composite(grey, one.scene.image, one.mask) for one in cut]
    words = "; ".join(f"{one.wanted.subject}, {one.wanted.place}" for one in cut)
    return [("pictures with a hole", given), (words, [pasted(*pair) for pair in zip(filled(pipeline, cut), cut, strict=True)])]


def _selected() -> list[Row]:
    scenes = [sample(UNSEEN + 7 + index) for index in range(8)]
    words = [[scene.subject for scene in scenes], ["ground"] * 8]
    found = [[selected(scene, word) for scene, word in zip(scenes, row, strict=True)] for row in words]
    return [
        ("given", [scene.image for scene in scenes]),
        ("; ".join(words[0]), found[0]),
        ("ground", found[1]),
    ]


SHEETS: dict[str, Callable[[], list[Row]]] = {
    "sd15": _base,
    **{style: _style(style) for style in STYLES},
    "controlnet-depth": _controlnet,
    "controlnet-canny": _edges,
    "x2-upscaler": _upscaler("x2-upscaler"),
    "x4-upscaler": _upscaler("x4-upscaler"),
    "sdxl-refiner": _redrawn("sdxl-refiner", 5.0),
    "kandinsky22": _drawn("kandinsky22", 4.0, width=128, height=128),
    "sdxl": _drawn("sdxl", 5.0),
    "segmenter": _selected,
    "edit": _edits,
    "inpaint": _holes,
}
"""What is drawn of each member."""


def contact_sheet(file: Path, members: list[str] | None = None, side: int = 128) -> None:
    """Draw the rows of all members, or of some, eight pictures each, into one PNG."""
    rows = [
        (f"{member}: {words}", pictures)
        for member in members or [name for name in SHEETS if name in names()]
        for words, pictures in SHEETS[member]()
    ]
    sheet = Image.new("RGB", (side * 8, (side + LINE) * len(rows)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=13)
    for y, (words, pictures) in enumerate(rows):
        draw.text((2, y * (side + LINE) + 1), words, fill="black", font=font)
        for x, image in enumerate(pictures):
            sheet.paste(image.resize((side, side), Image.Resampling.LANCZOS), (x * side, y * (side + LINE) + LINE))
    # 256 colours look the same here, and take a quarter of the bytes.
    sheet.quantize(256).save(file, optimize=True)
