"""Read published T5s and BARTs (folders of transformers): their config in our words, their tensors under our names.

Sources: layout and names of T5ForConditionalGeneration, BartModel and BartForConditionalGeneration in Hugging Face
         transformers, as in t5-small, google/t5-v1_1-small, facebook/bart-base and facebook/bart-large-cnn.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from genai_utils.transformer.bart import BART, BARTConfig
from genai_utils.transformer.t5 import T5, T5Config
from genai_utils.weights import hub as published
from genai_utils.weights.hub import CONFIG, TRANSFORMERS

# What transformers assumes for a field that the file leaves out, of those that we translate
T5_DEFAULTS = {
    "vocab_size": 32128, "d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_decoder_layers": None,
    "num_heads": 8, "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128, "dropout_rate": 0.1,
    "layer_norm_epsilon": 1e-6, "feed_forward_proj": "relu", "pad_token_id": 0, "eos_token_id": 1,
    "decoder_start_token_id": None, "tie_word_embeddings": True, "scale_decoder_outputs": None,
}  # fmt: skip
BART_DEFAULTS = {
    "vocab_size": 50265, "max_position_embeddings": 1024, "d_model": 1024, "encoder_layers": 12,
    "encoder_ffn_dim": 4096, "encoder_attention_heads": 16, "decoder_layers": 12, "decoder_ffn_dim": 4096,
    "decoder_attention_heads": 16, "dropout": 0.1, "attention_dropout": 0.0, "scale_embedding": False,
    "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2,
}  # fmt: skip

# Fields of which we have one variant only, with the values that ask for it; a file without the field means the first
T5_ONLY = {
    "model_type": ("t5",), "feed_forward_proj": ("relu", "gated-gelu"), "is_encoder_decoder": (True,),
    "is_decoder": (False,), "dense_act_fn": ("relu", "gelu_new", None),
}  # fmt: skip
BART_ONLY = {
    "model_type": ("bart",), "activation_function": ("gelu",), "is_encoder_decoder": (True,), "is_decoder": (False,),
    "normalize_before": (False,), "normalize_embedding": (True,), "add_final_layer_norm": (False,),
    "static_position_embeddings": (False,), "extra_pos_embeddings": (2,), "add_bias_logits": (False,),
}  # fmt: skip

# They change no logit: how to generate, to initialise, to train in parts that we leave out, to classify, to store
IGNORED = {
    "architectures", "bad_words_ids", "begin_suppress_tokens", "bos_token_id", "chunk_size_feed_forward",
    "classif_dropout", "classifier_dropout", "cross_attention_hidden_size", "diversity_penalty", "do_sample", "dtype",
    "early_stopping", "encoder_no_repeat_ngram_size", "exponential_decay_length_penalty", "finetuning_task",
    "force_bos_token_to_be_generated", "forced_bos_token_id", "forced_eos_token_id", "gradient_checkpointing",
    "id2label", "init_std", "initializer_factor", "is_gated_act", "label2id", "length_penalty", "max_length",
    "min_length", "n_positions", "no_repeat_ngram_size", "num_beam_groups", "num_beams", "num_hidden_layers",
    "num_labels", "num_return_sequences", "output_attentions", "output_hidden_states", "output_past", "output_scores",
    "prefix", "problem_type", "pruned_heads", "remove_invalid_values", "repetition_penalty", "return_dict",
    "return_dict_in_generate", "save_step", "sep_token_id", "suppress_tokens", "task_specific_params", "temperature",
    "tf_legacy_loss", "tie_encoder_decoder", "tie_word_embeddings", "tokenizer_class", "top_k", "top_p", "torch_dtype",
    "torchscript", "transformers_version", "typical_p", "use_bfloat16", "use_cache", "activation_dropout",
    "encoder_layerdrop", "decoder_layerdrop",
}  # fmt: skip

# transformers' names -> ours, applied in this order to any part of a name
T5_RENAME = [
    (r"^shared\.", "embed."), (r"^lm_head\.", "head."),
    (r"\.block\.0\.layer\.0\.SelfAttention\.relative_attention_bias\.", ".bias."), (r"\.block\.", ".blocks."),
    (r"\.final_layer_norm\.", ".norm."),
    (r"\.layer\.0\.SelfAttention\.", ".attention."), (r"\.layer\.0\.layer_norm\.", ".attention_norm."),
    (r"\.layer\.1\.EncDecAttention\.", ".cross."), (r"^(decoder\..*)\.layer\.1\.layer_norm\.", r"\1.cross_norm."),
    (r"\.layer\.[12]\.DenseReluDense\.", ".ff."), (r"\.layer\.[12]\.layer_norm\.", ".ff_norm."),
    (r"\.ff\.wi\.", ".ff.wide."), (r"\.ff\.wo\.", ".ff.out."), (r"(attention|cross)\.o\.", r"\1.out."),
]  # fmt: skip
BART_RENAME = [
    (r"^model\.", ""), (r"^shared\.", "embed."), (r"^lm_head\.", "head."), (r"^final_logits_bias$", "logits_bias"),
    (r"\.embed_positions\.", ".positions."), (r"\.layernorm_embedding\.", ".norm."), (r"\.layers\.", ".blocks."),
    (r"\.self_attn\.", ".attention."), (r"\.self_attn_layer_norm\.", ".attention_norm."),
    (r"\.encoder_attn\.", ".cross."), (r"\.encoder_attn_layer_norm\.", ".cross_norm."),
    (r"\.final_layer_norm\.", ".ff_norm."), (r"\.fc1\.", ".ff.wide."), (r"\.fc2\.", ".ff.out."),
    (r"\.([qkv])_proj\.", r".\1."), (r"\.out_proj\.", ".out."),
]  # fmt: skip

COPY = r"^(model\.)?(encoder|decoder)\.embed_tokens\.weight$"  # the embedding once more, as older files have it
UNUSED = r"^(encoder|decoder)\.version$|EncDecAttention\.relative_attention_bias"  # of fairseq; of T5's first files


def read_t5(name: str | Path, **hub: Any) -> tuple[T5Config, dict[str, Tensor]]:
    """Return the config and the state dict (float32) of a published T5, ready for `T5(cfg)`.

    Args:
        name: a folder that holds config.json and model.safetensors (or pytorch_model.bin); else a repository id of the
            Hugging Face Hub, such as "t5-small".
        hub: passed to `huggingface_hub.snapshot_download` (revision, cache_dir, token, endpoint).
    Raises:
        ValueError: the config asks for a part that our T5 lacks (field and value are named), or the tensors do not fit
            the config (missing, surplus and misshapen names are listed).
        FileNotFoundError: no such folder, or the folder lacks a file (named).
    """
    folder = published.find_folder(name, [], hub, TRANSFORMERS)
    theirs = published.read_config(folder)
    translate_t5_config(theirs)  # refuses before the large file is read
    state = translate_t5_state(published.read_tensors(folder, TRANSFORMERS))
    cfg = translate_t5_config(theirs, tied="head.weight" not in state)
    _check(state, T5, cfg, folder)
    return cfg, state


def read_bart(name: str | Path, **hub: Any) -> tuple[BARTConfig, dict[str, Tensor]]:
    """Return the config and the state dict (float32) of a published BART, ready for `BART(cfg)`.

    Args:
        name: a folder that holds config.json and model.safetensors (or pytorch_model.bin); else a repository id of the
            Hugging Face Hub, such as "facebook/bart-base".
        hub: passed to `huggingface_hub.snapshot_download` (revision, cache_dir, token, endpoint).
    Raises:
        ValueError: the config asks for a part that our BART lacks (field and value are named), or the tensors do not
            fit the config (missing, surplus and misshapen names are listed).
        FileNotFoundError: no such folder, or the folder lacks a file (named).
    """
    folder = published.find_folder(name, [], hub, TRANSFORMERS)
    theirs = published.read_config(folder)
    translate_bart_config(theirs)
    state = translate_bart_state(published.read_tensors(folder, TRANSFORMERS))
    cfg = translate_bart_config(theirs, tied="head.weight" not in state)
    state.setdefault("logits_bias", torch.zeros(cfg.vocab))  # a BartModel has none
    _check(state, BART, cfg, folder)
    return cfg, state


def translate_t5_config(theirs: Mapping[str, Any], tied: bool = True) -> T5Config:
    """Return our config for the fields of a T5's config.json, or say which of them has no counterpart.

    Args:
        theirs: the fields.
        tied: whether the file has no head of its own. The field tie_word_embeddings does not tell: false means "not
            scaled" (T5 1.1), and today's library writes true for both.
    """
    published.check_fields(theirs, T5_ONLY, T5_DEFAULTS.keys() | IGNORED, "this T5")
    c = T5_DEFAULTS | {k: v for k, v in theirs.items() if k in T5_DEFAULTS}
    gated = c["feed_forward_proj"] == "gated-gelu"
    if (act := theirs.get("dense_act_fn")) not in (None, "gelu_new" if gated else "relu"):
        published.refuse("dense_act_fn", act, f"the one of feed_forward_proj, {c['feed_forward_proj']!r}", "this T5")
    scaled = c["scale_decoder_outputs"]
    return T5Config(
        vocab=c["vocab_size"], d_model=c["d_model"], d_head=c["d_kv"], d_ff=c["d_ff"], n_layers=c["num_layers"],
        n_decoder_layers=c["num_decoder_layers"] or c["num_layers"], n_heads=c["num_heads"],
        n_buckets=c["relative_attention_num_buckets"], max_distance=c["relative_attention_max_distance"], gated=gated,
        tied=tied, scaled=c["tie_word_embeddings"] is not False if scaled is None else scaled,
        eps=c["layer_norm_epsilon"], dropout=c["dropout_rate"], pad=c["pad_token_id"], end=c["eos_token_id"],
        start=c["pad_token_id"] if c["decoder_start_token_id"] is None else c["decoder_start_token_id"],
    )  # fmt: skip


def translate_bart_config(theirs: Mapping[str, Any], tied: bool = True) -> BARTConfig:
    """Return our config for the fields of a BART's config.json, or say which of them has no counterpart.

    Args:
        theirs: the fields.
        tied: whether the file has no head of its own.
    """
    published.check_fields(theirs, BART_ONLY, BART_DEFAULTS.keys() | IGNORED, "this BART")
    c = BART_DEFAULTS | {k: v for k, v in theirs.items() if k in BART_DEFAULTS}
    for part in ("attention_heads", "ffn_dim"):
        if c[f"decoder_{part}"] != c[f"encoder_{part}"]:
            mirror = f"encoder_{part}, which is {c[f'encoder_{part}']}"
            published.refuse(f"decoder_{part}", c[f"decoder_{part}"], mirror, "this BART")
    return BARTConfig(
        vocab=c["vocab_size"], context=c["max_position_embeddings"], d_model=c["d_model"], d_ff=c["encoder_ffn_dim"],
        n_layers=c["encoder_layers"], n_decoder_layers=c["decoder_layers"], n_heads=c["encoder_attention_heads"],
        scale_embed=c["scale_embedding"], tied=tied, dropout=c["dropout"], attention_dropout=c["attention_dropout"],
        start=c["decoder_start_token_id"], pad=c["pad_token_id"], end=c["eos_token_id"],
    )  # fmt: skip


def translate_t5_state(theirs: Mapping[str, Tensor], dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Return the tensors under our names, as `dtype`, with projections that read the same input stacked into one."""
    state = _rename(theirs, T5_RENAME, dtype)
    _stack(state, ".ff.", {"wide": ("wi_0", "wi_1")})
    return _without_copied_head(state)


