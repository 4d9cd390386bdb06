"""Our VQ-VAE against diffusers' VQModel: every weight random, every kind of block, float32, float64 and backward."""

import types

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from genai_utils.nn import quantize as quantize_module
from genai_utils.vae import convnet
from genai_utils.vae.convnet import Attention, Downsample
from genai_utils.vae.published import PICKLE, WEIGHTS, read_vqmodel, translate_state
from genai_utils.vae.vqvae import VQVAE, VQVAEConfig

diffusers = pytest.importorskip("diffusers")
from safetensors.torch import save_file  # noqa: E402

# Three levels of three widths: every kind of block, of skip and of change of resolution
COMMON = {
    "sample_size": 16, "block_out_channels": (8, 16, 24), "layers_per_block": 2, "norm_num_groups": 4,
    "down_block_types": ("DownEncoderBlock2D",) * 3, "up_block_types": ("UpDecoderBlock2D",) * 3,
    "latent_channels": 3, "num_vq_embeddings": 32,
}  # fmt: skip
CASES = {
    "published": COMMON,  # as the first stage of CompVis/ldm-celebahq-256
    "levels_attend": COMMON | {  # as VQGANs of a factor of 16 and their like
        "down_block_types": ("DownEncoderBlock2D", "AttnDownEncoderBlock2D", "AttnDownEncoderBlock2D"),
        "up_block_types": ("AttnUpDecoderBlock2D", "AttnUpDecoderBlock2D", "UpDecoderBlock2D"),
        "vq_embed_dim": 5, "layers_per_block": 1},
    "no_attention": COMMON | {  # as amused/amused-256
        "mid_block_add_attention": False, "lookup_from_codebook": True, "force_upcast": True, "latent_channels": 6,
        "vq_embed_dim": 4, "in_channels": 1, "out_channels": 1},
    "default": {"sample_size": 16, "block_out_channels": (32,)},  # the library's own defaults: one level
}  # fmt: skip
FLOAT32, FLOAT64 = 1e-5, 1e-9  # times max(1, |out|)


