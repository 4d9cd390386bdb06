"""Our BART against transformers': every weight random, masks, both kinds of published names, backward."""

import dataclasses
import types

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from genai_utils.nn import CrossAttention, SelfAttention, attention_maps
from genai_utils.transformer import bart
from genai_utils.transformer.bart import BART, BARTConfig
from genai_utils.transformer.published_seq2seq import read_bart, translate_bart_state
from genai_utils.transformer.seq2seq import seq2seq_loss
from genai_utils.weights.hub import CONFIG, TRANSFORMERS

transformers = pytest.importorskip("transformers")
from safetensors.torch import load_file, save_file  # noqa: E402

COMMON = {
    "vocab_size": 40, "d_model": 24, "encoder_layers": 3, "decoder_layers": 2, "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32, "encoder_attention_heads": 3, "decoder_attention_heads": 3, "max_position_embeddings": 150,
}  # fmt: skip
CASES = {
    "base": COMMON,  # as facebook/bart-base
    "scaled": COMMON | {"scale_embedding": True, "decoder_start_token_id": 0},  # as facebook/mbart-like derivatives
    "untied": COMMON | {"tie_word_embeddings": False},
}  # fmt: skip
FLOAT32, FLOAT64 = 1e-5, 1e-9  # times max(1, |out|)


