"""The cell magics in a real kernel: what a person sees, and that a cell leaves nothing behind."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
from waiting import HUNG

RUN = "%%img2img start --num-inference-steps 8 --seed 7 --out wizard\ncat wizard, gandalf"
DIGEST = "print(hashlib.sha256(wizard.image.tobytes()).hexdigest())"


def test_a_cell_shows_the_line_the_pictures_and_binds_the_result(kernel: Any) -> None:
    outcome = kernel.run(RUN)
    assert outcome.ok
    assert outcome.texts()[:2] == ["strength 0.8 × 8 → 6 steps from noise 0.97, 7 model calls", "img2img: initial image | result"]
    assert outcome.outputs[-1]["data"]["image/png"]
    seen = kernel.run(
        "print(type(wizard.image).__name__, wizard.image.mode, wizard.image.size, wizard.recipe.seed, wizard.recipe.strength)"
    )
    assert seen.stream.strip() == "Image RGB (128, 128) 7 0.8"


def test_nothing_but_the_picture_changes_while_a_cell_runs(kernel: Any) -> None:
    outcome = kernel.run(RUN.replace("8", "60", 1))
    shown = [output for output in outcome.outputs if "image/png" in output.get("data", {})]
    assert len(shown) >= 2 and {output["data"]["text/plain"] for output in shown} == {"img2img: initial image | result"}
    assert not [output for output in outcome.outputs if output["type"] in ("stream", "error")]


@pytest.mark.parametrize(
    ("code", "line"),
    [
        (
            "%%img2img start --strengh 1\na cat",
            "ParameterError: '--strengh' is not an option of %%img2img. Did you mean '--strength'?",
        ),
        ("%%img2img start --strength 2\na cat", "ParameterError: `strength` must be a number in [0, 1], got 2."),
        ("%%img2img nowhere.png\na cat", "nowhere.png"),
        ("%%img2img start\n \n", "`prompt` must be the body of the cell"),
        ("%%img2img start --save out.xyz\na cat", "out.xyz"),
        ("%%img2img start -s 0.01 -n 5\na cat", "= 0 steps"),
        ("%%img2img start --model sd14\na cat", "Did you mean 'sd15'"),
    ],
)
def test_a_mistake_is_one_red_line_and_fails_the_notebook(kernel: Any, code: str, line: str) -> None:
    outcome = kernel.run(code)
    assert not outcome.ok
    (error,) = outcome.outputs
    assert error["type"] == "error" and len(error["traceback"]) == 1
    text = error["traceback"][0].replace("\x1b[31m", "").replace("\x1b[0m", "")
    assert line in text and "\n" not in text
    assert kernel.run("1 + 1").ok


def test_line_and_body_are_never_expanded(kernel: Any) -> None:
    kernel.run("secret = 'SPILLED'")
    outcome = kernel.run("%%txt2img -n 1 --seed 1 --negative-prompt '{secret} $secret' --out plain\n{secret} costs $5 {1+1}")
    assert outcome.ok
    recipe = kernel.run("print(plain.recipe.to_json())")
    values = json.loads(recipe.stream)
    assert values["prompt"] == "{secret} costs $5 {1+1}" and values["negative_prompt"] == "{secret} $secret"


def test_help_is_made_of_the_declarations(kernel: Any) -> None:
    outcome = kernel.run("%%img2img?")
    text = json.dumps(outcome.reply["payload"])
    assert "--guidance-scale" in text and "how strongly the prompt pulls" in text


def test_tab_completes_options_presets_and_files(kernel: Any) -> None:
    kernel.run("import pathlib, tempfile, os; os.chdir(tempfile.mkdtemp()); start.save('kitten.png')")
    for code, expected in [
        ("%%img2img --gui", "--guidance-scale"),
        ("%%img2img x --model s", "sd15"),
        ("%%img2img kit", "kitten.png"),
    ]:
        kernel.client.complete(code, len(code))
        matches = kernel.client.get_shell_msg(timeout=HUNG)["content"]["matches"]
        assert expected in matches, code


def test_a_saved_file_carries_the_recipe(kernel: Any) -> None:
    assert kernel.run(RUN.replace("--out", "--save wizard.png --out")).ok
    read = kernel.run(
        "from nbdiffuse.metadata import image_files; print(image_files.read('wizard.png').provenance.recipe == wizard.recipe)"
    )
    assert read.stream.strip() == "True"


def test_several_values_make_a_grid_that_fills_in_and_is_never_computed_twice(kernel: Any) -> None:
    cell = "%%img2img start --strength 0.5,0.6,1.0 --guidance-scale 1,7.5 -n 4 --seed 7 --out grid\na cat in the snow"
    assert kernel.run(RUN).ok
    outcome = kernel.run(cell)
    assert outcome.ok
    plan, title = outcome.texts()[:2]
    # What this session has run says how long it takes.
    assert re.fullmatch(r"6 images, 4 to draw, about \d+ (s|min)", plan)
    assert title == "sweep: strength x guidance_scale"
    shown = [output for output in outcome.outputs if "image/png" in output.get("data", {})]
    assert {output["data"]["text/plain"] for output in shown} == {"sweep: strength x guidance_scale"}
    kernel.run("before = len(nbdiffuse.get_session().history)")
    assert kernel.run(cell).ok
    assert kernel.run("print(len(nbdiffuse.get_session().history) - before, len(grid), grid.missing)").stream.strip() == "0 6 0"
    single = kernel.run("%%img2img start --strength 0.6 --guidance-scale 7.5 -n 4 --seed 7 --out one\na cat in the snow")
    assert single.ok
    pictures = "grid.sel(strength=0.6, guidance_scale=7.5)[0].image, one.image"
    worst = f"from PIL import ImageChops; print(max(high for _, high in ImageChops.difference({pictures}).getextrema()))"
    assert int(kernel.run(worst).stream) <= 1


def test_a_grid_is_measured_in_the_cell_and_what_cannot_be_is_refused_before_it_runs(kernel: Any) -> None:
    cell = "%%img2img start --strength 0.5,1.0 -n 4 --seed 8 --measure ssim,prompt_score --out grid\na cat in the snow"
    outcome = kernel.run(cell)
    assert outcome.ok and outcome.texts()[-2:] == ["heat map of ssim: strength", "heat map of prompt_score: strength"]
    assert kernel.run("print(all(0 < row['ssim'] < 1 for row in grid.records()))").stream.strip() == "True"
    kernel.run("before = len(nbdiffuse.get_session().history)")
    for wrong, line in [
        (
            cell.replace("ssim", "ssimm"),
            "`metric` must be one of ssim, structure, lpips, prompt_score, kept, ",
        ),
        (cell.replace("0.5,1.0", "0.5"), "`--measure` must go with several values of an option"),
        ("%%txt2img -n 2 --seed 1..2 --measure structure\na cat", "`structure` needs an initial picture to compare with."),
    ]:
        (error,) = kernel.run(wrong).outputs
        assert line in error["traceback"][0] and len(error["traceback"]) == 1
    assert kernel.run("print(len(nbdiffuse.get_session().history) - before)").stream.strip() == "0"


def test_diffuse_looks_after_the_models_in_memory(kernel: Any) -> None:
    kernel.run(RUN)
    header, row = kernel.run("%diffuse pipelines").texts()[0].split("\n")
    assert header.split()[:5] == ["checkpoint", "size", "device", "dtype", "components"] and row.startswith("sd15")
    assert kernel.run("%diffuse budget 8GB").texts() == ["budget: 8.0 GB"]
    assert kernel.run("%diffuse unload sd15").texts()[0].endswith("freed")
    assert kernel.run("%diffuse pipelines").texts() == ["nothing is loaded"]
    for line in ("%diffuse nothing", "%diffuse pipelinse", "%diffuse budget much", "%diffuse unload nobody"):
        (error,) = kernel.run(line).outputs
        assert error["ename"] == "ParameterError" and len(error["traceback"]) == 1
    assert kernel.run(RUN).ok


def test_a_control_image_is_estimated_for_the_controlnet_that_follows_depth_and_for_no_other(kernel: Any) -> None:
    cell = "%%img2img start -n 2 --seed 1 --controlnet depth --control-image auto --out controlled\na cat"
    assert kernel.run(cell).ok
    assert kernel.run("print(controlled.recipe.controlnets[0].image.label)").stream.strip() == "estimated depth"
    second = cell.replace("--control-image auto", "--control-image start --controlnet depth --control-image auto")
    assert kernel.run(second).ok
    assert kernel.run("print(controlled.recipe.controlnets[1].image.label)").stream.strip() == "estimated depth"
    (error,) = kernel.run(cell.replace("--controlnet depth", "--controlnet some/canny")).outputs
    assert (
        "`control_image` must be a picture for some/canny, or say what makes one: `auto:depth`, `auto:canny`, "
        "`auto:lineart`, `auto:scribble`, `auto:tile`." in error["traceback"][0]
    )


CHAIN = """%%chain start --seed 7 --num-inference-steps 6 --out strip
[sd15 --strength 0.5]
a cat in the snow
[sd15 --strength 0.4]
"""


def test_a_chain_cell_shows_its_strip_and_binds_every_step(kernel: Any) -> None:
    outcome = kernel.run(CHAIN)
    assert outcome.ok and {text for text in outcome.texts() if text.startswith("chain")} >= {"chain: 2 of 2 steps"}
    assert kernel.run("print(len(strip), strip.arrows, strip.image.size)").stream.strip() == "2 ['latents'] (128, 128)"
    error = kernel.run(CHAIN.replace("0.4", "4"))
    assert not error.ok and "Step 2: `strength` must be a number in [0, 1], got 4" in error.outputs[-1]["traceback"][0]


def test_a_loopback_cell_shows_its_passes(kernel: Any, tmp_path: Any) -> None:
    cell = f"%%loopback start --seed 7 -n 6 -s 0.6 --passes 2 --curve lazy --save {tmp_path}/loop.gif --out loop\na cat"
    outcome = kernel.run(cell)
    assert outcome.ok and outcome.texts()[-1] == "loopback: 2 of 2 passes" and (tmp_path / "loop.gif").exists()
    assert kernel.run("print([recipe.seed for recipe in loop.recipes])").stream.strip() == "[7, 8]"
    error = kernel.run(cell.replace("--passes 2", "--passes two"))
    assert "`--passes` must be a whole number, got 'two'" in error.outputs[-1]["traceback"][0]


def ended_as_interrupted(outcome: Any) -> bool:
    """Whether a stopped cell says so in our own words; a raw interrupt may strike in IPython's code alone, around ours."""
    if outcome.reply["ename"] == "Interrupted":
        return True
    shown = "".join(line for output in outcome.outputs if output["type"] == "error" for line in output["traceback"])
    return outcome.reply["ename"] == "KeyboardInterrupt" and "nbdiffuse" not in shown


