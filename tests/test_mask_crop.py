"""Only the masked part is redrawn at the full size, as diffusers' `padding_mask_crop` does it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import tiny_sd3
import torch
from mask_surfaces import QUICK, changed, on_every_surface, program, square, swept
from PIL import Image, ImageDraw, ImageFilter

import nbdiffuse
from nbdiffuse import Recipe, Session, embedded, resolve
from nbdiffuse.embedded.world import sample
from nbdiffuse.errors import ParameterError
from nbdiffuse.families.family import Family
from nbdiffuse.images.mask_shapes import blurred
from nbdiffuse.images.metrics import seam
from nbdiffuse.recipes import family_traits
from nbdiffuse.recipes.parts import Mask


def raw_call(checkpoint: Path, pipeline: str, image: Image.Image, mask: Image.Image, **call: Any) -> Image.Image:
    """Make the call as a person would by hand."""
    import diffusers

    made = getattr(diffusers, pipeline).from_pretrained(checkpoint)
    made.set_progress_bar_config(disable=True)
    size = {
        "num_inference_steps": 3,
        "strength": 0.9,
        "guidance_scale": 2.0,
        "width": image.width,
        "height": image.height,
        **call,
    }
    seed = torch.Generator("cpu").manual_seed(7)
    result: Image.Image = made("a red cat", image=image, mask_image=mask, generator=seed, **size).images[0]
    return result


@pytest.mark.parametrize("crop", [0, 16])
def test_a_crop_is_diffusers_own_and_what_is_black_stays(crop: int, session: Session, scene: Any) -> None:
    recipe = Recipe(**QUICK, image=scene.image, mask=Mask(image=square(), crop=crop))
    made = session.run(recipe)
    theirs = raw_call(embedded.path("sd15"), "StableDiffusionInpaintPipeline", scene.image, square(), padding_mask_crop=crop)
    assert made.image.tobytes() == theirs.tobytes()
    black = np.asarray(square()) == 0
    assert changed(made.image, scene.image, black) == 0 < changed(made.image, scene.image, ~black)
    # It is another picture than the one that is redrawn as a whole, and the pipeline keeps what is black by itself.
    assert made.image.tobytes() != session.run(recipe.replace(mask_crop=None)).image.tobytes()
    assert made.image.tobytes() == session.run(recipe.replace(mask_overlay="none")).image.tobytes()


def test_a_soft_mask_with_a_crop_is_blended_once(session: Session, scene: Any) -> None:
    soft = square().filter(ImageFilter.GaussianBlur(4))
    made = session.run(Recipe(**QUICK, image=scene.image, mask_image=soft, mask_crop=8))
    theirs = raw_call(embedded.path("sd15"), "StableDiffusionInpaintPipeline", scene.image, soft, padding_mask_crop=8)
    assert made.image.tobytes() == theirs.tobytes()
    assert changed(made.image, scene.image, np.asarray(soft) == 0) == 0


def large(scene: Any) -> tuple[Image.Image, Image.Image]:
    """A picture that is larger than what the checkpoint draws, of sides that are no multiples, and a mask of a part of it."""
    image = scene.image.resize((300, 203), Image.Resampling.LANCZOS)
    mask = Image.new("L", image.size)
    mask.paste(255, (90, 60, 150, 120))
    return image, mask


def test_the_masked_part_is_taken_from_the_picture_at_its_own_size_and_put_back_there(session: Session, scene: Any) -> None:
    image, mask = large(scene)
    made = session.run(Recipe(**QUICK, image=image, mask=Mask(image=mask, crop=16)))
    assert made.image.size == image.size and (made.recipe.width, made.recipe.height) == (128, 88)
    raw = {"padding_mask_crop": 16, "width": 128, "height": 88}
    assert made.image.tobytes() == raw_call(embedded.path("sd15"), "StableDiffusionInpaintPipeline", image, mask, **raw).tobytes()
    black = np.asarray(mask) == 0
    assert changed(made.image, image, black) == 0 and changed(made.image, image, ~black) > 3000
    assert "only the masked part is drawn, at 128x88, and put back into the picture, 300x203" in str(made.notices)
    # A size says how large the part is drawn, and another `resize_mode` how large the whole is.
    sized = made.recipe.replace(width=96, height=64)
    assert session.run(sized).image.size == image.size
    assert session.run(sized.replace(resize_mode="crop")).image.size == (96, 64)


def test_a_mask_of_another_size_lies_over_the_whole_picture(session: Session, scene: Any) -> None:
    image, mask = large(scene)
    recipe = Recipe(**QUICK, image=image, mask_image=mask, mask_crop=0)
    doubled = mask.resize((600, 406), Image.Resampling.NEAREST)
    assert session.run(recipe.replace(mask_image=doubled)).image.tobytes() == session.run(recipe).image.tobytes()


def test_a_large_picture_is_cropped_on_every_surface(session: Session, scene: Any, tmp_path: Path) -> None:
    image, mask = large(scene)
    recipe = Recipe(**QUICK, image=image, mask_image=mask, mask_crop=8, mask_content="fill")
    made = on_every_surface(recipe, session, tmp_path)
    assert swept(recipe, session, tmp_path, mask_crop=(0, 8))[1].tobytes() == made.tobytes()


@pytest.mark.parametrize("content", ["fill", "noise", "nothing"])
def test_a_soft_edge_is_blended_with_the_picture_and_not_with_what_is_hidden_under_it(
    content: str, session: Session, scene: Any, tmp_path: Path
) -> None:
    image, mask = large(scene)
    recipe = Recipe(**QUICK, image=image, mask_image=mask, mask_crop=8, mask_blur=6, mask_content=content)
    made = on_every_surface(recipe, session, tmp_path)
    # Where the mask is nearly black the result is nearly the picture.
    soft = np.asarray(blurred(mask, 6))
    apart = np.abs(np.asarray(made, int) - np.asarray(image, int)).max(-1)
    assert soft[(soft > 0) & (soft < 64)].size > 1000
    assert (apart[soft < 64] <= soft[soft < 64] + 1).all()


def test_a_chain_goes_on_from_the_whole_picture(session: Session, scene: Any, tmp_path: Path) -> None:
    image, mask = large(scene)
    first = Recipe(**QUICK, image=image, mask_image=mask, mask_crop=8)
    chain = first >> Recipe(**QUICK)
    made = nbdiffuse.run(chain)
    assert [result.image.size for result in made.results] == [(300, 203), (128, 88)]
    assert program(made, tmp_path / "chain").popitem()[1] == made.image.tobytes()


@pytest.mark.parametrize("family", ["sdxl", "sd3"])
def test_every_family_whose_call_has_it_takes_a_crop(family: str, session: Session, scene: Any, tmp_path: Path) -> None:
    if family == "sdxl":
        checkpoint, pipeline, model = tiny.write("sdxl", tmp_path), "StableDiffusionXLInpaintPipeline", "sdxl"
    else:
        checkpoint, pipeline, model = tiny_sd3.build(tmp_path / "sd3"), "StableDiffusion3InpaintPipeline", str(tmp_path / "sd3")
    given = {"model": model} if family == "sd3" else {"model": model, "checkpoint": str(checkpoint)}
    image, mask = scene.image.resize((64, 64)), square(64, (20, 20, 39, 39))
    made = session.run(Recipe(**QUICK, **given, image=image, mask_image=mask, mask_crop=4))
    assert made.image.tobytes() == raw_call(checkpoint, pipeline, image, mask, padding_mask_crop=4).tobytes()


def test_a_family_whose_call_has_no_crop_says_so(monkeypatch: pytest.MonkeyPatch, scene: Any) -> None:
    # Kandinsky's inpainting call has no `padding_mask_crop`.
    inpainting = Family(key="kandinsky22", title="Kandinsky 2.2", modes=("img2img", "img2img+mask"))
    monkeypatch.setattr(family_traits, "FAMILIES", {**family_traits.FAMILIES, "kandinsky22": inpainting})
    recipe = Recipe(prompt="a", model="kandinsky22", image=scene.image, mask_image=square(), seed=1)
    assert resolve(recipe).mask is not None
    with pytest.raises(ParameterError, match=r"^`mask_crop` is not taken by kandinsky22 \(Kandinsky 2\.2\)\. Leave it out\.$"):
        resolve(recipe.replace(mask_crop=8))


def test_a_crop_is_the_same_on_every_surface(session: Session, scene: Any, tmp_path: Path) -> None:
    recipe = Recipe(**QUICK, image=scene.image, mask_image=square(), mask_crop=8)
    made = on_every_surface(recipe, session, tmp_path)
    tight, wide = swept(recipe, session, tmp_path, mask_crop=(0, 8))
    assert wide.tobytes() == made.tobytes() != tight.tobytes()


def test_bad_crops_are_one_line(scene: Any) -> None:
    with pytest.raises(ParameterError, match=r"`mask_crop` must be a whole number of pixels in \[0, 4096\], got -1"):
        Mask(crop=-1)
    with pytest.raises(ParameterError, match="`mask_image` must be given with `mask_crop`"):
        resolve(Recipe(prompt="a", image=scene.image, mask_crop=8))
    with pytest.raises(ParameterError, match="`mask_crop` must be given with a mask that is not black everywhere"):
        resolve(Recipe(prompt="a", image=scene.image, mask_image=Image.new("L", (128, 128)), mask_crop=8))


def test_the_border_of_a_soft_mask_does_not_show_in_a_large_picture(session: Session) -> None:
    seams: dict[str, list[float]] = {"own": [], "soft": [], "hard": []}
    for number in range(4):
        image = sample(3_000_200 + number).image.resize((512, 512))
        mask, corner = Image.new("L", image.size), 100 + 8 * number
        ImageDraw.Draw(mask).ellipse((corner, corner, corner + 120, corner + 130), fill=255)
        recipe = Recipe(prompt="a robot in the jungle", image=image, num_inference_steps=15, seed=number, mask_image=mask)
        seams["own"].append(seam(image, mask))
        for name, blur in (("soft", 8), ("hard", 0)):
            made = session.run(recipe.replace(mask_crop=32, mask_blur=blur))
            seams[name].append(seam(made.image, mask))
    own, soft, hard = (float(np.mean(values)) for values in seams.values())
    assert soft <= 1.2 * own < hard, seams
