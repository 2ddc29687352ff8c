"""Additions to `accelerate launch`: several CPU processes without MPI, and errors without its traceback."""

import os
import signal
import socket
import subprocess
import sys
import time

_MAIN = int(os.environ.get("LOCAL_RANK", 0)) == 0


def fail(message, status=1):
    """Exit with one line, printed by one process; also end accelerate's launcher, which would add a traceback."""
    if _MAIN:
        print(message, file=sys.stderr, flush=True)
        if "RANK" not in os.environ and _launcher():
            os.kill(os.getppid(), signal.SIGTERM)
    sys.exit(status)


def relaunch():
    """Start N processes under `accelerate launch --cpu --num_processes N`, which starts one; exit when they end."""
    arguments = _launcher()
    if "RANK" in os.environ or not arguments:
        return
    _take_the_terminal()
    count = _processes_asked(arguments)
    if count > 1:
        status = _run(count)
        if status:
            os.kill(os.getppid(), signal.SIGTERM)
        sys.exit(status)


def _launcher():
    """Return the arguments of `accelerate launch` if it started this process on one machine, otherwise None."""
    import psutil

    try:
        command = psutil.Process(os.getppid()).cmdline()
    except psutil.Error:
        return None
    for i, word in enumerate(command):
        if word.endswith("accelerate.commands.launch") or os.path.basename(word) == "accelerate-launch":
            return command[i + 1 :]
        if os.path.basename(word) == "accelerate" and command[i + 1 : i + 2] == ["launch"]:
            return command[i + 2 :]
    return None


def _processes_asked(arguments):
    """Return the number of CPU processes that the launcher's options or its config file request."""
    from accelerate.commands.config.config_args import default_config_file, load_config_from_file
    from accelerate.commands.launch import launch_command_parser

    asked = launch_command_parser().parse_args(arguments)
    config = None
    if asked.config_file or os.path.isfile(default_config_file):
        config = load_config_from_file(asked.config_file)
    if not (asked.cpu or getattr(config, "use_cpu", False)):
        return 1
    return asked.num_processes or getattr(config, "num_processes", 1)


def _run(count):
    """Run this command in ``count`` processes; return the exit status of the first that failed, or 0."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true",
    }  # fmt: skip
    # More threads than cores slow each other down, because idle ones spin.
    shared["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS") or str(
        max(1, (os.cpu_count() or 1) // count)
    )
    children = [
        subprocess.Popen(
            [sys.executable, *sys.argv],
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(count)
    ]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the children save and exit themselves
    signal.signal(signal.SIGTERM, lambda *_: [child.terminate() for child in children])
    while any(child.poll() is None for child in children):
        if any(child.poll() for child in children):
            time.sleep(1)  # the others may be about to report the same error
            for child in children:
                child.kill()
        time.sleep(0.1)
    return next((child.returncode for child in children if child.returncode), 0)


def _take_the_terminal():
    """Make Ctrl-C reach this process only; the launcher would otherwise end before the run has saved."""
    try:
        if os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp() != os.getpid():
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # the next calls would stop this process
            os.setpgid(0, 0)
            os.tcsetpgrp(0, os.getpgrp())
    except OSError:
        pass  # no terminal to take
