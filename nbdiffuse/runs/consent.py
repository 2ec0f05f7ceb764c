"""Consent: what a file from somebody else would download or read is named, and refused without a yes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext

from .. import embedded
from ..errors import CheckpointError, ConsentError
from ..families.published import PUBLISHED, gigabytes
from ..files.paths import here
from ..images.mask_selection import modelled
from ..recipes import lora
from ..recipes.controlnets import controlnet_of
from ..recipes.ip_adapter import IPAdapter, to_load
from ..recipes.portable import hub_repository
from ..recipes.presets import MOVED, preset_of
from ..recipes.recipe import Recipe
from ..recipes.resolve import checkpoint_text
from ..recipes.segmenters import with_checkpoint
from ..recipes.textual_inversion import TextualInversion
from ..sessions.session import get_session


def ask(steps: Sequence[Recipe], yes: bool, own: Iterable[object] = ()) -> AbstractContextManager[None]:
    """Refuse to run steps that a file names where they need more than this package and the hub's cache on this disk.

    Parameters
    ----------
    steps
        Complete recipes that somebody else may have written.
    yes
        Whether the person agreed to what they need.
    own
        Words for weights that the person gave instead.

    Returns
    -------
    A context in which the steps run; without `yes` it keeps them from the network.

    Raises
    ------
    ConsentError
        Something would be fetched, or read from a local path; the line names it.
    """
    given = set(own)
    if yes:
        return nullcontext()
    needs = dict.fromkeys(need for step in steps for need in _needs(step, given))
    if needs:
        raise ConsentError(
            f"It needs {', and '.join(needs)}. Nothing was fetched or read. To allow it, give `yes=True`, or `--yes` to %diffuse."
        )
    return nullcontext() if given else get_session().local_only()


def words_of(recipe: Recipe) -> dict[str, str]:
    """Return every word for weights that a complete recipe has, each with the word by which the engine finds it."""
    preset, base = preset_of(recipe.model), str(recipe.checkpoint)
    whole = checkpoint_text(recipe)
    checkpoint, loras = lora.split_text(whole)
    words = (net.checkpoint for net in recipe.controlnets if net.checkpoint)
    nets = (controlnet_of(net).checkpoint(base, preset) for net in words)
    text = recipe.get("mask_image")
    segmenters = [with_checkpoint(text, base).checkpoint or ""] if isinstance(text, str) and modelled(text) else []
    models = {word: word for word in (*nets, *segmenters)}
    found = {checkpoint: whole, **{one.file: whole for one in loras}, **models}
    found |= {one.file: one.file for one in recipe.embeddings}
    brought = [word for one in recipe.ip_adapters for word in (one.checkpoint, one.image_encoder) if word]
    brought += [recipe.vae] if recipe.vae else []
    brought += [one.file for _, one in lora.unfused(recipe.loras)]
    return found | dict.fromkeys(brought, whole)


def _needs(recipe: Recipe, given: set[object]) -> list[str]:
    """Say what a recipe needs that is neither in this package nor whole in the hub's cache."""
    found = {word: whole for word, whole in words_of(recipe).items() if not embedded.holds(word) and word not in given}
    local = [f"the local path {word!r}" for word in found if here(word) is not None or hub_repository(word) is None]
    remote = [word for word in found if here(word) is None and hub_repository(word) is not None]
    # A LoRA's file is looked up with its checkpoint: where one of them is missing, both are named.
    brought: dict[str | None, TextualInversion | IPAdapter | lora.Lora | str] = {one.file: one for one in recipe.embeddings}
    brought |= {recipe.vae: recipe.vae} if recipe.vae else {}
    brought |= {one.checkpoint: one for one in to_load(recipe.ip_adapters)}
    brought |= {one.file: one for _, one in lora.unfused(recipe.loras)}
    missing = [word for word in remote if local or not _is_cached(found[word], brought.get(word))]
    return [*local, *(f"{word} from the hub ({size_of(word)})" for word in missing)]


def _is_cached(word: str, brought: TextualInversion | IPAdapter | lora.Lora | str | None) -> bool:
    """Whether the hub's cache on this disk has all that a word needs, or what is brought along to it; the hub is not asked."""
    with get_session().local_only():
        try:
            if isinstance(brought, TextualInversion):
                return bool(get_session().with_pipelines(lambda pipelines: pipelines.embedding(brought)))
            if isinstance(brought, str):
                return bool(get_session().with_pipelines(lambda pipelines: pipelines.own_vae(word, brought)))
            if isinstance(brought, lora.Lora):
                return bool(get_session().with_pipelines(lambda pipelines: pipelines.lora(word, brought)))
            if isinstance(brought, IPAdapter):
                return bool(get_session().with_pipelines(lambda pipelines: pipelines.ip_adapter(word, brought)))
            return bool(get_session().with_pipelines(lambda pipelines: pipelines.identity(word)))
        except CheckpointError:
            return False


def size_of(word: str) -> str:
    """Say how large a download is, as far as it is known without asking the hub."""
    repository = hub_repository(word) or ""
    known = PUBLISHED.get(MOVED.get(repository, repository))
    if known is None or word.partition("@")[0] not in (repository, f"https://huggingface.co/{repository}"):
        return "unknown size"
    sizes = [gigabytes(number) for number in known.downloads]
    return f"{sizes[0]}, or {sizes[1].removeprefix('about ')} in half precision" if len(sizes) > 1 else sizes[0]
