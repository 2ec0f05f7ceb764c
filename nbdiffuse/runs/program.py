"""The plain diffusers program behind what was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from PIL import Image

from ..errors import ParameterError, Words, breaks_rule
from ..files.targets import check_file
from ..images.picture import Picture
from ..recipes.chain import Chain
from ..recipes.presets import preset_of
from ..recipes.recipe import PARAMS, Recipe
from ..recipes.resolve import checkpoint_text, resolve, resolve_chain
from ..recipes.sizes import made_size
from ..recipes.weights_source import has_gpu
from ..results import Result
from ..scripts import loopbacks, sweeps, writing
from ..scripts.checking import Listed, check
from ..scripts.statements import one_line
from ..scripts.writing import WEIGHTS, Script, Step
from ..sessions.session import get_session
from ..sweeps.sweep import Sweep
from .chain_run import ChainRun
from .grid import Grid
from .latent_transfer import LATENTS, why_decoded
from .loopback import Loopback
from .replay import allowed, is_claim


def script_of(what: Any, *, own_folder: bool = False, name: str = "result") -> Script:
    """Write what makes the same pixels as a stand-alone program of plain diffusers calls.

    Parameters
    ----------
    what
        A recipe, a result, a chain or its run, a sweep or its grid, a loopback, a clip. For a chain that
        has not run, checkpoints may be loaded to see which of them share a VAE.
    own_folder
        Whether the program looks for its pictures beside itself, and not where it is run.
    name
        Of the file that it writes, without a suffix.

    Raises
    ------
    ParameterError
        It is none of these, a recipe breaks a rule, or it begins with latents, which are in no file.
    """
    if isinstance(what, (Sweep, Grid)):
        sweep, done = (what, []) if isinstance(what, Sweep) else (what.sweep, _done(what))
        machine = done[0].fingerprint if done else _machine_of([])
        return sweeps.of_sweep(sweep, machine, own_folder=own_folder, name=name)
    if isinstance(what, Loopback):
        machine = _machine_of([result.fingerprint for result in what.results[:1]])
        return loopbacks.of_loopback(what, machine, own_folder=own_folder, name=name)
    # A clip, whose room stands above this one.
    to_script = getattr(what, "to_script", None)
    if callable(to_script):
        made: Script = to_script(own_folder=own_folder, name=name)
        return made
    return writing.of_steps(_steps(what), own_folder=own_folder, name=name)


def program(what: Any) -> str:
    """Return the text of a stand-alone program of plain diffusers calls that makes the same pixels; see `script_of`."""
    return script_of(what).text


def script_command(shell: Any, words: Sequence[str]) -> Listed | str:
    """Carry out `%diffuse script NAME [FILE] [--check [--yes]]`.

    Parameters
    ----------
    shell
        Holds the name; gets the program as its next cell where no file is given.
    words
        What follows `script`.

    Returns
    -------
    What to show.

    Raises
    ------
    ParameterError
        A word is missing or not known, or there is nothing to compare with.
    FileError
        The file cannot be written.
    ConsentError
        The result was read from a file, and its program would fetch weights or read a local path.
    """
    names = [word for word in words if word not in ("--check", "--yes")]
    if not names or len(names) > 2 or any(name.startswith("--") for name in names):
        rule = "followed by the name of a result, and perhaps a file or `--check`"
        raise ParameterError(breaks_rule("%diffuse script", rule, Words(" ".join(words) or "nothing")))
    if names[0] not in shell.user_ns:
        raise ParameterError(breaks_rule("%diffuse script", "followed by the name of a variable", names[0]))
    what = shell.user_ns[names[0]]
    line = ""
    if len(names) == 2:
        target = Path(names[1])
        check_file(target, (".py",))
        saved = script_of(what, own_folder=True, name=target.stem)
        saved.save(target)
        pictures = f", with {', '.join(saved.pictures)} beside it" if saved.pictures else ""
        line = f"saved: {target}{pictures}"
    if "--check" in words:
        checked = _checked(what, "--yes" in words)
        return Listed(f"{line}\n{checked.line}".strip(), checked.text)
    if not line:
        shell.set_next_input(_as_cell(script_of(what), names[0]))
    return line or "the program is the next cell"


def _checked(what: Any, yes: bool) -> Listed:
    """Run a program and compare; one of what a file says fetches nothing unasked."""
    script, images = script_of(what), _images(what)
    claims = [what.recipe, *(what.chain or ())] if isinstance(what, Result) and is_claim(what) else []
    with allowed(claims, yes):
        return check(script, images, offline=bool(claims) and not yes)


def _as_cell(script: Script, name: str) -> str:
    """Return a program as a cell, which says how its pictures come to be files."""
    if not script.pictures:
        return script.text
    head, _, rest = script.text.partition("\n")
    remark = (
        f"# It opens {', '.join(script.pictures)}:\n# `%diffuse script {one_line(name)} FILE.py` saves them, beside the program."
    )
    return f"{head}\n\n{remark}\n{rest}"


def _images(what: Any) -> list[Image.Image]:
    if isinstance(what, Result):
        return [what.image]
    if isinstance(what, ChainRun) and len(what) == len(what.chain):
        return [what.image]
    if isinstance(what, Grid) and (done := _done(what)):
        return [result.image for result in done]
    if isinstance(what, Loopback) and len(what.pictures) == len(what.recipes):
        return what.pictures
    kind = type(what).__name__
    way_out = "Run it, and give what comes of it."
    raise ParameterError(f"`--check` must have pictures to compare with, and this {kind} has none. {way_out}")


def _done(grid: Grid) -> list[Result]:
    """Return a grid's results, a cell each; none while one is missing."""
    cells = [] if grid.missing else [grid[index] for index in range(len(grid))]
    return [cell for cell in cells if isinstance(cell, Result)]


