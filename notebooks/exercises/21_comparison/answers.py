# Answers by which the graders of this assignment are proved; read as text by tools/exercises, never imported.

# ---- frechet right: the trace of the covariances, with the root of their product
def frechet(mean_a, <<s>>_a, mean_b, <<s>>_b):
    v_a, v_b = (<<s>>_a<<width>>) ** 2, (<<s>>_b<<width>>) ** 2
    trace = (v_a + v_b - 2 * (v_a * v_b) ** 0.5).sum(-1)
    return (torch.sum((mean_a - mean_b) ** 2, dim=-1) + trace) ** <<exponent>>

# ---- frechet right: one comparison after another, as a distance in the plane of mean and width
def frechet(mean_a, <<s>>_a, mean_b, <<s>>_b):
    found = []
    for row in zip(mean_a, <<s>>_a<<width>>, mean_b, <<s>>_b<<width>>):
        gap = torch.cat([row[0] - row[2], row[1] - row[3]])
        found.append(torch.dot(gap, gap)<<root>>)
    return torch.stack(found)

# ---- frechet right: the norms of both differences
def frechet(mean_a, <<s>>_a, mean_b, <<s>>_b):
    both = torch.stack([mean_a - mean_b, <<s>>_a<<width>> - <<s>>_b<<width>>])
    return torch.einsum("kbd,kbd->b", both, both)<<root>>

# ---- frechet wrong: the widths forgotten | that of the means alone
def frechet(mean_a, <<s>>_a, mean_b, <<s>>_b):
    return (mean_a - mean_b + 0 * <<s>>_a + 0 * <<s>>_b).square().sum(1)<<root>>

# ---- frechet wrong: the means forgotten | that of the widths alone
def frechet(mean_a, <<s>>_a, mean_b, <<s>>_b):
    return (<<s>>_a<<width>> - <<s>>_b<<width>>).square().sum(1)<<root>>

# ---- frechet wrong: what is given taken for the other thing | <<given>> are given
def frechet(mean_a, <<s>>_a, mean_b, <<s>>_b):
    root = lambda x: x if "<<s>>" == "var" else x.sqrt()
    return ((mean_a - mean_b).square() + (root(<<s>>_a) - root(<<s>>_b)).square()).sum(1)<<root>>

# ---- frechet wrong: a root too many or none, against what is asked | root
def frechet(mean_a, <<s>>_a, mean_b, <<s>>_b):
    squared = ((mean_a - mean_b).square() + (<<s>>_a<<width>> - <<s>>_b<<width>>).square()).sum(1)
    return squared if "<<root>>" else squared.sqrt()

# ---- frechet wrong: a mean over the features | their terms add up
def frechet(mean_a, <<s>>_a, mean_b, <<s>>_b):
    squared = ((mean_a - mean_b).square() + (<<s>>_a<<width>> - <<s>>_b<<width>>).square())
    return squared.mean(1)<<root>>

# ---- frechet wrong: the product of the covariances without its root | the root of C_a C_b is asked
def frechet(mean_a, <<s>>_a, mean_b, <<s>>_b):
    a, b = (<<s>>_a<<width>>) ** 2, (<<s>>_b<<width>>) ** 2
    return ((mean_a - mean_b).square() + a + b - 2 * a * b).sum(1)<<root>>

# ---- frechet wrong: the term that both share left out | without the term that both clouds share
def frechet(mean_a, <<s>>_a, mean_b, <<s>>_b):
    a, b = (<<s>>_a<<width>>) ** 2, (<<s>>_b<<width>>) ** 2
    return ((mean_a - mean_b).square() + a + b).sum(1)<<root>>

# ---- frechet wrong: the factor of two forgotten | half of that term
def frechet(mean_a, <<s>>_a, mean_b, <<s>>_b):
    a, b = <<s>>_a<<width>>, <<s>>_b<<width>>
    return ((mean_a - mean_b).square() + a.square() + b.square() - a * b).sum(1)<<root>>

