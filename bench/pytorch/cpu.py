"""PyTorch's side of bench/compare: a training step and inference on the CPU.

    python3 bench/pytorch/cpu.py DESCRIPTION.json --threads N --seconds S [--variant eager|compile]
                                 [--channels last|first] [--optimizer fused|foreach]

DESCRIPTION.json is what `lfnn-cli bench --describe` prints. Prints a JSON object; bench/rivals.py explains its fields.
Where --channels or --optimizer is not given, a short trial takes the faster; `arguments` in the answer says which, so
that later runs need no trial.
"""

import argparse
import itertools
import json
import sys
import time
from pathlib import Path

import torch
from network import Trainer

LEAST_BLOCKS = 5
BLOCK_SECONDS = 0.1


def memory(field):
    """A field of the process's memory in bytes: VmRSS is what it holds now, VmHWM the most it ever held."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    return None


def rates(work, images, seconds):
    """Images a second of work that was done before, one number for each block."""
    start = time.perf_counter()
    work()
    count = max(1, int(BLOCK_SECONDS / (time.perf_counter() - start)))
    measured, begin = [], time.perf_counter()
    while len(measured) < LEAST_BLOCKS or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        for _ in range(count):
            work()
        measured.append(count * images / (time.perf_counter() - start))
    return measured


def least_time(work):
    """The shortest of several runs after two to warm up."""
    times = []
    for run in itertools.count():
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
        if run >= 4 and (run >= 30 or sum(times[2:]) > 0.3):
            return min(times[2:])


def faster(candidates):
    """The name of the candidate whose work takes the least time."""
    times = {name: least_time(make()) for name, make in candidates.items()}
    return min(times, key=times.get)


def prepare(described, given, channels, optimizer):
    """A trainer and its step."""
    trainer = Trainer(described, "cpu", torch.float32, channels == "last", optimizer == "fused")
    return trainer, trainer.compiled() if given.variant == "compile" else trainer.step


def choose(described, given):
    """The layout of images and the optimiser's way, tried where they are not given."""

    def update(optimizer):
        trainer = Trainer(described, "cpu", torch.float32, fused=optimizer == "fused")
        trainer.gradients()
        return trainer.optimizer.step

    optimizer = given.optimizer or faster({way: lambda way=way: update(way) for way in ("fused", "foreach")})
    if given.channels:
        return given.channels, optimizer
    if "conv" not in json.dumps(described["configuration"]["network"]):
        return "first", optimizer
    layouts = ("last", "first")
    steps = {layout: lambda layout=layout: prepare(described, given, layout, optimizer)[1] for layout in layouts}
    return faster(steps), optimizer


def predictor(net, given):
    """Inference as PyTorch recommends it for the variant."""
    net.eval()
    if given.variant == "eager":
        return net, torch.inference_mode
    # Parameters become constants: normalisation is folded into convolutions, weights are packed once.
    torch._inductor.config.freezing = True
    return torch.compile(net), torch.no_grad


# A loss may rise in the first steps, and of a slow step only a few are measured: so many times five more before
# it is said not to learn. bench/common has the same.
PATIENCE = 8


def loss(trainer):
    """The global loss of the batch."""
    with torch.no_grad():
        return trainer.losses(trainer.x, trainer.target)[0].item()


def measure(described, given):
    loaded = memory("VmRSS")
    channels, optimizer = choose(described, given)
    trainer, step = prepare(described, given, channels, optimizer)
    first = loss(trainer)
    for _ in range(3):
        step()
    training = rates(step, trainer.batch, given.seconds)
    last = loss(trainer)
    for _ in range(PATIENCE):
        if last < first:
            break
        for _ in range(5):
            step()
        last = loss(trainer)
    trainer.optimizer.zero_grad(set_to_none=True)
    net, mode = predictor(trainer.net, given)
    with mode():
        for _ in range(3):
            net(trainer.x)
        inference = rates(lambda: net(trainer.x), trainer.batch, given.seconds)
    return {
        "framework": f"PyTorch {torch.__version__}",
        "variant": given.variant,
        "threads": torch.get_num_threads(),
        "arguments": ["--channels", channels, "--optimizer", optimizer],
        "training_images_per_second": training,
        "inference_images_per_second": inference,
        "first_loss": first,
        "last_loss": last,
        "parameters": sum(p.numel() for p in trainer.parameters),
        "loaded_memory_bytes": loaded,
        "peak_memory_bytes": memory("VmHWM"),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("description", type=Path, help="what `lfnn-cli bench --describe` prints")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True, help="of each measurement")
    parser.add_argument("--variant", choices=["eager", "compile"], default="eager")
    parser.add_argument("--channels", choices=["last", "first"], help="how images lie [default: the faster]")
    parser.add_argument(
        "--optimizer", choices=["fused", "foreach"], help="how parameters are updated [default: the faster]"
    )
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.set_num_interop_threads(1)
    try:
        result = measure(json.loads(given.description.read_text()), given)
    except Exception as error:  # noqa: BLE001 whatever cannot be done is told in a line
        sys.exit(f"error: {(str(error) or type(error).__name__).splitlines()[0]}")
    print(json.dumps(result))


main()
