# Answers by which the graders of this assignment are proved; read as text by tools/exercises, never imported.

# ---- tipping right: by halving an interval
def tipping(log_p_a, n_a, log_p_b, n_b):
    if n_a == n_b:
        return None
    size = lambda n: <<lp>>
    gap = lambda k: math.log(-log_p_a / size(n_a) ** k) - math.log(-log_p_b / size(n_b) ** k)
    low, high = -50.0, 50.0
    for _ in range(100):
        middle = (low + high) / 2
        if (gap(middle) > 0) == (gap(low) > 0):
            low = middle
        else:
            high = middle
    return middle

# ---- tipping right: differences of logarithms, with torch
def tipping(log_p_a, n_a, log_p_b, n_b):
    if n_a != n_b:
        size = lambda n: <<lp>>
        price = torch.tensor([-log_p_a, -log_p_b], dtype=torch.float64).log()
        long = torch.tensor([size(n_a), size(n_b)], dtype=torch.float64).log()
        return (price.diff() / long.diff()).item()

# ---- tipping wrong: the other form of the divisor | under the other form
def tipping(log_p_a, n_a, log_p_b, n_b):
    if n_a == n_b:
        return None
    size = lambda n: <<other_lp>>
    return math.log(log_p_a / log_p_b) / math.log(size(n_a) / size(n_b))

# ---- tipping wrong: one of the quotients turned round | of the wrong sign
def tipping(log_p_a, n_a, log_p_b, n_b):
    if n_a == n_b:
        return None
    size = lambda n: <<lp>>
    return math.log(log_p_b / log_p_a) / math.log(size(n_a) / size(n_b))

# ---- tipping wrong: upside down | upside down
def tipping(log_p_a, n_a, log_p_b, n_b):
    if n_a == n_b:
        return None
    size = lambda n: <<lp>>
    return math.log(size(n_a) / size(n_b)) / math.log(log_p_a / log_p_b)

# ---- tipping wrong: as if the score were a line in the length | a slope
def tipping(log_p_a, n_a, log_p_b, n_b):
    if n_a == n_b:
        return None
    return (log_p_a - log_p_b) / (n_a - n_b)

# ---- tipping wrong: a difference in place of the logarithm of a quotient | a difference of log-probabilities
def tipping(log_p_a, n_a, log_p_b, n_b):
    if n_a == n_b:
        return None
    size = lambda n: <<lp>>
    return (log_p_a - log_p_b) / math.log(size(n_a) / size(n_b))

# ---- tipping wrong: equal lengths are not thought of | divide by log 1, which is 0: None is wanted
def tipping(log_p_a, n_a, log_p_b, n_b):
    size = lambda n: <<lp>>
    return math.log(log_p_a / log_p_b) / math.log(size(n_a) / size(n_b))

# ---- tipping wrong: equal lengths give 0 | None is wanted
def tipping(log_p_a, n_a, log_p_b, n_b):
    if n_a == n_b:
        return 0.0
    size = lambda n: <<lp>>
    return math.log(log_p_a / log_p_b) / math.log(size(n_a) / size(n_b))

# ---- smooth_loss right: torch's own cross-entropy
def smooth_loss(model, batch, smoothing):
    source, mask, targets = batch
    start = torch.full((len(targets), 1), model.cfg.start)
    logits = model(source, torch.cat([start, targets], dim=1)[:, :-1], mask)
    V = logits.shape[2]
    price = lambda s: F.cross_entropy(logits.transpose(1, 2), targets,
                                      ignore_index=model.cfg.pad, label_smoothing=s)
    return price(smoothing * <<as_torch>>), {"nll": price(0.0).item() / <<bits>>}

# ---- smooth_loss right: the distribution of the truth, written out
def smooth_loss(model, batch, smoothing):
    source, mask, targets = batch
    logits = model(source, shift_right(targets, model.cfg.start), mask)
    log_p = logits - logits.logsumexp(2, keepdim=True)
    one = F.one_hot(targets, logits.shape[2]).to(logits.dtype)
    even = torch.ones_like(one) if "<<as_torch>>" == "1" else 1 - one
    q = (1 - smoothing) * one + smoothing * even / even.sum(2, keepdim=True)
    real = (targets != model.cfg.pad).to(logits.dtype)
    mean = lambda q: -torch.einsum("btv,btv,bt->", q, log_p, real) / real.sum()
    return mean(q), {"nll": mean(one).detach() / <<bits>>}

