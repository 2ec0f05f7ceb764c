"""Origins: what a preset's name stands for is chosen in one place, and is written into the recipe."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nbdiffuse import Recipe, resolve
from nbdiffuse.errors import ParameterError
from nbdiffuse.recipes import weights_source
from nbdiffuse.recipes.summary import weights_label


@pytest.fixture(autouse=True)
def undone() -> Iterator[None]:
    yield
    weights_source.use(None)


def test_the_choice_is_written_into_every_complete_recipe() -> None:
    recipe = Recipe(prompt="a cat", seed=1)
    weights_source.use("embedded")
    assert resolve(recipe).checkpoint == "sd15" and resolve(recipe).width == 128
    weights_source.use("hub")
    assert resolve(recipe).checkpoint == "stable-diffusion-v1-5/stable-diffusion-v1-5" and resolve(recipe).width == 512
    assert weights_label(resolve(recipe)) == "stable-diffusion-v1-5/stable-diffusion-v1-5"


def test_a_complete_recipe_keeps_its_weights_whatever_is_chosen_later() -> None:
    complete = resolve(Recipe(prompt="a cat", seed=1))
    weights_source.use("hub")
    assert resolve(complete) == complete and weights_label(complete) == "sd15 (embedded)"


def test_an_unknown_choice_offers_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ParameterError, match=r"`use` must be one of embedded, hub, got 'hug'\. Did you mean 'hub'\?"):
        weights_source.use("hug")
    monkeypatch.setenv(weights_source.VARIABLE, "big")
    with pytest.raises(ParameterError, match=r"`NBDIFFUSE_USE` must be one of embedded, hub, got 'big'"):
        resolve(Recipe(prompt="a cat"))
    monkeypatch.setenv(weights_source.VARIABLE, "hub")
    assert weights_source.source() == "hub"


def test_a_hub_id_stands_for_its_preset_and_a_moved_one_too() -> None:
    for word in ("stabilityai/stable-diffusion-xl-base-1.0", "runwayml/stable-diffusion-v1-5"):
        complete = resolve(Recipe(prompt="a cat", model=word, seed=1))
        assert complete.checkpoint == word and "/" not in complete.model
    with pytest.raises(ParameterError, match=r"`--model sd15 --checkpoint some/thing`"):
        resolve(Recipe(prompt="a cat", model="some/thing"))


def test_a_directory_stands_for_the_family_it_was_saved_from() -> None:
    from nbdiffuse import embedded

    directory = str(embedded.path("sd15"))
    complete = resolve(Recipe(prompt="a cat", model=directory, seed=1))
    assert (complete.model, complete.checkpoint) == ("sd15", directory)
    with pytest.raises(ParameterError, match=r"Write `--model sd15`"):
        resolve(Recipe(prompt="a cat", model=directory, checkpoint="other/thing"))
