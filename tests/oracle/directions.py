"""Random directions, and derivatives along them in PyTorch's forward mode.

The random numbers are those of the Rust crates, computed once more from their definition: Philox
4x32-10 (Salmon et al., SC 2011) keyed by seed, epoch, step and stream, and the Box-Muller transform.
"""

import math
import re

import numpy as np
import torch
from torch.autograd import forward_ad
from torch.func import functional_call

PERTURB = 6  # the purpose of these streams


def philox(counter, key):
    """Ten rounds on arrays of counters `[4][n]` (numbers below 2^32 as uint64)."""
    low = np.uint64(0xFFFFFFFF)
    counter = [np.asarray(word, np.uint64) for word in counter]
    k0, k1 = key
    for _ in range(10):
        a = counter[0] * np.uint64(0xD2511F53)
        b = counter[2] * np.uint64(0xCD9E8D57)
        counter = [
            (b >> np.uint64(32)) ^ counter[1] ^ np.uint64(k0),
            b & low,
            (a >> np.uint64(32)) ^ counter[3] ^ np.uint64(k1),
            a & low,
        ]
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return counter


def normal(count, now, stream):
    """`count` standard normal numbers of a stream; `now` is (seed, epoch, step)."""
    seed, epoch, step = now
    blocks = np.arange((count + 3) // 4)
    fixed = [np.full_like(blocks, word) for word in (step, epoch, PERTURB << 24 | stream)]
    words = philox([blocks, *fixed], (seed % 2**32, seed >> 32))
    units = [(word >> np.uint64(8)).astype(np.float64) / 2**24 for word in words]
    drawn = []
    for a, b in (units[:2], units[2:]):
        radius, angle = np.sqrt(-2 * np.log1p(-a)), 2 * math.pi * b
        drawn += [radius * np.cos(angle), radius * np.sin(angle)]
    return np.stack(drawn, axis=1).reshape(-1)[:count]


def direction(shape, now, stream, dtype):
    """A direction for a tensor; images and convolution weights are drawn channels last."""
    values = torch.from_numpy(normal(math.prod(shape), now, stream)).to(dtype)
    if len(shape) != 4:
        return values.reshape(shape)
    a, channels, height, width = shape
    return values.reshape(a, height, width, channels).permute(0, 3, 1, 2).contiguous()


def layers_with_parameters(module, prefix, readouts):
    """Names and modules that have parameters of their own, in the order of the streams: the layers
    of a unit or block, then its heads; an output layer's linear map comes last."""
    found = []
    for name, layer in module.named_modules():
        full = f"{prefix}.{name}" if name else prefix
        of_head = full.endswith(".readout") or re.match(r"unit\d+\.(head\d+|similarity)\.", full)
        if list(layer.parameters(recurse=False)) and (readouts or not of_head):
            found.append((full, layer))
    return sorted(found, key=lambda pair: pair[0] == "output")


class Directions:
    """Numbers the streams of one step."""

    def __init__(self, now):
        self.now = now
        self.drawn = {}
        self.places = {}
        """The module whose output a direction is added to, by the direction."""

    def draw(self, name, like):
        u = direction(tuple(like.shape), self.now, len(self.drawn), like.dtype)
        self.drawn[name] = u
        return u


def perturb_weights(parts, loss_terms, directions):
    """The forward gradient of each parameter of the parts `(prefix, module, readouts)`.

    `loss_terms(call)` gives the loss as a sum of terms, one of each sample and perhaps one of the
    batch as a whole; `call(module, x)` runs a part.
    """
    along = {}
    for prefix, module, readouts in parts:
        along[module] = {}
        for name, layer in layers_with_parameters(module, prefix, readouts):
            for own, parameter in layer.named_parameters(recurse=False):
                full = f"{name}.{own}"
                local = full.removeprefix(f"{prefix}.")
                along[module][local] = (full, parameter, directions.draw(full, parameter))

    with torch.no_grad(), forward_ad.dual_level():

        def call(module, x):
            dual = {
                local: forward_ad.make_dual(parameter.detach(), v)
                for local, (_, parameter, v) in along[module].items()
            }
            return functional_call(module, dual, (x,))

        derivative = forward_ad.unpack_dual(loss_terms(call)).tangent.sum()
    drawn = [entry for module in along.values() for entry in module.values()]
    return {full: derivative * v for full, _, v in drawn}, derivative


def kept_outputs(modules, run):
    """What `run` gives, and the outputs of modules in it, by module."""
    outputs = {}

    def hook(module, _inputs, output):
        outputs[module] = output

    hooks = [module.register_forward_hook(hook) for module in modules]
    given = run()
    for hook in hooks:
        hook.remove()
    return given, outputs


def in_parts(x):
    """A tensor as `[examples, channels, positions]`."""
    return x.reshape(len(x), x.shape[1] if x.dim() > 1 else 1, -1)


def exact_parameters(parts, places):
    """Parameters that no direction reaches: those of readouts, by name."""
    reached = {layer for place in places for layer in (place.layer, place.place)}
    exact = {}
    for prefix, module, readouts in parts:
        for name, layer in layers_with_parameters(module, prefix, readouts):
            if layer not in reached:
                exact |= {f"{name}.{n}": p for n, p in layer.named_parameters(recurse=False)}
    return exact


def perturb_outputs(parts, loss_terms, directions, places):
    """As above, with directions added to the outputs at `places`, and exact gradients of readouts."""
    order = [name for prefix, module, _ in parts for name, _ in layers_with_parameters(module, prefix, True)]
    places = sorted(places, key=lambda place: order.index(place.name))
    call = lambda module, x: module(x)

    # Values without directions, for the exact gradients and the layers' own rules.
    cuts = list({cut: None for place in places for cut, _ in place.cuts})
    gates = [place.gate for place in places if place.gate is not None]
    watched = {*cuts, *gates, *(place.place for place in places)}
    terms, outputs = kept_outputs(watched, lambda: loss_terms(call))
    for place in places:
        directions.draw(place.name, outputs[place.place])
        directions.places[place.name] = place.place_name

    # The second pass must not move running statistics once more.
    owners = [owner for _, module, _ in parts for owner in module.modules()]
    running = [(owner, name, b) for owner in owners for name, b in owner.named_buffers("", False)]
    for owner, name, buffer in running:
        setattr(owner, name, buffer.clone())
    with torch.no_grad(), forward_ad.dual_level():
        zero = torch.zeros((), dtype=terms.dtype)
        step = forward_ad.make_dual(zero, torch.ones_like(zero))

        def add(name):
            return lambda _module, _inputs, output: output + step * directions.drawn[name]

        hooks = [place.place.register_forward_hook(add(place.name)) for place in places]
        moved, at_cuts = kept_outputs(cuts, lambda: loss_terms(call))
        for hook in hooks:
            hook.remove()
        tangent_of = lambda x: forward_ad.unpack_dual(x).tangent
        tangent, tangents = tangent_of(moved), {cut: tangent_of(x) for cut, x in at_cuts.items()}
    for owner, name, buffer in running:
        setattr(owner, name, buffer)
    tangent = torch.zeros_like(terms) if tangent is None else tangent

    gradients = {}
    for place in places:
        u, output = directions.drawn[place.name], outputs[place.place]
        coupled = tangent[len(u) :].sum()
        factor = parted_derivative(place, u, terms, coupled, outputs, tangents)
        shape = in_parts(u).shape
        factor = factor.repeat_interleave(shape[1] // factor.shape[1], 1).expand(shape)
        estimate = (factor * in_parts(u)).reshape(u.shape)
        if place.gate is not None:
            estimate = estimate * (outputs[place.gate] > 0)
        own = {}
        for name, layer in ((place.name, place.layer), (place.place_name, place.place)):
            own |= {f"{name}.{n}": p for n, p in layer.named_parameters(recurse=False)}
        values = torch.autograd.grad(output, list(own.values()), estimate, retain_graph=True)
        gradients |= dict(zip(own, values, strict=True))
    exact = exact_parameters(parts, places)
    if exact:
        values = torch.autograd.grad(terms.sum(), list(exact.values()), retain_graph=True)
        gradients |= dict(zip(exact, values, strict=True))
    return gradients, tangent.sum()


def parted_derivative(place, u, terms, coupled, outputs, tangents):
    """The derivative of the loss that each part of an output has: `[examples, groups, positions]`, 1 where they have one
    together."""
    examples_meet, positions_meet, groups = place.behind
    products = []
    for cut, _ in place.cuts:
        value = outputs[cut]
        [gradient] = torch.autograd.grad(terms.sum(), value, retain_graph=True)
        products.append(in_parts(gradient * tangents[cut]))
    _, channels, positions = in_parts(u).shape
    own = {count for _, count in place.cuts}
    groups = groups or (own.pop() if len(own) == 1 else 1)
    fits = all(product.shape[1] % groups == 0 for product in products)
    if channels % groups or not fits or examples_meet and place.coupled:
        groups = 1
    apart = not positions_meet and all(p.shape[2] == positions for p in products)
    total = 0
    for product in products:
        product = product.unflatten(1, (groups, -1)).sum(2)
        if examples_meet or not apart:
            product = product.sum(2, keepdim=True)
        total = total + (product.sum(0, keepdim=True) if examples_meet else product)
    if place.coupled:
        total = total + coupled
    return torch.as_tensor(total).reshape(1, 1, 1) if not products else total
