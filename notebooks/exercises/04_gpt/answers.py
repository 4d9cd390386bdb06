# Answers by which the graders of this assignment are proved; read as text by tools/exercises, never imported.

# ---- places right: einsum, and one query after another
def places(q, k, s):
    found = []
    for query, keys in zip(q, k):
        scores = torch.einsum("d,sd->s", query / s, keys / s) * <<goal>> / len(query) ** 0.5
        a = scores.softmax(0)[None]
        found.append((<<of_weights>>)[0])
    return torch.stack(found)

# ---- places right: torch's own attention, with an identity for the values
def places(q, k, s):
    B, S, D = k.shape
    every = torch.eye(S, dtype=q.dtype).expand(B, S, S)
    a = F.scaled_dot_product_attention(q[:, None], k, every, scale=<<goal>> / s**2 / D**0.5)[:, 0]
    return <<of_weights>>

# ---- places wrong: no scale | unscaled scores
def places(q, k, s):
    scale = 1
    a = ((k @ q[:, :, None])[:, :, 0] * scale).softmax(1)
    return <<of_weights>>

# ---- places wrong: the width in place of its root | its square root is meant
def places(q, k, s):
    scale = <<goal>> / (s**2 * q.shape[1])
    a = ((k @ q[:, :, None])[:, :, 0] * scale).softmax(1)
    return <<of_weights>>

# ---- places wrong: the chapter's scale | standard deviation 1: another is wanted
def places(q, k, s):
    scale = 1 / (s**2 * math.sqrt(q.shape[1]))
    a = ((k @ q[:, :, None])[:, :, 0] * scale).softmax(1)
    return <<of_weights>>

# ---- places wrong: the wanted standard deviation below the fraction | of one over the wanted
def places(q, k, s):
    scale = 1 / (<<goal>> * s**2 * math.sqrt(q.shape[1]))
    a = ((k @ q[:, :, None])[:, :, 0] * scale).softmax(1)
    return <<of_weights>>

# ---- places wrong: the spread counted once | both q and k have s
def places(q, k, s):
    scale = <<goal>> / (s * math.sqrt(q.shape[1]))
    a = ((k @ q[:, :, None])[:, :, 0] * scale).softmax(1)
    return <<of_weights>>

# ---- places wrong: the spread is not used | s is not used
def places(q, k, s):
    scale = <<goal>> / math.sqrt(q.shape[1])
    a = ((k @ q[:, :, None])[:, :, 0] * scale).softmax(1)
    return <<of_weights>>

# ---- places wrong: the other measure | another measure of how many places
def places(q, k, s):
    scale = <<goal>> / (s**2 * math.sqrt(q.shape[1]))
    a = ((k @ q[:, :, None])[:, :, 0] * scale).softmax(1)
    return (1 / a.square().sum(1)) if "entropy" in "<<measure>>" else torch.special.entr(a).sum(1).exp()

# ---- places wrong: the softmax over the batch | is wrong
def places(q, k, s):
    scale = <<goal>> / (s**2 * math.sqrt(q.shape[1]))
    a = ((k @ q[:, :, None])[:, :, 0] * scale).softmax(0)
    return <<of_weights>>

# ---- places wrong: the queries have no gradient | no gradient reaches q
def places(q, k, s):
    scale = <<goal>> / (s**2 * math.sqrt(q.shape[1]))
    a = ((k @ q.detach()[:, :, None])[:, :, 0] * scale).softmax(1)
    return <<of_weights>>

# ---- places wrong: the number of keys in place of the width | the width is meant
def places(q, k, s):
    a = ((k @ q[:, :, None]).squeeze(2) * <<goal>> / (s**2 * math.sqrt(k.shape[1]))).softmax(1)
    return <<of_weights>>

# ---- places wrong: the wanted number taken for a variance | it is a standard deviation
def places(q, k, s):
    a = ((k @ q[:, :, None]).squeeze(2) * <<goal>> ** 0.5 / (s**2 * math.sqrt(q.shape[1]))).softmax(1)
    return <<of_weights>>

# ---- places wrong: multiplied by the variance | divide
def places(q, k, s):
    a = ((k @ q[:, :, None]).squeeze(2) * <<goal>> * s**2 / math.sqrt(q.shape[1])).softmax(1)
    return <<of_weights>>

# ---- places wrong: scores divided by their own spread | tell it beforehand
def places(q, k, s):
    scores = (k @ q[:, :, None]).squeeze(2)
    a = (<<goal>> * scores / scores.std(1, keepdim=True)).softmax(1)
    return <<of_weights>>

# ---- places wrong: a softmax without care for large scores | is not finite
def places(q, k, s):
    e = ((k @ q[:, :, None]).squeeze(2) * <<goal>> / (s**2 * math.sqrt(q.shape[1]))).exp()
    a = e / e.sum(1, keepdim=True)
    return <<of_weights>>

# ---- verify right: what both share, by torch.minimum, and from the last token backwards
def verify(target, draft, tokens):
    p = warp_logits(target, <<warp>>).softmax(-1)[:, :-1]
    q = draft.log_softmax(-1).exp()
    shared = torch.minimum(p, q)
    keep = (shared / q).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
    left = p - shared
    mass = left.sum(-1, keepdim=True)
    yields = torch.ones_like(keep[:, 0])
    for i in reversed(range(tokens.shape[1])):
        yields = 1 + keep[:, i] * yields
    return keep, torch.where(mass == 0, p, left / mass), yields

# ---- verify right: in loops over texts and places
def verify(target, draft, tokens):
    keeps, insteads, yields = [], [], []
    for one, small, drafted in zip(target, draft, tokens):
        all_kept, expected = 1.0, 1.0
        for i, x in enumerate(drafted.tolist()):
            p = warp_logits(one[i : i + 1], <<warp>>)[0].softmax(0)
            q = small[i].softmax(0)
            c = p[x] / q[x] if p[x] < q[x] else q[x] / q[x].detach() * 0 + 1
            more = F.relu(p - q)
            insteads.append(more / more.sum() if more.sum() > 0 else p)
            keeps.append(c)
            all_kept = all_kept * c
            expected = expected + all_kept
        yields.append(expected)
    B, n = tokens.shape
    return torch.stack(keeps).view(B, n), torch.stack(insteads).view(B, n, -1), torch.stack(yields)

# ---- verify wrong: the replacement is drawn from p | handed out already
def verify(target, draft, tokens):
    p = warp_logits(target[:, :-1], <<warp>>).softmax(2)
    q = draft.softmax(2)
    at = tokens[:, :, None]
    keep = (p.gather(2, at) / q.gather(2, at))[:, :, 0].clamp(max=1)
    rest = (p - q).clamp(min=0)
    total = rest.sum(2, keepdim=True)
    instead = p
    return keep, instead, 1 + keep.cumprod(1).sum(1)

