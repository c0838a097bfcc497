"""Checks of the oracle itself, by means that share nothing with it.

Logits, errors, leaders and losses are computed once more from their definitions, number by number.
Finite differences of the losses must give every gradient, with leaders and alignment targets held
fixed, since no gradient is taken of either. For `lfnn` the global part is the derivative of `L_g`
in a network in which followers hand on what they handed on before the parameter was moved.
"""

import copy
import math

import torch

import directions
import methods
from network import apply

STEP = 1e-6
TOLERANCE = 1e-7
ENTRIES = 3


def run(case, net, images, targets, feedback):
    """Checks the first step of a case."""
    net = copy.deepcopy(net)
    base = methods.step(case, net, images[0], targets[0], methods.EpochState(), feedback)
    check_coverage(case, net, base)
    for unit, record in zip(net.units, base.units, strict=False):
        check_logits(unit, record)
        check_definitions(case, record, targets[0])
        check_similarity(case, unit, record, targets[0])
    if case.method == "fa":
        check_feedback(case, net, images[0], targets[0], feedback, base)
    elif base.directions:
        check_random_numbers()
        check_derivatives(case, net, images[0], targets[0], base)
    else:
        check_differences(case, net, images[0], targets[0], base)
    if methods.is_local(case.method):
        check_locality(case, net, images[0], targets[0], base)
    if case.method == "lfnn":
        check_against_bp(case, net, images[0], targets[0])


def check_coverage(case, net, base):
    """Every parameter has a gradient, but readouts where the global loss is the only one."""
    names = {n for n, _ in net.named_parameters()}
    if not methods.is_local(case.method) and case.method != "lfnn":
        names = {n for n in names if not methods.is_readout(n)}
    assert set(base.gradients) == names


def close(actual, expected):
    """Equality up to rounding."""
    return math.isclose(actual, expected, rel_tol=1e-9, abs_tol=1e-11)


