"""The terms of LSSL's losses, by name, and their weights."""

import torch
import torch.nn.functional as F

from facesym import losses
from facesym.faces.geometry import FLIP_68, heat_map
from facesym.models.lssl import GROUPS, AttributeGeneratorOutput, parse
from facesym.ops import crop_parts, identity_grid

# λ of (7). "paper": as printed; (4) compares every output with x. "released": (4) compares the output with the target,
# weighted by the sample's "kept". It adds `inner` (the same error over the inner face and over the mouth, which is
# small but shows the expression), `condition` (s′ against the target's s) and `condition_back` (the same for (6)'s ŝ).
# Both recipes have these additions, each with its option:
# - identity_model (--identity): one minus the identity model's cosine.
# - feature (--perceptual): feature distance over the inner face; absolute errors alone blur teeth.
# - mouth, expression (--mouths): a discriminator of mouths, SymmFCNet's (17), and (3) on its second head.
# - For networks that copy (not --preset paper): flow (the flows at the known landmarks), smooth (their strain),
#   synthesized (the decoder's own pixels against the target) and choice (between these and the copy).
COMMON = dict(
    adversarial=1,
    attribute=1,
    bidirectional=10,
    parsing=10,
    identity_model=2,
    smooth=1,
    condition=5,
    flow=30,
    synthesized=5,
    choice=10,
    feature=3,
    mouth=0.2,
    expression=0.2,
)
RECIPES = {
    "paper": COMMON | dict(identity=10),
    "released": COMMON | {"identity": 10, "inner": 10, "parsing": 1, "condition_back": 5},
}
PENALTY = 10  # λ_gp
INNER = (0.25, 0.35, 0.75, 0.88)  # x0, y0, x1, y1, fractions of the side: brows to chin of an aligned face
MOUTH = 48  # side of the crops of mouths, in pixels
EXPRESSIONS = len(GROUPS["expression"])  # y begins with them
# Weight of each landmark: low for the jaw, whose points mark another line on a turned head; high for the mouth.
LANDMARKS = torch.tensor([0.5] * 17 + [1.5] * 10 + [0.5] * 9 + [1.0] * 12 + [2.0] * 20)
ABLATIONS = {
    "full": (),
    "no-side": ("side",),
    "no-bidirectional": ("bidirectional",),
    "no-parsing": ("parsing",),
    "stargan": ("side", "bidirectional", "parsing"),
}


def input_condition(batch, ablated, of=""):
    """Return s of a batch or, with ``of="goal_"``, the target's s; zeros in the ablation.

    It is a heat map of the landmarks unless the batch holds condition maps.
    """
    condition = batch.get(f"{of}side")
    if condition is None:
        condition = heat_map(batch[f"{of}points"], batch["image"].shape[-1])
    return torch.zeros_like(condition) if "side" in ablated else condition


def predicted_condition(output: AttributeGeneratorOutput, ablated):
    """Return s′; zeros in the ablation."""
    return torch.zeros_like(output.condition) if "side" in ablated else output.condition


def mouth_box(points, size):
    """Mask the bounding box of the mouth, enlarged by a fifth: BxSxS of 0 and 1, from Bx68x2 landmarks in pixels."""
    low, high = points[:, 48:].amin(1), points[:, 48:].amax(1)
    margin = 0.1 * (high - low)
    at = torch.arange(size, device=points.device)
    x, y = ((at >= (low - margin)[:, axis, None]) & (at <= (high + margin)[:, axis, None]) for axis in (0, 1))
    return (y[:, :, None] & x[:, None]).float()


def cut_mouths(image, batch):
    """Crop the mouths at the target's landmarks, of samples with a known target: NxCxMOUTHxMOUTH."""
    has_target = batch["kept"] == 1
    points = (2 * batch["goal_points"][has_target] + 1) / image.shape[-1] - 1
    return crop_parts(image[has_target], points, MOUTH, parts=("mouth",))[0]


def expression_loss(logits, batch):
    """(2) or (3) on the logits of mouths (see `cut_mouths`), over samples whose expression is known and strong."""
    has_target = batch["kept"] == 1
    return losses.attribute_loss(
        logits, *(batch[name][has_target, :EXPRESSIONS] for name in ("wanted", "known"))
    )


def averaged_over(values, has_target):
    """Average B values over the samples with a known target (``has_target``: B, 1 or 0)."""
    return (values * has_target).sum() / has_target.sum().clamp(min=1)


def inner_box(size):
    """INNER in pixels: slices of rows and columns."""
    x0, y0, x1, y1 = (round(v * size) for v in INNER)
    return slice(y0, y1), slice(x0, x1)


def inner_error(image, goal, batch, has_target):
    """Mean |image − goal| over the inner face plus that over the mouth, of samples with a known target."""
    size = image.shape[-1]
    (rows, columns), mouth = inner_box(size), mouth_box(batch["goal_points"], size)
    off = (image - goal).abs().mean(1)
    over = off[:, rows, columns].mean((1, 2)) + (off * mouth).sum((1, 2)) / mouth.sum((1, 2)).clamp(min=1)
    return averaged_over(over, has_target)


