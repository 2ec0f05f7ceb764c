"""LoRA is added to weights of its own: the pixels are those of diffusers' own call, and nothing shared is bent."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import tiny
import torch
from hub import Hub
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from nbdiffuse import Recipe, Session, embedded, resolve
from nbdiffuse.checkpoints import locate
from nbdiffuse.errors import CheckpointError, ParameterError
from nbdiffuse.recipes import lora
from nbdiffuse.recipes.portable import portable_loras
from nbdiffuse.recipes.summary import weights_label

PROMPT = "Astronaut in a jungle, cold color palette, muted colors, detailed, 8k"
LAYERS = ["to_q", "to_k", "to_v", "to_out.0"]


def write_lora(folder: Path, name: str, unet: Any, seed: int, text_encoder: Any = None) -> Path:
    """Train nothing: write a LoRA whose values are drawn, as diffusers saves one."""
    torch.manual_seed(seed)
    states = {}
    for part, model, layers in (("unet", unet, LAYERS), ("text_encoder", text_encoder, ["q_proj", "v_proj"])):
        if model is None:
            continue
        model.add_adapter(LoraConfig(r=4, lora_alpha=8, init_lora_weights="gaussian", target_modules=layers))
        state = get_peft_model_state_dict(model)
        states[f"{part}_lora_layers"] = {key: 0.2 * torch.randn_like(value) for key, value in state.items()}
    diffusers.StableDiffusionPipeline.save_lora_weights(folder, weight_name=name, safe_serialization=True, **states)
    return folder / name


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two LoRA for the embedded base, and one for another architecture."""
    folder = tmp_path_factory.mktemp("lora")
    for seed, name in enumerate(("ink.safetensors", "fog.safetensors")):
        base = diffusers.StableDiffusionPipeline.from_pretrained(embedded.path("sd15"))
        write_lora(folder, name, base.unet, seed, base.text_encoder if seed == 0 else None)
    other = tiny.MAKERS["sdxl-refiner"]()
    write_lora(folder, "other.safetensors", other.unet, 5)
    return folder


@pytest.fixture(scope="module")
def recipe(scene: Any) -> Recipe:
    return Recipe(prompt=PROMPT, image=scene.image, num_inference_steps=4, seed=7)


def by_hand(scene: Any, *added: tuple[Path, float], **parts: float) -> bytes:
    pipeline = diffusers.StableDiffusionImg2ImgPipeline.from_pretrained(embedded.path("sd15"))
    pipeline.set_progress_bar_config(disable=True)
    for file, weight in added:
        pipeline.load_lora_weights(str(file.parent), weight_name=file.name)
        for part, scale in (parts or {"": weight}).items():
            pipeline.fuse_lora(lora_scale=scale, **({"components": [part]} if part else {}))
        pipeline.unload_lora_weights()
    generator = torch.Generator("cpu").manual_seed(7)
    return pipeline(PROMPT, image=scene.image, num_inference_steps=4, generator=generator).images[0].tobytes()


@pytest.mark.parametrize("added", [[("ink", 1.0)], [("ink", 0.5)], [("ink", 0.7), ("fog", -0.4)]], ids=str)
def test_pixels_equal_the_raw_call(
    added: list[tuple[str, float]], files: Path, recipe: Recipe, session: Session, scene: Any
) -> None:
    chosen = [(files / f"{name}.safetensors", weight) for name, weight in added]
    text = lora.JOINT.join(f"{file}:{weight:g}" for file, weight in chosen)
    assert session.run(recipe.replace(lora=text)).image.tobytes() == by_hand(scene, *chosen)


TEXTS = "ink.safetensors:0.7:text_encoder=0.3", "ink.safetensors:text_encoder=0", "ink.safetensors:0:text_encoder=1.5"