# ---- verify wrong: p and q exchanged in keep | the wrong way round
def verify(target, draft, tokens):
    p = warp_logits(target[:, :-1], <<warp>>).softmax(2)
    q = draft.softmax(2)
    at = tokens[:, :, None]
    keep = (q.gather(2, at) / p.gather(2, at))[:, :, 0].clamp(max=1)
    rest = (p - q).clamp(min=0)
    total = rest.sum(2, keepdim=True)
    instead = torch.where(total > 0, rest / total, p)
    return keep, instead, 1 + keep.cumprod(1).sum(1)

# ---- verify wrong: p in place of the ratio | how often did the draft propose it
def verify(target, draft, tokens):
    p = warp_logits(target[:, :-1], <<warp>>).softmax(2)
    q = draft.softmax(2)
    at = tokens[:, :, None]
    keep = (p.gather(2, at))[:, :, 0].clamp(max=1)
    rest = (p - q).clamp(min=0)
    total = rest.sum(2, keepdim=True)
    instead = torch.where(total > 0, rest / total, p)
    return keep, instead, 1 + keep.cumprod(1).sum(1)

# ---- verify wrong: ratios above 1 | a probability is at most 1
def verify(target, draft, tokens):
    p = warp_logits(target[:, :-1], <<warp>>).softmax(2)
    q = draft.softmax(2)
    at = tokens[:, :, None]
    keep = (p.gather(2, at) / q.gather(2, at))[:, :, 0]
    rest = (p - q).clamp(min=0)
    total = rest.sum(2, keepdim=True)
    instead = torch.where(total > 0, rest / total, p)
    return keep, instead, 1 + keep.cumprod(1).sum(1)

# ---- verify wrong: the target's bare logits | it draws <<warped>>
def verify(target, draft, tokens):
    p = target[:, :-1].softmax(2)
    q = draft.softmax(2)
    at = tokens[:, :, None]
    keep = (p.gather(2, at) / q.gather(2, at))[:, :, 0].clamp(max=1)
    rest = (p - q).clamp(min=0)
    total = rest.sum(2, keepdim=True)
    instead = torch.where(total > 0, rest / total, p)
    return keep, instead, 1 + keep.cumprod(1).sum(1)

# ---- verify wrong: logits where probabilities belong | logits are no probabilities
def verify(target, draft, tokens):
    p = target[:, :-1]
    q = draft
    at = tokens[:, :, None]
    keep = (p.gather(2, at) / q.gather(2, at))[:, :, 0]
    rest = (p - q).clamp(min=0)
    total = rest.sum(2, keepdim=True)
    instead = torch.where(total > 0, rest / total, p)
    return keep, instead, 1 + keep.cumprod(1).sum(1)

# ---- verify wrong: what is missing is not normalised | normalise it
def verify(target, draft, tokens):
    p = warp_logits(target[:, :-1], <<warp>>).softmax(2)
    q = draft.softmax(2)
    at = tokens[:, :, None]
    keep = (p.gather(2, at) / q.gather(2, at))[:, :, 0].clamp(max=1)
    rest = (p - q).clamp(min=0)
    total = rest.sum(2, keepdim=True)
    instead = rest
    return keep, instead, 1 + keep.cumprod(1).sum(1)

# ---- verify wrong: a softmax of what is missing | probabilities already
def verify(target, draft, tokens):
    p = warp_logits(target[:, :-1], <<warp>>).softmax(2)
    q = draft.softmax(2)
    at = tokens[:, :, None]
    keep = (p.gather(2, at) / q.gather(2, at))[:, :, 0].clamp(max=1)
    rest = (p - q).clamp(min=0)
    total = rest.sum(2, keepdim=True)
    instead = rest.softmax(2)
    return keep, instead, 1 + keep.cumprod(1).sum(1)

# ---- verify wrong: absolute differences | takes absolute differences
def verify(target, draft, tokens):
    p = warp_logits(target[:, :-1], <<warp>>).softmax(2)
    q = draft.softmax(2)
    at = tokens[:, :, None]
    keep = (p.gather(2, at) / q.gather(2, at))[:, :, 0].clamp(max=1)
    rest = (p - q).abs()
    total = rest.sum(2, keepdim=True)
    instead = torch.where(total > 0, rest / total, p)
    return keep, instead, 1 + keep.cumprod(1).sum(1)

# ---- verify wrong: q minus p | the other way round
def verify(target, draft, tokens):
    p = warp_logits(target[:, :-1], <<warp>>).softmax(2)
    q = draft.softmax(2)
    at = tokens[:, :, None]
    keep = (p.gather(2, at) / q.gather(2, at))[:, :, 0].clamp(max=1)
    rest = (q - p).clamp(min=0)
    total = rest.sum(2, keepdim=True)
    instead = torch.where(total > 0, rest / total, p)
    return keep, instead, 1 + keep.cumprod(1).sum(1)

# ---- verify wrong: a sum without the product | a rejected token ends it
def verify(target, draft, tokens):
    p = warp_logits(target[:, :-1], <<warp>>).softmax(2)
    q = draft.softmax(2)
    at = tokens[:, :, None]
    keep = (p.gather(2, at) / q.gather(2, at))[:, :, 0].clamp(max=1)
    rest = (p - q).clamp(min=0)
    total = rest.sum(2, keepdim=True)
    instead = torch.where(total > 0, rest / total, p)
    return keep, instead, 1 + keep.sum(1)

# ---- verify wrong: the last token forgotten | one too few
def verify(target, draft, tokens):
    p = warp_logits(target[:, :-1], <<warp>>).softmax(2)
    q = draft.softmax(2)
    at = tokens[:, :, None]
    keep = (p.gather(2, at) / q.gather(2, at))[:, :, 0].clamp(max=1)
    rest = (p - q).clamp(min=0)
    total = rest.sum(2, keepdim=True)
    instead = torch.where(total > 0, rest / total, p)
    return keep, instead, keep.cumprod(1).sum(1)

# ---- verify wrong: all kept or nothing | the probability that all are kept
def verify(target, draft, tokens):
    p = warp_logits(target[:, :-1], <<warp>>).softmax(2)
    q = draft.softmax(2)
    at = tokens[:, :, None]
    keep = (p.gather(2, at) / q.gather(2, at))[:, :, 0].clamp(max=1)
    rest = (p - q).clamp(min=0)
    total = rest.sum(2, keepdim=True)
    instead = torch.where(total > 0, rest / total, p)
    return keep, instead, keep.prod(1)

