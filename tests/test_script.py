"""Scripts: stand-alone programs of plain diffusers calls that make the same pixels, byte for byte."""

from __future__ import annotations

import ast
import dataclasses
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tiny
from diffusers import AutoencoderKL
from PIL import Image
from safetensors.torch import load_file, save_file

import nbdiffuse
from nbdiffuse import Chain, Recipe, Session, embedded
from nbdiffuse.errors import FileError, ParameterError
from nbdiffuse.runs.loopback import Loopback
from nbdiffuse.runs.program import script_command, script_of
from nbdiffuse.scripts import writing
from nbdiffuse.scripts.checking import Listed, check
from nbdiffuse.scripts.statements import literal
from nbdiffuse.store.store import Store
from nbdiffuse.sweeps.sweep import Sweep

PROMPT = "a red cat in the snow"
RUN_EACH = """
import contextlib, os, pathlib, runpy, sys
for folder in sys.argv[1:]:
    os.chdir(folder)
    with contextlib.redirect_stdout(sys.stderr):
        runpy.run_path("program.py", run_name="__main__")
assert "nbdiffuse" not in sys.modules
"""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints of every family with random weights."""
    folder = tmp_path_factory.mktemp("families")
    for name in tiny.MAKERS:
        tiny.write(name, folder)
    # The base with another UNet, and the upscaler with the base's VAE: both go on from the base's latents.
    base = embedded.path("sd15")
    shutil.copytree(base, folder / "styled")
    weights = folder / "styled" / "unet" / "diffusion_pytorch_model.safetensors"
    state = load_file(weights)
    state["conv_out.weight"] *= 0.9
    save_file(state, weights)
    AutoencoderKL.from_pretrained(base / "vae").save_pretrained(folder / "x2-upscaler" / "vae")
    return folder


def made(folder: Path, programs: Mapping[str, str]) -> dict[str, dict[str, bytes]]:
    """Run programs, whose pictures lie in their folders, in one fresh process; return the pixels that each wrote by file."""
    before = {name: set(folder.joinpath(name).glob("*.png")) for name in programs}
    for name, text in programs.items():
        folder.joinpath(name, "program.py").write_text(text)
    arguments = [str(folder / name) for name in programs]
    environment = {**os.environ, "TQDM_DISABLE": "1"}
    done = subprocess.run([sys.executable, "-c", RUN_EACH, *arguments], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return {
        name: {file.name: Image.open(file).tobytes() for file in set(folder.joinpath(name).glob("*.png")) - before[name]}
        for name in programs
    }


def settled(texts: Mapping[str, str], folder: Path) -> None:
    """Check that programs are laid out as ruff does it, and that nothing in them is missing or unused."""
    for name, text in texts.items():
        folder.joinpath(name).mkdir(exist_ok=True)
        folder.joinpath(name, "program.py").write_text(text)
    ruff = [sys.executable, "-m", "ruff"]
    rules = ["--select", "I,E,F,W,B,UP", "--ignore", "E501"]
    for command in (["format", "--isolated", "--diff"], ["check", "--isolated", *rules]):
        done = subprocess.run([*ruff, *command, str(folder)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def kinds(places: Path, scene: Image.Image) -> dict[str, Recipe]:
    """One recipe of every kind."""
    at = {name: str(places / name) for name in tiny.MAKERS}
    wide, small = scene.resize((200, 150)), scene.resize((64, 64))
    common = {"num_inference_steps": 4, "seed": 7, "prompt": PROMPT}
    redrawn = {**common, "image": scene}
    return {
        "txt2img": Recipe(**common, width=96),
        "img2img": Recipe(**redrawn, strength=0.5, negative_prompt="jungle"),
        "fit": Recipe(**{**common, "image": wide}, guidance_scale=0.5),
        "crop": Recipe(**{**common, "image": wide}, resize_mode="crop", width=128, height=128),
        "pad": Recipe(**{**common, "image": wide}, resize_mode="pad", width=128, height=128, mask_image=scene),
        "inpainting": Recipe(**redrawn, mask_image=scene.convert("L")),
        "inpainting-raw": Recipe(**redrawn, mask_image=small, mask_overlay="none"),
        "mask-crop": Recipe(**{**common, "image": wide}, resize_mode="crop", width=128, height=128, mask_image=small),
        "mask-pad": Recipe(**{**common, "image": wide}, resize_mode="pad", width=64, height=128, mask_image=small),
        "stretch": Recipe(**{**common, "image": wide}, resize_mode="stretch", width=64, height=128),
        "control": Recipe(**common, controlnet="depth", control_image=scene.convert("L")),
        "control-img2img": Recipe(**redrawn, controlnet="depth", control_image=wide, control_guidance_end=0.5),
        "two-controls": Recipe(
            **redrawn,
            controlnet="depth",
            control_image=wide,
            controlnet_2="depth",
            control_image_2=small,
            controlnet_conditioning_scale_2=0.5,
        ),
        "shared-vae": Recipe(**redrawn, model="comic", strength=0.5),
        "shared-vae-refiner": Recipe(**redrawn, model="sdxl-refiner", strength=0.5),
        "sdxl": Recipe(**common, model="sdxl", checkpoint=at["sdxl"], width=64, height=64),
        "sdxl-img2img": Recipe(**redrawn, model="sdxl", checkpoint=at["sdxl"], prompt_2="a moon", strength=0.5),
        "sdxl-inpainting": Recipe(**redrawn, model="sdxl", checkpoint=at["sdxl"], mask_image=scene.convert("L")),
        "refiner": Recipe(**redrawn, model="sdxl-refiner", checkpoint=at["sdxl-refiner"], strength=0.5, aesthetic_score=5),
        "kandinsky": Recipe(
            **common, model="kandinsky22", checkpoint=at["kandinsky22"], width=64, height=128, prior_num_inference_steps=2
        ),
        "kandinsky-img2img": Recipe(
            **{**common, "image": wide},
            model="kandinsky22",
            checkpoint=at["kandinsky22"],
            strength=0.5,
            width=128,
            height=64,
            prior_num_inference_steps=2,
        ),
        "x2": Recipe(**{**common, "image": small}, model="x2-upscaler", checkpoint=at["x2-upscaler"]),
        "x4": Recipe(**{**common, "image": small}, model="x4-upscaler", checkpoint=at["x4-upscaler"], noise_level=30),
        **weighted(redrawn, at, small),
        **{
            scheduler: Recipe(**redrawn, scheduler=scheduler, strength=0.5)
            for scheduler in ("DDIM", "EulerAncestralDiscrete", "HeunDiscrete", "UniPCMultistep")
        },
    }


LONG = "a cat wizard++, gandalf, lord of the rings. " * 6 + "(a red zebra)0.5 in the snow"


def weighted(redrawn: dict[str, Any], at: Mapping[str, str], small: Image.Image) -> dict[str, Recipe]:
    """Recipes whose prompts have weights."""
    given = {**redrawn, "strength": 0.5}
    compel, a1111 = {**given, "weighting": "compel"}, {**given, "weighting": "a1111"}
    sdxl = {"model": "sdxl", "checkpoint": at["sdxl"]}
    deep = "a (very (old (red (tall)1.1)1.2)0.8 )0.7 house, by \\(the\\) sea"
    return {
        "compel": Recipe(**{**compel, "prompt": "a (red)1.3 cat++ in the snow--"}),
        "compel-deep": Recipe(**{**compel, "prompt": deep}, negative_prompt="ugly++"),
        "compel-blend": Recipe(**{**compel, "prompt": '("a cat", "a robot++").blend(.7, .3)'}),
        "compel-and": Recipe(**{**compel, "prompt": '("a cat in the snow", "a robot").and(.5, 2)'}, negative_prompt=LONG),
        "compel-x4": Recipe(
            **{**compel, "image": small, "prompt": LONG, "strength": None}, model="x4-upscaler", checkpoint=at["x4-upscaler"]
        ),
        "a1111": Recipe(**{**a1111, "prompt": r"a (red:1.3) [cat] \\\( in BREAK the (snow)"}, negative_prompt="(ugly:0.5)"),
        "compel-sdxl": Recipe(**{**compel, "prompt": LONG}, **sdxl, prompt_2="a moon++", negative_prompt="ugly++"),
        "a1111-sdxl": Recipe(**{**a1111, "prompt": "a (red:1.3) cat"}, **sdxl),
        "compel-refiner": Recipe(
            **{**compel, "prompt": "a cat++"}, model="sdxl-refiner", checkpoint=at["sdxl-refiner"], negative_prompt="ugly--"
        ),
        "compel-unguided": Recipe(**{**compel, "prompt": "a cat++"}, guidance_scale=0.5, negative_prompt="ugly--"),
    }


def test_every_kind_of_recipe_makes_the_same_bytes_in_a_fresh_process(
    places: Path, tmp_path: Path, session: Session, scene: object
) -> None:
    recipes = kinds(places, scene.image)  # type: ignore[attr-defined]
    texts = {}
    for name, recipe in recipes.items():
        script = script_of(recipe)
        tmp_path.joinpath(name).mkdir()
        for file, picture in script.pictures.items():
            picture.save(tmp_path / name / file)
        texts[name] = script.text
        assert script.text == nbdiffuse.program(recipe)
        assert "import nbdiffuse" not in script.text and ast.parse(script.text)
    theirs = made(tmp_path, texts)
    for name, recipe in recipes.items():
        assert theirs[name] == {"result.png": session.run(recipe).image.tobytes()}, texts[name]
    settled(texts, tmp_path)


def chains(places: Path, scene: Image.Image) -> dict[str, Chain]:
    """Chains of every kind of hand-over."""
    at = {name: str(places / name) for name in ("styled", "x2-upscaler", "x4-upscaler", "kandinsky22", "sdxl")}
    common = {"num_inference_steps": 4, "prompt": PROMPT}
    first = Recipe(**common, image=scene, seed=7)
    styled = Recipe(**common, model="comic", checkpoint=at["styled"], strength=0.5)
    return {
        "latents": first >> styled >> styled.replace(prompt="a cat", seed=9),
        "same-model": Recipe(**common, seed=7) >> Recipe(**common, strength=0.5) >> Recipe(**common, strength=0.5, prompt_2=None),
        "upscaled": first.replace(image=scene.resize((64, 64)))
        >> Recipe(**common, model="x2-upscaler", checkpoint=at["x2-upscaler"])
        >> Recipe(**common, model="x4-upscaler", checkpoint=at["x4-upscaler"]),
        "bridges": first
        >> Recipe(**common, model="kandinsky22", checkpoint=at["kandinsky22"], strength=0.5, prior_num_inference_steps=2)
        >> Recipe(**common, model="kandinsky22", checkpoint=at["kandinsky22"], strength=0.5, prior_num_inference_steps=2)
        >> Recipe(**common, model="sdxl", checkpoint=at["sdxl"], strength=0.5, width=64, height=128, resize_mode="crop"),
        "sizes": first >> styled.replace(width=64, height=128, resize_mode="crop"),
        "vaes": first >> Recipe(**common, model="sdxl", checkpoint=at["sdxl"], strength=0.5),
        "masked": first >> styled.replace(mask_image=scene.convert("L")) >> styled.replace(weighting="compel", prompt="a cat++"),
    }


def test_every_chain_makes_the_same_bytes_from_its_value_its_run_and_its_last_result(
    places: Path, tmp_path: Path, scene: Any
) -> None:
    texts, expected = {}, {}
    for name, chain in chains(places, scene.image).items():
        run = nbdiffuse.run(chain)
        expected[name] = run.image.tobytes()
        script = script_of(run)
        folder = tmp_path / name
        folder.mkdir()
        for file, picture in script.pictures.items():
            picture.save(folder / file)
        texts[name] = script.text
        assert script_of(run[-1]).text == script.text, name
        assert script_of(run.chain).text == script.text, name
    settled(texts, tmp_path)
    assert 'output_type="latent"' in texts["latents"] and "goes on from the latents" in texts["latents"]
    assert texts["same-model"].count("from_pretrained") == 2
    assert "gets the picture: kandinsky22 takes pictures" in texts["bridges"] and "kept no latents" in texts["bridges"]
    assert "another size was asked for" in texts["sizes"]
    assert "gets the picture: another VAE" in texts["vaes"]
    theirs = made(tmp_path, texts)
    for name in texts:
        assert theirs[name] == {"result.png": expected[name]}, texts[name]


class Shell:
    """A shell's names and its next cell."""

    def __init__(self, **names: Any) -> None:
        self.user_ns = names
        self.cells: list[str] = []

    def set_next_input(self, text: str) -> None:
        self.cells.append(text)


