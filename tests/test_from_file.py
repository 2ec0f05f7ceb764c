"""Files of every tool: read with what could not be carried over, or refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import strangers
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from nbdiffuse import Recipe, read, resolve
from nbdiffuse.cells.from_file import ParsedFile
from nbdiffuse.cells.options import parse_cell
from nbdiffuse.errors import FileError, ImageInputError, NbdiffuseError
from nbdiffuse.images.picture import Picture
from nbdiffuse.metadata import image_files
from nbdiffuse.metadata.provenance import Provenance
from nbdiffuse.recipes.chain import Chain
from nbdiffuse.recipes.lora import text_of
from nbdiffuse.recipes.resolve import resolve_chain


def files(folder: Path) -> dict[str, Path]:
    """Write every sample that can be read; return them by name."""
    written = {}

    def add(name: str, **chunks: str) -> None:
        written[name] = strangers.png(folder / f"{len(written)}.png", **chunks)

    for name, text in strangers.A1111.items():
        add(f"a1111 {name}", parameters=text)
    for name, graph in strangers.COMFY.items():
        add(f"comfy {name}", prompt=json.dumps(graph), workflow='{"nodes": []}')
    for name, entries in strangers.INVOKE.items():
        add(f"invoke {name}", invokeai_metadata=json.dumps(entries))
    for name, entries in strangers.FOOOCUS.items():
        add(f"fooocus {name}", fooocus_scheme="fooocus", parameters=json.dumps(entries))
    add("invoke 2", sd_metadata=json.dumps({"model_weights": "sd-1.4", "image": OLDER}))
    text = strangers.a1111("a cat", "ugly")
    jpeg, webp = folder / "a.jpg", folder / "b.webp"
    written["a1111 jpeg"] = strangers.jpeg(jpeg, text)
    written["a1111 webp"] = strangers.jpeg(webp, text)
    own = json.dumps(strangers.fooocus())
    written["fooocus jpeg"] = strangers.fooocus_jpeg(folder / "c.jpg", own, "fooocus")
    written["fooocus jpeg text"] = strangers.fooocus_jpeg(folder / "d.jpg", text, "a1111")
    written["comfy webp"] = strangers.comfy_webp(folder / "e.webp", strangers.comfy())
    written["draw things"] = strangers.draw_things(folder / "f.png", strangers.DRAW_THINGS)
    written["novelai stealth"] = strangers.stealth(folder / "g.png", json.dumps(strangers.NOVELAI))
    for name, (_, chunks) in strangers.FLAT.items():
        add(name, **chunks)
    return written


OLDER = {
    "prompt": [{"prompt": "a barn", "weight": 1}],
    "steps": 25,
    "cfg_scale": 7.5,
    "seed": 11,
    "sampler": "k_euler_a",
    "width": 512,
    "height": 512,
    "type": "txt2img",
}


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return files(tmp_path_factory.mktemp("strangers"))


def test_sixty_files_of_other_tools_are_read_or_refused(samples: dict[str, Path]) -> None:
    assert len(samples) + len(strangers.BROKEN) >= 60
    for name, file in samples.items():
        reading = read(file)
        assert reading.provenance is None, name
        assert all(line.isprintable() and len(line) < 500 for line in (*reading.left_out, *reading.notices)), name
        assert_a_cell_runs(reading, name)


def assert_a_cell_runs(reading: ParsedFile, name: str) -> None:
    """The cell says the recipe, and the recipe completes once its picture is there."""
    text = reading.cell()
    if reading.earlier:
        assert len(resolve_chain(Chain((*reading.earlier, reading.recipe)))) > 1 and text.startswith("%%chain"), name
        return
    if text.startswith("%%"):
        head, _, body = text.partition("\n")
        task, _, line = head.removeprefix("%%").partition(" ")
        values = parse_cell(task, line, body).values
        assert values["prompt"] == reading.recipe.prompt, name
        assert (values.get("image") == "initial_image") is reading.starts_from_picture, name
    picture = {"image": Image.new("RGB", (128, 128))} if reading.starts_from_picture else {}
    assert resolve(reading.recipe.replace(**picture)).seed is not None, name


@pytest.mark.parametrize("name", strangers.BROKEN)
def test_what_is_broken_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    file = strangers.png(tmp_path / "x.png", **strangers.BROKEN[name])
    with pytest.raises(FileError) as caught:
        read(file)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 300


def test_generation_text_is_carried_over(samples: dict[str, Path]) -> None:
    reading = read(samples["a1111 img2img"])
    assert reading.tool == "AUTOMATIC1111"
    assert (reading.recipe.strength, reading.recipe.seed, reading.recipe.scheduler) == (0.75, 965400086, "EulerAncestralDiscrete")
    assert reading.starts_from_picture and reading.missing == ("image",)
    assert any("Init image hash" in line for line in reading.left_out)
    assert any("initial_image" in line for line in reading.notices)
    assert read(samples["a1111 sdnext"]).tool == "SD.Next"
    assert read(samples["a1111 jpeg"]).recipe == read(samples["a1111 webp"]).recipe


def test_what_a_prompt_asks_for_besides_words_is_said(tmp_path: Path) -> None:
    prompt = "a [red:blue:0.5] boat <lora:ink:0.8> <hypernet:x:1> AND a __place__, embedding:old BREAK [a|b]"
    reading = read(strangers.png(tmp_path / "x.png", parameters=strangers.a1111(prompt, "embedding:hands, fog")))
    assert reading.recipe.prompt == "a [red:blue:0.5] boat AND a __place__, BREAK [a|b]"
    assert reading.recipe.negative_prompt == "fog"
    said = [*reading.left_out, *reading.notices]
    for sign in ("<lora:ink:0.8>", "<hypernet:x:1>", "embedding:old", "embedding:hands"):
        assert any(sign in line and line.startswith("Taken out of") for line in said), sign
    for sign in ("[red:blue:0.5]", "`AND`", "__place__", "`BREAK`", "[a|b]"):
        assert any(sign in line for line in said), sign


def test_a_lora_of_a_text_becomes_the_option_where_its_file_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ink.safetensors").touch()
    monkeypatch.setenv("NBDIFFUSE_LORA_DIR", str(tmp_path))
    reading = read(strangers.png(tmp_path / "x.png", parameters=strangers.a1111("a boat <lora:ink:0.8>")))
    assert (reading.recipe.prompt, text_of(reading.recipe.loras)) == ("a boat", f"{tmp_path / 'ink.safetensors'}:0.8")


def test_a_text_of_ours_that_names_no_preset_is_read_all_the_same(tmp_path: Path) -> None:
    reading = read(strangers.png(tmp_path / "x.png", parameters=strangers.a1111(Model="mine", Version="nbdiffuse 9")))
    assert reading.recipe.model == "sd15" and any("mine" in line for line in reading.left_out)


def test_weights_in_a_prompt_are_pointed_out(samples: dict[str, Path]) -> None:
    assert any("--weighting a1111" in line for line in read(samples["a1111 weights"]).notices)


def test_a_graph_of_comfyui_is_carried_over(samples: dict[str, Path]) -> None:
    recipe = read(samples["comfy default"]).recipe
    assert (recipe.prompt, recipe.negative_prompt) == ("a galaxy in a bottle", "text, watermark")
    assert (recipe.num_inference_steps, recipe.guidance_scale, recipe.width, recipe.height) == (20, 8, 640, 512)
    assert (recipe.scheduler, recipe.seed) == ("EulerDiscrete", 156680208700286)
    assert read(samples["comfy linked seed"]).recipe.seed == 77
    assert read(samples["comfy linked text"]).recipe.prompt == "from elsewhere"
    assert read(samples["comfy two samplers"]).recipe.seed == 5
    assert any("x.safetensors" in line for line in read(samples["comfy lora"]).left_out)


def test_all_steps_of_a_graph_are_run_as_comfyui_does(samples: dict[str, Path]) -> None:
    reading = read(samples["comfy img2img"])
    complete = resolve(reading.recipe.replace(image=Image.new("RGB", (64, 64))))
    assert (complete.num_inference_steps, complete.strength) == (40, 0.5)
    assert any("photo.png" in line for line in reading.left_out)


def test_metadata_of_invokeai_is_carried_over(samples: dict[str, Path]) -> None:
    recipe = read(samples["invoke txt2img"]).recipe
    assert (recipe.prompt, recipe.model, recipe.scheduler, recipe.num_inference_steps) == (
        "a landscape",
        "sd15",
        "DPMSolverMultistep",
        30,
    )
    assert (read(samples["invoke sdxl"]).recipe.model, read(samples["invoke sdxl"]).recipe.get("prompt_2")) == ("sdxl", "oil")
    assert read(samples["invoke style like prompt"]).recipe.get("prompt_2") is None
    assert read(samples["invoke karras"]).recipe.get("use_karras_sigmas") is True
    assert read(samples["invoke 2"]).recipe.seed == 11


def test_metadata_of_fooocus_is_carried_over(samples: dict[str, Path]) -> None:
    for name in ("fooocus own", "fooocus jpeg"):
        recipe = read(samples[name]).recipe
        assert (recipe.model, recipe.prompt, recipe.width, recipe.seed) == ("sdxl", "a fox", 1152, 4613287120384)
    assert read(samples["fooocus own"]).recipe.get("algorithm_type") == "sde-dpmsolver++"
    assert read(samples["a1111 fooocus"]).tool == read(samples["fooocus jpeg text"]).tool == "Fooocus"


def test_our_own_file_is_its_recipe_and_not_its_generation_text(tmp_path: Path) -> None:
    start = Picture.of(Image.effect_noise((64, 64), 60).convert("RGB"))
    recipe = resolve(Recipe(prompt="a {cat}", image=start, seed=7, guidance_scale=7.123456789))
    image_files.write(start.image, tmp_path / "cat.png", Provenance(recipe, {"torch": "2.13"}))
    reading = read(tmp_path / "cat.png")
    assert (reading.tool, reading.recipe, reading.left_out) == ("nbdiffuse", recipe, ())
    assert reading.cell().startswith("%%img2img initial_image") and reading.missing == ("image",)


def test_a_stripped_file_and_one_that_is_no_picture_say_so(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "bare.png")
    with pytest.raises(FileError, match="does not say how it was made"):
        read(tmp_path / "bare.png")
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(ImageInputError, match="no PNG, JPEG or WebP"):
        read(tmp_path / "text.png")
    with pytest.raises(ImageInputError, match="No such file"):
        read(tmp_path / "none.png")


def test_a_truncated_file_is_one_line(tmp_path: Path, samples: dict[str, Path]) -> None:
    whole = samples["comfy default"].read_bytes()
    for length in range(0, len(whole), 97):
        (tmp_path / "torn.png").write_bytes(whole[:length])
        try:
            read(tmp_path / "torn.png")
        except NbdiffuseError as error:
            assert "\n" not in str(error)


def test_a_newer_format_names_itself(tmp_path: Path) -> None:
    strangers.png(tmp_path / "new.png", nbdiffuse='{"format": 99, "recipe": {}}')
    with pytest.raises(FileError, match="99"):
        read(tmp_path / "new.png")


@pytest.mark.parametrize("chunk", ["parameters", "prompt", "invokeai_metadata", "nbdiffuse"])
def test_a_huge_text_is_refused_unread(tmp_path: Path, chunk: str) -> None:
    info = PngInfo()
    info.add_itxt(chunk, "x" * 3_000_000, zip=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "huge.png", pnginfo=info)
    with pytest.raises(NbdiffuseError, match="larger than 1 MB"):
        read(tmp_path / "huge.png")


HOSTILE = '\x1b[31mred\x1b]0;title\x07 <script>alert(1)</script> \u202egnp.exe {a|b} --save x\n%%bash\nrm -rf "$HOME"'


@pytest.mark.parametrize("tool", ["a1111", "comfy", "invoke", "fooocus"])
def test_what_a_file_says_is_shown_and_never_obeyed(tmp_path: Path, tool: str) -> None:
    graph: Any = strangers.comfy()
    graph["6"]["inputs"]["text"] = HOSTILE
    chunks = {
        "a1111": {"parameters": strangers.a1111(HOSTILE, Evil="\x1b[2J<b>")},
        "comfy": {"prompt": json.dumps(graph)},
        "invoke": {"invokeai_metadata": json.dumps(strangers.invoke(positive_prompt=HOSTILE, evil="\x1b[2J"))},
        "fooocus": {"fooocus_scheme": "fooocus", "parameters": json.dumps(strangers.fooocus(prompt=HOSTILE))},
    }[tool]
    reading = read(strangers.png(tmp_path / "x.png", **chunks))
    assert all(line.isprintable() for line in repr(reading).splitlines())
    assert reading.recipe.prompt == HOSTILE
    # A prompt that an editor would not keep is written as Python text, with its escapes visible.
    assert "\x1b" not in reading.cell() and "nbdiffuse.Recipe" in reading.cell()
