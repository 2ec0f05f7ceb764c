"""What went wrong with a checkpoint, in one line: each class of the libraries' errors, and causes that they hide."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from typing import Any

import pytest
from huggingface_hub import errors as hub

from nbdiffuse.checkpoints.failures import explain

pytestmark = pytest.mark.quick

ID = "artist/style"


def response(status: int) -> Any:
    from huggingface_hub.utils import httpx

    return httpx.Response(status, request=httpx.Request("GET", "https://huggingface.co/artist/style"))


ERRORS: list[tuple[Callable[[], BaseException], str]] = [
    (
        lambda: hub.GatedRepoError("401", response=response(401)),
        r"gated\. Accept its terms at https://huggingface\.co/artist/style",
    ),
    (lambda: hub.RepositoryNotFoundError("401", response=response(401)), r"The hub has no artist/style, or .*hf auth login"),
    (lambda: hub.DisabledRepoError("403", response=response(403)), r"was disabled"),
    (lambda: hub.RevisionNotFoundError("404", response=response(404)), r"does not have this revision"),
    (lambda: hub.RemoteEntryNotFoundError("404", response=response(404)), r"no model_index\.json"),
    (lambda: hub.LocalEntryNotFoundError("nothing"), r"not complete on this disk"),
    (lambda: hub.OfflineModeIsEnabled("offline"), r"unset HF_HUB_OFFLINE"),
    (lambda: ConnectionResetError("reset"), r"broke off"),
    (lambda: OSError(errno.ENOSPC, "No space left on device"), r"no space left for artist/style: .* has .*B free"),
    (lambda: OSError("Consistency check failed: file should be of size 3"), r"broke off"),
    (lambda: RuntimeError("something\nelse"), r"cannot be loaded: RuntimeError: something else"),
]


@pytest.mark.parametrize(("make", "line"), ERRORS, ids=[line for _, line in ERRORS])
def test_trouble_is_one_line_with_the_next_action(make: Callable[[], BaseException], line: str) -> None:
    said = explain(make(), ID)
    assert re.search(line, said) and "\n" not in said and ID in said


def test_the_cause_is_named_when_a_library_hides_it() -> None:
    outer = OSError("artist/style is not a local folder and is not a valid model identifier")
    outer.__cause__ = hub.GatedRepoError("401", response=response(401))
    assert "is gated" in explain(outer, ID)
