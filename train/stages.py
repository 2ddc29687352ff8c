"""What a pipeline spends its time on, beside published networks in the same run: for train/benchmark.py."""

import io
import time
import warnings
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import cv2
import numpy as np
import torch
from PIL import Image

import facesym
from facesym.faces.align import align_face
from facesym.faces.find import find_faces
from train.peers import GFPGAN, LaMa, StarGAN

TASKS = {"complete": {}, "symmetrize": {}, "normalize": {}, "transfer": {"to": "happy"}}
STAGES = ("decode", "detect", "align", "network", "texture", "paste")
AIMS = {"complete": 0.25, "symmetrize": 0.20, "transfer": 0.17, "normalize": 0.12}  # of LaMa's network
# Where a stage's functions are called; what one calls of another stage is counted there.
_CALLS = {
    "decode": ("base.read_photo", "complete.read_photo", "complete.load_mask"),
    "detect": ("base.find_faces", "complete.find_faces"),
    "texture": ("complete.find_texture", "complete.borrow_texture"),
}


def scene(megapixels: float) -> tuple[bytes, np.ndarray]:
    """A JPEG file of a portrait (scikit-image's astronaut) of about this size, 4:3, and a mask over its eyes."""
    from skimage import data

    side = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    portrait = data.astronaut()
    margin = (round(len(portrait) * 4 / 3) - len(portrait)) // 2
    wide = Image.fromarray(np.pad(portrait, ((0, 0), (margin, margin), (0, 0)), mode="reflect"))
    photo = wide.resize((round(wide.width * side / wide.height), side), Image.Resampling.LANCZOS)
    file, scale = io.BytesIO(), side / len(portrait)
    photo.save(file, "JPEG", quality=92)
    mask = np.zeros((photo.height, photo.width), bool)
    mask[
        round(95 * scale) : round(130 * scale), round((margin + 180) * scale) : round((margin + 270) * scale)
    ] = True
    return file.getvalue(), mask


def aligned() -> tuple[Image.Image, np.ndarray]:
    """The portrait's aligned crop, and a mask of an eighth of it over its eyes and beyond the face."""
    from skimage import data

    photo, size = Image.fromarray(data.astronaut()), 256
    crop = align_face(photo, find_faces(photo, "largest", size)[2][0], size)
    mask = np.zeros((size, size), bool)
    mask[round(0.36 * size) : round(0.52 * size), round(0.12 * size) : round(0.9 * size)] = True
    return crop, mask


class Clock:
    """CPU and wall seconds by stage; of nested calls each has its own part."""

    def __init__(self):
        self.spent, self._open = {}, []

    @contextmanager
    def stage(self, name: str):
        """Count what is done within as a stage's."""
        began, self._open = _now(), [*self._open, np.zeros(2)]
        try:
            yield
        finally:
            took, inner = _now() - began, self._open.pop()
            self.spent[name] = self.spent.get(name, 0) + took - inner
            if self._open:
                self._open[-1] += took

    def wrapped(self, name: str, function):
        """A function whose calls are counted as a stage's."""

        def call(*args, **options):
            with self.stage(name):
                return function(*args, **options)

        return call

    @contextmanager
    def watching(self, pipe):
        """Count what a pipeline does within."""
        with ExitStack() as stack:
            for name, places in _CALLS.items():
                for place in places:
                    module, function = place.split(".")
                    module = __import__(f"facesym.pipelines.{module}", fromlist=[function])
                    stack.enter_context(
                        patch.object(module, function, self.wrapped(name, getattr(module, function)))
                    )
            for name, method in (("align", "_align"), ("network", "_run"), ("paste", "_finish")):
                stack.enter_context(patch.object(pipe, method, self.wrapped(name, getattr(pipe, method))))
            yield


def _now():
    return np.array([time.process_time(), time.perf_counter()])


def repeated(call, runs: int) -> np.ndarray:
    """Runs x (CPU, wall) milliseconds of a call, after two that do not count."""
    times = []
    for run in range(runs + 2):
        began = _now()
        call()
        if run >= 2:
            times.append(1000 * (_now() - began))
    return np.array(times)


def figures(times: np.ndarray) -> dict[str, float]:
    """The least CPU time, which other work on the machine disturbs least, and the wall time that people wait."""
    cpu, wall = times.T
    return {
        "cpu_ms": round(float(cpu.min()), 1),
        "p50_ms": round(float(np.median(wall)), 1),
        "p95_ms": round(float(np.percentile(wall, 95)), 1),
    }


def _quietly(call):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call()


