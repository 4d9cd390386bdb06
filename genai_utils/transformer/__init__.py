"""Transformers: GPT, BERT, T5, BART and ViT, each in its own file, on the blocks of genai_utils.nn.

`log_prob` is a function of gpt.py and of seq2seq.py: import it from there.
"""

from genai_utils.transformer.bart import BART, BARTConfig
from genai_utils.transformer.beam import beam_search, beam_steps
from genai_utils.transformer.bert import (
    BERT, BERTClassifier, BERTConfig, BERTSpans, best_spans, classification_loss, span_loss,
)  # fmt: skip
from genai_utils.transformer.decoding import DecodingState, sample_tokens, warp_logits, write_tokens
from genai_utils.transformer.gpt import GPT, GPTConfig, gpt_loss
from genai_utils.transformer.masked import fill, mask_tokens, mlm_loss, pseudo_log_prob, unmask_steps
from genai_utils.transformer.masked_vit import MaskedViT, MaskedViTConfig, fill_patches, masked_vit_loss
from genai_utils.transformer.seq2seq import seq2seq_loss
from genai_utils.transformer.spans import answers, span_batch
from genai_utils.transformer.t5 import T5, T5Config
from genai_utils.transformer.vit import ViT, ViTConfig, attention_distance, attention_rollout, vit_loss

__all__ = [
    "BART", "BARTConfig", "BERT", "BERTClassifier", "BERTConfig", "BERTSpans", "DecodingState", "GPT", "GPTConfig",
    "MaskedViT", "MaskedViTConfig", "T5", "T5Config", "ViT", "ViTConfig", "answers", "attention_distance",
    "attention_rollout", "beam_search", "beam_steps", "best_spans", "classification_loss", "fill", "fill_patches",
    "gpt_loss", "mask_tokens", "masked_vit_loss", "mlm_loss", "pseudo_log_prob", "sample_tokens", "seq2seq_loss",
    "span_batch", "span_loss", "unmask_steps", "vit_loss", "warp_logits", "write_tokens",
]  # fmt: skip
