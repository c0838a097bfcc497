"""Networks of units and workers as PyTorch modules, built from a configuration.

Modules are named so that `named_parameters` gives the names of the saved vectors:
`unit2.layer1.weight`, `unit1.block3.readout.bias`, `output.weight`. Positions count from 1.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F


class Relu(nn.ReLU):
    """ReLU that remembers how near its input came to the kink."""

    margin = math.inf

    def forward(self, x):
        size = x.detach().abs()
        self.margin = torch.where(size == 0, math.inf, size).min().item()
        return super().forward(x)


class MaxPool(nn.MaxPool2d):
    """Maximum over windows that remembers the smallest lead of a maximum.

    Equal values do not count: they come from zeros of a ReLU, whose derivative is 0 whichever of
    them is taken.
    """

    margin = math.inf

    def forward(self, x):
        (above, left), (rows, columns) = self.padding, self.kernel_size
        padded = F.pad(x.detach(), [left, left, above, above], value=-math.inf)
        windows = padded.unfold(2, rows, self.stride[0])
        windows = windows.unfold(3, columns, self.stride[1]).flatten(4)
        first, second = windows.topk(2, dim=-1).values.unbind(-1)
        lead = first - second
        self.margin = torch.where(lead == 0, math.inf, lead).min().item()
        return super().forward(x)


class Cut(nn.Module):
    """What readouts see passes it unchanged, as a tensor of its own: another readout may see the same."""

    def forward(self, x):
        return x.clone()


class RunSoftmax(nn.Module):
    """Softmax over each run of `width` features of a vector."""

    def __init__(self, width, runs):
        super().__init__()
        self.width, self.runs = width, runs

    def forward(self, x):
        return x.unflatten(1, (-1, self.width)).softmax(-1).flatten(1)


class Bias(nn.Module):
    """A number added to each channel."""

    def __init__(self, channels):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        return x + self.bias.reshape(-1, *[1] * (x.dim() - 2))


class Residual(nn.Module):
    """`body(x) + shortcut(x)`; an empty shortcut is the identity."""

    def __init__(self, layer, shape):
        super().__init__()
        self.body = attach(self, "body", layer.body, shape)
        self.shortcut = attach(self, "shortcut", layer.shortcut, shape)

    def forward(self, x):
        return apply(self.body, x) + apply(self.shortcut, x)


class GroupedLinear(nn.Module):
    """Independent linear maps: group i maps its own features to its own outputs."""

    def __init__(self, groups, features, outputs):
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(torch.zeros(groups * outputs, features))
        self.bias = nn.Parameter(torch.zeros(groups * outputs))

    def product(self, x, weight):
        x = x.unflatten(1, (self.groups, -1))
        weight = weight.unflatten(0, (self.groups, -1))
        return torch.einsum("bgi,goi->bgo", x, weight).flatten(1)

    def seen(self, x):
        """What is multiplied by the weight."""
        return x

    def forward(self, x):
        return self.product(self.seen(x), self.weight) + self.bias


class TokenMixing(GroupedLinear):
    """A linear map over the positions of an image, shared by all channels."""

    def __init__(self, positions, bias):
        super().__init__(1, positions, positions)
        if not bias:
            self.bias = None

    def product(self, x, weight):
        return torch.einsum("bcq,pq->bcp", x.flatten(2), weight).unflatten(2, x.shape[2:])

    def forward(self, x):
        y = self.product(x, self.weight)
        return y if self.bias is None else y + self.bias.reshape(x.shape[2:])


class Patches(nn.Module):
    """Patches as positions, with channels in the order (row, column, channel)."""

    def __init__(self, size):
        super().__init__()
        self.size = size

    def forward(self, x):
        rows, columns = self.size
        x = x.unflatten(3, (-1, columns)).unflatten(2, (-1, rows))
        return x.permute(0, 3, 5, 1, 2, 4).flatten(1, 3)


class LayerNorm(nn.Module):
    """Normalisation over the channels of a position, group by group."""

    def __init__(self, channels, groups, epsilon, affine):
        super().__init__()
        self.groups, self.epsilon = groups, epsilon
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None

    def forward(self, x):
        x = x.movedim(1, -1).unflatten(-1, (self.groups, -1))
        x = F.layer_norm(x, x.shape[-1:], eps=self.epsilon).flatten(-2)
        x = x if self.weight is None else x * self.weight + self.bias
        return x.movedim(-1, 1)


def make_layer(layer, shape):
    """The module of one layer whose input has this shape (without the batch)."""
    match layer.kind:
        case "conv":
            return nn.Conv2d(
                shape[0],
                layer.filters,
                layer.kernel,
                stride=layer.stride,
                padding=layer.padding,
                groups=layer.groups,
                bias=layer.bias,
            )
        case "linear":
            assert len(shape) == 1, "a linear layer takes a vector"
            return nn.Linear(shape[0], layer.features, bias=layer.bias)
        case "token_mixing":
            _, height, width = shape
            return TokenMixing(height * width, layer.bias)
        case "bias":
            return Bias(shape[0])
        case "relu":
            return Relu()
        case "sigmoid":
            return nn.Sigmoid()
        case "tanh":
            return nn.Tanh()
        case "softmax":
            assert len(shape) == 1, "softmax takes a vector"
            return RunSoftmax(layer.width, shape[0] // layer.width)
        case "max_pool":
            return MaxPool(layer.kernel, layer.stride or layer.kernel, layer.padding)
        case "avg_pool":
            return nn.AvgPool2d(layer.kernel, layer.stride or layer.kernel, layer.padding)
        case "adaptive_avg_pool":
            return nn.AdaptiveAvgPool2d(layer.grid)
        case "global_avg_pool":
            return nn.AdaptiveAvgPool2d(1)
        case "batch_norm":
            kind = nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d
            return kind(shape[0], eps=layer.epsilon, momentum=layer.momentum)
        case "layer_norm":
            return LayerNorm(shape[0], layer.groups, layer.epsilon, layer.affine)
        case "dropout":
            assert layer.rate == 0, "random streams differ between implementations"
            return nn.Identity()
        case "flatten":
            return nn.Flatten()
        case "patches":
            return Patches(layer.size)
        case "residual":
            return Residual(layer, shape)


def attach(owner, prefix, layers, shape):
    """Adds layers to a module as `{prefix}1`, `{prefix}2`, … and gives them as a list."""
    modules = []
    for j, layer in enumerate(layers, start=1):
        module = make_layer(layer, shape)
        owner.add_module(f"{prefix}{j}", module)
        shape = output_shape([module], shape)
        modules.append(module)
    return modules


def apply(modules, x):
    """The modules one after the other."""
    for module in modules:
        x = module(x)
    return x


def output_shape(modules, shape):
    """What becomes of a shape; leaves running statistics as they are."""
    with torch.no_grad():
        for module in modules:
            module.eval()
        x = apply(modules, torch.zeros(2, *shape))
        for module in modules:
            module.train()
    return tuple(x.shape[1:])


def pool_to_grid(a, grid):
    """Features as readouts see them: an image pooled to a grid, then a vector, channels first."""
    if grid is not None and a.dim() == 4:
        a = F.adaptive_avg_pool2d(a, grid)
    return a.flatten(1)


class Unit(nn.Module):
    """A hidden unit.

    `forward` gives what the unit hands on, before `transition`, and the workers' logits
    `[batch, nets, workers, width]`; and what similarity matching compares, `[batch, features]`, or
    none. `pass_on` applies `transition`. What readouts see passes a module `cut`.
    """

    def __init__(self, config, shape, heads, input_groups):
        super().__init__()
        self.workers = config.workers
        self.nets, self.width = heads
        self.count = self.workers.count
        self.cut = Cut()
        match self.workers.kind:
            case "neurons":
                shape = self.add_layers(config, shape)
                assert len(shape) == 1, "neurons take a vector"
                outputs = self.nets * self.count * self.width
                self.neurons = GroupedLinear(
                    input_groups, shape[0] // input_groups, outputs // input_groups
                )
                self.relu = Relu()
                shape = (outputs,)
            case "filters":
                shape = self.add_layers(config, shape)
                assert len(shape) == 3 and shape[0] % (self.count * self.width) == 0
            case "readout":
                shape = self.add_layers(config, shape)
                assert shape[0] % self.count == 0
                features = pool_to_grid(torch.zeros(1, *shape), self.workers.grid).shape[1]
                self.readout = GroupedLinear(self.count, features // self.count, self.width)
            case "heads":
                shape = self.add_layers(config, shape)
                self.heads, worker = [], 1
                for head in self.workers.heads:
                    assert head.dropout == 0
                    # Heads without layers see the same numbers: one linear map.
                    alone = bool(head.layers)
                    for _ in range(head.count if alone else 1):
                        one = nn.Module()
                        one.cut = Cut()
                        one.grid, one.count = head.grid, 1 if alone else head.count
                        one.layers = attach(one, "layer", head.layers, shape)
                        seen = output_shape(one.layers, shape)
                        features = pool_to_grid(torch.zeros(1, *seen), head.grid).shape[1]
                        one.readout = GroupedLinear(1, features, one.count * self.width)
                        self.add_module(f"head{worker}", one)
                        self.heads.append(one)
                        worker += one.count
            case "block":
                self.blocks = []
                for n in range(1, self.count + 1):
                    block = nn.Module()
                    block.cut = Cut()
                    block.layers = attach(block, "layer", config.layers, shape)
                    one = output_shape(block.layers, shape)
                    features = pool_to_grid(torch.zeros(1, *one), self.workers.grid).shape[1]
                    block.readout = GroupedLinear(1, features, self.width)
                    self.add_module(f"block{n}", block)
                    self.blocks.append(block)
                shape = (self.count * one[0], *one[1:])
        self.matching = config.similarity
        if self.matching is not None:
            self.similarity = nn.Module()
            self.similarity.layers = attach(
                self.similarity, "layer", config.similarity.layers, shape
            )
        assert self.workers.kind in ("neurons", "filters", "heads") or self.workers.dropout == 0
        assert self.workers.kind == "neurons" or self.nets == 1
        self.transition = attach(self, "transition", config.transition, shape)
        assert not any(p.numel() for m in self.transition for p in m.parameters())
        self.shape = output_shape(self.transition, shape)

    def add_layers(self, config, shape):
        self.layers = attach(self, "layer", config.layers, shape)
        return output_shape(self.layers, shape)

    def pass_on(self, handed_on):
        return apply(self.transition, handed_on)

    def forward(self, x):
        features, output, z = self.parts(x)
        if self.matching is None or not self.predicts:
            return output, z, None
        h = apply(self.similarity.layers, features)
        several = math.prod(h.shape[2:]) > 1
        return output, z, h.flatten(2).std(2) if several else h.flatten(1)

    def parts(self, x):
        """The features, what the unit hands on, and the workers' logits."""
        match self.workers.kind:
            case "neurons":
                z = self.cut(self.neurons(apply(self.layers, x)))
                z = z.unflatten(1, (self.nets, self.count, self.width))
                match self.workers.output_activation:
                    case "output" if self.width > 1 and not self.regression:
                        h = z.softmax(-1)
                    case "output" if not self.regression:
                        h = z.sigmoid()
                    case "output":
                        h = z
                    case "relu":
                        h = self.relu(z)
                    case "sigmoid":
                        h = z.sigmoid()
                    case "tanh":
                        h = z.tanh()
                return z.flatten(1), h.flatten(1), z
            case "filters":
                a = apply(self.layers, x)
                # Worker n owns r · width consecutive filters; filter j of them speaks for class
                # j mod width.
                groups = self.cut(a).unflatten(1, (self.count, -1, self.width))
                z = self.workers.scale * groups.mean((2, 4, 5))
                return a, a, z.unsqueeze(1)
            case "readout":
                a = apply(self.layers, x)
                z = self.readout(pool_to_grid(self.cut(a), self.workers.grid))
                return a, a, z.unflatten(1, (1, self.count, self.width))
            case "heads":
                a = apply(self.layers, x)
                if not self.predicts:
                    return a, a, None
                seen = [pool_to_grid(h.cut(apply(h.layers, a)), h.grid) for h in self.heads]
                z = [h.readout(x) for h, x in zip(self.heads, seen, strict=True)]
                return a, a, torch.cat(z, 1).unflatten(1, (1, self.count, self.width))
            case "block":
                parts = [apply(block.layers, x) for block in self.blocks]
                z = [
                    block.readout(pool_to_grid(block.cut(a), self.workers.grid))
                    for block, a in zip(self.blocks, parts, strict=True)
                ]
                a = torch.cat(parts, 1)
                return a, a, torch.stack(z, 1).unsqueeze(1)


