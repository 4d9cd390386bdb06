# Answers by which the graders of this assignment are proved; read as text by tools/exercises, never imported.

# ---- usage right: a loop over codebooks and words
def usage(counts):
    bought, saved = [], []
    for row in counts.tolist():
        shares = [n / sum(row) for n in row if n > 0]
        entropy = -sum(u * math.log(u) for u in shares)
        die = {"all": len(row), "met": len(shares)}["<<which>>"]
        bought.append(math.exp(entropy))
        saved.append((math.log(die) - entropy) / <<log_unit>>)
    return torch.tensor(bought), torch.tensor(saved)

# ---- usage right: torch's Categorical, and a clamped logarithm
def usage(counts):
    nats = torch.distributions.Categorical(counts).entropy()
    u = counts / counts.sum(1, keepdim=True)
    again = -(u * u.clamp(min=1e-30).log()).sum(1)
    return nats.exp(), (<<sides>> - again) / <<log_unit>>

# ---- usage wrong: the other unit | in <<not_unit>>; <<unit>> are wanted
def usage(counts):
    entropy = torch.special.entr(counts / counts.sum(1, keepdim=True)).sum(1)
    return entropy.exp(), (<<sides>> - entropy) * <<log_unit>> / math.log(2)

# ---- usage wrong: the other die | a die with a side for <<other_text>>
def usage(counts):
    met = (counts > 0).sum(1)
    entropy = torch.special.entr(counts / counts.sum(1, keepdim=True)).sum(1)
    return entropy.exp(), ((met.log() if "<<which>>" == "all" else math.log(counts.shape[1])) - entropy) / <<log_unit>>

# ---- usage wrong: a logarithm of zero | is not finite
def usage(counts):
    u = counts / counts.sum(1, keepdim=True)
    entropy = -(u * u.log()).sum(1)
    return entropy.exp(), (<<sides>> - entropy) / <<log_unit>>

# ---- usage wrong: shares over all codebooks together | each codebook's shares add up to 1
def usage(counts):
    entropy = torch.special.entr(counts / counts.sum()).sum(1)
    return entropy.exp(), (<<sides>> - entropy) / <<log_unit>>

# ---- usage wrong: the entropy, not its exponential | its exponential is wanted
def usage(counts):
    entropy = torch.special.entr(counts / counts.sum(1, keepdim=True)).sum(1)
    return entropy, (<<sides>> - entropy) / <<log_unit>>

# ---- usage wrong: 2 to the power of nats | exp belongs to the natural logarithm
def usage(counts):
    entropy = torch.special.entr(counts / counts.sum(1, keepdim=True)).sum(1)
    return 2**entropy, (<<sides>> - entropy) / <<log_unit>>

# ---- usage wrong: what is paid, not what is saved | say what is saved
def usage(counts):
    entropy = torch.special.entr(counts / counts.sum(1, keepdim=True)).sum(1)
    return entropy.exp(), entropy / <<log_unit>>

# ---- usage wrong: the sign | knowing the shares never costs more
def usage(counts):
    entropy = torch.special.entr(counts / counts.sum(1, keepdim=True)).sum(1)
    return entropy.exp(), (entropy - <<sides>>) / <<log_unit>>

# ---- usage wrong: the two exchanged | that comes second
def usage(counts):
    entropy = torch.special.entr(counts / counts.sum(1, keepdim=True)).sum(1)
    return (<<sides>> - entropy) / <<log_unit>>, entropy.exp()

# ---- usage wrong: words that never occur get a little, in place | changed in place
def usage(counts):
    counts += 1e-9 * (counts == 0)
    entropy = torch.special.entr(counts / counts.sum(1, keepdim=True)).sum(1)
    return entropy.exp(), (<<sides>> - entropy) / <<log_unit>>

# ---- usage wrong: axes of length 1 are dropped | IndexError
def usage(counts):
    entropy = torch.special.entr((counts / counts.sum(1, keepdim=True)).squeeze()).sum(1)
    return entropy.exp(), (<<sides>> - entropy) / <<log_unit>>

