"""LoHa, LoKr, LoCon, DoRA and their kin: what a file adds is the sum that its paper writes down, layer by layer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from diffusers import StableDiffusionImg2ImgPipeline
from safetensors.torch import save_file

from nbdiffuse import Recipe, Session, embedded, resolve
from nbdiffuse.checkpoints.adapters import fuse
from nbdiffuse.errors import CheckpointError, ParameterError
from nbdiffuse.recipes.lora import read
from nbdiffuse.runs.program import script_of
from nbdiffuse.scripts import lora_sums
from nbdiffuse.scripts.checking import check
from nbdiffuse.scripts.listing import Listing

State = dict[str, torch.Tensor]
RANK, ALPHA, STRENGTH = 4, 2.0, 0.7
LINEAR = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
CONV = "down_blocks.1.resnets.0.conv1"
POINT = "up_blocks.1.attentions.0.proj_in"
TEXT = "encoder.layers.0.mlp.fc1"
OTHER = "up_blocks.1.resnets.0.conv2"


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape) * 0.3


def pipeline_of(name: str) -> Any:
    torch.manual_seed(0)
    if name != "sd15":
        return tiny.MAKERS[name]()
    pipeline = StableDiffusionImg2ImgPipeline.from_pretrained(embedded.path("sd15"))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def pipelines() -> Callable[[str], Any]:
    """Pipelines that are made once; a test puts their weights back."""
    held: dict[str, Any] = {}

    def get(name: str) -> Any:
        if name not in held:
            held[name] = pipeline_of(name)
        return held[name]

    return get


def module_of(pipeline: Any, layer: str) -> Any:
    part = pipeline.text_encoder if layer.startswith("encoder.") else pipeline.unet
    names = dict(part.named_modules())
    return names.get(layer) or names[f"text_model.{layer}"]


def lora(w: torch.Tensor) -> tuple[State, torch.Tensor]:
    out, into, *kernel = w.shape
    down, up = draw(RANK, into, *kernel), draw(out, RANK, *[1] * len(kernel))
    made = sum(up.reshape(out, RANK)[:, r].reshape(out, 1, *[1] * len(kernel)) * down[r].unsqueeze(0) for r in range(RANK))
    return {"lora_down.weight": down, "lora_up.weight": up}, made * ALPHA / RANK


def locon_with_core(w: torch.Tensor) -> tuple[State, torch.Tensor]:
    out, into, *kernel = w.shape
    ones = [1] * len(kernel)
    down, up, mid = draw(RANK, into, *ones), draw(out, RANK, *ones), draw(RANK, RANK, *kernel)
    made = torch.zeros_like(w)
    for a in range(RANK):
        for b in range(RANK):
            outer = torch.outer(up.reshape(out, RANK)[:, a], down.reshape(RANK, into)[b])
            made += outer.reshape(out, into, *ones) * mid[a, b]
    return {"lora_down.weight": down, "lora_up.weight": up, "lora_mid.weight": mid}, made * ALPHA / RANK


def loha(w: torch.Tensor) -> tuple[State, torch.Tensor]:
    out, wide = w.shape[0], w[0].numel()
    state = {f"hada_w{n}_a": draw(out, RANK) for n in (1, 2)} | {f"hada_w{n}_b": draw(RANK, wide) for n in (1, 2)}
    made = torch.mm(state["hada_w1_a"], state["hada_w1_b"]) * torch.mm(state["hada_w2_a"], state["hada_w2_b"])
    return state, made.reshape(w.shape) * ALPHA / RANK


def loha_with_cores(w: torch.Tensor) -> tuple[State, torch.Tensor]:
    out, into, *kernel = w.shape
    state: State = {}
    halves = []
    for n in (1, 2):
        a, b, core = draw(RANK, out), draw(RANK, into), draw(RANK, RANK, *kernel)
        state |= {f"hada_w{n}_a": a, f"hada_w{n}_b": b, f"hada_t{n}": core}
        half = torch.zeros_like(w)
        for p in range(RANK):
            for r in range(RANK):
                half += torch.outer(a[p], b[r]).reshape(out, into, *[1] * len(kernel)) * core[p, r]
        halves.append(half)
    return state, halves[0] * halves[1] * ALPHA / RANK


def kron(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Write the blocks of a Kronecker product one by one."""
    return torch.cat([torch.cat([value * right for value in row], dim=1) for row in left], dim=0)


