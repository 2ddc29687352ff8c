"""Train LSSL: faces' expression, pose and light changed on request.

    accelerate launch train/lssl.py --data FACES … --pairs PAIRS --parser runs/parsing --identity identity

A step trains D; each fifth also G. The paper's data are unpaired (``--data``); ``--pairs`` adds faces whose picture
with other attributes is known (train/prepare.py pairs), on which G can begin alone (``--warm-up``).
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from facesym import losses, zoo
from facesym.data.attributes import POSES, UNKNOWN, expression_of, pose_of, relight
from facesym.data.faces import (
    FaceFolders,
    Samples,
    affine_jitter,
    colour_jitter,
    flip_landmarks,
    to_tensor,
)
from facesym.data.pairs import Pairs
from facesym.models.lssl import (
    GROUPS,
    AttributeDiscriminator,
    AttributeGenerator,
    Transferred,
    heat_map,
    parse,
)
from facesym.models.symmfcnet import identity_grid
from train.common import Run, add_arguments, load_critic, model_folder

# λ of (7). "paper": as printed, (4) against x for every target. "released": (4) against what is known of the target,
# which is told by a sample's "kept"; `person` (one minus the recogniser's cosine), `smooth` (the flow's strain),
# `landmarks` (s′ against the known picture's) and `places` (the flow at the known landmarks) are ours in both.
COMMON = dict(
    adversarial=1, attribute=1, bidirectional=10, parsing=10, person=2, smooth=1, landmarks=10, places=30
)
RECIPES = {"paper": COMMON | dict(identity=10), "released": COMMON | dict(identity=10, parsing=1)}
PENALTY = 10  # λ_gp
ABLATIONS = {
    "full": (),
    "no-side": ("side",),
    "no-bidirectional": ("bidirectional",),
    "no-parsing": ("parsing",),
    "stargan": ("side", "bidirectional", "parsing"),
}
PLACES = np.concatenate([[0], np.cumsum([len(names) for names in GROUPS.values()])])
NAMES = list(GROUPS)


class AttributeSamples(Samples):
    """Faces mirrored, jittered and relit, with their attributes and a target.

    Args:
        faces: FaceFolders: a target differs in one group.
        pairs: Pairs or None: there and back, a target is the other picture of the pair, in one or two groups.
        share: of samples from ``pairs``.

    A sample has "image", "goal" (what is known of the result's picture) and "kept" (how much that is: 1 all, 0
    nothing), "points" and "goal_points" (68x2 pixels), "y" (the target, the other groups zero), "back" (the way back),
    "own" and "known" (the source's attributes), "wanted" (those of the result), "still" (0: where the features are in
    the result is not known), and "photo" (0: made by simulation).
    """

    def __init__(self, faces, seed=0, pairs=None, share=0.5):
        super().__init__(faces, seed)
        self.pairs, self.share = pairs, share if pairs else 0
        self.ways = pair_ways(pairs) if pairs else []

    def sample(self, i, rng):
        if rng.random() < self.share:
            return self.pair(rng)
        image, points, row = self.faces.images[i], self.faces.landmarks[i], self.faces.rows[i]
        size, yaw = self.faces.size, float(row.get("yaw") or "nan")
        if rng.random() < 0.5:
            image, points, yaw = image[:, ::-1], flip_landmarks(points, size), -yaw
        (image,), (points,) = jitter(rng, [image], [points])
        lights, light = GROUPS["light"], draw_light(rng)
        own = [expression_of(row, GROUPS["expression"]), pose_of(yaw, GROUPS["pose"]), light]
        group = rng.choice([k for k, value in enumerate(own) if value != UNKNOWN])
        target = (own[group] + rng.integers(1, len(GROUPS[NAMES[group]]))) % len(GROUPS[NAMES[group]])
        lit = relight(rng, image, lights[light])
        goal = relight(rng, image, lights[target]) if NAMES[group] == "light" else lit
        # A relit face's picture is known, of another expression a little, of a head that turns nothing.
        kept = {"light": 1.0, "expression": 0.2, "pose": 0.0}[NAMES[group]]
        return as_sample(
            (lit, goal), (points, points), own, {group: target}, kept, NAMES[group] != "pose", photo=True
        )

    def pair(self, rng):
        """A pair in one light, from either of its pictures to the other."""
        pairs, size = self.pairs, self.faces.size
        i, *attributes = self.ways[rng.integers(len(self.ways))]
        images = [pairs.inputs[i], pairs.targets[pairs.target_of[i]]]
        points = [(p + 0.5) * size / pairs.size - 0.5 for p in pairs.points[i]]
        images = [
            x if len(x) == size else cv2.resize(x, (size, size), interpolation=cv2.INTER_AREA) for x in images
        ]
        if rng.random() < 0.5:
            images, points = [x[:, ::-1] for x in images], [flip_landmarks(p, size) for p in points]
            attributes = [
                (e, len(POSES) - 1 - pose) for e, pose in attributes
            ]  # POSES run from left to right
        images, points = jitter(rng, images, points)
        light, seed = draw_light(rng), rng.integers(2**32)
        images = [relight(np.random.default_rng(seed), x, GROUPS["light"][light]) for x in images]
        if rng.random() < 0.5 and pairs.rows[i]["near"]:
            images, points, attributes = images[::-1], points[::-1], attributes[::-1]
            photo = True
        else:
            photo = pairs.rows[i]["kind"] == "real"
        own, goal = ([*a, light] for a in attributes)
        changed = {group: value for group, value in enumerate(goal) if value != own[group]}
        return as_sample(images, points, own, changed, 1.0, True, photo)


def pair_ways(pairs):
    """The pairs whose attributes all have names: [(row, the input's (expression, pose), the target's)]. Rows get
    "near": whether the input's pose is near enough to its attribute's, in degrees, for the way there to be learned."""
    names, poses, ways = list(GROUPS["expression"]), list(GROUPS["pose"]), []
    frontal = (names.index("neutral"), poses.index("frontal"))
    for i, row in enumerate(pairs.rows):
        yaw = float(row["yaw"] or "nan")
        own = (_PAIRS.get(row["expression"], UNKNOWN), pose_of(yaw, poses))
        if UNKNOWN not in own and own != frontal and row["kind"] != "turned":
            off = max(abs(yaw - POSES[poses[own[1]]]), abs(float(row["pitch"] or 0)))
            row["near"] = off <= 8
            ways.append((i, own, frontal))
    return ways


# What pairs.csv calls expressions.
_PAIRS = {
    name: GROUPS["expression"].index(own)
    for name, own in {"neutral": "neutral", "smiling": "happy", "surprised": "surprised"}.items()
}


def jitter(rng, images, points):
    """Pictures (SxSx3 uint8) and landmarks moved and coloured all alike: a little."""
    size = len(images[0])
    matrix = affine_jitter(rng, size, degrees=4, scale=0.04, shift=0.015)
    moved = [
        cv2.warpAffine(
            np.ascontiguousarray(image),
            matrix,
            (size, size),
            flags=cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REFLECT,
        )
        for image in images
    ]
    wide = colour_jitter(rng, np.concatenate(moved, 1), 0.1)
    return np.split(wide, len(images), 1), [p @ matrix[:, :2].T + matrix[:, 2] for p in points]


def draw_light(rng):
    """The index of a light: a half of them the normal one."""
    return 0 if rng.random() < 0.5 else int(rng.integers(1, len(GROUPS["light"])))


def as_sample(images, points, own, changed, kept, still, photo):
    """See AttributeSamples; ``images`` and ``points`` of source and result, ``own`` an index a group, ``changed``
    {group: index}."""
    wanted = dict(enumerate(own)) | changed
    known = np.concatenate([np.full(len(GROUPS[name]), value != UNKNOWN) for name, value in zip(NAMES, own)])
    number = lambda x: torch.tensor(float(x))  # noqa: E731
    return {
        "image": to_tensor(images[0]),
        "goal": to_tensor(images[1]),
        "points": torch.from_numpy(np.asarray(points[0], np.float32)),
        "goal_points": torch.from_numpy(np.asarray(points[1], np.float32)),
        "y": one_hot(changed),
        "back": one_hot({group: own[group] for group in changed}),
        "own": one_hot(dict(enumerate(own))),
        "wanted": one_hot(wanted),
        "known": torch.from_numpy(known.astype(np.float32)),
        "kept": number(kept),
        "still": number(still),
        "photo": number(photo),
    }


def one_hot(chosen):
    """{number of a group: index of an attribute, or UNKNOWN} as a row of y."""
    y = torch.zeros(int(PLACES[-1]))
    for group, index in chosen.items():
        if index != UNKNOWN:
            y[PLACES[group] + index] = 1
    return y


def side_of(batch, ablated):
    """s of a batch, or nothing for the ablation."""
    side = heat_map(batch["points"], batch["image"].shape[-1])
    return torch.zeros_like(side) if "side" in ablated else side


def without_side(found: Transferred, ablated):
    """s′, or nothing for the ablation."""
    return torch.zeros_like(found.side) if "side" in ablated else found.side


def generator_terms(net, critic, batch, side, parser, judge, recipe, ablated):
    """(7)'s terms by name."""
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
    off = (found.image - goal).abs().mean((1, 2, 3))
    terms["identity"] = (off * weight).sum() / weight.sum().clamp(min=1)
    if "side" not in ablated:
        wrong = (made - heat_map(batch["goal_points"], made.shape[-1])).abs().mean((1, 2, 3))
        terms["landmarks"] = (wrong * sure).sum() / sure.sum().clamp(min=1)
    if "bidirectional" not in ablated and critic is not None:
        latent = net.encode(found.image, made)
        back = net.decode(latent, batch["back"], found.image)
        terms["bidirectional"] = losses.bidirectional_loss(
            image, back.image, side, without_side(back, ablated), found.latent, latent
        )
    if parser is not None and "parsing" not in ablated:
        with torch.no_grad():
            source = parse(parser, goal)
        terms["parsing"] = losses.parsing_loss(parse(parser, found.image), source, still)
    if judge is not None:
        terms["person"] = losses.person_loss(judge, found.image, goal)
    if found.flow is not None:
        size = image.shape[-1]
        places, source = ((2 * batch[name] + 1) / size - 1 for name in ("goal_points", "points"))
        there = F.grid_sample(found.flow, places[:, None], align_corners=False)[:, :, 0].mT  # BxKx2
        terms["places"] = ((there - source).abs().mean((1, 2)) * sure).sum() / sure.sum().clamp(min=1)
        terms["smooth"] = losses.tv_loss(found.flow - identity_grid(found.flow))
    return terms