# ---- verify wrong: nothing over nothing where p = q | not finite where p = q
def verify(target, draft, tokens):
    p = warp_logits(target[:, :-1], <<warp>>).softmax(2)
    q = draft.softmax(2)
    at = tokens[:, :, None]
    keep = (p.gather(2, at) / q.gather(2, at))[:, :, 0].clamp(max=1)
    rest = (p - q).clamp(min=0)
    total = rest.sum(2, keepdim=True)
    instead = rest / total
    return keep, instead, 1 + keep.cumprod(1).sum(1)

# ---- verify wrong: keeps fewer than it could | is not distributed as p
def verify(target, draft, tokens):
    p = warp_logits(target[:, :-1], <<warp>>).softmax(2)
    q = draft.softmax(2)
    at = tokens[:, :, None]
    keep = (p.gather(2, at) / q.gather(2, at))[:, :, 0].clamp(max=1) * 0.9
    rest = (p - q).clamp(min=0)
    total = rest.sum(2, keepdim=True)
    instead = torch.where(total > 0, rest / total, p)
    return keep, instead, 1 + keep.cumprod(1).sum(1)

# ---- verify wrong: no gradient to the draft | no gradient
def verify(target, draft, tokens):
    p = warp_logits(target[:, :-1].detach(), <<warp>>).softmax(2)
    q = draft.softmax(2).detach()
    at = tokens[:, :, None]
    keep = (p.gather(2, at) / q.gather(2, at))[:, :, 0].clamp(max=1)
    rest = (p - q).clamp(min=0)
    total = rest.sum(2, keepdim=True)
    instead = torch.where(total > 0, rest / total, p)
    return keep, instead, 1 + keep.cumprod(1).sum(1)

# ---- verify wrong: keep is detached | keep: no gradient
def verify(target, draft, tokens):
    p = warp_logits(target[:, :-1], <<warp>>).softmax(2)
    q = draft.softmax(2)
    at = tokens[:, :, None]
    keep = (p.gather(2, at) / q.gather(2, at))[:, :, 0].clamp(max=1)
    keep = keep.detach()
    rest = (p - q).clamp(min=0)
    total = rest.sum(2, keepdim=True)
    instead = torch.where(total > 0, rest / total, p)
    return keep, instead, 1 + keep.cumprod(1).sum(1)

# ---- verify wrong: instead is detached | instead: no gradient
def verify(target, draft, tokens):
    p = warp_logits(target[:, :-1], <<warp>>).softmax(2)
    q = draft.softmax(2)
    at = tokens[:, :, None]
    keep = (p.gather(2, at) / q.gather(2, at))[:, :, 0].clamp(max=1)
    rest = (p - q).clamp(min=0)
    total = rest.sum(2, keepdim=True)
    instead = torch.where(total > 0, rest / total, p)
    instead = instead.detach()
    return keep, instead, 1 + keep.cumprod(1).sum(1)

# ---- verify wrong: the target is detached | no gradient reaches target
def verify(target, draft, tokens):
    p = warp_logits(target[:, :-1].detach(), <<warp>>).softmax(2)
    q = draft.softmax(2)
    at = tokens[:, :, None]
    keep = (p.gather(2, at) / q.gather(2, at))[:, :, 0].clamp(max=1)
    rest = (p - q).clamp(min=0)
    total = rest.sum(2, keepdim=True)
    instead = torch.where(total > 0, rest / total, p)
    return keep, instead, 1 + keep.cumprod(1).sum(1)

# ---- verify wrong: the draft is warped, too | as they are
def verify(target, draft, tokens):
    p = warp_logits(target[:, :-1], <<warp>>).softmax(2)
    q = warp_logits(draft, <<warp>>).softmax(2)
    at = tokens[:, :, None]
    keep = (p.gather(2, at) / q.gather(2, at))[:, :, 0].clamp(max=1)
    rest = (p - q).clamp(min=0)
    total = rest.sum(2, keepdim=True)
    instead = torch.where(total > 0, rest / total, p)
    return keep, instead, 1 + keep.cumprod(1).sum(1)

# ---- verify wrong: the next place of the target | next place
def verify(target, draft, tokens):
    p = warp_logits(target[:, 1:], <<warp>>).softmax(2)
    q = draft.softmax(2)
    at = tokens[:, :, None]
    keep = (p.gather(2, at) / q.gather(2, at))[:, :, 0].clamp(max=1)
    rest = (p - q).clamp(min=0)
    total = rest.sum(2, keepdim=True)
    instead = torch.where(total > 0, rest / total, p)
    return keep, instead, 1 + keep.cumprod(1).sum(1)

# ---- verify wrong: what both share, undivided | what both share
def verify(target, draft, tokens):
    p = warp_logits(target[:, :-1], <<warp>>).softmax(2)
    q = draft.softmax(2)
    at = tokens[:, :, None]
    keep = torch.minimum(p, q).gather(2, at)[:, :, 0].clamp(max=1)
    rest = (p - q).clamp(min=0)
    total = rest.sum(2, keepdim=True)
    instead = torch.where(total > 0, rest / total, p)
    return keep, instead, 1 + keep.cumprod(1).sum(1)

# ---- verify wrong: kept or not, by comparison | a yes or a no
def verify(target, draft, tokens):
    p = warp_logits(target[:, :-1], <<warp>>).softmax(2)
    q = draft.softmax(2)
    at = tokens[:, :, None]
    keep = (p >= q).gather(2, at)[:, :, 0].to(p)
    rest = (p - q).clamp(min=0)
    total = rest.sum(2, keepdim=True)
    instead = torch.where(total > 0, rest / total, p)
    return keep, instead, 1 + keep.cumprod(1).sum(1)

# ---- verify wrong: keep is multiplied up | as if all tokens before had been kept
def verify(target, draft, tokens):
    p = warp_logits(target[:, :-1], <<warp>>).softmax(2)
    q = draft.softmax(2)
    at = tokens[:, :, None]
    keep = (p.gather(2, at) / q.gather(2, at))[:, :, 0].clamp(max=1)
    rest = (p - q).clamp(min=0)
    total = rest.sum(2, keepdim=True)
    instead = torch.where(total > 0, rest / total, p)
    return keep.cumprod(1), instead, 1 + keep.cumprod(1).sum(1)

# ---- verify wrong: even where nothing is missing | p is wanted there
def verify(target, draft, tokens):
    p = warp_logits(target[:, :-1], <<warp>>).softmax(2)
    q = draft.softmax(2)
    at = tokens[:, :, None]
    keep = (p.gather(2, at) / q.gather(2, at))[:, :, 0].clamp(max=1)
    rest = (p - q).clamp(min=0)
    total = rest.sum(2, keepdim=True)
    instead = torch.where(total > 0, rest / total, 1 / p.shape[2])
    return keep, instead, 1 + keep.cumprod(1).sum(1)

