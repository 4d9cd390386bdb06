"""Reading published T5s and BARTs without the library that wrote them: configs field by field, and errors by name."""

import json

import pytest
import torch
from safetensors.torch import save_file

from genai_utils.transformer.bart import BART, BARTConfig
from genai_utils.transformer.published_seq2seq import read_bart, read_t5, translate_bart_config, translate_t5_config
from genai_utils.transformer.t5 import T5, T5Config
from genai_utils.weights.hub import CONFIG, TRANSFORMERS

# config.json of t5-small, google/t5-v1_1-small and facebook/bart-base, as far as they matter or could confuse
T5_SMALL = {
    "architectures": ["T5WithLMHeadModel"], "d_ff": 2048, "d_kv": 64, "d_model": 512, "decoder_start_token_id": 0,
    "dropout_rate": 0.1, "eos_token_id": 1, "initializer_factor": 1.0, "is_encoder_decoder": True,
    "layer_norm_epsilon": 1e-06, "model_type": "t5", "n_positions": 512, "num_heads": 8, "num_layers": 6,
    "output_past": True, "pad_token_id": 0, "relative_attention_num_buckets": 32, "vocab_size": 32128,
    "task_specific_params": {"summarization": {"early_stopping": True, "num_beams": 4, "prefix": "summarize: "}},
}  # fmt: skip
T5_11 = T5_SMALL | {
    "d_ff": 1024, "feed_forward_proj": "gated-gelu", "num_decoder_layers": 8, "num_heads": 6, "num_layers": 8,
    "tie_word_embeddings": False,
}  # fmt: skip
BART_BASE = {
    "_name_or_path": "bart-base", "activation_dropout": 0.1, "activation_function": "gelu", "add_bias_logits": False,
    "add_final_layer_norm": False, "architectures": ["BartModel"], "attention_dropout": 0.1, "bos_token_id": 0,
    "classif_dropout": 0.1, "classifier_dropout": 0.0, "d_model": 768, "decoder_attention_heads": 12,
    "decoder_ffn_dim": 3072, "decoder_layerdrop": 0.0, "decoder_layers": 6, "decoder_start_token_id": 2,
    "dropout": 0.1, "early_stopping": True, "encoder_attention_heads": 12, "encoder_ffn_dim": 3072,
    "encoder_layerdrop": 0.0, "encoder_layers": 6, "eos_token_id": 2, "forced_eos_token_id": 2,
    "gradient_checkpointing": False, "id2label": {"0": "LABEL_0"}, "init_std": 0.02, "is_encoder_decoder": True,
    "max_position_embeddings": 1024, "model_type": "bart", "no_repeat_ngram_size": 3, "normalize_before": False,
    "normalize_embedding": True, "num_beams": 4, "pad_token_id": 1, "scale_embedding": False, "vocab_size": 50265,
}  # fmt: skip
TINY_T5 = T5_SMALL | {"d_ff": 8, "d_kv": 3, "d_model": 6, "num_heads": 2, "num_layers": 2, "vocab_size": 20}
TINY_BART = BART_BASE | {
    "d_model": 6, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8, "encoder_attention_heads": 2, "vocab_size": 20,
    "decoder_attention_heads": 2, "encoder_layers": 2, "decoder_layers": 1, "max_position_embeddings": 12,
}  # fmt: skip


def theirs_t5(ours):
    """Return our state dict under the names of the published file, one tensor at a time and by hand."""
    state = {}
    for name, value in ours.items():
        decoder = name.startswith("decoder")
        name = name.replace("embed.", "shared.").replace("head.", "lm_head.").replace(".blocks.", ".block.")
        name = name.replace("coder.bias.", "coder.block.0.layer.0.SelfAttention.relative_attention_bias.")
        name = name.replace("coder.norm.", "coder.final_layer_norm.").replace(".attention.", ".layer.0.SelfAttention.")
        name = name.replace(".attention_norm.", ".layer.0.layer_norm.").replace(".cross.", ".layer.1.EncDecAttention.")
        name = name.replace(".cross_norm.", ".layer.1.layer_norm.")
        last = 2 if decoder else 1
        name = name.replace(".ff_norm.", f".layer.{last}.layer_norm.").replace(".ff.", f".layer.{last}.DenseReluDense.")
        name = name.replace("Dense.out.", "Dense.wo.").replace("Dense.wide.", "Dense.wi.").replace(".out.", ".o.")
        parts = ("q", "k", "v") if ".qkv." in name else ("k", "v") if ".kv." in name else None
        if parts:
            stacked = "qkv" if len(parts) == 3 else "kv"
            for part, piece in zip(parts, value.chunk(len(parts))):
                state[name.replace(f".{stacked}.", f".{part}.")] = piece.clone()
        else:
            state[name] = value.clone()
    return state


def write(path, config, state):
    (path / CONFIG).write_text(json.dumps(config))
    save_file(state, path / TRANSFORMERS[0])


@pytest.fixture
def folder(tmp_path):
    """A folder as t5-small's, and the T5 whose weights it holds."""
    torch.manual_seed(0)
    model = T5(translate_t5_config(TINY_T5)).eval()
    write(tmp_path, TINY_T5, theirs_t5(model.state_dict()))
    return tmp_path, model


