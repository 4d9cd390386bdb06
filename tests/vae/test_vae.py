import math

import pytest
import torch
from torch import distributions as D

from genai_utils.core import from_json, to_json
from genai_utils.training import adamw, warmup_cosine
from genai_utils.vae.vae import PRESETS, VAE, VAEConfig, elbo, kl_warmup, reparameterise, sample, vae_loss

SMALL = {"side": 8, "width": 4, "hidden": 16, "latent": 3}
CONFIGS = {
    "conv-bernoulli": VAEConfig(**SMALL),
    "conv-logistic-colour": VAEConfig(**SMALL, likelihood="logistic", channels=3),
    "conv-gaussian-labels": VAEConfig(**SMALL, likelihood="gaussian", std=0.3, n_classes=4),
    "conv-28": VAEConfig(**(SMALL | {"side": 28})),
    "mlp-bernoulli-labels": VAEConfig(**SMALL, network="mlp", n_classes=4),
    "mlp-logistic": VAEConfig(**SMALL, network="mlp", likelihood="logistic"),
    "mlp-gaussian-odd-side": VAEConfig(**(SMALL | {"side": 7}), network="mlp", likelihood="gaussian", channels=3),
}
configs = pytest.mark.parametrize("cfg", CONFIGS.values(), ids=CONFIGS)


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def build(cfg, dtype=torch.float64):
    torch.manual_seed(0)
    return VAE(cfg).to(dtype)


def batch(cfg, n=4, dtype=torch.float64):
    """Return (x, labels): black and white pictures, which every likelihood can give rise to; labels in any case."""
    shape = (n, cfg.channels, cfg.side, cfg.side)
    return torch.randint(2, shape, generator=gen()).to(dtype) * 2 - 1, torch.arange(n) % max(cfg.n_classes, 1)


def wanted(cfg, labels):
    return labels if cfg.n_classes else None


@configs
def test_codes_parameters_and_samples_have_their_shapes(cfg):
    model, (x, labels) = build(cfg), batch(cfg)
    labels, shape = wanted(cfg, labels), tuple(x.shape)
    mu, log_var = model.encode(x, labels)
    assert mu.shape == log_var.shape == (4, 3) and not torch.equal(mu, log_var)
    values = cfg.channels * (2 if cfg.likelihood == "logistic" else 1)
    assert model.decode(mu, labels).shape == (4, values, cfg.side, cfg.side)
    params, again, _ = model(x, labels)
    assert params.shape == (4, values, cfg.side, cfg.side) and torch.equal(again, mu)
    assert sample(model, 4, labels).shape == sample(model, 4, labels, draw_pixels=True).shape == shape
    assert elbo(model, x, labels).shape == (4,)


@configs
def test_gradient_reaches_every_parameter_and_every_pixel(cfg):
    model, (x, labels) = build(cfg), batch(cfg)
    x.requires_grad_()
    weight = torch.randn(4, 3, generator=gen(1), dtype=x.dtype)
    loss, _ = vae_loss(model, (x.detach(), labels))
    loss.backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0] == []
    (model.encode(x, wanted(cfg, labels))[0] * weight).sum().backward()
    assert (x.grad != 0).all()


