# Answers by which the graders of this assignment are proved; read as text by tools/exercises, never imported.

# ---- critic right: a mixture of the two targets, the loss by way of it
def critic(p, q):
    share = p / (p + q)
    scores = <<made>> + (<<real>> - (<<made>>)) * share
    loss = 0.5 * torch.dot(p, (scores - <<real>>).square())
    return scores, loss + 0.5 * torch.dot(q, (scores - (<<made>>)).square())

# ---- critic right: place by place, with the loss multiplied out
def critic(p, q):
    scores, paid = [], 0
    for a, b in zip(p, q):
        scores.append((a * <<real>> + b * (<<made>>)) / (a + b))
        paid = paid + a * b / (a + b)
    return torch.stack(scores), paid * (<<real>> - (<<made>>)) ** 2 / 2

# ---- critic wrong: the chapter's targets | the targets 1 and 0; here they are
def critic(p, q):
    scores = p / (p + q)
    return scores, 0.5 * (p * (scores - 1) ** 2 + q * scores**2).sum()

# ---- critic wrong: real and made exchanged | exchanged: real pictures pull
def critic(p, q):
    scores = (q * <<real>> + p * (<<made>>)) / (p + q)
    loss = 0.5 * (p * (scores - <<real>>) ** 2 + q * (scores - (<<made>>)) ** 2).sum()
    return scores, loss

# ---- critic wrong: not divided | not divided by p + q
def critic(p, q):
    scores = p * <<real>> + q * (<<made>>)
    loss = 0.5 * (p * (scores - <<real>>) ** 2 + q * (scores - (<<made>>)) ** 2).sum()
    return scores, loss

# ---- critic wrong: a sigmoid, as of a cross-entropy | D is a plain number
def critic(p, q):
    scores = torch.sigmoid((p * <<real>> + q * (<<made>>)) / (p + q))
    loss = 0.5 * (p * (scores - <<real>>) ** 2 + q * (scores - (<<made>>)) ** 2).sum()
    return scores, loss

# ---- critic wrong: the half forgotten | without the half
def critic(p, q):
    scores = (p * <<real>> + q * (<<made>>)) / (p + q)
    return scores, (p * (scores - <<real>>) ** 2 + q * (scores - (<<made>>)) ** 2).sum()

# ---- critic wrong: a mean over the places | a mean over the places
def critic(p, q):
    scores = (p * <<real>> + q * (<<made>>)) / (p + q)
    return scores, 0.5 * (p * (scores - <<real>>) ** 2 + q * (scores - (<<made>>)) ** 2).mean()

# ---- critic wrong: the squares not weighed | not weighed by the probabilities
def critic(p, q):
    scores = (p * <<real>> + q * (<<made>>)) / (p + q)
    return scores, 0.5 * ((scores - <<real>>) ** 2 + (scores - (<<made>>)) ** 2).sum()

# ---- critic wrong: scores that are held constant | no gradient can flow
def critic(p, q):
    scores = ((p * <<real>> + q * (<<made>>)) / (p + q)).detach()
    loss = 0.5 * (p * (scores - <<real>>) ** 2 + q * (scores - (<<made>>)) ** 2).sum()
    return scores, loss

# ---- critic wrong: the loss of the chapter's targets, the scores of these | that of the targets 1 and 0
def critic(p, q):
    scores = (p * <<real>> + q * (<<made>>)) / (p + q)
    return scores, 0.5 * (p * (scores - 1) ** 2 + q * scores**2).sum()

# ---- critic wrong: one half of the loss is a float | cuts a part off
def critic(p, q):
    scores = (p * <<real>> + q * (<<made>>)) / (p + q)
    first, second = p * (scores - <<real>>) ** 2, q * (scores - (<<made>>)) ** 2
    return scores, 0.5 * first.sum() + 0.5 * second.sum().item()

# ---- critic wrong: p is held constant in the denominator of the scores | cuts a part off
def critic(p, q):
    scores = (p * <<real>> + q * (<<made>>)) / (p.detach() + q)
    return scores, 0.5 * (p * (scores - <<real>>) ** 2 + q * (scores - (<<made>>)) ** 2).sum()

