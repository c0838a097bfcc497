"""Reads the configuration of a case as strictly as the Rust types do.

`lfnn-core/src/config.rs` is the definition. A configuration is JSON; an unknown key, a missing key
and an unknown variant are errors, and defaults are filled in. The result is plain namespaces.
"""

from types import SimpleNamespace

REQUIRED = object()

POOL = {"kernel": REQUIRED, "stride": None, "padding": 0}

LAYERS = {
    "conv": {
        "filters": REQUIRED,
        "kernel": REQUIRED,
        "stride": 1,
        "padding": 0,
        "groups": 1,
        "bias": True,
    },
    "linear": {"features": REQUIRED, "bias": True},
    "token_mixing": {"bias": True},
    "bias": None,
    "relu": None,
    "sigmoid": None,
    "tanh": None,
    "softmax": {"width": REQUIRED},
    "max_pool": POOL,
    "avg_pool": POOL,
    "adaptive_avg_pool": {"grid": REQUIRED},
    "global_avg_pool": None,
    "batch_norm": {"momentum": 0.1, "epsilon": 1e-5},
    "layer_norm": {"groups": 1, "epsilon": 1e-5, "affine": True},
    "dropout": {"rate": REQUIRED},
    "flatten": None,
    "patches": {"size": REQUIRED},
    "residual": {"body": REQUIRED, "shortcut": []},
}

WORKERS = {
    "neurons": {"count": REQUIRED, "output_activation": "output"},
    "filters": {"count": REQUIRED, "scale": 1.0},
    "readout": {"count": REQUIRED, "grid": None, "dropout": 0.0},
    "block": {"count": 1, "grid": None, "dropout": 0.0},
}

HEAD = {"count": 1, "layers": [], "grid": None, "dropout": 0.0}

ALIGN = {"output": None, "logits": None, "kl": {"temperature": REQUIRED}}

LEADERSHIP = {
    "delta": 0.7,
    "scope": "batch",
    "reduction": "sum",
    "align": "output",
    "reference": "best",
    "follower_labels": 0.0,
    "lambda": 1.0,
    "lambda1": 1.0,
    "lambda2": 1.0,
    "gradient_through_followers": False,
}

ADAM = {"lr": REQUIRED, "betas": [0.9, 0.999], "epsilon": 1e-8, "weight_decay": 0.0}

OPTIMIZERS = {
    "sgd": {"lr": REQUIRED, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0},
    "adam": ADAM,
    "adamw": ADAM,
}

SCHEDULES = {
    "constant": None,
    "step": {"epochs": REQUIRED, "gamma": REQUIRED},
    "cosine": {"warmup_epochs": 0.0, "floor": 0.0},
    "linear": {"warmup_epochs": 0.0, "floor": 0.0},
    "one_cycle": {"warmup": 0.3, "start_divisor": 25.0, "end_divisor": 1e4},
}

TRAINING = {
    "batch_size": REQUIRED,
    "epochs": REQUIRED,
    "optimizer": REQUIRED,
    "schedule": "constant",
    "output_lr_factor": 1.0,
    "clip_norm": None,
    "label_smoothing": 0.0,
    "class_weights": None,
    "directions": 1,
}

CHOICES = {
    "task": ("classification", "binary", "one_vs_all", "regression"),
    "output_activation": ("output", "relu", "sigmoid", "tanh"),
    "scope": ("batch", "epoch", "sample"),
    "reduction": ("sum", "mean"),
    "reference": ("best", "mean"),
    "method": tuple("bp lg-bp lfnn fa fg-w fg-a lg-fg-w lg-fg-a lfnn-l dfa lg-fa".split()),
}


SIZES = ("kernel", "stride", "padding", "grid", "size")


def size(value, path):
    """A height and a width: a number is both of them."""
    pair = tuple(value) if isinstance(value, list) else (value, value)
    if len(pair) != 2 or not all(type(side) is int and side >= 0 for side in pair):
        raise ValueError(f"{path}: expected a number or [height, width], found {value!r}")
    return pair


