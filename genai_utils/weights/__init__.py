"""Small trained weights that ship with the package, each with its hash, its origin and its score."""

from genai_utils.weights.loader import load_tensors, load_tokenizer, load_weights, registry
from genai_utils.weights.writer import save_weights

__all__ = ["load_tensors", "load_tokenizer", "load_weights", "registry", "save_weights"]
