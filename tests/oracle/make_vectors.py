"""Makes the saved vectors of `tests/vectors`: run `python make_vectors.py`; see README.md."""

import argparse
import hashlib
import json
import math
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

import check
import methods
import settings
import training
from cases import CASES
from network import Network

VECTORS = Path(__file__).resolve().parent.parent / "vectors"
ATTEMPTS = 400

# What makes a case fit to be compared between f32 and f64: no choice of a leader closer than TIE,
# no input of a ReLU or lead of a maximum closer than KINK, no gradient that Adam would blow up.
TIE = 1e-3
KINK = 1e-4
CURVE_KINK = 1e-5
ADAM_GRADIENT = 2e-7
# What float32 may cost, relative to the largest element of a tensor. Checked for every case.
STEP_TOLERANCE = 2e-5
CURVE_TOLERANCE = 2e-4


def draw_weight(rng, name, shape):
    """Initial values; batch norm gets statistics and scales that differ from channel to channel."""
    kind = name.rsplit(".", 1)[1]
    if len(shape) > 1:
        return rng.normal(0, 1.5 / math.sqrt(math.prod(shape[1:])), shape)
    if kind == "running_var":
        return np.exp(rng.normal(0, 0.3, shape))
    return rng.normal(1.0 if kind == "weight" else 0.0, 0.3, shape)


def draw_images(rng, shape):
    """Normal pixels on the grid v / 64 - 2 with v a byte, so that they can be stored as bytes."""
    pixels = np.clip(np.round((rng.normal(0, 1, shape) + 2) * 64), 0, 255)
    return (pixels / 64 - 2).astype(np.float32)


def draw_targets(rng, case, images):
    """What a random linear map makes of the images, so that there is something to learn."""
    flat = images.reshape(len(images), -1).astype(np.float64)
    rows = 1 if case.network.task == "binary" else case.classes
    scores = flat @ rng.normal(0, 1 / math.sqrt(flat.shape[1]), (flat.shape[1], rows))
    match case.network.task:
        case "regression":
            return (scores + rng.normal(0, 0.3, scores.shape)).astype(np.float32)
        case "binary":
            return (scores[:, 0] > 0).astype(np.int32)
    return scores.argmax(1).astype(np.int32)


class Drawn:
    """Weights and batches of a case, in float32."""

    def __init__(self, name, case, curve, attempt):
        digest = hashlib.sha256(f"{name}/{attempt}".encode()).digest()
        rng = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:8], "little")))
        self.weights = {
            n: draw_weight(rng, n, tuple(t.shape)).astype(np.float32)
            for n, t in Network(case).tensors().items()
        }
        batch, steps = case.training.batch_size, training.STEPS if curve else 1
        images = draw_images(rng, (steps * batch, *case.input))
        targets = draw_targets(rng, case, images)
        self.images = images.reshape(steps, batch, *case.input)
        self.targets = targets.reshape(steps, batch, *targets.shape[1:])
        self.feedback = {}
        for n, shape in self.feedback_shapes(case).items():
            self.feedback[n] = draw_weight(rng, n, shape).astype(np.float32)

    def feedback_shapes(self, case):
        """The matrices that carry gradients back, in the order in which they are drawn."""
        net = self.network(case, torch.float64)
        match case.method:
            case "fa" | "lg-fa":
                first = torch.from_numpy(self.images[0]).to(torch.float64)
                return {n: self.weights[n].shape for n in methods.carrying(case, net, first)}
            case "dfa":
                units = enumerate(net.units, start=1)
                return {f"unit{i}.output": (math.prod(u.shape), net.width) for i, u in units}
        return {}

    def network(self, case, dtype):
        """The network with these weights, in training mode."""
        net = Network(case).to(dtype)
        net.load_state_dict({n: torch.from_numpy(w) for n, w in self.weights.items()}, strict=False)
        return net.train()

    def batches(self, dtype):
        """Images and targets of each step."""
        images = torch.from_numpy(self.images).to(dtype)
        targets = torch.from_numpy(self.targets)
        return images, targets.to(dtype) if targets.is_floating_point() else targets.long()


def varied(case, expected, targets):
    """Whether a draw can tell right from wrong: several classes, leaders that change."""
    if case.network.task != "regression":
        classes = 2 if case.network.task == "binary" else min(case.classes, 3)
        if len(np.unique(targets[0])) < classes:
            return False
    changing = []
    if case.leadership.scope == "sample":
        changing += [t for n, t in expected.items() if n.endswith(".leaders")]
    if case.leadership.scope == "epoch":
        changing += [t for n, t in expected.items() if n.startswith("leaders_per_step/")]
    return not changing or any((t != t[0]).any() for t in changing)


