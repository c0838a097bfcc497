"""Compares lfnn with PyTorch on a GPU and prints a Markdown table.

    python3 bench/pytorch/gpu.py LFNN_CLI [--networks NAME...] [--methods NAME...] [--batches N...] [--precisions NAME...]

Each network, method, batch size and precision is measured by turns, some rounds of lfnn and of PyTorch's three ways:
eager, `torch.compile`, a CUDA graph. Ratios are of medians; the spread is the quartiles' over the median. Both sides use
TF32 in `tf32` alone; in `f32` PyTorch's convolutions, which would use it unasked, do not. With --check, the steps are
done once on the CPU with a small batch, which shows that networks and configurations are understood; with --warm, what
PyTorch compiles is compiled, into its cache, and nothing is measured. Where there are cores enough, that is done first.
"""

import argparse
import datetime
import itertools
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import torch
from network import Trainer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from lfnn import bench

NETWORKS = ["mnist-s", "cifar10-m", "tiny-imagenet", "large"]
METHODS = ["lfnn-l", "lfnn", "bp"]
# With fewer, compiling side by side gains little.
WARMING_CORES = 8
PRECISIONS = {"f32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}


def time_steps(step, batch, seconds):
    """Images a second by CUDA events, one number for each block of steps."""
    for _ in range(5):
        step()
    torch.cuda.synchronize()

    def block(steps):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(steps):
            step()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3

    steps = max(1, int(0.2 / max(block(8) / 8, 1e-6)))
    speeds, spent = [], 0.0
    while spent < seconds or len(speeds) < 3:
        took = block(steps)
        spent += took
        speeds.append(steps * batch / took)
    return speeds


def spread(values):
    """Median, and how far the quartiles lie apart as a share of it."""
    if len(values) < 2:
        return statistics.median(values), 0.0
    low, median, high = statistics.quantiles(values, n=4)
    return median, (high - low) / median


def ways(described, precision):
    """PyTorch's ways to do a step, each made when it is asked for."""
    dtype = PRECISIONS[precision]
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    return {
        "eager": lambda: Trainer(described, "cuda", dtype).step,
        "compile": lambda: Trainer(described, "cuda", dtype).compiled(),
        "graph": lambda: Trainer(described, "cuda", dtype).captured(),
    }


def compare(given, name, method, batch, precision):
    """A row of the table, why PyTorch failed at a way, and all that was measured."""
    part = given.seconds / given.rounds
    options = ["--precision", precision, "--backend", "cuda", "--seconds", str(part)]
    ours, theirs, peaks, failed, steps = [], {}, {}, {}, {}
    for _ in range(given.rounds):
        described = bench(given.cli, name, method, batch, *options)
        of = described["training_images_per_second"]
        ours += [of["lower_quartile"], of["median"], of["upper_quartile"]]
        for way, make in ways(described, precision).items():
            if way in failed:
                continue
            try:
                if way not in steps:
                    # What the others hold is theirs.
                    held = torch.cuda.memory_allocated()
                    torch.cuda.reset_peak_memory_stats()
                    steps[way] = make()
                    steps[way]()
                    torch.cuda.synchronize()
                    peaks[way] = torch.cuda.max_memory_allocated() - held
                theirs.setdefault(way, []).extend(time_steps(steps[way], batch, part))
            except Exception as error:  # noqa: BLE001 a way that PyTorch cannot go is said, and the others are measured
                failed[way] = (str(error) or type(error).__name__).splitlines()[0]
    steps.clear()
    torch._dynamo.reset()
    torch.cuda.empty_cache()
    median, share = spread(ours)
    flops, moved = described["step_flops"], described["step_moved_bytes"]
    cells = [name, method, str(batch), precision, f"{median:,.0f} ± {100 * share:.0f} %"]
    for way in ("eager", "compile", "graph"):
        if way in theirs:
            other, share = spread(theirs[way])
            cells.append(f"{median / other:.2f} (± {100 * share:.0f} %)")
        else:
            cells.append("–")
    per_second = median / batch
    cells.append(f"{per_second * flops / 1e12:.1f}")
    cells.append(f"{per_second * moved / 1e9:.0f}")
    cells.append(f"{(described['persistent_bytes'] + described['step_bytes']) / 2**20:,.0f}")
    cells.append(f"{min(peaks.values()) / 2**20:,.0f}" if peaks else "–")
    return cells, failed, {"lfnn": described, "lfnn_images_per_second": ours, "pytorch_images_per_second": theirs}


def lost():
    """Whether PyTorch can do nothing more in this process: an assertion on the device ends its context."""
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return True
    return False


def warm_side_by_side(given):
    """A process for each network and method compiles: one after the other would take longer than all measurements."""
    fixed = ["--warm", "--batches", *map(str, given.batches), "--precisions", *given.precisions]
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, given.cli, *fixed, "--networks", network, "--methods", method],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for network, method in itertools.product(given.networks, given.methods)
    ]
    for process in processes:
        process.wait()


