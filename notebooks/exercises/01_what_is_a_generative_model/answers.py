# Answers by which the graders of this assignment are proved; read as text by tools/exercises, never imported.

# ---- price right: torch's own mixture
def price(x, mu, log_sigma, logits):
    parts = D.Independent(D.Normal(mu, torch.exp(log_sigma)), 1)
    nats = -D.MixtureSameFamily(D.Categorical(logits=logits), parts).log_prob(x).mean()
    return nats / <<bits>> / (x.size(1) if "<<per>>" == "coordinate" else 1)

# ---- price right: one component after another, added up by logaddexp
def price(x, mu, log_sigma, logits):
    total, d = torch.tensor(-math.inf, dtype=x.dtype), x.shape[1]
    for m, s, w in zip(mu, log_sigma, logits - logits.logsumexp(0)):
        r2 = ((x - m) / s.exp()).pow(2).sum(1)
        total = torch.logaddexp(total, w - r2 / 2 - s.sum() - d / 2 * math.log(2 * math.pi))
    return -total.sum() / len(x) / <<bits>> / <<dims>>

# ---- price wrong: the other unit | in <<not_unit>>; <<unit>> are wanted
def price(x, mu, log_sigma, logits):
    parts = D.Independent(D.Normal(mu, log_sigma.exp()), 1)
    nats = -D.MixtureSameFamily(D.Categorical(logits=logits), parts).log_prob(x).mean()
    return nats * <<bits>> / math.log(2)<<in_per>>

# ---- price wrong: the other denominator | the price of a <<not_per>>
def price(x, mu, log_sigma, logits):
    d = x.shape[1]
    parts = D.Independent(D.Normal(mu, log_sigma.exp()), 1)
    nats = -D.MixtureSameFamily(D.Categorical(logits=logits), parts).log_prob(x).mean()
    return nats<<in_unit>> * <<dims>> / d

# ---- price wrong: logits taken for log-weights | no softmax was taken
def price(x, mu, log_sigma, logits):
    z = (x[:, None] - mu) * torch.exp(-log_sigma)
    log_normal = -0.5 * z.square() - log_sigma - 0.5 * math.log(2 * math.pi)
    return -torch.logsumexp(logits + log_normal.sum(2), dim=1).mean()<<in_unit>><<in_per>>

# ---- price wrong: all components weigh alike | with equal weights
def price(x, mu, log_sigma, logits):
    z = (x[:, None] - mu) * torch.exp(-log_sigma)
    log_normal = -0.5 * z.square() - log_sigma - 0.5 * math.log(2 * math.pi)
    log_p = torch.logsumexp(log_normal.sum(2), dim=1) - math.log(len(mu))
    return -log_p.mean()<<in_unit>><<in_per>>

# ---- price wrong: the weighted mean of log-densities | add densities, then take the log
def price(x, mu, log_sigma, logits):
    z = (x[:, None] - mu) * torch.exp(-log_sigma)
    log_normal = -0.5 * z.square() - log_sigma - 0.5 * math.log(2 * math.pi)
    return -(logits.softmax(0) * log_normal.sum(2)).sum(1).mean()<<in_unit>><<in_per>>

# ---- price wrong: exp(log_sigma) taken for a variance | it is the standard deviation
def price(x, mu, log_sigma, logits):
    z2 = (x[:, None] - mu).square() * torch.exp(-log_sigma)
    log_normal = -0.5 * z2 - 0.5 * log_sigma - 0.5 * math.log(2 * math.pi)
    log_p = torch.logsumexp(logits.log_softmax(0) + log_normal.sum(2), dim=1)
    return -log_p.mean()<<in_unit>><<in_per>>

# ---- price wrong: the normaliser without its scales | without the scales in front
def price(x, mu, log_sigma, logits):
    z = (x[:, None] - mu) * torch.exp(-log_sigma)
    log_normal = -0.5 * z.square() - 0.5 * math.log(2 * math.pi)
    log_p = torch.logsumexp(logits.log_softmax(0) + log_normal.sum(2), dim=1)
    return -log_p.mean()<<in_unit>><<in_per>>

