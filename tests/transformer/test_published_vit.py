"""Reading published ViT folders without the library that wrote them: translation and errors."""

import json

import pytest
import torch
from safetensors.torch import save_file

from genai_utils.transformer.published_vit import CONFIG, TRANSFORMERS, read_vit, translate_config
from genai_utils.transformer.vit import PRESETS, ViT, ViTConfig

WEIGHTS, PICKLE = TRANSFORMERS
# The fields of a config.json of the kind of google/vit-base-patch16-224, and a narrow one
BASE = {
    "architectures": ["ViTForImageClassification"], "attention_probs_dropout_prob": 0.0, "encoder_stride": 16,
    "hidden_act": "gelu", "hidden_dropout_prob": 0.0, "hidden_size": 768, "id2label": {"0": "a", "1": "b"},
    "image_size": 224, "initializer_range": 0.02, "intermediate_size": 3072, "label2id": {"a": 0, "b": 1},
    "layer_norm_eps": 1e-12, "model_type": "vit", "num_attention_heads": 12, "num_channels": 3,
    "num_hidden_layers": 12, "patch_size": 16, "qkv_bias": True, "transformers_version": "4.13.0.dev0",
}  # fmt: skip
TINY = BASE | {
    "hidden_size": 8, "image_size": 8, "intermediate_size": 12, "num_attention_heads": 2, "num_channels": 2,
    "num_hidden_layers": 2, "patch_size": 4,
}  # fmt: skip


def theirs(ours, scheme="published", prefix="vit."):
    """Return our state dict under the names of published files, or of today's library, tensor by tensor."""
    E, state = 8, {}
    for key in ("q", "k", "v"):
        part = slice("qkv".index(key) * E, ("qkv".index(key) + 1) * E)
        for i in range(2):
            for kind in ("weight", "bias"):
                if (name := f"blocks.{i}.attention.qkv.{kind}") in ours:
                    word = {"q": "query", "k": "key", "v": "value"}[key]
                    name_published = f"encoder.layer.{i}.attention.attention.{word}.{kind}"
                    name_today = f"layers.{i}.attention.{key}_proj.{kind}"
                    at = name_published if scheme == "published" else name_today
                    state[prefix + at] = ours[name][part].clone()
    layer = {
        "published": {
            "attention.out": "encoder.layer.{}.attention.output.dense", "norm1": "encoder.layer.{}.layernorm_before",
            "norm2": "encoder.layer.{}.layernorm_after", "mlp.0": "encoder.layer.{}.intermediate.dense",
            "mlp.2": "encoder.layer.{}.output.dense",
        },
        "today": {
            "attention.out": "layers.{}.attention.o_proj", "norm1": "layers.{}.layernorm_before",
            "norm2": "layers.{}.layernorm_after", "mlp.0": "layers.{}.mlp.fc1", "mlp.2": "layers.{}.mlp.fc2",
        },
    }[scheme]  # fmt: skip
    for i in range(2):
        for name, other in layer.items():
            for kind in ("weight", "bias"):
                state[f"{prefix}{other.format(i)}.{kind}"] = ours[f"blocks.{i}.{name}.{kind}"].clone()
    state[f"{prefix}embeddings.cls_token"] = ours["class_token"].clone()
    state[f"{prefix}embeddings.position_embeddings"] = ours["positions"].clone()
    state[f"{prefix}embeddings.patch_embeddings.projection.weight"] = ours["patches.linear.weight"].view(8, 2, 4, 4)
    state[f"{prefix}embeddings.patch_embeddings.projection.bias"] = ours["patches.linear.bias"].clone()
    for kind in ("weight", "bias"):
        state[f"{prefix}layernorm.{kind}"] = ours[f"norm.{kind}"].clone()
        if f"pooler.{kind}" in ours:
            state[f"{prefix}pooler.dense.{kind}"] = ours[f"pooler.{kind}"].clone()
        if f"head.{kind}" in ours:
            state[f"classifier.{kind}"] = ours[f"head.{kind}"].clone()
    return state


def build(**changes):
    torch.manual_seed(0)
    model = ViT(translate_config(TINY, **{"n_classes": 2} | changes)).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(std=0.5)
    return model


def write(path, config, state, weights=WEIGHTS):
    (path / CONFIG).write_text(json.dumps(config))
    save_file(state, path / weights)


X = torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(0))


def test_config_of_the_published_base_model_is_the_preset():
    cfg = translate_config(BASE, n_classes=1000)
    assert vars(cfg) == vars(PRESETS["base-16"]) | {"eps": 1e-12}


def test_config_without_fields_takes_the_librarys_defaults():
    assert translate_config({"model_type": "vit"}) == translate_config(BASE)