# ---- critic survives: 5: scores - 1 -> 1 - scores | the difference is squared: the same function

# ---- critic survives: 5: scores - -1 -> -1 - scores | the difference is squared: the same function

# ---- loss right: by the package's own loss, but for the identity
def loss(model, x_a, x_b, eps_a, eps_b, std, lam):
    made_a, made_b = model(x_a, x_b)
    noisy_a, noisy_b = torch.add(made_a, eps_a, alpha=std), torch.add(made_b, eps_b, alpha=std)
    terms = generator_loss(model, (x_a, x_b), (noisy_a, noisy_b))[1]
    terms["adversarial"] = generator_loss(
        model, (x_a, x_b), (<<shown>>_a, <<shown>>_b))[1]["adversarial"]
    same_a, same_b = model(x_b, x_a)                    # into A first, here of A's own pictures
    terms["identity"] = (same_a - x_a).abs().mean() + (same_b - x_b).abs().mean()
    total = terms["adversarial"] + lam * (terms["cycle"] + <<share>> * terms["identity"])
    return total, {name: term.item() for name, term in terms.items()}

# ---- loss right: a loop over both directions, with torch's losses
def loss(model, x_a, x_b, eps_a, eps_b, std, lam):
    G, D = model.generators, model.discriminators
    ways = ((x_a, eps_b, G.a_to_b, G.b_to_a, D.b), (x_b, eps_a, G.b_to_a, G.a_to_b, D.a))
    adversarial = cycle = identity = 0
    for x, eps, there, back, judged in ways:
        made = there(x)
        noisy = made + eps * std
        scores = judged(<<shown>>)
        adversarial = adversarial + F.mse_loss(scores, torch.ones_like(scores))
        cycle = cycle + F.l1_loss(back(noisy), x)
        identity = identity + F.l1_loss(back(x), x)
    terms = torch.stack([adversarial, cycle, identity])
    weights = torch.tensor([1.0, lam, <<share>> * lam], dtype=terms.dtype)
    return weights @ terms, dict(zip(("adversarial", "cycle", "identity"), terms.detach()))

# ---- loss wrong: no noise | a way back without noise
def loss(model, x_a, x_b, eps_a, eps_b, std, lam):
    to_b, to_a, D = model.generators.a_to_b, model.generators.b_to_a, model.discriminators
    made_a, made_b = to_a(x_b), to_b(x_a)
    noisy_a, noisy_b = made_a + std * eps_a, made_b + std * eps_b
    adversarial = (D.a(<<shown>>_a) - 1).square().mean() + (D.b(<<shown>>_b) - 1).square().mean()
    cycle = (to_a(made_b) - x_a).abs().mean() + (to_b(made_a) - x_b).abs().mean()
    identity = (to_a(x_a) - x_a).abs().mean() + (to_b(x_b) - x_b).abs().mean()
    terms = {"adversarial": adversarial, "cycle": cycle, "identity": identity}
    total = adversarial + lam * cycle + <<share>> * lam * identity
    return total, {name: term.detach() for name, term in terms.items()}

# ---- loss wrong: std taken for a variance | noise of the wrong variance
def loss(model, x_a, x_b, eps_a, eps_b, std, lam):
    to_b, to_a, D = model.generators.a_to_b, model.generators.b_to_a, model.discriminators
    made_a, made_b = to_a(x_b), to_b(x_a)
    noisy_a, noisy_b = made_a + std**2 * eps_a, made_b + std**2 * eps_b
    adversarial = (D.a(<<shown>>_a) - 1).square().mean() + (D.b(<<shown>>_b) - 1).square().mean()
    cycle = (to_a(noisy_b) - x_a).abs().mean() + (to_b(noisy_a) - x_b).abs().mean()
    identity = (to_a(x_a) - x_a).abs().mean() + (to_b(x_b) - x_b).abs().mean()
    terms = {"adversarial": adversarial, "cycle": cycle, "identity": identity}
    total = adversarial + lam * cycle + <<share>> * lam * identity
    return total, {name: term.detach() for name, term in terms.items()}

