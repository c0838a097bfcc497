"""Networks and training steps in PyTorch, from the configuration that `lfnn-cli bench --json` prints.

A step does the same mathematics as lfnn's: layers, workers, losses, leaders, optimiser, statistics of batch
normalisation; `check.py` compares them number by number. Leaders are chosen on the device and nothing returns to the
host, so a step can be compiled and captured. What the compared networks do without (leaders of epochs or samples, tasks
other than classification) is refused.
"""

from contextlib import nullcontext

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


def layer(given, shape, first):
    """The module of a layer whose input has this shape, without the batch; `first` in its chain or not."""
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
            # In place of what the layer before made; the input of a chain belongs to another.
            return nn.ReLU(inplace=not first)
        case "dropout":
            return nn.Dropout(of["rate"])
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
        modules.append(layer(one, shape, first=not modules))
        shape = after(modules[-1], shape)
    return nn.Sequential(*modules)


class Unit(nn.Module):
    """A hidden unit: its layers, what it hands on, and its workers' logits `[workers, batch, classes]`."""

    def __init__(self, given, shape, classes):
        super().__init__()
        self.kind, workers = kind_of(given["workers"])
        self.count, self.grid = workers.get("count", 1), workers.get("grid")
        self.layers = layers(given["layers"], shape)
        shape = after(self.layers, shape)
        match self.kind:
            case "neurons":
                if workers.get("output_activation", "output") != "output":
                    raise ValueError("neurons that hand on other than their outputs are not compared")
                self.neurons = nn.Linear(shape[0], self.count * classes)
                shape = (self.count * classes,)
            case "readout" | "block":
                if self.kind == "block" and self.count != 1:
                    raise ValueError("several blocks are not compared")
                seen = after(nn.AdaptiveAvgPool2d(self.grid), shape) if self.grid else shape
                own = torch.Size(seen).numel() // self.count
                self.dropout = nn.Dropout(workers.get("dropout", 0.0))
                self.weight = nn.Parameter(torch.empty(self.count, classes, own))
                self.bias = nn.Parameter(torch.zeros(self.count, classes))
                nn.init.uniform_(self.weight, -(own**-0.5), own**-0.5)
            case _:
                raise ValueError(f"workers `{self.kind}` are not among those that are compared")
        self.transition = layers(given.get("transition") or [], shape)
        self.shape = after(self.transition, shape)

    def forward(self, x, predict=True):
        """What is handed on, before `transition`, and the logits if asked for."""
        a = self.layers(x)
        if self.kind == "neurons":
            z = self.neurons(a).unflatten(1, (self.count, -1))
            return z.softmax(-1).flatten(1), z.transpose(0, 1)
        return a, self.read(a) if predict else None

    def read(self, a):
        """A worker reads a run of channels of its own."""
        grid = F.adaptive_avg_pool2d(a, self.grid) if self.grid else a
        x = self.dropout(grid.flatten(1)).unflatten(1, (self.count, -1))
        return torch.baddbmm(self.bias.unsqueeze(1), x.transpose(0, 1), self.weight.transpose(1, 2))

    def readouts(self):
        """Parameters that prediction with the trained network does not need."""
        return [] if self.kind == "neurons" else [self.weight, self.bias]


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
        """The output layer's logits from what the last unit hands on."""
        return self.output(self.before(x).flatten(1))

    def forward(self, x):
        """Logits from images; hidden units' workers predict nothing."""
        for unit in self.units:
            x = unit.transition(unit(x, predict=False)[0])
        return self.logits(x)


def local_loss(z, target, delta, leading, following):
    """The two local losses of a unit, each times its weight, and who leads as ones and zeros."""
    workers, batch, _ = z.shape
    logs = z.log_softmax(-1)
    errors = -logs.gather(2, target.view(1, batch, 1).expand(workers, -1, -1)).mean((1, 2))
    count = min(max(int(delta * workers + 0.5), 1), workers)
    if count == workers:
        return leading * errors.sum(), torch.ones_like(errors)
    # How many are better, of equals those before: comparisons, which a compiler fuses, where a sort is a launch of its own.
    mine, others = errors.detach().view(-1, 1), errors.detach().view(1, -1)
    before = torch.ones(workers, workers, dtype=torch.bool, device=z.device).tril(-1)
    rank = ((others < mine) | ((others == mine) & before)).sum(1)
    leads, best = (rank < count).to(z.dtype), (rank == 0).to(z.dtype)
    p = logs.exp()
    distance = ((p.detach() * best.view(-1, 1, 1)).sum(0, keepdim=True) - p).square().mean((1, 2))
    return leading * leads.dot(errors) + following * (1 - leads).dot(distance), leads


