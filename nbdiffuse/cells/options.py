"""A magic's line and body as values: every option derives from the recipe's declarations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ParameterError, breaks_rule
from ..files.paths import here
from ..images.metrics import METRICS
from ..metadata import a1111
from ..metadata.a1111_samplers import clip_skip_lines
from ..recipes import prompt_loras
from ..recipes.fields import first_name, names_of, numbered
from ..recipes.lora import JOINT
from ..recipes.preset import SCHEDULERS
from ..recipes.presets import EDIT, PRESETS, model_names, preset_of
from ..recipes.recipe import Recipe
from ..recipes.resolve import BLANK
from ..sweeps import counts
from ..sweeps.axes import alternatives, values_of
from .batches import OPTIONS as MANY_OPTIONS
from .batches import many_in
from .flags import CELL_OPTIONS, Parser, fields_of, flag, named_option, parser_of, unknown_option, words_of
from .variables import file_typed, named_value, pictures_typed, template_notice, values_typed

INTROS = {
    "img2img": ("Redraw a picture after a prompt.", "the prompt"),
    "txt2img": ("Draw a picture from a prompt.", "the prompt"),
    "edit": ("Change what an instruction says in a picture, and keep the rest.", "the instruction"),
}
"""What each magic does, and what its cell holds."""
MANY = 'A folder, a .zip, a pattern such as "shots/*.png", a list or a film is many; results go to the folder of --save.'
"""What a cell's help says of many pictures."""


@dataclass(frozen=True)
class Cell:
    """What a cell asks for.

    Parameters
    ----------
    values
        Recipe fields that have one value; pictures are still the words that were typed,
        unless a variable was given as `=name`.
    axes
        Recipe fields that have several, in the order typed, the prompt last.
    out
        Variable that receives the result, or None.
    save
        File that receives it, or for several values the folder, or None.
    notices
        Lines a person should read: what could not be carried over.
    executor
        Variable that holds what runs the cells of a grid, or None.
    yes
        Whether more cells are meant than usual.
    measure
        Metrics of a grid that are shown beside its pictures; those of a batch are in `many`, too.
    panel
        Whether the panel is to follow: its controls move to the recipe.
    num_images_per_prompt
        Pictures that each of its values makes, whose seeds go up by one, or None for one.
    many
        What `batch` is called with where the cell is about many pictures, see `batches.many_in`, or None.
    """

    values: dict[str, Any]
    axes: dict[str, tuple[Any, ...]]
    out: str | None
    save: str | None
    notices: tuple[str, ...] = ()
    executor: str | None = None
    yes: bool = False
    measure: tuple[str, ...] = ()
    panel: bool = False
    num_images_per_prompt: int | None = None
    many: dict[str, Any] | None = None

    @property
    def is_grid(self) -> bool:
        """Whether several pictures are asked for: several values of a field, or several pictures of one."""
        return bool(self.axes) or self.num_images_per_prompt is not None


