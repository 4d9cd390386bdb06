# Answers by which the graders of this assignment are proved; read as text by tools/exercises, never imported.

# ---- relativistic right: torch's logsigmoid
def relativistic(real, fake):
    gap = <<gap>>
    return -F.logsigmoid(gap).mean(), -F.logsigmoid(-gap).mean()

# ---- relativistic right: one pair after another
def relativistic(real, fake):
    from itertools import product
    gaps = [a - b for a, b in <<loop>>]
    zero = torch.zeros_like(real[0])
    loss_d = sum(torch.logaddexp(zero, -gap) for gap in gaps) / len(gaps)
    return loss_d, sum(torch.logaddexp(zero, gap) for gap in gaps) / len(gaps)

# ---- relativistic right: a cross-entropy with ones and zeros
def relativistic(real, fake):
    gap = <<gap>>
    one, cross = torch.ones_like(gap), F.binary_cross_entropy_with_logits
    return cross(gap, one), cross(gap, 0 * one)

# ---- relativistic wrong: the other pairs | with whom is a datum compared
def relativistic(real, fake):
    gap = real.unsqueeze(1) - fake if (<<gap>>).ndim == 1 else real - fake
    return F.softplus(-gap).mean(), F.softplus(gap).mean()

# ---- relativistic wrong: the two players exchanged | exchange the two
def relativistic(real, fake):
    gap = <<gap>>
    return F.softplus(gap).mean(), F.softplus(-gap).mean()

# ---- relativistic wrong: the forger gets minus the detective's loss | which saturates
def relativistic(real, fake):
    loss_d = F.softplus(-(<<gap>>)).mean()
    return loss_d, -loss_d

# ---- relativistic wrong: the loss of the chapter | judges each logit by itself
def relativistic(real, fake):
    return minimax_d(real, fake), F.softplus(-fake).mean()

# ---- relativistic wrong: a sum | summed over the pairs
def relativistic(real, fake):
    gap = <<gap>>
    return F.softplus(-gap).sum(), F.softplus(gap).sum()

# ---- relativistic wrong: the logarithm of a sigmoid, which overflows | is not finite: look for
def relativistic(real, fake):
    gap = <<gap>>
    return -torch.log(torch.sigmoid(gap)).mean(), -torch.log(torch.sigmoid(-gap)).mean()

# ---- relativistic wrong: an epsilon in the logarithm | cut off
def relativistic(real, fake):
    gap = <<gap>>
    log = lambda t: torch.log(torch.sigmoid(t) + 1e-60)
    return -log(gap).mean(), -log(-gap).mean()

# ---- relativistic wrong: base 2 | in bits
def relativistic(real, fake):
    gap = <<gap>>
    return F.softplus(-gap).mean() / math.log(2), F.softplus(gap).mean() / math.log(2)

# ---- relativistic wrong: the sample is detached | no gradient reaches fake
def relativistic(real, fake):
    fake = fake.detach()
    gap = <<gap>>
    return F.softplus(-gap).mean(), F.softplus(gap).mean()

# ---- detective_loss right: example by example
def detective_loss(critic, real, fake, weight):
    fake, total, lengths = fake.detach(), 0, []
    for x in <<place>>:
        x = x.detach()[None].requires_grad_()
        slope = torch.autograd.grad(critic(x)[0], x, create_graph=True)[0]
        total = total + (slope * slope).sum()
        lengths.append(slope.detach().norm())
    game = F.softplus(-critic(real)).mean() + F.softplus(critic(fake)).mean()
    return game + weight * total / (2 * len(real)), {"slope": torch.stack(lengths).<<reduce>>()}

# ---- detective_loss right: the slopes of one pass over both halves of the game
def detective_loss(critic, real, fake, weight):
    batch = {"real": real.clone().detach(), "fake": fake.clone().detach()}
    x = batch["<<place>>"].requires_grad_(True)
    logits = {name: critic(b) for name, b in batch.items()}
    slope = torch.autograd.grad([logits["<<place>>"]], [x], [torch.ones(len(x)).to(x.dtype)],
                                create_graph=True)[0]
    squares = torch.einsum("bi,bi->b", slope.reshape(len(x), -1), slope.reshape(len(x), -1))
    loss = minimax_d(logits["real"], logits["fake"]) + weight * (squares / 2).mean()
    return loss, {"slope": float((squares.detach() ** 0.5).<<reduce>>())}