@pytest.mark.parametrize("text", TEXTS)
def test_text_encoders_get_a_weight_of_their_own(
    text: str, files: Path, recipe: Recipe, session: Session, scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nbdiffuse.runs.program import script_of
    from nbdiffuse.scripts.checking import check

    monkeypatch.chdir(files)
    one = lora.read(text)[0]
    made = session.run(recipe.replace(lora=text))
    parts = {"unet": one.weight, "text_encoder": one.in_text_encoders}
    assert made.image.tobytes() == by_hand(scene, (files / "ink.safetensors", 1.0), **parts)
    assert lora.read(str(one)) == (one,) and Recipe.from_json(made.recipe.to_json()) == made.recipe
    assert repr(check(script_of(made), made.images)) == "same pixels"


def test_the_weight_of_text_encoders_is_a_place_of_its_own(files: Path, recipe: Recipe) -> None:
    both = [recipe.replace(lora=f"{files}/ink.safetensors:0.7", lora_text_encoder_scale=weight) for weight in (0.3, 0.7)]
    assert both[0] == recipe.replace(lora=f"{files}/ink.safetensors:0.7:text_encoder=0.3")
    found = [
        locate.locate(lora.joined_text("sd15", one.loras)) for one in (*both, recipe.replace(lora=f"{files}/ink.safetensors:0.7"))
    ]
    assert found[0].identity != found[1].identity == found[2].identity


def test_the_base_stays_as_it_was(files: Path, recipe: Recipe, session: Session, scene: Any) -> None:
    before = session.run(recipe)
    changed = session.run(recipe.replace(lora=str(files / "ink.safetensors")))
    after = session.run(recipe)
    assert before.image.tobytes() == after.image.tobytes() == by_hand(scene)
    assert changed.image.tobytes() != before.image.tobytes()
    assert changed.fingerprint["checkpoint"].startswith(before.fingerprint["checkpoint"] + "+")


def test_another_weight_has_another_identity(files: Path, recipe: Recipe, session: Session) -> None:
    marks = {session.fingerprint(resolve(recipe.replace(lora=f"{files}/ink.safetensors:{w}")))["checkpoint"] for w in (0.5, 0.6)}
    assert len(marks) == 2


def test_a_picture_with_lora_says_so_and_names_no_folder(files: Path, recipe: Recipe, session: Session, tmp_path: Path) -> None:
    made = session.run(recipe.replace(lora=f"{files}/ink.safetensors:0.5"))
    assert weights_label(made.recipe) == "sd15 (embedded) + ink.safetensors:0.5"
    made.save(tmp_path / "made.png")
    assert str(files).encode() not in (tmp_path / "made.png").read_bytes()


@pytest.mark.parametrize(
    "text", ["style.ckpt", "style.safetensors:9", "style.safetensors:nan", "style.safetensors:x", "a.safetensors + ", ""]
)
def test_what_is_no_lora_is_refused_before_anything_is_loaded(text: str, recipe: Recipe) -> None:
    with pytest.raises(ParameterError, match=r"^`lora` must be") as caught:
        resolve(recipe.replace(lora=text))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "dtype"), [(torch.nan, torch.float32), (torch.inf, torch.float16), (-torch.inf, torch.bfloat16)]
)
def test_a_lora_with_values_that_are_no_numbers_is_refused_and_the_tensor_named(
    value: float, dtype: torch.dtype, files: Path, recipe: Recipe, session: Session, tmp_path: Path
) -> None:
    state = {key: tensor.to(dtype) for key, tensor in load_file(files / "ink.safetensors").items()}
    key = sorted(state)[5]
    state[key].view(-1)[3] = value
    save_file(state, tmp_path / "broken.safetensors")
    before = session.run(recipe)
    with pytest.raises(
        CheckpointError, match=rf"^The LoRA broken.safetensors has values that are no numbers in {re.escape(key)}\."
    ):
        session.run(recipe.replace(lora=str(tmp_path / "broken.safetensors")))
    assert session.run(recipe).image.tobytes() == before.image.tobytes()


def test_a_drive_letter_is_no_weight() -> None:
    assert lora.read(r"C:\my\style.safetensors") == (lora.Lora(file=r"C:\my\style.safetensors", scale=1.0),)
    assert lora.read(r"C:\my\style.safetensors:0.5") == (lora.Lora(file=r"C:\my\style.safetensors", scale=0.5),)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("ink + fog.safetensors", [("ink + fog.safetensors", 1.0)]),
        ("styles/ink + fog.safetensors:0.5", [("styles/ink", 1.0), ("fog.safetensors", 0.5)]),
        ('"styles/ink + fog.safetensors":0.5', [("styles/ink + fog.safetensors", 0.5)]),
        ("./ink + fog.safetensors:-0.5", [("./ink + fog.safetensors", -0.5)]),
        ("v1:2.safetensors", [("v1:2.safetensors", 1.0)]),
        ("v1:2.safetensors:0.5 + b.safetensors", [("v1:2.safetensors", 0.5), ("b.safetensors", 1.0)]),
        (r"D:\my styles\ink + fog.safetensors:0.5", [(r"D:\my styles\ink + fog.safetensors", 0.5)]),
        ("C:/a/b.safetensors + C:/c + d.safetensors:2", [("C:/a/b.safetensors", 1.0), ("C:/c + d.safetensors", 2.0)]),
        ("latent-consistency/lcm-lora-sdv1-5:0.8", [("latent-consistency/lcm-lora-sdv1-5", 0.8)]),
        ("a/b + c/d/e.safetensors:0.5 + a/b@main", [("a/b", 1.0), ("c/d/e.safetensors", 0.5), ("a/b@main", 1.0)]),
        ('"a:b.safetensors":0.5:text_encoder=0 + b.safetensors', [("a:b.safetensors", 0.5), ("b.safetensors", 1.0)]),
    ],
)
def test_a_joint_or_a_colon_in_a_path_does_not_split_it(text: str, meant: list[tuple[str, float]]) -> None:
    assert [(one.file, one.weight) for one in lora.read(text)] == meant
    assert lora.read(lora.JOINT.join(map(str, lora.read(text)))) == lora.read(text)


