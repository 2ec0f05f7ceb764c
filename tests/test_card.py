"""What happens on a GPU, seen on a card that is none: the right device everywhere, memory in bounds, the same pixels."""

from __future__ import annotations

import gc
import json
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import card
import diffusers
import numpy as np
import pytest
import tiny
import torch

import nbdiffuse
from nbdiffuse import Recipe, Session, embedded
from nbdiffuse.devices.memory import free_bytes
from nbdiffuse.devices.optimizations import Optimizations
from nbdiffuse.errors import DeviceMemoryError, RunError
from nbdiffuse.library_logging import silence_libraries
from nbdiffuse.pipelines import scorers
from nbdiffuse.pipelines.pipelines import Pipelines
from nbdiffuse.recipes import weights_source
from nbdiffuse.runs.grid import Grid
from nbdiffuse.runs.latent_transfer import LATENTS
from nbdiffuse.sessions.remote import Devices
from nbdiffuse.sweeps.sweep import Sweep

# A build with kernels for GPUs has its own for what `card` registers.
pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or torch.backends.cuda.is_built(), reason="the card stands in where torch is built for CPUs, on Linux"
)
PROMPT = "Astronaut in a jungle, cold color palette, muted colors, detailed, 8k"
GPU = "cuda:0"
IMG2IMG = "StableDiffusionImg2ImgPipeline"


@pytest.fixture(scope="module", autouse=True)
def plugged_in() -> Iterator[card.Cards]:
    # Where there is a GPU, names stand for the hub's checkpoints.
    weights_source.use("embedded")
    # What the libraries made is not looked at again by every collection that follows.
    gc.collect()
    gc.freeze()
    with pytest.MonkeyPatch.context() as patch, card.plugged_in(patch, count=2) as cards:
        yield cards
    gc.unfreeze()
    weights_source.use(None)


@pytest.fixture
def cards(plugged_in: card.Cards) -> Iterator[card.Cards]:
    """Two empty cards with plenty of memory."""
    gc.collect()
    assert not any(plugged_in.taken.values()), "the test before left something on a card"
    plugged_in.peak.clear()
    yield plugged_in
    plugged_in.size = card.PLENTY


@pytest.fixture
def gpu(cards: card.Cards) -> Iterator[Session]:
    session = Session(GPU)
    yield session
    session.with_pipelines(lambda pipelines: pipelines.unload())


@pytest.fixture
def recipe(scene: Any) -> Recipe:
    return Recipe(prompt=PROMPT, image=scene.image, num_inference_steps=3, seed=7)


@pytest.fixture(scope="module")
def plain(plugged_in: card.Cards, scene: Any) -> bytes:
    """Pixels of `recipe` where there is plenty of memory."""
    session = Session(GPU)
    pixels = session.run(Recipe(prompt=PROMPT, image=scene.image, num_inference_steps=3, seed=7)).image.tobytes()
    session.with_pipelines(lambda pipelines: pipelines.unload())
    return pixels


@pytest.fixture
def small(recipe: Recipe, scene: Any) -> Recipe:
    """A quarter of the pixels, for tests that count no bytes: half precision is slow on a CPU."""
    return recipe.replace(image=scene.image.resize((64, 64)))


def move(session: Session, name: str, value: str) -> None:
    session.with_pipelines(lambda pipelines: pipelines.set_optimization(name, value))


def weights(session: Session) -> int:
    return sum(row.size for row in session.with_pipelines(lambda pipelines: pipelines.table()))


def where(session: Session) -> dict[str, str]:
    return {row.checkpoint: row.device for row in session.with_pipelines(lambda pipelines: pipelines.table())}


def test_the_card_refuses_what_a_gpu_refuses(cards: card.Cards) -> None:
    there, here = torch.ones(3).to(GPU), torch.ones(3)
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        there + here
    with pytest.raises(TypeError, match="can't convert cuda:0"):
        there.numpy()
    assert (there * torch.tensor(2.0)).cpu().tolist() == [2, 2, 2]
    cards.size = 100
    with pytest.raises(torch.OutOfMemoryError):
        torch.zeros(100, device=GPU)
    del there
    assert not cards.taken[0]


