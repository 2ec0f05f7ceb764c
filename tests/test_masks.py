"""Masks: what is painted is redrawn, what is black stays byte for byte, and what is ambiguous is said."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFilter

import nbdiffuse
from nbdiffuse import Recipe, Session, embedded
from nbdiffuse.cells.variables import find_picture
from nbdiffuse.errors import ParameterError
from nbdiffuse.families.families import FAMILIES
from nbdiffuse.images import layers, masks
from nbdiffuse.images.masks import as_mask, overlay
from nbdiffuse.images.picture import Picture
from nbdiffuse.recipes.presets import PRESETS
from nbdiffuse.recipes.resolve import resolve
from nbdiffuse.recipes.sizes import fitted_pictures
from nbdiffuse.runs.loopback import Loopback
from nbdiffuse.store.index import PictureIndex
from nbdiffuse.store.store import Store

FILES = Path(__file__).parent / "files"
BOX = (16, 16, 47, 47)
CLEAR = (0, 0, 0, 0)


def layer(colour: tuple[int, ...], ground: tuple[int, ...] = CLEAR) -> Image.Image:
    image = Image.new("RGBA", (64, 64), ground)
    ImageDraw.Draw(image).rectangle(BOX, fill=colour)
    return image


def square() -> np.ndarray[Any, Any]:
    expected = np.zeros((64, 64), np.uint8)
    expected[16:48, 16:48] = 255
    return expected


def meant(source: Any) -> np.ndarray[Any, Any]:
    """Return what a recipe takes as its mask."""
    held = Recipe(image=Image.new("RGB", (64, 64)), mask_image=source).mask.image
    return np.asarray(held.image.convert("L"))


def notices(source: Any) -> tuple[str, ...]:
    mask = Recipe(mask_image=source).mask.image
    assert isinstance(mask, Picture)
    return mask.notices


# What a person means


@pytest.mark.parametrize(
    "colour",
    [(255, 255, 255, 255), (0, 0, 0, 255), (255, 0, 0, 255), (30, 200, 90, 255), (255, 0, 0, 100), (0, 0, 0, 128)],
    ids=str,
)
@pytest.mark.parametrize("ground", [CLEAR, (255, 255, 255, 0)], ids=str)
def test_the_painted_part_of_a_transparent_layer_is_redrawn_whatever_its_colour(colour: Any, ground: Any) -> None:
    source = layer(colour, ground)
    assert np.array_equal(meant(source), square())
    assert notices(source) == (layers.PAINTED,)


def test_every_kind_of_transparent_picture_says_the_same_as_a_mask(tmp_path: Path) -> None:
    source = layer((0, 0, 0, 255))
    indexed, keyed = Image.new("P", (64, 64), 0), Image.fromarray(square())
    indexed.putpalette([10, 10, 10, 0, 0, 0])
    ImageDraw.Draw(indexed).rectangle(BOX, fill=1)
    kinds = {"la.png": source.convert("LA"), "p.png": indexed, "l.png": keyed, "rgba.webp": source, "rgba.tiff": source}
    options: dict[str, dict[str, Any]] = {
        "p.png": {"transparency": 0}, "l.png": {"transparency": 0}, "rgba.webp": {"lossless": True},
    }  # fmt: skip
    for name, image in kinds.items():
        image.save(tmp_path / name, **options.get(name, {}))
        assert np.array_equal(meant(tmp_path / name), square()), name
    assert np.array_equal(meant(np.asarray(source)), square())
    assert np.array_equal(meant(np.asarray(source) / 255), square())
    turned = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    source.crop((0, 0, 64, 48)).save(turned, "PNG", exif=exif)
    assert np.array_equal(meant(turned.getvalue()), np.rot90(square()[:48], -1))


def test_white_and_black_paint_on_one_layer_redraws_the_white() -> None:
    source = layer((255, 255, 255, 255))
    ImageDraw.Draw(source).rectangle((24, 24, 31, 31), fill=(0, 0, 0, 255))
    expected = square()
    expected[24:32, 24:32] = 0
    assert np.array_equal(meant(source), expected)
    assert notices(source) == (layers.TWO_PAINTS,)


def test_the_soft_edge_of_a_stroke_stays_soft() -> None:
    alpha = Image.fromarray(square()).filter(ImageFilter.GaussianBlur(4))
    source = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    source.putalpha(alpha)
    assert np.array_equal(meant(source), np.asarray(alpha))


def test_a_photograph_that_was_cut_out_is_redrawn_where_it_is_opaque() -> None:
    colours = np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert np.array_equal(meant(np.dstack([colours, square()])), square())


def test_a_picture_with_an_erased_part_says_how_it_was_read() -> None:
    holed = np.dstack([np.full((64, 64, 3), 90, np.uint8), 255 - square()])
    assert np.array_equal(meant(holed), 255 - square()) and notices(holed) == (layers.ERASED,)


def test_without_transparency_brightness_counts() -> None:
    grey = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))
    assert np.array_equal(meant(grey), grey)
    opaque = Image.fromarray(grey).convert("RGBA")
    assert np.array_equal(meant(opaque), grey)
    assert notices(opaque) == notices(grey) == ()
    assert Recipe(mask_image=grey).mask.image == Picture.of(grey)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (Image.new("L", (8, 8), 0), (masks.EMPTY,)),
        (Image.new("L", (8, 8), 100), (masks.DIM,)),
        (Image.new("L", (8, 8), 255), (masks.FULL,)),
        (Image.new("RGBA", (8, 8), CLEAR), (layers.PAINTED, masks.EMPTY)),
        (np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8), (masks.COLOURED,)),
        (layer((255, 0, 0, 255), (0, 0, 0, 255)), (masks.COLOURED, masks.DIM)),
    ],
)
def test_a_mask_that_may_not_be_what_was_meant_says_so(source: Any, expected: tuple[str, ...]) -> None:
    assert notices(source) == expected
    held = Recipe(mask_image=source)
    again = held.replace(seed=3).replace(mask_image=held.mask.image)
    assert again.mask.image.notices == expected


def test_a_grey_jpeg_is_no_colour_picture() -> None:
    file = io.BytesIO()
    Image.fromarray(square()).convert("RGB").save(file, "JPEG", quality=60)
    assert notices(file.getvalue()) == ()


def test_a_mask_means_the_same_whatever_way_it_comes_in(tmp_path: Path) -> None:
    source = layer((0, 0, 0, 255))
    source.save(tmp_path / "mask.png")
    taken = Picture.of(source, label="m")
    for way in (taken, Picture.of(taken, "n"), find_picture("m", {"m": source}), find_picture("m", {"m": taken}),
                find_picture(str(tmp_path / "mask.png"), {}), pickle.loads(pickle.dumps(taken))):  # fmt: skip
        assert np.array_equal(meant(way), square())
    held = Recipe(image=source, mask_image=source)
    assert Recipe.from_json(held.to_json()) == held
    # As a picture, it is what it was.
    assert held.image == Picture.of(source.convert("RGBa").convert("RGBA")) and held.image != held.mask.image
    assert as_mask(held.mask.image) is held.mask.image


def test_latents_are_no_mask(session: Session, scene: Any) -> None:
    made = session.run(Recipe(prompt="a cat", image=scene.image, num_inference_steps=2, seed=1))
    with pytest.raises(ParameterError, match=r"`mask_image` must be a picture, got latents\. Give the decoded picture"):
        Recipe(mask_image=made.latents)


def test_a_mask_of_another_shape_is_said_and_one_of_another_size_is_not() -> None:
    image = Image.new("RGB", (128, 96))
    for size, said in (((128, 96), 0), ((64, 48), 0), ((43, 32), 0), ((96, 128), 1), ((64, 64), 1)):
        mask = Image.fromarray(square()).resize(size)
        complete = resolve(Recipe(prompt="a", image=image, mask_image=mask, seed=1))
        shape = [line for line in complete.mask.image.notices if line.startswith("it has another shape")]
        assert len(shape) == said, size
        assert resolve(complete).mask.image.notices == complete.mask.image.notices


# What is black stays


def six_masks() -> dict[str, Image.Image]:
    half, circle, lines = (Image.new("L", (64, 64), 0) for _ in range(3))
    half.paste(255, (0, 0, 32, 64))
    ImageDraw.Draw(circle).ellipse((16, 16, 48, 48), fill=255)
    for place in (13, 30, 47):
        ImageDraw.Draw(lines).line((place, 0, place + 9, 63), fill=255)
    return {
        "half": half,
        "circle": circle,
        "soft edge": circle.filter(ImageFilter.GaussianBlur(3)),
        "thin lines": lines,
        "all black": Image.new("L", (64, 64), 0),
        "painted": layer((0, 0, 0, 255)),
    }


INPAINTING = {
    name: one
    for name, one in PRESETS.items()
    # Kandinsky inpaints with weights of its own, which the embedded family has not.
    if one.embedded and "img2img+mask" in one.pipelines and not FAMILIES[one.family].mask_channels
}
QUICK = {"num_inference_steps": 2, "guidance_scale": 1.0, "seed": 7}


def changed_below(made: Image.Image, initial: Image.Image, mask: Image.Image) -> int:
    """Count the pixels of the mask's black part that are not those of the initial picture."""
    apart = (np.asarray(made) != np.asarray(initial)).any(-1)
    return int(apart[np.asarray(mask.convert("L")) == 0].sum())