@configs
def test_loss_equals_torch_distributions_term_by_term(cfg):
    model, (x, labels) = build(cfg), batch(cfg)
    loss, logs = vae_loss(model, (x, labels), beta=0.7, generator=gen())
    labels = wanted(cfg, labels)
    mu, log_var = model.encode(x, labels)
    q = D.Normal(mu, (0.5 * log_var).exp())
    z = mu + q.stddev * torch.randn(mu.shape, generator=gen(), dtype=mu.dtype)
    params = model.decode(z, labels)
    if cfg.likelihood == "bernoulli":
        terms = D.Bernoulli(logits=params).log_prob((x + 1) / 2)
    elif cfg.likelihood == "gaussian":
        terms = D.Normal(params, cfg.std).log_prob(x)
    else:  # black and white take all that lies beyond the first and before the last border between two levels
        u = (x - x / 255 - params[:, : cfg.channels]) / params[:, cfg.channels :].exp()
        terms = torch.where(x < 0, u.sigmoid(), (-u).sigmoid()).log()
    nll = sum(-terms[b].sum() for b in range(len(x))) / len(x)  # nats per image: a sum over values, a mean over images
    kl = sum(D.kl_divergence(q, D.Normal(torch.zeros_like(mu), 1.0)).flatten()) / len(x)
    torch.testing.assert_close(logs, {"nll": nll, "kl": kl})
    torch.testing.assert_close(loss, nll + 0.7 * kl)


@configs
def test_half_precision_keeps_the_loss_in_float32(cfg):
    model, data = build(cfg, torch.float32), batch(cfg, dtype=torch.float32)
    exact, _ = vae_loss(model, data, generator=gen())
    with torch.autocast("cpu", torch.bfloat16):
        params, mu, log_var = model(data[0], wanted(cfg, data[1]), gen())
        rounded, logs = vae_loss(model, data, generator=gen())
    found = {t.dtype for t in (params, mu, log_var, rounded, *logs.values())}
    assert found == {torch.float32}
    assert rounded.item() == pytest.approx(exact.item(), rel=0.02) and rounded.item() != exact.item()


def test_reparameterised_draws_have_the_mean_and_the_deviation_of_q_and_follow_both():
    n, mu, log_var = 20_000, torch.tensor([[1.0, -2.0]]), torch.tensor([[-3.0, 1.0]])
    mu, log_var = mu.double().requires_grad_(), log_var.double().requires_grad_()
    z = reparameterise(mu.expand(n, 2), log_var.expand(n, 2), gen())
    sigma = (0.5 * log_var.detach()).exp()[0]
    assert ((z.mean(0) - mu[0]).abs() < 4 * sigma / n**0.5).all()
    assert (((z - mu).var(0) / sigma**2 - 1).abs() < 4 * (2 / n) ** 0.5).all()
    by_mu, by_log_var = torch.autograd.grad(z.sum(), (mu, log_var))
    assert by_mu[0].tolist() == pytest.approx([n, n])
    torch.testing.assert_close(by_log_var, 0.5 * (z - mu).sum(0, keepdim=True))  # d z / d log_var = (z - mu) / 2


def test_beta_and_the_standard_deviation_of_a_gaussian_are_one_knob():
    """-ELBO at std s, times s^2, is the squared error plus s^2 KL: the beta-VAE at std 1 with beta = s^2."""
    s, gradients = 0.3, []
    for std, beta in ((s, 1.0), (1.0, s**2)):
        model = build(VAEConfig(**SMALL, likelihood="gaussian", std=std))
        loss, _ = vae_loss(model, batch(model.cfg), beta=beta, generator=gen())
        loss.backward()
        gradients.append([p.grad for p in model.parameters()])
    scaled = [s**2 * g for g in gradients[0]]
    torch.testing.assert_close(scaled, gradients[1], rtol=1e-9, atol=1e-12)
    assert max((g - h).abs().max() for g, h in zip(*gradients)) > 0.1


def test_beta_weighs_the_kl_only_and_logs_stay_those_of_the_elbo():
    model, data = build(CONFIGS["conv-bernoulli"]), batch(CONFIGS["conv-bernoulli"])
    losses, all_logs = zip(*(vae_loss(model, data, beta=b, generator=gen()) for b in (0.0, 1.0, 4.0, lambda: 4.0)))
    torch.testing.assert_close(list(all_logs), [all_logs[0]] * 4, rtol=0, atol=0)
    nll, kl = all_logs[0]["nll"], all_logs[0]["kl"]
    torch.testing.assert_close(list(losses), [nll, nll + kl, nll + 4 * kl, nll + 4 * kl])
    torch.testing.assert_close(-losses[1], elbo(model, data[0], generator=gen()).mean())


