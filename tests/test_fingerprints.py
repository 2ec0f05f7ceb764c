"""A fingerprint that a file, a store entry or a worker gives is data: checked entry by entry, and never this machine's own."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hostile import texts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import nbdiffuse
from nbdiffuse import Recipe, resolve
from nbdiffuse.cells.from_file import read
from nbdiffuse.errors import NbdiffuseError, ParameterError, RunError
from nbdiffuse.images.picture import Picture
from nbdiffuse.metadata.fingerprints import _RULES, checked, cleaned
from nbdiffuse.metadata.image_files import CHUNK
from nbdiffuse.metadata.provenance import Provenance
from nbdiffuse.panels.actions.dropped_file import dropped_file
from nbdiffuse.recipes.recipe import PARAMS
from nbdiffuse.results import Result
from nbdiffuse.runs.program import script_command, script_of
from nbdiffuse.runs.verify import verify
from nbdiffuse.sessions import remote
from nbdiffuse.sessions.history import History
from nbdiffuse.store.entries import packed, unpacked
from nbdiffuse.store.store import Store, store_key

PAYLOAD = 'float32 if __import__("os").system("touch canary") else torch.float32'
COMPLETE = resolve(Recipe(prompt="a cat", seed=1, num_inference_steps=2))
PICTURE = Image.new("RGB", (128, 128), (10, 200, 30))


def claiming(provenance: dict[str, Any]) -> bytes:
    """Return a PNG as somebody else's program writes it."""
    return png(json.dumps({"format": 1, "recipe": json.loads(COMPLETE.to_json()), **provenance}))


def png(text: str) -> bytes:
    import io

    info, buffer = PngInfo(), io.BytesIO()
    info.add_itxt(CHUNK, text)
    PICTURE.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"model": "sdxl", "weighting": "a1111"},
        {"image": PICTURE, "controlnet": "depth", "control_image": PICTURE},
        {"model": "kandinsky22"},
        {"model": "x4-upscaler", "image": PICTURE},
    ],
)
def test_what_this_machine_says_of_itself_passes_as_it_is(session: Any, values: dict[str, Any]) -> None:
    own = session.fingerprint(resolve(Recipe(prompt="a (cat:1.2)", seed=1, **values)))
    assert checked(own) == own and cleaned(own) == (own, ())


def test_every_lever_passes_as_it_is() -> None:
    from nbdiffuse.devices.optimizations import POSITIONS, Optimizations

    for name, positions in POSITIONS.items():
        for position in positions:
            if position != "xformers":
                moved = Optimizations().replace(name, position).fingerprint()
                assert checked(moved) == moved
    assert checked({"attention": "xformers", "batch": "4 rows"}) == {"attention": "xformers", "batch": "4 rows"}


HASH, OTHER, COMMIT = "ab" * 32, "cd" * 32, "0" * 40
IDENTITIES = (HASH, f"a/b@{COMMIT}", f"a/b@{COMMIT}/x.safetensors+c/d@{COMMIT}", f"{HASH}+{OTHER}:-0.5", f"{HASH}:1e-05")


@pytest.mark.parametrize("identity", IDENTITIES)
def test_weights_are_identified_by_hashes_and_commits(identity: str) -> None:
    assert checked({"checkpoint": identity}) == {"checkpoint": identity}


@pytest.mark.parametrize("name", [*_RULES, "later", ""])
def test_no_entry_is_a_piece_of_source(name: str) -> None:
    for value in (PAYLOAD, f"2.9\n{PAYLOAD}", "/home/alice/m", "~/m", "a/../b@" + "0" * 40, "", "\0", 7, None, ["cpu"]):
        with pytest.raises(ParameterError, match="`fingerprint"):
            checked({name: value})
        kept, (line,) = cleaned({name: value, "torch": "2.9"} if name != "torch" else {name: value})
        assert name not in kept and "\n" not in line


def test_a_dropped_picture_is_no_result_of_this_machine(session: Any) -> None:
    content = claiming({"fingerprint": {"dtype": "bfloat16", "device": "cuda", "nbdiffuse": "9.9"}})
    dropped = dropped_file("x.png", content)
    assert dropped is not None and dropped.result is not None
    result = dropped.result
    assert dict(result.fingerprint) == {} and result.version == ""
    assert result.claimed_fingerprint == result.shown_fingerprint == {"dtype": "bfloat16", "device": "cuda", "nbdiffuse": "9.9"}
    # Its program is one for this machine.
    assert script_of(result).text == script_of(COMPLETE).text
    assert session.recall(COMPLETE) is not result


