"""How a plain diffusers program weighs the words of its prompts: with Compel, by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..families.diffusers_classes import call_defaults
from ..prompts import dialects
from ..prompts.weights import Blend, Fragments, Weighted
from ..recipes.presets import preset_of
from ..recipes.recipe import Recipe
from .listing import Listing
from .loading import index_of
from .statements import call, exploded, literal

DEEPEST = 3
"""Brackets that may be open where a text is still given to Compel's own parser, which takes four times as long for each."""
_LAYER = "ReturnedEmbeddingsType.PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED"
_ESCAPED = ('\\"', "\\(", "\\)")


def embed(listing: Listing, recipe: Recipe) -> dict[str, str]:
    """Write the lines that turn a complete recipe's prompts into embeddings.

    Returns
    -------
    dict
        Arguments of the pipeline's call that stand in for the prompts, as source.

    Notes
    -----
    The same as `conditioning.arguments`.
    """
    from ..engine.conditioning import texts_of

    listing.use("compel", "Compel")
    index = index_of(str(recipe.checkpoint))
    pooled = "pooled_prompt_embeds" in call_defaults(preset_of(recipe.model).pipeline(recipe))
    suffixes = _encoders(recipe, index) if pooled else ("",)
    listing.section("Compel moves the vectors of words away from those of the empty prompt, by their weight.")
    compels = [f"compel{suffix}" for suffix in suffixes] if len(suffixes) > 1 else ["compel"]
    for compel, suffix in zip(compels, suffixes, strict=True):
        given = [f"tokenizer=pipeline.tokenizer{suffix}", f"text_encoder=pipeline.text_encoder{suffix}"]
        if pooled:
            listing.use("compel", "ReturnedEmbeddingsType")
            given.append(f"returned_embeddings_type={_LAYER}")
        listing.add(*exploded(f"{compel} = Compel", [*given, "truncate_long_prompts=False"]))
    negative = _negative_is_read(recipe, index, pooled)
    read_by = [*zip(("", "negative_"), texts_of(recipe, len(suffixes)), strict=True)][: 2 if negative else 1]
    texts = {prefix: [recipe.get(name) or "" for name in names] for prefix, names in read_by}
    prompts = {prefix: f"{prefix}prompt_embeds" for prefix in texts}
    parts = {name: [name, f"{name}_2"][: len(compels)] for name in prompts.values()}
    for prefix, name in prompts.items():
        for part, compel, text in zip(parts[name], compels, texts[prefix], strict=True):
            _encode(listing, part, compel, str(recipe.weighting), text)
    if len(compels) > 1:
        _join(listing, parts, compels)
    elif len(prompts) > 1:
        names = ", ".join(parts)
        listing.add("# A prompt past 75 tokens becomes several chunks; both need equally many.")
        listing.add(*call(f"{names} = compel.pad_conditioning_tensors_to_same_length", [f"[{names}]"]))
    made = {name: name for name in prompts.values()}
    if pooled:
        last = f"{compels[-1]}.conditioning_provider.get_pooled_embeddings"
        listing.add("# The pooled embedding knows no weights.")
        for prefix, each in texts.items():
            words = each[-1] if recipe.weighting == "compel" else dialects.read(str(recipe.weighting), each[-1]).text
            listing.add(*call(f"{prefix}pooled_prompt_embeds = {last}", [f"[{literal(words)}]"]))
            made[f"{prefix}pooled_prompt_embeds"] = f"{prefix}pooled_prompt_embeds"
    return made