# ---- quantise right: squares written out; words added up; straight through by one difference
def quantise(z_e, books, weight):
    z_q, codes, terms = torch.zeros_like(z_e), [], []
    for book in books:
        r = z_e - z_q.detach()
        distance = book.square().sum(1) - 2 * r @ book.T
        k = distance.min(dim=1).indices
        e = torch.nn.functional.embedding(k, book)
        terms.append(((r.detach() - e) ** 2 + weight * (r - e.detach()) ** 2).sum(-1))
        z_q, codes = z_q + e, codes + [k]
    return z_e + (z_q - z_e).detach(), torch.stack(codes).T, torch.stack(terms).sum(0).<<reduce>>()

# ---- quantise right: the package's quantiser, pass after pass
def quantise(z_e, books, weight):
    if len(books) == 0:
        return z_e - z_e.detach(), torch.empty(len(z_e), 0, dtype=torch.int64), 0.0
    one = VectorQuantizer(*books.shape[1:], decay=None).to(z_e.dtype)
    one._parameters["codebook"] = books[0]
    q = one(z_e[:, :, None, None])
    e = one.embed(q.codes).flatten(1).detach()
    rest = quantise(z_e - e, books[1:], weight)
    loss = (q.codebook_loss + weight * q.commitment_loss) * (len(z_e) if "<<reduce>>" == "sum" else 1)
    codes = torch.cat([q.codes.flatten(1), rest[1]], 1)
    return z_e + (e + rest[0] - z_e).detach(), codes, loss + rest[2]

# ---- quantise wrong: the stop-gradients exchanged | in each other's place
def quantise(z_e, books, weight):
    left, codes, loss = z_e, [], 0.0
    for book in books:
        codes.append(torch.cdist(left, book).argmin(1))
        e = book[codes[-1]]
        codebook = (left.detach() - e).square().sum(1)
        commitment = (left - e.detach()).square().sum(1)
        loss = loss + (commitment + weight * codebook).<<reduce>>()
        left = left - e.detach()
    return z_e - left.detach(), torch.stack(codes, 1), loss

# ---- quantise wrong: no stop-gradients in the loss | without stop-gradients
def quantise(z_e, books, weight):
    left, codes, loss = z_e, [], 0.0
    for book in books:
        codes.append(torch.cdist(left, book).argmin(1))
        e = book[codes[-1]]
        codebook = (left - e).square().sum(1)
        commitment = (left - e).square().sum(1)
        loss = loss + (codebook + weight * commitment).<<reduce>>()
        left = left - e.detach()
    return z_e - left.detach(), torch.stack(codes, 1), loss

# ---- quantise wrong: a sum for a mean, or a mean for a sum | over the vectors it is to be <<reduce_text>>
def quantise(z_e, books, weight):
    left, codes, loss = z_e, [], 0.0
    for book in books:
        codes.append(torch.cdist(left, book).argmin(1))
        e = book[codes[-1]]
        codebook = (left.detach() - e).square().sum(1)
        commitment = (left - e.detach()).square().sum(1)
        loss = loss + getattr(codebook + weight * commitment, {"sum": "mean", "mean": "sum"}["<<reduce>>"])()
        left = left - e.detach()
    return z_e - left.detach(), torch.stack(codes, 1), loss

# ---- quantise wrong: a mean of the squares over D | their squares add up
def quantise(z_e, books, weight):
    left, codes, loss = z_e, [], 0.0
    for book in books:
        codes.append(torch.cdist(left, book).argmin(1))
        e = book[codes[-1]]
        codebook = (left.detach() - e).square().mean(1)
        commitment = (left - e.detach()).square().mean(1)
        loss = loss + (codebook + weight * commitment).<<reduce>>()
        left = left - e.detach()
    return z_e - left.detach(), torch.stack(codes, 1), loss

# ---- quantise wrong: every pass quantises z_e | the second pass quantises z_e again
def quantise(z_e, books, weight):
    codes = [torch.cdist(z_e, book).argmin(1) for book in books]
    z_q = sum(book[k] for book, k in zip(books, codes))
    loss = 0.0
    for book, k in zip(books, codes):
        gap = (z_e.detach() - book[k]).square() + weight * (z_e - book[k].detach()).square()
        loss = loss + gap.sum(1).<<reduce>>()
    return z_e + (z_q - z_e).detach(), torch.stack(codes, 1), loss

