"""What takes the time of a training step (``--profile``)."""

import time
import warnings
from contextlib import contextmanager

import torch


class StepTimer:
    """Splits the time between `begin` and `end` into parts: each moment belongs to the part named last.

    Args:
        device: CUDA devices are waited for at each switch, so that the work is counted where it was asked for.
        steps: how many steps are counted, after `skip` first ones; None: nothing is done.
    """

    skip = 2  # steps that allocate and choose kernels

    def __init__(self, device, steps=None):
        self.device, self.steps, self.done = device, steps, -self.skip
        self.seconds, self.part, self._since = {}, None, 0.0
        self.labels = {}  # id of a parameter: the part that its network is

    @property
    def on(self):
        """Whether anything is timed."""
        return self.steps is not None

    def switch(self, part):
        """From here on it is this part's time (None: nobody's); returns the part before."""
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
        """A part of the step; the one around it goes on afterwards."""
        before = self.switch(part)
        try:
            yield
        finally:
            self.switch(before)

    def watch(self, net, part):
        """Count a network's forward and backward passes as a part of their own."""
        if not self.on:
            return
        self.labels |= {id(parameter): part for parameter in net.parameters()}
        # A network whose input learns nothing is asked for its weights' gradients alone: as good as a part's end.
        warnings.filterwarnings("ignore", "Full backward hook is firing")
        around = []
        net.register_forward_pre_hook(lambda *_: around.append(self.switch(part)))
        net.register_forward_hook(lambda *_: self.switch(around.pop()) and None)
        net.register_full_backward_pre_hook(lambda *_: self.switch(part) and None)
        net.register_full_backward_hook(lambda *_: self.switch("backward") and None)

    def backward_part(self, parameters):
        """The part that a backward pass for these parameters belongs to."""
        return self.labels.get(id(parameters[0]), "backward")

    def step_done(self):
        """Count a step; True when all have been counted."""
        self.done += 1
        return self.on and self.done >= self.steps

    def table(self, pictures):
        """The parts' shares as text, largest first.

        Args:
            images: how many were seen in the steps that were counted.
        """
        total = sum(self.seconds.values())
        lines = [
            f"{part:24s} {seconds / total:6.1%}  {1000 * seconds / self.steps:8.1f} ms a step"
            for part, seconds in sorted(self.seconds.items(), key=lambda item: -item[1])
        ]
        return "\n".join([*lines, f"{pictures / total:.2f} images/s over {self.steps} steps"])
