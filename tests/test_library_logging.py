"""The libraries' bars and hints stay out of notebooks; their errors do not."""

from __future__ import annotations

import logging
import warnings

import diffusers
import pytest
import transformers

from nbdiffuse.library_logging import silence_libraries

pytestmark = pytest.mark.quick


@pytest.mark.parametrize("library", [diffusers, transformers], ids=lambda library: library.__name__)
def test_errors_are_logged_and_hints_and_bars_are_not(library: object) -> None:
    settings = library.utils.logging  # type: ignore[attr-defined]
    settings.set_verbosity_info()
    settings.enable_progress_bar()
    silence_libraries()
    assert settings.get_verbosity() == logging.ERROR
    assert not settings.is_progress_bar_enabled()


def test_what_the_pipelines_themselves_do_is_no_warning_and_anything_else_is() -> None:
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        silence_libraries()
        warnings.warn("`callback_steps` is deprecated and will be removed", FutureWarning, stacklevel=1)
        warnings.warn("`prompt` is deprecated and will be removed", FutureWarning, stacklevel=1)
    assert [str(one.message) for one in heard] == ["`prompt` is deprecated and will be removed"]