# ---- loss wrong: the identity is not crossed | the translator into A leaves A alone
def loss(model, x_a, x_b, eps_a, eps_b, std, lam):
    to_b, to_a, D = model.generators.a_to_b, model.generators.b_to_a, model.discriminators
    made_a, made_b = to_a(x_b), to_b(x_a)
    noisy_a, noisy_b = made_a + std * eps_a, made_b + std * eps_b
    adversarial = (D.a(<<shown>>_a) - 1).square().mean() + (D.b(<<shown>>_b) - 1).square().mean()
    cycle = (to_a(noisy_b) - x_a).abs().mean() + (to_b(noisy_a) - x_b).abs().mean()
    identity = (to_b(x_a) - x_a).abs().mean() + (to_a(x_b) - x_b).abs().mean()
    terms = {"adversarial": adversarial, "cycle": cycle, "identity": identity}
    total = adversarial + lam * cycle + <<share>> * lam * identity
    return total, {name: term.detach() for name, term in terms.items()}

# ---- loss wrong: the translations are detached before the way back | a detached tensor is in the way
def loss(model, x_a, x_b, eps_a, eps_b, std, lam):
    to_b, to_a, D = model.generators.a_to_b, model.generators.b_to_a, model.discriminators
    made_a, made_b = to_a(x_b), to_b(x_a)
    noisy_a, noisy_b = made_a + std * eps_a, made_b + std * eps_b
    adversarial = (D.a(<<shown>>_a) - 1).square().mean() + (D.b(<<shown>>_b) - 1).square().mean()
    cycle = ((to_a(noisy_b.detach()) - x_a).abs().mean()
             + (to_b(noisy_a.detach()) - x_b).abs().mean())
    identity = (to_a(x_a) - x_a).abs().mean() + (to_b(x_b) - x_b).abs().mean()
    terms = {"adversarial": adversarial, "cycle": cycle, "identity": identity}
    total = adversarial + lam * cycle + <<share>> * lam * identity
    return total, {name: term.detach() for name, term in terms.items()}

# ---- loss wrong: the discriminators' target for made pictures | the target 0
def loss(model, x_a, x_b, eps_a, eps_b, std, lam):
    to_b, to_a, D = model.generators.a_to_b, model.generators.b_to_a, model.discriminators
    made_a, made_b = to_a(x_b), to_b(x_a)
    noisy_a, noisy_b = made_a + std * eps_a, made_b + std * eps_b
    adversarial = D.a(<<shown>>_a).square().mean() + D.b(<<shown>>_b).square().mean()
    cycle = (to_a(noisy_b) - x_a).abs().mean() + (to_b(noisy_a) - x_b).abs().mean()
    identity = (to_a(x_a) - x_a).abs().mean() + (to_b(x_b) - x_b).abs().mean()
    terms = {"adversarial": adversarial, "cycle": cycle, "identity": identity}
    total = adversarial + lam * cycle + <<share>> * lam * identity
    return total, {name: term.detach() for name, term in terms.items()}

# ---- loss wrong: the identity weighs its share, not that of lambda | the identity is weighed by lam, too
def loss(model, x_a, x_b, eps_a, eps_b, std, lam):
    to_b, to_a, D = model.generators.a_to_b, model.generators.b_to_a, model.discriminators
    made_a, made_b = to_a(x_b), to_b(x_a)
    noisy_a, noisy_b = made_a + std * eps_a, made_b + std * eps_b
    adversarial = (D.a(<<shown>>_a) - 1).square().mean() + (D.b(<<shown>>_b) - 1).square().mean()
    cycle = (to_a(noisy_b) - x_a).abs().mean() + (to_b(noisy_a) - x_b).abs().mean()
    identity = (to_a(x_a) - x_a).abs().mean() + (to_b(x_b) - x_b).abs().mean()
    terms = {"adversarial": adversarial, "cycle": cycle, "identity": identity}
    total = adversarial + lam * cycle + <<share>> * identity
    return total, {name: term.detach() for name, term in terms.items()}

