# Answers by which the graders of this assignment are proved; read as text by tools/exercises, never imported.

# ---- loudness right: the two terms of x_t, made and measured by the package
def loudness(x0, t, alpha_bar):
    signal = q_sample(x0, t, torch.zeros_like(x0), alpha_bar)
    noise = q_sample(torch.zeros_like(x0), t, torch.ones_like(x0), alpha_bar)
    nats = torch.log(signal.pow(2).mean((1, 2, 3)) / noise.pow(2).mean((1, 2, 3)))
    return nats * <<per_nat>>

# ---- loudness right: one picture after another, in Python's numbers
def loudness(x0, t, alpha_bar):
    found = []
    for picture, time in zip(x0, t.tolist()):
        a = alpha_bar[time].item()
        power = picture.norm().item() ** 2 / picture.numel()
        nats = math.log(a) + math.log(power) - math.log1p(-a)
        found.append(nats * <<per_nat>>)
    return torch.tensor(found, dtype=x0.dtype)

# ---- loudness wrong: data of unit power | the power of each picture itself counts
def loudness(x0, t, alpha_bar):
    a = alpha_bar[t]
    return <<scale>>(a / (1 - a))

# ---- loudness wrong: amplitudes | of amplitudes, where powers
def loudness(x0, t, alpha_bar):
    a = alpha_bar[t].sqrt()
    amplitude = x0.square().flatten(1).mean(1).sqrt()
    return <<scale>>(a * amplitude / (1 - alpha_bar[t]).sqrt())

# ---- loudness wrong: the other unit | in <<not_unit>>; <<unit>> are wanted
def loudness(x0, t, alpha_bar):
    a = alpha_bar[t]
    power = x0.square().flatten(1).mean(1)
    return torch.log(a * power / (1 - a)) * <<per_other>>

# ---- loudness wrong: no logarithm | not logarithmic
def loudness(x0, t, alpha_bar):
    a = alpha_bar[t]
    return a / (1 - a) * x0.square().flatten(1).mean(1)

# ---- loudness wrong: the chapter's t, which counts from 1 | one step off
def loudness(x0, t, alpha_bar):
    a = alpha_bar[t - 1]
    power = x0.square().flatten(1).mean(1)
    return <<scale>>(a * power / (1 - a))

# ---- loudness wrong: one power for the batch | one power for the whole batch
def loudness(x0, t, alpha_bar):
    a = alpha_bar[t]
    return <<scale>>(a * x0.square().mean() / (1 - a))

# ---- loudness wrong: a sum over the pixels | power is a mean
def loudness(x0, t, alpha_bar):
    a = alpha_bar[t]
    power = x0.square().flatten(1).sum(1)
    return <<scale>>(a * power / (1 - a))

# ---- loudness wrong: the variance of the pixels | an even picture that is not mid-grey
def loudness(x0, t, alpha_bar):
    a = alpha_bar[t]
    power = x0.flatten(1).var(1, correction=0)
    return <<scale>>(a * power / (1 - a))

# ---- loudness wrong: torch's variance of the pixels | with n - 1 in it
def loudness(x0, t, alpha_bar):
    a = alpha_bar[t]
    return <<scale>>(a * x0.flatten(1).var(1) / (1 - a))

# ---- loudness wrong: twice as much, as the ratio of amplitudes would need | twice too large: <<doubled>>
def loudness(x0, t, alpha_bar):
    a = alpha_bar[t]
    return 2 * <<scale>>(a * x0.square().flatten(1).mean(1) / (1 - a))

# ---- loudness wrong: the share of the signal | divide by the noise
def loudness(x0, t, alpha_bar):
    power = x0.square().flatten(1).mean(1)
    return <<scale>>(alpha_bar[t] * power)

# ---- loudness wrong: upside down | of the wrong sign
def loudness(x0, t, alpha_bar):
    a = alpha_bar[t]
    power = x0.square().flatten(1).mean(1)
    return <<scale>>((1 - a) / (a * power))

