"""IP-Adapters: a picture speaks beside the prompt, and the UNet that all recipes share stays as it was."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import adapter_files
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import nbdiffuse
from nbdiffuse import IPAdapter, Recipe, Session, embedded, resolve
from nbdiffuse.cells.options import parse_cell
from nbdiffuse.cells.write import cell_text
from nbdiffuse.engine.batching import ContinuousBatch
from nbdiffuse.errors import CheckpointError, ConsentError, ParameterError
from nbdiffuse.images.picture import Picture
from nbdiffuse.metadata import image_files
from nbdiffuse.recipes.taken_fields import settable
from nbdiffuse.runs import consent

STYLE = Picture.of(Image.new("RGB", (50, 70), "orange"))
OTHER = Picture.of(Image.new("RGB", (64, 64), "navy"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return adapter_files.write_ip_adapters(tmp_path_factory.mktemp("ip") / "files")


@pytest.fixture
def recipe(scene: Any, files: Path) -> Recipe:
    plain = {"ip_adapter": str(files / "sd15" / "plain.safetensors"), "ip_adapter_image": STYLE}
    return Recipe(prompt="a fox", image=scene.image, num_inference_steps=2, seed=7, **plain)


def without(recipe: Recipe) -> Recipe:
    return recipe.replace(ip_adapters=())


def unet_state(session: Session) -> tuple[Any, ...]:
    """Everything that an IP-Adapter could leave in the resident UNet."""

    def look(pipelines: Any) -> tuple[Any, ...]:
        unet = pipelines.components("sd15")["unet"]
        weights = b"".join(value.numpy().tobytes() for value in unet.state_dict().values())
        processors = [(name, id(one)) for name, one in unet.attn_processors.items()]
        forward = {"forward", "encoder_hid_proj"} & set(unet._modules) | ({"forward"} & set(vars(unet)))
        return weights, processors, unet.encoder_hid_proj, unet.config.encoder_hid_dim_type, forward, list(unet.state_dict())

    return session.with_pipelines(look)


def together(session: Session, recipes: list[Recipe]) -> dict[int, Any]:
    outcomes: dict[int, Any] = {}

    def work(pipelines: Any) -> None:
        batch = ContinuousBatch(session._ready_engine(), recipes, lambda *_: None, outcomes.__setitem__, threading.Event())
        batch.run()

    session.with_pipelines(work)
    return outcomes


def test_the_base_keeps_its_bytes_and_its_attention(recipe: Recipe, session: Session) -> None:
    before, base = session.run(without(recipe)), unet_state(session)
    changed = session.run(recipe)
    assert changed.image.tobytes() != before.image.tobytes()
    assert unet_state(session) == base
    assert session.run(without(recipe)).image.tobytes() == before.image.tobytes()


def test_a_run_that_fails_inside_the_unet_leaves_it_as_it_was(recipe: Recipe, session: Session) -> None:
    session.run(without(recipe))
    base = unet_state(session)

    def fail(*_: Any) -> None:
        raise RuntimeError("as a device fails")

    unet = session.with_pipelines(lambda pipelines: pipelines.components("sd15")["unet"])
    handle = unet.mid_block.register_forward_pre_hook(fail)
    try:
        with pytest.raises(Exception, match="as a device fails"):
            session.run(recipe)
    finally:
        handle.remove()
    assert unet_state(session) == base


def test_at_scale_0_the_picture_is_not_seen(recipe: Recipe, session: Session) -> None:
    none = session.run(recipe.replace(ip_adapter_scale=0.0))
    other = session.run(recipe.replace(ip_adapter_scale=0.0, ip_adapter_image=OTHER))
    assert none.image.tobytes() == other.image.tobytes() != session.run(recipe).image.tobytes()


def test_only_runs_with_the_same_adapter_and_scale_share_calls(recipe: Recipe, session: Session) -> None:
    scales = [recipe, recipe.replace(ip_adapter_scale=0.5), without(recipe), recipe.replace(ip_adapter_image=OTHER)]
    complete = [resolve(one) for one in scales]
    outcomes = together(session, complete)
    for index, one in enumerate(complete):
        near = torch.tensor(list(outcomes[index].image.tobytes())).float() - torch.tensor(list(session.run(one).image.tobytes()))
        assert near.abs().max() <= 2, index
    assert outcomes[0].fingerprint["batch"] == outcomes[3].fingerprint["batch"] == "4 rows"
    alone = together(session, [complete[1], complete[2]])
    assert alone[0].image.tobytes() == session.run(complete[1]).image.tobytes()


def test_the_file_may_be_written_again(recipe: Recipe, session: Session, files: Path, tmp_path: Path) -> None:
    held, pictures, marks = tmp_path / "one.safetensors", [], []
    for name in ("plain", "second", "plain"):
        save_file(load_file(files / "sd15" / f"{name}.safetensors"), held)
        encoder = str(files / "sd15" / "image_encoder")
        made = session.run(recipe.replace(ip_adapter=str(held), ip_adapter_image_encoder=encoder))
        pictures.append(made.image.tobytes())
        marks.append(made.fingerprint["ip_adapter"])
    assert pictures[0] == pictures[2] != pictures[1] and marks[0] == marks[2] != marks[1]


def test_hashes_of_adapter_and_clip_are_in_the_picture_and_their_folders_are_not(
    recipe: Recipe, session: Session, files: Path, tmp_path: Path
) -> None:
    made = session.run(recipe)
    assert re.fullmatch(r"[0-9a-f]{64}\+[0-9a-f]{64}", made.fingerprint["ip_adapter"])
    file = made.save(tmp_path / "made.png")
    assert str(files).encode() not in file.read_bytes()
    read = image_files.read(file).provenance
    assert read is not None and dict(read.fingerprint) == dict(made.fingerprint)
    assert read.recipe.ip_adapters[0].checkpoint == "plain.safetensors" and read.recipe.ip_adapters[0].scale == 1.0
    with pytest.raises(ConsentError, match=r"the local path 'plain\.safetensors'"), consent.ask([read.recipe], yes=False):
        pass


def test_a_cell_holds_several_and_a_grid_sweeps_the_scale(recipe: Recipe, files: Path) -> None:
    second = IPAdapter(checkpoint=str(files / "sd15" / "second.safetensors"), image=OTHER, scale=0.5, blocks='{"up": 0.5}')
    made = resolve(recipe.replace(ip_adapters=(*recipe.ip_adapters, second, IPAdapter(image=STYLE))))
    words = {
        name: "start" if picture == made.image else "style" if picture == STYLE else "other"
        for name, picture in made.pictures.items()
    }
    head, _, body = cell_text(made, words).partition("\n")
    values = parse_cell("img2img", head.removeprefix("%%img2img "), body).values
    held = {"start": made.image, "style": STYLE, "other": OTHER}
    again = Recipe(**{name: held.get(value, value) if isinstance(value, str) else value for name, value in values.items()})
    assert again.ip_adapters == made.ip_adapters
    assert head.count("--ip-adapter ") == 2 and head.count("--ip-adapter-image ") == 3
    line = "start --ip-adapter a.safetensors --ip-adapter-image style --ip-adapter-scale 0:1:0.5"
    assert parse_cell("img2img", line, "a fox").axes["ip_adapter_scale"] == (0, 0.5, 1)
    assert {"ip_adapter_image", "ip_adapters.2.checkpoint"} <= set(settable(resolve(recipe)))


def test_a_grid_of_scales_equals_its_runs(recipe: Recipe, session: Session) -> None:
    grid = nbdiffuse.sweep(recipe, ip_adapter_scale=[0.25, 0.75])
    for cell in grid:
        near = torch.tensor(list(cell.image.tobytes())).float() - torch.tensor(list(session.run(cell.recipe).image.tobytes()))
        assert near.abs().max() <= 2


@pytest.mark.parametrize(
    "change, line",
    [
        ({"ip_adapter_image": None}, "^`ip_adapter_image` must be given with `ip_adapter`"),
        ({"ip_adapter": None}, "^`ip_adapter` must be given with `ip_adapter_image`"),
        ({"ip_adapter_scale": 3}, "^`ip_adapter_scale` must be"),
        ({"ip_adapter_blocks": "colours"}, "^`ip_adapter_blocks` must be blocks of the UNet"),
        ({"ip_adapter_blocks": '{"up": {"block_0": ["x"]}}'}, "^`ip_adapter_blocks` must be blocks of the UNet"),
        ({"model": "kandinsky22"}, r"^`ip_adapter\w*` is not taken by kandinsky22"),
    ],
    ids=str,
)
def test_what_cannot_run_is_refused_before_anything_is_loaded(change: dict[str, Any], line: str, recipe: Recipe) -> None:
    with pytest.raises(ParameterError, match=line) as caught:
        resolve(recipe.replace(**change))
    assert "\n" not in str(caught.value)


def test_what_does_not_fit_is_named_in_one_line(recipe: Recipe, session: Session, files: Path, tmp_path: Path) -> None:
    plain = load_file(files / "sd15" / "plain.safetensors")
    encoder = str(files / "sd15" / "image_encoder")
    wide = {key: torch.ones(value.shape[0], 768) if "_ip." in key else value for key, value in plain.items()}
    broken = {
        "wide": (wide, "does not fit sd15: it was trained on Stable Diffusion 1, whose text is 768 wide"),
        "lora": ({"unet.a.lora_up.weight": torch.ones(2)}, "is no IP-Adapter: it seems to be a LoRA"),
        "nan": ({**plain, "image_proj.proj.weight": plain["image_proj.proj.weight"] * torch.nan}, "values that are no numbers"),
        "few": ({key: value for key, value in plain.items() if "ip_adapter.1." not in key}, "does not fit sd15"),
        "other clip": (
            adapter_files.ip_adapter(_unet(), 1, clip=32),
            "looks with a CLIP whose `projection_dim` is 32, and that of",
        ),
    }
    for name, (state, line) in broken.items():
        save_file(state, tmp_path / f"{name}.safetensors")
        with pytest.raises(CheckpointError, match=line) as caught:
            session.run(recipe.replace(ip_adapter=str(tmp_path / f"{name}.safetensors"), ip_adapter_image_encoder=encoder))
        assert "\n" not in str(caught.value)
    (tmp_path / "alone").mkdir()
    save_file(plain, tmp_path / "alone" / "plain.safetensors")
    with pytest.raises(CheckpointError, match="No image encoder whose `projection_dim` is 40"):
        session.run(recipe.replace(ip_adapter=str(tmp_path / "alone" / "plain.safetensors")))
    with pytest.raises(CheckpointError, match="names blocks that this UNet does not have"):
        session.run(recipe.replace(ip_adapter_blocks='{"down": {"block_0": [1.0, 1.0, 1.0, 1.0]}}'))
    with pytest.raises(CheckpointError, match=r"not the vision part of a CLIP|is a whole pipeline"):
        session.run(recipe.replace(ip_adapter_image_encoder="sd15"))


def _unet() -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel.from_pretrained(embedded.path("sd15") / "unet")


def test_one_of_the_hub_brings_the_clip_that_fits(
    hub: Any, recipe: Recipe, session: Session, files: Path, tmp_path: Path
) -> None:
    adapter_files.vision(tmp_path / "wide", projected=64)
    content = {"sdxl_models/plain.safetensors": (files / "sd15" / "plain.safetensors").read_bytes()}
    for folder, directory in (("sdxl_models", tmp_path / "wide"), ("models", files / "sd15" / "image_encoder")):
        content |= {f"{folder}/image_encoder/{one.name}": one.read_bytes() for one in directory.iterdir()}
    hub.add("h94/IP-Adapter", content)
    made = session.run(recipe.replace(ip_adapter="h94/IP-Adapter/sdxl_models/plain.safetensors"))
    assert made.image.tobytes() == session.run(recipe).image.tobytes()
    assert "sdxl_models/image_encoder/model.safetensors" not in hub.fetched(".safetensors")


def test_a_mask_says_where_the_picture_counts_and_its_run_shares_no_call(recipe: Recipe, session: Session) -> None:
    left = Image.new("L", (128, 128))
    left.paste(255, (0, 0, 64, 128))
    masked = recipe.replace(ip_adapter_mask=left)
    made = session.run(masked)
    assert made.image.tobytes() not in (session.run(recipe).image.tobytes(), session.run(without(recipe)).image.tobytes())
    unet = session.with_pipelines(lambda pipelines: pipelines.components("sd15")["unet"])
    rows: list[int] = []
    handle = unet.conv_in.register_forward_pre_hook(lambda module, args: rows.append(args[0].shape[0]))
    try:
        outcomes = together(session, [resolve(masked), resolve(recipe), resolve(masked.replace(seed=8))])
    finally:
        handle.remove()
    assert set(rows) == {2}
    near = torch.tensor(list(outcomes[0].image.tobytes())).float() - torch.tensor(list(made.image.tobytes()))
    assert near.abs().max() <= 2
