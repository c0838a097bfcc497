"""The cases: small networks that together touch every method, worker, scope, task and layer."""

from settings import LEADERSHIP


def conv(filters, kernel=3, **options):
    return {"conv": {"filters": filters, "kernel": kernel, **options}}


def linear(features, **options):
    return {"linear": {"features": features, **options}}


def batch_norm(**options):
    return {"batch_norm": options}


def layer_norm(**options):
    return {"layer_norm": options}


def token_mixing(**options):
    return {"token_mixing": options}


def patches(size):
    return {"patches": {"size": size}}


def max_pool(kernel=2, **options):
    return {"max_pool": {"kernel": kernel, **options}}


def avg_pool(kernel=2, **options):
    return {"avg_pool": {"kernel": kernel, **options}}


def residual(body, shortcut=()):
    return {"residual": {"body": list(body), "shortcut": list(shortcut)}}


def unit(*layers, workers, transition=(), similarity=None):
    config = {"layers": list(layers), "workers": workers, "transition": list(transition)}
    return config if similarity is None else config | {"similarity": similarity}


def similarity(weight, *layers):
    return {"weight": weight, "layers": list(layers)}


def neurons(count, **options):
    return {"neurons": {"count": count, **options}}


def filters(count, **options):
    return {"filters": {"count": count, **options}}


def readout(count, **options):
    return {"readout": {"count": count, **options}}


def block(**options):
    return {"block": options}


def head(*layers, **options):
    return {"layers": list(layers), **options}


def heads(*them):
    return {"heads": list(them)}


CASES = {}


def case(
    name,
    about,
    units,
    *,
    method=None,
    task="classification",
    classes=4,
    image=(2, 6, 6),
    batch=6,
    output=(),
    leadership=None,
    training=None,
    curve=False,
):
    """Registers a case. The method is the beginning of its name unless given."""
    method = method or name.split("_")[0]
    optimizer = {"sgd": {"lr": 0.1}}
    options = {"batch_size": batch, "epochs": 2 if curve else 1, "optimizer": optimizer}
    config = {
        "method": method,
        "input": list(image),
        "classes": classes,
        "network": {"task": task, "units": units, "output": {"layers": list(output)}},
        "leadership": {**LEADERSHIP, **(leadership or {})},
        "training": {**options, **(training or {})},
    }
    assert name not in CASES
    CASES[name] = {"about": about, "config": config, "curve": curve}


# Networks that several methods share.

NEURONS = [
    unit("flatten", workers=neurons(5)),
    unit(workers=neurons(4, output_activation="relu")),
    unit(workers=neurons(5, output_activation="tanh")),
]
FILTERS = [
    unit(conv(8, padding=1, bias=False), batch_norm(), "relu", workers=filters(4, scale=5.0)),
    unit(
        conv(12, stride=2, padding=1, groups=4),
        "tanh",
        workers=filters(3, scale=5.0),
        transition=[avg_pool(2, stride=1)],
    ),
]
READOUT = [
    unit(
        conv(8, padding=1, bias=False),
        batch_norm(momentum=0.3, epsilon=1e-3),
        "relu",
        workers=readout(4, grid=2),
        transition=[max_pool(3, stride=2, padding=1)],
    ),
    # Two convolutions in one unit, shared by its workers.
    unit(
        conv(6, padding=1),
        "tanh",
        conv(9, kernel=2, bias=False),
        batch_norm(),
        "relu",
        workers=readout(3),
    ),
]
BLOCK_LAYERS = [conv(4, padding=1), "relu", conv(3, bias=False), "relu", max_pool(), batch_norm()]
BLOCKS = [
    unit(*BLOCK_LAYERS, workers=block(count=3), transition=["flatten"]),
    unit(linear(5), "sigmoid", workers=block(count=4)),
]

