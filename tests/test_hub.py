"""The hub's real client against a hub on loopback: every checkpoint of the guide, its files, its cache, its troubles."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import guide
import pytest
import torch
from hub import Hub
from huggingface_hub import constants

from nbdiffuse import embedded
from nbdiffuse.checkpoints import failures, loading
from nbdiffuse.checkpoints import hub as hub_client
from nbdiffuse.checkpoints import locate as locate_module
from nbdiffuse.checkpoints.locate import locate
from nbdiffuse.errors import CheckpointError

CALLS = [
    ("AutoPipelineForImage2Image", guide.DECODER, {"use_safetensors": True}),
    ("AutoPipelineForImage2Image", "runwayml/stable-diffusion-v1-5", {"variant": "fp16", "use_safetensors": True}),
    ("AutoPipelineForText2Image", "runwayml/stable-diffusion-v1-5", {"variant": "fp16", "use_safetensors": True}),
    ("AutoPipelineForImage2Image", guide.REFINER, {"variant": "fp16", "use_safetensors": True}),
    ("AutoPipelineForImage2Image", guide.COMIC, {}),
    ("AutoPipelineForImage2Image", guide.PIXEL, {}),
    ("AutoPipelineForImage2Image", guide.ELDEN, {}),
    # Published with variant="fp16", which the repository does not have; corrected in diffusers 0.33.
    ("StableDiffusionLatentUpscalePipeline", guide.X2, {"use_safetensors": True}),
    ("StableDiffusionUpscalePipeline", guide.X4, {"variant": "fp16", "use_safetensors": True}),
    ("ControlNetModel", guide.CONTROLNET, {"variant": "fp16", "use_safetensors": True}),
]
CLASSES = {
    guide.SD15: "StableDiffusionPipeline",
    guide.REFINER: "StableDiffusionXLImg2ImgPipeline",
    guide.DECODER: "KandinskyV22CombinedPipeline",
    guide.PRIOR: "KandinskyV22PriorPipeline",
    guide.COMIC: "StableDiffusionPipeline",
    guide.PIXEL: "StableDiffusionPipeline",
    guide.ELDEN: "StableDiffusionPipeline",
    guide.X2: "StableDiffusionLatentUpscalePipeline",
    guide.X4: "StableDiffusionUpscalePipeline",
    guide.CONTROLNET: "ControlNetModel",
}
"""What `loading.load` returns, by id."""


@pytest.fixture
def guide_hub(hub: Hub, guide_repos: dict[str, Path]) -> Hub:
    """The hub with every repository of the guide."""
    for name, place in guide_repos.items():
        hub.add(name, place)
    hub.on_progress["runwayml/stable-diffusion-v1-5"] = guide.SD15
    return hub


def test_the_guides_own_calls_load_every_checkpoint(guide_hub: Hub, tmp_path: Path) -> None:
    code = (
        "import json, sys, torch, diffusers\n"
        "for name, repo, options in json.loads(sys.argv[1]):\n"
        "    made = getattr(diffusers, name).from_pretrained(repo, torch_dtype=torch.float16, **options)\n"
        "    print(type(made).__name__, repo)\n"
    )
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
        "HF_ENDPOINT": guide_hub.url,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    done = subprocess.run([sys.executable, "-c", code, json.dumps(CALLS)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(done.stdout.splitlines()) == len(CALLS)
    assert "KandinskyV22Img2ImgCombinedPipeline" in done.stdout


def parts(loaded: Any) -> dict[str, Any]:
    """Return the models of a pipeline by name, or the model itself."""
    held = {"": loaded} if isinstance(loaded, torch.nn.Module) else loaded.components
    return {name: part for name, part in held.items() if isinstance(part, torch.nn.Module)}


def same_weights(one: Any, other: Any) -> bool:
    mine, theirs = parts(one), parts(other)
    return mine.keys() == theirs.keys() and all(
        torch.equal(tensor, theirs[name].state_dict()[key])
        for name, part in mine.items()
        for key, tensor in part.state_dict().items()
    )


@pytest.mark.parametrize("half", [False, True], ids=["float32", "float16"])
@pytest.mark.parametrize("name", guide.IDS)
def test_every_id_of_the_guide_loads_by_name_and_again_offline(
    name: str, half: bool, guide_hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    dtype = torch.float16 if half else torch.float32
    found = locate(name, half)
    loaded = loading.load(found, dtype)
    assert type(loaded).__name__ == CLASSES[name]
    assert {tensor.dtype for part in parts(loaded).values() for tensor in part.parameters()} == {dtype}
    assert found.verified and found.identity.startswith(f"{name}@{guide_hub.repos[name].commit}")
    junk = (".ckpt", "non_ema.safetensors", "emaonly.safetensors", "other.safetensors")
    assert not [path for path in guide_hub.fetched() if path.endswith(junk)]
    weights = guide_hub.fetched(".safetensors") + guide_hub.fetched(".bin")
    precisions = {".fp16." in path for path in weights}
    assert precisions == {half and name in (guide.SD15, guide.REFINER, guide.X4, guide.CONTROLNET)}
    fetched = len(guide_hub.log)
    assert locate(name, half) == found and guide_hub.fetched(since=fetched) == []
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    fetched = len(guide_hub.log)
    assert locate(name, half) == found and same_weights(loading.load(found, dtype), loaded)
    assert len(guide_hub.log) == fetched


@pytest.mark.parametrize("name", [guide.SD15, guide.COMIC, guide.CONTROLNET])
def test_what_is_loaded_is_what_diffusers_loads(name: str, guide_hub: Hub, guide_repos: dict[str, Path]) -> None:
    import diffusers

    theirs = getattr(diffusers, CLASSES[name]).from_pretrained(guide_repos[name])
    assert same_weights(loading.load(locate(name), torch.float32), theirs)


def test_a_decoder_and_its_prior_are_one_checkpoint(guide_hub: Hub, guide_repos: dict[str, Path]) -> None:
    from diffusers import AutoPipelineForImage2Image

    found = locate(guide.DECODER)
    commits = [guide_hub.repos[name].commit for name in (guide.DECODER, guide.PRIOR)]
    assert found.identity == f"{guide.DECODER}@{commits[0]}+{guide.PRIOR}@{commits[1]}"
    mine = loading.load(found, torch.float32)
    prior = {f"prior_{name}": part for name, part in loading.load(locate(guide.PRIOR), torch.float32).components.items()}
    theirs = AutoPipelineForImage2Image.from_pretrained(_without_card(guide_repos[guide.DECODER]), **prior)
    assert same_weights(mine, theirs)
    alone = locate_module.weights_bytes(locate(guide.PRIOR), 4, False)
    whole = locate_module.weights_bytes(found, 4, False)
    assert whole == alone + sum(t.nbytes for part in (mine.unet, mine.movq) for t in part.state_dict().values())


def _without_card(decoder: Path) -> Path:
    copy = decoder.with_name(f"{decoder.name}-without-card")
    return copy if copy.exists() else Path(shutil.copytree(decoder, copy, ignore=lambda *_: ["README.md"]))


@pytest.mark.parametrize(
    "card",
    ["", "---\nlicense: apache-2.0\n---\n", "---\nprior: []\n---\n", "---\nprior: 3\n---\n", "---\n- prior\n---\n", "no header"],
)
def test_a_decoder_whose_card_names_no_prior_says_what_it_lacks(card: str, hub: Hub, guide_repos: dict[str, Path]) -> None:
    repo = hub.add(guide.DECODER, guide_repos[guide.DECODER])
    hub.add(guide.DECODER, {**repo.files, "README.md": card.encode()})
    with pytest.raises(
        CheckpointError, match=r"is half of a pipeline, and its model card names no prior\. Add `prior:"
    ) as caught:
        locate(guide.DECODER)
    assert "\n" not in str(caught.value)


def test_a_decoder_that_names_itself_or_a_directory_ends(hub: Hub, guide_repos: dict[str, Path]) -> None:
    repo = hub.add(guide.DECODER, guide_repos[guide.DECODER])
    hub.add(guide.DECODER, {**repo.files, "README.md": f"---\nprior: {guide_repos[guide.PRIOR]}\n---\n".encode()})
    with pytest.raises(CheckpointError, match="No checkpoint is called"):
        locate(guide.DECODER)
    hub.add(guide.DECODER, {**repo.files, "README.md": f"---\nprior: {guide.DECODER}\n---\n".encode()})
    with pytest.raises(CheckpointError):
        loading.load(locate(guide.DECODER), torch.float32)


def test_pickled_weights_are_read_as_tensors_and_said(guide_hub: Hub) -> None:
    found = locate(guide.COMIC)
    (line,) = found.notices
    assert "has pickled weights, read by torch's weights-only loader, which runs no code: " in line
    assert "unet/diffusion_pytorch_model.bin" in line and "text_encoder/pytorch_model.bin" in line
    assert locate(guide.SD15).notices == ()


def test_one_pickled_component_among_safetensors_loads_too(hub: Hub, guide_repos: dict[str, Path], tmp_path: Path) -> None:
    mixed = Path(shutil.copytree(guide_repos[guide.SD15], tmp_path / "mixed"))
    for file in (mixed / "text_encoder").glob("*.fp16.*"):
        file.unlink()
    guide.to_bin(mixed / "text_encoder")
    hub.add("artist/mixed", mixed)
    found = locate("artist/mixed", half=True)
    assert [line for line in found.notices if line.endswith("text_encoder/pytorch_model.bin.")]
    assert type(loading.load(found, torch.float16)).__name__ == "StableDiffusionPipeline"


def test_an_id_that_moved_is_followed_and_said(guide_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    known = locate("runwayml/stable-diffusion-v1-5")
    assert known.identity == locate(guide.SD15).identity
    assert known.notices == (f"runwayml/stable-diffusion-v1-5 has moved to {guide.SD15}.",)
    guide_hub.on_progress["artist/old"] = guide.SD15
    unknown = locate("artist/old")
    assert unknown.notices == (f"artist/old is called {guide.SD15} on the hub now.",)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert locate("artist/old").identity == unknown.identity


def test_a_branch_and_a_commit_are_fetched_and_pinned(guide_hub: Hub) -> None:
    commit = guide_hub.repos[guide.SD15].commit
    assert locate(f"{guide.SD15}@{commit}").identity == locate(f"{guide.SD15}@main").identity == f"{guide.SD15}@{commit}"
    assert locate(f"https://huggingface.co/{guide.SD15}/tree/main").identity == f"{guide.SD15}@{commit}"


def test_a_directory_that_is_called_like_a_hub_id_is_said(
    guide_hub: Hub, guide_repos: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(guide_repos[guide.SD15], tmp_path / guide.SD15)
    monkeypatch.chdir(tmp_path)
    (line,) = locate(guide.SD15).notices
    assert line == f"{guide.SD15} is the directory {tmp_path / guide.SD15} here, not the hub's."


UNET = "unet/diffusion_pytorch_model.safetensors"


def test_a_hub_that_cannot_be_reached_leaves_what_is_on_this_disk(guide_hub: Hub) -> None:
    online = locate(guide.SD15)
    guide_hub.close()
    found = locate(guide.SD15)
    assert found.identity == online.identity
    assert found.notices == (
        f"The hub cannot be reached; {guide.SD15} is what this disk has, commit {guide_hub.repos[guide.SD15].commit[:8]}.",
    )


def test_a_hub_that_accepts_and_says_nothing_is_given_up(guide_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_client, "TIMEOUT", 0.3)
    guide_hub.silent = True
    with pytest.raises(CheckpointError, match=f"^{guide.SD15} is not complete on this disk, and the hub cannot be reached"):
        locate(guide.SD15)
    assert guide_hub.log == []


@pytest.mark.parametrize("fault", ["cut once", "flip", "short", "cut", "stall"])
def test_a_body_that_breaks_is_fetched_again_or_named(fault: str, guide_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = {
        "flip": rf"^{UNET} of {guide.SD15} is damaged: its hash is not the hub's. Delete .* and run again\.$",
        "short": rf"^The download of {guide.SD15} broke off: .*Run again: finished files are kept\.$",
    }
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    guide_hub.faults[(guide.SD15, UNET)] = fault
    if fault != "cut once":
        with pytest.raises(CheckpointError, match=lines.get(fault, lines["short"])) as caught:
            locate(guide.SD15)
        assert caught.value.__context__ is None
        guide_hub.faults.clear()
        if fault == "flip":
            Path(str(caught.value).split("Delete ")[1].removesuffix(" and run again.")).unlink()
    else:
        locate(guide.SD15)
    # Files come side by side: when one breaks, others may still be on their way.
    snapshot = next(Path(constants.HF_HUB_CACHE).glob("*/snapshots/*"))
    whole = {file.relative_to(snapshot).as_posix() for file in snapshot.rglob("*.safetensors") if file.is_file()}
    before = len(guide_hub.log)
    loading.load(locate(guide.SD15), torch.float32)
    again = guide_hub.fetched(".safetensors", since=before)
    assert (UNET in again) == (UNET not in whole) == (fault != "cut once")
    assert not whole & set(again), "what was whole is kept"


def gated(hub: Hub) -> str:
    hub.answers[guide.X4] = (401, "GatedRepo", "Access to this model is restricted. You must have access to it.")
    return guide.X4


def forbidden(hub: Hub) -> str:
    hub.answers[guide.X4] = (403, "GatedRepo", "Your request to access this model has been rejected.")
    return guide.X4


def disabled(hub: Hub) -> str:
    hub.answers[guide.X4] = (403, "", "Access to this resource is disabled.")
    return guide.X4


def missing_revision(hub: Hub) -> str:
    return f"{guide.X4}@v9"


def missing_repo(hub: Hub) -> str:
    return "artist/nothing"


def no_layout(hub: Hub) -> str:
    hub.add("artist/old", {"model.ckpt": b"0", "README.md": b"hello"})
    return "artist/old"


def one_file(hub: Hub) -> str:
    hub.add("artist/single", {"style.safetensors": b"0", "README.md": b"hello"})
    return "artist/single"


def missing_file(hub: Hub) -> str:
    return f"{guide.SD15}/nothing.safetensors"


def broken_server(hub: Hub) -> str:
    hub.answers[guide.X4] = (503, "", "Service Unavailable")
    return guide.X4


def missing_weights(hub: Hub) -> str:
    files = dict(hub.repos[guide.X4].files)
    hub.add("artist/part", {name: body for name, body in files.items() if not name.startswith("unet/diff")})
    return "artist/part"


TROUBLES = [
    (gated, rf"^{guide.X4} is gated\. Accept its terms at https://huggingface\.co/{guide.X4}, then run `hf auth login`\.$"),
    (forbidden, rf"^{guide.X4} is gated\. Accept its terms"),
    (disabled, rf"^{guide.X4} was disabled on the hub\. Choose another checkpoint"),
    (missing_repo, r"^The hub has no artist/nothing, or not for you\. Check the name; if it is private, run `hf auth login`\.$"),
    (missing_revision, rf"^{guide.X4} does not have this revision\. Give a branch, tag or commit"),
    (no_layout, r"^artist/old has no model_index\.json, so it is no diffusers checkpoint\. Choose one in diffusers' layout\.$"),
    (one_file, r"^artist/single has no model_index\.json.* Give one of its files: artist/single/style\.safetensors\.$"),
    (missing_file, rf"^{guide.SD15} has no file nothing\.safetensors\.$"),
    (broken_server, rf"^{guide.X4} is not complete on this disk, and the hub cannot be reached\. Connect"),
    (missing_weights, r"unet of artist/part has no weights file|artist/part"),
]


@pytest.mark.parametrize(("make", "line"), TROUBLES, ids=[make.__name__ for make, _ in TROUBLES])
def test_trouble_with_a_real_download_is_one_line_with_the_next_action(make: Any, line: str, guide_hub: Hub) -> None:
    with pytest.raises(CheckpointError, match=line) as caught:
        loading.load(locate(make(guide_hub)), torch.float32)
    assert "\n" not in str(caught.value) and caught.value.__context__ is None


def test_a_disk_that_is_too_small_is_named_before_anything_large_is_fetched(
    guide_hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_client, "free_space", lambda: 100_000)
    monkeypatch.setattr(failures, "free_space", lambda: 100_000)
    with pytest.raises(
        CheckpointError, match=rf"^There is no space for {guide.SD15}, which needs 1\.\d MB: .* has 100\.0 KB free"
    ):
        locate(guide.SD15)
    assert guide_hub.fetched() == ["model_index.json"]


def test_offline_nothing_and_a_part_are_named(guide_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = locate(guide.SD15).directory
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    line = "is not complete on this disk, and the hub cannot be reached. Connect (and unset HF_HUB_OFFLINE), then run again."
    for gone in ("tokenizer/merges.txt", UNET, "unet/config.json"):
        kept = (snapshot / gone).readlink()
        (snapshot / gone).unlink()
        with pytest.raises(CheckpointError) as caught:
            locate(guide.SD15)
        assert str(caught.value) == f"{guide.SD15} {line}"
        (snapshot / gone).symlink_to(kept)
    locate(guide.SD15)
    with pytest.raises(CheckpointError) as caught:
        locate(guide.X4)
    assert str(caught.value) == f"{guide.X4} {line}"


def test_nothing_half_fetched_is_held(guide_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from nbdiffuse.pipelines.pipelines import Pipelines

    pipelines = Pipelines("cpu")
    guide_hub.faults[(guide.SD15, UNET)] = "flip"
    with pytest.raises(CheckpointError, match="is damaged"):
        pipelines.acquire(guide.SD15, "StableDiffusionPipeline", "PNDM")
    assert pipelines.table() == []


def test_a_hub_checkpoint_runs_through_a_session_like_a_raw_call(guide_hub: Hub, guide_repos: dict[str, Path]) -> None:
    from diffusers import StableDiffusionImg2ImgPipeline

    from nbdiffuse.pipelines.pipelines import Pipelines

    scene = embedded.world.sample(3_000_003).image
    mine = Pipelines("cpu").acquire(guide.SD15, "StableDiffusionImg2ImgPipeline", "PNDM")
    theirs = StableDiffusionImg2ImgPipeline.from_pretrained(guide_repos[guide.SD15])
    images = []
    for pipeline in (mine, theirs):
        pipeline.set_progress_bar_config(disable=True)
        generator = torch.Generator("cpu").manual_seed(1)
        images.append(pipeline("a cat", image=scene, num_inference_steps=4, generator=generator).images[0].tobytes())
    assert images[0] == images[1]
