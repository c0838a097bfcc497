"""Networks and training steps in PyTorch, from the configuration that `lfnn-cli bench --json` prints.

A step does the same mathematics as lfnn's: layers, workers, losses, leaders, optimiser, statistics of batch
normalisation. Leaders are chosen on the device and nothing returns to the host, so a step can be compiled and
captured. What these networks leave out (dropout, leaders of epochs or samples, tasks other than classification) is
refused.
"""

import torch
from torch import nn
from torch.nn import functional as F


def kind_of(layer):
    """Name and settings: `relu`, or `{conv: {…}}`."""
    return (layer, {}) if isinstance(layer, str) else next(iter(layer.items()))


class Residual(nn.Module):
    def __init__(self, body, shortcut, shape):
        super().__init__()
        self.body = layers(body, shape)
        self.shortcut = layers(shortcut or [], shape)

    def forward(self, x):
        return self.body(x) + self.shortcut(x)


def layer(given, shape):
    """The module of a layer whose input has this shape, without the batch."""
    name, of = kind_of(given)
    match name:
        case "conv":
            return nn.Conv2d(
                shape[0],
                of["filters"],
                of["kernel"],
                stride=of.get("stride", 1),
                padding=of.get("padding", 0),
                groups=of.get("groups", 1),
                bias=of.get("bias", True),
            )
        case "linear":
            return nn.Linear(shape[0], of["features"], bias=of.get("bias", True))
        case "batch_norm":
            norm = nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d
            return norm(shape[0], eps=of.get("epsilon", 1e-5), momentum=of.get("momentum", 0.1))
        case "relu":
            return nn.ReLU()
        case "max_pool":
            return nn.MaxPool2d(of["kernel"], of.get("stride") or of["kernel"], of.get("padding", 0))
        case "avg_pool":
            return nn.AvgPool2d(of["kernel"], of.get("stride") or of["kernel"], of.get("padding", 0))
        case "adaptive_avg_pool":
            return nn.AdaptiveAvgPool2d(of["grid"])
        case "global_avg_pool":
            return nn.AdaptiveAvgPool2d(1)
        case "flatten":
            return nn.Flatten()
        case "residual":
            return Residual(of["body"], of.get("shortcut"), shape)
    raise ValueError(f"layer `{name}` is not among those that are compared")


def after(module, shape):
    """What becomes of a shape."""
    with torch.no_grad():
        return tuple(module.eval()(torch.zeros(1, *shape)).shape[1:])


def layers(given, shape):
    """Layers one after the other."""
    modules = []
    for one in given:
        modules.append(layer(one, shape))
        shape = after(modules[-1], shape)
    return nn.Sequential(*modules)


class Unit(nn.Module):
    """A hidden unit: what it hands on, and its workers' logits `[batch, workers, classes]`."""

    def __init__(self, given, shape, classes):
        super().__init__()
        kind, workers = kind_of(given["workers"])
        if kind not in ("readout", "block"):
            raise ValueError(f"workers `{kind}` with {workers} are not among those that are compared")
        self.count, self.grid = workers.get("count", 1), workers.get("grid")
        if kind == "block" and self.count != 1:
            raise ValueError("several blocks are not compared")
        self.classes = classes
        self.dropout = nn.Dropout(workers.get("dropout", 0.0))
        self.layers = layers(given["layers"], shape)
        shape = after(self.layers, shape)
        features = shape[0] * (self.grid**2 if self.grid else shape[1] * shape[2])
        own = features // self.count
        self.weight = nn.Parameter(torch.empty(self.count, classes, own))
        self.bias = nn.Parameter(torch.zeros(self.count, classes))
        nn.init.uniform_(self.weight, -(own**-0.5), own**-0.5)
        self.then = layers(given.get("then") or [], shape)
        self.shape = after(self.then, shape)

    def predict(self, a):
        """A worker reads a run of channels of its own."""
        grid = F.adaptive_avg_pool2d(a, self.grid) if self.grid else a
        x = grid.flatten(1).unflatten(1, (self.count, -1))
        return torch.einsum("bwi,wki->bwk", self.dropout(x), self.weight) + self.bias


class Network(nn.Module):
    def __init__(self, configuration, image, classes):
        super().__init__()
        network = configuration["network"]
        if network.get("task", "classification") != "classification":
            raise ValueError("classification alone is compared")
        height, width, channels = image
        shape = (channels, height, width)
        units = []
        for given in network["units"]:
            units.append(Unit(given, shape, classes))
            shape = units[-1].shape
        self.units = nn.ModuleList(units)
        self.before = layers((network.get("output") or {}).get("layers") or [], shape)
        features = 1
        for extent in after(self.before, shape):
            features *= extent
        self.output = nn.Linear(features, classes)

    def logits(self, x):
        return self.output(self.before(x).flatten(1))


def choose(z, target, delta):
    """Each worker's mean error, who leads as ones and zeros, and the best worker, all on the device."""
    workers = z.shape[1]
    labels = target.unsqueeze(1).expand(-1, workers)
    errors = F.cross_entropy(z.transpose(1, 2), labels, reduction="none").mean(0)
    count = min(max(int(delta * workers + 0.5), 1), workers)
    order = errors.detach().argsort(stable=True)
    return errors, torch.zeros_like(errors).index_fill(0, order[:count], 1.0), order[:1]