# Heads that see all features: with layers in front, plain ones together, two copies.
HEADS = [
    unit(
        conv(6, padding=1, bias=False),
        batch_norm(),
        "relu",
        workers=heads(
            head(max_pool(), conv(5, padding=1, bias=False), batch_norm(), "relu", grid=2),
            head(count=2, grid=3),
            head(conv(3, kernel=1), "tanh", count=2),
        ),
        transition=[max_pool()],
    ),
    unit(
        "flatten",
        linear(10),
        "tanh",
        workers=heads(head(count=3), head(linear(6), "sigmoid", linear(5), "tanh")),
    ),
]

# Signals of two channels: images of one row.
SIGNAL_IMAGE = (2, 1, 24)
SIGNAL = [
    unit(
        conv(6, kernel=[1, 5], stride=[1, 2], padding=[0, 2], bias=False),
        batch_norm(),
        "relu",
        workers=readout(3, grid=[1, 3]),
        transition=[max_pool([1, 3], stride=[1, 2], padding=[0, 1])],
    ),
    unit(
        conv(4, kernel=[1, 3], padding=[0, 1], groups=2),
        "tanh",
        workers=block(count=2, grid=[1, 4]),
        transition=[avg_pool([1, 2])],
    ),
]
SIGNAL_OUTPUT = [{"adaptive_avg_pool": {"grid": [1, 2]}}]

# LFNN-l: Eq. 2.

