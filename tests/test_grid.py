"""Grids: each image once, in order, kept, resumed, and shown on one sheet and one page."""

from __future__ import annotations

import base64
import html.parser
import io
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from waiting import wait_for

from nbdiffuse import Recipe
from nbdiffuse.errors import Interrupted, NbdiffuseError, ParameterError, RunError
from nbdiffuse.images import gallery
from nbdiffuse.images.sheets import SheetCell, Table, axis_sheet, sheet_png
from nbdiffuse.metadata import image_files
from nbdiffuse.results import Result
from nbdiffuse.runs.grid import Grid
from nbdiffuse.runs.outcomes import FailedCell
from nbdiffuse.runs.sweep_api import sweep
from nbdiffuse.sessions.history import History
from nbdiffuse.sessions.runners import SessionRunner
from nbdiffuse.store.store import Store
from nbdiffuse.sweeps.sweep import Sweep


@pytest.fixture
def recipe(scene: Any) -> Recipe:
    return Recipe(prompt="a house", image=scene.image, num_inference_steps=4, strength=0.5, scheduler="DDIM", seed=5)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


@pytest.fixture
def runs(session: Any) -> Callable[[], int]:
    """Return how many recipes the engine has run since the test began."""
    session.history.clear()  # It holds a bounded number.
    return lambda: len(session.history)


def interrupting(after: int) -> Callable[[], None]:
    """Return a function that is interrupted, as by the stop button, at its n-th call."""
    calls = iter(range(after))

    def wait() -> None:
        if next(calls, None) is None:
            raise KeyboardInterrupt

    return wait


@pytest.mark.quick
def test_a_sweep_of_one_cell_is_a_run(recipe: Recipe, session: Any) -> None:
    alone = session.run(recipe)
    for grid in (Grid(Sweep.of(recipe)), Grid(Sweep.of(recipe, seed=[5]))):
        (only,) = grid
        assert only.recipe == alone.recipe and only.image.tobytes() == alone.image.tobytes()


def test_results_come_in_order_and_equal_single_runs(recipe: Recipe, session: Any) -> None:
    grid = Grid(Sweep.of(recipe, strength=[0.5, 1.0], guidance_scale=[1, 7]))
    results = list(grid)
    assert [result.recipe for result in results] == [cell.recipe for cell in grid.sweep.cells()]
    for result in results:
        alone = np.asarray(session.run(result.recipe).image, int)
        assert np.abs(np.asarray(result.image, int) - alone).max() <= 1


def test_iterating_runs_no_more_than_a_few_cells_ahead(recipe: Recipe, runs: Callable[[], int]) -> None:
    cells = iter(Grid(Sweep.of(recipe, seed=range(10))))
    assert runs() == 0
    next(cells)
    assert runs() == SessionRunner.ahead == 8
    assert len(list(cells)) == 9 and runs() == 10


def test_strengths_with_equal_steps_run_once_and_are_marked(recipe: Recipe, runs: Callable[[], int], session: Any) -> None:
    grid = Grid(Sweep.of(recipe, strength=[0.25, 0.3, 0.45, 0.5])).run()
    assert runs() == 2
    assert [record["source"] for record in grid.records()] == ["run", "equal to 0", "equal to 0", "run"]
    assert grid[2].recipe.strength == 0.45
    assert grid[2].image.tobytes() == grid[0].image.tobytes() != grid[3].image.tobytes()
    alone = np.asarray(session.run(grid[2].recipe).image, int)
    assert np.abs(np.asarray(grid[2].image, int) - alone).max() <= 1


def test_the_store_spares_what_was_run_before(recipe: Recipe, store: Store, runs: Callable[[], int]) -> None:
    first = Grid(Sweep.of(recipe, guidance_scale=[1, 7]), store=store).run()
    second = Grid(Sweep.of(recipe, guidance_scale=[1, 3, 7]), store=store).run()
    assert runs() == 3
    assert [record["source"] for record in second.records()] == ["store", "run", "store"]
    again, before = second[2], first[1]
    assert isinstance(again, Result) and isinstance(before, Result) and again.initial and before.initial
    assert again.image.tobytes() == before.image.tobytes() and again.initial.tobytes() == before.initial.tobytes()
    assert (again.recipe, again.seconds, dict(again.fingerprint)) == (before.recipe, before.seconds, dict(before.fingerprint))


def test_an_equal_image_in_the_store_does_for_all(recipe: Recipe, store: Store, runs: Callable[[], int]) -> None:
    Grid(Sweep.of(recipe, strength=[0.3]), store=store).run()
    equal = Grid(Sweep.of(recipe, strength=[0.25, 0.3, 0.4]), store=store)
    assert [result.recipe.strength for result in equal] == [0.25, 0.3, 0.4] and runs() == 1