@pytest.mark.parametrize("scheme", ["published", "today"])
@pytest.mark.parametrize("changes", [{}, {"n_classes": 0}, {"n_classes": 0, "pooler": True}], ids=str)
def test_folder_gives_back_the_model_under_either_scheme_of_names(changes, scheme, tmp_path):
    model = build(**changes)
    write(tmp_path, TINY, theirs(model.state_dict(), scheme, "vit." if model.cfg.n_classes else ""))
    read = ViT.from_pretrained(tmp_path)
    assert read.cfg == model.cfg and not read.training
    assert all(p.requires_grad and p.device.type == "cpu" for p in read.parameters())
    assert torch.equal(read(X), model(X))


def test_pooler_beside_a_classifier_is_left_out_as_it_is_in_the_answer(tmp_path):
    model = build()
    pooler = {"vit.pooler.dense.weight": torch.ones(8, 8), "vit.pooler.dense.bias": torch.ones(8)}
    state = theirs(model.state_dict()) | pooler
    write(tmp_path, TINY, state)
    assert torch.equal(ViT.from_pretrained(tmp_path)(X), model(X))


def test_pickle_of_plain_tensors_is_read_where_there_is_nothing_better(tmp_path):
    model = build()
    (tmp_path / CONFIG).write_text(json.dumps(TINY))
    torch.save(theirs(model.state_dict()), tmp_path / PICKLE)
    assert torch.equal(ViT.from_pretrained(tmp_path)(X), model(X))


def test_half_precision_files_are_read_as_float32(tmp_path):
    model = build()
    write(tmp_path, TINY, {k: v.half() for k, v in theirs(model.state_dict()).items()})
    cfg, state = read_vit(tmp_path)
    assert cfg == ViTConfig(**vars(model.cfg)) and {v.dtype for v in state.values()} == {torch.float32}


@pytest.mark.parametrize("changes, message", [
    ({"hidden_act": "relu"}, "hidden_act is 'relu', but this ViT supports only 'gelu'"),
    ({"hidden_act": "gelu_new"}, "hidden_act is 'gelu_new'"), ({"pooler_act": "relu"}, "pooler_act is 'relu'"),
    ({"model_type": "deit"}, "model_type is 'deit', but this ViT supports only 'vit'"),
    ({"architectures": ["ViTForMaskedImageModeling"]}, "architectures is 'ViTForMaskedImageModeling'"),
    ({"image_size": [8, 16]}, r"image_size is \[8, 16\], but .* squares"),
    ({"patch_size": [4, 2]}, r"patch_size is \[4, 2\]"),
    ({"pooler_output_size": 5}, "pooler_output_size is 5, but .* hidden_size, which is 8"),
    ({"use_mask_token": True}, "fields unknown to this reader: use_mask_token"),
    ({"num_attention_heads": 3}, "d_model must be a multiple of n_heads, got 8 and 3"),
    ({"image_size": 10}, "side must be a multiple of patch, got 10 and 4"),
])  # fmt: skip
def test_config_with_a_part_we_lack_is_refused_by_field_and_value(changes, message):
    with pytest.raises(ValueError, match=message):
        ViT(translate_config(TINY | changes))


def test_config_fields_that_change_nothing_here_are_accepted():
    extra = {"pooler_output_size": 8, "pooler_act": "tanh", "dtype": "float32", "torch_dtype": "float16", "new": None}
    squares = {"image_size": [8, 8], "patch_size": [4, 4], "architectures": ["ViTModel"]}
    assert translate_config(TINY | extra | squares) == translate_config(TINY)


def test_tensors_that_do_not_fit_the_config_are_listed(tmp_path):
    state = theirs(build().state_dict())
    state["vit.extra.weight"] = state.pop("vit.layernorm.weight")
    del state["vit.encoder.layer.1.attention.attention.key.bias"]
    state["vit.embeddings.position_embeddings"] = torch.zeros(1, 4, 8)
    write(tmp_path, TINY, state)
    with pytest.raises(ValueError) as caught:
        read_vit(tmp_path)
    message = str(caught.value)
    assert "missing: blocks.1.attention.qkv.bias, norm.weight;" in message
    assert "surplus: blocks.1.attention.to_q.bias, blocks.1.attention.to_v.bias, extra.weight;" in message
    assert "wrong shape: positions is (1, 4, 8), not (1, 5, 8)" in message


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"no {CONFIG} in"):
        read_vit(tmp_path)
    (tmp_path / CONFIG).write_text(json.dumps(TINY))
    with pytest.raises(FileNotFoundError, match=f"neither {WEIGHTS} nor {PICKLE}"):
        read_vit(tmp_path)
    with pytest.raises(FileNotFoundError, match="cannot be a repository id"):
        read_vit(tmp_path / "none")