case(
    "lfnn-l_neurons_classification",
    "fully connected, outputs p, ReLU and tanh",
    NEURONS,
    leadership={"delta": 0.4},
)
case(
    "lfnn-l_neurons_binary_sample",
    "K = 1, leaders per sample, mean over workers, label smoothing, sigmoid as output activation",
    [
        unit("flatten", workers=neurons(6)),
        unit(workers=neurons(5, output_activation="sigmoid")),
        unit(workers=neurons(4, output_activation="tanh")),
    ],
    task="binary",
    classes=2,
    batch=8,
    leadership={"delta": 0.5, "scope": "sample", "reduction": "mean", "lambda": 0.7},
    training={"label_smoothing": 0.1},
)
case(
    "lfnn-l_neurons_regression",
    "three numbers, layers before the neurons, batch norm of a vector, mean reference",
    [
        unit("flatten", linear(10), "tanh", batch_norm(), workers=neurons(4)),
        unit("bias", "sigmoid", workers=neurons(5, output_activation="relu")),
    ],
    task="regression",
    classes=3,
    leadership={"delta": 0.5, "reference": "mean", "lambda": 1.5},
)
case(
    "lfnn-l_neurons_one-vs-all",
    "three classifiers of four and then three workers, leaders within each classifier",
    [unit("flatten", workers=neurons(4)), unit(workers=neurons(3, output_activation="relu"))],
    task="one_vs_all",
    classes=3,
    leadership={"delta": 0.5},
)
case(
    "lfnn-l_neurons_one-vs-all_sample",
    "as before per sample, with mean reduction, mean reference, logits, label smoothing",
    [unit("flatten", workers=neurons(5)), unit(workers=neurons(4))],
    task="one_vs_all",
    classes=3,
    leadership={
        "delta": 0.4,
        "scope": "sample",
        "reduction": "mean",
        "reference": "mean",
        "align": "logits",
    },
    training={"label_smoothing": 0.2},
)
case(
    "lfnn-l_filters_classification",
    "grouped and strided convolutions, batch norm, average pooling, mean reference",
    FILTERS,
    leadership={"delta": 0.5, "reference": "mean"},
    classes=2,
)
case(
    "lfnn-l_filters_binary_sample",
    "K = 1 with three filters a worker, sigmoid, leaders per sample, logits aligned",
    [
        unit(
            conv(12, padding=1, bias=False),
            "sigmoid",
            workers=filters(4, scale=4.0),
            transition=[max_pool()],
        ),
        unit(conv(6, kernel=2), "bias", "tanh", workers=filters(6, scale=6.0)),
    ],
    task="binary",
    classes=2,
    output=["global_avg_pool"],
    leadership={"delta": 0.5, "scope": "sample", "align": "logits"},
)
case(
    "lfnn-l_filters_regression_epoch",
    "two numbers, two filters a number, epoch scope in its first step, mean over workers",
    [
        unit(conv(12, padding=1), "tanh", workers=filters(3, scale=4.0), transition=[max_pool()]),
        unit(conv(8, padding=1), "tanh", workers=filters(4, scale=4.0)),
    ],
    task="regression",
    classes=2,
    leadership={"delta": 0.6, "scope": "epoch", "reduction": "mean"},
)
case(
    "lfnn-l_readout_classification",
    "pooled features, a unit of two convolutions, batch norm, overlapping maximum",
    READOUT,
    output=["global_avg_pool"],
    leadership={"delta": 0.6},
)
case(
    "lfnn-l_readout_sample_logits",
    "no grid, per sample, logits aligned, label smoothing; then a vector with softmax layer",
    [
        unit(conv(6, padding=1), "relu", workers=readout(3), transition=[avg_pool(3, padding=1)]),
        unit(
            "flatten",
            linear(12, bias=False),
            "bias",
            {"softmax": {"width": 3}},
            workers=readout(4),
        ),
    ],
    classes=3,
    leadership={"delta": 0.3, "scope": "sample", "align": "logits", "reduction": "mean"},
    training={"label_smoothing": 0.1},
)
case(
    "lfnn-l_readout_regression",
    "three numbers, a grid that does not divide the image, adaptive pooling",
    [
        unit(
            conv(6, kernel=2),
            "tanh",
            workers=readout(3, grid=3),
            transition=[{"adaptive_avg_pool": {"grid": 2}}],
        ),
        unit("flatten", linear(8), "tanh", workers=readout(4)),
    ],
    task="regression",
    classes=3,
    leadership={"delta": 0.4, "reference": "mean", "reduction": "mean"},
)
case(
    "lfnn-l_block_single",
    "one block a unit, so always a leader; then neurons, as in the authors' networks",
    [
        unit(*BLOCK_LAYERS, workers=block(count=1), transition=["flatten"]),
        unit(linear(6, bias=False), "relu", workers=block(), transition=[]),
        unit(workers=neurons(4)),
    ],
)
case(
    "lfnn-l_block_several",
    "blocks side by side, of images and then of vectors",
    BLOCKS,
    leadership={"delta": 0.4},
)
case(
    "lfnn-l_block_residual_sample",
    "residual blocks with and without a layer on the shortcut, leaders per sample, mean reference",
    [
        unit(
            residual(
                [
                    conv(4, stride=2, padding=1, bias=False),
                    batch_norm(),
                    "relu",
                    conv(4, padding=1, bias=False),
                    batch_norm(),
                ],
                [conv(4, kernel=1, stride=2, bias=False), batch_norm()],
            ),
            "relu",
            workers=block(count=2, grid=1),
        ),
        unit(
            residual([conv(8, padding=1), "tanh", conv(8, padding=1, groups=2)]),
            "relu",
            workers=block(count=3, grid=2),
        ),
    ],
    leadership={"delta": 0.6, "scope": "sample", "reference": "mean"},
    output=["global_avg_pool"],
)
case(
    "lfnn-l_all-lead",
    "δ = 1: no followers",
    [READOUT[0], unit("flatten", workers=neurons(4))],
    leadership={"delta": 1.0},
)
case(
    "lfnn-l_mixed_epoch",
    "all four kinds of workers in one network, epoch scope in its first step",
    [
        unit(conv(8, padding=1), "relu", workers=filters(2, scale=5.0), transition=[max_pool()]),
        unit(conv(6, kernel=2), "tanh", workers=readout(3, grid=1)),
        unit("flatten", linear(7), "relu", workers=block(count=2)),
        unit(workers=neurons(4, output_activation="tanh")),
    ],
    leadership={"delta": 0.5, "scope": "epoch"},
    output=[linear(5), "tanh"],
    image=(1, 7, 7),
)

