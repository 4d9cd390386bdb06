"""Reading published BERT folders without the library that wrote them: translation and errors.

Downloading and the reading of files are shared with the U-Net's reader; tests/diffusion/test_published.py has them.
"""

import json

import pytest
import torch
from safetensors.torch import save_file

from genai_utils.transformer.bert import BERT, BERTClassifier, BERTConfig, BERTSpans
from genai_utils.transformer.published_bert import read_bert, read_classifier, read_spans, translate_config
from genai_utils.weights.hub import CONFIG, TRANSFORMERS

WEIGHTS, PICKLE = TRANSFORMERS
# The fields of google-bert/bert-base-uncased's config.json
BASE = {
    "architectures": ["BertForMaskedLM"], "attention_probs_dropout_prob": 0.1, "gradient_checkpointing": False,
    "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "hidden_size": 768, "initializer_range": 0.02,
    "intermediate_size": 3072, "layer_norm_eps": 1e-12, "max_position_embeddings": 512, "model_type": "bert",
    "num_attention_heads": 12, "num_hidden_layers": 12, "pad_token_id": 0, "position_embedding_type": "absolute",
    "transformers_version": "4.6.0.dev0", "type_vocab_size": 2, "use_cache": True, "vocab_size": 30522,
}  # fmt: skip
TINY = BASE | {
    "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12, "vocab_size": 19,
    "max_position_embeddings": 10,
}  # fmt: skip


def theirs(ours):
    """Return our state dict under the names of the published file of 2018, one tensor at a time and by hand."""
    state, embeddings = {}, {"tokens": "word", "positions": "position", "segments": "token_type"}
    for name, value in ours.items():
        name = name.removeprefix("bert.")
        part, _, rest = name.partition(".")
        if part in embeddings:
            name = f"bert.embeddings.{embeddings[part]}_embeddings.weight"
        elif part == "norm":
            name = f"bert.embeddings.LayerNorm.{rest}"
        elif part == "pooler":
            name = f"bert.pooler.dense.{rest}"
        elif part == "head":
            name = f"cls.predictions.{rest}".replace("dense", "transform.dense").replace("norm", "transform.LayerNorm")
        elif part == "ends":
            name = f"qa_outputs.{rest}"
        elif part == "blocks":
            name = f"bert.encoder.layer.{rest}".replace("attention.out", "attention.output.dense")
            name = name.replace("norm1", "attention.output.LayerNorm").replace("norm2", "output.LayerNorm")
            name = name.replace("expand", "intermediate.dense").replace("contract", "output.dense")
        if "LayerNorm" in name:
            name = name.replace("weight", "gamma").replace(".bias", ".beta")
        if ".qkv." in name:
            for kind, piece in zip(("query", "key", "value"), value.chunk(3)):
                state[name.replace("qkv", f"self.{kind}")] = piece.clone()
        else:
            state[name] = value.clone()
    return state


def write(path, config, state):
    path.mkdir(exist_ok=True)
    (path / CONFIG).write_text(json.dumps(config))
    save_file(state, path / WEIGHTS)


def published(path, model, config=TINY, **more):
    write(path, config, theirs(model.state_dict()) | more)
    return path


@pytest.fixture
def folder(tmp_path):
    """A folder as published, with all that such a file may hold besides, and the BERT whose weights it holds."""
    torch.manual_seed(0)
    model = BERT(translate_config(TINY)).eval()
    besides = {
        "bert.embeddings.position_ids": torch.arange(10)[None],
        "cls.seq_relationship.weight": torch.ones(2, 8), "cls.seq_relationship.bias": torch.ones(2),
    }  # fmt: skip
    return published(tmp_path / "bert", model, **besides), model


