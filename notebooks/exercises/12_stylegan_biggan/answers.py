# Answers by which the graders of this assignment are proved; read as text by tools/exercises, never imported.

# ---- truncated right: by torch.distributions
def truncated(u, t):
    normal, edge = Normal(torch.zeros((), dtype=u.dtype), 1), torch.tensor(<<bound>>, dtype=u.dtype)
    p = torch.lerp(normal.cdf(-edge), normal.cdf(edge), u)
    return normal.icdf(p) * <<back>>

# ---- truncated right: by the error function
def truncated(u, t):
    root = 2**0.5
    half = torch.erf(torch.as_tensor(<<bound>> / root, dtype=u.dtype))   # within 0 and the edge, twice
    return <<back>> * root * torch.erfinv((2 * u - 1) * half)

# ---- truncated wrong: clamped | piled up at the ends
def truncated(u, t):
    return torch.special.ndtri(u).clamp(-2 * t, 2 * t)

# ---- truncated wrong: the other rule | the other of the chapter's two rules
def truncated(u, t):
    edge = torch.as_tensor(<<other_bound>>, dtype=u.dtype)
    low, high = torch.special.ndtr(-edge), torch.special.ndtr(edge)
    return <<other_back>> * torch.special.ndtri(low + u * (high - low))

# ---- truncated wrong: cut at half of it | truncated at t in the place of 2t
def truncated(u, t):
    edge = torch.as_tensor(<<bound>> / 2, dtype=u.dtype)
    low, high = torch.special.ndtr(-edge), torch.special.ndtr(edge)
    return <<back>> * torch.special.ndtri(low + u * (high - low))

# ---- truncated wrong: made smaller and never cut | nothing is cut
def truncated(u, t):
    return t * torch.special.ndtri(u)

# ---- truncated wrong: uniform numbers | the bell is lost
def truncated(u, t):
    return 2 * t * (2 * u - 1)

# ---- truncated wrong: the upper tail | turned round
def truncated(u, t):
    edge = torch.as_tensor(<<bound>>, dtype=u.dtype)
    low, high = torch.special.ndtr(-edge), torch.special.ndtr(edge)
    return <<back>> * torch.special.ndtri(high - u * (high - low))

# ---- truncated wrong: through numpy's door | no gradient can flow
def truncated(u, t):
    edge = torch.as_tensor(<<bound>>, dtype=u.dtype)
    low, high = torch.special.ndtr(-edge), torch.special.ndtr(edge)
    return <<back>> * torch.special.ndtri(low + u.detach() * (high - low))

# ---- truncated wrong: clamped at 2 and made smaller | cut off with clamp
def truncated(u, t):
    return t * torch.special.ndtri(u).clamp(-2, 2)

# ---- with_spread right: group by group, in a loop
def with_spread(x, size):
    count, extra = len(x), torch.zeros(len(x), 1, *x.shape[2:], dtype=x.dtype)
    member = torch.tensor([<<member>> for n in range(count)])
    for m in member.unique():
        part = x[member == m]
        var = (part.square().mean(0) - part.mean(0).square()).clamp(min=0)[None]
        extra[member == m] = <<statistic>>.squeeze()
    return torch.cat([x, extra], 1)

# ---- with_spread right: a matrix that says who belongs to whom
def with_spread(x, size):
    count = len(x)
    member = torch.tensor([<<member>> for n in range(count)])
    share = (member[:, None] == member).to(x.dtype) / size               # (B, B)
    centre = torch.einsum("bn,nchw->bchw", share, x)
    var = torch.einsum("bn,nchw->bchw", share, (x - centre) ** 2)
    return torch.cat([x, (<<statistic>>)[:, None, None, None] + 0 * x[:, :1]], 1)

# ---- with_spread right: the package's function of single groups
def with_spread(x, size):
    import math
    count, rows = len(x), [None] * len(x)
    for first in range(count):
        group = [i for i in range(count) if (lambda n: <<member>>)(i) == (lambda n: <<member>>)(first)]
        var = torch.var(x[group], dim=0, unbiased=False).unsqueeze(0)
        rows[first] = (<<statistic>>).reshape(1, 1, 1).repeat(1, *x.shape[2:])
    return torch.cat((x, torch.stack(rows)), dim=1)

