"""LoRA for transformers: in each naming that people have, a layer gets the sum that is made by hand."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import tiny_families
import tiny_flows
import tiny_sd3
import torch
from safetensors.torch import save_file

from nbdiffuse.checkpoints.adapters import fuse
from nbdiffuse.errors import CheckpointError

MAKERS: dict[str, Callable[[], Any]] = {
    "flux": lambda: tiny_families._flux(guidance=True),
    "flux2-klein": tiny_flows._klein,
    "sd3": tiny_sd3.made,
    "qwen": tiny_families._qwen_image,
    "z-image": tiny_families._z_image,
}
NAMINGS = {
    "diffusers": ("transformer.", ".", "lora_A.weight", "lora_B.weight"),
    "peft": ("base_model.model.", ".", "lora_A.weight", "lora_B.weight"),
    "kohya": ("lora_unet_", "_", "lora_down.weight", "lora_up.weight"),
    "onetrainer": ("lora_transformer_", "_", "lora_down.weight", "lora_up.weight"),
    "comfyui": ("diffusion_model.", ".", "lora_down.weight", "lora_up.weight"),
    "bare": ("", ".", "lora_down.weight", "lora_up.weight"),
}
ENDS = ("to_q", "to_k", "to_out.0", "ff.net.2", "feed_forward.w1", "img_mlp.net.0.proj")
RANK, ALPHA, STRENGTH = 4, 2.0, 0.7


@cache
def pipeline_of(name: str) -> Any:
    torch.manual_seed(0)
    return MAKERS[name]()


def drawn(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    out, into = weight.shape
    return torch.randn(RANK, into) * 0.2, torch.randn(out, RANK) * 0.2


def layer(base: str, weight: torch.Tensor, state: dict[str, torch.Tensor], *, down: str = "lora_down.weight") -> torch.Tensor:
    """Put a layer of LoRA into a file's tensors, and return what it adds at strength 1."""
    up = down.replace("lora_down", "lora_up").replace("lora_A", "lora_B")
    one, other = drawn(weight)
    state |= {f"{base}.{down}": one, f"{base}.{up}": other}
    if "down" not in down:
        return other @ one
    state[f"{base}.alpha"] = torch.tensor(ALPHA)
    return (other @ one) * (ALPHA / RANK)


