"""Small checkpoints of the classes that select a part of a picture."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    CLIPSegConfig,
    CLIPSegForImageSegmentation,
    CLIPSegTextConfig,
    CLIPSegVisionConfig,
    CLIPTokenizer,
    SamConfig,
    SamImageProcessor,
    SamMaskDecoderConfig,
    SamModel,
    SamProcessor,
    SamPromptEncoderConfig,
    SamVisionConfig,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    ViTImageProcessor,
)

from nbdiffuse import embedded
from nbdiffuse.embedded.train import segment as training


def save(folder: Path) -> dict[str, Path]:
    """Save an untrained checkpoint of each class that selects; return their folders by what they take."""
    torch.manual_seed(2)
    tokenizer = CLIPTokenizer.from_pretrained(embedded.path("clip"))
    width = {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 2}
    text = CLIPSegTextConfig(
        **width,
        num_hidden_layers=1,
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    seen = CLIPSegVisionConfig(**width, num_hidden_layers=2, image_size=64, patch_size=8)
    words = CLIPSegForImageSegmentation(
        CLIPSegConfig(
            text_config=text.to_dict(),
            vision_config=seen.to_dict(),
            projection_dim=16,
            extract_layers=[0, 1],
            reduce_dim=16,
            decoder_intermediate_size=16,
            use_complex_transposed_convolution=True,
        )
    )
    labels = {0: "wall", 1: "sky", 2: "person;individual;someone", 3: "tall wall, wall"}
    semantic = SegformerForSemanticSegmentation(
        SegformerConfig(hidden_sizes=[8, 8, 16, 16], depths=[1] * 4, decoder_hidden_size=16, id2label=labels)
    )
    vision = SamVisionConfig(
        hidden_size=32,
        output_channels=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=64,
        patch_size=8,
        global_attn_indexes=[1],
        window_size=4,
        mlp_dim=32,
        num_pos_feats=8,
    )
    prompt = SamPromptEncoderConfig(hidden_size=16, image_size=64, patch_size=8, mask_input_channels=4)
    decoder = SamMaskDecoderConfig(hidden_size=16, mlp_dim=16, num_hidden_layers=2, num_attention_heads=2, iou_head_hidden_dim=16)
    sam = SamModel(
        SamConfig(vision_config=vision.to_dict(), prompt_encoder_config=prompt.to_dict(), mask_decoder_config=decoder.to_dict())
    )
    with torch.no_grad():
        for parameter in sam.mask_decoder.parameters():
            parameter *= 20  # untrained, its logits are all but 0
    square = {"height": 64, "width": 64}
    sizes = {"size": {"longest_edge": 64}, "pad_size": square, "mask_size": {"longest_edge": 16}}
    processor = SamProcessor(SamImageProcessor(**sizes, mask_pad_size={"height": 16, "width": 16}))
    saved = {
        "words": (words, tokenizer, ViTImageProcessor(size={"height": 64, "width": 64})),
        "labels": (semantic, training.new_processor()),
        "sam": (sam, processor),
    }
    for name, parts in saved.items():
        for part in parts:
            part.save_pretrained(folder / name)
    return {name: folder / name for name in saved}