def test_a_result_is_checked_against_its_program_in_one_line_that_names_no_model(session: Session, scene: Any) -> None:
    result = session.run(Recipe(prompt="<b>a cat</b>", image=scene.image, num_inference_steps=4, seed=7))
    shown = script_command(Shell(made=result), ["made", "--check"])
    assert repr(shown) == "same pixels" and isinstance(shown, Listed)
    bundle = shown._repr_mimebundle_()
    assert bundle["text/plain"] == "same pixels" and bundle["text/html"].startswith("<details>")
    assert "&lt;b&gt;a cat&lt;/b&gt;" in bundle["text/html"] and "<b>" not in bundle["text/html"]


def test_a_program_of_another_dtype_adds_a_style_as_the_package_does(scene: Any) -> None:
    own = Session()
    own.with_pipelines(lambda pipelines: pipelines.set_optimization("dtype", "bfloat16"))
    made = own.run(Recipe(prompt="a cat", image=scene.image, model="comic", num_inference_steps=2, seed=1))
    assert check(script_of(made), [made.image]).line == "same pixels"


def test_a_program_is_saved_with_its_pictures_and_runs_from_anywhere(session: Session, scene: Any, tmp_path: Path) -> None:
    result = session.run(Recipe(prompt="a cat", image=scene.image, num_inference_steps=4, seed=7))
    shell = Shell(made=result)
    line = script_command(shell, ["made", str(tmp_path / "cat.py")])
    (picture,) = tmp_path.glob("initial-*.png")
    assert line == f"saved: {tmp_path / 'cat.py'}, with {picture.name} beside it" and not shell.cells
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    subprocess.run([sys.executable, tmp_path / "cat.py"], cwd=elsewhere, check=True, capture_output=True)
    assert Image.open(elsewhere / "cat.png").tobytes() == result.image.tobytes()
    assert script_command(shell, ["made"]) == "the program is the next cell"
    assert picture.name in shell.cells[0] and "%diffuse script made FILE.py" in shell.cells[0]


