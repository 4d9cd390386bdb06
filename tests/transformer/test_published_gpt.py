"""Reading published GPT-2 folders without the library that wrote them: translation and errors."""

import json
import re

import pytest
import torch
from safetensors.torch import save_file

from genai_utils.transformer.gpt import PRESETS, GPT, GPTConfig
from genai_utils.transformer.published_gpt import read_gpt, translate_config
from genai_utils.weights.hub import CONFIG, TRANSFORMERS

# The config.json of openai-community/gpt2, and a narrow one
GPT2 = {
    "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1, "bos_token_id": 50256,
    "embd_pdrop": 0.1, "eos_token_id": 50256, "initializer_range": 0.02, "layer_norm_epsilon": 1e-05,
    "model_type": "gpt2", "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12, "n_positions": 1024,
    "resid_pdrop": 0.1, "summary_activation": None, "summary_first_dropout": 0.1, "summary_proj_to_labels": True,
    "summary_type": "cls_index", "summary_use_proj": True,
    "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}}, "vocab_size": 50257,
}  # fmt: skip
TINY = GPT2 | {"n_ctx": 8, "n_positions": 8, "n_embd": 6, "n_head": 2, "n_layer": 2, "vocab_size": 11}


def theirs(ours):
    """Return our state dict under the names of the published file, one tensor at a time and by hand."""
    state = {}
    for name, value in ours.items():
        turn = name.endswith(("qkv.weight", "out.weight", "up.weight", "down.weight"))
        name = name.replace("embed.", "wte.").replace("positions.", "wpe.").replace("blocks.", "h.")
        name = name.replace("norm1", "ln_1").replace("norm2", "ln_2").replace("attention.qkv", "attn.c_attn")
        name = name.replace("attention.out", "attn.c_proj").replace("up.", "mlp.c_fc.").replace("down.", "mlp.c_proj.")
        name = "ln_f" + name.removeprefix("norm") if name.startswith("norm") else name
        name = "lm_head.weight" if name == "head.weight" else f"transformer.{name}"
        state[name] = (value.T if turn else value).contiguous().clone()
    return state


def write(path, config, state):
    path.mkdir(exist_ok=True)
    (path / CONFIG).write_text(json.dumps(config))
    save_file(state, path / TRANSFORMERS[0])


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def folder(request, tmp_path):
    """A folder as published, and the GPT whose weights it holds."""
    torch.manual_seed(0)
    config = TINY | {"tie_word_embeddings": request.param}
    model = GPT(translate_config(config)).eval()
    for p in model.parameters():
        torch.nn.init.normal_(p)
    write(tmp_path, config, theirs(model.state_dict()))
    return tmp_path, model


def test_published_config_is_translated_field_by_field():
    assert translate_config(GPT2) == PRESETS["gpt2"]
    assert translate_config(TINY | {"n_inner": 9, "tie_word_embeddings": False, "layer_norm_epsilon": 0.01,
                                    "resid_pdrop": 0.2, "embd_pdrop": 0.3, "attn_pdrop": 0.4}) == GPTConfig(
        vocab=11, context=8, d_model=6, n_layers=2, n_heads=2, d_hidden=9, tied=False, eps=0.01, dropout=0.2,
        embed_dropout=0.3, attention_dropout=0.4)  # fmt: skip


def test_config_of_absent_fields_takes_the_defaults_of_the_library_that_wrote_it():
    assert translate_config({}) == PRESETS["gpt2"]


def test_published_folder_gives_back_every_tensor(folder):
    path, model = folder
    cfg, state = read_gpt(path)
    assert cfg == model.cfg and state.keys() == model.state_dict().keys()
    assert all(torch.equal(state[k], v) for k, v in model.state_dict().items())
    loaded, tokens = GPT.from_pretrained(str(path)), torch.arange(8)[None]
    assert not loaded.training and torch.equal(loaded(tokens), model(tokens))


