"""Edit a picture by an instruction, in one call."""

from __future__ import annotations

from typing import Any

from ..errors import ParameterError, breaks_rule
from ..recipes.presets import EDIT, preset_of
from ..recipes.recipe import Recipe
from ..results import Result
from .chain_run import run


def edit(image: Any, prompt: str, **arguments: Any) -> Result:
    """Change what an instruction says in a picture, keep the rest, and wait for the result.

    Parameters
    ----------
    image
        The picture: a PIL image, a path, bytes or a numpy array of any mode and size. Of several
        in a list the first one is edited, and the others are looked at, such as a room and the
        sofa that is put into it; `references` of a `Recipe`.
    prompt
        The instruction, such as "make it night".
    **arguments
        Further fields of a `Recipe`, such as `seed=1` or `image_guidance_scale=2`, which stays
        closer to the picture. The model is "edit" where none is given. There is no `strength`.

    Raises
    ------
    ParameterError, ImageInputError
        A value breaks a rule; nothing was run.
    Interrupted
        The run was stopped.
    RunError, CheckpointError
        The pipeline failed, or its checkpoint cannot be loaded.
    """
    if isinstance(image, (list, tuple)):
        if not image:
            raise ParameterError("`image` must be a picture or several, got none in a list. Give at least one.")
        arguments = {**arguments, "references": [*image[1:], *arguments.get("references", ())]}
        image = image[0]
    recipe = Recipe(**{"model": EDIT, **arguments, "image": image, "prompt": prompt})
    if not preset_of(recipe.model).edits:
        rule = f"one that edits after an instruction, such as {EDIT}"
        raise ParameterError(breaks_rule("model", rule, recipe.model, "For others use `nbdiffuse.run(nbdiffuse.Recipe(...))`."))
    return run(recipe)
