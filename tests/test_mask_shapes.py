"""A mask is inverted, grown and softened, in this order and in its own pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mask_surfaces import QUICK, changed, on_every_surface, square, swept
from PIL import Image, ImageFilter, ImageOps

import nbdiffuse
from nbdiffuse import Recipe, Session, embedded, resolve
from nbdiffuse.cells.options import parse_cell
from nbdiffuse.errors import ParameterError
from nbdiffuse.images import mask_shapes, masks
from nbdiffuse.metadata import a1111
from nbdiffuse.recipes.parts import Mask
from nbdiffuse.recipes.sizes import fitted_pictures
from nbdiffuse.runs.loopback import Loopback


def random_mask(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (20, 31), dtype=np.uint8))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), st.integers(1, 6))
def test_growing_takes_the_brightest_pixel_around_and_shrinking_the_darkest(seed: int, pixels: int) -> None:
    mask = random_mask(seed)
    grown, shrunk = mask_shapes.grown(mask, pixels), mask_shapes.grown(mask, -pixels)
    assert grown.tobytes() == mask.filter(ImageFilter.MaxFilter(2 * pixels + 1)).tobytes()
    assert shrunk.tobytes() == mask.filter(ImageFilter.MinFilter(2 * pixels + 1)).tobytes()
    assert mask_shapes.grown(mask, 0) is mask and mask_shapes.blurred(mask, 0) is mask
    # What is shrunk is the grown rest.
    assert shrunk.tobytes() == ImageOps.invert(mask_shapes.grown(ImageOps.invert(mask), pixels)).tobytes()


def test_a_square_grows_to_every_side() -> None:
    assert mask_shapes.grown(square(), 5).getbbox() == (43, 35, 85, 77)
    assert mask_shapes.grown(square(), -5).getbbox() == (53, 45, 75, 67)


def test_the_blur_is_diffusers_own() -> None:
    from diffusers.image_processor import VaeImageProcessor

    assert mask_shapes.blurred(square(), 4).tobytes() == VaeImageProcessor.blur(square(), 4).tobytes()


def test_a_mask_is_inverted_then_grown_then_blurred() -> None:
    made = mask_shapes.shaped(square(), invert=True, grow=3, blur=2.5)
    by_hand = ImageOps.invert(square()).filter(ImageFilter.MaxFilter(7)).filter(ImageFilter.GaussianBlur(2.5))
    assert made.tobytes() == by_hand.tobytes()
    # Another order is another mask.
    assert made.tobytes() != ImageOps.invert(mask_shapes.shaped(square(), grow=3, blur=2.5)).tobytes()


def test_a_mask_is_shaped_in_its_own_pixels_before_it_is_brought_to_size(scene: Any) -> None:
    large = square(512, (160, 160, 319, 319))
    recipe = resolve(Recipe(**QUICK, image=scene.image, mask=Mask(image=large, grow=40)))
    assert fitted_pictures(recipe)["mask_image"].getbbox() == (30, 30, 90, 90)


def test_the_model_gets_the_shaped_mask_and_a_soft_edge_blends(session: Session, scene: Any) -> None:
    import diffusers
    import torch

    recipe = Recipe(**QUICK, image=scene.image, mask=Mask(image=square(), grow=6, blur=4, overlay="none"))
    soft = square().filter(ImageFilter.MaxFilter(13)).filter(ImageFilter.GaussianBlur(4))
    raw = diffusers.StableDiffusionInpaintPipeline.from_pretrained(embedded.path("sd15"))
    raw.set_progress_bar_config(disable=True)
    size = {"width": 128, "height": 128, "num_inference_steps": 3, "strength": 0.9, "guidance_scale": 2.0}
    seed = torch.Generator("cpu").manual_seed(7)
    theirs = raw("a red cat", image=scene.image, mask_image=soft, generator=seed, **size).images[0]
    assert session.run(recipe).image.tobytes() == theirs.tobytes()
    made = session.run(recipe.replace(mask_overlay="exact")).image
    assert made.tobytes() == Image.composite(theirs, scene.image, soft).tobytes()
    assert changed(made, scene.image, np.asarray(soft) == 0) == 0


def test_shapes_are_the_same_on_every_surface(session: Session, scene: Any, tmp_path: Path) -> None:
    recipe = Recipe(**QUICK, image=scene.image, mask=Mask(image=square(64, (20, 20, 39, 39)), grow=-2, blur=1.5, invert=True))
    on_every_surface(recipe, session, tmp_path)
    for axis in ({"mask_blur": (0, 6)}, {"mask_grow": (-4, 8)}, {"mask_invert": (False, True)}):
        folder = tmp_path / next(iter(axis))
        folder.mkdir()
        first, second = swept(recipe, session, folder, **axis)
        assert first.tobytes() != second.tobytes(), axis


def test_a_switch_may_stand_alone_in_a_cell() -> None:
    for line, said in (("start --mask-image m --mask-invert", True), ("start --mask-invert false --mask-image m", False)):
        assert parse_cell("img2img", line, "a cat").values["mask_invert"] is said
    assert parse_cell("img2img", "start --mask-image m --mask-invert true,false", "a").axes == {"mask_invert": (True, False)}
    with pytest.raises(ParameterError, match="`mask_invert` must be true or false, got 'start'"):
        parse_cell("img2img", "--mask-invert start --mask-image m", "a cat")


def test_later_passes_of_a_loopback_shape_their_mask_once(session: Session, scene: Any, tmp_path: Path) -> None:
    large = square(512, (160, 160, 319, 319))
    loop = Loopback(Recipe(**QUICK, image=scene.image.resize((200, 200)), mask=Mask(image=large, grow=20)), 2, session=session)
    masks_used = [fitted_pictures(result.recipe)["mask_image"].tobytes() for result in loop.run().results]
    assert masks_used[0] == masks_used[1]


def test_what_is_said_of_a_mask_is_said_of_its_shape(scene: Any) -> None:
    def said(**shape: Any) -> tuple[str, ...]:
        return resolve(Recipe(**QUICK, image=scene.image, mask=Mask(**shape))).mask.image.notices  # type: ignore[union-attr]

    white = Image.new("L", (128, 128), 255)
    assert said(image=white) == (masks.FULL,) and said(image=white, invert=True) == (masks.EMPTY,)
    assert said(image=square()) == () and said(image=square(), grow=100) == (masks.FULL,)
    assert said(image=square(), grow=-16) == (masks.EMPTY,) and said(image=square(), blur=200) == (masks.DIM,)
    complete = resolve(Recipe(**QUICK, image=scene.image, mask=Mask(image=square(), grow=-16)))
    assert resolve(complete).mask.image.notices == (masks.EMPTY,)


def test_shapes_out_of_range_are_one_line(scene: Any) -> None:
    with pytest.raises(ParameterError, match=r"`mask_blur` must be a number of pixels in \[0, 256\], got -1"):
        Mask(blur=-1)
    with pytest.raises(ParameterError, match=r"`mask_grow` must be a whole number of pixels in \[-256, 256\], got 257"):
        Mask(grow=257)
    with pytest.raises(ParameterError, match="`mask_invert` must be true or false, got 'yes'"):
        Mask(invert="yes")  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="`mask_image` must be given with `mask_blur`"):
        resolve(Recipe(prompt="a", image=scene.image, mask_blur=4))


A1111 = "a red cat\nSteps: 20, Sampler: DDIM, CFG scale: 7, Seed: 5, Size: 512x512, Denoising strength: 0.75, Mask blur: 4"


def test_the_words_of_a1111_come_in() -> None:
    said = a1111.parse(f"{A1111}, Mask mode: Inpaint not masked, Inpaint area: Only masked, Masked area padding: 24")
    assert {name: value for name, value in said.values.items() if "mask" in name} == {
        "mask_blur": 4, "mask_invert": True, "mask_crop": 24,
    }  # fmt: skip
    assert not said.left_out
    assert a1111.parse(f"{A1111}, Inpaint area: Only masked").values["mask_crop"] == 32
    whole = a1111.parse(f"{A1111}, Inpaint area: Whole picture, Mask mode: Inpaint masked")
    assert "mask_crop" not in whole.values and "mask_invert" not in whole.values and not whole.left_out
    (line,) = a1111.parse(A1111.replace("blur: 4", "blur: 999")).left_out
    assert line.startswith("Not carried over: Mask blur. `mask_blur` must be a number of pixels in [0, 256], got")


def test_our_own_text_says_it_in_the_same_words(scene: Any) -> None:
    recipe = resolve(Recipe(**QUICK, image=scene.image, mask=Mask(image=square(), blur=2.5, invert=True, crop=8)))
    text = a1111.generation_text(recipe, "1")
    assert "Mask blur: 2.5, Mask mode: Inpaint not masked, Inpaint area: Only masked, Masked area padding: 8" in text
    said = a1111.parse(text)
    assert all(said.values[name] == recipe.get(name) for name in ("mask_blur", "mask_invert", "mask_crop"))


def test_a_picture_of_a1111_becomes_a_cell_with_a_place_for_its_mask(tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("parameters", A1111)
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png", pnginfo=info)
    parsed = nbdiffuse.read(tmp_path / "a.png")
    assert "--mask-image mask_image" in parsed.cell() and "--mask-blur 4" in parsed.cell()
    assert parsed.missing == ("image", "mask_image") and any("does not hold the mask" in line for line in parsed.notices)


def test_a_pasted_text_needs_a_mask_for_what_it_says_of_one() -> None:
    with_mask = parse_cell("img2img", "start --mask-image m", A1111)
    assert with_mask.values["mask_blur"] == 4
    without = parse_cell("img2img", "start", A1111)
    assert "mask_blur" not in without.values
    assert "Not carried over: mask_blur: 4.0, there is no `--mask-image`." in without.notices


def test_a_panel_has_a_control_for_each(session: Session, scene: Any) -> None:
    from nbdiffuse.panels.recipe_panel import Panel

    recipe = Recipe(**QUICK, image=scene.image, mask=Mask(image=square(), blur=3.5, invert=True, crop=16))
    panel = Panel(recipe, session)
    try:
        assert panel.recipe == recipe
        controls = panel._controls
        assert controls._control("mask_invert").widget.value is True
        controls.set("mask_grow", 5)
        controls.set("mask_invert", None)
        assert controls.recipe == recipe.replace(mask_grow=5, mask_invert=None)
    finally:
        panel.stop()