def _encoders(recipe: Recipe, index: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what stands behind the names of the text encoders that there are; the refiner has only the second."""
    first = index["text_encoder"] != [None, None] if "text_encoder" in index else "aesthetic_score" not in _taken(recipe)
    return ("", "_2") if first else ("_2",)


def _negative_is_read(recipe: Recipe, index: Mapping[str, Any], pooled: bool) -> bool:
    if (recipe.guidance_scale or 0) <= 1:
        return False
    zeros = index.get("force_zeros_for_empty_prompt", pooled and "aesthetic_score" not in _taken(recipe))
    return bool(recipe.negative_prompt) or not zeros


def _taken(recipe: Recipe) -> frozenset[str]:
    return preset_of(recipe.model).fields


def _join(listing: Listing, parts: Mapping[str, list[str]], compels: list[str]) -> None:
    """Bring the embeddings of both encoders to one length, and put them side by side."""
    listing.use("torch")
    listing.section("A prompt past 75 tokens becomes several chunks; all need equally many.")
    listing.add("embeds = [", *(f"    {name}," for part in parts.values() for name in part), "]")
    listing.add(
        "length = max(one.shape[1] for one in embeds)",
        "",
        "",
        "def padded(one, empty):",
        "    missing = (length - one.shape[1]) // empty.shape[1]",
        "    return torch.cat([one, *[empty] * missing], dim=1)",
        "",
        "",
    )
    for target, names in parts.items():
        rows = [f"padded({name}, {compel}.conditioning_provider.empty_z)," for name, compel in zip(names, compels, strict=True)]
        listing.add(f"{target} = torch.cat(", "    [", *(f"        {row}" for row in rows), "    ],", "    dim=-1,", ")")


def _encode(listing: Listing, name: str, compel: str, dialect: str, text: str) -> None:
    """Write how a text becomes embeddings: as it is where Compel reads the same from it, else word by word."""
    weighted = dialects.read(dialect, text)
    if dialect == "compel" and _is_read_alike(weighted, text):
        listing.add(*call(f"{name} = {compel}", [literal(text)]))
        return
    listing.use("compel.prompt_parser", "Conjunction", "FlattenedPrompt")
    parts = []
    for number, part in enumerate(weighted.parts, start=1):
        if isinstance(part, Blend):
            listing.use("compel.prompt_parser", "Blend")
            for index, one in enumerate(part.parts, start=1):
                _words(listing, f"part_{number}_{index}", one)
            blended = ", ".join(f"part_{number}_{index}" for index in range(1, len(part.parts) + 1))
            given = [f"[{blended}]", literal(list(part.weights)), literal(part.normalize)]
            listing.add(*call(f"part_{number} = Blend", given))
        else:
            _words(listing, f"part_{number}", part)
        parts.append(f"part_{number}")
    listing.add(*call("prompt = Conjunction", [f"[{', '.join(parts)}]", literal(list(weighted.weights))]))
    listing.add(*call(f"{name} = {compel}.build_conditioning_tensor_for_conjunction", ["prompt"], "[0]"))


def _words(listing: Listing, name: str, fragments: Fragments) -> None:
    pairs = [literal((_escaped(one.text), _weight(one.text, one.weight))) for one in fragments]
    listing.add(f"{name} = FlattenedPrompt(", "    [", *(f"        {pair}," for pair in pairs), "    ]", ")")


def _weight(text: str, weight: float) -> float:
    # Compel fails on words below 1 of which no token is left.
    return 1.0 if weight < 1 and not text.strip() else float(weight)


def _escaped(text: str) -> str:
    r"""Protect `\(`, `\)` and `\"`, which Compel's constructor would take for escaped signs."""
    for sign in _ESCAPED:
        text = text.replace(sign, f"\\{sign}")
    return text


def _is_read_alike(weighted: Weighted, text: str) -> bool:
    """Tell whether Compel's own parser reads the same from a text."""
    if text.count("(") > DEEPEST:
        return False
    from compel import Compel
    from compel.prompt_parser import Conjunction

    try:
        theirs = Compel.parse_prompt_string(text)
    except Exception:  # its parser raises several kinds
        return False
    ours = Conjunction([_parsed(part) for part in weighted.parts], list(weighted.weights))
    return repr(theirs) == repr(ours)


def _parsed(part: Fragments | Blend) -> Any:
    from compel.prompt_parser import Blend as CompelBlend
    from compel.prompt_parser import FlattenedPrompt

    if isinstance(part, Blend):
        return CompelBlend([_parsed(one) for one in part.parts], list(part.weights), part.normalize)
    return FlattenedPrompt([(_escaped(one.text), _weight(one.text, one.weight)) for one in part])