def _steps(what: Any) -> list[Step]:
    if isinstance(what, ChainRun):
        machines = [result.fingerprint for result in what.results]
        machines += [dict(_machine_of(machines))] * (len(what.chain) - len(machines))
        arrows = [arrow.removeprefix("pixels: ") for arrow in what.arrows]
        chain = Chain(tuple(_with_made_pictures(step, results) for step, results in zip_longest(what.chain, what.results)))
        return _steps_of_chain(chain, machines, arrows, [result.image.size for result in what.results])
    if isinstance(what, Chain):
        return _steps_of_chain(resolve_chain(what), [_machine_of([])] * len(what))
    if isinstance(what, Result):
        # A file's claim says nothing of this machine.
        own = what.fingerprint if what.claimed_fingerprint is None else _machine_of([])
        if what.chain is not None:
            others = [_machine_of([own])] * (len(what.chain) - 1)
            return _steps_of_chain(what.chain, [*others, own])
        return [Step(resolve(what.recipe), own)]
    if isinstance(what, Recipe):
        return [Step(resolve(what), _machine_of([]))]
    raise ParameterError(breaks_rule("program", "asked for a recipe, a result, a chain, a sweep, a grid or a loopback", what))


def _with_made_pictures(step: Recipe, made: Result | None) -> Recipe:
    """Return a chain's step with the pictures that were made for it in the place of the words that asked for them."""
    words = _words_for_pictures(step)
    return step if made is None else step.replace(**{name: made.recipe.get(name) for name in words})


def _words_for_pictures(step: Recipe) -> dict[str, str]:
    return {name: value for name, value in step.values().items() if PARAMS[name].kind is Picture and isinstance(value, str)}


def _machine_of(fingerprints: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return what other results would have run on; without any, what this process's session will."""
    if fingerprints:
        return {name: value for name, value in fingerprints[-1].items() if not WEIGHTS.fullmatch(name)}
    return {"device": "cuda", "dtype": "float16"} if has_gpu() else {}


def _steps_of_chain(
    chain: Chain, machines: Sequence[Mapping[str, str]], arrows: Sequence[str] = (), sizes: Sequence[tuple[int, int]] = ()
) -> list[Step]:
    """Complete a chain's steps as they run one after the other.

    Parameters
    ----------
    chain
        From `resolve_chain`.
    machines
        One for each step.
    arrows
        As far as the chain has run: why a picture was handed over, or `latent_transfer.LATENTS`.
    sizes
        As far as it has run: what the steps made, width and height in pixels.
    """
    steps = [Step(resolve(chain[0]), machines[0])]
    for number, (step, machine) in enumerate(zip(chain.steps[1:], machines[1:], strict=True)):
        for name, word in _words_for_pictures(step).items():
            way_out = "Run the chain, and write the program of that."
            raise ParameterError(f"Step {number + 2}: `{name}` must be a picture in a program, got {word!r}. {way_out}")
        if step.get("extend") is not None:
            raise ParameterError(
                f"Step {number + 2}: `extend` must be left out in a program, which does not say it in later steps."
            )
        before = steps[-1].recipe
        size = sizes[number] if number < len(sizes) else made_size(before)
        reason = arrows[number] if number < len(arrows) else _why_decoded(step, before, size)
        blank = Picture.of(Image.new("RGB", size), label=f"step {number + 1}")
        steps.append(Step(resolve(step.replace(image=blank)), machine, "" if reason == LATENTS else reason))
    return steps


def _why_decoded(step: Recipe, before: Recipe, size: tuple[int, int]) -> str:
    words = [(checkpoint_text(one), one.vae) for one in (before, step)]

    def share() -> bool:
        if words[0] == words[1]:
            return True
        spaces = get_session().with_pipelines(lambda pipelines: [pipelines.space(*word) for word in words])
        return spaces[0] == spaces[1]

    return why_decoded(step, size, preset_of(before.model).keeps_latents(before), share)
