"""Time pipelines by stage, next to published networks in the same run (used by train/benchmark.py)."""

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
# As fractions of LaMa's time.
TARGETS = {"complete": 0.25, "symmetrize": 0.20, "transfer": 0.17, "normalize": 0.12}
# Functions of each stage, by the module that calls them. Nested calls count for their own stage.
_CALLS = {
    "decode": ("base.read_photo", "complete.read_photo", "complete.load_mask"),
    "detect": ("base.search_faces", "complete.search_faces"),
    "texture": ("complete.find_texture", "complete.borrow_texture"),
}


def scene(megapixels: float) -> tuple[bytes, np.ndarray]:
    """Make a 4:3 photo of about this size from scikit-image's astronaut, and a mask over the eyes.

    Returns:
        The bytes of a JPEG file, and HxW bool, True = missing.
    """
    from skimage import data

    side = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    portrait = data.astronaut()
    margin = (round(len(portrait) * 4 / 3) - len(portrait)) // 2
    wide = Image.fromarray(np.pad(portrait, ((0, 0), (margin, margin), (0, 0)), mode="reflect"))
    photo = wide.resize((round(wide.width * side / wide.height), side), Image.Resampling.LANCZOS)
    file, scale = io.BytesIO(), side / len(portrait)
    photo.save(file, "JPEG", quality=92)
    mask = np.zeros((photo.height, photo.width), bool)
    x0, y0, x1, y1 = (round(v * scale) for v in (margin + 180, 95, margin + 270, 130))
    mask[y0:y1, x0:x1] = True
    return file.getvalue(), mask


def aligned() -> tuple[Image.Image, np.ndarray]:
    """Return the aligned crop of the portrait (256 pixels) and a mask, 256x256 bool, over the eyes and beyond."""
    from skimage import data

    photo, size = Image.fromarray(data.astronaut()), 256
    crop = align_face(photo, find_faces(photo, "largest", size)[2][0], size)
    mask = np.zeros((size, size), bool)
    mask[round(0.36 * size) : round(0.52 * size), round(0.12 * size) : round(0.9 * size)] = True
    return crop, mask


class Clock:
    """Measures CPU and wall seconds by stage, without those of nested stages.

    Attributes:
        spent: {stage: array of CPU and wall seconds}.
    """

    def __init__(self):
        self.spent, self._open = {}, []

    @contextmanager
    def stage(self, name: str):
        """Context manager: time the block as a stage."""
        began, self._open = _now(), [*self._open, np.zeros(2)]
        try:
            yield
        finally:
            took, inner = _now() - began, self._open.pop()
            self.spent[name] = self.spent.get(name, 0) + took - inner
            if self._open:
                self._open[-1] += took

    def wrapped(self, name: str, function):
        """Return a function that times the calls of ``function`` as a stage."""

        def call(*args, **options):
            with self.stage(name):
                return function(*args, **options)

        return call

    @contextmanager
    def watching(self, pipe):
        """Context manager: time the stages of a pipeline's calls."""
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
    """Time a call after two warm-up runs: an array of ``runs`` x (CPU, wall) milliseconds."""
    times = []
    for run in range(runs + 2):
        began = _now()
        call()
        if run >= 2:
            times.append(1000 * (_now() - began))
    return np.array(times)


def figures(times: np.ndarray) -> dict[str, float]:
    """Summarize times: the minimum CPU time, which other processes affect least, and quantiles of the wall time."""
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
    """Time published networks with random weights, each in its faster memory layout: {name: figures}."""
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
    """Time pipelines on an aligned crop, end to end, and fields that are computed on access: {row: figures}."""
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
    """Time pipelines on a whole photo, from the bytes of the file to the photo with the result.

    Returns:
        {task: {stage: minimum CPU milliseconds}}.
    """
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


def benchmark(runs: int, megapixels: list[float], backend: str) -> dict:
    """Run all measurements; return a dict of the results of `peers`, `tasks` and `by_stage`."""
    cv2.setNumThreads(torch.get_num_threads())
    pipes = {task: facesym.load(task, backend=backend) for task in TASKS}
    return {
        "peers": peers(runs),
        "tasks": tasks(pipes, runs),
        "stages": {f"{size:g} MP": by_stage(pipes, size, max(runs // 4, 2)) for size in megapixels},
    }


def table(report: dict) -> str:
    """Format the result of `benchmark` as Markdown."""
    lama = report["peers"]["LaMa"]
    lines = ["| | parameters | CPU ms | p50 ms | p95 ms | CPU, of LaMa's | p50, of LaMa's | target |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for name, row in (report["peers"] | report["tasks"]).items():
        count = f"{row['parameters'] / 1e6:.1f} M" if "parameters" in row else ""
        lines.append(
            f"| {name} | {count} | {row['cpu_ms']:.1f} | {row['p50_ms']:.1f} | {row['p95_ms']:.1f} | "
            f"{row['cpu_ms'] / lama['cpu_ms']:.2f} | {row['p50_ms'] / lama['p50_ms']:.2f} | {TARGETS.get(name, '')} |"
        )
    for size, rows in report["stages"].items():
        lines += ["", f"CPU ms by stage, a photo of {size}:", "", f"| | {' | '.join((*STAGES, 'rest'))} |"]
        lines.append("|---" * (len(STAGES) + 2) + "|")
        lines += [
            f"| {task} | {' | '.join(f'{ms:.1f}' for ms in row.values())} |" for task, row in rows.items()
        ]
    return "\n".join(lines)
