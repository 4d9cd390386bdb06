"""Our T5 against transformers': every weight random, 1.0 and 1.1, every bucket of distances, masks, backward."""

import dataclasses
import types

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from genai_utils.nn import CrossAttention, RMSNorm, SelfAttention, attention_maps
from genai_utils.transformer import t5
from genai_utils.transformer.published_seq2seq import read_t5, translate_t5_state
from genai_utils.transformer.seq2seq import seq2seq_loss
from genai_utils.transformer.t5 import T5, T5Config
from genai_utils.weights.hub import TRANSFORMERS

transformers = pytest.importorskip("transformers")
from safetensors.torch import load_file, save_file  # noqa: E402

COMMON = {
    "vocab_size": 40, "d_model": 24, "d_kv": 5, "d_ff": 32, "num_layers": 3, "num_decoder_layers": 2, "num_heads": 3,
    "decoder_start_token_id": 0,
}  # fmt: skip
CASES = {
    "1.0": COMMON,  # as t5-small
    "1.1": COMMON | {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},  # as google/t5-v1_1-small
    "1.1 tied": COMMON | {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},  # as today's library
    "few buckets": COMMON | {"relative_attention_num_buckets": 8, "relative_attention_max_distance": 20},
}  # fmt: skip
FLOAT32, FLOAT64 = 1e-5, 1e-9  # times max(1, |out|)


def randomise(model, seed=0):
    """Give every tensor random values that keep activations near unit size: nothing is zero or one by habit."""
    g = torch.Generator().manual_seed(seed)
    embedded = 1.0 if model.config.scale_decoder_outputs else model.config.d_model**-0.5
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=g)
            scale = embedded if "shared" in name else 1.0 if "bias" in name else 0.7 * p[0].numel() ** -0.5
            p.copy_(1 + 0.3 * noise if p.ndim == 1 else scale * noise)


def wide_norm(norm, x):
    """Return what theirs would be if it took the mean square in x's dtype; it takes it in float32, always."""
    return norm.weight * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + norm.variance_epsilon))


def pair(case, tmp_path, dtype=torch.float32):
    """Return (theirs, ours, batch): theirs with random weights, ours read from the folder that theirs wrote."""
    config = transformers.T5Config(**CASES[case])
    theirs = transformers.T5ForConditionalGeneration._from_config(config, attn_implementation="eager").eval()
    if case == "1.1":
        theirs.lm_head.weight = nn.Parameter(theirs.lm_head.weight.detach().clone())
    randomise(theirs)
    theirs.save_pretrained(tmp_path)
    if case == "1.1":  # as in the published files
        save_file({k: v.clone() for k, v in theirs.state_dict().items()}, tmp_path / TRANSFORMERS[0])
    ours = T5.from_pretrained(tmp_path)
    for module in theirs.modules():
        if dtype == torch.float64 and type(module).__name__ == "T5LayerNorm":
            module.forward = types.MethodType(wide_norm, module)
    return theirs.to(dtype), ours.to(dtype), batch()


def batch():
    """Return (source, mask, tokens), in which every distance up to 140 occurs, and padding on either side."""
    g = torch.Generator().manual_seed(1)
    source, tokens = torch.randint(2, 40, (3, 141), generator=g), torch.randint(2, 40, (3, 135), generator=g)
    mask = torch.ones(3, 141, dtype=torch.bool)
    mask[1, 100:], mask[2, :9] = False, False
    return source, mask, tokens


def run(theirs, source, mask, tokens, **kwargs):
    return theirs(input_ids=source, attention_mask=mask.long(), decoder_input_ids=tokens, **kwargs)


def error(ours, theirs):
    """Return the largest difference in units of max(1, |theirs|)."""
    return ((ours - theirs).abs() / theirs.abs().clamp(min=1)).max().item()


@pytest.mark.parametrize("case", CASES)
def test_t5_equals_transformers_in_float32(case, tmp_path, record_property):
    theirs, ours, (source, mask, tokens) = pair(case, tmp_path)
    with torch.no_grad():
        reference, logits = run(theirs, source, mask, tokens).logits, ours(source, tokens, mask)
    record_property("float32 error", error(logits, reference))
    assert reference.std() > 0.1 and error(logits, reference) <= FLOAT32
    assert ours.cfg.tied == (case != "1.1") and ours.cfg.scaled == ("1.1" not in case)