# ---- loss right: the error of the output, with the weight that makes it one of x0
def loss(model, x0, t, eps, alpha_bar, gamma):
    from genai_utils.diffusion import snr, target
    out = model(q_sample(x0, t, eps, alpha_bar), t)
    own = torch.nn.functional.mse_loss(
        out, target(x0, t, eps, alpha_bar, "<<predict>>"), reduction="none").mean((1, 2, 3))
    a = alpha_bar[t]
    error = own * {"v": 1 - a, "eps": (1 - a) / a}["<<predict>>"]
    w = snr(a).clamp(<<bound>>=gamma)
    return torch.dot(w, error) / len(x0), {"x0_error": error.detach().mean()}

# ---- loss right: the package's estimate, and one picture after another
def loss(model, x0, t, eps, alpha_bar, gamma):
    from genai_utils.diffusion import signal_noise, split_prediction
    signal, noise = signal_noise(alpha_bar, t, x0)
    x_t = signal * x0 + noise * eps
    x0_hat, _ = split_prediction(model(x_t, t), x_t, signal, noise, "<<predict>>")
    total, bare = 0.0, 0.0
    for b in range(len(x0)):
        error = ((x0_hat[b] - x0[b]) ** 2).mean()
        ratio = float(alpha_bar[t[b]] / (1 - alpha_bar[t[b]]))
        total = total + <<clamp>>(ratio, gamma) * error / len(x0)
        bare += error.item() / len(x0)
    return total, {"x0_error": bare}

# ---- loss wrong: no weight | w(t) is missing
def loss(model, x0, t, eps, alpha_bar, gamma):
    a = alpha_bar[t].view(-1, 1, 1, 1)
    x_t = q_sample(x0, t, eps, alpha_bar)
    out = model(x_t, t)
    error = (x0 - (<<x0_of>>)).square().mean()
    return error, {"x0_error": error.detach()}

# ---- loss wrong: clamped on the other side | clamped on the wrong side
def loss(model, x0, t, eps, alpha_bar, gamma):
    a = alpha_bar[t].view(-1, 1, 1, 1)
    x_t = q_sample(x0, t, eps, alpha_bar)
    out = model(x_t, t)
    error = (x0 - (<<x0_of>>)).square().flatten(1).mean(1)
    snr = alpha_bar[t] / (1 - alpha_bar[t])
    w = {"min": snr.clamp(min=gamma), "max": snr.clamp(max=gamma)}["<<clamp>>"]
    return (w * error).mean(), {"x0_error": error.mean().detach()}

# ---- loss wrong: no gamma | gamma is not used
def loss(model, x0, t, eps, alpha_bar, gamma):
    a = alpha_bar[t].view(-1, 1, 1, 1)
    x_t = q_sample(x0, t, eps, alpha_bar)
    out = model(x_t, t)
    error = (x0 - (<<x0_of>>)).square().flatten(1).mean(1)
    snr = alpha_bar[t] / (1 - alpha_bar[t])
    return (snr * error).mean(), {"x0_error": error.mean().detach()}

# ---- loss wrong: the simple loss | the error of the network's output
def loss(model, x0, t, eps, alpha_bar, gamma):
    from genai_utils.diffusion import target
    out = model(q_sample(x0, t, eps, alpha_bar), t)
    error = (out - target(x0, t, eps, alpha_bar, "<<predict>>")).square().mean()
    return error, {"x0_error": error.detach()}

# ---- loss wrong: weights laid along the columns | laid along the columns
def loss(model, x0, t, eps, alpha_bar, gamma):
    a = alpha_bar[t].view(-1, 1, 1, 1)
    x_t = q_sample(x0, t, eps, alpha_bar)
    out = model(x_t, t)
    error = (x0 - (<<x0_of>>)).square()
    snr = alpha_bar[t] / (1 - alpha_bar[t])
    return (snr.clamp(<<bound>>=gamma) * error).mean(), {"x0_error": error.mean().detach()}

# ---- loss wrong: the mean weight times the mean error | a product of two means
def loss(model, x0, t, eps, alpha_bar, gamma):
    a = alpha_bar[t].view(-1, 1, 1, 1)
    x_t = q_sample(x0, t, eps, alpha_bar)
    out = model(x_t, t)
    error = (x0 - (<<x0_of>>)).square().mean()
    snr = alpha_bar[t] / (1 - alpha_bar[t])
    return snr.clamp(<<bound>>=gamma).mean() * error, {"x0_error": error.detach()}

