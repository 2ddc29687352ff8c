"""Losses as pure functions, one per equation, each citing it.

SymmFCNet's equations are those of X. Li et al., "Learning Symmetry Consistent Deep CNNs for Face Completion",
IEEE TIP 2020. Pictures are Bx3xHxW in [-1, 1], masks Bx1xHxW with 1 = known (face, trusted …) and 0 = missing.
The paper writes sums of squares; here they are averaged over pixels and batch: one weight λ serves every size.
"""

import torch
import torch.nn.functional as F

from .ops import relight


# --- SymmFCNet, stage I ---------------------------------------------------------------------------------------------
def face_region_loss(predicted, target):
    """Equation (2): mean (M^fr − M^fr_gt)², both Bx1xHxW in [0, 1]."""
    return F.mse_loss(predicted.float(), target)


def landmark_loss(flow, landmarks, flipped):
    """Equation (6): the flow at a landmark of I must point to the same landmark of the flipped picture I^f.

    Printed, the flow is read at I^f's landmark and compared with I's; but by (4) Φ is indexed by the pixels of I
    and holds places in I^f, so here it is read at I's landmark. For a picture and its flip the two forms are
    each other's mirror image.

    Args:
        flow: Bx2xHxW, places (x, y) in I^f in [-1, 1] (grid_sample's, align_corners=False).
        landmarks: BxKx2 (x, y) in I, in [-1, 1].
        flipped: BxKx2, the same K parts in I^f.

    Returns:
        The sum over the K landmarks of squared distances, averaged over the batch.
    """
    here = F.grid_sample(flow.float(), landmarks[:, :, None], align_corners=False, padding_mode="border")
    return (here[..., 0].transpose(1, 2) - flipped).square().sum((1, 2)).mean()


def tv_loss(motion):
    """Equation (7): squared differences of a flow's two components along x and y, as strain (no unit).

    Taken on the motion Φ − grid (Bx2xHxW, [-1, 1] units): on Φ itself the term would pull every flow towards a
    constant, that is, towards shrinking the picture to a point.
    """
    motion = motion.float()
    height, width = motion.shape[-2:]
    dx = (motion[..., :, 1:] - motion[..., :, :-1]) * (width / 2)
    dy = (motion[..., 1:, :] - motion[..., :-1, :]) * (height / 2)
    return dx.square().mean() + dy.square().mean()


def light_loss(warped, light, target, face_region):
    """Equation (10): mean ((I^{f,w} ⊙ R − I) ⊙ M^fr)²; ``warped`` is the warped flip of the ground truth."""
    return ((relight(warped, light) - target) * face_region).float().square().mean()


