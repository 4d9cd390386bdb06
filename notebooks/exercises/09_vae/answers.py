# Answers by which the graders of this assignment are proved; read as text by tools/exercises, never imported.

# ---- kl right: torch.distributions does it
def kl(mu_q, log_var_q, mu_p, log_var_p):
    from torch.distributions import Independent, Normal, kl_divergence
    q = Independent(Normal(mu_q, (log_var_q / 2).exp()), 1)
    p = Independent(Normal(mu_p, (log_var_p / 2).exp()), 1)
    return kl_divergence(<<a>>, <<b>>) / <<bits>>

# ---- kl right: standard deviations, one latent after another
def kl(mu_q, log_var_q, mu_p, log_var_p):
    total = 0
    s_q, s_p = log_var_q.exp().sqrt(), log_var_p.exp().sqrt()
    for i in range(mu_q.shape[1]):
        a, b = s_<<a>>[:, i], s_<<b>>[:, i]
        total = total + torch.log(b / a) + (a**2 + (mu_q - mu_p)[:, i] ** 2) / (2 * b**2) - 0.5
    return total / <<bits>>

# ---- kl wrong: a mean over the latents | their prices add up
def kl(mu_q, log_var_q, mu_p, log_var_p):
    d = log_var_<<a>> - log_var_<<b>>
    terms = 0.5 * (d.exp() + (mu_q - mu_p) ** 2 / log_var_<<b>>.exp() - 1 - d)
    return terms.mean(1)<<in_unit>>

# ---- kl wrong: the two clouds exchanged | <<b>>) is asked
def kl(mu_q, log_var_q, mu_p, log_var_p):
    d = log_var_<<b>> - log_var_<<a>>
    terms = 0.5 * (d.exp() + (mu_q - mu_p) ** 2 / log_var_<<a>>.exp() - 1 - d)
    return terms.sum(1)<<in_unit>>

# ---- kl wrong: the other unit | in <<not_unit>>; <<unit>> are wanted
def kl(mu_q, log_var_q, mu_p, log_var_p):
    d = log_var_<<a>> - log_var_<<b>>
    terms = 0.5 * (d.exp() + (mu_q - mu_p) ** 2 / log_var_<<b>>.exp() - 1 - d)
    return terms.sum(1) * <<bits>> / math.log(2)

# ---- kl wrong: exp(log_var) taken for a standard deviation | it is the variance
def kl(mu_q, log_var_q, mu_p, log_var_p):
    d = 2 * (log_var_<<a>> - log_var_<<b>>)
    terms = 0.5 * (d.exp() + (mu_q - mu_p) ** 2 / (2 * log_var_<<b>>).exp() - 1 - d)
    return terms.sum(1)<<in_unit>>

# ---- kl wrong: the half forgotten | where is the half
def kl(mu_q, log_var_q, mu_p, log_var_p):
    d = log_var_<<a>> - log_var_<<b>>
    return (d.exp() + (mu_q - mu_p) ** 2 / log_var_<<b>>.exp() - 1 - d).sum(1)<<in_unit>>

# ---- kl wrong: the distance of the centres not in units of the other cloud | when both centres move
def kl(mu_q, log_var_q, mu_p, log_var_p):
    d = log_var_<<a>> - log_var_<<b>>
    return 0.5 * (d.exp() + mu_<<a>>**2 / log_var_<<b>>.exp() - 1 - d).sum(1)<<in_unit>>

# ---- kl wrong: the squared distance divided by nothing | by no variance, or by the wrong power
def kl(mu_q, log_var_q, mu_p, log_var_p):
    d = log_var_<<a>> - log_var_<<b>>
    terms = 0.5 * (d.exp() + (mu_q - mu_p) ** 2 - 1 - d)
    return terms.sum(1)<<in_unit>>

# ---- kl wrong: the squared distance divided by a standard deviation | by no variance, or by the wrong power
def kl(mu_q, log_var_q, mu_p, log_var_p):
    d = log_var_<<a>> - log_var_<<b>>
    terms = 0.5 * (d.exp() + (mu_q - mu_p) ** 2 / (0.5 * log_var_<<b>>).exp() - 1 - d)
    return terms.sum(1)<<in_unit>>

