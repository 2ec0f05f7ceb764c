"""The page for those who carry this on: its rooms are those that there are, and its examples do what they say."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import nbformat
import pytest
from test_architecture import PACKAGE, ROOMS

TESTS = Path(__file__).parent
HOME = TESTS.parent
README = (HOME / "README.md").read_text("utf-8")
SECTION = (HOME / "nbdiffuse" / "docs" / "contributing.md").read_text("utf-8")


def blocks(title: str) -> list[str]:
    """Return the fenced blocks of the example whose paragraph begins with a title in bold."""
    _, found, rest = SECTION.partition(f"\n**{title}**")
    assert found, title
    return re.findall(r"^```\w*\n(.*?)^```", re.split(r"\n\*\*|\n## ", rest)[0], re.MULTILINE | re.DOTALL)


def put(file: Path, place: str, text: str, indent: int) -> None:
    """Write a text in front of the first line of a file that begins with `place`."""
    before, found, after = file.read_text("utf-8").partition(f"\n{' ' * indent}{place}")
    assert found, f"{file.name} has no line {place!r}: the page says where to put the example"
    file.write_text(f"{before}\n{textwrap.indent(text, ' ' * indent)}{found[1:]}{after}", "utf-8")


@pytest.fixture(scope="module")
def edited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with the page's first three examples in it."""
    home = tmp_path_factory.mktemp("edited")
    copy = home / "nbdiffuse"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__", "checkpoints"))
    shutil.copytree(PACKAGE / "checkpoints", copy / "checkpoints", ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "embedded" / "checkpoints").symlink_to(PACKAGE / "embedded" / "checkpoints")
    shutil.copy(HOME / "pyproject.toml", home)
    (family,) = blocks("A family of models.")
    put(copy / "families" / "families.py", "Family(", family.rstrip() + ",\n", 12)
    (argument,) = blocks("A parameter.")
    put(copy / "families" / "arguments.py", '"', argument, 8)
    function, entry, limit, help_line = blocks("A command of `%diffuse`.")
    commands = copy / "magics" / "commands.py"
    put(commands, '"models": models_table', entry, 12)
    commands.write_text(commands.read_text("utf-8").replace("_LIMITS = {", f"_LIMITS = {{{limit.strip()} ", 1), "utf-8")
    put(commands, "%diffuse optimize ", help_line, 8)
    put(commands, "def models_table", function + "\n\n", 0)
    return home


def run(home: Path, code: str, *folders: Path) -> str:
    """Run code in a fresh process, with the package of a folder."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (home, *folders)))}
    done = subprocess.run([sys.executable, "-c", code], cwd=home, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def sentence(room: str) -> str:
    """Return what a room says of itself, without its name."""
    file = PACKAGE / room / "__init__.py"
    text = ast.get_docstring(ast.parse((file if file.exists() else PACKAGE / f"{room}.py").read_text("utf-8"))) or ""
    return text.splitlines()[0].removeprefix(f"{room.capitalize().replace('_', ' ')}: ")


@pytest.mark.quick
def test_the_rooms_stand_in_their_order_with_their_own_words() -> None:
    stand = [*ROOMS, "panels", "embedded"]
    rooms = [f"- `{room}`: {sentence(room)}" for room in stand if room != "version"]
    assert re.findall(r"^- `.*", SECTION, re.MULTILINE) == rooms, "\n".join(rooms)
    folders = {file.parent.name for file in PACKAGE.glob("*/__init__.py")} | {file.stem for file in PACKAGE.glob("*.py")}
    assert folders == {*stand, "__init__"}


@pytest.mark.quick
def test_the_first_pytest_in_a_block_is_the_whole_suite() -> None:
    # `.ci/run` runs it.
    inside = re.findall(r"^```.*?\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    first = next(line for block in inside for line in block.splitlines() if "pytest" in line)
    assert first == 'pip install -e ".[test]" && pytest -n 2'


@pytest.mark.quick
def test_a_family_is_an_entry_of_at_most_ten_lines() -> None:
    (family,) = blocks("A family of models.")
    assert len(family.splitlines()) <= 10


def test_the_examples_are_laid_out_as_the_house_is(edited: Path) -> None:
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *command, "nbdiffuse"], cwd=edited, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


FAMILY = """
import diffusers, tiny, tiny_families, torch
from nbdiffuse import Recipe, run

