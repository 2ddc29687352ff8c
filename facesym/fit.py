"""FitAndTune: find a photo in a symmetric GAN, fine-tune the GAN on it, and turn its head (the rotation paper's
Algorithm 1).

    1  z ← argmin ‖G(z) − I‖ + α‖z‖² + β Σ(|z| − 1)₊
    2  alternate: (a) steps that keep G a generator of faces; (b) z, G ← argmin of the same, over z and G

For (a) the paper goes on training the GAN on its data, which nobody who wants to turn a photo has. Here G is held to
what it generated before, at random z: the copy of G from before the tuning stands for the data.
"""

import time
from copy import deepcopy
from dataclasses import dataclass

import torch
import torch.nn.functional as F

RESTARTS = 128  # random z looked at; the best four are optimised


@dataclass
class Fit:
    """What `fit_and_tune` returns.

    Attributes:
        generator: the tuned copy; the one passed in is unchanged.
        z: 1xZ.
        before, after: mean squared error of the fit before and after the tuning, on [-1, 1].
        identity: similarity by the recogniser after the tuning, or None.
        seconds: of the whole.
    """

    generator: torch.nn.Module
    z: torch.Tensor
    before: float
    after: float
    identity: float | None
    seconds: float


def fit_and_tune(
    generator,
    image,
    recogniser=None,
    *,
    alpha=1e-3,
    beta=0.1,
    fit_steps=200,
    tune_steps=150,
    seconds=None,
    enough=0.9,
    progress=None,
    seed=0,
):
    """Algorithm 1.

    Args:
        generator: SymmetricGenerator (kind "zprime" or "flip"), in eval mode.
        image: 1x3xSxS in [-1, 1], an aligned face of the generator's size.
        recogniser: LightCNN; its features are part of ‖G(z) − I‖, and its vector says when the face is that person.
        alpha, beta: of the penalties on z.
        fit_steps, tune_steps: of steps 1 and 2.
        seconds: time budget; step 1 gets a third of it.
        enough: stop tuning once the recogniser's similarity is at least this and the error has stopped falling.
        progress: called now and then with (share done, picture 1x3xSxS); returning True stops early.
        seed: of the restarts.

    Returns:
        Fit.
    """
    start = time.monotonic()
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        target = _views(image)
        wanted = recogniser.features(image) if recogniser else None
        vector = recogniser.embed(wanted) if recogniser else None

    def distance(found):
        """‖G(z) − I‖: absolute differences at three sizes, and of the recogniser's features. One number a picture."""
        loss = sum((a - b).abs().mean((1, 2, 3)) for a, b in zip(_views(found), target))
        if recogniser:
            loss = (
                loss
                + 0.5
                * (recogniser.features(found) - wanted).square().mean((1, 2, 3))
                / wanted.square().mean()
            )
        return loss

    def penalty(z):
        return alpha * z.square().sum(1) + beta * (z.abs() - 1).clamp(min=0).sum(1)

    def stop(share, net, z):
        """Tell the progress; whether to end this step of the algorithm."""
        out_of_time = seconds is not None and time.monotonic() - start > seconds * (
            1 / 3 if share < 0.5 else 1
        )
        if progress:
            with torch.no_grad():
                return bool(progress(share, net(z[:1]))) or out_of_time
        return out_of_time

    # Step 1: the best of many starts, then all of z.
    with torch.no_grad():
        starts = generator.sample(RESTARTS, draw)
        order = torch.cat([distance(generator(part)) for part in starts.split(16)]).argsort()
    z = starts[order[:4]].clone().requires_grad_(True)
    optimizer = torch.optim.Adam([z], 0.05)
    for step in range(fit_steps):
        loss = distance(generator(z)) + penalty(z)
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
        if step % 10 == 9 and stop(0.5 * step / fit_steps, generator, z):
            break
    with torch.no_grad():
        loss = distance(generator(z)) + penalty(z)
        z = z[loss.argmin()][None].clone()
        before = F.mse_loss(generator(z), image).item()

    # Step 2: z and G, held to what G was.
    tuned = deepcopy(generator).eval()  # running statistics stay: one photo has none
    tuned.requires_grad_(True)
    z.requires_grad_(True)
    optimizer = torch.optim.Adam([{"params": tuned.parameters(), "lr": 5e-4}, {"params": [z], "lr": 5e-3}])
    best = float("inf")
    for step in range(tune_steps):
        others = generator.sample(4, draw)
        with torch.no_grad():
            kept = generator(others)
        found = tuned(torch.cat([z, others]))
        loss = (distance(found[:1]) + penalty(z)).mean() + 2 * (found[1:] - kept).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 9:
            fell = loss.item() < 0.99 * best
            best = min(best, loss.item())
            with torch.no_grad():
                alike = (recogniser(tuned(z)) @ vector.T).item() if recogniser else 0
            if stop(0.5 + 0.5 * step / tune_steps, tuned, z) or (alike >= enough and not fell):
                break
    tuned.requires_grad_(False)
    z = z.detach()
    with torch.no_grad():
        after = F.mse_loss(tuned(z), image).item()
        alike = (recogniser(tuned(z)) @ vector.T).item() if recogniser else None
    return Fit(tuned, z, before, after, alike, time.monotonic() - start)


def _views(x):
    """A picture at its own size, a half and a quarter."""
    return [x, F.avg_pool2d(x, 2), F.avg_pool2d(x, 4)]


@torch.no_grad()
def sweep(generator, z, shares):
    """The way from a face (share 0) over a symmetric one (½) to its mirror image (1): NxBx3xSxS for N shares."""
    return torch.stack([generator(generator.between(z, float(share))) for share in shares])
