"""Code that a repository brings is not fetched and not run, by whichever name a checkpoint asks for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import guide
import pytest
import torch
from diffusers.utils import dynamic_modules_utils
from hub import Hub

from nbdiffuse import Recipe
from nbdiffuse.cells.options import parse_cell
from nbdiffuse.checkpoints import loading
from nbdiffuse.checkpoints.locate import locate
from nbdiffuse.errors import NbdiffuseError

ID = "artist/evil"
INDEX = "model_index.json"
Files = dict[str, bytes]
CODE = (
    "import diffusers, transformers\n"
    "open({canary!r}, 'w').close()\n"
    "class Pipeline(diffusers.StableDiffusionPipeline): pass\n"
    "class Model(transformers.CLIPTextModel): pass\n"
)


def edit(files: Files, name: str, **changes: Any) -> None:
    files[name] = json.dumps({**json.loads(files.get(name, b"{}")), **changes}).encode()


def listed_class(files: Files) -> None:
    edit(files, INDEX, _class_name=["pipeline", "Pipeline"])


def component_file(files: Files) -> None:
    edit(files, INDEX, text_encoder=["evil", "Model"])


def auto_map(files: Files) -> None:
    edit(files, "text_encoder/config.json", auto_map={"AutoModel": "evil.Model"})


def auto_map_elsewhere(files: Files) -> None:
    edit(files, "text_encoder/config.json", auto_map={"AutoModel": "artist/evil--evil.Model"})


def tokenizer_auto_map(files: Files) -> None:
    edit(files, "tokenizer/tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Model", None]}, trust_remote_code=True)


def processor_auto_map(files: Files) -> None:
    edit(files, "feature_extractor/preprocessor_config.json", auto_map={"AutoImageProcessor": "evil.Model"})


def trusting_itself(files: Files) -> None:
    edit(files, INDEX, trust_remote_code=True, custom_pipeline=ID, custom_revision="main")
    edit(files, "text_encoder/config.json", trust_remote_code=True)


def single_model(files: Files) -> None:
    for name in [name for name in files if not name.startswith("unet/")]:
        del files[name]
    files |= {name.removeprefix("unet/"): files.pop(name) for name in list(files)}
    edit(files, "config.json", auto_map={"AutoModel": "evil.Model"})


VECTORS = [
    listed_class,
    component_file,
    auto_map,
    auto_map_elsewhere,
    tokenizer_auto_map,
    processor_auto_map,
    trusting_itself,
    single_model,
]


@pytest.fixture
def evil(hub: Hub, guide_repos: dict[str, Path], tmp_path: Path) -> Callable[[Callable[[Files], None]], Path]:
    """Publish SD 1.5 with one vector and the code it names; returns the file that the code would make."""

    def publish(vector: Callable[[Files], None]) -> Path:
        files = dict(hub.add(ID, guide_repos[guide.SD15]).files)
        canary = tmp_path / "canary"
        code = CODE.format(canary=str(canary)).encode()
        files |= dict.fromkeys(["pipeline.py", "evil.py", "unet/evil.py", "text_encoder/evil.py", "tokenizer/evil.py"], code)
        vector(files)
        hub.add(ID, files)
        return canary

    return publish


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.__name__)
def test_no_code_of_a_repository_is_fetched_or_run(vector: Any, evil: Callable[[Any], Path], hub: Hub) -> None:
    canary = evil(vector)
    try:
        loading.load(locate(ID), torch.float32)
    except NbdiffuseError as error:
        assert "\n" not in str(error) and "code" in str(error)
    else:
        assert vector in (tokenizer_auto_map, processor_auto_map, trusting_itself), "a class that is named is refused"
    assert not canary.exists() and hub.fetched(".py") == []


def test_the_code_runs_where_a_person_trusts_it_with_bare_diffusers(
    evil: Callable[[Any], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from diffusers import DiffusionPipeline

    canary = evil(listed_class)
    monkeypatch.setattr(dynamic_modules_utils, "DIFFUSERS_DISABLE_REMOTE_CODE", False)
    monkeypatch.setattr(dynamic_modules_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    DiffusionPipeline.from_pretrained(ID, trust_remote_code=True)
    assert canary.exists(), "so the vector is a real one"


@pytest.mark.parametrize("name", ["trust_remote_code", "custom_pipeline", "custom_revision", "token"])
def test_no_recipe_and_no_option_can_ask_for_it(name: str) -> None:
    with pytest.raises((NbdiffuseError, TypeError), match=name):
        Recipe.from_dict({"prompt": "a cat", name: True})
    with pytest.raises(NbdiffuseError, match=name):
        parse_cell("txt2img", f"--{name} yes", "a cat")