# ---- loss wrong: roots forgotten when the noise is added | the square roots are missing
def loss(model, x0, t, eps, alpha_bar, gamma):
    a = alpha_bar[t].view(-1, 1, 1, 1)
    x_t = a * x0 + (1 - a) * eps
    out = model(x_t, t)
    error = (x0 - (<<x0_of>>)).square().flatten(1).mean(1)
    snr = alpha_bar[t] / (1 - alpha_bar[t])
    return (snr.clamp(<<bound>>=gamma) * error).mean(), {"x0_error": error.mean().detach()}

# ---- loss wrong: a sum over the pixels | a sum over the pixels
def loss(model, x0, t, eps, alpha_bar, gamma):
    a = alpha_bar[t].view(-1, 1, 1, 1)
    x_t = q_sample(x0, t, eps, alpha_bar)
    out = model(x_t, t)
    error = (x0 - (<<x0_of>>)).square().flatten(1).sum(1)
    snr = alpha_bar[t] / (1 - alpha_bar[t])
    return (snr.clamp(<<bound>>=gamma) * error).mean(), {"x0_error": error.mean().detach()}

# ---- loss wrong: the output is detached | a detached tensor is in the way
def loss(model, x0, t, eps, alpha_bar, gamma):
    a = alpha_bar[t].view(-1, 1, 1, 1)
    x_t = q_sample(x0, t, eps, alpha_bar)
    out = model(x_t, t)
    out = out.detach() + 0 * out
    error = (x0 - (<<x0_of>>)).square().flatten(1).mean(1)
    snr = alpha_bar[t] / (1 - alpha_bar[t])
    return (snr.clamp(<<bound>>=gamma) * error).mean(), {"x0_error": error.mean().detach()}

# ---- loss wrong: the network runs without a graph | carries no gradient
def loss(model, x0, t, eps, alpha_bar, gamma):
    a = alpha_bar[t].view(-1, 1, 1, 1)
    x_t = q_sample(x0, t, eps, alpha_bar)
    with torch.no_grad():
        out = model(x_t, t)
    error = (x0 - (<<x0_of>>)).square().flatten(1).mean(1)
    snr = alpha_bar[t] / (1 - alpha_bar[t])
    return (snr.clamp(<<bound>>=gamma) * error).mean(), {"x0_error": error.mean()}

# ---- loss wrong: the chapter's t, which counts from 1, in the estimate and the weight | at other times than t
def loss(model, x0, t, eps, alpha_bar, gamma):
    a = alpha_bar[t - 1].view(-1, 1, 1, 1)
    x_t = q_sample(x0, t, eps, alpha_bar)
    out = model(x_t, t)
    error = (x0 - (<<x0_of>>)).square().flatten(1).mean(1)
    snr = alpha_bar[t - 1] / (1 - alpha_bar[t - 1])
    return (snr.clamp(<<bound>>=gamma) * error).mean(), {"x0_error": error.mean().detach()}

# ---- loss wrong: one step off in the weight alone | at other times than t
def loss(model, x0, t, eps, alpha_bar, gamma):
    a = alpha_bar[t].view(-1, 1, 1, 1)
    x_t = q_sample(x0, t, eps, alpha_bar)
    out = model(x_t, t)
    error = (x0 - (<<x0_of>>)).square().flatten(1).mean(1)
    a = alpha_bar[t - 1]
    return ((a / (1 - a)).clamp(<<bound>>=gamma) * error).mean(), {"x0_error": error.mean().detach()}

# ---- loss wrong: the log holds the weights | weighted: log the bare error
def loss(model, x0, t, eps, alpha_bar, gamma):
    a = alpha_bar[t].view(-1, 1, 1, 1)
    x_t = q_sample(x0, t, eps, alpha_bar)
    out = model(x_t, t)
    error = (x0 - (<<x0_of>>)).square().flatten(1).mean(1)
    snr = alpha_bar[t] / (1 - alpha_bar[t])
    error = snr.clamp(<<bound>>=gamma) * error
    return error.mean(), {"x0_error": error.mean().detach()}

# ---- loss wrong: the log keeps the graph | the log keeps the graph
def loss(model, x0, t, eps, alpha_bar, gamma):
    a = alpha_bar[t].view(-1, 1, 1, 1)
    x_t = q_sample(x0, t, eps, alpha_bar)
    out = model(x_t, t)
    error = (x0 - (<<x0_of>>)).square().flatten(1).mean(1)
    snr = alpha_bar[t] / (1 - alpha_bar[t])
    return (snr.clamp(<<bound>>=gamma) * error).mean(), {"x0_error": error.mean()}