# ---- smooth_loss wrong: not shifted | is not shifted
def smooth_loss(model, batch, smoothing):
    source, mask, targets = batch
    reads = targets
    real = targets != model.cfg.pad
    log_p = model(source, reads, mask).log_softmax(2)
    hit = log_p.gather(2, targets[:, :, None]).squeeze(2)
    rest = <<rest>>
    nll = -hit[real].mean()
    loss = (1 - smoothing) * nll - smoothing * rest[real].mean()
    return loss, {"nll": nll.detach()<<in_unit>>}

# ---- smooth_loss wrong: shifted as a GPT, whose first token is given | the decoder begins with the start token
def smooth_loss(model, batch, smoothing):
    source, mask, targets = batch
    reads, targets = targets[:, :-1], targets[:, 1:]
    real = targets != model.cfg.pad
    log_p = model(source, reads, mask).log_softmax(2)
    hit = log_p.gather(2, targets[:, :, None]).squeeze(2)
    rest = <<rest>>
    nll = -hit[real].mean()
    loss = (1 - smoothing) * nll - smoothing * rest[real].mean()
    return loss, {"nll": nll.detach()<<in_unit>>}

# ---- smooth_loss wrong: padding is priced | made of padding
def smooth_loss(model, batch, smoothing):
    source, mask, targets = batch
    reads = F.pad(targets[:, :-1], (1, 0), value=model.cfg.start)
    real = targets >= 0
    log_p = model(source, reads, mask).log_softmax(2)
    hit = log_p.gather(2, targets[:, :, None]).squeeze(2)
    rest = <<rest>>
    nll = -hit[real].mean()
    loss = (1 - smoothing) * nll - smoothing * rest[real].mean()
    return loss, {"nll": nll.detach()<<in_unit>>}

# ---- smooth_loss wrong: what counts is taken from what is read | count those where something is said
def smooth_loss(model, batch, smoothing):
    source, mask, targets = batch
    reads = F.pad(targets[:, :-1], (1, 0), value=model.cfg.start)
    real = reads != model.cfg.pad
    log_p = model(source, reads, mask).log_softmax(2)
    hit = log_p.gather(2, targets[:, :, None]).squeeze(2)
    rest = <<rest>>
    nll = -hit[real].mean()
    loss = (1 - smoothing) * nll - smoothing * rest[real].mean()
    return loss, {"nll": nll.detach()<<in_unit>>}

# ---- smooth_loss wrong: the mask is not handed on | with the padding of the source in view
def smooth_loss(model, batch, smoothing):
    source, mask, targets = batch
    reads = F.pad(targets[:, :-1], (1, 0), value=model.cfg.start)
    real = targets != model.cfg.pad
    log_p = model(source, reads).log_softmax(2)
    hit = log_p.gather(2, targets[:, :, None]).squeeze(2)
    rest = <<rest>>
    nll = -hit[real].mean()
    loss = (1 - smoothing) * nll - smoothing * rest[real].mean()
    return loss, {"nll": nll.detach()<<in_unit>>}

# ---- smooth_loss wrong: no smoothing | without smoothing
def smooth_loss(model, batch, smoothing):
    source, mask, targets = batch
    reads = F.pad(targets[:, :-1], (1, 0), value=model.cfg.start)
    real = targets != model.cfg.pad
    log_p = model(source, reads, mask).log_softmax(2)
    hit = log_p.gather(2, targets[:, :, None]).squeeze(2)
    rest = <<rest>>
    nll = -hit[real].mean()
    loss = nll
    return loss, {"nll": nll.detach()<<in_unit>>}

# ---- smooth_loss wrong: the equal parts lie elsewhere | on which tokens the equal parts lie
def smooth_loss(model, batch, smoothing):
    source, mask, targets = batch
    logits = model(source, shift_right(targets, model.cfg.start), mask)
    V = logits.shape[2]
    price = lambda s: F.cross_entropy(logits.transpose(1, 2), targets,
                                      ignore_index=model.cfg.pad, label_smoothing=s)
    return price(smoothing * <<otherwise>>), {"nll": price(0.0).item() / <<bits>>}

