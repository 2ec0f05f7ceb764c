"""Aliases: what other tools call a field of a recipe or an option of a cell, and what to write here instead."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping

from ..errors import nearest, squeezed

_NAMES = {
    "prompt": "text caption positive positive_prompt pos_prompt prompt_text input_prompt description",
    "negative_prompt": "negative neg neg_prompt n_prompt np negative_text uncond unconditional_prompt uncond_prompt "
    "negatives anti_prompt undesired_content",
    "image": "init_image init_img initial_image init input_image input img img2img_image source_image src_image picture pic "
    "image_path start_image base_image reference_image I",
    "image_reference": "reference references ref_image ref_images image_ref image_refs reference_images image_references",
    "model": "preset",
    "strength": "denoise denoising denoising_strength denoise_strength noise_strength img2img_strength redraw_strength "
    "prompt_strength init_strength skip_strength f",
    "noise": "noise_share start_noise noise_amount initial_noise",
    "guidance_scale": "cfg cfg_scale cfg_strength guidance guidance_strength scale unconditional_guidance_scale "
    "classifier_free_guidance classifier_free_guidance_scale text_guidance_scale prompt_guidance C",
    "num_inference_steps": "steps step num_steps n_steps inference_steps sampling_steps sample_steps sampler_steps ddim_steps "
    "diffusion_steps denoising_steps step_count steps_count number_of_steps num_inference_step",
    "seed": "noise_seed random_seed rng_seed manual_seed generator rng random_state sd_seed S",
    "scheduler": "sampler sampler_name sampler_type sampler_index sampling sampling_method sampling_algorithm solver samplers "
    "scheduler_name scheduler_type scheduler_class A",
    "width": "image_width img_width output_width W",
    "height": "image_height img_height output_height H",
    "resize_mode": "resize resize_method fit_mode image_fit fit_method resizing",
    "checkpoint": "ckpt ckpt_name ckpt_path checkpoint_name checkpoint_path model_name model_id model_path model_file "
    "pretrained_model pretrained_model_name_or_path model_name_or_path base_model repo repo_id hub_id weights sd_model "
    "sd_model_name sd_model_checkpoint unet unet_name diffusion_model",
    "vae": "vae_name vae_model vae_file vae_path vae_checkpoint sd_vae autoencoder",
    "mask_image": "mask mask_img mask_path mask_file inpaint_mask inpainting_mask inpaint init_mask M",
    "mask_crop": "padding_mask_crop inpaint_full_res inpaint_full_res_padding only_masked only_masked_padding mask_padding "
    "masked_area_padding crop_padding",
    "mask_invert": "invert_mask inpainting_mask_invert mask_inverted inverted_mask inpaint_not_masked mask_mode",
    "mask_grow": "grow_mask grow_mask_by mask_dilate mask_dilation mask_expand mask_offset dilate_mask expand_mask",
    "mask_blur": "mask_feather mask_feathering feather mask_softness mask_blur_radius blur_mask inpaint_blur",
    "extend": "outpaint outpainting uncrop expand expand_canvas extend_canvas pixels_to_expand canvas",
    "mask_content": "masked_content inpainting_fill inpaint_fill mask_fill infill infill_method",
    "mask_differential": "differential differential_diffusion differential_strength soft_inpainting gradient_mask change_map",
    "controlnet": "control control_net controlnet_model controlnet_name control_model control_net_name cnet",
    "control_image": "controlnet_image control_img conditioning_image controlnet_conditioning_image control_map control_hint "
    "hint hint_image controlnet_input",
    "controlnet_conditioning_scale": "control_scale control_weight control_strength controlnet_scale controlnet_weight "
    "controlnet_strength conditioning_scale controlnet_conditioning",
    "control_guidance_start": "control_start guidance_start controlnet_start controlnet_guidance_start control_begin "
    "begin_step_percent start_percent",
    "control_guidance_end": "control_end guidance_end controlnet_end controlnet_guidance_end end_step_percent end_percent",
    "lora": "loras lora_name lora_path lora_file lora_model lora_weights lora_weights_path load_lora adapter adapters",
    "embedding": "embeddings textual_inversion textual_inversions ti load_textual_inversion embedding_name learned_embeds",
    "ip_adapter": "ip_adapters ipadapter ip_adapter_model ip_adapter_name ipadapter_file load_ip_adapter",
    "ip_adapter_image": "style_image ipadapter_image image_prompt style_reference",
    "ip_adapter_mask": "ip_adapter_masks ipadapter_mask style_mask",
    "ip_adapter_scale": "ipadapter_scale ip_adapter_weight ipadapter_weight set_ip_adapter_scale",
    "ip_adapter_image_encoder": "clip_vision clip_vision_model image_encoder",
    "weighting": "prompt_weighting prompt_syntax prompt_parser prompt_attention emphasis emphasis_mode",
    "prior_num_inference_steps": "prior_steps",
    "eta": "ddim_eta eta_ddim",
    "freeu": "free_u freeu_v1 freeu_v2 enable_freeu",
    "variation_seed": "subseed",
    "variation_strength": "subseed_strength variation_amount",
    "guidance_rescale": "cfg_rescale rescale_cfg rescale_guidance",
    "timesteps": "custom_timesteps",
    "sigmas": "custom_sigmas",
    "timestep_spacing": "spacing",
    "use_karras_sigmas": "karras",
    "image_guidance_scale": "image_cfg image_cfg_scale image_guidance",
    "prior_guidance_scale": "prior_cfg prior_cfg_scale prior_guidance",
    "passes": "loops loop loopbacks loopback",
    "final_strength": "final_denoising_strength final_denoise end_strength last_strength",
    "curve": "denoising_curve strength_curve",
    "color_correction": "colour_correction apply_color_correction color_match colour_match",
    "out": "name variable var assign result as",
    "save": "outdir out_dir output_dir output_path output_file outfile save_path save_to save_dir save_as file filename "
    "file_name filename_prefix destination dest path folder directory",
    "executor": "client workers pool cluster parallel",
    "measure": "metric metrics score scores",
    "panel": "gui ui widget widgets",
    "yes": "y force confirm",
}
"""By our own name: the words for it in AUTOMATIC1111, ComfyUI, InvokeAI, diffusers' scripts and stable-diffusion's own."""
_SEVERAL = "{seed} 1..4 makes several; so does {num_images_per_prompt} 4, in a cell or in `sweep`."
_NO_OPTION = "It has no counterpart here yet."
_ADVICE = {
    "batch batches batch_size batch_count n num num_images n_images num_images_per_prompt images_per_prompt images n_samples "
    "num_samples num_outputs n_iter iterations samples count number repeat repeats amount": _SEVERAL,
    "size resolution dimensions image_size img_size output_size res wh shape aspect_ratio aspect ratio target_size": (
        "Here it is {width} and {height}."
    ),
    "output o": "Here {out} names the variable of the result, and {save} its file.",
    "lora_scale lora_weight lora_strength lora_alpha strength_model cross_attention_scale": (
        "The weight stands behind the file, after a colon: {lora} style.safetensors:0.8."
    ),
    "image_strength": "Here it is {strength}; some tools count it the other way: 1 redraws everything, 0 keeps the picture.",
    "help h usage": "{list}",
    "clip_layer clip_stop_at_last_layers stop_at_clip_layer skip_layers": (
        "Here it is {clip_skip}, which counts from 0: 1 is AUTOMATIC1111's 2, and ComfyUI's -2."
    ),
    "eta_noise s_churn s_tmin s_tmax s_noise ensd eta_noise_seed_delta": (
        f"{_NO_OPTION} Schedulers run as their configuration says."
    ),
    "hires hires_fix hr highres highres_fix enable_hr hr_scale hr_upscaler hr_second_pass_steps hires_steps hires_upscale "
    "hires_upscaler hires_denoise upscale upscale_by upscaler upscale_factor esrgan realesrgan two_pass": (
        f"{_NO_OPTION} A second step of `%%chain` does it, with the model x2-upscaler, or with a larger width and height."
    ),
    "refiner refiner_model refiner_checkpoint refiner_steps refiner_switch refiner_switch_at refiner_start high_noise_frac "
    "start_at_step end_at_step": (
        "Here a `%%chain` does it: {denoising_end} 0.8 in its first step, and a second one of the model sdxl-refiner with "
        "{denoising_start} 0.8."
    ),
    "hypernet hypernetwork hypernetworks lycoris": _NO_OPTION,
    "style styles prompt_style style_preset": f"{_NO_OPTION} Write the style into the prompt.",
    "tiling tile seamless seamless_axes symmetry hflip": _NO_OPTION,
    "restore_faces face_restoration face_restore face_enhance codeformer codeformer_weight gfpgan": _NO_OPTION,
    "variation variations": "Here they are {variation_seed} and {variation_strength}.",
    "seed_resize": _NO_OPTION,
    "threshold perlin": _NO_OPTION,
    "distilled_cfg distilled_guidance pag pag_scale sag": _NO_OPTION,
    "inpaint_area": _NO_OPTION,
    "noise_offset init_latent latents": _NO_OPTION,
    "output_type return_dict callback callback_steps callback_on_step_end": _NO_OPTION,
    "device fp16 fp32 bf16 half dtype precision torch_dtype variant xformers medvram lowvram attention_slicing vae_slicing "
    "vae_tiling cpu_offload compile torch_compile optimized turbo": (
        "`%diffuse optimize` shows how models are run, and changes it."
    ),
    "safety_checker safe_mode nsfw nsfw_filter": _NO_OPTION,
}
"""By words that are no single option here: what to do instead, or that there is nothing yet."""
_ALIASES = {alias: name for name, words in _NAMES.items() for alias in words.split()}
_LINES = {alias: line for words, line in _ADVICE.items() for alias in words.split()}


def field_meant(word: str, known: Container[str]) -> str | None:
    """Return the one known name that a word stands for in another tool, or None."""
    meant = _by_spelling(_ALIASES, word)
    return meant if meant in known else None


def advice(word: str, known: Mapping[str, str], listed: str, short: Mapping[str, str] | None = None) -> str:
    """Say what to write for a name that is not known.

    Parameters
    ----------
    word
        As it was written, with dashes or without.
    known
        How each known name is written here, such as "--num-inference-steps", by the name itself.
    listed
        A sentence that says where all names are listed.
    short
        Short forms of some of them, such as "-n".

    Returns
    -------
    str
        One line: our own name for what another tool calls so, or that there is none; else the name that
        is spelled like it; else `listed`.
    """
    name = word.strip().lstrip("-").split("=")[0][:100]
    shown = {own: f"`{typed}`" + (f" ({short[own]})" if short and own in short else "") for own, typed in known.items()}
    meant = field_meant(name, known)
    if meant is not None:
        return f"Here it is {shown[meant]}."
    line = _by_spelling(_LINES, name)
    if line is not None:
        return line.format_map(_Shown({**shown, "list": listed}))
    aliases = {alias: own for alias, own in _ALIASES.items() if own in known and len(alias) > 3}
    # `prompt_3` is no slip of `prompt_2`.
    same = [own for own in (*known, *aliases) if _number(own) == _number(name)]
    near = nearest(name, [own for own in same if own in known]) or aliases.get(nearest(name, same) or "")
    return f"Did you mean {known[near]!r}?" if near else listed


def _number(word: str) -> str:
    return word[len(word.rstrip("0123456789")) :]


class _Shown(dict[str, str]):
    """Names as a surface shows them; one that it does not take is named plainly."""

    def __missing__(self, name: str) -> str:
        return f"`{name}`"


def _by_spelling(table: Mapping[str, str], word: str) -> str | None:
    """Look a word up as it is, and then whatever its capitals and separators are; a single letter is its own."""
    if word in table or len(word) == 1:
        return table.get(word)
    # `denoisingStrength` as `denoising_strength`, `CFG scale` as `cfg_scale`.
    plain = squeezed(re.sub(r"[^\w]", "", word))
    return next((found for alias, found in table.items() if len(alias) > 1 and squeezed(alias) == plain), None)


_IN_PYTHON = "`help(nbdiffuse.Recipe)` lists every parameter."


def unknown_parameter(word: str, known: Iterable[str]) -> str:
    """Say in one line that a name is no parameter of a recipe, and what to write; for Python and JSON."""
    return f"{word!r} is not a parameter. {advice(word, {name: name for name in known}, _IN_PYTHON)}"
