"""Time spent in each part of a training step (``--profile``)."""

import time
import warnings
from contextlib import contextmanager

import torch


class StepTimer:
    """Splits the time of a step into parts; each moment belongs to the part named last.

    Args:
        device: a CUDA device is synchronized at each switch, so that work counts for the part that started it.
        steps: number of steps to time, after `skip` first ones; None: no timing.
    """

    skip = 2  # steps that allocate memory and choose kernels

    def __init__(self, device, steps=None):
        self.device, self.steps, self.done = device, steps, -self.skip
        self.seconds, self.part, self._since = {}, None, 0.0
        self.labels = {}  # id of a parameter: the part that its network belongs to

    @property
    def on(self):
        """Whether anything is timed."""
        return self.steps is not None

    def switch(self, part):
        """Start timing a part (None: no part) and return the previous one."""
        if not self.on:
            return None
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        now, before = time.perf_counter(), self.part
        if before is not None and self.done >= 0:
            self.seconds[before] = self.seconds.get(before, 0) + now - self._since
        self.part, self._since = part, now
        return before

    @contextmanager
    def section(self, part):
        """Time a part of the step; the enclosing part continues afterwards."""
        before = self.switch(part)
        try:
            yield
        finally:
            self.switch(before)

    def watch(self, net, part):
        """Time a network's forward and backward passes as a separate part."""
        if not self.on:
            return
        self.labels |= {id(parameter): part for parameter in net.parameters()}
        # torch warns if a network's input needs no gradient; the hook then fires early enough for the timing.
        warnings.filterwarnings("ignore", "Full backward hook is firing")
        around = []
        net.register_forward_pre_hook(lambda *_: around.append(self.switch(part)))
        net.register_forward_hook(lambda *_: self.switch(around.pop()) and None)
        net.register_full_backward_pre_hook(lambda *_: self.switch(part) and None)
        net.register_full_backward_hook(lambda *_: self.switch("backward") and None)

    def backward_part(self, parameters):
        """Return the part that a backward pass for these parameters belongs to."""
        return self.labels.get(id(parameters[0]), "backward")

    def step_done(self):
        """Count a step; return True after the last step to time."""
        self.done += 1
        return self.on and self.done >= self.steps

    def table(self, images):
        """Format the parts with their fractions of the time, largest first.

        Args:
            images: number of images in the timed steps.
        """
        total = sum(self.seconds.values())
        lines = [
            f"{part:24s} {seconds / total:6.1%}  {1000 * seconds / self.steps:8.1f} ms a step"
            for part, seconds in sorted(self.seconds.items(), key=lambda item: -item[1])
        ]
        return "\n".join([*lines, f"{images / total:.2f} images/s over {self.steps} steps"])