# ---- loss wrong: the terms are logged with their weights | log the bare term
def loss(model, x_a, x_b, eps_a, eps_b, std, lam):
    to_b, to_a, D = model.generators.a_to_b, model.generators.b_to_a, model.discriminators
    made_a, made_b = to_a(x_b), to_b(x_a)
    noisy_a, noisy_b = made_a + std * eps_a, made_b + std * eps_b
    adversarial = (D.a(<<shown>>_a) - 1).square().mean() + (D.b(<<shown>>_b) - 1).square().mean()
    cycle = lam * ((to_a(noisy_b) - x_a).abs().mean() + (to_b(noisy_a) - x_b).abs().mean())
    identity = <<share>> * lam * ((to_a(x_a) - x_a).abs().mean() + (to_b(x_b) - x_b).abs().mean())
    terms = {"adversarial": adversarial, "cycle": cycle, "identity": identity}
    return sum(terms.values()), {name: term.detach() for name, term in terms.items()}

# ---- loss wrong: terms that keep the graph | keeps the graph
def loss(model, x_a, x_b, eps_a, eps_b, std, lam):
    to_b, to_a, D = model.generators.a_to_b, model.generators.b_to_a, model.discriminators
    made_a, made_b = to_a(x_b), to_b(x_a)
    noisy_a, noisy_b = made_a + std * eps_a, made_b + std * eps_b
    adversarial = (D.a(<<shown>>_a) - 1).square().mean() + (D.b(<<shown>>_b) - 1).square().mean()
    cycle = (to_a(noisy_b) - x_a).abs().mean() + (to_b(noisy_a) - x_b).abs().mean()
    identity = (to_a(x_a) - x_a).abs().mean() + (to_b(x_b) - x_b).abs().mean()
    terms = {"adversarial": adversarial, "cycle": cycle, "identity": identity}
    return adversarial + lam * cycle + <<share>> * lam * identity, terms

# ---- loss wrong: noise in one identity, into A | noise in one identity (into A)
def loss(model, x_a, x_b, eps_a, eps_b, std, lam):
    to_b, to_a, D = model.generators.a_to_b, model.generators.b_to_a, model.discriminators
    made_a, made_b = to_a(x_b), to_b(x_a)
    noisy_a, noisy_b = made_a + std * eps_a, made_b + std * eps_b
    adversarial = (D.a(<<shown>>_a) - 1).square().mean() + (D.b(<<shown>>_b) - 1).square().mean()
    cycle = (to_a(noisy_b) - x_a).abs().mean() + (to_b(noisy_a) - x_b).abs().mean()
    identity = (to_a(x_a + std * eps_b) - x_a).abs().mean() + (to_b(x_b) - x_b).abs().mean()
    terms = {"adversarial": adversarial, "cycle": cycle, "identity": identity}
    total = adversarial + lam * cycle + <<share>> * lam * identity
    return total, {name: term.detach() for name, term in terms.items()}

# ---- loss wrong: noise in one identity, into B | noise in one identity (into B)
def loss(model, x_a, x_b, eps_a, eps_b, std, lam):
    to_b, to_a, D = model.generators.a_to_b, model.generators.b_to_a, model.discriminators
    made_a, made_b = to_a(x_b), to_b(x_a)
    noisy_a, noisy_b = made_a + std * eps_a, made_b + std * eps_b
    adversarial = (D.a(<<shown>>_a) - 1).square().mean() + (D.b(<<shown>>_b) - 1).square().mean()
    cycle = (to_a(noisy_b) - x_a).abs().mean() + (to_b(noisy_a) - x_b).abs().mean()
    identity = (to_a(x_a) - x_a).abs().mean() + (to_b(x_b + std * eps_a) - x_b).abs().mean()
    terms = {"adversarial": adversarial, "cycle": cycle, "identity": identity}
    total = adversarial + lam * cycle + <<share>> * lam * identity
    return total, {name: term.detach() for name, term in terms.items()}

