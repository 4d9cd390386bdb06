"""Read published BERTs (transformers' folders): their config in our words, their tensors under our names.

The next-sentence head (cls.seq_relationship) that some files hold is left out: this book does not use it.

Sources: names of Hugging Face transformers, and those of the files of 2018: google-bert/bert-base-uncased calls the
         weights of a layer norm gamma and beta.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from genai_utils.transformer.bert import BERT, BERTClassifier, BERTConfig, BERTSpans
from genai_utils.weights import hub as published
from genai_utils.weights.hub import CONFIG, TRANSFORMERS

# What a BertConfig assumes for a field that the file leaves out, of those that we translate
DEFAULTS = {
    "vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
    "intermediate_size": 3072, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 512, "type_vocab_size": 2, "layer_norm_eps": 1e-12, "tie_word_embeddings": True,
}  # fmt: skip

# Fields of which we have one variant only, with the values that ask for it; a file without the field means the first
ONLY = {
    "model_type": ("bert",), "hidden_act": ("gelu",), "position_embedding_type": ("absolute",), "is_decoder": (False,),
    "add_cross_attention": (False,), "is_encoder_decoder": (False,), "pruned_heads": ({},),
    "chunk_size_feed_forward": (0,),
}  # fmt: skip

# They change nothing of what the network computes: how it started, was trained or stored, names of classes, what a
# library returns, special tokens (the tokenizer's business)
IGNORED = {
    "architectures", "initializer_range", "use_cache", "gradient_checkpointing", "classifier_dropout",
    "transformers_version", "dtype", "torch_dtype", "id2label", "label2id", "num_labels", "problem_type",
    "finetuning_task", "pad_token_id", "bos_token_id", "eos_token_id", "sep_token_id", "output_past", "directionality",
    "pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers", "pooler_size_per_head", "pooler_type",
    "output_attentions", "output_hidden_states", "return_dict", "language",
}  # fmt: skip

RENAME = [
    (r"^bert\.", ""), (r"\.gamma$", ".weight"), (r"\.beta$", ".bias"),
    (r"^embeddings\.word_embeddings\.", "tokens."), (r"^embeddings\.position_embeddings\.", "positions."),
    (r"^embeddings\.token_type_embeddings\.", "segments."), (r"^embeddings\.LayerNorm\.", "norm."),
    (r"^encoder\.layer\.", "blocks."),
    (r"\.attention\.self\.query\.", ".attention.to_q."), (r"\.attention\.self\.key\.", ".attention.to_k."),
    (r"\.attention\.self\.value\.", ".attention.to_v."),
    (r"\.attention\.output\.dense\.", ".attention.out."), (r"\.attention\.output\.LayerNorm\.", ".norm1."),
    (r"\.intermediate\.dense\.", ".expand."), (r"\.output\.dense\.", ".contract."),
    (r"\.output\.LayerNorm\.", ".norm2."),
    (r"^pooler\.dense\.", "pooler."), (r"^cls\.predictions\.transform\.dense\.", "head.dense."),
    (r"^cls\.predictions\.transform\.LayerNorm\.", "head.norm."), (r"^cls\.predictions\.", "head."),
    (r"^qa_outputs\.", "ends."),
]  # fmt: skip
TASKS = ("classifier.", "ends.")  # names that do not belong to the encoder
MODELS = ("BertModel", "BertForMaskedLM", "BertForPreTraining")
OURS = "this BERT"


def read_bert(name: str | Path, **hub: Any) -> tuple[BERTConfig, dict[str, Tensor]]:
    """Return the config and the state dict (float32) of a published BERT, ready for `BERT(cfg)`.

    The config says which parts the file has: cfg.pooler and cfg.mlm_head.

    Args:
        name: a folder with config.json and model.safetensors (or pytorch_model.bin), or a repository id of the Hugging
            Face Hub, such as "google-bert/bert-base-uncased".
        hub: passed to `huggingface_hub.snapshot_download` (revision, cache_dir, token, endpoint).
    Raises:
        ValueError: the config asks for a part that our BERT lacks (field and value are named), or the tensors do not
            fit the config (missing, surplus and misshapen names are listed).
        FileNotFoundError: no such folder, or the folder lacks a file (named).
    """
    cfg, state, folder = _read(name, MODELS, hub)
    parts = {part: any(k.startswith(f"{part}.") for k in state) for part in ("pooler", "head")}
    cfg = replace(cfg, pooler=parts["pooler"], mlm_head=parts["head"])
    return _checked(BERT, cfg, state, folder)


def read_classifier(name: str | Path, **hub: Any) -> tuple[BERTConfig, dict[str, Tensor]]:
    """Return config and state dict of a BertForSequenceClassification, for `BERTClassifier(cfg)`; as `read_bert`."""
    cfg, state, folder = _read(name, ("BertForSequenceClassification",), hub)
    n_classes = len(state["classifier.weight"]) if "classifier.weight" in state else 2
    cfg = replace(cfg, pooler=True, mlm_head=False, n_classes=n_classes)
    return _checked(BERTClassifier, cfg, _prefixed(state), folder)


def read_spans(name: str | Path, **hub: Any) -> tuple[BERTConfig, dict[str, Tensor]]:
    """Return config and state dict of a BertForQuestionAnswering, for `BERTSpans(cfg)`; as `read_bert`.

    The pooler that older files hold is left out: nothing reads it.
    """
    cfg, state, folder = _read(name, ("BertForQuestionAnswering",), hub)
    state = {k: t for k, t in state.items() if not k.startswith("pooler.")}
    return _checked(BERTSpans, replace(cfg, pooler=False, mlm_head=False), _prefixed(state), folder)


def translate_config(theirs: dict[str, Any]) -> BERTConfig:
    """Return our config for the fields of a BertConfig's config.json, or say which of them has no counterpart."""
    published.check_fields(theirs, ONLY, DEFAULTS.keys() | IGNORED, OURS)
    c = DEFAULTS | {k: v for k, v in theirs.items() if k in DEFAULTS}
    return BERTConfig(
        vocab=c["vocab_size"], length=c["max_position_embeddings"], n_layers=c["num_hidden_layers"],
        n_heads=c["num_attention_heads"], d_model=c["hidden_size"], d_inner=c["intermediate_size"],
        n_segments=c["type_vocab_size"], eps=c["layer_norm_eps"], dropout=c["hidden_dropout_prob"],
        attention_dropout=c["attention_probs_dropout_prob"], tied=c["tie_word_embeddings"],
    )  # fmt: skip