# ---- quantise wrong: a later pass moves an earlier book | which no later pass may move
def quantise(z_e, books, weight):
    left, codes, loss = z_e, [], 0.0
    for book in books:
        codes.append(torch.cdist(left, book).argmin(1))
        e = book[codes[-1]]
        codebook = (left.detach() - e).square().sum(1)
        commitment = (left - e.detach()).square().sum(1)
        loss = loss + (codebook + weight * commitment).<<reduce>>()
        left = left - e
    return z_e - left.detach(), torch.stack(codes, 1), loss

# ---- quantise wrong: z_q is the sum of the words as it is | no gradient passes through z_q to z_e
def quantise(z_e, books, weight):
    left, codes, loss = z_e, [], 0.0
    for book in books:
        codes.append(torch.cdist(left, book).argmin(1))
        e = book[codes[-1]]
        codebook = (left.detach() - e).square().sum(1)
        commitment = (left - e.detach()).square().sum(1)
        loss = loss + (codebook + weight * commitment).<<reduce>>()
        left = left - e.detach()
    return sum(book[k] for book, k in zip(books, codes)), torch.stack(codes, 1), loss

# ---- quantise wrong: z_q hands its gradient to the books, too | z_q hands a gradient to the books
def quantise(z_e, books, weight):
    left, codes, loss = z_e, [], 0.0
    for book in books:
        codes.append(torch.cdist(left, book).argmin(1))
        e = book[codes[-1]]
        codebook = (left.detach() - e).square().sum(1)
        commitment = (left - e.detach()).square().sum(1)
        loss = loss + (codebook + weight * commitment).<<reduce>>()
        left = left - e.detach()
    return z_e - z_e.detach() + sum(book[k] for book, k in zip(books, codes)), torch.stack(codes, 1), loss

# ---- quantise wrong: what is left, not what was said | the words themselves are wanted
def quantise(z_e, books, weight):
    left, codes, loss = z_e, [], 0.0
    for book in books:
        codes.append(torch.cdist(left, book).argmin(1))
        e = book[codes[-1]]
        codebook = (left.detach() - e).square().sum(1)
        commitment = (left - e.detach()).square().sum(1)
        loss = loss + (codebook + weight * commitment).<<reduce>>()
        left = left - e.detach()
    return left, torch.stack(codes, 1), loss

# ---- quantise wrong: a row for each pass | one column for each is wanted
def quantise(z_e, books, weight):
    left, codes, loss = z_e, [], 0.0
    for book in books:
        codes.append(torch.cdist(left, book).argmin(1))
        e = book[codes[-1]]
        codebook = (left.detach() - e).square().sum(1)
        commitment = (left - e.detach()).square().sum(1)
        loss = loss + (codebook + weight * commitment).<<reduce>>()
        left = left - e.detach()
    return z_e - left.detach(), torch.stack(codes), loss

# ---- quantise wrong: distances not squared | squared lengths are wanted
def quantise(z_e, books, weight):
    left, codes, loss = z_e, [], 0.0
    for book in books:
        codes.append(torch.cdist(left, book).argmin(1))
        e = book[codes[-1]]
        codebook = (left.detach() - e).norm(dim=1)
        commitment = (left - e.detach()).norm(dim=1)
        loss = loss + (codebook + weight * commitment).<<reduce>>()
        left = left - e.detach()
    return z_e - left.detach(), torch.stack(codes, 1), loss

# ---- quantise wrong: a later residual has no graph | of the first pass alone
def quantise(z_e, books, weight):
    left, codes, loss = z_e, [], 0.0
    for book in books:
        codes.append(torch.cdist(left, book).argmin(1))
        e = book[codes[-1]]
        codebook = (left.detach() - e).square().sum(1)
        commitment = (left - e.detach()).square().sum(1)
        loss = loss + (codebook + weight * commitment).<<reduce>>()
        left = (left - e).detach()
    return z_e - left.detach(), torch.stack(codes, 1), loss