FAMILIES: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "sd15 txt2img": ("sd15", "StableDiffusionPipeline", {"width": 64, "height": 64}, {}),
    "sd15 img2img": ("sd15", IMG2IMG, {"strength": 0.6, "negative_prompt": "jungle"}, {}),
    "sd15 inpainting": ("sd15", "StableDiffusionInpaintPipeline", {"mask_image": "mask"}, {"width": 64, "height": 64}),
    "sd15 ControlNet": ("sd15", "StableDiffusionControlNetImg2ImgPipeline", {"control_image": "depth"}, {}),
    "comic": ("comic", IMG2IMG, {}, {}),
    "sdxl txt2img": ("sdxl", "StableDiffusionXLPipeline", {"width": 64, "height": 96}, {}),
    "sdxl img2img": ("sdxl", "StableDiffusionXLImg2ImgPipeline", {"strength": 0.5}, {}),
    "refiner": ("sdxl-refiner", "StableDiffusionXLImg2ImgPipeline", {"strength": 0.5, "negative_prompt": "jungle"}, {}),
    "kandinsky txt2img": (
        "kandinsky22",
        "KandinskyV22CombinedPipeline",
        {"width": 64, "height": 64, "prior_num_inference_steps": 2},
        {},
    ),
    "kandinsky img2img": (
        "kandinsky22",
        "KandinskyV22Img2ImgCombinedPipeline",
        {"strength": 0.6, "prior_num_inference_steps": 2, "negative_prompt": "ugly"},
        {"width": 64, "height": 64},
    ),
    "x2": ("x2-upscaler", "StableDiffusionLatentUpscalePipeline", {"guidance_scale": 3.0}, {}),
    "x4": ("x4-upscaler", "StableDiffusionUpscalePipeline", {"noise_level": 50}, {}),
    "x2 embedded": ("x2-upscaler", "StableDiffusionLatentUpscalePipeline", {"guidance_scale": 3.0}, {}),
    "x4 embedded": ("x4-upscaler", "StableDiffusionUpscalePipeline", {"noise_level": 50}, {}),
}
# Half precision takes a CPU minutes for an upscaler of the package: every time it is one with fewer channels.
ALL = [pytest.param(name, marks=[pytest.mark.slow] if "embedded" in name else []) for name in FAMILIES]
OFFLOADED = ("sd15 ControlNet", "refiner", "kandinsky img2img", "x2", "x4", "x2 embedded", "x4 embedded")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Return where a family's weights are."""
    folder = tmp_path_factory.mktemp("upscalers")
    narrow = {name: tiny.write(f"{name}-upscaler", folder) for name in ("x2", "x4")}
    return lambda family: str(narrow.get(family) or embedded.path(FAMILIES[family][0]))


def asked(family: str, scene: Any, checkpoint: Callable[[str], str]) -> tuple[Recipe, dict[str, Any]]:
    """Return a recipe and the same as arguments of the raw call."""
    model, _, values, sizes = FAMILIES[family]
    pictures = {name: getattr(scene, value).convert("RGB") for name, value in values.items() if value in ("mask", "depth")}
    # A quarter of a scene's pixels: half precision is slow on a CPU.
    start, pictures = scene.image.resize((64, 64)), {name: one.resize((64, 64)) for name, one in pictures.items()}
    given = {**({} if "txt2img" in family else {"image": start}), **values, **pictures, "num_inference_steps": 2}
    control = {"controlnet": "depth"} if "ControlNet" in family else {}
    raw = {"mask_overlay": "none"} if "mask_image" in values else {}
    named = {"checkpoint": checkpoint(family)} if family in ("x2", "x4") else {}
    return Recipe(prompt=PROMPT, model=model, seed=7, **given, **control, **raw, **named), {**given, **sizes}