def test_free_bits_take_the_kl_gradient_from_latents_below_the_floor_and_from_no_other():
    """The floor is for the mean over the batch: a latent above it pays for all its images, [IAF] Eq. 15."""
    model, data = build(CONFIGS["conv-bernoulli"]), batch(CONFIGS["conv-bernoulli"])
    with torch.no_grad():
        model.head[-1].bias.copy_(torch.tensor([0.0, 1.5, 0.0, 0.0, 0.0, -3.0]))  # mu and log_var of 3 latents
        model.head[-1].weight.mul_(0.2)
    mu, log_var = model.encode(data[0])
    kl = D.kl_divergence(D.Normal(mu, (0.5 * log_var).exp()), D.Normal(torch.zeros_like(mu), 1.0))
    assert kl.mean(0)[0] < 0.1 and kl.mean(0)[1] > 0.6 and kl.mean(0)[2] > 0.6

    def outputs_gradient(**kw):
        loss, logs = vae_loss(model, data, generator=gen(), **kw)
        return loss, logs, torch.autograd.grad(loss, model.head[-1].bias)[0]

    _, _, of_nll = outputs_gradient(beta=0.0)
    plain, logs, whole = outputs_gradient(beta=2.0)
    loss, free_logs, free = outputs_gradient(beta=2.0, free_bits=0.3)
    below = torch.tensor([True, False, False]).repeat(2)
    torch.testing.assert_close((free - of_nll)[below], torch.zeros(2, dtype=free.dtype), rtol=0, atol=1e-12)
    torch.testing.assert_close((free - of_nll)[~below], (whole - of_nll)[~below])
    mu, sigma2 = mu.mean(0), log_var.exp().mean(0)
    by_hand = 2.0 * torch.cat([mu, 0.5 * (sigma2 - 1)])  # beta dKL/dmu, beta dKL/dlog_var, averaged over the batch
    torch.testing.assert_close((free - of_nll)[~below], by_hand[~below])
    torch.testing.assert_close(free_logs, logs, rtol=0, atol=0)
    torch.testing.assert_close(loss - plain, 2.0 * (0.3 - kl.mean(0)[0]))


def test_free_bits_hold_the_mean_over_the_batch_and_not_each_image():
    model, data = build(CONFIGS["conv-bernoulli"]), batch(CONFIGS["conv-bernoulli"])
    mu, log_var = model.encode(data[0])
    kl = D.kl_divergence(D.Normal(mu, (0.5 * log_var).exp()), D.Normal(torch.zeros_like(mu), 1.0))
    floor = kl.mean(0).min().item() * 0.999  # below every mean, above some image's own
    assert (kl < floor).any()
    free, logs = vae_loss(model, data, free_bits=floor, generator=gen())
    torch.testing.assert_close(free, logs["nll"] + logs["kl"])


def test_warm_up_counts_the_updates_of_the_schedule():
    model = build(CONFIGS["mlp-logistic"])
    schedule = warmup_cosine(adamw(model), 40, warmup=2)
    beta, seen = kl_warmup(schedule, 8, beta=4.0), []
    for _ in range(12):
        seen.append(beta())
        schedule.optimizer.step()
        schedule.step()
    assert seen == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.0, 4.0, 4.0]
    loss, logs = vae_loss(model, batch(model.cfg), beta=beta)
    torch.testing.assert_close(loss, logs["nll"] + 4.0 * logs["kl"])