def confidence_loss(confidence, copied, target, face_region):
    """Teaches C (11) what it stands for; not in the paper, which leaves C to the reconstruction's error alone.

    In the one run that left it so, C sank to about 0.1 everywhere (perhaps since a blurred mean of plausible faces
    costs less than a sharp copy that is a pixel off; not tested apart). Here C is regressed on the copy's actual
    error e, exp(−e / 0.3), where e is the mean absolute difference over a sixteenth of the picture's side.

    Args:
        confidence: Bx1xHxW in [0, 1].
        copied: I^{f,w} ⊙ R, the relit warped flip of the ground truth, Bx3xHxW.
        target: the ground truth, Bx3xHxW.
        face_region: Bx1xHxW.
    """
    error = (copied.detach().float() - target).abs().mean(1, keepdim=True)
    side = max(target.shape[-1] // 32 * 2 + 1, 3)
    error = F.avg_pool2d(error, side, 1, side // 2, count_include_pad=False)
    return ((confidence.float() - (-error / 0.3).exp()) * face_region.detach()).square().mean()


# --- SymmFCNet, stage II --------------------------------------------------------------------------------------------
def symmetry_loss(features, flipped_features, flow, face_region, condition):
    """Equation (13), the perceptual symmetry loss.

    Args:
        features: BxCxhxw, Ω_l: decoder features of RecNet on (Î^s1, M^s2).
        flipped_features: the same of their flips, Ω_l^f.
        flow: Bx2xHxW, Φ; scaled down to h×w here, like the masks.
        face_region, condition: Bx1xHxW, M^fr and M^s2.
    """
    size = features.shape[-2:]
    down = lambda x: F.interpolate(x.float(), size, mode="area")  # noqa: E731
    warped = F.grid_sample(
        flipped_features.float(), down(flow).permute(0, 2, 3, 1), align_corners=False, padding_mode="border"
    )
    weight = down(face_region) * (1 - down(condition))
    return ((features.float() - warped) * weight).square().mean()


def reconstruction_loss(output, target):
    """Equation (14): mean (Î − I)²."""
    return F.mse_loss(output.float(), target)


def absolute_loss(output, target, missing):
    """Mean |Î − I| over the missing pixels (Bx1xHxW, 1 = missing): the released preset's pixel term, see README."""
    difference = (output.float() - target).abs() * missing
    return difference.sum() / (3 * missing.sum()).clamp(min=1)


def perceptual_loss(features, target_features):
    """Equation (15) over one or several layers: Σ_k 1/(C_k·H_k·W_k) ‖Ψ_k(Î) − Ψ_k(I)‖², averaged over the batch."""
    return sum(F.mse_loss(f.float(), t.float()) for f, t in zip(features, target_features, strict=True))


def discriminator_loss(real, fake, weight=None):
    """Equation (17), D's side, on logits: −log D(I) − log(1 − D(Î)).

    Args:
        real, fake: logits of any equal shape.
        weight: broadcastable to ``fake``: how much each place counts as fake. A place that sees no hole is real.
    """
    fake = F.softplus(fake.float())
    if weight is not None:
        fake = fake * weight / weight.mean().clamp(min=1e-3)
    return F.softplus(-real.float()).mean() + fake.mean()


def generator_loss(fake, weight=None):
    """Equation (17), G's side, in its non-saturating form: −log D(Î)."""
    loss = F.softplus(-fake.float())
    if weight is not None:
        loss = loss * weight / weight.mean().clamp(min=1e-3)
    return loss.mean()


def total(terms, weights):
    """Equations (16), (18) and (19): Σ λ_i L_i over the terms present; both are dicts by the same names."""
    return sum(weights[name] * value for name, value in terms.items())


def adversarial_terms(whole, parts, whole_weight=1.0, part_weights=(2.0, 2.0, 2.0, 2.0)):
    """Equation (18): λ_{a,g}·l_{a,g} + Σ_i λ_{a,pi}·l_{a,pi} (parts: left eye, right eye, nose, mouth)."""
    return whole_weight * whole + sum(w * part for w, part in zip(part_weights, parts, strict=True))


def feature_distance(features, target_features):
    """LPIPS's distance without its learned weights: per layer, features scaled to unit length over channels, the
    squared difference summed over channels and averaged over places; summed over layers (Zhang et al. 2018, (1)).
    Bounded whatever the trunk's scale, which (15) is not."""
    return sum(
        (F.normalize(f.float(), dim=1, eps=1e-3) - F.normalize(t.float(), dim=1, eps=1e-3))
        .square()
        .sum(1)
        .mean()
        for f, t in zip(features, target_features, strict=True)
    )


def r1_penalty(critic, real, weight):
    """R1: weight / 2 · E‖∇D(x)‖² on real pictures, of the sum of D's scores (L. Mescheder et al., ICML 2018)."""
    real = real.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(real).sum(), real, create_graph=True)
    return weight / 2 * gradient.square().sum((1, 2, 3)).mean()


# --- symmetrizer (S. Zhang et al. 2019), with its own equation numbers ----------------------------------------------
def _norm(x, power):
    """‖x‖ as the paper leaves it open: mean |x| (power 1) or mean x² (power 2)."""
    return x.float().abs().pow(power).mean()


def symmetrizer_generator_loss(scores, power=2):
    """Equation (1): E‖1 − D(G(x))‖, on block scores in [0, 1]."""
    return _norm(1 - scores, power)


def symmetrizer_discriminator_loss(real, fake, fake_weight=1.0, power=2):
    """Equation (2): E‖1 − D(y_target)‖ + λ1 · E‖D(G(x))‖, on block scores in [0, 1]."""
    return _norm(1 - real, power) + fake_weight * _norm(fake, power)


def symmetrizer_identity_loss(output, target, output_vector, target_vector, vector_weight=1.0, power=1):
    """Equation (3): E‖y_target − G(x)‖ + λ2 · E‖R(y_target) − R(G(x))‖.

    Args:
        output, target: Bx3xHxW in [-1, 1].
        output_vector, target_vector: BxE, the recogniser's.
    """
    return _norm(output - target, power) + vector_weight * _norm(output_vector - target_vector, power)


def kl_loss(mean, log_variance):
    """KL(N(mean, variance) ‖ N(0, 1)), averaged over the BxZ entries (Kingma & Welling 2014, appendix B)."""
    return (mean.square() + log_variance.exp() - 1 - log_variance).mean() / 2


# --- NFGAN (X. Liu et al. 2018), with its own equation numbers ------------------------------------------------------
def laplacian(image):
    """The Laplacian of each channel of BxCxHxW: what uneven light, which is smooth, hardly changes."""
    kernel = image.new_tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]]).expand(image.shape[1], 1, 3, 3)
    return F.conv2d(image, kernel, padding=1, groups=image.shape[1])


def mirror_loss(image):
    """Equation (3), L_sym: mean |x̃ − mirror x̃| over half the picture, on pixels and on the Laplacian."""
    image = image.float()
    return sum((x - x.flip(-1)).abs().mean() for x in (image, laplacian(image)))


