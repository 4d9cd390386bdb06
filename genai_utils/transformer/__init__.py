"""Transformers: GPT, BERT, T5, BART and ViT, each in its own file, on the blocks of genai_utils.nn."""