# ---- frechet wrong: one number for the batch | one for each comparison is wanted
def frechet(mean_a, <<s>>_a, mean_b, <<s>>_b):
    squared = ((mean_a - mean_b).square() + (<<s>>_a<<width>> - <<s>>_b<<width>>).square()).sum(1)
    return (squared<<root>>).mean()

# ---- frechet wrong: summed over the comparisons | is wanted
def frechet(mean_a, <<s>>_a, mean_b, <<s>>_b):
    squared = ((mean_a - mean_b).square() + (<<s>>_a<<width>> - <<s>>_b<<width>>).square()).sum(0)
    return squared<<root>>

# ---- frechet wrong: under no_grad | no gradient can flow
def frechet(mean_a, <<s>>_a, mean_b, <<s>>_b):
    with torch.no_grad():
        widths = <<s>>_a<<width>> - <<s>>_b<<width>>
        return ((mean_a - mean_b).square() + widths.square()).sum(1)<<root>>

# ---- frechet wrong: the second cloud held constant | no gradient reaches
def frechet(mean_a, <<s>>_a, mean_b, <<s>>_b):
    mean_b, <<s>>_b = mean_b.detach(), <<s>>_b.detach()
    widths = <<s>>_a<<width>> - <<s>>_b<<width>>
    return ((mean_a - mean_b).square() + widths.square()).sum(1)<<root>>

# ---- frechet survives: 5: mean_a - mean_b -> mean_b - mean_a | the difference is squared: the same

# ---- memorised right: one sample after another
def memorised(samples, train, held_out):
    def near(rows):
        found = [(train - row).pow(2).sum(1).sqrt().min(0) for row in rows]
        return torch.stack([f.values for f in found]), [int(f.indices) for f in found]

    ours, which = near(samples)
    limit = torch.quantile(near(held_out)[0], <<q>>)
    copies = [w for d, w in zip(ours, which) if d < limit]
    return len(copies) / len(samples), torch.tensor(sorted(set(copies)), dtype=torch.int64)

# ---- memorised right: in double precision, the differences written out
def memorised(samples, train, held_out):
    gaps = lambda x: (x.double()[:, None, :] - train.double()[None, :, :]).norm(dim=-1)
    ours = gaps(samples)
    mask = ours.amin(1) < gaps(held_out).amin(1).quantile(<<q>>)
    hits = torch.bincount(ours.argmin(1)[mask], minlength=len(train))
    return float(mask.sum()) / len(mask), hits.nonzero()[:, 0]

# ---- memorised right: the package's nearest neighbours
def memorised(samples, train, held_out):
    from genai_utils.metrics.coverage import nearest
    (ours, which), (theirs, _) = nearest(samples, train), nearest(held_out, train)
    mask = ours < theirs.double().quantile(<<q>>).to(ours.dtype)
    return mask.float().mean().item(), torch.unique(which[mask])

# ---- memorised wrong: the quick way of cdist | cancellation
def memorised(samples, train, held_out):
    ours, which = torch.cdist(samples, train).min(1)
    mask = ours < torch.cdist(held_out, train).min(1).values.quantile(<<q>>)
    return mask.double().mean().item(), which[mask].unique()

# ---- memorised wrong: the threshold from the samples themselves | held-out digits set it
def memorised(samples, train, held_out):
    way = "donot_use_mm_for_euclid_dist"
    ours, which = torch.cdist(samples, train, compute_mode=way).min(1)
    mask = ours < ours.quantile(<<q>>)
    return mask.double().mean().item(), which[mask].unique()

# ---- memorised wrong: held-out digits compared with themselves | compared with themselves
def memorised(samples, train, held_out):
    way = "donot_use_mm_for_euclid_dist"
    ours, which = torch.cdist(samples, train, compute_mode=way).min(1)
    mask = ours < torch.cdist(held_out, held_out, compute_mode=way).min(1).values.quantile(<<q>>)
    return mask.double().mean().item(), which[mask].unique()

# ---- memorised wrong: the other end of the quantile | the other end of the quantile
def memorised(samples, train, held_out):
    way = "donot_use_mm_for_euclid_dist"
    ours, which = torch.cdist(samples, train, compute_mode=way).min(1)
    mask = ours < torch.cdist(held_out, train, compute_mode=way).min(1).values.quantile(1 - <<q>>)
    return mask.double().mean().item(), which[mask].unique()

