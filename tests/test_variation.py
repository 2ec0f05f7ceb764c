"""Variations: the noise of one seed turned towards that of another, as AUTOMATIC1111 does."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from nbdiffuse import Recipe, resolve
from nbdiffuse.errors import ParameterError
from nbdiffuse.images.noise import slerp
from nbdiffuse.metadata.a1111 import generation_text, parse
from nbdiffuse.runs.grid import Grid
from nbdiffuse.runs.program import script_of
from nbdiffuse.sweeps.axes import Axis
from nbdiffuse.sweeps.sweep import Sweep

GIVEN: dict[str, Any] = {"prompt": "a cat", "num_inference_steps": 3, "seed": 3, "scheduler": "EulerAncestralDiscrete"}


def theirs(share: float, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """Interpolate as AUTOMATIC1111's `modules/rng.py` does, written with torch's functions."""
    low_norm = low / torch.norm(low, dim=1, keepdim=True)
    high_norm = high / torch.norm(high, dim=1, keepdim=True)
    omega = torch.acos((low_norm * high_norm).sum(1))
    so = torch.sin(omega)
    first = (torch.sin((1.0 - share) * omega) / so).unsqueeze(1) * low
    return first + (torch.sin(share * omega) / so).unsqueeze(1) * high


def test_noise_is_turned_as_that_tool_turns_it_and_keeps_its_spread() -> None:
    low, high = torch.randn(2, 4, 64, 64, generator=torch.Generator("cpu").manual_seed(0))
    for share in (0.0, 0.1, 0.5, 1.0):
        made = slerp(share, low, high)
        assert torch.equal(made, theirs(share, low, high)) and 0.97 < float(made.std()) < 1.03
    assert torch.equal(slerp(0.0, low, high), low) and torch.allclose(slerp(1.0, low, high), high)
    assert torch.equal(slerp(0.3, low, low), low * 0.3 + low * (1 - 0.3))


def test_both_ends_are_the_two_seeds_pictures_and_the_run_is_the_raw_call(session: Any) -> None:
    plain = session.run(Recipe(**GIVEN)).image.tobytes()
    assert session.run(Recipe(**GIVEN, variation_seed=9, variation_strength=0.0)).image.tobytes() == plain
    half = session.run(Recipe(**GIVEN, variation_seed=9, variation_strength=0.5))
    assert half.image.tobytes() != plain
    import diffusers

    from nbdiffuse import embedded

    pipeline = diffusers.AutoPipelineForText2Image.from_pretrained(embedded.path("sd15"))
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = diffusers.EulerAncestralDiscreteScheduler.from_config(pipeline.scheduler.config)
    generator = torch.Generator("cpu").manual_seed(3)
    shape = (1, 4, (half.recipe.height or 0) // 8, (half.recipe.width or 0) // 8)
    low, high = torch.randn(shape, generator=generator)[0], torch.randn(shape, generator=torch.Generator("cpu").manual_seed(9))[0]
    size = {"width": half.recipe.width, "height": half.recipe.height}
    latents = theirs(0.5, low, high)[None]
    raw_image = pipeline("a cat", num_inference_steps=3, latents=latents, generator=generator, **size).images[0]
    assert half.image.tobytes() == raw_image.tobytes()


def test_the_program_of_a_grid_of_variations_makes_the_same_pixels(
    session: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = Recipe(**GIVEN, variation_seed=9)
    sweep = Sweep(base, (Axis("variation_strength", (0.2, 0.4)), Axis("guidance_scale", (2.0, 5.0))))
    script = script_of(Grid(sweep, session))
    script.save(tmp_path / "program.py")
    monkeypatch.chdir(tmp_path)
    runpy.run_path("program.py")
    made = [session.run(cell.recipe).image.tobytes() for cell in sweep.cells()]
    assert [Image.open(tmp_path / name).tobytes() for name in script.results] == made and len(set(made)) == 4


@pytest.mark.parametrize("scheduler", ["DDIM", "EulerAncestralDiscrete"])
def test_the_noise_that_is_added_to_a_picture_is_turned_from_one_seeds_to_the_others(scheduler: str, session: Any) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    base = Recipe(**{**GIVEN, "scheduler": scheduler}, image=picture, strength=0.7, width=64, height=64)
    plain = session.run(base).image.tobytes()
    assert session.run(base.replace(variation_seed=9, variation_strength=0.0)).image.tobytes() == plain
    half = session.run(base.replace(variation_seed=9, variation_strength=0.5)).image.tobytes()
    assert half != plain and session.run(base).image.tobytes() == plain, "the scheduler is put back"
    import diffusers

    from nbdiffuse import embedded

    pipeline = diffusers.AutoPipelineForImage2Image.from_pretrained(embedded.path("sd15"))
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = getattr(diffusers, f"{scheduler}Scheduler").from_config(pipeline.scheduler.config)
    added: list[torch.Tensor] = []

    def raw(seed: int, noise: torch.Tensor | None = None) -> bytes:
        add_noise = type(pipeline.scheduler).add_noise

        def recorded(original: Any, own: torch.Tensor, timesteps: Any) -> Any:
            added.append(own)
            return add_noise(pipeline.scheduler, original, own if noise is None else noise, timesteps)

        pipeline.scheduler.add_noise = recorded
        how = {"strength": 0.7, "num_inference_steps": 3, "generator": torch.Generator("cpu").manual_seed(seed)}
        return pipeline("a cat", image=picture, **how).images[0].tobytes()

    assert raw(3) == plain
    raw(9)
    # What is turned to is the noise that the other seed's own run adds.
    assert raw(3, theirs(0.5, added[0][0], added[1][0])[None]) == half


def test_the_program_of_a_variation_of_a_picture_makes_the_same_pixels(
    session: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "start.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(file)
    base = Recipe(**GIVEN, image=file, strength=0.7, width=64, height=64, variation_seed=9)
    sweep = Sweep(base, (Axis("variation_strength", (0.2, 0.4)),))
    script = script_of(Grid(sweep, session))
    script.save(tmp_path / "program.py")
    monkeypatch.chdir(tmp_path)
    runpy.run_path("program.py")
    made = [session.run(cell.recipe).image.tobytes() for cell in sweep.cells()]
    assert [Image.open(tmp_path / name).tobytes() for name in script.results] == made and len(set(made)) == 2


def test_what_is_half_said_or_has_a_mask_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"`variation_strength` must be given where `variation_seed` is"):
        resolve(Recipe(prompt="a cat", variation_seed=1))
    with pytest.raises(ParameterError, match=r"`variation_seed` must be given where `variation_strength` is"):
        resolve(Recipe(prompt="a cat", variation_strength=0.5))
    masked = {"image": Image.new("RGB", (64, 64)), "mask_image": Image.new("L", (64, 64), 255)}
    with pytest.raises(ParameterError, match=r"`variation_seed` must be left out with a mask"):
        resolve(Recipe(prompt="a cat", **masked, variation_seed=1, variation_strength=0.5))
    with pytest.raises(ParameterError, match=r"`variation_seed` is not taken by flux"):
        resolve(Recipe(prompt="a cat", model="flux", checkpoint="a/b", variation_seed=1, variation_strength=0.5))


def test_a_variation_is_written_and_read_in_that_tools_words_and_survives_json() -> None:
    complete = resolve(Recipe(prompt="a cat", seed=1, variation_seed=7, variation_strength=0.25))
    assert Recipe.from_json(complete.to_json()) == complete and resolve(complete) == complete
    text = generation_text(complete, "1")
    assert "Variation seed: 7, Variation seed strength: 0.25" in text
    back = parse(text)
    assert (back.values["variation_seed"], back.values["variation_strength"], back.left_out) == (7, 0.25, ())
