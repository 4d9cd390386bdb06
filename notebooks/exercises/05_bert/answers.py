# Answers by which the graders of this assignment are proved; read as text by tools/exercises, never imported.

# ---- believe right: Bayes' rule with the whole table of true and shown words
def believe(c, shown, random, stay):
    V = c.shape[1]
    same = torch.eye(V, dtype=c.dtype)
    shows = (1 - same if "<<kept>>" == "stay" else torch.ones_like(same)) / <<others>> * random
    joint = c[:, :, None] * (shows + stay * same)        # row, true word, shown word
    column = torch.stack([joint[b, :, u] for b, u in enumerate(shown.tolist())])
    return torch.nn.functional.normalize(column, p=1, dim=1)

# ---- believe right: row by row
def believe(c, shown, random, stay):
    rows = []
    for p, u in zip(c, shown):
        put = random / (p.numel() if "<<kept>>" != "stay" else p.numel() - 1)
        is_u = torch.arange(p.numel()) == u
        w = torch.where(is_u, p * (stay + put * ("<<kept>>" != "stay")), p * put)
        rows.append(w / w.sum())
    return torch.stack(rows)

# ---- believe wrong: not normalised | does not add up to 1
def believe(c, shown, random, stay):
    put = random / <<others>>
    u = shown[:, None]
    return (put * c).scatter(1, u, <<kept>> * c.gather(1, u))

# ---- believe wrong: normalised over the batch | does not add up to 1
def believe(c, shown, random, stay):
    put = random / <<others>>
    u = shown[:, None]
    weight = (put * c).scatter(1, u, <<kept>> * c.gather(1, u))
    return weight / weight.sum(0, keepdim=True)

# ---- believe wrong: the shares exchanged | exchanged
def believe(c, shown, random, stay):
    random, stay = stay, random
    put = random / <<others>>
    u = shown[:, None]
    weight = (put * c).scatter(1, u, <<kept>> * c.gather(1, u))
    return weight / weight.sum(1, keepdim=True)

# ---- believe wrong: the word that is shown is believed | it may be random
def believe(c, shown, random, stay):
    return torch.nn.functional.one_hot(shown, c.shape[1]).to(c) + 0 * c

# ---- believe wrong: one count beside, V for all | one count beside
def believe(c, shown, random, stay):
    put = random / c.shape[1]
    u = shown[:, None]
    weight = (put * c).scatter(1, u, stay * c.gather(1, u))
    return weight / weight.sum(1, keepdim=True)

# ---- believe wrong: drawn from the other urn | a random word drawn otherwise
def believe(c, shown, random, stay):
    other = "<<kept>>" != "stay"
    put = random / (c.shape[1] - other)
    u = shown[:, None]
    weight = (put * c).scatter(1, u, (stay + (not other) * put) * c.gather(1, u))
    return weight / weight.sum(1, keepdim=True)

# ---- believe wrong: the chapter's count copied, the shares ignored | as if the two shares were equal
def believe(c, shown, random, stay):
    V, u = c.shape[1], shown[:, None]
    weight = c.scatter(1, u, <<times>> * c.gather(1, u))
    return weight / weight.sum(1, keepdim=True)

# ---- believe wrong: c is changed in place | changed in place
def believe(c, shown, random, stay):
    put = random / <<others>>
    c[torch.arange(len(c)), shown] *= <<kept>> / put
    return c / c.sum(1, keepdim=True)

# ---- believe wrong: the probability of the shown word alone | too much was reduced
def believe(c, shown, random, stay):
    put = random / <<others>>
    own = c.gather(1, shown[:, None])[:, 0]
    return <<kept>> * own / (<<kept>> * own + put * (1 - own))

# ---- believe wrong: the sum is held constant | a detached tensor is in the way
def believe(c, shown, random, stay):
    put = random / <<others>>
    u = shown[:, None]
    weight = (put * c).scatter(1, u, <<kept>> * c.gather(1, u))
    return weight / weight.sum(1, keepdim=True).detach()

# ---- word_score right: token after token, in a loop
def word_score(model, tokens, continues, hide, special):
    total, n = 0.0, 0
    tokens, continues = tokens.tolist(), continues.tolist()
    for i, token in enumerate(tokens):
        if token in special:
            continue
        n += not continues[i]
        first, last = i, i + 1
        while last < len(tokens) and continues[last]:
            last += 1
        while continues[first] and not "<<also>>":
            first -= 1
        row = [hide if first <= k < last else t for k, t in enumerate(tokens)]
        with torch.no_grad():
            logits = model.mlm_logits(model(torch.tensor([row])))
        total -= torch.nn.functional.cross_entropy(logits[0, i], torch.tensor(token)).item()
    return total / n / <<bits>>

