"""A mask may be what a model finds in the picture: a word says what, on every surface, and the file says which model did."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_segmenters
from hub import Hub
from mask_surfaces import QUICK, on_every_surface, swept
from waiting import wait_for

import nbdiffuse
from nbdiffuse import Picture, Recipe, Session, read, resolve
from nbdiffuse.cells.options import parse_cell
from nbdiffuse.embedded.world import sample
from nbdiffuse.errors import CheckpointError, ParameterError
from nbdiffuse.images import mask_arithmetic
from nbdiffuse.images.mask_selection import modelled
from nbdiffuse.magics.notebook_variables import NotebookVariables
from nbdiffuse.metadata.provenance import Provenance
from nbdiffuse.recipes import segmenters
from nbdiffuse.recipes.parts import Mask
from nbdiffuse.runs.consent import words_of
from nbdiffuse.runs.program import script_of

CAT, SKY = "text:a cat@tiny/words", "text:the sky@tiny/words"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return tiny_segmenters.save(tmp_path_factory.mktemp("segmenters"))


@pytest.fixture(autouse=True)
def published(hub: Hub, saved: dict[str, Path]) -> Hub:
    """A hub that has one segmenter of each class."""
    for name, directory in saved.items():
        hub.add(f"tiny/{name}", directory)
    segmenters._segmented.cache_clear()
    return hub


@pytest.fixture
def recipe(scene: Any) -> Recipe:
    return Recipe(**QUICK, image=scene.image, mask_image=CAT)


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every picture in which something is looked for from now on."""
    asked: list[Any] = []
    find = segmenters._segmenter
    assert find is not None

    def noted(image: Any, selection: Any) -> Any:
        asked.append(image)
        return find(image, selection)

    monkeypatch.setattr(segmenters, "_segmenter", noted)
    return asked


def white(mask: Any) -> Any:
    return np.asarray(mask.image.convert("L")) > 127


def test_a_complete_recipe_has_the_mask_and_the_file_says_what_selected_it(
    recipe: Recipe, scene: Any, session: Session, tmp_path: Path
) -> None:
    complete = resolve(recipe)
    mask = session.select_mask(scene.image, CAT)
    assert 0.05 < white(mask).mean() < 0.95 and mask.label == CAT
    assert complete.mask is not None and complete.mask.image == mask and resolve(complete) == complete
    assert hash(recipe) == hash(Recipe.from_json(recipe.to_json())) and Recipe.from_json(recipe.to_json()) == recipe
    made = session.run(recipe)
    assert made.image.tobytes() == session.run(recipe.replace(mask_image=mask.image)).image.tobytes()
    assert any(line.startswith(f"`mask_image`: {CAT} selects ") for line in made.notices)
    made.save(tmp_path / "made.png")
    said = read(tmp_path / "made.png").provenance
    assert said is not None and said.selection == CAT and said.recipe == made.recipe
    assert said.recipe.mask is not None and said.recipe.mask.image.label == CAT
    assert Provenance.from_json(said.to_json()) == said
    assert session.run(recipe.replace(mask_image=mask.image)).provenance.selection == ""


def test_it_is_said_on_every_surface(session: Session, scene: Any, tmp_path: Path) -> None:
    values = parse_cell("img2img", "start --mask-image 'text:a cat~0.4@tiny/words' --mask-grow 2", "a red cat").values
    asked = NotebookVariables({"start": scene.image}).recipe(values)
    assert asked.mask == Mask(image="text:a cat~0.4@tiny/words", grow=2)
    on_every_surface(resolve(asked.replace(**{name: QUICK[name] for name in QUICK if name != "prompt"})), session, tmp_path)


def test_selections_are_swept_and_each_is_found_once(recipe: Recipe, session: Session, looked: list[Any], tmp_path: Path) -> None:
    swept(recipe, session, tmp_path, mask_image=(CAT, SKY))
    assert len(looked) == 2


def test_a_later_step_selects_from_what_the_step_before_makes(recipe: Recipe, tmp_path: Path) -> None:
    chain = recipe.replace(mask=None) >> Recipe(**QUICK, mask_image=SKY)
    made = nbdiffuse.run(chain)
    before, after = made.results
    assert after.recipe.mask.image == nbdiffuse.get_session().select_mask(before.image, SKY)
    after.save(tmp_path / "chain.png")
    said = read(tmp_path / "chain.png").provenance
    assert said is not None and said.chain is not None and said.chain[1].mask.image == SKY and said.selection == SKY
    assert nbdiffuse.replay(tmp_path / "chain.png").image.tobytes() == after.image.tobytes()
    with pytest.raises(ParameterError, match="Step 2: `mask_image` must be a picture in a program, got 'text:the sky"):
        script_of(chain)


def test_masks_by_words_combine_with_others(scene: Any, session: Session) -> None:
    first, second = (session.select_mask(scene.image, text) for text in (CAT, "auto:subject~0.4@tiny/sam"))
    assert np.array_equal(white(mask_arithmetic.union(first, second)), white(first) | white(second))
    assert session.select_mask(scene.image, "color:#808080~255").label == "color:#808080~255"