# ---- smooth_loss wrong: the equal parts lie on all tokens but padding | over all tokens but padding
def smooth_loss(model, batch, smoothing):
    source, mask, targets = batch
    reads = F.pad(targets[:, :-1], (1, 0), value=model.cfg.start)
    real = targets != model.cfg.pad
    log_p = model(source, reads, mask).log_softmax(2)
    hit = log_p.gather(2, targets[:, :, None]).squeeze(2)
    even = "<<as_torch>>" == "1"
    some = log_p.sum(2) - log_p[:, :, model.cfg.pad]
    rest = some / (log_p.shape[2] - 1) if even else (some - hit) / (log_p.shape[2] - 2)
    nll = -hit[real].mean()
    loss = (1 - smoothing) * nll - smoothing * rest[real].mean()
    return loss, {"nll": nll.detach()<<in_unit>>}

# ---- smooth_loss wrong: the logarithm of a mean | by the logarithm of a mean
def smooth_loss(model, batch, smoothing):
    source, mask, targets = batch
    reads = F.pad(targets[:, :-1], (1, 0), value=model.cfg.start)
    real = targets != model.cfg.pad
    log_p = model(source, reads, mask).log_softmax(2)
    hit = log_p.gather(2, targets[:, :, None]).squeeze(2)
    even = "<<as_torch>>" == "1"
    p = log_p.exp()
    rest = (p.mean(2) if even else (p.sum(2) - hit.exp()) / (p.shape[2] - 1)).log()
    nll = -hit[real].mean()
    loss = (1 - smoothing) * nll - smoothing * rest[real].mean()
    return loss, {"nll": nll.detach()<<in_unit>>}

# ---- smooth_loss wrong: the decoder begins with padding | begins with model.cfg.start
def smooth_loss(model, batch, smoothing):
    source, mask, targets = batch
    reads = F.pad(targets[:, :-1], (1, 0), value=model.cfg.pad)
    real = targets != model.cfg.pad
    log_p = model(source, reads, mask).log_softmax(2)
    hit = log_p.gather(2, targets[:, :, None]).squeeze(2)
    rest = <<rest>>
    nll = -hit[real].mean()
    loss = (1 - smoothing) * nll - smoothing * rest[real].mean()
    return loss, {"nll": nll.detach()<<in_unit>>}

# ---- smooth_loss wrong: the true token keeps all | add up to more than 1
def smooth_loss(model, batch, smoothing):
    source, mask, targets = batch
    reads = F.pad(targets[:, :-1], (1, 0), value=model.cfg.start)
    real = targets != model.cfg.pad
    log_p = model(source, reads, mask).log_softmax(2)
    hit = log_p.gather(2, targets[:, :, None]).squeeze(2)
    rest = <<rest>>
    nll = -hit[real].mean()
    loss = nll - smoothing * rest[real].mean()
    return loss, {"nll": nll.detach()<<in_unit>>}

# ---- smooth_loss wrong: the equal parts are averaged over padding, too | smoothed at places of padding, too
def smooth_loss(model, batch, smoothing):
    source, mask, targets = batch
    reads = F.pad(targets[:, :-1], (1, 0), value=model.cfg.start)
    real = targets != model.cfg.pad
    log_p = model(source, reads, mask).log_softmax(2)
    hit = log_p.gather(2, targets[:, :, None]).squeeze(2)
    rest = <<rest>>
    nll = -hit[real].mean()
    loss = (1 - smoothing) * nll - smoothing * rest.mean()
    return loss, {"nll": nll.detach()<<in_unit>>}

# ---- smooth_loss wrong: the shares exchanged | the wrong way round
def smooth_loss(model, batch, smoothing):
    source, mask, targets = batch
    reads = F.pad(targets[:, :-1], (1, 0), value=model.cfg.start)
    real = targets != model.cfg.pad
    log_p = model(source, reads, mask).log_softmax(2)
    hit = log_p.gather(2, targets[:, :, None]).squeeze(2)
    rest = <<rest>>
    nll = -hit[real].mean()
    loss = smoothing * nll - (1 - smoothing) * rest[real].mean()
    return loss, {"nll": nll.detach()<<in_unit>>}

