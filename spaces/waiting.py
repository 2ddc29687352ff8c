"""Queues: jobs run in a few threads, first come, first served, and visitors see how long they will wait."""

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
LOADING = "Loading the model"  # the step of a job that is not counted in its duration
POLL = 0.15  # seconds between two checks of a job
LEFT = 15.0  # a job that nobody has checked for so many seconds ends: its visitor has left


class BusyError(FacesymError):
    """Too many people are waiting already."""


class Stopped(Exception):
    """The visitor pressed Cancel, or left."""


@dataclass
class Job:
    """One piece of work.

    Attributes:
        seconds: estimated duration, from earlier jobs; None before the first one has ended.
        fraction: completed fraction.
        step: the current step, as shown to the visitor.
        viewer: value of the panel's viewer to show during the work, or None.
    """

    seconds: float | None
    fraction: float = 0.0
    step: str = "Starting"
    viewer: dict | None = None
    started: float | None = None
    seen: float = field(default_factory=time.monotonic)
    cancelled: threading.Event = field(default_factory=threading.Event)

    def tell(self, fraction: float, step: str, viewer: dict | None = None) -> None:
        """Report progress; the work calls this now and then.

        Raises:
            Stopped: nobody is waiting for it any more, or the process ends.
        """
        if _stopping.is_set() or self.cancelled.is_set() or time.monotonic() - self.seen > LEFT:
            raise Stopped
        if self.step == LOADING != step:
            self.started = time.monotonic()
        self.fraction, self.step = fraction, step
        self.viewer = viewer or self.viewer

    def remaining(self) -> float | None:
        """Return the estimated number of seconds until the job ends; None if nothing is known yet."""
        if self.started is None:
            return self.seconds
        passed = time.monotonic() - self.started
        if self.fraction > 0.1 and passed > 3:  # by now its own pace is the better estimate
            return passed * (1 - self.fraction) / self.fraction
        if self.seconds is None or self.step == LOADING:
            return None
        return max(self.seconds - passed, 0)


_queues: list["Queue"] = []
_stopping = threading.Event()


def stop_queues() -> None:
    """End the work of all queues, before the process ends: it would wait for it."""
    _stopping.set()
    for queue in _queues:
        queue.close()


class Queue:
    """A queue.

    Args:
        name: name of its work for visitors, such as "a fit".
        workers: number of jobs that run at a time.
        most: maximum number of waiting jobs.
        patient: run at low CPU priority (Linux only).
    """

    def __init__(self, name: str, workers: int = 1, most: int = 60, patient: bool = False):
        self.name, self.workers, self.most = name, workers, most
        self.seconds: float | None = None  # estimated duration of a job, once one has been measured
        begin = lower_priority if patient else None
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix=name.split()[-1], initializer=begin)
        self._jobs: list[Job] = []
        _queues.append(self)

    def close(self) -> None:
        """Drop the work that waits."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _start(self, function, args):
        if len(self._jobs) >= self.most:
            seconds = self._seconds(self._jobs)
            when = "later" if seconds is None else f"in about {max(1, round(seconds / 60))} min"
            raise BusyError(f"{len(self._jobs)} people are waiting already: try again {when}.")
        job = Job(self.seconds)
        self._jobs.append(job)
        context = contextvars.copy_context()  # ZeroGPU stores the current request in it
        return job, self._pool.submit(context.run, self._work, job, function, args)

    def _work(self, job, function, args):
        job.tell(0, "Starting")
        job.started = time.monotonic()
        try:
            result = function(job.tell, *args)
            taken = time.monotonic() - job.started
            self.seconds = taken if self.seconds is None else self.seconds + 0.3 * (taken - self.seconds)
            return result
        finally:
            gc.collect(0)
            trim_memory()

    def _seconds(self, jobs):
        """Return the estimated seconds until jobs have ended; None if that of one is not known."""
        each = [job.remaining() for job in jobs]
        return None if None in each else sum(each) / self.workers

    def before(self, job: Job) -> tuple[int, float | None]:
        """Return the number of jobs ahead of this one and the estimated seconds until it starts, None if unknown."""
        others = self._jobs[: self._jobs.index(job)]
        return len(others), self._seconds(others)

    async def follow(self, function, *args):
        """Run the work; an asynchronous generator.

        Args:
            function: called with ``tell`` (see `Job.tell`) and the arguments, in another thread.

        Yields:
            The `Job`, at intervals until it has ended; then (None, result).

        Raises:
            BusyError: too many jobs are waiting. Exceptions of the function pass through.
        """
        job, future = self._start(function, args)
        ended = asyncio.wrap_future(future)
        # Retrieve the exception, so that asyncio does not log it if nobody is waiting any more.
        ended.add_done_callback(lambda done: done.cancelled() or done.exception())
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
        """Run the work and return its result; see `follow`."""
        result = None
        async for news in self.follow(function, *args):
            if isinstance(news, tuple):
                result = news[1]
        return result

    def describe(self, job: Job) -> tuple[float, str]:
        """Return the progress of a job as a fraction and a sentence."""
        if job.started is None:
            count, seconds = self.before(job)
            who = "1 person is" if count == 1 else f"{count} people are"
            if count:
                about = "" if seconds is None else f", about {in_words(seconds)}"
                return 0, f"Waiting for {self.name}: {who} ahead of you{about}"
        left = job.remaining()
        return job.fraction, job.step if left is None else f"{job.step} · about {in_words(left)} left"


def lower_priority() -> None:
    """Lower the priority of this thread and of those that it starts."""
    if sys.platform == "linux":  # elsewhere threads have no priority of their own
        with contextlib.suppress(OSError):
            thread = os.PRIO_PROCESS, threading.get_native_id()
            os.setpriority(*thread, os.getpriority(*thread) + 5)


def in_words(seconds: float) -> str:
    """Format a rough duration."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    return f"{round(seconds / 60)} min"


def _no_trim(_):
    return 0


try:  # with threads, glibc holds on to more and more freed memory: return it
    import ctypes

    _trim = ctypes.CDLL("libc.so.6").malloc_trim
except (OSError, AttributeError):
    _trim = _no_trim


def trim_memory() -> None:
    """Return freed memory to the system where the C library supports it."""
    _trim(0)
