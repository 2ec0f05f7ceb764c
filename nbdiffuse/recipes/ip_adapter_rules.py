"""Rules that the IP-Adapters of a recipe must keep."""

from __future__ import annotations

from ..errors import ParameterError, breaks_rule
from .fields import names_of, numbered
from .recipe import Recipe


def check_ip_adapters(recipe: Recipe) -> None:
    """Raise for the first IP-Adapter of a recipe that cannot run: without its file or its picture, or with two CLIPs."""
    for number, one in enumerate(recipe.ip_adapters, start=1):
        checkpoint, image, mask = (numbered(name, number) for name in ("ip_adapter", "ip_adapter_image", "ip_adapter_mask"))
        said = (name for name in names_of("ip_adapters", number) if recipe.get(name) is not None)
        given = [name for name in said if name not in (image, mask)]
        if one.checkpoint is None and (number == 1 or given):
            needed_by = given[0] if given else image
            raise ParameterError(f"`{checkpoint}` must be given with `{needed_by}`: a .safetensors file, or ORG/NAME/FILE.")
        if one.image is None:
            raise ParameterError(f"`{image}` must be given with `{checkpoint if one.checkpoint else mask}`. Give a picture.")
    encoders = list(dict.fromkeys(one.image_encoder for one in recipe.ip_adapters if one.image_encoder))
    if len(encoders) > 1:
        rule = "the same for all IP-Adapters of a run"
        raise ParameterError(breaks_rule("ip_adapter_image_encoder", rule, encoders[1], "A pipeline has one."))


def with_scales(complete: Recipe) -> Recipe:
    """Return a recipe in which every IP-Adapter says its scale."""
    open_ones = [number for number, one in enumerate(complete.ip_adapters, start=1) if one.checkpoint and one.scale is None]
    return complete.replace(**{numbered("ip_adapter_scale", number): 1.0 for number in open_ones}) if open_ones else complete
