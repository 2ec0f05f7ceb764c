"""Adapters: the pixels are those of the calls that diffusers itself has for them, for every row of one list."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import adapter_files
import diffusers
import numpy as np
import pytest
import torch
from diffusers.image_processor import IPAdapterMaskProcessor
from PIL import Image, ImageOps
from safetensors.torch import load_file

from nbdiffuse import Recipe, Session, embedded
from nbdiffuse.runs.program import script_of

START = Image.fromarray(np.random.default_rng(0).integers(0, 255, (128, 96, 3), dtype=np.uint8))
MASK = Image.fromarray(np.uint8(np.indices((128, 96))[1] > 48) * 255)
XL = embedded.path("sdxl")
SD = embedded.path("sd15")


@dataclass(frozen=True)
class Row:
    """A recipe, and how diffusers is called for the same.

    Parameters
    ----------
    name
        Of the test.
    pipeline
        diffusers' class.
    values
        Fields of the recipe that are arguments of the call, too.
    adapters
        Fields that say what is brought along; `{files}` stands for where the files are.
    load
        Loads the same with diffusers' own calls; gets the pipeline and where the files are.
    given
        Further arguments of the raw call.
    checkpoint
        Where the raw pipeline is loaded from.
    """

    name: str
    pipeline: str
    values: dict[str, Any]
    adapters: dict[str, Any]
    load: Callable[[Any, Path], None]
    given: dict[str, Any] = field(default_factory=dict)
    checkpoint: Path = SD


def words(file: str, token: str | None = None) -> Callable[[Any, Path], None]:
    return lambda pipeline, files: pipeline.load_textual_inversion(str(files), weight_name=file, token=token)


def two_encoders(pipeline: Any, files: Path) -> None:
    held = load_file(files / "two.safetensors")
    for key, suffix in (("clip_l", ""), ("clip_g", "_2")):
        parts = {name: getattr(pipeline, name + suffix) for name in ("tokenizer", "text_encoder")}
        pipeline.load_textual_inversion(held[key], token="two", **parts)


def both(*loads: Callable[[Any, Path], None]) -> Callable[[Any, Path], None]:
    def load(pipeline: Any, files: Path) -> None:
        for one in loads:
            one(pipeline, files)

    return load


IMG2IMG, TXT2IMG, INPAINT = "StableDiffusionImg2ImgPipeline", "StableDiffusionPipeline", "StableDiffusionInpaintPipeline"
REDRAWN = {"image": START, "strength": 0.6}
EMBEDDINGS = [
    Row("a1111 pt", IMG2IMG, {**REDRAWN, "prompt": "a bad-hands-5 fox"}, {"embedding": "{files}/bad-hands-5.pt"},
        words("bad-hands-5.pt", "bad-hands-5")),
    Row("a1111 pt in the negative prompt", IMG2IMG, {**REDRAWN, "prompt": "a fox", "negative_prompt": "bad-hands-5"},
        {"embedding": "{files}/bad-hands-5.pt"}, words("bad-hands-5.pt", "bad-hands-5")),
    Row("a1111 pt of three vectors", TXT2IMG, {"prompt": "a fox, charturner, snow"}, {"embedding": "{files}/charturner.pt"},
        words("charturner.pt", "charturner")),
    Row("a1111 safetensors", IMG2IMG, {**REDRAWN, "prompt": "a fox in mist"}, {"embedding": "{files}/mist.safetensors"},
        words("mist.safetensors", "mist")),
    Row("diffusers bin by its own token", IMG2IMG, {**REDRAWN, "prompt": "a <cat-toy> in snow"},
        {"embedding": "{files}/learned_embeds.bin"}, words("learned_embeds.bin")),
    Row("diffusers safetensors by another token", TXT2IMG, {"prompt": "a <my-toy> in snow"},
        {"embedding": "{files}/toy.safetensors:<my-toy>"}, words("toy.safetensors", "<my-toy>")),
    Row("two at once", INPAINT, {"image": START, "mask_image": MASK, "prompt": "charturner of a <cat-toy>"},
        {"embedding": "{files}/charturner.pt + {files}/toy.safetensors"},
        both(words("charturner.pt", "charturner"), words("toy.safetensors"))),
    Row("the first encoder of SDXL", "StableDiffusionXLImg2ImgPipeline", {**REDRAWN, "prompt": "a bad-hands-5 fox"},
        {"model": "sdxl", "embedding": "{files}/bad-hands-5.pt"}, words("bad-hands-5.pt", "bad-hands-5"), checkpoint=XL),
    Row("both encoders of SDXL", "StableDiffusionXLPipeline", {"prompt": "a two fox", "prompt_2": "snow, two"},
        {"model": "sdxl", "embedding": "{files}/two.safetensors"}, two_encoders, checkpoint=XL),
]  # fmt: skip


def looks(*names: str, scale: Any = 1.0) -> Callable[[Any, Path], None]:
    """Load IP-Adapters with diffusers' own calls."""

    def load(pipeline: Any, files: Path) -> None:
        base = "sdxl" if "XL" in type(pipeline).__name__ else "sd15"
        pipeline.load_ip_adapter(str(files), subfolder=base, weight_name=[f"{name}.safetensors" for name in names])
        pipeline.set_ip_adapter_scale(scale)

    return load