@pytest.mark.parametrize("model", INPAINTING)
def test_what_is_black_in_a_mask_is_byte_equal_and_the_raw_call_changes_it(model: str, session: Session, scene: Any) -> None:
    import diffusers

    start = scene.image.resize((64, 64))
    raw = getattr(diffusers, INPAINTING[model].pipelines["img2img+mask"]).from_pretrained(embedded.path(model))
    raw.set_progress_bar_config(disable=True)
    for name, source in six_masks().items():
        recipe = Recipe(prompt="a cat", model=model, image=start, mask_image=source, **QUICK)
        made = session.run(recipe)
        mask = fitted_pictures(made.recipe)["mask_image"]
        assert made.initial is not None and changed_below(made.image, start, mask) == 0, name
        # The naive call fails the same test, and is what `none` gives, byte for byte.
        strength = made.recipe.strength
        call = {"strength": strength, "num_inference_steps": 2, "guidance_scale": 1.0, "width": 64, "height": 64}
        seed = torch.Generator("cpu").manual_seed(7)
        naive = raw("a cat", image=start, mask_image=mask, generator=seed, **call).images[0]
        assert changed_below(naive, start, mask) > 0, name
        if name in ("circle", "painted"):
            assert session.run(recipe.replace(mask_overlay="none")).image.tobytes() == naive.tobytes()
        white = np.asarray(mask) == 255
        assert np.array_equal(np.asarray(made.image)[white], np.asarray(naive)[white])