# ---- verify wrong: three tokens, whatever n | IndexError
def verify(target, draft, tokens):
    p = warp_logits(target[:, :-1], <<warp>>).softmax(2)
    q = draft.softmax(2)
    at = tokens[:, :, None]
    keep = (p.gather(2, at) / q.gather(2, at))[:, :, 0].clamp(max=1)
    rest = (p - q).clamp(min=0)
    total = rest.sum(2, keepdim=True)
    instead = torch.where(total > 0, rest / total, p)
    return keep, instead, 1 + keep[:, 0] * (1 + keep[:, 1] * (1 + keep[:, 2]))

# ---- verify survives: 9: rest.sum(2, keepdim=True) -> rest.mean(2, keepdim=True) | only its sign is asked

# ---- sweep right: masks by tril and triu, a log-softmax, a loop
def looks(T, window, sinks):
    past = torch.ones(T, T).tril()
    near = past.triu(1 - (window<<last>>))
    near[:, :sinks] = past[:, :sinks]
    return near > 0


def sweep(settings, tokens, targets):
    found = []
    for setting in settings:
        log_p = read(tokens, looks(tokens.shape[1], *setting)).log_softmax(-1)
        nats = -log_p.gather(-1, targets[..., None]).mean()
        kept = sum(2 * c.keys.numel() for c in gpt.cache(1, 1)) * (sum(setting)<<last>>)
        found.append({"setting": setting, "price": float(nats) / <<bits>>, "bytes": kept * <<width>>})
    return found


def choose(rows, full):
    best = None
    for row in rows:
        if row["price"] > full + full * <<slack>>:
            continue
        if best is None or (row["bytes"], row["price"]) < (best["bytes"], best["price"]):
            best = row
    return best and best["setting"]

# ---- sweep right: place by place, and two sorts
def looks(T, window, sinks):
    return torch.tensor([[j <= i and (j < sinks or i - j <<less>> window) for j in range(T)]
                         for i in range(T)])


def sweep(settings, tokens, targets):
    rows = []
    for window, sinks in settings:
        logits = read(tokens, looks(tokens.shape[1], window, sinks))
        each = F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
        heads = gpt.cfg.n_heads * (gpt.cfg.d_model // gpt.cfg.n_heads)
        rows.append({"setting": (window, sinks), "price": each.mean().item()<<in_unit>>,
                     "bytes": gpt.cfg.n_layers * (heads + heads) * (sinks + window<<last>>) * <<width>>})
    return rows


def choose(rows, full):
    ordered = sorted(sorted(rows, key=lambda r: r["price"]), key=lambda r: r["bytes"])
    return next((r["setting"] for r in ordered if r["price"] <= (1 + <<slack>>) * full), None)

# ---- sweep wrong: the window is one too large | it is too large
def looks(T, window, sinks):
    j = torch.arange(T)
    back = j[:, None] - j
    return (back >= 0) & ((back <<less>> window + 1) | (j < sinks))


def sweep(settings, tokens, targets):
    rows = []
    for window, sinks in settings:
        logits = read(tokens, looks(tokens.shape[1], window, sinks))
        price = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()<<in_unit>>
        size = 2 * gpt.cfg.n_layers * gpt.cfg.d_model * <<width>> * (window<<last>> + sinks)
        rows.append({"setting": (window, sinks), "price": price, "bytes": size})
    return rows


def choose(rows, full):
    good = [row for row in rows if row["price"] <= full * (1 + <<slack>>)]
    good.sort(key=lambda row: (row["bytes"], row["price"]))
    return good[0]["setting"] if good else None

# ---- sweep wrong: the window is one too small | it is too small
def looks(T, window, sinks):
    j = torch.arange(T)
    back = j[:, None] - j
    return (back >= 0) & ((back <<less>> window - 1) | (j < sinks))


def sweep(settings, tokens, targets):
    rows = []
    for window, sinks in settings:
        logits = read(tokens, looks(tokens.shape[1], window, sinks))
        price = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()<<in_unit>>
        size = 2 * gpt.cfg.n_layers * gpt.cfg.d_model * <<width>> * (window<<last>> + sinks)
        rows.append({"setting": (window, sinks), "price": price, "bytes": size})
    return rows


def choose(rows, full):
    good = [row for row in rows if row["price"] <= full * (1 + <<slack>>)]
    good.sort(key=lambda row: (row["bytes"], row["price"]))
    return good[0]["setting"] if good else None

# ---- sweep wrong: rows and columns exchanged | turned round
def looks(T, window, sinks):
    j = torch.arange(T)
    back = j[:, None] - j
    return ((back >= 0) & ((back <<less>> window) | (j < sinks))).T


def sweep(settings, tokens, targets):
    rows = []
    for window, sinks in settings:
        logits = read(tokens, looks(tokens.shape[1], window, sinks))
        price = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()<<in_unit>>
        size = 2 * gpt.cfg.n_layers * gpt.cfg.d_model * <<width>> * (window<<last>> + sinks)
        rows.append({"setting": (window, sinks), "price": price, "bytes": size})
    return rows


def choose(rows, full):
    good = [row for row in rows if row["price"] <= full * (1 + <<slack>>)]
    good.sort(key=lambda row: (row["bytes"], row["price"]))
    return good[0]["setting"] if good else None

# ---- sweep wrong: no sinks | forgets the sinks
def looks(T, window, sinks):
    j = torch.arange(T)
    back = j[:, None] - j
    return (back >= 0) & ((back <<less>> window))


def sweep(settings, tokens, targets):
    rows = []
    for window, sinks in settings:
        logits = read(tokens, looks(tokens.shape[1], window, sinks))
        price = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()<<in_unit>>
        size = 2 * gpt.cfg.n_layers * gpt.cfg.d_model * <<width>> * (window<<last>> + sinks)
        rows.append({"setting": (window, sinks), "price": price, "bytes": size})
    return rows


def choose(rows, full):
    good = [row for row in rows if row["price"] <= full * (1 + <<slack>>)]
    good.sort(key=lambda row: (row["bytes"], row["price"]))
    return good[0]["setting"] if good else None

# ---- sweep wrong: no window | the window is not used
def looks(T, window, sinks):
    j = torch.arange(T)
    back = j[:, None] - j
    return (back >= 0)


def sweep(settings, tokens, targets):
    rows = []
    for window, sinks in settings:
        logits = read(tokens, looks(tokens.shape[1], window, sinks))
        price = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()<<in_unit>>
        size = 2 * gpt.cfg.n_layers * gpt.cfg.d_model * <<width>> * (window<<last>> + sinks)
        rows.append({"setting": (window, sinks), "price": price, "bytes": size})
    return rows


def choose(rows, full):
    good = [row for row in rows if row["price"] <= full * (1 + <<slack>>)]
    good.sort(key=lambda row: (row["bytes"], row["price"]))
    return good[0]["setting"] if good else None

# ---- sweep wrong: sinks that are seen from before them | shows the future
def looks(T, window, sinks):
    j = torch.arange(T)
    back = j[:, None] - j
    return (back >= 0) & (back <<less>> window) | (j < sinks)


def sweep(settings, tokens, targets):
    rows = []
    for window, sinks in settings:
        logits = read(tokens, looks(tokens.shape[1], window, sinks))
        price = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()<<in_unit>>
        size = 2 * gpt.cfg.n_layers * gpt.cfg.d_model * <<width>> * (window<<last>> + sinks)
        rows.append({"setting": (window, sinks), "price": price, "bytes": size})
    return rows


def choose(rows, full):
    good = [row for row in rows if row["price"] <= full * (1 + <<slack>>)]
    good.sort(key=lambda row: (row["bytes"], row["price"]))
    return good[0]["setting"] if good else None

# ---- sweep wrong: the other unit | in <<not_unit>>; <<unit>> are wanted
def looks(T, window, sinks):
    j = torch.arange(T)
    back = j[:, None] - j
    return (back >= 0) & ((back <<less>> window) | (j < sinks))


def sweep(settings, tokens, targets):
    rows = []
    for window, sinks in settings:
        logits = read(tokens, looks(tokens.shape[1], window, sinks))
        price = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item() * <<bits>> / math.log(2)
        size = 2 * gpt.cfg.n_layers * gpt.cfg.d_model * <<width>> * (window<<last>> + sinks)
        rows.append({"setting": (window, sinks), "price": price, "bytes": size})
    return rows


def choose(rows, full):
    good = [row for row in rows if row["price"] <= full * (1 + <<slack>>)]
    good.sort(key=lambda row: (row["bytes"], row["price"]))
    return good[0]["setting"] if good else None

# ---- sweep wrong: a perplexity | its logarithm is wanted
def looks(T, window, sinks):
    j = torch.arange(T)
    back = j[:, None] - j
    return (back >= 0) & ((back <<less>> window) | (j < sinks))


def sweep(settings, tokens, targets):
    rows = []
    for window, sinks in settings:
        logits = read(tokens, looks(tokens.shape[1], window, sinks))
        price = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).exp().item()
        size = 2 * gpt.cfg.n_layers * gpt.cfg.d_model * <<width>> * (window<<last>> + sinks)
        rows.append({"setting": (window, sinks), "price": price, "bytes": size})
    return rows


