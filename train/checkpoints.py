"""The folder of a run: whether it may be used, and its checkpoints, each a file that is whole or not there."""

import os
import re
import shutil
import zipfile

import torch

# What a run writes into its folder.
WRITTEN = ("stats.jsonl", "checkpoints", "samples", "model", "best", "facesym")
# Arguments that a resumed run may have otherwise than before.
FREE = {
    "out", "resume", "overwrite", "workers", "log_every", "sample_every", "save_every", "keep", "report_to", "profile",
    "export", "push_to_hub", "zoo", "steps", "phase_steps", "precision", "cache", "config",
}  # fmt: skip


def open_folder(out, args, main, wait):
    """Make a run's folder, or refuse it.

    Args:
        out: Path.
        args: `train.arguments.add_arguments`'s; ``resume`` and ``overwrite`` count.
        main: whether this is the process that writes.
        wait: waits for all processes.

    Raises:
        SystemExit: it holds a run, and neither ``--resume`` nor ``--overwrite`` is given.
    """
    found = [out / name for name in WRITTEN if (out / name).exists()]
    if found and not args.resume and not args.overwrite:
        raise SystemExit(
            f"{out} holds a run already: go on with --resume, give another --out, or start clean with --overwrite"
        )
    wait()  # all have looked
    if main:
        for path in found if args.overwrite and not args.resume else ():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        out.mkdir(parents=True, exist_ok=True)
    wait()


def compare_arguments(before, now):
    """Refuse to go on with a run that was begun with other arguments.

    Args:
        before, now: dicts; names in FREE may differ.

    Raises:
        SystemExit: the message names what differs.
    """
    other = [name for name in before if name in now and name not in FREE and before[name] != now[name]]
    if other:
        was, is_now = (", ".join(f"--{n.replace('_', '-')} {v[n]}" for n in other) for v in (before, now))
        raise SystemExit(
            f"--resume: the run was begun with {was}, not with {is_now}; give the same, or start another --out"
        )


class Checkpoints:
    """The checkpoints in a folder: ``step-0000500.pt`` and so on.

    Args:
        folder: Path, made when the first one is written.
        keep: how many are kept.
    """

    def __init__(self, folder, keep):
        self.folder, self.keep = folder, keep

    def list(self):
        """Finished checkpoints, oldest first."""
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
        """The newest checkpoint that is whole, and its state; (None, None) if there is none at all.

        Args:
            say: called with a line for each that is damaged.

        Raises:
            SystemExit: all are damaged.
        """
        paths = self.list()
        for path in reversed(paths):
            state = read(path)
            if state is not None:
                return path, state
            say(f"{path} is damaged (cut off or altered); trying the one before")
        if paths:
            raise SystemExit(f"every checkpoint in {self.folder} is damaged; start again with --overwrite")
        return None, None

    def drop_after(self, path):
        """Rename the damaged ones after ``path``, so that they count no more."""
        for later in self.list():
            if later.name > path.name:
                later.rename(later.with_suffix(".damaged"))


def read(path):
    """A checkpoint's state on the CPU, or None if the file is missing or damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                return None
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, zipfile.BadZipFile):
        return None
