"""Waiting lines: work runs in a few threads, first come first served, and whoever waits knows for what and how long."""

import asyncio
import contextlib
import contextvars
import gc
import logging
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from facesym.errors import FacesymError

log = logging.getLogger("facesym.page")
POLL = 0.15  # seconds between two looks at a job
LEFT = 15.0  # seconds without a look after which the visitor has left, and the job ends


class BusyError(FacesymError):
    """Too many people wait already."""


class Stopped(Exception):
    """The visitor pressed Cancel, or left."""


@dataclass
class Job:
    """One piece of work.

    Attributes:
        seconds: how long it takes, estimated from others before it.
        fraction: of it that is done.
        step: what is being done, for the visitor.
        picture: shown meanwhile: a PIL image or None.
    """

    seconds: float
    fraction: float = 0.0
    step: str = "Starting"
    picture: object = None
    started: float | None = None
    seen: float = field(default_factory=time.monotonic)
    cancelled: threading.Event = field(default_factory=threading.Event)

    def tell(self, fraction: float, step: str, picture=None) -> None:
        """Called by the work now and then.

        Raises:
            Stopped: nobody waits for it any more.
        """
        if self.cancelled.is_set() or time.monotonic() - self.seen > LEFT:
            raise Stopped
        self.fraction, self.step = fraction, step
        self.picture = picture or self.picture

    def remaining(self) -> float:
        """Seconds until it ends, estimated."""
        if self.started is None:
            return self.seconds
        passed = time.monotonic() - self.started
        if self.fraction > 0.1 and passed > 3:  # by now its own pace says more
            return passed * (1 - self.fraction) / self.fraction
        return max(self.seconds - passed, 0)


class Line:
    """A waiting line.

    Args:
        name: what its work is called when somebody waits for it: "a fit".
        workers: how many jobs run at a time.
        seconds: how long one takes, until some have been timed.
        most: how many may wait.
        patient: it gets the processor when nobody else wants it (on Linux).
    """

    def __init__(
        self, name: str, workers: int = 1, seconds: float = 2.0, most: int = 60, patient: bool = False
    ):
        self.name, self.workers, self.seconds, self.most = name, workers, seconds, most
        begin = lower_priority if patient else None
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix=name.split()[-1], initializer=begin)
        self._jobs: list[Job] = []

    def _start(self, function, args):
        if len(self._jobs) >= self.most:
            minutes = max(1, round(sum(job.remaining() for job in self._jobs) / self.workers / 60))
            raise BusyError(
                f"{len(self._jobs)} people wait for this already. Please try again in about {minutes} min."
            )
        job = Job(self.seconds)
        self._jobs.append(job)
        context = contextvars.copy_context()  # ZeroGPU keeps in it whose request this is
        return job, self._pool.submit(context.run, self._work, job, function, args)

    def _work(self, job, function, args):
        job.tell(0, "Starting")
        job.started = time.monotonic()
        try:
            result = function(job.tell, *args)
            self.seconds += 0.3 * (time.monotonic() - job.started - self.seconds)
            return result
        finally:
            gc.collect(0)
            trim_memory()

    def before(self, job: Job) -> tuple[int, float]:
        """How many jobs come before this one, and in about how many seconds it starts."""
        others = self._jobs[: self._jobs.index(job)]
        return len(others), sum(other.remaining() for other in others) / self.workers

    async def follow(self, function, *args):
        """Do the work; an asynchronous generator.

        Args:
            function: called with ``tell`` (see `Job.tell`) and the arguments, in another thread.

        Yields:
            The `Job`, now and then, until it has ended; then (None, result).

        Raises:
            BusyError: too many wait. And what the function raises.
        """
        job, future = self._start(function, args)
        ended = asyncio.wrap_future(future)
        ended.add_done_callback(
            lambda done: done.cancelled() or done.exception()
        )  # nobody may wait for it by then
        try:
            while not ended.done():
                job.seen = time.monotonic()
                yield job
                await asyncio.wait([ended], timeout=POLL)
            yield None, ended.result()
        finally:
            job.cancelled.set()
            future.cancel()
            self._jobs.remove(job)

    async def run(self, function, *args):
        """Do the work and return its result; see `follow`."""
        result = None
        async for news in self.follow(function, *args):
            if isinstance(news, tuple):
                result = news[1]
        return result

    def describe(self, job: Job) -> tuple[float, str]:
        """What to tell who waits for a job: a fraction and a sentence."""
        if job.started is None:
            count, seconds = self.before(job)
            who = "1 person is" if count == 1 else f"{count} people are"
            if count:
                return 0, f"Waiting for {self.name}: {who} before you, about {in_words(seconds)}"
        return job.fraction, f"{job.step} · about {in_words(job.remaining())} left"


def lower_priority() -> None:
    """Let other threads go before this one and those that it starts."""
    if sys.platform == "linux":  # elsewhere a thread has no priority of its own
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 5)


def in_words(seconds: float) -> str:
    """A rough duration."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    return f"{round(seconds / 60)} min"


def _no_trim(_):
    return 0


try:  # glibc keeps what was freed, ever more of it under threads: give it back
    import ctypes

    _trim = ctypes.CDLL("libc.so.6").malloc_trim
except (OSError, AttributeError):
    _trim = _no_trim


def trim_memory() -> None:
    """Give freed memory back to the system, where the C library can."""
    _trim(0)
