# Answers by which the graders of this assignment are proved; read as text by tools/exercises, never imported.

# ---- lifetime right: softplus is minus the logarithm of the sigmoid
def lifetime(a):
    toll = F.softplus(-a).flatten(0, 1).sum(0) / (a.shape[0] * a.shape[1])
    return -math.log(<<share>>) / toll

# ---- lifetime right: unit by unit, time by time
def lifetime(a):
    B, T, H = a.shape
    lives = []
    for j in range(H):
        log_f = 0.0
        for t in range(T):
            log_f = log_f - torch.logaddexp(torch.zeros_like(a[:, t, j]), -a[:, t, j]).sum()
        lives.append(B * T * math.log(<<share>>) / log_f)
    return torch.stack(lives)

# ---- lifetime wrong: the arithmetic mean of the gates | gates multiply, average their logarithms
def lifetime(a):
    return math.log(<<share>>) / torch.sigmoid(a).mean((0, 1)).log()

# ---- lifetime wrong: the gate at the mean of a | take the sigmoid, and its logarithm, before the mean
def lifetime(a):
    return math.log(<<share>>) / F.logsigmoid(a.mean((0, 1)))

# ---- lifetime wrong: a mean of lifetimes | a mean of lifetimes
def lifetime(a):
    return (math.log(<<share>>) / F.logsigmoid(a)).mean((0, 1))

# ---- lifetime wrong: a half-life | the time until one half is left
def lifetime(a):
    return math.log(0.5) / F.logsigmoid(a).mean((0, 1))

# ---- lifetime wrong: one number for all units | one for each unit is wanted
def lifetime(a):
    return math.log(<<share>>) / F.logsigmoid(a).mean()

# ---- lifetime wrong: the texts are not averaged | average over the texts, too
def lifetime(a):
    return math.log(<<share>>) / F.logsigmoid(a).mean(1)

# ---- lifetime wrong: the product of all gates | their mean is wanted
def lifetime(a):
    return math.log(<<share>>) / F.logsigmoid(a).sum((0, 1))

# ---- lifetime wrong: the sign | of the wrong sign
def lifetime(a):
    return -math.log(<<share>>) / F.logsigmoid(a).mean((0, 1))

# ---- lifetime wrong: sigmoid first, logarithm afterwards | the sigmoid rounds to 0
def lifetime(a):
    return math.log(<<share>>) / torch.sigmoid(a).log().mean((0, 1))

# ---- lifetime wrong: gates kept away from 0 and 1 by a tiny number | the sigmoid rounds to 0
def lifetime(a):
    gate = torch.sigmoid(a).clamp(1e-6, 1 - 1e-6)
    return math.log(<<share>>) / gate.log().mean((0, 1))

# ---- lifetime wrong: right for shut gates alone | wide open
def lifetime(a):
    log_gate = torch.where(a < -30, a, torch.sigmoid(a).log())
    return math.log(<<share>>) / log_gate.mean((0, 1))

# ---- lifetime wrong: the gradient is cut | no gradient can flow
def lifetime(a):
    return math.log(<<share>>) / F.logsigmoid(a.detach()).mean((0, 1))

# ---- read right: torch's LSTM with opposite rows, row by row
def read(x, lengths, w_x, w_h, b):
    H = w_h.shape[1]
    net = torch.nn.LSTM(x.shape[2], H, batch_first=True, dtype=x.dtype)
    rows = []
    for w in (w_x, w_h, b):
        part = dict(zip("<<order>>".split(", "), w.split(H)))
        a = part["gate"] if "<<gate>>" == "forget" else -part["gate"]
        rows.append(torch.cat([-a, a, part["news"], part["output"]]))
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    theirs = dict(zip(names, [*rows, torch.zeros_like(rows[2])]))
    outs, hs, cs = [], [], []
    for row, n in zip(x, lengths.tolist()):
        out, (h, c) = torch.func.functional_call(net, theirs, (row[None, :n],))
        outs.append(F.pad(out[0], (0, 0, 0, x.shape[1] - n)))
        hs, cs = hs + [h[0, 0]], cs + [c[0, 0]]
    return torch.stack(outs), (torch.stack(hs), torch.stack(cs))

