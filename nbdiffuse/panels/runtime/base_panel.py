"""Base panel: Run, Stop and Live, one run at a time, every error as one line, the last picture in the notebook."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from ...errors import CheckpointError, Interrupted, NbdiffuseError, ParameterError, RunError, again
from ...recipes.controlnets import PREPROCESSORS, preprocessor_of
from ...recipes.fields import numbered, place_of
from ...recipes.recipe import PARAMS, PROMPTS
from ...results import Result
from ...sessions.session import Session, get_session
from ...store import index
from ..inputs.controls import Controls
from ..inputs.image_input import PanelContext
from ..output.output_view import OutputView
from ..output.static_output import StaticOutput
from .callback_thread import get_callback_thread
from .events import on_click, on_user_change
from .panel_run import Runner

REST = 0.15
"""Seconds for which a slider must not move before live mode runs."""
REST_OF_TEXT = 0.6
"""The same for typing."""
CSS = Path(__file__).with_name("panel.css").read_text("utf-8")


class BasePanel(ABC):
    """A panel without its controls; shown by being the last value of a cell.

    Parameters
    ----------
    session
        Runs what the panel asks for; this process's session when not given.
    names
        The notebook's variables, by name.

    Attributes
    ----------
    last_error
        The newest error that the panel showed, or None.
    """

    widget: Any

    def __init__(self, session: Session | None, names: Mapping[str, Any] | None) -> None:
        self._thread = get_callback_thread()
        self._session = session or get_session()
        self.names: Mapping[str, Any] = {} if names is None else names
        self.last_error: NbdiffuseError | None = None
        self._standing: NbdiffuseError | None = None
        self.shown: Result | None = None
        self._runner = Runner(self._thread, self)
        self._output, self._static_output = OutputView(), StaticOutput()
        self._run_button = widgets.Button(
            description="Run", icon="play", button_style="primary", tooltip="Run these settings (Ctrl+Enter)"
        )
        self._stop_button = widgets.Button(description="Stop", icon="stop", tooltip="Stop after this step (Esc)", disabled=True)
        self._live = widgets.ToggleButton(description="Auto-run", icon="refresh", tooltip="run again whenever a slider rests")
        self._run_button.add_class("nbd-run-button")
        self._stop_button.add_class("nbd-stop-button")
        on_click(self._run_button, self._thread, self.guarded(self._run))
        on_click(self._stop_button, self._thread, self._runner.stop)
        on_user_change(self._live, self._thread, self.guarded(lambda: self._go_live() if self._live.value else None))

    def _framed(self, controls: Any, below: Iterable[Any], beside: Iterable[Any] = ()) -> Any:
        """Lay controls out on one side; the buttons with what is beside them, the output view and the rest on the other."""
        buttons = widgets.HBox([self._run_button, self._stop_button, self._live, *beside])
        buttons.add_class("nbd-buttons").add_class("nbd-run")
        side = widgets.VBox([buttons, self._output.widget, *below]).add_class("nbd-side")
        columns = widgets.Box([controls, side]).add_class("nbd-columns")
        return widgets.VBox([widgets.HTML(f"<style>{CSS}</style>"), columns]).add_class("nbdiffuse-panel")

    def _new_controls(self, restore: Callable[[str, bytes], bool], follows: bool = False) -> Controls:
        """Make a set of controls; see `Controls` and `PanelContext`."""
        context = PanelContext(
            self.names,
            self._newest,
            restore,
            lambda name, word: self._estimate(controls, name, word),
            lambda: controls.initial,
        )
        controls = Controls(self._thread, self.guarded(self._changed), context, follows)
        return controls

    @property
    def busy(self) -> bool:
        """Whether a run is under way."""
        return self._thread.call(lambda: self._runner.busy)

    def run(self) -> None:
        """Start what the controls ask for, as the button does; return at once."""
        self._thread.post(self.guarded(self._run))

    def wait(self) -> None:
        """Wait until nothing runs any more."""
        while self.busy:
            time.sleep(0.05)

    def stop(self) -> None:
        """End the run under way after its step, as the button does; return at once."""
        self._thread.post(self._runner.stop)

    def offer_names(self) -> None:
        """Offer the variables that hold pictures now."""

        def offer() -> None:
            for controls in self._sets():
                controls.offer_names()

        self._thread.post(self.guarded(offer))

    def _ipython_display_(self) -> None:
        self._static_output.display(self.widget)

    def __repr__(self) -> str:
        # Nothing that changes: stored notebooks compare equal.
        return f"{type(self).__name__}()"

    def guarded(self, work: Callable[..., None]) -> Callable[..., None]:
        """Return `work` with every error shown in the panel: what a callback raises is seen nowhere else."""

        def guard(*given: Any) -> None:
            try:
                work(*given)
            except NbdiffuseError as error:
                self._fail(error)
            except Exception as error:
                self._fail(RunError(f"{type(error).__name__}: {error}"))

        return guard

    # What each kind of panel does in its own way, on the callback thread.

    @abstractmethod
    def _sets(self) -> Iterable[Controls]:
        """Return the sets of controls."""

    @abstractmethod
    def _run(self) -> None:
        """Start what the controls ask for."""

    @abstractmethod
    def _run_live(self) -> None:
        """Start it unless it is there already."""

    @abstractmethod
    def _go_live(self) -> None:
        """Begin live mode: hold the seed, since with another one each time no two pictures could be compared."""

    @abstractmethod
    def _describe_plan(self) -> None:
        """Say what the controls would run."""

    @abstractmethod
    def _enable(self) -> None:
        """Offer the buttons that can be used now."""

    @abstractmethod
    def on_progress(self, progress: Any, waited: float) -> None:
        """A run is where `progress` says, or waits since `waited` seconds."""

    @abstractmethod
    def _finish(self, made: Any) -> None:
        """Show what a run made; None for one that failed or was stopped."""

    # What the runner tells, on the callback thread.

    def started(self) -> None:
        """A run begins."""
        self._standing = None
        self._mark(None)
        self._enable_runs()

    def ended(self, made: Any, error: NbdiffuseError | None) -> None:
        """A run came to an end; a picture that a safety checker made black is no result."""
        if isinstance(made, Result) and made.problem is not None:
            made, error = None, made.problem
        self._output.rest()
        self._finish(made)
        self.last_error = error
        self._standing = None if isinstance(error, Interrupted) else error
        if error is not None:
            # The output view goes back from the preview to what was there before.
            self._show_again()
            self._output.say(str(error)) if isinstance(error, Interrupted) else self._output.problem(error)
        self._mark(self._standing)
        # What came of it is in sight before the next run is offered.
        self._enable_runs()

    def _show_again(self) -> None:
        """Show again what was in the output view before a run."""
        self._output.restore(self.shown)

    def say(self, text: str) -> None:
        """Show a line."""
        self._output.say(text)

    def _changed(self, name: str) -> None:
        self._describe_plan()
        self._show_standing(name)
        if self._live.value:
            rest = REST_OF_TEXT if name in PROMPTS else REST
            self._thread.post(self.guarded(self._run_live), rest, f"live {id(self)}")

    def _show_standing(self, changed: str) -> None:
        """Show the last error again after another field than its own was changed; it stays until the next run."""
        if self._standing is not None and _concerns(self._standing, changed):
            self._standing = None
        wrong = any(isinstance(controls.outlook, NbdiffuseError) for controls in self._sets())
        if self._standing is not None and not wrong and not self._runner.busy:
            self._output.problem(self._standing)

    def _fail(self, error: NbdiffuseError) -> None:
        self.last_error = self._standing = again(error)
        self._output.problem(error)
        self._mark(self._standing)
        self._enable_runs()

    def _mark(self, failure: NbdiffuseError | None) -> None:
        """Show below its field what a run told; of several steps nobody knows which one is meant."""
        sets = list(self._sets())
        if len(sets) == 1:
            sets[0].mark(failure)

    def _enable_runs(self) -> None:
        busy = self._runner.busy
        self._run_button.disabled, self._stop_button.disabled = busy, not busy
        self._enable()

    def _newest(self) -> Result | None:
        return self.shown or next(reversed(self._session.history), None)

    def _keep(self, result: Result) -> None:
        """Put a result into the store, as a cell's is, so that later kernels know how it was made."""

        def keep() -> None:
            line = index.keep(result)
            if line:
                self._thread.post(self.guarded(lambda: self._output.say(line)))

        # A disk can be slow: the callback thread does not wait for it.
        threading.Thread(target=self.guarded(keep), name="nbdiffuse-keep").start()

    def _estimate(self, controls: Controls, name: str, word: str) -> None:
        """Have the picture of a field made from the initial one: what a ControlNet follows, or a mask as its selection says."""
        is_mask, picture = PARAMS[name].mask, controls.initial
        if picture is None:
            raise ParameterError(f"`image` must be given first: the {'mask' if is_mask else 'control picture'} is made from it.")
        if is_mask:
            PARAMS[name].check(name, word)
        place = place_of(name, PARAMS)
        net = controls.asked.get(numbered("controlnet", place.number)) if place is not None and not is_mask else None
        preprocessor = preprocessor_of(word, net or "depth") or "depth"
        self._output.say(f"looking for {word}" if is_mask else f"making the {PREPROCESSORS.get(preprocessor, preprocessor)}")

        def estimate() -> None:
            try:
                see = self._session.select_mask if is_mask else self._session.control_picture
                made = see(picture, word if is_mask else preprocessor)
            except NbdiffuseError as error:
                failure = error
                self._thread.post(lambda: self._fail(failure))
            else:
                self._thread.post(self.guarded(lambda: controls.set(name, made)))

        # It waits for the run under way, which the callback thread must not.
        threading.Thread(target=self.guarded(estimate), name="nbdiffuse-estimate", daemon=True).start()


def _concerns(error: NbdiffuseError, field: str) -> bool:
    """Whether an error is about a field: it names it, or it is about weights and the field chooses them."""
    weights = ("model", "checkpoint", "vae", "lora", "controlnet", "controlnet_2")
    return f"`{field}`" in str(error) or (isinstance(error, CheckpointError) and field in weights)