class FromLeaders(torch.autograd.Function):
    """The same values, whose gradient reaches the leaders' channels alone."""

    @staticmethod
    def forward(ctx, a, leads):
        ctx.save_for_backward(leads)
        return a.view_as(a)

    @staticmethod
    def backward(ctx, gradient):
        (leads,) = ctx.saved_tensors
        mask = leads.repeat_interleave(gradient.shape[1] // len(leads))
        return gradient * mask.to(gradient.dtype).view(-1, *[1] * (gradient.dim() - 2)), None


class Trainer:
    """Training steps of `bp`, `lfnn` or `lfnn-l` on a fixed batch of the device.

    Images lie with channels last or first; the optimiser updates each tensor in one pass (`fused`) or all of them
    operation by operation (`foreach`).
    """

    def __init__(self, described, device, dtype, channels_last=True, fused=True):
        configuration = described["configuration"]
        self.method, self.leadership = configuration["method"], dict(configuration["leadership"])
        if self.leadership.get("gradient_through_followers"):
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
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.net = net.to(memory_format=layout)
        height, width, channels = image
        x = torch.randn(batch, channels, height, width, device=self.device)
        self.x = x.to(memory_format=layout)
        self.target = torch.randint(classes, (batch,), device=self.device)
        self.batch = batch
        name, of = kind_of(configuration["training"]["optimizer"])
        parameters = list(self.net.parameters())
        if self.method == "bp":
            readouts = {id(p) for unit in self.net.units for p in unit.readouts()}
            parameters = [p for p in parameters if id(p) not in readouts]
        self.parameters = parameters
        ways = {"fused": True} if fused else {"foreach": True}
        match name:
            case "sgd":
                self.optimizer = torch.optim.SGD(
                    parameters,
                    lr=of["lr"],
                    momentum=of.get("momentum", 0.0),
                    nesterov=of.get("nesterov", False),
                    weight_decay=of.get("weight_decay", 0.0),
                    **ways,
                )
            case "adam" | "adamw":
                kind = torch.optim.AdamW if name == "adamw" else torch.optim.Adam
                self.optimizer = kind(
                    parameters,
                    lr=of["lr"],
                    betas=tuple(of.get("betas", (0.9, 0.999))),
                    eps=of.get("epsilon", 1e-8),
                    weight_decay=of.get("weight_decay", 0.0),
                    capturable=self.device.type == "cuda",
                    **ways,
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
        half = self.dtype != torch.float32
        with torch.autocast(self.device.type, self.dtype) if half else nullcontext():
            for unit in self.net.units:
                a, z = unit(x, predict=self.method != "bp")
                if self.method != "bp":
                    own, leads = local_loss(z.float(), target, settings["delta"], *weights)
                    local.append(own)
                if self.method == "lfnn":
                    a = FromLeaders.apply(a, leads)
                x = unit.transition(a)
                if self.method == "lfnn-l":
                    x = x.detach()
            return F.cross_entropy(self.net.logits(x).float(), target), local

    def gradients(self):
        """The gradients of a step, and its global loss."""
        # A captured step needs its gradients where they were; elsewhere filling them with zeros is a pass for nothing.
        self.optimizer.zero_grad(set_to_none=self.device.type == "cpu")
        loss, local = self.losses_of(self.x, self.target)
        if self.method == "lfnn":
            # A local loss changes its own unit and goes no further back.
            for unit, own in zip(self.net.units, local, strict=True):
                torch.autograd.backward(own, inputs=list(unit.parameters()), retain_graph=True)
            loss.backward()
        else:
            # Units of `lfnn-l` are cut from one another, so the sum has their own gradients.
            sum(local, loss).backward()
        return loss

    def step(self):
        """A whole training step."""
        self.gradients()
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

        # The graph knows addresses alone, so the trainer has to live as long.
        def replay(_trainer=self):
            graph.replay()

        return replay