# ---- smooth_loss wrong: a mean of the rows' means | a mean of the rows' means
def smooth_loss(model, batch, smoothing):
    source, mask, targets = batch
    reads = F.pad(targets[:, :-1], (1, 0), value=model.cfg.start)
    real = targets != model.cfg.pad
    log_p = model(source, reads, mask).log_softmax(2)
    hit = log_p.gather(2, targets[:, :, None]).squeeze(2)
    rest = <<rest>>
    mean = lambda x: ((x * real).sum(1) / real.sum(1)).mean()
    nll = -mean(hit)
    loss = (1 - smoothing) * nll - smoothing * mean(rest)
    return loss, {"nll": nll.detach()<<in_unit>>}

# ---- smooth_loss wrong: divided by all places | divided by all places
def smooth_loss(model, batch, smoothing):
    source, mask, targets = batch
    reads = F.pad(targets[:, :-1], (1, 0), value=model.cfg.start)
    real = targets != model.cfg.pad
    log_p = model(source, reads, mask).log_softmax(2)
    hit = log_p.gather(2, targets[:, :, None]).squeeze(2)
    rest = <<rest>>
    nll = -(hit * real).mean()
    loss = (1 - smoothing) * nll - smoothing * (rest * real).mean()
    return loss, {"nll": nll.detach()<<in_unit>>}

# ---- smooth_loss wrong: the log has the smoothed loss | the bare one is wanted
def smooth_loss(model, batch, smoothing):
    source, mask, targets = batch
    reads = F.pad(targets[:, :-1], (1, 0), value=model.cfg.start)
    real = targets != model.cfg.pad
    log_p = model(source, reads, mask).log_softmax(2)
    hit = log_p.gather(2, targets[:, :, None]).squeeze(2)
    rest = <<rest>>
    nll = -hit[real].mean()
    loss = (1 - smoothing) * nll - smoothing * rest[real].mean()
    return loss, {"nll": loss.detach()<<in_unit>>}

# ---- smooth_loss wrong: the log has the other unit | in <<not_unit>>; <<unit>> are wanted
def smooth_loss(model, batch, smoothing):
    source, mask, targets = batch
    reads = F.pad(targets[:, :-1], (1, 0), value=model.cfg.start)
    real = targets != model.cfg.pad
    log_p = model(source, reads, mask).log_softmax(2)
    hit = log_p.gather(2, targets[:, :, None]).squeeze(2)
    rest = <<rest>>
    nll = -hit[real].mean()
    loss = (1 - smoothing) * nll - smoothing * rest[real].mean()
    return loss, {"nll": nll.detach() * <<bits>> / math.log(2)}

# ---- smooth_loss wrong: the log keeps the graph | keeps the graph
def smooth_loss(model, batch, smoothing):
    source, mask, targets = batch
    reads = F.pad(targets[:, :-1], (1, 0), value=model.cfg.start)
    real = targets != model.cfg.pad
    log_p = model(source, reads, mask).log_softmax(2)
    hit = log_p.gather(2, targets[:, :, None]).squeeze(2)
    rest = <<rest>>
    nll = -hit[real].mean()
    loss = (1 - smoothing) * nll - smoothing * rest[real].mean()
    return loss, {"nll": nll<<in_unit>>}

# ---- smooth_loss wrong: the equal parts have no gradient | a detached tensor is in the way
def smooth_loss(model, batch, smoothing):
    source, mask, targets = batch
    reads = F.pad(targets[:, :-1], (1, 0), value=model.cfg.start)
    real = targets != model.cfg.pad
    log_p = model(source, reads, mask).log_softmax(2)
    hit = log_p.gather(2, targets[:, :, None]).squeeze(2)
    rest = (<<rest>>).detach()
    nll = -hit[real].mean()
    loss = (1 - smoothing) * nll - smoothing * rest[real].mean()
    return loss, {"nll": nll.detach()<<in_unit>>}

# ---- sweep right: in plain lists
def text(row):
    out = []
    for token in row.tolist():
        if token == END:
            break
        out.append(token)
    return out


def sweep(settings):
    rows, true = [], [text(row) for row in targets]
    for beams, penalty in settings:
        right = search = total = 0
        for row, score, want, wanted in zip(*found(beams, penalty), true, truth.tolist()):
            said = text(row)
            log_p = score.item() * (len(said) + 1) ** penalty
            total += log_p
            right += said == want
            search += said != want and wanted > log_p
        n = len(true)
        rows.append({"beams": beams, "penalty": penalty, "right": right / n,
                     "search": search / n, "log_p": total / n})
    return rows