# ---- kl wrong: the squared distance divided by a variance squared | by no variance, or by the wrong power
def kl(mu_q, log_var_q, mu_p, log_var_p):
    d = log_var_<<a>> - log_var_<<b>>
    terms = 0.5 * (d.exp() + (mu_q - mu_p) ** 2 / log_var_<<b>>.exp() ** 2 - 1 - d)
    return terms.sum(1)<<in_unit>>

# ---- kl wrong: through numpy, so that nothing can be learnt | no gradient can flow
def kl(mu_q, log_var_q, mu_p, log_var_p):
    mu_q, log_var_q, mu_p, log_var_p = (t.detach() for t in (mu_q, log_var_q, mu_p, log_var_p))
    d = log_var_<<a>> - log_var_<<b>>
    return 0.5 * (d.exp() + (mu_q - mu_p) ** 2 / log_var_<<b>>.exp() - 1 - d).sum(1)<<in_unit>>

# ---- kl survives: 5: mu_q - mu_p -> mu_p - mu_q | the difference is squared: the same function

# ---- loss right: torch's own cross-entropy
def loss(model, x, beta, eps):
    import torch.nn.functional as F
    mu, log_var = model.encode(x)
    params = model.decode(mu + eps * log_var.exp() ** 0.5)
    nll = F.binary_cross_entropy_with_logits(params, (x + 1) / 2, reduction="sum") / len(x)
    rate = 0.5 * (mu**2 + log_var.exp() - 1 - log_var).sum() / len(x)
    return nll + beta * rate, {"nll": nll.item() / <<bits>>, "kl": rate.item() / <<bits>>}

# ---- loss right: per picture first, averaged at the end
def loss(model, x, beta, eps):
    mu, log_var = model.encode(x)
    log_p = model.likelihood.log_prob(model.decode(torch.addcmul(mu, eps, (log_var / 2).exp())), x)
    price = kl_to_prior(mu, log_var).sum(dim=1)
    items = torch.stack([-log_p, price]).detach().mean(dim=1) / <<bits>>
    return (beta * price - log_p).mean(), dict(zip(("nll", "kl"), items))

# ---- loss wrong: exp(log_var) taken for a standard deviation | noise of the wrong variance
def loss(model, x, beta, eps):
    mu, log_var = model.encode(x)
    nll = -model.likelihood.log_prob(model.decode(mu + log_var.exp() * eps), x).mean()
    rate = kl_to_prior(mu, log_var).sum(1).mean()
    return nll + beta * rate, {"nll": nll.detach()<<in_unit>>, "kl": rate.detach()<<in_unit>>}

# ---- loss wrong: the noise is not used | eps is not used
def loss(model, x, beta, eps):
    mu, log_var = model.encode(x)
    nll = -model.likelihood.log_prob(model.decode(mu), x).mean()
    rate = kl_to_prior(mu, log_var).sum(1).mean()
    return nll + beta * rate, {"nll": nll.detach()<<in_unit>>, "kl": rate.detach()<<in_unit>>}

# ---- loss wrong: the KL averaged over latents | averages the KL over the latents
def loss(model, x, beta, eps):
    mu, log_var = model.encode(x)
    nll = -model.likelihood.log_prob(model.decode(mu + (0.5 * log_var).exp() * eps), x).mean()
    rate = kl_to_prior(mu, log_var).mean()
    return nll + beta * rate, {"nll": nll.detach()<<in_unit>>, "kl": rate.detach()<<in_unit>>}

# ---- loss wrong: the draw is detached | a detached tensor is in the way
def loss(model, x, beta, eps):
    mu, log_var = model.encode(x)
    z = (mu + (0.5 * log_var).exp() * eps).detach()
    nll = -model.likelihood.log_prob(model.decode(z), x).mean()
    rate = kl_to_prior(mu, log_var).sum(1).mean()
    return nll + beta * rate, {"nll": nll.detach()<<in_unit>>, "kl": rate.detach()<<in_unit>>}