@pytest.mark.parametrize("cfg", [c for c in CONFIGS.values() if c.n_classes], ids=[c for c in CONFIGS if "labels" in c])
def test_encoder_and_decoder_both_see_the_label(cfg):
    model, (x, _) = build(cfg), batch(cfg)
    one = torch.ones(4, dtype=torch.int64)
    z, encoded, decoded = torch.randn(4, 3, dtype=x.dtype, generator=gen()), [], []
    for label in range(4):
        encoded.append(torch.cat(model.encode(x, label * one), dim=1))
        decoded.append(model.decode(z, label * one))
    for a in range(4):
        for b in range(a):
            assert (encoded[a] - encoded[b]).abs().min() > 1e-6 and (decoded[a] - decoded[b]).abs().max() > 1e-3
    mixed = model.decode(z, torch.tensor([3, 0, 2, 2]))
    torch.testing.assert_close(mixed, torch.stack([decoded[y][i] for i, y in enumerate([3, 0, 2, 2])]))
    losses = [vae_loss(model, (x, y * one), generator=gen())[0] for y in range(2)]
    assert losses[0] != losses[1]


def test_loss_of_a_model_without_classes_takes_the_batches_of_a_labelled_set_as_well():
    model, (x, labels) = build(CONFIGS["conv-bernoulli"]), batch(CONFIGS["conv-bernoulli"])
    with_labels, _ = vae_loss(model, (x, labels), generator=gen())
    without, _ = vae_loss(model, (x, None), generator=gen())
    assert torch.equal(with_labels, without)


@pytest.mark.parametrize("name", ["conv-bernoulli", "conv-gaussian-labels", "mlp-logistic"])
def test_one_batch_is_learnt(name):
    """The negative ELBO of 8 pictures falls to less than half of what the untrained network pays, code included."""
    model = build(CONFIGS[name], torch.float32)
    x, labels = batch(model.cfg, 8, torch.float32)
    x[:4], x[4:] = x[:1].clone(), -x[:1]  # two pictures, so that one bit of code tells them apart
    opt, g = torch.optim.Adam(model.parameters(), lr=1e-2), gen()
    first = elbo(model, x, wanted(model.cfg, labels), samples=20, generator=g).mean().item()
    for _ in range(150):
        loss, _ = vae_loss(model, (x, labels), generator=g)
        opt.zero_grad()
        loss.backward()
        opt.step()
    last = elbo(model, x, wanted(model.cfg, labels), samples=20, generator=g).mean().item()
    assert last - first > 0.5 * abs(first)
    mean = model.likelihood.mean(model.decode(model.encode(x, wanted(model.cfg, labels))[0], wanted(model.cfg, labels)))
    assert ((mean > 0) == (x > 0)).float().mean() > 0.98


@configs
def test_sampling_repeats_with_its_generator_and_differs_with_another(cfg):
    model, labels = build(cfg), wanted(cfg, torch.zeros(3, dtype=torch.int64))
    for draw_pixels in (False, True):
        a, b, c = (sample(model, 3, labels, draw_pixels=draw_pixels, generator=gen(s)) for s in (0, 0, 1))
        assert torch.equal(a, b) and not torch.equal(a, c) and not a.requires_grad
        assert not torch.equal(a[0], a[1])
    model.likelihood.check(a)  # drawn pixels are data that the model can give rise to


def test_samples_are_the_means_of_decoded_codes_from_the_prior():
    model = build(CONFIGS["conv-logistic-colour"])
    z = torch.randn(5, 3, generator=gen(), dtype=torch.float64)
    by_hand = model.decode(z)[:, :3].clamp(-1, 1)
    torch.testing.assert_close(sample(model, 5, generator=gen()), by_hand)


def test_drawn_pixels_of_a_bernoulli_are_black_or_white_and_its_means_are_not():
    model = build(CONFIGS["conv-bernoulli"])
    means, drawn = sample(model, 20, generator=gen()), sample(model, 20, draw_pixels=True, generator=gen())
    assert drawn.unique().tolist() == [-1.0, 1.0] and means.abs().max() < 1
    difference = drawn - means  # of the same codes, as z is drawn first
    assert abs(difference.mean().item()) < 4 * difference.std().item() / difference.numel() ** 0.5


