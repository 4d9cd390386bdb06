# Answers by which the graders of this assignment are proved; read as text by tools/exercises, never imported.

# ---- log_density right: softplus or sigmoid of torch.distributions
def log_density(x):
    from torch.distributions import Normal, TransformedDistribution, transforms
    z = Normal(torch.zeros((), dtype=x.dtype), 1.0)
    return TransformedDistribution(z, transforms.<<transform>>()).log_prob(x)

# ---- log_density right: point by point, the slope by hand
def log_density(x):
    found = []
    for one in x:
        if "<<map>>" == "softplus":
            shrink = torch.log1p(-torch.exp(-one)) if one > 1 else torch.log(-torch.expm1(-one))
            z, slope = one + shrink, -shrink
        else:
            z, slope = torch.logit(one), -torch.log(one) - torch.log1p(-one)
        found.append(slope - (z * z + math.log(2 * math.pi)) / 2)
    return torch.stack(found)

# ---- log_density wrong: the volume forgotten | the volume is not accounted for
def log_density(x):
    z = <<inverse>>
    return -z**2 / 2 - math.log(2 * math.pi) / 2

# ---- log_density wrong: the sign of the log-determinant | the wrong sign of the log-determinant
def log_density(x):
    z = <<inverse>>
    return -z**2 / 2 - math.log(2 * math.pi) / 2 + (<<volume>>)

# ---- log_density wrong: the density itself | its logarithm is wanted
def log_density(x):
    z = <<inverse>>
    return torch.exp(-z**2 / 2 - math.log(2 * math.pi) / 2 - (<<volume>>))

# ---- log_density wrong: no constant | without its constant
def log_density(x):
    z = <<inverse>>
    return -z**2 / 2 - (<<volume>>)

# ---- log_density wrong: the map for its inverse | sent on, not back
def log_density(x):
    z = torch.nn.functional.softplus(x) if "<<map>>" == "softplus" else torch.sigmoid(x)
    return -z**2 / 2 - math.log(2 * math.pi) / 2 - (<<volume>>)

# ---- log_density wrong: exp of the whole x, or 1 - x rounded first | at the end
def log_density(x):
    if "<<map>>" == "softplus":
        z, volume = torch.log(torch.exp(x) - 1), torch.log(1 - torch.exp(-x))
    else:
        y = (x.float() - 1).double()
        z, volume = torch.log(-x / y), torch.log(-x * y)
    return -z**2 / 2 - math.log(2 * math.pi) / 2 - volume

# ---- log_density wrong: through numpy, so that nothing can be learnt | no gradient can flow
def log_density(x):
    x = x.detach()
    z = <<inverse>>
    return -z**2 / 2 - math.log(2 * math.pi) / 2 - (<<volume>>)

# ---- coupling right: masks of numbers that are multiplied
def coupling(x, net, back=False):
    B, C, H, W = x.shape
    keep = torch.zeros(H, W, dtype=x.dtype)
    keep[<<start>>::2, 0::2] = 1
    keep[1 - <<start>>::2, 1::2] = 1
    out = net(keep * x)
    scale = <<factor>> ** torch.tanh(out[:, :C])
    log_det = (torch.log(scale) * (1 - keep)).flatten(1).sum(1)
    if back:
        return keep * x + (1 - keep) * (x - out[:, C:]) / scale, -log_det
    return keep * x + (1 - keep) * (x * scale + out[:, C:]), log_det

# ---- coupling right: by indexing
def coupling(x, net, back=False):
    place = torch.arange(x.shape[2]).view(-1, 1) + torch.arange(x.shape[3]).view(1, -1)
    move = (place + <<rest>>) % 2 == 1
    shown = x.clone()
    shown[:, :, move] = 0
    raw, shift = (part[:, :, move] for part in net(shown).split(x.shape[1], dim=1))
    log_s, z = math.log(<<factor>>) * raw.tanh(), x.clone()
    if back:
        z[:, :, move] = (x[:, :, move] - shift) * (-log_s).exp()
        return z, -log_s.sum(dim=(1, 2))
    z[:, :, move] = x[:, :, move] * log_s.exp() + shift
    return z, log_s.sum(dim=(1, 2))