def test_another_fingerprint_is_run_anew(recipe: Recipe, store: Store, runs: Callable[[], int]) -> None:
    Grid(Sweep.of(recipe), store=store).run()
    Grid(Sweep.of(recipe), store=store, fingerprints=lambda recipe: {"torch": "other"}).run()
    assert runs() == 2


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_an_interrupt_keeps_what_is_finished_and_the_rest_goes_on(
    recipe: Recipe, store: Store, runs: Callable[[], int], after: int
) -> None:
    sweep = Sweep.of(recipe.replace(num_inference_steps=8), seed=range(4), strength=[1.0])
    grid = Grid(sweep, store=store)
    with pytest.raises(Interrupted, match=r"Stopped with \d of 4 distinct images finished"):
        grid.run(interrupting(after))
    finished = runs()
    assert grid.missing == 4 - finished > 0
    fresh = Grid(sweep, store=store).run()
    assert runs() == 4 and fresh.missing == 0
    assert [record["source"] for record in fresh.records()] == ["store"] * finished + ["run"] * (4 - finished)
    grid.run()
    assert runs() == 4


def test_an_open_seed_is_drawn_again_after_an_interrupt_and_anew_after_the_end(recipe: Recipe, store: Store) -> None:
    recipe = recipe.replace(seed=None)
    grid = sweep(recipe, store, guidance_scale=[1, 3])
    with pytest.raises(Interrupted):
        grid.run(interrupting(0))
    resumed = sweep(recipe, store, guidance_scale=[1, 3])
    assert resumed.sweep == grid.sweep
    assert sweep(recipe, store, guidance_scale=[1, 4]).sweep.base.seed != grid.sweep.base.seed
    resumed.run()
    assert sweep(recipe, store, guidance_scale=[1, 3]).sweep.base.seed != grid.sweep.base.seed


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[int]]:
    """Seeds whose runs fail on the worker."""
    from nbdiffuse.engine.engine import Engine

    seeds, run = {2}, Engine.run

    def failing(engine: Engine, recipe: Recipe, *rest: Any) -> Any:
        if recipe.seed in seeds:
            [][0]
        return run(engine, recipe, *rest)

    monkeypatch.setattr(Engine, "run", failing)
    yield seeds


def test_one_failing_cell_holds_its_error_and_the_rest_goes_on(recipe: Recipe, flaky: set[int], tmp_path: Path) -> None:
    grid = Grid(Sweep.of(recipe, seed=[1, 2, 3]))
    first, second, third = grid
    assert isinstance(first, Result) and isinstance(third, Result)
    assert isinstance(second, FailedCell) and second.recipe.seed == 2 and second.images == ()
    with pytest.raises(RunError, match="IndexError"):
        _ = second.image
    assert grid.missing == 1 and "IndexError" in grid.records()[1]["error"]
    (notice,) = grid.notices
    assert notice.startswith("1 of 3 distinct images failed: ") and "IndexError" in notice
    assert "IndexError" in grid.save(tmp_path / "out").read_text() and len(list((tmp_path / "out").glob("*.png"))) == 2
    flaky.clear()
    assert grid.run().missing == 0


def test_parts_share_what_was_run(recipe: Recipe, runs: Callable[[], int]) -> None:
    grid = Grid(Sweep.of(recipe, strength=[0.5, 1.0], seed=[1, 2]))
    part = grid.sel(strength=1.0).run()
    assert runs() == 2 and len(part) == 2 and grid.missing == 2
    grid.run()
    assert runs() == 4
    turned = grid.pivot()
    assert turned.missing == 0 and [result.recipe.seed for result in turned] == [1, 1, 2, 2]
    assert grid.sel(strength=0.5, seed=2)[0].image is grid[1].image


def test_extending_runs_only_new_cells(recipe: Recipe, runs: Callable[[], int]) -> None:
    grid = Grid(Sweep.of(recipe, strength=[0.5], seed=[1, 2])).run()
    grown = grid.extend(strength=[0.5, 0.6, 1.0])
    assert grown.missing == 2  # 0.6 runs the steps of 0.5.
    grown.run()
    assert runs() == 4 and len(grown) == 6


def test_indexing_runs_one_cell(recipe: Recipe, runs: Callable[[], int]) -> None:
    grid = Grid(Sweep.of(recipe, seed=range(50)))
    assert grid[-1].recipe.seed == 49 and runs() == 1
    with pytest.raises(IndexError):
        _ = grid[50]


def test_diff_names_what_differs(recipe: Recipe) -> None:
    grid = Grid(Sweep.of(recipe, strength=[0.5, 1.0], seed=[1, 2]))
    assert grid.diff(0, 3) == {"strength": (0.5, 1.0), "seed": (1, 2)}
    assert grid.diff({"strength": 0.5, "seed": 1}, 1) == {"seed": (1, 2)}
    with pytest.raises(ParameterError, match="Give a value for seed too"):
        grid.diff({"strength": 0.5}, 1)


