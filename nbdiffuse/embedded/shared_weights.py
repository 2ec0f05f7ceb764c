"""Components that several embedded checkpoints have in common: they ship once, in one of them.

A component that is another one's with a change ships as that change. A checkpoint that
borrows or changes is put together in the cache folder where it is first asked for, with
hard links where the file system has them, so that `from_pretrained` finds a complete
directory.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from ..errors import CheckpointError
from ..files.folders import cache_folder
from . import weight_deltas

CHECKPOINTS = Path(__file__).parent / "checkpoints"
SHARED_WEIGHTS: Mapping[str, Mapping[str, str]] = {
    "comic": {"vae": "sd15"},
    "pixel-art": {"vae": "sd15"},
    "elden-ring": {"vae": "sd15"},
    "edit": {"vae": "sd15"},
    "sdxl-refiner": {"vae": "sdxl"},
    "inpaint": {"vae": "sd15", "text_encoder": "sd15"},
    "x2-upscaler": {"vae": "sd15", "text_encoder": "sd15"},
    "x4-upscaler": {"text_encoder": "sd15"},
}
"""Which component each checkpoint has from which other one."""
CHANGED: Mapping[str, Mapping[str, str]] = {
    **{name: {"unet": "sd15"} for name in ("comic", "pixel-art", "elden-ring", "edit", "inpaint")},
    "sdxl": {"vae": "sd15"},
}
"""Which component of each checkpoint is which other one's, with a change."""


@cache
def files(name: str) -> Mapping[str, tuple[Path, str]]:
    """Return a checkpoint's files by their names in it: where each ships, or what it is made from, and its sha256."""
    manifest: dict[str, str] = json.loads((CHECKPOINTS / "manifest.json").read_text())
    own = {
        file.removeprefix(f"{name}/"): (CHECKPOINTS / file, manifest[file]) for file in manifest if file.startswith(f"{name}/")
    }
    for component in CHANGED.get(name, {}):
        change, _ = own.pop(f"{component}/{weight_deltas.NAME}")
        weights = f"{component}/{weight_deltas.WEIGHTS}"
        own[weights] = change, own[weights][1]
    for component, owner in SHARED_WEIGHTS.get(name, {}).items():
        own |= {file: shipped for file, shipped in files(owner).items() if file.startswith(f"{component}/")}
    return dict(sorted(own.items()))


def digest(name: str) -> str:
    """Return what identifies a checkpoint: sha256 over the names and hashes of its files, in hexadecimal."""
    listed = {f"{name}/{file}": sha256 for file, (_, sha256) in files(name).items()}
    return hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()


def directory(name: str) -> Path:
    """Return a checkpoint's complete directory; one that shares weights is put together at the first call.

    Raises
    ------
    CheckpointError
        The cache folder cannot be written.
    """
    if name not in SHARED_WEIGHTS and name not in CHANGED:
        return CHECKPOINTS / name
    whole = cache_folder() / "embedded" / digest(name)[:16] / name
    if not whole.is_dir():
        try:
            _put_together(name, whole)
        except OSError as error:
            raise CheckpointError(
                f"{name} cannot be put together in {whole.parent}: {error.strerror or error}. Set NBDIFFUSE_CACHE."
            ) from error
    return whole


def _put_together(name: str, whole: Path) -> None:
    """Fill a folder of our own and rename it: other processes see all of it, or nothing."""
    whole.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=whole.parent))
    try:
        for file, (shipped, _) in files(name).items():
            target = temporary / file
            target.parent.mkdir(exist_ok=True)
            _put(shipped, target)
        temporary.chmod(0o755)
        temporary.rename(whole)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        if not whole.is_dir():  # else another process was faster
            raise


def _put(shipped: Path, target: Path) -> None:
    if shipped.name == weight_deltas.NAME:
        component, holder = shipped.parent.name, shipped.parents[1].name
        weight_deltas.merge(CHECKPOINTS / CHANGED[holder][component] / component / weight_deltas.WEIGHTS, shipped, target)
        return
    try:
        os.link(shipped, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(shipped, target)