# ---- with_spread wrong: the other groups | which pictures belong together
def with_spread(x, size):
    count = len(x)
    member = torch.tensor([<<stranger>> for n in range(count)])
    share = (member[:, None] == member).to(x.dtype) / size
    var = torch.einsum("bn,nchw->bchw", share, (x - torch.einsum("bn,nchw->bchw", share, x)) ** 2)
    return torch.cat([x, (<<statistic>>)[:, None, None, None] + 0 * x[:, :1]], 1)

# ---- with_spread wrong: numbers handed to the wrong pictures | handed to the wrong pictures
def with_spread(x, size):
    var = x.unflatten(0, <<order>>).var(<<axis>>, correction=0)
    spread = <<statistic>>
    each = spread.repeat(size) if <<axis>> == 1 else spread.repeat_interleave(size)
    return torch.cat([x, each[:, None, None, None].expand(-1, 1, *x.shape[2:])], dim=1)

# ---- with_spread wrong: the whole batch as one group | the spread of the whole batch
def with_spread(x, size):
    var = x.var(0, correction=0)[None]
    each = (<<statistic>>).expand(len(x))
    return torch.cat([x, each[:, None, None, None].expand(-1, 1, *x.shape[2:])], dim=1)

# ---- with_spread wrong: the unbiased variance | divide by G
def with_spread(x, size):
    var = x.unflatten(0, <<order>>).var(<<axis>>)
    each = (<<statistic>>).<<hand>>
    return torch.cat([x, each[:, None, None, None].expand(-1, 1, *x.shape[2:])], dim=1)

# ---- with_spread wrong: no root | a variance: the root is missing
def with_spread(x, size):
    var = x.unflatten(0, <<order>>).var(<<axis>>, correction=0)
    each = var.mean((1, 2, 3)).<<hand>>
    return torch.cat([x, each[:, None, None, None].expand(-1, 1, *x.shape[2:])], dim=1)

# ---- with_spread wrong: nothing under the root | a gradient of nan
def with_spread(x, size):
    x_ = x.unflatten(0, <<order>>)
    var = x_.var(<<axis>>, correction=0) - 1e-8
    each = (<<statistic>>).<<hand>>
    return torch.cat([x, each[:, None, None, None].expand(-1, 1, *x.shape[2:])], dim=1)

# ---- with_spread wrong: the spread of the pixels | not over pictures
def with_spread(x, size):
    each = x.flatten(1).std(1, correction=0)
    return torch.cat([x, each[:, None, None, None].expand(-1, 1, *x.shape[2:])], dim=1)

# ---- with_spread wrong: the new map in front | must come first, unchanged
def with_spread(x, size):
    var = x.unflatten(0, <<order>>).var(<<axis>>, correction=0)
    each = (<<statistic>>).<<hand>>
    return torch.cat([each[:, None, None, None].expand(-1, 1, *x.shape[2:]), x], dim=1)

# ---- with_spread wrong: the new map is detached | no gradient reaches x
def with_spread(x, size):
    var = x.detach().unflatten(0, <<order>>).var(<<axis>>, correction=0)
    each = (<<statistic>>).<<hand>>
    return torch.cat([x, each[:, None, None, None].expand(-1, 1, *x.shape[2:])], dim=1)

# ---- measure right: point by point
def radii(x, k):
    return [sorted((x - p).norm(dim=1).tolist())[k] for p in x]


def measure(real, classes, samples):
    r_real, r_made = (torch.tensor(radii(x, <<k>>)) for x in (real, samples))
    precise = [bool(((real - s).norm(dim=1) <= r_real * (1 + 1e-6)).any()) for s in samples]
    reached = [bool(((samples - p).norm(dim=1) <= r_made * (1 + 1e-6)).any()) for p in real]
    by_class = {}
    for c, hit in zip(classes.tolist(), reached):
        by_class.setdefault(c, []).append(hit)
    mean = lambda hits: sum(hits) / len(hits)
    return {"precision": mean(precise), "recall": mean(reached),
            "worst": min(map(mean, by_class.values()))}


def choose(rows):
    best = max(rows, key=lambda row: row["precision"])["precision"]
    kept = filter(lambda row: best - row["precision"] <= <<slack>>, rows)
    return max(kept, key=lambda row: (row["<<most>>"], row["t"]))["t"]

# ---- measure right: the package's figures, class by class
def measure(real, classes, samples):
    from genai_utils.metrics import precision_recall
    found = precision_recall(real, samples, k=<<k>>)
    worst = 1.0
    for c in set(classes.tolist()):
        part = torch.cat([real[classes == c]] * (<<k>> + 1))             # enough of them for k
        worst = min(worst, precision_recall(part, samples, k=<<k>>).recall.value)
    return {"precision": found.precision.value, "recall": found.recall.value, "worst": worst}


