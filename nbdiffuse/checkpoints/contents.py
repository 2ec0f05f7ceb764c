"""What a weights file seems to be, told by its keys and shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_MARKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("an OFT or BOFT file, which is not read here", (".oft_blocks", ".oft_diag", ".oft_R")),
    ("a GLoRA, which is not read here", (".a1.weight", ".b1.weight")),
    ("a LoHa", (".hada_w1_a",)),
    ("a LoKr", (".lokr_w1", ".lokr_w2")),
    ("an IP-Adapter", ("ip_adapter.", "image_proj.")),
    ("a LoRA", (".lora_up.", ".lora_down.", ".lora_A.", ".lora_B.", "_lora.up.", "_lora.down.", ".lora.up.", ".lora.down.")),
    ("a motion module of AnimateDiff", ("motion_modules.",)),
    ("a ControlNet", ("control_model.", "controlnet_cond_embedding.", "controlnet_down_blocks.", "zero_convs.")),
    ("a T2I-Adapter", ("adapter.body.", "body.0.resnets.")),
    ("a Flux checkpoint or a part of one", ("double_blocks.", "single_transformer_blocks.")),
    ("a Stable Diffusion 3 checkpoint or a part of one", ("joint_blocks.",)),
)


def seems_to_be(found: Mapping[str, Sequence[int]]) -> str:
    """Return what a weights file seems to be, such as "a VAE".

    Parameters
    ----------
    found
        Shapes by key.
    """
    keys = list(found)
    if not keys:
        return "an empty file"

    def has(*marks: str) -> bool:
        return any(mark in key for mark in marks for key in keys)

    unet, vae = has("model.diffusion_model."), has("first_stage_model.")
    if unet and vae:
        return "a whole checkpoint; give it as `checkpoint`"
    for what, marks in _MARKS:
        if has(*marks):
            return what
    if unet:
        return "a checkpoint without a VAE"
    if len(keys) <= 4 and has("emb_params", "string_to_param", "clip_l", "clip_g", "<"):
        return "a textual inversion"
    if has("time_embedding.", "down_blocks.") and has("attn2.", "conv_in."):
        return "a UNet or a VAE in diffusers' layout" if not has("attn2.", "time_embedding.") else "a UNet in diffusers' layout"
    if has("decoder.up", "decoder.mid", "encoder.down"):
        return "a VAE"
    if has("text_model.", "self_attn.", "token_embedding."):
        return "a text encoder"
    return "something else"