@pytest.mark.quick
def test_a_mistake_in_the_command_is_one_line(scene: Any, tmp_path: Path) -> None:
    recipe = Recipe(prompt="a cat", image=scene.image, seed=7)
    with pytest.raises(ParameterError, match="must be followed by the name of a result, and perhaps a file"):
        script_command(Shell(), [])
    with pytest.raises(ParameterError, match="must be followed by the name of a variable, got 'made'"):
        script_command(Shell(), ["made"])
    with pytest.raises(ParameterError, match="must have pictures to compare with, and this Recipe has none"):
        script_command(Shell(made=recipe), ["made", "--check"])
    with pytest.raises(FileError, match=r"must be a file name that ends in \.py"):
        script_command(Shell(made=recipe), ["made", str(tmp_path / "cat.txt")])
    with pytest.raises(ParameterError, match="`program` must be asked for a recipe"):
        nbdiffuse.program("a cat")


def test_latents_alone_are_in_no_program(session: Session, scene: Any) -> None:
    first = session.run(Recipe(prompt="a cat", image=scene.image, num_inference_steps=2, seed=7))
    with pytest.raises(ParameterError, match="`image` must be a picture in a program, got latents"):
        nbdiffuse.program(Recipe(prompt="a cat", image=first.latents))


@pytest.mark.parametrize("text", ['"', "'", '"""', "\\", '\\"', "{x}", "\n", "\u202e\x1b[31m", "'\"#", "é", '")\nimport os#'])
def test_any_text_is_one_literal(text: str, tmp_path: Path) -> None:
    source = literal(text)
    assert ast.literal_eval(source) == text and "\n" not in source and source.isprintable()
    listed = nbdiffuse.program(Recipe(prompt=text, seed=1, num_inference_steps=1))
    tree = ast.parse(listed)
    assert text in {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert len(tree.body) == len(ast.parse(nbdiffuse.program(Recipe(prompt="a", seed=1, num_inference_steps=1))).body)
    settled({"text": listed}, tmp_path)


TEXTS = ('a "{cat}"', "it's\na \\ dog")


def sweeps(places: Path, scene: Image.Image) -> dict[str, Sweep]:
    """Sweeps along axes of every kind."""
    sdxl = {"model": "sdxl", "checkpoint": str(places / "sdxl"), "strength": 0.5}
    first = Recipe(prompt=PROMPT, image=scene, num_inference_steps=4, seed=7)
    return {
        "one": Sweep.of(first, strength=(0.5, 1.0)),
        "two": Sweep.of(first.replace(image=None), guidance_scale=(1.0, 7.5), prompt=TEXTS, seed=(1, 2)),
        "negative": Sweep.of(first.replace(**sdxl), negative_prompt=("", "jungle"), scheduler=("EulerDiscrete", "DDIM")),
        "pictures": Sweep.of(first, image=(scene, scene.resize((200, 150))), strength=(0.5, 0.8)),
        "inner": Sweep.of(first, guidance_scale=(2.0, 3.0), seed=(1, 2), scheduler=("PNDM", "DDIM"), strength=(0.5, 1.0)),
        "weighted": Sweep.of(first.replace(weighting="compel"), prompt=("a cat++", "a dog"), strength=(0.5, 1.0)),
        "point": Sweep.of(first, width=(64, 128)),
        "masked": Sweep.of(first.replace(mask_image=scene.convert("L")), mask_overlay=("exact", "none"), seed=(1, 2)),
    }


def test_every_sweep_is_a_loop_that_makes_the_bytes_of_single_runs(
    places: Path, tmp_path: Path, session: Session, scene: Any
) -> None:
    values, texts = sweeps(places, scene.image), {}
    for name, sweep in values.items():
        script = script_of(sweep, name="ce{l}l")
        folder = tmp_path / name
        folder.mkdir()
        for file, picture in script.pictures.items():
            picture.save(folder / file)
        texts[name] = script.text
        assert len(script.results) == len(sweep.cells())
    settled(texts, tmp_path)
    assert texts["two"].count("pipeline(") == 1 and "itertools.product(" in texts["two"]
    theirs = made(tmp_path, texts)
    for name, sweep in values.items():
        own = {f"ce{{l}}l-{cell.index:03d}.png": session.run(cell.recipe).image.tobytes() for cell in sweep.cells()}
        assert theirs[name] == own, texts[name]


@pytest.mark.parametrize(("correction", "masked"), [("none", False), ("lab", False), ("lab", True)])
def test_a_loopback_is_a_loop_over_its_passes(
    correction: str, masked: bool, scene: Any, session: Session, tmp_path: Path
) -> None:
    recipe = Recipe(prompt="a cat", image=scene.image.resize((200, 150)), num_inference_steps=4, strength=0.5, seed=7)
    if masked:
        recipe = recipe.replace(mask_image=scene.mask.resize((100, 75)), resize_mode="crop", width=64, height=64)
    loop = Loopback(recipe, 3, final_strength=0.75, color_correction=correction, session=session)
    script = script_of(loop, name="pass")
    assert script.text.count("pipeline(") == 1 and script.results == ("pass-00.png", "pass-01.png", "pass-02.png")
    with pytest.raises(ParameterError, match="this Loopback has none"):
        script_command(Shell(loop=loop), ["loop", "--check"])
    settled({"loop": script.text}, tmp_path)
    assert repr(script_command(Shell(loop=loop.run()), ["loop", "--check"])) == "same pixels"


def test_pixels_that_differ_are_told_apart_and_a_grid_needs_all_its_cells(scene: Any, tmp_path: Path) -> None:
    grid = nbdiffuse.sweep(Recipe(prompt="a cat", num_inference_steps=2, seed=7), Store(tmp_path), guidance_scale=(1.0, 5.0))
    with pytest.raises(ParameterError, match="this Grid has none"):
        script_command(Shell(grid=grid), ["grid", "--check"])
    said = check(script_of(grid.run()), [grid[0].image, scene.image])
    assert repr(said).startswith("other pixels: they differ by up to ")


def test_a_program_says_in_one_line_each_what_a_result_ran_on(session: Session, scene: Any, tmp_path: Path) -> None:
    result = session.run(Recipe(prompt="a cat", image=scene.image, num_inference_steps=2, seed=7))
    hub = "stable-diffusion-v1-5/stable-diffusion-v1-5"
    machine = {"device": "cuda", "dtype": "float16", "attention": "plain", "checkpoint": f"{hub}@{'0' * 40}"}
    away = dataclasses.replace(result, recipe=result.recipe.replace(checkpoint=hub), fingerprint=machine)
    text = nbdiffuse.program(away)
    for line in (
        f'    "{hub}",\n    revision="{"0" * 40}",\n    dtype=torch.float16,\n',
        '\npipeline.to("cuda")\n',
        "\npipeline.unet.set_attn_processor(AttnProcessor())\n",
    ):
        assert line in text, text
    settled({"away": text}, tmp_path)


@pytest.mark.quick
def test_a_field_that_is_written_nowhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "WRITTEN", writing.WRITTEN - {"scheduler"})
    with pytest.raises(ParameterError, match="`scheduler` must be left out in a program, which does not say it yet"):
        nbdiffuse.program(Recipe(prompt="a cat", seed=1))