@pytest.mark.parametrize("family", ALL)
def test_pixels_equal_the_raw_call_on_the_gpu_and_only_weights_stay(
    family: str, gpu: Session, cards: card.Cards, scene: Any, checkpoint: Callable[[str], str]
) -> None:
    mine, arguments = asked(family, scene, checkpoint)
    made = gpu.run(mine)
    assert made.fingerprint["device"] == "cuda" and made.fingerprint["dtype"] == "float16"
    gc.collect()
    # Schedulers that a checkpoint keeps hold some timesteps there.
    assert weights(gpu) <= cards.taken[0] <= weights(gpu) + 8192
    pipeline = FAMILIES[family][1]
    half: dict[str, Any] = {"dtype": torch.float16}
    parts = dict(half)
    if "ControlNet" in family:
        parts["controlnet"] = diffusers.ControlNetModel.from_pretrained(embedded.path("controlnet-depth"), **half)
    raw = getattr(diffusers, pipeline).from_pretrained(checkpoint(family), **parts).to(GPU)
    raw.set_progress_bar_config(disable=True)
    theirs = raw(PROMPT, generator=torch.Generator("cpu").manual_seed(7), **arguments).images[0]
    assert made.image.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("family", [one for one in ALL if one.values[0] in OFFLOADED])
def test_offloading_changes_no_pixel_and_keeps_to_one_model_or_layer(
    family: str, gpu: Session, cards: card.Cards, scene: Any, checkpoint: Callable[[str], str]
) -> None:
    mine, _ = asked(family, scene, checkpoint)
    pictures, peaks = {}, {}
    for mode in ("none", "model", "sequential"):
        move(gpu, "offload", mode)
        gc.collect()
        cards.peak.clear()
        pictures[mode], peaks[mode] = gpu.run(mine).image.tobytes(), cards.peak[0]
        if mode != "none":
            assert set(where(gpu).values()) == {f"cpu, offload {mode}"}
            gc.collect()
            assert cards.taken[0] < 8192, "the weights are in RAM between runs"
    assert pictures["none"] == pictures["model"] == pictures["sequential"]
    assert peaks["none"] > peaks["model"] > peaks["sequential"] or family == "kandinsky img2img"


def test_a_vae_that_has_encoded_does_not_stay_beside_the_denoiser(gpu: Session, small: Recipe) -> None:
    move(gpu, "offload", "model")
    gpu.run(small)
    parts = gpu.with_pipelines(lambda pipelines: dict(pipelines.components("sd15")))
    seen = set()
    handle = parts["unet"].conv_in.register_forward_pre_hook(
        lambda *call: seen.add(tuple(next(parts[name].parameters()).device.type for name in ("text_encoder", "vae", "unet")))
    )
    gpu.run(small.replace(prompt="a cat", seed=8))
    handle.remove()
    assert seen == {("cpu", "cpu", "cuda")}


def test_a_failure_inside_a_layer_leaves_no_weights_there(gpu: Session, cards: card.Cards, small: Recipe) -> None:
    move(gpu, "offload", "sequential")
    plain = gpu.run(small).image.tobytes()
    parts = gpu.with_pipelines(lambda pipelines: dict(pipelines.components("sd15")))
    layer = parts["unet"].mid_block.resnets[0].conv1

    def fail(*call: Any) -> None:
        raise ValueError("inside a layer")

    handle = layer.register_forward_hook(fail)
    with pytest.raises(RunError, match="inside a layer"):
        gpu.run(small.replace(seed=8))
    handle.remove()
    gc.collect()
    assert cards.taken[0] < 8192
    assert gpu.run(small).image.tobytes() == plain


