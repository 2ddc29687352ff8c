"""Losses as pure functions, one per equation, each citing it.

SymmFCNet's equations are those of X. Li et al., "Learning Symmetry Consistent Deep CNNs for Face Completion",
IEEE TIP 2020. Images are Bx3xHxW in [-1, 1], masks Bx1xHxW with 1 = visible (face, trusted …) and 0 = missing.
The paper writes sums of squares; here they are averaged over pixels and batch, so that one weight λ serves every size.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import add

import torch
import torch.nn.functional as F
from torch import Tensor

from .ops import box_blur, relight


# --- SymmFCNet, stage I ---------------------------------------------------------------------------------------------
def face_region_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Equation (2): mean (M^fr − M^fr_gt)², both Bx1xHxW in [0, 1]."""
    return F.mse_loss(predicted.float(), target)


def landmark_loss(flow: Tensor, landmarks: Tensor, flipped: Tensor) -> Tensor:
    """Equation (6): the flow at a landmark of I must point to the same landmark of the flipped image I^f.

    The paper reads the flow at I^f's landmark and compares it with I's. By (4), however, Φ is indexed by the pixels of
    I and holds coordinates in I^f, so it is read at I's landmark here. For an image and its flip the two forms are
    mirror images of each other.

    Args:
        flow: Bx2xHxW, coordinates (x, y) in I^f in [-1, 1] (grid_sample, align_corners=False).
        landmarks: BxKx2 (x, y) in I, in [-1, 1].
        flipped: BxKx2, the same K landmarks in I^f.

    Returns:
        The sum over the K landmarks of squared distances, averaged over the batch.
    """
    sampled = F.grid_sample(flow.float(), landmarks[:, :, None], align_corners=False, padding_mode="border")
    return (sampled[..., 0].transpose(1, 2) - flipped).square().sum((1, 2)).mean()


def tv_loss(motion: Tensor) -> Tensor:
    """Equation (7): squared differences of a flow's two components along x and y, as dimensionless strain.

    Args:
        motion: Bx2xHxW, Φ − grid, in [-1, 1] units. On Φ itself the term would pull every flow towards a constant,
            that is, towards shrinking the image to a point.
    """
    motion = motion.float()
    height, width = motion.shape[-2:]
    dx = (motion[..., :, 1:] - motion[..., :, :-1]) * (width / 2)
    dy = (motion[..., 1:, :] - motion[..., :-1, :]) * (height / 2)
    return dx.square().mean() + dy.square().mean()


def light_loss(warped: Tensor, light: Tensor, target: Tensor, face_region: Tensor) -> Tensor:
    """Equation (10): mean ((I^{f,w} ⊙ R − I) ⊙ M^fr)²; ``warped`` is the warped flip of the target."""
    return ((relight(warped, light) - target) * face_region).float().square().mean()