# ---- detective_loss right: the package's penalty
def detective_loss(critic, real, fake, weight):
    from genai_utils.gan.losses import input_gradient, r1_penalty
    fake = fake.detach()
    slope = input_gradient(critic, <<place>>).detach()
    loss = minimax_d(critic(real), critic(fake)) + weight / 2 * r1_penalty(critic, <<place>>)
    return loss, {"slope": torch.linalg.vector_norm(slope, dim=1).<<reduce>>()}

# ---- detective_loss wrong: no create_graph | does not reach the critic's weights
def detective_loss(critic, real, fake, weight):
    fake = fake.detach()
    x = <<place>>.detach().requires_grad_()
    slope, = torch.autograd.grad(critic(x).sum(), x)
    squares = slope.flatten(1).square().sum(1)
    loss = minimax_d(critic(real), critic(fake)) + 0.5 * weight * squares.mean()
    return loss, {"slope": squares.sqrt().<<reduce>>()}

# ---- detective_loss wrong: at the other place | penalised where the <<where_not>> are
def detective_loss(critic, real, fake, weight):
    fake = fake.detach()
    x = <<elsewhere>>.detach().requires_grad_()
    slope, = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    squares = slope.flatten(1).square().sum(1)
    loss = minimax_d(critic(real), critic(fake)) + 0.5 * weight * squares.mean()
    return loss, {"slope": squares.detach().sqrt().<<reduce>>()}

# ---- detective_loss wrong: the samples keep their graph | flows into the generator
def detective_loss(critic, real, fake, weight):
    x = <<place>>.detach().requires_grad_()
    slope, = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    squares = slope.flatten(1).square().sum(1)
    loss = minimax_d(critic(real), critic(fake)) + 0.5 * weight * squares.mean()
    return loss, {"slope": squares.detach().sqrt().<<reduce>>()}

# ---- detective_loss wrong: the half forgotten | where is the half
def detective_loss(critic, real, fake, weight):
    fake = fake.detach()
    x = <<place>>.detach().requires_grad_()
    slope, = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    squares = slope.flatten(1).square().sum(1)
    loss = minimax_d(critic(real), critic(fake)) + weight * squares.mean()
    return loss, {"slope": squares.detach().sqrt().<<reduce>>()}

# ---- detective_loss wrong: the mean of the logits is differentiated | differentiate the sum
def detective_loss(critic, real, fake, weight):
    fake = fake.detach()
    x = <<place>>.detach().requires_grad_()
    slope, = torch.autograd.grad(critic(x).mean(), x, create_graph=True)
    squares = slope.flatten(1).square().sum(1)
    loss = minimax_d(critic(real), critic(fake)) + 0.5 * weight * squares.mean()
    return loss, {"slope": squares.detach().sqrt().<<reduce>>()}

# ---- detective_loss wrong: a mean over everything | their squares add up
def detective_loss(critic, real, fake, weight):
    fake = fake.detach()
    x = <<place>>.detach().requires_grad_()
    slope, = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    loss = minimax_d(critic(real), critic(fake)) + 0.5 * weight * slope.square().mean()
    return loss, {"slope": slope.detach().flatten(1).norm(dim=1).<<reduce>>()}

# ---- detective_loss wrong: one norm for the batch | sum over the batch
def detective_loss(critic, real, fake, weight):
    fake = fake.detach()
    x = <<place>>.detach().requires_grad_()
    slope, = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    loss = minimax_d(critic(real), critic(fake)) + 0.5 * weight * slope.norm() ** 2
    return loss, {"slope": slope.detach().norm()}