def parse_cell(
    task: str,
    line: str,
    body: str,
    variables: Mapping[str, Any] | None = None,
    *,
    magic: str | None = None,
    others: Sequence[str] = (),
) -> Cell:
    """Read a cell of `%%img2img`, `%%txt2img` or `%%edit`.

    Parameters
    ----------
    task
        "img2img", "txt2img" or "edit".
    line
        The rest of the magic's line: for img2img one or several pictures, for edit one and those
        that it looks at, then options, each with one value or several (see `axes.values_of`), or with
        `=name` for the value of a variable (see `variables.values_typed`).
    body
        The prompt, with `{a|b}` for alternatives; a line that begins "Negative prompt:" starts the negative
        prompt, and a text copied from AUTOMATIC1111 is understood whole. A network in
        it that is not here, such as `<lora:name:1>`, is taken out and said. Options on
        the line win over values in the body.
    variables
        The notebook's, by name; None refuses every `=name`.
    magic
        How errors call it, where a magic of another name hands its line on, and `others`, its further options.

    Raises
    ------
    ParameterError
        An option is unknown or given twice, or a value breaks its rule.
    """
    words = words_of(line)
    parser, magic = parser_of(task, words), magic or f"%%{task}"
    for name in ("executor", "measure", counts.FIELD, *MANY_OPTIONS):
        parser.add_argument(*dict.fromkeys((flag(name), f"--{name}")), dest=name)
    for name in ("yes", "panel"):
        parser.add_argument(flag(name), action="store_true")
    known, rest = parser.parse_known_args(words)
    options = [word for word in rest if word.startswith("-")]
    if options:
        raise unknown_option(options[0], magic, [*parser.names, *others])
    parsed = a1111.parse(body.strip("\n"))
    said, taken_out = _without_unknown_networks(parsed.values, known.fields)
    # What a pasted text says of its mask is of use where there is one.
    unmasked = [] if "mask_image" in known.fields else [name for name in said if name in names_of("mask")]
    taken_out += [f"Not carried over: {name}: {said.pop(name)!r}, there is no `--mask-image`." for name in unmasked]
    several = {name: _alternatives(name, value) for name, value in said.items()}
    notices = [
        *parsed.left_out,
        *taken_out,
        *clip_skip_lines(said.get("clip_skip")),
        *template_notice("prompt", body.strip(), variables),
    ]
    for name, text in known.fields.items():
        typed = values_typed(name, text, variables)
        notices += template_notice(name, text, variables)
        if typed:
            several.pop(name, None)  # what is typed later stands further in
            several[name] = typed
    several["prompt"] = several.pop("prompt")
    if task != "img2img":
        # Of a text that was pasted.
        pasted = {"image", "strength", "noise"} - known.fields.keys()
        several = {name: values for name, values in several.items() if name not in pasted}
    if task == "edit":
        for model in several.setdefault("model", (EDIT,)):
            _check_edits(model)
    if not all(str(value).strip() for value in several["prompt"]):
        raise ParameterError("`prompt` must be the body of the cell, got nothing. Write it on the line below the magic.")
    if known.out is not None and not known.out.isidentifier():
        raise ParameterError(breaks_rule("--out", "the name of a variable", known.out, "For a file, use --save."))
    named_in_table = known.table is not None and not rest
    pictures = {} if named_in_table else _picture_words(task, rest, variables, magic, parser)
    twice = next((name for name in pictures if name in known.fields), None)
    if twice is not None:
        raise ParameterError(f"`{flag(first_name(twice))}` must be left out where several pictures stand after {magic}.")
    several = {**pictures, **several}
    single = {name: values[0] for name, values in several.items() if len(values) == 1}
    axes = {name: values for name, values in several.items() if len(values) > 1}
    save = file_typed(known.save, variables)
    # A magic that hands its line on saves what it makes itself.
    many = many_in(single.get("image"), known, None if others else save, variables)
    count = _count(known, axes, variables)
    for option in ("executor", "measure"):
        if getattr(known, option) is not None and not axes and count is None and not many:
            raise ParameterError(f"`--{option}` must go with several values of an option, got one of each. Leave it out.")
    measure = _metrics(known.measure, variables)
    if many is not None:
        single.pop("image", None)
        if known.panel:
            raise ParameterError("`--panel` must be left out for many pictures: a folder or a table has no grid.")
        many |= {"measure": measure}
    executor = None if known.executor is None else known.executor.removeprefix("=")
    return Cell(single, axes, known.out, save, tuple(notices), executor, known.yes, measure, known.panel, count, many)


def _count(known: Any, axes: Mapping[str, Any], variables: Mapping[str, Any] | None) -> int | None:
    """Return how many pictures of each are asked for, or None for one."""
    text = getattr(known, counts.FIELD)
    if text is None:
        return None
    count = counts.checked_count(named_value(flag(counts.FIELD), text, variables), "seed" in axes)
    return count if count > 1 else None


def _check_edits(model: Any) -> None:
    if not preset_of(str(model)).edits:
        rule = f"one that edits after an instruction, such as {EDIT}, in %%edit"
        raise ParameterError(breaks_rule("model", rule, model, "Use %%img2img, which redraws a picture after a prompt."))


