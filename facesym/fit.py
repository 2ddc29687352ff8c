"""FitAndTune: invert a photo in a symmetric GAN and fine-tune the GAN on it (the rotation paper's Algorithm 1).

    1  z ← argmin ‖G(z) − I‖ + α‖z‖² + β Σ(|z| − 1)₊
    2  z, G ← argmin ‖G(z) − I‖ + α‖z‖² + β Σ(|z| − 1)₊ + γ ‖G(z′) − G₀(z′)‖ over random z′

The paper alternates step 2 with training steps of the GAN on its data, which keep G a generator of faces. These data
are not available when a photo is turned. Here the γ term keeps G close to G₀, the generator before tuning, in every
step.
"""

import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

STARTS = 64  # number of random z to compare with the photo
OPTIMISED_STARTS = 2  # number of starts to optimise; after a third of the steps only the best one
SPREAD = 0.7  # spread of random z, see SymmetricGenerator.sample
HELD, POOL = 2, 64  # number of random z at which G is kept close to G₀: per step, and in total
ALPHA, BETA, GAMMA = 1e-3, 0.1, 2.0
ENOUGH = 0.95  # the identity model's similarity above which a fit may stop once its error no longer falls
STEP_1 = 1 / 3  # of the time budget


@dataclass
class Fit:
    """Result of `fit_and_tune`.

    Attributes:
        generator: the tuned copy; the one passed in is unchanged.
        z: 1xZ.
        before, after: outputs of step 1 and step 2: images by the generator passed in and by the tuned one,
            1x3xSxS.
        seconds: duration.
    """

    generator: Any
    z: torch.Tensor
    before: torch.Tensor
    after: torch.Tensor
    seconds: float


class _Clock:
    """Tracks the time budget and the progress of a fit.

    Args:
        seconds: budget of the whole fit, or None.
        steps: number of iterations of steps 1 and 2 together.
        progress: see `fit_and_tune`.
    """

    def __init__(self, seconds, steps, progress):
        self.began = self.last = time.monotonic()
        self.seconds, self.steps, self.progress = seconds, steps, progress
        self.step, self.longest = 0, 0.0

    @property
    def elapsed(self):
        return time.monotonic() - self.began

    def start(self):
        """Start a new kind of step, of unknown duration."""
        self.last, self.longest = time.monotonic(), 0.0

    def late(self, part=1.0):
        """Whether another step of the same duration would exceed this part of the budget."""
        now = time.monotonic()
        self.longest, self.last = max(now - self.last, 0.7 * self.longest), now
        return self.seconds is not None and self.elapsed + self.longest > part * self.seconds

    def tell(self, step, net, z):
        """Report the progress after a step (counted over both steps), at intervals."""
        if self.progress and step % 10 == 9:
            done = step / self.steps
            if self.seconds is not None:
                done = max(done, min(self.elapsed / self.seconds, 1.0))
            with torch.no_grad():
                self.progress(done, net(z[:1]))


class _Target:
    """A target image of the fit.

    Args:
        image: 1x3xSxS.
        recogniser: LightCNN, or None to ignore features.
    """

    @torch.no_grad()
    def __init__(self, image, recogniser=None):
        self.sizes, self.recogniser = _sizes(image), recogniser
        if recogniser:
            self.features = recogniser.features(image)
            self.vector = recogniser.embed(self.features)

    def distance(self, images, features=True):
        """‖G(z) − I‖: absolute differences at three sizes and of identity features; one number per image."""
        loss = sum((a - b).abs().mean((1, 2, 3)) for a, b in zip(_sizes(images), self.sizes))
        if features and self.recogniser:
            off = (self.recogniser.features(images) - self.features).square().mean((1, 2, 3))
            loss = loss + 0.5 * off / self.features.square().mean((1, 2, 3))
        return loss

    @torch.no_grad()
    def similarity(self, image):
        """Return the identity model's cosine; 0 without a model."""
        return (self.recogniser(image) @ self.vector.T).item() if self.recogniser else 0.0