# ---- word_score right: word after word, with the package's fill
def word_score(model, tokens, continues, hide, special):
    groups = []
    for i, token in enumerate(tokens.tolist()):
        if continues[i]:
            groups[-1].append(i)
        else:
            groups.append([i])
    groups = [group for group in groups if tokens[group[0]].item() not in special]
    prices = []
    for group in groups:
        for k, i in enumerate(group):
            row = tokens.clone()
            row[group[k:] if "<<also>>" else group] = hide
            p = fill(model, row[None], torch.tensor([[i]]))[0, 0, tokens[i]]
            prices.append(math.log(p) / <<bits>>)
    return math.fsum(prices) / len(groups)

# ---- word_score wrong: one token hidden at a time | one token is hidden at a time
def word_score(model, tokens, continues, hide, special):
    total = pseudo_log_prob(model, tokens[None], hide=hide, special=special).item()
    n = sum(t not in special and not c for t, c in zip(tokens.tolist(), continues.tolist()))
    return total / n<<in_unit>>

# ---- word_score wrong: the other rule | of the other rule
@torch.no_grad()
def word_score(model, tokens, continues, hide, special):
    at, word = torch.arange(len(tokens)), (~continues).cumsum(0)
    gone = word == word[:, None]
    if not "<<also>>":
        gone &= at >= at[:, None]
    rows = tokens.expand(len(at), -1).masked_fill(gone, hide)
    log_p = model.mlm_logits(model(rows)[at, at]).log_softmax(1)[at, tokens]
    scored = ~torch.isin(tokens, torch.tensor(special))
    return (log_p[scored].sum() / (scored & ~continues).sum()).item()<<in_unit>>

# ---- word_score wrong: the wrong triangle, so that what came before is hidden | if the tokens before are hidden
@torch.no_grad()
def word_score(model, tokens, continues, hide, special):
    at, word = torch.arange(len(tokens)), (~continues).cumsum(0)
    gone = (word == word[:, None]) & (at <= at[:, None])
    rows = tokens.expand(len(at), -1).masked_fill(gone, hide)
    log_p = model.mlm_logits(model(rows)[at, at]).log_softmax(1)[at, tokens]
    scored = ~torch.isin(tokens, torch.tensor(special))
    return (log_p[scored].sum() / (scored & ~continues).sum()).item()<<in_unit>>

# ---- word_score wrong: nothing hidden | with the word in view
@torch.no_grad()
def word_score(model, tokens, continues, hide, special):
    log_p = model.mlm_logits(model(tokens[None])[0]).log_softmax(1)
    log_p = log_p[torch.arange(len(tokens)), tokens]
    scored = ~torch.isin(tokens, torch.tensor(special))
    return (log_p[scored].sum() / (scored & ~continues).sum()).item()<<in_unit>>

# ---- word_score wrong: the others are hidden, the token itself is not | with the token itself in view
@torch.no_grad()
def word_score(model, tokens, continues, hide, special):
    at, word = torch.arange(len(tokens)), (~continues).cumsum(0)
    gone = (word == word[:, None])<<also>> & (at != at[:, None])
    rows = tokens.expand(len(at), -1).masked_fill(gone, hide)
    log_p = model.mlm_logits(model(rows)[at, at]).log_softmax(1)[at, tokens]
    scored = ~torch.isin(tokens, torch.tensor(special))
    return (log_p[scored].sum() / (scored & ~continues).sum()).item()<<in_unit>>

# ---- word_score wrong: special tokens are priced | made of special tokens
@torch.no_grad()
def word_score(model, tokens, continues, hide, special):
    at, word = torch.arange(len(tokens)), (~continues).cumsum(0)
    gone = (word == word[:, None])<<also>>
    rows = tokens.expand(len(at), -1).masked_fill(gone, hide)
    log_p = model.mlm_logits(model(rows)[at, at]).log_softmax(1)[at, tokens]
    scored = ~torch.isin(tokens, torch.tensor(special))
    return (log_p.sum() / (scored & ~continues).sum()).item()<<in_unit>>

# ---- word_score wrong: a mean over tokens | divided by the number of tokens
@torch.no_grad()
def word_score(model, tokens, continues, hide, special):
    at, word = torch.arange(len(tokens)), (~continues).cumsum(0)
    gone = (word == word[:, None])<<also>>
    rows = tokens.expand(len(at), -1).masked_fill(gone, hide)
    log_p = model.mlm_logits(model(rows)[at, at]).log_softmax(1)[at, tokens]
    scored = ~torch.isin(tokens, torch.tensor(special))
    return log_p[scored].mean().item()<<in_unit>>

