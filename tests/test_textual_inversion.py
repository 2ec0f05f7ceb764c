"""Textual inversions: words that prompts may use, which leave the text encoders that all recipes share as they were."""

from __future__ import annotations

import pickle
import re
import threading
from pathlib import Path
from typing import Any

import adapter_files
import pytest
import tiny
import torch
from compel import Compel, DiffusersTextualInversionManager
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file

import nbdiffuse
from nbdiffuse import Recipe, Session, embedded, resolve
from nbdiffuse.cells.options import parse_cell
from nbdiffuse.cells.write import cell_text
from nbdiffuse.engine.batching import ContinuousBatch
from nbdiffuse.errors import CheckpointError, ConsentError, ParameterError
from nbdiffuse.metadata import a1111, image_files
from nbdiffuse.recipes.lora import JOINT
from nbdiffuse.runs import consent
from nbdiffuse.runs.program import script_of


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return adapter_files.write_embeddings(tmp_path_factory.mktemp("embeddings") / "files")


@pytest.fixture
def recipe(scene: Any) -> Recipe:
    return Recipe(prompt="a fox, mist", image=scene.image, num_inference_steps=2, seed=7)


def state_of(session: Session) -> list[bytes]:
    """Everything that a textual inversion could leave in the resident tokenizer and text encoder."""

    def look(pipelines: Any) -> list[bytes]:
        components = pipelines.components("sd15")
        encoder, tokenizer = components["text_encoder"], components["tokenizer"]
        layer = encoder.get_input_embeddings()
        hooks = [len(layer._forward_hooks), len(layer._forward_pre_hooks), "forward" in vars(encoder)]
        weights = b"".join(value.numpy().tobytes() for value in encoder.state_dict().values())
        return [weights, repr(sorted(tokenizer.get_vocab().items())).encode(), repr((len(tokenizer), hooks)).encode()]

    return session.with_pipelines(look)


def test_the_base_keeps_its_tokenizer_and_its_encoder_to_the_byte(files: Path, recipe: Recipe, session: Session) -> None:
    before, base = session.run(recipe), state_of(session)
    changed = session.run(recipe.replace(embedding=str(files / "mist.safetensors")))
    assert changed.image.tobytes() != before.image.tobytes()
    assert state_of(session) == base
    session.with_pipelines(lambda pipelines: session._ready_engine().embedding_cache.clear())
    assert session.run(recipe).image.tobytes() == before.image.tobytes()


def test_a_run_that_is_stopped_inside_the_encoder_leaves_it_as_it_was(files: Path, recipe: Recipe, session: Session) -> None:
    base = (session.run(recipe), state_of(session))[1]
    encoder = session.with_pipelines(lambda pipelines: pipelines.components("sd15")["text_encoder"])
    layer = next(one for name, one in encoder.named_modules() if name.endswith("final_layer_norm"))

    def fail(*_: Any) -> None:
        raise RuntimeError("as a device fails")

    handle = layer.register_forward_pre_hook(fail)
    try:
        with pytest.raises(Exception, match="as a device fails"):
            session.run(recipe.replace(embedding=str(files / "mist.safetensors"), prompt="a fox in mist, never seen"))
    finally:
        handle.remove()
    assert state_of(session) == base


@pytest.mark.parametrize("prompt", ["a embedding:mist fox", "a embedding:mist.safetensors fox", "a mist fox"])
def test_a_prompt_calls_it_by_its_word_or_as_comfyui_does(prompt: str, files: Path, recipe: Recipe) -> None:
    made = resolve(recipe.replace(prompt=prompt, embedding=str(files / "mist.safetensors")))
    assert (made.prompt, made.embeddings[0].token) == ("a mist fox", "mist")
    assert resolve(made) == made


