"""What diffusers' own classes say of themselves: the defaults of a pipeline's call, and the automatic class that finds it."""

from __future__ import annotations

import inspect
from typing import Any

from ..library_logging import silence_libraries

import diffusers  # isort: skip  (after `finding`, which forbids it to run a checkpoint's code)

_AUTOMATIC = {
    "AutoPipelineForText2Image": "AUTO_TEXT2IMAGE_PIPELINES_MAPPING",
    "AutoPipelineForImage2Image": "AUTO_IMAGE2IMAGE_PIPELINES_MAPPING",
    "AutoPipelineForInpainting": "AUTO_INPAINT_PIPELINES_MAPPING",
}


def call_defaults(pipeline: str) -> dict[str, Any]:
    """Return the arguments of a pipeline's call, each with its default.

    Parameters
    ----------
    pipeline
        diffusers' class name.
    """
    silence_libraries()
    parameters = inspect.signature(getattr(diffusers, pipeline).__call__).parameters
    return {name: parameter.default for name, parameter in parameters.items() if name != "self"}


def automatic_class(pipeline: str) -> str:
    """Return the class whose `from_pretrained` chooses a pipeline by its task; the pipeline's own where there is none."""
    # Before the pipelines are imported: that is when transformers says what is not installed.
    silence_libraries()
    from diffusers.pipelines import auto_pipeline

    for name, mapping in _AUTOMATIC.items():
        if pipeline in {one.__name__ for one in getattr(auto_pipeline, mapping).values()}:
            return name
    return pipeline