def choose(rows):
    best, kept = max(row["precision"] for row in rows), None
    for row in sorted(rows, key=lambda row: row["t"]):
        if row["precision"] >= best - <<slack>>:
            if kept is None or row["<<most>>"] >= kept["<<most>>"]:
                kept = row
    return kept["t"]

# ---- measure wrong: data and samples exchanged | exchange data and samples
def measure(real, classes, samples):
    distance = torch.cdist(samples, real)
    reached = (distance <= neighbour_radius(real, <<k>>)).any(1).float()
    precise = (distance <= neighbour_radius(samples, <<k>>)[:, None]).any(0).float()
    worst = min(precise[classes == c].mean().item() for c in classes.unique())
    return {"precision": precise.mean().item(), "recall": reached.mean().item(), "worst": worst}


def choose(rows):
    best = max(row["precision"] for row in rows)
    kept = [row for row in rows if row["precision"] >= best - <<slack>>]
    return max(kept, key=lambda row: (row["<<most>>"], row["t"]))["t"]

# ---- measure wrong: the other number of neighbours | out to neighbour <<not_k>>
def measure(real, classes, samples):
    distance = torch.cdist(samples, real)
    precise = (distance <= neighbour_radius(real, <<not_k>>)).any(1).float()
    reached = (distance <= neighbour_radius(samples, <<not_k>>)[:, None]).any(0).float()
    worst = min(reached[classes == c].mean().item() for c in classes.unique())
    return {"precision": precise.mean().item(), "recall": reached.mean().item(), "worst": worst}


def choose(rows):
    best = max(row["precision"] for row in rows)
    kept = [row for row in rows if row["precision"] >= best - <<slack>>]
    return max(kept, key=lambda row: (row["<<most>>"], row["t"]))["t"]

# ---- measure wrong: the point itself counts as a neighbour | the point itself is none
def measure(real, classes, samples):
    distance = torch.cdist(samples, real)
    radius = lambda x: torch.cdist(x, x).kthvalue(<<k>>, dim=1).values
    precise = (distance <= radius(real)).any(1).float()
    reached = (distance <= radius(samples)[:, None]).any(0).float()
    worst = min(reached[classes == c].mean().item() for c in classes.unique())
    return {"precision": precise.mean().item(), "recall": reached.mean().item(), "worst": worst}


def choose(rows):
    best = max(row["precision"] for row in rows)
    kept = [row for row in rows if row["precision"] >= best - <<slack>>]
    return max(kept, key=lambda row: (row["<<most>>"], row["t"]))["t"]

# ---- measure wrong: the mean over classes | the mean over the classes
def measure(real, classes, samples):
    distance = torch.cdist(samples, real)
    precise = (distance <= neighbour_radius(real, <<k>>)).any(1).float()
    reached = (distance <= neighbour_radius(samples, <<k>>)[:, None]).any(0).float()
    worst = sum(reached[classes == c].mean().item() for c in classes.unique()) / 10
    return {"precision": precise.mean().item(), "recall": reached.mean().item(), "worst": worst}


def choose(rows):
    best = max(row["precision"] for row in rows)
    kept = [row for row in rows if row["precision"] >= best - <<slack>>]
    return max(kept, key=lambda row: (row["<<most>>"], row["t"]))["t"]

# ---- measure wrong: shares of all data | divide by the number of data of the class
def measure(real, classes, samples):
    distance = torch.cdist(samples, real)
    precise = (distance <= neighbour_radius(real, <<k>>)).any(1).float()
    reached = (distance <= neighbour_radius(samples, <<k>>)[:, None]).any(0).float()
    worst = min((reached * (classes == c)).mean().item() for c in classes.unique())
    return {"precision": precise.mean().item(), "recall": reached.mean().item(), "worst": worst}


def choose(rows):
    best = max(row["precision"] for row in rows)
    kept = [row for row in rows if row["precision"] >= best - <<slack>>]
    return max(kept, key=lambda row: (row["<<most>>"], row["t"]))["t"]

# ---- measure wrong: tensors are returned | plain floats are wanted
def measure(real, classes, samples):
    distance = torch.cdist(samples, real)
    precise = (distance <= neighbour_radius(real, <<k>>)).any(1).float()
    reached = (distance <= neighbour_radius(samples, <<k>>)[:, None]).any(0).float()
    worst = torch.stack([reached[classes == c].mean() for c in classes.unique()]).min()
    return {"precision": precise.mean(), "recall": reached.mean(), "worst": worst}


