"""One training step taken apart: who leads, the losses, and the gradient of every parameter.

Every derivative is PyTorch's. Units are cut from one another with `detach`; what a method lets pass
is handed from unit to unit as the `grad_outputs` of `torch.autograd.grad`. Forward gradients are in
`directions.py`.
"""

import math
import re
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from types import SimpleNamespace

import torch
from torch import nn
from torch.nn import functional as F

import places
from directions import Directions, perturb_outputs, perturb_weights
from network import GroupedLinear

SEED = 1  # of the directions of a single step


def worker_errors(case, z, target):
    """Per-sample errors `[batch, nets, workers]` of logits `[batch, nets, workers, width]`, each times the weight of
    its class."""
    errors = unweighted_errors(case, z, target)
    if case.training.class_weights is None:
        return errors
    weights = torch.tensor(case.training.class_weights, dtype=z.dtype)
    return errors * weights[target].reshape(-1, 1, 1)


def unweighted_errors(case, z, target):
    """Per-sample errors `[batch, nets, workers]` of logits `[batch, nets, workers, width]`."""
    batch, nets, workers, width = z.shape
    smoothing = case.training.label_smoothing
    match case.network.task:
        case "classification":
            labels = target.reshape(-1, 1, 1).expand(batch, nets, workers)
            errors = F.cross_entropy(
                z.flatten(0, 2), labels.flatten(), label_smoothing=smoothing, reduction="none"
            )
            return errors.reshape(batch, nets, workers)
        case "regression":
            wanted = target.reshape(batch, nets, 1, width).expand_as(z)
            return F.mse_loss(z, wanted, reduction="none").mean(-1)
        case "binary":
            hit = (target == 1).reshape(batch, 1)
        case "one_vs_all":
            hit = target.reshape(batch, 1) == torch.arange(nets)
    wanted = (1 - smoothing) * hit.to(z.dtype) + smoothing / 2
    wanted = wanted.reshape(batch, nets, 1).expand(batch, nets, workers)
    return F.binary_cross_entropy_with_logits(z.squeeze(-1), wanted, reduction="none")


def outputs(case, z):
    """p, from logits whose last axis is one prediction."""
    if case.network.task == "regression":
        return z
    return z.softmax(-1) if z.shape[-1] > 1 else z.sigmoid()


def leader_count(delta, workers):
    """k."""
    return min(max(math.floor(delta * workers + 0.5), 1), workers)


@dataclass
class Leaders:
    """Who leads: a mask `[rows, nets, workers]`, the best `[rows, nets]`, and how clear it was."""

    mask: torch.Tensor
    best: torch.Tensor
    margin: float


def select(errors, count):
    """The `count` workers with the lowest loss, from losses `[rows, nets, workers]`."""
    ordered, order = errors.sort(dim=-1, stable=True)
    mask = torch.zeros_like(errors).scatter(-1, order[..., :count], 1.0)
    gaps = ordered.diff(dim=-1)
    decisive = [gaps[..., 0]] if gaps.shape[-1] else []
    if count < errors.shape[-1]:
        decisive.append(gaps[..., count - 1])
    margin = min((gap.min().item() for gap in decisive), default=math.inf)
    return Leaders(mask, order[..., 0], margin)


@dataclass
class EpochState:
    """Leadership held for an epoch; one for a whole run."""

    steps_per_epoch: int = 1
    step: int = 0
    seed: int = SEED
    leaders: dict = field(default_factory=dict)
    sums: dict = field(default_factory=dict)

    def now(self):
        """What the random numbers of this step depend on."""
        return self.seed, self.step // self.steps_per_epoch, self.step % self.steps_per_epoch

    def lead(self, i, errors, count):
        """Leaders of unit i in this step, given this batch's mean errors `[1, nets, workers]`."""
        if self.step % self.steps_per_epoch == 0:
            source = errors if self.step == 0 else self.sums[i] / self.steps_per_epoch
            self.leaders[i] = select(source, count)
            self.sums[i] = torch.zeros_like(errors)
        self.sums[i] = self.sums[i] + errors
        return self.leaders[i]


def choose_leaders(case, i, errors, state):
    """Leaders of unit i by the case's scope, from per-sample errors."""
    errors = errors.detach()
    count = leader_count(case.leadership.delta, errors.shape[-1])
    match case.leadership.scope:
        case "sample":
            return select(errors, count)
        case "batch":
            return select(errors.mean(0, keepdim=True), count)
        case "epoch":
            return state.lead(i, errors.mean(0, keepdim=True), count)