def warm(given, rows):
    """Compiles what the rows need, and runs it twice."""
    for name, method, batch, precision in rows:
        described = bench(given.cli, name, method, batch, "--describe")
        step = ways(described, precision)["compile"]()
        step()
        step()
        torch._dynamo.reset()
    torch.cuda.synchronize()


def check(given):
    """Every network and method: one measurement of lfnn on the CPU, two steps of PyTorch."""
    for name in given.networks:
        for method in given.methods:
            batch = 2 if name in ("tiny-imagenet", "large") else 8
            described = bench(given.cli, name, method, batch, "--describe")
            trainer = Trainer(described, "cpu", torch.float32)
            before = [p.detach().clone() for p in trainer.net.parameters()]
            trainer.step()
            trainer.step()
            after = list(trainer.net.parameters())
            moved = sum(not torch.equal(a, b) for a, b in zip(after, before, strict=True))
            count = sum(p.numel() for p in after)
            finite = all(bool(p.isfinite().all()) for p in after)
            print(f"{name} · {method}: {count:,} parameters; {moved} of {len(after)} tensors learn")
            if not finite or moved == 0:
                sys.exit(f"error: {name} · {method}: the step does not train")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = {"nargs": "+", "metavar": "NAME"}
    parser.add_argument("cli", help="lfnn-cli")
    parser.add_argument("--networks", **names, default=NETWORKS, choices=NETWORKS, help=f"of {', '.join(NETWORKS)}")
    parser.add_argument("--methods", **names, default=METHODS, choices=METHODS, help=f"of {', '.join(METHODS)}")
    parser.add_argument("--batches", nargs="+", type=int, metavar="N", default=[128, 1024])
    parser.add_argument("--precisions", **names, default=["f32", "bf16"], choices=PRECISIONS, help="f32, tf32, bf16")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each side [default: 3]")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each side in all its turns [default: 3]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was measured")
    parser.add_argument("--check", action="store_true", help="run each step once on the CPU instead")
    parser.add_argument("--warm", action="store_true", help="only compile PyTorch's steps into its cache")
    return parser.parse_args()


def main():
    given = arguments()
    if given.check:
        check(given)
        return
    if not torch.cuda.is_available():
        sys.exit("error: PyTorch finds no GPU")
    rows = list(itertools.product(given.networks, given.methods, given.batches, given.precisions))
    if given.warm:
        warm(given, rows)
        return
    if os.cpu_count() >= WARMING_CORES:
        warm_side_by_side(given)
    head = "network,method,batch,precision,lfnn images/s,× eager,× compile,× graph,TFLOP/s,GB/s,MiB,PyTorch MiB"
    print(f"{datetime.date.today()}, {torch.cuda.get_device_name()}, PyTorch {torch.__version__}, ", end="")
    print(f"CUDA {torch.version.cuda}\n")
    print("| " + " | ".join(head.split(",")) + " |\n|" + "---|" * len(head.split(",")), flush=True)
    notes, ceilings, measured = [], None, {}
    for row in rows:
        label = " · ".join(map(str, row))
        try:
            cells, failed, measured[label] = compare(given, *row)
        except RuntimeError as error:
            notes.append(f"{label}: {str(error).splitlines()[0]}")
            if lost():
                notes.append("PyTorch lost its GPU with that: rows behind it are not measured")
                break
            continue
        print("| " + " | ".join(cells) + " |", flush=True)
        notes += [f"{label}: {way}: {why}" for way, why in failed.items()]
        ceilings = measured[label]["lfnn"]["ceilings"] or ceilings
        if given.json:
            given.json.write_text(json.dumps(measured, indent=1))
    if ceilings:
        flops, moved = ceilings["flops_per_second"] / 1e12, ceilings["bytes_per_second"] / 1e9
        print(f"\nThis GPU at best: {flops:.1f} TFLOP/s in f32 without tensor cores, {moved:.0f} GB/s.")
    for note in notes:
        print(f"\n* {note}")
    sys.exit(bool(notes))


main()