class Output(GroupedLinear):
    """The output layer: its `layers`, then a linear map for each net."""

    def __init__(self, config, shape, nets, width):
        layers = nn.Module()
        modules = attach(layers, "layer", config.layers, shape)
        features = math.prod(output_shape(modules, shape))
        super().__init__(nets, features // nets, width)
        for name, module in layers.named_children():
            self.add_module(name, module)
        self.layers, self.cut = modules, Cut()

    def seen(self, x):
        return self.cut(apply(self.layers, x).flatten(1))


class Network(nn.Module):
    """Hidden units `unit1`, `unit2`, … and the output layer."""

    def __init__(self, case):
        super().__init__()
        config = case.network
        self.nets = case.classes if config.task == "one_vs_all" else 1
        self.width = 1 if config.task in ("one_vs_all", "binary") else case.classes
        self.units = []
        shape = tuple(case.input)
        for i, unit_config in enumerate(config.units, start=1):
            groups = 1 if i == 1 else self.nets
            unit = Unit(unit_config, shape, (self.nets, self.width), groups)
            unit.regression = config.task == "regression"
            # Heads that no loss asks are not computed: running statistics in them stay.
            unit.predicts = case.method not in ("bp", "fa", "dfa", "fg-w", "fg-a")
            self.add_module(f"unit{i}", unit)
            self.units.append(unit)
            shape = unit.shape
        self.output = Output(config.output, shape, self.nets, self.width)

    def forward(self, x):
        """Logits `[batch, nets · width]`, with derivatives through everything."""
        for unit in self.units:
            handed_on, *_ = unit(x)
            x = unit.pass_on(handed_on)
        return self.output(x)

    def nearest_kink(self):
        """How near the last forward pass came to a kink of a ReLU or a tie of a maximum."""
        watched = (m for m in self.modules() if isinstance(m, (Relu, MaxPool)))
        return min((m.margin for m in watched), default=math.inf)

    def tensors(self):
        """Parameters and running statistics by name."""
        skip = "num_batches_tracked"
        return {name: t for name, t in self.state_dict().items() if not name.endswith(skip)}

    def running(self):
        """Running statistics by name."""
        return {n: t for n, t in self.tensors().items() if ".running_" in n}

    def group(self, name):
        """Parameters of `unit1`, `unit2`, … or `output` by full name."""
        module = getattr(self, name)
        return {f"{name}.{n}": p for n, p in module.named_parameters()}