# ---- coupling wrong: the network sees the whole picture | may see only what is kept
def coupling(x, net, back=False):
    rows, columns = torch.arange(x.shape[2]), torch.arange(x.shape[3])
    keep = (rows[:, None] + columns) % 2 == <<rest>>
    raw, shift = net(x).chunk(2, dim=1)
    log_s = torch.where(keep, 0, math.log(<<factor>>) * torch.tanh(raw))
    if back:
        z = torch.where(keep, x, (x - shift) * torch.exp(-log_s))
        return z, -log_s.sum((1, 2, 3))
    return torch.where(keep, x, x * torch.exp(log_s) + shift), log_s.sum((1, 2, 3))

# ---- coupling wrong: the other squares are kept | the checkerboard is turned round
def coupling(x, net, back=False):
    rows, columns = torch.arange(x.shape[2]), torch.arange(x.shape[3])
    keep = (rows[:, None] + columns) % 2 == 1 - <<rest>>
    raw, shift = net(torch.where(keep, x, 0)).chunk(2, dim=1)
    log_s = torch.where(keep, 0, math.log(<<factor>>) * torch.tanh(raw))
    if back:
        z = torch.where(keep, x, (x - shift) * torch.exp(-log_s))
        return z, -log_s.sum((1, 2, 3))
    return torch.where(keep, x, x * torch.exp(log_s) + shift), log_s.sum((1, 2, 3))

# ---- coupling wrong: kept numbers counted in the volume | those that are kept are not stretched
def coupling(x, net, back=False):
    rows, columns = torch.arange(x.shape[2]), torch.arange(x.shape[3])
    keep = (rows[:, None] + columns) % 2 == <<rest>>
    raw, shift = net(torch.where(keep, x, 0)).chunk(2, dim=1)
    log_s = math.log(<<factor>>) * torch.tanh(raw)
    if back:
        z = torch.where(keep, x, (x - shift) * torch.exp(-log_s))
        return z, -log_s.sum((1, 2, 3))
    return torch.where(keep, x, x * torch.exp(log_s) + shift), log_s.sum((1, 2, 3))

# ---- coupling wrong: a mean over the numbers | their logarithms add up
def coupling(x, net, back=False):
    rows, columns = torch.arange(x.shape[2]), torch.arange(x.shape[3])
    keep = (rows[:, None] + columns) % 2 == <<rest>>
    raw, shift = net(torch.where(keep, x, 0)).chunk(2, dim=1)
    log_s = torch.where(keep, 0, math.log(<<factor>>) * torch.tanh(raw))
    if back:
        z = torch.where(keep, x, (x - shift) * torch.exp(-log_s))
        return z, -log_s.mean((1, 2, 3))
    return torch.where(keep, x, x * torch.exp(log_s) + shift), log_s.mean((1, 2, 3))

# ---- coupling wrong: one log-determinant for the batch | one number for the batch
def coupling(x, net, back=False):
    rows, columns = torch.arange(x.shape[2]), torch.arange(x.shape[3])
    keep = (rows[:, None] + columns) % 2 == <<rest>>
    raw, shift = net(torch.where(keep, x, 0)).chunk(2, dim=1)
    log_s = torch.where(keep, 0, math.log(<<factor>>) * torch.tanh(raw))
    if back:
        z = torch.where(keep, x, (x - shift) * torch.exp(-log_s))
        return z, -log_s.sum()
    return torch.where(keep, x, x * torch.exp(log_s) + shift), log_s.sum()

# ---- coupling wrong: the factor itself as the bound | b is the logarithm of the largest factor
def coupling(x, net, back=False):
    rows, columns = torch.arange(x.shape[2]), torch.arange(x.shape[3])
    keep = (rows[:, None] + columns) % 2 == <<rest>>
    raw, shift = net(torch.where(keep, x, 0)).chunk(2, dim=1)
    log_s = torch.where(keep, 0, <<factor>> * torch.tanh(raw))
    if back:
        z = torch.where(keep, x, (x - shift) * torch.exp(-log_s))
        return z, -log_s.sum((1, 2, 3))
    return torch.where(keep, x, x * torch.exp(log_s) + shift), log_s.sum((1, 2, 3))

# ---- coupling wrong: no bound | stretched without a bound
def coupling(x, net, back=False):
    rows, columns = torch.arange(x.shape[2]), torch.arange(x.shape[3])
    keep = (rows[:, None] + columns) % 2 == <<rest>>
    raw, shift = net(torch.where(keep, x, 0)).chunk(2, dim=1)
    log_s = torch.where(keep, 0, raw)
    if back:
        z = torch.where(keep, x, (x - shift) * torch.exp(-log_s))
        return z, -log_s.sum((1, 2, 3))
    return torch.where(keep, x, x * torch.exp(log_s) + shift), log_s.sum((1, 2, 3))