def compute(case, curve, drawn, dtype):
    """The expected tensors by name, and the margins."""
    net = drawn.network(case, dtype)
    images, targets = drawn.batches(dtype)
    first = methods.EpochState()
    step = methods.step(case, net, images[0], targets[0], first, drawn.feedback)
    expected = {"logits": step.logits, "output.loss": step.output_loss.reshape(1)}
    for u in step.units:
        expected[f"{u.name}.errors"] = u.errors.mean(0).flatten()
        expected[f"{u.name}.leaders"] = u.leaders.mask.flatten(1)
        expected[f"{u.name}.best"] = u.leaders.best.int()
        expected[f"{u.name}.leader_loss"] = u.leader_loss.reshape(1)
        expected[f"{u.name}.follower_loss"] = u.follower_loss.reshape(1)
    expected |= {f"gradients/{n}": g for n, g in step.gradients.items()}
    expected |= {f"directions/{n}": u for n, u in step.directions.items()}
    expected |= {f"running/{n}": t.clone() for n, t in net.running().items()}
    margins = {
        "tie": min((u.leaders.margin for u in step.units), default=math.inf),
        "kink": net.nearest_kink(),
        "gradient": math.inf,
    }
    if curve:
        net = drawn.network(case, dtype)
        run = training.train(case, net, images, targets, drawn.feedback)
        expected["curve"] = torch.stack(run.curve)
        expected |= {f"after/{n}": p for n, p in run.trained.items()}
        expected |= {f"after/{n}": t for n, t in net.running().items()}
        for i, leaders in enumerate(zip(*run.leaders, strict=True), start=1):
            expected[f"leaders_per_step/unit{i}"] = torch.stack(leaders).squeeze(1)
        margins["tie"] = min([margins["tie"], *run.ties])
        margins["kink"] = min(run.kinks)
        if case.training.clip_norm is not None:
            assert any(run.clipped), "no gradient was ever clipped"
        if case.training.optimizer.kind != "sgd":
            sizes = torch.cat([g.abs().flatten() for g in step.gradients.values()])
            margins["gradient"] = sizes[sizes > 0].min().item()
    return {n: t.detach().numpy() for n, t in expected.items()}, margins


def difference(expected, other):
    """The largest difference between two results, relative to each tensor's largest element.

    Tensors of nearly nothing (the gradient of a bias before batch norm) count absolutely.
    """
    worst, where = 0.0, ""
    for name, value in expected.items():
        if value.dtype.kind == "i" or "leaders" in name:
            if not np.array_equal(value, other[name]):
                return math.inf, name
            continue
        gap = np.abs(value - other[name]).max() / max(np.abs(value).max(), 1e-2)
        if not gap <= worst:
            worst, where = gap, name
    return worst, where


def find(name, case, curve):
    """The first draw that is varied and without near-ties, and what it gives."""
    for attempt in range(ATTEMPTS):
        drawn = Drawn(name, case, curve, attempt)
        expected, margins = compute(case, curve, drawn, torch.float64)
        clear = (
            margins["tie"] > TIE
            and margins["kink"] > (CURVE_KINK if curve else KINK)
            and margins["gradient"] > ADAM_GRADIENT
        )
        if clear and varied(case, expected, drawn.targets):
            return drawn, expected, attempt
    raise RuntimeError(f"{name}: no fit draw in {ATTEMPTS} attempts")


def write(name, config, drawn, expected, folder):
    """Both files of a case; gives their size."""
    tensors = {f"weights/{n}": w for n, w in drawn.weights.items()}
    tensors |= {f"feedback/{n}": m for n, m in drawn.feedback.items()}
    tensors["batch/images"], tensors["batch/target"] = drawn.images[0], drawn.targets[0]
    if len(drawn.images) > 1:
        tensors["batches/images"], tensors["batches/target"] = drawn.images, drawn.targets
    for key, value in expected.items():
        kind = np.int32 if value.dtype.kind == "i" else np.float32
        tensors[f"expected/{key}"] = value.astype(kind)
    tensors = {n: np.ascontiguousarray(t) for n, t in sorted(tensors.items())}
    save_file(tensors, folder / f"{name}.safetensors")
    (folder / f"{name}.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    return sum((folder / f"{name}.{kind}").stat().st_size for kind in ("safetensors", "json"))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", help="names of cases; all if none is given")
    parser.add_argument("--out", type=Path, default=VECTORS, help="folder to write to")
    parser.add_argument("--no-check", action="store_true", help="leave out finite differences")
    parser.add_argument("--table", action="store_true", help="print the table of cases and stop")
    arguments = parser.parse_args()
    if arguments.table:
        print("| case | what it holds |\n|---|---|")
        for name, entry in CASES.items():
            print(f"| `{name}` | {entry['about']} |")
        return

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    total = 0
    for name in arguments.cases or CASES:
        entry = CASES[name]
        config, curve = entry["config"], entry["curve"]
        case = settings.case(config)
        drawn, expected, attempt = find(name, case, curve)
        single, _ = compute(case, curve, drawn, torch.float32)
        rounding, where = difference(expected, single)
        limit = CURVE_TOLERANCE if curve else STEP_TOLERANCE
        assert rounding < limit, f"{name}: float32 differs by {rounding:.1e} in {where}"
        if not arguments.no_check:
            net = drawn.network(case, torch.float64)
            check.run(case, net, *drawn.batches(torch.float64), drawn.feedback)
        if curve and case.training.schedule.kind != "constant":
            config = {**config, "rates": training.learning_rates(case)}
            settings.case(config)
        size = write(name, config, drawn, expected, arguments.out)
        total += size
        print(f"{name:42} {size:7} bytes  draw {attempt:3}  f32 {rounding:.1e} ({where})")
    print(f"{total} bytes in all")


if __name__ == "__main__":
    main()