def confidence_loss(confidence: Tensor, copied: Tensor, target: Tensor, face_region: Tensor) -> Tensor:
    """Regress the confidence map C (Eq. 11) on the accuracy of the copy.

    The paper trains C through the reconstruction loss alone; in our run that drove C to 0.1 everywhere. Here the
    target is exp(−e / 0.3), where e is the mean absolute error of the blurred copy over a sixteenth of the image's
    side. The blur, over a 32nd of the side, forgives a copy that is a pixel off.

    Args:
        confidence: Bx1xHxW in [0, 1].
        copied: Bx3xHxW, I^{f,w} ⊙ R, the relit warped flip of the target.
        target: Bx3xHxW.
        face_region: Bx1xHxW.
    """
    size = target.shape[-1]
    difference = box_blur(copied.detach().float() - target, max(size // 64 * 2 + 1, 3))
    error = box_blur(difference.abs().mean(1, keepdim=True), max(size // 32 * 2 + 1, 3))
    return ((confidence.float() - (-error / 0.3).exp()) * face_region.detach()).square().mean()


# --- SymmFCNet, stage II --------------------------------------------------------------------------------------------
def symmetry_loss(
    features: Tensor, flipped_features: Tensor, flow: Tensor, face_region: Tensor, condition: Tensor
) -> Tensor:
    """Equation (13), the perceptual symmetry loss.

    Args:
        features: BxCxhxw, Ω_l: decoder features of RecNet on (Î^s1, M^s2).
        flipped_features: BxCxhxw, Ω_l^f: the same on their flips.
        flow: Bx2xHxW, Φ; scaled down to h×w here, like the masks.
        face_region: Bx1xHxW, M^fr.
        condition: Bx1xHxW, M^s2.
    """

    def down(x):
        return F.interpolate(x.float(), features.shape[-2:], mode="area")

    warped = F.grid_sample(
        flipped_features.float(), down(flow).permute(0, 2, 3, 1), align_corners=False, padding_mode="border"
    )
    weight = down(face_region) * (1 - down(condition))
    return ((features.float() - warped) * weight).square().mean()


def reconstruction_loss(output: Tensor, target: Tensor) -> Tensor:
    """Equation (14): mean (Î − I)²."""
    return F.mse_loss(output.float(), target)


def absolute_loss(output: Tensor, target: Tensor, missing: Tensor) -> Tensor:
    """Mean |Î − I| over the missing pixels: the pixel term of the released weights; not in the paper.

    Args:
        output: Bx3xHxW, Î.
        target: Bx3xHxW, I.
        missing: Bx1xHxW, 1 = missing.
    """
    difference = (output.float() - target).abs() * missing
    return difference.sum() / (3 * missing.sum()).clamp(min=1)


def perceptual_loss(features: Sequence[Tensor], target_features: Sequence[Tensor]) -> Tensor:
    """Equation (15) over one or several layers: Σ_k 1/(C_k·H_k·W_k) ‖Ψ_k(Î) − Ψ_k(I)‖², averaged over the batch."""
    pairs = zip(features, target_features, strict=True)
    return reduce(add, (F.mse_loss(f.float(), t.float()) for f, t in pairs))


def discriminator_loss(real: Tensor, fake: Tensor, weight: Tensor | None = None) -> Tensor:
    """Equation (17), D's side, on logits: −log D(I) − log(1 − D(Î)).

    Args:
        real, fake: logits of equal shape.
        weight: broadcastable to ``fake``: how much each logit counts as fake. A logit that sees no mask is real.
    """
    fake = F.softplus(fake.float())
    if weight is not None:
        fake = fake * weight / weight.mean().clamp(min=1e-3)
    return F.softplus(-real.float()).mean() + fake.mean()


def generator_loss(fake: Tensor, weight: Tensor | None = None) -> Tensor:
    """Equation (17), G's side, in its non-saturating form: −log D(Î)."""
    loss = F.softplus(-fake.float())
    if weight is not None:
        loss = loss * weight / weight.mean().clamp(min=1e-3)
    return loss.mean()


def total(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Equations (16), (18) and (19): Σ λ_i L_i over the given terms.

    Args:
        terms: dict {name: loss}.
        weights: dict {name: λ}, with at least the terms' names.
    """
    return reduce(add, (weights[name] * value for name, value in terms.items()))


def adversarial_terms(
    whole: Tensor,
    parts: Sequence[Tensor],
    whole_weight: float = 1.0,
    part_weights: Sequence[float] = (2.0, 2.0, 2.0, 2.0),
) -> Tensor:
    """Equation (18): λ_{a,g}·l_{a,g} + Σ_i λ_{a,pi}·l_{a,pi} (parts: right eye, left eye, nose, mouth)."""
    return whole_weight * whole + sum(w * part for w, part in zip(part_weights, parts, strict=True))


def feature_distance(features: Sequence[Tensor], target_features: Sequence[Tensor]) -> Tensor:
    """LPIPS without its learned weights (R. Zhang et al., CVPR 2018, Eq. 1).

    Each layer's features are normalized to unit length over channels; squared differences are summed over channels,
    averaged over pixels and summed over layers. Unlike (15), the result is bounded whatever the scale of the
    perceptual backbone.

    Args:
        features, target_features: lists of BxCxHxW, one per layer.
    """
    distances = (
        (F.normalize(f.float(), dim=1, eps=1e-3) - F.normalize(t.float(), dim=1, eps=1e-3))
        .square()
        .sum(1)
        .mean()
        for f, t in zip(features, target_features, strict=True)
    )
    return reduce(add, distances)


def r1_penalty(discriminator: Callable[[Tensor], Tensor], real: Tensor, weight: float) -> Tensor:
    """R1: weight / 2 · E‖∇D(x)‖² on real images, of the sum of D's scores (L. Mescheder et al., ICML 2018)."""
    real = real.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)
    return weight / 2 * gradient.square().sum((1, 2, 3)).mean()


# --- symmetrizer (S. Zhang et al. 2019), with its own equation numbers ----------------------------------------------
def _norm(x, power):
    """‖x‖, which the paper does not specify: mean |x| (power 1) or mean x² (power 2)."""
    return x.float().abs().pow(power).mean()


def symmetrizer_generator_loss(scores: Tensor, power: float = 2) -> Tensor:
    """Equation (1): E‖1 − D(G(x))‖, on block scores in [0, 1]."""
    return _norm(1 - scores, power)


def symmetrizer_discriminator_loss(
    real: Tensor, fake: Tensor, fake_weight: float = 1.0, power: float = 2
) -> Tensor:
    """Equation (2): E‖1 − D(y_target)‖ + λ1 · E‖D(G(x))‖, on block scores in [0, 1]."""
    return _norm(1 - real, power) + fake_weight * _norm(fake, power)


def symmetrizer_identity_loss(
    output: Tensor,
    target: Tensor,
    output_vector: Tensor,
    target_vector: Tensor,
    vector_weight: float = 1.0,
    power: float = 1,
) -> Tensor:
    """Equation (3): E‖y_target − G(x)‖ + λ2 · E‖R(y_target) − R(G(x))‖.

    Args:
        output, target: Bx3xHxW in [-1, 1].
        output_vector, target_vector: BxE, the identity model's features of both.
    """
    return _norm(output - target, power) + vector_weight * _norm(output_vector - target_vector, power)


def kl_loss(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) ‖ N(0, 1)), averaged over the BxZ entries (Kingma & Welling 2014, appendix B)."""
    return (mean.square() + log_variance.exp() - 1 - log_variance).mean() / 2


# --- NFGAN (X. Liu et al. 2018), with its own equation numbers ------------------------------------------------------
def laplacian(image: Tensor) -> Tensor:
    """The Laplacian of each channel of BxCxHxW. Uneven light is smooth and hardly changes it."""
    kernel = image.new_tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]]).expand(image.shape[1], 1, 3, 3)
    return F.conv2d(image, kernel, padding=1, groups=image.shape[1])


def mirror_loss(image: Tensor) -> Tensor:
    """Equation (3), L_sym: mean |x̃ − mirror x̃| over half the image, on pixels and on the Laplacian."""
    image = image.float()
    return reduce(add, ((x - x.flip(-1)).abs().mean() for x in (image, laplacian(image))))


def identity_loss(identity_model: Callable, output: Tensor, target: Tensor) -> Tensor:
    """One minus the cosine similarity of output and target by an identity model, averaged over the batch. (Ours.)

    Args:
        identity_model: maps Bx3xHxW to unit vectors BxD.
        output: Bx3xHxW in [-1, 1].
        target: Bx3xHxW in [-1, 1]; gets no gradient.
    """
    with torch.no_grad():
        person = identity_model(target).float()
    return 1 - (identity_model(output).float() * person).sum(-1).mean()


def identity_feature_loss(features: Sequence[Tensor], input_features: Sequence[Tensor]) -> Tensor:
    """Equation (6), L_id: mean |φ(x̃) − φ(x)|, summed over the identity model's last two layers.

    Args:
        features: list of tensors, φ(x̃), one per layer.
        input_features: list of tensors, φ(x).
    """
    pairs = zip(features, input_features, strict=True)
    return reduce(add, ((a.float() - b.float()).abs().mean() for a, b in pairs))


def pixel_loss(output: Tensor, target: Tensor) -> Tensor:
    """Equation (7), L_pixel: mean |x̃ − y|."""
    return (output.float() - target).abs().mean()


def flow_endpoint_loss(flow: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Endpoint error of a flow where the target flow is given. (Ours, for NormalizedFaceGAN's copies.)

    Args:
        flow: Bx2xHxW in [-1, 1].
        target: Bx2xhxw in [-1, 1], at the centres of h×w cells.
        weight: Bx1xhxw.

    Returns:
        The weighted mean distance, as a fraction of half the image's side.
    """
    flow = F.interpolate(flow.float(), target.shape[-2:], mode="area")
    distance = ((flow - target).square().sum(1, keepdim=True) + 1e-6).sqrt()
    return (distance * weight).sum() / weight.sum().clamp(min=1)


# --- LSSL (2019), with its own equation numbers ---------------------------------------------------------------------
def wasserstein_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Equation (1) as D minimises it, without the penalty: E[D_src(fake)] − E[D_src(real)], any shapes."""
    return fake.mean() - real.mean()


def copy_choice_loss(
    copy_mask: Tensor, copied: Tensor, synthesized: Tensor, target: Tensor, margin: float = 0.05
) -> Tensor:
    """Cross-entropy of a copy mask with the better of two images, weighted by how much better it is. (Ours.)

    A reconstruction loss on the mixed image hardly trains the mask once it is near 1 everywhere.

    Args:
        copy_mask: Bx1xHxW in [0, 1]: 1 selects ``copied``, 0 selects ``synthesized``.
        copied, synthesized, target: Bx3xHxW in [-1, 1].
        margin: by how much ``synthesized`` must be closer to the target, as a mean absolute difference.

    Returns:
        B, averaged over pixels.
    """
    with torch.no_grad():
        gain = (copied - target).abs().mean(1, keepdim=True) - (synthesized - target).abs().mean(
            1, keepdim=True
        )
        gain = gain - margin
    with torch.autocast(copy_mask.device.type, enabled=False):
        loss = F.binary_cross_entropy(copy_mask.float(), (gain < 0).float(), gain.abs(), reduction="none")
    return loss.mean((1, 2, 3))


def gradient_penalty(
    scores: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    generator: torch.Generator | None = None,
) -> Tensor:
    """L_gp of (1): E(‖∇D_src(x̂)‖ − 1)² at random points x̂ between real and fake (I. Gulrajani et al., NIPS 2017).

    Args:
        scores: D_src, maps BxCxHxW to scores.
        real, fake: BxCxHxW: image and condition map, concatenated along channels.
        generator: of the random points; default: torch's global one.
    """
    fraction = torch.rand(len(real), 1, 1, 1, generator=generator).to(real)
    between = (fraction * real + (1 - fraction) * fake).detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(scores(between).sum(), between, create_graph=True)
    # The square root has no finite gradient at 0.
    return ((gradient.float().square().sum((1, 2, 3)) + 1e-12).sqrt() - 1).square().mean()


def attribute_loss(logits: Tensor, y: Tensor, labelled: Tensor) -> Tensor:
    """Equations (2) and (3): binary cross-entropy summed over the attributes, averaged over the batch.

    Args:
        logits: BxA.
        y: BxA, 0 or 1.
        labelled: BxA, 0 where a face's attribute group has no label.
    """
    loss = F.binary_cross_entropy_with_logits(logits.float(), y, reduction="none")
    return (loss * labelled).sum(1).mean()


def parsing_loss(logits: Tensor, source_logits: Tensor, weight: Tensor) -> Tensor:
    """Equation (5), L_p: pixel-wise cross-entropy of P(x′) with P(x)'s labels.

    Args:
        logits, source_logits: BxKxHxW.
        weight: B: 0 for faces whose parts are to move.
    """
    loss = F.cross_entropy(logits.float(), source_logits.argmax(1), reduction="none").mean((1, 2))
    return (loss * weight).sum() / weight.sum().clamp(min=1)


def condition_map_loss(output: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of condition maps, one number per sample. (Ours.)

    Heat maps are empty almost everywhere, so that the absolute difference of (6) favours empty ones.

    Args:
        output, target: BxKxSxS in [0, 1].

    Returns:
        B.
    """
    output = output.float().clamp(1e-6, 1 - 1e-6)
    return -(target * output.log() + (1 - target) * (1 - output).log()).mean((1, 2, 3))


def bidirectional_loss(
    image: Tensor,
    image_back: Tensor,
    condition: Tensor,
    condition_back: Tensor,
    latent: Tensor,
    output_latent: Tensor,
) -> Tensor:
    """Equation (6), L_bi: the sum of mean |differences| of image, condition map and latent.

    Args:
        image, image_back: the input, and its reconstruction from the output.
        condition, condition_back: the same of the condition map.
        latent, output_latent: of the input and of the output.
    """
    pairs = (image, image_back), (condition, condition_back), (latent, output_latent)
    return reduce(add, ((a.float() - b.float()).abs().mean() for a, b in pairs))