def test_the_bare_name_of_a_file_with_a_word_of_its_own_becomes_that_word(files: Path, recipe: Recipe) -> None:
    held = recipe.replace(prompt="learned_embeds, learned_embeds_2, (embedding:learned_embeds:1.2)", weighting="a1111")
    made = resolve(held.replace(embedding=str(files / "learned_embeds.bin")))
    assert made.prompt == "<cat-toy>, learned_embeds_2, (<cat-toy>:1.2)"
    named = resolve(held.replace(embedding=f"{files}/learned_embeds.bin:<x>"))
    assert named.prompt == "learned_embeds, learned_embeds_2, (<x>:1.2)"


def test_a_file_that_only_the_prompt_names_is_found_in_its_folder(
    files: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = recipe.replace(prompt="a embedding:charturner fox, embedding:gone")
    assert resolve(asked).embeddings == ()
    monkeypatch.setenv("NBDIFFUSE_EMBEDDING_DIR", str(files))
    made = resolve(asked)
    assert made.prompt == "a charturner fox, embedding:gone" and made.embeddings[0].file == str(files / "charturner.pt")


def test_what_no_prompt_calls_is_said(files: Path, recipe: Recipe, session: Session) -> None:
    made = session.run(recipe.replace(prompt="a fox", embedding=str(files / "mist.safetensors")))
    assert any(line.startswith("`embedding`: no prompt says 'mist'") for line in made.notices)


def test_encodings_are_kept_for_the_files_that_they_were_made_with(recipe: Recipe, session: Session, tmp_path: Path) -> None:
    file = tmp_path / "mist.safetensors"
    pictures = []
    for seed in (1, 2, 1):
        save_file({"emb_params": adapter_files.vectors(seed)}, file)
        pictures.append(session.run(recipe.replace(embedding=str(file))).image.tobytes())
    assert pictures[0] == pictures[2] != pictures[1]


def test_recipes_with_and_without_words_share_calls_and_keep_their_own(files: Path, recipe: Recipe, session: Session) -> None:
    several = [recipe, recipe.replace(embedding=str(files / "mist.safetensors")), recipe.replace(prompt="a fox in snow")]
    complete = [resolve(one) for one in several]
    outcomes: dict[int, Any] = {}

    def work(pipelines: Any) -> None:
        engine = session._ready_engine()
        batch = ContinuousBatch(engine, complete, lambda *_: None, outcomes.__setitem__, threading.Event())
        batch.run()

    session.with_pipelines(work)
    for index, one in enumerate(complete):
        near = torch.tensor(list(outcomes[index].image.tobytes())).float() - torch.tensor(list(session.run(one).image.tobytes()))
        assert near.abs().max() <= 2
    assert outcomes[1].fingerprint["batch"] == "6 rows"


def test_weighted_words_are_encoded_as_compel_does_with_diffusers_own_manager(files: Path, session: Session) -> None:
    recipe = Recipe(prompt="a (charturner)1.3 fox", weighting="compel", num_inference_steps=2, seed=1, width=64, height=64)
    made = session.run(recipe.replace(embedding=str(files / "charturner.pt"), guidance_scale=1.0))
    pipeline = StableDiffusionPipeline.from_pretrained(embedded.path("sd15"))
    pipeline.set_progress_bar_config(disable=True)
    pipeline.load_textual_inversion(str(files), weight_name="charturner.pt", token="charturner")
    manager = DiffusersTextualInversionManager(pipeline)
    compel = Compel(pipeline.tokenizer, pipeline.text_encoder, textual_inversion_manager=manager, truncate_long_prompts=False)
    given = {"num_inference_steps": 2, "width": 64, "height": 64, "guidance_scale": 1.0}
    generator = torch.Generator("cpu").manual_seed(1)
    raw = pipeline(prompt_embeds=compel("a (charturner)1.3 fox"), generator=generator, **given).images[0]
    assert made.image.tobytes() == raw.tobytes()
    with pytest.raises(ParameterError, match=r"^`embedding` must be one with a single vector"):
        script_of(made)


def test_the_token_view_shows_its_words(files: Path, session: Session) -> None:
    view = session.tokens(Recipe(prompt="a mist fox", embedding=str(files / "mist.safetensors")))
    assert [token.text for token in view.encoder_tokens[0].chunks[0]][:3] == ["a", "mist", "mist_1"]
    xl = session.tokens(Recipe(prompt="a two fox", model="sdxl", embedding=str(files / "two.safetensors")))
    assert all([token.text for token in one.chunks[0]][1:3] == ["two", "two_1"] for one in xl.encoder_tokens[:2])


def test_its_hash_is_in_the_picture_and_its_folder_is_not(
    files: Path, recipe: Recipe, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = JOINT.join(f"{files}/{name}" for name in ("mist.safetensors", "charturner.pt"))
    made = session.run(recipe.replace(embedding=text))
    assert re.fullmatch("[0-9a-f]{64}", made.fingerprint["embedding_2"])
    file = made.save(tmp_path / "made.png")
    assert str(files).encode() not in file.read_bytes()
    read = image_files.read(file).provenance
    assert read is not None and dict(read.fingerprint) == dict(made.fingerprint)
    assert [str(one) for one in read.recipe.embeddings] == ["mist.safetensors:mist", "charturner.pt:charturner"]
    with pytest.raises(ConsentError, match=r"the local path 'mist\.safetensors'"), consent.ask([read.recipe], yes=False):
        pass


def test_a_cell_holds_several_and_a_grid_compares_them(files: Path, recipe: Recipe) -> None:
    made = resolve(recipe.replace(embedding=f"{files}/mist.safetensors + {files}/charturner.pt:<turn>"))
    text = cell_text(made, {"image": "start"})
    head, _, body = text.partition("\n")
    assert head.count("--embedding ") == 2
    cell = parse_cell("img2img", head.removeprefix("%%img2img "), body, {"start": recipe.image})
    assert Recipe(**{name: value for name, value in cell.values.items() if name != "image"}).embeddings == made.embeddings
    grid = parse_cell("txt2img", f"--embedding {files}/mist.safetensors,{files}/charturner.pt", "a fox")
    assert grid.axes["embedding"] == (f"{files}/mist.safetensors", f"{files}/charturner.pt")


def test_a_text_of_automatic1111_brings_those_that_are_here(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = 'a fox, mist\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, TI hashes: "mist: 0123456789ab, gone: ba9876543210"'
    assert len(a1111.parse(text).left_out) == 2
    monkeypatch.setenv("NBDIFFUSE_EMBEDDING_DIR", str(files))
    parsed = a1111.parse(text)
    assert parsed.values["embedding"] == f"{files}/mist.safetensors:mist"
    assert [line for line in parsed.left_out if "gone" in line] == list(parsed.left_out)


def test_our_own_text_names_it_for_both(files: Path, recipe: Recipe) -> None:
    made = resolve(recipe.replace(embedding=str(files / "mist.safetensors")))
    text = a1111.generation_text(made, "1")
    assert re.search(r"TI hashes: \"?mist: [0-9a-f]{12}", text) and str(files) not in text
    assert a1111.parse(text).values["embedding"] == "mist.safetensors:mist" and not a1111.parse(text).left_out


class Hostile:
    def __reduce__(self) -> Any:
        return (exec, ("raise SystemExit('it ran')",))


def _hostile(folder: Path) -> Path:
    torch.save({"string_to_param": {"*": Hostile()}}, folder / "hostile.pt")
    return folder / "hostile.pt"


def _plain_pickle(folder: Path) -> Path:
    (folder / "plain.pt").write_bytes(pickle.dumps(Hostile()))
    return folder / "plain.pt"


def _damaged(folder: Path) -> Path:
    (folder / "damaged.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{broken}")
    return folder / "damaged.safetensors"


def _saved(name: str, state: Any) -> Any:
    def write(folder: Path) -> Path:
        save_file(state, folder / name)
        return folder / name

    return write


@pytest.mark.parametrize(
    "write, line",
    [
        (_hostile, "could run code, so it is not read"),
        (_plain_pickle, "could run code|old format"),
        (_damaged, "it is damaged"),
        (
            _saved("wide.safetensors", {"emb_params": torch.ones(1, 768)}),
            "768 wide, and those of sd15 are 96 wide",
        ),
        (
            _saved("lora.safetensors", {"a.lora_up.weight": torch.ones(2), "b": torch.ones(2)}),
            "no textual inversion: it holds",
        ),
        (_saved("nan.safetensors", {"emb_params": torch.full((1, 96), torch.nan)}), "values that are no numbers"),
        (_saved("cube.safetensors", {"emb_params": torch.ones(2, 2, 96)}), r"its tensor is \(2, 2, 96\)"),
        (_saved("a.safetensors", {"emb_params": torch.ones(1, 96)}), "cannot be called 'a': 'a' is a token already"),
        (lambda folder: folder / "gone.pt", "was not found: not a file here"),
    ],
    ids=["hostile", "plain pickle", "damaged", "wide", "lora", "nan", "cube", "known word", "gone"],
)
def test_what_is_none_is_refused_in_one_line(write: Any, line: str, recipe: Recipe, session: Session, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=line) as caught:
        session.run(recipe.replace(embedding=str(write(tmp_path))))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize("text", ["style.ckpt", "mist.pt:a b", "mist.pt:a,b", "", "mist"])
def test_what_names_no_file_is_refused_before_anything_is_loaded(text: str, recipe: Recipe) -> None:
    with pytest.raises(ParameterError, match=r"^`embedding(_token)?` must be"):
        resolve(recipe.replace(embedding=text))


def test_two_of_the_same_word_and_a_family_that_takes_none_are_refused(files: Path, recipe: Recipe) -> None:
    with pytest.raises(ParameterError, match=r"^`embeddings\.2` must be called by a word of its own, got 'x'\."):
        resolve(recipe.replace(embedding=f"{files}/mist.safetensors:x + {files}/charturner.pt:x"))
    with pytest.raises(ParameterError, match=r"^`embedding` is not taken by kandinsky22"):
        resolve(recipe.replace(model="kandinsky22", embedding=str(files / "mist.safetensors")))


def test_one_of_the_hub_is_found_in_its_repository_and_called_by_its_own_word(
    hub: Any, files: Path, recipe: Recipe, session: Session
) -> None:
    hub.add("concepts/toy", {"learned_embeds.bin": (files / "learned_embeds.bin").read_bytes()})
    made = session.run(recipe.replace(prompt="a <cat-toy>", embedding="concepts/toy"))
    local = session.run(recipe.replace(prompt="a <cat-toy>", embedding=str(files / "learned_embeds.bin")))
    assert made.image.tobytes() == local.image.tobytes()
    assert made.fingerprint["embedding"] == local.fingerprint["embedding"]


def test_the_refiner_reads_it_with_its_only_encoder(session: Session, tmp_path: Path, recipe: Recipe) -> None:
    checkpoint = tiny.write("sdxl-refiner", tmp_path / "checkpoint")
    save_file({"clip_g": adapter_files.vectors(1, 2, 32)}, tmp_path / "word.safetensors")
    plain = recipe.replace(model="sdxl-refiner", checkpoint=str(checkpoint), prompt="a word", strength=0.9)
    changed = plain.replace(embedding=str(tmp_path / "word.safetensors"))
    assert session.run(changed).image.tobytes() != session.run(plain).image.tobytes()


def test_it_can_be_imported_by_name() -> None:
    assert nbdiffuse.TextualInversion(file="a.pt", token="x") == nbdiffuse.TextualInversion.from_text("a.pt:x")