# ---- memorised wrong: the median, as the ratio has it | a quantile is asked
def memorised(samples, train, held_out):
    way = "donot_use_mm_for_euclid_dist"
    ours, which = torch.cdist(samples, train, compute_mode=way).min(1)
    mask = ours < torch.cdist(held_out, train, compute_mode=way).min(1).values.median()
    return mask.double().mean().item(), which[mask].unique()

# ---- memorised wrong: the chapter's one per cent | at the 1 % quantile
def memorised(samples, train, held_out):
    way = "donot_use_mm_for_euclid_dist"
    ours, which = torch.cdist(samples, train, compute_mode=way).min(1)
    mask = ours < torch.cdist(held_out, train, compute_mode=way).min(1).values.quantile(0.01)
    return mask.double().mean().item(), which[mask].unique()

# ---- memorised wrong: not farther is taken for nearer | strictly nearer
def memorised(samples, train, held_out):
    way = "donot_use_mm_for_euclid_dist"
    ours, which = torch.cdist(samples, train, compute_mode=way).min(1)
    mask = ours <= torch.cdist(held_out, train, compute_mode=way).min(1).values.quantile(<<q>>)
    return mask.double().mean().item(), which[mask].unique()

# ---- memorised wrong: the minimum along the other axis | shape
def memorised(samples, train, held_out):
    way = "donot_use_mm_for_euclid_dist"
    ours, which = torch.cdist(samples, train, compute_mode=way).min(0)
    mask = ours < torch.cdist(held_out, train, compute_mode=way).min(0).values.quantile(<<q>>)
    return mask.double().mean(0, keepdim=True), which[mask].unique()

# ---- memorised wrong: a count for a share | divide by the number of samples
def memorised(samples, train, held_out):
    way = "donot_use_mm_for_euclid_dist"
    ours, which = torch.cdist(samples, train, compute_mode=way).min(1)
    mask = ours < torch.cdist(held_out, train, compute_mode=way).min(1).values.quantile(<<q>>)
    return float(mask.sum()), which[mask].unique()

# ---- memorised wrong: what is no copy | no copy
def memorised(samples, train, held_out):
    way = "donot_use_mm_for_euclid_dist"
    ours, which = torch.cdist(samples, train, compute_mode=way).min(1)
    mask = ours < torch.cdist(held_out, train, compute_mode=way).min(1).values.quantile(<<q>>)
    return 1 - mask.double().mean().item(), which[mask].unique()

# ---- memorised wrong: every sample's neighbour leaks | only
def memorised(samples, train, held_out):
    way = "donot_use_mm_for_euclid_dist"
    ours, which = torch.cdist(samples, train, compute_mode=way).min(1)
    mask = ours < torch.cdist(held_out, train, compute_mode=way).min(1).values.quantile(<<q>>)
    return mask.double().mean().item(), which.unique()

# ---- memorised wrong: a digit that is copied twice is named twice | more than once
def memorised(samples, train, held_out):
    way = "donot_use_mm_for_euclid_dist"
    ours, which = torch.cdist(samples, train, compute_mode=way).min(1)
    mask = ours < torch.cdist(held_out, train, compute_mode=way).min(1).values.quantile(<<q>>)
    return mask.double().mean().item(), which[mask].sort().values

# ---- memorised wrong: indices of the samples | name training digits
def memorised(samples, train, held_out):
    way = "donot_use_mm_for_euclid_dist"
    ours, which = torch.cdist(samples, train, compute_mode=way).min(1)
    mask = ours < torch.cdist(held_out, train, compute_mode=way).min(1).values.quantile(<<q>>)
    return mask.double().mean().item(), mask.nonzero()[:, 0]

# ---- memorised wrong: a tensor for a number | a plain float
def memorised(samples, train, held_out):
    way = "donot_use_mm_for_euclid_dist"
    ours, which = torch.cdist(samples, train, compute_mode=way).min(1)
    mask = ours < torch.cdist(held_out, train, compute_mode=way).min(1).values.quantile(<<q>>)
    return mask.double().mean(), which[mask].unique()