def check_logits(unit, record):
    """Which features a worker reads, and with which weights."""
    features, logits = record.output.detach(), record.logits.detach()
    batch, nets, workers, width = logits.shape
    shared = unit.workers.kind == "heads"
    share = features.shape[1] if shared else features.shape[1] // (nets * workers)
    for b in range(batch):
        for e in range(nets):
            for n in range(workers):
                first = 0 if shared else (e * workers + n) * share
                own = features[b, first : first + share]
                z = logits[b, e, n].tolist()
                match unit.workers.kind:
                    case "filters":
                        means = own.mean((1, 2)).tolist()
                        wanted = [sum(means[k::width]) / (share // width) for k in range(width)]
                        wanted = [unit.workers.scale * mean for mean in wanted]
                    case "readout" | "block" | "heads":
                        match unit.workers.kind:
                            case "readout":
                                readout, grid, first = unit.readout, unit.workers.grid, n * width
                            case "block":
                                readout, grid, first = unit.blocks[n].readout, unit.workers.grid, 0
                            case "heads":
                                heads = [(h, i) for h in unit.heads for i in range(h.count)]
                                head, position = heads[n]
                                readout, grid, first = head.readout, head.grid, position * width
                                if head.layers:
                                    # Layers are PyTorch's; batch norm sees the whole batch.
                                    with torch.no_grad():
                                        through = copy.deepcopy(head.layers)
                                        own = apply(through, features)[b]
                        if grid is not None and own.dim() == 3:
                            own = pool(own, grid)
                        weight = readout.weight[first : first + width].tolist()
                        bias = readout.bias[first : first + width].tolist()
                        seen = own.flatten().tolist()
                        wanted = [
                            sum(w * x for w, x in zip(row, seen, strict=True)) + c
                            for row, c in zip(weight, bias, strict=True)
                        ]
                    case "neurons":
                        wanted = z
                        if unit.workers.output_activation == "relu":
                            assert own.tolist() == [max(value, 0.0) for value in z]
                assert all(map(close, z, wanted)), f"{record.name}: logits of worker {n}"


def pool(image, grid):
    """Mean over the bins of a grid, of one image `[channels, height, width]`."""
    channels, height, width = image.shape
    down, across = grid
    result = torch.zeros(channels, down, across, dtype=image.dtype)
    for i in range(down):
        rows = slice(i * height // down, -(-(i + 1) * height // down))
        for j in range(across):
            columns = slice(j * width // across, -(-(j + 1) * width // across))
            result[:, i, j] = image[:, rows, columns].mean((1, 2))
    return result


def check_definitions(case, record, target):
    """Errors, leaders, the best leader and both losses of a unit, from its logits."""
    logits = record.logits.tolist()
    batch, nets, workers = len(logits), len(logits[0]), len(logits[0][0])
    settings, smoothing = case.leadership, case.training.label_smoothing
    task, weights = case.network.task, case.training.class_weights

    def predict(b, e, n):
        """Output and error of a worker."""
        z = logits[b][e][n]
        if task == "regression":
            pairs = zip(z, target[b].tolist(), strict=True)
            return z, sum((value - wanted) ** 2 for value, wanted in pairs) / len(z)
        label = int(target[b])
        weight = 1.0 if weights is None else weights[label]
        if task == "classification":
            top = max(z)
            total = sum(math.exp(value - top) for value in z)
            p = [math.exp(value - top) / total for value in z]
            wanted = [(1 - smoothing) * (k == label) + smoothing / len(z) for k in range(len(z))]
            return p, -weight * sum(t * math.log(q) for t, q in zip(wanted, p, strict=True))
        wanted = (1 - smoothing) * (label == (1 if task == "binary" else e)) + smoothing / 2
        p = 1 / (1 + math.exp(-z[0]))
        return [p], -weight * (wanted * math.log(p) + (1 - wanted) * math.log(1 - p))

    leader_loss = follower_loss = 0.0
    count = max(1, min(workers, math.floor(settings.delta * workers + 0.5)))
    leading, following = 1.0, 1.0
    if settings.reduction == "mean":
        leading, following = 1 / count, 1 / max(1, workers - count)
    for e in range(nets):
        table = [[predict(b, e, n) for n in range(workers)] for b in range(batch)]
        means = [sum(row[n][1] for row in table) / batch for n in range(workers)]
        for n, mean in enumerate(means):
            assert close(mean, record.errors[:, e, n].mean().item())
        for b, row in enumerate(table):
            per_sample = settings.scope == "sample"
            errors = [error for _, error in row] if per_sample else means
            order = sorted(range(workers), key=lambda n, errors=errors: (errors[n], n))
            leaders = order[:count]
            line = b if per_sample else 0
            mask = record.leaders.mask[line, e].tolist()
            assert mask == [float(n in leaders) for n in range(workers)]
            assert record.leaders.best[line, e] == order[0]
            kind = settings.align.kind
            values = [p for p, _ in row] if kind == "output" else logits[b][e]
            best = values[order[0]]
            if settings.reference == "mean":
                best = [sum(values[n][c] for n in leaders) / count for c in range(len(best))]
            for n in range(workers):
                if n in leaders:
                    leader_loss += row[n][1] / batch * leading
                else:
                    if kind == "kl":
                        gap = divergence(best, values[n], settings.align.temperature)
                    else:
                        gaps = [(a - v) ** 2 for a, v in zip(best, values[n], strict=True)]
                        gap = sum(gaps) / len(gaps)
                    labels = settings.follower_labels
                    own = (1 - labels) * gap + labels * row[n][1]
                    follower_loss += own / batch * following
    assert close(leader_loss, record.leader_loss.item()), f"{record.name}: leader loss"
    assert close(follower_loss, record.follower_loss.item()), f"{record.name}: follower loss"


def check_similarity(case, unit, record, target):
    """The loss of similarity matching, from the features that were compared."""
    if unit.matching is None:
        return
    if case.network.task == "regression":
        wanted = target.tolist()
    else:
        wanted = [[float(k == label) for k in range(case.classes)] for label in target.tolist()]

    def cosine(a, b):
        a, b = [[x - sum(row) / len(row) for x in row] for row in (a, b)]
        product = sum(x * y for x, y in zip(a, b, strict=True))
        return product / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))

    rows = list(zip(record.compared.tolist(), wanted, strict=True))
    gaps = [cosine(a, b) - cosine(t, u) for a, t in rows for b, u in rows]
    loss = unit.matching.weight * sum(gap**2 for gap in gaps) / len(gaps)
    assert math.isclose(loss, record.similarity_loss.item(), rel_tol=1e-6), record.name


def divergence(wanted, given, temperature):
    """T² KL of two softmaxes at a temperature; one logit is beside a 0."""
    softened = []
    for z in (wanted, given):
        powers = [math.exp(value / temperature) for value in (z if len(z) > 1 else [*z, 0.0])]
        softened.append([power / sum(powers) for power in powers])
    pairs = zip(*softened, strict=True)
    return temperature**2 * sum(p * math.log(p / q) for p, q in pairs)


def check_differences(case, net, images, target, base):
    """Central differences against the gradients, at a few entries of every parameter."""
    generator = torch.Generator().manual_seed(0)
    for name, gradient in base.gradients.items():
        parameter = net.get_parameter(name)
        owner = name.split(".")[0]
        picks = torch.randperm(parameter.numel(), generator=generator)[:ENTRIES]
        for pick in picks.tolist():
            values = []
            for sign in (1, -1):
                with torch.no_grad():
                    entry = parameter.view(-1)[pick].item()
                    parameter.view(-1)[pick] += sign * STEP
                    values.append(objective(case, net, images, target, base, owner).item())
                    parameter.view(-1)[pick] = entry
            numeric = (values[0] - values[1]) / (2 * STEP)
            exact = gradient.reshape(-1)[pick].item()
            gap = abs(numeric - exact) / max(1.0, abs(exact))
            assert gap < TOLERANCE, f"{name}[{pick}]: {exact} by autograd, {numeric} by differences"


def objective(case, net, images, target, base, owner):
    """What the parameters of a unit (or `output`) minimise, everything else held fixed."""
    if case.method == "bp":
        return methods.global_loss(case, net(images), target)
    position = len(net.units) if owner == "output" else int(owner.removeprefix("unit")) - 1
    if case.method == "lg-bp":
        x = images
        for unit in net.units[:position]:
            x = unit.pass_on(unit(x)[0])
        if position == len(net.units):
            return methods.global_loss(case, net.output(x), target)
        unit = net.units[position]
        return methods.local_terms(case, unit, *unit(x)[1:], target).sum()
    if position == len(net.units):
        return methods.global_loss(case, net.output(base.units[-1].passed_on), target)

    record = base.units[position]
    unit = net.units[position]
    _, z, compared = unit(record.input)
    leader, follower = methods.local_losses(case, z, target, record.leaders, record.reference)
    settings = case.leadership
    similarity = methods.similarity_loss(case, unit, compared, target)
    if case.method == "lfnn-l":
        return leader + vars(settings)["lambda"] * follower + similarity

    x = record.input
    for i in range(position, len(net.units)):
        handed_on, *_ = net.units[i](x)
        if i == position or not settings.gradient_through_followers:
            leading = methods.spread(net.units[i], base.units[i].leaders.mask, handed_on)
            handed_on = torch.where(leading == 1, handed_on, base.units[i].output)
        x = net.units[i].pass_on(handed_on)
    loss = methods.global_loss(case, net.output(x), target)
    return loss + settings.lambda1 * leader + settings.lambda2 * follower + similarity


def check_locality(case, net, images, target, base):
    """Changing everything behind a unit leaves its gradients the same bits."""
    for i in range(1, len(net.units) + 1):
        other = copy.deepcopy(net)
        later = [f"unit{j}" for j in range(i + 1, len(net.units) + 1)] + ["output"]
        generator = torch.Generator().manual_seed(i)
        with torch.no_grad():
            for name in later:
                for parameter in other.group(name).values():
                    parameter += torch.randn(parameter.shape, generator=generator).to(parameter)
        moved = methods.step(case, other, images, target, methods.EpochState())
        for name, gradient in base.gradients.items():
            if name.split(".")[0] not in later:
                assert torch.equal(gradient, moved.gradients[name]), f"{name} is not local"
        assert not torch.equal(base.logits, moved.logits)


def check_against_bp(case, net, images, target):
    """With δ = 1 and no local losses `lfnn` is backpropagation, relayed or not."""
    changed, net = copy.deepcopy(case), copy.deepcopy(net)
    changed.leadership.delta = 1.0
    changed.leadership.lambda1 = changed.leadership.lambda2 = 0.0
    for unit in net.units:
        unit.matching = None
    ours = methods.step(changed, net, images, target, methods.EpochState()).gradients
    changed.method = "bp"
    theirs = methods.step(changed, net, images, target, methods.EpochState()).gradients
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-12, atol=1e-14)
    for name in set(ours) - set(theirs):
        assert methods.is_readout(name) and not ours[name].any()


def check_feedback(case, net, images, target, feedback, base):
    """Feedback changes gradients, but not the output layer's; with the weights as feedback `fa` is
    `bp`."""
    assert set(feedback) == set(methods.carrying(net, images))
    changed = copy.deepcopy(case)
    changed.method = "bp"
    theirs = methods.step(changed, net, images, target, methods.EpochState()).gradients
    for name, gradient in theirs.items():
        # The bias of a convolution before batch norm has no gradient either way.
        same = name in ("output.weight", "output.bias") or gradient.abs().max() < 1e-9
        assert same == torch.allclose(base.gradients[name], gradient), name
    weights = {name: net.get_parameter(name).detach() for name in feedback}
    ours = methods.step(case, net, images, target, methods.EpochState(), weights).gradients
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-10, atol=1e-13)


