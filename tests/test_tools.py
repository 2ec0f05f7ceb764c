"""Which tool wrote a file: each is read by itself and beside an independent reader, and no text brings a foreign error."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sd_parsers
import strangers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from nbdiffuse import Recipe, read
from nbdiffuse.cells.from_file import read_if_said
from nbdiffuse.errors import NbdiffuseError
from nbdiffuse.metadata import a1111, comfyui, exif, flat, fooocus, infotext, invokeai, tools, xmp
from nbdiffuse.metadata.image_files import Metadata
from nbdiffuse.panels.actions.dropped_file import dropped_file

TEXT = strangers.a1111("a red boat", "fog", Seed=42, CFG_scale=7)
JSON = json.dumps
GRAPH = strangers.comfy(seed=42, cfg=7)
GRAPH["6"]["inputs"]["text"], GRAPH["7"]["inputs"]["text"] = "a red boat", "fog"
INVOKE = strangers.invoke(positive_prompt="a red boat", negative_prompt="fog", seed=42, steps=20, cfg_scale=7)
FOOOCUS = strangers.fooocus(prompt="a red boat", negative_prompt="fog", seed="42", steps=20, guidance_scale=7)
INVOKE_2 = {
    "model_weights": "sd-1.4",
    "image": {
        "prompt": [{"prompt": "a red boat [fog]", "weight": 1}],
        "steps": 20,
        "cfg_scale": 7,
        "seed": 42,
        "sampler": "k_euler",
    },
}


@dataclass(frozen=True)
class Sample:
    """A file that says: "a red boat" without "fog", 20 steps, guidance 7, seed 42."""

    tool: str
    file: Any
    sd_parsers: str = ""
    """What of it sd-parsers 0.6 gets wrong or leaves out, the first of several; "all" where it reads nothing."""


def png(**chunks: str) -> Any:
    return lambda folder: strangers.png(folder / "a.png", **chunks)


SAMPLES = {
    "a1111 png": Sample("AUTOMATIC1111", png(parameters=TEXT)),
    "a1111 jpeg": Sample("AUTOMATIC1111", lambda folder: strangers.jpeg(folder / "a.jpg", TEXT)),
    "a1111 webp": Sample("AUTOMATIC1111", lambda folder: strangers.jpeg(folder / "a.webp", TEXT)),
    "a1111 behind the pixels": Sample("AUTOMATIC1111", lambda folder: strangers.behind_the_pixels(png(parameters=TEXT)(folder))),
    "a1111 ascii": Sample("AUTOMATIC1111", lambda folder: strangers.jpeg(folder / "a.jpg", TEXT, "ascii"), "all"),
    "a1111 comment": Sample("AUTOMATIC1111", lambda folder: strangers.exiftool_jpeg(folder / "a.jpg", TEXT), "all"),
    "a1111 capitals": Sample("AUTOMATIC1111", png(parameters=TEXT.replace("Negative prompt", "Negative Prompt")), "prompt"),
    "sdnext": Sample("SD.Next", png(parameters=TEXT + ", App: SD.Next")),
    "forge": Sample("Forge", png(parameters=TEXT + ", Version: f2.0.1v1.10.1")),
    "stealth": Sample("AUTOMATIC1111", lambda folder: strangers.stealth(folder / "a.png", TEXT)),
    "stealth colours": Sample(
        "AUTOMATIC1111", lambda folder: strangers.stealth(folder / "a.png", TEXT, b"stealth_rgbinfo"), "all"
    ),
    "comfyui png": Sample("ComfyUI", png(prompt=JSON(GRAPH), workflow=JSON({"links": []}))),
    "comfyui without workflow": Sample("ComfyUI", png(prompt=JSON(GRAPH)), "all"),
    "comfyui webp": Sample("ComfyUI", lambda folder: strangers.comfy_webp(folder / "a.webp", GRAPH), "all"),
    "invokeai": Sample("InvokeAI", png(invokeai_metadata=JSON(INVOKE))),
    "invokeai 2": Sample("InvokeAI 2", png(sd_metadata=JSON(INVOKE_2))),
    "invokeai 1": Sample("InvokeAI 1", png(Dream=strangers.DREAM)),
    "fooocus png": Sample("Fooocus", png(fooocus_scheme="fooocus", parameters=JSON(FOOOCUS))),
    "fooocus jpeg": Sample("Fooocus", lambda folder: strangers.fooocus_jpeg(folder / "a.jpg", JSON(FOOOCUS), "fooocus"), "all"),
    "novelai": Sample("NovelAI", png(**strangers.NOVELAI), "steps"),
    "novelai stealth": Sample("NovelAI", lambda folder: strangers.stealth(folder / "a.png", JSON(strangers.NOVELAI)), "steps"),
    "swarmui": Sample("SwarmUI", png(parameters=JSON(strangers.SWARM)), "all"),
    "ruinedfooocus": Sample("RuinedFooocus", png(parameters=JSON(strangers.RUINED)), "all"),
    "draw things": Sample("Draw Things", lambda folder: strangers.draw_things(folder / "a.png", strangers.DRAW_THINGS), "all"),
    "easy diffusion": Sample("Easy Diffusion", png(**strangers.EASY), "all"),
}
"""Every reader's sample, and how sd-parsers does on it: the reason why it is a reader of the tests and not of the package."""


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_is_read_whole(tmp_path: Path, name: str) -> None:
    sample = SAMPLES[name]
    reading = read(sample.file(tmp_path))
    recipe = reading.recipe
    assert reading.tool == sample.tool
    assert (recipe.prompt, recipe.negative_prompt, recipe.seed) == ("a red boat", "fog", 42)
    assert (recipe.num_inference_steps, recipe.guidance_scale) == (20, 7)
    assert sample.tool.removesuffix(" 2").removesuffix(" 1") in tools.NAMES


