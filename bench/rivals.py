"""The other frameworks' programs: what they are, whether they are there, and running one.

A program is called as `PROGRAM DESCRIPTION.json --threads N --seconds S [--variant NAME]` with what `lfnn-cli bench
--describe` prints. It builds the network, warms up, measures the training step on a batch in memory for S seconds and
then inference (the output layer's logits of the same batch, in evaluation mode) for S seconds, and prints one JSON object:

    framework                    name and version
    training_images_per_second   a number for each block of steps, at least five
    inference_images_per_second  likewise
    first_loss, last_loss        the global loss of the batch before the first step and after the last
    parameters                   how many are trained; must equal ours
    peak_memory_bytes            the most that the process ever held
    loaded_memory_bytes          what it held before it built anything (may be missing)
    arguments                    what later runs may add to the command to choose at once what this run tried (may be missing)

What it cannot do it says in a line on stderr, with exit code 1.
"""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
# The first run of compiled variants compiles; on two busy cores that has taken minutes.
TIME_LIMIT = 900
# glibc hands large blocks back to the system and faults them in again in every step; this makes it keep them, for
# all alike. The programs in Rust start themselves anew unless they find exactly this.
ALLOCATOR = "glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=17179869184"


@dataclass(frozen=True)
class Rival:
    """A way of a framework, such as eager PyTorch."""

    framework: str
    variant: str | None
    command: tuple[str, ...]

    @property
    def name(self):
        return f"{self.framework} {self.variant}" if self.variant else self.framework

    def run(self, description, threads, seconds, arguments):
        """What the program measures.

        Raises RuntimeError with what it says if it cannot.
        """
        command = [*self.command, str(description), "--threads", str(threads), "--seconds", str(seconds)]
        command += ["--variant", self.variant] if self.variant else []
        pools = ("RAYON_NUM_THREADS", "CANDLE_NUM_THREADS", "OMP_NUM_THREADS")
        environment = os.environ | {pool: str(threads) for pool in pools} | {"GLIBC_TUNABLES": ALLOCATOR}
        try:
            done = subprocess.run(
                [*command, *arguments], check=False, capture_output=True, text=True, env=environment, timeout=TIME_LIMIT
            )
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"no answer within {TIME_LIMIT} s") from error
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise RuntimeError(lines[-1].removeprefix("error: "))
        try:
            return json.loads(done.stdout)
        except json.JSONDecodeError as error:
            raise RuntimeError(f"its answer is not one JSON object: {error}") from error


def pytorch(python):
    program = (python, str(HERE / "pytorch" / "cpu.py"))
    done = subprocess.run([python, "-c", "import torch, safetensors"], check=False, capture_output=True)
    missing = f"{python} lacks torch or safetensors: {python} -m pip install torch safetensors (--python names another)"
    return [Rival("PyTorch", way, program) for way in ("eager", "compile")], missing if done.returncode else None


def crate(framework):
    """A framework whose program is a cargo package of its own in bench/."""
    package = f"bench-{framework}"
    manifest = HERE / framework / "Cargo.toml"
    program = HERE / framework / "target" / "release" / package
    missing = None
    if not os.access(program, os.X_OK):
        build = f"cd {manifest.parent.relative_to(HERE.parent)} && cargo build --release --locked"
        missing = f"{package} is not built: {build}" if manifest.exists() else f"bench/{framework} is not there"
    return [Rival(framework, None, (str(program),))], missing


FRAMEWORKS = ("pytorch", "candle", "burn")


def find(frameworks, python):
    """The ways that are there, and for each framework that is not, why and what helps."""
    rivals, missing = [], []
    for framework in frameworks:
        ways, lacks = pytorch(python) if framework == "pytorch" else crate(framework)
        if lacks:
            missing.append(f"{framework}: {lacks}")
        else:
            rivals += ways
    return rivals, missing
