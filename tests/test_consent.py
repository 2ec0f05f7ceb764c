"""Nothing goes to the network, and no local path is read, for a file of somebody else before the person said yes."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import guide
import pytest
from hub import Hub
from PIL import Image

import nbdiffuse
from nbdiffuse import Recipe, replay, resolve, verify
from nbdiffuse.errors import ConsentError, NbdiffuseError
from nbdiffuse.images.picture import Picture
from nbdiffuse.metadata import image_files
from nbdiffuse.metadata.image_files import CHUNK
from nbdiffuse.metadata.provenance import Provenance
from nbdiffuse.panels.actions.dropped_file import dropped_file
from nbdiffuse.results import Result
from nbdiffuse.runs.consent import size_of
from nbdiffuse.runs.program import script_command
from nbdiffuse.runs.verify import UNKNOWN

PICTURE = Image.effect_noise((128, 128), 80).convert("RGB")
BASE = {"prompt": "a cat", "seed": 1, "num_inference_steps": 1, "width": 64, "height": 64}
YES = "give `yes=True`, or `--yes` to %diffuse."


def file_of(folder: Path, **values: Any) -> Path:
    """Write a picture as a program of somebody else's may: its words are as they stand here."""
    from PIL.PngImagePlugin import PngInfo

    recipe = resolve(Recipe(**{**BASE, **values}))
    info = PngInfo()
    info.add_itxt(CHUNK, Provenance(recipe).to_own_json())
    PICTURE.save(folder / "cat.png", pnginfo=info)
    return folder / "cat.png"