def translate_bart_state(theirs: Mapping[str, Tensor], dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Return the tensors under our names, as `dtype`, with projections that read the same input stacked into one."""
    state = _rename(theirs, BART_RENAME, dtype)
    if "logits_bias" in state:
        state["logits_bias"] = state["logits_bias"].flatten()  # (1, V) in the files
    return _without_copied_head(state)


def _rename(theirs: Mapping[str, Tensor], rename: Sequence[tuple[str, str]], dtype: torch.dtype) -> dict[str, Tensor]:
    state, copies = {}, {}
    for name, tensor in theirs.items():
        if re.search(COPY, name):
            copies[name] = tensor.to(dtype)
        elif not re.search(UNUSED, name):
            for pattern, ours in rename:
                name = re.sub(pattern, ours, name)
            state[name] = tensor.to(dtype)
    for name, copied in copies.items():  # some files have the embedding under such a name only
        if not torch.equal(state.setdefault("embed.weight", copied), copied):
            raise ValueError(f"{name} differs from the embedding; this model has one for encoder and decoder")
    _stack(state, ".attention.", {"qkv": ("q", "k", "v")})
    _stack(state, ".cross.", {"kv": ("k", "v")})
    return state


def _stack(state: dict[str, Tensor], where: str, parts: Mapping[str, tuple[str, ...]]) -> None:
    """Stack the parts of each layer whose name contains `where`; incomplete ones keep their names, to be complained of.

    Args:
        state: our state dict; changed in place.
        where: such as ".attention.".
        parts: our name -> names of the parts, in the order of the rows.
    """
    for ours, names in parts.items():
        for first in [k for k in state if f"{where}{names[0]}." in k]:
            keys = [first.replace(f"{where}{names[0]}.", f"{where}{part}.") for part in names]
            if all(k in state for k in keys):
                state[first.replace(f"{where}{names[0]}.", f"{where}{ours}.")] = torch.cat([state.pop(k) for k in keys])


def _without_copied_head(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Leave out a head that is the embedding once more, as files of tied models have it."""
    head, embed = state.get("head.weight"), state.get("embed.weight")
    if head is not None and embed is not None and torch.equal(head, embed):
        del state["head.weight"]
    return state


def _check(state: Mapping[str, Tensor], cls: type[nn.Module], cfg: Any, folder: Path) -> None:
    try:
        with torch.device("meta"):
            wanted = cls(cfg).state_dict()
    except ValueError as error:
        raise ValueError(f"{folder / CONFIG}: {error}") from error
    published.check_tensors(state, wanted, folder)