# ---- read right: masks that multiply, and the last step picked out afterwards
def read(x, lengths, w_x, w_h, b):
    B, T, H = x.shape[0], x.shape[1], w_h.shape[1]
    place = {name: slice(k * H, k * H + H) for k, name in enumerate("<<order>>".split(", "))}
    from_x = torch.einsum("btd,kd->btk", x, w_x) + b
    h, c = torch.zeros(B, H, dtype=x.dtype), torch.zeros(B, H, dtype=x.dtype)
    hs, cs = [], []
    for t in range(T):
        rows = from_x[:, t] + torch.einsum("bh,kh->bk", h, w_h)
        a = rows[:, place["gate"]].sigmoid()
        f = a if "<<gate>>" == "forget" else 1 - a
        c = f * c + (1 - f) * rows[:, place["news"]].tanh()
        h = rows[:, place["output"]].sigmoid() * c.tanh()
        hs, cs = hs + [h], cs + [c]
    hs, cs = torch.stack(hs, 1), torch.stack(cs, 1)
    inside = (torch.arange(T) < lengths.unsqueeze(1)).unsqueeze(2).to(x.dtype)
    at = torch.arange(B), lengths - 1
    return hs * inside, (hs[at], cs[at])

# ---- read wrong: keep and write exchanged | u is the <<gate>> gate
def read(x, lengths, w_x, w_h, b):
    h = c = x.new_zeros(x.shape[0], w_h.shape[1])
    outputs = []
    for t in range(x.shape[1]):
        <<first>>, <<second>>, <<third>> = (x[:, t] @ w_x.T + h @ w_h.T + b).chunk(3, dim=1)
        u = torch.sigmoid(u)
        new_c = (<<write>>) * c + (<<keep>>) * torch.tanh(g)
        new_h = torch.sigmoid(o) * torch.tanh(new_c)
        alive = (t < lengths)[:, None]
        h, c = torch.where(alive, new_h, h), torch.where(alive, new_c, c)
        outputs.append(torch.where(alive, new_h, 0.0))
    return torch.stack(outputs, dim=1), (h, c)

# ---- read wrong: the news through a sigmoid | it is a tanh
def read(x, lengths, w_x, w_h, b):
    h = c = x.new_zeros(x.shape[0], w_h.shape[1])
    outputs = []
    for t in range(x.shape[1]):
        <<first>>, <<second>>, <<third>> = (x[:, t] @ w_x.T + h @ w_h.T + b).chunk(3, dim=1)
        u = torch.sigmoid(u)
        new_c = (<<keep>>) * c + (<<write>>) * torch.sigmoid(g)
        new_h = torch.sigmoid(o) * torch.tanh(new_c)
        alive = (t < lengths)[:, None]
        h, c = torch.where(alive, new_h, h), torch.where(alive, new_c, c)
        outputs.append(torch.where(alive, new_h, 0.0))
    return torch.stack(outputs, dim=1), (h, c)

# ---- read wrong: the news written in full | multiply it by its gate
def read(x, lengths, w_x, w_h, b):
    h = c = x.new_zeros(x.shape[0], w_h.shape[1])
    outputs = []
    for t in range(x.shape[1]):
        <<first>>, <<second>>, <<third>> = (x[:, t] @ w_x.T + h @ w_h.T + b).chunk(3, dim=1)
        u = torch.sigmoid(u)
        new_c = (<<keep>>) * c + torch.tanh(g)
        new_h = torch.sigmoid(o) * torch.tanh(new_c)
        alive = (t < lengths)[:, None]
        h, c = torch.where(alive, new_h, h), torch.where(alive, new_c, c)
        outputs.append(torch.where(alive, new_h, 0.0))
    return torch.stack(outputs, dim=1), (h, c)

# ---- read wrong: the cell is shown without its tanh | without its tanh
def read(x, lengths, w_x, w_h, b):
    h = c = x.new_zeros(x.shape[0], w_h.shape[1])
    outputs = []
    for t in range(x.shape[1]):
        <<first>>, <<second>>, <<third>> = (x[:, t] @ w_x.T + h @ w_h.T + b).chunk(3, dim=1)
        u = torch.sigmoid(u)
        new_c = (<<keep>>) * c + (<<write>>) * torch.tanh(g)
        new_h = torch.sigmoid(o) * new_c
        alive = (t < lengths)[:, None]
        h, c = torch.where(alive, new_h, h), torch.where(alive, new_c, c)
        outputs.append(torch.where(alive, new_h, 0.0))
    return torch.stack(outputs, dim=1), (h, c)