@torch.inference_mode(False)
@torch.enable_grad()
def fit_and_tune(
    generator: Any,
    image: torch.Tensor,
    recogniser: Any = None,
    *,
    start: torch.Tensor | None = None,
    yaw: float | None = None,
    views: Sequence[tuple[float, torch.Tensor]] = (),
    fit_steps: int = 100,
    tune_steps: int = 200,
    seconds: float | None = None,
    progress: Callable[[float, torch.Tensor], Any] | None = None,
) -> Fit:
    """Run Algorithm 1. Gradients are enabled inside, whatever the caller's mode.

    Args:
        generator: SymmetricGenerator (kind "zprime" or "flip"), in eval mode.
        image: 1x3xSxS in [-1, 1], an aligned face of the generator's size.
        recogniser: LightCNN, or None. Its features are part of ‖G(z) − I‖, and its vector decides whether the fit may
            stop early.
        start: KxZ, latents to try besides the random ones, e.g. from an encoder.
        yaw: yaw of the head in degrees, for a generator whose latent contains the yaw; z keeps this yaw.
        views: [(degrees, 1x3xSxS)], the same head warped to other yaws; needs ``yaw``. Step 2 also fits these, at the
            latent turned to that yaw (an addition to the paper).
        fit_steps, tune_steps: maximum numbers of iterations of steps 1 and 2.
        seconds: time budget for both steps; step 1 gets a third of it.
        progress: called at intervals with (fraction done, image 1x3xSxS); exceptions it raises end the fit.

    Returns:
        Fit.
    """
    clock, draw = _Clock(seconds, fit_steps + tune_steps, progress), torch.Generator().manual_seed(0)
    # Tensors of inference mode cannot have gradients; their copies can.
    image = image.clone()
    target, turned = _Target(image, recogniser), [(degrees, _Target(view.clone())) for degrees, view in views]

    def hold(z):
        return z if yaw is None else generator.turned(z, yaw)

    z = _best_starts(generator, target, hold, start, draw, clock)
    z = _find(generator, target, hold, z, fit_steps, clock)
    with torch.no_grad():
        before = generator(z)
    tuned, tuned_z = _tune(generator, target, turned, hold, z.clone(), tune_steps, fit_steps, draw, clock)
    with torch.no_grad():
        after = tuned(tuned_z)
        if target.distance(after) > target.distance(before):
            # The time ended during the first steps, which may increase the error.
            tuned, tuned_z, after = deepcopy(generator).eval(), z, before
    return Fit(tuned, tuned_z, before, after, clock.elapsed)


@torch.no_grad()
def _best_starts(generator, target, hold, start, draw, clock):
    """Return OPTIMISED_STARTS initial latents: the given ones and the random ones closest to the photo as images."""
    given = generator.sample(0) if start is None else start.clone().clamp(-0.99, 0.99)
    starts, errors = generator.sample(STARTS, draw, SPREAD), []
    clock.start()
    for part in starts.split(8):
        errors.append(target.distance(generator(hold(part)), features=False))
        if clock.late(0.5 * STEP_1):
            break
    order = torch.cat(errors).argsort()
    return hold(torch.cat([given, starts[order]])[:OPTIMISED_STARTS])


def _find(generator, target, hold, z, steps, clock):
    """Step 1: optimise KxZ latents and return the best, 1xZ."""
    z = z.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([z], 0.03)
    clock.start()
    for step in range(steps):
        loss = target.distance(generator(hold(z))) + _penalty(z)
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
        if step + 1 == steps // 3 and len(z) > 1:
            z = z.detach()[loss.argmin()][None].requires_grad_(True)
            optimizer = torch.optim.Adam([z], 0.03)
        clock.tell(step, generator, hold(z))
        if clock.late(STEP_1):
            break
    with torch.no_grad():
        z = hold(z)
        if len(z) > 1:  # the time ran out early
            z = z[target.distance(generator(z)).argmin()][None]
        return z.clone()


def _tune(generator, target, views, hold, z, steps, before, draw, clock):
    """Step 2: optimise z (1xZ) and a copy of G; return both. ``before``: number of steps done so far."""
    tuned = deepcopy(generator).eval()  # keeps the running statistics, since one photo has none
    tuned.requires_grad_(True)
    z.requires_grad_(True)
    pool, held = generator.sample(POOL, draw, SPREAD), []  # G₀'s images of the first of the pool
    groups = [{"params": tuned.parameters(), "lr": 1e-3}, {"params": [z], "lr": 5e-3}]
    optimizer = torch.optim.Adam(groups, fused=True)
    best, since = float("inf"), 0
    clock.start()
    for step in range(steps):
        if clock.late():
            break
        if len(held) < POOL:
            others = torch.arange(len(held), len(held) + HELD)
            with torch.no_grad():
                held += generator(pool[others]).split(1)
        else:
            others = torch.randint(POOL, (HELD,), generator=draw)
        # The photo and one view per step, in turn.
        view = [views[step % len(views)]] if views else []
        latents = [hold(z), *(generator.turned(z, degrees) for degrees, _ in view), pool[others]]
        images = tuned(torch.cat(latents))
        targets = [target, *(each for _, each in view)]
        error = torch.stack([each.distance(images[i : i + 1]) for i, each in enumerate(targets)]).sum(0)
        away = (images[len(targets) :] - torch.cat([held[i] for i in others])).abs().mean()
        optimizer.zero_grad()
        ((error + _penalty(z)).mean() + GAMMA * away).backward()
        optimizer.step()
        clock.tell(before + step, tuned, hold(z))
        if step % 10 == 9:
            best, since = (error.item(), 0) if error.item() < 0.99 * best else (best, since + 1)
            if since >= 3 and target.similarity(tuned(hold(z))) >= ENOUGH:
                break
    tuned.requires_grad_(False)
    return tuned, hold(z).detach()


def _penalty(z):
    """α‖z‖² + β Σ(|z| − 1)₊, one number per latent."""
    return ALPHA * z.square().sum(1) + BETA * (z.abs() - 1).clamp(min=0).sum(1)


def _sizes(image):
    """Return an image at its own size, half and a quarter of it."""
    return [image, F.avg_pool2d(image, 2), F.avg_pool2d(image, 4)]
