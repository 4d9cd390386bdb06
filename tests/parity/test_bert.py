"""Our BERT against transformers': every weight random, padding, segments, all heads, float32, float64 and backward."""

import json
import types

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from genai_utils.nn import SelfAttention, attention_maps
from genai_utils.transformer import bert as bert_module
from genai_utils.transformer.bert import BERT, BERTClassifier, BERTConfig, BERTSpans, Spans, classification_loss
from genai_utils.transformer.bert import span_loss
from genai_utils.transformer.masked import Masked, mlm_loss
from genai_utils.transformer.published_bert import translate_state
from genai_utils.weights.hub import CONFIG, TRANSFORMERS

transformers = pytest.importorskip("transformers")
from safetensors.torch import load_file, save_file  # noqa: E402

WEIGHTS, PICKLE = TRANSFORMERS
TINY = {
    "vocab_size": 61, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 40,
    "max_position_embeddings": 20, "type_vocab_size": 3, "attn_implementation": "eager",
}  # fmt: skip
CASES = {
    "masked LM": ("BertForMaskedLM", {}), "untied": ("BertForMaskedLM", {"tie_word_embeddings": False}),
    "pretraining": ("BertForPreTraining", {}), "bare": ("BertModel", {}),
    "other eps, one segment": ("BertForPreTraining", {"layer_norm_eps": 1e-5, "type_vocab_size": 1}),
    "fused kernel": ("BertForPreTraining", {"attn_implementation": "sdpa"}),
}  # fmt: skip
FLOAT32, FLOAT64 = 1e-5, 1e-9  # times max(1, |out|)


