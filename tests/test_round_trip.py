"""Random recipes of all kinds: saved, read in a fresh process, made again there, byte for byte the same."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny
from PIL import Image

import nbdiffuse
from nbdiffuse import Chain, Recipe, read
from nbdiffuse.recipes.link import Link
from nbdiffuse.recipes.preset import SCHEDULERS

FAMILIES = ("sdxl", "kandinsky22", "x4-upscaler")
FRESH = """
import sys, nbdiffuse
for verdict in nbdiffuse.verify(sys.argv[1], yes=True):
    print(verdict.name, verdict.state, *verdict.details, sep=" | ")
"""
WORDS = ("a cat", "a lighthouse", "two robots, snow", 'a "quoted" {house}', "Ätna\nim Winter", "漢字 🙂", "a (red) rocket: 5")


class Dice:
    """Throw recipes; what was made before may be the start of the next one."""

    def __init__(self, seed: int, scene: Any, families: Path) -> None:
        self._random = random.Random(seed)
        self._scene = scene
        self._families = families
        self.made: list[Image.Image] = []

    def throw(self, number: int) -> Link:
        kinds = [self._base, self._mask, self._control, self._weighted, self._family, self._chain, self._descendant]
        return kinds[number % len(kinds)]()

    def _fields(self, start: bool) -> dict[str, Any]:
        one = self._random
        fields: dict[str, Any] = {
            "prompt": one.choice(WORDS),
            "seed": one.randrange(2**63),
            "num_inference_steps": one.randint(2, 5),
            "guidance_scale": one.choice([1.0, 4.25, one.uniform(1, 12)]),
            "negative_prompt": one.choice([None, "ugly", "snow, blur"]),
        }
        return {**fields, "image": self._scene.image, "strength": one.uniform(0.55, 1)} if start else fields

    def _base(self) -> Recipe:
        sizes = self._random.choice([{}, {"width": 96, "height": 64}])
        fields = {**self._fields(self._random.random() < 0.7), "scheduler": self._random.choice(SCHEDULERS)}
        fit = {"resize_mode": self._random.choice(["fit", "crop", "pad", "stretch"])} if "image" in fields else {}
        return Recipe(**{**fields, **sizes, **fit, "strength": 0.7 if "image" in fields else None})

    def _mask(self) -> Recipe:
        mask = Image.new("L", (128, 128))
        mask.paste(255, (self._random.randrange(60), 10, 100, 90))
        return Recipe(**self._fields(True), mask_image=mask, mask_overlay=self._random.choice([None, "exact", "none"]))

    def _control(self) -> Recipe:
        how = {"controlnet_conditioning_scale": self._random.uniform(0.2, 1.5), "control_guidance_end": 0.75}
        start = self._random.random() < 0.5
        return Recipe(**self._fields(start), controlnet="depth", control_image=self._scene.depth, **how)

    def _weighted(self) -> Recipe:
        dialect, prompt = self._random.choice([("compel", "a red++ cat"), ("a1111", "a (red:1.3) cat")])
        return Recipe(**{**self._fields(True), "prompt": prompt, "negative_prompt": None}, weighting=dialect)

    def _family(self) -> Recipe:
        name = self._random.choice(FAMILIES)
        fields = {**self._fields(True), "num_inference_steps": 4, "strength": 0.75}
        if name == "x4-upscaler":
            fields = {**fields, "strength": None, "noise_level": 40, "width": 256, "height": 256}
        return Recipe(**fields, model=name, checkpoint=str(self._families / f"random-{name}"))

    def _chain(self) -> Chain:
        later = {**self._fields(False), "strength": 0.8}
        return Recipe(**self._fields(True)) >> Recipe(**{**later, "scheduler": "DDIM"})

    def _descendant(self) -> Recipe:
        return Recipe(**{**self._fields(True), "image": self._random.choice(self.made)})


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("families")
    for name in FAMILIES:
        tiny.write(name, folder).rename(folder / f"random-{name}")
    return folder


@pytest.mark.parametrize("count", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_random_recipes_come_out_the_same_in_a_fresh_process(scene: Any, families: Path, tmp_path: Path, count: int) -> None:
    """The fresh process has an empty store: the pictures that runs started from are found beside the files, by their pixels."""
    dice, starts = Dice(count, scene, families), {}
    for number in range(count):
        made = nbdiffuse.run(dice.throw(number))
        recipe = (made[-1] if isinstance(made, nbdiffuse.ChainRun) else made).recipe
        starts |= {picture.address: picture.image for picture in recipe.pictures.values()}
        file = made.save(tmp_path / f"{number:03}{random.Random(number).choice(['.png', '.png', '.webp', '.jpg'])}")
        assert read(file).recipe.prompt == recipe.prompt
        dice.made.append(made.image)
    folder = tmp_path / "all"
    folder.mkdir()
    for index, image in enumerate([scene.image, *starts.values()]):
        image.save(folder / f"start{index}.png")
    for file in tmp_path.glob("0*.*"):
        file.rename(folder / file.name)
    environment = {**os.environ, "NBDIFFUSE_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-c", FRESH, str(folder)]
    # The directories of the families are named in the files without the path that leads there.
    done = subprocess.run(command, capture_output=True, text=True, cwd=families, env=environment)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if not line.startswith("start")]
    assert len(lines) == count
    assert [line for line in lines if line.split(" | ")[1] != "identical"] == []