def person_loss(recogniser, output, target):
    """How unlike the person in ``target`` the one in ``output`` is (both Bx3xHxW in [-1, 1]): one minus the cosine of
    the recogniser's unit vectors (BxD), the mean over the batch. The target gets no gradient. (Ours.)"""
    with torch.no_grad():
        person = recogniser(target).float()
    return 1 - (recogniser(output).float() * person).sum(-1).mean()


def kept_identity_loss(features, input_features):
    """Equation (6), L_id: over the recogniser's last two layers, the mean |φ(x̃) − φ(x)|.

    Args:
        features, input_features: lists of tensors, of x̃ and of x.
    """
    return sum((a.float() - b.float()).abs().mean() for a, b in zip(features, input_features, strict=True))


def pixel_loss(output, target):
    """Equation (7), L_pixel: mean |x̃ − y|."""
    return (output.float() - target).abs().mean()


def place_loss(flow, places, weight):
    """How far off a flow is where the true one is known. An addition, for NormalizedFaceGAN's ``copy``.

    Args:
        flow: Bx2xHxW, in [-1, 1].
        places: Bx2xhxw, the true one, at the middles of hxw cells.
        weight: Bx1xhxw.

    Returns:
        The weighted mean distance, as a share of half the side.
    """
    flow = F.interpolate(flow.float(), places.shape[-2:], mode="area")
    far = ((flow - places).square().sum(1, keepdim=True) + 1e-6).sqrt()
    return (far * weight).sum() / weight.sum().clamp(min=1)


# --- LSSL (2019), with its own equation numbers ---------------------------------------------------------------------
def wasserstein_loss(real, fake):
    """Equation (1) as D minimises it, without the penalty: E[D_src(fake)] − E[D_src(real)], any shapes."""
    return fake.mean() - real.mean()


def choice_loss(kept, found, drawn, target, margin=0.05):
    """Cross-entropy of the choice between two pictures with the one that is nearer to the target, by how much it
    matters. (Ours: a picture mixed by ``kept`` hardly teaches it any more, once it is near 1 everywhere.)

    Args:
        kept: Bx1xHxW in [0, 1]: 1 where ``found`` is chosen, 0 where ``drawn`` is.
        found, drawn, target: Bx3xHxW in [-1, 1].
        margin: how much nearer ``drawn`` must be, mean absolute difference.

    Returns:
        B: the mean over the places.
    """
    with torch.no_grad():
        better = (found - target).abs().mean(1, keepdim=True) - (drawn - target).abs().mean(1, keepdim=True)
        better = better - margin
    with torch.autocast(kept.device.type, enabled=False):
        wrong = F.binary_cross_entropy(kept.float(), (better < 0).float(), better.abs(), reduction="none")
    return wrong.mean((1, 2, 3))


def gradient_penalty(scores, real, fake, generator=None):
    """L_gp of (1): E(‖∇D_src(x̂)‖ − 1)² at random places x̂ between real and fake (I. Gulrajani et al., NIPS 2017).

    Args:
        scores: D_src, from one BxCxHxW to scores.
        real, fake: BxCxHxW: picture and side picture, one above the other.
    """
    share = torch.rand(len(real), 1, 1, 1, generator=generator).to(real)
    between = (share * real + (1 - share) * fake).detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(scores(between).sum(), between, create_graph=True)
    # The root of a sum that may be 0 has no gradient.
    return ((gradient.float().square().sum((1, 2, 3)) + 1e-12).sqrt() - 1).square().mean()


def attribute_loss(logits, y, known):
    """Equations (2) and (3): binary cross-entropy summed over the attributes, meant over the batch.

    Args:
        logits: BxA. y: BxA, 0 or 1. known: BxA, 0 where a face's group is not labelled.
    """
    loss = F.binary_cross_entropy_with_logits(logits.float(), y, reduction="none")
    return (loss * known).sum(1).mean()


def parsing_loss(logits, source_logits, weight):
    """Equation (5), L_p: the pixel-wise softmax loss of P(x′) against P(x)'s labels.

    Args:
        logits, source_logits: BxKxHxW.
        weight: B: 0 for faces that are to move, whose parts are no longer where they were.
    """
    loss = F.cross_entropy(logits.float(), source_logits.argmax(1), reduction="none").mean((1, 2))
    return (loss * weight).sum() / weight.sum().clamp(min=1)


def side_loss(output, target):
    """Cross-entropy of side pictures (BxKxSxS in [0, 1]), a number each; ours. By (6)'s absolute difference heat maps
    are best left empty, as they are almost everywhere."""
    output = output.float().clamp(1e-6, 1 - 1e-6)
    return -(target * output.log() + (1 - target) * (1 - output).log()).mean((1, 2, 3))


def bidirectional_loss(image, back, side, side_back, latent, latent_of_result):
    """Equation (6), L_bi: what went there and back is what it was, and both have one latent. Means of |differences|."""
    pairs = (image, back), (side, side_back), (latent, latent_of_result)
    return sum((a.float() - b.float()).abs().mean() for a, b in pairs)
