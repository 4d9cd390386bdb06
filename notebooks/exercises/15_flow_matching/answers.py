# Answers by which the graders of this assignment are proved; read as text by tools/exercises, never imported.

# ---- velocity right: a central difference along the path
def velocity(x_t, x0, t):
    when = t[:, None].detach()
    signal, noise = (path(one, other, when) for one, other in ((1.0, 0.0), (0.0, 1.0)))
    eps = (x_t - signal * x0) / noise
    h = 1e-6
    ahead, behind = path(x0, eps, when + h), path(x0, eps, when - h)
    return (ahead - behind) / (2 * h)

# ---- velocity right: the form of Lipman et al.: the noise's relative rate times the distance, plus the centre's speed
def velocity(x_t, x0, t):
    t = t.unsqueeze(1).expand_as(x_t)
    signal, noise = <<signal>>, <<noise>>
    rate, fade = <<signal_rate>>, <<noise_rate>>
    return torch.addcmul(rate * x0, fade / noise, x_t - signal * x0)

# ---- velocity wrong: the chapter's line | the chapter's straight line
def velocity(x_t, x0, t):
    return (x0 - x_t) / (1 - t[:, None])

# ---- velocity wrong: the chapter's target | x0 - eps, as on
def velocity(x_t, x0, t):
    t = t[:, None]
    eps = (x_t - (<<signal>>) * x0) / (<<noise>>)
    return x0 - eps

# ---- velocity wrong: the sign: towards the noise | of the wrong sign
def velocity(x_t, x0, t):
    t = t[:, None]
    eps = (x_t - (<<signal>>) * x0) / (<<noise>>)
    return -(<<signal_rate>>) * x0 - (<<noise_rate>>) * eps

# ---- velocity wrong: the place taken for the noise | recover eps from x_t and x0
def velocity(x_t, x0, t):
    t = t[:, None]
    return (<<signal_rate>>) * x0 + (<<noise_rate>>) * x_t

# ---- velocity wrong: the two ends exchanged | its ends exchanged
def velocity(x_t, x0, t):
    t = t[:, None]
    eps = (x_t - (<<signal>>) * x0) / (<<noise>>)
    return (<<signal_rate>>) * eps + (<<noise_rate>>) * x0

# ---- velocity wrong: only the datum moves | the noise fades, too
def velocity(x_t, x0, t):
    t = t[:, None]
    eps = (x_t - (<<signal>>) * x0) / (<<noise>>)
    return (<<signal_rate>>) * x0 + 0 * eps

# ---- velocity wrong: through numbers, so that no gradient flows | no gradient reaches x_t
def velocity(x_t, x0, t):
    t = t[:, None]
    eps = ((x_t - (<<signal>>) * x0) / (<<noise>>)).detach()
    return (<<signal_rate>>) * x0 + (<<noise_rate>>) * eps

# ---- velocity wrong: no derivative at all | a displacement
def velocity(x_t, x0, t):
    return x0 - x_t

# ---- step right: its own trace, by rows of the Jacobian
def step(field, x, log_p, t, h):
    def ask(place, time):
        with torch.enable_grad():
            place = place.detach().requires_grad_()
            u = field(place, torch.full((len(x),), time, dtype=x.dtype))
            trace = 0
            for i in range(x.shape[1]):
                trace = trace + torch.autograd.grad(
                    u[:, i].sum(), place, retain_graph=True)[0][:, i]
        return u.detach(), trace
    alpha = <<alpha>>
    u, d = ask(x, t)
    u_2, d_2 = ask(x + alpha * h * u, t + alpha * h)
    bend = h / (2 * alpha)
    return x + h * u + bend * (u_2 - u), log_p - h * d - bend * (d_2 - d)

# ---- step right: points and log-density as one state
def step(field, x, log_p, t, h):
    def both(state, time):
        u, d = divergence(field, state[:, :-1], torch.full((len(x),), time, dtype=x.dtype))
        return torch.cat([u, -d[:, None]], dim=1)
    a = <<alpha>>
    state = torch.cat([x, log_p[:, None]], dim=1)
    k = both(state, t)
    k_2 = both(torch.add(state, k, alpha=a * h), t + a * h)
    state = state + h * torch.lerp(k, k_2, 1 / (2 * a))
    return state[:, :-1], state[:, -1]

# ---- step wrong: Heun's step | as in Heun's method
def step(field, x, log_p, t, h):
    alpha = <<alpha>>
    w = 0.5
    at = lambda time: torch.full((len(x),), time, dtype=x.dtype)
    u, grows = divergence(field, x, at(t))
    u_2, grows_2 = divergence(field, x + h * u, at(t + h))
    return x + h * ((1 - w) * u + w * u_2), log_p - h * ((1 - w) * grows + w * grows_2)

