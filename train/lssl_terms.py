"""The terms of LSSL's losses, by name, and their weights."""

import torch
import torch.nn.functional as F

from facesym import losses
from facesym.faces.geometry import FLIP_68
from facesym.models.lssl import GROUPS, AttributeGeneratorOutput, heat_map, parse
from facesym.ops import crop_parts, identity_grid

# λ of (7). "paper": as printed, (4) against x for every target. "released": (4) against what is known of the target,
# which is told by a sample's "kept", and all that is known once more in the inner face and once in the mouth (`inner`),
# which is small and tells expressions; `side` (s′ against the known one), and (6)'s ŝ goes as `side` is. Ours in both,
# each with its option: `person` (--identity: one minus the identity model's cosine); `feature` (--perceptual: the
# features' distance over the inner face: absolute errors alone blur teeth); `mouth` and `expression` (--mouths: what a
# discriminator of mouths alone says, SymmFCNet's (17), and (3) by its other head); and of a network that copies (not
# --preset paper) `places` (the flows at the known landmarks), `smooth` (strain), `drawn` (what Gdec draws, against
# what is known) and `choice` (of it, or what is looked up).
COMMON = dict(
    adversarial=1,
    attribute=1,
    bidirectional=10,
    parsing=10,
    person=2,
    smooth=1,
    side=5,
    places=30,
    drawn=5,
    choice=10,
    feature=3,
    mouth=0.2,
    expression=0.2,
)
RECIPES = {
    "paper": COMMON | dict(identity=10),
    "released": COMMON | {"identity": 10, "inner": 10, "parsing": 1, "side back": 5},
}
PENALTY = 10  # λ_gp
INNER = (0.25, 0.35, 0.75, 0.88)  # x0, y0, x1, y1, shares of the side: brows to chin of an aligned face
MOUTH = 48  # side of the mouths' crops
EXPRESSIONS = len(GROUPS["expression"])  # y begins with them
# How much each landmark's place counts: the jaw's mark another line on a turned head; mouths tell expressions.
LANDMARKS = torch.tensor([0.5] * 17 + [1.5] * 10 + [0.5] * 9 + [1.0] * 12 + [2.0] * 20)
ABLATIONS = {
    "full": (),
    "no-side": ("side",),
    "no-bidirectional": ("bidirectional",),
    "no-parsing": ("parsing",),
    "stargan": ("side", "bidirectional", "parsing"),
}


def side_of(batch, ablated, of=""):
    """s of a batch, or with "goal_" what is known of s′; nothing for the ablation. A heat map, where the batch has no
    side images of its own."""
    side = batch.get(f"{of}side")
    if side is None:
        side = heat_map(batch[f"{of}points"], batch["image"].shape[-1])
    return torch.zeros_like(side) if "side" in ablated else side


def without_side(found: AttributeGeneratorOutput, ablated):
    """s′, or nothing for the ablation."""
    return torch.zeros_like(found.condition) if "side" in ablated else found.condition


def mouth_box(points, size):
    """The box about the mouth, a fifth larger: BxSxS of 0 and 1, of Bx68x2 landmarks in pixels."""
    low, high = points[:, 48:].amin(1), points[:, 48:].amax(1)
    margin = 0.1 * (high - low)
    at = torch.arange(size, device=points.device)
    x, y = ((at >= (low - margin)[:, axis, None]) & (at <= (high + margin)[:, axis, None]) for axis in (0, 1))
    return (y[:, :, None] & x[:, None]).float()


def cut_mouths(image, batch):
    """The mouths of those whose goal is known, at the goal's landmarks: NxCxMOUTHxMOUTH."""
    sure = batch["kept"] == 1
    places = (2 * batch["goal_points"][sure] + 1) / image.shape[-1] - 1
    return crop_parts(image[sure], places, MOUTH, parts=("mouth",))[0]


def told_expressions(logits, batch):
    """(2) or (3) on mouths' logits (see `cut_mouths`): of those whose expression is known, and strong enough."""
    sure = batch["kept"] == 1
    return losses.attribute_loss(logits, *(batch[name][sure, :EXPRESSIONS] for name in ("wanted", "known")))


def averaged_over(values, sure):
    """The mean of B values over those whose target is known (B: 1, else 0)."""
    return (values * sure).sum() / sure.sum().clamp(min=1)


def inner_box(size):
    """INNER in pixels, as two slices."""
    x0, y0, x1, y1 = (round(v * size) for v in INNER)
    return slice(y0, y1), slice(x0, x1)


def inner_error(picture, goal, batch, sure):
    """Mean |image − goal| over the inner face, and over the mouth, of those whose goal is known."""
    size = picture.shape[-1]
    (rows, columns), mouth = inner_box(size), mouth_box(batch["goal_points"], size)
    off = (picture - goal).abs().mean(1)
    over = off[:, rows, columns].mean((1, 2)) + (off * mouth).sum((1, 2)) / mouth.sum((1, 2)).clamp(min=1)
    return averaged_over(over, sure)