SHOWN = {
    "chain": "%%chain --seed 7 -n 3 --out shown\n[sd15]\na cat\n[sd15 --strength 0.7]\na dog",
    "loopback": "%%loopback start --seed 7 -n 3 -s 0.7 --passes 2 --out shown\na cat",
    "grid": "%%img2img start --seed SEED..SEED1 -n 3 -s 0.7 --out shown\na cat",
    "verify": "%diffuse verify one",
    "tokens": "%diffuse tokens a cat in the snow",
}


@pytest.mark.parametrize("count", [pytest.param(2), pytest.param(40, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", SHOWN)
def test_an_interrupt_at_any_moment_of_a_cell_is_said_in_our_own_words(kernel: Any, name: str, count: int) -> None:
    rng = random.Random(name)
    kernel.run("%%txt2img -n 4 --seed 3 --out one\na cat")
    usual = kernel.run(_fresh(SHOWN[name], 0)).seconds
    for index in range(count):
        outcome = kernel.run(_fresh(SHOWN[name], index + 1), interrupts=(rng.uniform(0.0, 1.1 * usual),))
        assert outcome.ok or ended_as_interrupted(outcome), outcome.outputs[-1]
    assert kernel.run(_fresh(SHOWN[name], 0)).ok


@pytest.mark.parametrize(
    ("name", "call"), [("chain", "finish"), ("chain", "show"), ("loopback", "png_bytes"), ("grid", "finish"), ("grid", "refresh")]
)
def test_an_interrupt_while_the_display_is_encoded_is_said_in_our_own_words(kernel: Any, name: str, call: str) -> None:
    where = {"png_bytes": "nbdiffuse.magics.live_display.png_bytes", "show": "nbdiffuse.magics.live_display.LiveDisplay.show"}
    kind = "LiveGrid" if name == "grid" else "LiveRuns"
    target = where.get(call, f"nbdiffuse.magics.live_display.{kind}.{call}")
    owner, attribute = target.rsplit(".", 1)
    arm = (
        f"import nbdiffuse.magics.live_display, signal, os\nowner = {owner}\nreal = owner.{attribute}\n"
        f"def pressed(*given, **named):\n    owner.{attribute} = real\n    signal.raise_signal(signal.SIGINT)\n"
        f"    return real(*given, **named)\nowner.{attribute} = pressed"
    )
    assert kernel.run(arm).ok
    outcome = kernel.run(_fresh(SHOWN[name], 7000 + len(call)))
    restore = kernel.run(f"print(owner.{attribute} is real); owner.{attribute} = real")
    if restore.stream.strip() == "True":
        assert outcome.reply.get("ename") == "Interrupted" and len(outcome.outputs[-1]["traceback"]) == 1, outcome.outputs[-1]
        assert "kept" in outcome.reply["evalue"] or "Run it again" in outcome.reply["evalue"]
    assert kernel.run(_fresh(SHOWN[name], 8000 + len(call))).ok


def _fresh(cell: str, number: int) -> str:
    """Give a cell seeds of its own, so that nothing comes from the store."""
    cell = cell.replace("--seed 7", f"--seed {100 * number + 7}")
    return cell.replace("SEED1", str(100 * number + 12)).replace("SEED", str(100 * number + 10))


INTERRUPTS = [pytest.param(10), pytest.param(200, marks=pytest.mark.slow)]
STORMED = {"sd15": "--seed 7", "a float16 SDXL whose VAE runs in float32": "--seed 7 --model {sdxl}"}


@pytest.fixture(scope="module")
def forced_upcast(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny SDXL whose VAE says that it needs float32."""
    path = tiny.write("sdxl", tmp_path_factory.mktemp("forced"))
    config = path / "vae" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "force_upcast": True}))
    return path


@pytest.fixture(params=STORMED)
def stormed(request: Any, kernel: Any, forced_upcast: Path) -> Iterator[tuple[str, str]]:
    """A short cell and a long one of a checkpoint, in the dtype that it is stormed in."""
    half = "float16" in request.param
    assert kernel.run(f"%diffuse optimize dtype {'float16' if half else 'auto'}").ok
    options = STORMED[request.param].format(sdxl=forced_upcast)
    cell = f"%%img2img start {options} --num-inference-steps {{steps}} --out wizard\ncat wizard, gandalf"
    yield cell.format(steps=8), cell.format(steps=120)
    assert kernel.run("%diffuse optimize dtype auto").ok


@pytest.mark.parametrize("count", INTERRUPTS)
def test_interrupts_end_a_cell_and_change_nothing(kernel: Any, stormed: tuple[str, str], count: int) -> None:
    rng = random.Random(7)
    short, long = stormed
    assert kernel.run(short).ok
    expected = kernel.run(DIGEST).stream
    stopped = 0
    for index in range(count):
        first = rng.uniform(0.0, 1.2)
        if index % 10 == 9:  # Now and then it is met while it loads.
            kernel.run("%diffuse unload")
        outcome = kernel.run(long, interrupts=(first,) if index % 4 else (first, first + 0.05, first + 0.1))
        if not outcome.ok:
            assert ended_as_interrupted(outcome), outcome.reply
            stopped += outcome.reply["ename"] == "Interrupted"
        if index % 2 == 0:
            assert kernel.run(short).ok and kernel.run(DIGEST).stream == expected
    assert stopped >= count // 3
    assert kernel.run(short).ok and kernel.run(DIGEST).stream == expected


FAULTS = ["torch.OutOfMemoryError('x')", "KeyboardInterrupt()", "ValueError('x')", "AssertionError('x')", "SystemExit(3)"]


@pytest.mark.parametrize("fault", FAULTS)
def test_no_tensor_of_a_failed_run_is_reachable(kernel: Any, fault: str) -> None:
    arm = (
        "import torch, weakref\n"
        "unet = nbdiffuse.get_session()._engine.pipelines.components('sd15')['unet']\n"
        "alive = []\n"
        "def fail(module, inputs, output):\n"
        "    alive.append(weakref.ref(output)); alive.append(weakref.ref(inputs[0]))\n"
        f"    if len(alive) >= 6: raise {fault}\n"
        "hook = unet.conv_out.register_forward_hook(fail)"
    )
    kernel.run(RUN)
    assert kernel.run(arm).ok
    assert not kernel.run(RUN).ok
    left = kernel.run("hook.remove(); gc.collect(); print(len(alive), sum(reference() is not None for reference in alive))")
    assert left.stream.split()[1] == "0" and int(left.stream.split()[0]) >= 6
    assert kernel.run(RUN).ok