case(
    "lfnn-l_heads",
    "heads that see all features, with layers and without",
    HEADS,
    leadership={"delta": 0.5},
)
case(
    "lfnn-l_heads_distillation",
    "followers of heads learn by distillation at T = 2.5, and 0.3 of their loss is that of the labels",
    HEADS,
    leadership={
        "delta": 0.3,
        "align": {"kl": {"temperature": 2.5}},
        "follower_labels": 0.3,
        "reduction": "mean",
        "lambda": 1.5,
    },
    training={"label_smoothing": 0.1},
)
case(
    "lfnn-l_binary_distillation_sample",
    "distillation of one logit, leaders per sample, mean reference",
    [
        unit(conv(6, padding=1), "tanh", workers=readout(3, grid=2), transition=[max_pool()]),
        unit("flatten", workers=neurons(4)),
    ],
    task="binary",
    classes=2,
    batch=8,
    leadership={
        "delta": 0.5,
        "scope": "sample",
        "reference": "mean",
        "align": {"kl": {"temperature": 1.5}},
    },
)
case(
    "lfnn-l_neurons_labels",
    "followers match outputs, and half of their loss is that of the labels",
    NEURONS,
    leadership={"delta": 0.4, "follower_labels": 0.5},
)
case(
    "lfnn-l_neurons_weights",
    "weights of the classes, with label smoothing and a share of the labels in the followers' loss",
    NEURONS,
    leadership={"delta": 0.4, "follower_labels": 0.3},
    training={"label_smoothing": 0.1, "class_weights": [0.5, 2.0, 0.0, 1.5]},
)
case(
    "lfnn-l_neurons_one-vs-all_weights",
    "weights of the classes of four classifiers, leaders per sample",
    NEURONS,
    task="one_vs_all",
    leadership={"delta": 0.4, "scope": "sample"},
    training={"class_weights": [3.0, 0.25, 1.0, 0.5]},
)
case(
    "lfnn_readout_weights",
    "weights of the classes, masked global gradient, mean over workers",
    READOUT,
    output=["global_avg_pool"],
    leadership={"delta": 0.6, "reduction": "mean"},
    training={"class_weights": [0.5, 2.0, 1.0, 1.5]},
)
case(
    "lg-bp_binary_weights",
    "weights of both classes",
    [unit("flatten", linear(9), "tanh", workers=readout(3))],
    task="binary",
    classes=2,
    training={"class_weights": [0.25, 4.0]},
)
case(
    "lfnn-l_signal",
    "signals: kernels, strides, paddings, pools and grids of one row",
    SIGNAL,
    image=SIGNAL_IMAGE,
    output=SIGNAL_OUTPUT,
    leadership={"delta": 0.5},
)
case(
    "lfnn-l_rectangles",
    "kernels, strides, paddings, pools and grids whose height and width differ",
    [
        unit(
            conv(6, kernel=[2, 3], stride=[1, 2], padding=[1, 0]),
            "relu",
            workers=readout(3, grid=[4, 2]),
            transition=[
                max_pool([1, 2], stride=1),
                avg_pool([3, 2], stride=[2, 1], padding=[1, 0]),
            ],
        ),
        unit(
            conv(8, kernel=[3, 1], padding=[0, 1]),
            "tanh",
            workers=filters(2, scale=4.0),
            transition=[{"adaptive_avg_pool": {"grid": [1, 2]}}],
        ),
    ],
    image=(2, 5, 9),
    leadership={"delta": 0.5},
)

# LFNN: Eq. 1, with followers that stop the global gradient and with followers that pass it on.