# ---- coupling wrong: scale first on the way back | first take the shift off
def coupling(x, net, back=False):
    rows, columns = torch.arange(x.shape[2]), torch.arange(x.shape[3])
    keep = (rows[:, None] + columns) % 2 == <<rest>>
    raw, shift = net(torch.where(keep, x, 0)).chunk(2, dim=1)
    log_s = torch.where(keep, 0, math.log(<<factor>>) * torch.tanh(raw))
    if back:
        z = torch.where(keep, x, x * torch.exp(-log_s) - shift)
        return z, -log_s.sum((1, 2, 3))
    return torch.where(keep, x, x * torch.exp(log_s) + shift), log_s.sum((1, 2, 3))

# ---- coupling wrong: the log-determinant of the way there, on the way back | that of the way there
def coupling(x, net, back=False):
    rows, columns = torch.arange(x.shape[2]), torch.arange(x.shape[3])
    keep = (rows[:, None] + columns) % 2 == <<rest>>
    raw, shift = net(torch.where(keep, x, 0)).chunk(2, dim=1)
    log_s = torch.where(keep, 0, math.log(<<factor>>) * torch.tanh(raw))
    if back:
        z = torch.where(keep, x, (x - shift) * torch.exp(-log_s))
        return z, log_s.sum((1, 2, 3))
    return torch.where(keep, x, x * torch.exp(log_s) + shift), log_s.sum((1, 2, 3))

# ---- coupling wrong: stripes for a checkerboard | this is no checkerboard
def coupling(x, net, back=False):
    rows, columns = torch.arange(x.shape[2]), torch.arange(x.shape[3])
    keep = (rows[:, None] + 0 * columns) % 2 == <<rest>>
    raw, shift = net(torch.where(keep, x, 0)).chunk(2, dim=1)
    log_s = torch.where(keep, 0, math.log(<<factor>>) * torch.tanh(raw))
    if back:
        z = torch.where(keep, x, (x - shift) * torch.exp(-log_s))
        return z, -log_s.sum((1, 2, 3))
    return torch.where(keep, x, x * torch.exp(log_s) + shift), log_s.sum((1, 2, 3))

# ---- coupling wrong: a scale that is held constant | no gradient can flow
def coupling(x, net, back=False):
    rows, columns = torch.arange(x.shape[2]), torch.arange(x.shape[3])
    keep = (rows[:, None] + columns) % 2 == <<rest>>
    raw, shift = net(torch.where(keep, x, 0)).chunk(2, dim=1)
    log_s = torch.where(keep, 0, math.log(<<factor>>) * torch.tanh(raw.detach()))
    if back:
        z = torch.where(keep, x, (x - shift) * torch.exp(-log_s))
        return z, -log_s.sum((1, 2, 3))
    return torch.where(keep, x, x * torch.exp(log_s) + shift), log_s.sum((1, 2, 3))

# ---- coupling wrong: raw and shift exchanged | raw and shift exchanged
def coupling(x, net, back=False):
    rows, columns = torch.arange(x.shape[2]), torch.arange(x.shape[3])
    keep = (rows[:, None] + columns) % 2 == <<rest>>
    shift, raw = net(torch.where(keep, x, 0)).chunk(2, dim=1)
    log_s = torch.where(keep, 0, math.log(<<factor>>) * torch.tanh(raw))
    if back:
        z = torch.where(keep, x, (x - shift) * torch.exp(-log_s))
        return z, -log_s.sum((1, 2, 3))
    return torch.where(keep, x, x * torch.exp(log_s) + shift), log_s.sum((1, 2, 3))

# ---- coupling wrong: raw and shift in turns | raw and shift in turns
def coupling(x, net, back=False):
    rows, columns = torch.arange(x.shape[2]), torch.arange(x.shape[3])
    keep = (rows[:, None] + columns) % 2 == <<rest>>
    out = net(torch.where(keep, x, 0))
    raw, shift = out[:, ::2], out[:, 1::2]
    log_s = torch.where(keep, 0, math.log(<<factor>>) * torch.tanh(raw))
    if back:
        z = torch.where(keep, x, (x - shift) * torch.exp(-log_s))
        return z, -log_s.sum((1, 2, 3))
    return torch.where(keep, x, x * torch.exp(log_s) + shift), log_s.sum((1, 2, 3))

