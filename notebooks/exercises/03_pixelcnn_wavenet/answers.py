# Answers by which the graders of this assignment are proved; read as text by tools/exercises, never imported.

# ---- price right: torch.distributions does it
def price(logits, k, prior):
    from torch.distributions import Categorical, Independent
    log_p = Independent(Categorical(logits=logits.permute(0, 1, 3, 4, 2)), 2).log_prob(k[:, None])
    return -(log_p + <<log_prior>>).logsumexp(1) / (k.shape[1] * k.shape[2])<<in_unit>>

# ---- price right: label by label, with torch's cross-entropy
def price(logits, k, prior):
    total = None
    for y, log_prior in enumerate(<<log_prior>>):
        log_p = log_prior - F.cross_entropy(logits[:, y], k, reduction="none").flatten(1).sum(1)
        total = log_p if total is None else torch.logaddexp(total, log_p)
    return -total / k.shape[1:].numel()<<in_unit>>

# ---- price right: pixel by pixel, keeping the label's probabilities up to date
def price(logits, k, prior):
    log_label, total = (<<log_prior>>).expand(len(k), -1), 0
    flat = logits.log_softmax(2).flatten(3)
    for i in range(flat.shape[3]):
        level = k.flatten(1)[:, i, None, None].expand(-1, flat.shape[1], 1)
        joint = log_label + flat[..., i].gather(2, level)[:, :, 0]
        total = total - joint.logsumexp(1)
        log_label = joint.log_softmax(1)
    return total / flat.shape[3]<<in_unit>>

# ---- price wrong: the label is drawn anew at every pixel | a picture has one label
def price(logits, k, prior):
    p = (logits.softmax(2) * (<<log_prior>>).exp()[:, None, None, None]).sum(1)
    return F.nll_loss(p.log(), k, reduction="none").mean((1, 2))<<in_unit>>

# ---- price wrong: log-probabilities averaged over the labels | probabilities that add up over labels
def price(logits, k, prior):
    chosen = k[:, None, None].expand(-1, logits.shape[1], 1, -1, -1)
    log_p = logits.log_softmax(2).gather(2, chosen).sum((2, 3, 4))
    return -(log_p * (<<log_prior>>).exp()).sum(1) / k[0].numel()<<in_unit>>

# ---- price wrong: the other unit | in <<not_unit>>; <<unit>> are wanted
def price(logits, k, prior):
    chosen = k[:, None, None].expand(-1, logits.shape[1], 1, -1, -1)
    log_p = logits.log_softmax(2).gather(2, chosen).sum((2, 3, 4))
    return -torch.logsumexp(log_p + <<log_prior>>, 1) / k[0].numel() * <<bits>> / math.log(2)

# ---- price wrong: the whole picture's price | divide by its pixels
def price(logits, k, prior):
    chosen = k[:, None, None].expand(-1, logits.shape[1], 1, -1, -1)
    log_p = logits.log_softmax(2).gather(2, chosen).sum((2, 3, 4))
    return -torch.logsumexp(log_p + <<log_prior>>, 1)<<in_unit>>

# ---- price wrong: a mean over the pixels inside the sum over labels | divided by the pixels too early
def price(logits, k, prior):
    chosen = k[:, None, None].expand(-1, logits.shape[1], 1, -1, -1)
    log_p = logits.log_softmax(2).gather(2, chosen).mean((2, 3, 4))
    return -torch.logsumexp(log_p + <<log_prior>>, 1)<<in_unit>>

# ---- price wrong: the labels are added up without the prior | a sum over the labels without the prior
def price(logits, k, prior):
    chosen = k[:, None, None].expand(-1, logits.shape[1], 1, -1, -1)
    log_p = logits.log_softmax(2).gather(2, chosen).sum((2, 3, 4))
    return -torch.logsumexp(log_p, 1) / k[0].numel()<<in_unit>>