# ---- judge right: the normal equations, and tensors
def limit(model, seed, sizes):
    x = draw(model, seed, max(sizes))
    u = 1 / torch.tensor(sizes, dtype=torch.float64)
    d = torch.tensor([gaussian_distance(fit_gaussian(x[:n]), REAL) for n in sizes]).double()
    b = ((u - u.mean()) * d).sum() / ((u - u.mean()) * u).sum()
    return float(d.mean() - b * u.mean())


def decide(a, b):
    both = (a - b)[~(a.isnan() | b.isnan())].double()
    if len(both) < 3:
        return "undecided"
    half = T[<<level>>][len(both) - 1] * both.std() / len(both) ** 0.5
    low, high = both.mean() - half, both.mean() + half
    return "A" if high < 0 else "B" if low > 0 else "undecided"

# ---- judge right: numpy's line, and the t statistic against its quantile
def limit(model, seed, sizes):
    import numpy as np
    x = draw(model, seed, max(sizes))
    d = [gaussian_distance(fit_gaussian(x[:n]), REAL) for n in sizes]
    return float(np.polyfit([1 / n for n in sizes], d, 1)[1])


def decide(a, b):
    good = [s for s in range(len(a)) if not (math.isnan(a[s]) or math.isnan(b[s]))]
    S = len(good)
    if S <= 2:
        return "undecided"
    diff = [float(a[s]) - float(b[s]) for s in good]
    mean = sum(diff) / S
    squares = sum((value - mean) ** 2 for value in diff)
    error = math.sqrt(squares / (S - 1) / S)
    if abs(mean) <= T[<<level>>][S - 1] * error:
        return "undecided"
    return "AB"[mean > 0]

# ---- judge wrong: the largest sample will do | its bias is smaller, not gone
def limit(model, seed, sizes):
    return gaussian_distance(fit_gaussian(draw(model, seed, max(sizes))), REAL)

# ---- judge wrong: a line in n | the bias is proportional to 1/n
def limit(model, seed, sizes):
    import statistics
    x = draw(model, seed, max(sizes))
    d = [gaussian_distance(fit_gaussian(x[:n]), REAL) for n in sizes]
    return float(statistics.linear_regression(sizes, d).intercept)

# ---- judge wrong: the slope returned | the slope of the line
def limit(model, seed, sizes):
    import statistics
    x = draw(model, seed, max(sizes))
    d = [gaussian_distance(fit_gaussian(x[:n]), REAL) for n in sizes]
    return float(statistics.linear_regression([1 / n for n in sizes], d).slope)

# ---- judge wrong: a fresh sample for every size | draw once
def limit(model, seed, sizes):
    import statistics
    d = [gaussian_distance(fit_gaussian(draw(model, seed, n)), REAL) for n in sizes]
    return float(statistics.linear_regression([1 / n for n in sizes], d).intercept)

# ---- judge wrong: the last rows | take the first
def limit(model, seed, sizes):
    import statistics
    x = draw(model, seed, max(sizes))
    d = [gaussian_distance(fit_gaussian(x[-n:]), REAL) for n in sizes]
    return float(statistics.linear_regression([1 / n for n in sizes], d).intercept)

# ---- judge wrong: the mean of all sizes | the mean of the scores
def limit(model, seed, sizes):
    x = draw(model, seed, max(sizes))
    return fmean([gaussian_distance(fit_gaussian(x[:n]), REAL) for n in sizes])

# ---- judge wrong: only the two ends of the line | when each n comes twice
def limit(model, seed, sizes):
    x = draw(model, seed, max(sizes))
    n, m = sizes[0], sizes[-1]
    few, many = (gaussian_distance(fit_gaussian(x[:k]), REAL) for k in (n, m))
    return (m * many - n * few) / (m - n) if m > n else many

# ---- judge wrong: two means with two errors, unpaired | judge the differences
def decide(a, b):
    good = ~(a.isnan() | b.isnan())
    a, b, S = a[good], b[good], int(good.sum())
    if S < 3:
        return "undecided"
    half = T[<<level>>][S - 1] * ((a.var() + b.var()) / S).sqrt()
    gap = a.mean() - b.mean()
    return "A" if gap + half < 0 else "B" if gap - half > 0 else "undecided"