def test_published_config_is_translated_field_by_field():
    assert translate_config(BASE) == translate_config({"model_type": "bert"}) == BERTConfig(
        vocab=30522, length=512, n_layers=12, n_heads=12, d_model=768, d_inner=3072, n_segments=2, eps=1e-12,
        dropout=0.1, attention_dropout=0.1, tied=True, mlm_head=True, pooler=True, n_classes=0)  # fmt: skip
    odd = {"layer_norm_eps": 1e-5, "hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.3}
    cfg = translate_config(BASE | odd | {"tie_word_embeddings": False, "type_vocab_size": 1})
    assert (cfg.eps, cfg.dropout, cfg.attention_dropout, cfg.tied, cfg.n_segments) == (1e-5, 0.2, 0.3, False, 1)


def test_published_folder_gives_back_every_tensor(folder):
    path, model = folder
    cfg, state = read_bert(path)
    assert cfg == model.cfg and state.keys() == model.state_dict().keys()
    assert all(torch.equal(state[k], v) for k, v in model.state_dict().items())
    tokens = torch.randint(19, (2, 10))
    loaded = BERT.from_pretrained(str(path))
    assert not loaded.training and torch.equal(loaded(tokens), model(tokens))


@pytest.mark.parametrize("part, field", [("pooler", "pooler"), ("head", "mlm_head")])
def test_file_without_a_part_gives_a_model_without_it(part, field, folder, tmp_path):
    _, model = folder
    state = {k: v for k, v in model.state_dict().items() if not k.startswith(f"{part}.")}
    write(tmp_path / "less", TINY, theirs(state))
    loaded = BERT.from_pretrained(tmp_path / "less")
    assert getattr(loaded.cfg, field) is False and getattr(loaded, part) is None


def test_classifier_and_spans_read_their_own_files(tmp_path):
    cfg = translate_config(TINY)
    torch.manual_seed(0)
    classifier = BERTClassifier(BERTConfig(**vars(cfg) | {"n_classes": 4})).eval()
    spans, tokens = BERTSpans(cfg).eval(), torch.randint(19, (2, 10))
    published(tmp_path / "c", classifier, TINY | {"architectures": ["BertForSequenceClassification"]})
    older = {"bert.pooler.dense.weight": torch.zeros(8, 8), "bert.pooler.dense.bias": torch.zeros(8)}
    published(tmp_path / "s", spans, TINY | {"architectures": ["BertForQuestionAnswering"]}, **older)
    assert read_classifier(tmp_path / "c")[0].n_classes == 4 and not read_spans(tmp_path / "s")[0].pooler
    assert torch.equal(BERTClassifier.from_pretrained(tmp_path / "c")(tokens), classifier(tokens))
    assert torch.equal(BERTSpans.from_pretrained(tmp_path / "s")(tokens)[1], spans(tokens)[1])
    for cls, name in ((BERT, "c"), (BERTSpans, "c"), (BERTClassifier, "s")):
        with pytest.raises(ValueError, match="architectures is .* but this reader supports only Bert"):
            cls.from_pretrained(tmp_path / name)


@pytest.mark.parametrize("changes, message", [
    ({"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key', but this BERT supports"),
    ({"is_decoder": True}, "is_decoder is True, but this BERT supports only False"),
    ({"hidden_act": "relu"}, "hidden_act is 'relu', but this BERT supports only 'gelu'"),
    ({"add_cross_attention": True}, "add_cross_attention is True"), ({"model_type": "roberta"}, "model_type is 'rob"),
    ({"pruned_heads": {"0": [1]}}, "pruned_heads is"),
    ({"embedding_size": 128, "rotary": True}, "fields unknown to this reader: embedding_size, rotary"),
    ({"num_attention_heads": 3}, "d_model must be a multiple of n_heads, got 8 and 3"),
])  # fmt: skip
def test_config_with_a_part_we_lack_is_refused_by_field_and_value(changes, message, folder, tmp_path):
    path, model = folder
    with pytest.raises(ValueError, match=message):
        read_bert(published(tmp_path / "odd", model, TINY | changes))


def test_tensors_that_do_not_fit_the_config_are_listed(folder):
    path, model = folder
    state = theirs(model.state_dict())
    state["classifier.weight"] = state.pop("bert.pooler.dense.bias")
    del state["bert.encoder.layer.1.attention.self.key.bias"]
    state["bert.embeddings.position_embeddings.weight"] = torch.zeros(9, 8)
    write(path, TINY, state)
    with pytest.raises(ValueError) as caught:
        read_bert(path)
    message = str(caught.value)
    assert "missing: blocks.1.attention.qkv.bias, pooler.bias;" in message
    assert "surplus: blocks.1.attention.to_q.bias, blocks.1.attention.to_v.bias, classifier.weight;" in message
    assert "wrong shape: positions.weight is (9, 8), not (10, 8)" in message


def test_heads_copy_of_the_embeddings_must_be_one(folder):
    path, model = folder
    state = theirs(model.state_dict())
    for name, copy in (("weight", "tokens.weight"), ("bias", "head.bias")):
        held = {f"cls.predictions.decoder.{name}": model.state_dict()[copy].clone()}
        write(path, TINY, state | held)
        assert read_bert(path)[1].keys() == model.state_dict().keys()
        write(path, TINY, state | {k: v + 1 for k, v in held.items()})
        with pytest.raises(
            ValueError, match=f"and cls.predictions.decoder.{name} differ; if they should, set tie_word"
        ):
            read_bert(path)


def test_folder_without_a_config_or_weights_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no config.json in"):
        read_bert(tmp_path)
    (tmp_path / CONFIG).write_text(json.dumps(TINY))
    with pytest.raises(FileNotFoundError, match=f"has neither {WEIGHTS} nor {PICKLE}"):
        read_bert(tmp_path)
