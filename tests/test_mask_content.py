"""What is under a mask when the run starts: the picture, its surroundings, noise or grey."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mask_surfaces import QUICK, changed, on_every_surface, program, square, swept
from PIL import Image, ImageFilter

from nbdiffuse import Recipe, Session, embedded, resolve
from nbdiffuse.errors import ParameterError
from nbdiffuse.images.mask_content import content_image
from nbdiffuse.metadata import a1111
from nbdiffuse.recipes.notices import before_run
from nbdiffuse.recipes.parts import Mask
from nbdiffuse.runs.loopback import Loopback

HIDING = ("fill", "noise", "nothing")


def raw_call(image: Image.Image, mask: Image.Image, seed: int = 7) -> Image.Image:
    import diffusers

    made = diffusers.StableDiffusionInpaintPipeline.from_pretrained(embedded.path("sd15"))
    made.set_progress_bar_config(disable=True)
    call = {"width": 128, "height": 128, "num_inference_steps": 3, "strength": 0.9, "guidance_scale": 2.0}
    generator = torch.Generator("cpu").manual_seed(seed)
    result: Image.Image = made("a red cat", image=image, mask_image=mask, generator=generator, **call).images[0]
    return result


def fill_of_a1111(image: Image.Image, mask: Image.Image) -> Image.Image:
    """`fill` of AUTOMATIC1111's `modules/masking.py`, as it stands there."""
    from PIL import ImageOps

    image_mod = Image.new("RGBA", (image.width, image.height))
    image_masked = Image.new("RGBa", (image.width, image.height))
    image_masked.paste(image.convert("RGBA").convert("RGBa"), mask=ImageOps.invert(mask.convert("L")))
    image_masked = image_masked.convert("RGBa")
    for radius, repeats in [(256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1)]:
        blurred = image_masked.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        for _ in range(repeats):
            image_mod.alpha_composite(blurred)
    return image_mod.convert("RGB")


@pytest.mark.parametrize("content", HIDING)
def test_only_what_the_mask_covers_is_hidden(content: str, scene: Any) -> None:
    soft = square().filter(ImageFilter.GaussianBlur(3))
    made = content_image(content, scene.image, soft, 7)
    white, black = np.asarray(soft) == 255, np.asarray(soft) == 0
    assert changed(made, scene.image, black) == 0 and changed(made, scene.image, white) > 0.9 * white.sum()
    pixels = np.asarray(made)[white]
    if content == "fill":
        assert made.tobytes() == fill_of_a1111(scene.image, soft).tobytes()
    elif content == "nothing":
        assert (pixels == 128).all()
    else:
        assert pixels.std() > 60 and made.tobytes() != content_image(content, scene.image, soft, 8).tobytes()
    other = content_image(content, Image.composite(Image.new("RGB", (128, 128), "red"), scene.image, square()), square(), 7)
    # Nothing of what was there shines through.
    assert np.array_equal(np.asarray(other), np.asarray(content_image(content, scene.image, square(), 7)))


def test_the_picture_itself_is_the_default(session: Session, scene: Any) -> None:
    assert content_image("original", scene.image, square(), 7) is scene.image
    recipe = Recipe(**QUICK, image=scene.image, mask_image=square())
    assert session.run(recipe).image.tobytes() == session.run(recipe.replace(mask_content="original")).image.tobytes()


@pytest.mark.parametrize("content", HIDING)
def test_the_model_starts_from_it_and_the_rest_stays_the_pictures(content: str, session: Session, scene: Any) -> None:
    soft = square().filter(ImageFilter.GaussianBlur(3))
    recipe = Recipe(**QUICK, image=scene.image, mask=Mask(image=soft, content=content))
    made, theirs = session.run(recipe), raw_call(content_image(content, scene.image, soft, 7), soft)
    assert session.run(recipe.replace(mask_overlay="none")).image.tobytes() == theirs.tobytes()
    assert made.image.tobytes() == Image.composite(theirs, scene.image, soft).tobytes()
    assert made.initial is not None and made.initial.tobytes() == scene.image.tobytes()


@pytest.mark.parametrize("content", HIDING)
def test_it_is_the_same_on_every_surface(content: str, session: Session, scene: Any, tmp_path: Path) -> None:
    recipe = Recipe(**QUICK, image=scene.image, mask=Mask(image=square(), content=content, blur=2))
    on_every_surface(recipe, session, tmp_path)


def test_it_is_swept_with_the_seed(session: Session, scene: Any, tmp_path: Path) -> None:
    recipe = Recipe(**QUICK, image=scene.image, mask_image=square())
    made = swept(recipe, session, tmp_path, mask_content=("original", *HIDING), seed=(7, 8))
    assert len({image.tobytes() for image in made}) == 8


@pytest.mark.parametrize("content", ["fill", "noise"])
def test_only_the_first_pass_of_a_loopback_has_it(content: str, session: Session, scene: Any, tmp_path: Path) -> None:
    soft = square().filter(ImageFilter.GaussianBlur(3))
    recipe = Recipe(**QUICK, image=scene.image, mask=Mask(image=soft, content=content))
    loop = Loopback(recipe, 2, color_correction="lab", session=session).run()
    assert [result.recipe.get("mask_content") for result in loop.results] == [content, None]
    assert list(program(loop, tmp_path / "program").values()) == [picture.tobytes() for picture in loop.pictures]


def test_words_and_notices(scene: Any) -> None:
    with pytest.raises(ParameterError, match=r"must be one of original, fill, noise, nothing, latent_noise, .*'blur'"):
        Mask(content="blur")
    with pytest.raises(ParameterError, match="`mask_image` must be given with `mask_content`"):
        resolve(Recipe(prompt="a", image=scene.image, mask_content="fill"))
    recipe = resolve(Recipe(**{**QUICK, "strength": 1.0}, image=scene.image, mask=Mask(image=square(), content="fill")))
    line = "`mask_content`: fill is not seen at `strength` 1, where the run starts from noise; 0.9 sees it."
    assert line in before_run(recipe) and line not in before_run(resolve(recipe.replace(strength=0.9)))


@pytest.mark.parametrize("theirs", ["fill", "original", "latent noise", "latent nothing"])
def test_the_words_of_a1111_come_in_and_go_out(theirs: str, scene: Any) -> None:
    head = "a red cat\nSteps: 20, Sampler: DDIM, CFG scale: 7, Seed: 5, Size: 512x512, Denoising strength: 0.75"
    said = a1111.parse(f"{head}, Masked content: {theirs}")
    assert said.values["mask_content"] == theirs.replace(" ", "_") and not said.left_out
    recipe = resolve(Recipe(**QUICK, image=scene.image, mask=Mask(image=square(), content=said.values["mask_content"])))
    assert (f"Masked content: {theirs}" in a1111.generation_text(recipe, "1")) == (theirs != "original")
    # Of what is cropped pixels alone are hidden.
    cropped = a1111.parse(f"{head}, Masked content: {theirs}, Inpaint area: Only masked")
    assert cropped.values["mask_content"] == theirs.removeprefix("latent ") and cropped.values["mask_crop"] == 32
    again = recipe.replace(mask_content=cropped.values["mask_content"], mask_crop=32)
    assert (f"Masked content: {theirs}" in a1111.generation_text(resolve(again), "1")) == (theirs != "original")