def test_published_configs_are_translated_field_by_field():
    assert translate_t5_config(T5_SMALL) == T5Config(vocab=32128, dropout=0.1)
    assert translate_t5_config(T5_11, tied=False) == T5Config(
        vocab=32128, d_ff=1024, n_layers=8, n_decoder_layers=8, n_heads=6, gated=True, tied=False, scaled=False,
        dropout=0.1)  # fmt: skip
    assert translate_bart_config(BART_BASE) == BARTConfig(vocab=50265, dropout=0.1, attention_dropout=0.1)


def test_config_of_absent_fields_takes_the_defaults_of_the_library_that_wrote_it():
    assert translate_t5_config({}) == T5Config(vocab=32128, dropout=0.1)
    assert translate_bart_config({}) == BARTConfig(
        vocab=50265, d_model=1024, d_ff=4096, n_layers=12, n_decoder_layers=12, n_heads=16, dropout=0.1)  # fmt: skip


def test_published_folder_gives_back_every_tensor(folder):
    path, model = folder
    cfg, state = read_t5(path)
    assert cfg == model.cfg and state.keys() == model.state_dict().keys()
    assert all(torch.equal(state[k], v) for k, v in model.state_dict().items())
    loaded = T5.from_pretrained(str(path))
    tokens = torch.randint(2, 20, (2, 5))
    assert not loaded.training and torch.equal(loaded(tokens, tokens), model(tokens, tokens))
    assert all(p.requires_grad for p in loaded.parameters())


@pytest.mark.parametrize("changes, message", [
    ({"model_type": "mt5"}, "model_type is 'mt5', but this T5 supports only 't5'"),
    ({"feed_forward_proj": "gated-silu"}, "feed_forward_proj is 'gated-silu', but this T5 supports only 'relu' or"),
    ({"dense_act_fn": "gelu_new"}, "dense_act_fn is 'gelu_new', but .* 'relu'"),
    ({"is_encoder_decoder": False}, "is_encoder_decoder is False"),
    ({"depth_of_thought": 3}, "fields unknown to this reader: depth_of_thought"),
])  # fmt: skip
def test_t5_config_with_a_part_we_lack_is_refused_by_field_and_value(changes, message):
    with pytest.raises(ValueError, match=message):
        translate_t5_config(TINY_T5 | changes)


@pytest.mark.parametrize("changes, message", [
    ({"model_type": "mbart"}, "model_type is 'mbart'"),
    ({"activation_function": "relu"}, "activation_function is 'relu'"),
    ({"normalize_before": True}, "normalize_before is True, but this BART supports only False"),
    ({"decoder_attention_heads": 3}, "decoder_attention_heads is 3, but .* encoder_attention_heads, which is 2"),
    ({"decoder_ffn_dim": 9}, "decoder_ffn_dim is 9, but .* encoder_ffn_dim, which is 8"),
    ({"layers": 3}, "fields unknown to this reader: layers"),
])  # fmt: skip
def test_bart_config_with_a_part_we_lack_is_refused_by_field_and_value(changes, message):
    with pytest.raises(ValueError, match=message):
        translate_bart_config(TINY_BART | changes)


def test_tensors_that_do_not_fit_the_config_are_listed(folder):
    path, model = folder
    state = theirs_t5(model.state_dict())
    state["decoder.extra.weight"] = state.pop("encoder.final_layer_norm.weight")
    del state["encoder.block.1.layer.0.SelfAttention.k.weight"]
    state["shared.weight"] = torch.zeros(19, 6)
    write(path, TINY_T5, state)
    with pytest.raises(ValueError) as caught:
        read_t5(path)
    message = str(caught.value)
    assert "missing: encoder.blocks.1.attention.qkv.weight, encoder.norm.weight;" in message
    assert "surplus: decoder.extra.weight, encoder.blocks.1.attention.q.weight" in message
    assert "wrong shape: embed.weight is (19, 6), not (20, 6)" in message


def test_second_embedding_that_differs_is_refused_by_name(folder):
    path, model = folder
    state = theirs_t5(model.state_dict())
    state["decoder.embed_tokens.weight"] = state["shared.weight"] + 1
    write(path, TINY_T5, state)
    with pytest.raises(ValueError, match="decoder.embed_tokens.weight differs from the embedding"):
        T5.from_pretrained(path)


def test_folder_without_a_file_says_what_it_holds(folder, tmp_path_factory):
    path, _ = folder
    (path / TRANSFORMERS[0]).unlink()
    with pytest.raises(FileNotFoundError, match="neither model.safetensors nor .*; it holds: config.json"):
        read_t5(path)
    with pytest.raises(FileNotFoundError, match="no config.json"):
        read_bart(tmp_path_factory.mktemp("empty"))


def test_bart_whose_config_asks_for_the_impossible_names_the_file(tmp_path):
    write(tmp_path, TINY_BART | {"d_model": 7}, {"shared.weight": torch.zeros(20, 7)})
    with pytest.raises(ValueError, match="config.json: d_model must be a multiple of n_heads, got 7 and 2"):
        BART.from_pretrained(tmp_path)