# ---- coupling wrong: a sigmoid for the tanh | never squeezed
def coupling(x, net, back=False):
    rows, columns = torch.arange(x.shape[2]), torch.arange(x.shape[3])
    keep = (rows[:, None] + columns) % 2 == <<rest>>
    raw, shift = net(torch.where(keep, x, 0)).chunk(2, dim=1)
    log_s = torch.where(keep, 0, math.log(<<factor>>) * torch.sigmoid(raw))
    if back:
        z = torch.where(keep, x, (x - shift) * torch.exp(-log_s))
        return z, -log_s.sum((1, 2, 3))
    return torch.where(keep, x, x * torch.exp(log_s) + shift), log_s.sum((1, 2, 3))

# ---- coupling wrong: shifted first, then stretched | stretch first, then shift
def coupling(x, net, back=False):
    rows, columns = torch.arange(x.shape[2]), torch.arange(x.shape[3])
    keep = (rows[:, None] + columns) % 2 == <<rest>>
    raw, shift = net(torch.where(keep, x, 0)).chunk(2, dim=1)
    log_s = torch.where(keep, 0, math.log(<<factor>>) * torch.tanh(raw))
    if back:
        z = torch.where(keep, x, x * torch.exp(-log_s) - shift)
        return z, -log_s.sum((1, 2, 3))
    return torch.where(keep, x, (x + shift) * torch.exp(log_s)), log_s.sum((1, 2, 3))

# ---- coupling wrong: x is changed in place | x was changed in place: compute
def coupling(x, net, back=False):
    rows, columns = torch.arange(x.shape[2]), torch.arange(x.shape[3])
    move = (rows[:, None] + columns) % 2 == 1 - <<rest>>
    raw, shift = net(torch.where(move, 0, x)).chunk(2, dim=1)
    log_s = math.log(<<factor>>) * torch.tanh(raw[:, :, move])
    if back:
        x[:, :, move] = (x[:, :, move] - shift[:, :, move]) * torch.exp(-log_s)
        return x, -log_s.sum((1, 2))
    x[:, :, move] = x[:, :, move] * torch.exp(log_s) + shift[:, :, move]
    return x, log_s.sum((1, 2))

# ---- coupling wrong: x is changed in place on the way back | in place on the way back
def coupling(x, net, back=False):
    rows, columns = torch.arange(x.shape[2]), torch.arange(x.shape[3])
    keep = (rows[:, None] + columns) % 2 == <<rest>>
    raw, shift = net(torch.where(keep, x, 0)).chunk(2, dim=1)
    log_s = torch.where(keep, 0, math.log(<<factor>>) * torch.tanh(raw))
    if back:
        z = x.sub_(torch.where(keep, 0, shift)).mul_(torch.exp(-log_s))
        return z, -log_s.sum((1, 2, 3))
    return torch.where(keep, x, x * torch.exp(log_s) + shift), log_s.sum((1, 2, 3))

# ---- study right: by the package's loss, in numpy's manner
@torch.no_grad()
def look(flow, n):
    nats = -torch.cat([flow.log_prob(part) for part in x_test.split(250)])
    each, truth = nats / <<bits>>, log_truth / <<bits>>
    return {"n": n, "each": each, "cost": float(each.mean()), "gap": float((each + truth).mean())}


def study(numbers, steps):
    with torch.enable_grad():
        flows = [train(n, steps) for n in numbers]
    return [look(flow, n) for flow, n in zip(flows, numbers)]


def choose(rows):
    each = torch.stack([row["each"].double() for row in rows])
    delta = each - each[each.mean(1).argmin()]
    error = delta.var(1) ** 0.5 / delta.shape[1] ** 0.5
    return min(row["n"] for row, near in zip(rows, delta.mean(1) <= <<k>> * error) if near)

# ---- study right: sorted by number, the first that is admitted
def study(numbers, steps):
    rows = []
    for n in numbers:
        z, log_det = (t.detach() for t in train(n, steps)(x_test))
        each = 0.5 * z.square().sum(1) + math.log(2 * math.pi) - log_det
        each = each<<in_unit>>
        gap = each.mean().item() + log_truth.mean().item()<<in_unit>>
        rows.append({"n": n, "each": each, "cost": each.mean().item(), "gap": gap})
    return rows


def choose(rows):
    costs = [row["cost"] for row in rows]
    best = rows[costs.index(min(costs))]
    for row in sorted(rows, key=lambda row: row["n"]):
        d = (row["each"] - best["each"]).tolist()
        mean = sum(d) / len(d)
        variance = sum((v - mean) ** 2 for v in d) / len(d)
        if row is best or mean <= <<k>> * math.sqrt(variance / len(d)):
            return row["n"]

