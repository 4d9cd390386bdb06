"""Blocks that two or more families use."""

from genai_utils.nn.attention import (
    CrossAttention, KVCache, SelfAttention, attend, attention_maps, attention_weights, causal_mask,
)  # fmt: skip
from genai_utils.nn.embed import PatchEmbed, patchify, sine_positions, unpatchify
from genai_utils.nn.norm import RMSNorm
from genai_utils.nn.quantize import Quantised, VectorQuantizer, perplexity

__all__ = [
    "CrossAttention", "KVCache", "PatchEmbed", "Quantised", "RMSNorm", "SelfAttention", "VectorQuantizer", "attend",
    "attention_maps", "attention_weights", "causal_mask", "patchify", "perplexity", "sine_positions", "unpatchify",
]  # fmt: skip