# ---- read wrong: the old cell is shown | you showed the cell before the step
def read(x, lengths, w_x, w_h, b):
    h = c = x.new_zeros(x.shape[0], w_h.shape[1])
    outputs = []
    for t in range(x.shape[1]):
        <<first>>, <<second>>, <<third>> = (x[:, t] @ w_x.T + h @ w_h.T + b).chunk(3, dim=1)
        u = torch.sigmoid(u)
        new_c = (<<keep>>) * c + (<<write>>) * torch.tanh(g)
        new_h = torch.sigmoid(o) * torch.tanh(c)
        alive = (t < lengths)[:, None]
        h, c = torch.where(alive, new_h, h), torch.where(alive, new_c, c)
        outputs.append(torch.where(alive, new_h, 0.0))
    return torch.stack(outputs, dim=1), (h, c)

# ---- read wrong: another order of the blocks | read as if the blocks lay
def read(x, lengths, w_x, w_h, b):
    w_x, w_h, b = (torch.cat(w.chunk(3)[::-1]) for w in (w_x, w_h, b))
    h = c = x.new_zeros(x.shape[0], w_h.shape[1])
    outputs = []
    for t in range(x.shape[1]):
        <<first>>, <<second>>, <<third>> = (x[:, t] @ w_x.T + h @ w_h.T + b).chunk(3, dim=1)
        u = torch.sigmoid(u)
        new_c = (<<keep>>) * c + (<<write>>) * torch.tanh(g)
        new_h = torch.sigmoid(o) * torch.tanh(new_c)
        alive = (t < lengths)[:, None]
        h, c = torch.where(alive, new_h, h), torch.where(alive, new_c, c)
        outputs.append(torch.where(alive, new_h, 0.0))
    return torch.stack(outputs, dim=1), (h, c)

# ---- read wrong: padding is read like text | not zero behind the end of a row
def read(x, lengths, w_x, w_h, b):
    h = c = x.new_zeros(x.shape[0], w_h.shape[1])
    outputs = []
    for t in range(x.shape[1]):
        <<first>>, <<second>>, <<third>> = (x[:, t] @ w_x.T + h @ w_h.T + b).chunk(3, dim=1)
        u = torch.sigmoid(u)
        c = (<<keep>>) * c + (<<write>>) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        outputs.append(h)
    return torch.stack(outputs, dim=1), (h, c)

# ---- read wrong: outputs are masked, the state is not | each row has its own end
def read(x, lengths, w_x, w_h, b):
    h = c = x.new_zeros(x.shape[0], w_h.shape[1])
    outputs = []
    for t in range(x.shape[1]):
        <<first>>, <<second>>, <<third>> = (x[:, t] @ w_x.T + h @ w_h.T + b).chunk(3, dim=1)
        u = torch.sigmoid(u)
        c = (<<keep>>) * c + (<<write>>) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        outputs.append(torch.where((t < lengths)[:, None], h, 0.0))
    return torch.stack(outputs, dim=1), (h, c)

# ---- read wrong: the state of a row that has ended is set to zero | hold the state
def read(x, lengths, w_x, w_h, b):
    h = c = x.new_zeros(x.shape[0], w_h.shape[1])
    outputs = []
    for t in range(x.shape[1]):
        <<first>>, <<second>>, <<third>> = (x[:, t] @ w_x.T + h @ w_h.T + b).chunk(3, dim=1)
        u = torch.sigmoid(u)
        c = (<<keep>>) * c + (<<write>>) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        alive = (t < lengths)[:, None].double()
        h, c = h * alive, c * alive
        outputs.append(h)
    return torch.stack(outputs, dim=1), (h, c)

# ---- read wrong: the outputs hold the last state | held behind the end of a row
def read(x, lengths, w_x, w_h, b):
    h = c = x.new_zeros(x.shape[0], w_h.shape[1])
    outputs = []
    for t in range(x.shape[1]):
        <<first>>, <<second>>, <<third>> = (x[:, t] @ w_x.T + h @ w_h.T + b).chunk(3, dim=1)
        u = torch.sigmoid(u)
        new_c = (<<keep>>) * c + (<<write>>) * torch.tanh(g)
        new_h = torch.sigmoid(o) * torch.tanh(new_c)
        alive = (t < lengths)[:, None]
        h, c = torch.where(alive, new_h, h), torch.where(alive, new_c, c)
        outputs.append(h)
    return torch.stack(outputs, dim=1), (h, c)

