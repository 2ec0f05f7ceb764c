"""Carrying out: a cell's line and body are run, and what is made goes to files."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from ..batches.batch_api import batch
from ..batches.film_writer import WRITTEN
from ..cells.batches import folder_for
from ..cells.chains import parse_chain
from ..cells.loopbacks import parse_loopback
from ..cells.options import Cell, parse_cell
from ..cells.variables import find_picture
from ..errors import ParameterError, breaks_rule
from ..families.parameters import Param
from ..files.targets import check_file, check_folder
from ..images.picture import Picture
from ..metadata.image_files import SUFFIXES
from ..recipes.chain import Chain
from ..recipes.recipe import PARAMS, Recipe
from ..recipes.resolve import resolve
from ..recipes.steps import steps_line
from ..recipes.summary import notices
from ..runs.chain_run import ChainRun
from ..runs.loopback import FORMATS, Loopback
from ..runs.sweep_api import sweep
from ..sessions.named_executors import WORDS
from ..sessions.session import get_session
from ..store.store import Store
from .report import Report

TASKS = ("img2img", "txt2img", "edit")
MAGICS = (*TASKS, "chain", "loopback")
"""What a cell in a file may begin with."""


def carried_out(magic: str, line: str, body: str, place: str | None, report: Report) -> bool:
    """Run a cell and write what it makes.

    Parameters
    ----------
    magic
        Of `MAGICS`.
    line, body
        As they stand in a cell.
    place
        File of the result or folder of several; what `--save` of the cell says when None, else beside the picture.
    report
        Is told what happens.

    Returns
    -------
    bool
        Whether all that was asked for is there.

    Raises
    ------
    NbdiffuseError
        The cell breaks a rule, or what it is about failed.
    """
    if magic == "chain":
        return _chain(line, body, place, report)
    if magic == "loopback":
        return _loopback(line, body, place, report)
    # A film's name decides what the cell is about.
    named = place is not None and Path(place).suffix.lower() in WRITTEN and "--save" not in shlex.split(line)
    asked = parse_cell(magic, f"{line} --save {shlex.quote(place)}" if named and place else line, body, {})
    for option, given in (("out", asked.out), ("panel", asked.panel), ("measure", asked.measure and asked.many is None)):
        if given:
            raise ParameterError(f"`--{option}` must be left out here: it belongs to a notebook.")
    if asked.executor not in (None, *WORDS):
        raise ParameterError(breaks_rule("--executor", f"one of {', '.join(WORDS)}", asked.executor))
    if asked.many is not None:
        return _batch(magic, asked, place, report)
    return _grid(asked, place, report) if asked.is_grid else _single(magic, asked, place, report)


def _recipe(values: dict[str, Any]) -> Recipe:
    return Recipe.from_dict({name: _value(PARAMS[name], value) for name, value in values.items()})


def _value(param: Param, value: Any) -> Any:
    return find_picture(value, {}) if param.kind is Picture and not param.is_word(value) else value


def _batch(magic: str, asked: Cell, place: str | None, report: Report) -> bool:
    many = asked.many or {}
    folder = folder_for(many, place or asked.save, magic)
    if folder is not None:
        _check_folder(folder)
    how: dict[str, Any] = {"num_images_per_prompt": asked.num_images_per_prompt, **many, **asked.axes}
    made = batch(_recipe(asked.values), folder=folder, executor=asked.executor, **how)
    report.say("plan", made.plan_line(), count=len(made), folder=str(made.folder))
    _say(report, *made.before_run, *asked.notices)
    try:
        made.run(lambda: report.follow(made))
    finally:
        _say(report, *(line for line in made.notices if line not in made.before_run))
    done, where = len(made) - made.missing, str(folder or many.get("film"))
    report.say("end", f"{done} of {len(made)} are in {where}.", done=done, failed=len(made.failed), folder=where)
    return not made.missing


def _grid(asked: Cell, place: str | None, report: Report) -> bool:
    folder = place or asked.save or "grid"
    _check_folder(folder)
    axes: dict[str, Any] = {name: [_value(PARAMS[name], one) for one in values] for name, values in asked.axes.items()}
    how: dict[str, Any] = {"yes": asked.yes, "num_images_per_prompt": asked.num_images_per_prompt, **axes}
    grid = sweep(_recipe(asked.values), executor=asked.executor, **how)
    report.say("plan", grid.plan_line(), count=len(grid), folder=folder)
    _say(report, *grid.before_run, *asked.notices)
    grid.run()
    grid.save(folder)
    _say(report, *grid.notices)
    report.say("end", f"{len(grid)} cells are in {folder}.", folder=folder, missing=grid.missing)
    return not grid.missing


def _single(magic: str, asked: Cell, place: str | None, report: Report) -> bool:
    file = place or asked.save or _beside(asked.values.get("image"), magic)
    check_file(file, SUFFIXES, "out")
    recipe = resolve(_recipe(asked.values))
    report.say("plan", steps_line(recipe), count=1, file=file)
    said = (*notices(recipe), *asked.notices)
    _say(report, *(line for line in said if line != steps_line(recipe)))
    result = get_session().run(recipe)
    _say(report, *(line for line in result.notices if line not in said))
    result.save(file)
    report.say(
        "end", f"{file}: {result!r}, seed {result.recipe.seed}", file=file, seed=result.recipe.seed, seconds=result.seconds
    )
    return True


def _chain(line: str, body: str, place: str | None, report: Report) -> bool:
    asked = parse_chain(line, body, {})
    if asked.axes:
        raise ParameterError("`run` must be given a chain with one value of each option. Run a grid of chains in a notebook.")
    file = place or asked.save or "chain.png"
    check_file(file, SUFFIXES, "out")
    run = ChainRun(Chain(tuple(_recipe(values) for values in asked.steps)), store=Store())
    report.say("plan", f"{len(run.chain)} steps of a chain", count=len(run.chain), file=file)
    _say(report, *run.before_run, *asked.notices)
    run.run()
    run.save(file)
    report.say("end", f"{file}: the last of {len(run.results)} steps", file=file)
    return True


def _loopback(line: str, body: str, place: str | None, report: Report) -> bool:
    asked, values = parse_loopback(line, body, {})
    file = place or asked.save or "loopback.gif"
    check_file(file, FORMATS, "out")
    loop = Loopback(_recipe(asked.values), **values)
    report.say("plan", f"{len(loop.recipes)} passes", count=len(loop.recipes), file=file)
    _say(report, *loop.before_run, *asked.notices)
    loop.run()
    loop.save(file)
    report.say("end", f"{file}: {len(loop.recipes)} passes", file=file)
    return True


def _beside(picture: Any, magic: str) -> str:
    """Return where one result goes when nobody says it: beside its picture, under a name that is free."""
    path = Path(str(picture)) if picture is not None and not str(picture).startswith("example:") else Path("result.png")
    stem = f"{path.stem}-{magic}" if picture is not None else magic
    names = (path.with_name(f"{stem}{'' if number == 1 else f'-{number}'}.png") for number in range(1, 10_000))
    return str(next(name for name in names if not name.exists()))


def _check_folder(folder: str) -> None:
    if Path(folder).suffix.lower() in SUFFIXES:
        raise ParameterError(breaks_rule("--out", "a folder for several pictures", folder))
    check_folder(folder)


def _say(report: Report, *lines: str) -> None:
    for line in dict.fromkeys(lines):
        report.say("notice", line)
