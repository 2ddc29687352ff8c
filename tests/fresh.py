"""Python processes that start at once: forked from one that has imported what takes seconds, torch above all."""

import multiprocessing
import os
import sys
from pathlib import Path

PROCESSES = multiprocessing.get_context("forkserver")
# Nothing that reads HF_… at import.
PROCESSES.set_forkserver_preload(["torch._dynamo", "scipy.optimize", "cv2"])
TIMEOUT = 120  # seconds


def run_python(code, environment, folder, timeout=TIMEOUT):
    """Run code in a process of its own; return its exit status and what it wrote to stdout and to stderr.

    Args:
        code: Python source.
        environment: all environment variables, among them PYTHONPATH.
        folder: where its output is kept.
        timeout: seconds.

    Raises:
        TimeoutError: it ran for longer, and was killed.
    """
    files = [Path(folder) / name for name in ("stdout", "stderr")]
    child = PROCESSES.Process(target=_run, args=(code, dict(environment), files))
    child.start()
    child.join(timeout)
    if child.exitcode is None:
        child.kill()
        raise TimeoutError(f"still running after {timeout} s: {files[1].read_text()}")
    return child.exitcode, *(file.read_text() for file in files)


def _run(code, environment, files):
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = environment["PYTHONPATH"].split(os.pathsep)
    for number, file in enumerate(files, 1):
        os.dup2(os.open(file, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
    sys.stdout, sys.stderr = open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
    exec(code, {"__name__": "__main__"})