# ---- loss wrong: noise in both identities | noise in the identity
def loss(model, x_a, x_b, eps_a, eps_b, std, lam):
    to_b, to_a, D = model.generators.a_to_b, model.generators.b_to_a, model.discriminators
    made_a, made_b = to_a(x_b), to_b(x_a)
    noisy_a, noisy_b = made_a + std * eps_a, made_b + std * eps_b
    adversarial = (D.a(<<shown>>_a) - 1).square().mean() + (D.b(<<shown>>_b) - 1).square().mean()
    cycle = (to_a(noisy_b) - x_a).abs().mean() + (to_b(noisy_a) - x_b).abs().mean()
    same_a, same_b = to_a(x_a + std * eps_b), to_b(x_b + std * eps_a)
    identity = (same_a - x_a).abs().mean() + (same_b - x_b).abs().mean()
    terms = {"adversarial": adversarial, "cycle": cycle, "identity": identity}
    total = adversarial + lam * cycle + <<share>> * lam * identity
    return total, {name: term.detach() for name, term in terms.items()}

# ---- loss wrong: noisy pictures are clipped before the way back | not clipped
def loss(model, x_a, x_b, eps_a, eps_b, std, lam):
    to_b, to_a, D = model.generators.a_to_b, model.generators.b_to_a, model.discriminators
    made_a, made_b = to_a(x_b), to_b(x_a)
    noisy_a, noisy_b = made_a + std * eps_a, made_b + std * eps_b
    adversarial = (D.a(<<shown>>_a) - 1).square().mean() + (D.b(<<shown>>_b) - 1).square().mean()
    cycle = (to_a(noisy_b.clamp(-1, 1)) - x_a).abs().mean() + (to_b(noisy_a.clamp(-1, 1)) - x_b).abs().mean()
    identity = (to_a(x_a) - x_a).abs().mean() + (to_b(x_b) - x_b).abs().mean()
    terms = {"adversarial": adversarial, "cycle": cycle, "identity": identity}
    total = adversarial + lam * cycle + <<share>> * lam * identity
    return total, {name: term.detach() for name, term in terms.items()}

# ---- loss wrong: the noises are exchanged | are the noises exchanged?
def loss(model, x_a, x_b, eps_a, eps_b, std, lam):
    to_b, to_a, D = model.generators.a_to_b, model.generators.b_to_a, model.discriminators
    made_a, made_b = to_a(x_b), to_b(x_a)
    noisy_a, noisy_b = made_a + std * eps_b, made_b + std * eps_a
    adversarial = (D.a(<<shown>>_a) - 1).square().mean() + (D.b(<<shown>>_b) - 1).square().mean()
    cycle = (to_a(noisy_b) - x_a).abs().mean() + (to_b(noisy_a) - x_b).abs().mean()
    identity = (to_a(x_a) - x_a).abs().mean() + (to_b(x_b) - x_b).abs().mean()
    terms = {"adversarial": adversarial, "cycle": cycle, "identity": identity}
    total = adversarial + lam * cycle + <<share>> * lam * identity
    return total, {name: term.detach() for name, term in terms.items()}

# ---- loss wrong: the package's own loss, which leaves the identity out where the model's cfg does | whatever model.cfg says
def loss(model, x_a, x_b, eps_a, eps_b, std, lam):
    made_a, made_b = model(x_a, x_b)
    noisy_a, noisy_b = made_a + std * eps_a, made_b + std * eps_b
    terms = generator_loss(model, (x_a, x_b), (noisy_a, noisy_b))[1]
    terms["adversarial"] = generator_loss(
        model, (x_a, x_b), (<<shown>>_a, <<shown>>_b))[1]["adversarial"]
    total = terms["adversarial"] + lam * (terms["cycle"] + <<share>> * terms["identity"])
    return total, {name: term.detach() for name, term in terms.items()}

# ---- measure right: by way of the package, sorted
@torch.no_grad()
def look(model, lam):
    _, (_, made), (_, home) = cycle_steps(model, x_test)
    error = (made - truth).abs() if "<<power>>" == "absolute" else (made - truth) ** 2
    return {"lam": lam, "error": float(error.mean()), "cycle": float((home - x_test).abs().mean()),
            "kept": class_kept(made, labels, judge).value}


