"""Replays and lineages: a picture is followed back over runs, chains, kernels and files, and made again with a change."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import nbdiffuse
from nbdiffuse import Chain, Recipe, replay, resolve
from nbdiffuse.errors import ImageInputError, ParameterError
from nbdiffuse.images.picture import Picture
from nbdiffuse.metadata import image_files
from nbdiffuse.metadata.image_files import read
from nbdiffuse.metadata.provenance import Provenance
from nbdiffuse.results import Result
from nbdiffuse.runs.replay import changed_stage
from nbdiffuse.store.index import PictureIndex
from nbdiffuse.store.lineage import trace

QUICK: dict[str, Any] = {"num_inference_steps": 2, "strength": 0.5, "seed": 11}


@pytest.fixture(scope="module")
def line(scene: Any) -> list[Result]:
    """A run, a run on its picture, and a chain of two steps on that one's."""
    first = nbdiffuse.run(Recipe(prompt="a cat", image=scene.image, **QUICK))
    second = nbdiffuse.run(Recipe(prompt="a cat in the snow", image=first.image, **QUICK))
    chain = Recipe(prompt="a house", image=second.image, **QUICK) >> Recipe(prompt="a robot", **QUICK)
    return [first, second, *nbdiffuse.run(chain)]


def same(one: Result, other: Result) -> bool:
    return one.image.tobytes() == other.image.tobytes()


def test_a_replay_without_a_change_gives_the_same_bytes(line: list[Result], tmp_path: Path) -> None:
    for result in line:
        assert same(replay(result), result)
        assert same(replay(result.save(tmp_path / "x.png")), result)


def test_a_change_of_the_last_step_runs_only_that(line: list[Result]) -> None:
    history = nbdiffuse.get_session().history
    before = history[-1]
    changed = replay(line[1], prompt="a cat at night")
    assert (changed.recipe.prompt, changed.recipe.image) == ("a cat at night", line[1].recipe.image)
    assert history[-2] is before
    assert same(changed, nbdiffuse.run(line[1].recipe.replace(prompt="a cat at night")))


def test_a_change_of_an_early_step_goes_through_all_that_follow(line: list[Result]) -> None:
    by_hand = nbdiffuse.run(line[0].recipe.replace(seed=12))
    by_hand = nbdiffuse.run(line[1].recipe.replace(image=by_hand.image))
    chain = line[3].chain
    assert chain is not None
    expected = nbdiffuse.run(chain.replace(1, image=by_hand.image))
    assert same(replay(line[3], step=1, seed=12), expected[-1])
    assert replay(line[3], step=1, seed=12).recipe.seed == 11


