"""Our GPT against transformers' GPT2LMHeadModel: every weight random, float32, float64, backward and generation."""

import json
import types

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from genai_utils.nn import attention, attention_maps
from genai_utils.transformer import gpt as gpt_module
from genai_utils.transformer.beam import beam_search
from genai_utils.transformer.decoding import warp_logits, write_tokens
from genai_utils.transformer.gpt import GPT, GPTConfig, gpt_loss
from genai_utils.transformer.published_gpt import translate_state
from genai_utils.weights.hub import CONFIG, TRANSFORMERS

transformers = pytest.importorskip("transformers")
from safetensors.torch import load_file, save_file  # noqa: E402

COMMON = {
    "vocab_size": 71, "n_positions": 40, "n_embd": 24, "n_layer": 3, "n_head": 4, "bos_token_id": 1,
    "eos_token_id": 0, "pad_token_id": 0, "attn_implementation": "eager",
}  # fmt: skip
CASES = {
    "tied": COMMON,  # as gpt2
    "untied": COMMON | {"tie_word_embeddings": False, "layer_norm_epsilon": 1e-3},
    "narrow": COMMON | {"n_inner": 40, "activation_function": "gelu_pytorch_tanh", "n_layer": 1, "n_head": 1},
    "sdpa": COMMON | {"attn_implementation": "sdpa", "n_head": 2},
}  # fmt: skip
FLOAT32, FLOAT64 = 1e-5, 1e-9  # times max(1, |out|)