def translate_state(
    theirs: dict[str, Tensor], tied: bool = True, dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    """Return the tensors under our names, as `dtype`, with query, key and value stacked into one projection.

    Args:
        theirs: the published tensors, with "bert." before the names of the encoder or without.
        tied: as in the config: the head's matrix is that of the embeddings, and a copy of it is left out.
        dtype: of the result.
    Raises:
        ValueError: tied, and the file's two matrices, or the two names of the head's bias, differ.
    """
    unused = ("cls.seq_relationship.", "embeddings.position_ids", "bert.embeddings.position_ids")
    state = published.translate_tensors({k: t for k, t in theirs.items() if not k.startswith(unused)}, RENAME, dtype)
    if (bias := state.pop("head.decoder.bias", None)) is not None:  # what the head adds, where a file holds both
        _same("cls.predictions.bias", "cls.predictions.decoder.bias", state.get("head.bias", bias), bias, tied)
        state["head.bias"] = bias
    if tied and (matrix := state.pop("head.decoder.weight", None)) is not None:
        names = "embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"
        _same(*names, state.get("tokens.weight", matrix), matrix, tied)
    return state


def _same(name: str, other: str, a: Tensor, b: Tensor, tied: bool) -> None:
    if tied and not torch.equal(a, b):
        raise ValueError(
            f"{CONFIG} says that the head shares the embeddings, but {name} and {other} differ; "
            "if they should, set tie_word_embeddings to false there"
        )


def _read(
    name: str | Path, architectures: Sequence[str], hub: dict[str, Any]
) -> tuple[BERTConfig, dict[str, Tensor], Path]:
    folder = published.find_folder(name, [], hub, TRANSFORMERS)
    theirs = published.read_config(folder)
    cfg = translate_config(theirs)
    if (found := theirs.get("architectures")) and not {*found} & {*architectures}:
        published.refuse("architectures", found, " or ".join(architectures), "this reader")
    return cfg, translate_state(published.read_tensors(folder, TRANSFORMERS), cfg.tied), folder


def _prefixed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k if k.startswith(TASKS) else f"bert.{k}": t for k, t in state.items()}


def _checked(
    cls: type[nn.Module], cfg: BERTConfig, state: dict[str, Tensor], folder: Path
) -> tuple[BERTConfig, dict[str, Tensor]]:
    with torch.device("meta"):
        wanted = cls(cfg).state_dict()
    published.check_tensors(state, wanted, folder)
    return cfg, state
