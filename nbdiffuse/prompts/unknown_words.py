"""Unknown words: what a prompt names and the embedded checkpoints cannot draw."""

from __future__ import annotations

import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_STARTS = _words("a an one two three four five six seven some several many another")
"""Words with which a thing begins in English."""
_GRAMMAR = _words(
    "the this that these those its his her their my your our it he she they you we i who which what where when while"
    " and or but nor not no without with in on at by of to from into onto over under above below near next behind between"
    " beside before after around across through along against inside outside up down off out as like than for during is are"
    " was were be been being has have having do does very so too more most less least all each every other only just there"
    " make makes turn put set change replace give add remove move take keep let should would could if instead"
    " here made making blend append swap using one two three four five six seven some several many another a an"
)
"""Words that name nothing."""
_MANNER = _words(
    "art artwork artstyle style styles look view shot scene picture photo photograph photography image portrait painting"
    " drawing sketch render rendering print poster wallpaper watercolor watercolour oil pencil ink pastel comic cartoon anime"
    " pixel minimalist abstract realistic photorealistic hyperrealistic surreal vintage retro quality resolution detail details"
    " texture textures color colors colour colours palette tone tones mood atmosphere light lighting lights shadow shadows"
    " contrast background foreground composition perspective angle distance closeup close front side back top left right"
    " center centre middle half bit lot kind sort pair group number way hd uhd hdr octane unreal engine dof bokeh focus"
    " red green blue yellow orange purple violet pink brown black white grey gray gold golden silver dark bright pale deep"
    " cold warm cool hot muted vivid soft sharp big large small little tiny huge giant tall short long old young new great good"
    " nice cute beautiful pretty lovely happy sad angry funny sleepy adorable amazing stunning epic intricate detailed highly"
    " ultra super extremely masterpiece best trending artstation dramatic cinematic award winning concept digital fantasy"
    " high low wide standing sitting walking running flying looking smiling holding wearing day daytime"
)
"""Words that say how something looks or is drawn, whether a checkpoint knows them or not."""


def unknown_words(prompt: str) -> tuple[str, ...]:
    """Return what a prompt names that the embedded checkpoints cannot draw, in order, once each.

    A thing is the last word of what begins with "a", "one" and the like, as the bicycle
    in "a red bicycle in the snow". Where a prompt names nothing that the world has,
    every word of it counts that names something. Words for looks count in neither case.

    Parameters
    ----------
    prompt
        In any dialect of weighting.

    Returns
    -------
    tuple
        Empty where nothing is missing, and for an empty prompt.
    """
    # Here and not above: the world needs numpy, and is asked only where such a checkpoint runs.
    from ..embedded.world.vocabulary import KNOWN, NAMING, words

    def known(word: str, among: frozenset[str] = KNOWN) -> bool:
        return bool({word, word.removesuffix("s"), word.removesuffix("es")} & among)

    said = [words(part) for part in re.split(r"[,.;:!?|()\[\]{}\"\n]+", prompt)]
    content = [word for part in said for word in part if word not in _GRAMMAR | _MANNER and not known(word)]
    if not any(known(word, NAMING) for part in said for word in part):
        return tuple(dict.fromkeys(content))
    things = [thing for part in said for thing in _things(part)]
    return tuple(dict.fromkeys(thing for thing in things if thing in content))


def _things(part: tuple[str, ...]) -> list[str]:
    """Return the last word of each "a ..." in words without a stop between them."""
    found: list[str] = []
    inside: list[str] | None = None
    for word in (*part, "and"):
        if word in _GRAMMAR:
            # Of "a herd of cats" the cats are what it names, of "a cat riding a horse" the cat and the horse.
            named = [one for one in inside or () if not one.endswith("ing")] or inside
            if named and word != "of":
                found.append(named[-1])
            inside = [] if word in _STARTS else None
        elif inside is not None:
            inside.append(word)
    return found
