"""Learning rate schedules, averaged weights, and the exchange of gradients between processes."""

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel


def lr_fraction(scheduler, step, steps, warm_up):
    """Return the fraction of the highest learning rate at a step.

    Args:
        scheduler: "constant", "linear", "cosine" or "constant-linear".
        step: the current step, from 0.
        steps: total number of steps.
        warm_up: number of first steps in which the rate rises; at most a tenth of ``steps``.
    """
    warm_up = min(warm_up, steps // 10)
    if step < warm_up:
        return (step + 1) / (warm_up + 1)
    done = min(1, (step - warm_up) / max(1, steps - warm_up))
    return {
        "constant": 1.0,
        "linear": 1 - done,
        "cosine": 0.5 + 0.5 * float(np.cos(np.pi * done)),
        "constant-linear": min(1, 2 * (1 - done)),
    }[scheduler]


def averaged(net, decay):
    """Return an exponential moving average of a network (AveragedModel); buffers are copied, not averaged."""

    def blend(average, current, count):
        # The decay grows with the steps, so that the first weights are soon forgotten.
        torch._foreach_lerp_(average, current, 1 - min(decay, (1 + float(count)) / (10 + float(count))))

    return AveragedModel(net, multi_avg_fn=blend).requires_grad_(False).eval()


def share_gradients(parameters, mean):
    """Give each parameter the mean of its gradients over the processes, if any process has one.

    Args:
        parameters: a list, the same in every process.
        mean: averages a tensor over the processes.
    """
    present = torch.tensor([float(p.grad is not None) for p in parameters], device=parameters[0].device)
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    flat = mean(torch.cat([present, *(grad.flatten() for grad in grads)]))
    present, flat = flat[: len(parameters)].tolist(), flat[len(parameters) :]
    for p, there, grad in zip(parameters, present, flat.split([p.numel() for p in parameters]), strict=True):
        if not there:
            p.grad = None
        elif p.grad is None:
            p.grad = torch.empty_like(p).copy_(grad.view_as(p))
        else:
            p.grad.copy_(grad.view_as(p))


def share_buffers(nets):
    """Copy the first process's buffers (statistics of batch and spectral norms) to all processes, as DDP does."""
    buffers = [b for net in nets for b in net.buffers() if b.is_floating_point()]
    if buffers:
        flat = torch.cat([b.flatten() for b in buffers])
        torch.distributed.broadcast(flat, 0)
        for buffer, value in zip(buffers, flat.split([b.numel() for b in buffers]), strict=True):
            buffer.copy_(value.view_as(buffer))