for relay in (False, True):
    suffix = "relayed" if relay else "masked"
    how = "followers pass on" if relay else "followers stop"

    case(
        f"lfnn_neurons_{suffix}",
        f"fully connected; {how} the global gradient; λ₁ = 0.5, λ₂ = 2",
        NEURONS,
        leadership={"delta": 0.4, "gradient_through_followers": relay, "lambda1": 0.5, "lambda2": 2.0},
    )
    case(
        f"lfnn_neurons_one-vs-all_{suffix}",
        f"three classifiers, leaders per {'batch' if relay else 'sample'}; {how} the global gradient",
        [unit("flatten", workers=neurons(4)), unit(workers=neurons(5, output_activation="tanh"))],
        task="one_vs_all",
        classes=3,
        leadership={
            "delta": 0.5,
            "gradient_through_followers": relay,
            "scope": "batch" if relay else "sample",
        },
    )
    case(
        f"lfnn_filters_{suffix}",
        f"convolutions with batch norm; {how} the global gradient",
        FILTERS,
        classes=2,
        leadership={"delta": 0.5, "gradient_through_followers": relay, "reduction": "mean"},
    )
    case(
        f"lfnn_readout_{suffix}",
        f"two convolutions shared by a unit's workers; {how} the global gradient",
        READOUT,
        leadership={"delta": 0.5, "gradient_through_followers": relay, "reference": "mean"},
    )
    case(
        f"lfnn_heads_{suffix}",
        f"all workers share the features, so none stops the global gradient; {how} it elsewhere",
        [*HEADS, unit(linear(8), "tanh", workers=readout(4))],
        leadership={"delta": 0.5, "gradient_through_followers": relay, "align": {"kl": {"temperature": 2.0}}},
    )
    case(
        f"lfnn_block_{suffix}",
        f"blocks side by side; {how} the global gradient; label smoothing",
        BLOCKS,
        leadership={"delta": 0.5, "gradient_through_followers": relay, "align": "logits"},
        training={"label_smoothing": 0.1},
    )
    case(
        f"lfnn_readout_regression_sample_{suffix}",
        f"two numbers, leaders per sample; {how} the global gradient",
        [
            unit(
                conv(6, padding=1),
                batch_norm(),
                "relu",
                workers=readout(3, grid=2),
                transition=[max_pool(), "flatten"],
            ),
            unit(linear(8), "tanh", workers=readout(4)),
        ],
        task="regression",
        classes=2,
        leadership={"delta": 0.5, "gradient_through_followers": relay, "scope": "sample"},
    )

    case(
        f"lfnn_signal_{suffix}",
        f"signals; {how} the global gradient",
        SIGNAL,
        image=SIGNAL_IMAGE,
        output=SIGNAL_OUTPUT,
        leadership={"delta": 0.5, "gradient_through_followers": relay},
    )

case(
    "lfnn_filters_binary_sample",
    "K = 1, filters, leaders per sample, mean reference",
    [
        unit(conv(6, padding=1), "tanh", workers=filters(3, scale=10.0), transition=[avg_pool()]),
        unit(conv(8, kernel=2), "relu", workers=filters(4, scale=6.0)),
    ],
    task="binary",
    classes=2,
    batch=8,
    leadership={"delta": 0.6, "scope": "sample", "reference": "mean", "reduction": "mean"},
)
case(
    "lfnn_block_epoch",
    "residual blocks, epoch scope in its first step",
    [
        unit(
            conv(3, padding=1, bias=False),
            batch_norm(),
            residual(["relu", conv(3, padding=1)]),
            "relu",
            workers=block(count=3, grid=2),
        ),
        unit(conv(5, stride=3), "tanh", workers=block(count=2)),
    ],
    leadership={"delta": 0.7, "scope": "epoch", "gradient_through_followers": True},
)
case(
    "lfnn_all-lead",
    "δ = 1: the global gradient reaches everything",
    [READOUT[0], unit("flatten", workers=neurons(3))],
    leadership={"delta": 1.0},
)
case(
    "lfnn_global-only",
    "λ₁ = λ₂ = 0: the global gradient alone, stopped by followers",
    NEURONS,
    leadership={"delta": 0.6, "lambda1": 0.0, "lambda2": 0.0},
)

# Backpropagation of the global loss through the same networks.