# ---- price wrong: a sum over the points | a sum over the points: average them
def price(x, mu, log_sigma, logits):
    z = (x[:, None] - mu) * torch.exp(-log_sigma)
    log_normal = -0.5 * z.square() - log_sigma - 0.5 * math.log(2 * math.pi)
    log_p = torch.logsumexp(logits.log_softmax(0) + log_normal.sum(2), dim=1)
    return -log_p.sum()<<in_unit>><<in_per>>

# ---- price wrong: densities first, logarithm last | at distance 1000 is wrong
def price(x, mu, log_sigma, logits):
    parts = D.Independent(D.Normal(mu, log_sigma.exp()), 1)
    p = (logits.softmax(0) * parts.log_prob(x[:, None]).exp()).sum(1)
    return -p.log().mean()<<in_unit>><<in_per>>

# ---- price wrong: the logarithm of the average density | the average of the logarithms
def price(x, mu, log_sigma, logits):
    parts = D.Independent(D.Normal(mu, log_sigma.exp()), 1)
    log_p = D.MixtureSameFamily(D.Categorical(logits=logits), parts).log_prob(x)
    return -(log_p.logsumexp(0) - math.log(len(x)))<<in_unit>><<in_per>>

# ---- price wrong: a number without a gradient | no gradient can flow
def price(x, mu, log_sigma, logits):
    with torch.no_grad():
        parts = D.Independent(D.Normal(mu, log_sigma.exp()), 1)
        nats = -D.MixtureSameFamily(D.Categorical(logits=logits), parts).log_prob(x).mean()
        return nats<<in_unit>><<in_per>>

# ---- price wrong: a tiny number inside the logarithm | add no tiny number
def price(x, mu, log_sigma, logits):
    parts = D.Independent(D.Normal(mu, log_sigma.exp()), 1)
    p = (logits.softmax(0) * parts.log_prob(x[:, None]).exp()).sum(1)
    return -(p + 1e-300).log().mean()<<in_unit>><<in_per>>

# ---- price wrong: the first component's scales for all | first component's scales for all
def price(x, mu, log_sigma, logits):
    z = (x[:, None] - mu) * torch.exp(-log_sigma[0])
    log_normal = -0.5 * z.square() - log_sigma[0] - 0.5 * math.log(2 * math.pi)
    log_p = torch.logsumexp(logits.log_softmax(0) + log_normal.sum(2), dim=1)
    return -log_p.mean()<<in_unit>><<in_per>>

# ---- price wrong: nats multiplied by ln 2 | nats become bits by division
def price(x, mu, log_sigma, logits):
    z = (x[:, None] - mu) * torch.exp(-log_sigma)
    log_normal = -0.5 * z.square() - log_sigma - 0.5 * math.log(2 * math.pi)
    log_p = torch.logsumexp(logits.log_softmax(0) + log_normal.sum(2), dim=1)
    return -log_p.mean() * math.log(2)<<in_per>>

# ---- price wrong: the mean over the coordinates comes too early | inside the exponential
def price(x, mu, log_sigma, logits):
    z = (x[:, None] - mu) * torch.exp(-log_sigma)
    log_normal = -0.5 * z.square() - log_sigma - 0.5 * math.log(2 * math.pi)
    log_p = torch.logsumexp(logits.log_softmax(0) + log_normal.mean(2), dim=1)
    return -log_p.mean()<<in_unit>>

# ---- price wrong: the weights without their logarithm | where log_softmax belongs
def price(x, mu, log_sigma, logits):
    z = (x[:, None] - mu) * torch.exp(-log_sigma)
    log_normal = -0.5 * z.square() - log_sigma - 0.5 * math.log(2 * math.pi)
    log_p = torch.logsumexp(logits.softmax(0) + log_normal.sum(2), dim=1)
    return -log_p.mean()<<in_unit>><<in_per>>

# ---- price survives: 4: x[:, None] - mu -> mu - x[:, None] | the difference is squared: the same function
# ---- price survives: 6: 0 -> -1 | logits have one axis, so that its last is its first

# ---- em_step right: shares from torch's mixture, the rest by einsum
def em_step(x, mu, sigma, pi):
    parts = D.Independent(D.Normal(mu, sigma[:, None]), 1)
    log_joint = parts.log_prob(x[:, None]) + pi.log()
    r = (log_joint - log_joint.logsumexp(1, keepdim=True)).exp()
    total = r.sum(0)
    centre = torch.einsum("nk,nd->kd", r, x) / total.unsqueeze(1)
    gap = x.unsqueeze(1) - centre
    spread = torch.einsum("nk,nkd,nkd->k", r, gap, gap) / x.shape[1]
    own, shared = spread / total, (spread.sum() / len(x)).repeat(len(mu))
    return centre, torch.sqrt(shared if <<shared>> else own), r.mean(0)