# ---- study wrong: the other unit | in <<not_unit>>; <<unit>> are wanted
def study(numbers, steps):
    rows = []
    for n in numbers:
        with torch.no_grad():
            log_p = train(n, steps).log_prob(x_test)
        rows.append({"n": n, "each": -log_p / (<<not_bits>>), "cost": -log_p.mean().item() / (<<not_bits>>),
                     "gap": (log_truth - log_p).mean().item() / (<<not_bits>>)})
    return rows


def choose(rows):
    best = min(rows, key=lambda row: row["cost"])
    near = []
    for row in rows:
        d = row["each"] - best["each"]
        if d.mean() <= <<k>> * d.std() / math.sqrt(len(d)):
            near.append(row["n"])
    return min(near)

# ---- study wrong: the log-likelihood for its negative | -log p is wanted
def study(numbers, steps):
    rows = []
    for n in numbers:
        with torch.no_grad():
            log_p = train(n, steps).log_prob(x_test)
        rows.append({"n": n, "each": log_p<<in_unit>>, "cost": log_p.mean().item()<<in_unit>>,
                     "gap": (log_truth - log_p).mean().item()<<in_unit>>})
    return rows


def choose(rows):
    best = min(rows, key=lambda row: row["cost"])
    near = []
    for row in rows:
        d = row["each"] - best["each"]
        if d.mean() <= <<k>> * d.std() / math.sqrt(len(d)):
            near.append(row["n"])
    return min(near)

# ---- study wrong: for each number, not for each point | it is wanted for each point
def study(numbers, steps):
    rows = []
    for n in numbers:
        with torch.no_grad():
            log_p = train(n, steps).log_prob(x_test)
        rows.append({"n": n, "each": -log_p<<in_unit>>, "cost": -log_p.mean().item()<<in_unit>> / 2,
                     "gap": (log_truth - log_p).mean().item()<<in_unit>>})
    return rows


def choose(rows):
    best = min(rows, key=lambda row: row["cost"])
    near = []
    for row in rows:
        d = row["each"] - best["each"]
        if d.mean() <= <<k>> * d.std() / math.sqrt(len(d)):
            near.append(row["n"])
    return min(near)

# ---- study wrong: measured where it was trained | each
def study(numbers, steps):
    rows = []
    for n in numbers:
        with torch.no_grad():
            log_p = train(n, steps).log_prob(moons.points[:1000])
        rows.append({"n": n, "each": -log_p<<in_unit>>, "cost": -log_p.mean().item()<<in_unit>>,
                     "gap": (log_truth - log_p).mean().item()<<in_unit>>})
    return rows


def choose(rows):
    best = min(rows, key=lambda row: row["cost"])
    near = []
    for row in rows:
        d = row["each"] - best["each"]
        if d.mean() <= <<k>> * d.std() / math.sqrt(len(d)):
            near.append(row["n"])
    return min(near)

# ---- study wrong: the gap with its sign turned | data first, then the model
def study(numbers, steps):
    rows = []
    for n in numbers:
        with torch.no_grad():
            log_p = train(n, steps).log_prob(x_test)
        rows.append({"n": n, "each": -log_p<<in_unit>>, "cost": -log_p.mean().item()<<in_unit>>,
                     "gap": (log_p - log_truth).mean().item()<<in_unit>>})
    return rows


def choose(rows):
    best = min(rows, key=lambda row: row["cost"])
    near = []
    for row in rows:
        d = row["each"] - best["each"]
        if d.mean() <= <<k>> * d.std() / math.sqrt(len(d)):
            near.append(row["n"])
    return min(near)

# ---- study wrong: a graph is kept | each keeps the graph
def study(numbers, steps):
    rows = []
    for n in numbers:
        log_p = train(n, steps).log_prob(x_test)
        rows.append({"n": n, "each": -log_p<<in_unit>>, "cost": -log_p.mean().item()<<in_unit>>,
                     "gap": (log_truth - log_p).mean().item()<<in_unit>>})
    return rows


def choose(rows):
    best = min(rows, key=lambda row: row["cost"])
    near = []
    for row in rows:
        d = row["each"] - best["each"]
        if d.mean() <= <<k>> * d.std() / math.sqrt(len(d)):
            near.append(row["n"])
    return min(near)

