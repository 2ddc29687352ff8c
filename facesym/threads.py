"""How many threads torch works with: where cores are shared with other work, fewer are faster."""

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def few_threads(cores: int = 4) -> Iterator[None]:
    """Work with one thread on machines of few cores.

    The operations of a fit are small. Threads that share a core with other work wait for each other in all of them,
    by spinning: with two threads on two cores and one other busy process a fit takes many times as long as with one.

    Args:
        cores: the most at which one thread is used; beyond, torch's setting stays.
    """
    import torch

    before = torch.get_num_threads()
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if available <= cores:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def use_one_thread_after_fork() -> None:
    """Let forked children work: threads of a pool do not live on in them, and waiting for them would never end.

    OpenCV's threads end before the fork, since a child cannot even end them; torch's pool is left alone by a child
    with one thread.
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