# ---- detective_loss wrong: the penalty of the Wasserstein critic | asking for a slope of 1
def detective_loss(critic, real, fake, weight):
    fake = fake.detach()
    x = <<place>>.detach().requires_grad_()
    slope, = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    lengths = slope.flatten(1).norm(dim=1)
    loss = minimax_d(critic(real), critic(fake)) + 0.5 * weight * ((lengths - 1) ** 2).mean()
    return loss, {"slope": lengths.detach().<<reduce>>()}

# ---- detective_loss wrong: the caller's data are switched | switched to requires_grad
def detective_loss(critic, real, fake, weight):
    real, fake = real.requires_grad_(), fake.detach().requires_grad_()
    x = <<place>>
    slope, = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    squares = slope.flatten(1).square().sum(1)
    loss = minimax_d(critic(real), critic(fake)) + 0.5 * weight * squares.mean()
    return loss, {"slope": squares.detach().sqrt().<<reduce>>()}

# ---- detective_loss wrong: the square is logged | a root is missing
def detective_loss(critic, real, fake, weight):
    fake = fake.detach()
    x = <<place>>.detach().requires_grad_()
    slope, = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    squares = slope.flatten(1).square().sum(1)
    loss = minimax_d(critic(real), critic(fake)) + 0.5 * weight * squares.mean()
    return loss, {"slope": squares.detach().<<reduce>>()}

# ---- detective_loss wrong: the log keeps the graph | keeps the graph
def detective_loss(critic, real, fake, weight):
    fake = fake.detach()
    x = <<place>>.detach().requires_grad_()
    slope, = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    squares = slope.flatten(1).square().sum(1)
    loss = minimax_d(critic(real), critic(fake)) + 0.5 * weight * squares.mean()
    return loss, {"slope": squares.sqrt().<<reduce>>()}

# ---- detective_loss wrong: norms over the last axis | built on norms over the last axis
def detective_loss(critic, real, fake, weight):
    fake = fake.detach()
    x = <<place>>.detach().requires_grad_()
    slope, = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    squares = slope.square().sum(-1)
    loss = minimax_d(critic(real), critic(fake)) + 0.5 * weight * squares.mean()
    return loss, {"slope": squares.detach().sqrt().<<reduce>>()}

# ---- detective_loss wrong: norms over axis 1 | built on norms over axis 1
def detective_loss(critic, real, fake, weight):
    fake = fake.detach()
    x = <<place>>.detach().requires_grad_()
    slope, = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    lengths = slope.norm(dim=1)
    loss = minimax_d(critic(real), critic(fake)) + 0.5 * weight * (lengths**2).mean()
    return loss, {"slope": lengths.detach().<<reduce>>()}

# ---- detective_loss wrong: lengths over the last axis are logged | measured over the last axis
def detective_loss(critic, real, fake, weight):
    fake = fake.detach()
    x = <<place>>.detach().requires_grad_()
    slope, = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    squares = slope.flatten(1).square().sum(1)
    loss = minimax_d(critic(real), critic(fake)) + 0.5 * weight * squares.mean()
    return loss, {"slope": slope.detach().norm(dim=-1).<<reduce>>()}

# ---- census right: counted by hand
@torch.no_grad()
def census(weights, seeds, steps):
    rows = {weight: {"weight": weight, "covered": [], "near": [], "loss": []} for weight in weights}
    for weight, row in rows.items():
        for seed in seeds:
            game = play(weight, seed, steps)
            x = game.sample(1000, generator=torch.Generator().manual_seed(0))
            near = torch.cdist(x.double(), MEANS) <= <<within>> * STD
            row["covered"].append(int((near.sum(0) >= 13).sum()))
            row["near"].append(int(near.any(1).sum()) / 1000)
            real, fake = game.discriminator(x_test), game.discriminator(x)
            loss = -F.logsigmoid(real).mean() - F.logsigmoid(-fake).mean()
            row["loss"].append(float(loss))
    return list(rows.values())


def choose(rows):
    key = lambda row: (sum(c <= 6 for c in row["covered"]), -<<fold>>(row["near"]), row["weight"])
    return sorted(rows, key=key)[0]["weight"]

