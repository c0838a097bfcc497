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


def perturb_outputs(parts, loss_terms, directions):
    """As above, with directions added to the outputs of all layers with parameters."""
    layers = []
    for prefix, module, readouts in parts:
        layers += layers_with_parameters(module, prefix, readouts)
    call = lambda module, x: module(x)

    # Outputs without directions, for the layers' own rules, and whether samples meet behind them.
    outputs = {}

    def keep(name):
        def hook(_module, _inputs, output):
            outputs[name] = output

        return hook

    hooks = [layer.register_forward_hook(keep(name)) for name, layer in layers]
    terms = loss_terms(call)
    for hook in hooks:
        hook.remove()
    mixed = {}
    for name, _ in layers:
        [gradient] = torch.autograd.grad(terms[0], outputs[name], retain_graph=True)
        [whole] = torch.autograd.grad(
            terms[len(gradient) :].sum(), outputs[name], retain_graph=True, materialize_grads=True
        )
        mixed[name] = bool(gradient[1:].any() or whole.any())

    # Directions are numbered in the order of the layers, whatever order they run in.
    for name, _ in layers:
        directions.draw(name, outputs[name])
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

        hooks = [layer.register_forward_hook(add(name)) for name, layer in layers]
        tangent = forward_ad.unpack_dual(loss_terms(call)).tangent
        for hook in hooks:
            hook.remove()
    for owner, name, buffer in running:
        setattr(owner, name, buffer)

    gradients = {}
    for name, layer in layers:
        u = directions.drawn[name]
        own_terms = tangent[: len(u)].reshape(-1, *[1] * (u.dim() - 1))
        factor = tangent.sum() if mixed[name] else own_terms
        own = dict(layer.named_parameters(recurse=False))
        values = torch.autograd.grad(
            outputs[name], list(own.values()), factor * u, retain_graph=True
        )
        gradients |= {f"{name}.{n}": g for n, g in zip(own, values, strict=True)}
    return gradients, tangent.sum()