def alignment_value(case, z):
    """What followers align: p or z."""
    return outputs(case, z) if case.leadership.align.kind == "output" else z


def distance(case, reference, value):
    """What separates followers from their leader, `[batch, nets, workers]`."""
    align = case.leadership.align
    if align.kind != "kl":
        return (reference - value).square().mean(-1)
    reference, value = reference / align.temperature, value / align.temperature
    if value.shape[-1] == 1:
        # One logit is that of its class beside 0.
        reference, value = (torch.cat([z, torch.zeros_like(z)], -1) for z in (reference, value))
    wanted = reference.log_softmax(-1).expand_as(value)
    terms = F.kl_div(value.log_softmax(-1), wanted, reduction="none", log_target=True)
    return align.temperature**2 * terms.sum(-1)


def alignment_target(case, value, leaders):
    """p* or z* `[batch, nets, 1, width]`, a constant."""
    value = value.detach()
    mask = leaders.mask.expand(value.shape[:3]).unsqueeze(-1)
    if case.leadership.reference == "mean":
        return (value * mask).sum(2, keepdim=True) / mask.sum(2, keepdim=True)
    batch, nets, _, width = value.shape
    best = leaders.best.expand(batch, nets).reshape(batch, nets, 1, 1)
    return value.gather(2, best.expand(batch, nets, 1, width))


def local_losses(case, z, target, leaders, reference):
    """`L^δ` and `L^δ̄` of a unit, over all nets, given its leaders and what followers align with."""
    errors = worker_errors(case, z, target)
    leading = leaders.mask
    labels = case.leadership.follower_labels
    follower = (1 - labels) * distance(case, reference, alignment_value(case, z)) + labels * errors
    per_net_leader = (leading * errors).mean(0).sum(-1)
    per_net_follower = ((1 - leading) * follower).mean(0).sum(-1)
    if case.leadership.reduction == "mean":
        workers = errors.shape[-1]
        count = leader_count(case.leadership.delta, workers)
        per_net_leader = per_net_leader / count
        per_net_follower = per_net_follower / max(workers - count, 1)
    return per_net_leader.sum(), per_net_follower.sum()


def global_errors(case, logits, target):
    """Per-sample errors of the output layer, `[batch, nets, 1]`."""
    nets = case.classes if case.network.task == "one_vs_all" else 1
    return worker_errors(case, logits.unflatten(1, (nets, 1, -1)), target)


def global_loss(case, logits, target):
    """`L_g`; the sum over the nets of one-vs-all."""
    return global_errors(case, logits, target).mean(0).sum()


def global_terms(case, logits, target):
    """What each sample adds to it."""
    return global_errors(case, logits, target).sum((1, 2)) / len(logits)


def unit_vectors(x):
    """Rows, centred and divided by their norms."""
    x = x - x.mean(1, keepdim=True)
    return x / (1e-8 + x.norm(dim=1, keepdim=True))


def similarity_loss(case, unit, compared, target):
    """The weighted loss of similarity matching of a unit; 0 without it."""
    if compared is None:
        return torch.zeros(())
    if case.network.task != "regression":
        target = F.one_hot(target, case.classes).to(compared.dtype)
    rows, wanted = unit_vectors(compared), unit_vectors(target)
    return unit.matching.weight * F.mse_loss(rows @ rows.T, wanted @ wanted.T)


def local_terms(case, unit, z, compared, target):
    """What each sample adds to the local loss of `lg-…`: the errors of all workers. Last comes what
    the batch as a whole adds, where it does."""
    errors = worker_errors(case, z, target)
    if case.leadership.reduction == "mean":
        errors = errors / errors.shape[-1]
    terms = errors.sum((1, 2)) / len(z)
    if compared is None:
        return terms
    return torch.cat([terms, similarity_loss(case, unit, compared, target).reshape(1)])


