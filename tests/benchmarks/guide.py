"""The guide's sections in order, through nbdiffuse and by the guide's own way: `python tests/benchmarks/guide.py`.

The guide loads a checkpoint in most sections; nbdiffuse loads each once, runs the
pictures of one section together, and does not draw again what a chain's first step has
drawn before. Both make the same pictures, those of the guide's code and those it shows
beside it, on the checkpoints in this package, in processes of their own, one after the
other. "Optimise" makes no picture.

`--full-size` does it on a GPU with checkpoints of the originals' sizes and random
weights, which it writes to the temporary folder first (28 GB); the guide's way then
has its `enable_model_cpu_offload()`. No figure of that has been taken yet. `--small`
shows anywhere that it works, at an eighth of the widths.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import diffusers
import full_size
import torch
from PIL import Image

import nbdiffuse
from nbdiffuse import embedded
from nbdiffuse.checkpoints import loading
from nbdiffuse.embedded.world import sample
from nbdiffuse.library_logging import silence_libraries

JUNGLE = "Astronaut in a jungle, cold color palette, muted colors, detailed, 8k"
WIZARD = "cat wizard, gandalf, lord of the rings, detailed, fantasy, cute, adorable, Pixar, Disney, 8k"
UGLY = "ugly, deformed, disfigured, poor details, bad anatomy"
START = sample(3_000_110)
GPU = torch.cuda.is_available()
TXT2IMG = "StableDiffusionPipeline"
IMG2IMG = "StableDiffusionImg2ImgPipeline"
KANDINSKY = "KandinskyV22Img2ImgCombinedPipeline"
XL = "StableDiffusionXLImg2ImgPipeline"

Step = tuple[str, str, dict[str, Any]]
"""A model, diffusers' class for it, and the call's arguments; the picture is the step's before where there is one.

A list in the place of an argument is what the section shows side by side.
"""
SECTIONS: dict[str, list[Step]] = {
    "quick start": [("kandinsky22", KANDINSKY, {"prompt": WIZARD})],
    "stable diffusion v1.5": [("sd15", IMG2IMG, {"prompt": JUNGLE})],
    "stable diffusion xl": [("sdxl-refiner", XL, {"prompt": JUNGLE, "strength": 0.5})],
    "kandinsky 2.2": [("kandinsky22", KANDINSKY, {"prompt": JUNGLE})],
    "strength": [("sd15", IMG2IMG, {"prompt": JUNGLE, "strength": [0.8, 0.4, 0.6, 1.0]})],
    "guidance scale": [("sd15", IMG2IMG, {"prompt": JUNGLE, "guidance_scale": [8.0, 0.1, 5.0, 10.0]})],
    "negative prompt": [("sdxl-refiner", XL, {"prompt": JUNGLE, "negative_prompt": [UGLY, "jungle"]})],
    "text to image to image": [
        ("sd15", TXT2IMG, {"prompt": JUNGLE}),
        ("kandinsky22", KANDINSKY, {"prompt": JUNGLE}),
    ],
    "image to image to image": [
        ("sd15", IMG2IMG, {"prompt": JUNGLE}),
        ("comic", IMG2IMG, {"prompt": "Astronaut in a jungle, charliebo artstyle"}),
        ("pixel-art", IMG2IMG, {"prompt": "Astronaut in a jungle, pixelartstyle"}),
    ],
    "image to upscaler to super-resolution": [
        ("sd15", IMG2IMG, {"prompt": JUNGLE}),
        ("x2-upscaler", "StableDiffusionLatentUpscalePipeline", {"prompt": JUNGLE}),
        ("x4-upscaler", "StableDiffusionUpscalePipeline", {"prompt": JUNGLE}),
    ],
    "prompt weighting": [("sd15", IMG2IMG, {"prompt": "Astronaut++ in a jungle-", "weighting": "compel"})],
    "controlnet": [
        ("sd15", "StableDiffusionControlNetImg2ImgPipeline", {"prompt": JUNGLE}),
        ("elden-ring", IMG2IMG, {"prompt": "elden ring style astronaut in a jungle", "negative_prompt": UGLY, "strength": 0.45}),
    ],
}


def _calls(call: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one call for each value of the argument that is a list."""
    several = next((name for name, value in call.items() if isinstance(value, list)), None)
    return [call] if several is None else [{**call, several: value} for value in call[several]]


def _weighed(pipeline: Any, call: dict[str, Any]) -> dict[str, Any]:
    """Encode the prompts with Compel, as the guide does."""
    import compel

    encode = compel.CompelForSD(pipeline)(call["prompt"])
    return {"prompt_embeds": encode.embeds, "negative_prompt_embeds": encode.negative_embeds}


@dataclass(frozen=True)
class Ground:
    """What both ways run on: a folder of checkpoints, or those in the package, and pictures of a side in pixels."""

    folder: Path | None
    side: int

    def checkpoint(self, name: str) -> Path:
        """Return where a checkpoint's files are."""
        return self.folder / name.replace("controlnet-depth", "controlnet") if self.folder else embedded.path(name)

    @property
    def size(self) -> dict[str, int]:
        """Return what a call without an initial picture is told."""
        return {"width": self.side, "height": self.side}

    def pictures(self, section: str) -> tuple[Image.Image, Image.Image]:
        """Return a section's initial picture and its depth; one that is enlarged eightfold begins at half the side."""
        side = self.side // 2 if "upscaler" in section and self.side > 128 else self.side
        return START.image.resize((side, side)), START.depth.convert("RGB").resize((side, side))


