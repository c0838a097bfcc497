"""Tables of a comparison in Markdown."""

import statistics
from dataclasses import dataclass, field


@dataclass
class Cell:
    """Everything that was measured of a network, a method, a batch size and a number of threads."""

    network: str
    method: str
    batch: int
    threads: int
    ours: list = field(default_factory=list)
    # For each rival's name, an answer for each round; rounds of ours and theirs stand side by side.
    theirs: dict = field(default_factory=dict)
    refused: dict = field(default_factory=dict)

    @property
    def label(self):
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{self.network} · {self.method} · batch {self.batch} · {threads}"


def speed_of_ours(cell, what):
    """Images a second and how far a round was from it at most, in percent."""
    rounds = [answer[what]["median"] for answer in cell.ours]
    median = statistics.median(rounds)
    spread = f" ± {100 * max(abs(x - median) for x in rounds) / median:.0f} %" if len(rounds) > 1 else ""
    return f"{median:,.0f}{spread}"


def ratios(cell, name, what):
    """Ours over theirs, a number for each round."""
    pairs = zip(cell.ours, cell.theirs[name], strict=False)
    return [ours[what]["median"] / statistics.median(theirs[what]) for ours, theirs in pairs]


def ratio(cell, name, what):
    """The median ratio, and the smallest and largest of the rounds."""
    if not cell.theirs.get(name):
        return "–"
    rounds = ratios(cell, name, what)
    spread = f" ({min(rounds):.2f} … {max(rounds):.2f})" if len(rounds) > 1 else ""
    return f"{statistics.median(rounds):.2f}{spread}"


def megabytes(answers, what):
    """The least of the rounds: a first round's trials and compilations are not what a user needs."""
    sizes = [answer[what] for answer in answers if answer.get(what)]
    return f"{min(sizes) / 2**20:,.0f}" if sizes else "–"


def memory(cell, name):
    answers = cell.theirs.get(name)
    if not answers:
        return "–"
    loaded = megabytes(answers, "loaded_memory_bytes")
    return megabytes(answers, "peak_memory_bytes") + (f" ({loaded})" if loaded != "–" else "")


def markdown(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def tables(cells, names):
    """Training, inference and memory, a row for each cell."""
    cells = [cell for cell in cells if cell.ours]
    place = ["network", "method", "batch", "threads"]

    def rows(columns):
        labels = ([cell.network, cell.method, str(cell.batch), str(cell.threads)] for cell in cells)
        return [label + columns(cell) for label, cell in zip(labels, cells, strict=True)]

    text = []
    for title, what in [("Training", "training_images_per_second"), ("Inference", "inference_images_per_second")]:
        head = [*place, "lfnn, images/s", *(f"× {name}" for name in names)]
        body = rows(lambda cell, what=what: [speed_of_ours(cell, what), *(ratio(cell, name, what) for name in names)])
        text.append(f"{title}: lfnn's images per second, and how many times those of the others (median of rounds, ")
        text[-1] += f"smallest … largest):\n\n{markdown(head, body)}"
    head = [*place, "lfnn", *names]
    body = rows(lambda cell: [megabytes(cell.ours, "peak_memory_bytes"), *(memory(cell, name) for name in names)])
    text.append("Peak memory of the process in MiB (of which it held before it built the network):\n\n")
    text[-1] += markdown(head, body)
    return "\n\n".join(text)