def measure(lams, steps):
    with torch.enable_grad():
        models = [train(lam, steps) for lam in lams]
    return [look(model, lam) for model, lam in zip(models, lams)]


def choose(rows, baseline):
    near = sorted((r for r in rows if r["error"] / baseline <= <<part>>),
                  key=lambda r: (-r["kept"], r["lam"] * {"smallest": 1, "largest": -1}["<<extreme>>"]))
    return near[0]["lam"] if near else None

# ---- measure right: in plain loops
def measure(lams, steps):
    rows = []
    for lam in lams:
        G, kept = train(lam, steps).generators, 0
        made = G.a_to_b(x_test).detach()
        home = G.b_to_a(made).detach()
        for seen, label in zip(judge(made).tolist(), labels.tolist()):
            kept += seen == label
        gap = (made - truth).abs() ** {"squared": 2, "absolute": 1}["<<power>>"]
        rows.append({"lam": lam, "error": gap.sum().item() / gap.numel(), "kept": kept / len(labels),
                     "cycle": (home - x_test).abs().mean().item()})
    return rows


def choose(rows, baseline):
    best = None
    for row in sorted(rows, key=lambda r: r["lam"], reverse="<<extreme>>" == "largest"):
        if row["error"] <= baseline * <<part>> and (best is None or row["kept"] > best["kept"]):
            best = row
    return best and best["lam"]

# ---- measure wrong: compared with what was sent | measured to the pictures sent
def measure(lams, steps):
    rows = []
    for lam in lams:
        nets = train(lam, steps).generators
        with torch.no_grad():
            made = nets.a_to_b(x_test)
            error = F.<<torch_loss>>(made, x_test).item()
            kept = (judge(made) == labels).float().mean().item()
            cycle = F.l1_loss(nets.b_to_a(made), x_test).item()
        rows.append({"lam": lam, "error": error, "kept": kept, "cycle": cycle})
    return rows


def choose(rows, baseline):
    good = [row for row in rows if row["error"] <= <<part>> * baseline]
    return max(good, key=lambda row: (row["kept"], <<pick>>row["lam"]))["lam"] if good else None

# ---- measure wrong: the other difference | of <<not_power>> differences
def measure(lams, steps):
    rows = []
    for lam in lams:
        nets = train(lam, steps).generators
        with torch.no_grad():
            made = nets.a_to_b(x_test)
            error = F.<<other_loss>>(made, truth).item()
            kept = (judge(made) == labels).float().mean().item()
            cycle = F.l1_loss(nets.b_to_a(made), x_test).item()
        rows.append({"lam": lam, "error": error, "kept": kept, "cycle": cycle})
    return rows


def choose(rows, baseline):
    good = [row for row in rows if row["error"] <= <<part>> * baseline]
    return max(good, key=lambda row: (row["kept"], <<pick>>row["lam"]))["lam"] if good else None

# ---- measure wrong: what came back is judged | that of what came back
def measure(lams, steps):
    rows = []
    for lam in lams:
        nets = train(lam, steps).generators
        with torch.no_grad():
            made = nets.a_to_b(x_test)
            home = nets.b_to_a(made)
            error = F.<<torch_loss>>(made, truth).item()
            kept = (judge(home) == labels).float().mean().item()
            cycle = F.l1_loss(home, x_test).item()
        rows.append({"lam": lam, "error": error, "kept": kept, "cycle": cycle})
    return rows


def choose(rows, baseline):
    good = [row for row in rows if row["error"] <= <<part>> * baseline]
    return max(good, key=lambda row: (row["kept"], <<pick>>row["lam"]))["lam"] if good else None

# ---- measure wrong: the least error is chosen | the least error only admits
def measure(lams, steps):
    rows = []
    for lam in lams:
        nets = train(lam, steps).generators
        with torch.no_grad():
            made = nets.a_to_b(x_test)
            error = F.<<torch_loss>>(made, truth).item()
            kept = (judge(made) == labels).float().mean().item()
            cycle = F.l1_loss(nets.b_to_a(made), x_test).item()
        rows.append({"lam": lam, "error": error, "kept": kept, "cycle": cycle})
    return rows


