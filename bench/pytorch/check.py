"""Compares a training step of network.py with one of lfnn, number by number.

    python3 bench/pytorch/check.py LFNN_CLI [--networks NAME…] [--methods NAME…]

For every network and method that is compared in speed, PyTorch draws parameters, running statistics and a batch;
`lfnn-cli step` is given the same. The global loss, every parameter's gradient and the running statistics after the step
must agree within 1e-4 of their norms, and the same parameters must be trained. Both sides compute in f32 on the CPU.
Dropout is off, since random streams differ. Needs PyTorch and safetensors; exits with 1 and the names of what differs.

Among a million inputs of ReLUs one lies so near to 0 that rounding decides on which side, which moves gradients by a
thousandth. So batches are small, and where something differs it is drawn anew, three times at most: a wrong formula
differs in every draw.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from network import Trainer
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from lfnn import NETWORKS, bench

METHODS = ["lfnn-l", "lfnn", "bp"]
TOLERANCE = 1e-4
DRAWS = 3
BATCH = 8
# Networks that are deep for this: images of fewer pixels, too.
SMALLER = {"tiny-imagenet": (4, [32, 32, 3]), "large": (2, [16, 16, 3])}


def without_dropout(given):
    """A configuration with every rate of dropout at 0."""
    if isinstance(given, list):
        return [without_dropout(one) for one in given]
    if not isinstance(given, dict):
        return given
    off = {"dropout": {"rate": 0.0} if isinstance(given.get("dropout"), dict) else 0.0}
    return {key: off["dropout"] if key == "dropout" else without_dropout(one) for key, one in given.items()}


def our_name(net, name):
    """A tensor's name in lfnn: layers are numbered from 1, readouts belong to their unit or its block."""
    name = re.sub(r"\b(layer|body|shortcut|before)s?\.(\d+)", lambda m: f"{m[1]}{int(m[2]) + 1}", name)
    if not name.startswith("units."):
        return re.sub(r"^before(\d+)", r"output.layer\1", name)
    _, index, rest = name.split(".", 2)
    unit = net.units[int(index)]
    owner = f"unit{int(index) + 1}." + ("block1." if unit.kind == "block" else "")
    return owner + (f"readout.{rest}" if rest in ("weight", "bias") else rest)


def our_shape(name, tensor):
    """Readouts of all workers are one matrix in lfnn."""
    return tensor.flatten(0, 1) if ".readout." in name else tensor


def ours(net, named):
    """Tensors under lfnn's names, with its shapes, in memory of their own."""
    renamed = ((our_name(net, name), tensor.detach()) for name, tensor in named)
    return {name: our_shape(name, tensor).clone(memory_format=torch.contiguous_format) for name, tensor in renamed}


def draw(net):
    """Numbers for what starts as zeros or ones, so that nothing agrees by chance."""
    with torch.no_grad():
        for name, tensor in [*net.named_parameters(), *net.named_buffers()]:
            if name.endswith("running_var") or (tensor.dim() == 1 and name.endswith("weight")):
                tensor.uniform_(0.5, 1.5)
            elif name.endswith(("bias", "running_mean")):
                tensor.normal_(0.0, 0.1)


def running(net):
    return [(name, tensor) for name, tensor in net.named_buffers() if "running_" in name]


def step_of_ours(cli, described, weights, batch):
    """What `lfnn-cli step` computes."""
    configuration = described["configuration"]
    height, width, channels = described["image"]
    config = {key: configuration[key] for key in ("method", "network", "leadership")}
    config |= {"classes": described["classes"], "input": [channels, height, width]}
    with tempfile.TemporaryDirectory() as folder:
        at = {name: str(Path(folder) / name) for name in ("config", "weights", "batch", "out")}
        Path(at["config"]).write_text(json.dumps(config))
        save_file(weights, at["weights"])
        save_file(batch, at["batch"])
        command = [cli, "step", "--backend", "cpu"]
        command += [part for name, path in at.items() for part in (f"--{name}", path)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"error: {' '.join(command)}: {done.stderr.strip()}")
        return load_file(at["out"])


def gap(actual, expected):
    """How far one tensor is from another, as a share of the other's norm."""
    if actual.shape != expected.shape:
        return float("inf")
    difference = (actual.double() - expected.double()).norm().item()
    norm = expected.double().norm().item()
    return difference / norm if norm > 0 else float("inf" if difference > 0 else 0)


def describe(cli, network, method):
    """What is compared of a network."""
    batch, image = SMALLER.get(network, (BATCH, None))
    described = bench(cli, network, method, batch, "--describe")
    described["configuration"] = without_dropout(described["configuration"])
    return described | ({"image": image} if image else {})


def compare(cli, described, draw_number):
    """The largest gap with its name, how many tensors were compared, and the names of everything that differs."""
    described["configuration"]["seed"] = draw_number
    trainer = Trainer(described, "cpu", torch.float32)
    net = trainer.net
    draw(net)
    weights = ours(net, [*net.named_parameters(), *running(net)])
    batch = {"images": trainer.x.contiguous(), "target": trainer.target}
    seen = step_of_ours(cli, described, weights, batch)

    loss = trainer.gradients()
    trained = {id(p) for p in trainer.parameters}
    named = [(name, p.grad) for name, p in net.named_parameters() if id(p) in trained]
    expected = {"output.loss": loss.detach().reshape(1)}
    expected |= {f"gradients/{name}": tensor for name, tensor in ours(net, named).items()}
    expected |= {f"buffers/{name}": tensor for name, tensor in ours(net, running(net)).items()}

    actual = {name for name in seen if name == "output.loss" or name.startswith(("gradients/", "buffers/"))}
    gaps = {name: gap(seen[name], tensor) for name, tensor in expected.items() if name in actual}
    wrong = [f"{name}: only PyTorch has it" for name in sorted(expected.keys() - actual)]
    wrong += [f"{name}: only lfnn has it" for name in sorted(actual - expected.keys())]
    wrong += [f"{name}: off by {share:.1e} of its norm" for name, share in gaps.items() if not share < TOLERANCE]
    return max((share, name) for name, share in gaps.items()), len(gaps), wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cli", help="lfnn-cli")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    given = parser.parse_args()
    failed = False
    for network in given.networks:
        for method in given.methods:
            try:
                described = describe(given.cli, network, method)
                for number in range(1, DRAWS + 1):
                    (largest, name), count, wrong = compare(given.cli, described, number)
                    if not wrong:
                        break
            except (RuntimeError, ValueError) as error:
                sys.exit(f"error: {network} · {method}: {error}")
            again = f", draw {number}" if number > 1 else ""
            print(f"{network} · {method}: {count} tensors, largest gap {largest:.1e} ({name}){again}", flush=True)
            for line in wrong:
                print(f"  {line}")
            failed = failed or bool(wrong)
    sys.exit(failed)


main()