# ---- census right: a table of games first
def measure(game):
    x = game(game.noise(1000, torch.Generator().manual_seed(0))).detach()
    found = mode_coverage(x, MEANS, STD, within=<<within>>)
    loss = minimax_d(game.discriminator(x_test), game.discriminator(x)).item()
    return found.covered, found.counts.sum().item() / 1000, loss


def census(weights, seeds, steps):
    rows = []
    for weight in weights:
        table = list(zip(*[measure(play(weight, seed, steps)) for seed in seeds]))
        rows.append({"weight": weight} | {
            key: list(numbers) for key, numbers in zip(("covered", "near", "loss"), table)})
    return rows


def choose(rows):
    kept, fewest, share = None, None, None
    for row in sorted(rows, key=lambda row: row["weight"]):
        failed = len([c for c in row["covered"] if c < 7])
        now = <<fold>>(row["near"])
        if kept is None or failed < fewest or (failed == fewest and now > share):
            kept, fewest, share = row["weight"], failed, now
    return kept

# ---- census wrong: within the other distance | counted within <<not_within>> standard deviations
def census(weights, seeds, steps):
    rows = []
    for weight in weights:
        row = {"weight": weight, "covered": [], "near": [], "loss": []}
        for seed in seeds:
            game = play(weight, seed, steps)
            x = game.sample(1000, generator=torch.Generator().manual_seed(0))
            found = mode_coverage(x, MEANS, STD, within=<<not_within>>)
            loss = minimax_d(game.discriminator(x_test), game.discriminator(x))
            row["covered"].append(found.covered)
            row["near"].append(found.high_quality.value)
            row["loss"].append(loss.item())
        rows.append(row)
    return rows


def choose(rows):
    key = lambda row: (sum(c < 7 for c in row["covered"]), -<<fold>>(row["near"]), row["weight"])
    return min(rows, key=key)["weight"]

# ---- census wrong: one sample is enough | counted from one sample on
@torch.no_grad()
def census(weights, seeds, steps):
    rows = []
    for weight in weights:
        row = {"weight": weight, "covered": [], "near": [], "loss": []}
        for seed in seeds:
            game = play(weight, seed, steps)
            x = game.sample(1000, generator=torch.Generator().manual_seed(0))
            near = torch.cdist(x.double(), MEANS) <= <<within>> * STD
            row["covered"].append(int(near.any(0).sum()))
            row["near"].append(near.any(1).double().mean().item())
            row["loss"].append(minimax_d(game.discriminator(x_test), game.discriminator(x)).item())
        rows.append(row)
    return rows


def choose(rows):
    key = lambda row: (sum(c < 7 for c in row["covered"]), -<<fold>>(row["near"]), row["weight"])
    return min(rows, key=key)["weight"]

# ---- census wrong: numbers of samples for shares | divide by 1000
def census(weights, seeds, steps):
    rows = []
    for weight in weights:
        row = {"weight": weight, "covered": [], "near": [], "loss": []}
        for seed in seeds:
            game = play(weight, seed, steps)
            x = game.sample(1000, generator=torch.Generator().manual_seed(0))
            found = mode_coverage(x, MEANS, STD, within=<<within>>)
            loss = minimax_d(game.discriminator(x_test), game.discriminator(x))
            row["covered"].append(found.covered)
            row["near"].append(found.counts.sum().item())
            row["loss"].append(loss.item())
        rows.append(row)
    return rows


def choose(rows):
    key = lambda row: (sum(c < 7 for c in row["covered"]), -<<fold>>(row["near"]), row["weight"])
    return min(rows, key=key)["weight"]

# ---- census wrong: the detective is asked about his training data | measured on data of training
def census(weights, seeds, steps):
    rows = []
    for weight in weights:
        row = {"weight": weight, "covered": [], "near": [], "loss": []}
        for seed in seeds:
            game = play(weight, seed, steps)
            x = game.sample(1000, generator=torch.Generator().manual_seed(0))
            found = mode_coverage(x, MEANS, STD, within=<<within>>)
            loss = minimax_d(game.discriminator(ring.points), game.discriminator(x))
            row["covered"].append(found.covered)
            row["near"].append(found.high_quality.value)
            row["loss"].append(loss.item())
        rows.append(row)
    return rows


