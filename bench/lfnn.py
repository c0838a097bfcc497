"""Our side of the comparisons: the networks, and what `lfnn-cli bench` says and measures of them."""

import json
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
NETWORKS = {
    "mlp": ["--config", str(HERE / "mlp.yaml")],
    "mnist-s": ["--recipe", "mnist-s"],
    "cifar10-m": ["--recipe", "cifar10-m"],
    "cifar10-block": ["--recipe", "cifar10-block"],
    "tiny-imagenet": ["--recipe", "tiny-imagenet"],
    "large": ["--config", str(HERE / "large.yaml")],
}
# The others' images are normalised as they are made and stay as they are.
PLAIN = ["--set", "dataset.augmentation={}"]


def bench(cli, network, method, batch, *options):
    """What `lfnn-cli bench` prints as JSON, with options such as `--seconds 3` or `--describe`."""
    command = [str(cli), "bench", *NETWORKS[network], "--method", method, "--batch", str(batch)]
    command += [*PLAIN, "--json", *options]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}")
    return json.loads(done.stdout)