# ---- loss wrong: the ELBO is maximised by descending on it | of the wrong sign
def loss(model, x, beta, eps):
    mu, log_var = model.encode(x)
    nll = -model.likelihood.log_prob(model.decode(mu + (0.5 * log_var).exp() * eps), x).mean()
    rate = kl_to_prior(mu, log_var).sum(1).mean()
    return -nll - beta * rate, {"nll": nll.detach()<<in_unit>>, "kl": rate.detach()<<in_unit>>}

# ---- loss wrong: a pixel mean, as ready-made losses have it | averaged over the pixels
def loss(model, x, beta, eps):
    import torch.nn.functional as F
    mu, log_var = model.encode(x)
    nll = F.binary_cross_entropy_with_logits(
        model.decode(mu + (0.5 * log_var).exp() * eps), (x + 1) / 2)
    rate = kl_to_prior(mu, log_var).sum(1).mean()
    return nll + beta * rate, {"nll": nll.detach()<<in_unit>>, "kl": rate.detach()<<in_unit>>}

# ---- loss wrong: the NLL is summed over the batch, the KL averaged | in its NLL alone
def loss(model, x, beta, eps):
    mu, log_var = model.encode(x)
    nll = -model.likelihood.log_prob(model.decode(mu + (0.5 * log_var).exp() * eps), x).sum()
    rate = kl_to_prior(mu, log_var).sum(1).mean()
    return nll + beta * rate, {"nll": nll.detach()<<in_unit>>, "kl": rate.detach()<<in_unit>>}

# ---- loss wrong: the items are logged with beta | log the bare price
def loss(model, x, beta, eps):
    mu, log_var = model.encode(x)
    nll = -model.likelihood.log_prob(model.decode(mu + (0.5 * log_var).exp() * eps), x).mean()
    rate = beta * kl_to_prior(mu, log_var).sum(1).mean()
    return nll + rate, {"nll": nll.detach()<<in_unit>>, "kl": rate.detach()<<in_unit>>}

# ---- loss wrong: logs that keep the graph | keeps the graph
def loss(model, x, beta, eps):
    mu, log_var = model.encode(x)
    nll = -model.likelihood.log_prob(model.decode(mu + (0.5 * log_var).exp() * eps), x).mean()
    rate = kl_to_prior(mu, log_var).sum(1).mean()
    return nll + beta * rate, {"nll": nll<<in_unit>>, "kl": rate<<in_unit>>}

# ---- sweep right: by way of the package's elbo
@torch.no_grad()
def measure(model):
    bill = -elbo(model, x_test, generator=torch.Generator().manual_seed(0)).mean()
    rate = kl_to_prior(*model.encode(x_test)).sum(1).mean()
    return {"rate": float(rate), "distortion": float(bill - rate)}


def sweep(betas, steps):
    with torch.enable_grad():
        models = {beta: train(beta, steps) for beta in betas}
    return [{"beta": beta} | measure(model) for beta, model in models.items()]


def choose(rows):
    least = min(r["rate"] + r["distortion"] for r in rows)
    near = filter(lambda r: r["rate"] + r["distortion"] - least <= <<slack>>, rows)
    return sorted(near, key=lambda r: r["<<least>>"])[0]["beta"]

# ---- sweep right: in plain loops
def sweep(betas, steps):
    rows = []
    for beta in betas:
        model = train(beta, steps)
        mu, log_var = (t.detach() for t in model.encode(x_test))
        eps = torch.randn(mu.shape, generator=torch.Generator().manual_seed(0))
        params = model.decode(mu + (log_var / 2).exp() * eps).detach()
        distortion = torch.nn.functional.softplus(-params * x_test).sum() / len(x_test)
        rate = (0.5 * (mu**2 + log_var.exp() - 1 - log_var)).sum() / len(x_test)
        rows.append({"beta": beta, "rate": rate.item(), "distortion": distortion.item()})
    return rows