def randomise(model, seed=0):
    """Give every tensor random values that keep activations near unit size: nothing is zero or one by habit."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=g)
            norm = "LayerNorm" in name and name.endswith("weight")
            scale = 0.3 if p.ndim == 1 else 0.3 if "embeddings" in name else 1.5 * p.shape[1] ** -0.5
            p.copy_(1 + 0.3 * noise if norm else scale * noise)


def pair(case, path, dtype=torch.float32):
    """Return (theirs, ours, inputs): theirs with random weights, ours read from the folder that theirs wrote."""
    kind, changes = CASES[case]
    return build(kind, BERT, changes, path, dtype)


def build(kind, ours, changes, path, dtype):
    theirs = getattr(transformers, kind)(transformers.BertConfig(**TINY | changes)).eval()
    randomise(theirs)
    theirs.save_pretrained(path)
    g = torch.Generator().manual_seed(1)
    tokens = torch.randint(1, 61, (3, 20), generator=g)
    mask = torch.arange(20) < torch.tensor([[20], [13], [1]])  # full, padded, and a text of one token
    segments = torch.randint(theirs.config.type_vocab_size, (3, 20), generator=g)
    return theirs.to(dtype), ours.from_pretrained(path).to(dtype), (tokens, mask, segments)


def ask(theirs, inputs, **more):
    tokens, mask, segments = inputs
    return theirs(input_ids=tokens, attention_mask=mask.long(), token_type_ids=segments, **more)


def error(ours, theirs):
    """Return the largest difference in units of max(1, |theirs|)."""
    return ((ours - theirs).abs() / theirs.abs().clamp(min=1)).max().item()


def both_paths(theirs, ours, inputs):
    """Return (ours, theirs) of everything there is to compare: each layer, each attention map, each head."""
    eager = theirs.config._attn_implementation == "eager"
    out = ask(theirs, inputs, output_hidden_states=True, output_attentions=eager)
    states = list(ours.layers(*inputs))
    compared = {f"layer {i}": two for i, two in enumerate(zip(states, out.hidden_states, strict=True))}
    with attention_maps(ours) as maps:
        again = ours(*inputs)
    compared["slow attention"] = (again, states[-1])
    if eager:
        ours_maps = [maps[f"blocks.{i}.attention"][0] for i in range(3)]
        compared |= {f"map {i}": two for i, two in enumerate(zip(ours_maps, out.attentions, strict=True))}
    logits = out.get("logits", out.get("prediction_logits"))
    if logits is not None:
        compared["logits"] = (ours.mlm_logits(states[-1]), logits)
    if ours.pooler is not None:
        inner = getattr(theirs, "bert", theirs)
        compared["pooled"] = (ours.pool(states[-1]), inner.pooler(out.hidden_states[-1]))
    return compared


@pytest.mark.parametrize("case", CASES)
def test_bert_equals_transformers_in_float32(case, tmp_path, record_property):
    theirs, ours, inputs = pair(case, tmp_path)
    with torch.no_grad():
        compared = both_paths(theirs, ours, inputs)
    kind = CASES[case][0]
    assert ("logits" in compared) == (kind != "BertModel") and ("pooled" in compared) == (kind != "BertForMaskedLM")
    for name, (mine, reference) in compared.items():
        assert reference.std() > 0.02
        record_property(f"float32 {name} error", error(mine, reference))
        assert error(mine, reference) <= FLOAT32, name


@pytest.mark.parametrize("case", CASES)
def test_bert_and_its_gradients_equal_transformers_in_float64(case, tmp_path, record_property):
    theirs, ours, inputs = pair(case, tmp_path, torch.float64)
    with torch.no_grad():
        errors = {name: error(*two) for name, two in both_paths(theirs, ours, inputs).items()}
    compared = both_paths(theirs, ours, inputs)
    real = inputs[1][..., None]  # a padding's embedding gets no gradient from theirs: keep padding out of the loss
    g = torch.Generator().manual_seed(2)
    for side in (0, 1):
        g.manual_seed(2)
        losses = []
        for name in ("layer 3", "logits", "pooled"):
            if name in compared:
                out = compared[name][side]
                weight = torch.randn(out.shape, generator=g, dtype=out.dtype)
                losses.append((weight * (out if name == "pooled" else out * real)).sum())
        sum(losses).backward()
    tied = ours.cfg.tied
    gradients = {k: p.grad for k, p in theirs.named_parameters() if p.grad is not None}
    gradients = translate_state(gradients, tied, torch.float64)
    assert gradients.keys() == dict(ours.named_parameters()).keys()
    errors["gradient"] = max(error(p.grad, gradients[name]) for name, p in ours.named_parameters())
    assert all(p.grad.abs().max() > 0 for p in ours.parameters())
    for name, value in errors.items():
        record_property(f"float64 {name} error", value)
    assert max(errors.values()) <= FLOAT64, errors


def test_masked_loss_is_theirs_over_all_logits(tmp_path):
    theirs, ours, (tokens, mask, segments) = pair("masked LM", tmp_path, torch.float64)
    places = torch.tensor([[4, 0, 19], [12, 3, 5], [0, 2, 3]])
    chosen = torch.tensor([[True] * 3, [True, True, False], [True, False, False]])
    targets = torch.randint(61, (3, 3), generator=torch.Generator().manual_seed(3))
    labels = torch.full_like(tokens, -100)
    for row, place, target in zip(torch.arange(3)[:, None].expand(3, 3)[chosen], places[chosen], targets[chosen]):
        labels[row, place] = target
    reference = ask(theirs, (tokens, mask, segments), labels=labels).loss
    loss, _ = mlm_loss(ours, Masked(tokens, places, targets, chosen, mask, segments))
    torch.testing.assert_close(loss, reference, rtol=1e-12, atol=0)
    loss.backward()
    reference.backward()
    assert error(ours.tokens.weight.grad, theirs.bert.embeddings.word_embeddings.weight.grad) <= FLOAT64


@pytest.mark.parametrize("n_classes", [2, 5])
def test_classifier_and_its_loss_equal_transformers(n_classes, tmp_path, record_property):
    kind, changes = "BertForSequenceClassification", {"num_labels": n_classes}
    theirs, ours, inputs = build(kind, BERTClassifier, changes, tmp_path, torch.float64)
    assert ours.cfg.n_classes == n_classes
    labels = torch.tensor([1, 0, n_classes - 1])
    inputs = (inputs[0], inputs[1], torch.zeros_like(inputs[2]))
    out = ask(theirs, inputs, labels=labels)
    loss, _ = classification_loss(ours, (inputs[0], inputs[1], labels))
    record_property("float64 logits error", error(ours(*inputs), out.logits))
    assert error(ours(*inputs), out.logits) <= FLOAT64 and error(loss, out.loss) <= FLOAT64
    loss.backward()
    out.loss.backward()
    assert error(ours.classifier.weight.grad, theirs.classifier.weight.grad) <= FLOAT64


def test_spans_and_their_loss_equal_transformers(tmp_path, record_property):
    theirs, ours, inputs = build("BertForQuestionAnswering", BERTSpans, {}, tmp_path, torch.float64)
    out = ask(theirs, inputs)
    start, end = ours(*inputs)
    errors = error(start, out.start_logits), error(end, out.end_logits)
    record_property("float64 logits error", max(errors))
    assert max(errors) <= FLOAT64
    tokens, whole, passage = inputs[0], torch.ones_like(inputs[1]), torch.ones_like(inputs[2])  # every place is allowed
    starts, ends = torch.tensor([3, 0, 19]), torch.tensor([5, 0, 19])
    reference = ask(theirs, (tokens, whole, passage), start_positions=starts, end_positions=ends).loss
    assert error(span_loss(ours, Spans(tokens, whole, passage, starts, ends))[0], reference) <= FLOAT64


# Names of published files


def older_names(state):
    """Rename as the files of 2018 do: gamma and beta, positions stored, next-sentence head, a copy of the matrix."""
    renamed = {}
    for key, value in state.items():
        key = key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        renamed[key] = value.clone()
    renamed["bert.embeddings.position_ids"] = torch.arange(20)[None]
    renamed["cls.predictions.decoder.weight"] = renamed["bert.embeddings.word_embeddings.weight"].clone()
    renamed["cls.predictions.decoder.bias"] = renamed["cls.predictions.bias"].clone()
    return renamed


@pytest.mark.parametrize("pickle", [False, True])
def test_bert_reads_the_key_names_of_published_files(pickle, tmp_path):
    theirs, _, inputs = pair("pretraining", tmp_path)
    state = older_names(load_file(tmp_path / WEIGHTS))
    assert any(k.endswith("gamma") for k in state) and any("seq_relationship" in k for k in state)
    (tmp_path / WEIGHTS).unlink()
    torch.save(state, tmp_path / PICKLE) if pickle else save_file(state, tmp_path / WEIGHTS)
    ours = BERT.from_pretrained(tmp_path)
    with torch.no_grad():
        for name, two in both_paths(theirs, ours, inputs).items():
            assert error(*two) <= FLOAT32, name


def test_bert_reads_names_without_the_prefix_as_a_bare_model_has_them(tmp_path):
    theirs, ours, inputs = pair("bare", tmp_path)
    assert not any(k.startswith("bert.") for k in load_file(tmp_path / WEIGHTS))
    with torch.no_grad():
        assert error(ours(*inputs), ask(theirs, inputs).last_hidden_state) <= FLOAT32
    assert ours.head is None and ours.pooler is not None


def test_head_that_shares_the_embeddings_must_be_a_copy_of_them(tmp_path):
    pair("masked LM", tmp_path)
    state = older_names(load_file(tmp_path / WEIGHTS))
    state["cls.predictions.decoder.weight"] += 1
    save_file(state, tmp_path / WEIGHTS)
    with pytest.raises(ValueError, match="cls.predictions.decoder.weight differ; if they should, set tie_word_embedd"):
        BERT.from_pretrained(tmp_path)


def test_bert_config_is_what_theirs_says(tmp_path):
    _, ours, _ = pair("untied", tmp_path)
    assert ours.cfg == BERTConfig(
        vocab=61, length=20, n_layers=3, n_heads=4, d_model=24, d_inner=40, n_segments=3, eps=1e-12, dropout=0.1,
        attention_dropout=0.1, tied=False, mlm_head=True, pooler=False, n_classes=0)  # fmt: skip
    assert json.loads((tmp_path / CONFIG).read_text())["architectures"] == ["BertForMaskedLM"]


# Errors planted on purpose: each must show


def _replace(monkeypatch, **functions):
    monkeypatch.setattr(bert_module, "F", types.SimpleNamespace(**(vars(F) | functions)))


def _each(model, kind):
    return [m for m in model.modules() if isinstance(m, kind)]


def _set_eps(model, mp):
    for norm in _each(model, nn.LayerNorm):
        norm.eps = 1e-5


def _swap_key_and_value(model, mp):
    for m in _each(model, SelfAttention):
        for p in (m.qkv.weight, m.qkv.bias):
            q, k, v = p.data.chunk(3)
            p.data = torch.cat([q, v, k])


def _transpose(model, mp):
    for m in _each(model, SelfAttention):
        m.out.weight.data = m.out.weight.data.T.contiguous()


def _unscaled(model, mp):
    for m in _each(model, SelfAttention):
        m.scale = 1.0


def _causal(model, mp):
    for m in _each(model, SelfAttention):
        m.causal = True


def _norm_before(model, mp):
    def forward(self, x, mask):
        x = x + self.attention(self.norm1(x), mask)
        return x + self.contract(F.gelu(self.expand(self.norm2(x))))

    mp.setattr(bert_module.Block, "forward", forward)


def _shift_positions(model, mp):
    model.positions.weight.data = model.positions.weight.data.roll(1, 0)


def _own_matrix(model, mp):
    model.head.decoder = nn.Linear(24, 61, bias=False, dtype=torch.float64)


def _no_mask(model, mp):
    mp.setattr(bert_module.Block, "forward", lambda self, x, mask, old=bert_module.Block.forward: old(self, x, None))


PLANTED = {
    "wrong eps": _set_eps,
    "GELU by tanh": lambda m, mp: _replace(mp, gelu=lambda x: F.gelu(x, approximate="tanh")),
    "key and value swapped": _swap_key_and_value,
    "transposed output projection": _transpose,
    "attention without its scale": _unscaled,
    "attention to the left only": _causal,
    "norm before instead of after": _norm_before,
    "positions off by one": _shift_positions,
    "segments left out": lambda m, mp: m.segments.weight.data.zero_(),
    "padding seen": _no_mask,
    "norm of the embeddings missing": lambda m, mp: setattr(m, "norm", nn.Identity()),
    "norm of the head missing": lambda m, mp: setattr(m.head, "norm", nn.Identity()),
    "head with a matrix of its own": _own_matrix,
    "head without its bias": lambda m, mp: m.head.bias.data.zero_(),
}  # fmt: skip


@pytest.mark.parametrize("plant", PLANTED)
def test_bert_parity_notices_a_planted_error(plant, tmp_path, monkeypatch, record_property):
    theirs, ours, inputs = pair("pretraining", tmp_path, torch.float64)
    with torch.no_grad():
        reference = ask(theirs, inputs).prediction_logits
        assert error(ours.mlm_logits(ours(*inputs)), reference) <= FLOAT64
        PLANTED[plant](ours, monkeypatch)
        shifted = error(ours.mlm_logits(ours(*inputs)), reference)
    record_property("planted", shifted)
    assert shifted > 10 * FLOAT64