def adapter(name: str, base: str = "sd15", **values: Any) -> dict[str, Any]:
    return {"checkpoint": f"{{files}}/{base}/{name}.safetensors", "image": STYLE, **values}


def masks(*held: Any) -> dict[str, Any]:
    """Return what diffusers is told of where pictures count; None is everywhere."""
    processor, everywhere = IPAdapterMaskProcessor(), Image.new("L", (96, 128), 255)
    rows = [one if isinstance(one, tuple) else (one or everywhere,) for one in held]
    made = [processor.preprocess(list(row), height=128, width=96) for row in rows]
    return {"cross_attention_kwargs": {"ip_adapter_masks": [one.reshape(1, len(one), 128, 96) for one in made]}}


STYLE = Image.fromarray(np.random.default_rng(5).integers(0, 255, (50, 70, 3), dtype=np.uint8))
OTHER = Image.fromarray(np.random.default_rng(6).integers(0, 120, (64, 64, 3), dtype=np.uint8))
FOX = {**REDRAWN, "prompt": "a fox"}
UP = {"up": {"block_1": [0.0, 1.0]}}
IP_ADAPTERS = [
    Row("plain at 0.8", IMG2IMG, FOX, {"ip_adapters": [adapter("plain", scale=0.8)]},
        looks("plain", scale=0.8), {"ip_adapter_image": STYLE}),
    Row("plus", TXT2IMG, {"prompt": "a fox"}, {"ip_adapters": [adapter("plus")]}, looks("plus"), {"ip_adapter_image": STYLE}),
    Row("full face", IMG2IMG, FOX, {"ip_adapters": [adapter("full", scale=0.5)]},
        looks("full", scale=0.5), {"ip_adapter_image": STYLE}),
    Row("two pictures", IMG2IMG, FOX, {"ip_adapters": [adapter("plain", scale=0.7), {"image": OTHER}]},
        looks("plain", scale=0.7), {"ip_adapter_image": [[STYLE, OTHER]]}),
    Row("two adapters", INPAINT, {"image": START, "mask_image": MASK, "prompt": "a fox"},
        {"ip_adapters": [adapter("plain", scale=0.6), adapter("second", scale=0.3, image=OTHER)]},
        looks("plain", "second", scale=[0.6, 0.3]), {"ip_adapter_image": [STYLE, OTHER]}),
    Row("two kinds at once", IMG2IMG, FOX, {"ip_adapters": [adapter("plain", scale=0.6), adapter("plus", image=OTHER)]},
        looks("plain", "plus", scale=[0.6, 1.0]), {"ip_adapter_image": [STYLE, OTHER]}),
    Row("a mask for one of two", IMG2IMG, FOX,
        {"ip_adapters": [adapter("plain", mask=MASK), adapter("second", scale=0.5, image=OTHER)]},
        looks("plain", "second", scale=[1.0, 0.5]), {"ip_adapter_image": [STYLE, OTHER], **masks(MASK, None)}),
    Row("a mask for each picture", IMG2IMG, FOX,
        {"ip_adapters": [adapter("plus", mask=MASK), {"image": OTHER, "mask": ImageOps.invert(MASK)}]},
        looks("plus"), {"ip_adapter_image": [[STYLE, OTHER]], **masks((MASK, ImageOps.invert(MASK)))}),
    Row("scales of blocks", IMG2IMG, FOX, {"ip_adapters": [adapter("plain", blocks=json.dumps(UP))]},
        looks("plain", scale=UP), {"ip_adapter_image": STYLE}),
    Row("plain for SDXL", "StableDiffusionXLImg2ImgPipeline", FOX,
        {"model": "sdxl", "ip_adapters": [adapter("plain", "sdxl", scale=0.8)]},
        looks("plain", scale=0.8), {"ip_adapter_image": STYLE}, checkpoint=XL),
    Row("plus for SDXL", "StableDiffusionXLPipeline", {"prompt": "a fox"},
        {"model": "sdxl", "ip_adapters": [adapter("plus", "sdxl")]}, looks("plus"), {"ip_adapter_image": STYLE}, checkpoint=XL),
    Row("with a word", IMG2IMG, {**REDRAWN, "prompt": "a mist fox"},
        {"ip_adapters": [adapter("plain")], "embedding": "{files}/mist.safetensors"},
        both(looks("plain"), words("mist.safetensors", "mist")), {"ip_adapter_image": STYLE}),
]  # fmt: skip
ROWS = [*EMBEDDINGS, *IP_ADAPTERS]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return adapter_files.write_ip_adapters(adapter_files.write_embeddings(tmp_path_factory.mktemp("adapters") / "files"))