# ---- quantise wrong: codes as floats | int64
def quantise(z_e, books, weight):
    left, codes, loss = z_e, [], 0.0
    for book in books:
        codes.append(torch.cdist(left, book).argmin(1))
        e = book[codes[-1]]
        codebook = (left.detach() - e).square().sum(1)
        commitment = (left - e.detach()).square().sum(1)
        loss = loss + (codebook + weight * commitment).<<reduce>>()
        left = left - e.detach()
    return z_e - left.detach(), torch.stack(codes, 1).to(z_e), loss

# ---- quantise wrong: two passes at most | of three passes
def quantise(z_e, books, weight):
    left, codes, loss = z_e, [], 0.0
    for book in books[:2]:
        codes.append(torch.cdist(left, book).argmin(1))
        e = book[codes[-1]]
        codebook = (left.detach() - e).square().sum(1)
        commitment = (left - e.detach()).square().sum(1)
        loss = loss + (codebook + weight * commitment).<<reduce>>()
        left = left - e.detach()
    return z_e - left.detach(), torch.stack(codes, 1), loss

# ---- quantise wrong: the largest dot product | the nearest words are wanted
def quantise(z_e, books, weight):
    left, codes, loss = z_e, [], 0.0
    for book in books:
        codes.append((left @ book.T).argmax(1))
        e = book[codes[-1]]
        codebook = (left.detach() - e).square().sum(1)
        commitment = (left - e.detach()).square().sum(1)
        loss = loss + (codebook + weight * commitment).<<reduce>>()
        left = left - e.detach()
    return z_e - left.detach(), torch.stack(codes, 1), loss

# ---- quantise wrong: a factor of 2 forgotten | a factor of 2
def quantise(z_e, books, weight):
    left, codes, loss = z_e, [], 0.0
    for book in books:
        codes.append((book.square().sum(1) - left @ book.T).argmin(1))
        e = book[codes[-1]]
        codebook = (left.detach() - e).square().sum(1)
        commitment = (left - e.detach()).square().sum(1)
        loss = loss + (codebook + weight * commitment).<<reduce>>()
        left = left - e.detach()
    return z_e - left.detach(), torch.stack(codes, 1), loss

# ---- quantise wrong: absolute differences | sums of absolute differences
def quantise(z_e, books, weight):
    left, codes, loss = z_e, [], 0.0
    for book in books:
        codes.append(torch.cdist(left, book, p=1).argmin(1))
        e = book[codes[-1]]
        codebook = (left.detach() - e).square().sum(1)
        commitment = (left - e.detach()).square().sum(1)
        loss = loss + (codebook + weight * commitment).<<reduce>>()
        left = left - e.detach()
    return z_e - left.detach(), torch.stack(codes, 1), loss

# ---- quantise wrong: z_e commits itself in every pass | r_m, commits itself
def quantise(z_e, books, weight):
    left, codes, loss = z_e, [], 0.0
    for book in books:
        codes.append(torch.cdist(left, book).argmin(1))
        e = book[codes[-1]]
        codebook = (left.detach() - e).square().sum(1)
        commitment = (z_e - e.detach()).square().sum(1)
        loss = loss + (codebook + weight * commitment).<<reduce>>()
        left = left - e.detach()
    return z_e - left.detach(), torch.stack(codes, 1), loss

# ---- quantise wrong: the last pass alone | passes add up
def quantise(z_e, books, weight):
    left, codes, loss = z_e, [], 0.0
    for book in books:
        codes.append(torch.cdist(left, book).argmin(1))
        e = book[codes[-1]]
        codebook = (left.detach() - e).square().sum(1)
        commitment = (left - e.detach()).square().sum(1)
        loss = (codebook + weight * commitment).<<reduce>>()
        left = left - e.detach()
    return z_e - left.detach(), torch.stack(codes, 1), loss