# ---- em_step right: in loops over the components
def em_step(x, mu, sigma, pi):
    d, K = x.shape[1], len(mu)
    logs = []
    for k in range(K):
        r2 = ((x - mu[k]) ** 2).sum(1)
        logs.append(torch.log(pi[k]) - d * torch.log(sigma[k]) - r2 / (2 * sigma[k] ** 2))
    share = torch.stack(logs).softmax(0)                     # (K, N)
    centres, squares = [], []
    for k in range(K):
        w = share[k] / share[k].sum()
        centres.append((w[:, None] * x).sum(0))
        squares.append((w[:, None] * (x - centres[k]) ** 2).sum() / d)
    new_pi, squares = share.sum(1) / len(x), torch.stack(squares)
    if <<shared>>:
        squares = (new_pi * squares).sum() * torch.ones_like(squares)
    return torch.stack(centres), squares ** 0.5, new_pi

# ---- em_step wrong: shares normalised over the points | the wrong axis was normalised
def em_step(x, mu, sigma, pi):
    d = x.shape[1]
    r2 = (x[:, None] - mu).square().sum(2)
    r = (pi.log() - r2 / (2 * sigma.square()) - d * sigma.log()).softmax(0)
    n = r.sum(0)
    new_mu = r.T @ x / n[:, None]
    spread = (r * (x[:, None] - new_mu).square().sum(2)).sum(0)
    return new_mu, (<<variance>>).sqrt(), n / len(x)

# ---- em_step wrong: the other rule for the scales | that of <<other>>
def em_step(x, mu, sigma, pi):
    d = x.shape[1]
    r2 = (x[:, None] - mu).square().sum(2)
    r = (pi.log() - r2 / (2 * sigma.square()) - d * sigma.log()).softmax(1)
    n = r.sum(0)
    new_mu = r.T @ x / n[:, None]
    spread = (r * (x[:, None] - new_mu).square().sum(2)).sum(0)
    own, shared = spread / (d * n), (spread.sum() / (d * len(x))).expand(len(n))
    return new_mu, (own if <<shared>> else shared).sqrt(), n / len(x)

# ---- em_step wrong: a squared distance over all coordinates | shared between the coordinates
def em_step(x, mu, sigma, pi):
    d = x.shape[1]
    r2 = (x[:, None] - mu).square().sum(2)
    r = (pi.log() - r2 / (2 * sigma.square()) - d * sigma.log()).softmax(1)
    n = r.sum(0)
    new_mu = r.T @ x / n[:, None]
    spread = d * (r * (x[:, None] - new_mu).square().sum(2)).sum(0)
    return new_mu, (<<variance>>).sqrt(), n / len(x)

# ---- em_step wrong: a variance is returned | a square root is missing
def em_step(x, mu, sigma, pi):
    d = x.shape[1]
    r2 = (x[:, None] - mu).square().sum(2)
    r = (pi.log() - r2 / (2 * sigma.square()) - d * sigma.log()).softmax(1)
    n = r.sum(0)
    new_mu = r.T @ x / n[:, None]
    spread = (r * (x[:, None] - new_mu).square().sum(2)).sum(0)
    return new_mu, <<variance>>, n / len(x)

# ---- em_step wrong: distances from the old centre | measured from the old centre
def em_step(x, mu, sigma, pi):
    d = x.shape[1]
    r2 = (x[:, None] - mu).square().sum(2)
    r = (pi.log() - r2 / (2 * sigma.square()) - d * sigma.log()).softmax(1)
    n = r.sum(0)
    spread = (r * r2).sum(0)
    return r.T @ x / n[:, None], (<<variance>>).sqrt(), n / len(x)

# ---- em_step wrong: the old weights ignored | the shares ignore the old pi
def em_step(x, mu, sigma, pi):
    d = x.shape[1]
    r2 = (x[:, None] - mu).square().sum(2)
    r = (-r2 / (2 * sigma.square()) - d * sigma.log()).softmax(1)
    n = r.sum(0)
    new_mu = r.T @ x / n[:, None]
    spread = (r * (x[:, None] - new_mu).square().sum(2)).sum(0)
    return new_mu, (<<variance>>).sqrt(), n / len(x)