def at(value: Any, files: Path) -> Any:
    """Put the folder of the files into what is said of adapters."""
    if isinstance(value, dict):
        return {name: one if name == "blocks" else at(one, files) for name, one in value.items()}
    if isinstance(value, list):
        return [at(one, files) for one in value]
    return value.format(files=files) if isinstance(value, str) else value


def recipe_of(row: Row, files: Path) -> Recipe:
    placed = {name: at(value, files) for name, value in row.adapters.items()}
    size = {} if "image" in row.values else {"width": 96, "height": 128}
    rest = {"mask_overlay": "none"} if "mask_image" in row.values else {}
    return Recipe(**{**row.values, **size, **rest, **placed}, num_inference_steps=3, seed=3, checkpoint=row.checkpoint.name)


def raw(row: Row, files: Path) -> bytes:
    pipeline = getattr(diffusers, row.pipeline).from_pretrained(row.checkpoint)
    pipeline.set_progress_bar_config(disable=True)
    row.load(pipeline, files)
    size = {} if row.pipeline.endswith("Img2ImgPipeline") else {"width": 96, "height": 128}
    generator = torch.Generator("cpu").manual_seed(3)
    return pipeline(**{**row.values, **size, **row.given}, num_inference_steps=3, generator=generator).images[0].tobytes()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_pixels_equal_those_of_diffusers_own_calls(row: Row, files: Path, session: Session) -> None:
    recipe = recipe_of(row, files)
    made = session.run(recipe)
    assert made.image.tobytes() == raw(row, files)
    without = session.run(recipe.replace(embeddings=(), ip_adapters=()))
    assert without.image.tobytes() != made.image.tobytes(), "the adapter has to change something for the row to mean anything"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_program_makes_the_same_pixels(
    row: Row, files: Path, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = session.run(recipe_of(row, files))
    script = script_of(made)
    script.save(tmp_path / "program.py")
    exec(compile(script.text, "program.py", "exec"), {"__name__": "__main__"})
    with Image.open(script.results[0]) as written:
        assert written.convert("RGB").tobytes() == made.image.tobytes()