@pytest.mark.parametrize("name", SAMPLES)
def test_where_sd_parsers_reads_a_sample_it_says_the_same_and_never_more(tmp_path: Path, name: str) -> None:
    sample = SAMPLES[name]
    manager = sd_parsers.ParserManager(eagerness=sd_parsers.Eagerness.EAGER)
    found = manager.parse(sample.file(tmp_path))
    if found is None or not found.samplers:
        assert sample.sd_parsers == "all"
        return
    [sampler] = found.samplers
    said = {**found.metadata, **sampler.parameters}
    missing = {
        "prompt": found.full_prompt.strip() != "a red boat",
        "negative prompt": found.full_negative_prompt != "fog",
        "steps": float(sampler.parameters.get("steps", 0)) != 20,
    }
    assert [name for name, lacks in missing.items() if lacks][:1] == ([sample.sd_parsers] if sample.sd_parsers else [])
    assert (int(said["seed"]), float(said["cfg_scale"])) == (42, 7)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_panel_reads_what_the_command_reads(tmp_path: Path, name: str) -> None:
    file = SAMPLES[name].file(tmp_path)
    dropped, reading = dropped_file(file.name, file.read_bytes()), read(file)
    assert dropped is not None and dropped.result is None
    said = {**reading.recipe.to_dict(), "image": dropped.recipe.image.address}
    left = {field: value for field, value in said.items() if getattr(dropped.recipe, field) is None}
    assert {**dropped.recipe.to_dict(), **left} == said
    assert all(any(field in line for line in dropped.lines) for field in left)
    assert set(reading.left_out) <= set(dropped.lines)


def test_a_panel_says_that_there_were_more_passes(tmp_path: Path) -> None:
    second = {"class_type": "KSampler", "inputs": {**GRAPH["3"]["inputs"], "denoise": 0.5, "latent_image": ["3", 0]}}
    decoded = {"class_type": "VAEDecode", "inputs": {"samples": ["30", 0], "vae": ["4", 2]}}
    file = strangers.png(tmp_path / "a.png", prompt=JSON({**GRAPH, "30": second, "8": decoded}))
    dropped = dropped_file("a.png", file.read_bytes())
    assert dropped is not None and dropped.recipe.strength == 0.5
    assert any("last of 2 passes" in line for line in dropped.lines)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"])
def test_what_is_no_picture_brings_no_settings(content: bytes) -> None:
    assert dropped_file("a.png", content) is None


@pytest.mark.parametrize("name", strangers.BROKEN)
def test_a_picture_whose_settings_nobody_can_read_is_a_picture_all_the_same(tmp_path: Path, name: str) -> None:
    file = strangers.png(tmp_path / "a.png", **strangers.BROKEN[name])
    assert dropped_file("a.png", file.read_bytes()) is None
    large = strangers.png(tmp_path / "b.png", prompt="x" * 1_000_001)
    assert dropped_file("b.png", large.read_bytes()) is None


def test_a_picture_without_a_word_brings_no_settings(tmp_path: Path) -> None:
    Image.effect_noise((64, 64), 60).convert("RGBA").save(tmp_path / "a.png")
    assert dropped_file("a.png", (tmp_path / "a.png").read_bytes()) is None
    assert read_if_said(tmp_path / "a.png") is None