def choose(rows, full):
    good = [row for row in rows if row["price"] <= full * (1 + <<slack>>)]
    good.sort(key=lambda row: (row["bytes"], row["price"]))
    return good[0]["setting"] if good else None

# ---- sweep wrong: a sum over the places | average them
def looks(T, window, sinks):
    j = torch.arange(T)
    back = j[:, None] - j
    return (back >= 0) & ((back <<less>> window) | (j < sinks))


def sweep(settings, tokens, targets):
    rows = []
    for window, sinks in settings:
        logits = read(tokens, looks(tokens.shape[1], window, sinks))
        price = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum").item()<<in_unit>>
        size = 2 * gpt.cfg.n_layers * gpt.cfg.d_model * <<width>> * (window<<last>> + sinks)
        rows.append({"setting": (window, sinks), "price": price, "bytes": size})
    return rows


def choose(rows, full):
    good = [row for row in rows if row["price"] <= full * (1 + <<slack>>)]
    good.sort(key=lambda row: (row["bytes"], row["price"]))
    return good[0]["setting"] if good else None

# ---- sweep wrong: targets that are not shifted | one place on
def looks(T, window, sinks):
    j = torch.arange(T)
    back = j[:, None] - j
    return (back >= 0) & ((back <<less>> window) | (j < sinks))


def sweep(settings, tokens, targets):
    rows = []
    for window, sinks in settings:
        logits = read(tokens, looks(tokens.shape[1], window, sinks))
        price = F.cross_entropy(logits.flatten(0, 1), tokens.flatten()).item()<<in_unit>>
        size = 2 * gpt.cfg.n_layers * gpt.cfg.d_model * <<width>> * (window<<last>> + sinks)
        rows.append({"setting": (window, sinks), "price": price, "bytes": size})
    return rows


def choose(rows, full):
    good = [row for row in rows if row["price"] <= full * (1 + <<slack>>)]
    good.sort(key=lambda row: (row["bytes"], row["price"]))
    return good[0]["setting"] if good else None

# ---- sweep wrong: the mask is not handed on | hand looks to read
def looks(T, window, sinks):
    j = torch.arange(T)
    back = j[:, None] - j
    return (back >= 0) & ((back <<less>> window) | (j < sinks))


def sweep(settings, tokens, targets):
    rows = []
    for window, sinks in settings:
        logits = read(tokens, looks(tokens.shape[1], 999, 0))
        price = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()<<in_unit>>
        size = 2 * gpt.cfg.n_layers * gpt.cfg.d_model * <<width>> * (window<<last>> + sinks)
        rows.append({"setting": (window, sinks), "price": price, "bytes": size})
    return rows


def choose(rows, full):
    good = [row for row in rows if row["price"] <= full * (1 + <<slack>>)]
    good.sort(key=lambda row: (row["bytes"], row["price"]))
    return good[0]["setting"] if good else None

# ---- sweep wrong: keys without values | values are kept, too
def looks(T, window, sinks):
    j = torch.arange(T)
    back = j[:, None] - j
    return (back >= 0) & ((back <<less>> window) | (j < sinks))


def sweep(settings, tokens, targets):
    rows = []
    for window, sinks in settings:
        logits = read(tokens, looks(tokens.shape[1], window, sinks))
        price = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()<<in_unit>>
        size = gpt.cfg.n_layers * gpt.cfg.d_model * <<width>> * (window<<last>> + sinks)
        rows.append({"setting": (window, sinks), "price": price, "bytes": size})
    return rows


def choose(rows, full):
    good = [row for row in rows if row["price"] <= full * (1 + <<slack>>)]
    good.sort(key=lambda row: (row["bytes"], row["price"]))
    return good[0]["setting"] if good else None

# ---- sweep wrong: one layer | all layers keep
def looks(T, window, sinks):
    j = torch.arange(T)
    back = j[:, None] - j
    return (back >= 0) & ((back <<less>> window) | (j < sinks))


def sweep(settings, tokens, targets):
    rows = []
    for window, sinks in settings:
        logits = read(tokens, looks(tokens.shape[1], window, sinks))
        price = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()<<in_unit>>
        size = 2 * gpt.cfg.d_model * <<width>> * (window<<last>> + sinks)
        rows.append({"setting": (window, sinks), "price": price, "bytes": size})
    return rows