def lokr(w: torch.Tensor) -> tuple[State, torch.Tensor]:
    out, into, *kernel = w.shape
    w1, w2 = draw(4, 2), draw(out // 4, into // 2, *kernel)
    # Both factors are whole, so alpha means nothing.
    return {"lokr_w1": w1, "lokr_w2": w2}, kron(w1, w2)


def lokr_factored(w: torch.Tensor) -> tuple[State, torch.Tensor]:
    out, into, *kernel = w.shape
    wide = (into // 2) * w[0, 0].numel()
    w1, a, b = draw(4, 2), draw(out // 4, RANK), draw(RANK, wide)
    made = kron(w1, (a @ b).reshape(out // 4, into // 2, *kernel))
    return {"lokr_w1": w1, "lokr_w2_a": a, "lokr_w2_b": b}, made * ALPHA / RANK


def lokr_both_factored(w: torch.Tensor) -> tuple[State, torch.Tensor]:
    out, into, *kernel = w.shape
    c, d, a, b = draw(4, RANK), draw(RANK, 2), draw(RANK, out // 4), draw(RANK, into // 2)
    core = draw(RANK, RANK, *kernel)
    right = torch.zeros(out // 4, into // 2, *kernel)
    for p in range(RANK):
        for r in range(RANK):
            right += torch.outer(a[p], b[r]).reshape(out // 4, into // 2, *[1] * len(kernel)) * core[p, r]
    state = {"lokr_w1_a": c, "lokr_w1_b": d, "lokr_w2_a": a, "lokr_w2_b": b, "lokr_t2": core}
    return state, kron(c @ d, right) * ALPHA / RANK


def full(w: torch.Tensor) -> tuple[State, torch.Tensor]:
    change = draw(*w.shape)
    return {"diff": change}, change


def ia3(w: torch.Tensor) -> tuple[State, torch.Tensor]:
    out, _, *kernel = w.shape
    factors = draw(out)
    shaped = factors.reshape(1, out, *[1] * len(kernel)) if kernel else factors
    return {"weight": shaped, "on_input": torch.tensor(0)}, torch.stack([row * f for row, f in zip(w, factors, strict=True)])


def ia3_on_input(w: torch.Tensor) -> tuple[State, torch.Tensor]:
    _, into, *kernel = w.shape
    factors = draw(into)
    shaped = factors.reshape(1, into, *[1] * len(kernel)) if kernel else factors
    return {"weight": shaped, "on_input": torch.tensor(1)}, w * factors.reshape(into, *[1] * len(kernel))


KINDS = [
    (kind, layer) for kind in (lora, loha, lokr, lokr_factored, full, ia3, ia3_on_input) for layer in (LINEAR, CONV, POINT, TEXT)
] + [(kind, CONV) for kind in (locon_with_core, loha_with_cores, lokr_both_factored)]


def name_of(layer: str, style: str) -> str:
    text = layer.startswith("encoder.")
    if style == "kohya":
        return ("lora_te_text_model_" if text else "lora_unet_") + layer.replace(".", "_")
    return f"text_encoder.text_model.{layer}" if text else f"unet.{layer}"


def write(folder: Path, state: State, metadata: dict[str, str] | None = None) -> Path:
    file = folder / "style.safetensors"
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, file, metadata=metadata)
    return file


def changed_weights(pipeline: Any, file: Path, layer: str, strength: float = STRENGTH) -> tuple[torch.Tensor, torch.Tensor]:
    """Fuse a file, return the layer's weight before and after, and put back what was changed."""
    module = module_of(pipeline, layer)
    parts = {name: getattr(pipeline, name, None) for name in ("unet", "text_encoder", "text_encoder_2")}
    before = {
        name: {key: value.clone() for key, value in part.state_dict().items()} for name, part in parts.items() if part is not None
    }
    try:
        fuse(pipeline, file, strength, "the base", strength)
        return before["text_encoder" if layer.startswith("encoder.") else "unet"][_key(pipeline, module)], module.weight.clone()
    finally:
        for name, state in before.items():
            getattr(pipeline, name).load_state_dict(state)


def _key(pipeline: Any, module: Any) -> str:
    for part in (pipeline.unet, pipeline.text_encoder):
        for name, one in part.named_modules():
            if one is module:
                return f"{name}.weight"
    raise LookupError


@pytest.mark.parametrize("style", ["kohya", "diffusers"])
@pytest.mark.parametrize(("kind", "layer"), KINDS, ids=lambda value: getattr(value, "__name__", value))
def test_a_layer_gets_the_sum_that_is_made_by_hand(
    kind: Any, layer: str, style: str, pipelines: Callable[[str], Any], tmp_path: Path
) -> None:
    torch.manual_seed(3)
    pipeline = pipelines("sd15")
    state, change = kind(module_of(pipeline, layer).weight.detach())
    keys = {f"{name_of(layer, style)}.{end}": tensor for end, tensor in state.items()}
    keys |= {f"{name_of(layer, style)}.alpha": torch.tensor(ALPHA)}
    if kind is lora:
        # A file that only holds plain LoRA goes to diffusers' loader, whose sums test_lora.py compares.
        keys[f"{name_of(OTHER, style)}.diff"] = torch.zeros_like(module_of(pipeline, OTHER).weight)
    before, after = changed_weights(pipeline, write(tmp_path, keys), layer)
    torch.testing.assert_close(after, before + STRENGTH * change, rtol=0, atol=2e-6)
    assert (after - before).abs().max() > 1e-3


@pytest.mark.parametrize("per", ["output", "input"])
@pytest.mark.parametrize(("kind", "strength"), [(lora, 1.0), (lora, 0.5), (loha, 1.0), (lokr_factored, 0.5)])
@pytest.mark.parametrize("layer", [LINEAR, CONV])
def test_dora_gives_each_row_or_column_its_magnitude(
    per: str, kind: Any, layer: str, strength: float, pipelines: Callable[[str], Any], tmp_path: Path
) -> None:
    torch.manual_seed(4)
    pipeline = pipelines("sd15")
    weight = module_of(pipeline, layer).weight.detach().clone()
    state, change = kind(weight)
    at = 0 if per == "output" else 1
    others = [side for side in range(weight.dim()) if side != at]
    magnitudes = torch.linalg.vector_norm(weight, dim=others, keepdim=True) * 1.2
    state |= {"alpha": torch.tensor(ALPHA), "dora_scale": magnitudes}
    _, after = changed_weights(
        pipeline, write(tmp_path, {f"{name_of(layer, 'kohya')}.{e}": t for e, t in state.items()}), layer, strength
    )
    turned = weight + strength * change
    quotient = magnitudes / torch.linalg.vector_norm(turned, dim=others, keepdim=True)
    torch.testing.assert_close(after, turned * (1 + strength * (quotient - 1)), rtol=1e-5, atol=2e-6)
    if strength == 1.0:
        torch.testing.assert_close(torch.linalg.vector_norm(after, dim=others, keepdim=True), magnitudes, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layer", [LINEAR, CONV])
def test_dora_as_peft_saves_it_is_what_peft_computes(layer: str, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(5)
    unet = tiny._unet()
    config = LoraConfig(r=RANK, lora_alpha=8, use_dora=True, target_modules=[layer], init_lora_weights=False)
    model = get_peft_model(unet, config)
    for key, value in model.named_parameters():
        if "lora_magnitude" in key:
            value.data *= 1.3
    model.save_pretrained(tmp_path)
    merged = dict(model.merge_and_unload().named_modules())[layer].weight.detach().clone()
    pipeline = tiny.MAKERS["x4-upscaler"]()
    torch.manual_seed(5)
    pipeline.unet = tiny._unet()
    fuse(pipeline, tmp_path / "adapter_model.safetensors", 1.0, "the base", 1.0)
    torch.testing.assert_close(dict(pipeline.unet.named_modules())[layer].weight.detach(), merged, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("peft_kind", ["LoHaConfig", "LoKrConfig"])
def test_loha_and_lokr_as_peft_saves_them_are_what_peft_computes(peft_kind: str, tmp_path: Path) -> None:
    import peft

    torch.manual_seed(6)
    layers = [LINEAR, CONV]
    config = getattr(peft, peft_kind)(r=RANK, alpha=2, target_modules=layers, init_weights=False)
    model = peft.get_peft_model(tiny._unet(), config)
    model.save_pretrained(tmp_path)
    merged = {name: one.weight.detach().clone() for name, one in model.merge_and_unload().named_modules() if name in layers}
    assert len(merged) == 2
    pipeline = tiny.MAKERS["x4-upscaler"]()
    torch.manual_seed(6)
    pipeline.unet = tiny._unet()
    fuse(pipeline, tmp_path / "adapter_model.safetensors", 1.0, "the base", 1.0)
    for name, weight in merged.items():
        torch.testing.assert_close(dict(pipeline.unet.named_modules())[name].weight.detach(), weight, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("algorithm", ["loha", "lokr", "locon", "full", "ia3"])
def test_a_file_that_lycoris_writes_acts_as_it_did_in_its_training(algorithm: str, tmp_path: Path) -> None:
    lycoris = pytest.importorskip("lycoris")
    torch.manual_seed(7)
    pipeline = tiny.MAKERS["sdxl"]()
    given: dict[str, Any] = {} if algorithm in ("full", "ia3") else {"linear_dim": RANK, "linear_alpha": ALPHA}
    lycoris.LycorisNetwork.apply_preset({"target_name": [LINEAR, CONV], "enable_conv": True, "use_fnmatch": True})
    network = lycoris.create_lycoris(pipeline.unet, 1.0, algo=algorithm, conv_dim=RANK, conv_alpha=ALPHA, **given)
    network.apply_to()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    state = {key: value.detach().clone() for key, value in network.state_dict().items()}
    file = write(tmp_path, state)
    torch.manual_seed(7)
    ours = tiny.MAKERS["sdxl"]()
    fuse(ours, file, STRENGTH, "the base", STRENGTH)
    network.set_multiplier(STRENGTH)
    theirs, mine = dict(pipeline.unet.named_modules()), dict(ours.unet.named_modules())
    torch.manual_seed(7)
    untouched = dict(tiny.MAKERS["sdxl"]().unet.named_modules())
    # As it is trained: LyCORIS' own merge has the scale of a LoHa in it twice.
    for name, given in ((LINEAR, torch.randn(3, 64)), (CONV, torch.randn(1, 16, 8, 8))):
        expected = theirs[name](given)
        assert not torch.allclose(untouched[name](given), expected, atol=1e-3)
        torch.testing.assert_close(mine[name](given), expected, rtol=1e-4, atol=1e-4)


def test_sdxl_in_the_names_of_the_original_code_meets_the_layers_that_diffusers_converts_them_to(tmp_path: Path) -> None:
    from diffusers.loaders.lora_conversion_utils import (
        _convert_non_diffusers_lora_to_diffusers,
        _maybe_map_sgm_blocks_to_diffusers,
    )

    from nbdiffuse.checkpoints.lora_layers import layers_by_name

    torch.manual_seed(8)
    pipeline = tiny.MAKERS["sdxl"]()
    known = layers_by_name(pipeline)
    ours = {
        name: layer.name
        for name, layer in known.items()
        if name.startswith("lora_unet_")
        and any(m in name for m in ("input_blocks", "middle_block", "output_blocks"))
        and isinstance(layer.module, (torch.nn.Linear, torch.nn.Conv2d))
    }
    inside = {layer.name for layer in known.values() if layer.part == "unet" and "_block" in layer.name}
    assert {name for name in inside if "norm" not in name} <= set(ours.values())
    state = {f"{name}.lora_{side}.weight": torch.zeros(1) for name in ours for side in ("down", "up")}
    renamed = _convert_non_diffusers_lora_to_diffusers(_maybe_map_sgm_blocks_to_diffusers(state, pipeline.unet.config))[0]
    theirs = {_plain(key) for key in renamed if "down" in key.rsplit("lora", 1)[-1]}
    assert theirs == set(ours.values())


def _plain(key: str) -> str:
    key = key.removeprefix("unet.").replace(".processor", "").replace("to_out_lora", "to_out.0_lora")
    return key.replace("_lora.down.weight", "").replace(".lora.down.weight", "")


KNOWN = "lora_unet_" + LINEAR.replace(".", "_")
HALF = {f"{KNOWN}.hada_w1_a": torch.zeros(32, 4), f"{KNOWN}.hada_w1_b": torch.zeros(4, 96)}


def shaped(base: Any, **more: torch.Tensor) -> State:
    torch.manual_seed(0)
    return {
        f"{KNOWN}.{end.replace('__', '.')}": tensor for end, tensor in {**loha(module_of(base, LINEAR).weight)[0], **more}.items()
    }


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda base: HALF, r"makes no LoRA of a known kind for one layer: lora_unet_\S+\.hada_w1_a, lora_unet_\S+\.hada_w1_b"),
        (
            lambda base: shaped(base, hada_w2_a=torch.zeros(5, 4)),
            r"hada_w2_a has the shape \[5, 4\], and the layer needs \[\d+, 4\]",
        ),
        (lambda base: shaped(base, alpha=torch.zeros(3)), r"alpha has the shape \[3\], and the layer needs \[\]"),
        (lambda base: {"lora_unet_nowhere.diff": torch.zeros(3)}, r"its layer lora_unet_nowhere of 1 is not there"),
        (
            lambda base: shaped(base) | {f"{KNOWN}.oft_blocks": torch.zeros(2, 2)},
            r"its key .*oft_blocks is none that a LoRA has; .* OFT",
        ),
        (lambda base: shaped(base) | {"a\x00b\nc": torch.zeros(1)}, r"its key a\\x00b\\nc is none that a LoRA has"),
        (
            lambda base: {f"k{n}.a1.weight": torch.zeros(1) for n in range(3000)},
            r"its key k0\.a1\.weight and 2999 more is none that a LoRA has; it seems to be a GLoRA",
        ),
        (lambda base: {"x" * 5000 + ".lora_up": torch.zeros(1)}, r"its key x+ \.\.\. x+\.lora_up is none"),
        (lambda base: shaped(base) | {f"unet.{LINEAR}.diff": torch.zeros(1)}, "it names one layer twice"),
        (lambda base: {f"{KNOWN}.weight": torch.zeros(7), f"{KNOWN}.on_input": torch.tensor(0)}, r"has the shape \[7\]"),
        (lambda base: {"encoder.down_blocks.0.conv.weight": torch.zeros(1)}, "."),
        (lambda base: {}, "it holds no tensors"),
    ],
)
def test_what_does_not_fit_is_one_line_with_the_key_and_nothing_is_changed(
    make: Any, line: str, pipelines: Callable[[str], Any], tmp_path: Path
) -> None:
    base = pipelines("sd15")
    before = {key: value.clone() for key, value in base.unet.state_dict().items()}
    with pytest.raises(CheckpointError, match=line) as caught:
        fuse(base, write(tmp_path, make(base)), 1.0, "the base", 1.0)
    text = str(caught.value)
    assert text.startswith("The LoRA style.safetensors does not fit the base: ") and "\n" not in text and len(text) < 700
    assert all(torch.equal(value, before[key]) for key, value in base.unet.state_dict().items())


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        (["model.diffusion_model.out.0.weight", "first_stage_model.decoder.conv_in.weight"], "a whole checkpoint"),
        (["decoder.up.0.block.0.conv1.weight", "encoder.down.0.block.0.conv1.weight"], "a VAE"),
        (["control_model.input_blocks.0.0.weight"], "a ControlNet"),
        (["controlnet_cond_embedding.conv_in.weight", "down_blocks.0.resnets.0.conv1.weight"], "a ControlNet"),
        (["emb_params"], "a textual inversion"),
        (["double_blocks.0.img_attn.qkv.weight"], "a Flux checkpoint or a part of one"),
        (["text_model.encoder.layers.0.self_attn.q_proj.weight"], "a text encoder"),
    ],
)
def test_a_file_that_is_no_lora_is_called_what_it_seems_to_be(
    keys: list[str], what: str, pipelines: Callable[[str], Any], tmp_path: Path
) -> None:
    file = write(tmp_path, {key: torch.zeros(2, 2) for key in keys})
    with pytest.raises(CheckpointError, match=f"it seems to be {what}"):
        fuse(pipelines("sd15"), file, 1.0, "the base", 1.0)


def test_training_leftovers_are_passed_over(pipelines: Callable[[str], Any], tmp_path: Path) -> None:
    base = pipelines("sd15")
    plain = changed_weights(base, write(tmp_path, shaped(base)), LINEAR)[1]
    assert torch.equal(changed_weights(base, write(tmp_path, shaped(base, rank_dropout=torch.tensor(0.5))), LINEAR)[1], plain)


def test_a_bias_and_a_norm_move_too(pipelines: Callable[[str], Any], tmp_path: Path) -> None:
    base = pipeline_of("sd15")
    conv, norm = module_of(base, CONV), module_of(base, CONV.replace("conv1", "norm1"))
    prefix = "lora_unet_" + CONV.replace(".", "_")
    state = {f"{prefix}.diff": draw(*conv.weight.shape), f"{prefix}.diff_b": draw(*conv.bias.shape)}
    named = prefix.replace("conv1", "norm1")
    state |= {f"{named}.w_norm": draw(*norm.weight.shape), f"{named}.b_norm": draw(*norm.bias.shape)}
    olds = [one.detach().clone() for one in (conv.weight, conv.bias, norm.weight, norm.bias)]
    fuse(base, write(tmp_path, state), -0.5, "the base", -0.5)
    for old, new, change in zip(olds, (conv.weight, conv.bias, norm.weight, norm.bias), state.values(), strict=True):
        torch.testing.assert_close(new.detach(), old - 0.5 * change)


def test_half_precision_is_summed_in_single_and_rounded_once(tmp_path: Path) -> None:
    base = pipeline_of("sd15")
    base.unet.half()
    weight = module_of(base, LINEAR).weight
    old = weight.detach().clone()
    torch.manual_seed(9)
    state, change = loha(old.float())
    fuse(base, write(tmp_path, {f"{KNOWN}.{end}": tensor for end, tensor in state.items()}), 1.0, "the base", 1.0)
    assert weight.dtype == torch.float16
    assert torch.equal(weight, (old.float() + change * RANK / ALPHA).half())


def test_a_run_with_a_loha_has_the_pixels_of_the_sum_and_the_base_stays(session: Session, scene: Any, tmp_path: Path) -> None:
    torch.manual_seed(10)
    base = pipeline_of("sd15")
    layers = [name for name, one in base.unet.named_modules() if name.endswith(("to_q", "to_v", "conv1"))]
    state: State = {}
    for layer in layers:
        products, change = loha(module_of(base, layer).weight.detach())
        state |= {f"lora_unet_{layer.replace('.', '_')}.{end}": tensor for end, tensor in products.items()}
        module_of(base, layer).weight.data += 0.1 * change * RANK / ALPHA
    file = write(tmp_path, state)
    recipe = Recipe(prompt="a cat in the snow", image=scene.image, num_inference_steps=4, seed=7)
    before = session.run(recipe).image.tobytes()
    made = session.run(recipe.replace(lora=f"{file}:0.1"))
    by_hand = base("a cat in the snow", image=scene.image, num_inference_steps=4, generator=torch.Generator("cpu").manual_seed(7))
    assert made.image.tobytes() == by_hand.images[0].tobytes() != before
    assert session.run(recipe).image.tobytes() == before
    assert repr(check(script_of(made), made.images)) == "same pixels"


@pytest.mark.parametrize("kind", ["lokr_factored", "lokr_both_factored", "dora", "peft_names"])
def test_a_program_adds_it_too(kind: str, session: Session, scene: Any, tmp_path: Path) -> None:
    torch.manual_seed(11)
    base = pipeline_of("sd15")
    makers: dict[str, Any] = {"lokr_factored": lokr_factored, "lokr_both_factored": lokr_both_factored}
    state: State = {}
    for layer in (CONV,) if kind == "lokr_both_factored" else (LINEAR, CONV, TEXT):
        weight = module_of(base, layer).weight.detach()
        products = makers.get(kind, lora)(weight)[0]
        head = "lora_te_text_model_" if layer == TEXT else "lora_unet_"
        called = head + layer.replace(".", "_")
        if kind == "dora":
            products["dora_scale"] = weight.flatten(1).norm(dim=1).reshape(-1, *[1] * (weight.dim() - 1)) * 1.1
        if kind == "peft_names":
            called = f"base_model.model.{'text_model.' if layer == TEXT else ''}{layer}"
            products = {key.replace("lora_down", "lora_A").replace("lora_up", "lora_B"): one for key, one in products.items()}
        state |= {f"{called}.{end}": 0.3 * tensor if end != "dora_scale" else tensor for end, tensor in products.items()}
    recipe = Recipe(prompt="a cat in the snow", image=scene.image, num_inference_steps=2, seed=7)
    made = session.run(recipe.replace(lora=f"{write(tmp_path, state)}:0.6:text_encoder=0.4"))
    assert made.image.tobytes() != session.run(recipe).image.tobytes()
    assert repr(check(script_of(made), made.images)) == "same pixels"


def test_a_program_of_sums_in_the_original_names_is_refused(session: Session, scene: Any, tmp_path: Path) -> None:
    recipe = Recipe(prompt="a cat", image=scene.image, num_inference_steps=2, seed=7)
    torch.manual_seed(12)
    products = loha(module_of(pipeline_of("sd15"), LINEAR).weight.detach())[0]
    called = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"
    file = write(tmp_path, {f"{called}.{end}": tensor for end, tensor in products.items()})
    with pytest.raises(ParameterError, match="must be one whose layers have diffusers' names") as caught:
        lora_sums.add(Listing(own_folder=False), read(str(file))[0], file, resolve(recipe))
    assert "\n" not in str(caught.value)
