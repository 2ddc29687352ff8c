"""Number of torch threads: on cores shared with other work, fewer threads are faster."""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

FEW_CORES = 4  # up to which one thread is faster
_LOCK = threading.Lock()  # no fit may start while another has set torch's number to 1


@contextlib.contextmanager
def few_threads() -> Iterator[None]:
    """Use one torch thread in this thread on machines with few cores; elsewhere, torch's setting does not change.

    The operations of a fit are small, and threads spin while they wait for each other in each of them. With two threads
    on two cores and one other busy process, a fit takes many times longer than with one thread.
    """
    import torch

    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with _LOCK:
        before = torch.get_num_threads()
        if available <= FEW_CORES:
            torch.set_num_threads(1)
            # torch keeps the number per thread, but a thread that uses torch for the first time takes the latest number
            # set by any thread: set the usual one again, in another thread.
            other = threading.Thread(target=torch.set_num_threads, args=(before,))
            other.start()
            other.join()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def use_one_thread_after_fork() -> None:
    """Make forked processes work, which have no copy of the threads of a pool and would wait for them forever.

    OpenCV's threads end before the fork, because a child cannot end them; a child with one thread does not use torch's
    pool.
    """
    import cv2

    before = []

    def end_threads():
        before.append(cv2.getNumThreads())
        cv2.setNumThreads(0)

    def restore():
        cv2.setNumThreads(before.pop())

    def keep_one_thread():
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(1)

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=end_threads,
            after_in_parent=restore,
            after_in_child=keep_one_thread,
        )