# ---- read wrong: the state is detached at every step | something is detached
def read(x, lengths, w_x, w_h, b):
    h = c = x.new_zeros(x.shape[0], w_h.shape[1])
    outputs = []
    for t in range(x.shape[1]):
        <<first>>, <<second>>, <<third>> = (x[:, t] @ w_x.T + h @ w_h.T + b).chunk(3, dim=1)
        u = torch.sigmoid(u)
        new_c = (<<keep>>) * c.detach() + (<<write>>) * torch.tanh(g)
        new_h = torch.sigmoid(o) * torch.tanh(new_c)
        alive = (t < lengths)[:, None]
        h, c = torch.where(alive, new_h, h), torch.where(alive, new_c, c)
        outputs.append(torch.where(alive, new_h, 0.0))
    return torch.stack(outputs, dim=1), (h, c)

# ---- read wrong: one step too many for every row | one step too far
def read(x, lengths, w_x, w_h, b):
    h = c = x.new_zeros(x.shape[0], w_h.shape[1])
    outputs = []
    for t in range(x.shape[1]):
        <<first>>, <<second>>, <<third>> = (x[:, t] @ w_x.T + h @ w_h.T + b).chunk(3, dim=1)
        u = torch.sigmoid(u)
        new_c = (<<keep>>) * c + (<<write>>) * torch.tanh(g)
        new_h = torch.sigmoid(o) * torch.tanh(new_c)
        alive = (t <= lengths)[:, None]
        h, c = torch.where(alive, new_h, h), torch.where(alive, new_c, c)
        outputs.append(torch.where(alive, new_h, 0.0))
    return torch.stack(outputs, dim=1), (h, c)

# ---- read wrong: the last step of every row is left out | one step too little
def read(x, lengths, w_x, w_h, b):
    h = c = x.new_zeros(x.shape[0], w_h.shape[1])
    outputs = []
    for t in range(x.shape[1]):
        <<first>>, <<second>>, <<third>> = (x[:, t] @ w_x.T + h @ w_h.T + b).chunk(3, dim=1)
        u = torch.sigmoid(u)
        new_c = (<<keep>>) * c + (<<write>>) * torch.tanh(g)
        new_h = torch.sigmoid(o) * torch.tanh(new_c)
        alive = (t < (lengths - 1).clamp(min=1))[:, None]
        h, c = torch.where(alive, new_h, h), torch.where(alive, new_c, c)
        outputs.append(torch.where(alive, new_h, 0.0))
    return torch.stack(outputs, dim=1), (h, c)

# ---- read survives: 4: h = c = x.new_zeros(x.shape[0], w_h.shape[1]) -> h = c = x.new_zeros(x.shape[0], w_h.shape[1]).detach() | new zeros hang on no graph

# ---- sweep right: lm_loss for the prices, a second reading for the state
def price(length, tokens, targets):
    state, bill = None, 0.0
    for begin in range(0, tokens.shape[1], length):
        batch = tokens[:, begin : begin + length], targets[:, begin : begin + length]
        bill += lm_loss(lm, batch, state)[0].item() * batch[0].shape[1]
        h, c = lm(batch[0], state)[1]
        state = <<state>>
    return bill / tokens.shape[1] / <<bits>>


def sweep(lengths, tokens, targets):
    rows, most = [], price(10**6, tokens, targets)
    for length in lengths:
        now = price(length, tokens, targets)
        rows.append(dict(length=length, price=now, extra=now - most))
    return rows


def choose(rows):
    for row in sorted(rows, key=lambda row: row["length"]):
        if row["extra"] <= <<slack>>:
            return row["length"]

# ---- sweep right: log-probabilities of all windows put together again
def sweep(lengths, tokens, targets):
    T, rows = tokens.shape[1], []
    for length in (T, *lengths):
        state, parts = None, []
        for window in tokens.split(length, dim=1):
            logits, (h, c) = lm(window, state)
            state = <<state>>
            parts.append(logits.log_softmax(-1))
        log_p = torch.cat(parts, 1).gather(2, targets[:, :, None])
        now = -log_p.mean().item() / <<bits>>
        rows.append({"length": length, "price": now})
    return [row | {"extra": row["price"] - rows[0]["price"]} for row in rows[1:]]