# ---- step wrong: the midpoint step | as in the midpoint method
def step(field, x, log_p, t, h):
    alpha = <<alpha>>
    w = 1.0
    at = lambda time: torch.full((len(x),), time, dtype=x.dtype)
    u, grows = divergence(field, x, at(t))
    u_2, grows_2 = divergence(field, x + h / 2 * u, at(t + h / 2))
    return x + h * ((1 - w) * u + w * u_2), log_p - h * ((1 - w) * grows + w * grows_2)

# ---- step wrong: the second answer alone | by the second answer alone
def step(field, x, log_p, t, h):
    alpha = <<alpha>>
    w = 1.0
    at = lambda time: torch.full((len(x),), time, dtype=x.dtype)
    u, grows = divergence(field, x, at(t))
    u_2, grows_2 = divergence(field, x + alpha * h * u, at(t + alpha * h))
    return x + h * ((1 - w) * u + w * u_2), log_p - h * ((1 - w) * grows + w * grows_2)

# ---- step wrong: the plain mean | by the plain mean of both answers
def step(field, x, log_p, t, h):
    alpha = <<alpha>>
    w = 0.5
    at = lambda time: torch.full((len(x),), time, dtype=x.dtype)
    u, grows = divergence(field, x, at(t))
    u_2, grows_2 = divergence(field, x + alpha * h * u, at(t + alpha * h))
    return x + h * ((1 - w) * u + w * u_2), log_p - h * ((1 - w) * grows + w * grows_2)

# ---- step wrong: the weights exchanged | by exchanged weights
def step(field, x, log_p, t, h):
    alpha = <<alpha>>
    w = 1 / (2 * alpha)
    at = lambda time: torch.full((len(x),), time, dtype=x.dtype)
    u, grows = divergence(field, x, at(t))
    u_2, grows_2 = divergence(field, x + alpha * h * u, at(t + alpha * h))
    return x + h * (w * u + (1 - w) * u_2), log_p - h * (w * grows + (1 - w) * grows_2)

# ---- step wrong: the second question at the start's time | that of the first
def step(field, x, log_p, t, h):
    alpha = <<alpha>>
    w = 1 / (2 * alpha)
    at = lambda time: torch.full((len(x),), time, dtype=x.dtype)
    u, grows = divergence(field, x, at(t))
    u_2, grows_2 = divergence(field, x + alpha * h * u, at(t))
    return x + h * ((1 - w) * u + w * u_2), log_p - h * ((1 - w) * grows + w * grows_2)

# ---- step wrong: the trial step is the whole step | the trial step is of the whole length
def step(field, x, log_p, t, h):
    alpha = <<alpha>>
    w = 1 / (2 * alpha)
    at = lambda time: torch.full((len(x),), time, dtype=x.dtype)
    u, grows = divergence(field, x, at(t))
    u_2, grows_2 = divergence(field, x + h * u, at(t + alpha * h))
    return x + h * ((1 - w) * u + w * u_2), log_p - h * ((1 - w) * grows + w * grows_2)

# ---- step wrong: log p grows with the volume | where volumes grow, the density falls
def step(field, x, log_p, t, h):
    alpha = <<alpha>>
    w = 1 / (2 * alpha)
    at = lambda time: torch.full((len(x),), time, dtype=x.dtype)
    u, grows = divergence(field, x, at(t))
    u_2, grows_2 = divergence(field, x + alpha * h * u, at(t + alpha * h))
    return x + h * ((1 - w) * u + w * u_2), log_p + h * ((1 - w) * grows + w * grows_2)

# ---- step wrong: log p by the first divergence | moved by the first answer alone
def step(field, x, log_p, t, h):
    alpha = <<alpha>>
    w = 1 / (2 * alpha)
    at = lambda time: torch.full((len(x),), time, dtype=x.dtype)
    u, grows = divergence(field, x, at(t))
    u_2, grows_2 = divergence(field, x + alpha * h * u, at(t + alpha * h))
    return x + h * ((1 - w) * u + w * u_2), log_p - h * (1 * grows + 0 * grows_2)

# ---- step wrong: a mean over the axes | the trace is a sum
def step(field, x, log_p, t, h):
    alpha = <<alpha>>
    w = 1 / (2 * alpha)
    at = lambda time: torch.full((len(x),), time, dtype=x.dtype)
    u, grows = divergence(field, x, at(t))
    u_2, grows_2 = divergence(field, x + alpha * h * u, at(t + alpha * h))
    return x + h * ((1 - w) * u + w * u_2), log_p - h * ((1 - w) * grows + w * grows_2) / x.shape[1]

