# Answers by which the graders of this assignment are proved; read as text by tools/exercises, never imported.

# ---- price right: matrix by matrix
def price(height, width, patch, d_model):
    T, D = height * width // patch**2 + 1 + <<registers>>, d_model
    attention = 3 * T * D * D + T * D * T + T * T * D + T * D * D
    return attention + T * D * (<<ratio>> * D) + T * (<<ratio>> * D) * D

# ---- price right: place by place
def price(height, width, patch, d_model):
    rows, columns = height // patch, width // patch
    places = sum((rows * columns, <<registers>>, 1))
    own = d_model * (4 * d_model + 2 * <<ratio>> * d_model)
    return places * (own + 2 * d_model * places)

# ---- price wrong: a network is run | run no network
def price(height, width, patch, d_model):
    places = patchify(torch.zeros(1, 1, height, width), patch).shape[1] + 1 + <<registers>>
    block = Block(d_model, 1, <<ratio>> * d_model)
    return count_flops(block, torch.zeros(1, places, d_model)) // 2

# ---- price wrong: the registers are forgotten | without the registers
def price(height, width, patch, d_model):
    places = 1 + (height // patch) * (width // patch)
    matrices = (4 + 2 * <<ratio>>) * places * d_model**2
    pairs = 2 * places**2 * d_model
    return matrices + pairs

# ---- price wrong: class token and registers are forgotten | that of the patches alone
def price(height, width, patch, d_model):
    places = (height // patch) * (width // patch)
    matrices = (4 + 2 * <<ratio>>) * places * d_model**2
    pairs = 2 * places**2 * d_model
    return matrices + pairs

# ---- price wrong: the chapter's MLP | an MLP of 4 D: here it is <<ratio>> D wide
def price(height, width, patch, d_model):
    places = 1 + <<registers>> + (height // patch) * (width // patch)
    matrices = (4 + 2 * 4) * places * d_model**2
    pairs = 2 * places**2 * d_model
    return matrices + pairs

# ---- price wrong: FLOPs | count multiplications
def price(height, width, patch, d_model):
    places = 1 + <<registers>> + (height // patch) * (width // patch)
    matrices = (4 + 2 * <<ratio>>) * places * d_model**2
    pairs = 2 * places**2 * d_model
    return 2 * (matrices + pairs)

# ---- price wrong: the table of pairs is forgotten | Q K^T and A V multiply, too
def price(height, width, patch, d_model):
    places = 1 + <<registers>> + (height // patch) * (width // patch)
    matrices = (4 + 2 * <<ratio>>) * places * d_model**2
    pairs = 2 * places**2 * d_model
    return matrices

# ---- price wrong: the way out of the attention is forgotten, and the pairs | queries, keys and values alone
def price(height, width, patch, d_model):
    places = 1 + <<registers>> + (height // patch) * (width // patch)
    matrices = (3 + 2 * <<ratio>>) * places * d_model**2
    pairs = 2 * places**2 * d_model
    return matrices

# ---- price wrong: one of the products of pairs is forgotten | one of Q K^T and A V
def price(height, width, patch, d_model):
    places = 1 + <<registers>> + (height // patch) * (width // patch)
    matrices = (4 + 2 * <<ratio>>) * places * d_model**2
    pairs = places**2 * d_model
    return matrices + pairs

# ---- price wrong: the way out of the attention is forgotten | three square matrices
def price(height, width, patch, d_model):
    places = 1 + <<registers>> + (height // patch) * (width // patch)
    matrices = (3 + 2 * <<ratio>>) * places * d_model**2
    pairs = 2 * places**2 * d_model
    return matrices + pairs

# ---- price wrong: the way out of the MLP is forgotten | one matrix of the MLP
def price(height, width, patch, d_model):
    places = 1 + <<registers>> + (height // patch) * (width // patch)
    matrices = (4 + <<ratio>>) * places * d_model**2
    pairs = 2 * places**2 * d_model
    return matrices + pairs

# ---- price wrong: true division | an int: use //
def price(height, width, patch, d_model):
    places = 1 + <<registers>> + height * width / patch**2
    matrices = (4 + 2 * <<ratio>>) * places * d_model**2
    pairs = 2 * places**2 * d_model
    return matrices + pairs

# ---- nearby right: loops over pairs of patches, and the fused kernel
def nearby(q, k, v, rows, columns, reach):
    T = 1 + rows * columns
    seen = torch.ones(T, T, dtype=torch.bool)
    for i in range(T - 1):
        for j in range(T - 1):
            apart = [abs(a - b) for a, b in zip(divmod(i, columns), divmod(j, columns))]
            seen[1 + i, 1 + j] = {"amax": max, "sum": sum}["<<ruler>>"](apart) <= reach
    return F.scaled_dot_product_attention(q, k, v, attn_mask=seen)

# ---- nearby right: only the exponentials of what is seen, divided by their sum
def nearby(q, k, v, rows, columns, reach):
    row = torch.arange(rows).repeat_interleave(columns)
    column = torch.arange(columns).repeat(rows)
    both = torch.stack([row[:, None] - row, column[:, None] - column]).abs()
    seen = torch.ones(1 + len(row), 1 + len(row), dtype=q.dtype)
    seen[1:, 1:] = both.<<ruler>>(0) <= reach
    scores = torch.einsum("baid,bajd->baij", q, k) / q.shape[-1] ** 0.5
    weights = (scores - scores.amax(-1, keepdim=True)).exp() * seen
    return torch.einsum("baij,bajd->baid", weights / weights.sum(-1, keepdim=True), v)

# ---- nearby wrong: the numbers of the patches are compared | it wraps around
def nearby(q, k, v, rows, columns, reach):
    number = torch.arange(rows * columns)
    near = torch.tensor([[a * columns + b for a in range(-reach, reach + 1) for b in range(-reach, reach + 1)
                          if {"amax": max, "sum": sum}["<<ruler>>"]((abs(a), abs(b))) <= reach]])
    seen = ((number[:, None] - number)[..., None] == near).any(-1)
    return attend(q, k, v, mask=F.pad(seen, (1, 0, 1, 0), value=True))

# ---- nearby wrong: the distance of the numbers | it wraps around
def nearby(q, k, v, rows, columns, reach):
    place = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
    seen = (torch.arange(len(place))[:, None] - torch.arange(len(place))).abs() <= reach
    hidden = ~F.pad(seen, (1, 0, 1, 0), value=True)
    scores = q @ k.mT / q.shape[-1] ** 0.5
    return scores.masked_fill(hidden, -torch.inf).softmax(-1) @ v

# ---- nearby wrong: the distance in a straight line | here it is <<ruler_text>>
def nearby(q, k, v, rows, columns, reach):
    place = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
    seen = (place[:, None] - place).double().norm(dim=2) <= reach
    hidden = ~F.pad(seen, (1, 0, 1, 0), value=True)
    scores = q @ k.mT / q.shape[-1] ** 0.5
    return scores.masked_fill(hidden, -torch.inf).softmax(-1) @ v

# ---- nearby wrong: the class token asks nobody | may a place ask nobody?
def nearby(q, k, v, rows, columns, reach):
    place = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
    seen = (place[:, None] - place).abs().<<ruler>>(2) <= reach
    hidden = ~F.pad(seen, (1, 0, 1, 0), value=False)
    scores = q @ k.mT / q.shape[-1] ** 0.5
    return scores.masked_fill(hidden, -torch.inf).softmax(-1) @ v

# ---- nearby wrong: the other distance | two distances are common; here it is <<ruler_text>>
def nearby(q, k, v, rows, columns, reach):
    place = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
    seen = (place[:, None] - place).abs().<<other_ruler>>(2) <= reach
    hidden = ~F.pad(seen, (1, 0, 1, 0), value=True)
    scores = q @ k.mT / q.shape[-1] ** 0.5
    return scores.masked_fill(hidden, -torch.inf).softmax(-1) @ v

# ---- nearby wrong: less than reach | a patch just within reach is seen, too
def nearby(q, k, v, rows, columns, reach):
    place = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
    seen = (place[:, None] - place).abs().<<ruler>>(2) < max(reach, 0.5)
    hidden = ~F.pad(seen, (1, 0, 1, 0), value=True)
    scores = q @ k.mT / q.shape[-1] ** 0.5
    return scores.masked_fill(hidden, -torch.inf).softmax(-1) @ v

# ---- nearby wrong: hidden scores are 0 | exp(0) is 1
def nearby(q, k, v, rows, columns, reach):
    place = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
    seen = (place[:, None] - place).abs().<<ruler>>(2) <= reach
    hidden = ~F.pad(seen, (1, 0, 1, 0), value=True)
    scores = q @ k.mT / q.shape[-1] ** 0.5
    return scores.masked_fill(hidden, 0.0).softmax(-1) @ v

# ---- nearby wrong: the weights are masked after the softmax | do not add up to 1
def nearby(q, k, v, rows, columns, reach):
    place = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
    seen = (place[:, None] - place).abs().<<ruler>>(2) <= reach
    hidden = ~F.pad(seen, (1, 0, 1, 0), value=True)
    scores = q @ k.mT / q.shape[-1] ** 0.5
    return scores.softmax(-1).masked_fill(hidden, 0.0) @ v

# ---- nearby wrong: the class token is a patch like others and sees what is near the corner | the class token may ask every place
def nearby(q, k, v, rows, columns, reach):
    place = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
    place = torch.cat([place[:1], place])
    seen = (place[:, None] - place).abs().<<ruler>>(2) <= reach
    return attend(q, k, v, mask=seen)

# ---- nearby wrong: the scores are not scaled | without 1 / sqrt(D_h)
def nearby(q, k, v, rows, columns, reach):
    place = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
    seen = (place[:, None] - place).abs().<<ruler>>(2) <= reach
    hidden = ~F.pad(seen, (1, 0, 1, 0), value=True)
    scores = q @ k.mT
    return scores.masked_fill(hidden, -torch.inf).softmax(-1) @ v

# ---- nearby wrong: the root of the width is forgotten | a square root is missing
def nearby(q, k, v, rows, columns, reach):
    place = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
    seen = (place[:, None] - place).abs().<<ruler>>(2) <= reach
    hidden = ~F.pad(seen, (1, 0, 1, 0), value=True)
    scores = q @ k.mT / q.shape[-1]
    return scores.masked_fill(hidden, -torch.inf).softmax(-1) @ v

# ---- nearby wrong: softmax over those that ask | softmax goes over those that are asked
def nearby(q, k, v, rows, columns, reach):
    place = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
    seen = (place[:, None] - place).abs().<<ruler>>(2) <= reach
    hidden = ~F.pad(seen, (1, 0, 1, 0), value=True)
    scores = q @ k.mT / q.shape[-1] ** 0.5
    return scores.masked_fill(hidden, -torch.inf).softmax(-2) @ v

# ---- nearby wrong: keys are held constant | no gradient reaches k
def nearby(q, k, v, rows, columns, reach):
    place = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
    seen = (place[:, None] - place).abs().<<ruler>>(2) <= reach
    hidden = ~F.pad(seen, (1, 0, 1, 0), value=True)
    scores = q @ k.detach().mT / q.shape[-1] ** 0.5
    return scores.masked_fill(hidden, -torch.inf).softmax(-1) @ v

# ---- sweep right: a share of pictures counted one batch after another; a new picture is built
def share(model, x):
    hits = sum((model(a).argmax(1) == b).sum().item() for a, b in zip(x.split(64), y_test.split(64)))
    return 100 * hits / len(x)


def sweep(names, size, steps):
    rows, black = [], torch.full((len(x_test), 1, 1, 8), -1.0)
    parts = [black, x_test[:, :, :-1]] if <<dy>> == 1 else [x_test[:, :, 1:], black]
    for name in names:
        model = train(name, size, steps)
        with torch.no_grad():
            rows.append({"name": name, "accuracy": share(model, x_test),
                         "moved": share(model, torch.cat(parts, 2)),
                         "flops": count_flops(model, x_test[:1])})
    return rows


def choose(rows):
    ranked = sorted(rows, key=lambda row: row["flops"])
    best = max(ranked, key=lambda row: row["<<judge>>"])["<<judge>>"]
    return next(row["name"] for row in ranked if best - row["<<judge>>"] <= <<slack>>)

# ---- sweep right: F.pad, and a plain loop for the rule
def sweep(names, size, steps):
    rows = []
    margins = (0, 0, 1, -1) if <<dy>> > 0 else (0, 0, -1, 1)
    shifted = F.pad(x_test, margins, value=-1.0)
    for name in names:
        model, row = train(name, size, steps), {"name": name}
        for key, x in (("accuracy", x_test), ("moved", shifted)):
            answers = model(x).softmax(1).max(1).indices
            row[key] = float((answers == y_test).sum()) / len(y_test) * 100
        rows.append(row | {"flops": count_flops(model, x_train[:1])})
    return rows


def choose(rows):
    best, kept = max(r["<<judge>>"] for r in rows), None
    for row in rows:
        if row["<<judge>>"] + <<slack>> >= best and (kept is None or row["flops"] < kept["flops"]):
            kept = row
    return kept["name"]

# ---- sweep wrong: the lost row comes back | comes back at the other edge
def sweep(names, size, steps):
    moved, rows = x_test.roll(<<dy>>, 2), []
    for name in names:
        model = train(name, size, steps)
        with torch.no_grad():
            right = [model(x).argmax(1) == y_test for x in (x_test, moved)]
            flops = count_flops(model, x_test[:1])
        accuracy, after = (100 * r.double().mean().item() for r in right)
        rows.append({"name": name, "accuracy": accuracy, "moved": after, "flops": flops})
    return rows

# ---- sweep wrong: the free row is grey | which is grey
def sweep(names, size, steps):
    moved, rows = x_test.roll(<<dy>>, 2), []
    moved[:, :, <<free>>] = 0.0
    for name in names:
        model = train(name, size, steps)
        with torch.no_grad():
            right = [model(x).argmax(1) == y_test for x in (x_test, moved)]
            flops = count_flops(model, x_test[:1])
        accuracy, after = (100 * r.double().mean().item() for r in right)
        rows.append({"name": name, "accuracy": accuracy, "moved": after, "flops": flops})
    return rows

# ---- sweep wrong: moved the other way | moved the other way
def sweep(names, size, steps):
    moved, rows = x_test.roll(-<<dy>>, 2), []
    moved[:, :, -1 - <<free>>] = -1.0
    for name in names:
        model = train(name, size, steps)
        with torch.no_grad():
            right = [model(x).argmax(1) == y_test for x in (x_test, moved)]
            flops = count_flops(model, x_test[:1])
        accuracy, after = (100 * r.double().mean().item() for r in right)
        rows.append({"name": name, "accuracy": accuracy, "moved": after, "flops": flops})
    return rows

# ---- sweep wrong: moved along the columns | moved sideways
def sweep(names, size, steps):
    moved, rows = x_test.roll(<<dy>>, 3), []
    moved[..., <<free>>] = -1.0
    for name in names:
        model = train(name, size, steps)
        with torch.no_grad():
            right = [model(x).argmax(1) == y_test for x in (x_test, moved)]
            flops = count_flops(model, x_test[:1])
        accuracy, after = (100 * r.double().mean().item() for r in right)
        rows.append({"name": name, "accuracy": accuracy, "moved": after, "flops": flops})
    return rows

# ---- sweep wrong: shares, not percentages | a share: give a percentage
def sweep(names, size, steps):
    moved, rows = x_test.roll(<<dy>>, 2), []
    moved[:, :, <<free>>] = -1.0
    for name in names:
        model = train(name, size, steps)
        with torch.no_grad():
            right = [model(x).argmax(1) == y_test for x in (x_test, moved)]
            flops = count_flops(model, x_test[:1])
        accuracy, after = (r.double().mean().item() for r in right)
        rows.append({"name": name, "accuracy": accuracy, "moved": after, "flops": flops})
    return rows

# ---- sweep wrong: the bill of the whole test set | one picture is wanted
def sweep(names, size, steps):
    moved, rows = x_test.roll(<<dy>>, 2), []
    moved[:, :, <<free>>] = -1.0
    for name in names:
        model = train(name, size, steps)
        with torch.no_grad():
            right = [model(x).argmax(1) == y_test for x in (x_test, moved)]
            flops = count_flops(model, x_test)
        accuracy, after = (100 * r.double().mean().item() for r in right)
        rows.append({"name": name, "accuracy": accuracy, "moved": after, "flops": flops})
    return rows

# ---- sweep wrong: x_test is moved itself | x_test itself was changed
def sweep(names, size, steps):
    moved, rows = x_test, []
    moved[:] = x_test.roll(<<dy>>, 2)
    moved[:, :, <<free>>] = -1.0
    for name in names:
        model = train(name, size, steps)
        with torch.no_grad():
            right = [model(x).argmax(1) == y_test for x in (x_test, moved)]
            flops = count_flops(model, x_test[:1])
        accuracy, after = (100 * r.double().mean().item() for r in right)
        rows.append({"name": name, "accuracy": accuracy, "moved": after, "flops": flops})
    return rows

# ---- sweep wrong: the best is chosen | this is the best network
def choose(rows):
    return max(rows, key=lambda row: row["<<judge>>"])["name"]

# ---- sweep wrong: the cheapest is chosen | cheapness does not help
def choose(rows):
    return min(rows, key=lambda row: row["flops"])["name"]

# ---- sweep wrong: the other figure of merit | the figure of merit is <<judge>>
def choose(rows):
    best = max(row["<<not_judge>>"] for row in rows)
    good = [row for row in rows if row["<<not_judge>>"] >= best - <<slack>>]
    return min(good, key=lambda row: row["flops"])["name"]

# ---- sweep wrong: strictly nearer than the rule says | is still admitted
def choose(rows):
    best = max(row["<<judge>>"] for row in rows)
    good = [row for row in rows if row["<<judge>>"] > best - <<slack>>]
    return min(good, key=lambda row: row["flops"])["name"]

# ---- sweep wrong: tensors for floats | float is wanted
def sweep(names, size, steps):
    moved, rows = x_test.roll(<<dy>>, 2), []
    moved[:, :, <<free>>] = -1.0
    for name in names:
        model = train(name, size, steps)
        with torch.no_grad():
            right = [model(x).argmax(1) == y_test for x in (x_test, moved)]
            flops = count_flops(model, x_test[:1])
        accuracy, after = (100 * r.double().mean() for r in right)
        rows.append({"name": name, "accuracy": accuracy, "moved": after, "flops": flops})
    return rows

# ---- nearby survives: 4: place = torch.cartesian_prod ... ows), torch.arange(columns)) -> place = torch.cartesian_prod ... ch.arange(columns)).detach() | whole numbers have no gradient

# ---- nearby survives: 5: place[:, None] - place -> place - place[:, None] | the size of the difference counts: the same table