# sd15 has 15.3 MB of weights, 8.5 of them in the UNet, and its run takes up to 6 MB more.
@pytest.mark.parametrize(
    ("size", "mode", "said"),
    [
        (25_000_000, "cuda:0", []),
        (17_000_000, "cpu, offload model", []),
        (16_500_000, "cpu, offload model", []),
        (11_000_000, "cpu, offload sequential", ["offload sequential"]),
        (5_000_000, "cpu, offload sequential", []),
    ],
)
def test_what_does_not_fit_waits_in_ram_and_the_picture_is_the_same(
    size: int, mode: str, said: Sequence[str], plain: bytes, cards: card.Cards, recipe: Recipe
) -> None:
    small = Session(GPU)
    cards.size = size
    made = small.run(recipe)
    assert made.image.tobytes() == plain and where(small) == {"sd15": mode}
    assert len(made.notices) == len(said)
    for line, words in zip(made.notices, said, strict=True):
        assert line == f"Memory ran out at first, so models that are not active are kept in RAM ({words})."
    assert small.run(recipe.replace(seed=8)).notices == (), "what was found out is remembered"
    small.with_pipelines(lambda pipelines: pipelines.unload())


def test_other_models_leave_before_this_one_is_slowed(gpu: Session, cards: card.Cards, recipe: Recipe) -> None:
    expected = gpu.run(recipe).image.tobytes()
    gpu.run(recipe.replace(model="comic"))
    # Room for both, and for no more than a part of what a run takes besides.
    cards.size = weights(gpu) + 1_000_000
    made = gpu.run(recipe)
    assert made.notices == ("Memory ran out at first, so other models were moved to RAM.",)
    assert made.image.tobytes() == expected and where(gpu) == {"sd15": GPU, "comic": "cpu"}


@pytest.mark.parametrize("optimizations", [{"offload": "none"}, {"offload": "model"}, {}], ids=str)
def test_memory_that_stays_short_is_one_line_with_ways_out_that_help(
    optimizations: dict[str, str], gpu: Session, cards: card.Cards, recipe: Recipe
) -> None:
    for name, value in optimizations.items():
        move(gpu, name, value)
    cards.size = 9_500_000 if optimizations else 2_000_000
    with pytest.raises(DeviceMemoryError) as caught:
        gpu.run(recipe)
    start = r"The memory of cuda:0 ran out at 128x128 pixels; "
    ways = "Give a smaller width and height, free models with `%diffuse unload`, or write `%diffuse optimize offload auto`."
    fewer = "Give a smaller width and height, or free models with `%diffuse unload`."
    assert str(caught.value).startswith(start) and str(caught.value).endswith(ways if optimizations else fewer)
    gc.collect()
    cards.size = card.PLENTY
    assert gpu.run(recipe).image.size == (128, 128)


def test_the_budget_sends_the_least_recently_used_to_ram(gpu: Session, cards: card.Cards, small: Recipe) -> None:
    expected = gpu.run(small).image.tobytes()
    gpu.with_pipelines(lambda pipelines: pipelines.set_budget(20_000_000))
    gpu.run(small.replace(model="comic"))
    assert where(gpu) == {"comic": GPU, "sd15": "cpu"}
    assert gpu.run(small).image.tobytes() == expected
    assert where(gpu) == {"sd15": GPU, "comic": "cpu"}


def test_a_grid_shares_calls_on_the_gpu(gpu: Session, small: Recipe) -> None:
    values = {"strength": [0.5, 1.0], "guidance_scale": [1, 7.5]}
    grid = Grid(Sweep.of(small, **values), session=gpu)
    made = [np.asarray(cell.image, int) for cell in grid]
    assert any("batch" in cell.fingerprint for cell in grid)
    for mine, cell in zip(made, grid, strict=True):
        # Half precision rounds by the shape of a batch.
        assert np.abs(mine - np.asarray(gpu.run(cell.recipe).image, int)).max() <= 4


def test_latents_weights_of_words_and_passes_go_through_the_gpu(gpu: Session, small: Recipe) -> None:
    chain = nbdiffuse.ChainRun(small >> small.replace(model="comic", image=None), session=gpu)
    chain.run()
    assert chain.arrows == [LATENTS]
    weighed = gpu.run(small.replace(prompt="astronaut++ in a jungle-", weighting="compel"))
    assert weighed.image.tobytes() != gpu.run(small).image.tobytes()


