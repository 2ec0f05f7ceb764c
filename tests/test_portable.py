"""No path of this machine leaves in a file, whatever field it stands in; the prompts are the person's own and stay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from PIL import Image

from nbdiffuse import Recipe, resolve
from nbdiffuse.errors import CheckpointError
from nbdiffuse.images.picture import Picture
from nbdiffuse.metadata import image_files
from nbdiffuse.metadata.a1111 import generation_text
from nbdiffuse.metadata.provenance import Provenance
from nbdiffuse.panels.actions.exports import file_of
from nbdiffuse.recipes.chain import Chain
from nbdiffuse.recipes.portable import hub_repository, is_hub_id, portable, portable_word
from nbdiffuse.results import Result
from nbdiffuse.runs.chain_grid import ChainGrid
from nbdiffuse.runs.grid import Grid
from nbdiffuse.runs.outcomes import FailedCell
from nbdiffuse.sweeps.chain_sweep import ChainSweep
from nbdiffuse.sweeps.sweep import Sweep

CANARY = "alice-canary"
PICTURE = Image.effect_noise((64, 64), 80).convert("RGB")
PATHS = (
    f"/home/{CANARY}/m",
    f"/home/{CANARY}/private client/m.safetensors",
    f"~/{CANARY}/m",
    f"~{CANARY}/m",
    f"./{CANARY}/m",
    f"../{CANARY}/m",
    f"{CANARY}/a/b/m",
    f"C:\\Users\\{CANARY}\\m",
    f"\\\\server\\{CANARY}\\m",
    f"file:///home/{CANARY}/m",
    f"https://{CANARY}:pw@huggingface.co/a/m",
    f"/home/{CANARY}/sd15",
    f"/home/{CANARY}/",
)


def labelled(path: str) -> Picture:
    return Picture.of(PICTURE, label=path)


def recipes(path: str) -> dict[str, Recipe]:
    """Return a complete recipe for each field that may be a path."""
    base = {"prompt": "x", "seed": 1, "num_inference_steps": 2}
    net = {"controlnet": "depth", "control_image": labelled(path)}
    # A name without a slash is one of ours, or it is refused.
    net_path = path if "/" in path else f"/{CANARY}/{path}"
    file = path if path.endswith(".safetensors") else f"{path}/x.safetensors"
    made = {
        "checkpoint": Recipe(**base, checkpoint=path),
        "lora": Recipe(**base, lora=f"{file}:0.5 + {file}:-1"),
        "controlnet": Recipe(**base, controlnet=net_path, control_image=labelled(path)),
        "controlnet_2": Recipe(**base, **net, controlnet_2=net_path, control_image_2=labelled(path)),
        "pictures": Recipe(**base, image=labelled(path), mask_image=labelled(path)),
    }
    return {name: resolve(recipe) for name, recipe in made.items()}


def of(recipe: Recipe, path: str) -> Result:
    chain = Chain((recipe, recipe.replace(image=None, mask_image=None, strength=None, resize_mode=None)))
    fingerprint = {"torch": "2.9", "device": path, "checkpoint": path, path: "x"}
    return Result(recipe, (PICTURE,), None, 1.0, fingerprint, notices=(path,), chain=chain)


@pytest.mark.parametrize("path", PATHS)
def test_no_writer_writes_a_path(path: str, tmp_path: Path) -> None:
    for name, recipe in recipes(path).items():
        result, folder = of(recipe, path), tmp_path / name
        folder.mkdir()
        for suffix in (".png", ".jpg", ".webp"):
            result.save(folder / f"x{suffix}")
        (folder / "panel.png").write_bytes(file_of(result)[1])
        (folder / "x.json").write_text(result.provenance.to_json())
        (folder / "version.json").write_text(Provenance(recipe, version=path).to_json())
        (folder / "x.txt").write_text(generation_text(image_files.read(folder / "x.png").provenance.recipe, "1"))  # type: ignore[union-attr]
        for file in folder.iterdir():
            assert CANARY.encode() not in file.read_bytes().replace(b"\0", b""), (name, file.name)


@pytest.mark.parametrize("path", PATHS[:4])
def test_the_folder_of_a_grid_holds_no_path(path: str, tmp_path: Path) -> None:
    base = Recipe(prompt="x", seed=1, num_inference_steps=2, image=labelled(path), strength=0.5)
    axes: dict[str, Any] = {"checkpoint": [path, f"/other{path}"], "lora": [f"/{path}/x.safetensors", "/y.safetensors"]}
    grid = Grid(Sweep.of(base, mask_image=[labelled(path), Picture.of(PICTURE.rotate(90), label="m")], **axes), store=None)
    first, second = grid.sweep.cells()[:2]
    grid._outcomes.outcomes[first.picture_key] = of(first.recipe, path)
    failed = FailedCell(second.recipe, CheckpointError(f"{path} is no checkpoint."))
    grid._outcomes.outcomes[second.picture_key] = failed
    grid.save(tmp_path / "grid")
    varied = ChainSweep.of(base >> Recipe(prompt="y", checkpoint=path), {"1.checkpoint": [path, f"/other{path}"]})
    chains = ChainGrid(varied, store=None)
    chains._failed[0] = CheckpointError(f"{path} is no checkpoint.")
    chains.save(tmp_path / "chains")
    for file in (tmp_path / "grid").iterdir():
        assert CANARY.encode() not in file.read_bytes(), file
    for file in (tmp_path / "chains").iterdir():
        assert CANARY.encode() not in file.read_bytes(), file


def test_folders_of_one_name_are_told_apart() -> None:
    sweep = Sweep.of(Recipe(prompt="x", seed=1), checkpoint=["/a/m", "/b/m", "sd15"])
    assert sweep.axes[0].labels == ("m #1", "m #2", "sd15")


def test_what_anybody_has_keeps_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache" / "models--a--b").mkdir(parents=True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    words = ("sd15", "depth", "a/b", "a/b@main", "a/b/x.safetensors", "a/b/c/x.safetensors@main", "https://huggingface.co/a/b")
    for word in words:
        assert portable_word(word) == word and portable_word(portable_word(word)) == word
    assert portable_word("a/c/x.safetensors") == "x.safetensors", "nobody fetched it: it may be a path"
    assert portable_word("/x/sd15") == "./sd15" == portable_word("./sd15")
    # What is a folder here is no hub id, whatever it looks like; the fingerprint tells where nothing is there any more.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clients" / "acme").mkdir(parents=True)
    assert portable_word("clients/acme") == "acme" and portable_word("clients/acme", local=False) == "clients/acme"
    recipe = resolve(Recipe(prompt="x", seed=1, checkpoint="gone/acme"))
    assert portable(recipe, {"checkpoint": "ab" * 32}).checkpoint == "acme"
    assert portable(recipe, {"checkpoint": f"gone/acme@{'0' * 40}"}).checkpoint == "gone/acme"


@pytest.mark.parametrize("text", ["a/-", "-/a", "a/b.git", "a/b--c", "a..b/c", "a/", "/a", "a/b/c", "a b/c", "a/b\n", ""])
def test_a_hub_id_is_one_that_the_hubs_client_takes(text: str) -> None:
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    assert not is_hub_id(text) and hub_repository(text) is None
    if text.count("/") == 1 and text != "a b/c":
        with pytest.raises(HFValidationError):
            validate_repo_id(text)


@pytest.mark.parametrize("path", [path for path in PATHS if not path.startswith(CANARY)])
def test_no_path_comes_in_with_a_file(path: str) -> None:
    """A file of an earlier version, or somebody else's, may name one: it is cut before anything looks at this disk."""
    recipe = json.loads(resolve(Recipe(prompt="x", seed=1, controlnet="a/b", control_image=PICTURE)).to_json())
    lora = f"{path}/x.safetensors"
    for field, value in (("checkpoint", path), ("controlnet", path), ("lora", lora)):
        said = {name: one for name, one in {**recipe, field: value}.items() if name != "format"}
        text = json.dumps({"format": 1, "recipe": {"format": 1, **said}, "chain": {"format": 1, "steps": [said]}})
        provenance = Provenance.from_json(text)
        word = provenance.recipe.get(field)
        assert CANARY not in provenance.to_own_json() and "/" not in word.removeprefix("./") and "\\" not in word
        assert provenance.left_out == ("Folders that the file names are left out.",)
    with pytest.raises(Exception, match="name of a preset"):
        Provenance.from_json(json.dumps({"format": 1, "recipe": {**recipe, "model": path}}))


def test_the_prompt_stays_as_it_is() -> None:
    prompt = f"a photo of /home/{CANARY}/m"
    assert portable(resolve(Recipe(prompt=prompt, negative_prompt=prompt, seed=1))).prompt == prompt
