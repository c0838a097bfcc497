"""Where the outputs of layers are perturbed, and how finely a derivative along the directions falls apart.

A layer with weights is perturbed behind the normalisation that follows it. The derivative is taken at a *cut*, the
input of a readout, where the exact gradient of the loss is known. What lies between a perturbed output and its cuts
decides whether examples, positions and groups of channels have derivatives of their own.
"""

import math
from dataclasses import dataclass

from torch import nn

from network import (
    Bias,
    GroupedLinear,
    LayerNorm,
    Patches,
    Relu,
    Residual,
    RunSoftmax,
    TokenMixing,
)

WEIGHTS = (nn.Conv2d, nn.Linear, GroupedLinear)
NORMALIZATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, LayerNorm)
NOTHING = (False, False, None)
"""Whether examples and positions meet, and into how many groups of channels a layer divides, if it does."""


@dataclass
class Place:
    """A perturbed output."""

    name: str
    layer: nn.Module
    """The layer with weights."""
    behind: tuple
    """What meets between the output and the cuts."""
    place_name: str
    place: nn.Module
    """The layer itself, or the normalisation behind it."""
    gate: nn.Module | None
    """The ReLU that the output passes, if it passes one at once."""
    cuts: list
    """The cuts that it leads to, each with its groups."""
    coupled: bool
    """Whether it leads to a loss that compares examples."""


def join(*all_meet):
    """What meets in any of several layers."""
    groups = [g for _, _, g in all_meet if g is not None]
    examples, positions = (any(meet[i] for meet in all_meet) for i in (0, 1))
    return examples, positions, math.gcd(*groups) if groups else None


def meet(module):
    """What meets in one layer."""
    match module:
        case nn.Conv2d():
            pointwise = (module.kernel_size, module.stride) == ((1, 1), (1, 1))
            alone = pointwise and module.padding in (0, (0, 0))
            return False, not alone, module.groups
        case nn.Linear():
            return False, False, 1
        case TokenMixing():
            return False, True, None
        case GroupedLinear() | LayerNorm():
            return False, False, module.groups
        case Patches():
            return False, True, 1
        case RunSoftmax():
            return False, False, module.runs
        case nn.BatchNorm1d() | nn.BatchNorm2d():
            return True, True, None
        case Residual():
            return join(meet_in(module.body), meet_in(module.shortcut))
        case nn.MaxPool2d() | nn.AvgPool2d() | nn.AdaptiveAvgPool2d() | nn.Flatten():
            return False, True, None
        case nn.ReLU() | nn.Sigmoid() | nn.Tanh() | nn.Identity() | Bias():
            return NOTHING
    raise TypeError(f"what meets in {module}?")


def meet_in(modules):
    """What meets in layers one after the other."""
    return join(NOTHING, *map(meet, modules))


def in_layers(modules, prefix, behind, gate, lead):
    """The places in layers one after the other, named `{prefix}1`, …; `lead` is what they lead to."""
    found = []
    for index in reversed(range(len(modules))):
        module, following = modules[index], modules[index + 1 :]
        name, later = f"{prefix}{index + 1}", join(behind, meet_in(following))
        next_one = following[0] if following else None
        own_gate = gate if next_one is None else next_one if isinstance(next_one, Relu) else None
        before = modules[index - 1] if index else None
        if isinstance(module, Residual):
            found += in_layers(module.body, f"{name}.body", later, own_gate, lead)
            found += in_layers(module.shortcut, f"{name}.shortcut", later, own_gate, lead)
        elif isinstance(module, NORMALIZATIONS) and isinstance(before, WEIGHTS):
            weighted = (f"{prefix}{index}", before)
            found.append(Place(*weighted, later, name, module, own_gate, *lead))
        elif isinstance(module, WEIGHTS) and isinstance(next_one, NORMALIZATIONS):
            continue
        elif list(module.parameters(recurse=False)):
            found.append(Place(name, module, later, name, module, own_gate, *lead))
    return found


def branches(unit, name):
    """The layers that a unit's features come from: lists of layers and what their names begin with."""
    if unit.workers.kind == "block":
        blocks = enumerate(unit.blocks, start=1)
        return [(block.layers, f"{name}.block{n}.layer", block) for n, block in blocks]
    return [(unit.layers, f"{name}.layer", unit)]


def in_branches(unit, name, behind, leads):
    """The places in a unit's own layers; `leads` says for each branch what it leads to."""
    found = []
    for (layers, prefix, _), lead in zip(branches(unit, name), leads, strict=True):
        inside = behind
        if unit.workers.kind == "neurons":
            inside = join(behind, meet(unit.neurons))
            neurons = (f"{name}.neurons", unit.neurons)
            found.append(Place(*neurons, behind, *neurons, None, *lead))
        found += in_layers(layers, prefix, inside, None, lead)
    return found


def of_local_losses(unit, name):
    """The places in a unit that learns from losses of its own."""
    kind, coupled = unit.workers.kind, unit.matching is not None
    behind, found = NOTHING, []
    if kind == "heads":
        behind = join(NOTHING, *(meet_in(head.layers) for head in unit.heads))
        leads = [([(head.cut, 1) for head in unit.heads], coupled)]
        numbers = [n for n, _ in unit.named_children() if n.startswith("head")]
        for number, head in zip(numbers, unit.heads, strict=True):
            lead = ([(head.cut, 1)], False)
            found += in_layers(head.layers, f"{name}.{number}.layer", NOTHING, None, lead)
    else:
        groups = 1 if kind == "block" else unit.nets * unit.count
        leads = [([(owner.cut, groups)], coupled) for *_, owner in branches(unit, name)]
    if coupled:
        behind = (True, *behind[1:])
        lead = ([], True)
        whole = (True, True, 1)
        layers = unit.similarity.layers
        found += in_layers(layers, f"{name}.similarity.layer", whole, None, lead)
    return found + in_branches(unit, name, behind, leads)


def of_global_loss(net):
    """The places in a network that learns from the global loss."""
    lead = ([(net.output.cut, net.output.groups)], False)
    found = in_layers(net.output.layers, "output.layer", NOTHING, None, lead)
    behind = meet_in(net.output.layers)
    for number, unit in reversed(list(enumerate(net.units, start=1))):
        handed_on = meet_in(unit.transition)
        own = branches(unit, f"unit{number}")
        if unit.workers.kind == "neurons":
            runs = unit.nets * unit.count
            softmax = unit.workers.output_activation == "output" and unit.width > 1
            if softmax and not unit.regression:
                handed_on = join(handed_on, (False, False, runs))
        elif len(own) > 1:
            handed_on = join(handed_on, (False, False, 1))
        behind = join(behind, handed_on)
        found += in_branches(unit, f"unit{number}", behind, [lead] * len(own))
        inside = [meet_in(layers) for layers, *_ in own]
        if unit.workers.kind == "neurons":
            inside.append(meet(unit.neurons))
        behind = join(behind, *inside)
    return found


def of_output(output):
    """The places in an output layer that learns from the global loss alone."""
    lead = ([(output.cut, output.groups)], False)
    return in_layers(output.layers, "output.layer", NOTHING, None, lead)
