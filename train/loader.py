"""A data loader whose batches depend on the run's step only."""

import signal

import torch
from torch.utils.data import DataLoader, Sampler


def ordered_loader(run, samples, total):
    """Return a loader for the batches of a `train.common.Run`, from its current step up to ``total``.

    Sample n of the stream does not depend on the step at which loading starts. Processes take turns.
    """
    batch = run.args.batch
    order = (
        (step * run.world + run.rank) * batch + i for step in range(run.step, total) for i in range(batch)
    )
    return DataLoader(
        samples,
        batch,
        sampler=_Once(order),
        num_workers=run.args.workers,
        pin_memory=run.device.type == "cuda",
        worker_init_fn=_ignore_signals,
        # Its own generator, so that it does not draw from the step's.
        generator=torch.Generator().manual_seed(run.args.seed),
    )


def _ignore_signals(_):
    """Keep the loaders alive on Ctrl-C, which reaches the whole process group, until the run has saved."""
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)


class _Once(Sampler):
    """A sampler over an iterator that can be read once."""

    def __init__(self, order):
        self.order = order

    def __iter__(self):
        return self.order