def test_samples_show_the_class_asked_for():
    model = build(CONFIGS["mlp-bernoulli-labels"])
    zeros = torch.zeros(3, dtype=torch.int64)
    a, b, mixed = (sample(model, 3, labels, generator=gen()) for labels in (zeros, zeros + 1, torch.tensor([0, 1, 0])))
    assert not torch.equal(a, b)
    torch.testing.assert_close(mixed, torch.stack([a[0], b[1], a[2]]))


@pytest.mark.parametrize("name", PRESETS)
def test_preset_builds_and_its_config_survives_json(name):
    cfg = from_json(VAE.Config, to_json(PRESETS[name]))
    assert cfg == PRESETS[name]
    with torch.device("meta"):
        model = VAE(cfg)
        labels = torch.zeros(2, dtype=torch.int64) if cfg.n_classes else None
        assert model(torch.zeros(2, 1, 28, 28), labels)[0].shape == (2, 1, 28, 28)


def test_vae_without_labels_compiles_without_a_graph_break():
    model, (x, _) = build(CONFIGS["conv-bernoulli"]), batch(CONFIGS["conv-bernoulli"])
    compiled = torch.compile(lambda x: model.decode(model.encode(x)[0]), backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), model.decode(model.encode(x)[0]))


@pytest.mark.parametrize("wrong, message", [
    ({"network": "rnn"}, "network must be 'conv' or 'mlp', got 'rnn'"),
    ({"side": 10}, "multiple of 4 for a convolutional VAE, got 10"),
    ({"side": 0}, r"sizes must be at least 1, got {'side': 0}"),
    ({"channels": 0, "latent": -1}, "{'channels': 0, 'latent': -1}"), ({"width": 0}, "{'width': 0}"),
    ({"hidden": 0}, "{'hidden': 0}"), ({"n_classes": -1}, "n_classes must be at least 0, got -1"),
    ({"likelihood": "poisson"}, "got 'poisson'"), ({"likelihood": "gaussian", "std": 0.0}, "above 0, got 0.0"),
])  # fmt: skip
def test_config_that_cannot_be_built_is_refused_by_value(wrong, message):
    with pytest.raises(ValueError, match=message):
        VAE(VAEConfig(**(SMALL | wrong)))


@pytest.mark.parametrize("name, value, message", [
    ("conv-bernoulli", 0.25, "pixels of -1 or 1, got 0.25; see binarise"),
    ("conv-logistic-colour", 1.5, r"8-bit pixels scaled to \[-1, 1\], got 1.5"),
    ("conv-gaussian-labels", math.inf, "finite values, got inf"), ("mlp-logistic", math.nan, "got nan"),
])  # fmt: skip
def test_pixels_outside_the_range_of_the_likelihood_are_refused_by_value(name, value, message):
    model = build(CONFIGS[name])
    x, labels = batch(model.cfg)
    x[2, 0, 3, 1] = value
    for door in (lambda: vae_loss(model, (x, labels)), lambda: elbo(model, x, wanted(model.cfg, labels))):
        with pytest.raises(ValueError, match=message):
            door()


def test_pictures_and_codes_of_the_wrong_shape_are_refused_by_shape():
    model, (x, labels) = build(CONFIGS["conv-bernoulli"]), batch(CONFIGS["conv-bernoulli"])
    with pytest.raises(ValueError, match=r"x must be \(B, 1, 8, 8\), got \(4, 1, 7, 8\)"):
        vae_loss(model, (x[:, :, :7], labels))
    with pytest.raises(ValueError, match=r"x must be \(B, 1, 8, 8\), got \(4, 8, 8\)"):
        model.encode(x[:, 0])
    for shape in ((4, 2), (4, 4), (3,), (4, 3, 1)):
        with pytest.raises(ValueError, match=rf"z must be \(B, 3\), got \({shape[0]},"):
            model.decode(torch.zeros(shape, dtype=x.dtype))