# ---- price wrong: all labels held equally likely | the prior is not used
def price(logits, k, prior):
    chosen = k[:, None, None].expand(-1, logits.shape[1], 1, -1, -1)
    log_p = logits.log_softmax(2).gather(2, chosen).sum((2, 3, 4))
    nats = math.log(logits.shape[1]) - torch.logsumexp(log_p, 1)
    return nats / k[0].numel()<<in_unit>>

# ---- price wrong: logits of the levels taken for log-probabilities | a log-softmax over the K levels is missing
def price(logits, k, prior):
    chosen = k[:, None, None].expand(-1, logits.shape[1], 1, -1, -1)
    log_p = logits.gather(2, chosen).sum((2, 3, 4))
    return -torch.logsumexp(log_p + <<log_prior>>, 1) / k[0].numel()<<in_unit>>

# ---- price wrong: out of the logarithm and back, which underflows | stay with logarithms
def price(logits, k, prior):
    chosen = k[:, None, None].expand(-1, logits.shape[1], 1, -1, -1)
    p = logits.log_softmax(2).gather(2, chosen).sum((2, 3, 4)).exp()
    return -(p * (<<log_prior>>).exp()).sum(1).log() / k[0].numel()<<in_unit>>

# ---- price wrong: through numbers without a graph | no gradient can flow
def price(logits, k, prior):
    logits, prior = logits.detach(), prior.detach()
    chosen = k[:, None, None].expand(-1, logits.shape[1], 1, -1, -1)
    log_p = logits.log_softmax(2).gather(2, chosen).sum((2, 3, 4))
    return -torch.logsumexp(log_p + <<log_prior>>, 1) / k[0].numel()<<in_unit>>

# ---- price wrong: the prior as it is given | log p(y) belongs
def price(logits, k, prior):
    chosen = k[:, None, None].expand(-1, logits.shape[1], 1, -1, -1)
    log_p = logits.log_softmax(2).gather(2, chosen).sum((2, 3, 4))
    return -torch.logsumexp(log_p + prior, 1) / k[0].numel()<<in_unit>>

# ---- price wrong: the likeliest label alone | the likeliest label: add up all
def price(logits, k, prior):
    chosen = k[:, None, None].expand(-1, logits.shape[1], 1, -1, -1)
    log_p = logits.log_softmax(2).gather(2, chosen).sum((2, 3, 4))
    return -(log_p + <<log_prior>>).amax(1) / k[0].numel()<<in_unit>>

# ---- price wrong: 64 pixels, whatever the picture | these pictures have fewer pixels
def price(logits, k, prior):
    chosen = k[:, None, None].expand(-1, logits.shape[1], 1, -1, -1)
    log_p = logits.log_softmax(2).gather(2, chosen).sum((2, 3, 4))
    return -torch.logsumexp(log_p + <<log_prior>>, 1) / 64<<in_unit>>

# ---- price wrong: squares only | a height and a width
def price(logits, k, prior):
    chosen = k[:, None, None].expand(-1, logits.shape[1], 1, -1, -1)
    log_p = logits.log_softmax(2).gather(2, chosen).sum((2, 3, 4))
    return -torch.logsumexp(log_p + <<log_prior>>, 1) / k.shape[1] ** 2<<in_unit>>

# ---- colour_mask right: one long line of values in the order of drawing
def colour_mask(kind, d_in, d_out, kernel):
    place, pixel = [<<rank>>], torch.arange(kernel * kernel) - kernel * kernel // 2
    deal = lambda d: torch.tensor([place[c] for c in (torch.arange(d) <<split>>).tolist()])
    when = 3 * pixel + deal(d_in)[:, None]                       # (d_in, kernel^2)
    now = deal(d_out)[:, None, None] + (kind == "B")             # (d_out, 1, 1)
    return (when < now).float().view(d_out, d_in, kernel, kernel)