@pytest.mark.parametrize("case", CASES)
def test_t5_and_its_gradients_equal_transformers_in_float64(case, tmp_path, record_property):
    theirs, ours, (source, mask, tokens) = pair(case, tmp_path, torch.float64)
    out, logits = run(theirs, source, mask, tokens).logits, ours(source, tokens, mask)
    weight = torch.randn(out.shape, dtype=out.dtype, generator=torch.Generator().manual_seed(2))
    (weight * out).mean().backward()
    (weight * logits).mean().backward()
    gradients = translate_t5_state({k: p.grad for k, p in theirs.named_parameters()}, torch.float64)
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
    assert all(p.grad.abs().max() > 0 for p in ours.parameters()) and max(errors.values()) <= FLOAT64, errors


def test_every_bucket_of_distances_is_reached_by_the_batch(tmp_path):
    theirs, ours, (source, _, tokens) = pair("1.0", tmp_path)
    for stack, length in ((ours.encoder, source.shape[1]), (ours.decoder, tokens.shape[1])):
        first = 1 - length
        last = length - 1 if stack.bias.both_sides else 0
        both = stack.bias.both_sides
        reached = t5.distance_buckets(torch.arange(first, last + 1), 32, 128, both).unique()
        assert len(reached) == (31 if both else 32)  # both sides: the bucket "0 later" is empty, as in theirs


@pytest.mark.parametrize("both", [True, False])
def test_buckets_of_distances_equal_transformers(both):
    from transformers.models.t5.modeling_t5 import T5Attention

    distance = torch.arange(-600, 601)
    for n, longest in ((32, 128), (8, 20), (64, 512), (16, 9)):
        reference = T5Attention._relative_position_bucket(distance, both, n, longest)
        assert torch.equal(t5.distance_buckets(distance, n, longest, both), reference)


@pytest.mark.parametrize("case", ["1.0", "1.1"])
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
        reference = theirs_seen[name][1:-1]  # the last of theirs is behind the last norm
        compared[f"{name} states"] = max(error(a, b) for a, b in zip(states, reference))
        assert len(reference) == len(getattr(ours, name).blocks) - 1
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
    theirs, ours, (source, mask, targets) = pair("1.0", tmp_path, torch.float64)
    targets[0, 20:], targets[2, 1:] = 0, 0  # padding, which theirs calls -100
    labels = targets.masked_fill(targets == 0, -100)
    with torch.no_grad():
        reference = theirs(input_ids=source, attention_mask=mask.long(), labels=labels).loss
        loss, _ = seq2seq_loss(ours, (source, mask, targets))
    torch.testing.assert_close(loss, reference, rtol=1e-12, atol=0)


# Key names


