"""Prompts of batches: from files, with wildcards that a seed decides, and with captions that a model writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import nbdiffuse
from nbdiffuse import Recipe
from nbdiffuse.command_line.main import main
from nbdiffuse.errors import ParameterError
from nbdiffuse.metadata import image_files
from nbdiffuse.prompts import wildcards

RECIPE = Recipe(prompt="a cat in the snow", num_inference_steps=1, strength=1.0, seed=7, width=64, height=64)
DRAWN = RECIPE.replace(strength=None)


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    folder = tmp_path / "lists"
    (folder / "more").mkdir(parents=True)
    (folder / "animals.txt").write_text("cat\n# a comment\n\nfox\n__more/birds__\n", "utf-8")
    (folder / "more" / "birds.txt").write_text("owl\nwren\n", "utf-8")
    (folder / "old_places.txt").write_text("castle\n", "utf-8")
    return folder


def prompts_in(folder: Path) -> dict[str, str]:
    """Return the prompt in each result's own file."""
    found = {path.name: image_files.read(path).provenance for path in sorted(folder.glob("*.png"))}
    return {name: said.recipe.prompt for name, said in found.items() if said is not None}


def test_each_picture_is_made_with_each_prompt_of_a_file(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a cat\n\n# not this\na fox\n", "utf-8")
    made = nbdiffuse.batch(RECIPE, photos, prompts=tmp_path / "list.txt", folder=tmp_path / "out").run()
    assert made.missing == 0 and [row["prompt"] for row in made.records()] == ["a cat", "a fox"] * 3
    assert prompts_in(tmp_path / "out") == {
        f"p{n}-000{k}.png": text for n in range(3) for k, text in ((1, "a cat"), (2, "a fox"))
    }
    around = DRAWN.replace(prompt="{prompt} in the snow")
    drawn = nbdiffuse.batch(around, prompts=["a cat", "a fox"], folder=tmp_path / "drawn").run()
    assert prompts_in(tmp_path / "drawn") == {"0001.png": "a cat in the snow", "0002.png": "a fox in the snow"}
    assert drawn.missing == 0


def test_wildcards_are_drawn_by_the_seed_and_the_name_and_stand_in_the_result(photos: Path, lists: Path, tmp_path: Path) -> None:
    recipe = RECIPE.replace(prompt="a __animals__ by a __old_places__", negative_prompt="__animals__")
    made = nbdiffuse.batch(recipe, photos, wildcards=lists, folder=tmp_path / "out", guidance_scale=[1, 2.5]).run()
    first = prompts_in(tmp_path / "out")
    words = {"cat", "fox", "owl", "wren"}
    assert made.missing == 0 and len(first) == 6
    assert all(text.split()[1] in words and text.endswith("by a castle") for text in first.values())
    assert {row["file"]: row["prompt"] for row in made.records()} == first
    # One picture fewer changes no other row's words, and the same call goes on.
    (photos / "p0.png").unlink()
    again = nbdiffuse.batch(recipe, photos, wildcards=lists, folder=tmp_path / "out", guidance_scale=[1, 2.5]).run()
    assert [row["state"] for row in again.records()] == ["kept"] * 4
    (lists / "animals.txt").write_text("dog\n", "utf-8")
    with pytest.raises(ParameterError, match="must be a folder without another batch"):
        nbdiffuse.batch(recipe, photos, wildcards=lists, folder=tmp_path / "out", guidance_scale=[1, 2.5])


def test_seeds_alone_draw_different_lines(lists: Path, tmp_path: Path) -> None:
    nbdiffuse.batch(DRAWN.replace(prompt="a __animals__"), wildcards=lists, folder=tmp_path / "out", seed=range(8)).run()
    assert len(set(prompts_in(tmp_path / "out").values())) > 1 and len(prompts_in(tmp_path / "out")) == 8


@pytest.mark.parametrize(
    ("how", "line"),
    [
        ({"prompts": "nowhere.txt"}, "`prompts` must be a text file that can be read, got 'nowhere.txt'. No such file"),
        ({"prompts": []}, "`prompts` must be a text file, or a list of texts with at least one"),
        ({"wildcards": "nowhere"}, "`wildcards` must be a folder with text files"),
        ({"wildcards": "lists", "prompt": "a __animal__"}, "got '__animal__'. Did you mean 'animals'?"),
        ({"wildcards": "lists"}, "`wildcards` must be given with a prompt that names one"),
        ({"captioner": "x"}, "`captioner` must go with {caption} in the prompt"),
        ({"captioner": 3, "prompt": "{caption}"}, "`captioner` must be a model of transformers that captions"),
        ({"frames": "0:3", "images": None}, "`frames` must be given with a film"),
        ({"images": None}, "`images`, `table` or `prompts` must be given, got none."),
    ],
)
def test_what_cannot_be_is_one_line_before_anything_runs(
    how: dict[str, Any], line: str, photos: Path, lists: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"images": photos, **how}
    recipe = RECIPE.replace(prompt=given.pop("prompt", RECIPE.prompt))
    with pytest.raises(ParameterError) as refused:
        nbdiffuse.batch(recipe, given.pop("images"), folder="out", **given)
    assert line in str(refused.value) and "\n" not in str(refused.value) and not Path("out").exists()


@pytest.mark.quick
@given(st.text(alphabet="ab_/ c{}", max_size=30), st.text(max_size=5))
def test_a_text_without_a_known_wildcard_stays_and_the_same_seed_gives_the_same(text: str, seed: str) -> None:
    known = {"a": ("one", "two", "__b__"), "b": ("three",), "a/b": ("four",)}
    if all(name in known for name in wildcards.names_in(text)):
        once = wildcards.filled(text, known, seed)
        assert once == wildcards.filled(text, known, seed) and not wildcards.names_in(once)
        assert (once == text) == (not wildcards.names_in(text))
    else:
        with pytest.raises(ParameterError):
            wildcards.filled(text, known, seed)


@pytest.mark.quick
def test_lines_that_name_one_another_without_end_are_refused() -> None:
    with pytest.raises(ParameterError, match="a text whose wildcards end"):
        wildcards.filled("__a__", {"a": ("__a__",)}, "1")


@pytest.fixture(scope="module")
def captioner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained BLIP with a tokenizer of letters."""
    import torch
    from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration, BlipImageProcessor, BlipProcessor

    folder = tmp_path_factory.mktemp("captioner")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", *"abcdefghijklmnopqrstuvwxyz"]
    (folder / "vocab.txt").write_text("\n".join(words), "utf-8")
    tokenizer = BertTokenizer(str(folder / "vocab.txt"), bos_token="[DEC]")
    torch.manual_seed(0)
    width = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1}
    ids = {"bos_token_id": 5, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0}
    text = {**width, **ids, "vocab_size": len(words), "encoder_hidden_size": 16, "is_decoder": True}
    config = BlipConfig(text_config=text, vision_config={**width, "image_size": 32, "patch_size": 8}, projection_dim=16)
    BlipForConditionalGeneration(config).eval().save_pretrained(folder)
    BlipProcessor(BlipImageProcessor(size={"height": 32, "width": 32}), tokenizer).save_pretrained(folder)
    return folder


def test_a_caption_is_asked_for_once_and_stands_in_the_prompt(
    photos: Path, captioner: Path, tmp_path: Path, session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import BlipForConditionalGeneration, BlipProcessor

    recipe, how = RECIPE.replace(prompt="{caption}, a drawing"), {"captioner": str(captioner), "folder": tmp_path / "out"}
    made = nbdiffuse.batch(recipe, photos, **how)
    assert f"{{caption}} is written by {captioner}." in made.before_run
    made.run()
    model, processor = BlipForConditionalGeneration.from_pretrained(captioner), BlipProcessor.from_pretrained(captioner)
    seen = processor(images=Image.open(photos / "p1.png").convert("RGB"), return_tensors="pt")
    alone = processor.decode(model.generate(**seen, max_new_tokens=40, do_sample=False)[0], skip_special_tokens=True)
    assert prompts_in(tmp_path / "out")["p1.png"] == f"{' '.join(alone.split())}, a drawing" and alone
    noted = [json.loads(line) for line in (tmp_path / "out" / "captions.jsonl").read_text().splitlines() if line]
    assert len(noted) == 3 and {one["captioner"] for one in noted} == {str(captioner)}
    monkeypatch.setattr(type(session), "caption", None)
    again = nbdiffuse.batch(recipe, photos, **how).run()
    assert [row["state"] for row in again.records()] == ["kept"] * 3
    with pytest.raises(ParameterError, match="must be a folder without another batch"):
        nbdiffuse.batch(recipe, photos, captioner="org/other", folder=tmp_path / "out")


def test_what_writes_no_text_fails_each_row_in_a_line(photos: Path, tmp_path: Path) -> None:
    recipe = RECIPE.replace(prompt="{caption}")
    made = nbdiffuse.batch(recipe, photos, captioner="clip", folder=tmp_path / "out").run()
    assert len(made.failed) == 3 and all("writes no text" in str(error) for error in made.failed.values())


def test_a_cell_and_a_command_take_lists_prompts_and_wildcards(
    kernel: Any, photos: Path, lists: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = "-n 1 -s 1 --seed 7 --width 64 --height 64"
    assert kernel.run(f"import pathlib\nshots = sorted(pathlib.Path({str(photos)!r}).glob('*.png'))\nplace = {str(photos)!r}").ok
    outcome = kernel.run(f"%%img2img shots {size} --save {tmp_path / 'a'} --out made\na cat")
    assert outcome.ok and sorted(path.name for path in (tmp_path / "a").glob("*.png")) == ["p0.png", "p1.png", "p2.png"]
    (tmp_path / "list.txt").write_text("a __animals__\na dog\n", "utf-8")
    drawn = f"--prompts {tmp_path / 'list.txt'} --wildcards {lists} {size.replace('-s 1 ', '')} --save {tmp_path / 'b'}"
    outcome = kernel.run(f"%%txt2img {drawn}\n{{prompt}} in the snow")
    assert outcome.ok, outcome.outputs
    first = prompts_in(tmp_path / "b")
    assert list(first) == ["0001.png", "0002.png"] and first["0002.png"] == "a dog in the snow"
    monkeypatch.chdir(tmp_path)
    words = ["--prompts", "list.txt", "--wildcards", "lists", "--out", "c", *size.replace("-s 1 ", "").split()]
    assert main(["txt2img", *words]) == 0
    assert [text.split(" in ")[0] for text in first.values()] == list(prompts_in(tmp_path / "c").values())