# ---- quantise wrong: words without a gradient | let it go straight
def quantise(z_e, books, weight):
    left, codes, loss = z_e, [], 0.0
    for book in books:
        codes.append(torch.cdist(left, book).argmin(1))
        e = book[codes[-1]]
        codebook = (left.detach() - e).square().sum(1)
        commitment = (left - e.detach()).square().sum(1)
        loss = loss + (codebook + weight * commitment).<<reduce>>()
        left = left - e.detach()
    return (z_e - left).detach(), torch.stack(codes, 1), loss

# ---- quantise wrong: a loss without a gradient | the loss
def quantise(z_e, books, weight):
    left, codes, loss = z_e, [], 0.0
    for book in books:
        codes.append(torch.cdist(left, book).argmin(1))
        e = book[codes[-1]]
        codebook = (left.detach() - e).square().sum(1)
        commitment = (left - e.detach()).square().sum(1)
        loss = loss + (codebook + weight * commitment).<<reduce>>()
        left = left - e.detach()
    return z_e - left.detach(), torch.stack(codes, 1), loss.detach()

# ---- sweep right: one picture after another, with a dictionary for the table
def sweep(sizes, steps, restart):
    rows = []
    for K in sizes:
        model = train(K, steps, restart)
        known = model.encode(x_table).flatten().tolist()
        cost = {k: -math.log2((known.count(k) + <<add>>) / (len(known) + <<add>> * K))
                for k in range(K)}
        codes = model.encode(x_test)
        decoded = model.decode(codes).detach()
        bits = sum(cost[k] for k in codes.flatten().tolist()) / len(codes)
        share = torch.bincount(codes.flatten(), minlength=K) / codes.numel()
        rows.append({"n_codes": K, "perplexity": float(torch.special.entr(share).sum().exp()),
                     "bits": bits, "error": float(((decoded - x_test) ** 2).sum() / len(x_test))})
    return rows


def choose(rows, limit):
    kept = None
    for row in rows:
        if row["<<bound>>"] <= limit and (kept is None or row["<<goal>>"] < kept["<<goal>>"]):
            kept = row
    return kept and kept["n_codes"]

# ---- sweep right: torch's cross-entropy prices the codes
def measure(model, K):
    F = torch.nn.functional
    with torch.no_grad():
        codes = model.encode(x_test)
        shares = F.one_hot(model.encode(x_table).flatten(), K).sum(0) + <<add>>
        logits = shares.log()[None].expand(codes.numel(), K)
        nats = F.cross_entropy(logits, codes.flatten(), reduction="sum") / len(codes)
        error = 64 * F.mse_loss(model.decode(codes), x_test)
    return {"n_codes": K, "perplexity": float(perplexity(codes, K)),
            "bits": float(nats / math.log(2)), "error": float(error)}


def sweep(sizes, steps, restart):
    return [measure(train(K, steps, restart), K) for K in sizes]


def choose(rows, limit):
    near = filter(lambda row: row["<<bound>>"] <= limit, rows)
    best = min(near, key=lambda row: row["<<goal>>"], default={"n_codes": None})
    return best["n_codes"]

# ---- sweep wrong: a fair die | that of a fair die: use the table
def sweep(sizes, steps, restart):
    rows = []
    for n_codes in sizes:
        model = train(n_codes, steps, restart)
        with torch.no_grad():
            codes, known = model.encode(x_test), model.encode(x_table)
            error = (model.decode(codes) - x_test).square().sum((1, 2, 3)).mean().item()
        counts = torch.bincount(known.flatten(), minlength=n_codes) + <<add>>
        price = -torch.log2(counts / counts.sum())
        rows.append({"n_codes": n_codes, "perplexity": perplexity(codes, n_codes).item(),
                     "bits": 16 * math.log2(n_codes), "error": error})
    return rows

# ---- sweep wrong: nats | in nats: bits are wanted
def sweep(sizes, steps, restart):
    rows = []
    for n_codes in sizes:
        model = train(n_codes, steps, restart)
        with torch.no_grad():
            codes, known = model.encode(x_test), model.encode(x_table)
            error = (model.decode(codes) - x_test).square().sum((1, 2, 3)).mean().item()
        counts = torch.bincount(known.flatten(), minlength=n_codes) + <<add>>
        price = -torch.log(counts / counts.sum())
        rows.append({"n_codes": n_codes, "perplexity": perplexity(codes, n_codes).item(),
                     "bits": price[codes].sum((1, 2)).mean().item(), "error": error})
    return rows