def _without_unknown_networks(values: dict[str, Any], typed: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Take out of the prompts what names a network that is not here; those that are here wait for `resolve`."""
    written = [text for name, text in typed.items() if first_name(name) == "lora" and not text.startswith("=")]
    given = {"lora": JOINT.join(values_of("lora", text)[0] for text in written)} if written else {}
    kept, lines = prompt_loras.carried({**values, **given}, move=False)
    return {name: kept[name] for name in values}, lines


def _metrics(text: str | None, variables: Mapping[str, Any] | None) -> tuple[str, ...]:
    held = None if text is None else named_value("--measure", text, variables)
    words = held.split(",") if isinstance(held, str) else held or ()
    if not isinstance(words, (list, tuple)) or not all(isinstance(word, str) for word in words):
        raise ParameterError(breaks_rule("--measure", f"of {', '.join(METRICS)}", held))
    return tuple(word.strip() for word in words)


def _alternatives(name: str, value: Any) -> tuple[Any, ...]:
    return alternatives(value, name) if isinstance(value, str) and name != "scheduler" else (value,)


def _picture_words(
    task: str, words: list[str], variables: Mapping[str, Any] | None, magic: str, parser: Parser
) -> dict[str, tuple[Any, ...]]:
    for word in words:
        meant = named_option(word, magic, parser.names)
        if meant and (task == "txt2img" or here(word) is None):
            raise ParameterError(f"{word!r} is no picture. {meant}")
    if task == "txt2img":
        if words:
            named = f"--out {words[0]}" if words[0].isidentifier() else "--out NAME"
            raise ParameterError(f"{magic} takes no picture, got {words[0]!r}. Use %%img2img, or {named} to name the result.")
        return {}
    pictures = pictures_typed(words, variables)
    if not pictures:
        raise ParameterError(f"`image` is missing. Write a picture after {magic}: a file, a variable, or example:penguin.")
    if task == "edit" and len(words) > 1:
        return _edited_and_references(words, variables)
    return {"image": pictures}


def _edited_and_references(words: list[str], variables: Mapping[str, Any] | None) -> dict[str, tuple[Any, ...]]:
    """Return the picture that is edited and those that it looks at, one for each word; a list in a variable makes a grid."""
    names = ["image", *(numbered("image_reference", number) for number in range(1, len(words)))]
    given = {name: pictures_typed([word], variables) for name, word in zip(names, words, strict=True)}
    return {name: pictures for name, pictures in given.items() if pictures}


def help_text(task: str) -> str:
    """Compose a magic's help from the declarations."""
    picture = "" if task == "txt2img" else " PICTURE"
    intro, said = INTROS[task]
    lines = [intro, "", f"    %%{task}{picture} [options]", f"    {said}", "    Negative prompt: what to keep away from", ""]
    if picture:
        lines += ["PICTURE is a file, or the name of a variable that holds a picture or a result.", MANY, ""]
        if task == "edit":
            lines[-1:] = ["Further ones are looked at, where the model takes several: `%%edit room.png sofa.png`.", ""]
    example = "--image-guidance-scale 1,1.5,2" if task == "edit" else "--strength 0.4,0.6,0.8"
    lines += [f"Several values make a grid: {example}  --guidance-scale 1:10:3  --seed 1..4"]
    lines += [f"The value of a variable, or the values of a list: {example.split()[0]} =name", ""]
    model = EDIT if task == "edit" else Recipe().model
    lines.append(f"Options, the default of {model} where it has one (another model has its own), and what they are:")
    defaults = preset_of(model).values_for(Recipe(model=model, image=None if task == "txt2img" else BLANK))
    for name, param in fields_of(task).items():
        names = f"{param.short}, {flag(name)}" if param.short else flag(name)
        default = defaults.get(name)
        lines.append(f"  {names:<28} {'' if default in (None, '') else f'{default}':<8} {param.help}; {param.rule}")
    lines += [f"  {flag(name):<28} {'':<8} {text}" for name, text in CELL_OPTIONS.items()]
    named = models_of(task)
    lines += ["", "Models: " + ", ".join(name for name in named if name in PRESETS)]
    given = ", ".join(name for name in named if name not in PRESETS)
    lines[-1] += f"; with weights given by --checkpoint also {given}." if given else "."
    lines += ["Schedulers: " + ", ".join(SCHEDULERS) + "."]
    return "\n".join(lines)


def models_of(task: str) -> tuple[str, ...]:
    """Return the presets that are named for a magic: those that edit for `%%edit`, else all."""
    return tuple(name for name in model_names() if task != "edit" or preset_of(name).edits)


def completions(task: str, text_before: str) -> list[str] | None:
    """Return what may follow on a magic's line, or None where a picture may stand."""
    words = text_before.split(" ")
    current, previous = words[-1], words[-2] if len(words) > 1 else ""
    choices = {"--model": models_of(task), "-m": models_of(task), "--scheduler": SCHEDULERS}
    choices["--measure"] = tuple(METRICS)
    choices |= {flag(name): param.choices for name, param in fields_of(task).items() if param.choices}
    if previous in choices:
        return [word for word in choices[previous] if word.startswith(current)]
    if current.startswith("-"):
        flags = [flag(name) for name in (*fields_of(task), *CELL_OPTIONS)]
        return [word for word in flags if word.startswith(current)]
    return None