def choose(rows):
    best, kept = min(r["rate"] + r["distortion"] for r in rows), None
    for row in rows:
        if row["rate"] + row["distortion"] <= best + <<slack>>:
            if kept is None or row["<<least>>"] < kept["<<least>>"]:
                kept = row
    return kept["beta"]

# ---- sweep wrong: the rate averaged over latents | a mean over the latents
def sweep(betas, steps):
    rows = []
    for beta in betas:
        model = train(beta, steps)
        with torch.no_grad():
            mu, log_var = model.encode(x_test)
            rate = kl_to_prior(mu, log_var).mean().item()
            z = reparameterise(mu, log_var, torch.Generator().manual_seed(0))
            log_p = model.likelihood.log_prob(model.decode(z), x_test).mean().item()
        rows.append({"beta": beta, "rate": rate, "distortion": -log_p})
    return rows

# ---- sweep wrong: the mean code is decoded | at the mean of the code
def sweep(betas, steps):
    rows = []
    for beta in betas:
        model = train(beta, steps)
        with torch.no_grad():
            mu, log_var = model.encode(x_test)
            rate = kl_to_prior(mu, log_var).sum(1).mean().item()
            log_p = model.likelihood.log_prob(model.decode(mu), x_test).mean().item()
        rows.append({"beta": beta, "rate": rate, "distortion": -log_p})
    return rows

# ---- sweep wrong: the bill in place of the distortion | the whole bill: the rate is in it
@torch.no_grad()
def measure(model):
    bill = -elbo(model, x_test, generator=torch.Generator().manual_seed(0)).mean()
    rate = kl_to_prior(*model.encode(x_test)).sum(1).mean()
    return {"rate": float(rate), "distortion": float(bill)}


def sweep(betas, steps):
    return [{"beta": beta} | measure(train(beta, steps)) for beta in betas]


def choose(rows):
    return min(rows, key=lambda row: row["distortion"])["beta"]

# ---- sweep wrong: the smallest bill is chosen | this is the smallest bill
def choose(rows):
    return min(rows, key=lambda row: row["rate"] + row["distortion"])["beta"]

# ---- sweep wrong: the rule looks at one item alone | compare bills first
def choose(rows):
    return min(rows, key=lambda row: row["<<least>>"])["beta"]

# ---- sweep wrong: the other item decides | the one with the least <<least>>
def choose(rows):
    bills = [row["rate"] + row["distortion"] for row in rows]
    good = [row for row, bill in zip(rows, bills) if bill <= min(bills) + <<slack>>]
    return min(good, key=lambda row: -row["<<least>>"])["beta"]

# ---- sweep wrong: the rate is weighed by beta | weighed by beta
def sweep(betas, steps):
    rows = []
    for beta in betas:
        model = train(beta, steps)
        with torch.no_grad():
            mu, log_var = model.encode(x_test)
            rate = beta * kl_to_prior(mu, log_var).sum(1).mean().item()
            z = reparameterise(mu, log_var, torch.Generator().manual_seed(0))
            log_p = model.likelihood.log_prob(model.decode(z), x_test).mean().item()
        rows.append({"beta": beta, "rate": rate, "distortion": -log_p})
    return rows

# ---- sweep wrong: the edge of the rule is left out | by exactly <<slack>> nats is admitted
def choose(rows):
    bills = [row["rate"] + row["distortion"] for row in rows]
    good = [row for row, bill in zip(rows, bills) if bill < min(bills) + <<slack>>]
    return min(good, key=lambda row: row["<<least>>"])["beta"]

# ---- sweep wrong: the row is returned, not its beta | choose must return a beta
def choose(rows):
    bills = [row["rate"] + row["distortion"] for row in rows]
    good = [row for row, bill in zip(rows, bills) if bill <= min(bills) + <<slack>>]
    return min(good, key=lambda row: row["<<least>>"])

# ---- sweep survives: 10: z = reparameterise(mu, log_v ... .Generator().manual_seed(0)) -> z = reparameterise(mu, log_v ... r().manual_seed(0)).detach() | under no_grad there is no graph to leave