def choose(rows):
    key = lambda row: (sum(c < 7 for c in row["covered"]), -<<fold>>(row["near"]), row["weight"])
    return min(rows, key=key)["weight"]

# ---- census wrong: the losses of the two halves are averaged | add both means
def census(weights, seeds, steps):
    rows = []
    for weight in weights:
        row = {"weight": weight, "covered": [], "near": [], "loss": []}
        for seed in seeds:
            game = play(weight, seed, steps)
            x = game.sample(1000, generator=torch.Generator().manual_seed(0))
            found = mode_coverage(x, MEANS, STD, within=<<within>>)
            logits = torch.cat([game.discriminator(x_test), -game.discriminator(x)])
            row["covered"].append(found.covered)
            row["near"].append(found.high_quality.value)
            row["loss"].append(F.softplus(-logits).mean().item())
        rows.append(row)
    return rows


def choose(rows):
    key = lambda row: (sum(c < 7 for c in row["covered"]), -<<fold>>(row["near"]), row["weight"])
    return min(rows, key=key)["weight"]

# ---- census wrong: the failures are not looked at | filter first
def census(weights, seeds, steps):
    rows = []
    for weight in weights:
        row = {"weight": weight, "covered": [], "near": [], "loss": []}
        for seed in seeds:
            game = play(weight, seed, steps)
            x = game.sample(1000, generator=torch.Generator().manual_seed(0))
            found = mode_coverage(x, MEANS, STD, within=<<within>>)
            loss = minimax_d(game.discriminator(x_test), game.discriminator(x))
            row["covered"].append(found.covered)
            row["near"].append(found.high_quality.value)
            row["loss"].append(loss.item())
        rows.append(row)
    return rows


def choose(rows):
    return max(rows, key=lambda row: <<fold>>(row["near"]))["weight"]

# ---- census wrong: the best seed speaks for all | the <<how>> is to be compared
def census(weights, seeds, steps):
    rows = []
    for weight in weights:
        row = {"weight": weight, "covered": [], "near": [], "loss": []}
        for seed in seeds:
            game = play(weight, seed, steps)
            x = game.sample(1000, generator=torch.Generator().manual_seed(0))
            found = mode_coverage(x, MEANS, STD, within=<<within>>)
            loss = minimax_d(game.discriminator(x_test), game.discriminator(x))
            row["covered"].append(found.covered)
            row["near"].append(found.high_quality.value)
            row["loss"].append(loss.item())
        rows.append(row)
    return rows


def choose(rows):
    other = {"min": fmean, "fmean": min}["<<fold>>"]
    key = lambda row: (sum(c < 7 for c in row["covered"]), -other(row["near"]), row["weight"])
    return min(rows, key=key)["weight"]

# ---- census wrong: 6 clouds do not count as a failure | 6 clouds are fewer than 7
def census(weights, seeds, steps):
    rows = []
    for weight in weights:
        row = {"weight": weight, "covered": [], "near": [], "loss": []}
        for seed in seeds:
            game = play(weight, seed, steps)
            x = game.sample(1000, generator=torch.Generator().manual_seed(0))
            found = mode_coverage(x, MEANS, STD, within=<<within>>)
            loss = minimax_d(game.discriminator(x_test), game.discriminator(x))
            row["covered"].append(found.covered)
            row["near"].append(found.high_quality.value)
            row["loss"].append(loss.item())
        rows.append(row)
    return rows


def choose(rows):
    key = lambda row: (sum(c < 6 for c in row["covered"]), -<<fold>>(row["near"]), row["weight"])
    return min(rows, key=key)["weight"]