def check_random_numbers():
    """Philox gives the published known answers, and Box-Muller the moments of a normal variate."""
    ones = 2**32 - 1
    for counter, key, answer in [
        ([0] * 4, (0, 0), [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([ones] * 4, (ones, ones), [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    ]:
        drawn = directions.philox([[word] for word in counter], key)
        assert [int(word[0]) for word in drawn] == answer
    numbers = directions.normal(40_000, (1, 0, 0), 0)
    assert abs(numbers.mean()) < 0.02 and abs((numbers**2).mean() - 1) < 0.03


def check_derivatives(case, net, images, target, base):
    """The derivatives along the directions, by central differences; the directions of outputs are
    added by hooks here too, but with nothing of forward mode."""
    names = [f"unit{i}" for i in range(1, len(net.units) + 1)] + ["output"]
    moves_weights = case.method.endswith("fg-w")
    values = []
    for sign in (1, -1):
        moved, shift = copy.deepcopy(net), sign * STEP
        for name, u in base.directions.items():
            if moves_weights:
                with torch.no_grad():
                    moved.get_parameter(name).add_(shift * u)
            else:
                add = lambda _m, _i, output, v=shift * u: output + v
                moved.get_submodule(base.places[name]).register_forward_hook(add)
        losses, x, still = [], images, images
        for name in names:
            module, unmoved = getattr(moved, name), getattr(net, name)
            if name == "output":
                own = still if methods.is_local(case.method) else x
                losses.append(methods.global_loss(case, module(own), target).item())
            elif methods.is_local(case.method):
                predicted = module(still)[1:]
                losses.append(methods.local_terms(case, module, *predicted, target).sum().item())
                still = unmoved.pass_on(unmoved(still)[0]).detach()
            else:
                x = module.pass_on(module(x)[0])
        values.append(losses)
    for plus, minus, derivative in zip(*values, base.derivatives, strict=True):
        numeric, exact = (plus - minus) / (2 * STEP), derivative.item()
        assert abs(numeric - exact) / max(1.0, abs(exact)) < 10 * TOLERANCE, (exact, numeric)
