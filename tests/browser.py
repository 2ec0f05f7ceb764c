"""A notebook in a real browser: JupyterLab or Notebook 7, started here, driven by Playwright."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from waiting import HUNG, wait_for

APPS = {"lab": "LabApp", "notebook": "JupyterNotebookApp"}
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True},
    "notebook-extension/tracker": {"windowingMode": "none"},
}


def chromium() -> str | None:
    """Return the browser's path, or None."""
    given = os.environ.get("NBDIFFUSE_CHROMIUM")
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    return given or next((path for path in found if path), None)


def missing(app: str = "lab") -> str:
    """Say what is missing for these tests, or nothing."""
    for module in ("playwright", {"lab": "jupyterlab", "notebook": "notebook"}[app], "anywidget"):
        if importlib.util.find_spec(module) is None:
            return f'{module} is not installed: pip install "nbdiffuse[browser]"'
    if chromium() is None:
        return "no Chromium is installed: apt-get install chromium, or set NBDIFFUSE_CHROMIUM to its path"
    return ""


@contextlib.contextmanager
def jupyter(root: Path, app: str = "lab", theme: str = "JupyterLab Light") -> Iterator[str]:
    """Start a server in a home of its own; yield its address."""
    home = Path(tempfile.mkdtemp(prefix="nbdiffuse-home-"))
    settings = {**SETTINGS, "apputils-extension/themes": {"theme": theme}}
    for name, values in settings.items():
        file = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    folders = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime"}
    folders |= {"JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces", "IPYTHONDIR": "ipython"}
    environment = {**os.environ, "HOME": str(home), **{name: str(home / folder) for name, folder in folders.items()}}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", f"jupyter{app}" if app == "lab" else app, "--no-browser", "--allow-root", f"--port={port}"]
    command += ["--ip=127.0.0.1", f"--ServerApp.root_dir={root}", "--IdentityProvider.token="]
    command += [f"--{APPS[app]}.expose_app_in_browser=True"]
    with open(home / "server.log", "w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, env=environment)
    try:
        yield _answering(f"http://127.0.0.1:{port}", home / "server.log")
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
        shutil.rmtree(home, ignore_errors=True)


def _answering(address: str, log: Path) -> str:
    def answers() -> bool:
        try:
            urllib.request.urlopen(f"{address}/api", timeout=HUNG).read()
        except (urllib.error.URLError, OSError):
            return False
        return True

    wait_for(answers, lambda: f"The server did not start:\n{log.read_text()[-2000:]}", every=0.1)
    return address


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """Start Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        try:
            yield running
        finally:
            running.close()


def write_notebook(path: Path, cells: list[str]) -> None:
    """Write a notebook with these code cells."""
    blank = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    made = [{**blank, "id": f"cell-{number}", "source": source} for number, source in enumerate(cells)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    values = {"cells": made, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(values))


class Notebook:
    """An open notebook: its page, and what a person does that takes more than a click."""

    def __init__(self, page: Any, address: str, name: str, app: str = "lab") -> None:
        from playwright.sync_api import TimeoutError

        self.page = page
        where = f"{address}/" + (f"lab/tree/{name}?reset" if app == "lab" else f"notebooks/{name}")
        page.set_default_timeout(HUNG * 500)
        try:
            self._open(where)
        except TimeoutError:
            # Now and then a page waits for its kernel without end: what a person does then is to load it again.
            self._open(where)
        page.set_default_timeout(HUNG * 1000)

    def _open(self, where: str) -> None:
        self.page.goto(where)
        self.page.wait_for_selector(".jp-Notebook .jp-CodeCell")
        self.page.wait_for_function("() => window.jupyterapp?.shell?.currentWidget?.sessionContext")
        self._finish(
            """async () => {
                const app = window.jupyterapp;
                await app.restored;
                const panel = app.shell.currentWidget;
                await panel.context.ready;
                await panel.sessionContext.ready;
                await panel.revealed;
                await panel.sessionContext.session.kernel.info;
            }"""
        )

    def _finish(self, promised: str, argument: str | None = None) -> None:
        """Wait for what a function of the page promises: evaluating it would wait without end if the page forgets it."""
        begin = """([promised, argument]) => {
            window.finished = null;
            eval(promised)(argument).then(() => { window.finished = "well"; }, (error) => { window.finished = `${error}`; });
        }"""
        self.page.evaluate(begin, [promised, argument])
        said = self.page.wait_for_function("() => window.finished", polling=100).json_value()
        if said != "well":
            raise RuntimeError(said)

    def command(self, name: str) -> None:
        """Execute a command of the application and wait for it."""
        self._finish("async (name) => { await window.jupyterapp.commands.execute(name); }", name)

    def start(self, name: str) -> None:
        """Execute a command without waiting."""
        self.page.evaluate("(name) => { window.jupyterapp.commands.execute(name); }", name)

    def sources(self) -> list[str]:
        """Return the text of every cell."""
        code = "() => [...window.jupyterapp.shell.currentWidget.content.widgets].map((cell) => cell.model.sharedModel.source)"
        return list(self.page.evaluate(code))

    def save(self) -> None:
        """Save the notebook."""
        self.command("docmanager:save")