# ---- step wrong: Euler's step | asked 1 times
def step(field, x, log_p, t, h):
    u, grows = divergence(field, x, torch.full((len(x),), t, dtype=x.dtype))
    return x + h * u, log_p - h * grows

# ---- step wrong: the divergence is asked for at the start's place | a divergence at the start's place
def step(field, x, log_p, t, h):
    alpha = <<alpha>>
    w = 1 / (2 * alpha)
    at = lambda time: torch.full((len(x),), time, dtype=x.dtype)
    u, grows = divergence(field, x, at(t))
    u_2 = field(x + alpha * h * u, at(t + alpha * h))
    _, grows_2 = divergence(field, x, at(t + alpha * h))
    return x + h * ((1 - w) * u + w * u_2), log_p - h * ((1 - w) * grows + w * grows_2)

# ---- step wrong: the second question at the step's end | as in Heun's method
def step(field, x, log_p, t, h):
    alpha = <<alpha>>
    w = 1 / (2 * alpha)
    at = lambda time: torch.full((len(x),), time, dtype=x.dtype)
    u, grows = divergence(field, x, at(t))
    u_2, grows_2 = divergence(field, x + alpha * h * u, at(t + h))
    return (x + h * ((1 - w) * u + w * u_2),
            log_p - h * ((1 - w) * grows + w * grows_2))

# ---- step wrong: h is left out of the second question's time | alpha is a share of h
def step(field, x, log_p, t, h):
    alpha = <<alpha>>
    w = 1 / (2 * alpha)
    at = lambda time: torch.full((len(x),), time, dtype=x.dtype)
    u, grows = divergence(field, x, at(t))
    u_2, grows_2 = divergence(field, x + alpha * h * u, at(t + alpha))
    return (x + h * ((1 - w) * u + w * u_2),
            log_p - h * ((1 - w) * grows + w * grows_2))

# ---- step wrong: no trial step | none at all
def step(field, x, log_p, t, h):
    alpha = <<alpha>>
    w = 1 / (2 * alpha)
    at = lambda time: torch.full((len(x),), time, dtype=x.dtype)
    u, grows = divergence(field, x, at(t))
    u_2, grows_2 = divergence(field, x, at(t + alpha * h))
    return (x + h * ((1 - w) * u + w * u_2),
            log_p - h * ((1 - w) * grows + w * grows_2))

# ---- step wrong: log p by the plain mean | moved by the plain mean
def step(field, x, log_p, t, h):
    alpha = <<alpha>>
    w = 1 / (2 * alpha)
    at = lambda time: torch.full((len(x),), time, dtype=x.dtype)
    u, grows = divergence(field, x, at(t))
    u_2, grows_2 = divergence(field, x + alpha * h * u, at(t + alpha * h))
    return (x + h * ((1 - w) * u + w * u_2),
            log_p - h * (grows + grows_2) / 2)

# ---- step wrong: log p by exchanged weights | moved by exchanged weights
def step(field, x, log_p, t, h):
    alpha = <<alpha>>
    w = 1 / (2 * alpha)
    at = lambda time: torch.full((len(x),), time, dtype=x.dtype)
    u, grows = divergence(field, x, at(t))
    u_2, grows_2 = divergence(field, x + alpha * h * u, at(t + alpha * h))
    return (x + h * ((1 - w) * u + w * u_2),
            log_p - h * (w * grows + (1 - w) * grows_2))

# ---- step wrong: only a share alpha of the step is made | only the trial step is that short
def step(field, x, log_p, t, h):
    alpha = <<alpha>>
    w = 1 / (2 * alpha)
    at = lambda time: torch.full((len(x),), time, dtype=x.dtype)
    u, grows = divergence(field, x, at(t))
    u_2, grows_2 = divergence(field, x + alpha * h * u, at(t + alpha * h))
    return (x + alpha * h * ((1 - w) * u + w * u_2),
            log_p - alpha * h * ((1 - w) * grows + w * grows_2))