def test_a_dropped_picture_runs_nothing_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    panel = nbdiffuse.panel()
    panel._thread.call(lambda: panel._restore("x.png", claiming({"fingerprint": {"dtype": PAYLOAD, "device": PAYLOAD}})))
    result = panel.result
    assert result is not None and result.claimed_fingerprint == {}
    assert "canary" not in script_of(result).text
    assert "`fingerprint: dtype` must be one of" in panel._output._status.value
    script_command(type("Shell", (), {"user_ns": {"r": result}}), ["r", "--check"])
    assert not (tmp_path / "canary").exists()


def test_a_recipe_of_an_earlier_version_is_complete_and_a_torn_one_is_one_line() -> None:
    fields = json.loads(COMPLETE.to_json())
    older = dropped_file("x.png", claiming({"recipe": {name: fields[name] for name in fields if name != "weighting"}}))
    assert older is not None and older.result is not None and repr(older.result)
    older.result._repr_mimebundle_()
    for name in ("seed", "checkpoint", "guidance_scale", "num_inference_steps", "width", "scheduler"):
        with pytest.raises(NbdiffuseError, match=f"{name} is missing"):
            dropped_file("x.png", claiming({"recipe": {field: fields[field] for field in fields if field != name}}))


@pytest.mark.parametrize(
    "value", ["/etc/passwd", "https://localhost/x.png", "start.png", "sha256:abc", 7, ["sha256:" + 64 * "a"]]
)
def test_a_picture_in_a_file_is_an_address_and_nothing_is_opened(
    value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    PICTURE.save("start.png")
    opened: list[Any] = []
    monkeypatch.setattr(Picture, "of", lambda *given, **more: opened.append(given))
    for field in ("image", "mask_image", "control_image"):
        recipe = {**json.loads(COMPLETE.to_json()), field: value}
        for text in ({"recipe": recipe}, {"chain": {"format": 1, "steps": [{"prompt": "x", field: value}]}}):
            with pytest.raises(NbdiffuseError, match="content address"):
                Provenance.from_json(json.dumps({"format": 1, "recipe": json.loads(COMPLETE.to_json()), **text}))
    assert opened == []


def test_a_store_that_somebody_else_filled_gives_no_source(tmp_path: Path) -> None:
    store = Store(tmp_path)
    # With whatever key an attacker computes: of the payload, or of what is left of it.
    provenance = Provenance(COMPLETE, {"dtype": PAYLOAD})
    store.put(PICTURE, provenance, 1.0)
    cut = store_key(COMPLETE, {})
    file = store.path(COMPLETE, {})
    file.parent.mkdir(parents=True, exist_ok=True)
    content = packed(PICTURE, provenance, 1.0, ())
    file.write_bytes(content)
    facts = {"time": 2.0, "recipe": COMPLETE.to_dict(), "picture": Picture.of(PICTURE).address}
    store._note({"key": cut, "bytes": len(content), **facts})
    kept = store.get(COMPLETE, {})
    assert kept is not None and kept.fingerprint == {}
    found = [loaded for entry in store.entries() if (loaded := store.load(entry))]
    assert [dict(one.fingerprint) for _, one in found] == [{}]
    assert store.get(COMPLETE, {"dtype": PAYLOAD}) is None
    shown = [one for one in History(store=store) if one.recipe == COMPLETE]
    assert repr(History(store=store)) and shown and "canary" not in "".join(script_of(one).text for one in shown)


def test_an_entry_is_what_the_index_says_or_it_is_not_there(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(PICTURE, Provenance(COMPLETE, {"torch": "2.9"}), 1.0)
    other = COMPLETE.replace(seed=2)
    store.put(PICTURE, Provenance(other, {"torch": "2.9"}), 1.0)
    first, second = store.entries()
    assert store.load(first) is not None and store.load(second) is not None
    swapped = store._file(first["key"])
    swapped.write_bytes(store._file(second["key"]).read_bytes())
    assert store.load(first) is None
    content = packed(Image.new("RGB", (128, 128)), Provenance(COMPLETE, {"torch": "2.9"}), 1.0, ())
    swapped.write_bytes(content)
    assert store.load(first) is None, "the picture is another one"
    swapped.write_bytes(packed(PICTURE, Provenance(COMPLETE, {"torch": "2.9"}), 1.0, ()))
    assert store.load(first) is not None


@pytest.mark.parametrize("time", ["NaN", "1e400", "-1", "1e18", '"now"', "true", "null"])
def test_an_index_with_no_time_in_it_is_shown_all_the_same(time: str, tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(PICTURE, Provenance(COMPLETE, {"torch": "2.9"}), 1.0)
    (entry,) = store.entries()
    line = json.dumps({**entry, "time": 0}).replace('"time": 0', f'"time": {time}')
    (tmp_path / "index.jsonl").write_text(line + "\n" + "[" * 100_000 + "\n")
    timeline = History(store=store)
    assert repr(timeline) and timeline.to_html()


def test_the_store_keeps_paths_of_this_machine_for_this_machine(tmp_path: Path) -> None:
    own = Provenance(COMPLETE.replace(checkpoint="/home/alice/m"), {"torch": "2.9"})
    assert unpacked(packed(PICTURE, own, 1.0, ()))[1] == own


def answer(**header: Any) -> remote.Answer:
    said = {"seconds": 1.0, "fingerprint": {"torch": "2.9"}, "notices": [], "nsfw_content_detected": []}
    return json.dumps({**said, **header}), [remote._png(PICTURE)]


def test_a_workers_answer_is_checked_too() -> None:
    good = remote.unpacked(answer(), COMPLETE)
    assert isinstance(good, Result) and good.fingerprint == {"torch": "2.9"}
    bad: list[Any] = [answer(fingerprint={"dtype": PAYLOAD}), answer(fingerprint=7), answer(fingerprint={"torch": ["2"]})]
    bad += [("{", []), ("[]", []), ("null", []), ("{}", []), 7, None, (b"\xff", [])]
    for one in bad:
        with pytest.raises(RunError, match="answer cannot be used"):
            remote.fingerprint_of(one)
    bad += [answer(seconds="x"), answer(notices=None), (answer()[0], [b"GIF89a"]), (answer()[0], [7])]
    for one in bad:
        assert isinstance(remote.unpacked(one, COMPLETE), RunError), one


@pytest.mark.parametrize("kind", ["Words", "difflib", "Iterable", "breaks_rule", "__name__", "KeyboardInterrupt", ""])
def test_a_workers_error_is_one_of_ours(kind: str) -> None:
    header = json.dumps({"error": kind, "line": "No.", "details": ""})
    error = remote.unpacked((header, []), COMPLETE)
    assert type(error) is RunError and str(error) == "No."


PARTS = ("recipe", "chain", "chained", "fingerprint", "parents", "version", "partial", "format")
values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts, st.lists(texts, max_size=2))


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(PARTS), st.sampled_from(list(PARAMS)), values)
def test_whatever_a_file_says_is_a_value_or_one_line(part: str, field: str, value: Any) -> None:
    """Into the panel, the reading, the lineage, the cell: nothing but our own errors comes out."""
    recipe = json.loads(COMPLETE.to_json())
    said: dict[str, Any] = {part: value}
    if part == "recipe":
        said = {"recipe": {**recipe, field: value}}
    elif part == "chained":
        said = {"chain": {"format": 1, "steps": [recipe, {**recipe, field: value}]}}
    elif part == "fingerprint" and isinstance(value, str):
        said = {"fingerprint": dict.fromkeys((*_RULES, field), value)}
    text = json.dumps({"format": 1, "recipe": recipe, **said}, ensure_ascii=True)
    try:
        provenance = Provenance.from_json(text)
    except NbdiffuseError as error:
        assert "\n" not in str(error)
        return
    assert checked(provenance.fingerprint) == dict(provenance.fingerprint)
    for use in (_drop, _read, _lineage):
        try:
            use(provenance)
        except NbdiffuseError:
            continue


def _drop(provenance: Provenance) -> None:
    dropped = dropped_file("x.png", png(provenance.to_json()))
    assert dropped is not None and dropped.result is not None
    dropped.result._repr_mimebundle_()
    script_of(dataclasses.replace(dropped.result))


def _read(provenance: Provenance) -> None:
    import io

    with Image.open(io.BytesIO(png(provenance.to_json()))) as image:
        assert repr(read(image))


def _lineage(provenance: Provenance) -> None:
    from nbdiffuse.store.index import PictureIndex
    from nbdiffuse.store.lineage import trace

    assert trace(PICTURE, provenance, PictureIndex()).to_html()


def test_what_a_file_claims_is_shown_when_it_is_verified(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(claiming({"fingerprint": {"torch": "1.0"}}))
    (verdict,) = verify(tmp_path / "x.png")
    assert any(line.startswith("torch was 1.0, is ") for line in verdict.details)
    dropped = dropped_file("x.png", claiming({"fingerprint": {"torch": "1.0"}}))
    assert dropped is not None and dropped.result is not None
    (again,) = verify(dropped.result)
    assert again.changed == verdict.changed