# ---- em_step wrong: the weights without their logarithm | where its logarithm belongs
def em_step(x, mu, sigma, pi):
    d = x.shape[1]
    r2 = (x[:, None] - mu).square().sum(2)
    r = (pi - r2 / (2 * sigma.square()) - d * sigma.log()).softmax(1)
    n = r.sum(0)
    new_mu = r.T @ x / n[:, None]
    spread = (r * (x[:, None] - new_mu).square().sum(2)).sum(0)
    return new_mu, (<<variance>>).sqrt(), n / len(x)

# ---- em_step wrong: the density without its normaliser | factor 1 / sigma^d is missing
def em_step(x, mu, sigma, pi):
    d = x.shape[1]
    r2 = (x[:, None] - mu).square().sum(2)
    r = (pi.log() - r2 / (2 * sigma.square())).softmax(1)
    n = r.sum(0)
    new_mu = r.T @ x / n[:, None]
    spread = (r * (x[:, None] - new_mu).square().sum(2)).sum(0)
    return new_mu, (<<variance>>).sqrt(), n / len(x)

# ---- em_step wrong: densities instead of log-densities | compute the shares from log-densities
def em_step(x, mu, sigma, pi):
    d = x.shape[1]
    r2 = (x[:, None] - mu).square().sum(2)
    joint = pi * torch.exp(-r2 / (2 * sigma.square())) / sigma**d
    r = joint / joint.sum(1, keepdim=True)
    n = r.sum(0)
    new_mu = r.T @ x / n[:, None]
    spread = (r * (x[:, None] - new_mu).square().sum(2)).sum(0)
    return new_mu, (<<variance>>).sqrt(), n / len(x)

# ---- em_step wrong: every point given wholly to one component | no gradient
def em_step(x, mu, sigma, pi):
    d = x.shape[1]
    r2 = (x[:, None] - mu).square().sum(2)
    r = (pi.log() - r2 / (2 * sigma.square()) - d * sigma.log()).softmax(1).detach()
    n = r.sum(0)
    new_mu = r.T @ x / n[:, None]
    spread = (r * (x[:, None] - new_mu).square().sum(2)).sum(0)
    return new_mu, (<<variance>>).sqrt(), n / len(x)

# ---- em_step wrong: weighted sums in place of weighted means | by the component's own number
def em_step(x, mu, sigma, pi):
    d = x.shape[1]
    r2 = (x[:, None] - mu).square().sum(2)
    r = (pi.log() - r2 / (2 * sigma.square()) - d * sigma.log()).softmax(1)
    n = r.sum(0)
    new_mu = r.T @ x / len(x)
    spread = (r * (x[:, None] - new_mu).square().sum(2)).sum(0)
    return new_mu, (<<variance>>).sqrt(), n / len(x)

# ---- em_step wrong: an exponent without its half | an exponent without its half
def em_step(x, mu, sigma, pi):
    d = x.shape[1]
    r2 = (x[:, None] - mu).square().sum(2)
    r = (pi.log() - r2 / sigma**2 - d * sigma.log()).softmax(1)
    n = r.sum(0)
    new_mu = r.T @ x / n[:, None]
    spread = (r * (x[:, None] - new_mu).square().sum(2)).sum(0)
    return new_mu, (<<variance>>).sqrt(), n / len(x)

# ---- em_step wrong: sigma for its square in the exponent | in the place of its square
def em_step(x, mu, sigma, pi):
    d = x.shape[1]
    r2 = (x[:, None] - mu).square().sum(2)
    r = (pi.log() - r2 / (2 * sigma) - d * sigma.log()).softmax(1)
    n = r.sum(0)
    new_mu = r.T @ x / n[:, None]
    spread = (r * (x[:, None] - new_mu).square().sum(2)).sum(0)
    return new_mu, (<<variance>>).sqrt(), n / len(x)