# ---- word_score wrong: the number of the last word, special tokens counted | special tokens are no words
@torch.no_grad()
def word_score(model, tokens, continues, hide, special):
    at, word = torch.arange(len(tokens)), (~continues).cumsum(0)
    gone = (word == word[:, None])<<also>>
    rows = tokens.expand(len(at), -1).masked_fill(gone, hide)
    log_p = model.mlm_logits(model(rows)[at, at]).log_softmax(1)[at, tokens]
    scored = ~torch.isin(tokens, torch.tensor(special))
    return (log_p[scored].sum() / word[-1]).item()<<in_unit>>

# ---- word_score wrong: the other unit | in <<not_unit>>; <<unit>> are wanted
@torch.no_grad()
def word_score(model, tokens, continues, hide, special):
    at, word = torch.arange(len(tokens)), (~continues).cumsum(0)
    gone = (word == word[:, None])<<also>>
    rows = tokens.expand(len(at), -1).masked_fill(gone, hide)
    log_p = model.mlm_logits(model(rows)[at, at]).log_softmax(1)[at, tokens]
    scored = ~torch.isin(tokens, torch.tensor(special))
    return (log_p[scored].sum() / (scored & ~continues).sum()).item() * <<bits>> / math.log(2)

# ---- word_score wrong: a price, with its sign turned | of the wrong sign
@torch.no_grad()
def word_score(model, tokens, continues, hide, special):
    at, word = torch.arange(len(tokens)), (~continues).cumsum(0)
    gone = (word == word[:, None])<<also>>
    rows = tokens.expand(len(at), -1).masked_fill(gone, hide)
    log_p = model.mlm_logits(model(rows)[at, at]).log_softmax(1)[at, tokens]
    scored = ~torch.isin(tokens, torch.tensor(special))
    return -(log_p[scored].sum() / (scored & ~continues).sum()).item()<<in_unit>>

# ---- sweep right: text after text, and choose by sorting
def vector(state, row, place, reading):
    if reading == "cls":
        return state[0]
    if reading == "hidden":
        return state[place]
    return torch.stack([h for h, t in zip(state, row) if t.item() not in SPECIAL]).mean(0)


def sweep(pairs, counts):
    rows = []
    for network, reading in pairs:
        x = torch.stack([vector(h, tokens[i], places[i], reading)
                         for i, h in enumerate(states(network))])
        for n in counts:
            hits = (fit_probe(x[:n], homes[:n])(x[40:]) == homes[40:]).sum().item()
            rows.append(dict(network=network, reading=reading, labels=n,
                             right=hits / (len(x) - 40)))
    return rows


def choose(rows):
    good = sorted((r for r in rows if not r["right"] < <<goal>>), key=lambda r: -r["right"])
    for row in sorted(good, key=lambda r: r["labels"]):
        return row["network"], row["reading"]

# ---- sweep right: weights for each reading, in one product
def sweep(pairs, counts):
    T = tokens.shape[1]
    word = (tokens > 4).float()
    look = {"cls": torch.eye(T)[0].expand(len(tokens), T), "hidden": torch.eye(T)[places],
            "mean": word / word.sum(1, keepdim=True)}
    rows = []
    for network, reading in pairs:
        x = torch.einsum("nt,ntd->nd", look[reading], states(network))
        for n in counts:
            told = fit_probe(x[:n], homes[:n])(x[40:])
            right = torch.eq(told, homes[40:]).double().mean().item()
            rows.append({"network": network, "reading": reading, "labels": n, "right": right})
    return rows


def choose(rows):
    best = None
    for row in rows:
        if row["right"] >= <<goal>>:
            if best is None or (row["labels"], -row["right"]) < (best["labels"], -best["right"]):
                best = row
    return None if best is None else (best["network"], best["reading"])

# ---- sweep wrong: the filling is in the mean | a mean of filling
def sweep(pairs, counts):
    rows = []
    for network, reading in pairs:
        h = states(network)
        x = {"cls": h[:, 0], "hidden": h[torch.arange(len(h)), places], "mean": h.mean(1)}[reading]
        for n in counts:
            told = fit_probe(x[:n], homes[:n])(x[40:])
            rows.append({"network": network, "reading": reading, "labels": n,
                         "right": (told == homes[40:]).float().mean().item()})
    return rows