def test_a_path_that_exists_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("styles", "a:0.5.safetensors", "x.safetensors + y.safetensors"):
        (tmp_path / name).mkdir() if name == "styles" else (tmp_path / name).touch()
    (tmp_path / "styles" / "ink + fog.safetensors").touch()
    assert lora.read("styles/ink + fog.safetensors:0.5") == (lora.Lora(file="styles/ink + fog.safetensors", scale=0.5),)
    assert lora.read("a:0.5.safetensors") == (lora.Lora(file="a:0.5.safetensors", scale=1.0),)
    assert lora.read("x.safetensors + y.safetensors:0.5") == (lora.Lora(file="x.safetensors + y.safetensors", scale=0.5),)
    assert lora.read("styles:0.5") == (lora.Lora(file="styles", scale=0.5),)
    (tmp_path / "real + vision.safetensors").touch()
    assert lora.split_text("real + vision.safetensors") == ("real + vision.safetensors", ())


@pytest.mark.parametrize("checkpoint", ["sd15", "a + b.safetensors", "C:/a + b/c + d"])
@pytest.mark.parametrize("added", [None, "x.safetensors:0.5", "a/b + c.safetensors"])
def test_a_word_comes_apart_into_what_it_was_made_of(checkpoint: str, added: str | None) -> None:
    loras = lora.read(added) if added else ()
    assert lora.split_text(lora.joined_text(checkpoint, loras)) == (checkpoint, loras)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("style.ckpt", "A pickle can run code"),
        ("org/name.ckpt", "A pickle can run code"),
        ("style.safetensors:0.8:0.5", "Write style.safetensors:0.8, and :text_encoder=0.5 behind it"),
        ("style.safetensors:text_encoder=9", "a file with a weight in"),
        ("style.safetensors:text_encoder=1:text_encoder=1", "a file with one weight for each part"),
        ("https://civitai.com/models/1234", "Fetch the file and give its path"),
        ("style", "ORG/NAME for one on the hub"),
        ("~nobody-at-all/ink", "ORG/NAME for one on the hub"),
        ("a\0b", "ORG/NAME for one on the hub"),
        ("x" * 5000, "ORG/NAME for one on the hub"),
    ],
)
def test_what_cannot_be_read_says_what_to_write(text: str, line: str) -> None:
    with pytest.raises(ParameterError, match=line) as caught:
        lora.read(text)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "file", [r"C:\Users\ada\ink.safetensors", "/home/ada/ink.safetensors", "~/ada/ink.safetensors", "ada/ink.safetensors"]
)
def test_no_folder_of_a_person_stays(file: str) -> None:
    assert portable_loras(lora.read(f"{file}:0.5")) == lora.read("ink.safetensors:0.5")
    hub = lora.read("org/name/ink.safetensors + org/name")
    assert portable_loras(hub, local=False) == hub


def test_families_without_loaders_do_not_take_it(scene: Any) -> None:
    with pytest.raises(ParameterError, match="`lora` is not taken by kandinsky22"):
        resolve(Recipe(prompt=PROMPT, model="kandinsky22", lora="style.safetensors"))


