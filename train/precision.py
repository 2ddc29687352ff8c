"""``--precision auto``: choose the fastest number format by timing the first steps of the run."""

import time

import torch

# Number format of the convolutions, memory format of images and weights.
CANDIDATES = (("no", "contiguous"), ("no", "channels_last"), ("bf16", "channels_last"))
NAMES = {"no": "fp32", "bf16": "bf16"}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
STEPS = 3  # timed steps per candidate, after one that allocates memory and chooses kernels
WORTH = 1.1  # a candidate replaces the first if it is this many times faster
HOPELESS = 3  # a candidate this many times slower in its first step is dropped


class Precision:
    """Chooses the candidate that the steps run in: tries each for a few steps and keeps the fastest.

    Args:
        asked: "no", "bf16" or "auto".
        apply: called with a memory format whenever it changes.
        agree: averages a tensor over the processes.
        say: prints a line.
    """

    def __init__(self, asked, apply, agree, say):
        self.apply, self.agree, self.say, self.measured = apply, agree, say, asked == "auto"
        self.candidates = [c for c in CANDIDATES if asked == "auto" or c[0] == asked][
            : None if asked == "auto" else 1
        ]
        self.rates, self._step, self._seconds = [], 0, 0.0
        self.current = None

    def begin(self, steps, cycle):
        """Prepare the measurement before the first step.

        Args:
            steps: number of steps of the run; a short run skips the measurement.
            cycle: number of steps after which the work repeats.
        """
        self.cycle = cycle
        if len(self.candidates) > 1 and steps < 5 * len(self.candidates) * (STEPS + 1) * cycle:
            self.candidates = self.candidates[:1]
        self._use(self.candidates[0])

    @property
    def name(self):
        return self.current[0]

    @property
    def memory_format(self):
        return LAYOUTS[self.current[1]]

    def step_done(self, seconds, images):
        """Record a step's seconds and number of images; after the last candidate's steps, choose the fastest."""
        if len(self.candidates) == 1:
            return
        self._step, self._seconds = self._step + 1, self._seconds + seconds
        warm, last = self._step == self.cycle, self._step == self.cycle * (STEPS + 1)
        if not warm and not last:
            return
        timed = self.cycle * (STEPS if last else 1)
        rate = timed * images / self.agree(torch.tensor(self._seconds)).item()
        self._seconds = 0.0
        if warm and not (self.rates and rate < max(self.rates) / HOPELESS):
            return
        self.rates.append(rate)
        self._step = 0
        if len(self.rates) < len(self.candidates):
            self._use(self.candidates[len(self.rates)])
        else:
            self._choose()

    def _choose(self):
        table = dict(zip(self.candidates, self.rates))
        best = max(table, key=table.get)
        if table[best] < WORTH * self.rates[0]:
            best = self.candidates[0]
        shown = ", ".join(f"{NAMES[c[0]]} {c[1]} {rate:.2f}" for c, rate in table.items())
        self.say(f"images/s measured: {shown}; taking {NAMES[best[0]]} {best[1]}")
        self.candidates = [best]
        self._use(best)

    def _use(self, candidate):
        changed = self.current is None or self.current[1] != candidate[1]
        self.current = candidate
        if changed:
            self.apply(self.memory_format)

    def state_dict(self):
        """Return the choice of ``auto``; None during the measurement, or if the format was given."""
        return {"chosen": list(self.candidates[0]) if self.measured and len(self.candidates) == 1 else None}

    def load_state_dict(self, state):
        if state["chosen"] and self.measured:
            self.candidates = [tuple(state["chosen"])]


def clock(device):
    """Wait for the device and return the time in seconds."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
