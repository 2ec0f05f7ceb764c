"""Masks that act on latents: noise or nothing in their place, and a strength for each pixel; both as loops written by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mask_surfaces import QUICK, changed, on_every_surface, program, square, swept
from PIL import Image, ImageFilter

from nbdiffuse import Recipe, Session, embedded, resolve
from nbdiffuse.errors import ParameterError
from nbdiffuse.families.families import FAMILIES
from nbdiffuse.images.latent_masks import CONTENTS, differential
from nbdiffuse.images.mask_edges import STEEP
from nbdiffuse.recipes.mask_rules import check_channels
from nbdiffuse.recipes.parts import Mask
from nbdiffuse.runs.loopback import Loopback


def ramp() -> Image.Image:
    """A mask that is black on the left, and then brighter from column to column of latents."""
    levels = np.clip((np.arange(16) - 3) * 25, 0, 255).astype(np.uint8)
    return Image.fromarray(np.repeat(np.repeat(levels[None], 16, 0), 8, 0).repeat(8, 1))


def soft() -> Image.Image:
    return square(box=(32, 32, 95, 95)).filter(ImageFilter.GaussianBlur(8))


@torch.no_grad()
def by_hand(image: Image.Image, masks: Callable[[int, int], torch.Tensor], hide: Callable[[Any], Any] | None = None) -> Any:
    """Inpaint as Stable Diffusion does with 4 channels; `masks` of a step and of their number, latents changed by `hide`."""
    import diffusers

    made = diffusers.StableDiffusionInpaintPipeline.from_pretrained(embedded.path("sd15"))
    vae, scheduler, factor = made.vae, made.scheduler, made.vae.config.scaling_factor
    encoding = torch.Generator("cpu").manual_seed(7)
    kept = vae.encode(made.image_processor.preprocess(image)).latent_dist.sample(generator=encoding) * factor
    # What was encoded before the call leaves the call's generator as it is.
    drawing = encoding if hide is None else torch.Generator("cpu").manual_seed(7)
    # Rows are repeated in the call, which lays them out in another order of memory.
    kept = (kept if hide is None else hide(kept)).repeat(1, 1, 1, 1)
    noise = torch.randn(kept.shape, generator=drawing)
    negative, positive = made.encode_prompt("a red cat", "cpu", 1, True)[::-1]
    scheduler.set_timesteps(3)
    timesteps = scheduler.timesteps[1:]
    latents = scheduler.add_noise(kept, noise, timesteps[:1])
    for step, timestep in enumerate(timesteps):
        seen = scheduler.scale_model_input(torch.cat([latents] * 2), timestep)
        plain, told = made.unet(seen, timestep, encoder_hidden_states=torch.cat([negative, positive])).sample.chunk(2)
        latents = scheduler.step(plain + 2.0 * (told - plain), timestep, latents).prev_sample
        last = step + 1 == len(timesteps)
        initial = kept if last else scheduler.add_noise(kept, noise, timesteps[step + 1 : step + 2])
        mask = masks(step, len(timesteps))
        latents = (1 - mask) * initial + mask * latents
    decoded = vae.decode(latents / factor).sample
    return np.asarray((decoded * 0.5 + 0.5).clamp(0, 1)[0].permute(1, 2, 0) * 255).round().astype(np.uint8)


def in_latents(mask: Image.Image) -> torch.Tensor:
    return torch.from_numpy((np.asarray(mask)[::8, ::8] > 127).astype(np.float32))[None, None]


@pytest.mark.parametrize("content", CONTENTS)
def test_latents_are_hidden_as_in_a_loop_written_by_hand(content: str, session: Session, scene: Any) -> None:
    mask = in_latents(square())
    noise = torch.randn((1, 4, 16, 16), generator=torch.Generator("cpu").manual_seed(7))
    hidden = noise if content == "latent_noise" else torch.zeros_like(noise)
    theirs = by_hand(scene.image, lambda step, steps: mask, lambda kept: kept * (1 - mask) + hidden * mask)
    recipe = Recipe(**QUICK, image=scene.image, mask=Mask(image=square(), content=content))
    whole = session.run(recipe.replace(mask_overlay="none")).image
    assert np.asarray(whole).tobytes() == theirs.tobytes()
    made = session.run(recipe).image
    assert made.tobytes() == Image.composite(whole, scene.image, square()).tobytes()
    pixels = session.run(recipe.replace(mask_content=content.removeprefix("latent_"))).image
    assert changed(made, pixels, np.asarray(square()) == 255) > 500


def test_each_part_is_redrawn_for_as_many_of_the_last_steps_as_it_is_bright(session: Session, scene: Any) -> None:
    levels = torch.from_numpy(np.asarray(ramp())[::8, ::8].astype(np.float32))[None, None] / 255

    def free(step: int, steps: int) -> torch.Tensor:
        return (levels >= (steps - step) / steps - 1e-6).float()

    theirs = by_hand(scene.image, free)
    recipe = Recipe(**QUICK, image=scene.image, mask=Mask(image=ramp(), differential=True))
    whole = session.run(recipe.replace(mask_overlay="none")).image
    assert np.asarray(whole).tobytes() == theirs.tobytes()
    over = ramp().point(lambda value: min(255, STEEP * value))
    assert session.run(recipe).image.tobytes() == Image.composite(whole, scene.image, over).tobytes()


def test_what_is_dim_stays_nearer_to_the_picture_than_what_is_bright(session: Session, scene: Any) -> None:
    values = {**QUICK, "num_inference_steps": 12, "strength": 1.0}
    made = session.run(Recipe(**values, image=scene.image, mask=Mask(image=ramp(), differential=True))).image
    apart = np.abs(np.asarray(made, int) - np.asarray(scene.image, int)).mean((0, 2))
    assert (apart[:32] == 0).all()  # black, byte for byte
    dim, bright = apart[32:72].mean(), apart[88:].mean()
    assert 0 < dim < 0.6 * bright


def test_a_hard_mask_by_levels_is_the_hard_mask(session: Session, scene: Any) -> None:
    recipe = Recipe(**QUICK, image=scene.image, mask_image=square(box=(32, 32, 95, 95)))
    assert session.run(recipe.replace(mask_differential=True)).image.tobytes() == session.run(recipe).image.tobytes()


def test_the_callback_frees_more_with_every_step() -> None:
    class Pipeline:
        num_timesteps = 4

    first, on_step_end = differential(ramp(), 8)
    shares = [in_latents(first)]
    for step in range(3):
        shares.append(on_step_end(Pipeline, step, None, {"mask": torch.zeros(2, 1, 16, 16)})["mask"][:1])
    white = [float(one.mean()) for one in shares]
    assert white == sorted(white) and white[0] < 0.2 and white[-1] > 0.4 and max(white) < 0.9


@pytest.mark.parametrize("mask", [{"content": "latent_noise"}, {"content": "latent_nothing"}, {"differential": True}], ids=str)
@pytest.mark.parametrize("model", ["sd15", "sdxl"])
def test_it_is_the_same_on_every_surface(mask: dict[str, Any], model: str, session: Session, scene: Any, tmp_path: Path) -> None:
    recipe = resolve(Recipe(**QUICK, model=model, image=scene.image, mask=Mask(image=soft(), **mask)))
    made = on_every_surface(recipe, session, tmp_path)
    assert changed(made, scene.image, np.asarray(soft()) == 0) == 0 < changed(made, scene.image, np.asarray(soft()) == 255)


def test_both_are_swept(session: Session, scene: Any, tmp_path: Path) -> None:
    recipe = Recipe(**QUICK, image=scene.image, mask_image=soft())
    (tmp_path / "content").mkdir()
    (tmp_path / "levels").mkdir()
    made = swept(recipe, session, tmp_path / "content", mask_content=("original", *CONTENTS), seed=(7, 8))
    made += swept(recipe, session, tmp_path / "levels", mask_differential=(False, True), guidance_scale=(2.0, 3.0))
    assert len({image.tobytes() for image in made}) == 9  # the original with the first guidance is in both


@pytest.mark.parametrize("mask", [{"content": "latent_noise"}, {"differential": True}], ids=str)
def test_a_loopback_has_it(mask: dict[str, Any], session: Session, scene: Any, tmp_path: Path) -> None:
    recipe = Recipe(**QUICK, image=scene.image, mask=Mask(image=soft(), **mask))
    loop = Loopback(recipe, 2, color_correction="lab", session=session).run()
    assert [result.recipe.get("mask_differential") for result in loop.results] == [mask.get("differential")] * 2
    assert [result.recipe.get("mask_content") for result in loop.results] == [mask.get("content"), None]
    assert list(program(loop, tmp_path / "program").values()) == [picture.tobytes() for picture in loop.pictures]


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"mask_content": "latent_noise", "mask_crop": 8}, r"latent_noise cannot be combined with `mask_crop`\. .* noise can\.$"),
        (
            {"mask_differential": True, "mask_crop": 8},
            r"`mask_differential` cannot be combined with `mask_crop`\. Leave one out\.$",
        ),
        ({"mask_differential": True, "mask_content": "fill"}, "`mask_differential` cannot be combined with `mask_content` fill"),
        ({"mask_differential": True, "pag_scale": 3.0}, "cannot be combined with perturbed-attention guidance: diffusers"),
        ({"mask_content": "latent_nothing", "controlnet": "depth", "control_image": "auto"}, "with a ControlNet: diffusers"),
        (
            {"mask_content": "latent_noise", "model": "kandinsky22", "strength": None},
            "must be one of original, fill, noise, nothing for kandinsky22",
        ),
        (
            {"mask_differential": True, "model": "kandinsky22", "strength": None},
            "`mask_differential` is not taken by kandinsky22",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_had_is_one_line_before_anything_runs(values: dict[str, Any], line: str, scene: Any) -> None:
    with pytest.raises(ParameterError, match=line):
        resolve(Recipe(**{**QUICK, **values}, image=scene.image, mask_image=square()))


def test_a_unet_that_is_given_the_mask_keeps_its_own_latents(scene: Any) -> None:
    for value, way in (({"mask_content": "latent_noise"}, "`mask_content` noise"), ({"mask_differential": True}, "`mask_blur`")):
        recipe = resolve(Recipe(**QUICK, image=scene.image, mask_image=square(), **value))
        check_channels(recipe, 4)
        with pytest.raises(ParameterError, match=rf"must be left out for sd15, whose UNet takes 9 channels .*{way}"):
            check_channels(recipe, 9)
    assert [key for key, family in FAMILIES.items() if family.masks_latents] == ["stable-diffusion", "stable-diffusion-xl"]
