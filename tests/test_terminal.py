"""IPython in a terminal: what cannot be shown is written, and its path is said."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from PIL import Image

from nbdiffuse.metadata import image_files

LINES = """%load_ext nbdiffuse
get_ipython().run_cell_magic("img2img", "example:cat -n 2 --seed 1 --out cat", "a cat")
get_ipython().run_cell_magic("img2img", "example:cat -n 2 -s 0.5,1 --seed 1", "a cat")
get_ipython().run_cell_magic("img2img", "example:cat -n 2 --seed 1 --save mine.png", "a cat")
"""


def test_a_picture_is_in_the_file_that_is_said(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "IPython", "--no-banner", "--simple-prompt", "--colors=NoColor"]
    done = subprocess.run(command, input=LINES, cwd=tmp_path, capture_output=True, text=True)
    cat, sheet = (Path(found) for found in re.findall(r"it is in (\S+\.png)\.", done.stdout))
    assert cat.name == "001-cat.png" and image_files.read(cat).provenance.recipe.prompt == "a cat"
    assert sheet.name == "002-picture.png" and Image.open(sheet).width > 256
    assert (tmp_path / "mine.png").exists()
