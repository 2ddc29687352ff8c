"""FitAndTune: find a photo in a symmetric GAN, fine-tune the GAN on it, and turn its head (the rotation paper's
Algorithm 1).

    1  z ← argmin ‖G(z) − I‖ + α‖z‖² + β Σ(|z| − 1)₊
    2  alternate: (a) steps that keep G a generator of faces; (b) z, G ← argmin of the same, over z and G

For (a) the paper goes on training the GAN on its data, which nobody who wants to turn a photo has. Here G is held to
what it generated before, at random z: the copy of G from before the tuning stands for the data.
"""

import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import torch
import torch.nn.functional as F

RESTARTS = 128  # random z looked at
SPREAD = 0.7  # of random z, see SymmetricGenerator.sample
KEPT = 4  # of the starts, which are optimised; after a third of the steps the best of them alone


@dataclass
class Fit:
    """What `fit_and_tune` returns.

    Attributes:
        generator: the tuned copy; the one passed in is unchanged.
        z: 1xZ.
        before, after: what step 1 and step 2 ended with: pictures by the generator passed in and by the tuned one,
            1x3xSxS.
        seconds: of the whole.
    """

    generator: Any
    z: torch.Tensor
    before: torch.Tensor
    after: torch.Tensor
    seconds: float


def fit_and_tune(
    generator: Any,
    image: torch.Tensor,
    recogniser: Any = None,
    *,
    start: torch.Tensor | None = None,
    yaw: float | None = None,
    views: Sequence[tuple[float, torch.Tensor]] = (),
    alpha: float = 1e-3,
    beta: float = 0.1,
    fit_steps: int = 100,
    tune_steps: int = 200,
    seconds: float | None = None,
    enough: float = 0.95,
    progress: Callable[[float, torch.Tensor], Any] | None = None,
    seed: int = 0,
) -> Fit:
    """Algorithm 1.

    Args:
        generator: SymmetricGenerator (kind "zprime" or "flip"), in eval mode.
        image: 1x3xSxS in [-1, 1], an aligned face of the generator's size.
        recogniser: LightCNN; its features are part of ‖G(z) − I‖, and its vector says when the face is that person.
        start: KxZ, latents to try beside the random ones (an encoder's).
        yaw: of the head in degrees, for a generator whose latent has it: z is held at it.
        views: [(degrees, 1x3xSxS)]: how the same head might look at another yaw; with `yaw`. An addition: step 2
            fits these too, at the latent turned there.
        alpha, beta: of the penalties on z.
        fit_steps, tune_steps: of steps 1 and 2.
        seconds: time budget; step 1 gets a third of it.
        enough: stop tuning once the recogniser's similarity is at least this and the error has not fallen by one in a
            hundred in thirty steps.
        progress: called now and then with (share done, picture 1x3xSxS); what it raises ends the fit.
        seed: of the restarts.

    Returns:
        Fit.
    """
    began = time.monotonic()
    draw = torch.Generator().manual_seed(seed)

    def about(picture):
        """What a generated picture is compared with: the picture at three sizes, the recogniser's features."""
        return _views(picture), recogniser.features(picture) if recogniser else None

    def distance(found, target):
        """‖G(z) − I‖: absolute differences at three sizes, and of the recogniser's features. One number a picture."""
        sizes, features = target
        loss = reduce(add, ((a - b).abs().mean((1, 2, 3)) for a, b in zip(_views(found), sizes)))
        if recogniser:
            off = (recogniser.features(found) - features).square().mean((1, 2, 3))
            loss = loss + 0.5 * off / features.square().mean((1, 2, 3))
        return loss

    def penalty(z):
        return alpha * z.square().sum(1) + beta * (z.abs() - 1).clamp(min=0).sum(1)

    def hold(z):
        return z if yaw is None else generator.turned(z, yaw)

    def stop(share, net, z):
        """Tell the progress; whether to end this step of the algorithm."""
        budget = None if seconds is None else seconds * (1 / 3 if share < 0.5 else 1)
        late = budget is not None and time.monotonic() - began > budget
        if progress:
            with torch.no_grad():
                progress(share, net(z[:1]))
        return late

    # Step 1: the best of many starts, then all of z.
    with torch.no_grad():
        target = about(image)
        vector = recogniser.embed(target[1]) if recogniser else torch.empty(0)
        starts = generator.sample(RESTARTS, draw, SPREAD)
        starts = hold(starts if start is None else torch.cat([start.clamp(-0.99, 0.99), starts]))
        order = torch.cat([distance(generator(part), target) for part in starts.split(16)]).argsort()
    z = starts[order[:KEPT]].clone().requires_grad_(True)
    optimizer = torch.optim.Adam([z], 0.03)
    for step in range(fit_steps):
        loss = distance(generator(hold(z)), target) + penalty(z)
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
        if step + 1 == fit_steps // 3:
            z = z.detach()[loss.argmin()][None].requires_grad_(True)
            optimizer = torch.optim.Adam([z], 0.03)
        if step % 10 == 9 and stop(0.5 * step / fit_steps, generator, hold(z)):
            break
    with torch.no_grad():
        z = hold(z)
        loss = distance(generator(z), target) + penalty(z)
        z = z[loss.argmin()][None].clone()  # there are several still if the time was up early
        before = generator(z)

    # Step 2: z and G, held to what G was.
    tuned = deepcopy(generator).eval()  # running statistics stay: one photo has none
    tuned.requires_grad_(True)
    z.requires_grad_(True)
    with torch.no_grad():
        goals = [(degrees, about(picture)) for degrees, picture in views]
    optimizer = torch.optim.Adam([{"params": tuned.parameters(), "lr": 1e-3}, {"params": [z], "lr": 5e-3}])
    best, since = float("inf"), 0
    for step in range(tune_steps):
        others = generator.sample(4, draw, SPREAD)
        with torch.no_grad():
            kept = generator(others)
        # The photo and one view at a time, in turn.
        shown = [(yaw, target)] + ([goals[step % len(goals)]] if goals else [])
        latents = [hold(z)] + [generator.turned(z, degrees) for degrees, _ in shown[1:]]
        found = tuned(torch.cat([*latents, others]))
        fits = [distance(found[i : i + 1], goal) for i, (_, goal) in enumerate(shown)]
        loss = (reduce(add, fits) + penalty(z)).mean() + 2 * (found[len(shown) :] - kept).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 9:
            error = reduce(add, fits).item()
            best, since = (error, 0) if error < 0.99 * best else (best, since + 1)
            with torch.no_grad():
                alike = (recogniser(tuned(hold(z))) @ vector.T).item() if recogniser else 0
            if stop(0.5 + 0.5 * step / tune_steps, tuned, hold(z)) or (alike >= enough and since >= 3):
                break
    tuned.requires_grad_(False)
    with torch.no_grad():
        z = hold(z).detach()
        return Fit(tuned, z, before, tuned(z), time.monotonic() - began)


def _views(x):
    """A picture at its own size, a half and a quarter."""
    return [x, F.avg_pool2d(x, 2), F.avg_pool2d(x, 4)]


@torch.no_grad()
def sweep(generator: Any, z: torch.Tensor, shares: Sequence[float]) -> torch.Tensor:
    """The way from a face (share 0) over a symmetric one (½) to its mirror image (1): NxBx3xSxS for N shares."""
    return torch.stack([generator(generator.between(z, float(share))) for share in shares])