def choose(rows):
    kept = None
    for row in rows:
        if row["extra"] <= <<slack>> and (kept is None or row["length"] < kept):
            kept = row["length"]
    return kept

# ---- sweep wrong: the average of the windows' averages | the last window is shorter
def sweep(lengths, tokens, targets):
    def one(length):
        state, found = None, []
        for batch in zip(tokens.split(length, 1), targets.split(length, 1)):
            found.append(lm_loss(lm, batch, state)[0].item())
            h, c = lm(batch[0], state)[1]
            state = <<state>>
        return sum(found) / len(found)<<in_unit>>
    uncut = one(tokens.shape[1])
    return [{"length": n, "price": one(n), "extra": one(n) - uncut} for n in lengths]


def choose(rows):
    return min((row["length"] for row in rows if row["extra"] <= <<slack>>), default=None)

# ---- sweep wrong: nothing is carried | read with nothing carried
def sweep(lengths, tokens, targets):
    def one(length):
        bill = 0.0
        for batch in zip(tokens.split(length, 1), targets.split(length, 1)):
            bill += lm_loss(lm, batch)[0].item() * batch[0].shape[1]
        return bill / tokens.shape[1]<<in_unit>>
    uncut = one(tokens.shape[1])
    return [{"length": n, "price": one(n), "extra": one(n) - uncut} for n in lengths]


def choose(rows):
    return min((row["length"] for row in rows if row["extra"] <= <<slack>>), default=None)

# ---- sweep wrong: the other part is lost | that is to be carried
def sweep(lengths, tokens, targets):
    def one(length):
        state, bill = None, 0.0
        for batch in zip(tokens.split(length, 1), targets.split(length, 1)):
            bill += lm_loss(lm, batch, state)[0].item() * batch[0].shape[1]
            h, c = lm(batch[0], state)[1]
            state = (h, torch.zeros_like(c)) if "<<held>>" == "cell" else (torch.zeros_like(h), c)
        return bill / tokens.shape[1]<<in_unit>>
    uncut = one(tokens.shape[1])
    return [{"length": n, "price": one(n), "extra": one(n) - uncut} for n in lengths]


def choose(rows):
    return min((row["length"] for row in rows if row["extra"] <= <<slack>>), default=None)

# ---- sweep wrong: the whole state is carried | read without any loss
def sweep(lengths, tokens, targets):
    def one(length):
        state, bill = None, 0.0
        for batch in zip(tokens.split(length, 1), targets.split(length, 1)):
            bill += lm_loss(lm, batch, state)[0].item() * batch[0].shape[1]
            state = lm(batch[0], state)[1]
        return bill / tokens.shape[1]<<in_unit>>
    uncut = one(tokens.shape[1])
    return [{"length": n, "price": one(n), "extra": one(n) - uncut} for n in lengths]


def choose(rows):
    return min((row["length"] for row in rows if row["extra"] <= <<slack>>), default=None)

# ---- sweep wrong: the other unit | in <<not_unit>>; <<unit>> are wanted
def sweep(lengths, tokens, targets):
    def one(length):
        state, bill = None, 0.0
        for batch in zip(tokens.split(length, 1), targets.split(length, 1)):
            bill += lm_loss(lm, batch, state)[0].item() * batch[0].shape[1]
            h, c = lm(batch[0], state)[1]
            state = <<state>>
        return bill / tokens.shape[1] * <<bits>> / math.log(2)
    uncut = one(tokens.shape[1])
    return [{"length": n, "price": one(n), "extra": one(n) - uncut} for n in lengths]


def choose(rows):
    return min((row["length"] for row in rows if row["extra"] <= <<slack>>), default=None)

# ---- sweep wrong: the extra as a ratio | a difference is wanted
def sweep(lengths, tokens, targets):
    def one(length):
        state, bill = None, 0.0
        for batch in zip(tokens.split(length, 1), targets.split(length, 1)):
            bill += lm_loss(lm, batch, state)[0].item() * batch[0].shape[1]
            h, c = lm(batch[0], state)[1]
            state = <<state>>
        return bill / tokens.shape[1]<<in_unit>>
    uncut = one(tokens.shape[1])
    return [{"length": n, "price": one(n), "extra": one(n) / uncut} for n in lengths]