def randomise(model, seed=0):
    """Give every tensor random values that keep activations near unit size: nothing is zero or one by habit."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=g)
            norm = p.ndim == 1 and "ln_" in name and name.endswith("weight")
            wide = p.shape[0] if "c_" in name else p.shape[-1]  # what a Conv1D reads, or an embedding is wide
            p.copy_(1 + 0.3 * noise if norm else (0.3 if p.ndim == 1 else wide**-0.5) * noise)


def pair(case, tmp_path, dtype=torch.float32):
    """Return (theirs, ours, tokens): theirs with random weights, ours read from the folder that theirs wrote."""
    theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(**CASES[case])).eval()
    randomise(theirs)
    theirs.save_pretrained(tmp_path)
    ours = GPT.from_pretrained(tmp_path)
    tokens = torch.randint(71, (3, 40), generator=torch.Generator().manual_seed(1))  # the whole context
    return theirs.to(dtype), ours.to(dtype), tokens


def error(ours, theirs):
    """Return the largest difference in units of max(1, |theirs|)."""
    return ((ours - theirs).abs() / theirs.abs().clamp(min=1)).max().item()


def compared(theirs, ours, tokens):
    """Return (ours, theirs) of logits, loss, and, where theirs computes them in the open, hidden states and maps."""
    open_ = theirs.config._attn_implementation == "eager"
    out = theirs(tokens, labels=tokens, output_hidden_states=True, output_attentions=open_)
    seen = []
    hooks = [block.register_forward_hook(lambda m, args, y: seen.append(y)) for block in ours.blocks]
    hooks.append(ours.drop.register_forward_hook(lambda m, args, y: seen.append(y)))
    logits = ours(tokens)
    for hook in hooks:
        hook.remove()
    hidden = [*seen[:-1], ours.read(tokens)]  # the embedding, each block; theirs shows the last after its norm
    loss = out.loss
    if loss.dtype != logits.dtype:  # theirs is computed in float32, whatever the logits are
        loss = F.cross_entropy(out.logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    two = {"logits": (logits, out.logits), "loss": (gpt_loss(ours, (tokens[:, :-1], tokens[:, 1:]))[0], loss)}
    two |= {f"hidden {i}": (mine, ref) for i, (mine, ref) in enumerate(zip(hidden, out.hidden_states, strict=True))}
    if open_:
        with attention_maps(ours) as maps:
            ours(tokens)
        found = [m[0] for m in maps.values()]
        two |= {f"map {i}": (mine, ref) for i, (mine, ref) in enumerate(zip(found, out.attentions, strict=True))}
    return two


@pytest.mark.parametrize("case", CASES)
def test_gpt_equals_transformers_in_float32(case, tmp_path, record_property):
    with torch.no_grad():
        found = compared(*pair(case, tmp_path))
    assert found["logits"][1].std() > 0.5
    for name, (mine, reference) in found.items():
        record_property(f"float32 {name.split()[0]} error", error(mine, reference))
        assert error(mine, reference) <= FLOAT32, name


@pytest.mark.parametrize("case", CASES)
def test_gpt_and_its_gradients_equal_transformers_in_float64(case, tmp_path, record_property):
    theirs, ours, tokens = pair(case, tmp_path, torch.float64)
    with torch.no_grad():
        errors = {name: error(*two) for name, two in compared(theirs, ours, tokens).items()}
    weight = torch.randn(3, 40, 71, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    (weight * ours(tokens)).sum().backward()
    (weight * theirs(tokens).logits).sum().backward()
    gradients = translate_state({k: p.grad for k, p in theirs.named_parameters()}, torch.float64)
    mine = dict(ours.named_parameters())
    assert gradients.keys() == mine.keys()
    errors |= {f"gradient of {k}": error(p.grad, gradients[k]) for k, p in mine.items()}
    assert all(p.grad.abs().max() > 1e-3 for p in mine.values())
    record_property("float64 error", max(v for k, v in errors.items() if "gradient" not in k))
    record_property("float64 gradient error", max(v for k, v in errors.items() if "gradient" in k))
    assert not {k: v for k, v in errors.items() if v > FLOAT64}


@pytest.mark.parametrize("case", ["tied", "untied"])
def test_gpt_reads_the_key_names_of_published_files(case, tmp_path):
    """The files of openai-community/gpt2: no prefix, no head where it is tied, and the causal mask as tensors."""
    theirs, _, tokens = pair(case, tmp_path)
    weights = tmp_path / TRANSFORMERS[0]
    state = {k.removeprefix("transformer."): v.contiguous() for k, v in load_file(weights).items()}
    for i in range(3):
        state[f"h.{i}.attn.bias"] = torch.ones(1, 1, 40, 40).tril()
        state[f"h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
    assert ("lm_head.weight" in state) == (case == "untied")
    save_file(state, weights)
    with torch.no_grad():
        assert error(GPT.from_pretrained(tmp_path)(tokens), theirs(tokens).logits) <= FLOAT32


def test_gpt_reads_a_pickle_that_holds_the_tied_matrix_twice(tmp_path):
    theirs, _, tokens = pair("tied", tmp_path)
    (tmp_path / TRANSFORMERS[0]).unlink()
    state = theirs.state_dict()
    assert "lm_head.weight" in state
    torch.save(state, tmp_path / TRANSFORMERS[1])
    with torch.no_grad():
        assert error(GPT.from_pretrained(tmp_path)(tokens), theirs(tokens).logits) <= FLOAT32


def test_gpt_reads_the_folder_of_a_model_without_a_head(tmp_path):
    theirs, _, tokens = pair("tied", tmp_path / "whole")
    theirs.transformer.save_pretrained(tmp_path)
    assert json.loads((tmp_path / CONFIG).read_text())["architectures"] == ["GPT2Model"]
    with torch.no_grad():
        assert error(GPT.from_pretrained(tmp_path)(tokens), theirs(tokens).logits) <= FLOAT32


def test_gpt_config_is_what_theirs_says(tmp_path):
    _, ours, _ = pair("untied", tmp_path)
    assert ours.cfg == GPTConfig(
        vocab=71, context=40, d_model=24, n_layers=3, n_heads=4, tied=False, dropout=0.1, embed_dropout=0.1,
        attention_dropout=0.1, eps=1e-3)  # fmt: skip


def generate(theirs, prompt, steps, **how):
    """Return what theirs writes; without a mask it would take the token 0 of a prompt for padding."""
    how = {"attention_mask": torch.ones_like(prompt), "max_new_tokens": steps, "eos_token_id": None} | how
    return theirs.generate(prompt, **how)


@pytest.mark.parametrize("case", ["tied", "untied", "sdpa"])
def test_greedy_generation_equals_transformers_token_for_token(case, tmp_path):
    theirs, ours, tokens = pair(case, tmp_path)
    reference = generate(theirs, tokens[:, :9], 31, do_sample=False)
    written = write_tokens(ours.decoding(3, 40), tokens[:, :9], 31, temperature=0)
    assert len(reference[:, 9:].unique()) > 3
    assert torch.equal(written, reference)


def test_greedy_generation_ends_where_transformers_ends(tmp_path):
    theirs, ours, tokens = pair("untied", tmp_path)
    free = write_tokens(ours.decoding(3, 40), tokens[:, :9], 31, temperature=0)
    end = free[0, 15].item()  # a token that a row comes to write
    reference = generate(theirs, tokens[:, :9], 31, do_sample=False, eos_token_id=end, pad_token_id=end)
    assert torch.equal(write_tokens(ours.decoding(3, 40), tokens[:, :9], 31, temperature=0, end=end), reference)


@pytest.mark.parametrize("case, beams, end", [("tied", 3, 0), ("untied", 2, 35), ("sdpa", 4, 18)])
def test_beam_search_equals_transformers_token_for_token(case, beams, end, tmp_path):
    theirs, ours, tokens = pair(case, tmp_path)
    prompt = tokens[:, :9]
    reference = generate(theirs, prompt, 16, do_sample=False, num_beams=beams, eos_token_id=end, pad_token_id=end)
    answers, _ = beam_search(ours.decoding(3, 25), prompt, beams, 16, end=end)
    assert torch.equal(answers, reference[:, 9:])


HOW = {
    "temperature": {"temperature": 0.6},
    "top-k": {"top_k": 5},
    "top-k of more than there are": {"top_k": 500},
    "top-p": {"top_p": 0.7},
    "top-p of hardly anything": {"top_p": 1e-6},
    "penalty": {"repetition_penalty": 1.7},
    "reward": {"repetition_penalty": 0.8},
    "all": {"temperature": 1.3, "top_k": 20, "top_p": 0.8, "repetition_penalty": 1.2},
}  # fmt: skip


@pytest.mark.parametrize("how", HOW)
def test_warped_logits_equal_the_processors_of_transformers(how):
    options, g = HOW[how], torch.Generator().manual_seed(3)
    logits, seen = 3 * torch.randn(6, 71, generator=g), torch.randint(71, (6, 12), generator=g)
    reference = logits.clone()
    if "repetition_penalty" in options:
        reference = transformers.RepetitionPenaltyLogitsProcessor(options["repetition_penalty"])(seen, reference)
    if "temperature" in options:
        reference = transformers.TemperatureLogitsWarper(options["temperature"])(seen, reference)
    if "top_k" in options:
        reference = transformers.TopKLogitsWarper(options["top_k"])(seen, reference)
    if "top_p" in options:
        reference = transformers.TopPLogitsWarper(options["top_p"])(seen, reference)
    warped = warp_logits(logits, seen=seen, **options)
    if how != "top-k of more than there are":
        assert not torch.equal(warped, logits)
    torch.testing.assert_close(warped, reference, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("how", HOW)
def test_sampled_generation_equals_transformers_token_for_token(how, tmp_path):
    theirs, ours, tokens = pair("tied", tmp_path)
    torch.manual_seed(4)
    reference = generate(theirs, tokens[:, :5], 20, do_sample=True, **{"top_k": 0} | HOW[how])
    generator = torch.Generator().manual_seed(4)
    assert torch.equal(
        write_tokens(ours.decoding(3, 24), tokens[:, :5], 20, generator=generator, **HOW[how]), reference
    )


# Errors planted on purpose: each must show


def _each(model, kind):
    return (m for m in model.modules() if isinstance(m, kind))


def _set_eps(model, mp):
    for module in _each(model, nn.LayerNorm):
        module.eps = 1e-6


def _exact_gelu(model, mp):
    mp.setattr(gpt_module, "F", types.SimpleNamespace(**(vars(F) | {"gelu": lambda x, approximate: F.gelu(x)})))


def _unscaled(model, mp):
    for module in _each(model, attention.SelfAttention):
        module.scale = 1.0


def _transpose(model, mp):
    model.blocks[1].attention.out.weight.data = model.blocks[1].attention.out.weight.data.T.contiguous()


def _look_ahead(model, mp):
    """Every place sees the one after it."""
    ahead = lambda q, k: torch.ones(q.shape[2], k.shape[2], dtype=torch.bool).tril(k.shape[2] - q.shape[2] + 1)
    mp.setattr(attention, "attend", lambda q, k, v, *, mask, causal, scale, dropout: F.scaled_dot_product_attention(
        q, k, v, attn_mask=ahead(q, k), scale=scale))  # fmt: skip


def _shift_positions(model, mp):
    model.positions.weight.data = model.positions.weight.data.roll(1, 0)


def _swap_query_and_key(model, mp):
    for p in (model.blocks[0].attention.qkv.weight, model.blocks[0].attention.qkv.bias):
        q, k, v = p.data.chunk(3)
        p.data = torch.cat([k, q, v])


def _mix_heads(model, mp):
    """Heads as (D, H) where they are (H, D)."""
    mp.setattr(attention.SelfAttention, "_heads", lambda self, x: x.unflatten(
        -1, (self.d_head, self.n_heads)).transpose(2, 3).transpose(1, 2))  # fmt: skip


PLANTED = {
    "wrong eps": _set_eps,
    "exact GELU": _exact_gelu,
    "attention without its scale": _unscaled,
    "transposed output projection": _transpose,
    "mask off by one": _look_ahead,
    "positions off by one": _shift_positions,
    "query and key swapped": _swap_query_and_key,
    "heads interleaved": _mix_heads,
    "last norm missing": lambda m, mp: mp.setattr(m.norm, "forward", lambda x: x),
    "norms swapped": lambda m, mp: m.blocks[0].norm1.load_state_dict(m.blocks[0].norm2.state_dict()),
    "head not tied": lambda m, mp: setattr(m, "head", nn.Linear(24, 71, bias=False).double()),
    "bias of the MLP missing": lambda m, mp: nn.init.zeros_(m.blocks[2].down.bias),
}  # fmt: skip


@pytest.mark.parametrize("plant", PLANTED)
def test_gpt_parity_notices_a_planted_error(plant, tmp_path, monkeypatch, record_property):
    theirs, ours, tokens = pair("tied", tmp_path, torch.float64)
    with torch.no_grad():
        reference = theirs(tokens).logits
        assert error(ours(tokens), reference) <= FLOAT64
        PLANTED[plant](ours, monkeypatch)
        shifted = error(ours(tokens), reference)
    record_property("planted", shifted)
    assert shifted > 10 * FLOAT32