def choose(rows, full):
    good = [row for row in rows if row["price"] <= full * (1 + <<slack>>)]
    good.sort(key=lambda row: (row["bytes"], row["price"]))
    return good[0]["setting"] if good else None

# ---- sweep wrong: numbers, not bytes | each number has <<width>> bytes
def looks(T, window, sinks):
    j = torch.arange(T)
    back = j[:, None] - j
    return (back >= 0) & ((back <<less>> window) | (j < sinks))


def sweep(settings, tokens, targets):
    rows = []
    for window, sinks in settings:
        logits = read(tokens, looks(tokens.shape[1], window, sinks))
        price = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()<<in_unit>>
        size = 2 * gpt.cfg.n_layers * gpt.cfg.d_model * (window<<last>> + sinks)
        rows.append({"setting": (window, sinks), "price": price, "bytes": size})
    return rows


def choose(rows, full):
    good = [row for row in rows if row["price"] <= full * (1 + <<slack>>)]
    good.sort(key=lambda row: (row["bytes"], row["price"]))
    return good[0]["setting"] if good else None

# ---- sweep wrong: heads counted once more | as wide as the stream
def looks(T, window, sinks):
    j = torch.arange(T)
    back = j[:, None] - j
    return (back >= 0) & ((back <<less>> window) | (j < sinks))


def sweep(settings, tokens, targets):
    rows = []
    for window, sinks in settings:
        logits = read(tokens, looks(tokens.shape[1], window, sinks))
        price = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()<<in_unit>>
        size = 2 * gpt.cfg.n_layers * gpt.cfg.n_heads * gpt.cfg.d_model * <<width>> * (window<<last>> + sinks)
        rows.append({"setting": (window, sinks), "price": price, "bytes": size})
    return rows


def choose(rows, full):
    good = [row for row in rows if row["price"] <= full * (1 + <<slack>>)]
    good.sort(key=lambda row: (row["bytes"], row["price"]))
    return good[0]["setting"] if good else None

# ---- sweep wrong: the bytes of the sinks are free | sinks are kept, too
def looks(T, window, sinks):
    j = torch.arange(T)
    back = j[:, None] - j
    return (back >= 0) & ((back <<less>> window) | (j < sinks))


def sweep(settings, tokens, targets):
    rows = []
    for window, sinks in settings:
        logits = read(tokens, looks(tokens.shape[1], window, sinks))
        price = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()<<in_unit>>
        size = 2 * gpt.cfg.n_layers * gpt.cfg.d_model * <<width>> * (window<<last>>)
        rows.append({"setting": (window, sinks), "price": price, "bytes": size})
    return rows


def choose(rows, full):
    good = [row for row in rows if row["price"] <= full * (1 + <<slack>>)]
    good.sort(key=lambda row: (row["bytes"], row["price"]))
    return good[0]["setting"] if good else None

# ---- sweep wrong: the lowest price is taken | fewest bytes
def looks(T, window, sinks):
    j = torch.arange(T)
    back = j[:, None] - j
    return (back >= 0) & ((back <<less>> window) | (j < sinks))


def sweep(settings, tokens, targets):
    rows = []
    for window, sinks in settings:
        logits = read(tokens, looks(tokens.shape[1], window, sinks))
        price = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()<<in_unit>>
        size = 2 * gpt.cfg.n_layers * gpt.cfg.d_model * <<width>> * (window<<last>> + sinks)
        rows.append({"setting": (window, sinks), "price": price, "bytes": size})
    return rows


def choose(rows, full):
    return min(rows, key=lambda row: row["price"])["setting"]

# ---- sweep wrong: the fewest bytes of all | it is not admitted
def looks(T, window, sinks):
    j = torch.arange(T)
    back = j[:, None] - j
    return (back >= 0) & ((back <<less>> window) | (j < sinks))


def sweep(settings, tokens, targets):
    rows = []
    for window, sinks in settings:
        logits = read(tokens, looks(tokens.shape[1], window, sinks))
        price = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()<<in_unit>>
        size = 2 * gpt.cfg.n_layers * gpt.cfg.d_model * <<width>> * (window<<last>> + sinks)
        rows.append({"setting": (window, sinks), "price": price, "bytes": size})
    return rows


def choose(rows, full):
    return min(rows, key=lambda row: row["bytes"])["setting"]

# ---- sweep wrong: the first of equally many bytes | the lower price is wanted
def looks(T, window, sinks):
    j = torch.arange(T)
    back = j[:, None] - j
    return (back >= 0) & ((back <<less>> window) | (j < sinks))


def sweep(settings, tokens, targets):
    rows = []
    for window, sinks in settings:
        logits = read(tokens, looks(tokens.shape[1], window, sinks))
        price = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()<<in_unit>>
        size = 2 * gpt.cfg.n_layers * gpt.cfg.d_model * <<width>> * (window<<last>> + sinks)
        rows.append({"setting": (window, sinks), "price": price, "bytes": size})
    return rows


def choose(rows, full):
    good = [row for row in rows if row["price"] <= full * (1 + <<slack>>)]
    good.sort(key=lambda row: (row["bytes"], -row["price"]))
    return good[0]["setting"] if good else None

# ---- sweep wrong: the other share | <<percent>> above the price of the full past
def looks(T, window, sinks):
    j = torch.arange(T)
    back = j[:, None] - j
    return (back >= 0) & ((back <<less>> window) | (j < sinks))


def sweep(settings, tokens, targets):
    rows = []
    for window, sinks in settings:
        logits = read(tokens, looks(tokens.shape[1], window, sinks))
        price = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()<<in_unit>>
        size = 2 * gpt.cfg.n_layers * gpt.cfg.d_model * <<width>> * (window<<last>> + sinks)
        rows.append({"setting": (window, sinks), "price": price, "bytes": size})
    return rows


def choose(rows, full):
    good = [row for row in rows if row["price"] <= full * (1 + (0.07 - <<slack>>))]
    good.sort(key=lambda row: (row["bytes"], row["price"]))
    return good[0]["setting"] if good else None

# ---- sweep wrong: a place does not see itself | hides a place from itself
def looks(T, window, sinks):
    j = torch.arange(T)
    back = j[:, None] - j
    return (back > 0) & ((back <<less>> window) | (j < sinks))


def sweep(settings, tokens, targets):
    rows = []
    for window, sinks in settings:
        logits = read(tokens, looks(tokens.shape[1], window, sinks))
        price = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()<<in_unit>>
        size = 2 * gpt.cfg.n_layers * gpt.cfg.d_model * <<width>> * (window<<last>> + sinks)
        rows.append({"setting": (window, sinks), "price": price, "bytes": size})
    return rows