def spread(unit, mask, like):
    """A mask of workers `[rows, nets, workers]` over the equal runs of channels they own; features that
    all workers share belong to a leader."""
    if unit.workers.kind == "heads":
        return torch.ones_like(like)
    mask = mask.flatten(1)
    mask = mask.repeat_interleave(like.shape[1] // mask.shape[1], dim=1)
    return mask.reshape(*mask.shape, *[1] * (like.dim() - 2)).expand_as(like)


def gradients(output, parameters, signal=None, **options):
    """Gradient of a tensor by parameter name; zeros where it does not depend on a parameter."""
    values = torch.autograd.grad(
        output, list(parameters.values()), signal, materialize_grads=True, **options
    )
    return dict(zip(parameters, values, strict=True))


def is_local(method):
    """Whether no derivative passes from one unit to another."""
    return method == "lfnn-l" or method.startswith("lg-")


def is_readout(name):
    """Whether a parameter belongs to the readout of a hidden unit, to the head around it, or to
    similarity matching."""
    return re.search(r"\.readout\.|^unit\d+\.(head\d+|similarity)\.", name) is not None


def trained_groups(case, net):
    """The parameters that the method trains, in the groups whose gradients are clipped together."""
    names = [f"unit{i}" for i in range(1, len(net.units) + 1)] + ["output"]
    groups = {name: net.group(name) for name in names}
    if is_local(case.method):
        return groups
    joined = {n: p for group in groups.values() for n, p in group.items()}
    if case.method != "lfnn":
        joined = {n: p for n, p in joined.items() if not is_readout(n)}
    return {"network": joined}


def step(case, net, images, target, state, feedback=None):
    """Forward and backward of one batch; running statistics move, parameters do not.

    Gives `logits`, `output_loss`, `gradients` by name, and `units`: per hidden unit with leaders its
    input, what it handed on, its logits, errors, leaders, alignment target and losses; the random
    `directions` by name, and the derivatives along them, in the order of the losses.
    """
    match case.method:
        case "bp" | "fa":
            with carried_by(net, feedback) if case.method == "fa" else nullcontext():
                logits = net(images)
            loss = global_loss(case, logits, target)
            [parameters] = trained_groups(case, net).values()
            return result(logits, loss, gradients(loss, parameters))
        case "fg-w" | "fg-a":
            return forward_gradients(case, net, images, target, state)
        case "lg-bp" | "lg-fg-w" | "lg-fg-a":
            return local_greedy(case, net, images, target, state)

    x, units, grads = images, [], {}
    for i, unit in enumerate(net.units, start=1):
        u = SimpleNamespace(name=f"unit{i}", input=x.detach().requires_grad_())
        u.output, u.logits, u.compared = unit(u.input)
        u.handed_on = u.output.detach().requires_grad_()
        u.passed_on = unit.pass_on(u.handed_on)
        u.errors = worker_errors(case, u.logits, target).detach()
        u.leaders = choose_leaders(case, i, u.errors, state)
        value = alignment_value(case, u.logits)
        u.reference = alignment_target(case, value, u.leaders)
        u.leader_loss, u.follower_loss = local_losses(
            case, u.logits, target, u.leaders, u.reference
        )
        u.similarity_loss = similarity_loss(case, unit, u.compared, target)
        grads |= gradients(local_objective(case, u), net.group(u.name), retain_graph=True)
        units.append(u)
        x = u.passed_on

    last = x.detach().requires_grad_()
    logits = net.output(last)
    loss = global_loss(case, logits, target)
    grads |= gradients(loss, net.group("output"), retain_graph=True)

    if case.method == "lfnn":
        [signal] = torch.autograd.grad(loss, last)
        for u in reversed(units):
            if u.passed_on is not u.handed_on:
                [signal] = torch.autograd.grad(u.passed_on, u.handed_on, signal)
            masked = signal * spread(getattr(net, u.name), u.leaders.mask, signal)
            parameters = net.group(u.name)
            for name, g in gradients(u.output, parameters, masked, retain_graph=True).items():
                grads[name] = grads[name] + g
            relayed = signal if case.leadership.gradient_through_followers else masked
            [signal] = torch.autograd.grad(u.output, u.input, relayed)

    return result(logits, loss, grads, units)


def result(logits, loss, gradients, units=(), directions=None, derivatives=()):
    """What a step gives."""
    return SimpleNamespace(
        logits=logits.detach(),
        output_loss=loss.detach(),
        units=list(units),
        gradients=gradients,
        directions=directions.drawn if directions else {},
        places=directions.places if directions else {},
        derivatives=list(derivatives),
    )


def carriers(net):
    """Layers whose input is multiplied by a weight, by the weight's name."""
    kinds = (nn.Conv2d, nn.Linear, GroupedLinear)
    return {f"{n}.weight": m for n, m in net.named_modules() if isinstance(m, kinds)}


@contextmanager
def multiplied_by(net, multiply):
    """Within it, `multiply(name, product, x, weight)` stands for each `product(x, weight)`."""
    changed = []

    def change(layer, attribute, value):
        setattr(layer, attribute, value)
        changed.append((layer, attribute))

    def tap(name, layer):
        match layer:
            case GroupedLinear():
                product = layer.product
                change(layer, "product", lambda x, weight: multiply(name, product, x, weight))
            case nn.Conv2d():
                convolve = layer._conv_forward
                product = lambda x, weight: convolve(x, weight, None)

                def convolved(x, weight, bias):
                    y = multiply(name, product, x, weight)
                    return y if bias is None else y + bias.reshape(-1, 1, 1)

                change(layer, "_conv_forward", convolved)
            case nn.Linear():

                def mapped(x):
                    y = multiply(name, F.linear, x, layer.weight)
                    return y if layer.bias is None else y + layer.bias

                change(layer, "forward", mapped)

    for name, layer in carriers(net).items():
        tap(name, layer)
    try:
        yield
    finally:
        for layer, attribute in changed:
            delattr(layer, attribute)


def carried_by(net, matrices):
    """Within it, matrices carry gradients back in place of the weights of their names."""

    def multiply(name, product, x, weight):
        if name not in matrices:
            return product(x, weight)
        way = product(x, torch.as_tensor(matrices[name]).to(x.dtype))
        # The value of one, the derivative of the other.
        return product(x.detach(), weight) + (way - way.detach())

    return multiplied_by(net, multiply)


def carrying(net, images):
    """The weights through which a gradient is carried back: those behind another parameter."""
    names = []

    def multiply(name, product, x, weight):
        if x.requires_grad:
            names.append(name)
        return product(x, weight)

    with multiplied_by(net, multiply):
        net(images)
    return [name for name in names if not is_readout(name)]


def forward_gradients(case, net, images, target, state):
    """`fg-w` and `fg-a`: one derivative of `L_g`, along directions everywhere."""
    names = [f"unit{i}" for i in range(1, len(net.units) + 1)] + ["output"]
    parts = [(name, getattr(net, name), False) for name in names]
    directions, seen = Directions(state.now()), []

    def terms(call):
        x = images
        for unit in net.units:
            handed_on, *_ = call(unit, x)
            x = unit.pass_on(handed_on)
        seen.append(call(net.output, x))
        return global_terms(case, seen[-1], target)

    if case.method == "fg-w":
        grads, derivative = perturb_weights(parts, terms, directions)
    else:
        found = places.of_global_loss(net)
        grads, derivative = perturb_outputs(parts, terms, directions, found)
    logits = seen[0].detach()
    loss = global_loss(case, logits, target)
    return result(logits, loss, grads, (), directions, [derivative])


def local_greedy(case, net, images, target, state):
    """`lg-…`: every unit has its own workers' errors as its loss."""
    x, grads, derivatives = images, {}, []
    directions = Directions(state.now())
    units = [(f"unit{i}", unit) for i, unit in enumerate(net.units, start=1)]
    for name, module in [*units, ("output", net.output)]:
        seen = []

        def terms(call, module=module, name=name, x=x, seen=seen):
            if name == "output":
                seen.append(call(module, x))
                return global_terms(case, seen[-1], target)
            handed_on, *predicted = call(module, x)
            seen.append(module.pass_on(handed_on))
            return local_terms(case, module, *predicted, target)

        if case.method == "lg-bp":
            loss = terms(lambda module, x: module(x)).sum()
            grads |= gradients(loss, net.group(name))
        else:
            parts = [(name, module, True)]
            if case.method == "lg-fg-w":
                own, derivative = perturb_weights(parts, terms, directions)
            else:
                output = name == "output"
                of = places.of_output(module) if output else places.of_local_losses(module, name)
                own, derivative = perturb_outputs(parts, terms, directions, of)
            grads |= own
            derivatives.append(derivative)
        x = seen[0].detach()
    loss = global_loss(case, x, target)
    return result(x, loss, grads, (), directions, derivatives)


def local_objective(case, unit):
    """What a unit adds to the objective: Eq. 2 for `lfnn-l`, its part of Eq. 1 for `lfnn`."""
    settings = case.leadership
    weights = settings.lambda1, settings.lambda2
    if case.method == "lfnn-l":
        weights = 1, vars(settings)["lambda"]
    workers = weights[0] * unit.leader_loss + weights[1] * unit.follower_loss
    return workers + unit.similarity_loss