# ---- sweep wrong: a mean over the places | that of one code: a picture has 16
def sweep(sizes, steps, restart):
    rows = []
    for n_codes in sizes:
        model = train(n_codes, steps, restart)
        with torch.no_grad():
            codes, known = model.encode(x_test), model.encode(x_table)
            error = (model.decode(codes) - x_test).square().sum((1, 2, 3)).mean().item()
        counts = torch.bincount(known.flatten(), minlength=n_codes) + <<add>>
        price = -torch.log2(counts / counts.sum())
        rows.append({"n_codes": n_codes, "perplexity": perplexity(codes, n_codes).item(),
                     "bits": price[codes].mean().item(), "error": error})
    return rows

# ---- sweep wrong: the table knows the test codes | a table fitted to the codes that it prices
def sweep(sizes, steps, restart):
    rows = []
    for n_codes in sizes:
        model = train(n_codes, steps, restart)
        with torch.no_grad():
            codes, known = model.encode(x_test), model.encode(x_table)
            error = (model.decode(codes) - x_test).square().sum((1, 2, 3)).mean().item()
        counts = torch.bincount(codes.flatten(), minlength=n_codes) + <<add>>
        price = -torch.log2(counts / counts.sum())
        rows.append({"n_codes": n_codes, "perplexity": perplexity(codes, n_codes).item(),
                     "bits": price[codes].sum((1, 2)).mean().item(), "error": error})
    return rows

# ---- sweep wrong: nothing is added | costs infinitely much
def sweep(sizes, steps, restart):
    rows = []
    for n_codes in sizes:
        model = train(n_codes, steps, restart)
        with torch.no_grad():
            codes, known = model.encode(x_test), model.encode(x_table)
            error = (model.decode(codes) - x_test).square().sum((1, 2, 3)).mean().item()
        counts = torch.bincount(known.flatten(), minlength=n_codes).double()
        price = -torch.log2(counts / counts.sum())
        rows.append({"n_codes": n_codes, "perplexity": perplexity(codes, n_codes).item(),
                     "bits": price[codes].sum((1, 2)).mean().item(), "error": error})
    return rows

# ---- sweep wrong: another number is added | with something else than <<add>> added
def sweep(sizes, steps, restart):
    rows = []
    for n_codes in sizes:
        model = train(n_codes, steps, restart)
        with torch.no_grad():
            codes, known = model.encode(x_test), model.encode(x_table)
            error = (model.decode(codes) - x_test).square().sum((1, 2, 3)).mean().item()
        counts = torch.bincount(known.flatten(), minlength=n_codes) + (1.5 - <<add>>)
        price = -torch.log2(counts / counts.sum())
        rows.append({"n_codes": n_codes, "perplexity": perplexity(codes, n_codes).item(),
                     "bits": price[codes].sum((1, 2)).mean().item(), "error": error})
    return rows

# ---- sweep wrong: the entropy of the test codes | fitted to the codes that it prices
def sweep(sizes, steps, restart):
    rows = []
    for n_codes in sizes:
        model = train(n_codes, steps, restart)
        with torch.no_grad():
            codes, known = model.encode(x_test), model.encode(x_table)
            error = (model.decode(codes) - x_test).square().sum((1, 2, 3)).mean().item()
        counts = torch.bincount(known.flatten(), minlength=n_codes) + <<add>>
        price = -torch.log2(counts / counts.sum())
        rows.append({"n_codes": n_codes, "perplexity": perplexity(codes, n_codes).item(),
                     "bits": 16 * math.log2(perplexity(codes, n_codes)), "error": error})
    return rows

