"""Model calls: calls of one model that differ only in their batch rows, made as one."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.weak import WeakTensorKeyDictionary

ONE_FOR_ALL = frozenset({"img_ids", "txt_ids", "image_rotary_emb"})
"""Arguments that a model reads once for all rows, with a batch axis or without one; calls are joined where they are equal."""
LAYOUTS = frozenset({"img_shapes"})
"""Arguments that are lists with an entry for each row, of which a model reads one for all rows."""
_contents: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


@dataclass(frozen=True, eq=False)
class ModelCall:
    """A call of a model that works row by row.

    Parameters
    ----------
    model
        What is called, to tell it from other models.
    function
        Makes the call.
    args, kwargs
        Its arguments. Its first one, or without it `hidden_states` or `sample`, is a
        tensor of shape (rows, ...), or a list of as many tensors as there are rows.
    decodes
        Whether it makes the picture of finished latents.
    conditions
        Whether its answer is for the next call of a denoiser, as a ControlNet's is.
    """

    model: Any
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    decodes: bool = False
    conditions: bool = False

    @property
    def sample(self) -> Any:
        """The argument that has the rows."""
        if self.args:
            return self.args[0]
        return next(self.kwargs[name] for name in ("hidden_states", "sample") if name in self.kwargs)

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return len(self.sample)

    @property
    def kind(self) -> Hashable:
        """What has to be equal for two calls to be made as one: the model, and everything but the rows."""
        rows = self.rows if isinstance(self.sample, torch.Tensor) else -self.rows
        return id(self.model), _kind(self.args, rows), _kind(self.kwargs, rows)


def run_batched(calls: Sequence[ModelCall]) -> list[Any]:
    """Make calls of one kind and return what each would have returned.

    Parameters
    ----------
    calls
        At least one. One alone is made exactly as it stands.

    Returns
    -------
    list
        For each call its rows; they equal those of the call alone up to rounding.
    """
    if len(calls) == 1:
        return [calls[0].function(*calls[0].args, **calls[0].kwargs)]
    rows = [call.rows for call in calls]
    listed = not isinstance(calls[0].sample, torch.Tensor)
    args = _joined([call.args for call in calls], rows, listed)
    kwargs = _joined([call.kwargs for call in calls], rows, listed)
    output = calls[0].function(*args, **kwargs)
    ends = [sum(rows[: index + 1]) for index in range(len(rows))]
    return [_part(output, slice(end - count, end), ends[-1] if listed else 0) for end, count in zip(ends, rows, strict=True)]


def _kind(value: Any, rows: int, name: str = "") -> Hashable:
    """Return what has to be equal of an argument; `rows` is below zero where rows are the items of lists."""
    if isinstance(value, torch.Tensor):
        if name in ONE_FOR_ALL:
            return "equal", _content(value)
        if value.ndim == 0:
            return "one for all rows", value.dtype, value.device
        if value.shape[0] == abs(rows):
            return "rows", value.dtype, value.device, value.shape[1:]
        return id(value)
    if name in LAYOUTS and isinstance(value, list) and len(value) == abs(rows) and value.count(value[0]) == len(value):
        return "equal", repr(value[0])
    if _is_rows(value, rows):
        # Of unequal texts the model itself makes equal ones, and masks what it added.
        return "list of rows", value[0].dtype, value[0].device, value[0].shape[1:]
    if isinstance(value, dict):
        return tuple((key, _kind(one, rows, key)) for key, one in sorted(value.items()))
    if isinstance(value, (list, tuple)):
        return type(value), tuple(_kind(one, rows, name) for one in value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return type(value), value
    return id(value)


def _is_rows(value: Any, rows: int) -> bool:
    """Tell whether an argument is a list of rows, in a call whose rows are the items of lists."""
    return rows < 0 and isinstance(value, list) and len(value) == -rows and all(isinstance(one, torch.Tensor) for one in value)


def _content(value: torch.Tensor) -> Hashable:
    """Return what tells a small tensor's content from another's; it is read from the device once."""
    found: Hashable = _contents.get(value)
    if found is None:
        # With a batch axis all rows are the same, and the model reads the first.
        row = value[0] if value.ndim == 3 else value
        found = (str(value.dtype), value.ndim, tuple(row.shape), row.detach().float().cpu().numpy().tobytes())
        _contents[value] = found
    return found


def _joined(values: Sequence[Any], rows: Sequence[int], listed: bool, name: str = "") -> Any:
    first = values[0]
    if isinstance(first, torch.Tensor):
        if name in ONE_FOR_ALL and first.ndim < 3:
            return first
        return torch.cat([one.expand(count) if one.ndim == 0 else one for one, count in zip(values, rows, strict=True)])
    if name in LAYOUTS and isinstance(first, list):
        return [one for value in values for one in value]
    if listed and _is_rows(first, -rows[0]):
        return [one for value in values for one in value]
    if isinstance(first, dict):
        return {key: _joined([one[key] for one in values], rows, listed, key) for key in first}
    if isinstance(first, (list, tuple)):
        return type(first)(_joined(column, rows, listed, name) for column in zip(*values, strict=True))
    return first


def _part(output: Any, rows: slice, listed: int) -> Any:
    """Return some rows of an output; `listed` is how many items a list of rows has, 0 where rows are those of tensors."""
    if isinstance(output, torch.Tensor):
        return output[rows]
    if listed and isinstance(output, list) and len(output) == listed:
        return output[rows]
    if isinstance(output, dict):  # diffusers' outputs are one
        return type(output)(**{name: _part(one, rows, listed) for name, one in output.items()})
    if isinstance(output, (list, tuple)):
        return type(output)(_part(one, rows, listed) for one in output)
    return output
