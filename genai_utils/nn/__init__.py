"""Blocks that two or more families use."""

from genai_utils.nn.quantize import Quantised, VectorQuantizer, perplexity

__all__ = ["Quantised", "VectorQuantizer", "perplexity"]
