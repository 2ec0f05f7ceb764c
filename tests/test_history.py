"""The history: what this and earlier kernels made, found by model, prompt and date."""

from __future__ import annotations

import dataclasses
import datetime
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import nbdiffuse
from nbdiffuse import Recipe
from nbdiffuse.errors import ParameterError
from nbdiffuse.results import Result
from nbdiffuse.sessions.history import History
from nbdiffuse.sessions.session import get_session
from nbdiffuse.store.index import keep
from nbdiffuse.store.store import Store

EARLIER = """
import nbdiffuse
nbdiffuse.run(nbdiffuse.Recipe(prompt="a lighthouse of earlier", num_inference_steps=1, seed=5))
"""


@pytest.fixture(scope="module")
def made(scene: Any) -> Result:
    """A result of this session, of a prompt of its own."""
    return nbdiffuse.run(
        Recipe(prompt="an okapi under <b>glass</b>", image=scene.image, num_inference_steps=2, strength=0.5, seed=3)
    )


@pytest.fixture(scope="module")
def earlier(made: Result) -> None:
    """A result of another process, in the same store."""
    subprocess.run([sys.executable, "-c", EARLIER], check=True, env=dict(os.environ), capture_output=True)


@pytest.mark.quick
def test_the_newest_result_is_the_last_one(made: Result) -> None:
    times = [one.when for one in nbdiffuse.history]
    assert times == sorted(times) and times[-1] >= made.when
    newest = nbdiffuse.history.find("okapi")[-1]
    assert (newest.recipe, newest.image.tobytes()) == (made.recipe, made.image.tobytes())


def test_a_result_of_this_session_stands_there_once_although_the_store_has_it_too(made: Result) -> None:
    assert len(nbdiffuse.history.find("okapi")) == 1


def test_results_of_other_kernels_are_there_with_their_pictures(earlier: None) -> None:
    (found,) = nbdiffuse.history.find("lighthouse of earlier")[:]
    assert (found.recipe.prompt, found.recipe.seed) == ("a lighthouse of earlier", 5)
    assert nbdiffuse.verify(found)[0].state == "identical"


def test_the_initial_picture_comes_back_with_a_result_of_another_kernel(made: Result, tmp_path: Path) -> None:
    store = Store(tmp_path)
    keep(made, store)
    code = (
        "import sys; from nbdiffuse.store.store import Store; from nbdiffuse.sessions.history import History;"
        "r = History((), Store(sys.argv[1]))[-1]; print(r.recipe.image.address, r.recipe.image.at_hand, r.initial.size)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, text=True)
    assert done.stdout.split(maxsplit=2)[:2] == [made.recipe.image.address, "True"]


@pytest.mark.parametrize("word", ["okapi", "OKAPI", "sd15"])
def test_words_are_the_model_the_date_or_part_of_the_prompt(made: Result, word: str) -> None:
    year = datetime.datetime.now().strftime("%Y-%m")
    assert made.recipe in [result.recipe for result in nbdiffuse.history.find(word, year, "glass")]
    assert len(nbdiffuse.history.find(word, "1999-01")) == 0


def test_an_empty_timeline_says_so(tmp_path: Path) -> None:
    nothing = History(("no such words anywhere",), Store(tmp_path))
    assert repr(nothing) == "0 results for 'no such words anywhere'"
    with pytest.raises(ParameterError, match="there is no result yet"):
        nothing[-1]
    with pytest.raises(IndexError):
        nothing[0]


def test_prompts_are_shown_as_text_in_tables(made: Result) -> None:
    hostile = dataclasses.replace(made, recipe=made.recipe.replace(prompt="\x1b[31m<script>x</script>\u202e"))
    nbdiffuse.get_session().history.append(hostile)
    shown = nbdiffuse.history.find("script")
    assert "<script" not in shown.to_html() and "&lt;script" in shown.to_html()
    assert all(line.isprintable() for line in repr(shown).splitlines())
    nbdiffuse.get_session().history.pop()


def test_a_damaged_index_costs_only_its_line(made: Result, tmp_path: Path) -> None:
    store = Store(tmp_path)
    keep(made, store)
    with (tmp_path / "index.jsonl").open("ab") as index:
        index.write(b'{"key": "' + b"0" * 64 + b'", "bytes": 1, "recipe": 3, "time": "x"}\n{"key": 7}\n')
    assert [result.recipe.seed for result in History(("okapi",), store)] == [3]


def test_a_result_that_the_store_lost_does_not_keep_the_others_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    for seed in (1, 2, 3):
        kept = nbdiffuse.run(Recipe(prompt="a lost lighthouse", num_inference_steps=1, seed=seed))
        store.put(kept.image, kept.provenance, kept.seconds, ())
    held = get_session().history
    monkeypatch.setattr(get_session(), "history", type(held)())
    files = sorted(tmp_path.glob("images/*/*.png"))
    files[1].write_bytes(bytes(files[1].stat().st_size))
    history = History(store=store)
    assert len(files) == len(history) == 3 and len(list(history)) == len(history[:]) == 2
    with pytest.raises(ParameterError, match="still there"):
        [history[index] for index in range(3)]