# ---- errors right: polyfit, sorting, and steps written out
def errors(method, budgets):
    rows = []
    for n in [budget // COST[method] for budget in budgets if budget >= COST[method]]:
        *_, (_, x, _) = solve(world, start, [i / n for i in range(n + 1)], method=method)
        far = ((x - truth) ** 2).sum(1)
        error = far.max() if <<largest>> else far.mean()
        rows.append({"method": method, "evaluations": n * COST[method], "error": float(error.sqrt())})
    return rows


def order(rows):
    import numpy as np
    n, e = np.array([[row["evaluations"], row["error"]] for row in rows]).T
    return float(-np.polyfit(np.log10(n), np.log10(e), 1)[0])


def choose(rows, limit):
    for row in sorted(rows, key=lambda row: (row["<<least>>"], row["<<within>>"])):
        if row["<<within>>"] <= limit:
            return row["method"], row["evaluations"]

# ---- errors right: covariance over variance, and a loop that keeps the best
def errors(method, budgets):
    rows = []
    for budget in budgets:
        steps = budget // COST[method]
        if steps < 1:
            continue
        *_, (_, x, used) = solve(world, start, flow_times(steps), method=method)
        error = (x - truth).norm(dim=1).<<reduced>>
        rows.append({"method": method, "evaluations": used, "error": error.item()})
    return rows


def order(rows):
    logs = torch.tensor([[row["evaluations"], row["error"]] for row in rows]).double().log().T
    table = torch.cov(logs)
    return -(table[0, 1] / table[0, 0]).item()


def choose(rows, limit):
    best = None
    for row in rows:
        if row["<<within>>"] > limit:
            continue
        if best is None or row["<<least>>"] < best["<<least>>"] or (
                row["<<least>>"] == best["<<least>>"] and row["<<within>>"] < best["<<within>>"]):
            best = row
    return None if best is None else (best["method"], best["evaluations"])

# ---- errors wrong: the budget is taken for steps | a step may ask more than once
def errors(method, budgets):
    rows = []
    for budget in budgets:
        steps = budget
        if steps < 1:
            continue
        *_, (_, x, used) = solve(world, start, flow_times(steps), method=method)
        error = (x - truth).norm(dim=1).<<reduced>>
        rows.append({"method": method, "evaluations": used, "error": error.item()})
    return rows

# ---- errors wrong: steps are logged as evaluations | the number of steps
def errors(method, budgets):
    rows = []
    for budget in budgets:
        steps = budget // COST[method]
        if steps < 1:
            continue
        *_, (_, x, used) = solve(world, start, flow_times(steps), method=method)
        error = (x - truth).norm(dim=1).<<reduced>>
        rows.append({"method": method, "evaluations": steps, "error": error.item()})
    return rows

# ---- errors wrong: the budget is logged | what was used is wanted
def errors(method, budgets):
    rows = []
    for budget in budgets:
        steps = budget // COST[method]
        if steps < 1:
            continue
        *_, (_, x, used) = solve(world, start, flow_times(steps), method=method)
        error = (x - truth).norm(dim=1).<<reduced>>
        rows.append({"method": method, "evaluations": budget, "error": error.item()})
    return rows


def choose(rows, limit):
    good = [row for row in rows if row["<<within>>"] <= limit]
    best = min(good, key=lambda row: (row["<<least>>"], row["<<within>>"]), default=None)
    return best and (best["method"], best["evaluations"])

# ---- errors wrong: the distances of all points add up | a sum over the points; wanted is <<how>>
def errors(method, budgets):
    rows = []
    for budget in budgets:
        steps = budget // COST[method]
        if steps < 1:
            continue
        *_, (_, x, used) = solve(world, start, flow_times(steps), method=method)
        error = (x - truth).norm()
        rows.append({"method": method, "evaluations": used, "error": error.item()})
    return rows


def choose(rows, limit):
    good = [row for row in rows if row["<<within>>"] <= limit]
    best = min(good, key=lambda row: (row["<<least>>"], row["<<within>>"]), default=None)
    return best and (best["method"], best["evaluations"])

# ---- errors wrong: rounded up | round down
def errors(method, budgets):
    rows = []
    for budget in budgets:
        steps = -(-budget // COST[method])
        if steps < 1:
            continue
        *_, (_, x, used) = solve(world, start, flow_times(steps), method=method)
        error = (x - truth).norm(dim=1).<<reduced>>
        rows.append({"method": method, "evaluations": used, "error": error.item()})
    return rows

# ---- errors wrong: another measure | wanted is <<how>>
def errors(method, budgets):
    rows = []
    for budget in budgets:
        steps = budget // COST[method]
        if steps < 1:
            continue
        *_, (_, x, used) = solve(world, start, flow_times(steps), method=method)
        error = (x - truth).norm(dim=1).mean()
        rows.append({"method": method, "evaluations": used, "error": error.item()})
    return rows

# ---- errors wrong: torch's mean square of all numbers | distances are wanted
def errors(method, budgets):
    rows = []
    for budget in budgets:
        steps = budget // COST[method]
        if steps < 1:
            continue
        *_, (_, x, used) = solve(world, start, flow_times(steps), method=method)
        error = ((x - truth).abs().max() if <<largest>> else (x - truth).square().mean().sqrt())
        rows.append({"method": method, "evaluations": used, "error": error.item()})
    return rows

# ---- errors wrong: the root is forgotten | a root is missing
def errors(method, budgets):
    rows = []
    for budget in budgets:
        steps = budget // COST[method]
        if steps < 1:
            continue
        *_, (_, x, used) = solve(world, start, flow_times(steps), method=method)
        error = ((x - truth).square().sum(1).max() if <<largest>> else (x - truth).square().sum(1).mean())
        rows.append({"method": method, "evaluations": used, "error": error.item()})
    return rows

# ---- errors wrong: the sign of the slope | of the wrong sign
def errors(method, budgets):
    rows = []
    for budget in budgets:
        steps = budget // COST[method]
        if steps < 1:
            continue
        *_, (_, x, used) = solve(world, start, flow_times(steps), method=method)
        error = (x - truth).norm(dim=1).<<reduced>>
        rows.append({"method": method, "evaluations": used, "error": error.item()})
    return rows


def order(rows):
    from statistics import linear_regression
    asked = [math.log(row["evaluations"]) for row in rows]
    missed = [math.log(row["error"]) for row in rows]
    return linear_regression(asked, missed).slope

# ---- errors wrong: the order from both ends of the table | built on the first and the last row
def errors(method, budgets):
    rows = []
    for budget in budgets:
        steps = budget // COST[method]
        if steps < 1:
            continue
        *_, (_, x, used) = solve(world, start, flow_times(steps), method=method)
        error = (x - truth).norm(dim=1).<<reduced>>
        rows.append({"method": method, "evaluations": used, "error": error.item()})
    return rows


def order(rows):
    a, b = rows[0], rows[-1]
    return math.log(a["error"] / b["error"]) / math.log(b["evaluations"] / a["evaluations"])

# ---- errors wrong: the limit is not looked at | beyond the <<limit_name>>
def errors(method, budgets):
    rows = []
    for budget in budgets:
        steps = budget // COST[method]
        if steps < 1:
            continue
        *_, (_, x, used) = solve(world, start, flow_times(steps), method=method)
        error = (x - truth).norm(dim=1).<<reduced>>
        rows.append({"method": method, "evaluations": used, "error": error.item()})
    return rows


def choose(rows, limit):
    best = min(rows, key=lambda row: row["<<least>>"])
    return best["method"], best["evaluations"]

# ---- errors wrong: strictly below the limit | of exactly the <<limit_name>>
def errors(method, budgets):
    rows = []
    for budget in budgets:
        steps = budget // COST[method]
        if steps < 1:
            continue
        *_, (_, x, used) = solve(world, start, flow_times(steps), method=method)
        error = (x - truth).norm(dim=1).<<reduced>>
        rows.append({"method": method, "evaluations": used, "error": error.item()})
    return rows


def choose(rows, <<limit_name>>):
    good = [row for row in rows if row["<<within>>"] < <<limit_name>>]
    best = min(good, key=lambda row: (row["<<least>>"], row["<<within>>"]), default=None)
    return best and (best["method"], best["evaluations"])

# ---- errors wrong: the other rule | not asked
def errors(method, budgets):
    rows = []
    for budget in budgets:
        steps = budget // COST[method]
        if steps < 1:
            continue
        *_, (_, x, used) = solve(world, start, flow_times(steps), method=method)
        error = (x - truth).norm(dim=1).<<reduced>>
        rows.append({"method": method, "evaluations": used, "error": error.item()})
    return rows


def choose(rows, <<limit_name>>):
    good = [row for row in rows if row["<<within>>"] <= <<limit_name>>]
    best = min(good, key=lambda row: row["<<within>>"], default=None)
    return best and (best["method"], best["evaluations"])

# ---- errors wrong: ties are left to chance | of several
def errors(method, budgets):
    rows = []
    for budget in budgets:
        steps = budget // COST[method]
        if steps < 1:
            continue
        *_, (_, x, used) = solve(world, start, flow_times(steps), method=method)
        error = (x - truth).norm(dim=1).<<reduced>>
        rows.append({"method": method, "evaluations": used, "error": error.item()})
    return rows


def choose(rows, <<limit_name>>):
    good = [row for row in rows if row["<<within>>"] <= <<limit_name>>]
    best = min(good, key=lambda row: row["<<least>>"], default=None)
    return best and (best["method"], best["evaluations"])

# ---- errors survives: 11: x - truth -> truth - x | a distance is the same both ways