def peers(runs: int) -> dict[str, dict]:
    """{name: figures} of published networks with random weights, each in its faster layout."""
    rows = {}
    for name, net, shape in (
        ("LaMa", LaMa(), (4, 256, 256)),
        ("StarGAN", StarGAN(), (8, 256, 256)),
        ("GFPGAN", GFPGAN(), (3, 512, 512)),
    ):
        x, best = torch.rand(1, *shape), []
        with torch.inference_mode():
            for layout in (torch.contiguous_format, torch.channels_last):
                net.eval().to(memory_format=layout)
                best.append(figures(repeated(lambda net=net, x=x: net(x), max(runs // 4, 2))))
        count = sum(p.numel() for p in net.parameters())
        rows[name] = {"parameters": count, **min(best, key=lambda row: row["cpu_ms"])}
    return rows


def tasks(pipes: dict, runs: int) -> dict[str, dict]:
    """{task: figures} of an aligned crop, end to end; and of what is computed when it is read."""
    crop, mask = aligned()
    rows = {}
    for task, pipe in pipes.items():
        inputs = (crop, mask) if task == "complete" else (crop,)

        def call(pipe=pipe, inputs=inputs, task=task):
            return pipe(*inputs, aligned=True, **TASKS[task])

        rows[task] = figures(_quietly(lambda call=call: repeated(call, runs)))
        read = {"identity": "identity"} | ({"asymmetry": "asymmetry"} if task == "symmetrize" else {})
        for name in read:
            results = [_quietly(call) for _ in range(max(runs // 4, 2) + 2)]
            rows[f"{task}: {name}, when read"] = figures(
                repeated(lambda results=results, name=name: getattr(results.pop(), name), len(results) - 2)
            )
        several = [list(each) for each in zip(*[inputs] * 16)]

        def batch(pipe=pipe, several=several, task=task):
            return pipe(*several, aligned=True, batch_size=16, **TASKS[task])

        times = _quietly(lambda batch=batch: repeated(batch, max(runs // 10, 2)))
        rows[f"{task}: each of 16 in a list"] = figures(times / 16)
    return rows


def by_stage(pipes: dict, megapixels: float, runs: int) -> dict[str, dict[str, float]]:
    """{task: {stage: least CPU milliseconds}} of a whole photo, from the file's bytes to the photo with the result."""
    photo, mask = scene(megapixels)
    rows = {}
    for task, pipe in pipes.items():
        inputs = (photo, mask) if task == "complete" else (photo,)
        least = {}
        for run in range(runs + 1):
            clock = Clock()
            with clock.watching(pipe), clock.stage("rest"):
                _quietly(lambda pipe=pipe, inputs=inputs, task=task: pipe(*inputs, paste=True, **TASKS[task]))
            if run:
                for stage, spent in clock.spent.items():
                    least[stage] = min(least.get(stage, np.inf), round(1000 * float(spent[0]), 1))
        rows[task] = {stage: least.get(stage, 0.0) for stage in (*STAGES, "rest")}
    return rows


def benchmark(runs: int, megapixels: list[float]) -> dict:
    """Everything: see the functions above."""
    cv2.setNumThreads(torch.get_num_threads())
    pipes = {task: facesym.load(task) for task in TASKS}
    return {
        "peers": peers(runs),
        "tasks": tasks(pipes, runs),
        "stages": {f"{size:g} MP": by_stage(pipes, size, max(runs // 4, 2)) for size in megapixels},
    }


def table(report: dict) -> str:
    """A report as Markdown."""
    lama = report["peers"]["LaMa"]
    lines = ["| | parameters | CPU ms | p50 ms | p95 ms | CPU, of LaMa's | p50, of LaMa's | aim |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for name, row in (report["peers"] | report["tasks"]).items():
        count = f"{row['parameters'] / 1e6:.1f} M" if "parameters" in row else ""
        lines.append(
            f"| {name} | {count} | {row['cpu_ms']:.1f} | {row['p50_ms']:.1f} | {row['p95_ms']:.1f} | "
            f"{row['cpu_ms'] / lama['cpu_ms']:.2f} | {row['p50_ms'] / lama['p50_ms']:.2f} | {AIMS.get(name, '')} |"
        )
    for size, rows in report["stages"].items():
        lines += ["", f"CPU ms by stage, a photo of {size}:", "", f"| | {' | '.join((*STAGES, 'rest'))} |"]
        lines.append("|---" * (len(STAGES) + 2) + "|")
        lines += [
            f"| {task} | {' | '.join(f'{ms:.1f}' for ms in row.values())} |" for task, row in rows.items()
        ]
    return "\n".join(lines)
