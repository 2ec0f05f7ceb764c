"""Instruction editing: words say what to change in a picture; the pixels are those of diffusers' own call."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from waiting import HUNG

import nbdiffuse
from nbdiffuse import Recipe, Result, Session, embedded, resolve
from nbdiffuse.cells.chains import parse_chain
from nbdiffuse.cells.options import completions, help_text, parse_cell
from nbdiffuse.cells.write import cell_text, chain_text, received
from nbdiffuse.engine.batching import ContinuousBatch
from nbdiffuse.engine.engine import Engine
from nbdiffuse.errors import Interrupted, ParameterError
from nbdiffuse.families.recognition import recognise
from nbdiffuse.panels import Panel
from nbdiffuse.pipelines.pipelines import Pipelines
from nbdiffuse.prompts.unknown_words import unknown_words
from nbdiffuse.recipes.presets import PRESETS, preset_of
from nbdiffuse.results import result_label
from nbdiffuse.runs.program import script_of
from nbdiffuse.scripts.checking import SAME, check

INSTRUCTION = "put it in the snow"


def tiny_instruct_pix2pix() -> Any:
    return diffusers.StableDiffusionInstructPix2PixPipeline(
        vae=tiny.vae(),
        text_encoder=tiny.text_encoder(),
        tokenizer=tiny.tokenizer(),
        unet=tiny._unet(in_channels=8),
        scheduler=diffusers.EulerAncestralDiscreteScheduler(**tiny._BETAS),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


@pytest.fixture(scope="module")
def random(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    directory = tmp_path_factory.mktemp("edit") / "random"
    tiny_instruct_pix2pix().save_pretrained(directory)
    return directory


@pytest.fixture
def recipe(scene: Any) -> Recipe:
    return Recipe(model="edit", prompt=INSTRUCTION, image=scene.image, num_inference_steps=4, seed=3)


def by_hand(checkpoint: Path, image: Image.Image, **call: Any) -> Image.Image:
    pipeline = diffusers.StableDiffusionInstructPix2PixPipeline.from_pretrained(checkpoint)
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator("cpu").manual_seed(3)
    made: Image.Image = pipeline(INSTRUCTION, image=image, num_inference_steps=4, generator=generator, **call).images[0]
    return made


CALLS: list[dict[str, Any]] = [
    {},
    {"guidance_scale": 3.0, "image_guidance_scale": 2.0},
    {"guidance_scale": 1.0},
    {"negative_prompt": "a jungle", "image_guidance_scale": 1.0},
]


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_the_embedded_checkpoint_gives_the_pixels_of_the_raw_call(call: dict[str, Any], recipe: Recipe, session: Session) -> None:
    made = session.run(recipe.replace(**call))
    assert made.image.tobytes() == by_hand(embedded.path("edit"), recipe.image.image, **call).tobytes()


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_any_checkpoint_of_the_class_gives_the_pixels_of_the_raw_call(call: dict[str, Any], random: Path) -> None:
    image = Image.linear_gradient("L").resize((96, 64)).convert("RGB")
    made = Session().run(Recipe(prompt=INSTRUCTION, model=str(random), image=image, num_inference_steps=4, seed=3, **call))
    assert made.image.tobytes() == by_hand(random, image, **call).tobytes()
    assert made.recipe.scheduler == "EulerAncestralDiscrete" and made.image.size == image.size


def test_the_defaults_are_those_of_the_call(recipe: Recipe) -> None:
    complete = resolve(Recipe(model="edit", prompt="x", image=recipe.image))
    assert complete.get("image_guidance_scale") == 1.5 and complete.guidance_scale == 7.5
    assert complete.num_inference_steps == 100 and complete.strength is None and complete.checkpoint == "edit"
    assert resolve(recipe.replace(model="timbrooks/instruct-pix2pix")).model == "edit"
    assert preset_of("edit").hub_checkpoint == "timbrooks/instruct-pix2pix"


def test_every_step_is_counted_and_shown(recipe: Recipe, session: Session) -> None:
    seen: list[Any] = []
    session.submit(resolve(recipe.replace(scheduler="DDIM")), seen.append).result()
    assert [(one.step, one.steps) for one in seen] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert seen[0].preview is not None and seen[0].preview.size == (16, 16)


def test_a_stop_leaves_the_pipeline_bit_identical(recipe: Recipe, session: Session) -> None:
    whole = session.run(recipe)
    engine, stop = session.with_pipelines(Engine), threading.Event()
    with pytest.raises(Interrupted, match="after step 1 of 4"):
        engine.run(resolve(recipe.replace(seed=9)), lambda progress: stop.set(), stop)
    assert session.run(recipe).image.tobytes() == whole.image.tobytes()


def test_many_edits_share_calls_of_three_rows_each(recipe: Recipe) -> None:
    engine, outcomes, rows = Engine(Pipelines("cpu")), dict[int, Any](), list[int]()
    recipes = [recipe.replace(seed=seed, image_guidance_scale=scale) for seed, scale in ((1, 1.5), (2, 2.0), (3, 1.0))]
    recipes.append(recipe.replace(guidance_scale=1.0))
    complete = [resolve(one.replace(scheduler="DDIM")) for one in recipes]
    unet = engine.pipelines.acquire("edit", "StableDiffusionInstructPix2PixPipeline", "DDIM").unet
    handle = unet.register_forward_pre_hook(lambda model, args: rows.append(len(args[0])))
    ContinuousBatch(engine, complete, lambda *told: None, outcomes.__setitem__, threading.Event()).run()
    handle.remove()
    assert rows == [10, 10, 10, 10]
    for index, one in enumerate(complete):
        alone = engine.run(one, lambda progress: None, threading.Event())
        difference = np.asarray(outcomes[index].image, int) - np.asarray(alone.image, int)
        assert np.abs(difference).max() <= 1


def test_the_bound_of_a_shared_call_counts_three_rows(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbdiffuse.engine.batching.MAX_ROWS", 6)
    engine, rows, done = Engine(Pipelines("cpu")), list[int](), list[int]()
    complete = [resolve(recipe.replace(scheduler="DDIM", num_inference_steps=2, seed=seed)) for seed in range(3)]
    unet = engine.pipelines.acquire("edit", "StableDiffusionInstructPix2PixPipeline", "DDIM").unet
    handle = unet.register_forward_pre_hook(lambda model, args: rows.append(len(args[0])))
    ContinuousBatch(engine, complete, lambda *told: None, lambda index, one: done.append(index), threading.Event()).run()
    handle.remove()
    assert rows == [6, 6, 3, 3] and sorted(done) == [0, 1, 2]


@pytest.mark.parametrize("surface", ["recipe", "sweep", "chain"])
def test_strength_is_refused_with_what_to_use(surface: str, recipe: Recipe) -> None:
    with pytest.raises(ParameterError) as error:
        if surface == "recipe":
            nbdiffuse.run(recipe.replace(strength=0.5))
        elif surface == "sweep":
            nbdiffuse.sweep(recipe, strength=[0.4, 0.6])
        else:
            nbdiffuse.run(Recipe(prompt="a cat") >> recipe.replace(image=None, strength=0.5))
    assert "has none. Use `image_guidance_scale`" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("model", ["edit", "sd15"])
def test_what_a_family_does_not_take_is_refused(model: str, recipe: Recipe) -> None:
    other: dict[str, Any] = {"edit": {"mask_image": recipe.image}, "sd15": {"image_guidance_scale": 2.0}}[model]
    with pytest.raises(ParameterError, match=f"`{next(iter(other))}` is not taken by {model}"):
        resolve(recipe.replace(model=model, **other))
    with pytest.raises(ParameterError, match=r"only edits pictures\. Use %%edit"):
        resolve(recipe.replace(image=None))


def test_image_guidance_below_one_would_turn_all_guidance_off_and_is_refused(recipe: Recipe) -> None:
    with pytest.raises(ParameterError, match=r"`image_guidance_scale` must be a number in \[1, 100\], got 0.9"):
        recipe.replace(image_guidance_scale=0.9)


def test_latents_of_a_result_are_not_taken_because_the_pipeline_would_not_unscale_them(recipe: Recipe, session: Session) -> None:
    drawn = session.run(Recipe(prompt="a cat", num_inference_steps=2, seed=1))
    with pytest.raises(ParameterError, match="`image` must be a picture for edit, got latents"):
        resolve(recipe.replace(image=drawn.latents))


def test_checkpoints_are_told_by_class_and_by_what_the_unet_takes(random: Path, tmp_path: Path) -> None:
    other = shutil.copytree(random, tmp_path / "other")
    known = {"StableDiffusionPipeline": "instruct-pix2pix", "StableDiffusionLatentUpscalePipeline": "x2-upscaler"}
    for name, family in known.items():
        index = json.loads((random / "model_index.json").read_text())
        (other / "model_index.json").write_text(json.dumps({**index, "_class_name": name}))
        found = recognise(str(other))
        assert found is not None and (found.family, found.in_channels) == (family, 8)
    found = recognise(str(random))
    assert found is not None and found.family == "instruct-pix2pix"
    assert PRESETS["edit"].edits and not PRESETS["x2-upscaler"].edits


def test_the_program_gives_the_same_pixels(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = nbdiffuse.run(recipe.replace(image_guidance_scale=2.0))
    script = script_of(result)
    assert "StableDiffusionInstructPix2PixPipeline" in script.text and "strength" not in script.text
    assert "image_guidance_scale=2" in script.text
    assert check(script, list(result.images)).line == SAME


def test_a_file_says_the_recipe(recipe: Recipe, session: Session, tmp_path: Path) -> None:
    result = session.run(recipe.replace(image_guidance_scale=2.5))
    result.save(tmp_path / "edited.png")
    again = nbdiffuse.read(tmp_path / "edited.png").recipe
    assert again == result.recipe and "strength" not in result.recipe.to_json()
    assert isinstance(result, Result) and session.run(again.replace(image=recipe.image)).image.tobytes() == result.image.tobytes()


def test_one_call_edits(scene: Any, recipe: Recipe) -> None:
    made = nbdiffuse.edit(scene.image, INSTRUCTION, num_inference_steps=4, seed=3)
    assert made.recipe == resolve(recipe) and made.image.tobytes() == nbdiffuse.run(recipe).image.tobytes()
    with pytest.raises(ParameterError, match="`model` must be one that edits after an instruction, such as edit, got 'sd15'"):
        nbdiffuse.edit(scene.image, INSTRUCTION, model="sd15")


def test_a_cell_is_the_recipe(recipe: Recipe) -> None:
    asked = recipe.replace(image_guidance_scale=2.0, negative_prompt="a jungle")
    text = cell_text(asked, {"image": "room"})
    assert text.startswith("%%edit room --num-inference-steps 4 --seed 3") and "--model" not in text
    name, line, body = received(text) or ("", "", "")
    read = parse_cell(name, line, body)
    assert read.values == {**asked.values(), "image": "room"} and read.values["model"] == "edit"
    assert cell_text(recipe.replace(model="timbrooks/instruct-pix2pix"), {"image": "a.png"}).startswith(
        "%%edit a.png --model tim"
    )


@pytest.mark.parametrize("option", ["--strength 0.5", "-s 0.5", "-s=0.5", "--denoising-strength 0.5", "--strength 0.2:1:0.2"])
def test_a_cell_refuses_strength_in_a_line(option: str) -> None:
    with pytest.raises(ParameterError) as error:
        parse_cell("edit", f"room.png {option}", INSTRUCTION)
    assert "is not an option of %%edit. Editing has no strength. Use `--image-guidance-scale`" in str(error.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("room.png --model sd15", "`model` must be one that edits after an instruction, such as edit, in %%edit, got 'sd15'"),
        ("room.png --clip-skip 2", "`%%img2img` takes it: `--clip-skip`"),
        ("room.png --image-cfg-scale 2", "Here it is `--image-guidance-scale`"),
        ("room.png --prompt x", "The prompt is the body of the cell"),
        ("room.png --quux 2", "`%%edit?` lists every option"),
        ("--seed 1", "`image` is missing. Write a picture after %%edit"),
    ],
)
def test_a_mistake_in_a_cell_is_one_line(line: str, message: str) -> None:
    with pytest.raises(ParameterError) as error:
        parse_cell("edit", line, INSTRUCTION)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_an_edit_with_a_mask_keeps_a_strength_that_is_typed_and_leaves_a_pasted_one() -> None:
    typed = parse_cell("edit", "room.png --mask-image m.png --strength 0.5", INSTRUCTION)
    assert typed.values["strength"] == 0.5
    pasted = parse_cell("edit", "room.png --mask-image m.png", f"{INSTRUCTION}\nSteps: 4, Denoising strength: 0.75")
    assert "strength" not in pasted.values


def test_help_and_completion_name_what_editing_takes_and_no_strength() -> None:
    text = help_text("edit")
    assert "--strength" not in text and "--image-guidance-scale" in text and "Models: edit" in text and "sd15" not in text
    assert "--mask-image" in text and "--strength" in help_text("img2img")
    assert "--strength" not in (completions("edit", "%%edit a.png --") or [])
    offered = completions("edit", "%%edit a.png --model ") or []
    assert "edit" in offered and "sd15" not in offered


def test_a_generation_text_in_a_cell_leaves_its_strength_behind() -> None:
    text = f"{INSTRUCTION}\nSteps: 20, Sampler: Euler, CFG scale: 7, Image CFG scale: 1.2, Seed: 5, Denoising strength: 0.75"
    values = parse_cell("edit", "room.png", text).values
    assert values["image_guidance_scale"] == 1.2 and "strength" not in values and values["model"] == "edit"


def test_a_grid_of_image_guidance_is_made_of_runs(recipe: Recipe) -> None:
    grid = nbdiffuse.sweep(recipe, image_guidance_scale=[1.0, 2.0]).run()
    assert [one.recipe for one in grid] == [resolve(recipe.replace(image_guidance_scale=scale)) for scale in (1.0, 2.0)]
    assert grid[0].image.tobytes() != grid[1].image.tobytes()
    assert "image guidance 2" in result_label(grid[1].recipe) and "strength" not in result_label(grid[1].recipe)


def test_a_step_of_a_chain_edits_what_the_step_before_drew_and_hands_on_latents(session: Session) -> None:
    cell = parse_chain("--seed 3 --num-inference-steps 4", "[sd15] a cat\n[edit] put it in the snow\n[sd15 --strength 0.5] a cat")
    chain = nbdiffuse.Chain(tuple(Recipe(**values) for values in cell.steps))
    made = nbdiffuse.ChainRun(chain, session=session).run()
    assert made.arrows == ["pixels: edit takes pictures", "latents"]
    assert made.results[1].image.tobytes() == by_hand(embedded.path("edit"), made.results[0].image).tobytes()
    assert parse_chain("", chain_text(chain, [{}, {}, {}]).split("\n", 1)[1]).steps[1]["model"] == "edit"


def test_a_panel_has_image_guidance_in_the_place_of_strength(recipe: Recipe, session: Session) -> None:
    panel = Panel(Recipe(prompt="a cat", image=recipe.image, strength=0.5, seed=3), session, {"room": recipe.image.image})

    def first() -> list[str]:
        panel._thread.settle()
        shown = panel._controls._first.children
        return [name for name, control in panel._controls._made.items() if control.widget in shown]

    assert "strength" in first() and "image_guidance_scale" not in first()
    panel._controls._control("model").widget.value = "edit"
    assert "strength" not in first() and "image_guidance_scale" in first()
    scale = panel._controls._control("image_guidance_scale")
    assert scale._box.value == 1.5 and (scale._slider.min, scale._slider.max) == (1, 4)
    scale._slider.value = 2.5
    panel._thread.settle()
    assert panel.recipe == Recipe(model="edit", prompt="a cat", image=recipe.image, image_guidance_scale=2.5, seed=3)
    assert panel.cell == "%%edit room --seed 3 --image-guidance-scale 2.5\na cat"
    panel._controls._control("model").widget.value = "sd15"
    assert "strength" in first() and panel.recipe.strength == 0.5
    panel.stop()


def test_the_magic_edits_in_a_notebook(kernel: Any) -> None:
    outcome = kernel.run(f"%%edit start -n 2 --seed 1 --image-guidance-scale 2 --out edited\n{INSTRUCTION}")
    assert outcome.ok and "edit: initial image | result" in outcome.texts()[-1]
    made = kernel.run("print(edited.recipe.model, edited.recipe.get('image_guidance_scale'), edited.recipe.strength)")
    assert made.stream.strip() == "edit 2.0 None"
    assert "--image-guidance-scale" in json.dumps(kernel.run("%%edit?").reply["payload"])
    refused = kernel.run(f"%%edit start --strength 0.5\n{INSTRUCTION}")
    assert not refused.ok and "Editing has no strength" in refused.reply["evalue"]
    grid = kernel.run(f"%%edit start -n 2 --seed 1 --image-guidance-scale 1,2 --out grid\n{INSTRUCTION}\nNegative prompt: night")
    assert grid.ok and kernel.run("print(len(grid))").stream.strip() == "2"
    code = "%%edit start --image"
    kernel.client.complete(code, len(code))
    assert "--image-guidance-scale" in kernel.client.get_shell_msg(timeout=HUNG)["content"]["matches"]


@pytest.mark.parametrize(
    ("instruction", "unknown"), [("make it warm", ""), ("turn the cat into a dog", "dog"), ("give it a red hat", "hat")]
)
def test_words_that_ask_for_a_change_are_no_things_that_the_small_checkpoint_cannot_draw(instruction: str, unknown: str) -> None:
    assert unknown_words(instruction) == ((unknown,) if unknown else ())