def test_a_frame_needs_pandas_and_says_so(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = Grid(Sweep.of(recipe, seed=[1, 2]))
    assert [record["seed"] for record in grid.records()] == [1, 2]
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(NbdiffuseError, match=r"needs pandas.*records\(\)"):
        grid.to_frame()


def test_an_interrupt_between_two_cells_keeps_both(recipe: Recipe, store: Store, runs: Callable[[], int]) -> None:
    # The last one runs ten times the steps of the others.
    grid = Grid(Sweep.of(recipe.replace(num_inference_steps=40), strength=[0.1, 0.2, 1.0]), store=store)

    def stop_after_the_second() -> None:
        if grid.missing == 1:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="Stopped with 2 of 3"):
        grid.run(stop_after_the_second)
    assert runs() == 2
    assert Grid(grid.sweep, store=store).run().missing == 0 and runs() == 3


def test_a_grid_fills_in_through_one_display(
    recipe: Recipe, shown: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from nbdiffuse.magics import live_display as display_of

    monkeypatch.setattr(display_of, "REFRESH", 0.0)
    monkeypatch.setattr(display_of, "SHARE", 1.0)
    grid = Grid(Sweep.of(recipe, seed=[1, 2]))
    live = display_of.LiveGrid(grid, animated=True)
    grid.run(live.refresh)
    live.finish()
    assert len({bundle["image/png"] for bundle in shown}) >= 3
    assert {bundle["text/plain"] for bundle in shown} == {"sweep: seed"}
    assert shown[-1]["image/png"] == grid._repr_mimebundle_()["image/png"]
    shown.clear()
    still = display_of.LiveGrid(grid, animated=False)
    still.refresh()
    still.finish()
    assert len(shown) == 1


def test_a_store_that_cannot_be_written_costs_no_image(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    grid = Grid(Sweep.of(recipe, seed=[1, 2]), store=Store(tmp_path / "file")).run()
    assert grid.missing == 0 and len(grid.notices) == 1 and "cannot be written" in grid.notices[0]


def test_the_text_names_the_axes_and_nothing_else(recipe: Recipe) -> None:
    grid = Grid(Sweep.of(recipe, strength=[0.5, 1.0], guidance_scale=[1, 7]))
    for bundle in (grid._repr_mimebundle_(), grid.run()._repr_mimebundle_()):
        assert set(bundle) == {"image/png", "text/plain"} and bundle["text/plain"] == "sweep: strength x guidance_scale"
    assert repr(Grid(Sweep.of(recipe))) == "sweep: one cell"


def noise(seed: int, side: int = 256) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8))


@pytest.mark.parametrize(("columns", "rows", "least"), [(2, 1, 200), (5, 5, 100), (10, 6, 60)])
def test_a_sheet_stays_light_and_its_pictures_readable(columns: int, rows: int, least: int) -> None:
    photo = noise(1).resize((64, 64)).resize((256, 256), Image.Resampling.BICUBIC)
    spots = tuple(SheetCell(photo) for _ in range(columns * rows))
    table = Table(spots, tuple(map(str, range(columns))), tuple(map(str, range(rows))), "strength", "seed")
    png = sheet_png([table], photo)
    size = Image.open(io.BytesIO(png)).size
    assert len(base64.b64encode(png)) <= 1_000_000 and size[0] / (columns + 2) >= least * 0.8 and size[0] <= 1300


def test_even_pure_noise_stays_light() -> None:
    table = Table(tuple(SheetCell(noise(seed)) for seed in range(25)), tuple("abcde"), tuple("abcde"))
    assert len(base64.b64encode(sheet_png([table]))) <= 1_000_000


def test_an_error_is_readable_in_its_place_and_a_note_leaves_its_picture_to_be_seen() -> None:
    line = "CheckpointError: The hub has no acme/other, or not for you. Check the name."

    def dark(spot: SheetCell) -> int:
        return int((np.asarray(axis_sheet([Table((spot,), ("1",))], side=200)) == (32, 32, 32, 255)).all(-1).sum())

    assert dark(SheetCell(None, line)) > 2 * dark(SheetCell(Image.new("RGB", (200, 200), "white"), line))
    assert dark(SheetCell(None, line * 50)) <= 200 * 200
    assert dark(SheetCell(None, "not run")) == dark(SheetCell(Image.new("RGB", (200, 200), "white"), "not run"))


