"""Arguments of a call that a scheduler, a text encoder or a mode may lack: taken where they do something, refused where not."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from PIL import Image

import nbdiffuse
from nbdiffuse import Recipe, resolve
from nbdiffuse.cells.options import parse_cell
from nbdiffuse.errors import ParameterError
from nbdiffuse.metadata.a1111 import generation_text, parse
from nbdiffuse.recipes.resolve import open_fields
from nbdiffuse.recipes.steps import real_steps, steps_line
from nbdiffuse.runs.program import script_of

STEPS = "999,850,500,200"


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"eta": 0.5, "scheduler": "EulerDiscrete"}, r"`eta` must be left out with EulerDiscrete.*Those that do: DDIM, TCD"),
        ({"eta": 2}, r"`eta` must be a number in \[0, 1\], got 2"),
        ({"clip_skip": 3}, r"`clip_skip` must be at most 2 for a text encoder of 2 layers, got 3"),
        ({"clip_skip": 1, "model": "sdxl", "weighting": "a1111"}, r"`clip_skip` must be left out where `weighting` is a1111"),
        (
            {"timesteps": STEPS, "scheduler": "DDIM"},
            r"`timesteps` must be left out with DDIM.*Those that do: DDPM, Euler",
        ),
        ({"timesteps": STEPS, "scheduler": "HeunDiscrete"}, r"`timesteps` must be left out with HeunDiscrete"),
        ({"timesteps": STEPS, "scheduler": "Euler Karras"}, r"left out where `use_karras_sigmas` is true"),
        (
            {"timesteps": STEPS, "scheduler": "EulerDiscrete", "num_inference_steps": 9},
            r"must be 4 where `timesteps` has so",
        ),
        ({"timesteps": STEPS, "sigmas": "3,1,0"}, r"must not both be given"),
        ({"timesteps": "1,2"}, r"`timesteps` must be whole numbers in \[0, 999\] that fall"),
        ({"timesteps": "1000"}, r"`timesteps` must be whole numbers"),
        ({"sigmas": "a"}, r"`sigmas` must be numbers of at least 0 that fall"),
        ({"sigmas": "nan"}, r"`sigmas` must be numbers"),
        ({"sigmas": "3,1", "scheduler": "EulerDiscrete"}, r"`sigmas` must end with 0 for EulerDiscrete"),
    ],
)
def test_what_would_do_nothing_or_fail_is_refused_in_one_line(given: dict[str, Any], line: str) -> None:
    with pytest.raises(ParameterError, match=line) as caught:
        resolve(Recipe(prompt="a cat", **given))
    assert "\n" not in str(caught.value)


def test_an_argument_of_another_mode_is_refused_and_says_which_take_it() -> None:
    with pytest.raises(ParameterError, match=r"`guidance_rescale` is not taken by StableDiffusionImg2ImgPipeline.*by txt2img"):
        resolve(Recipe(prompt="a cat", image=Image.new("RGB", (64, 64)), guidance_rescale=0.5))


def test_a_schedule_of_ones_own_says_its_number_of_steps_and_is_kept_as_one_text() -> None:
    complete = resolve(Recipe(prompt="a cat", scheduler="EulerDiscrete", timesteps=[999, 850, 500, 200]))
    assert complete.get("timesteps") == STEPS and steps_line(complete) == "4 steps"
    assert Recipe.from_json(complete.to_json()) == complete
    sigmas = resolve(Recipe(prompt="a cat", scheduler="EulerDiscrete", sigmas="14.6 3.9, 1.4,0"))
    assert sigmas.get("sigmas") == "14.6,3.9,1.4,0" and sigmas.num_inference_steps == 3
    cell = parse_cell("txt2img", "--scheduler EulerDiscrete --timesteps 999,850|999,500,10", "a cat")
    assert cell.axes == {"timesteps": ("999,850", "999,500,10")}


def test_the_program_of_a_skipped_layer_and_of_a_schedule_of_ones_own_makes_the_same_pixels(
    session: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = resolve(Recipe(prompt="a cat", scheduler="EulerDiscrete", timesteps="999,400", clip_skip=1, seed=3))
    script = script_of(recipe)
    assert "timesteps=[999, 400]" in script.text
    script.save(tmp_path / "program.py")
    monkeypatch.chdir(tmp_path)
    runpy.run_path("program.py")
    made = session.run(recipe)
    assert Image.open(tmp_path / script.results[0]).tobytes() == made.image.tobytes()
    assert session.run(recipe.replace(clip_skip=None)).image.tobytes() != made.image.tobytes()


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A base and a refiner of SDXL's shape with one VAE."""
    folder = tmp_path_factory.mktemp("ensemble")
    base, refiner = tiny.write("sdxl", folder), tiny.write("sdxl-refiner", folder)
    shutil.rmtree(refiner / "vae")
    shutil.copytree(base / "vae", refiner / "vae")
    return base, refiner