def _loaded(pipeline_class: str, where: Path, components: dict[str, Any]) -> Any:
    """Load as the guide does, which sends what is not at work to RAM."""
    half: dict[str, Any] = {"dtype": torch.float16} if GPU else {}
    pipeline = getattr(diffusers, pipeline_class).from_pretrained(where, **half, **components)
    pipeline.set_progress_bar_config(disable=True)
    if GPU:
        pipeline.enable_model_cpu_offload()
    return pipeline


def by_hand(ground: Ground, steps_of_all: dict[str, int]) -> tuple[float, int]:
    """Run every section as the guide does, loading at every step; return seconds and loads."""
    loads, started = 0, time.perf_counter()
    half: dict[str, Any] = {"dtype": torch.float16} if GPU else {}
    for section, steps in SECTIONS.items():
        image, depth = ground.pictures(section)
        for model, pipeline_class, call in steps:
            components = {}
            if "ControlNet" in pipeline_class:
                where = ground.checkpoint("controlnet-depth")
                components["controlnet"] = diffusers.ControlNetModel.from_pretrained(where, **half)
            pipeline = _loaded(pipeline_class, ground.checkpoint(model), components)
            loads += 1 + len(components)
            given = {} if pipeline_class == TXT2IMG else {"image": image}
            given |= {"control_image": depth} if components else {}
            given |= ground.size if model == "kandinsky22" or pipeline_class == TXT2IMG else {}
            for one in _calls(call):
                asked = _weighed(pipeline, one) if "weighting" in one else one
                made = pipeline(generator=torch.Generator("cpu").manual_seed(7), **given, **asked, **steps_of_all).images[0]
            image = made
    return time.perf_counter() - started, loads


def through_cells(ground: Ground, steps_of_all: dict[str, int]) -> tuple[float, int]:
    """Run every section through one session; return seconds and loads."""
    loads: list[str] = []
    load = loading.load

    def counted(checkpoint: Any, *rest: Any) -> Any:
        loads.append(checkpoint.name)
        return load(checkpoint, *rest)

    loading.load = counted
    started = time.perf_counter()
    net = str(ground.checkpoint("controlnet-depth")) if ground.folder else "depth"
    for section, steps in SECTIONS.items():
        recipes = []
        start, depth = ground.pictures(section)
        for number, (model, pipeline_class, call) in enumerate(steps):
            image = ground.size if pipeline_class == TXT2IMG else {"image": start} if number == 0 else {}
            control = {"controlnet": net, "control_image": depth} if "ControlNet" in pipeline_class else {}
            control |= {"checkpoint": str(ground.checkpoint(model))} if ground.folder else {}
            several = {name: value for name, value in call.items() if isinstance(value, list)}
            single = {name: value for name, value in call.items() if name not in several}
            recipes.append(nbdiffuse.Recipe(model=model, seed=7, **image, **control, **single, **steps_of_all))
            if several:
                nbdiffuse.sweep(recipes.pop(), **several).run()
        if recipes:
            nbdiffuse.run(nbdiffuse.Chain(tuple(recipes)) if len(recipes) > 1 else recipes[0])
    return time.perf_counter() - started, len(loads)


def main() -> None:
    """Run both ways in processes of their own and print seconds, loads and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, help="num_inference_steps of every call, in place of the pipelines' own")
    parser.add_argument("--full-size", action="store_true", help="on a GPU, with checkpoints as large as the originals")
    parser.add_argument("--small", action="store_true", help="with those of an eighth of the widths, anywhere")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    steps_of_all = {"num_inference_steps": asked.steps} if asked.steps else {}
    if asked.full_size and not GPU:
        sys.stdout.write("No GPU is here. `--small` shows that the script works.\n")
    elif asked.only:
        silence_libraries()
        ground = Ground(asked.folder, 512 if asked.full_size else 128)
        seconds, loads = {"hand": by_hand, "cells": through_cells}[asked.only](ground, steps_of_all)
        sys.stdout.write(json.dumps([seconds, loads]) + "\n")
    else:
        with tempfile.TemporaryDirectory() as folder:
            _compare([*sys.argv[1:], *_written(Path(folder), asked.full_size, asked.small)])


def _written(folder: Path, full: bool, small: bool) -> list[str]:
    """Write the checkpoints that were asked for, and return the option that names their folder."""
    for name in full_size.MAKERS if full or small else ():
        full_size.write(name, folder, 1 if full else 8, torch.float16 if GPU else torch.float32)
    return ["--folder", str(folder)] if full or small else []


def _compare(options: list[str]) -> None:
    rows = {}
    for way in ("hand", "cells"):
        # What an earlier run left on the disk must not answer for this one.
        with tempfile.TemporaryDirectory() as cache:
            command = [sys.executable, __file__, "--only", way, *options]
            surroundings = {**os.environ, "NBDIFFUSE_CACHE": cache, "NBDIFFUSE_USE": "embedded"}
            done = subprocess.run(command, capture_output=True, text=True, env=surroundings)
            if done.returncode:
                raise RuntimeError(done.stderr)
            rows[way] = json.loads(done.stdout.splitlines()[-1])
    machine = torch.cuda.get_device_name() if GPU else f"CPU, {torch.get_num_threads()} thread(s)"
    lines = [f"{len(SECTIONS)} sections on {machine}, torch {torch.__version__}", "way          seconds  loads"]
    lines += [f"{name:<12} {seconds:7.1f} {loads:6d}" for name, (seconds, loads) in rows.items()]
    lines.append(f"ratio {rows['hand'][0] / rows['cells'][0]:.2f}")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