torch.manual_seed(0)
transformer = diffusers.PixArtTransformer2DModel(
    sample_size=32, num_layers=1, num_attention_heads=2, attention_head_dim=8, cross_attention_dim=16, caption_channels=32,
    norm_num_groups=4,
)
diffusers.PixArtSigmaPipeline(
    tokenizer=tiny_families._t5_tokenizer(), text_encoder=tiny_families._t5(), vae=tiny.vae(), transformer=transformer.eval(),
    scheduler=diffusers.DPMSolverMultistepScheduler(**tiny._BETAS),
).save_pretrained("sigma")
values = {"width": 80, "height": 64, "use_resolution_binning": False}
mine = run(Recipe(prompt="a red house", model="pixart-sigma", checkpoint="sigma", seed=3, **values))
assert run(Recipe(prompt="a red house", model="./sigma", seed=3, **values)).image.tobytes() == mine.image.tobytes()
raw = diffusers.AutoPipelineForText2Image.from_pretrained("sigma")
theirs = raw("a red house", generator=torch.Generator("cpu").manual_seed(3), **values).images[0]
assert mine.image.tobytes() == theirs.tobytes()
print(mine.recipe.num_inference_steps, mine.recipe.guidance_scale, mine.recipe.scheduler)
"""


def test_the_family_runs_with_the_pixels_and_defaults_of_the_raw_call(edited: Path) -> None:
    assert run(edited, FAMILY, TESTS).split() == ["20", "4.5", "DPMSolverMultistep"]


PARAMETER = """
import json
import nbdiffuse
from nbdiffuse import Recipe, resolve
from nbdiffuse.cells.options import completions, help_text, parse_cell
from nbdiffuse.cells.reference import reference
from nbdiffuse.errors import ParameterError
from nbdiffuse.panels.recipe_panel import Panel
from nbdiffuse.sweeps.sweep import Sweep

name, flag = "use_resolution_binning", "--use-resolution-binning"
cell = parse_cell("txt2img", f"--model pixart-sigma --checkpoint somebody/sigma --seed 1 {flag} false", "a cat", {})
recipe = Recipe(**cell.values)
assert recipe == Recipe(prompt="a cat", model="pixart-sigma", checkpoint="somebody/sigma", seed=1, use_resolution_binning=False)
assert Recipe.from_json(recipe.to_json()) == recipe and json.loads(recipe.to_json())["arguments"] == {name: False}
try:
    Recipe(**{name: 0})
    raise SystemExit("0 is taken")
except ParameterError as error:
    assert str(error) == "`use_resolution_binning` must be true or false, got 0."
assert flag in help_text("txt2img") and "draw at the nearest size" in help_text("txt2img")
assert flag in completions("txt2img", "%%txt2img --use")
assert f"`{flag}`" in reference()
assert resolve(recipe).get(name) is False and f"{name}=False" in nbdiffuse.program(recipe)
assert [cell.recipe.get(name) for cell in Sweep.of(recipe, **{name: (True, False)}).cells()] == [True, False]
assert Panel(recipe, nbdiffuse.get_session())._controls._control(name) is not None
"""


def test_the_parameter_is_on_every_surface(edited: Path) -> None:
    run(edited, PARAMETER)


COMMAND = """
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "nbdiffuse")
for line in ("versions", ""):
    with capture_output() as shown:
        shell.run_line_magic("diffuse", line)
    print(shown.outputs[0].data["text/plain"])
try:
    shell.run_line_magic("diffuse", "versions now")
except Exception as error:
    print(error)
"""


def test_the_command_answers_and_is_in_the_help(edited: Path) -> None:
    import diffusers

    shown = run(edited, COMMAND).splitlines()
    assert ["diffusers", diffusers.__version__] in [line.split() for line in shown[:3]]
    assert blocks("A command of `%diffuse`.")[3].strip() in shown
    assert shown[-1] == "`%diffuse versions` must be followed by at most 0 words, got 'now'."


def test_the_notebook_is_stored_and_compared(tmp_path: Path) -> None:
    text, commands = blocks("A notebook.")
    regenerate, check = commands.splitlines()
    shutil.copy(HOME / "pyproject.toml", tmp_path)
    folder = tmp_path / "notebooks"
    folder.mkdir()
    for name in ("conftest.py", "regenerate.py"):
        shutil.copy(HOME / "notebooks" / name, folder)
    file = tmp_path / check.split()[-1]
    cells = [cell.strip("\n") for cell in text.split("# %%\n")[1:]]
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells]), file)
    environment = {**os.environ, "PYTHONPATH": str(HOME)}

    def done(command: str) -> subprocess.CompletedProcess[str]:
        words = command.split()
        words = [sys.executable, "-m", *words] if words[0] == "pytest" else [sys.executable, *words[1:]]
        return subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)

    assert done(regenerate).returncode == 0
    stored = nbformat.read(file, as_version=4)
    assert stored.cells[-1].outputs[0].text == "two pictures: True\n"
    assert "image/png" in stored.cells[2].outputs[-1].data
    checked = done(check)
    assert checked.returncode == 0 and f"{len(cells)} passed" in checked.stdout, checked.stdout
    # Strict: another seed is another picture, and what is stored no longer fits.
    stored.cells[2].source = stored.cells[2].source.replace("--seed 1,2", "--seed 1,3")
    nbformat.write(stored, file)
    assert "1 failed" in done(check).stdout
