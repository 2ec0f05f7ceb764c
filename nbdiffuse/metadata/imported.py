"""Imported parameters: each field of another tool is checked, and what cannot be carried over is said."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import PureWindowsPath
from typing import Any

from ..errors import ParameterError, breaks_rule
from ..families.scheduler_names import sampler_of, schedule_of
from ..families.scheduler_settings import has_setting
from ..recipes import lora, prompt_loras
from ..recipes.recipe import PARAMS
from . import models
from .a1111 import Parsed, carried_lines

PLAIN_SCHEDULES = frozenset({"normal", "simple", "ddim_uniform", "sgm_uniform", "automatic", "uniform", "default", "native"})
"""Noise schedules that say nothing of their own, or what a scheduler without a setting for it does, as near as the tools come."""
_NUMBER = re.compile(r"[+-]?(\d{1,40}\.?\d{0,40}|\.\d{1,40})([eE][+-]?\d{1,3})?", re.ASCII)
_SIZE = re.compile(r"\(?\s*(\d{1,5})\s*[,x×*]\s*(\d{1,5})\s*\)?", re.ASCII)
_NOTHING = (None, "", "None", "none", False, "False")


class ImportedParameters:
    """Collect a recipe's fields out of another tool's entries.

    Parameters
    ----------
    values
        What is there already.
    """

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        self.values: dict[str, Any] = dict(values or {})
        self._left: list[str] = []

    def take(self, field: str, value: Any, said_as: str) -> None:
        """Put a value into a field where it keeps the field's rule; leave it behind with the reason where not."""
        if value is None:
            return
        param = PARAMS[field]
        if param.kind in (int, float):
            value = number(value, param.kind)
        try:
            self.values[field] = param.check(field, value)
        except ParameterError as error:
            self.say(f"Not carried over: {said_as}. {str(error)[:200]}")
        except (OverflowError, TypeError):
            self.say(f"Not carried over: {said_as}. {breaks_rule(field, param.rule, value)[:200]}")

    def take_size(self, value: Any, said_as: str) -> None:
        """Put a size such as "(1152, 896)", "1152x896" or [1152, 896] into `width` and `height`."""
        written = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
        sides = list(written.groups()) if written else value
        if isinstance(sides, list) and len(sides) == 2:
            self.take("width", sides[0], said_as)
            self.take("height", sides[1], said_as)
        else:
            self.leave(said_as, value)

    def take_sampler(self, name: Any, said_as: str = "sampler") -> None:
        """Put a sampler's name into `scheduler` and what is set of it."""
        if name in _NOTHING:
            return
        sampler = sampler_of(name) if isinstance(name, str) else None
        if sampler is None or sampler.scheduler is None:
            self.leave(said_as, name, "no scheduler here does the same")
            return
        self.values |= {"scheduler": sampler.scheduler, **sampler.settings}

    def take_schedule(self, name: Any, said_as: str = "scheduler") -> None:
        """Put a schedule of the noise into the settings of the scheduler that was taken; say where it stays behind."""
        if name in _NOTHING:
            return
        plain = isinstance(name, str) and name.lower() in PLAIN_SCHEDULES
        found = schedule_of(name) if isinstance(name, str) else None
        if found is not None and found[0] == "Beta":
            self.leave(said_as, name, "it spaces timesteps, and `use_beta_sigmas` noise levels")
        elif found is not None and all(has_setting(self.values.get("scheduler", ""), setting) for setting in found[1]):
            self.values |= found[1]
        elif not plain:
            self.leave(said_as, name, "another schedule of the noise")

    def take_model(self, name: Any, digest: Any = None, *, family: Any = "", said_as: str = "model") -> None:
        """Choose the preset for a checkpoint's kind, and say that its weights stay behind."""
        name, family = (one if isinstance(one, str) else "" for one in (name, family))
        for line in models.choose(self.values, visible(name), digest, family=family, key=said_as):
            self.say(line)

    def take_lora(self, name: Any, weight: Any = 1.0, said_as: str = "lora", in_text_encoders: Any = None) -> None:
        """Put a LoRA into `lora` where a file of its name is here, else say that it stays behind."""
        weight, text = number(weight, float), number(in_text_encoders, float)
        plain = PureWindowsPath(name).name if isinstance(name, str) else ""
        if not plain or isinstance(weight, bool) or not isinstance(weight, (int, float)):
            self.leave(said_as, [name, weight])
            return
        text = text if isinstance(text, (int, float)) and text != weight and lora.LOWEST <= text <= lora.HIGHEST else None
        file = prompt_loras.find(plain) if lora.LOWEST <= weight <= lora.HIGHEST else None
        if file is None:
            self.leave(said_as, f"{plain}:{weight:g}", f"no such file is here, see {prompt_loras.FOLDER}")
            return
        before = [self.values["lora"]] if self.values.get("lora") else []
        self.values["lora"] = lora.JOINT.join([*before, str(lora.Lora(file=file, scale=float(weight), text_encoder_scale=text))])

    def leave(self, key: str, value: Any, why: str = "") -> None:
        """Say that an entry stays behind."""
        reason = f", {why}" if why else ""
        self.say(f"Not carried over: {visible(str(key)[:60])}: {shown(value)}{reason}.")

    def leave_all(self, entries: Mapping[str, Any]) -> None:
        """Say of each entry that says something that it stays behind."""
        for key, value in entries.items():
            if value not in (*_NOTHING, [], {}):
                self.leave(str(key), value)

    def say(self, line: str) -> None:
        """Say something else that a person should know of what stays behind."""
        self._left.append(line)

    def parsed(self, before: tuple[str, ...] = (), earlier: tuple[dict[str, Any], ...] = ()) -> Parsed:
        """Return what was collected."""
        return Parsed({"prompt": "", **self.values}, carried_lines([*before, *self._left]), earlier)


def shown(value: Any) -> str:
    """Write a value from outside for people: short, and with nothing that a terminal would obey."""
    return repr(value if isinstance(value, str) else _compact(value))[:80]


def visible(text: str) -> str:
    """Replace what a terminal obeys instead of showing it, such as escapes and marks of direction."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _compact(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=True, default=str)[:200] if isinstance(value, (dict, list)) else value


def number(value: Any, kind: type) -> Any:
    """Return what a tool wrote as a number or as text, as the kind that a field has; anything else as it is."""
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = int(value) if value.strip().lstrip("+-").isdigit() else float(value)
    if kind is int and isinstance(value, float) and math.isfinite(value) and value == int(value):
        return int(value)
    return value


def loaded(text: str) -> Any:
    """Read JSON of another tool, or raise `ValueError`; NaN, which Python's reader takes, is refused by the fields' rules."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