def test_grey_blends_and_apply_overlay_of_diffusers_says_the_same_but_for_rounding(scene: Any) -> None:
    from diffusers.image_processor import VaeImageProcessor

    grey = Image.fromarray(np.tile(np.arange(0, 256, 2, dtype=np.uint8), (128, 1)))
    redrawn = scene.image.transpose(Image.Transpose.ROTATE_90)
    part = np.asarray(grey, float)[..., None] / 255
    exact = np.asarray(redrawn) * part + np.asarray(scene.image) * (1 - part)
    assert np.abs(np.asarray(overlay(redrawn, scene.image, grey)) - exact).max() <= 0.51
    for mask in (grey.point(lambda value: 255 * (value > 99)), Image.new("L", (128, 128)), Image.new("L", (128, 128), 255)):
        theirs = VaeImageProcessor().apply_overlay(mask, scene.image, redrawn)
        assert overlay(redrawn, scene.image, mask).tobytes() == theirs.tobytes()


@pytest.mark.parametrize("mode", ["fit", "crop", "pad", "stretch"])
@pytest.mark.parametrize("size", [(400, 200), (50, 25), (64, 64)], ids=str)
def test_black_stays_black_when_a_mask_is_brought_to_size(mode: str, size: tuple[int, int]) -> None:
    """Lanczos ripples into the black part; what a mask keeps must not."""
    image, mask = Image.new("RGB", (200, 100), "red"), Image.new("L", size, 0)
    mask.paste(255, (0, 0, size[0] // 2, size[1]))
    values: dict[str, Any] = {"prompt": "a", "image": image, "mask_image": mask, "resize_mode": mode, "seed": 1}
    fitted = fitted_pictures(resolve(Recipe(**values, width=128, height=64 if mode == "fit" else 128)))
    across = np.asarray(fitted["mask_image"])[fitted["mask_image"].height // 2]
    edge = {"fit": 64, "crop": 64, "pad": 64, "stretch": 64}[mode]
    assert (across[:edge] == 255).all() and (across[edge + 1 :] == 0).all()


def test_grids_chains_and_loopbacks_keep_what_is_black_too(session: Session, scene: Any, tmp_path: Path) -> None:
    start, mask = scene.image.resize((64, 64)), six_masks()["soft edge"]
    recipe = Recipe(prompt="a cat", image=start, mask_image=mask, **QUICK)
    grid = nbdiffuse.sweep(recipe, Store(tmp_path), seed=(1, 2), mask_overlay=("exact", "none")).run()
    kept = []
    for index in range(4):
        cell = grid[index]
        assert cell.image.tobytes() == session.run(cell.recipe).image.tobytes()
        kept.append(changed_below(cell.image, start, mask) == 0)
    assert kept == [cell.recipe.mask.overlay == "exact" for cell in (grid[index] for index in range(4))]
    chain = nbdiffuse.run(Recipe(prompt="a dog", image=start, strength=0.5, **QUICK) >> recipe.replace(image=None))
    before, after = chain.results
    assert changed_below(before.image, start, mask) > 0 and changed_below(after.image, before.image, mask) == 0
    for correction in ("none", "lab"):
        loop = Loopback(recipe.replace(strength=0.9), 2, color_correction=correction, session=session).run()
        assert [changed_below(picture, start, mask) for picture in loop.pictures] == [0, 0]


def test_an_overlay_needs_a_mask_and_a_family_that_inpaints() -> None:
    image = Image.new("RGB", (64, 64))
    with pytest.raises(ParameterError, match="`mask_image` must be given with `mask_overlay`"):
        resolve(Recipe(prompt="a", image=image, mask_overlay="none"))
    with pytest.raises(ParameterError, match="`mask_overlay` is not taken by x2-upscaler"):
        resolve(Recipe(prompt="a", image=image, model="x2-upscaler", mask_overlay="none"))
    with pytest.raises(ParameterError, match="`mask_overlay` must be one of exact, feather, none, got 'soft'"):
        Recipe(mask_overlay="soft")


# Files of earlier versions, made at commit 58f126f by:
# Recipe(prompt="a cat", image=earlier(64, 64), mask_image=circle, num_inference_steps=3, guidance_scale=1.0, seed=5),
# the same as the second step of a chain, and Recipe(image=earlier(128, 64), width=64, height=64, strength=0.7, …).


def earlier(width: int, height: int) -> Image.Image:
    image = Image.new("RGB", (width, height), (40, 90, 160))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, height // 2, width, height), fill=(60, 140, 60))
    draw.ellipse((width // 4, height // 4, width // 4 + height // 3, height // 4 + height // 3), fill=(240, 220, 60))
    return image


@pytest.mark.parametrize("name", ["masked", "chain", "stretched"])
def test_a_file_of_an_earlier_version_says_the_same_pixels(name: str) -> None:
    file = FILES / f"{name}-58f126f.png"
    mask = Image.new("L", (64, 64), 0)
    ImageDraw.Draw(mask).ellipse((16, 16, 48, 48), fill=255)
    held = [Picture.of(earlier(64, 64)), Picture.of(earlier(128, 64)), Picture.of(mask)]
    verdict = nbdiffuse.verify(file)[0]
    # The processor may add in another order than the one that made them.
    assert verdict.state in ("identical", "within tolerance"), verdict
    made = nbdiffuse.replay(file)
    assert made.recipe.get("mask_overlay") == (None if name == "stretched" else "none")
    assert made.recipe.resize_mode == ("stretch" if name == "stretched" else "fit")
    assert made.image.size == (64, 64)
    if name == "masked":
        assert "--mask-overlay none" in nbdiffuse.read(file).cell()
    assert all(picture.at_hand for picture in held)


def test_a_replay_finds_a_mask_beside_it_by_what_its_layer_means(session: Session, scene: Any, tmp_path: Path) -> None:
    layer((0, 0, 0, 255)).save(tmp_path / "layer.png")
    address = Recipe(mask_image=tmp_path / "layer.png").mask.image.address
    found = PictureIndex(Store(tmp_path / "store"), folders=(tmp_path,)).picture(address)
    assert found is not None and np.array_equal(np.asarray(found.image.convert("L")), square())
    # An earlier version took the layer on white: its address finds that, and it stays a mask of that kind.
    old = Picture.of(tmp_path / "layer.png").address
    white = PictureIndex(Store(tmp_path / "store"), folders=(tmp_path,)).picture(old)
    assert white is not None and np.array_equal(meant(white), 255 - square())


def test_a_layer_keeps_its_name_in_a_cell() -> None:
    from nbdiffuse.panels.actions.exports import cell_of

    names = {"start": Image.new("RGB", (64, 64), "red"), "strokes": layer((0, 0, 0, 255)), "other": Image.fromarray(square())}
    recipe = Recipe(prompt="a cat", image=names["start"], mask_image=names["strokes"])
    text, written = cell_of(recipe, {"image": "start", "mask_image": "strokes"}, names)
    assert "--mask-image strokes" in text and not written
    # A variable that shows the very mask means the same.
    text, written = cell_of(recipe, {}, {**names, "strokes": None})
    assert "--mask-image other" in text and not written