def fields(value, path, schema):
    """A mapping with exactly the keys of a schema, defaults filled in."""
    if not isinstance(value, dict):
        raise ValueError(f"{path}: expected a mapping, found {value!r}")
    for key in value:
        if key not in schema:
            raise ValueError(f"{path}: unknown key `{key}`")
    result = {}
    for key, default in schema.items():
        result[key] = value.get(key, default)
        if result[key] is REQUIRED:
            raise ValueError(f"{path}: missing key `{key}`")
        if key in SIZES and result[key] is not None:
            result[key] = size(result[key], f"{path}.{key}")
        if key in CHOICES and result[key] not in CHOICES[key]:
            raise ValueError(f"{path}.{key}: {result[key]!r} is none of {CHOICES[key]}")
    return SimpleNamespace(**result)


def variant(value, path, table):
    """An externally tagged enum: a name, or a mapping of one name to its fields."""
    if isinstance(value, str):
        name, content = value, None
    elif isinstance(value, dict) and len(value) == 1:
        [(name, content)] = value.items()
    else:
        raise ValueError(f"{path}: expected one of {list(table)}, found {value!r}")
    if name not in table:
        raise ValueError(f"{path}: `{name}` is none of {list(table)}")
    if (table[name] is None) != (content is None):
        raise ValueError(f"{path}: `{name}` {'takes no' if content else 'needs'} settings")
    result = SimpleNamespace() if content is None else fields(content, path, table[name])
    result.kind = name
    return result


def layers(value, path):
    """A list of layers."""
    result = [variant(layer, f"{path}[{j}]", LAYERS) for j, layer in enumerate(value)]
    for j, layer in enumerate(result):
        if layer.kind == "residual":
            layer.body = layers(layer.body, f"{path}[{j}].body")
            layer.shortcut = layers(layer.shortcut, f"{path}[{j}].shortcut")
    return result


def workers(value, path):
    """The workers of a unit; those of `heads` are a list of heads, with the sum of their counts."""
    if not isinstance(value, dict) or list(value) != ["heads"]:
        return variant(value, path, WORKERS)
    heads = [fields(head, f"{path}.heads[{i}]", HEAD) for i, head in enumerate(value["heads"])]
    for i, head in enumerate(heads):
        head.layers = layers(head.layers, f"{path}.heads[{i}].layers")
    return SimpleNamespace(kind="heads", heads=heads, count=sum(head.count for head in heads))


def unit(value, path):
    """A hidden unit."""
    schema = {"layers": [], "workers": REQUIRED, "similarity": None, "transition": []}
    result = fields(value, path, schema)
    if result.similarity is not None:
        schema = {"weight": REQUIRED, "layers": []}
        result.similarity = fields(result.similarity, f"{path}.similarity", schema)
        result.similarity.layers = layers(result.similarity.layers, f"{path}.similarity.layers")
    result.layers = layers(result.layers, f"{path}.layers")
    result.workers = workers(result.workers, f"{path}.workers")
    result.transition = layers(result.transition, f"{path}.transition")
    return result


def network(value):
    """The network of a case."""
    schema = {"task": "classification", "units": REQUIRED, "output": {}}
    result = fields(value, "network", schema)
    result.units = [unit(u, f"network.units[{i}]") for i, u in enumerate(result.units)]
    result.output = fields(result.output, "network.output", {"layers": []})
    result.output.layers = layers(result.output.layers, "network.output.layers")
    return result


def training(value):
    """The training settings of a case."""
    result = fields(value, "training", TRAINING)
    result.optimizer = variant(result.optimizer, "training.optimizer", OPTIMIZERS)
    result.schedule = variant(result.schedule, "training.schedule", SCHEDULES)
    return result


def case(value):
    """A whole case: what is in `NAME.json`."""
    schema = dict.fromkeys(
        ("method", "input", "classes", "network", "leadership", "training"), REQUIRED
    )
    result = fields(value, "case", {**schema, "rates": None})
    result.network = network(result.network)
    result.leadership = fields(result.leadership, "leadership", LEADERSHIP)
    result.leadership.align = variant(result.leadership.align, "leadership.align", ALIGN)
    result.training = training(result.training)
    return result