# ---- sweep right: numpy sorts, and the statistics are written out
def distance(x, y):
    import numpy as np
    gap = np.abs(np.sort(x.numpy().ravel()) - np.sort(y.numpy().ravel()))
    return float(np.mean(gap**<<kind>>) ** (1 / <<kind>>))


def sweep(name, counts, seeds):
    floor = {s: distance(draw(2000 + s), draw(1000 + s)) for s in seeds}
    rows = []
    for steps in counts:
        e = [distance(walk(name, steps, s), draw(1000 + s)) - floor[s] for s in seeds]
        mean = sum(e) / len(e)
        variance = sum((one - mean) ** 2 for one in e) / (len(e) - 1)
        rows.append({"steps": steps, "excess": mean, "stderr": math.sqrt(variance / len(e))})
    return rows


def choose(rows):
    passes = {row["steps"]: row["excess"] <= <<k>> * row["stderr"] for row in rows}
    good = [n for n in passes if all(passes[m] for m in passes if m >= n)]
    return min(good, default=None)

# ---- sweep right: one tensor for all seeds, and the last failure
def distance(x, y):
    both = torch.stack([x[:, 0], y[:, 0]]).sort(dim=1).values
    return float(torch.linalg.vector_norm(both[0] - both[1], <<kind>>) / len(x) ** (1 / <<kind>>))


def sweep(name, counts, seeds):
    rows = []
    for steps in counts:
        pairs = torch.tensor([[distance(walk(name, steps, s), draw(1000 + s)),
                               distance(draw(2000 + s), draw(1000 + s))] for s in seeds]).double()
        std, mean = torch.std_mean(pairs[:, 0] - pairs[:, 1])
        rows.append({"steps": steps, "excess": float(mean), "stderr": float(std) / len(pairs) ** 0.5})
    return rows


def choose(rows):
    failed = [row["steps"] for row in rows if row["excess"] > <<k>> * row["stderr"]]
    good = [row["steps"] for row in rows if row["steps"] > max(failed, default=0)]
    return min(good) if good else None

# ---- sweep wrong: nothing is sorted | the order of a sample means nothing
def distance(x, y):
    gap = x.flatten() - y.flatten()
    return gap.<<reduced>>.item()


def sweep(name, counts, seeds):
    rows = []
    for steps in counts:
        excess = torch.tensor([distance(walk(name, steps, s), draw(1000 + s))
                               - distance(draw(2000 + s), draw(1000 + s)) for s in seeds])
        rows.append({"steps": steps, "excess": excess.mean().item(),
                     "stderr": (excess.std() / len(excess) ** 0.5).item()})
    return rows


def choose(rows):
    failed = [row["steps"] for row in rows if row["excess"] > <<k>> * row["stderr"]]
    return min((row["steps"] for row in rows if row["steps"] > max(failed, default=0)), default=None)

# ---- sweep wrong: only y is sorted | one sorted and one unsorted
def distance(x, y):
    gap = x.flatten() - y.flatten().sort().values
    return gap.<<reduced>>.item()


def sweep(name, counts, seeds):
    rows = []
    for steps in counts:
        excess = torch.tensor([distance(walk(name, steps, s), draw(1000 + s))
                               - distance(draw(2000 + s), draw(1000 + s)) for s in seeds])
        rows.append({"steps": steps, "excess": excess.mean().item(),
                     "stderr": (excess.std() / len(excess) ** 0.5).item()})
    return rows


def choose(rows):
    failed = [row["steps"] for row in rows if row["excess"] > <<k>> * row["stderr"]]
    return min((row["steps"] for row in rows if row["steps"] > max(failed, default=0)), default=None)

# ---- sweep wrong: sorted along the axis that has one entry | along which axis
def distance(x, y):
    gap = x.sort().values - y.sort().values
    return gap.<<reduced>>.item()


def sweep(name, counts, seeds):
    rows = []
    for steps in counts:
        excess = torch.tensor([distance(walk(name, steps, s), draw(1000 + s))
                               - distance(draw(2000 + s), draw(1000 + s)) for s in seeds])
        rows.append({"steps": steps, "excess": excess.mean().item(),
                     "stderr": (excess.std() / len(excess) ** 0.5).item()})
    return rows


