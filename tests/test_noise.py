"""`noise` begins every run with the share that is asked for, whatever the scheduler and the family."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import tiny_families
from family_cases import by_hand, recipe_of
from mask_surfaces import on_every_surface, program, swept
from noise_starts import FLOW, Starts
from PIL import Image

import nbdiffuse
from nbdiffuse import Recipe, Session, resolve
from nbdiffuse.errors import ParameterError
from nbdiffuse.families.first_step import SAME
from nbdiffuse.metadata import a1111
from nbdiffuse.panels.recipe_panel import Panel
from nbdiffuse.recipes.noise_start import noise_start
from nbdiffuse.recipes.steps import real_steps, start_noise, steps_line
from nbdiffuse.results import result_label
from nbdiffuse.runs import grid_display
from nbdiffuse.runs.loopback import Loopback
from nbdiffuse.store.store import Store
from nbdiffuse.sweeps.cell import SweepCell

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
NOISE = (
    *("PNDM", "DDIM", "DDPM", "EulerDiscrete", "EulerAncestralDiscrete", "HeunDiscrete", "DPMSolverMultistep"),
    *("UniPCMultistep", "DPMSolverSinglestep", "KDPM2Discrete", "KDPM2AncestralDiscrete", "LMSDiscrete", "DEISMultistep"),
    *("SASolver", "LCM", "TCD"),
)
FAMILIES = ("sd", "sdxl", "sd-inpainting", "sdxl-inpainting", "lcm", "flux-dev", "sd3", "qwenimage", "z-image", "chroma")
FAMILIES += ("kandinsky21", "kandinsky3")
SETTINGS: tuple[dict[str, Any], ...] = ({}, {"timestep_spacing": "trailing"}, {"use_karras_sigmas": True})
EVERY = list(itertools.product(FAMILIES, (None, *NOISE, *FLOW)))
A_TENTH = [("sd", None), ("flux-dev", None), ("sd3", "FlowMatchHeunDiscrete"), ("lcm", None), ("kandinsky21", None)]
A_TENTH += [("sd", name) for name in ("PNDM", "EulerDiscrete", "UniPCMultistep", "KDPM2Discrete", "TCD")]
A_TENTH += [("sd-inpainting", "DDIM"), ("sdxl", "HeunDiscrete"), ("kandinsky3", None), ("qwenimage", None)]
PICTURE = Image.effect_noise((64, 64), 80).convert("RGB")


@pytest.fixture(scope="module")
def own() -> Session:
    return Session()


def asked(family: str, checkpoints: Path, **more: Any) -> Recipe:
    """Return a recipe of a family that redraws a picture, or a part of it."""
    side = 128 if family.startswith("kandinsky") else 64
    pictures: dict[str, Any] = {"image": PICTURE.resize((side, side))}
    if "inpainting" in family:
        pictures |= {"mask_image": Image.linear_gradient("L").resize((64, 64)), "mask_overlay": "none"}
    prior = {"prior_num_inference_steps": 2} if family == "kandinsky21" else {}
    return Recipe(prompt="a cat", model=str(tiny_families.write(family, checkpoints)), seed=1, **pictures, **prior, **more)


def measure(family: str, scheduler: str | None, own: Session, checkpoints: Path, starts: Starts) -> int:
    """Run a family with a scheduler from several shares, and compare each with what is measured; return how many ran."""
    count = 0
    settings = SETTINGS if family in ("sd", "sdxl") else SETTINGS[:1]
    for share, steps, set_to in itertools.product((0.2, 0.5, 0.9), (3, 7), settings):
        recipe = asked(family, checkpoints, scheduler=scheduler, noise=share, num_inference_steps=steps, **set_to)
        try:
            complete = resolve(recipe)
        except ParameterError:
            continue
        result = own.run(complete)
        told, said = result.noise_share, any(line.startswith("`noise`") for line in result.notices)
        measured = starts.share(str(complete.scheduler))
        assert told == pytest.approx(measured, abs=0.01), (family, scheduler, share, steps, set_to)
        assert (abs(measured - share) > 0.011) <= said, (family, scheduler, share, measured)
        assert not said or scheduler in ("PNDM", "KDPM2Discrete", "KDPM2AncestralDiscrete"), (family, scheduler, share)
        count += 1
    return count


@pytest.mark.parametrize(("family", "scheduler"), A_TENTH)
def test_the_share_that_is_asked_for_is_measured_in_the_latents(
    family: str, scheduler: str | None, own: Session, family_checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert measure(family, scheduler, own, family_checkpoints, Starts(monkeypatch)) > 0


@pytest.mark.slow
def test_it_is_measured_for_every_scheduler_of_every_family(
    own: Session, family_checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = Starts(monkeypatch)
    ran = {pair: measure(*pair, own, family_checkpoints, starts) for pair in EVERY}
    pairs = [pair for pair, count in ran.items() if count]
    assert len({scheduler for _, scheduler in pairs if scheduler}) >= 12 and {family for family, _ in pairs} == set(FAMILIES)


@pytest.mark.slow
def test_schedulers_move_alike_from_one_share_and_not_from_one_strength(session: Session) -> None:
    import statistics

    from benchmarks.noise import QUIET, likenesses

    by_strength, by_noise = likenesses(session, "penguin", 0.3)
    quiet = len(QUIET) + 3  # with Karras noise levels
    assert statistics.pstdev(by_noise[:quiet]) <= statistics.pstdev(by_strength[:quiet]) / 3


@pytest.mark.parametrize("family", ["sd", "flux-dev", "qwenimage", "z-image", "chroma", "kandinsky3"])
def test_where_the_share_is_that_of_a_step_the_pixels_are_those_of_the_raw_call(
    family: str, own: Session, family_checkpoints: Path
) -> None:
    strength = resolve(recipe_of(family, "img2img", family_checkpoints, strength=0.5))
    share = start_noise(strength)
    recipe = recipe_of(family, "img2img", family_checkpoints, noise=share)
    assert noise_start(resolve(recipe)).first is None  # type: ignore[union-attr]
    _, theirs = by_hand(family, "img2img", family_checkpoints, strength=0.5)
    assert own.run(recipe).image.tobytes() == theirs[0].tobytes()
    assert key(recipe) == key(strength)


@pytest.mark.parametrize("scheduler", [name for name in NOISE if name not in ("SASolver", "LCM", "TCD")])
def test_every_step_of_a_schedule_is_met_by_its_share(scheduler: str) -> None:
    for count in range(1, 9):
        recipe = Recipe(prompt="a cat", image=PICTURE, scheduler=scheduler, num_inference_steps=8, seed=1)
        by_strength = resolve(recipe.replace(strength=count / 8))
        share = start_noise(by_strength)
        assert share is not None
        for near in (share, min(1.0, share + SAME / 2)):
            by_noise = resolve(recipe.replace(noise=max(0.01, near)))
            found = noise_start(by_noise)
            assert found is not None and found.first is None and start_noise(by_noise) == share
            if scheduler != "PNDM":  # which has its second step twice
                assert real_steps(by_noise) == count and key(by_noise) == key(by_strength)


def key(recipe: Recipe) -> str:
    return SweepCell(0, (), resolve(recipe)).picture_key


def test_equal_places_are_one_picture_and_others_are_not() -> None:
    recipe = Recipe(prompt="a cat", image=PICTURE, scheduler="DDIM", num_inference_steps=20, seed=1)
    assert key(recipe.replace(noise=0.5)) == key(recipe.replace(noise=0.5001)) != key(recipe.replace(noise=0.51))
    unmoved = recipe.replace(scheduler="KDPM2Discrete", num_inference_steps=4)
    assert key(unmoved.replace(noise=0.5)) == key(unmoved.replace(noise=0.51))


@pytest.mark.parametrize("scheduler", ["DDIM", "EulerDiscrete", "HeunDiscrete", "DPMSolverMultistep"])
def test_it_says_the_same_on_every_surface_and_as_a_program(scheduler: str, session: Session, tmp_path: Path) -> None:
    recipe = Recipe(
        prompt="a red cat", image=PICTURE, scheduler=scheduler, num_inference_steps=5, guidance_scale=2.0, noise=0.6, seed=7
    )
    assert noise_start(resolve(recipe)).first is not None  # type: ignore[union-attr]
    on_every_surface(recipe, session, tmp_path)


@pytest.mark.parametrize("family", ["flux-dev", "lcm", "kandinsky21"])
def test_other_families_begin_between_two_steps_in_a_program_too(
    family: str, own: Session, family_checkpoints: Path, tmp_path: Path
) -> None:
    made = own.run(asked(family, family_checkpoints, noise=0.82, num_inference_steps=4))
    assert list(program(made, tmp_path / "program").values()) == [made.image.tobytes()]


def test_it_is_an_axis_whose_cells_are_labelled_and_measured(session: Session, tmp_path: Path) -> None:
    recipe = Recipe(prompt="a red cat", image=PICTURE, num_inference_steps=4, seed=7)
    alone = swept(recipe, session, tmp_path, noise=[0.3, 0.9734, 0.5], scheduler=["DDIM", "EulerDiscrete"])
    assert len({image.tobytes() for image in alone}) == 6
    grid = nbdiffuse.sweep(recipe, Store(tmp_path / "store"), noise=[0.3, 0.5], scheduler=["DDIM", "EulerDiscrete"]).run()
    shares = [row["noise_share"] for row in grid.measure("noise_share").records()]
    assert shares == pytest.approx([0.3, 0.3, 0.5, 0.5], abs=0.01)
    by_strength = nbdiffuse.sweep(recipe.replace(scheduler="DDIM"), strength=[0.5, 1.0], guidance_scale=[1.0, 2.0])
    (table,) = grid_display.tables(by_strength.sweep, by_strength._outcomes)
    assert table.rows == ("0.5  noise 0.57", "1  noise 0.97")


def test_the_share_stands_beside_the_steps_and_in_labels() -> None:
    complete = resolve(Recipe(prompt="a cat", image=PICTURE, scheduler="DDIM", num_inference_steps=20, strength=0.3))
    assert steps_line(complete) == "strength 0.3 × 20 → 6 steps from noise 0.57"
    assert result_label(complete).startswith("strength 0.3  guidance") and "\nnoise 0.57  " in result_label(complete)
    complete = resolve(Recipe(prompt="a cat", image=PICTURE, scheduler="EulerDiscrete", num_inference_steps=20, noise=0.5))
    assert steps_line(complete) == "noise 0.5 × 20 → 6 steps from noise 0.5"
    assert result_label(complete).startswith("noise 0.5  guidance")


def test_chains_and_loopbacks_begin_every_pass_with_it(session: Session, tmp_path: Path) -> None:
    first = Recipe(prompt="a red cat", image=PICTURE, num_inference_steps=4, noise=0.6, seed=7, scheduler="DDIM")
    run = nbdiffuse.run(first >> Recipe(prompt="a cat", strength=0.5, num_inference_steps=4, scheduler="DDIM", seed=7))
    assert list(program(run, tmp_path / "chain").values()) == [run.image.tobytes()]
    loop = Loopback(first, 2, session=session).run()
    assert [start_noise(one) for one in loop.recipes] == pytest.approx([0.6, 0.6], abs=0.01)
    assert list(program(loop, tmp_path / "loop").values()) == [image.tobytes() for image in loop.pictures]
    with pytest.raises(ParameterError, match="`final_strength` must be left out where `noise` is given"):
        Loopback(first, 2, final_strength=0.5)


def test_the_text_of_other_tools_has_the_nearest_strength_and_is_read_back() -> None:
    complete = resolve(Recipe(prompt="a cat", image=PICTURE, scheduler="DDIM", num_inference_steps=20, noise=0.5, seed=1))
    text = a1111.generation_text(complete, "")
    assert "Denoising strength: 0.25" in text and "Noise share: 0.5" in text
    values = a1111.parse(text).values
    assert values["noise"] == 0.5 and "strength" not in values


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"strength": 0.5}, "`strength` must be left out where `noise` is given, which says where the run begins. Leave one"),
        ({"noise": 0.0}, r"`noise` must be a number in \[0.01, 1\], got 0"),
        ({"image": None}, "`noise` needs an initial picture"),
        ({"model": "edit"}, "`noise` is not taken by edit.*it edits and has none. Use `image_guidance_scale`"),
        ({"scheduler": "DPMSolverMultistep", "checkpoint": "sd15", "num_inference_steps": 1, "noise": 2}, "`noise` must be a"),
    ],
)
def test_a_mistake_is_one_line(given: dict[str, Any], line: str) -> None:
    with pytest.raises(ParameterError, match=line) as raised:
        resolve(Recipe(**{"prompt": "a cat", "image": PICTURE, "noise": 0.5, **given}))
    assert "\n" not in str(raised.value)


def test_a_scheduler_whose_steps_are_not_known_and_too_few_steps_are_told(family_checkpoints: Path) -> None:
    few = asked("kandinsky21", family_checkpoints, noise=0.2, num_inference_steps=4)
    with pytest.raises(ParameterError, match=r"`noise` must leave at least one step, got 0.2 of 4 steps. Raise it, or raise"):
        resolve(few)
    many = asked("lcm", family_checkpoints, noise=0.5, num_inference_steps=60)
    with pytest.raises(ParameterError, match=r"`num_inference_steps` must be at most the 50"):
        resolve(many)


def test_strength_and_noise_take_each_other_s_place() -> None:
    complete = resolve(Recipe(prompt="a cat", image=PICTURE, strength=0.5, num_inference_steps=8, seed=1))
    by_noise = resolve(complete.replace(noise=0.5))
    assert by_noise.strength is None and by_noise.noise == 0.5
    by_strength = by_noise.replace(strength=0.5)
    assert by_strength == complete and by_noise.replace(seed=2).noise == 0.5
    with pytest.raises(ParameterError, match="Leave one of them out"):
        resolve(complete.replace(strength=0.5, noise=0.5))


def test_either_control_of_the_panel_begins_the_run_and_shows_what_the_other_would_be(session: Session) -> None:
    recipe = Recipe(prompt="a cat", image=PICTURE, scheduler="DDIM", num_inference_steps=20, strength=0.3, seed=1)
    panel = Panel(recipe, session)
    strength, noise = (panel._controls._control(name) for name in ("strength", "noise"))
    assert noise._box.value == pytest.approx(0.57, abs=0.01)
    noise._box.value = 0.5
    panel._thread.settle()
    assert panel.recipe.noise == 0.5 and panel.recipe.strength is None and strength._box.value == 0.25
    strength._box.value = 0.3
    panel._thread.settle()
    assert panel.recipe.noise is None and panel.recipe.strength == 0.3
    shown = noise._box.value
    assert key(panel.recipe) == key(panel.recipe.replace(noise=shown))
