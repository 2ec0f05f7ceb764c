"""The tokenizer and the text encoder: CLIP's classes, made for the captions of the world."""

from __future__ import annotations

import json
import string
from random import Random

from tokenizers import pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from ..world import Scene, sample
from ..world.captions import assemble

BEGIN, END = "<|startoftext|>", "<|endoftext|>"
LENGTH = 77

STRAYS = (
    "photo of", "oil painting", "photorealistic", "hdr", "unreal engine", "wallpaper", "intricate", "smiling", "standing",
    "with", "and", "sitting", "big", "small", "old", "young", "happy", "style", "charliebo artstyle", "pixelartstyle",
    "elden ring style", "warrior", "chief", "sunset", "morning", "very", "colorful", "high quality", "studio lighting",
)  # fmt: skip
"""Words that mean nothing in the world; seen in training so that they do no harm."""


def _stray(rng: Random) -> str:
    if rng.random() < 0.7:
        return rng.choice(STRAYS)
    return "".join(rng.choices(string.ascii_lowercase, k=rng.randint(2, 9)))


def training_caption(scene: Scene, rng: Random, *, flaws: bool = False) -> str:
    """Write a caption that often leaves parts unsaid, so that every part, and none, can be asked for."""
    draw = rng.random()
    if draw < 0.10:
        return ""
    if draw < 0.15:
        return assemble(rng, None, scene.place, None, flaws=flaws)
    if draw < 0.18:
        return assemble(rng, None, None, scene.palette, flaws=flaws)
    subject = scene.subject if rng.random() < 0.96 else None
    place = scene.place if rng.random() < 0.92 else None
    palette = scene.palette if rng.random() < 0.93 else None
    text = assemble(rng, subject, place, palette, scene.style, flaws=flaws)
    if rng.random() < 0.25:
        parts = text.split(", ")
        parts.insert(rng.randint(1, len(parts)), _stray(rng))
        text = ", ".join(parts)
    return text


def new_tokenizer(captions: int = 20000, vocabulary: int = 600) -> CLIPTokenizer:
    """Train CLIP's byte-pair encoding on captions; every byte stays in the vocabulary, so any prompt tokenizes."""
    blank = CLIPTokenizer().backend_tokenizer
    trainer = trainers.BpeTrainer(vocab_size=256 + vocabulary, end_of_word_suffix="</w>", show_progress=False)
    rng = Random("tokenizer")
    blank.train_from_iterator((training_caption(sample(seed), rng) for seed in range(captions)), trainer)
    merges = [tuple(pair) for pair in json.loads(blank.to_str())["model"]["merges"]]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in merges), BEGIN, END]
    vocab = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=LENGTH)


def new_text_encoder(tokenizer: CLIPTokenizer, width: int = 96) -> CLIPTextModel:
    """Return an untrained CLIP text encoder of two layers; the token ids are the tokenizer's own."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=256,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=LENGTH,
            projection_dim=width,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