def damaged(folder: Path) -> str:
    whole = (folder / "ink.safetensors").read_bytes()
    (folder / "damaged.safetensors").write_bytes(whole[: len(whole) // 2])
    return "damaged.safetensors"


def no_lora(folder: Path) -> str:
    save_file({"conv_in.weight": torch.zeros(4, 4, 3, 3)}, folder / "plain.safetensors")
    return "plain.safetensors"


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda folder: "other.safetensors", r"The LoRA other\.safetensors does not fit sd15: "),
        (no_lora, r"The LoRA plain\.safetensors does not fit sd15: "),
        (damaged, r"damaged\.safetensors is damaged"),
        (lambda folder: "missing.safetensors", r"The LoRA .*missing\.safetensors was not found: not a file here"),
    ],
    ids=["another architecture", "no lora", "damaged", "missing"],
)
def test_what_does_not_fit_is_one_line_and_the_next_run_works(
    make: Any, line: str, files: Path, recipe: Recipe, session: Session, scene: Any
) -> None:
    with pytest.raises(CheckpointError, match=line) as caught:
        session.run(recipe.replace(lora=str(files / make(files))))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert session.run(recipe).image.tobytes() == by_hand(scene)


def test_a_folder_with_one_lora_is_that_lora_and_says_so(files: Path, recipe: Recipe, session: Session, tmp_path: Path) -> None:
    folder = tmp_path / "ink + fog"
    folder.mkdir()
    (folder / "ink.safetensors").write_bytes((files / "ink.safetensors").read_bytes())
    made = session.run(recipe.replace(lora=f"{folder}:0.5"))
    assert f"The LoRA {folder} is its file ink.safetensors." in made.notices
    assert made.image.tobytes() == session.run(recipe.replace(lora=f"{files}/ink.safetensors:0.5")).image.tobytes()
    (folder / "b.safetensors").touch()
    with pytest.raises(CheckpointError, match=r"holds 2 files: b\.safetensors, ink\.safetensors\. Name the LoRA's file"):
        locate.locate(lora.joined_text("sd15", lora.read(str(folder))))
    (folder / "ink.safetensors").rename(folder / "pytorch_lora_weights.safetensors")
    assert locate.locate(lora.joined_text("sd15", lora.read(str(folder)))).lora[0][0].name == "pytorch_lora_weights.safetensors"


@pytest.mark.parametrize("names", [["ink.safetensors"], ["ink.safetensors", "fog.safetensors"], []])
def test_a_hub_lora_without_a_file_is_the_one_that_the_repository_holds(
    names: list[str], hub: Hub, files: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "README.md").write_text("ink")
    for name in names:
        (folder / name).write_bytes((files / name).read_bytes())
    hub.add("ada/ink-lora", folder)
    if len(names) == 1:
        found = locate.locate("sd15 + ada/ink-lora:0.5")
        assert found.lora[0][0].read_bytes() == (files / "ink.safetensors").read_bytes() and found.lora[0][1] == 0.5
        assert "The LoRA ada/ink-lora is its file ink.safetensors." in found.notices
        return
    line = "holds 2 files: fog.safetensors, ink.safetensors" if names else "holds no .safetensors file"
    with pytest.raises(CheckpointError, match=f"^ada/ink-lora {line}") as caught:
        locate.locate("sd15 + ada/ink-lora")
    assert "Name the LoRA's file: ada/ink-lora/FILE.safetensors." in str(caught.value)


def test_a_checkpoint_with_a_joint_in_its_path_is_found_with_a_lora_and_without(files: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(embedded.path("sd15"), tmp_path / "real + vision"))
    plain = locate.locate(lora.joined_text(str(folder), ()))
    added = locate.locate(lora.joined_text(str(folder), lora.read(f"{files}/ink.safetensors:0.5")))
    assert plain.directory == added.directory == folder and plain.lora == ()
    assert added.lora == ((files / "ink.safetensors", 0.5, 0.5),)


def test_a_grid_over_weights_moves_away_from_the_base(files: Path, recipe: Recipe) -> None:
    from nbdiffuse import sweep

    grid = sweep(recipe, lora=[f"{files}/ink.safetensors:{weight}" for weight in (0.1, 0.4, 1.2)]).run()
    base = np.asarray(sweep(recipe, seed=[7]).run()[0].image, float)
    distances = [np.abs(np.asarray(result.image, float) - base).mean() for result in grid]
    assert distances == sorted(distances)


def test_a_program_says_it_too_and_makes_the_same_bytes(files: Path, recipe: Recipe, session: Session) -> None:
    from nbdiffuse.runs.program import script_of
    from nbdiffuse.scripts.checking import check

    made = session.run(recipe.replace(lora=f"{files}/ink.safetensors:0.5"))
    script = script_of(made)
    assert "lora_scale=0.5" in script.text
    assert repr(check(script, made.images)) == "same pixels"