def randomise(model, seed=0):
    """Give every tensor random values that keep activations near unit size: nothing is zero or one by habit."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in [*model.named_parameters(), ("final_logits_bias", model.final_logits_bias)]:
            noise = torch.randn(p.shape, generator=g)
            norm = "norm" in name and name.endswith("weight")
            scale = 0.3 if p.ndim == 1 or "logits" in name else p[0].numel() ** -0.5
            p.copy_(1 + 0.3 * noise if norm else scale * noise)


def pair(case, tmp_path, dtype=torch.float32):
    """Return (theirs, ours, batch): theirs with random weights, ours read from the folder that theirs wrote."""
    config = transformers.BartConfig(**CASES[case])
    theirs = transformers.BartForConditionalGeneration._from_config(config, attn_implementation="eager").eval()
    if case == "untied":  # today's library unties the embeddings, too; published models have one
        for part in (theirs.model.encoder, theirs.model.decoder):
            part.embed_tokens.weight = theirs.model.shared.weight
    randomise(theirs)
    theirs.save_pretrained(tmp_path)
    ours = BART.from_pretrained(tmp_path)
    return theirs.to(dtype), ours.to(dtype), batch()


def batch():
    """Return (source, mask, tokens), with padding in two of the sources."""
    g = torch.Generator().manual_seed(1)
    source, tokens = torch.randint(3, 40, (3, 141), generator=g), torch.randint(3, 40, (3, 135), generator=g)
    mask = torch.ones(3, 141, dtype=torch.bool)
    mask[1, 100:], mask[2, 9:] = False, False
    return source.masked_fill(~mask, 1), mask, tokens


def run(theirs, source, mask, tokens, **kwargs):
    return theirs(input_ids=source, attention_mask=mask.long(), decoder_input_ids=tokens, **kwargs)


def error(ours, theirs):
    """Return the largest difference in units of max(1, |theirs|)."""
    return ((ours - theirs).abs() / theirs.abs().clamp(min=1)).max().item()


@pytest.mark.parametrize("case", CASES)
def test_bart_equals_transformers_in_float32(case, tmp_path, record_property):
    theirs, ours, (source, mask, tokens) = pair(case, tmp_path)
    with torch.no_grad():
        reference, logits = run(theirs, source, mask, tokens).logits, ours(source, tokens, mask)
    record_property("float32 error", error(logits, reference))
    assert reference.std() > 0.1 and error(logits, reference) <= FLOAT32
    assert ours.cfg.tied == (case != "untied") and ours.logits_bias.std() > 0.1


@pytest.mark.parametrize("case", CASES)
def test_bart_and_its_gradients_equal_transformers_in_float64(case, tmp_path, record_property):
    theirs, ours, (source, mask, tokens) = pair(case, tmp_path, torch.float64)
    tokens[:, -3:] = 1  # padding in the answers, whose embedding learns nothing there
    out, logits = run(theirs, source, mask, tokens).logits, ours(source, tokens, mask)
    weight = torch.randn(out.shape, dtype=out.dtype, generator=torch.Generator().manual_seed(2))
    (weight * out).mean().backward()
    (weight * logits).mean().backward()
    gradients = translate_bart_state({k: p.grad for k, p in theirs.named_parameters()}, torch.float64)
    assert gradients.keys() == dict(ours.named_parameters()).keys()
    errors = {
        "logits": error(logits, out),
        "gradient": max(  # relative to the largest of each tensor: the mean makes all of them small
            ((p.grad - gradients[name]).abs().max() / gradients[name].abs().max()).item()
            for name, p in ours.named_parameters()
        ),
    }
    for name, value in errors.items():
        record_property(f"float64 {name} error", value)
    assert all(p.grad.abs().max() > 0 for p in ours.parameters())
    assert max(errors.values()) <= FLOAT64, errors


@pytest.mark.parametrize("case", ["base", "scaled"])
def test_hidden_states_and_attention_maps_equal_transformers(case, tmp_path, record_property):
    theirs, ours, (source, mask, tokens) = pair(case, tmp_path, torch.float64)
    seen = {"encoder": [], "decoder": []}
    for name, states in seen.items():
        for block in getattr(ours, name).blocks:
            block.register_forward_hook(lambda module, inputs, out, states=states: states.append(out))
    with torch.no_grad(), attention_maps(ours) as maps:
        ours(source, tokens, mask)
        out = run(theirs, source, mask, tokens, output_hidden_states=True, output_attentions=True)
        memory = ours.encode(source, mask)
    theirs_seen = {"encoder": out.encoder_hidden_states, "decoder": out.decoder_hidden_states}
    compared = {"memory": error(memory, out.encoder_last_hidden_state)}
    for name, states in seen.items():
        blocks = len(getattr(ours, name).blocks)
        compared[f"{name} states"] = max(error(*two) for two in zip(states[:blocks], theirs_seen[name][1:]))
    for name, reference in (
        ("encoder.blocks.{}.attention", out.encoder_attentions),
        ("decoder.blocks.{}.attention", out.decoder_attentions),
        ("decoder.blocks.{}.cross", out.cross_attentions),
    ):
        compared[name.format("")] = max(error(maps[name.format(i)][0], r) for i, r in enumerate(reference))
    for name, value in compared.items():
        record_property(name, value)
    assert max(compared.values()) <= FLOAT64, compared


def test_loss_equals_transformers(tmp_path):
    theirs, ours, (source, mask, targets) = pair("base", tmp_path, torch.float64)
    targets[0, 20:], targets[2, 1:] = 1, 1  # padding, which theirs calls -100
    labels = targets.masked_fill(targets == 1, -100)
    with torch.no_grad():
        reference = theirs(input_ids=source, attention_mask=mask.long(), labels=labels).loss
        loss, _ = seq2seq_loss(ours, (source, mask, targets))
    torch.testing.assert_close(loss, reference, rtol=1e-12, atol=0)


# Key names


def test_names_of_a_lone_body_are_read_and_its_logits_have_no_bias(tmp_path):
    """facebook/bart-base is a BartModel: no prefix, no head, no bias, copies of the embedding."""
    theirs, _, (source, mask, tokens) = pair("base", tmp_path)
    state = {k: v.clone() for k, v in theirs.model.state_dict().items()}
    assert {"shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"} <= set(state)
    state["encoder.version"] = torch.tensor([3.0])  # of fairseq
    save_file(state, tmp_path / TRANSFORMERS[0])
    theirs.final_logits_bias.zero_()
    ours = BART.from_pretrained(tmp_path)
    with torch.no_grad():
        assert error(ours(source, tokens, mask), run(theirs, source, mask, tokens).logits) <= FLOAT32


def test_names_with_the_prefix_and_a_copied_head_are_read(tmp_path):
    """facebook/bart-large-cnn is a BartForConditionalGeneration with every tied tensor written out."""
    theirs, _, (source, mask, tokens) = pair("base", tmp_path)
    state = {k: v.clone() for k, v in theirs.state_dict().items()}
    assert {"model.shared.weight", "lm_head.weight", "final_logits_bias"} <= set(state)
    (tmp_path / TRANSFORMERS[0]).unlink()
    torch.save(state, tmp_path / TRANSFORMERS[1])
    ours = BART.from_pretrained(tmp_path)
    assert ours.cfg.tied
    with torch.no_grad():
        assert error(ours(source, tokens, mask), run(theirs, source, mask, tokens).logits) <= FLOAT32


def test_names_that_todays_library_writes_have_one_embedding(tmp_path):
    pair("base", tmp_path)
    written = load_file(tmp_path / TRANSFORMERS[0])
    assert "model.shared.weight" in written and "lm_head.weight" not in written
    assert (tmp_path / CONFIG).is_file()


def test_bart_config_is_what_theirs_says(tmp_path):
    pair("scaled", tmp_path)
    cfg, _ = read_bart(tmp_path)
    assert cfg == BARTConfig(
        vocab=40, context=150, d_model=24, d_ff=32, n_layers=3, n_decoder_layers=2, n_heads=3, scale_embed=True,
        dropout=0.1, start=0)  # fmt: skip


# Errors planted on purpose: each must show


def _each(model, kind):
    return (m for m in model.modules() if isinstance(m, kind))


def _config(**changes):
    return lambda model, mp: setattr(model, "cfg", dataclasses.replace(model.cfg, **changes))


def _eps(model, mp):
    for module in _each(model, nn.LayerNorm):
        module.eps = 1e-6


def _unscaled_scores(model, mp):
    for module in _each(model, SelfAttention | CrossAttention):
        module.scale = 1.0


def _activation(**functions):
    return lambda model, mp: mp.setattr(bart, "F", types.SimpleNamespace(**(vars(F) | functions)))


def _unmasked(part):
    def spoil(model, mp):
        if part == "memory":
            decode = model.decode_hidden
            mp.setattr(model, "decode_hidden", lambda tokens, memory, mask=None, cache=None: decode(tokens, memory))
        else:
            encode = model.encode
            mp.setattr(model, "encode", lambda source, mask=None: encode(source))

    return spoil


def _sees_the_future(model, mp):
    for block in model.decoder.blocks:
        block.attention.causal = False


def _positions_swapped(model, mp):
    model.encoder.positions, model.decoder.positions = model.decoder.positions, model.encoder.positions


def _norm_before(model, mp):
    def forward(block, x, mask, memory=None, cache=None):
        x = x + block.attention(block.attention_norm(x), mask if memory is None else None, cache)
        x = x if memory is None else x + block.cross(block.cross_norm(x), *memory, mask)
        return x + block.ff(block.ff_norm(x))

    mp.setattr(bart.Block, "forward", forward)


def _no_norm_of_the_embedding(model, mp):
    model.encoder.norm = nn.Identity()


def _no_logits_bias(model, mp):
    model.logits_bias.zero_()


def _transposed(model, mp):
    for module in _each(model, CrossAttention):
        module.out.weight.data = module.out.weight.data.T.contiguous()


PLANTED = {
    "positions without their offset": ("base", lambda m, mp: mp.setattr(bart, "OFFSET", 0)),
    "positions of the other stack": ("base", _positions_swapped),
    "embedding not scaled": ("scaled", _config(scale_embed=False)),
    "embedding scaled": ("base", _config(scale_embed=True)),
    "norm of the embedding missing": ("base", _no_norm_of_the_embedding),
    "norm before": ("base", _norm_before),
    "tanh GELU for the exact one": ("base", _activation(gelu=lambda x: F.gelu(x, approximate="tanh"))),
    "wrong eps": ("base", _eps),
    "bias of the logits missing": ("base", _no_logits_bias),
    "head tied": ("untied", _config(tied=True)),
    "scores not scaled": ("base", _unscaled_scores),
    "memory without its mask": ("base", _unmasked("memory")),
    "source without its mask": ("base", _unmasked("source")),
    "decoder sees the future": ("base", _sees_the_future),
    "output projection transposed": ("base", _transposed),
}


@pytest.mark.parametrize("plant", PLANTED)
def test_bart_parity_notices_a_planted_error(plant, tmp_path, monkeypatch, record_property):
    case, spoil = PLANTED[plant]
    theirs, ours, (source, mask, tokens) = pair(case, tmp_path, torch.float64)
    with torch.no_grad():
        reference = run(theirs, source, mask, tokens).logits
        assert error(ours(source, tokens, mask), reference) <= FLOAT64
        spoil(ours, monkeypatch)
        shifted = error(ours(source, tokens, mask), reference)
    record_property("planted", shifted)
    assert shifted > 10 * FLOAT64