# ---- study wrong: no square root of N | is the root of N missing
def study(numbers, steps):
    rows = []
    for n in numbers:
        with torch.no_grad():
            log_p = train(n, steps).log_prob(x_test)
        rows.append({"n": n, "each": -log_p<<in_unit>>, "cost": -log_p.mean().item()<<in_unit>>,
                     "gap": (log_truth - log_p).mean().item()<<in_unit>>})
    return rows


def choose(rows):
    best = min(rows, key=lambda row: row["cost"])
    near = []
    for row in rows:
        d = row["each"] - best["each"]
        if d.mean() <= <<k>> * d.std():
            near.append(row["n"])
    return min(near)

# ---- study wrong: points that are not paired | paired
def study(numbers, steps):
    rows = []
    for n in numbers:
        with torch.no_grad():
            log_p = train(n, steps).log_prob(x_test)
        rows.append({"n": n, "each": -log_p<<in_unit>>, "cost": -log_p.mean().item()<<in_unit>>,
                     "gap": (log_truth - log_p).mean().item()<<in_unit>>})
    return rows


def choose(rows):
    best = min(rows, key=lambda row: row["cost"])
    near = []
    for row in rows:
        d = row["each"] - best["each"]
        if d.mean() <= <<k>> * row["each"].std() / math.sqrt(len(d)):
            near.append(row["n"])
    return min(near)

# ---- study wrong: the least cost alone | the best is not all that is admitted
def study(numbers, steps):
    rows = []
    for n in numbers:
        with torch.no_grad():
            log_p = train(n, steps).log_prob(x_test)
        rows.append({"n": n, "each": -log_p<<in_unit>>, "cost": -log_p.mean().item()<<in_unit>>,
                     "gap": (log_truth - log_p).mean().item()<<in_unit>>})
    return rows


def choose(rows):
    best = min(rows, key=lambda row: row["cost"])
    near = []
    for row in rows:
        d = row["each"] - best["each"]
        if d.mean() <= 0:
            near.append(row["n"])
    return min(near)

# ---- study wrong: another number of standard errors | <<errors>> above the best is admitted
def study(numbers, steps):
    rows = []
    for n in numbers:
        with torch.no_grad():
            log_p = train(n, steps).log_prob(x_test)
        rows.append({"n": n, "each": -log_p<<in_unit>>, "cost": -log_p.mean().item()<<in_unit>>,
                     "gap": (log_truth - log_p).mean().item()<<in_unit>>})
    return rows


def choose(rows):
    best = min(rows, key=lambda row: row["cost"])
    near = []
    for row in rows:
        d = row["each"] - best["each"]
        if d.mean() <= (3 - <<k>>) * d.std() / math.sqrt(len(d)):
            near.append(row["n"])
    return min(near)

# ---- study wrong: the mean is a tensor | must be plain floats
def study(numbers, steps):
    rows = []
    for n in numbers:
        with torch.no_grad():
            log_p = train(n, steps).log_prob(x_test)
        rows.append({"n": n, "each": -log_p<<in_unit>>, "cost": -log_p.mean()<<in_unit>>,
                     "gap": (log_truth - log_p).mean().item()<<in_unit>>})
    return rows


def choose(rows):
    best = min(rows, key=lambda row: row["cost"])
    near = []
    for row in rows:
        d = row["each"] - best["each"]
        if d.mean() <= <<k>> * d.std() / math.sqrt(len(d)):
            near.append(row["n"])
    return min(near)

# ---- study wrong: below the limit, so that even the best is not admitted | the best is always admitted
def study(numbers, steps):
    rows = []
    for n in numbers:
        with torch.no_grad():
            log_p = train(n, steps).log_prob(x_test)
        rows.append({"n": n, "each": -log_p<<in_unit>>, "cost": -log_p.mean().item()<<in_unit>>,
                     "gap": (log_truth - log_p).mean().item()<<in_unit>>})
    return rows


def choose(rows):
    best = min(rows, key=lambda row: row["cost"])
    near = []
    for row in rows:
        d = row["each"] - best["each"]
        if d.mean() < <<k>> * d.std() / math.sqrt(len(d)):
            near.append(row["n"])
    return min(near)

# ---- coupling survives: 5: rows[:, None] + columns -> rows[:, None] - columns | a sum and a difference are even together: the same mask

# ---- study survives: 7: log_p = train(n, steps).log_prob(x_test) -> log_p = train(n, steps).log_prob(x_test).detach() | under no_grad there is no graph to leave

# ---- study survives: 21: delta = row['each'] - best['each'] -> delta = (row['each'] - best['each']).detach() | what is measured has no graph