def choose(rows, full):
    good = [row for row in rows if row["price"] <= full * (1 + <<slack>>)]
    good.sort(key=lambda row: (row["bytes"], row["price"]))
    return good[0]["setting"] if good else None

# ---- sweep wrong: one sink more | one sink too many
def looks(T, window, sinks):
    j = torch.arange(T)
    back = j[:, None] - j
    return (back >= 0) & ((back <<less>> window) | (j <= sinks))


def sweep(settings, tokens, targets):
    rows = []
    for window, sinks in settings:
        logits = read(tokens, looks(tokens.shape[1], window, sinks))
        price = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()<<in_unit>>
        size = 2 * gpt.cfg.n_layers * gpt.cfg.d_model * <<width>> * (window<<last>> + sinks)
        rows.append({"setting": (window, sinks), "price": price, "bytes": size})
    return rows


def choose(rows, full):
    good = [row for row in rows if row["price"] <= full * (1 + <<slack>>)]
    good.sort(key=lambda row: (row["bytes"], row["price"]))
    return good[0]["setting"] if good else None

# ---- sweep wrong: always a sink | where there is none
def looks(T, window, sinks):
    j = torch.arange(T)
    back = j[:, None] - j
    return (back >= 0) & ((back <<less>> window) | (j < max(sinks, 1)))


def sweep(settings, tokens, targets):
    rows = []
    for window, sinks in settings:
        logits = read(tokens, looks(tokens.shape[1], window, sinks))
        price = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()<<in_unit>>
        size = 2 * gpt.cfg.n_layers * gpt.cfg.d_model * <<width>> * (window<<last>> + sinks)
        rows.append({"setting": (window, sinks), "price": price, "bytes": size})
    return rows


def choose(rows, full):
    good = [row for row in rows if row["price"] <= full * (1 + <<slack>>)]
    good.sort(key=lambda row: (row["bytes"], row["price"]))
    return good[0]["setting"] if good else None

# ---- sweep wrong: one sink at most | some of the first
def looks(T, window, sinks):
    j = torch.arange(T)
    back = j[:, None] - j
    return (back >= 0) & ((back <<less>> window) | (j < min(sinks, 1)))


def sweep(settings, tokens, targets):
    rows = []
    for window, sinks in settings:
        logits = read(tokens, looks(tokens.shape[1], window, sinks))
        price = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()<<in_unit>>
        size = 2 * gpt.cfg.n_layers * gpt.cfg.d_model * <<width>> * (window<<last>> + sinks)
        rows.append({"setting": (window, sinks), "price": price, "bytes": size})
    return rows


def choose(rows, full):
    good = [row for row in rows if row["price"] <= full * (1 + <<slack>>)]
    good.sort(key=lambda row: (row["bytes"], row["price"]))
    return good[0]["setting"] if good else None

# ---- sweep wrong: a window of 2, always | whatever `window` says
def looks(T, window, sinks):
    j = torch.arange(T)
    back = j[:, None] - j
    return (back >= 0) & ((back <<less>> 2) | (j < sinks))


def sweep(settings, tokens, targets):
    rows = []
    for window, sinks in settings:
        logits = read(tokens, looks(tokens.shape[1], window, sinks))
        price = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()<<in_unit>>
        size = 2 * gpt.cfg.n_layers * gpt.cfg.d_model * <<width>> * (window<<last>> + sinks)
        rows.append({"setting": (window, sinks), "price": price, "bytes": size})
    return rows


def choose(rows, full):
    good = [row for row in rows if row["price"] <= full * (1 + <<slack>>)]
    good.sort(key=lambda row: (row["bytes"], row["price"]))
    return good[0]["setting"] if good else None

# ---- sweep wrong: less than, where at most is the rule | exactly
def looks(T, window, sinks):
    j = torch.arange(T)
    back = j[:, None] - j
    return (back >= 0) & ((back <<less>> window) | (j < sinks))


def sweep(settings, tokens, targets):
    rows = []
    for window, sinks in settings:
        logits = read(tokens, looks(tokens.shape[1], window, sinks))
        price = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()<<in_unit>>
        size = 2 * gpt.cfg.n_layers * gpt.cfg.d_model * <<width>> * (window<<last>> + sinks)
        rows.append({"setting": (window, sinks), "price": price, "bytes": size})
    return rows


def choose(rows, full):
    good = [row for row in rows if row["price"] < full * (1 + <<slack>>)]
    good.sort(key=lambda row: (row["bytes"], row["price"]))
    return good[0]["setting"] if good else None

# ---- sweep wrong: twice the share | <<percent>> above the price
def looks(T, window, sinks):
    j = torch.arange(T)
    back = j[:, None] - j
    return (back >= 0) & ((back <<less>> window) | (j < sinks))


def sweep(settings, tokens, targets):
    rows = []
    for window, sinks in settings:
        logits = read(tokens, looks(tokens.shape[1], window, sinks))
        price = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()<<in_unit>>
        size = 2 * gpt.cfg.n_layers * gpt.cfg.d_model * <<width>> * (window<<last>> + sinks)
        rows.append({"setting": (window, sinks), "price": price, "bytes": size})
    return rows


def choose(rows, full):
    good = [row for row in rows if row["price"] <= full * (1 + 2 * <<slack>>)]
    good.sort(key=lambda row: (row["bytes"], row["price"]))
    return good[0]["setting"] if good else None

# ---- sweep wrong: the share taken for a number | <<percent>> above the price
def looks(T, window, sinks):
    j = torch.arange(T)
    back = j[:, None] - j
    return (back >= 0) & ((back <<less>> window) | (j < sinks))


def sweep(settings, tokens, targets):
    rows = []
    for window, sinks in settings:
        logits = read(tokens, looks(tokens.shape[1], window, sinks))
        price = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()<<in_unit>>
        size = 2 * gpt.cfg.n_layers * gpt.cfg.d_model * <<width>> * (window<<last>> + sinks)
        rows.append({"setting": (window, sinks), "price": price, "bytes": size})
    return rows


def choose(rows, full):
    good = [row for row in rows if row["price"] <= full + <<slack>>]
    good.sort(key=lambda row: (row["bytes"], row["price"]))
    return good[0]["setting"] if good else None

# ---- sweep wrong: above the least price of all | <<percent>> above the price
def looks(T, window, sinks):
    j = torch.arange(T)
    back = j[:, None] - j
    return (back >= 0) & ((back <<less>> window) | (j < sinks))


def sweep(settings, tokens, targets):
    rows = []
    for window, sinks in settings:
        logits = read(tokens, looks(tokens.shape[1], window, sinks))
        price = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()<<in_unit>>
        size = 2 * gpt.cfg.n_layers * gpt.cfg.d_model * <<width>> * (window<<last>> + sinks)
        rows.append({"setting": (window, sinks), "price": price, "bytes": size})
    return rows