def randomise(model, seed=0):
    """Give every tensor random values that keep activations near unit size: nothing is zero or one by habit."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=g)
            norm = p.ndim == 1 and "norm" in name and name.endswith("weight")
            scale = 0.3 if p.ndim == 1 else p[0].numel() ** -0.5
            p.copy_(1 + 0.3 * noise if norm else scale * noise)


def pair(case, tmp_path, dtype=torch.float32):
    """Return (theirs, ours, x): theirs with random weights, ours read from the folder that theirs wrote."""
    theirs = diffusers.VQModel(**CASES[case]).eval()
    randomise(theirs)
    g = torch.Generator().manual_seed(1)
    x = torch.randn(3, theirs.config.in_channels, 16, 24, generator=g)
    with torch.no_grad():  # entries as far apart as the vectors, so that many are in use
        rows, book = theirs.encode(x).latents.movedim(1, -1).flatten(0, -2), theirs.quantize.embedding.weight
        drawn = rows[torch.randint(len(rows), (len(book),), generator=g)]
        book.copy_(drawn + 0.1 * torch.randn(book.shape, generator=g))
    theirs.save_pretrained(tmp_path)
    ours = VQVAE.from_pretrained(tmp_path)
    return theirs.to(dtype), ours.to(dtype), x.to(dtype)


def error(ours, theirs):
    """Return the largest difference in units of max(1, |theirs|)."""
    return ((ours - theirs).abs() / theirs.abs().clamp(min=1)).max().item()


def both_paths(theirs, ours, x):
    """Return (ours, theirs) of everything there is to compare: before, in and after the codebook, and the losses."""
    h, h_theirs = ours.encode_vectors(x), theirs.encode(x).latents
    z_q, codes, codebook_loss, commitment_loss = ours.quantize(h)
    z_q_theirs, loss, (_, _, codes_theirs) = theirs.quantize(h_theirs)
    assert torch.equal(codes.flatten(), codes_theirs)
    params, out = ours(x)[0], theirs(x)
    in_their_units = (commitment_loss + 0.25 * codebook_loss) * len(x) / h.numel()  # means; see the test of their loss
    from_codes = theirs.decoder(theirs.post_quant_conv(theirs.quantize.get_codebook_entry(codes, None).movedim(-1, 1)))
    return {
        "vectors": (h, h_theirs), "entries": (z_q, z_q_theirs), "output": (params, out.sample),
        "from codes": (ours.decode(codes), from_codes), "loss": (in_their_units, out.commit_loss),
    }  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_vqvae_equals_diffusers_in_float32(case, tmp_path, record_property):
    theirs, ours, x = pair(case, tmp_path)
    with torch.no_grad():
        compared = both_paths(theirs, ours, x)
    assert compared["output"][1].std() > 0.1 and len(ours.encode(x).unique()) > 8
    for name, (mine, reference) in compared.items():
        record_property(f"float32 {name} error", error(mine, reference))
        assert error(mine, reference) <= FLOAT32, name


@pytest.mark.parametrize("case", CASES)
def test_vqvae_and_its_gradients_equal_diffusers_in_float64(case, tmp_path, record_property):
    theirs, ours, x = pair(case, tmp_path, torch.float64)
    with torch.no_grad():
        errors = {name: error(*two) for name, two in both_paths(theirs, ours, x).items()}
    x_ours, x_theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    (params, quantised), out = ours(x_ours), theirs(x_theirs)
    weight = torch.randn(params.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(2))
    scale = len(x) / quantised.z_q.numel()
    loss = (quantised.commitment_loss + 0.25 * quantised.codebook_loss) * scale
    ((weight * params).sum() + loss).backward()
    ((weight * out.sample).sum() + out.commit_loss).backward()
    gradients = translate_state({k: p.grad for k, p in theirs.named_parameters()}, torch.float64)
    assert gradients.keys() == dict(ours.named_parameters()).keys()
    errors["gradient of x"] = error(x_ours.grad, x_theirs.grad)
    errors["gradient of parameters"] = max(error(p.grad, gradients[name]) for name, p in ours.named_parameters())
    assert all(p.grad.abs().max() > 0 for p in ours.parameters())
    for name, value in errors.items():
        record_property(f"float64 {name} error", value)
    assert max(errors.values()) <= FLOAT64, errors


@pytest.mark.parametrize("legacy", [True, False])
def test_their_loss_is_a_mean_of_ours_and_legacy_swaps_the_weights(legacy, tmp_path):
    """Theirs averages over places and coordinates where [VQ] Eq. 3 sums; `legacy` puts beta on the codebook's term."""
    theirs, ours, x = pair("published", tmp_path, torch.float64)
    theirs.quantize.legacy = legacy
    h = ours.encode_vectors(x).detach()
    both, their_book = [], theirs.quantize.embedding.weight
    for quantize, book in ((ours.quantize, ours.quantize.codebook), (theirs.quantize, their_book)):
        leaf = h.clone().requires_grad_()
        out = quantize(leaf)
        if quantize is ours.quantize:
            on_codebook, on_vectors = (0.25, 1.0) if legacy else (1.0, 0.25)
            loss = (on_codebook * out.codebook_loss + on_vectors * out.commitment_loss) * len(h) / h.numel()
        else:
            loss = out[1]
        loss.backward()
        both.append((loss, leaf.grad, book.grad))
    for mine, reference in zip(*both):
        torch.testing.assert_close(mine, reference, rtol=1e-12, atol=1e-14)


def test_codes_given_directly_decode_as_theirs_do(tmp_path):
    """A pipeline over tokens, such as that of amused, asks for `lookup_from_codebook`: our `decode`."""
    theirs, ours, x = pair("no_attention", tmp_path, torch.float64)
    codes = torch.randint(32, (2, 5, 4), generator=torch.Generator().manual_seed(0))
    reference = theirs.decode(codes, force_not_quantize=True, shape=(2, 5, 4, 4)).sample
    assert error(ours.decode(codes), reference) <= FLOAT64


def older_names(state, convolutions=False):
    """Rename attention as the files published before 2023 do; the oldest held its projections as 1x1 convolutions."""
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    renamed = {}
    for key, value in state.items():
        for new, old in names.items():
            if f".{new}." in key:
                key = key.replace(new, old)
                value = value[:, :, None, None] if convolutions and value.ndim == 2 else value
        renamed[key] = value.contiguous()
    return renamed


@pytest.mark.parametrize("convolutions", [False, True])
@pytest.mark.parametrize("case", ["published", "levels_attend"])
def test_vqvae_reads_the_key_names_of_published_files(case, convolutions, tmp_path):
    theirs, _, x = pair(case, tmp_path)
    state = older_names(theirs.state_dict(), convolutions)
    assert any(".query." in k for k in state) and not any("to_q" in k for k in state)
    save_file(state, tmp_path / WEIGHTS)
    with torch.no_grad():
        assert error(VQVAE.from_pretrained(tmp_path)(x)[0], theirs(x).sample) <= FLOAT32