case("bp_neurons", "fully connected", NEURONS)
case("bp_filters", "grouped and strided convolutions, batch norm", FILTERS, classes=2)
case("bp_readout", "heads are not used", READOUT, training={"label_smoothing": 0.1})
case("bp_block", "blocks side by side, heads are not used", BLOCKS)
case("bp_heads", "heads with layers are not used", HEADS)
case("bp_signal", "signals", SIGNAL, image=SIGNAL_IMAGE, output=SIGNAL_OUTPUT)
case(
    "bp_regression",
    "three numbers",
    [unit(conv(6, stride=2), "tanh", workers=readout(3), transition=["flatten"])],
    task="regression",
    classes=3,
    output=[linear(6), "relu"],
)
case(
    "bp_one-vs-all",
    "three classifiers",
    [unit("flatten", workers=neurons(4)), unit(workers=neurons(3, output_activation="tanh"))],
    task="one_vs_all",
    classes=3,
)
case(
    "bp_binary",
    "K = 1, residual block, label smoothing",
    [
        unit(
            conv(4, padding=1),
            residual(["relu", conv(4, padding=1, groups=2), batch_norm()], [conv(4, kernel=1)]),
            "sigmoid",
            workers=filters(4),
            transition=["global_avg_pool"],
        )
    ],
    task="binary",
    classes=2,
    training={"label_smoothing": 0.1},
)

# Similarity matching: of an image through a convolution, of several blocks, of a vector.

MATCHED = [
    unit(
        conv(6, padding=1, bias=False),
        batch_norm(),
        "relu",
        workers=readout(3, grid=2),
        similarity=similarity(1.5, conv(5, padding=1, bias=False)),
        transition=[max_pool()],
    ),
    unit(conv(3, padding=1), "tanh", workers=block(count=2), similarity=similarity(0.5)),
    unit("flatten", linear(7), "tanh", workers=readout(1), similarity=similarity(2.0)),
]
for matched in ["lfnn-l", "lfnn", "lg-bp", "lg-fg-w", "lg-fg-a"]:
    case(
        f"{matched}_similarity",
        "similarity matching of an image through a convolution, of blocks, of a vector",
        MATCHED,
        leadership={"delta": 0.5, "reduction": "mean"},
    )
case(
    "lfnn-l_similarity_binary",
    "similarity matching with two classes and one logit, of neurons and through a linear layer",
    [
        unit("flatten", workers=neurons(5, output_activation="tanh"), similarity=similarity(1.0)),
        unit(linear(4), "tanh", workers=readout(2), similarity=similarity(0.7, linear(3))),
    ],
    task="binary",
    classes=2,
    batch=8,
    leadership={"delta": 0.5},
)
case(
    "lg-bp_similarity_regression",
    "similarity matching with three numbers",
    [
        unit(conv(6, stride=2), "tanh", workers=readout(3), similarity=similarity(1.0)),
        unit("flatten", linear(6), "tanh", workers=readout(2), similarity=similarity(2.0)),
    ],
    task="regression",
    classes=3,
)

# A mixer: positions are patches, and what couples them or groups of channels is one layer each.

GROUPS = layer_norm(groups=3, affine=False, epsilon=0.01)
MIXER = [
    unit(
        patches([2, 3]),
        layer_norm(affine=False, epsilon=0.01),
        conv(12, kernel=1),
        layer_norm(epsilon=0.1),
        "relu",
        GROUPS,
        conv(12, kernel=1, groups=3),
        GROUPS,
        "relu",
        workers=heads(head(GROUPS, grid=1), head(grid=1, count=2)),
    ),
    unit(
        residual(
            [
                layer_norm(affine=False, epsilon=0.01),
                token_mixing(bias=False),
                layer_norm(groups=2, epsilon=0.01),
                "tanh",
                token_mixing(),
                conv(12, kernel=1, groups=3),
                GROUPS,
            ]
        ),
        "relu",
        workers=heads(head(layer_norm(groups=3), grid=1, count=2)),
    ),
]
for mixing in ["bp", "lg-bp", "lfnn-l", "fa", "fg-w", "fg-a", "lg-fg-w", "lg-fg-a"]:
    case(
        f"{mixing}_mixer",
        "patches, layer normalisation, token mixing",
        MIXER,
        output=["global_avg_pool", "flatten", layer_norm(affine=False)],
    )

# Ten steps of training.

