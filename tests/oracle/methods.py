"""One training step taken apart: who leads, the losses, and the gradient of every parameter.

Every derivative is PyTorch's. Units are cut from one another with `detach`; what a method lets pass
is handed from unit to unit as the `grad_outputs` of `torch.autograd.grad`.
"""

import math
from dataclasses import dataclass, field
from types import SimpleNamespace

import torch
from torch.nn import functional as F


def worker_errors(case, z, target):
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
    """The `count` workers with the smallest error, from errors `[rows, nets, workers]`."""
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
    leaders: dict = field(default_factory=dict)
    sums: dict = field(default_factory=dict)

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
    return z if case.leadership.align == "logits" else outputs(case, z)


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
    distance = (reference - alignment_value(case, z)).square().mean(-1)
    per_net_leader = (leading * errors).mean(0).sum(-1)
    per_net_follower = ((1 - leading) * distance).mean(0).sum(-1)
    if case.leadership.reduction == "mean":
        workers = errors.shape[-1]
        count = leader_count(case.leadership.delta, workers)
        per_net_leader = per_net_leader / count
        per_net_follower = per_net_follower / max(workers - count, 1)
    return per_net_leader.sum(), per_net_follower.sum()


def global_loss(case, logits, target):
    """`L_g`; the sum over the nets of one-vs-all."""
    nets = case.classes if case.network.task == "one_vs_all" else 1
    z = logits.unflatten(1, (nets, 1, -1))
    return worker_errors(case, z, target).mean(0).sum()


def spread(mask, like):
    """A mask of workers `[rows, nets, workers]` over the equal runs of channels they own."""
    mask = mask.flatten(1)
    mask = mask.repeat_interleave(like.shape[1] // mask.shape[1], dim=1)
    return mask.reshape(*mask.shape, *[1] * (like.dim() - 2)).expand_as(like)


def gradients(output, parameters, signal=None, **options):
    """Gradient of a tensor by parameter name; zeros where it does not depend on a parameter."""
    values = torch.autograd.grad(
        output, list(parameters.values()), signal, materialize_grads=True, **options
    )
    return dict(zip(parameters, values, strict=True))


def is_readout(name):
    """Whether a parameter belongs to a readout of a hidden unit."""
    return ".readout." in name


def trained_groups(case, net):
    """The parameters that the method trains, in the groups whose gradients are clipped together."""
    names = [f"unit{i}" for i in range(1, len(net.units) + 1)] + ["output"]
    groups = {name: net.group(name) for name in names}
    if case.method == "lfnn-l":
        return groups
    joined = {n: p for group in groups.values() for n, p in group.items()}
    if case.method == "bp":
        joined = {n: p for n, p in joined.items() if not is_readout(n)}
    return {"network": joined}


def step(case, net, images, target, state):
    """Forward and backward of one batch; running statistics move, parameters do not.

    Gives `logits`, `output_loss`, `gradients` by name, and `units`: per hidden unit its input, what
    it handed on, its logits, errors, leaders, alignment target and losses.
    """
    if case.method == "bp":
        logits = net(images)
        loss = global_loss(case, logits, target)
        [parameters] = trained_groups(case, net).values()
        return SimpleNamespace(
            logits=logits.detach(),
            output_loss=loss.detach(),
            units=[],
            gradients=gradients(loss, parameters),
        )

    x, units, grads = images, [], {}
    for i, unit in enumerate(net.units, start=1):
        u = SimpleNamespace(name=f"unit{i}", input=x.detach().requires_grad_())
        u.output, u.logits = unit(u.input)
        u.handed_on = u.output.detach().requires_grad_()
        u.passed_on = unit.pass_on(u.handed_on)
        u.errors = worker_errors(case, u.logits, target).detach()
        u.leaders = choose_leaders(case, i, u.errors, state)
        value = alignment_value(case, u.logits)
        u.reference = alignment_target(case, value, u.leaders)
        u.leader_loss, u.follower_loss = local_losses(
            case, u.logits, target, u.leaders, u.reference
        )
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
            masked = signal * spread(u.leaders.mask, signal)
            parameters = net.group(u.name)
            for name, g in gradients(u.output, parameters, masked, retain_graph=True).items():
                grads[name] = grads[name] + g
            relayed = signal if case.leadership.followers_relay else masked
            [signal] = torch.autograd.grad(u.output, u.input, relayed)

    return SimpleNamespace(
        logits=logits.detach(), output_loss=loss.detach(), units=units, gradients=grads
    )


def local_objective(case, unit):
    """What a unit adds to the objective: Eq. 2 for `lfnn-l`, its part of Eq. 1 for `lfnn`."""
    settings = case.leadership
    if case.method == "lfnn-l":
        return unit.leader_loss + vars(settings)["lambda"] * unit.follower_loss
    return settings.lambda1 * unit.leader_loss + settings.lambda2 * unit.follower_loss