def test_vqvae_reads_a_pipeline_folder_and_a_pickle_of_plain_tensors(tmp_path):
    theirs, _, x = pair("published", tmp_path / "vqvae")
    (tmp_path / "vqvae" / WEIGHTS).unlink()
    torch.save(theirs.state_dict(), tmp_path / "vqvae" / PICKLE)
    with torch.no_grad():
        assert error(VQVAE.from_pretrained(tmp_path)(x)[0], theirs(x).sample) <= FLOAT32


def test_vqvae_config_is_what_theirs_says(tmp_path):
    _, ours, _ = pair("levels_attend", tmp_path)
    cfg, _ = read_vqmodel(tmp_path)
    assert cfg == ours.cfg == VQVAEConfig(
        side=16, channels=3, widths=(8, 16, 24), blocks=1, attention=(False, True, True), mid_attention=True, groups=4,
        eps=1e-6, latent=3, n_codes=32, d_code=5, decay=None, likelihood="gaussian")  # fmt: skip


# Errors planted on purpose: each must show


def _replace(module, monkeypatch, **functions):
    monkeypatch.setattr(module, "F", types.SimpleNamespace(**(vars(F) | functions)))


def _each(model, kind):
    return (m for m in model.modules() if isinstance(m, kind))


def _set_eps(model, mp):
    for module in _each(model, nn.GroupNorm):
        module.eps = 1e-5


def _pad_on_the_left(model, mp):
    _replace(convnet, mp, pad=lambda x, sides: F.pad(x, (1, 0, 1, 0)))


def _pad_both_sides(model, mp):
    _replace(convnet, mp, pad=lambda x, sides: x)
    for m in _each(model, Downsample):
        m.conv.padding = (1, 1)


def _swap_query_and_key(model, mp):
    for m in _each(model, Attention):
        for p in (m.qkv.weight, m.qkv.bias):
            q, k, v = p.data.chunk(3)
            p.data = torch.cat([k, q, v])


def _transpose(model, mp):
    for m in _each(model, Attention):
        m.out.weight.data = m.out.weight.data.T.contiguous()


def _unscaled(model, mp):
    changed = lambda q, k, v: F.scaled_dot_product_attention(q, k, v, scale=1.0)
    _replace(convnet, mp, scaled_dot_product_attention=changed)


def _skip(part):
    return lambda model, mp: mp.setattr(getattr(model, part), "forward", lambda x: x)


def _no_middle_attention(model, mp):
    for part in (model.encoder, model.decoder):
        part.mid.attention[0] = nn.Identity()


PLANTED = {
    "wrong eps": _set_eps,
    "GELU for SiLU": lambda m, mp: _replace(convnet, mp, silu=F.gelu),
    "bilinear for nearest upsampling": lambda m, mp: _replace(
        convnet, mp, interpolate=lambda x, scale_factor, mode: F.interpolate(x, scale_factor=2.0, mode="bilinear")),
    "padding at the left and at the top": _pad_on_the_left,
    "padding on both sides": _pad_both_sides,
    "attention without its scale": _unscaled,
    "transposed output projection": _transpose,
    "query and key swapped": _swap_query_and_key,
    "middle without attention": _no_middle_attention,
    "quant_conv missing": _skip("quant_conv"),
    "post_quant_conv missing": _skip("post_quant_conv"),
    "vectors not quantised": lambda m, mp: mp.setattr(
        m.quantize, "forward", lambda h, g=None: quantize_module.Quantised(h, m.quantize.nearest(h), h.sum(), h.sum())),
    "farthest for nearest": lambda m, mp: mp.setattr(
        m.quantize, "nearest", lambda h: torch.cdist(quantize_module._rows(h), m.quantize.codebook).argmax(1).view(
            len(h), *h.shape[2:])),
    "entries off by one": lambda m, mp: mp.setattr(
        m.quantize, "_entries", lambda codes: F.embedding((codes + 1) % 32, m.quantize.codebook).movedim(-1, 1)),
}  # fmt: skip


@pytest.mark.parametrize("plant", PLANTED)
def test_vqvae_parity_notices_a_planted_error(plant, tmp_path, monkeypatch, record_property):
    theirs, ours, x = pair("published", tmp_path, torch.float64)
    with torch.no_grad():
        reference = theirs(x).sample
        assert error(ours(x)[0], reference) <= FLOAT64
        PLANTED[plant](ours, monkeypatch)
        shifted = error(ours(x)[0], reference)
    record_property("planted", shifted)
    assert shifted > 10 * FLOAT64