@pytest.mark.parametrize("scheduler", [None, "DPMSolverMultistep", "HeunDiscrete"])
def test_base_and_refiner_hand_over_noise_as_the_two_raw_calls_do(
    ensemble: tuple[Path, Path], scheduler: str | None, session: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import diffusers

    common: dict[str, Any] = {"prompt": "a cat", "num_inference_steps": 10}
    pipelines = [
        diffusers.StableDiffusionXLPipeline.from_pretrained(ensemble[0]),
        diffusers.StableDiffusionXLImg2ImgPipeline.from_pretrained(ensemble[1]),
    ]
    for pipeline in pipelines:
        pipeline.set_progress_bar_config(disable=True)
        if scheduler:
            pipeline.scheduler = getattr(diffusers, f"{scheduler}Scheduler").from_config(pipeline.scheduler.config)
    calls: list[int] = []
    pipelines[0].unet.register_forward_hook(lambda *_: calls.append(1))
    seeded = [torch.Generator("cpu").manual_seed(3) for _ in pipelines]
    size = {"width": 64, "height": 64}
    latents = pipelines[0](**common, **size, denoising_end=0.8, output_type="latent", generator=seeded[0]).images
    theirs = pipelines[1](**common, image=latents, denoising_start=0.8, generator=seeded[1]).images[0]
    base = Recipe(**common, **size, model=str(ensemble[0]), seed=3, scheduler=scheduler, denoising_end=0.8)
    refiner = Recipe(**common, model=str(ensemble[1]), seed=3, scheduler=scheduler, denoising_start=0.8)
    chain = base >> refiner
    seen: list[tuple[int, int]] = []
    session.run(base, lambda progress: seen.append((progress.step, progress.steps)))
    made = nbdiffuse.run(chain)
    assert made.image.tobytes() == theirs.tobytes()
    assert seen[-1][0] == seen[-1][1]
    if scheduler != "HeunDiscrete":
        assert len(seen) == len(calls) == real_steps(resolve(base))
        assert steps_line(resolve(base)) == f"to 0.8 of 10 → {len(calls)} steps"
    script = script_of(made)
    script.save(tmp_path / "program.py")
    monkeypatch.chdir(tmp_path)
    runpy.run_path("program.py")
    assert Image.open(tmp_path / script.results[0]).tobytes() == theirs.tobytes()


def test_a_part_of_the_schedule_is_checked_before_the_run(ensemble: tuple[Path, Path]) -> None:
    picture = Image.new("RGB", (64, 64))
    redrawn: dict[str, Any] = {"prompt": "a cat", "model": str(ensemble[1]), "image": picture}
    complete = resolve(Recipe(**redrawn, denoising_start=0.8, seed=1))
    assert complete.strength is None and resolve(complete) == complete and open_fields(complete) == ()
    with pytest.raises(ParameterError, match=r"`strength` must be left out where `denoising_start` is given"):
        resolve(Recipe(**redrawn, denoising_start=0.8, strength=0.5))
    with pytest.raises(ParameterError, match=r"`denoising_start` must be below `denoising_end`, got 0\.8 and 0\.5"):
        resolve(Recipe(**redrawn, denoising_start=0.8, denoising_end=0.5))
    with pytest.raises(ParameterError, match=r"`denoising_start` must leave at least one of 2 steps"):
        resolve(Recipe(**redrawn, denoising_start=0.99, num_inference_steps=2, timestep_spacing="trailing"))
    with pytest.raises(ParameterError, match=r"`denoising_start` is not taken by StableDiffusionXLPipeline.*by img2img"):
        resolve(Recipe(prompt="a cat", model=str(ensemble[0]), denoising_start=0.8))
    with pytest.raises(ParameterError, match=r"`denoising_end` is not taken by sd15"):
        resolve(Recipe(prompt="a cat", denoising_end=0.8))


def test_what_nobody_sets_stays_open_in_a_complete_recipe() -> None:
    complete = resolve(Recipe(prompt="a cat"))
    assert all(complete.get(name) is None for name in ("eta", "guidance_rescale", "clip_skip", "timesteps", "sigmas"))


def test_a1111_counts_layers_from_one_and_its_words_go_both_ways() -> None:
    given = {"clip_skip": 1, "guidance_rescale": 0.7, "scheduler": "DDIM", "eta": 0.5}
    text = generation_text(resolve(Recipe(prompt="a cat", seed=1, **given)), "1")
    assert "Clip skip: 2" in text and "Eta: 0.5" in text and "CFG rescale: 0.7" in text
    back = parse(text)
    assert {name: back.values[name] for name in given} == given and back.left_out == ()
    (line,) = parse("a cat\nSteps: 20, Sampler: Euler a, Eta: 0.5, Seed: 3").left_out
    assert line == "Not carried over: Eta: '0.5', the scheduler has no such argument here."