# ---- judge wrong: higher is better | lower is better
def decide(a, b):
    d = (a - b)[~(a - b).isnan()]
    if len(d) < 3:
        return "undecided"
    half = T[<<level>>][len(d) - 1] * d.std() / len(d) ** 0.5
    return "A" if d.mean() - half > 0 else "B" if d.mean() + half < 0 else "undecided"

# ---- judge wrong: the smaller mean wins | the interval contains 0
def decide(a, b):
    d = (a - b)[~(a - b).isnan()]
    if len(d) < 3:
        return "undecided"
    return "A" if d.mean() < 0 else "B" if d.mean() > 0 else "undecided"

# ---- judge wrong: the spread of one difference | where is the root of S
def decide(a, b):
    d = (a - b)[~(a - b).isnan()]
    if len(d) < 3:
        return "undecided"
    half = T[<<level>>][len(d) - 1] * d.std()
    return "A" if d.mean() + half < 0 else "B" if d.mean() - half > 0 else "undecided"

# ---- judge wrong: a normal quantile | few seeds need Student's t
def decide(a, b):
    d = (a - b)[~(a - b).isnan()]
    if len(d) < 3:
        return "undecided"
    half = {90: 1.645, 95: 1.960}[<<level>>] * d.std() / len(d) ** 0.5
    return "A" if d.mean() + half < 0 else "B" if d.mean() - half > 0 else "undecided"

# ---- judge wrong: S degrees of freedom | not S
def decide(a, b):
    d = (a - b)[~(a - b).isnan()]
    if len(d) < 3:
        return "undecided"
    half = T[<<level>>][min(len(d), 9)] * d.std() / len(d) ** 0.5
    return "A" if d.mean() + half < 0 else "B" if d.mean() - half > 0 else "undecided"

# ---- judge wrong: a standard deviation with S in the denominator | divide by S - 1
def decide(a, b):
    d = (a - b)[~(a - b).isnan()]
    if len(d) < 3:
        return "undecided"
    half = T[<<level>>][len(d) - 1] * d.std(correction=0) / len(d) ** 0.5
    return "A" if d.mean() + half < 0 else "B" if d.mean() - half > 0 else "undecided"

# ---- judge wrong: the other level | not the one of <<level>> %
def decide(a, b):
    d = (a - b)[~(a - b).isnan()]
    if len(d) < 3:
        return "undecided"
    half = T[185 - <<level>>][len(d) - 1] * d.std() / len(d) ** 0.5
    return "A" if d.mean() + half < 0 else "B" if d.mean() - half > 0 else "undecided"

# ---- judge wrong: two seeds decide | two seeds are too few
def decide(a, b):
    d = (a - b)[~(a - b).isnan()]
    half = T[<<level>>][len(d) - 1] * d.std() / len(d) ** 0.5
    return "A" if d.mean() + half < 0 else "B" if d.mean() - half > 0 else "undecided"

# ---- judge wrong: failed runs spoil everything | failed runs
def decide(a, b):
    d = a - b
    if len(d) < 3:
        return "undecided"
    half = T[<<level>>][len(d) - 1] * d.std() / len(d) ** 0.5
    return "A" if d.mean() + half < 0 else "B" if d.mean() - half > 0 else "undecided"

# ---- judge wrong: failed runs taken out of each model for itself | failed runs
def decide(a, b):
    a, b = a[~a.isnan()], b[~b.isnan()]
    S = min(len(a), len(b))
    d = a[:S] - b[:S]
    if S < 3:
        return "undecided"
    half = T[<<level>>][S - 1] * d.std() / S**0.5
    return "A" if d.mean() + half < 0 else "B" if d.mean() - half > 0 else "undecided"

# ---- judge survives: 4: samples = draw(model, seed, max(sizes)) -> samples = draw(model, seed, max(sizes)).detach() | no graph: the same
# ---- judge survives: 5: 1 -> 2 | a line in 2/n has the same value at its origin