# ---- em_step wrong: a tiny number under the shares | compute the shares from log-densities
def em_step(x, mu, sigma, pi):
    d = x.shape[1]
    r2 = (x[:, None] - mu).square().sum(2)
    joint = pi * torch.exp(-r2 / (2 * sigma.square())) / sigma**d + 1e-300
    r = joint / joint.sum(1, keepdim=True)
    n = r.sum(0)
    new_mu = r.T @ x / n[:, None]
    spread = (r * (x[:, None] - new_mu).square().sum(2)).sum(0)
    return new_mu, (<<variance>>).sqrt(), n / len(x)

# ---- em_step survives: 5: x[:, None] - mu -> mu - x[:, None] | the difference is squared: the same function
# ---- em_step survives: 10: x[:, None] - new_mu -> new_mu - x[:, None] | the difference is squared: the same function

# ---- sweep right: all log-densities in one table
def sweep(Ks):
    table = torch.stack([train(K).log_prob(x_valid) for K in Ks])        # (models, N)
    mean = table.mean(1)
    gaps = table[mean.argmax()] - table
    errors = (gaps.var(1) / gaps.shape[1]).sqrt()
    columns = zip(Ks, mean.tolist(), gaps.mean(1).tolist(), errors.tolist())
    return [dict(zip(("K", "score", "behind", "error"), column)) for column in columns]


def decide(rows):
    near = [r for r in rows if r["behind"] - <<slack>> * r["error"] <= 0]
    kept = sorted(near, key=lambda r: r["K"])[0]["K"]
    return {"K": kept, "score": float(train(kept).log_prob(x_test).sum()) / len(x_test)}

# ---- sweep right: loops, and the package's interval
def sweep(Ks):
    from genai_utils.metrics import mean_estimate
    best, top = None, -math.inf
    for K in Ks:
        score = float(train(K).log_prob(x_valid).mean())
        if score > top:
            best, top = K, score
    rows = []
    for K in Ks:
        gap = train(best).log_prob(x_valid) - train(K).log_prob(x_valid)
        found = mean_estimate(gap)
        z = torch.special.ndtri(torch.tensor(0.975, dtype=torch.float64)).item()
        rows.append({"K": K, "score": top - found.value, "behind": found.value,
                     "error": (found.high - found.value) / z})
    return rows


def decide(rows):
    kept = max(row["K"] for row in rows)
    for row in rows:
        if row["behind"] <= <<slack>> * row["error"] and row["K"] < kept:
            kept = row["K"]
    return {"K": kept, "score": train(kept).log_prob(x_test).mean().item()}

# ---- sweep wrong: the training points judge | measured on the training points
def sweep(Ks):
    scores = {K: train(K).log_prob(x_train) for K in Ks}
    best = max(scores.values(), key=lambda s: s.mean())
    return [{"K": K, "score": scores[K].mean().item(), "behind": (best - scores[K]).mean().item(),
             "error": (best - scores[K]).std().item() / len(best) ** 0.5} for K in Ks]

# ---- sweep wrong: the error of the score alone | that of the difference is wanted
def sweep(Ks):
    scores = {K: train(K).log_prob(x_valid) for K in Ks}
    best = max(scores.values(), key=lambda s: s.mean())
    return [{"K": K, "score": scores[K].mean().item(), "behind": (best - scores[K]).mean().item(),
             "error": scores[K].std().item() / len(best) ** 0.5} for K in Ks]

# ---- sweep wrong: errors added as if the points were different ones | judged on different points
def sweep(Ks):
    scores = {K: train(K).log_prob(x_valid) for K in Ks}
    best = max(scores.values(), key=lambda s: s.mean())
    return [{"K": K, "score": scores[K].mean().item(), "behind": (best - scores[K]).mean().item(),
             "error": ((scores[K].var() + best.var()) / len(best)).sqrt().item()} for K in Ks]

# ---- sweep wrong: a standard deviation for a standard error | the mean of N has a smaller error
def sweep(Ks):
    scores = {K: train(K).log_prob(x_valid) for K in Ks}
    best = max(scores.values(), key=lambda s: s.mean())
    return [{"K": K, "score": scores[K].mean().item(), "behind": (best - scores[K]).mean().item(),
             "error": (best - scores[K]).std().item()} for K in Ks]

# ---- sweep wrong: the standard deviation over N, without the root | divide by the root of N
def sweep(Ks):
    scores = {K: train(K).log_prob(x_valid) for K in Ks}
    best = max(scores.values(), key=lambda s: s.mean())
    return [{"K": K, "score": scores[K].mean().item(), "behind": (best - scores[K]).mean().item(),
             "error": (best - scores[K]).std().item() / len(best)} for K in Ks]