def test_each_gpu_has_its_own_models(cards: card.Cards, small: Recipe) -> None:
    with Devices() as devices:
        grid = Grid(Sweep.of(small, seed=range(6)), executor=devices)
        made = [cell.image.tobytes() for cell in grid]
    assert len(set(made)) == 6 and cards.taken[0] == cards.taken[1] > 0
    from nbdiffuse.sessions import remote

    for name in ("cuda:0", "cuda:1"):
        remote._engines.pop(name).pipelines.unload()


def upcasting(name: str, target: Path) -> Path:
    """Copy an embedded checkpoint without its preview's matrix, with a VAE that says of itself what SDXL's says."""
    shutil.copytree(embedded.path(name), target)
    (target / "latent_rgb.json").unlink()
    config = target / "vae" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "force_upcast": True}))
    return target


@pytest.mark.parametrize("mode", ["none", "model", "sequential"])
def test_a_vae_that_needs_float32_gets_it_without_a_word(mode: str, gpu: Session, scene: Any, tmp_path: Path) -> None:
    folder = upcasting("sdxl-refiner", tmp_path / "refiner")
    move(gpu, "offload", mode)
    asked = {"image": scene.image, "num_inference_steps": 2, "strength": 1.0}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", FutureWarning)
        silence_libraries()
        made = gpu.run(Recipe(prompt=PROMPT, model="sdxl-refiner", checkpoint=str(folder), seed=7, **asked))
    assert not [one for one in said if one.category is FutureWarning]
    again = gpu.run(Recipe(prompt=PROMPT, model="sdxl-refiner", checkpoint=str(folder), seed=7, **asked))
    assert made.image.tobytes() == again.image.tobytes() and made.notices == ()
    raw = diffusers.StableDiffusionXLImg2ImgPipeline.from_pretrained(folder, dtype=torch.float16).to(GPU)
    raw.set_progress_bar_config(disable=True)
    assert made.image.tobytes() == raw(PROMPT, generator=torch.Generator("cpu").manual_seed(7), **asked).images[0].tobytes()


@pytest.mark.parametrize("mode", ["none", "model", "sequential"])
def test_previews_are_measured_wherever_the_weights_wait(mode: str, gpu: Session, small: Recipe, tmp_path: Path) -> None:
    bare = upcasting("sd15", tmp_path / "bare")
    move(gpu, "offload", mode)
    seen = []
    made = gpu.run(small.replace(checkpoint=str(bare)), lambda progress: seen.append(progress.preview))
    assert seen[0] is not None
    move(gpu, "offload", "none")
    assert gpu.run(small).image.tobytes() == made.image.tobytes()


def test_scorers_leave_the_gpu_when_they_are_done(cards: card.Cards, scene: Any) -> None:
    device = torch.device(GPU)
    (score,) = scorers.prompt_scores(scorers.EMBEDDED, [("a cat", scene.image)], device)
    gc.collect()
    assert cards.peak[0] > 0 and cards.taken[0] == 0
    (same,) = scorers.prompt_scores(scorers.EMBEDDED, [("a cat", scene.image)], torch.device("cpu"))
    assert score == pytest.approx(same)


def test_a_gpu_without_a_number_is_the_current_one(cards: card.Cards) -> None:
    assert Pipelines("cuda").device == torch.device(GPU)


def test_memory_that_torch_keeps_for_later_is_free(cards: card.Cards, monkeypatch: pytest.MonkeyPatch) -> None:
    before = free_bytes(torch.device(GPU))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: cards.taken[0] + 1000)
    assert free_bytes(torch.device(GPU)) == before + 1000


def test_half_precision_is_for_gpus() -> None:
    kinds = {name: Optimizations().dtype_on(torch.device(name)) for name in ("cpu", GPU)}
    assert kinds == {"cpu": torch.float32, GPU: torch.float16}
