"""What a widget calls: it returns at once whatever runs, and nothing that goes wrong in it is lost or printed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import ipywidgets
import pytest
from waiting import HUNG, wait_for

from nbdiffuse import Recipe, Session
from nbdiffuse.errors import CheckpointError, NbdiffuseError, ParameterError, RunError
from nbdiffuse.panels.chain_panel import ChainPanel
from nbdiffuse.panels.recipe_panel import Panel

NUMBERS = (ipywidgets.IntSlider, ipywidgets.FloatSlider, ipywidgets.BoundedFloatText, ipywidgets.BoundedIntText)


@pytest.fixture(params=["single", "chain"])
def panel(request: Any, scene: Any, session: Session) -> Iterator[Any]:
    first = Recipe(prompt="a cat", image=scene.image, num_inference_steps=2, seed=7)
    second = Recipe(prompt="a dog", num_inference_steps=2, strength=0.5, seed=7)
    made: Any = Panel(first, session) if request.param == "single" else ChainPanel(first >> second, session)
    yield made
    made.stop()
    wait_for(lambda: not made.busy)


def walk(widget: Any) -> Iterator[Any]:
    yield widget
    for child in getattr(widget, "children", ()):
        yield from walk(child)


def touch(widget: Any) -> bool:
    """Do to a widget what a person can do; return whether there was something to do."""
    if isinstance(widget, ipywidgets.Button):
        widget.click()
    elif isinstance(widget, (ipywidgets.ToggleButton, ipywidgets.Checkbox)):
        widget.value = not widget.value
    elif isinstance(widget, (ipywidgets.Text, ipywidgets.Textarea, ipywidgets.Combobox)):
        widget.value = f"{widget.value}9"
    elif isinstance(
        widget, (ipywidgets.IntSlider, ipywidgets.FloatSlider, ipywidgets.BoundedFloatText, ipywidgets.BoundedIntText)
    ):
        widget.value = widget.min if widget.value != widget.min else widget.max
    elif isinstance(widget, ipywidgets.Dropdown):
        widget.index = (widget.index or 0) + 1 if len(widget.options) > 1 + (widget.index or 0) else 0
    else:
        return False
    return True


def test_every_callback_returns_while_the_desk_is_busy_and_runs_nothing_itself(
    panel: Any, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = threading.current_thread()
    strangers: list[str] = []

    def spy(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def watched(*given: Any, **named: Any) -> Any:
            if threading.current_thread() is here:
                strangers.append(name)
            return original(*given, **named)

        monkeypatch.setattr(owner, name, watched)

    def no_depth(image: Any) -> Any:
        raise ParameterError("`image` must be another one.")

    monkeypatch.setattr(session, "depth_map", no_depth)
    for owner, name in ((session, "submit"), (session, "with_pipelines"), (session, "depth_map"), (panel._runner, "run")):
        spy(owner, name)
    inside, free = threading.Event(), threading.Event()

    def hold() -> None:
        inside.set()
        free.wait(HUNG)

    panel._thread.post(hold)
    assert inside.wait(HUNG)
    touched = 0
    try:
        done = threading.Event()

        def touch_all() -> None:
            nonlocal touched, here
            here = threading.current_thread()
            for widget in list(walk(panel.widget)):
                touched += touch(widget)
            done.set()

        # On a thread of its own: one that waits for the callback thread would wait here for good.
        threading.Thread(target=touch_all, daemon=True).start()
        assert done.wait(HUNG), "a callback waits for the callback thread"
    finally:
        free.set()
    assert touched > 25 and strangers == []
    panel._thread.settle()
    panel.stop()


def test_a_callback_returns_while_a_run_is_under_way_and_stop_is_heard(panel: Any, session: Session) -> None:
    begun, free = threading.Event(), threading.Event()

    def block(stop: threading.Event) -> None:
        begun.set()
        free.wait(HUNG)

    blocking = session._worker.submit(block)
    assert begun.wait(HUNG)
    try:
        panel._run_button.click()
        wait_for(lambda: panel.busy)
        assert panel._run_button.disabled and not panel._stop_button.disabled
        panel._stop_button.click()
        panel._thread.settle()
        job = panel._runner._job
        assert job is None or job.stop_flag.is_set()
    finally:
        free.set()
    blocking.result(HUNG)
    wait_for(lambda: not panel.busy)
    assert "topped" in panel._output._status.value and not panel._run_button.disabled


ERRORS: list[Callable[[], BaseException]] = [
    lambda: ParameterError("`seed` must be a seed."),
    lambda: CheckpointError("No checkpoint is called x."),
    lambda: RunError("The run failed."),
    lambda: ValueError("<b>odd</b>"),
    lambda: KeyError("name"),
    lambda: MemoryError(),
    lambda: RecursionError("deep"),
    lambda: OSError(28, "No space left on device"),
    lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
    lambda: AssertionError(),
]


@pytest.fixture
def silent(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail when something is printed, or escapes a thread."""
    escaped: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda given: escaped.append(repr(given.exc_value)))
    capfd.readouterr()
    yield
    seen = capfd.readouterr()
    assert (seen.out, seen.err, escaped) == ("", "", [])


@pytest.mark.parametrize("error", ERRORS, ids=lambda make: type(make()).__name__)
def test_an_error_in_a_callback_is_in_the_panel_and_run_comes_back(
    error: Any, panel: Any, monkeypatch: pytest.MonkeyPatch, silent: None
) -> None:
    def fail(*given: Any) -> Any:
        raise error()

    # Under what Run does, where the panel itself is asked for what to run.
    monkeypatch.setattr(panel._runner, "run", fail)
    panel.last_error = None
    panel._run_button.click()
    panel._thread.settle()
    shown = panel._output._status.value
    assert isinstance(panel.last_error, NbdiffuseError) and 'role="alert"' in shown and "<b>" not in shown
    assert type(error()).__name__ in str(panel.last_error) or str(error()) == str(panel.last_error)
    assert not panel._run_button.disabled and panel._stop_button.disabled
    # The thread goes on.
    assert panel._thread.call(lambda: 7) == 7


@pytest.mark.parametrize("error", ERRORS, ids=lambda make: type(make()).__name__)
def test_an_error_in_a_run_is_in_the_panel_and_run_comes_back(error: Any, panel: Any, session: Session, silent: None) -> None:
    session.run(Recipe(prompt="a cat", num_inference_steps=1, seed=1))
    assert session._engine is not None
    unet = session._engine.pipelines.components("sd15")["unet"]

    def fail(*given: Any) -> Any:
        raise error()

    hook = unet.conv_out.register_forward_hook(fail)
    try:
        panel._run_button.click()
        wait_for(lambda: panel.last_error is not None and not panel.busy)
    finally:
        hook.remove()
    panel._thread.settle()
    assert 'role="alert"' in panel._output._status.value and "\n" not in str(panel.last_error)
    assert not panel._run_button.disabled and panel._stop_button.disabled