def choose(rows):
    best = max(row["precision"] for row in rows)
    kept = [row for row in rows if row["precision"] >= best - <<slack>>]
    return max(kept, key=lambda row: (row["<<most>>"], row["t"]))["t"]

# ---- measure wrong: precision is not looked at | filter first
def measure(real, classes, samples):
    distance = torch.cdist(samples, real)
    precise = (distance <= neighbour_radius(real, <<k>>)).any(1).float()
    reached = (distance <= neighbour_radius(samples, <<k>>)[:, None]).any(0).float()
    worst = min(reached[classes == c].mean().item() for c in classes.unique())
    return {"precision": precise.mean().item(), "recall": reached.mean().item(), "worst": worst}


def choose(rows):
    return max(rows, key=lambda row: (row["<<most>>"], row["t"]))["t"]

# ---- measure wrong: the largest precision is chosen | not what the rule asks for
def measure(real, classes, samples):
    distance = torch.cdist(samples, real)
    precise = (distance <= neighbour_radius(real, <<k>>)).any(1).float()
    reached = (distance <= neighbour_radius(samples, <<k>>)[:, None]).any(0).float()
    worst = min(reached[classes == c].mean().item() for c in classes.unique())
    return {"precision": precise.mean().item(), "recall": reached.mean().item(), "worst": worst}


def choose(rows):
    return max(rows, key=lambda row: row["precision"])["t"]

# ---- measure wrong: the other figure decides | the largest <<most>>
def measure(real, classes, samples):
    distance = torch.cdist(samples, real)
    precise = (distance <= neighbour_radius(real, <<k>>)).any(1).float()
    reached = (distance <= neighbour_radius(samples, <<k>>)[:, None]).any(0).float()
    worst = min(reached[classes == c].mean().item() for c in classes.unique())
    return {"precision": precise.mean().item(), "recall": reached.mean().item(), "worst": worst}


def choose(rows):
    best = max(row["precision"] for row in rows)
    kept = [row for row in rows if row["precision"] >= best - <<slack>>]
    return max(kept, key=lambda row: (row["<<not_most>>"], row["t"]))["t"]

# ---- measure wrong: the edges of the balls are left out | counted without the edges
def measure(real, classes, samples):
    distance = torch.cdist(samples, real)
    precise = (distance < neighbour_radius(real, <<k>>)).any(1).float()
    reached = (distance < neighbour_radius(samples, <<k>>)[:, None]).any(0).float()
    worst = min(reached[classes == c].mean().item() for c in classes.unique())
    return {"precision": precise.mean().item(), "recall": reached.mean().item(), "worst": worst}


def choose(rows):
    best = max(row["precision"] for row in rows)
    kept = [row for row in rows if row["precision"] >= best - <<slack>>]
    return max(kept, key=lambda row: (row["<<most>>"], row["t"]))["t"]

# ---- measure wrong: in any of the balls, along the wrong axis | along the wrong axis
def measure(real, classes, samples):
    distance = torch.cdist(samples, real)
    precise = (distance <= neighbour_radius(real, <<k>>)).any(0).float()
    reached = (distance <= neighbour_radius(samples, <<k>>)[:, None]).any(1).float()
    worst = reached.mean().item()
    return {"precision": precise.mean().item(), "recall": reached.mean().item(), "worst": worst}


def choose(rows):
    best = max(row["precision"] for row in rows)
    kept = [row for row in rows if row["precision"] >= best - <<slack>>]
    return max(kept, key=lambda row: (row["<<most>>"], row["t"]))["t"]

# ---- measure wrong: all ten classes, also those that do not occur | worst is nan
def measure(real, classes, samples):
    distance = torch.cdist(samples, real)
    precise = (distance <= neighbour_radius(real, <<k>>)).any(1).float()
    reached = (distance <= neighbour_radius(samples, <<k>>)[:, None]).any(0).float()
    worst = min(reached[classes == c].mean().item() for c in range(10))
    return {"precision": precise.mean().item(), "recall": reached.mean().item(), "worst": worst}


def choose(rows):
    best = max(row["precision"] for row in rows)
    kept = [row for row in rows if row["precision"] >= best - <<slack>>]
    return max(kept, key=lambda row: (row["<<most>>"], row["t"]))["t"]