# ---- sweep wrong: this one minus the best | of the wrong sign
def sweep(Ks):
    scores = {K: train(K).log_prob(x_valid) for K in Ks}
    best = max(scores.values(), key=lambda s: s.mean())
    return [{"K": K, "score": scores[K].mean().item(), "behind": (scores[K] - best).mean().item(),
             "error": (best - scores[K]).std().item() / len(best) ** 0.5} for K in Ks]

# ---- sweep wrong: the best score is kept | this is the best score
def sweep(Ks):
    scores = {K: train(K).log_prob(x_valid) for K in Ks}
    best = max(scores.values(), key=lambda s: s.mean())
    return [{"K": K, "score": scores[K].mean().item(), "behind": (best - scores[K]).mean().item(),
             "error": (best - scores[K]).std().item() / len(best) ** 0.5} for K in Ks]


def decide(rows):
    K = max(rows, key=lambda row: row["score"])["K"]
    return {"K": K, "score": train(K).log_prob(x_test).mean().item()}

# ---- sweep wrong: two standard errors more are admitted | the rule allows <<slack>> standard errors
def sweep(Ks):
    scores = {K: train(K).log_prob(x_valid) for K in Ks}
    best = max(scores.values(), key=lambda s: s.mean())
    return [{"K": K, "score": scores[K].mean().item(), "behind": (best - scores[K]).mean().item(),
             "error": (best - scores[K]).std().item() / len(best) ** 0.5} for K in Ks]


def decide(rows):
    allowed = lambda row: (<<slack>> + 2) * row["error"]
    K = min(row["K"] for row in rows if row["behind"] <= allowed(row) and row["K"] > 1)
    return {"K": K, "score": train(K).log_prob(x_test).mean().item()}

# ---- sweep wrong: the report is made on the points that chose | which chose the model
def sweep(Ks):
    scores = {K: train(K).log_prob(x_valid) for K in Ks}
    best = max(scores.values(), key=lambda s: s.mean())
    return [{"K": K, "score": scores[K].mean().item(), "behind": (best - scores[K]).mean().item(),
             "error": (best - scores[K]).std().item() / len(best) ** 0.5} for K in Ks]


def decide(rows):
    K = min(row["K"] for row in rows if row["behind"] <= <<slack>> * row["error"])
    return {"K": K, "score": train(K).log_prob(x_valid).mean().item()}

# ---- sweep wrong: exactly as many standard errors are refused | is admitted
def sweep(Ks):
    scores = {K: train(K).log_prob(x_valid) for K in Ks}
    best = max(scores.values(), key=lambda s: s.mean())
    return [{"K": K, "score": scores[K].mean().item(), "behind": (best - scores[K]).mean().item(),
             "error": (best - scores[K]).std().item() / len(best) ** 0.5} for K in Ks]


def decide(rows):
    top = max(rows, key=lambda row: row["score"])["K"]
    K = min([row["K"] for row in rows if row["behind"] < <<slack>> * row["error"]], default=top)
    return {"K": K, "score": train(K).log_prob(x_test).mean().item()}

# ---- sweep wrong: tensors in the rows | must be a plain float
def sweep(Ks):
    scores = {K: train(K).log_prob(x_valid) for K in Ks}
    best = max(scores.values(), key=lambda s: s.mean())
    return [{"K": K, "score": scores[K].mean(), "behind": (best - scores[K]).mean().item(),
             "error": (best - scores[K]).std().item() / len(best) ** 0.5} for K in Ks]

# ---- sweep wrong: a tensor in the report | score must be a plain float
def sweep(Ks):
    scores = {K: train(K).log_prob(x_valid) for K in Ks}
    best = max(scores.values(), key=lambda s: s.mean())
    return [{"K": K, "score": scores[K].mean().item(), "behind": (best - scores[K]).mean().item(),
             "error": (best - scores[K]).std().item() / len(best) ** 0.5} for K in Ks]


def decide(rows):
    K = min(row["K"] for row in rows if row["behind"] <= <<slack>> * row["error"])
    return {"K": K, "score": train(K).log_prob(x_test).mean()}

# ---- sweep survives: 5: scores[K].mean() -> scores[K].sum() | all models are judged on as many points: the same order