@pytest.mark.parametrize("wrong, message", [
    (torch.tensor([0, 1, 4, 3]), r"labels must be in \[0, 4\), got 4"),
    (torch.tensor([0, -1, 2, 3]), r"labels must be in \[0, 4\), got -1"),
    (torch.tensor([0, 1]), r"labels must be \(4,\), one for each, got \(2,\)"),
    (torch.zeros(4, 1, dtype=torch.int64), r"labels must be \(4,\), one for each, got \(4, 1\)"),
    (None, r"this VAE takes labels in \[0, 4\), got none"),
])  # fmt: skip
def test_labels_that_do_not_fit_are_refused_by_value(wrong, message):
    model = build(CONFIGS["mlp-bernoulli-labels"])
    (x, _), z = batch(model.cfg), torch.zeros(4, 3, dtype=torch.float64)
    for door in (
        lambda: model.encode(x, wrong), lambda: model.decode(z, wrong), lambda: vae_loss(model, (x, wrong)),
        lambda: elbo(model, x, wrong),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            door()


def test_labels_are_refused_by_a_model_without_classes_wherever_they_are_given_on_purpose():
    model, (x, labels) = build(CONFIGS["conv-bernoulli"]), batch(CONFIGS["conv-bernoulli"])
    for door in (
        lambda: model.encode(x, labels), lambda: model.decode(torch.zeros(4, 3, dtype=x.dtype), labels),
        lambda: sample(model, 4, labels), lambda: elbo(model, x, labels), lambda: model(x, labels),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"this VAE takes no labels \(n_classes is 0\), got some"):
            door()


def test_settings_of_loss_warm_up_and_sampler_are_refused_out_of_range():
    model, data = build(CONFIGS["conv-bernoulli"]), batch(CONFIGS["conv-bernoulli"])
    with pytest.raises(ValueError, match="at least 0, got beta=-0.5, free_bits=0.0"):
        vae_loss(model, data, beta=-0.5)
    with pytest.raises(ValueError, match="at least 0, got beta=-1.0"):
        vae_loss(model, data, beta=lambda: -1.0)
    with pytest.raises(ValueError, match="free_bits=-0.1"):
        vae_loss(model, data, free_bits=-0.1)
    schedule = warmup_cosine(adamw(model), 10, warmup=0)
    with pytest.raises(ValueError, match="steps=0"):
        kl_warmup(schedule, 0)
    with pytest.raises(ValueError, match="beta=-1"):
        kl_warmup(schedule, 10, beta=-1)
    with pytest.raises(ValueError, match="n >= 1 and one label for each, got n=0"):
        sample(model, 0)
    with pytest.raises(ValueError, match="one label for each, got n=3"):
        sample(build(CONFIGS["mlp-bernoulli-labels"]), 3, torch.zeros(2, dtype=torch.int64))


@pytest.mark.gpu
def test_vae_on_the_gpu_equals_the_cpu_and_an_impossible_pixel_costs_it_an_infinite_loss():
    model = build(CONFIGS["mlp-bernoulli-labels"], torch.float32)
    x, labels = batch(model.cfg, dtype=torch.float32)
    mu, log_var = model.encode(x, labels)
    params = model.decode(mu, labels)
    model, x, labels = model.cuda(), x.cuda(), labels.cuda()
    on_gpu = torch.cat(model.encode(x, labels), dim=1).cpu()
    torch.testing.assert_close(on_gpu, torch.cat([mu, log_var], dim=1), rtol=1e-3, atol=1e-3)  # TF32, if it is on
    torch.testing.assert_close(model.decode(mu.cuda(), labels).cpu(), params, rtol=1e-3, atol=1e-3)
    assert vae_loss(model, (x, labels))[0].isfinite()
    x[0, 0, 0, 0] = 0.25
    assert vae_loss(model, (x, labels))[0].item() == math.inf  # nothing was raised: looking would make every step wait
