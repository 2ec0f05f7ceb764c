"""Model calls: calls of one model that differ only in their batch rows, made as one."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch


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
        Its arguments; the first is a tensor of shape (rows, ...).
    """

    model: Any
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def rows(self) -> int:
        """Rows of the first argument."""
        return int(self.args[0].shape[0])

    @property
    def kind(self) -> Hashable:
        """What has to be equal for two calls to be made as one: the model, and everything but the rows."""
        return id(self.model), _kind(self.args, self.rows), _kind(self.kwargs, self.rows)


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
    args = _joined([call.args for call in calls], rows)
    kwargs = _joined([call.kwargs for call in calls], rows)
    output = calls[0].function(*args, **kwargs)
    ends = [sum(rows[: index + 1]) for index in range(len(rows))]
    return [_part(output, slice(end - count, end)) for end, count in zip(ends, rows, strict=True)]


def _kind(value: Any, rows: int) -> Hashable:
    if isinstance(value, torch.Tensor):
        if value.ndim == 0:
            return "one for all rows", value.dtype, value.device
        if value.shape[0] == rows:
            return "rows", value.dtype, value.device, value.shape[1:]
        return id(value)
    if isinstance(value, dict):
        return tuple((name, _kind(one, rows)) for name, one in sorted(value.items()))
    if isinstance(value, (list, tuple)):
        return type(value), tuple(_kind(one, rows) for one in value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return type(value), value
    return id(value)


def _joined(values: Sequence[Any], rows: Sequence[int]) -> Any:
    first = values[0]
    if isinstance(first, torch.Tensor):
        return torch.cat([one.expand(count) if one.ndim == 0 else one for one, count in zip(values, rows, strict=True)])
    if isinstance(first, dict):
        return {name: _joined([one[name] for one in values], rows) for name in first}
    if isinstance(first, (list, tuple)):
        return type(first)(_joined(column, rows) for column in zip(*values, strict=True))
    return first


def _part(output: Any, rows: slice) -> Any:
    if isinstance(output, torch.Tensor):
        return output[rows]
    if isinstance(output, dict):  # diffusers' outputs are one
        return type(output)(**{name: _part(one, rows) for name, one in output.items()})
    if isinstance(output, (list, tuple)):
        return type(output)(_part(one, rows) for one in output)
    return output
