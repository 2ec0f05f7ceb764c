"""What files of LoRA kinds add to a weight: LoRA, LoCon, LoHa, LoKr, DoRA, (IA)³, full differences.

Sources: Hu et al., "LoRA", 2021; Hyeon-Woo et al., "FedPara", 2021 (LoHa); Yeh et al., "LyCORIS", 2023 (LoKr, LoCon);
Liu et al., "DoRA", 2024; Liu et al., "(IA)³", 2022; LyCORIS 4.1 `lycoris/modules`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError

SPELLINGS: Mapping[str, str] = {
    **{f"{name}.weight": name for name in ("lora_up", "lora_down", "lora_mid")},
    "lora_A.weight": "lora_down",
    "lora_B.weight": "lora_up",
    "lora.down.weight": "lora_down",
    "lora.up.weight": "lora_up",
    "lora_magnitude_vector.weight": "magnitude",
    "lora_magnitude_vector": "magnitude",
    "weight": "ia3",
    **{name: name for name in ("alpha", "dora_scale", "diff", "diff_b", "w_norm", "b_norm", "on_input")},
    **{name: name for name in ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2")},
    **{name: name for name in ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2")},
}
"""How keys end, and what stands there."""
IN_TRAINING = ("dropout", "rank_dropout", "module_dropout")
"""Ends of keys that only mean something while a file is trained."""
_KINDS: tuple[tuple[str, tuple[frozenset[str], ...]], ...] = (
    ("LoRA", (frozenset({"lora_up", "lora_down"}), frozenset({"lora_up", "lora_down", "lora_mid"}))),
    (
        "LoHa",
        tuple(frozenset({"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", *more}) for more in ((), ("hada_t1", "hada_t2"))),
    ),
    (
        "LoKr",
        tuple(
            frozenset({*first, *second})
            for first in (("lokr_w1",), ("lokr_w1_a", "lokr_w1_b"))
            for second in (("lokr_w2",), ("lokr_w2_a", "lokr_w2_b"), ("lokr_w2_a", "lokr_w2_b", "lokr_t2"))
        ),
    ),
    ("full difference", (frozenset({"diff"}), frozenset({"diff", "diff_b"}))),
    ("norm difference", (frozenset({"w_norm"}), frozenset({"w_norm", "b_norm"}))),
    ("(IA)³", (frozenset({"ia3", "on_input"}),)),
)
_DIFFERENCES = ("full difference", "norm difference")
_LOW_RANK = ("LoRA", "LoHa", "LoKr")
_BESIDE = frozenset({"dora_scale", "magnitude", "diff_b"})
"""What may stand beside a product of low rank."""

Shapes = Mapping[str, Sequence[int]]


def kind_of(names: frozenset[str]) -> str:
    """Return which product the tensors of one layer make, such as "LoHa"; "" for none.

    Parameters
    ----------
    names
        Values of `SPELLINGS`.
    """
    own = names - {"alpha"}
    kind = next((kind for kind, sets in _KINDS if own in sets), "")
    low_rank = next((kind for kind, sets in _KINDS if own - _BESIDE in sets), "")
    return kind or (low_rank if low_rank in _LOW_RANK else "")


def expected_shapes(given: Shapes, weight: Sequence[int], bias: Sequence[int] | None) -> Iterator[tuple[str, list[int]]]:
    """Yield the shape that each tensor of one layer must have.

    Parameters
    ----------
    given
        The shapes as they are, by name; they make one of the kinds.
    weight, bias
        The layer's own.
    """
    out, *rest = weight
    into, kernel = (rest[0] if rest else 1), list(rest[1:])
    kind = kind_of(frozenset(given))
    if kind == "LoRA":
        rank = _first(given["lora_down"])
        outer = _first(given["lora_mid"]) if "lora_mid" in given else rank
        yield "lora_down", [rank, into, *([] if "lora_mid" in given else kernel)]
        yield "lora_up", [out, outer]
        if "lora_mid" in given:
            yield "lora_mid", [outer, rank, *kernel]
    elif kind == "LoHa":
        for number in "12":
            rank, core = _first(given[f"hada_w{number}_b"]), f"hada_t{number}"
            flat = core in given or len(given[f"hada_w{number}_b"]) == 2
            beside = [into if core in given else into * math.prod(kernel)] if flat else [into, *kernel]
            yield f"hada_w{number}_b", [rank, *beside]
            yield f"hada_w{number}_a", [rank, out] if core in given else [out, rank]
            if core in given:
                yield core, [rank, rank, *kernel]
    elif kind == "LoKr":
        yield from _expected_kronecker(given, out, into, kernel)
    elif kind in _DIFFERENCES:
        yield ("diff" if "diff" in given else "w_norm"), list(weight)
    elif kind == "(IA)³":
        turned = [out] if math.prod(given["ia3"]) == out else [into]
        yield "ia3", [1, *turned, *[1] * len(kernel)] if kernel or len(given["ia3"]) > 1 else turned
        yield "on_input", []
    for name in ("diff_b", "b_norm"):
        if name in given:
            yield name, list(bias or [])
    if "alpha" in given:
        yield "alpha", []
    if "dora_scale" in given:
        per_input = [1, into, *[1] * len(kernel)]
        yield "dora_scale", per_input if bare(given["dora_scale"]) == bare(per_input) else [out, *[1] * len(rest)]
    if "magnitude" in given:
        # PEFT keeps the magnitudes of a convolution's outputs in the second place.
        yield "magnitude", [1, out] if len(given["magnitude"]) > 1 else [out]


def _expected_kronecker(given: Shapes, out: int, into: int, kernel: list[int]) -> Iterator[tuple[str, list[int]]]:
    first, rank = given.get("lokr_w1"), _first(given.get("lokr_w1_b", ()))
    if first is None:
        high, wide = _first(given["lokr_w1_a"]), _last(given["lokr_w1_b"])
        yield "lokr_w1_a", [high, rank]
        yield "lokr_w1_b", [rank, wide]
    else:
        high, wide = _first(first), _last(first)
        yield "lokr_w1", [high, wide]
    # A factor that does not divide the side shows in the shape of the other one.
    below, beside = out // max(high, 1), into // max(wide, 1)
    if "lokr_w2" in given:
        flat = len(given["lokr_w2"]) == 2
        yield "lokr_w2", [below, beside * math.prod(kernel)] if flat else [below, beside, *kernel]
        return
    rank = _first(given["lokr_w2_b"])
    core = "lokr_t2" in given
    yield "lokr_w2_a", [rank, below] if core else [below, rank]
    if core:
        yield "lokr_t2", [rank, rank, *kernel]
    flat = core or len(given["lokr_w2_b"]) == 2
    yield "lokr_w2_b", [rank, beside if core else beside * math.prod(kernel)] if flat else [rank, beside, *kernel]


def bare(shape: Sequence[int]) -> list[int]:
    """Return a shape without the ones at its end, which tell a linear layer from a convolution of one pixel."""
    kept = list(shape)
    while kept and kept[-1] == 1:
        kept.pop()
    return kept


def added(weight: Tensor, tensors: Mapping[str, Tensor], strength: float, ratio: float = 1.0) -> Tensor:
    """Return a weight with what the tensors of one layer add to it.

    Parameters
    ----------
    weight
        Shape (out, in), (out, in, height, width) or (out,); it stays as it is.
    tensors
        Float32, by name; they make one of the kinds and have its shapes.
    strength
        How much of it is added.
    ratio
        Alpha over rank, where no `alpha` is among the tensors.

    Returns
    -------
    In float32.
    """
    old, kind = weight.float(), kind_of(frozenset(tensors))
    if kind == "(IA)³":
        return old + strength * _turned(old, tensors["ia3"], bool(tensors["on_input"].item()))
    change, rank = _change(kind, tensors, list(old.shape))
    # Whole factors have no rank: LyCORIS then takes no notice of alpha, PEFT of nothing but its config.
    scale = ratio if "alpha" not in tensors else float(tensors["alpha"].item()) / rank if rank else 1.0
    new = old + change.reshape(old.shape) * (scale * strength)
    if "magnitude" in tensors:
        return _decomposed(new, tensors["magnitude"].reshape(-1, *[1] * (new.dim() - 1)), strength)
    return _decomposed(new, tensors["dora_scale"], strength) if "dora_scale" in tensors else new


def _change(kind: str, tensors: Mapping[str, Tensor], shape: list[int]) -> tuple[Tensor, int]:
    """Return what is added, and the rank that `alpha` is divided by; 0 where `alpha` means nothing."""
    if kind == "LoRA":
        up, down = tensors["lora_up"].flatten(1), tensors["lora_down"]
        if "lora_mid" in tensors:
            middle = tensors["lora_mid"].reshape(len(tensors["lora_mid"]), len(down), *(shape[2:] or [1]))
            return torch.einsum("mn...,om,ni->oi...", middle, up, down.flatten(1)), len(down)
        return up @ down.flatten(1), len(down)
    if kind == "LoHa":
        first, second = (_half(tensors, f"hada_w{number}", f"hada_t{number}").flatten(1) for number in "12")
        return first * second, len(tensors["hada_w1_b"])
    if kind == "LoKr":
        left = tensors["lokr_w1"] if "lokr_w1" in tensors else tensors["lokr_w1_a"] @ tensors["lokr_w1_b"]
        right = tensors["lokr_w2"] if "lokr_w2" in tensors else _half(tensors, "lokr_w2", "lokr_t2")
        factored = next((tensors[name] for name in ("lokr_w1_b", "lokr_w2_b") if name in tensors), None)
        left = left.reshape(*left.shape, *[1] * (right.dim() - 2))
        return torch.kron(left, right.contiguous()), 0 if factored is None else len(factored)
    return tensors["diff" if "diff" in tensors else "w_norm"], 0


def _half(tensors: Mapping[str, Tensor], name: str, core: str) -> Tensor:
    a, b = tensors[f"{name}_a"], tensors[f"{name}_b"]
    if core in tensors:
        return torch.einsum("ij...,ip,jr->pr...", tensors[core], a, b)
    return (a @ b.flatten(1)).reshape(len(a), *b.shape[1:])


def _turned(weight: Tensor, factors: Tensor, on_input: bool) -> Tensor:
    at = 1 if on_input else 0
    return weight * factors.reshape([-1 if side == at else 1 for side in range(weight.dim())])


def _decomposed(weight: Tensor, magnitudes: Tensor, strength: float) -> Tensor:
    """Give each row, or each column where there is a magnitude for each, its magnitude.

    Source: LyCORIS `weight_decompose`, which brings a strength other than 1 to bear on the quotient.
    """
    per_input = magnitudes.dim() > 1 and magnitudes.shape[0] == 1 and weight.shape[0] != 1
    at = 1 if per_input else 0
    others = [side for side in range(weight.dim()) if side != at]
    norms = torch.linalg.vector_norm(weight, dim=others, keepdim=True) + torch.finfo(weight.dtype).eps
    quotient = magnitudes.reshape(norms.shape) / norms
    return weight * (quotient if strength == 1 else strength * (quotient - 1) + 1)


def add_sums(model: Any, heads: Sequence[str], sums: Mapping[str, Tensor], strength: float) -> None:
    """Add to a model's weights what a file of LoRA, LoHa, LoKr or DoRA has for its layers; a program has this as it stands.

    `heads` are how their names begin in the file; a dot at the end keeps the dots within.
    """
    for name, module in model.named_modules():
        for head in heads:
            layer = head.lstrip(".") + name if head.endswith(".") else head + name.replace(".", "_")
            own = {key[len(layer) + 1 :].removesuffix(".weight"): key for key in sums if key.startswith(f"{layer}.")}
            tensors = {key: sums[whole].float() for key, whole in own.items() if "." not in key}
            for peft, kohya in (("lora_A", "lora_down"), ("lora_B", "lora_up")):
                if peft in tensors:
                    tensors[kohya] = tensors.pop(peft)
            kinds = {"lora_up": "LoRA", "hada_w1_a": "LoHa", "lokr_w1": "LoKr", "lokr_w1_a": "LoKr"}
            kind = next((kinds[key] for key in kinds if key in tensors), "")
            if not kind:
                continue
            old = module.weight.data.float()
            change, rank = _change(kind, tensors, list(old.shape))
            scale = tensors["alpha"].item() / rank if "alpha" in tensors and rank else 1.0
            new = old + change.reshape(old.shape) * (scale * strength)
            new = _decomposed(new, tensors["dora_scale"], strength) if "dora_scale" in tensors else new
            module.weight.data = new.to(module.weight.dtype)


def added_to_bias(bias: Tensor, tensors: Mapping[str, Tensor], strength: float) -> Tensor:
    """Return a bias with what the tensors of one layer add to it, in float32."""
    change = tensors.get("diff_b", tensors.get("b_norm"))
    return bias.float() if change is None else bias.float() + strength * change


def _first(shape: Sequence[int]) -> int:
    return shape[0] if shape else 0


def _last(shape: Sequence[int]) -> int:
    return shape[-1] if shape else 0


def refuse_shape(key: str, given: Sequence[int], expected: Sequence[int]) -> None:
    """Raise `CheckpointError` where a tensor has another shape than the layer needs."""
    if bare(given) != bare(expected):
        raise CheckpointError(f"its {key} has the shape {list(given)}, and the layer needs {list(expected)}")