def choose(rows, full):
    good = [row for row in rows if row["price"] <= min(r["price"] for r in rows) * (1 + <<slack>>)]
    good.sort(key=lambda row: (row["bytes"], row["price"]))
    return good[0]["setting"] if good else None

# ---- sweep wrong: near to the full price on both sides | below `full` is admitted
def looks(T, window, sinks):
    j = torch.arange(T)
    back = j[:, None] - j
    return (back >= 0) & ((back <<less>> window) | (j < sinks))


def sweep(settings, tokens, targets):
    rows = []
    for window, sinks in settings:
        logits = read(tokens, looks(tokens.shape[1], window, sinks))
        price = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()<<in_unit>>
        size = 2 * gpt.cfg.n_layers * gpt.cfg.d_model * <<width>> * (window<<last>> + sinks)
        rows.append({"setting": (window, sinks), "price": price, "bytes": size})
    return rows


def choose(rows, full):
    good = [row for row in rows if abs(row["price"] - full) <= full * <<slack>>]
    good.sort(key=lambda row: (row["bytes"], row["price"]))
    return good[0]["setting"] if good else None

# ---- sweep wrong: the first of equals, as they come | the lower price is wanted
def looks(T, window, sinks):
    j = torch.arange(T)
    back = j[:, None] - j
    return (back >= 0) & ((back <<less>> window) | (j < sinks))


def sweep(settings, tokens, targets):
    rows = []
    for window, sinks in settings:
        logits = read(tokens, looks(tokens.shape[1], window, sinks))
        price = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()<<in_unit>>
        size = 2 * gpt.cfg.n_layers * gpt.cfg.d_model * <<width>> * (window<<last>> + sinks)
        rows.append({"setting": (window, sinks), "price": price, "bytes": size})
    return rows


def choose(rows, full):
    good = [row for row in rows if row["price"] <= full * (1 + <<slack>>)]
    good.sort(key=lambda row: row["bytes"])
    return good[0]["setting"] if good else None

# ---- sweep wrong: no answer where no row is admitted | return None
def looks(T, window, sinks):
    j = torch.arange(T)
    back = j[:, None] - j
    return (back >= 0) & ((back <<less>> window) | (j < sinks))


def sweep(settings, tokens, targets):
    rows = []
    for window, sinks in settings:
        logits = read(tokens, looks(tokens.shape[1], window, sinks))
        price = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()<<in_unit>>
        size = 2 * gpt.cfg.n_layers * gpt.cfg.d_model * <<width>> * (window<<last>> + sinks)
        rows.append({"setting": (window, sinks), "price": price, "bytes": size})
    return rows


def choose(rows, full):
    good = [row for row in rows if row["price"] <= full * (1 + <<slack>>)]
    good.sort(key=lambda row: (row["bytes"], row["price"]))
    return good[0]["setting"]

# ---- sweep wrong: the row itself | and not the row
def looks(T, window, sinks):
    j = torch.arange(T)
    back = j[:, None] - j
    return (back >= 0) & ((back <<less>> window) | (j < sinks))


def sweep(settings, tokens, targets):
    rows = []
    for window, sinks in settings:
        logits = read(tokens, looks(tokens.shape[1], window, sinks))
        price = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()<<in_unit>>
        size = 2 * gpt.cfg.n_layers * gpt.cfg.d_model * <<width>> * (window<<last>> + sinks)
        rows.append({"setting": (window, sinks), "price": price, "bytes": size})
    return rows


def choose(rows, full):
    good = [row for row in rows if row["price"] <= full * (1 + <<slack>>)]
    good.sort(key=lambda row: (row["bytes"], row["price"]))
    return good[0] if good else None

# ---- sweep wrong: cut at the length of the texts | cut at the length
def looks(T, window, sinks):
    j = torch.arange(T)
    back = j[:, None] - j
    return (back >= 0) & ((back <<less>> window) | (j < sinks))


def sweep(settings, tokens, targets):
    rows = []
    for window, sinks in settings:
        logits = read(tokens, looks(tokens.shape[1], window, sinks))
        price = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()<<in_unit>>
        size = 2 * gpt.cfg.n_layers * gpt.cfg.d_model * <<width>> * min(window<<last>> + sinks, tokens.shape[1])
        rows.append({"setting": (window, sinks), "price": price, "bytes": size})
    return rows


def choose(rows, full):
    good = [row for row in rows if row["price"] <= full * (1 + <<slack>>)]
    good.sort(key=lambda row: (row["bytes"], row["price"]))
    return good[0]["setting"] if good else None

# ---- sweep wrong: all texts | one text's is wanted
def looks(T, window, sinks):
    j = torch.arange(T)
    back = j[:, None] - j
    return (back >= 0) & ((back <<less>> window) | (j < sinks))


def sweep(settings, tokens, targets):
    rows = []
    for window, sinks in settings:
        logits = read(tokens, looks(tokens.shape[1], window, sinks))
        price = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()<<in_unit>>
        size = 2 * gpt.cfg.n_layers * gpt.cfg.d_model * <<width>> * len(tokens) * (window<<last>> + sinks)
        rows.append({"setting": (window, sinks), "price": price, "bytes": size})
    return rows


def choose(rows, full):
    good = [row for row in rows if row["price"] <= full * (1 + <<slack>>)]
    good.sort(key=lambda row: (row["bytes"], row["price"]))
    return good[0]["setting"] if good else None

# ---- sweep wrong: bytes as a float | a plain int
def looks(T, window, sinks):
    j = torch.arange(T)
    back = j[:, None] - j
    return (back >= 0) & ((back <<less>> window) | (j < sinks))


def sweep(settings, tokens, targets):
    rows = []
    for window, sinks in settings:
        logits = read(tokens, looks(tokens.shape[1], window, sinks))
        price = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()<<in_unit>>
        size = 2 * gpt.cfg.n_layers * gpt.cfg.d_model * <<width>> * (window<<last>> + sinks)
        rows.append({"setting": (window, sinks), "price": price, "bytes": float(size)})
    return rows


def choose(rows, full):
    good = [row for row in rows if row["price"] <= full * (1 + <<slack>>)]
    good.sort(key=lambda row: (row["bytes"], row["price"]))
    return good[0]["setting"] if good else None

# ---- sweep survives: 5: return torch.logical_or(i - j < window, j < sinks).tril() -> return torch.logical_or(i -  ... , j < sinks).tril().detach() | a table of True and False has no gradient

# ---- sweep survives: 14: logits = read(tokens, looks( ... indow, sinks)).flatten(0, 1) -> logits = read(tokens, looks( ... nks)).flatten(0, 1).detach() | read runs without gradients