def choose(rows):
    great = max(rows, key=lambda row: row["right"])["right"]
    near = [row for row in rows if great - row["right"] <= <<slack>>]
    near.sort(key=lambda row: <<sign>>row["penalty"])
    near.sort(key=lambda row: row["beams"])
    return near[0]["beams"], near[0]["penalty"]

# ---- sweep right: the log-probabilities computed anew
def sweep(settings):
    rows = []
    for beams, penalty in settings:
        answers, _ = found(beams, penalty)
        wide = max(answers.shape[1], targets.shape[1]) + 1
        full = [F.pad(x, (0, wide - x.shape[1]), value=END) for x in (answers, targets)]
        right = (full[0] == full[1]).all(dim=1)
        past = (full[0] == END).cumsum(1) > 1
        log_p = log_prob(rough, (source, mask, full[0].masked_fill(past, PAD)))
        rows.append(dict(beams=beams, penalty=penalty, right=right.double().mean().item(),
                         search=(right.logical_not() & (log_p < truth)).double().mean().item(),
                         log_p=log_p.mean().item()))
    return rows

# ---- sweep right: cut to the smaller width, in which the answer that is shorter is closed
def sweep(settings):
    rows, share = [], lambda x: x.float().mean().item()
    for beams, penalty in settings:
        answers, scores = found(beams, penalty)
        n = min(answers.shape[1], targets.shape[1])     # both are closed within their width
        right, lengths = (answers[:, :n] == targets[:, :n]).all(1), (answers != END).sum(1) + 1
        log_p = scores * lengths**penalty
        rows.append({"beams": beams, "penalty": penalty, "right": share(right),
                     "search": share(~right & (truth > log_p)), "log_p": share(log_p)})
    return rows

# ---- sweep wrong: the scores taken for log-probabilities | bare log-probabilities are wanted
def sweep(settings):
    rows, share = [], lambda x: x.float().mean().item()
    for beams, penalty in settings:
        answers, scores = found(beams, penalty)
        lengths, same = (answers != END).sum(1) + 1, [
            torch.equal(x[x != END], y[y != END]) for x, y in zip(answers, targets)]
        right, log_p = torch.tensor(same), scores
        rows.append({"beams": beams, "penalty": penalty, "right": share(right),
                     "search": share(~right & (truth > log_p)), "log_p": share(log_p)})
    return rows

# ---- sweep wrong: one token short | one token short
def sweep(settings):
    rows, share = [], lambda x: x.float().mean().item()
    for beams, penalty in settings:
        answers, scores = found(beams, penalty)
        lengths, same = (answers != END).sum(1), [
            torch.equal(x[x != END], y[y != END]) for x, y in zip(answers, targets)]
        right, log_p = torch.tensor(same), scores * lengths**penalty
        rows.append({"beams": beams, "penalty": penalty, "right": share(right),
                     "search": share(~right & (truth > log_p)), "log_p": share(log_p)})
    return rows

# ---- sweep wrong: the width of the batch for the length | each answer has its own length
def sweep(settings):
    rows, share = [], lambda x: x.float().mean().item()
    for beams, penalty in settings:
        answers, scores = found(beams, penalty)
        lengths, same = (answers != END).sum(1) + 1, [
            torch.equal(x[x != END], y[y != END]) for x, y in zip(answers, targets)]
        right, log_p = torch.tensor(same), scores * answers.shape[1] ** penalty
        rows.append({"beams": beams, "penalty": penalty, "right": share(right),
                     "search": share(~right & (truth > log_p)), "log_p": share(log_p)})
    return rows

# ---- sweep wrong: the share of tokens | an answer is right as a whole
def sweep(settings):
    rows = []
    for beams, penalty in settings:
        answers, scores = found(beams, penalty)
        n = min(answers.shape[1], targets.shape[1])
        right = (answers[:, :n] == targets[:, :n]).float().mean().item()
        rows.append({"beams": beams, "penalty": penalty, "right": right,
                     "search": 0.0, "log_p": scores.mean().item()})
    return rows

