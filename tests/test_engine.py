"""The engine: the same pixels as diffusers' own call, previews, stop, and nothing left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from waiting import HUNG

import nbdiffuse
from nbdiffuse import Recipe, Session, resolve
from nbdiffuse.errors import Interrupted, NonFiniteError, RunError

PROMPT = "cat wizard, gandalf, lord of the rings, detailed, fantasy, cute"

SETTINGS = [
    *({"strength": s, "guidance_scale": g, "seed": 7} for s, g in product((0.2, 0.5, 0.8, 1.0), (0.0, 1.0, 7.5, 10.5))),
    {"scheduler": "DDIM", "seed": 3},
    {"scheduler": "EulerDiscrete", "seed": 3},
    {"scheduler": "EulerAncestralDiscrete", "seed": 3},
    {"scheduler": "HeunDiscrete", "seed": 3},
    {"scheduler": "DPMSolverMultistep", "seed": 3},
    {"scheduler": "UniPCMultistep", "seed": 3},
    {"scheduler": "DDPM", "seed": 3},
    {"negative_prompt": "ugly, deformed, disfigured, poor details, bad anatomy", "seed": 11},
    {"negative_prompt": "jungle", "strength": 0.62, "num_inference_steps": 7, "seed": 2**40},
]


def pixels(image: Image.Image) -> bytes:
    return np.asarray(image).tobytes()


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_pixels_equal_the_raw_img2img_call(
    settings: dict[str, Any], raw: Callable[[str], Any], scene: Any, session: Session
) -> None:
    import diffusers

    values = {"num_inference_steps": 8, **settings}
    mine = session.run(Recipe(prompt=PROMPT, image=scene.image, **values))
    pipeline = raw("StableDiffusionImg2ImgPipeline")
    kept = pipeline.scheduler
    call = {name: value for name, value in values.items() if name not in ("seed", "scheduler")}
    try:
        if "scheduler" in values:
            pipeline.scheduler = getattr(diffusers, values["scheduler"] + "Scheduler").from_config(kept.config)
        theirs = pipeline(PROMPT, image=scene.image, generator=torch.Generator("cpu").manual_seed(values["seed"]), **call).images[
            0
        ]
    finally:
        pipeline.scheduler = kept
    assert pixels(mine.image) == pixels(theirs)


@pytest.mark.quick
def test_pixels_equal_the_raw_txt2img_call(raw: Callable[[str], Any], session: Session) -> None:
    mine = session.run(Recipe(prompt=PROMPT, num_inference_steps=6, seed=5))
    theirs = raw("StableDiffusionPipeline")(
        PROMPT, num_inference_steps=6, generator=torch.Generator("cpu").manual_seed(5)
    ).images[0]
    assert pixels(mine.image) == pixels(theirs)


def test_the_guides_call_without_any_option_is_the_same(raw: Callable[[str], Any], scene: Any, session: Session) -> None:
    mine = session.run(Recipe(prompt=PROMPT, image=scene.image, seed=0))
    theirs = raw("StableDiffusionImg2ImgPipeline")(
        PROMPT, image=scene.image, generator=torch.Generator("cpu").manual_seed(0)
    ).images[0]
    assert pixels(mine.image) == pixels(theirs)


@pytest.mark.quick
def test_the_returned_recipe_makes_the_same_bytes_again(scene: Any, session: Session) -> None:
    first = session.run(Recipe(prompt="a robot in the snow", image=scene.image, num_inference_steps=6))
    again = session.run(first.recipe)
    assert again.recipe == first.recipe and pixels(again.image) == pixels(first.image)


def test_progress_counts_the_real_steps(scene: Any, session: Session) -> None:
    for scheduler in ("PNDM", "DDIM", "HeunDiscrete"):
        seen: list[tuple[int, int]] = []
        recipe = Recipe(prompt="a cat", image=scene.image, num_inference_steps=10, strength=0.5, scheduler=scheduler, seed=1)
        session.run(recipe, lambda progress, seen=seen: seen.append((progress.step, progress.steps)))
        assert seen[-1] == (5, 5) and seen == sorted(seen), scheduler


def test_previews_come_at_most_twice_a_second_and_approach_the_result(scene: Any, session: Session) -> None:
    seen: list[tuple[float, Image.Image]] = []

    def note(progress: Any) -> None:
        if progress.preview is not None:
            seen.append((progress.elapsed, progress.preview))

    result = session.run(Recipe(prompt="a cat in the snow", image=scene.image, num_inference_steps=150, seed=4), note)
    assert len(seen) >= 2
    times = [when for when, _ in seen]
    assert all(later - earlier >= 0.5 for earlier, later in pairwise(times))
    small = np.asarray(result.image.resize(seen[0][1].size, Image.Resampling.BOX), float)
    first, last = (np.abs(np.asarray(preview, float) - small).mean() for preview in (seen[0][1], seen[-1][1]))
    assert last <= first and last < 40


def stopped_after(session: Session, recipe: Recipe, stop_at: int) -> int:
    """Ask for a stop during a step; return how many steps ran."""
    steps: list[int] = []

    def note(progress: Any) -> None:
        steps.append(progress.step)
        if len(steps) == stop_at:
            job.stop()

    job = session.submit(recipe, note)
    with pytest.raises(Interrupted, match="Stopped after step"):
        job.result(HUNG)
    return len(steps)


def test_a_stopped_run_ends_within_a_step_and_changes_nothing(scene: Any, session: Session) -> None:
    recipe = Recipe(prompt="a cat in the snow", image=scene.image, num_inference_steps=20, seed=4)
    before = pixels(session.run(recipe).image)
    for stop_at in (1, 2, 5, 15):
        assert stopped_after(session, recipe, stop_at) == stop_at
        assert pixels(session.run(recipe).image) == before


def test_a_failing_step_leaves_the_pipeline_as_it_was(scene: Any, session: Session) -> None:
    recipe = Recipe(prompt="a cat in the snow", image=scene.image, num_inference_steps=4, seed=4)
    before = pixels(session.run(recipe).image)

    def fail(progress: Any) -> None:
        raise torch.OutOfMemoryError("out of memory")

    with pytest.raises(RunError, match=r"The memory of cpu ran out at 128x128 pixels; .* are free now\.") as caught:
        session.run(recipe, fail)
    assert "in fail" in caught.value.details
    assert pixels(session.run(recipe).image) == before


def test_latents_that_are_no_numbers_are_an_error_not_a_black_picture(scene: Any, session: Session) -> None:
    recipe = Recipe(prompt="a cat", image=scene.image, num_inference_steps=4, seed=4)
    session.run(recipe)
    engine = session._engine
    assert engine is not None
    unet = engine.pipelines.components("sd15")["unet"]

    hook = unet.conv_out.register_forward_hook(lambda module, inputs, output: torch.full_like(output, torch.nan))
    try:
        with pytest.raises(NonFiniteError, match="step 1"):
            session.run(recipe)
    finally:
        hook.remove()


def test_many_threads_get_what_serial_runs_get(scene: Any, session: Session) -> None:
    recipes = [
        resolve(Recipe(prompt=prompt, image=image, num_inference_steps=3, seed=seed))
        for seed, (prompt, image) in enumerate(
            product(("a cat", "a robot in the snow, muted colors, detailed, 8k"), (scene.image, None))
        )
    ]
    serial = {recipe: pixels(session.run(recipe).image) for recipe in recipes}
    wrong: list[Recipe] = []

    def use(order: list[Recipe]) -> None:
        wrong.extend(recipe for recipe in order if pixels(nbdiffuse.run(recipe).image) != serial[recipe])

    threads = [threading.Thread(target=use, args=(recipes[i:] + recipes[:i],)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_global_random_state_is_untouched(scene: Any, session: Session) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    session.run(Recipe(prompt="a cat", image=scene.image, num_inference_steps=2, strength=1.0, seed=1))
    assert torch.equal(before, torch.get_rng_state())


def test_words_past_the_last_token_are_named_for_both_prompts(session: Session) -> None:
    long = "a cat, " + ", ".join(["detailed"] * 45) + ", zebra"
    result = session.run(Recipe(prompt=long, negative_prompt=long, num_inference_steps=1, seed=1))
    assert [notice.split(" ")[0] for notice in result.notices] == ["`prompt`", "`negative_prompt`"]
    assert all("zebra" in notice for notice in result.notices)