def choose(rows):
    return None

# ---- sweep wrong: special tokens are in the mean | a mean of special tokens
def sweep(pairs, counts):
    rows = []
    for network, reading in pairs:
        h = states(network)
        mean = (h * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
        x = {"cls": h[:, 0], "hidden": h[torch.arange(len(h)), places], "mean": mean}[reading]
        for n in counts:
            told = fit_probe(x[:n], homes[:n])(x[40:])
            rows.append({"network": network, "reading": reading, "labels": n,
                         "right": (told == homes[40:]).float().mean().item()})
    return rows


def choose(rows):
    return None

# ---- sweep wrong: filling left out of the sum, not of the number | divide by its own words
def sweep(pairs, counts):
    rows = []
    for network, reading in pairs:
        h = states(network)
        mean = (h * ~torch.isin(tokens, torch.tensor(SPECIAL))[:, :, None]).mean(1)
        x = {"cls": h[:, 0], "hidden": h[torch.arange(len(h)), places], "mean": mean}[reading]
        for n in counts:
            told = fit_probe(x[:n], homes[:n])(x[40:])
            rows.append({"network": network, "reading": reading, "labels": n,
                         "right": (told == homes[40:]).float().mean().item()})
    return rows


def choose(rows):
    return None

# ---- sweep wrong: judged on all stories | were learnt by heart
def sweep(pairs, counts):
    rows = []
    words = mask & ~torch.isin(tokens, torch.tensor(SPECIAL))
    for network, reading in pairs:
        h = states(network)
        mean = (h * words[:, :, None]).sum(1) / words.sum(1, keepdim=True)
        x = {"cls": h[:, 0], "hidden": h[torch.arange(len(h)), places], "mean": mean}[reading]
        for n in counts:
            told = fit_probe(x[:n], homes[:n])(x)
            rows.append({"network": network, "reading": reading, "labels": n,
                         "right": (told == homes).float().mean().item()})
    return rows


def choose(rows):
    return None

# ---- sweep wrong: the probe is fitted to the stories that judge it | the stories that judge it
def sweep(pairs, counts):
    rows = []
    words = mask & ~torch.isin(tokens, torch.tensor(SPECIAL))
    for network, reading in pairs:
        h = states(network)
        mean = (h * words[:, :, None]).sum(1) / words.sum(1, keepdim=True)
        x = {"cls": h[:, 0], "hidden": h[torch.arange(len(h)), places], "mean": mean}[reading]
        for n in counts:
            told = fit_probe(x[40:], homes[40:])(x[40:])
            rows.append({"network": network, "reading": reading, "labels": n,
                         "right": (told == homes[40:]).float().mean().item()})
    return rows


def choose(rows):
    return None

# ---- sweep wrong: the last place of the batch is read | that of the last place of the batch
def sweep(pairs, counts):
    rows = []
    words = mask & ~torch.isin(tokens, torch.tensor(SPECIAL))
    for network, reading in pairs:
        h = states(network)
        mean = (h * words[:, :, None]).sum(1) / words.sum(1, keepdim=True)
        x = {"cls": h[:, 0], "hidden": h[:, -1], "mean": mean}[reading]
        for n in counts:
            told = fit_probe(x[:n], homes[:n])(x[40:])
            rows.append({"network": network, "reading": reading, "labels": n,
                         "right": (told == homes[40:]).float().mean().item()})
    return rows


def choose(rows):
    return None

# ---- sweep wrong: the highest share is chosen | the highest share; the rule asks for the fewest labels
def sweep(pairs, counts):
    rows = []
    words = mask & ~torch.isin(tokens, torch.tensor(SPECIAL))
    for network, reading in pairs:
        h = states(network)
        mean = (h * words[:, :, None]).sum(1) / words.sum(1, keepdim=True)
        x = {"cls": h[:, 0], "hidden": h[torch.arange(len(h)), places], "mean": mean}[reading]
        for n in counts:
            told = fit_probe(x[:n], homes[:n])(x[40:])
            rows.append({"network": network, "reading": reading, "labels": n,
                         "right": (told == homes[40:]).float().mean().item()})
    return rows


def choose(rows):
    good = [row for row in rows if row["right"] >= <<goal>>]
    best = max(good, key=lambda row: row["right"], default=None)
    return best and (best["network"], best["reading"])

# ---- sweep wrong: the fewest labels, whatever comes of them | does not reach the goal
def sweep(pairs, counts):
    rows = []
    words = mask & ~torch.isin(tokens, torch.tensor(SPECIAL))
    for network, reading in pairs:
        h = states(network)
        mean = (h * words[:, :, None]).sum(1) / words.sum(1, keepdim=True)
        x = {"cls": h[:, 0], "hidden": h[torch.arange(len(h)), places], "mean": mean}[reading]
        for n in counts:
            told = fit_probe(x[:n], homes[:n])(x[40:])
            rows.append({"network": network, "reading": reading, "labels": n,
                         "right": (told == homes[40:]).float().mean().item()})
    return rows


def choose(rows):
    best = min(rows, key=lambda row: (row["labels"], row["right"]))
    return best["network"], best["reading"]

# ---- sweep wrong: of equally few labels the first | of equally few labels the higher share
def sweep(pairs, counts):
    rows = []
    words = mask & ~torch.isin(tokens, torch.tensor(SPECIAL))
    for network, reading in pairs:
        h = states(network)
        mean = (h * words[:, :, None]).sum(1) / words.sum(1, keepdim=True)
        x = {"cls": h[:, 0], "hidden": h[torch.arange(len(h)), places], "mean": mean}[reading]
        for n in counts:
            told = fit_probe(x[:n], homes[:n])(x[40:])
            rows.append({"network": network, "reading": reading, "labels": n,
                         "right": (told == homes[40:]).float().mean().item()})
    return rows


def choose(rows):
    good = [row for row in rows if row["right"] >= <<goal>>]
    best = min(good, key=lambda row: (row["labels"], row["right"]), default=None)
    return best and (best["network"], best["reading"])

# ---- sweep wrong: the hidden place is in the mean | the hidden place in it
def sweep(pairs, counts):
    rows = []
    words = mask & ~torch.isin(tokens, torch.tensor(SPECIAL[:4]))
    for network, reading in pairs:
        h = states(network)
        mean = (h * words[:, :, None]).sum(1) / words.sum(1, keepdim=True)
        x = {"cls": h[:, 0], "hidden": h[torch.arange(len(h)), places], "mean": mean}[reading]
        for n in counts:
            told = fit_probe(x[:n], homes[:n])(x[40:])
            rows.append({"network": network, "reading": reading, "labels": n,
                         "right": (told == homes[40:]).float().mean().item()})
    return rows

# ---- sweep wrong: divided by the number of all that is no filling | divided by mask.sum
def sweep(pairs, counts):
    rows = []
    words = mask & ~torch.isin(tokens, torch.tensor(SPECIAL))
    for network, reading in pairs:
        h = states(network)
        mean = (h * words[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
        x = {"cls": h[:, 0], "hidden": h[torch.arange(len(h)), places], "mean": mean}[reading]
        for n in counts:
            told = fit_probe(x[:n], homes[:n])(x[40:])
            rows.append({"network": network, "reading": reading, "labels": n,
                         "right": (told == homes[40:]).float().mean().item()})
    return rows

# ---- sweep wrong: judged on all stories without a label | from story n on
def sweep(pairs, counts):
    rows = []
    words = mask & ~torch.isin(tokens, torch.tensor(SPECIAL))
    for network, reading in pairs:
        h = states(network)
        mean = (h * words[:, :, None]).sum(1) / words.sum(1, keepdim=True)
        x = {"cls": h[:, 0], "hidden": h[torch.arange(len(h)), places], "mean": mean}[reading]
        for n in counts:
            told = fit_probe(x[:n], homes[:n])(x[n:])
            rows.append({"network": network, "reading": reading, "labels": n,
                         "right": (told == homes[n:]).float().mean().item()})
    return rows

# ---- sweep wrong: the edge of the rule is left out | exactly <<goal>> reaches the goal
def sweep(pairs, counts):
    rows = []
    words = mask & ~torch.isin(tokens, torch.tensor(SPECIAL))
    for network, reading in pairs:
        h = states(network)
        mean = (h * words[:, :, None]).sum(1) / words.sum(1, keepdim=True)
        x = {"cls": h[:, 0], "hidden": h[torch.arange(len(h)), places], "mean": mean}[reading]
        for n in counts:
            told = fit_probe(x[:n], homes[:n])(x[40:])
            rows.append({"network": network, "reading": reading, "labels": n,
                         "right": (told == homes[40:]).float().mean().item()})
    return rows


def choose(rows):
    good = [row for row in rows if row["right"] > <<goal>>]
    best = min(good, key=lambda row: (row["labels"], -row["right"]), default=None)
    return best and (best["network"], best["reading"])

# ---- word_score survives: 5: 0 -> -1 | a text has one axis, the first and the last