def test_half_precision_files_are_read_as_float32(folder):
    path, model = folder
    save_file({k: v.half() for k, v in theirs(model.state_dict()).items()}, path / TRANSFORMERS[0])
    state = read_gpt(path)[1]
    assert all(v.dtype == torch.float32 for v in state.values())
    assert all(torch.equal(state[k], v.half().float()) for k, v in model.state_dict().items())


def test_second_copy_of_a_tied_matrix_is_left_out_and_another_matrix_is_refused(folder):
    path, model = folder
    state = theirs(model.state_dict())
    if not model.cfg.tied:
        (path / CONFIG).write_text(json.dumps(TINY))
        with pytest.raises(ValueError, match="lm_head.weight in .* differs from wte.weight, though config.json ties"):
            read_gpt(path)
    save_file(state | {"lm_head.weight": model.embed.weight.detach().clone()}, path / TRANSFORMERS[0])
    assert ("head.weight" in read_gpt(path)[1]) is not (json.loads((path / CONFIG).read_text()).get(
        "tie_word_embeddings", True))  # fmt: skip


@pytest.mark.parametrize("changes, message", [
    ({"model_type": "gpt_neo"}, "model_type is 'gpt_neo', but this GPT supports only 'gpt2'"),
    ({"architectures": ["GPT2ForSequenceClassification"]}, r"architectures is \['GPT2ForSequenceClassification'\]"),
    ({"activation_function": "gelu"}, "activation_function is 'gelu', but .* 'gelu_new' or 'gelu_pytorch_tanh'"),
    ({"scale_attn_weights": False}, "scale_attn_weights is False, but this GPT supports only True"),
    ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is True"),
    ({"reorder_and_upcast_attn": True}, "reorder_and_upcast_attn is True, but this GPT supports only False"),
    ({"add_cross_attention": True}, "add_cross_attention is True"),
    ({"n_ctx": 4}, "n_ctx is 4, but this GPT supports only n_positions, which is 8"),
    ({"rope_theta": 1e4, "alibi": True}, "fields unknown to this reader: alibi, rope_theta"),
    ({"n_head": 4}, "d_model must be a multiple of n_heads, got 6 and 4"),
])  # fmt: skip
def test_config_with_a_part_we_lack_is_refused_by_field_and_value(changes, message):
    with pytest.raises(ValueError, match=message):
        GPT(translate_config(TINY | changes))


def test_config_fields_that_change_nothing_here_are_accepted():
    extra = {"use_cache": False, "pad_token_id": 3, "id2label": {"0": "LABEL_0"}, "torch_dtype": "float16", "new": None,
             "transformers_version": "5.0", "_num_labels": 1, "activation_function": "gelu_pytorch_tanh"}  # fmt: skip
    assert translate_config(TINY | extra) == translate_config(TINY)


def test_tensors_that_do_not_fit_the_config_are_listed(folder):
    path, model = folder
    state = theirs(model.state_dict())
    state["transformer.h.2.ln_1.weight"] = torch.zeros(6)
    del state["transformer.h.0.attn.c_attn.bias"], state["transformer.wpe.weight"]
    state["transformer.h.1.mlp.c_fc.weight"] = torch.zeros(24, 6)
    save_file(state, path / TRANSFORMERS[0])
    wanted = (
        "missing: blocks.0.attention.qkv.bias, positions.weight; surplus: blocks.2.norm1.weight; "
        "wrong shape: blocks.1.up.weight is (6, 24), not (24, 6)"
    )
    with pytest.raises(ValueError, match=re.escape(wanted)):
        read_gpt(path)


def test_folder_without_its_files_says_what_it_holds(folder, tmp_path):
    path, _ = folder
    (path / TRANSFORMERS[0]).unlink()
    with pytest.raises(FileNotFoundError, match="neither model.safetensors nor pytorch_model.bin; it holds: config"):
        read_gpt(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no config.json in .*empty; it holds: nothing"):
        GPT.from_pretrained(tmp_path / "empty")