SMALL_CONV = [
    unit(
        conv(6, padding=1, bias=False),
        batch_norm(),
        "relu",
        workers=readout(3, grid=2),
        transition=[max_pool()],
    ),
    unit(conv(6, kernel=2, bias=False), batch_norm(), "relu", workers=readout(2, grid=1)),
]

case(
    "curve_lfnn-l_sgd_clipped",
    "lfnn-l: SGD, Nesterov momentum, weight decay; gradients clipped unit by unit",
    SMALL_CONV,
    method="lfnn-l",
    classes=3,
    batch=8,
    image=(1, 6, 6),
    leadership={"delta": 0.5},
    training={
        "optimizer": {"sgd": {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}},
        "clip_norm": 1.0,
    },
    curve=True,
)
case(
    "curve_lfnn-l_adam_epoch",
    "lfnn-l: Adam, step schedule, leaders held for an epoch",
    [
        unit(conv(6, padding=1), "tanh", workers=filters(2, scale=5.0), transition=[max_pool()]),
        unit("flatten", workers=neurons(4)),
    ],
    method="lfnn-l",
    classes=3,
    batch=8,
    image=(1, 6, 6),
    leadership={"delta": 0.5, "scope": "epoch"},
    training={
        "optimizer": {"adam": {"lr": 0.01, "weight_decay": 0.01}},
        "schedule": {"step": {"epochs": 1, "gamma": 0.3}},
    },
    curve=True,
)
case(
    "curve_lfnn-l_adamw_one-cycle_sample",
    "lfnn-l: AdamW, one-cycle schedule, leaders per sample, one-vs-all",
    [unit("flatten", workers=neurons(4)), unit(workers=neurons(3))],
    method="lfnn-l",
    task="one_vs_all",
    classes=3,
    batch=8,
    image=(1, 5, 5),
    leadership={"delta": 0.5, "scope": "sample"},
    training={
        "optimizer": {"adamw": {"lr": 0.02, "weight_decay": 0.1, "betas": [0.8, 0.95]}},
        "schedule": {"one_cycle": {"warmup": 0.3, "start_divisor": 10.0, "end_divisor": 100.0}},
    },
    curve=True,
)
case(
    "curve_lfnn_adamw_one-cycle",
    "lfnn: AdamW, one-cycle schedule, gradients clipped together",
    SMALL_CONV,
    method="lfnn",
    classes=3,
    batch=8,
    image=(1, 6, 6),
    leadership={"delta": 0.5},
    training={
        "optimizer": {"adamw": {"lr": 0.01, "weight_decay": 0.05}},
        "schedule": {"one_cycle": {"warmup": 0.3, "start_divisor": 25.0, "end_divisor": 10000.0}},
        "clip_norm": 2.0,
    },
    curve=True,
)
case(
    "curve_lfnn_sgd_relayed",
    "lfnn: SGD with momentum, warm-up and cosine, followers pass on the gradient; regression",
    [
        unit("flatten", linear(9), "tanh", workers=block(count=3)),
        unit(workers=neurons(4, output_activation="tanh")),
    ],
    method="lfnn",
    task="regression",
    classes=2,
    batch=8,
    image=(1, 5, 5),
    leadership={"delta": 0.5, "gradient_through_followers": True},
    training={
        "optimizer": {"sgd": {"lr": 0.05, "momentum": 0.9}},
        "schedule": {"cosine": {"warmup_epochs": 0.4, "floor": 0.05}},
    },
    curve=True,
)
case(
    "curve_bp_sgd_cosine_clipped",
    "bp: SGD, Nesterov momentum, warm-up and cosine, gradients clipped together",
    SMALL_CONV,
    method="bp",
    classes=3,
    batch=8,
    image=(1, 6, 6),
    training={
        "optimizer": {"sgd": {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.005}},
        "schedule": {"cosine": {"warmup_epochs": 0.4, "floor": 0.1}},
        "clip_norm": 2.0,
    },
    curve=True,
)
case(
    "curve_bp_adam",
    "bp: Adam at a constant rate, fully connected",
    [unit("flatten", workers=neurons(4, output_activation="tanh"))],
    method="bp",
    classes=3,
    batch=8,
    image=(1, 5, 5),
    training={"optimizer": {"adam": {"lr": 0.02}}},
    curve=True,
)