def critic_terms(critic, batch, real, side, found, made):
    """D's: (1) without its penalty, and (2); ``real`` (B bool): the photos, which alone are real."""
    scores, logits = critic(batch["image"][real], side[real])
    fake, _ = critic(found.image, made)
    return {
        "critic": losses.wasserstein_loss(scores.float(), fake.float()),
        "labels": losses.attribute_loss(logits, batch["own"][real], batch["known"][real]),
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser, out="runs/lssl", batch=8, lr=1e-4)
    parser.add_argument("--steps", type=int, default=100000, help="of D; G takes one in --critic-steps")
    parser.add_argument("--critic-steps", type=int, default=5, help="D's steps for one of G's")
    parser.add_argument("--pairs", metavar="FOLDER", help="of train/prepare.py pairs; without: no pairs")
    parser.add_argument("--pair-share", type=float, default=0.5, help="of samples")
    parser.add_argument("--warm-up", type=int, default=0, metavar="STEPS", help="of G alone, without D")
    parser.add_argument("--preset", choices=["small", "paper"], default="small")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--recipe", choices=list(RECIPES), default="released", help="the losses' weights")
    parser.add_argument("--ablation", choices=list(ABLATIONS), default="full")
    parser.add_argument("--parser", help="a FaceParser: a zoo id or a run's folder; without: no parsing loss")
    parser.add_argument("--identity", help="a recogniser: a zoo id or folder; without: no such loss")
    parser.add_argument("--init", metavar="FOLDER", help="start from another run's networks")
    args = parser.parse_args()
    run, ablated, weights = Run(args), ABLATIONS[args.ablation], RECIPES[args.recipe]
    if args.init:
        net = AttributeGenerator.from_pretrained(model_folder(args.init))
        net.register_to_config(input_size=args.size)
    else:
        net = AttributeGenerator.preset(args.preset, input_size=args.size)
    net = run.add(net)
    critic = run.add(AttributeDiscriminator(int(PLACES[-1]), size=args.size))
    load_critic(critic, args.init)
    frozen = [
        zoo.load(str(model_folder(name)) if Path(name).is_dir() else name)
        .to(run.device, memory_format=torch.channels_last)
        .requires_grad_(False)
        if name
        else None
        for name in (args.parser, args.identity)
    ]
    optimizer, critic_optimizer = (run.adam(m.parameters(), betas=(0.5, 0.999)) for m in (net, critic))
    schedules = [
        # As it is for a half of the steps, then down to nothing: the paper's, which counts epochs.
        torch.optim.lr_scheduler.LambdaLR(o, lambda s: min(1, 2 * (1 - s / (args.steps + 1))))
        for o in (optimizer, critic_optimizer)
    ]
    run.register(*schedules)
    average = run.average(net)
    run.restore()
    faces = FaceFolders(args.data, args.size, limit=args.limit)
    labelled = sum(expression_of(row, GROUPS["expression"]) != UNKNOWN for row in faces.rows)
    pairs = Pairs(args.pairs, limit=args.limit) if args.pairs else None
    samples = AttributeSamples(faces, args.seed, pairs, args.pair_share)
    run.print(
        f"{len(faces)} faces, {labelled} with an expression; {len(samples.ways)} pairs; "
        f"{net.num_parameters()} parameters"
    )
    net.train(), critic.train()
    for batch in run.batches(samples, args.steps):
        side, alone, terms = side_of(batch, ablated), run.step < args.warm_up, {}
        real = batch["photo"] > 0
        if not alone and real.any():
            with run.autocast():
                with torch.no_grad():
                    found = net(batch["image"], side, batch["y"])
                    made = without_side(found, ablated)
                terms = critic_terms(critic, batch, real, side, found, made)
            # Eagerly and in full precision: it is a gradient of gradients.
            terms["penalty"] = losses.gradient_penalty(
                lambda x: critic(x[:, :3], x[:, 3:])[0],
                torch.cat([batch["image"], side], 1)[real],
                torch.cat([found.image, made], 1)[real],
            )
            run.update(
                critic_optimizer,
                terms["critic"] + weights["attribute"] * terms["labels"] + PENALTY * terms["penalty"],
            )
        if alone or (run.step + 1) % args.critic_steps == 0:
            critic.requires_grad_(False)
            with run.autocast():
                more = generator_terms(
                    net, None if alone else critic, batch, side, *frozen, args.recipe, ablated
                )
            critic.requires_grad_(True)
            run.update(optimizer, losses.total(more, weights))
            run.average_step()
            terms |= more
        if run.due(args.sample_every):
            average.eval()
            with torch.no_grad(), run.autocast():
                shown = average(batch["image"], side, batch["y"])
            columns = [batch["image"], side, shown.image, shown.side]
            run.grid("transfer", [x[:10] for x in columns])
        for schedule in schedules:
            schedule.step()
        run.log(**terms)
    run.save_critic(critic)
    run.export(
        average, task="transfer", default=True, input_size=args.size, framing="ffhq",
        license="research use only (weights); Apache-2.0 (code)",
        training_data=[Path(folder).name for folder in args.data],
        train_command="accelerate launch train/lssl.py (see README, “Train”)",
        paper="Learning to synthesize and synthesize to learn (LSSL), 2019",
    )  # fmt: skip


if __name__ == "__main__":
    main()