@pytest.fixture
def quiet_hub(hub: Hub, guide_repos: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with a repository that nobody has fetched yet, and a note of every connection to anywhere."""
    hub.add("evil/repo", guide_repos[guide.COMIC])
    hub.add(guide.SD15, guide_repos[guide.SD15])
    connect = socket.socket.connect

    def noted(self: socket.socket, address: Any) -> Any:
        if self.family != socket.AF_UNIX:
            hub.connected.append(address)  # type: ignore[attr-defined]
        return connect(self, address)

    hub.connected = []  # type: ignore[attr-defined]
    monkeypatch.setattr(socket.socket, "connect", noted)
    yield hub
    nbdiffuse.get_session().with_pipelines(lambda pipelines: pipelines.unload())


def asked(hub: Hub) -> int:
    return len(hub.log) + len(hub.connected)  # type: ignore[attr-defined]


def test_a_repository_that_a_file_names_is_asked_about_before_it_is_fetched(quiet_hub: Hub, tmp_path: Path) -> None:
    file = file_of(tmp_path, checkpoint="evil/repo")
    (verdict,) = verify(file)
    assert verdict.state == UNKNOWN and "evil/repo from the hub (unknown size)" in verdict.reason and YES in verdict.reason
    for source in (file, str(file), image_files.read(file).provenance):
        with pytest.raises(ConsentError, match=r"evil/repo from the hub \(unknown size\)") as caught:
            replay(source)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
    (inside,) = verify(tmp_path)
    assert inside.reason == verdict.reason
    assert asked(quiet_hub) == 0
    assert replay(file, yes=True).recipe.checkpoint == "evil/repo"
    assert quiet_hub.fetched()


def test_what_is_whole_in_the_cache_runs_without_a_question_and_without_the_network(quiet_hub: Hub, tmp_path: Path) -> None:
    file = file_of(tmp_path, checkpoint="evil/repo")
    made = replay(file, yes=True)
    nbdiffuse.get_session().with_pipelines(lambda pipelines: pipelines.unload())
    quiet_hub.log.clear()
    quiet_hub.connected.clear()  # type: ignore[attr-defined]
    assert replay(file).image.tobytes() == made.image.tobytes()
    assert verify(file)[0].state != UNKNOWN
    assert asked(quiet_hub) == 0
    # Half of it is not all of it.
    nbdiffuse.get_session().with_pipelines(lambda pipelines: pipelines.unload())
    for one in list((tmp_path / "hub-cache").rglob("unet/*")):
        one.unlink()
    assert verify(file)[0].state == UNKNOWN and asked(quiet_hub) == 0


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"checkpoint": guide.SD15}, f"{guide.SD15} from the hub (about 5.5 GB, or 2.7 GB in half precision)"),
        ({"checkpoint": "evil/repo@main"}, "evil/repo@main from the hub (unknown size)"),
        ({"checkpoint": "evil/repo/x.safetensors"}, "evil/repo/x.safetensors from the hub (unknown size)"),
        ({"lora": "evil/repo/x.safetensors:0.5"}, "evil/repo/x.safetensors from the hub (unknown size)"),
        ({"controlnet": "evil/net", "control_image": PICTURE}, "evil/net from the hub (unknown size)"),
        (
            {"controlnet": "depth", "control_image": PICTURE, "controlnet_2": "evil/net", "control_image_2": PICTURE},
            "evil/net from the hub",
        ),
    ],
)
def test_every_word_for_weights_is_asked_about(values: dict[str, Any], named: str, quiet_hub: Hub, tmp_path: Path) -> None:
    held = Picture.of(PICTURE)
    (verdict,) = verify(file_of(tmp_path, **values))
    assert named in verdict.reason and YES in verdict.reason and held.at_hand
    assert asked(quiet_hub) == 0


def test_a_step_of_a_chain_and_an_ancestor_in_a_file_are_asked_about(quiet_hub: Hub, tmp_path: Path) -> None:
    file = file_of(tmp_path, checkpoint="evil/repo")
    foreign = resolve(Recipe(**BASE, checkpoint="evil/repo"))
    chain = foreign >> resolve(Recipe(**BASE, strength=1.0, image=PICTURE, checkpoint="sd15")).replace(image=None)
    image_files.write(PICTURE, tmp_path / "chain.png", Provenance(resolve(Recipe(**BASE, checkpoint="sd15")), chain=chain))
    assert "evil/repo" in verify(tmp_path / "chain.png")[0].reason
    # A redrawing of the first file, in the same folder: to change its first step is to run that file.
    start = Picture.of(file)
    child = resolve(Recipe(**{**BASE, "num_inference_steps": 2}, image=start, strength=0.5, checkpoint="sd15"))
    image_files.write(PICTURE.rotate(90), tmp_path / "child.png", Provenance(child))
    assert replay(tmp_path / "child.png").recipe.checkpoint == "sd15"
    with pytest.raises(ConsentError, match="evil/repo"):
        replay(tmp_path / "child.png", step=1, guidance_scale=2.0)
    assert asked(quiet_hub) == 0
    # What the person names instead is the person's own.
    assert replay(tmp_path / "child.png", step=1, checkpoint="sd15").recipe.checkpoint == "sd15"


@pytest.mark.parametrize("word", ["mine", "evil/repo", "./sd15"])
def test_a_local_path_that_a_file_names_is_not_read_unasked(
    word: str, guide_repos: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    monkeypatch.chdir(tmp_path)
    shutil.copytree(guide_repos[guide.COMIC], tmp_path / word)
    file = file_of(tmp_path, checkpoint=word)
    (verdict,) = verify(file)
    assert verdict.state == UNKNOWN and f"the local path '{word}'" in verdict.reason and YES in verdict.reason
    assert verify(file, yes=True)[0].state != UNKNOWN


def test_what_is_in_this_package_runs_without_a_question(quiet_hub: Hub, tmp_path: Path) -> None:
    made = nbdiffuse.run(Recipe(**BASE, checkpoint="sd15"))
    assert verify(made.save(tmp_path / "own.png"))[0].state == "identical"
    assert replay(tmp_path / "own.png").image.tobytes() == made.image.tobytes()
    assert asked(quiet_hub) == 0


def test_a_dropped_picture_asks_too_and_what_was_made_here_does_not(quiet_hub: Hub, tmp_path: Path) -> None:
    dropped = dropped_file("cat.png", file_of(tmp_path, checkpoint="evil/repo").read_bytes())
    assert dropped is not None and dropped.result is not None
    assert "Run takes its weights, evil/repo, from the hub or from this disk." in dropped.lines
    with pytest.raises(ConsentError, match="evil/repo"):
        replay(dropped.result)
    shell = type("Shell", (), {"user_ns": {"r": dropped.result}})
    with pytest.raises(ConsentError, match="evil/repo"):
        script_command(shell, ["r", "--check"])
    # A result of this session that was made from the dropped picture.
    start = Picture.of(dropped.result.image)
    own = Result(resolve(Recipe(**BASE, image=start, strength=1.0, checkpoint="sd15")), (PICTURE.rotate(180),), None, 1.0)
    with pytest.raises(ConsentError, match="evil/repo"):
        replay(own, step=1, guidance_scale=2.0)
    assert asked(quiet_hub) == 0
    assert replay(own).recipe.checkpoint == "sd15"
    mine = Result(resolve(Recipe(**BASE, checkpoint="evil/repo")), (PICTURE,), None, 1.0)
    assert replay(mine).recipe.checkpoint == "evil/repo" and asked(quiet_hub) > 0


def test_the_commands_take_the_yes(kernel: Any, tmp_path: Path) -> None:
    file = file_of(tmp_path, checkpoint="evil/repo")
    said = kernel.run(f"%diffuse verify {file}")
    assert "evil/repo from the hub (unknown size)" in json.dumps(said.outputs)
    refused = kernel.run(f"%diffuse replay {file}")
    assert not refused.ok and refused.reply["ename"] == "ConsentError"
    # With a yes the hub is asked; the tests' own kernel has none to reach.
    allowed = kernel.run(f"%diffuse replay {file} --yes")
    assert not allowed.ok and allowed.reply["ename"] == "CheckpointError"
    assert kernel.run(f"%diffuse replay {file_of(tmp_path, checkpoint='sd15')}").ok
    for line in ("%diffuse replay --yes", "%diffuse verify --yes", "%diffuse replay a b"):
        assert kernel.run(line).reply["ename"] == "ParameterError"


def test_a_size_is_said_where_it_is_known_without_asking() -> None:
    assert size_of("runwayml/stable-diffusion-v1-5") == size_of(guide.SD15) == "about 5.5 GB, or 2.7 GB in half precision"
    assert size_of("evil/repo") == size_of(f"{guide.SD15}/x.safetensors") == "unknown size"


def test_a_torn_recipe_is_not_run(tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    recipe = json.loads(resolve(Recipe(**BASE)).to_json())
    del recipe["seed"]
    info = PngInfo()
    info.add_itxt(CHUNK, json.dumps({"format": 1, "recipe": recipe}))
    PICTURE.save(tmp_path / "x.png", pnginfo=info)
    with pytest.raises(NbdiffuseError, match="seed is missing"):
        replay(tmp_path / "x.png")
