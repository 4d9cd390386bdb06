"""Read published GPTs (transformers' GPT-2 folders): their config in our words, their tensors under our names.

Sources: layout of GPT2LMHeadModel and GPT2Model in Hugging Face transformers, and of the older files of
         openai-community/gpt2, whose names lack the prefix "transformer." and which hold the causal mask as tensors.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genai_utils.transformer.gpt import GPT, GPTConfig
from genai_utils.weights import hub as published
from genai_utils.weights.hub import CONFIG, TRANSFORMERS

OURS = "this GPT"
TYPE = "gpt2"
KINDS = ("GPT2LMHeadModel", "GPT2Model")

# What GPT2Config assumes for a field that the file leaves out, of those that we translate
DEFAULTS = {
    "vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12, "n_inner": None,
    "resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.1, "layer_norm_epsilon": 1e-5, "tie_word_embeddings": True,
}  # fmt: skip

# Fields of which we have one variant only, with the values that ask for it; a file without the field means the first
ONLY = {
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"), "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,), "reorder_and_upcast_attn": (False,), "add_cross_attention": (False,),
    "is_decoder": (False, True), "is_encoder_decoder": (False,),
}  # fmt: skip

# They are for training from nothing, for the tokenizer, for generation, or for heads that we do not read
HEADS = {
    "summary_activation", "summary_first_dropout", "summary_proj_to_labels", "summary_type", "summary_use_proj",
    "num_labels", "id2label", "label2id", "problem_type", "finetuning_task",
}  # fmt: skip
WRITING = {
    "bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "cls_token_id", "decoder_start_token_id",
    "forced_bos_token_id", "forced_eos_token_id", "prefix", "task_specific_params", "tokenizer_class", "max_length",
    "min_length", "do_sample", "early_stopping", "num_beams", "num_beam_groups", "diversity_penalty", "temperature",
    "top_k", "top_p", "typical_p", "repetition_penalty", "length_penalty", "no_repeat_ngram_size", "bad_words_ids",
    "encoder_no_repeat_ngram_size", "exponential_decay_length_penalty", "num_return_sequences", "output_scores",
    "remove_invalid_values", "suppress_tokens", "begin_suppress_tokens", "return_dict_in_generate", "use_cache",
}  # fmt: skip
IGNORED = HEADS | WRITING | {
    "architectures", "attn_implementation", "chunk_size_feed_forward", "dtype", "gradient_checkpointing",
    "initializer_range", "model_type", "n_ctx", "output_attentions", "output_hidden_states", "output_past",
    "pruned_heads", "return_dict", "tie_encoder_decoder", "torch_dtype", "torchscript", "transformers_version",
    "use_bfloat16", "cross_attention_hidden_size", "tf_legacy_loss",
}  # fmt: skip

RENAME = [
    (r"^transformer\.", ""), (r"^wte\.", "embed."), (r"^wpe\.", "positions."), (r"^ln_f\.", "norm."),
    (r"^lm_head\.", "head."), (r"^h\.(\d+)\.", r"blocks.\1."), (r"\.ln_([12])\.", r".norm\1."),
    (r"\.attn\.c_attn\.", ".attention.qkv."), (r"\.attn\.c_proj\.", ".attention.out."),
    (r"\.mlp\.c_fc\.", ".up."), (r"\.mlp\.c_proj\.", ".down."),
]  # fmt: skip
MASKS = re.compile(r"(^|\.)h\.\d+\.attn\.(bias|masked_bias)$")  # the causal mask, in older files
CONV1D = re.compile(r"\.c_(attn|proj|fc)\.weight$")  # (in, out), where a Linear has (out, in)


def read_gpt(name: str | Path, **hub: Any) -> tuple[GPTConfig, dict[str, Tensor]]:
    """Return the config and the state dict (float32) of a published GPT-2, ready for `GPT(cfg)`.

    Args:
        name: a folder that holds config.json and model.safetensors (or pytorch_model.bin), or a repository id of the
            Hugging Face Hub, such as "gpt2".
        hub: passed to `huggingface_hub.snapshot_download` (revision, cache_dir, token, endpoint).
    Raises:
        ValueError: the config asks for a part that our GPT lacks (field and value are named), or the tensors do not fit
            the config (missing, surplus and misshapen names are listed).
        FileNotFoundError: no such folder, or the folder lacks a file (named).
    """
    folder = published.find_folder(name, [], hub, TRANSFORMERS)
    cfg = translate_config(published.read_config(folder))
    state = translate_state(published.read_tensors(folder, TRANSFORMERS))
    if cfg.tied and "head.weight" in state:
        head = state.pop("head.weight")  # older files hold the one matrix twice
        if not torch.equal(head, state.get("embed.weight", head)):
            raise ValueError(
                f"lm_head.weight in {folder} differs from wte.weight, though {CONFIG} ties them; set "
                "tie_word_embeddings to false there if both are meant"
            )
    with torch.device("meta"):
        wanted = GPT(cfg).state_dict()
    published.check_tensors(state, wanted, folder)
    return cfg, state


def translate_config(theirs: Mapping[str, Any]) -> GPTConfig:
    """Return our config for the fields of a GPT-2's config.json, or say which of them has no counterpart.

    Raises:
        ValueError: the model is of another kind; a field asks for what our GPT lacks; fields are unknown (all named).
    """
    if (kind := theirs.get("model_type", TYPE)) != TYPE:
        published.refuse("model_type", kind, repr(TYPE), OURS)
    if bad := [kind for kind in theirs.get("architectures") or [] if kind not in KINDS]:
        published.refuse("architectures", bad, " or ".join(map(repr, KINDS)), OURS)
    published.check_fields(theirs, ONLY, DEFAULTS.keys() | IGNORED, OURS)
    c = DEFAULTS | {k: v for k, v in theirs.items() if k in DEFAULTS}
    if theirs.get("n_ctx", c["n_positions"]) != c["n_positions"]:
        published.refuse("n_ctx", theirs["n_ctx"], f"n_positions, which is {c['n_positions']}", OURS)
    return GPTConfig(
        vocab=c["vocab_size"], context=c["n_positions"], d_model=c["n_embd"], n_layers=c["n_layer"],
        n_heads=c["n_head"], d_hidden=c["n_inner"], tied=c["tie_word_embeddings"], dropout=c["resid_pdrop"],
        embed_dropout=c["embd_pdrop"], attention_dropout=c["attn_pdrop"], eps=c["layer_norm_epsilon"],
    )  # fmt: skip


def translate_state(theirs: Mapping[str, Tensor], dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Return the tensors under our names, as `dtype`, with the weights of Conv1D layers transposed, masks left out."""
    kept = {name: x for name, x in theirs.items() if not MASKS.search(name)}
    turned = {name: x.T.contiguous() if CONV1D.search(name) else x for name, x in kept.items()}
    return published.translate_tensors(turned, RENAME, dtype)