# ---- colour_mask right: loops, and the package's mask away from the middle
def colour_mask(kind, d_in, d_out, kernel):
    drawn = [c.strip() for c in "<<order>>".split(",")]
    name = lambda number, d: ["red", "green", "blue"][(lambda d, c: c <<split>>)(d, number)]
    half = kernel // 2
    mask = torch.zeros(d_out, d_in, kernel, kernel)
    for o in range(d_out):
        for i in range(d_in):
            mask[o, i, :half], mask[o, i, half, :half] = 1, 1
            before = drawn.index(name(o, d_out)) - drawn.index(name(i, d_in))
            mask[o, i, half, half] = before > 0 or (kind == "B" and before == 0)
    return mask

# ---- colour_mask wrong: the mask of the chapter, for all colours | treats all colours alike
def colour_mask(kind, d_in, d_out, kernel):
    mask = torch.zeros(kernel, kernel)
    mask[: kernel // 2] = 1
    mask[kernel // 2, : kernel // 2 + (kind == "B")] = 1
    return mask.repeat(d_out, d_in, 1, 1)

# ---- colour_mask wrong: A and B exchanged | is what mask B should be
def colour_mask(kind, d_in, d_out, kernel):
    place = torch.tensor([<<rank>>])
    into, out = (place[torch.arange(d) <<split>>] for d in (d_in, d_out))
    mask = torch.zeros(d_out, d_in, kernel, kernel)
    mask[:, :, : kernel // 2] = 1
    mask[:, :, kernel // 2, : kernel // 2] = 1
    seen = into < out[:, None] if kind == "B" else into <= out[:, None]
    mask[:, :, kernel // 2, kernel // 2] = seen.float()
    return mask

# ---- colour_mask wrong: what goes in and what comes out exchanged | its first two axes exchanged
def colour_mask(kind, d_in, d_out, kernel):
    place = torch.tensor([<<rank>>])
    into, out = (place[torch.arange(d) <<split>>] for d in (d_in, d_out))
    mask = torch.zeros(d_in, d_out, kernel, kernel)
    mask[:, :, : kernel // 2] = 1
    mask[:, :, kernel // 2, : kernel // 2] = 1
    seen = into[:, None] < out if kind == "A" else into[:, None] <= out
    mask[:, :, kernel // 2, kernel // 2] = seen.float()
    return mask

# ---- colour_mask wrong: red, green, blue, as it always was | belongs to another order of drawing
def colour_mask(kind, d_in, d_out, kernel):
    into, out = (torch.arange(d) <<split>> for d in (d_in, d_out))
    mask = torch.zeros(d_out, d_in, kernel, kernel)
    mask[:, :, : kernel // 2] = 1
    mask[:, :, kernel // 2, : kernel // 2] = 1
    seen = into < out[:, None] if kind == "A" else into <= out[:, None]
    mask[:, :, kernel // 2, kernel // 2] = seen.float()
    return mask

# ---- colour_mask wrong: the list of colours used as if it held their places | belongs to another order of drawing
def colour_mask(kind, d_in, d_out, kernel):
    place = torch.tensor([["red", "green", "blue"].index(c) for c in "<<order>>".split(", ")])
    into, out = (place[torch.arange(d) <<split>>] for d in (d_in, d_out))
    mask = torch.zeros(d_out, d_in, kernel, kernel)
    mask[:, :, : kernel // 2] = 1
    mask[:, :, kernel // 2, : kernel // 2] = 1
    seen = into < out[:, None] if kind == "A" else into <= out[:, None]
    mask[:, :, kernel // 2, kernel // 2] = seen.float()
    return mask

# ---- colour_mask wrong: maps dealt to the colours in the other way | dealt out to the colours otherwise
def colour_mask(kind, d_in, d_out, kernel):
    place, way = torch.tensor([<<rank>>]), "<<split>>"
    deal = lambda d: torch.arange(d) // (d // 3) if way == "% 3" else torch.arange(d) % 3
    into, out = place[deal(d_in)], place[deal(d_out)]
    mask = torch.zeros(d_out, d_in, kernel, kernel)
    mask[:, :, : kernel // 2] = 1
    mask[:, :, kernel // 2, : kernel // 2] = 1
    seen = into < out[:, None] if kind == "A" else into <= out[:, None]
    mask[:, :, kernel // 2, kernel // 2] = seen.float()
    return mask

# ---- colour_mask wrong: the row below is open and that above is not | which comes later
def colour_mask(kind, d_in, d_out, kernel):
    place = torch.tensor([<<rank>>])
    into, out = (place[torch.arange(d) <<split>>] for d in (d_in, d_out))
    mask = torch.zeros(d_out, d_in, kernel, kernel)
    mask[:, :, kernel // 2 + 1 :] = 1
    mask[:, :, kernel // 2, : kernel // 2] = 1
    seen = into < out[:, None] if kind == "A" else into <= out[:, None]
    mask[:, :, kernel // 2, kernel // 2] = seen.float()
    return mask

# ---- colour_mask wrong: colours before it are hidden at earlier pixels, too | which it may see
def colour_mask(kind, d_in, d_out, kernel):
    place = torch.tensor([<<rank>>])
    into, out = (place[torch.arange(d) <<split>>] for d in (d_in, d_out))
    seen = into < out[:, None] if kind == "A" else into <= out[:, None]
    mask = torch.zeros(d_out, d_in, kernel, kernel)
    mask[:, :, : kernel // 2] = 1
    mask[:, :, kernel // 2, : kernel // 2 + 1] = 1
    return mask * seen[:, :, None, None]

# ---- colour_mask wrong: True and False | must hold floats
def colour_mask(kind, d_in, d_out, kernel):
    place = torch.tensor([<<rank>>])
    into, out = (place[torch.arange(d) <<split>>] for d in (d_in, d_out))
    middle = kernel // 2
    mask = torch.zeros(d_out, d_in, kernel, kernel)
    mask[:, :, :middle] = 1
    mask[:, :, middle, :middle] = 1
    seen = into < out[:, None] if kind == "A" else into <= out[:, None]
    mask[:, :, middle, middle] = seen.float()
    return mask.bool()

# ---- colour_mask wrong: only the row just above | away from its own pixel
def colour_mask(kind, d_in, d_out, kernel):
    place = torch.tensor([<<rank>>])
    into, out = (place[torch.arange(d) <<split>>] for d in (d_in, d_out))
    middle = kernel // 2
    mask = torch.zeros(d_out, d_in, kernel, kernel)
    mask[:, :, max(middle - 1, 0) : middle] = 1
    mask[:, :, middle, :middle] = 1
    seen = into < out[:, None] if kind == "A" else into <= out[:, None]
    mask[:, :, middle, middle] = seen.float()
    return mask

# ---- colour_mask wrong: places compared the wrong way round | the wrong way round
def colour_mask(kind, d_in, d_out, kernel):
    place = torch.tensor([<<rank>>])
    into, out = (place[torch.arange(d) <<split>>] for d in (d_in, d_out))
    middle = kernel // 2
    mask = torch.zeros(d_out, d_in, kernel, kernel)
    mask[:, :, :middle] = 1
    mask[:, :, middle, :middle] = 1
    seen = into > out[:, None] if kind == "A" else into >= out[:, None]
    mask[:, :, middle, middle] = seen.float()
    return mask

# ---- colour_mask wrong: what lies left in the row is hidden | numbered from 0 as they are drawn
def colour_mask(kind, d_in, d_out, kernel):
    place = torch.tensor([<<rank>>])
    into, out = (place[torch.arange(d) <<split>>] for d in (d_in, d_out))
    middle = kernel // 2
    mask = torch.zeros(d_out, d_in, kernel, kernel)
    mask[:, :, :middle] = 1
    mask[:, :, middle, :0] = 1
    seen = into < out[:, None] if kind == "A" else into <= out[:, None]
    mask[:, :, middle, middle] = seen.float()
    return mask

# ---- compare right: the package's bits and a sort
def compare(settings, steps):
    models = [train(*setting, steps).requires_grad_(False) for setting in settings]
    return [{"setting": tuple(setting), "weights": torch.nn.utils.parameters_to_vector(
                model.parameters()).numel(),
             "price": -model.log_prob(x_test) / (64 * <<bits>>)}
            for setting, model in zip(settings, models)]


def choose(rows):
    prices = torch.stack([row["price"] for row in rows])
    extra = prices - prices[prices.mean(1).argmin()]
    error = (extra.var(1) / extra.shape[1]).sqrt()
    fit = (extra.mean(1) <= <<z>> * error).tolist()
    return sorted((r["weights"], r["setting"]) for r, f in zip(rows, fit) if f)[0][1]

# ---- compare right: picture by picture, in plain loops
@torch.no_grad()
def cost(model, x):
    k = to_levels(x[:, 0], LEVELS)
    log_p = model.pixel_log_prob(model(x), k)
    return -log_p.mean(dim=(1, 2))<<in_unit>>


def compare(settings, steps):
    rows = []
    for setting in settings:
        model = train(*setting, steps)
        n = sum(math.prod(p.shape) for p in model.parameters() if p.requires_grad)
        rows.append({"setting": setting, "weights": n,
                     "price": torch.cat([cost(model, x) for x in x_test.split(100)])})
    return rows


def choose(rows):
    best, kept = rows[0], None
    for row in rows:
        if float(row["price"].mean()) < float(best["price"].mean()):
            best = row
    for row in rows:
        extra = [a - b for a, b in zip(row["price"].tolist(), best["price"].tolist())]
        mean = sum(extra) / len(extra)
        s = math.sqrt(sum((e - mean) ** 2 for e in extra) / (len(extra) - 1))
        if mean <= <<z>> * s / math.sqrt(len(extra)):
            if kept is None or row["weights"] < kept["weights"]:
                kept = row
    return kept["setting"]

# ---- compare right: trained under no_grad, lists for the pairs
@torch.no_grad()
def compare(settings, steps):
    rows = []
    for width, n_layers in settings:
        model = train(width, n_layers, steps)
        nats = -model.log_prob(x_test) / 64
        rows.append({"setting": [width, n_layers], "price": nats<<in_unit>>,
                     "weights": sum(p.numel() for p in model.parameters())})
    return rows


def choose(rows):
    best = min(rows, key=lambda row: row["price"].mean())
    extra = [row["price"] - best["price"] for row in rows]
    good = [row for row, e in zip(rows, extra) if e.mean() <= <<z>> * e.std() / math.sqrt(len(e))]
    return min(good, key=lambda row: row["weights"])["setting"]

# ---- compare wrong: the other unit | in <<not_unit>>; <<unit>> are wanted
def compare(settings, steps):
    rows = []
    for width, n_layers in settings:
        model = train(width, n_layers, steps)
        with torch.no_grad():
            nats = -model.log_prob(x_test) / 64
        rows.append({"setting": (width, n_layers), "price": nats * <<bits>> / math.log(2),
                     "weights": sum(p.numel() for p in model.parameters())})
    return rows


def choose(rows):
    best = min(rows, key=lambda row: row["price"].mean())
    return best["setting"]

# ---- compare wrong: nats per picture | a sum over the pixels
def compare(settings, steps):
    rows = []
    for width, n_layers in settings:
        model = train(width, n_layers, steps)
        with torch.no_grad():
            nats = -model.log_prob(x_test)
        rows.append({"setting": (width, n_layers), "price": nats<<in_unit>>,
                     "weights": sum(p.numel() for p in model.parameters())})
    return rows


def choose(rows):
    best = min(rows, key=lambda row: row["price"].mean())
    return best["setting"]

# ---- compare wrong: the pictures averaged away | the rule needs each picture's
def compare(settings, steps):
    rows = []
    for width, n_layers in settings:
        model = train(width, n_layers, steps)
        nats = pixelcnn_loss(model, (x_test, None))[0].detach() / 64
        rows.append({"setting": (width, n_layers), "price": nats<<in_unit>>,
                     "weights": sum(p.numel() for p in model.parameters())})
    return rows


def choose(rows):
    best = min(rows, key=lambda row: row["price"].mean())
    return best["setting"]

# ---- compare wrong: the graph is kept | keeps the graph
def compare(settings, steps):
    rows = []
    for width, n_layers in settings:
        model = train(width, n_layers, steps)
        rows.append({"setting": (width, n_layers), "price": -model.log_prob(x_test) / 64<<in_unit>>,
                     "weights": sum(p.numel() for p in model.parameters())})
    return rows


def choose(rows):
    best = min(rows, key=lambda row: row["price"].mean())
    return best["setting"]

# ---- compare wrong: tensors are counted, not their entries | count their entries
def compare(settings, steps):
    rows = []
    for width, n_layers in settings:
        model = train(width, n_layers, steps)
        with torch.no_grad():
            nats = -model.log_prob(x_test) / 64
        rows.append({"setting": (width, n_layers), "price": nats<<in_unit>>,
                     "weights": len([*model.parameters()])})
    return rows


def choose(rows):
    best = min(rows, key=lambda row: row["price"].mean())
    return best["setting"]

# ---- compare wrong: s in place of the standard error | not s itself
def compare(settings, steps):
    rows = []
    for width, n_layers in settings:
        model = train(width, n_layers, steps)
        with torch.no_grad():
            nats = -model.log_prob(x_test) / 64
        rows.append({"setting": (width, n_layers), "price": nats<<in_unit>>,
                     "weights": sum(p.numel() for p in model.parameters())})
    return rows


def choose(rows):
    best = min(rows, key=lambda row: row["price"].mean())
    extra = [row["price"] - best["price"] for row in rows]
    good = [row for row, e in zip(rows, extra) if e.mean() <= <<z>> * e.std()]
    return min(good, key=lambda row: row["weights"])["setting"]

# ---- compare wrong: two separate errors, as if the pictures were others | the differences are paired
def compare(settings, steps):
    rows = []
    for width, n_layers in settings:
        model = train(width, n_layers, steps)
        with torch.no_grad():
            nats = -model.log_prob(x_test) / 64
        rows.append({"setting": (width, n_layers), "price": nats<<in_unit>>,
                     "weights": sum(p.numel() for p in model.parameters())})
    return rows


def choose(rows):
    best = min(rows, key=lambda row: row["price"].mean())["price"]
    n = len(best)
    good = [row for row in rows if row["price"].mean() - best.mean()
            <= <<z>> * math.sqrt((row["price"].var() + best.var()) / n)]
    return min(good, key=lambda row: row["weights"])["setting"]

# ---- compare wrong: the best row is kept | this is the best row
def compare(settings, steps):
    rows = []
    for width, n_layers in settings:
        model = train(width, n_layers, steps)
        with torch.no_grad():
            nats = -model.log_prob(x_test) / 64
        rows.append({"setting": (width, n_layers), "price": nats<<in_unit>>,
                     "weights": sum(p.numel() for p in model.parameters())})
    return rows


def choose(rows):
    return min(rows, key=lambda row: row["price"].mean())["setting"]

# ---- compare wrong: the other number of standard errors | the rule allows <<errors>>
def compare(settings, steps):
    rows = []
    for width, n_layers in settings:
        model = train(width, n_layers, steps)
        with torch.no_grad():
            nats = -model.log_prob(x_test) / 64
        rows.append({"setting": (width, n_layers), "price": nats<<in_unit>>,
                     "weights": sum(p.numel() for p in model.parameters())})
    return rows


def choose(rows):
    best = min(rows, key=lambda row: row["price"].mean())
    extra = [row["price"] - best["price"] for row in rows]
    good = [row for row, e in zip(rows, extra)
            if e.mean() <= (3 - <<z>>) * e.std() / math.sqrt(len(e))]
    return min(good, key=lambda row: row["weights"])["setting"]

# ---- compare wrong: less than, where at most is the rule | the best row is admitted, too
def compare(settings, steps):
    rows = []
    for width, n_layers in settings:
        model = train(width, n_layers, steps)
        with torch.no_grad():
            nats = -model.log_prob(x_test) / 64
        rows.append({"setting": (width, n_layers), "price": nats<<in_unit>>,
                     "weights": sum(p.numel() for p in model.parameters())})
    return rows


def choose(rows):
    best = min(rows, key=lambda row: row["price"].mean())
    extra = [row["price"] - best["price"] for row in rows]
    good = [row for row, e in zip(rows, extra) if e.mean() < <<z>> * e.std() / math.sqrt(len(e))]
    return min(good, key=lambda row: row["weights"])["setting"]

# ---- compare wrong: one standard error more | not more or less
def compare(settings, steps):
    rows = []
    for width, n_layers in settings:
        model = train(width, n_layers, steps)
        with torch.no_grad():
            nats = -model.log_prob(x_test) / 64
        rows.append({"setting": (width, n_layers), "price": nats<<in_unit>>,
                     "weights": sum(p.numel() for p in model.parameters())})
    return rows


def choose(rows):
    best = min(rows, key=lambda row: row["price"].mean())
    extra = [row["price"] - best["price"] for row in rows]
    good = [row for row, e in zip(rows, extra) if e.mean() <= (<<z>> + 1) * e.std() / math.sqrt(len(e))]
    return min(good, key=lambda row: row["weights"])["setting"]

# ---- compare wrong: the divisor N | N - 1 in s
def compare(settings, steps):
    rows = []
    for width, n_layers in settings:
        model = train(width, n_layers, steps)
        with torch.no_grad():
            nats = -model.log_prob(x_test) / 64
        rows.append({"setting": (width, n_layers), "price": nats<<in_unit>>,
                     "weights": sum(p.numel() for p in model.parameters())})
    return rows


def choose(rows):
    best = min(rows, key=lambda row: row["price"].mean())
    extra = [row["price"] - best["price"] for row in rows]
    good = [row for row, e in zip(rows, extra) if e.mean() <= <<z>> * e.std(correction=0) / math.sqrt(len(e))]
    return min(good, key=lambda row: row["weights"])["setting"]

# ---- compare wrong: N - 1 below the root, too | N below the root
def compare(settings, steps):
    rows = []
    for width, n_layers in settings:
        model = train(width, n_layers, steps)
        with torch.no_grad():
            nats = -model.log_prob(x_test) / 64
        rows.append({"setting": (width, n_layers), "price": nats<<in_unit>>,
                     "weights": sum(p.numel() for p in model.parameters())})
    return rows


def choose(rows):
    best = min(rows, key=lambda row: row["price"].mean())
    extra = [row["price"] - best["price"] for row in rows]
    good = [row for row, e in zip(rows, extra) if e.mean() <= <<z>> * e.std() / math.sqrt(len(e) - 1)]
    return min(good, key=lambda row: row["weights"])["setting"]

# ---- compare wrong: the smallest setting, not the fewest weights | the rule asks for the fewest weights
def compare(settings, steps):
    rows = []
    for width, n_layers in settings:
        model = train(width, n_layers, steps)
        with torch.no_grad():
            nats = -model.log_prob(x_test) / 64
        rows.append({"setting": (width, n_layers), "price": nats<<in_unit>>,
                     "weights": sum(p.numel() for p in model.parameters())})
    return rows


def choose(rows):
    best = min(rows, key=lambda row: row["price"].mean())
    extra = [row["price"] - best["price"] for row in rows]
    good = [row for row, e in zip(rows, extra) if e.mean() <= <<z>> * e.std() / math.sqrt(len(e))]
    return min(good, key=lambda row: row["setting"])["setting"]

# ---- compare wrong: the row itself | and not the row
def compare(settings, steps):
    rows = []
    for width, n_layers in settings:
        model = train(width, n_layers, steps)
        with torch.no_grad():
            nats = -model.log_prob(x_test) / 64
        rows.append({"setting": (width, n_layers), "price": nats<<in_unit>>,
                     "weights": sum(p.numel() for p in model.parameters())})
    return rows


def choose(rows):
    best = min(rows, key=lambda row: row["price"].mean())
    extra = [row["price"] - best["price"] for row in rows]
    good = [row for row, e in zip(rows, extra) if e.mean() <= <<z>> * e.std() / math.sqrt(len(e))]
    return min(good, key=lambda row: row["weights"])

# ---- compare wrong: weights as a float | a plain int
def compare(settings, steps):
    rows = []
    for width, n_layers in settings:
        model = train(width, n_layers, steps)
        with torch.no_grad():
            nats = -model.log_prob(x_test) / 64
        rows.append({"setting": (width, n_layers), "price": nats<<in_unit>>,
                     "weights": float(sum(p.numel() for p in model.parameters()))})
    return rows


def choose(rows):
    best = min(rows, key=lambda row: row["price"].mean())
    extra = [row["price"] - best["price"] for row in rows]
    good = [row for row, e in zip(rows, extra) if e.mean() <= <<z>> * e.std() / math.sqrt(len(e))]
    return min(good, key=lambda row: row["weights"])["setting"]

# ---- compare wrong: biases left out | without the biases
def compare(settings, steps):
    rows = []
    for width, n_layers in settings:
        model = train(width, n_layers, steps)
        with torch.no_grad():
            nats = -model.log_prob(x_test) / 64
        rows.append({"setting": (width, n_layers), "price": nats<<in_unit>>,
                     "weights": sum(p.numel() for p in model.parameters() if p.ndim > 1)})
    return rows


def choose(rows):
    best = min(rows, key=lambda row: row["price"].mean())
    extra = [row["price"] - best["price"] for row in rows]
    good = [row for row, e in zip(rows, extra) if e.mean() <= <<z>> * e.std() / math.sqrt(len(e))]
    return min(good, key=lambda row: row["weights"])["setting"]

# ---- compare wrong: prices in a list | must be a tensor
def compare(settings, steps):
    rows = []
    for width, n_layers in settings:
        model = train(width, n_layers, steps)
        with torch.no_grad():
            nats = -model.log_prob(x_test) / 64
        rows.append({"setting": (width, n_layers), "price": (nats<<in_unit>>).tolist(),
                     "weights": sum(p.numel() for p in model.parameters())})
    return rows


def choose(rows):
    best = min(rows, key=lambda row: row["price"].mean())
    extra = [row["price"] - best["price"] for row in rows]
    good = [row for row, e in zip(rows, extra) if e.mean() <= <<z>> * e.std() / math.sqrt(len(e))]
    return min(good, key=lambda row: row["weights"])["setting"]

# ---- price survives: 4: chosen = k[:, None, None].ex ...  logits.shape[1], 1, -1, -1) -> chosen = k[:, None, None].ex ... hape[1], 1, -1, -1).detach() | levels are whole numbers: they have no gradient

# ---- colour_mask survives: 8: mask = torch.zeros(d_out, d_in, kernel, kernel) -> mask = torch.zeros(d_out, d_in, kernel, kernel).detach() | a new tensor of constants has no graph to leave

# ---- compare survives: 18: row['price'].mean() -> row['price'].sum() | all rows have the same pictures, so their sums are in the order of their means