@pytest.mark.parametrize(
    ("changes", "line"),
    [({"scheduler": "Nothing"}, "`scheduler` must be"), ({"strength": 0.1}, "strength"), ({"image": None}, "image")],
    ids=str,
)
def test_nothing_is_looked_for_before_all_else_is_checked(
    changes: dict[str, Any], line: str, recipe: Recipe, looked: list[Any]
) -> None:
    with pytest.raises(ParameterError, match=line):
        resolve(recipe.replace(**changes))
    assert looked == []


def test_what_is_not_found_or_not_known_is_one_line(recipe: Recipe) -> None:
    for text, error, line in (
        ("text:sky~0.9999@tiny/labels", ParameterError, r"selects nothing\. Lower the probability, as in `text:sky~0\.3`"),
        ("text:dog@tiny/labels", ParameterError, r"must name something that the segmenter knows, got 'dog'\. It knows wall"),
        ("text:sky@tiny/sam", ParameterError, "must be `auto:subject` for .*, which knows no words"),
        ("text:sky@depth-estimator", CheckpointError, "which selects no part of a picture"),
        ("text:sky@no/such", CheckpointError, "no/such"),
    ):
        with pytest.raises(error, match=line):
            resolve(recipe.replace(mask_image=text))
    for text in ("text:", "text: ", "text:sky~2", "text:sky~", "text:sky@", "text:sky@../x", "text:sky@/home/me"):
        with pytest.raises(ParameterError, match=r"^`mask_image` must be a picture, `auto:alpha`, `auto:subject`, `text:sky`"):
            Recipe(mask_image=text)


def test_a_file_from_elsewhere_names_no_model_that_is_fetched_unasked(recipe: Recipe) -> None:
    complete = resolve(recipe)
    later = Recipe(**QUICK, mask_image="text:sky@evil/repo")
    assert "evil/repo" in words_of(complete.replace(mask_image="text:sky@evil/repo"))
    hostile = Provenance(complete.replace(mask_image="text:sky@evil/repo"), chain=nbdiffuse.Chain((complete, later)))
    said = Provenance.from_json(hostile.to_own_json())
    assert said.recipe.mask is not None and said.recipe.mask.image == "text:sky"
    assert said.chain is not None and said.chain[1].mask.image == "text:sky@evil/repo"
    assert said.left_out == ("Folders and segmenters that the file names are left out.",)


def test_the_usual_model_knows_what_the_checkpoint_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    for use, base, text, checkpoint in (
        ("hub", None, "text:sky", "CIDAS/clipseg-rd64-refined"),
        ("hub", None, "auto:subject", "facebook/sam-vit-base"),
        ("hub", "sd15", "text:sky", "segmenter"),
        ("embedded", None, "text:sky", "segmenter"),
        ("embedded", "sd15", "auto:subject", "segmenter"),
        ("embedded", "owner/model", "auto:subject", "facebook/sam-vit-base"),
        ("embedded", "sd15", "text:sky@owner/name", "owner/name"),
    ):
        monkeypatch.setenv("NBDIFFUSE_USE", use)
        asked = modelled(text)
        assert asked is not None
        assert segmenters.with_checkpoint(text, base) == dataclasses.replace(asked, checkpoint=checkpoint)


@pytest.mark.parametrize(("word", "part"), [("text:sky", "sky"), ("auto:subject", "subject"), ("text:the cat", "cat")])
def test_a_mask_by_words_needs_no_download(word: str, part: str, session: Session) -> None:
    scene = next(one for one in map(sample, range(3_000_000, 3_000_200)) if one.subject == "cat" and one.place == "ocean")
    made = session.run(Recipe(**QUICK, image=scene.image, mask_image=word))
    found, wanted = white(made.recipe.mask.image), np.asarray(scene.mask_of(part)) > 127
    assert (found & wanted).sum() >= 0.6 * (found | wanted).sum()
    kept = ~found
    assert np.array_equal(np.asarray(made.image)[kept], np.asarray(scene.image)[kept])
    assert made.provenance.selection == f"{word}@segmenter"


def test_what_the_small_segmenter_was_never_shown_is_said_with_the_way_to_a_large_one(scene: Any) -> None:
    for word, line in (
        ("text:red hat", r"got 'red hat'\. It knows astronaut, subject, cat, .*, mountains, mountain\. "),
        ("text:skyy~0.3", r"got 'skyy'\. Did you mean 'sky'\? "),
    ):
        with pytest.raises(ParameterError, match=f"{line}Any words: {word}@CIDAS/clipseg-rd64-refined, from the hub\\.$"):
            resolve(Recipe(**QUICK, image=scene.image, mask_image=word))


def test_a_panel_shows_the_mask_before_the_run(session: Session, scene: Any) -> None:
    from nbdiffuse.panels.recipe_panel import Panel

    panel = Panel(Recipe(**QUICK, image=scene.image), session)
    try:
        named = panel._controls._control("mask_image")
        named._named.value = CAT
        named._typed()
        wait_for(lambda: panel._controls.asked.mask is not None)
        mask = panel._controls.recipe.mask
        assert mask is not None and isinstance(mask.image, Picture)
        assert mask.image == session.select_mask(scene.image, CAT) and isinstance(panel._controls.outlook, Recipe)
    finally:
        panel.stop()