# The other algorithms, each through the four kinds of workers, and what is special about K = 1,
# regression, several classifiers, residual blocks and layers of the output.

OTHERS = ["lg-bp", "fa", "fg-w", "fg-a", "lg-fg-w", "lg-fg-a", "dfa", "lg-fa"]
RESIDUAL = [
    unit(
        conv(4, padding=1),
        residual(["relu", conv(4, padding=1, groups=2), batch_norm()], [conv(4, kernel=1)]),
        "sigmoid",
        workers=filters(2, scale=3.0),
        transition=["global_avg_pool"],
    ),
    unit("flatten", "bias", linear(6, bias=False), "tanh", workers=readout(2)),
]

for other in OTHERS:
    case(f"{other}_neurons", "fully connected", NEURONS, leadership={"reduction": "mean"})
    case(f"{other}_filters", "grouped and strided convolutions, batch norm", FILTERS, classes=2)
    case(
        f"{other}_readout",
        "two convolutions in a unit, batch norm, layers of the output, label smoothing",
        READOUT,
        output=[conv(3, kernel=2), "tanh", "flatten", linear(5), "tanh"],
        training={"label_smoothing": 0.1},
        image=(2, 7, 7),
    )
    case(f"{other}_block", "blocks side by side", BLOCKS)
    case(f"{other}_heads", "heads that see all features, with layers and without", HEADS)
    case(f"{other}_signal", "signals", SIGNAL, image=SIGNAL_IMAGE, output=SIGNAL_OUTPUT)
    case(
        f"{other}_binary",
        "K = 1, residual block, bias, no bias",
        RESIDUAL,
        task="binary",
        classes=2,
        leadership={"reduction": "mean"},
    )
    case(
        f"{other}_regression",
        "three numbers",
        [unit(conv(6, stride=2), "tanh", workers=readout(3), transition=["flatten"])],
        task="regression",
        classes=3,
        output=[linear(6), "relu"],
    )
    case(
        f"{other}_one-vs-all",
        "three classifiers",
        [unit("flatten", workers=neurons(4)), unit(workers=neurons(3, output_activation="tanh"))],
        task="one_vs_all",
        classes=3,
    )

for other, options in {
    "fa": {"clip_norm": 2.0},
    "lg-bp": {"clip_norm": 0.5},
    "fg-w": {"clip_norm": 1.0},
    "fg-a": {},
    "lg-fg-w": {},
    "lg-fg-a": {"clip_norm": 0.5},
    "dfa": {"clip_norm": 1.0},
    "lg-fa": {"clip_norm": 0.5},
}.items():
    clipped = "clipped " + ("unit by unit" if other.startswith("lg") else "together")
    case(
        f"curve_{other}_sgd",
        f"{other}: SGD with momentum, {clipped if options else 'not clipped'}",
        SMALL_CONV,
        method=other,
        classes=3,
        batch=8,
        image=(1, 6, 6),
        training={"optimizer": {"sgd": {"lr": 0.01, "momentum": 0.5}}, **options},
        curve=True,
    )
case(
    "curve_lg-bp_adamw_linear",
    "lg-bp: AdamW, warm-up and a line down, a tenth of the learning rate in the output layer",
    SMALL_CONV,
    method="lg-bp",
    classes=3,
    batch=8,
    image=(1, 6, 6),
    training={
        "optimizer": {"adamw": {"lr": 0.01, "weight_decay": 0.1}},
        "schedule": {"linear": {"warmup_epochs": 0.4}},
        "output_lr_factor": 0.1,
    },
    curve=True,
)

for other in ["fg-w", "fg-a", "lg-fg-w", "lg-fg-a"]:
    case(
        f"{other}_directions",
        "the mean of three estimates",
        READOUT,
        output=["flatten"],
        training={"directions": 3},
        image=(2, 7, 7),
    )
