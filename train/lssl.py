"""Train LSSL: faces' expression, pose and light changed on request, unpaired.

    accelerate launch train/lssl.py --data FACES … --parser runs/parsing --identity identity --out runs/lssl

A step trains D; each fifth also G.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
import torch

from facesym import losses, zoo
from facesym.data.attributes import UNKNOWN, expression_of, pose_of, relight
from facesym.data.faces import (
    FaceFolders,
    Samples,
    affine_jitter,
    colour_jitter,
    flip_landmarks,
    to_tensor,
)
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
# see `kept_pixels`; `person` (one minus the recogniser's cosine) and `smooth` (the flow's strain) are ours in both.
COMMON = dict(adversarial=1, attribute=1, bidirectional=10, parsing=10, person=2, smooth=1)
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
    """Faces mirrored, jittered and relit, with their attributes and a target that differs in one group.

    A sample has "image" and "goal" (the same picture in the target's light), "points" (68x2 pixels), "y" (the target,
    the other groups zero), "back" (the way back), "own" and "known" (the source's attributes), "wanted" (those of the
    result), and "group" (the number of the group that changes).
    """

    def sample(self, i, rng):
        image, points, row = self.faces.images[i], self.faces.landmarks[i], self.faces.rows[i]
        size, yaw = self.faces.size, float(row.get("yaw") or "nan")
        if rng.random() < 0.5:
            image, points, yaw = image[:, ::-1], flip_landmarks(points, size), -yaw
        matrix = affine_jitter(rng, size, degrees=4, scale=0.04, shift=0.015)
        image = cv2.warpAffine(
            np.ascontiguousarray(image),
            matrix,
            (size, size),
            flags=cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REFLECT,
        )
        points = points @ matrix[:, :2].T + matrix[:, 2]
        image = colour_jitter(rng, image, 0.1)
        lights = GROUPS["light"]
        light = 0 if rng.random() < 0.5 else int(rng.integers(1, len(lights)))
        own = [expression_of(row, GROUPS["expression"]), pose_of(yaw, GROUPS["pose"]), light]
        group = rng.choice([k for k, value in enumerate(own) if value != UNKNOWN])
        target = (own[group] + rng.integers(1, len(GROUPS[NAMES[group]]))) % len(GROUPS[NAMES[group]])
        lit = relight(rng, image, lights[light])
        goal = relight(rng, image, lights[target]) if NAMES[group] == "light" else lit
        result = [target if k == group else value for k, value in enumerate(own)]
        known = np.concatenate(
            [np.full(len(GROUPS[name]), value != UNKNOWN) for name, value in zip(NAMES, own)]
        )
        return {
            "image": to_tensor(lit),
            "goal": to_tensor(goal),
            "points": torch.from_numpy(points.astype(np.float32)),
            "y": one_hot({group: target}),
            "back": one_hot({group: own[group]}),
            "own": one_hot(dict(enumerate(own))),
            "wanted": one_hot(dict(enumerate(result))),
            "known": torch.from_numpy(known.astype(np.float32)),
            "group": torch.tensor(group),
        }


def one_hot(chosen):
    """{number of a group: index of an attribute, or UNKNOWN} as a row of y."""
    y = torch.zeros(int(PLACES[-1]))
    for group, index in chosen.items():
        if index != UNKNOWN:
            y[PLACES[group] + index] = 1
    return y


def kept_pixels(recipe, group):
    """How much (4) counts for faces whose ``group`` (B) changes: as printed all alike; else a relit face, whose picture
    is known, in full, another expression a little, and a head that turns not at all."""
    weight = torch.ones(len(group), device=group.device)
    if recipe == "released":
        weight = torch.tensor([0.2, 0.0, 1.0], device=group.device)[group]
    return weight


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
    scores, logits = critic(found.image, made)
    weight = kept_pixels(recipe, batch["group"])
    goal = image if recipe == "paper" else batch["goal"]
    off = (found.image - goal).abs().mean((1, 2, 3))
    terms = {
        "adversarial": -scores.float().mean(),
        "attribute": losses.attribute_loss(logits, batch["wanted"], batch["known"]),
        "identity": (off * weight).sum() / weight.sum().clamp(min=1),
    }
    if "bidirectional" not in ablated:
        latent = net.encode(found.image, made)
        back = net.decode(latent, batch["back"], found.image)
        terms["bidirectional"] = losses.bidirectional_loss(
            image, back.image, side, without_side(back, ablated), found.latent, latent
        )
    if parser is not None and "parsing" not in ablated:
        still = (
            (batch["group"] != NAMES.index("pose")).float()
            if recipe == "released"
            else torch.ones_like(weight)
        )
        with torch.no_grad():
            source = parse(parser, image)
        terms["parsing"] = losses.parsing_loss(parse(parser, found.image), source, still)
    if judge is not None:
        with torch.no_grad():
            person = judge(image)
        terms["person"] = 1 - (judge(found.image).float() * person).sum(-1).mean()
    if found.flow is not None:
        terms["smooth"] = losses.tv_loss(found.flow - identity_grid(found.flow))
    return terms


def critic_terms(critic, batch, side, found, made):
    """D's: (1) with its penalty, and (2)."""
    scores, logits = critic(batch["image"], side)
    fake, _ = critic(found.image, made)
    return {
        "critic": losses.wasserstein_loss(scores.float(), fake.float()),
        "labels": losses.attribute_loss(logits, batch["own"], batch["known"]),
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser, out="runs/lssl", batch=8, lr=1e-4)
    parser.add_argument("--steps", type=int, default=100000, help="of D; G takes one in --critic-steps")
    parser.add_argument("--critic-steps", type=int, default=5, help="D's steps for one of G's")
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
    run.print(f"{len(faces)} faces, {labelled} with an expression; {net.num_parameters()} parameters")
    net.train(), critic.train()
    for batch in run.batches(AttributeSamples(faces, args.seed), args.steps):
        side = side_of(batch, ablated)
        with run.autocast():
            with torch.no_grad():
                found = net(batch["image"], side, batch["y"])
                made = without_side(found, ablated)
            terms = critic_terms(critic, batch, side, found, made)
        # Eagerly and in full precision: it is a gradient of gradients.
        terms["penalty"] = losses.gradient_penalty(
            lambda x: critic(x[:, :3], x[:, 3:])[0],
            torch.cat([batch["image"], side], 1),
            torch.cat([found.image, made], 1),
        )
        run.update(
            critic_optimizer,
            terms["critic"] + weights["attribute"] * terms["labels"] + PENALTY * terms["penalty"],
        )
        if (run.step + 1) % args.critic_steps == 0:
            critic.requires_grad_(False)
            with run.autocast():
                more = generator_terms(net, critic, batch, side, *frozen, args.recipe, ablated)
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
