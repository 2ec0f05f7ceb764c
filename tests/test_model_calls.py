"""Model calls: what is foretold is what a hook on the denoiser counts, for every scheduler."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
import tiny
import torch
from PIL import Image

from nbdiffuse import Recipe, Session, resolve
from nbdiffuse.families.model_calls import model_calls, steps_allowed
from nbdiffuse.families.schedulers import SCHEDULERS
from nbdiffuse.families.step_rules import run_steps
from nbdiffuse.recipes.steps import steps_line

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
BETAS: dict[str, Any] = {**tiny._BETAS, "steps_offset": 1, "clip_sample": False, "num_train_timesteps": 1000}
CONFIGS: dict[str, dict[str, Any]] = {
    "leading": {"timestep_spacing": "leading", "skip_prk_steps": True},
    "trailing": {"timestep_spacing": "trailing", "skip_prk_steps": False},
    "silent": {},
}
"""What a checkpoint may say of its scheduler; with "silent" each class goes by its own defaults."""


class Counted:
    """An image-to-image pipeline whose UNet counts its calls."""

    def __init__(self) -> None:
        from diffusers import PNDMScheduler, StableDiffusionImg2ImgPipeline

        torch.manual_seed(0)
        self.pipeline = StableDiffusionImg2ImgPipeline(
            vae=tiny.vae(),
            text_encoder=None,
            tokenizer=None,
            unet=tiny._unet(block_out_channels=(8, 8), norm_num_groups=4),
            scheduler=PNDMScheduler(**tiny._BETAS),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        self.pipeline.set_progress_bar_config(disable=True)
        self.calls = 0
        self.pipeline.unet.register_forward_hook(self._count)

    def _count(self, *_: Any) -> None:
        self.calls += 1

    def run(self, scheduler: str, config: dict[str, Any], steps: int, strength: float) -> int:
        import diffusers

        self.calls = 0
        self.pipeline.scheduler = getattr(diffusers, f"{scheduler}Scheduler").from_config({**BETAS, **config})
        self.pipeline(
            prompt_embeds=torch.zeros(1, 4, 32),
            image=torch.zeros(1, 4, 8, 8),
            num_inference_steps=steps,
            strength=strength,
            guidance_scale=1.0,
            generator=torch.Generator().manual_seed(0),
            output_type="latent",
        )
        return self.calls


@pytest.fixture(scope="module")
def counted() -> Iterator[Counted]:
    yield Counted()


def compare(counted: Counted, scheduler: str, pairs: int, longest: int) -> None:
    random = Random(scheduler)
    tried = 0
    while tried < pairs:
        config = CONFIGS[random.choice(sorted(CONFIGS))]
        low, high = steps_allowed(scheduler, config)
        # Of 61 steps "trailing" makes 62.
        steps = 61 if high > 60 and random.random() < 0.1 else random.randint(low, longest)
        strength = random.choice([round(random.random(), 2), 1.0]) if steps < 60 else 0.1
        run = run_steps(steps, strength)
        if run:
            foretold = model_calls(scheduler, config, steps, steps - run)
            assert counted.run(scheduler, config, steps, strength) == foretold, (scheduler, config, steps, strength)
            tried += 1


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_the_calls_foretold_are_the_calls_counted(scheduler: str, counted: Counted) -> None:
    compare(counted, scheduler, 10, longest=10)


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_the_calls_foretold_are_the_calls_counted_over_many_pairs(scheduler: str, counted: Counted) -> None:
    compare(counted, scheduler, 120, longest=40)


def test_every_scheduler_that_is_offered_is_one_that_fits_and_every_other_that_fits_is_rare() -> None:
    from nbdiffuse.families.scheduler_classes import names, scheduler_class

    found = {name: scheduler_class(name) for name in names()}
    fitting = {name for name, one in found.items() if one is not None and one.serves("")}
    assert set(SCHEDULERS) <= fitting
    assert fitting - set(SCHEDULERS) == {"CogVideoXDDIM", "DDIMParallel", "DDPMParallel", "DPMSolverSDE"}


def test_what_the_source_says_of_a_class_is_what_the_class_says_of_itself() -> None:
    import inspect

    import diffusers

    from nbdiffuse.families.scheduler_classes import scheduler_class

    for name in SCHEDULERS:
        found, real = scheduler_class(name), getattr(diffusers, f"{name}Scheduler")
        assert found is not None and found.order == real.order
        signature = inspect.signature(real.__init__).parameters
        assert dict(found.settings) == {key: one.default for key, one in signature.items() if key != "self"}
        made = real.from_config(BETAS)
        made.set_timesteps(10)
        assert found.has_sigmas == hasattr(made, "sigmas")
        sample = torch.ones(1, 1, 2, 2)
        assert found.scales_input == (not torch.equal(made.scale_model_input(sample, made.timesteps[0]), sample))


@pytest.mark.parametrize(
    ("scheduler", "line"),
    [
        ("HeunDiscrete", "strength 0.5 × 8 → 4 steps from noise 0.73, 7 model calls"),
        ("PNDM", "strength 0.5 × 8 → 4 steps from noise 0.85, 5 model calls"),
        ("DDIM", "strength 0.5 × 8 → 4 steps from noise 0.73"),
    ],
)
def test_the_line_says_model_calls_where_they_are_not_the_steps(scheduler: str, line: str) -> None:
    picture = Image.new("RGB", (64, 64))
    assert (
        steps_line(resolve(Recipe(prompt="a cat", image=picture, strength=0.5, num_inference_steps=8, scheduler=scheduler)))
        == line
    )


@pytest.mark.parametrize(("strength", "steps"), [(0.5, 2), (0.6, 4), (0.25, 4), (1.0, 4), (1.0, 1)])
def test_progress_of_pndm_ends_at_its_last_step_and_not_before(strength: float, steps: int, session: Session) -> None:
    seen: list[tuple[int, int]] = []
    picture = Image.effect_noise((64, 64), 60).convert("RGB")
    recipe = Recipe(prompt="a cat", image=picture, strength=strength, num_inference_steps=steps, seed=1, scheduler="PNDM")
    session.run(recipe, lambda progress: seen.append((progress.step, progress.steps)))
    assert seen[-1][0] == seen[-1][1] == max(1, int(steps * strength))
    if seen[-1][1] > 1:  # one step of two calls is "1 of 1" at both
        assert [step == of for step, of in seen] == [False] * (len(seen) - 1) + [True]


@pytest.mark.parametrize("scheduler", ["PNDM", "DDIM", "EulerDiscrete", "HeunDiscrete"])
@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("steps", [61, 103])
def test_of_some_numbers_trailing_makes_one_step_more_and_that_is_foretold(scheduler: str, config: str, steps: int) -> None:
    import diffusers

    made = getattr(diffusers, f"{scheduler}Scheduler").from_config({**BETAS, **CONFIGS[config]})
    made.set_timesteps(steps)
    assert model_calls(scheduler, CONFIGS[config], steps) == len(made.timesteps)