def choose(rows):
    failed = [row["steps"] for row in rows if row["excess"] > <<k>> * row["stderr"]]
    return min((row["steps"] for row in rows if row["steps"] > max(failed, default=0)), default=None)

# ---- sweep wrong: strictly below | still passes: at most
def distance(x, y):
    gap = x.flatten().sort().values - y.flatten().sort().values
    return gap.<<reduced>>.item()


def sweep(name, counts, seeds):
    rows = []
    for steps in counts:
        excess = torch.tensor([distance(walk(name, steps, s), draw(1000 + s))
                               - distance(draw(2000 + s), draw(1000 + s)) for s in seeds])
        rows.append({"steps": steps, "excess": excess.mean().item(),
                     "stderr": (excess.std() / len(excess) ** 0.5).item()})
    return rows


def choose(rows):
    failed = [row["steps"] for row in rows if row["excess"] >= <<k>> * row["stderr"]]
    return min((row["steps"] for row in rows if row["steps"] > max(failed, default=0)), default=None)

# ---- sweep wrong: the size of the excess is judged | a negative excess passes
def distance(x, y):
    gap = x.flatten().sort().values - y.flatten().sort().values
    return gap.<<reduced>>.item()


def sweep(name, counts, seeds):
    rows = []
    for steps in counts:
        excess = torch.tensor([distance(walk(name, steps, s), draw(1000 + s))
                               - distance(draw(2000 + s), draw(1000 + s)) for s in seeds])
        rows.append({"steps": steps, "excess": excess.mean().item(),
                     "stderr": (excess.std() / len(excess) ** 0.5).item()})
    return rows


def choose(rows):
    failed = [row["steps"] for row in rows if abs(row["excess"]) > <<k>> * row["stderr"]]
    return min((row["steps"] for row in rows if row["steps"] > max(failed, default=0)), default=None)

# ---- sweep wrong: the distance of the other kind | of the other kind
def distance(x, y):
    gap = (x.flatten().sort().values - y.flatten().sort().values).abs()
    return (gap ** (3 - <<kind>>)).mean().item() ** (1 / (3 - <<kind>>))


def sweep(name, counts, seeds):
    rows = []
    for steps in counts:
        excess = torch.tensor([distance(walk(name, steps, s), draw(1000 + s))
                               - distance(draw(2000 + s), draw(1000 + s)) for s in seeds])
        rows.append({"steps": steps, "excess": excess.mean().item(),
                     "stderr": (excess.std() / len(excess) ** 0.5).item()})
    return rows


def choose(rows):
    failed = [row["steps"] for row in rows if row["excess"] > <<k>> * row["stderr"]]
    return min((row["steps"] for row in rows if row["steps"] > max(failed, default=0)), default=None)

# ---- sweep wrong: the distance of fresh data is not subtracted | that of fresh data is to be subtracted
def distance(x, y):
    gap = x.flatten().sort().values - y.flatten().sort().values
    return gap.<<reduced>>.item()


def sweep(name, counts, seeds):
    rows = []
    for steps in counts:
        far = torch.tensor([distance(walk(name, steps, s), draw(1000 + s)) for s in seeds]).double()
        rows.append({"steps": steps, "excess": far.mean().item(),
                     "stderr": (far.std() / len(far) ** 0.5).item()})
    return rows


def choose(rows):
    failed = [row["steps"] for row in rows if row["excess"] > <<k>> * row["stderr"]]
    return min((row["steps"] for row in rows if row["steps"] > max(failed, default=0)), default=None)

# ---- sweep wrong: a standard deviation for a standard error | divide by the root of n
def distance(x, y):
    gap = x.flatten().sort().values - y.flatten().sort().values
    return gap.<<reduced>>.item()


def sweep(name, counts, seeds):
    rows = []
    for steps in counts:
        excess = torch.tensor([distance(walk(name, steps, s), draw(1000 + s))
                               - distance(draw(2000 + s), draw(1000 + s)) for s in seeds])
        rows.append({"steps": steps, "excess": excess.mean().item(), "stderr": excess.std().item()})
    return rows


def choose(rows):
    failed = [row["steps"] for row in rows if row["excess"] > <<k>> * row["stderr"]]
    return min((row["steps"] for row in rows if row["steps"] > max(failed, default=0)), default=None)