def generator_terms(net, critic, mouths, batch, side, parser, identity, backbone, recipe, ablated):
    """(7)'s terms by name, and G's output. ``mouths``: the mouths' discriminator, or None."""
    image = batch["image"]
    found = net(image, side, batch["y"])
    made = without_side(found, ablated)
    terms, sure = {}, (batch["kept"] == 1).float()
    if critic is not None:
        scores, logits = critic(found.image, made)
        terms["adversarial"] = -scores.float().mean()
        terms["attribute"] = losses.attribute_loss(logits, batch["wanted"], batch["known"])
    if recipe == "paper":
        goal, weight, still = image, torch.ones_like(sure), torch.ones_like(sure)
    else:  # without a critic there is nothing but what is known
        goal, weight, still = batch["goal"], batch["kept"] if critic is not None else sure, batch["still"]
    terms["identity"] = averaged_over((found.image - goal).abs().mean((1, 2, 3)), weight)
    if recipe != "paper":
        terms["inner"] = inner_error(found.image, goal, batch, sure)
    if recipe != "paper" and "side" not in ablated:
        wrong = losses.condition_map_loss(made, side_of(batch, ablated, "goal_"))
        terms["side"] = averaged_over(wrong, sure)
    if mouths is not None and sure.any():
        scores, logits = mouths(cut_mouths(found.image, batch))
        terms["mouth"] = losses.generator_loss(scores)
        terms["expression"] = told_expressions(logits, batch)
    if "bidirectional" not in ablated and critic is not None:
        latent = net.encode(found.image, made)
        back = net.decode(latent, batch["back"], found.image)
        side_back = without_side(back, ablated)
        if recipe != "paper" and "side" not in ablated:
            terms["side back"] = losses.condition_map_loss(side_back, side).mean()
            side_back = side
        terms["bidirectional"] = losses.bidirectional_loss(
            image, back.image, side, side_back, found.latent, latent
        )
    terms |= frozen_terms(
        found, goal, sure, still, None if "parsing" in ablated else parser, identity, backbone
    )
    if found.flow is not None:
        terms |= flow_terms(found, goal, batch, sure)
    return terms, found


def frozen_terms(found, goal, sure, still, parser, identity, backbone):
    """What the networks that do not learn say of G's output: features, (5), the person."""
    terms = {}
    if backbone is not None and sure.any():
        rows, columns = inner_box(goal.shape[-1])
        known, pictures = sure > 0, [found.image]
        if found.flow is not None:
            pictures.append(found.synthesized)
        with torch.no_grad():
            wanted = backbone(goal[known][:, :, rows, columns])
        terms["feature"] = sum(
            losses.feature_distance(backbone(picture[known][:, :, rows, columns]), wanted)
            for picture in pictures
        )
    if parser is not None:
        with torch.no_grad():
            source = parse(parser, goal)
        terms["parsing"] = losses.parsing_loss(parse(parser, found.image), source, still)
    if identity is not None:
        terms["person"] = losses.identity_loss(identity, found.image, goal)
    return terms


def flow_terms(found, goal, batch, sure):
    """What teaches a network that copies where to look things up, and when not to."""
    places, source = ((2 * batch[name] + 1) / goal.shape[-1] - 1 for name in ("goal_points", "points"))
    mirrored = source[:, FLIP_68] * source.new_tensor([-1, 1])  # numbered as in x
    chosen = losses.copy_choice_loss(found.copy_mask, found.copied, found.synthesized, goal)
    # Also where it is not shown: else nothing would teach Gdec to draw what cannot be looked up.
    terms = {"places": 0, "smooth": 0, "drawn": inner_error(found.synthesized, goal, batch, sure)}
    terms["choice"] = averaged_over(chosen, sure)
    for flow, marks in ((found.flow, source), (found.mirror_flow, mirrored)):
        there = F.grid_sample(flow, places[:, None], align_corners=False)[:, :, 0].mT  # BxKx2
        off = ((there - marks).abs().mean(2) * LANDMARKS.to(there)).mean(1)
        terms["places"] += averaged_over(off, sure)
        terms["smooth"] += losses.tv_loss(flow - identity_grid(flow))
    return terms


def critic_terms(critic, batch, real, side, found, made):
    """D's: (1) without its penalty, and (2); ``real`` (B bool): the photos, which alone are real to (1)."""
    scores, logits = critic(batch["image"], side)
    fake, _ = critic(found.image, made)
    return {
        "critic": losses.wasserstein_loss(scores[real].float(), fake.float()),
        "labels": losses.attribute_loss(logits, batch["own"], batch["known"]),
    }