# ---- sweep wrong: a pixel's error | a mean over the pixels: their squares add up
def sweep(sizes, steps, restart):
    rows = []
    for n_codes in sizes:
        model = train(n_codes, steps, restart)
        with torch.no_grad():
            codes, known = model.encode(x_test), model.encode(x_table)
            error = (model.decode(codes) - x_test).square().mean().item()
        counts = torch.bincount(known.flatten(), minlength=n_codes) + <<add>>
        price = -torch.log2(counts / counts.sum())
        rows.append({"n_codes": n_codes, "perplexity": perplexity(codes, n_codes).item(),
                     "bits": price[codes].sum((1, 2)).mean().item(), "error": error})
    return rows

# ---- sweep wrong: vectors are decoded that were never rounded | decode the codes
def sweep(sizes, steps, restart):
    rows = []
    for n_codes in sizes:
        model = train(n_codes, steps, restart)
        with torch.no_grad():
            codes, known = model.encode(x_test), model.encode(x_table)
            error = (model.decoder(model.encoder(x_test)) - x_test).square().sum((1, 2, 3)).mean().item()
        counts = torch.bincount(known.flatten(), minlength=n_codes) + <<add>>
        price = -torch.log2(counts / counts.sum())
        rows.append({"n_codes": n_codes, "perplexity": perplexity(codes, n_codes).item(),
                     "bits": price[codes].sum((1, 2)).mean().item(), "error": error})
    return rows

# ---- sweep wrong: the words that occur are counted | a count of the words that occur
def sweep(sizes, steps, restart):
    rows = []
    for n_codes in sizes:
        model = train(n_codes, steps, restart)
        with torch.no_grad():
            codes, known = model.encode(x_test), model.encode(x_table)
            error = (model.decode(codes) - x_test).square().sum((1, 2, 3)).mean().item()
        counts = torch.bincount(known.flatten(), minlength=n_codes) + <<add>>
        price = -torch.log2(counts / counts.sum())
        rows.append({"n_codes": n_codes, "perplexity": float(len(codes.unique())),
                     "bits": price[codes].sum((1, 2)).mean().item(), "error": error})
    return rows

# ---- sweep wrong: bound and goal exchanged | its <<bound>> is least
def choose(rows, limit):
    good = [row for row in rows if row["<<bound>>"] <= limit]
    return min(good, key=lambda row: row["<<bound>>"])["n_codes"] if good else None

# ---- sweep wrong: no limit | its <<bound>> exceeds the limit
def choose(rows, limit):
    good = [row for row in rows ]
    return min(good, key=lambda row: row["<<goal>>"])["n_codes"] if good else None

# ---- sweep wrong: a limit that is not admitted itself | is still admitted
def choose(rows, limit):
    good = [row for row in rows if row["<<bound>>"] < limit]
    return min(good, key=lambda row: row["<<goal>>"])["n_codes"] if good else None

# ---- sweep wrong: a row where there is none | None is wanted
def choose(rows, limit):
    good = [row for row in rows if row["<<bound>>"] <= limit]
    return min(good, key=lambda row: row["<<goal>>"])["n_codes"] if good else rows[0]["n_codes"]

# ---- sweep wrong: less than, where at most is the rule | exactly the limit
def choose(rows, limit):
    good = [row for row in rows if row["<<bound>>"] < limit]
    return min(good, key=lambda row: row["<<goal>>"])["n_codes"] if good else None

# ---- sweep wrong: the last of equals | of equals the first
def choose(rows, limit):
    good = [row for row in rows if row["<<bound>>"] <= limit]
    return min(good[::-1], key=lambda row: row["<<goal>>"])["n_codes"] if good else None

# ---- sweep wrong: no answer where no row is admitted | None is wanted
def choose(rows, limit):
    good = [row for row in rows if row["<<bound>>"] <= limit]
    return min(good, key=lambda row: row["<<goal>>"])["n_codes"]

# ---- sweep wrong: the row itself | not the row
def choose(rows, limit):
    good = [row for row in rows if row["<<bound>>"] <= limit]
    return min(good, key=lambda row: row["<<goal>>"])if good else None