# ---- sweep wrong: numpy's standard deviation, with n in it | n - 1 is wanted
def distance(x, y):
    gap = x.flatten().sort().values - y.flatten().sort().values
    return gap.<<reduced>>.item()


def sweep(name, counts, seeds):
    import numpy as np
    rows = []
    for steps in counts:
        excess = [distance(walk(name, steps, s), draw(1000 + s))
                  - distance(draw(2000 + s), draw(1000 + s)) for s in seeds]
        rows.append({"steps": steps, "excess": float(np.mean(excess)),
                     "stderr": float(np.std(excess) / np.sqrt(len(excess)))})
    return rows


def choose(rows):
    failed = [row["steps"] for row in rows if row["excess"] > <<k>> * row["stderr"]]
    return min((row["steps"] for row in rows if row["steps"] > max(failed, default=0)), default=None)

# ---- sweep wrong: the fewest steps that pass, whatever comes after | pass by luck
def distance(x, y):
    gap = x.flatten().sort().values - y.flatten().sort().values
    return gap.<<reduced>>.item()


def sweep(name, counts, seeds):
    rows = []
    for steps in counts:
        excess = torch.tensor([distance(walk(name, steps, s), draw(1000 + s))
                               - distance(draw(2000 + s), draw(1000 + s)) for s in seeds])
        rows.append({"steps": steps, "excess": excess.mean().item(),
                     "stderr": (excess.std() / len(excess) ** 0.5).item()})
    return rows


def choose(rows):
    good = [row["steps"] for row in rows if row["excess"] <= <<k>> * row["stderr"]]
    return min(good, default=None)

# ---- sweep wrong: the least excess is chosen | not the least excess
def distance(x, y):
    gap = x.flatten().sort().values - y.flatten().sort().values
    return gap.<<reduced>>.item()


def sweep(name, counts, seeds):
    rows = []
    for steps in counts:
        excess = torch.tensor([distance(walk(name, steps, s), draw(1000 + s))
                               - distance(draw(2000 + s), draw(1000 + s)) for s in seeds])
        rows.append({"steps": steps, "excess": excess.mean().item(),
                     "stderr": (excess.std() / len(excess) ** 0.5).item()})
    return rows


def choose(rows):
    return min(rows, key=lambda row: row["excess"])["steps"]

# ---- sweep wrong: one standard error only | the rule allows <<k>> standard errors
def distance(x, y):
    gap = x.flatten().sort().values - y.flatten().sort().values
    return gap.<<reduced>>.item()


def sweep(name, counts, seeds):
    rows = []
    for steps in counts:
        excess = torch.tensor([distance(walk(name, steps, s), draw(1000 + s))
                               - distance(draw(2000 + s), draw(1000 + s)) for s in seeds])
        rows.append({"steps": steps, "excess": excess.mean().item(),
                     "stderr": (excess.std() / len(excess) ** 0.5).item()})
    return rows


def choose(rows):
    failed = [row["steps"] for row in rows if row["excess"] > row["stderr"]]
    return min((row["steps"] for row in rows if row["steps"] > max(failed, default=0)), default=None)

# ---- loudness survives: 6: return 10 * torch.log10(a *  ... latten(1).mean(1) / (1 - a)) -> return (10 * torch.log10(a * ... mean(1) / (1 - a))).detach() | under no_grad there is no graph to leave

# ---- loss survives: 4: a = alpha_bar[t].view(-1, 1, 1, 1) -> a = alpha_bar[t].view(-1, 1, 1, 1).detach() | a schedule has no gradient

# ---- loss survives: 5: x_t = q_sample(x0, t, eps, alpha_bar) -> x_t = q_sample(x0, t, eps, alpha_bar).detach() | data and noise have no gradient

# ---- loss survives: 8: x0 - x0_hat -> x0_hat - x0 | the difference is squared: the same function

# ---- loss survives: 9: snr = alpha_bar[t] / (1 - alpha_bar[t]) -> snr = (alpha_bar[t] / (1 - alpha_bar[t])).detach() | a schedule has no gradient

# ---- sweep survives: 4: x.sort(0).values - y.sort(0).values -> y.sort(0).values - x.sort(0).values | its size is taken: the same function