def changes(pipeline: Any, file: Path, **given: Any) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Return all weights before and after, and put them back."""
    models = {name: part for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}

    def weights() -> dict[str, torch.Tensor]:
        return {f"{name}.{key}": value for name, one in models.items() for key, value in one.state_dict().items()}

    before = {key: value.clone() for key, value in weights().items()}
    try:
        fuse(pipeline, file, STRENGTH, "a model", given.get("in_text_encoders", STRENGTH))
        return before, {key: value.clone() for key, value in weights().items()}
    finally:
        for key, value in weights().items():
            value.copy_(before[key])


def check_sums(pipeline: Any, state: dict[str, torch.Tensor], added: dict[str, torch.Tensor], folder: Path, **given: Any) -> None:
    save_file({key: value.contiguous() for key, value in state.items()}, folder / "made.safetensors")
    before, after = changes(pipeline, folder / "made.safetensors", **given)
    strength = {True: given.get("in_text_encoders", STRENGTH), False: STRENGTH}
    for key in before:
        much = strength[key.startswith("text_encoder")]
        expected = before[key] + added[key] * much if key in added else before[key]
        torch.testing.assert_close(after[key], expected, rtol=0, atol=2e-7 if key in added else 0, msg=key)
        assert (key in added) == (not torch.equal(before[key], after[key]))


@pytest.mark.parametrize(("name", "naming"), [*itertools.product(MAKERS, NAMINGS)])
def test_a_layer_gets_the_sum_that_is_made_by_hand(name: str, naming: str, tmp_path: Path) -> None:
    pipeline, (prefix, joint, down, _) = pipeline_of(name), NAMINGS[naming]
    state: dict[str, torch.Tensor] = {}
    added = {}
    for module_name, module in pipeline.transformer.named_modules():
        if isinstance(module, torch.nn.Linear) and module_name.endswith(ENDS):
            base = prefix + module_name.replace(".", joint)
            added[f"transformer.{module_name}.weight"] = layer(base, module.weight, state, down=down)
    assert added
    check_sums(pipeline, state, added, tmp_path)


def test_one_file_for_flux_in_its_original_names_and_for_both_text_encoders(tmp_path: Path) -> None:
    pipeline = pipeline_of("flux")
    transformer, state, added = pipeline.transformer, dict[str, torch.Tensor](), dict[str, torch.Tensor]()
    attention = transformer.transformer_blocks[0].attn
    out = attention.to_q.weight.shape[0]
    joined = layer("lora_unet_double_blocks_0_img_attn_qkv", torch.empty(3 * out, attention.to_q.weight.shape[1]), state)
    for number, part in enumerate(("to_q", "to_k", "to_v")):
        added[f"transformer.transformer_blocks.0.attn.{part}.weight"] = joined[number * out : (number + 1) * out]
    added["transformer.single_transformer_blocks.0.norm.linear.weight"] = layer(
        "lora_unet_single_blocks_0_modulation_lin", transformer.single_transformer_blocks[0].norm.linear.weight, state
    )
    for encoder, kohya, end in (
        ("text_encoder", "lora_te1_text_model_", "q_proj"),
        ("text_encoder_2", "lora_te3_", "SelfAttention.q"),
    ):
        modules = dict(getattr(pipeline, encoder).named_modules())
        called = next(one for one in modules if one.endswith(end))
        base = kohya + called.removeprefix("text_model.").replace(".", "_")
        added[f"{encoder}.{called}.weight"] = layer(base, modules[called].weight, state)
    assert len(added) == 6
    check_sums(pipeline, state, added, tmp_path)
    check_sums(pipeline, state, added, tmp_path, in_text_encoders=0.25)


def test_xlabs_names_for_flux(tmp_path: Path) -> None:
    pipeline = pipeline_of("flux")
    out, into = pipeline.transformer.transformer_blocks[0].attn.to_q.weight.shape
    down, up = drawn(torch.empty(3 * out, into))
    base = "double_blocks.0.processor.qkv_lora1"
    added = {
        f"transformer.transformer_blocks.0.attn.{part}.weight": up[number * out : (number + 1) * out] @ down
        for number, part in enumerate(("to_q", "to_k", "to_v"))
    }
    check_sums(pipeline, {f"{base}.down.weight": down, f"{base}.up.weight": up}, added, tmp_path)


@pytest.mark.parametrize("naming", ["lycoris_", "lora_unet_", "transformer."])
def test_loha_for_a_transformer(naming: str, tmp_path: Path) -> None:
    pipeline = pipeline_of("sd3")
    weight = pipeline.transformer.transformer_blocks[0].attn.to_q.weight
    called = "transformer_blocks.0.attn.to_q"
    base = naming + (called if naming.endswith(".") else called.replace(".", "_"))
    out, into = weight.shape
    first, second, third, fourth = (torch.randn(*shape) * 0.3 for shape in ((out, 2), (2, into), (out, 2), (2, into)))
    parts = zip(("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"), (first, second, third, fourth), strict=True)
    state = {f"{base}.{part}": value for part, value in parts}
    check_sums(pipeline, state, {f"transformer.{called}.weight": (first @ second) * (third @ fourth)}, tmp_path)


@pytest.mark.parametrize("name", MAKERS)
def test_what_is_not_there_is_named(name: str, tmp_path: Path) -> None:
    state: dict[str, torch.Tensor] = {}
    layer("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q", torch.empty(8, 8), state)
    save_file(state, tmp_path / "unet.safetensors")
    with pytest.raises(CheckpointError, match=r"The LoRA unet\.safetensors does not fit a model: ") as caught:
        fuse(pipeline_of(name), tmp_path / "unet.safetensors", 1.0, "a model", 1.0)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