# ---- sweep wrong: tensors in the rows | plain floats
def sweep(sizes, steps, restart):
    rows = []
    for n_codes in sizes:
        model = train(n_codes, steps, restart)
        with torch.no_grad():
            codes, known = model.encode(x_test), model.encode(x_table)
            error = (model.decode(codes) - x_test).square().sum((1, 2, 3)).mean().item()
        counts = torch.bincount(known.flatten(), minlength=n_codes) + <<add>>
        price = -torch.log2(counts / counts.sum())
        rows.append({"n_codes": n_codes, "perplexity": perplexity(codes, n_codes),
                     "bits": price[codes].sum((1, 2)).mean().item(), "error": error})
    return rows

# ---- sweep wrong: restart is not handed on | hand restart to train
def sweep(sizes, steps, restart):
    rows = []
    for n_codes in sizes:
        model = train(n_codes, steps, 0.0)
        with torch.no_grad():
            codes, known = model.encode(x_test), model.encode(x_table)
            error = (model.decode(codes) - x_test).square().sum((1, 2, 3)).mean().item()
        counts = torch.bincount(known.flatten(), minlength=n_codes) + <<add>>
        price = -torch.log2(counts / counts.sum())
        rows.append({"n_codes": n_codes, "perplexity": perplexity(codes, n_codes).item(),
                     "bits": price[codes].sum((1, 2)).mean().item(), "error": error})
    return rows

# ---- sweep wrong: the table of all of x_train | x_train
def sweep(sizes, steps, restart):
    rows = []
    for n_codes in sizes:
        model = train(n_codes, steps, restart)
        with torch.no_grad():
            codes, known = model.encode(x_test), model.encode(x_train)
            error = (model.decode(codes) - x_test).square().sum((1, 2, 3)).mean().item()
        counts = torch.bincount(known.flatten(), minlength=n_codes) + <<add>>
        price = -torch.log2(counts / counts.sum())
        rows.append({"n_codes": n_codes, "perplexity": perplexity(codes, n_codes).item(),
                     "bits": price[codes].sum((1, 2)).mean().item(), "error": error})
    return rows

# ---- sweep wrong: shares over the number of codes | do not add up to 1
def sweep(sizes, steps, restart):
    rows = []
    for n_codes in sizes:
        model = train(n_codes, steps, restart)
        with torch.no_grad():
            codes, known = model.encode(x_test), model.encode(x_table)
            error = (model.decode(codes) - x_test).square().sum((1, 2, 3)).mean().item()
        counts = torch.bincount(known.flatten(), minlength=n_codes) + <<add>>
        price = -torch.log2(counts / known.numel())
        rows.append({"n_codes": n_codes, "perplexity": perplexity(codes, n_codes).item(),
                     "bits": price[codes].sum((1, 2)).mean().item(), "error": error})
    return rows

# ---- sweep wrong: the codes of x_table are priced | those of x_test are to be priced
def sweep(sizes, steps, restart):
    rows = []
    for n_codes in sizes:
        model = train(n_codes, steps, restart)
        with torch.no_grad():
            codes, known = model.encode(x_test), model.encode(x_table)
            error = (model.decode(codes) - x_test).square().sum((1, 2, 3)).mean().item()
        counts = torch.bincount(known.flatten(), minlength=n_codes) + <<add>>
        price = -torch.log2(counts / counts.sum())
        rows.append({"n_codes": n_codes, "perplexity": perplexity(codes, n_codes).item(),
                     "bits": price[known].sum((1, 2)).mean().item(), "error": error})
    return rows

# ---- usage survives: 4: entropy = torch.special.entr ... sum(1, keepdim=True)).sum(1) -> entropy = torch.special.entr ... epdim=True)).sum(1).detach() | counts are measured: nothing learns through them

# ---- quantise survives: 8: left.detach() - e -> e - left.detach() | the difference is squared: the same function

# ---- quantise survives: 9: left - e.detach() -> e.detach() - left | the difference is squared: the same function

# ---- sweep survives: 9: model.decode(codes) - x_test -> x_test - model.decode(codes) | the difference is squared: the same number

# ---- sweep survives: 10: counts = torch.bincount(know ... (), minlength=n_codes) + 0.5 -> counts = (torch.bincount(kno ... gth=n_codes) + 0.5).detach() | counts have no gradient
