"""The command line, as a person or another program uses it: files, exit codes, and lines of JSON."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nbdiffuse import __main__ as entry
from nbdiffuse.command_line.main import main
from nbdiffuse.command_line.report import Report
from nbdiffuse.metadata import image_files

SMALL = ["-n", "2", "-s", "0.5", "--seed", "7", "--width", "64", "--height", "64"]


def command(*words: str, folder: Path, text: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "nbdiffuse", *words], cwd=folder, input=text, capture_output=True, text=True)


def test_a_folder_from_a_shell_goes_on_and_tells_its_failures(photos: Path, tmp_path: Path, session: Any) -> None:
    (photos / "broken.jpg").write_bytes(b"nothing")
    done = command("img2img", "photos/", "--prompt", "a cat in the snow", "--out", "made", *SMALL, folder=tmp_path)
    assert done.returncode == 1 and done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0].startswith("4 pictures, 4 steps; results go to made/") and lines[-1] == "3 of 4 are in made."
    assert any(line.startswith("1 of 4 failed: ") for line in lines)
    (photos / "broken.jpg").unlink()
    again = command("img2img", "photos/", "--prompt", "a cat in the snow", "--out", "made", "--json", *SMALL, folder=tmp_path)
    assert again.returncode == 0
    events = [json.loads(line) for line in again.stdout.splitlines()]
    assert [event["state"] for event in events if event["event"] == "result"] == ["kept"] * 3
    assert events[-1] == {"event": "end", "line": "3 of 3 are in made.", "done": 3, "failed": 0, "folder": "made"}
    said = image_files.read(tmp_path / "made/p1.png").provenance
    assert said is not None
    alone = session.run(said.recipe.replace(image=photos / "p1.png"))
    assert np.abs(np.asarray(alone.image).astype(int) - np.asarray(Image.open(tmp_path / "made/p1.png"))).max() <= 1


def test_a_cell_in_a_file_and_a_prompt_from_a_pipe(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "cell.txt").write_text(f"%%img2img photos/p0.png {' '.join(SMALL)}\na cat in the snow\n")
    first = command("run", "cell.txt", "--out", "a/one.png", folder=tmp_path)
    assert first.returncode == 0, first.stderr
    second = command(
        "img2img", "photos/p0.png", "--prompt", "-", "--out", "two.png", *SMALL, folder=tmp_path, text="a cat in the snow\n"
    )
    assert second.returncode == 0, second.stderr
    assert Image.open(tmp_path / "a/one.png").tobytes() == Image.open(tmp_path / "two.png").tobytes()
    (tmp_path / "chain.txt").write_text("%%chain --seed 7 -n 2\n[sd15]\na cat\n[sd15 --strength 0.5]\na cat in the snow\n")
    chained = command("run", "chain.txt", "--out", "chain.png", folder=tmp_path)
    assert chained.returncode == 0 and (tmp_path / "chain.png").exists(), chained.stderr


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (["img2img", "nowhere.png", "--prompt", "x"], 2, "`image` must be a file that exists"),
        (["img2img", "photos", "--prompt", "x", "--strenght", "1"], 2, "Did you mean '--strength'?"),
        (["imgimg", "photos"], 2, "`command` must be one of img2img, txt2img, edit, run, got 'imgimg'."),
        (["img2img", "photos"], 2, "`--prompt` must say what to draw"),
        (["run", "nowhere.txt"], 2, "nowhere.txt cannot be read: No such file or directory."),
        (["img2img", "photos", "--prompt", "x", "--panel"], 2, "`--panel` must be left out"),
        (["txt2img", "--prompt", "x", "--out", "x.exe"], 2, "`out` must be a file name that ends in"),
        (["img2img", "photos", "--prompt", "x", "--strength", "=s"], 2, "must be the name of a variable"),
    ],
)
def test_a_mistake_is_one_line_and_its_own_exit_code(
    words: list[str], code: int, line: str, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(photos.parent)
    before = sorted(photos.parent.rglob("*"))
    assert main(words) == code
    said = capsys.readouterr()
    assert line in said.err and said.err.count("\n") == 1 and said.out == ""
    assert sorted(photos.parent.rglob("*")) == before
    assert main([*words, "--json"]) == code
    event = json.loads(capsys.readouterr().out)
    assert event["event"] == "error" and line in event["line"]


@pytest.mark.quick
def test_help_is_told_and_nothing_is_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--help"], ["--options", "edit"], ["img2img", "--help"]):
        assert entry.main is main and main(words) == 0 and len(capsys.readouterr().out.splitlines()) > 10


def test_an_interrupt_is_its_own_exit_code_and_the_rest_is_made_later(photos: Path, tmp_path: Path) -> None:
    words = ["img2img", "photos", "--prompt", "a cat", "--out", "made", "-n", "900", "-s", "1", "--width", "64", "--height", "64"]
    child = subprocess.Popen(
        [sys.executable, "-m", "nbdiffuse", *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests that a shell began with "&" ignore Ctrl+C, and so would what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not (tmp_path / "made" / "batch.json").exists() and child.poll() is None:
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    # No deadline: it ends by itself where it does not hear.
    _, error = child.communicate()
    assert child.returncode == 130 and error.startswith("Interrupted: Stopped with ") and "Traceback" not in error, error


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_what_a_terminal_cannot_show_is_no_failure() -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    Report(False, out=out, error=Terminal()).say("plan", "a caf\u00e9 \ud800")
    out.flush()
    assert out.buffer.getvalue() == b"a caf? ?\n"  # type: ignore[attr-defined]