# ---- measure wrong: a class that does not occur has recall 0 | leave out classes that do not occur
def measure(real, classes, samples):
    distance = torch.cdist(samples, real)
    precise = (distance <= neighbour_radius(real, <<k>>)).any(1).float()
    reached = (distance <= neighbour_radius(samples, <<k>>)[:, None]).any(0).float()
    worst = (torch.zeros(10).index_add(0, classes, reached) / classes.bincount(minlength=10).clamp(min=1)).min().item()
    return {"precision": precise.mean().item(), "recall": reached.mean().item(), "worst": worst}


def choose(rows):
    best = max(row["precision"] for row in rows)
    kept = [row for row in rows if row["precision"] >= best - <<slack>>]
    return max(kept, key=lambda row: (row["<<most>>"], row["t"]))["t"]

# ---- measure wrong: a share of the largest precision, not a difference | do not multiply
def measure(real, classes, samples):
    distance = torch.cdist(samples, real)
    precise = (distance <= neighbour_radius(real, <<k>>)).any(1).float()
    reached = (distance <= neighbour_radius(samples, <<k>>)[:, None]).any(0).float()
    worst = min(reached[classes == c].mean().item() for c in classes.unique())
    return {"precision": precise.mean().item(), "recall": reached.mean().item(), "worst": worst}


def choose(rows):
    best = max(row["precision"] for row in rows)
    kept = [row for row in rows if row["precision"] >= best * (1 - <<slack>>)]
    return max(kept, key=lambda row: (row["<<most>>"], row["t"]))["t"]

# ---- measure wrong: less than the margin | is admitted
def measure(real, classes, samples):
    distance = torch.cdist(samples, real)
    precise = (distance <= neighbour_radius(real, <<k>>)).any(1).float()
    reached = (distance <= neighbour_radius(samples, <<k>>)[:, None]).any(0).float()
    worst = min(reached[classes == c].mean().item() for c in classes.unique())
    return {"precision": precise.mean().item(), "recall": reached.mean().item(), "worst": worst}


def choose(rows):
    best = max(row["precision"] for row in rows)
    kept = [row for row in rows if best - row["precision"] < <<slack>>]
    return max(kept, key=lambda row: (row["<<most>>"], row["t"]))["t"]

# ---- measure wrong: compared with 1 | not with 1
def measure(real, classes, samples):
    distance = torch.cdist(samples, real)
    precise = (distance <= neighbour_radius(real, <<k>>)).any(1).float()
    reached = (distance <= neighbour_radius(samples, <<k>>)[:, None]).any(0).float()
    worst = min(reached[classes == c].mean().item() for c in classes.unique())
    return {"precision": precise.mean().item(), "recall": reached.mean().item(), "worst": worst}


def choose(rows):
    best = max(row["precision"] for row in rows)
    kept = [row for row in rows if row["precision"] >= 1 - <<slack>>]
    return max(kept, key=lambda row: (row["<<most>>"], row["t"]))["t"]

# ---- measure wrong: of equal rows the first | the largest t is to be kept
def measure(real, classes, samples):
    distance = torch.cdist(samples, real)
    precise = (distance <= neighbour_radius(real, <<k>>)).any(1).float()
    reached = (distance <= neighbour_radius(samples, <<k>>)[:, None]).any(0).float()
    worst = min(reached[classes == c].mean().item() for c in classes.unique())
    return {"precision": precise.mean().item(), "recall": reached.mean().item(), "worst": worst}


def choose(rows):
    best = max(row["precision"] for row in rows)
    kept = [row for row in rows if row["precision"] >= best - <<slack>>]
    return max(kept, key=lambda row: row["<<most>>"])["t"]

# ---- measure wrong: of equal rows the smallest t | the largest t is to be kept
def measure(real, classes, samples):
    distance = torch.cdist(samples, real)
    precise = (distance <= neighbour_radius(real, <<k>>)).any(1).float()
    reached = (distance <= neighbour_radius(samples, <<k>>)[:, None]).any(0).float()
    worst = min(reached[classes == c].mean().item() for c in classes.unique())
    return {"precision": precise.mean().item(), "recall": reached.mean().item(), "worst": worst}


def choose(rows):
    best = max(row["precision"] for row in rows)
    kept = [row for row in rows if row["precision"] >= best - <<slack>>]
    return max(kept, key=lambda row: (row["<<most>>"], -row["t"]))["t"]

# ---- measure survives: 4: distance = torch.cdist(samples, real) -> distance = torch.cdist(samples, real).detach() | plain floats are returned: there is no gradient to lose