def generator_terms(
    net, discriminator, mouths, batch, condition, parser, identity, backbone, recipe, ablated
):
    """Return the terms of (7) by name and G's output.

    Args:
        net: AttributeGenerator.
        discriminator: AttributeDiscriminator, or None while G trains alone.
        mouths: MouthDiscriminator, or None.
        batch: samples of `facesym.data.lssl`.
        condition: BxCxHxW, s.
        parser: FaceParser, or None.
        identity: LightCNN, or None.
        backbone: VGG16Features, or None.
        recipe: a key of RECIPES.
        ablated: a value of ABLATIONS.
    """
    image = batch["image"]
    output = net(image, condition, batch["y"])
    predicted = predicted_condition(output, ablated)
    terms, has_target = {}, (batch["kept"] == 1).float()
    if discriminator is not None:
        scores, logits = discriminator(output.image, predicted)
        terms["adversarial"] = -scores.float().mean()
        terms["attribute"] = losses.attribute_loss(logits, batch["wanted"], batch["known"])
    if recipe == "paper":
        goal, weight, still = image, torch.ones_like(has_target), torch.ones_like(has_target)
    else:  # without a discriminator only known targets count
        goal, weight, still = (
            batch["goal"],
            batch["kept"] if discriminator is not None else has_target,
            batch["still"],
        )
    terms["identity"] = averaged_over((output.image - goal).abs().mean((1, 2, 3)), weight)
    if recipe != "paper":
        terms["inner"] = inner_error(output.image, goal, batch, has_target)
    if recipe != "paper" and "side" not in ablated:
        wrong = losses.condition_map_loss(predicted, input_condition(batch, ablated, "goal_"))
        terms["condition"] = averaged_over(wrong, has_target)
    if mouths is not None and has_target.any():
        scores, logits = mouths(cut_mouths(output.image, batch))
        terms["mouth"] = losses.generator_loss(scores)
        terms["expression"] = expression_loss(logits, batch)
    if "bidirectional" not in ablated and discriminator is not None:
        latent = net.encode(output.image, predicted)
        back = net.decode(latent, batch["back"], output.image)
        condition_back = predicted_condition(back, ablated)
        if recipe != "paper" and "side" not in ablated:
            terms["condition_back"] = losses.condition_map_loss(condition_back, condition).mean()
            condition_back = condition
        terms["bidirectional"] = losses.bidirectional_loss(
            image, back.image, condition, condition_back, output.latent, latent
        )
    terms |= frozen_terms(
        output, goal, has_target, still, None if "parsing" in ablated else parser, identity, backbone
    )
    if output.flow is not None:
        terms |= flow_terms(output, goal, batch, has_target)
    return terms, output


def frozen_terms(output, goal, has_target, still, parser, identity, backbone):
    """Return the terms of the frozen networks: features, (5) and identity."""
    terms = {}
    if backbone is not None and has_target.any():
        rows, columns = inner_box(goal.shape[-1])
        known, images = has_target > 0, [output.image]
        if output.flow is not None:
            images.append(output.synthesized)
        with torch.no_grad():
            wanted = backbone(goal[known][:, :, rows, columns])
        terms["feature"] = sum(
            losses.feature_distance(backbone(image[known][:, :, rows, columns]), wanted) for image in images
        )
    if parser is not None:
        with torch.no_grad():
            source = parse(parser, goal)
        terms["parsing"] = losses.parsing_loss(parse(parser, output.image), source, still)
    if identity is not None:
        terms["identity_model"] = losses.identity_loss(identity, output.image, goal)
    return terms


def flow_terms(output, goal, batch, has_target):
    """Return the terms that train where to copy from and whether to copy."""
    points, source = ((2 * batch[name] + 1) / goal.shape[-1] - 1 for name in ("goal_points", "points"))
    mirrored = source[:, FLIP_68] * source.new_tensor([-1, 1])  # numbered as in x
    chosen = losses.copy_choice_loss(output.copy_mask, output.copied, output.synthesized, goal)
    # Also where the output shows the copy: otherwise Gdec would not learn to synthesize what cannot be copied.
    terms = {"flow": 0, "smooth": 0, "synthesized": inner_error(output.synthesized, goal, batch, has_target)}
    terms["choice"] = averaged_over(chosen, has_target)
    for flow, marks in ((output.flow, source), (output.mirror_flow, mirrored)):
        there = F.grid_sample(flow, points[:, None], align_corners=False)[:, :, 0].mT  # BxKx2
        off = ((there - marks).abs().mean(2) * LANDMARKS.to(there)).mean(1)
        terms["flow"] += averaged_over(off, has_target)
        terms["smooth"] += losses.tv_loss(flow - identity_grid(flow))
    return terms


def discriminator_terms(discriminator, batch, real, condition, output, predicted):
    """Return D's terms: (1) without its penalty, and (2). ``real`` (B bool) marks photos, the real samples of (1)."""
    scores, logits = discriminator(batch["image"], condition)
    fake, _ = discriminator(output.image, predicted)
    return {
        "discriminator": losses.wasserstein_loss(scores[real].float(), fake.float()),
        "labels": losses.attribute_loss(logits, batch["own"], batch["known"]),
    }