def test_published_names_with_copies_of_the_embedding_are_read(tmp_path):
    theirs, _, (source, mask, tokens) = pair("1.0", tmp_path)
    state = {k: v.clone() for k, v in theirs.state_dict().items()}
    copies = {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"}
    assert copies | {"shared.weight"} <= set(state)
    state["decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"] = torch.zeros(32, 3)  # t5-small's
    save_file(state, tmp_path / TRANSFORMERS[0])
    ours = T5.from_pretrained(tmp_path)
    assert ours.cfg.tied
    with torch.no_grad():
        assert error(ours(source, tokens, mask), run(theirs, source, mask, tokens).logits) <= FLOAT32


def test_a_pickle_and_a_lone_copy_of_the_embedding_are_read(tmp_path):
    theirs, _, (source, mask, tokens) = pair("1.0", tmp_path)
    state = load_file(tmp_path / TRANSFORMERS[0])
    state["encoder.embed_tokens.weight"] = state.pop("shared.weight")
    (tmp_path / TRANSFORMERS[0]).unlink()
    torch.save(state, tmp_path / TRANSFORMERS[1])
    ours = T5.from_pretrained(tmp_path)
    with torch.no_grad():
        assert error(ours(source, tokens, mask), run(theirs, source, mask, tokens).logits) <= FLOAT32


def test_t5_config_is_what_theirs_says(tmp_path):
    pair("few buckets", tmp_path)
    cfg, _ = read_t5(tmp_path)
    assert cfg == T5Config(
        vocab=40, d_model=24, d_head=5, d_ff=32, n_layers=3, n_decoder_layers=2, n_heads=3, n_buckets=8,
        max_distance=20, dropout=0.1)  # fmt: skip


# Errors planted on purpose: each must show


def _each(model, kind):
    return (m for m in model.modules() if isinstance(m, kind))


def _scale(model, mp):
    for module in _each(model, SelfAttention | CrossAttention):
        module.scale = None


def _first_layer_alone_has_the_bias(model, mp):
    for stack in (model.encoder, model.decoder):
        for block in stack.blocks[1:]:
            forward = block.forward
            flat = lambda x, bias, *rest, f=forward: f(x, bias.masked_fill(bias.isfinite(), 0), *rest)
            mp.setattr(block, "forward", flat)


def _buckets(change):
    return lambda model, mp: mp.setattr(t5, "distance_buckets", lambda *args, f=t5.distance_buckets: change(f, *args))


def _config(**changes):
    return lambda model, mp: setattr(model, "cfg", dataclasses.replace(model.cfg, **changes))


def _eps(model, mp):
    for module in _each(model, RMSNorm):
        module.eps = 1e-5


def _activation(**functions):
    return lambda model, mp: mp.setattr(t5, "F", types.SimpleNamespace(**(vars(F) | functions)))


def _unmasked_memory(model, mp):
    decode = model.decode_hidden
    mp.setattr(model, "decode_hidden", lambda tokens, memory, mask=None, cache=None: decode(tokens, memory))


def _unmasked_source(model, mp):
    encode = model.encode
    mp.setattr(model, "encode", lambda source, mask=None: encode(source))


def _sees_the_future(model, mp):
    mp.setattr(model, "_causal_bias", lambda steps, cache: model.decoder.bias(steps))


def _swap_query_and_key(model, mp):
    for module in _each(model, SelfAttention):
        q, k, v = module.qkv.weight.data.chunk(3)
        module.qkv.weight.data = torch.cat([k, q, v])


def _transposed_bias(model, mp):
    forward = model.encoder.bias.forward
    mp.setattr(model.encoder.bias, "forward", lambda steps: forward(steps).mT)


def _gate_swapped(model, mp):
    for module in _each(model, t5.FeedForward):
        gate, up = module.wide.weight.data.chunk(2)
        module.wide.weight.data = torch.cat([up, gate])


PLANTED = {
    "scale present": ("1.0", _scale),
    "bias in the first layer only": ("1.0", _first_layer_alone_has_the_bias),
    "bucket off by one": ("1.0", _buckets(lambda f, d, *args: f(d + 1, *args))),
    "logarithm of another base": ("1.0", _buckets(lambda f, d, n, longest, both: f(d, n, 120, both))),
    "one-sided buckets in the encoder": ("1.0", _buckets(lambda f, d, n, longest, both: f(d, n, longest, False))),
    "bias transposed": ("1.0", _transposed_bias),
    "d_model^-0.5 missing": ("1.0", _config(scaled=False)),
    "d_model^-0.5 too many": ("1.1", _config(scaled=True)),
    "head tied": ("1.1", _config(tied=True)),
    "wrong eps": ("1.0", _eps),
    "GELU for ReLU": ("1.0", _activation(relu=F.gelu)),
    "exact GELU for tanh": ("1.1", _activation(gelu=lambda x, approximate: F.gelu(x))),
    "gate and value swapped": ("1.1", _gate_swapped),
    "memory without its mask": ("1.0", _unmasked_memory),
    "source without its mask": ("1.0", _unmasked_source),
    "decoder sees the future": ("1.0", _sees_the_future),
    "query and key swapped": ("1.0", _swap_query_and_key),
}


@pytest.mark.parametrize("plant", PLANTED)
def test_t5_parity_notices_a_planted_error(plant, tmp_path, monkeypatch, record_property):
    case, spoil = PLANTED[plant]
    theirs, ours, (source, mask, tokens) = pair(case, tmp_path, torch.float64)
    with torch.no_grad():
        reference = run(theirs, source, mask, tokens).logits
        assert error(ours(source, tokens, mask), reference) <= FLOAT64
        spoil(ours, monkeypatch)
        shifted = error(ours(source, tokens, mask), reference)
    record_property("planted", shifted)
    assert shifted > 10 * FLOAT64