def choose(rows, baseline):
    good = [row for row in rows if row["error"] <= <<part>> * baseline]
    return min(good, key=lambda row: row["error"])["lam"] if good else None

# ---- measure wrong: the most kept, whatever the error | compare errors first
def measure(lams, steps):
    rows = []
    for lam in lams:
        nets = train(lam, steps).generators
        with torch.no_grad():
            made = nets.a_to_b(x_test)
            error = F.<<torch_loss>>(made, truth).item()
            kept = (judge(made) == labels).float().mean().item()
            cycle = F.l1_loss(nets.b_to_a(made), x_test).item()
        rows.append({"lam": lam, "error": error, "kept": kept, "cycle": cycle})
    return rows


def choose(rows, baseline):
    return max(rows, key=lambda row: (row["kept"], <<pick>>row["lam"]))["lam"]

# ---- measure wrong: the other one of those that keep the same share | asks for the <<extreme>> lambda
def measure(lams, steps):
    rows = []
    for lam in lams:
        nets = train(lam, steps).generators
        with torch.no_grad():
            made = nets.a_to_b(x_test)
            error = F.<<torch_loss>>(made, truth).item()
            kept = (judge(made) == labels).float().mean().item()
            cycle = F.l1_loss(nets.b_to_a(made), x_test).item()
        rows.append({"lam": lam, "error": error, "kept": kept, "cycle": cycle})
    return rows


def choose(rows, baseline):
    good = [row for row in rows if row["error"] <= <<part>> * baseline]
    if good:
        most = max(row["kept"] for row in good)
        tied = [row["lam"] for row in good if row["kept"] == most]
        return max(tied) if "<<extreme>>" == "smallest" else min(tied)

# ---- measure wrong: the error is a tensor | must be plain floats
def measure(lams, steps):
    rows = []
    for lam in lams:
        nets = train(lam, steps).generators
        with torch.no_grad():
            made = nets.a_to_b(x_test)
            error = F.<<torch_loss>>(made, truth)
            kept = (judge(made) == labels).float().mean().item()
            cycle = F.l1_loss(nets.b_to_a(made), x_test).item()
        rows.append({"lam": lam, "error": error, "kept": kept, "cycle": cycle})
    return rows


def choose(rows, baseline):
    good = [row for row in rows if row["error"] <= <<part>> * baseline]
    return max(good, key=lambda row: (row["kept"], <<pick>>row["lam"]))["lam"] if good else None

# ---- measure wrong: below the limit, not at most | is admitted: at most, not below
def measure(lams, steps):
    rows = []
    for lam in lams:
        nets = train(lam, steps).generators
        with torch.no_grad():
            made = nets.a_to_b(x_test)
            error = F.<<torch_loss>>(made, truth).item()
            kept = (judge(made) == labels).float().mean().item()
            cycle = F.l1_loss(nets.b_to_a(made), x_test).item()
        rows.append({"lam": lam, "error": error, "kept": kept, "cycle": cycle})
    return rows


def choose(rows, baseline):
    good = [row for row in rows if row["error"] < <<part>> * baseline]
    return max(good, key=lambda row: (row["kept"], <<pick>>row["lam"]))["lam"] if good else None

# ---- measure wrong: None forgotten | return None before you look
def measure(lams, steps):
    rows = []
    for lam in lams:
        nets = train(lam, steps).generators
        with torch.no_grad():
            made = nets.a_to_b(x_test)
            error = F.<<torch_loss>>(made, truth).item()
            kept = (judge(made) == labels).float().mean().item()
            cycle = F.l1_loss(nets.b_to_a(made), x_test).item()
        rows.append({"lam": lam, "error": error, "kept": kept, "cycle": cycle})
    return rows


def choose(rows, baseline):
    good = [row for row in rows if row["error"] <= <<part>> * baseline]
    return max(good, key=lambda row: (row["kept"], <<pick>>row["lam"]))["lam"]