# ---- census wrong: 7 clouds count as a failure | a game that covers 7 clouds has not failed
def census(weights, seeds, steps):
    rows = []
    for weight in weights:
        row = {"weight": weight, "covered": [], "near": [], "loss": []}
        for seed in seeds:
            game = play(weight, seed, steps)
            x = game.sample(1000, generator=torch.Generator().manual_seed(0))
            found = mode_coverage(x, MEANS, STD, within=<<within>>)
            with torch.no_grad():
                loss = minimax_d(game.discriminator(x_test), game.discriminator(x))
            row["covered"].append(found.covered)
            row["near"].append(found.high_quality.value)
            row["loss"].append(loss.item())
        rows.append(row)
    return rows


def choose(rows):
    key = lambda row: (sum(c < 8 for c in row["covered"]), -<<fold>>(row["near"]), row["weight"])
    return min(rows, key=key)["weight"]

# ---- census wrong: up to 7 clouds are a failure, by another sign | a game that covers 7 clouds has not failed
def census(weights, seeds, steps):
    rows = []
    for weight in weights:
        row = {"weight": weight, "covered": [], "near": [], "loss": []}
        for seed in seeds:
            game = play(weight, seed, steps)
            x = game.sample(1000, generator=torch.Generator().manual_seed(0))
            found = mode_coverage(x, MEANS, STD, within=<<within>>)
            with torch.no_grad():
                loss = minimax_d(game.discriminator(x_test), game.discriminator(x))
            row["covered"].append(found.covered)
            row["near"].append(found.high_quality.value)
            row["loss"].append(loss.item())
        rows.append(row)
    return rows


def choose(rows):
    key = lambda row: (sum(c <= 7 for c in row["covered"]), -<<fold>>(row["near"]), row["weight"])
    return min(rows, key=key)["weight"]

# ---- census wrong: of equal weights the largest | the smallest is to be kept
def census(weights, seeds, steps):
    rows = []
    for weight in weights:
        row = {"weight": weight, "covered": [], "near": [], "loss": []}
        for seed in seeds:
            game = play(weight, seed, steps)
            x = game.sample(1000, generator=torch.Generator().manual_seed(0))
            found = mode_coverage(x, MEANS, STD, within=<<within>>)
            with torch.no_grad():
                loss = minimax_d(game.discriminator(x_test), game.discriminator(x))
            row["covered"].append(found.covered)
            row["near"].append(found.high_quality.value)
            row["loss"].append(loss.item())
        rows.append(row)
    return rows


def choose(rows):
    key = lambda row: (sum(c < 7 for c in row["covered"]), -<<fold>>(row["near"]), -row["weight"])
    return min(rows, key=key)["weight"]

# ---- census wrong: of equal weights the first | the smallest is to be kept
def census(weights, seeds, steps):
    rows = []
    for weight in weights:
        row = {"weight": weight, "covered": [], "near": [], "loss": []}
        for seed in seeds:
            game = play(weight, seed, steps)
            x = game.sample(1000, generator=torch.Generator().manual_seed(0))
            found = mode_coverage(x, MEANS, STD, within=<<within>>)
            with torch.no_grad():
                loss = minimax_d(game.discriminator(x_test), game.discriminator(x))
            row["covered"].append(found.covered)
            row["near"].append(found.high_quality.value)
            row["loss"].append(loss.item())
        rows.append(row)
    return rows


def choose(rows):
    key = lambda row: (sum(c < 7 for c in row["covered"]), -<<fold>>(row["near"]), 0)
    return min(rows, key=key)["weight"]

# ---- census wrong: only weights without a failure are kept | those with the fewest are compared
def census(weights, seeds, steps):
    rows = []
    for weight in weights:
        row = {"weight": weight, "covered": [], "near": [], "loss": []}
        for seed in seeds:
            game = play(weight, seed, steps)
            x = game.sample(1000, generator=torch.Generator().manual_seed(0))
            found = mode_coverage(x, MEANS, STD, within=<<within>>)
            with torch.no_grad():
                loss = minimax_d(game.discriminator(x_test), game.discriminator(x))
            row["covered"].append(found.covered)
            row["near"].append(found.high_quality.value)
            row["loss"].append(loss.item())
        rows.append(row)
    return rows