# ---- sweep wrong: every wrong answer is blamed on the search | where the found one is likelier, the model is wrong
def sweep(settings):
    rows, share = [], lambda x: x.float().mean().item()
    for beams, penalty in settings:
        answers, scores = found(beams, penalty)
        lengths, same = (answers != END).sum(1) + 1, [
            torch.equal(x[x != END], y[y != END]) for x, y in zip(answers, targets)]
        right, log_p = torch.tensor(same), scores * lengths**penalty
        rows.append({"beams": beams, "penalty": penalty, "right": share(right),
                     "search": share(~right), "log_p": share(log_p)})
    return rows

# ---- sweep wrong: search and model exchanged | the share of model errors
def sweep(settings):
    rows, share = [], lambda x: x.float().mean().item()
    for beams, penalty in settings:
        answers, scores = found(beams, penalty)
        lengths, same = (answers != END).sum(1) + 1, [
            torch.equal(x[x != END], y[y != END]) for x, y in zip(answers, targets)]
        right, log_p = torch.tensor(same), scores * lengths**penalty
        rows.append({"beams": beams, "penalty": penalty, "right": share(right),
                     "search": share(~right & (truth < log_p)), "log_p": share(log_p)})
    return rows

# ---- sweep wrong: the truth is compared with the score | compare bare log-probabilities
def sweep(settings):
    rows, share = [], lambda x: x.float().mean().item()
    for beams, penalty in settings:
        answers, scores = found(beams, penalty)
        lengths, same = (answers != END).sum(1) + 1, [
            torch.equal(x[x != END], y[y != END]) for x, y in zip(answers, targets)]
        right, log_p = torch.tensor(same), scores * lengths**penalty
        rows.append({"beams": beams, "penalty": penalty, "right": share(right),
                     "search": share(~right & (truth > scores)), "log_p": share(log_p)})
    return rows

# ---- sweep wrong: a share of the wrong answers | a share of all is wanted
def sweep(settings):
    rows, share = [], lambda x: x.float().mean().item()
    for beams, penalty in settings:
        answers, scores = found(beams, penalty)
        lengths, same = (answers != END).sum(1) + 1, [
            torch.equal(x[x != END], y[y != END]) for x, y in zip(answers, targets)]
        right, log_p = torch.tensor(same), scores * lengths**penalty
        rows.append({"beams": beams, "penalty": penalty, "right": share(right),
                     "search": share((truth > log_p)[~right]), "log_p": share(log_p)})
    return rows

# ---- sweep wrong: the greatest share is chosen | the rule asks for the fewest beams near it
def choose(rows):
    row = max(rows, key=lambda row: row["right"])
    return row["beams"], row["penalty"]

# ---- sweep wrong: the fewest beams, whatever comes of them | too few right answers
def choose(rows):
    row = min(rows, key=lambda row: (row["beams"], <<sign>>row["penalty"]))
    return row["beams"], row["penalty"]

# ---- sweep wrong: the other penalty of equally many beams | of equally many beams the <<smaller>> penalty
def choose(rows):
    best = max(row["right"] for row in rows)
    good = [row for row in rows if row["right"] >= best - <<slack>>]
    row = max(good, key=lambda row: (-row["beams"], <<sign>>row["penalty"]))
    return row["beams"], row["penalty"]

# ---- sweep wrong: tensors for floats | a plain float is wanted
def sweep(settings):
    rows, share = [], lambda x: x.float().mean()
    for beams, penalty in settings:
        answers, scores = found(beams, penalty)
        lengths, same = (answers != END).sum(1) + 1, [
            torch.equal(x[x != END], y[y != END]) for x, y in zip(answers, targets)]
        right, log_p = torch.tensor(same), scores * lengths**penalty
        rows.append({"beams": beams, "penalty": penalty, "right": share(right),
                     "search": share(~right & (truth > log_p)), "log_p": share(log_p)})
    return rows

# ---- sweep wrong: strictly nearer than the rule says | is still admitted
def choose(rows):
    best = max(row["right"] for row in rows)
    good = [row for row in rows if row["right"] > best - <<slack>>]
    row = min(good, key=lambda row: (row["beams"], <<sign>>row["penalty"]))
    return row["beams"], row["penalty"]

# ---- smooth_loss survives: 8: 2 -> 1 | an axis of one entry stays, and the mean over the real places does not see it
# ---- sweep survives: 11: truth > log_p -> truth >= log_p | they are equal only where the answer is the true one, which is right