def choose(rows):
    return min((row["length"] for row in rows if row["extra"] <= <<slack>>), default=None)

# ---- sweep wrong: the least price is chosen | this is the least price
def sweep(lengths, tokens, targets):
    def one(length):
        state, bill = None, 0.0
        for batch in zip(tokens.split(length, 1), targets.split(length, 1)):
            bill += lm_loss(lm, batch, state)[0].item() * batch[0].shape[1]
            h, c = lm(batch[0], state)[1]
            state = <<state>>
        return bill / tokens.shape[1]<<in_unit>>
    uncut = one(tokens.shape[1])
    return [{"length": n, "price": one(n), "extra": one(n) - uncut} for n in lengths]


def choose(rows):
    return min(rows, key=lambda row: row["price"])["length"]

# ---- sweep wrong: the longest within the rule | this is the least price; the rule asks for the shortest
def sweep(lengths, tokens, targets):
    def one(length):
        state, bill = None, 0.0
        for batch in zip(tokens.split(length, 1), targets.split(length, 1)):
            bill += lm_loss(lm, batch, state)[0].item() * batch[0].shape[1]
            h, c = lm(batch[0], state)[1]
            state = <<state>>
        return bill / tokens.shape[1]<<in_unit>>
    uncut = one(tokens.shape[1])
    return [{"length": n, "price": one(n), "extra": one(n) - uncut} for n in lengths]


def choose(rows):
    return max((row["length"] for row in rows if row["extra"] <= <<slack>>), default=None)

# ---- sweep wrong: the least price of the rows sets the mark, and something is always chosen | return None
def sweep(lengths, tokens, targets):
    def one(length):
        state, bill = None, 0.0
        for batch in zip(tokens.split(length, 1), targets.split(length, 1)):
            bill += lm_loss(lm, batch, state)[0].item() * batch[0].shape[1]
            h, c = lm(batch[0], state)[1]
            state = <<state>>
        return bill / tokens.shape[1]<<in_unit>>
    uncut = one(tokens.shape[1])
    return [{"length": n, "price": one(n), "extra": one(n) - uncut} for n in lengths]


def choose(rows):
    good = [row["length"] for row in rows if row["extra"] <= <<slack>>]
    return min(good) if good else max(row["length"] for row in rows)

# ---- sweep wrong: an extra of exactly the slack is refused | is admitted
def sweep(lengths, tokens, targets):
    def one(length):
        state, bill = None, 0.0
        for batch in zip(tokens.split(length, 1), targets.split(length, 1)):
            bill += lm_loss(lm, batch, state)[0].item() * batch[0].shape[1]
            h, c = lm(batch[0], state)[1]
            state = <<state>>
        return bill / tokens.shape[1]<<in_unit>>
    uncut = one(tokens.shape[1])
    return [{"length": n, "price": one(n), "extra": one(n) - uncut} for n in lengths]


def choose(rows):
    return min((row["length"] for row in rows if row["extra"] < <<slack>>), default=None)

# ---- sweep wrong: no word on what to do where no row will do | fails where no row will do
def sweep(lengths, tokens, targets):
    def one(length):
        state, bill = None, 0.0
        for batch in zip(tokens.split(length, 1), targets.split(length, 1)):
            bill += lm_loss(lm, batch, state)[0].item() * batch[0].shape[1]
            h, c = lm(batch[0], state)[1]
            state = <<state>>
        return bill / tokens.shape[1]<<in_unit>>
    uncut = one(tokens.shape[1])
    return [{"length": n, "price": one(n), "extra": one(n) - uncut} for n in lengths]


def choose(rows):
    return min(row["length"] for row in rows if row["extra"] <= <<slack>>)

# ---- sweep wrong: tensors in the rows | plain floats
def sweep(lengths, tokens, targets):
    def one(length):
        state, bill = None, 0.0
        for batch in zip(tokens.split(length, 1), targets.split(length, 1)):
            bill += lm_loss(lm, batch, state)[0] * batch[0].shape[1]
            h, c = lm(batch[0], state)[1]
            state = <<state>>
        return bill / tokens.shape[1]<<in_unit>>
    uncut = one(tokens.shape[1])
    return [{"length": n, "price": one(n), "extra": one(n) - uncut} for n in lengths]


def choose(rows):
    return min((row["length"] for row in rows if row["extra"] <= <<slack>>), default=None)