def choose(rows):
    kept = [row for row in rows if not any(c < 7 for c in row["covered"])]
    return min(kept, key=lambda row: (-<<fold>>(row["near"]), row["weight"]))["weight"]

# ---- census wrong: tensors in the list of losses | loss must hold plain numbers
def census(weights, seeds, steps):
    rows = []
    for weight in weights:
        row = {"weight": weight, "covered": [], "near": [], "loss": []}
        for seed in seeds:
            game = play(weight, seed, steps)
            x = game.sample(1000, generator=torch.Generator().manual_seed(0))
            found = mode_coverage(x, MEANS, STD, within=<<within>>)
            with torch.no_grad():
                loss = minimax_d(game.discriminator(x_test), game.discriminator(x))
            row["covered"].append(found.covered)
            row["near"].append(found.high_quality.value)
            row["loss"].append(loss)
        rows.append(row)
    return rows


def choose(rows):
    key = lambda row: (sum(c < 7 for c in row["covered"]), -<<fold>>(row["near"]), row["weight"])
    return min(rows, key=key)["weight"]

# ---- census wrong: tensors in the list of covered clouds | covered must hold plain numbers
def census(weights, seeds, steps):
    rows = []
    for weight in weights:
        row = {"weight": weight, "covered": [], "near": [], "loss": []}
        for seed in seeds:
            game = play(weight, seed, steps)
            x = game.sample(1000, generator=torch.Generator().manual_seed(0))
            near = torch.cdist(x.double(), MEANS) <= <<within>> * STD
            with torch.no_grad():
                loss = minimax_d(game.discriminator(x_test), game.discriminator(x))
            row["covered"].append((near.sum(0) >= 13).sum())
            row["near"].append(near.any(1).double().mean().item())
            row["loss"].append(loss.item())
        rows.append(row)
    return rows


def choose(rows):
    key = lambda row: (sum(c < 7 for c in row["covered"]), -<<fold>>(row["near"]), row["weight"])
    return min(rows, key=key)["weight"]

# ---- census wrong: 13 samples are not enough | 13 are enough
def census(weights, seeds, steps):
    rows = []
    for weight in weights:
        row = {"weight": weight, "covered": [], "near": [], "loss": []}
        for seed in seeds:
            game = play(weight, seed, steps)
            x = game.sample(1000, generator=torch.Generator().manual_seed(0))
            near = torch.cdist(x.double(), MEANS) <= <<within>> * STD
            with torch.no_grad():
                loss = minimax_d(game.discriminator(x_test), game.discriminator(x))
            row["covered"].append(int((near.sum(0) > 13).sum()))
            row["near"].append(near.any(1).double().mean().item())
            row["loss"].append(loss.item())
        rows.append(row)
    return rows


def choose(rows):
    key = lambda row: (sum(c < 7 for c in row["covered"]), -<<fold>>(row["near"]), row["weight"])
    return min(rows, key=key)["weight"]

# ---- census wrong: within so many variances | STD is the deviation
def census(weights, seeds, steps):
    rows = []
    for weight in weights:
        row = {"weight": weight, "covered": [], "near": [], "loss": []}
        for seed in seeds:
            game = play(weight, seed, steps)
            x = game.sample(1000, generator=torch.Generator().manual_seed(0))
            near = torch.cdist(x.double(), MEANS) <= <<within>> * STD**2
            with torch.no_grad():
                loss = minimax_d(game.discriminator(x_test), game.discriminator(x))
            row["covered"].append(int((near.sum(0) >= 13).sum()))
            row["near"].append(near.any(1).double().mean().item())
            row["loss"].append(loss.item())
        rows.append(row)
    return rows


def choose(rows):
    key = lambda row: (sum(c < 7 for c in row["covered"]), -<<fold>>(row["near"]), row["weight"])
    return min(rows, key=key)["weight"]

# ---- census survives: 9: x = game.sample(1000, genera ... .Generator().manual_seed(0)) -> x = game.sample(1000, genera ... r().manual_seed(0)).detach() | sample runs under no_grad: there is no graph to leave