def local_loss(z, errors, leads, best, leading, following):
    """The two local losses of a unit, each times its weight."""
    p = z.softmax(-1)
    distance = (p.detach().index_select(1, best) - p).square().mean(-1).mean(0)
    return leading * (leads * errors).sum() + following * ((1 - leads) * distance).sum()


def from_leaders(a, leads):
    """The same values, whose gradient reaches the leaders' channels alone."""
    mask = leads.repeat_interleave(a.shape[1] // len(leads)).reshape(-1, *[1] * (a.dim() - 2))
    mask = mask.to(a.dtype)
    return a * mask + (a * (1 - mask)).detach()


class Trainer:
    """Training steps of `bp`, `lfnn` or `lfnn-l` on a fixed batch of the device."""

    def __init__(self, described, device, dtype):
        configuration = described["configuration"]
        self.method, self.leadership = configuration["method"], dict(configuration["leadership"])
        if self.leadership.get("followers_relay"):
            raise ValueError("followers that relay are not compared")
        if self.leadership.get("scope", "batch") != "batch":
            raise ValueError("leaders of batches alone are compared")
        if self.leadership.get("reduction", "sum") != "sum" or self.leadership.get("align", "output") != "output":
            raise ValueError("sums over workers, and outputs that align, alone are compared")
        image, classes = described["image"], described["classes"]
        batch = configuration["training"]["batch_size"]
        torch.manual_seed(configuration.get("seed", 1))
        self.device, self.dtype = torch.device(device), dtype
        net = Network(configuration, image, classes).to(self.device).train()
        self.net = net.to(memory_format=torch.channels_last) if self.device.type == "cuda" else net
        height, width, channels = image
        x = torch.randn(batch, channels, height, width, device=self.device)
        self.x = x.to(memory_format=torch.channels_last) if self.device.type == "cuda" else x
        self.target = torch.randint(classes, (batch,), device=self.device)
        self.batch = batch
        name, of = kind_of(configuration["training"]["optimizer"])
        on_gpu = self.device.type == "cuda"
        parameters = list(self.net.parameters())
        if self.method == "bp":
            readouts = {id(p) for unit in self.net.units for p in (unit.weight, unit.bias)}
            parameters = [p for p in parameters if id(p) not in readouts]
        match name:
            case "sgd":
                self.optimizer = torch.optim.SGD(
                    parameters,
                    lr=of["lr"],
                    momentum=of.get("momentum", 0.0),
                    nesterov=of.get("nesterov", False),
                    weight_decay=of.get("weight_decay", 0.0),
                    fused=on_gpu,
                )
            case "adam" | "adamw":
                kind = torch.optim.AdamW if name == "adamw" else torch.optim.Adam
                self.optimizer = kind(
                    parameters,
                    lr=of["lr"],
                    betas=tuple(of.get("betas", (0.9, 0.999))),
                    eps=of.get("epsilon", 1e-8),
                    weight_decay=of.get("weight_decay", 0.0),
                    fused=on_gpu,
                    capturable=on_gpu,
                )
        if configuration["training"].get("clip_norm"):
            raise ValueError("clipped gradients are not compared")

    def losses(self, x, target):
        """The global loss, and the local losses of units that have them."""
        local, settings = [], self.leadership
        if self.method == "lfnn":
            weights = settings.get("lambda1", 1.0), settings.get("lambda2", 1.0)
        else:
            weights = 1.0, settings.get("lambda", 1.0)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            for unit in self.net.units:
                a = unit.layers(x)
                if self.method != "bp":
                    z = unit.predict(a).float()
                    errors, leads, best = choose(z, target, settings["delta"])
                    local.append(local_loss(z, errors, leads, best, *weights))
                if self.method == "lfnn":
                    a = from_leaders(a, leads)
                x = unit.then(a)
                if self.method == "lfnn-l":
                    x = x.detach()
            return F.cross_entropy(self.net.logits(x).float(), target), local

    def step(self):
        """A whole training step."""
        self.optimizer.zero_grad(set_to_none=False)
        loss, local = self.losses_of(self.x, self.target)
        if self.method == "lfnn":
            # A local loss changes its own unit and goes no further back.
            for unit, own in zip(self.net.units, local, strict=True):
                torch.autograd.backward(own, inputs=list(unit.parameters()), retain_graph=True)
            loss.backward()
        else:
            # Units of `lfnn-l` are cut from one another, so the sum has their own gradients.
            sum(local, loss).backward()
        self.optimizer.step()

    losses_of = losses

    def compiled(self):
        """Steps whose forward and backward passes PyTorch has compiled."""
        if self.method == "lfnn":
            # The backward pass is gone through once for each loss.
            import torch._functorch.config as settings

            settings.donated_buffer = False
        self.losses_of = torch.compile(self.losses)
        return self.step

    def captured(self):
        """Steps captured as a CUDA graph."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self.step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.step()
        return graph.replay
