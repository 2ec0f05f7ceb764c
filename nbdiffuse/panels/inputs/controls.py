"""A set of controls for one recipe: what the chosen preset takes, at the values that would run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as widgets

from ...errors import NbdiffuseError, ParameterError, again
from ...families.scheduler_classes import scheduler_class
from ...images.latents import Latents
from ...images.picture import Picture
from ...recipes.defaults import default_values, scheduler_of
from ...recipes.fields import first_name
from ...recipes.noise_start import called_strength
from ...recipes.presets import names_offered, preset_of
from ...recipes.recipe import PARAMS, PROMPTS, Recipe
from ...recipes.resolve import BLANK, resolve
from ...recipes.scheduler_rules import settings_in_force
from ...recipes.steps import start_noise
from ...recipes.taken_fields import settable
from ...recipes.weights_source import source
from ..runtime.callback_thread import CallbackThread
from ..runtime.closing import close
from ..runtime.events import on_click, on_user_change
from .field_errors import FieldErrors
from .field_order import CHOSEN, FIRST, KEPT, OF_CLASS, OPENED
from .image_input import PanelContext, PictureControl
from .mask_input import MaskControl
from .number_controls import NumberControl, StrengthControl
from .text_controls import OPEN, ChoiceControl, SeedControl, SizeControl, SwitchControl, TextControl


class Controls:
    """Show a recipe as controls and turn what a person does to them into a recipe.

    Several sets can stand in one panel, one for each step of a chain.

    Parameters
    ----------
    thread
        Where everything here is called, after the set was made.
    on_change
        Called with the field's name after a person changed it.
    context
        What the picture controls need to know.
    follows
        Whether the initial picture is what a step before makes, and none is asked for.
    """

    def __init__(
        self, thread: CallbackThread, on_change: Callable[[str], None], context: PanelContext, follows: bool = False
    ) -> None:
        self._given: dict[str, Any] = {"image": BLANK} if follows else {}
        self.asked = Recipe(**self._given)
        self.outlook: Recipe | NbdiffuseError = ParameterError("`prompt` must say what to draw.")
        self._problems: dict[str, NbdiffuseError] = {}
        self._laid_by: dict[str, Any] = {}
        self._told: dict[str, Any] = {}
        self._made: dict[str, Any] = {}
        self._errors = FieldErrors()
        self._in_sight: tuple[list[str], list[str]] = ([], [])
        self._failure: NbdiffuseError | None = None
        self._thread, self._on_change, self._context = thread, on_change, context
        self._first, self._further = widgets.VBox().add_class("nbd-fields"), widgets.VBox().add_class("nbd-fields")
        self._more = widgets.ToggleButton(description="More settings", tooltip="scheduler, size, mask, ControlNet, weights")
        defaults = widgets.Button(description="Defaults", tooltip="put every number and choice back to the preset's default")
        self._further.layout.display = "none"
        row = widgets.HBox([self._more, defaults]).add_class("nbd-buttons")
        self.widget = widgets.VBox([self._first, row, self._further]).add_class("nbd-controls")
        on_user_change(self._more, thread, self._fold)
        on_click(defaults, thread, self._to_defaults)

    @property
    def recipe(self) -> Recipe:
        """What is asked for; fields that nobody set are open.

        Raises
        ------
        ParameterError, ImageInputError
            What stands in a control breaks its rule.
        """
        for problem in self._problems.values():
            raise again(problem)
        return self.asked.replace(**dict.fromkeys(self._given))

    @property
    def initial(self) -> Picture | None:
        """The initial picture; None where there is none, or a step before makes it."""
        image = None if "image" in self._given else self.asked.image
        return image.view if isinstance(image, Latents) else image

    def show(self, recipe: Recipe) -> None:
        """Move every control to a recipe.

        Raises
        ------
        ParameterError
            Its preset does not take one of its fields; nothing moves.
        """
        recipe = recipe.replace(**self._given)
        check_taken(recipe)
        self.asked = recipe
        self._problems.clear()
        self._laid_by.clear()
        self._told.clear()
        self.refresh()

    def set(self, name: str, value: Any) -> None:
        """Set one field as if a person had: `value`, or what it returns when called."""
        self._told.pop(name, None)
        self._take(name, value)
        self._control(name).show(self.asked.get(name))

    def word(self, name: str) -> str | None:
        """Return the variable or file that a picture was named by, if it was."""
        word: str | None = self._control(name).word
        return word

    def offer_names(self) -> None:
        """Offer the notebook's variables that hold pictures now."""
        for control in self._made.values():
            if isinstance(control, PictureControl):
                control.offer_names()

    def close(self) -> None:
        """Give back every widget, also of fields that are not shown."""
        for control in self._made.values():
            close(control.widget)
        close(self.widget)

    def show_drawn(self, seed: int) -> None:
        """Show the seed that was drawn for a run."""
        control = self._control("seed")
        control.drawn = seed
        control.show(self.asked.seed)

    def _take(self, name: str, value: Any) -> None:
        try:
            changed = self.asked.replace(**{name: value() if callable(value) else value})
            fitting = self._without_untaken(changed)
        except NbdiffuseError as error:
            self._problems[name] = self.outlook = again(error)
            self.mark(None)
        else:
            self._problems.pop(name, None)
            self.asked, self._failure = fitting, None
            # The control itself is left alone: a person may be moving it on.
            self.refresh(but=None if PARAMS[name].kind is Picture or name == "seed" else name)
        self._on_change(name)

    def _without_untaken(self, recipe: Recipe) -> Recipe:
        """Lay by what the preset does not take, and bring back what was laid by and is taken again."""
        can_be_set, preset = settable(recipe), preset_of(recipe.model)
        back = {name: value for name, value in self._laid_by.items() if name in can_be_set and recipe.get(name) is None}
        recipe = recipe.replace(**back)
        can_be_set = settable(recipe)
        untaken = [name for name in recipe.values() if name not in can_be_set]
        untaken += ["scheduler"] if recipe.scheduler and not preset.takes_scheduler(recipe.scheduler) else []
        untaken += ["checkpoint"] if recipe.checkpoint and recipe.model != self.asked.model else []
        for name in untaken:
            self._laid_by[name] = recipe.get(name)
        return recipe.replace(**dict.fromkeys(untaken))

    def _to_defaults(self) -> None:
        self.asked = self.asked.replace(**{name: None for name in reversed(self.asked.values()) if first_name(name) not in KEPT})
        self._problems.clear()
        self._told.clear()
        self.refresh()
        self._on_change("guidance_scale")

    def refresh(self, but: str | None = None) -> None:
        """Show the recipe's values and the defaults of what is open, in every control but one."""
        try:
            self.outlook = resolve(self.asked)
        except NbdiffuseError as error:
            self.outlook = again(error)
        # What stands in another control is still wrong.
        self.outlook = next(iter(self._problems.values()), self.outlook)
        asked, preset = self.asked, preset_of(self.asked.model)
        defaults = {**default_values(asked, preset), **settings_in_force(asked, preset)}
        visible = [name for name in settable(asked) if name not in self._given]
        values = {name: defaults.get(name) if asked.get(name) is None else asked.get(name) for name in visible}
        values |= self._starts(visible)
        for name, value in values.items():
            control = self._control(name)
            if first_name(name) in CHOSEN:
                choices = self._choices(name)
                # As below: what a person may be choosing by now is left alone.
                same = name in OF_CLASS and self._told.get(name, OPEN) == value and set(choices) == set(control.widget.options)
                if not same:
                    control.offer(choices, value)
            elif name in ("width", "height"):
                known = isinstance(self.outlook, Recipe) and not self._given
                control.expect(getattr(self.outlook, name) if known else None)
            # What did not change is not shown again: a person may be moving it by now.
            if name != but and self._told.get(name, OPEN) != value:
                control.show(value)
            self._told[name] = value
            if isinstance(control, MaskControl):
                control.follow()
        if "strength" in values and "num_inference_steps" in values:
            self._control("strength").show_steps(values["num_inference_steps"], preset.step_rule)
        first = sorted((name for name in visible if first_name(name) in FIRST), key=lambda name: FIRST.index(first_name(name)))
        self._in_sight = (first, [name for name in visible if name not in first])
        self.mark(self._failure)

    def mark(self, failure: NbdiffuseError | None) -> None:
        """Show what is wrong below the controls: their own errors, and `failure`, which a run told."""
        self._failure = failure
        self._errors.tell(self._problems, (self.outlook, failure), [name for names in self._in_sight for name in names])
        for box, names in zip((self._first, self._further), self._in_sight, strict=True):
            self._place(box, names)

    def check_prompt(self) -> None:
        """Raise `ParameterError` where there is nothing to draw: an empty prompt makes a picture that nobody asked for."""
        if not self.asked.prompt.strip() and preset_of(self.asked.model).scale == 1:
            raise ParameterError("`prompt` is empty. Say what to draw, such as: a cat in the snow.")

    def _starts(self, visible: Sequence[str]) -> dict[str, Any]:
        """Return strength and share of noise of the same beginning, as far as both are in sight and known."""
        complete = self.outlook if isinstance(self.outlook, Recipe) else None
        if complete is None:
            return {}
        share = start_noise(complete)
        found = {"strength": called_strength(complete), "noise": complete.noise or (share and round(share, 3))}
        return {name: value for name, value in found.items() if name in visible and value is not None}

    def _choices(self, name: str) -> tuple[str, ...]:
        preset = preset_of(self.asked.model)
        if name in OF_CLASS:
            found = scheduler_class(scheduler_of(self.asked, preset) or "")
            return (found.choices.get(name) if found is not None else None) or PARAMS[name].choices or ()
        return {"model": names_offered(source()), "scheduler": preset.schedulers}.get(name, (OPEN, *preset.controlnets))

    def _place(self, box: Any, names: Sequence[str]) -> None:
        children = self._errors.with_lines({name: self._control(name).widget for name in names})
        # Putting the same ones in place again would take the focus from them.
        if box.children != children:
            box.children = children

    def _fold(self) -> None:
        self._further.layout.display = "" if self._more.value else "none"

    def _control(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = self._new_control(name)
        return self._made[name]

    def _new_control(self, name: str) -> Any:
        param = PARAMS[name]

        def take(value: Any) -> None:
            self._take(name, value)

        if param.kind is Picture:
            return (MaskControl if param.mask else PictureControl)(name, param, self._thread, take, self._context)
        if name in PROMPTS:
            return TextControl(name, param, self._thread, take, rows=3 if name == "prompt" else 2, required=name == "prompt")
        kinds: dict[str, Any] = {"strength": StrengthControl, "seed": SeedControl, "width": SizeControl, "height": SizeControl}
        if name in kinds:
            return kinds[name](name, param, self._thread, take)
        if param.kind in (int, float):
            return NumberControl(name, param, self._thread, take)
        if param.kind is bool:
            return SwitchControl(name, param, self._thread, take)
        if name in OPENED:
            return ChoiceControl(name, param, self._thread, take, (OPEN, *(param.choices or ())))
        choice = param.choices or first_name(name) in CHOSEN
        return ChoiceControl(name, param, self._thread, take) if choice else TextControl(name, param, self._thread, take)


def check_taken(recipe: Recipe) -> None:
    """Raise `ParameterError` where a recipe has a field that its preset does not take."""
    can_be_set = settable(recipe)
    for name in recipe.values():
        if name not in can_be_set:
            raise ParameterError(f"`{name}` is not taken by {recipe.model} beside the rest of the recipe. Leave it out.")
