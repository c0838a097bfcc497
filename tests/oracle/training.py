"""Successive training steps with PyTorch's optimisers."""

import math
from types import SimpleNamespace

import torch

import methods

STEPS = 10
SEED = 5  # of the random directions of a run


def learning_rates(case):
    """The learning rate of each of the ten steps."""
    schedule, peak = case.training.schedule, case.training.optimizer.lr
    per_epoch = STEPS // case.training.epochs
    match schedule.kind:
        case "constant":
            return [peak] * STEPS
        case "step":
            return [
                peak * schedule.gamma ** (t // per_epoch // schedule.epochs) for t in range(STEPS)
            ]
        case "cosine" | "linear":
            warmup = schedule.warmup_epochs * per_epoch
            rates = []
            for t in range(STEPS):
                if t < warmup:
                    rates.append(peak * (t + 1) / warmup)
                else:
                    share = (t - warmup) / (STEPS - warmup)
                    if schedule.kind == "cosine":
                        height = (1 + math.cos(math.pi * share)) / 2
                    else:
                        height = 1 - share
                    rates.append(peak * (schedule.floor + (1 - schedule.floor) * height))
            return rates
        case "one_cycle":
            optimizer = torch.optim.SGD([torch.zeros(1)], lr=peak)
            scheduler = torch.optim.lr_scheduler.OneCycleLR(
                optimizer,
                max_lr=peak,
                total_steps=STEPS,
                pct_start=schedule.warmup,
                anneal_strategy="cos",
                cycle_momentum=False,
                div_factor=schedule.start_divisor,
                final_div_factor=schedule.end_divisor,
            )
            rates = []
            for t in range(STEPS):
                rates.append(optimizer.param_groups[0]["lr"])
                optimizer.step()
                if t + 1 < STEPS:
                    scheduler.step()
            return rates


def make_optimizer(settings, parameters):
    """PyTorch's optimiser for the settings."""
    if settings.kind == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=settings.lr,
            momentum=settings.momentum,
            nesterov=settings.nesterov,
            weight_decay=settings.weight_decay,
        )
    kind = torch.optim.Adam if settings.kind == "adam" else torch.optim.AdamW
    return kind(
        parameters,
        lr=settings.lr,
        betas=tuple(settings.betas),
        eps=settings.epsilon,
        weight_decay=settings.weight_decay,
    )


def train(case, net, images, targets, feedback):
    """Ten steps; gives the curve of `L_g`, the leaders of each step and how clear they were."""
    groups = methods.trained_groups(case, net)
    parameters = {n: p for group in groups.values() for n, p in group.items()}
    output = [p for n, p in parameters.items() if n.startswith("output.")]
    units = [p for n, p in parameters.items() if not n.startswith("output.")]
    by_part = [{"params": units, "factor": 1.0}]
    by_part.append({"params": output, "factor": case.training.output_lr_factor})
    optimizer = make_optimizer(case.training.optimizer, by_part)
    state = methods.EpochState(steps_per_epoch=STEPS // case.training.epochs, seed=SEED)
    result = SimpleNamespace(curve=[], leaders=[], kinks=[], ties=[], clipped=[])
    for rate, batch, target in zip(learning_rates(case), images, targets, strict=True):
        step = methods.step(case, net, batch, target, state, feedback)
        state.step += 1
        result.curve.append(step.output_loss)
        result.leaders.append([u.leaders.mask.flatten(1) for u in step.units])
        result.kinks.append(net.nearest_kink())
        result.ties += [u.leaders.margin for u in step.units]
        for name, parameter in parameters.items():
            parameter.grad = step.gradients[name]
        if case.training.clip_norm is not None:
            for group in groups.values():
                norm = torch.nn.utils.clip_grad_norm_(group.values(), case.training.clip_norm)
                result.clipped.append(norm.item() > case.training.clip_norm)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        optimizer.step()
    result.trained = parameters
    return result
