"""Batches in the order of a run's steps, from loader processes."""

import signal

import torch
from torch.utils.data import DataLoader, Sampler


def ordered_loader(run, samples, total):
    """A loader of the batches of a `train.common.Run`, from its step up to ``total``.

    Sample n of the stream is the same whatever the step it begins at; the processes take turns in it.
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
        generator=torch.Generator().manual_seed(run.args.seed),  # else it would draw from the step's numbers
    )


def _ignore_signals(_):
    """A Ctrl-C reaches the whole process group: the loaders must live until the run has saved."""
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)


class _Once(Sampler):
    """A sampler over an iterator that is used up once."""

    def __init__(self, order):
        self.order = order

    def __iter__(self):
        return self.order