def test_a_step_inside_a_chain_can_be_changed(line: list[Result]) -> None:
    chain = line[3].chain
    assert chain is not None
    assert same(replay(line[3], step=3, prompt="a castle"), nbdiffuse.run(chain.replace(1, prompt="a castle"))[-1])
    assert same(replay(line[3], prompt="a castle"), nbdiffuse.run(chain.replace(2, prompt="a castle"))[-1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"step": 5}, r"`step` must be a whole number in \[1, 4\]"),
        ({"step": 0}, "whole number in"),
        ({"step": True}, "whole number in"),
        ({"strengh": 0.5}, "Did you mean 'strength'"),
        ({"strength": 2}, r"`strength` must be a number in \[0, 1\]"),
        ({"image": Image.new("RGB", (64, 64))}, "`image` of step 2"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_runs(line: list[Result], arguments: dict[str, Any], message: str) -> None:
    before = len(nbdiffuse.get_session().history)
    with pytest.raises(ParameterError, match=message):
        replay(line[3], **arguments)
    assert len(nbdiffuse.get_session().history) == before


def test_another_model_brings_its_own_weights(line: list[Result]) -> None:
    stage = changed_stage(Chain((line[0].recipe,)), 1, {"model": "comic"})
    assert resolve(stage[0]).checkpoint == "comic"
    stage = changed_stage(Chain((line[0].recipe,)), 1, {"model": "comic", "checkpoint": "sd15"})
    assert resolve(stage[0]).checkpoint == "sd15"


def test_a_lineage_reaches_over_runs_and_chains_to_the_given_picture(line: list[Result], scene: Any) -> None:
    tree = line[3].lineage()
    nodes = list(tree)
    assert [node.recipe.prompt if node.recipe else None for node in nodes] == [
        None,
        "a cat",
        "a cat in the snow",
        "a house",
        "a robot",
    ]
    assert nodes[0].image is not None and nodes[0].image.tobytes() == scene.image.tobytes()
    assert [node.image is not None for node in nodes] == [True] * 5
    assert repr(tree).splitlines()[-1].strip().startswith("initial image: as it was given")
    assert tree.to_html().count("<img ") == 5


def test_a_lineage_goes_over_kernels_by_the_store(line: list[Result], tmp_path: Path) -> None:
    line[3].save(tmp_path / "last.png")
    code = (
        "import sys; from PIL import Image; from nbdiffuse.store.lineage import trace;"
        "from nbdiffuse.store.index import PictureIndex;"
        "from nbdiffuse.metadata.image_files import read;"
        "tree = trace(Image.open(sys.argv[1]).convert('RGB'), read(sys.argv[1]).provenance, PictureIndex());"
        "print([(node.where, node.image is not None) for node in tree])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "last.png")], capture_output=True, text=True, check=True)
    assert done.stdout.count("the store") == 2 and done.stdout.count("True") == 5


def test_a_lineage_and_a_replay_go_by_files_where_the_store_is_empty(line: list[Result], scene: Any, tmp_path: Path) -> None:
    """In another process with an empty store: ancestors lie beside the file under any name."""
    line[0].save(tmp_path / "z.png")
    line[1].save(tmp_path / "a.webp")
    line[3].save(tmp_path / "last.png")
    Picture.of(scene.image).image.save(tmp_path / "photo.png")
    code = (
        "import sys, hashlib, nbdiffuse;"
        "from nbdiffuse.magics.history_commands import lineage_of;"
        "print([node.where for node in lineage_of({}, sys.argv[1])]);"
        "print(hashlib.sha256(nbdiffuse.replay(sys.argv[1], step=1, seed=11).image.tobytes()).hexdigest())"
    )
    environment = {**os.environ, "NBDIFFUSE_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-c", code, str(tmp_path / "last.png")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    found, digest = done.stdout.splitlines()
    assert "'z.png', 'a.webp', 'step 1 of 2, last.png', 'step 2 of 2, last.png'" in found
    assert digest == hashlib.sha256(line[3].image.tobytes()).hexdigest()


def test_what_is_nowhere_is_drawn_as_an_empty_frame_and_named_by_a_replay(tmp_path: Path) -> None:
    gone = Recipe.from_dict({"prompt": "a cat", "image": "sha256:" + 64 * "a", "width": 64, "height": 64, "checkpoint": "sd15"})
    provenance = Provenance(gone.replace(**QUICK, guidance_scale=7.5), {})
    tree = trace(None, provenance, PictureIndex())
    assert "not at hand" in repr(tree) and tree.to_html().count("<img ") == 0
    with pytest.raises(ImageInputError, match=r"The initial image sha256:aaaa.* is nowhere"):
        replay(provenance)


def test_a_file_that_names_itself_as_its_ancestor_ends_the_line(tmp_path: Path, line: list[Result]) -> None:
    picture = Picture.of(line[0].image)
    circle = Provenance(line[0].recipe.replace(image=picture), {})
    image_files.write(Image.new("RGB", (64, 64), (1, 2, 3)), tmp_path / "a.png", Provenance(circle.recipe, {}))
    own = Picture.of(tmp_path / "a.png")
    image_files.write(own.image, tmp_path / "a.png", Provenance(circle.recipe.replace(image=own), {}))
    tree = trace(own.image, read(tmp_path / "a.png").provenance or circle, PictureIndex(folders=(tmp_path,)))
    assert 1 <= len(list(tree)) <= 3


def test_prompts_are_shown_as_text(line: list[Result]) -> None:
    hostile = line[0].recipe.replace(prompt="\x1b[31m<script>x</script>\u202e")
    tree = trace(line[0].image, Provenance(hostile, {}), PictureIndex())
    assert "<script" not in tree.to_html()
    assert all(row.isprintable() for row in repr(tree).splitlines())
