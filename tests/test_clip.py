"""Clips: all frames of a film in one call of AnimateDiff, byte for byte that of diffusers, on every surface."""

from __future__ import annotations

import runpy
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from test_films import write_gif

import nbdiffuse
from nbdiffuse import Recipe, embedded
from nbdiffuse.batches import films
from nbdiffuse.command_line.main import main
from nbdiffuse.errors import CheckpointError, ImageInputError, Interrupted, NbdiffuseError, ParameterError
from nbdiffuse.metadata import image_files
from nbdiffuse.runs.program import script_of

RECIPE = Recipe(prompt="a cat in the snow", num_inference_steps=4, strength=0.5, seed=7, width=64, height=64)
SIZE = "-n 4 -s 0.5 --seed 7 --width 64 --height 64"


def adapter(folder: Path, **more: Any) -> Path:
    """Write a motion adapter with random weights for the embedded UNet."""
    import diffusers

    unet = diffusers.UNet2DConditionModel.load_config(embedded.path("sd15") / "unet")
    given: dict[str, Any] = {
        "block_out_channels": tuple(unet["block_out_channels"]),
        "motion_layers_per_block": unet["layers_per_block"],
        "motion_num_attention_heads": 2,
        "motion_norm_num_groups": unet["norm_num_groups"],
        "motion_max_seq_length": 6,
        "use_motion_mid_block": False,
        **more,
    }
    torch.manual_seed(0)
    diffusers.MotionAdapter(**given).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def motion(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(adapter(tmp_path_factory.mktemp("adapters") / "motion"))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_gif(tmp_path / "clip.gif", count=4)


def test_a_clip_is_one_call_of_diffusers_pipeline_and_its_program_makes_the_same(
    clip: Path, motion: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import diffusers

    how = {"film": tmp_path / "made.gif", "motion_adapter": motion}
    made = nbdiffuse.batch(RECIPE, clip, **how, measure=["flicker"]).run()
    base = diffusers.StableDiffusionImg2ImgPipeline.from_pretrained(embedded.path("sd15"))
    pipeline = diffusers.AnimateDiffVideoToVideoPipeline.from_pipe(
        base, motion_adapter=diffusers.MotionAdapter.from_pretrained(motion)
    )
    pipeline.set_progress_bar_config(disable=True)
    film = films.film_of(clip, "all")
    values = {"num_inference_steps": 4, "strength": 0.5, "height": 64, "width": 64}
    raw = pipeline(
        video=[film.frame(number).convert("RGB") for number in film.chosen],
        prompt="a cat in the snow",
        generator=torch.Generator("cpu").manual_seed(7),
        **values,
    ).frames[0]
    files = [made.folder / row["file"] for row in made.records()]
    frames = [Image.open(file).tobytes() for file in files]
    assert frames == [frame.tobytes() for frame in raw]
    plain = nbdiffuse.get_session().run(RECIPE.replace(image=film.frame(0)))
    assert plain.image.tobytes() != frames[0], "frames see each other"
    # By itself a frame cannot be made again, and says so.
    assert image_files.read(files[0]).provenance is None and len(films.film_of(tmp_path / "made.gif").times) == 4
    script = script_of(made)
    script.save(tmp_path / "program.py")
    monkeypatch.chdir(tmp_path)
    runpy.run_path("program.py")
    assert [Image.open(name).tobytes() for name in script.results] == frames
    assert nbdiffuse.program(made) == script.text
    again = nbdiffuse.batch(RECIPE, clip, **how).run()
    assert {row["state"] for row in again.records()} == {"kept"}
    files[2].unlink()
    whole = nbdiffuse.batch(RECIPE, clip, **how).run()
    assert {row["state"] for row in whole.records()} == {"made"} and [Image.open(file).tobytes() for file in files] == frames
    with pytest.raises(ParameterError, match="folder without another batch"):
        nbdiffuse.batch(RECIPE, clip, film=tmp_path / "made.gif")


def test_what_does_not_fit_is_a_line(clip: Path, motion: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film = {"film": tmp_path / "x.gif", "motion_adapter": motion}
    mask = Image.new("L", (64, 64), 255)
    for recipe, how, line in (
        (RECIPE, {"film": None, "folder": tmp_path / "x"}, "`motion_adapter` must be given with a film"),
        (RECIPE, {"carry": 0.3}, "and without carry"),
        (RECIPE, {"prompts": ["a", "b"]}, "`motion_adapter` must be given frames and one value of each field"),
        (RECIPE, {"executor": "dask"}, "`executor` must be left out with `motion_adapter`"),
        (RECIPE.replace(model="sdxl"), {}, "`motion_adapter` is not taken by sdxl"),
        (RECIPE.replace(mask_image=mask), {}, "`mask_image` must be left out with `motion_adapter`"),
        (RECIPE.replace(strength=None, noise=0.5), {}, "`noise` must be left out with `motion_adapter`"),
    ):
        with pytest.raises(ParameterError) as refused:
            nbdiffuse.batch(recipe, clip, **{**film, **how})
        assert line in str(refused.value) and "\n" not in str(refused.value)
    other = str(adapter(tmp_path / "other", block_out_channels=(32, 64), motion_norm_num_groups=16))
    (tmp_path / "none").mkdir()
    long = write_gif(tmp_path / "long.gif", count=7)
    for images, name, line in (
        (clip, other, "was made for a UNet with blocks of"),
        (clip, str(embedded.path("sd15") / "unet"), "is no motion adapter: its config.json names UNet2DConditionModel"),
        (clip, str(tmp_path / "none"), "none"),
        (long, motion, "must be given at most 6 frames, which it sees at once, got 7. Choose some: `frames` 0:6."),
    ):
        made = nbdiffuse.batch(RECIPE, images, film=tmp_path / f"{Path(name).name}-{images.stem}.gif", motion_adapter=name)
        with pytest.raises(NbdiffuseError) as refused_later:
            made.run()
        assert isinstance(refused_later.value, (CheckpointError, ParameterError)) and line in str(refused_later.value)
        assert "\n" not in str(refused_later.value) and not list(made.folder.glob("*.png"))
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"nothing")
    with pytest.raises(ImageInputError, match=r"a\.png"):
        nbdiffuse.batch(RECIPE, folder, **film).run()


def test_a_stop_ends_a_clip_after_the_step_and_the_next_one_is_as_ever(clip: Path, motion: str, session: Any) -> None:
    from nbdiffuse.engine.clips import redraw_clip

    film = films.film_of(clip, "all")
    frames = [film.frame(number).convert("RGB") for number in film.chosen]
    complete, stop = nbdiffuse.resolve(RECIPE.replace(image=frames[0])), threading.Event()
    first = session.submit_clip(complete, frames, motion).result()
    stop.set()
    with pytest.raises(Interrupted, match="Stopped after step 1 of the clip"):
        session._submit(lambda _: redraw_clip(session._ready_engine(), complete, frames, motion, stop)).result()
    assert [one.tobytes() for one in session.submit_clip(complete, frames, motion).result()] == [one.tobytes() for one in first]


def test_a_cell_and_a_command_redraw_clips(
    kernel: Any, clip: Path, motion: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = kernel.run(
        f"%%img2img {clip} {SIZE} --motion-adapter {motion} --save {tmp_path / 'a.gif'} --out made\na cat in the snow"
    )
    assert outcome.ok, outcome.outputs
    assert kernel.run("print(type(made).__name__, made.missing)").stream.strip() == "ClipBatch 0"
    written = kernel.run("%diffuse script made")
    assert written.ok, written.outputs
    refused = kernel.run(f"%%img2img {clip} {SIZE} --motion-adapter {motion} --save {tmp_path / 'folder'}\na cat")
    assert not refused.ok and "`motion_adapter` must be given with a film" in refused.reply["evalue"]
    monkeypatch.chdir(tmp_path)
    words = ["img2img", "clip.gif", "--prompt", "a cat in the snow", *SIZE.split(), "--motion-adapter", motion, "--out", "b.gif"]
    assert main(words) == 0
    one, other = (sorted((tmp_path / name).glob("*.png")) for name in ("a-frames", "b-frames"))
    assert [Image.open(file).tobytes() for file in one] == [Image.open(file).tobytes() for file in other] and len(one) == 4
