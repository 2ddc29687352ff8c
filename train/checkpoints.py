"""The folder of a run, its checks and its checkpoints, which are written atomically."""

import os
import re
import shutil
import zipfile

import torch

# The files that a run writes into its folder, as patterns.
WRITTEN = (
    "args.json", "stats.jsonl", "checkpoints", "samples", "model", "best", "facesym",
    "discriminator*.safetensors", "mouths.safetensors", "encoder", "mouths-*.npz", "dlib-*.npy",
)  # fmt: skip
# Arguments that may change when a run resumes.
FREE = {
    "out", "resume", "overwrite", "workers", "log_every", "sample_every", "save_every", "keep", "report_to", "profile",
    "export", "push_to_hub", "zoo", "steps", "phase_steps", "precision", "cache", "config",
}  # fmt: skip


def open_folder(out, args, main, wait):
    """Create a run's folder.

    Args:
        out: Path of the folder.
        args: the parsed options; ``resume`` and ``overwrite`` are used.
        main: whether this process writes.
        wait: a function that waits for all processes.

    Raises:
        SystemExit: the folder holds a run, and neither ``--resume`` nor ``--overwrite`` is given.
    """
    found = [path for pattern in WRITTEN for path in out.glob(pattern)]
    if found and not args.resume and not args.overwrite:
        raise SystemExit(
            f"{out} already holds a run: continue it with --resume, choose another --out, or delete it with --overwrite"
        )
    wait()  # every process has checked the folder
    if main:
        for path in found if args.overwrite and not args.resume else ():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        out.mkdir(parents=True, exist_ok=True)
    wait()


def compare_arguments(before, now):
    """Check that a run resumes with the arguments that it was started with.

    Args:
        before: arguments of the checkpoint.
        now: arguments of this run; those in FREE may differ.

    Raises:
        SystemExit: other arguments differ; the message names them.
    """
    other = [name for name in before if name in now and name not in FREE and before[name] != now[name]]
    if other:
        was, is_now = (", ".join(f"--{n.replace('_', '-')} {v[n]}" for n in other) for v in (before, now))
        raise SystemExit(
            f"--resume: the run was started with {was}, not with {is_now}; use the same options or another --out"
        )


class Checkpoints:
    """The checkpoints in a folder: ``step-0000500.pt`` and so on.

    Args:
        folder: Path, created with the first checkpoint.
        keep: number of checkpoints to keep.
    """

    def __init__(self, folder, keep):
        self.folder, self.keep = folder, keep

    def list(self):
        """List the checkpoints, oldest first."""
        return sorted(p for p in self.folder.glob("step-*.pt") if re.fullmatch(r"step-\d+\.pt", p.name))

    def save(self, state, step):
        """Write a checkpoint and remove the oldest beyond ``keep``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"step-{step:07d}.pt"
        partial = path.with_suffix(".part")
        with open(partial, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        for old in self.list()[: -self.keep]:
            old.unlink()

    def newest(self, say):
        """Return the newest undamaged checkpoint and its state, or (None, None) if there are no checkpoints.

        Args:
            say: called with a line for each damaged checkpoint.

        Raises:
            SystemExit: all checkpoints are damaged.
        """
        paths = self.list()
        for path in reversed(paths):
            state = read(path)
            if state is not None:
                return path, state
            say(f"{path} is damaged (truncated or altered); trying the previous one")
        if paths:
            raise SystemExit(f"every checkpoint in {self.folder} is damaged; start again with --overwrite")
        return None, None

    def drop_after(self, path):
        """Rename the damaged checkpoints after ``path``, so that they are ignored."""
        for later in self.list():
            if later.name > path.name:
                later.rename(later.with_suffix(".damaged"))


def read(path):
    """Load a checkpoint's state on the CPU; None if the file is missing or damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                return None
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, zipfile.BadZipFile):
        return None