def test_every_picture_and_header_stands_on_the_sheet() -> None:
    colors = [(40 + 8 * index, 90, 200 - 8 * index) for index in range(12)]
    spots = tuple(SheetCell(Image.new("RGB", (64, 64), color)) for color in colors)
    tables = [Table(spots[:6], ("1", "2", "3"), ("a", "b"), "seed", "prompt", "strength 1"), Table(spots[6:], tuple("123456"))]
    sheet = axis_sheet(tables, Image.new("RGB", (64, 64), "white"), side=64)
    pixels = np.asarray(sheet)
    for color in colors:
        assert (pixels == (*color, 255)).all(-1).sum() == 64 * 64
    assert (pixels[..., 3] == 0).any()
    bare = axis_sheet([Table(spots[:6], ("", "", ""), ("", ""), "seed", "prompt", "strength 1")], side=64)
    named = axis_sheet([Table(spots[:6], ("1", "2", "3"), ("", ""), "seed", "prompt", "strength 1")], side=64)
    assert bare.size == named.size and bare.tobytes() != named.tobytes()


class Page(html.parser.HTMLParser):
    """What a browser would make of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text())
    return page


def test_a_saved_grid_is_a_page_with_full_pictures_that_know_their_recipes(recipe: Recipe, tmp_path: Path) -> None:
    grid = Grid(Sweep.of(recipe, strength=[0.5, 0.6], seed=[1, 2])).run()
    page = grid.save(tmp_path / "out")
    assert sorted(file.name for file in page.parent.iterdir()) == ["cell-000.png", "cell-001.png", "index.html"]
    provenance = image_files.read(page.parent / "cell-001.png").provenance
    assert provenance is not None and provenance.recipe == grid[1].recipe
    content = page.read_text()
    assert content.count("data:image/jpeg;base64,") == 5 and "<script" not in content and "http" not in content
    assert content.count('href="cell-001.png"') == 2 and "= 0.5" in content


EVIL = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style></pre></html>",
    "&lt;b&gt; &amp;",
    "\u202eevil\u2066",
    "a\0b",
]


@pytest.mark.parametrize("text", EVIL)
def test_every_text_on_a_page_is_text(recipe: Recipe, tmp_path: Path, text: str) -> None:
    image = recipe.image
    plain, hostile = (
        parsed(
            Grid(Sweep.of(Recipe(prompt=words, image=image, negative_prompt=words), prompt=[words, "b"])).save(tmp_path / name)
        )
        for name, words in (("plain", "a"), ("hostile", text))
    )
    assert hostile.tags == plain.tags
    assert text.replace("\0", "\N{REPLACEMENT CHARACTER}") in hostile.text


@pytest.mark.parametrize("text", EVIL)
def test_a_page_shows_every_kind_of_text_as_typed(text: str) -> None:
    def tags(words: str) -> Any:
        spot = SheetCell(noise(1, 8), words, words, words, words)
        page = Page()
        page.feed(gallery.page(words, [Table((spot,), (words,), (words,), words, words, words)], noise(2, 8)))
        return page.tags, page.text

    (found, read), (expected, _) = tags(text), tags("plain")
    assert found == expected and read.count(text.replace("\0", "\N{REPLACEMENT CHARACTER}")) == 9


KILLED = """
import nbdiffuse
from nbdiffuse.embedded import world
from nbdiffuse.store.store import Store
from nbdiffuse.sweeps.sweep import Sweep
from nbdiffuse.runs.grid import Grid
recipe = nbdiffuse.Recipe(prompt="a house", image=world.sample(3_000_003).image, num_inference_steps=4, scheduler="DDIM", seed=5)
Grid(Sweep.of(recipe, guidance_scale=range(1, 100)), store=Store({folder!r})).run()
"""


def test_a_killed_process_loses_nothing_finished(recipe: Recipe, store: Store, runs: Callable[[], int]) -> None:
    child = subprocess.Popen([sys.executable, "-c", KILLED.format(folder=str(store.folder))], stderr=subprocess.PIPE)
    wait_for(lambda: len(list(store.entries())) >= 3 or child.poll() is not None)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    finished = len(list(store.entries()))
    assert finished >= 3
    sweep = Sweep.of(recipe.replace(strength=None), guidance_scale=range(1, finished + 3))
    grid = Grid(sweep, store=store).run()
    assert runs() in (1, 2)  # One more may have been whole when its line in the index was not yet written.
    assert [record["source"] for record in grid.records()][:finished] == ["store"] * finished
    assert all(isinstance(result, Result) for result in grid)
    # A later kernel finds each of them, once.
    kept = [entry["key"] for entry in store.entries()]
    assert len(kept) == len(set(kept)) and finished + 1 <= len(kept) <= finished + 2
    made = {result.recipe for result in History(store=store)}
    # Of one that was whole when its line was not yet written, the index knows nothing.
    assert sum(result.recipe not in made for result in grid) <= 1