WORDS = st.sampled_from(
    [
        *(
            "class_type",
            "inputs",
            "KSampler",
            "SaveImage",
            "VAEDecode",
            "samples",
            "images",
            "latent_image",
            "positive",
            "negative",
        ),
        *("positive_prompt", "steps", "prompt", "seed", "model", "scheduler", "sampler_name", "cfg", "denoise", "text", "width"),
        *(
            "strength",
            "sui_image_params",
            "software",
            "Software",
            "NovelAI",
            "RuinedFooocus",
            "Comment",
            "c",
            "uc",
            "loras",
            "lora",
        ),
        *(
            "image",
            "name",
            "base",
            "sdxl",
            "weight",
            "size",
            "512x512",
            "euler",
            "Dream",
            "use_stable_diffusion_model",
            "resolution",
        ),
        *("Steps: 20, Seed: 1, Size: 64x64", "<lora:a:1>", "Negative prompt:", "Template:", "\ud800", "\0", "1", "2", "-1e999"),
    ]
)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | WORDS | st.text(max_size=10) | st.lists(st.just("1") | st.just(0)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.sampled_from(["1", "2", "3"]), inner, max_size=5),
    max_leaves=20,
)
NODES = st.dictionaries(
    st.sampled_from(["1", "2", "3", "4"]),
    st.fixed_dictionaries(
        {
            "class_type": st.sampled_from(
                ["KSampler", "SaveImage", "VAEDecode", "VAEEncode", "LatentUpscaleBy", "EmptyLatentImage", "CLIPTextEncode"]
            ),
            "inputs": st.dictionaries(
                WORDS, st.lists(st.sampled_from(["1", "2", "3", "4", 0]), max_size=2) | ANY_JSON, max_size=5
            ),
        }
    ),
)
ANY_TEXT = st.lists(WORDS | st.sampled_from([",", ":", "\n", '"', "{", "}", "[", "]", " ", "-s", "-S 1"]), max_size=25).map(
    "".join
)


def assert_every_reader_keeps_its_word(text: str) -> None:
    """Any text gives values that a recipe takes and lines of one line, or `ValueError`."""
    readers = [comfyui.parse, invokeai.parse, invokeai.parse_older, invokeai.parse_dream, fooocus.parse, a1111.parse]
    entries = flat.record(text)
    if entries is not None:
        readers.append(lambda _: flat.parse(entries))
    for reader in readers:
        try:
            parsed = reader(text)
        except ValueError as error:
            assert not isinstance(error, UnicodeError), reader
            continue
        for values in (*parsed.before, parsed.values):
            Recipe(**values)
        assert all(len(line.splitlines()) == 1 and len(line) < 600 for line in parsed.left_out)
    infotext.taken_apart(text)
    xmp.read(text)
    exif.decoded(text.encode("utf-8", "replace"))


def assert_a_file_with_it_is_read_or_refused(chunk: str, text: str) -> None:
    info, file = PngInfo(), io.BytesIO()
    info.add_itxt(chunk, text.encode("utf-8", "replace").decode())
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=info)
    try:
        reading = read_if_said(file.getvalue())
        if reading is not None:
            assert all(line.isprintable() for line in repr(reading).splitlines())
            reading.cell()
            dropped_file("a.png", file.getvalue())
    except NbdiffuseError as error:
        assert "\n" not in str(error)


CHUNKS = st.sampled_from(
    ["parameters", "prompt", "invokeai_metadata", "sd-metadata", "Dream", "Comment", "generation_data", "fooocus_scheme"]
)
DRAWN = ANY_TEXT | ANY_JSON.map(json.dumps) | NODES.map(json.dumps) | st.text(max_size=200)


def fuzzed(draws: int) -> Any:
    settled = settings(
        max_examples=draws, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
    )

    @settled
    @given(chunk=CHUNKS, text=DRAWN)
    def run(chunk: str, text: str) -> None:
        assert_every_reader_keeps_its_word(text)
        assert_a_file_with_it_is_read_or_refused(chunk, text)

    return run


@pytest.mark.parametrize("draws", [500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_no_text_brings_a_foreign_error(draws: int) -> None:
    fuzzed(draws)()


def test_a_scheme_of_fooocus_without_a_text_is_nobodys() -> None:
    assert tools.writer_of(Metadata(None, None, {"fooocus_scheme": "fooocus"})) is None
