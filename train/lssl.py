"""Train LSSL: faces' expression, pose and light changed on request.

    accelerate launch train/lssl.py --data FACES … --pairs PAIRS --parser runs/parsing --identity identity

A step trains D; each fifth also G. The paper's data are unpaired (``--data``); ``--pairs`` adds faces whose picture
with other attributes is known (`facesym prepare pairs`), on which G can begin alone (``--adversary-from``).
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
import torch.nn.functional as F
from torch.utils.data import default_collate

from facesym import losses, zoo
from facesym.data.attributes import UNKNOWN, expression_of
from facesym.data.lssl import AttributeSamples
from facesym.faces.geometry import FLIP_68
from facesym.models.lssl import (
    GROUPS,
    AttributeDiscriminator,
    AttributeGenerator,
    AttributeGeneratorOutput,
    MouthDiscriminator,
    heat_map,
    parse,
)
from facesym.ops import crop_parts, identity_grid
from train.arguments import Parser, add_arguments, launch
from train.backbone import VGG16Features
from train.common import Run, load_discriminator, model_folder

# λ of (7). "paper": as printed, (4) against x for every target. "released": (4) against what is known of the target,
# which is told by a sample's "kept", and all that is known once more in the inner face and once in the mouth (`inner`),
# which is small and tells expressions; `side` (s′ against the known one), and (6)'s ŝ goes as `side` is. Ours in both,
# each with its option: `person` (--identity: one minus the identity model's cosine); `feature` (--perceptual: the
# features' distance over the inner face: absolute errors alone blur teeth); `mouth` and `expression` (--mouths: what a
# discriminator of mouths alone says, SymmFCNet's (17), and (3) by its other head); and of a net that copies (not
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
    side pictures of its own."""
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


def generator_terms(net, critic, mouths, batch, side, parser, judge, trunk, recipe, ablated):
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
    off = (found.image - goal).abs().mean((1, 2, 3))
    terms["identity"] = (off * weight).sum() / weight.sum().clamp(min=1)
    x0, y0, x1, y1 = (round(share * image.shape[-1]) for share in INNER)
    mouth = mouth_box(batch["goal_points"], image.shape[-1])

    def inner(picture):
        """Mean |picture − goal| over the inner face, and over the mouth, of those whose goal is known."""
        off = (picture - goal).abs().mean(1)
        over = off[:, y0:y1, x0:x1].mean((1, 2)) + (off * mouth).sum((1, 2)) / mouth.sum((1, 2)).clamp(min=1)
        return (over * sure).sum() / sure.sum().clamp(min=1)

    if recipe != "paper":
        terms["inner"] = inner(found.image)
    if trunk is not None and sure.any():
        seen = lambda picture: trunk(picture[sure > 0, :, y0:y1, x0:x1])  # noqa: E731
        with torch.no_grad():
            wanted = seen(goal)
        pictures = [found.image] if found.flow is None else [found.image, found.synthesized]
        terms["feature"] = sum(losses.feature_distance(seen(picture), wanted) for picture in pictures)
    if mouths is not None and sure.any():
        scores, logits = mouths(cut_mouths(found.image, batch))
        terms["mouth"] = losses.generator_loss(scores)
        terms["expression"] = told_expressions(logits, batch)
    if recipe != "paper" and "side" not in ablated:
        wrong = losses.condition_map_loss(made, side_of(batch, ablated, "goal_"))
        terms["side"] = (wrong * sure).sum() / sure.sum().clamp(min=1)
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
    if parser is not None and "parsing" not in ablated:
        with torch.no_grad():
            source = parse(parser, goal)
        terms["parsing"] = losses.parsing_loss(parse(parser, found.image), source, still)
    if judge is not None:
        terms["person"] = losses.identity_loss(judge, found.image, goal)
    if found.flow is not None:
        size = image.shape[-1]
        places, source = ((2 * batch[name] + 1) / size - 1 for name in ("goal_points", "points"))
        mirrored = source[:, FLIP_68] * source.new_tensor([-1, 1])  # numbered as in x
        chosen = losses.copy_choice_loss(found.copy_mask, found.copied, found.synthesized, goal)
        # Also where it is not shown: else nothing would teach Gdec to draw what cannot be looked up.
        terms |= {"places": 0, "smooth": 0, "drawn": inner(found.synthesized)}
        terms["choice"] = (chosen * sure).sum() / sure.sum().clamp(min=1)
        for flow, marks in ((found.flow, source), (found.mirror_flow, mirrored)):
            there = F.grid_sample(flow, places[:, None], align_corners=False)[:, :, 0].mT  # BxKx2
            off = ((there - marks).abs().mean(2) * LANDMARKS.to(there)).mean(1)
            terms["places"] += (off * sure).sum() / sure.sum().clamp(min=1)
            terms["smooth"] += losses.tv_loss(flow - identity_grid(flow))
    return terms, found


def critic_terms(critic, batch, real, side, found, made):
    """D's: (1) without its penalty, and (2); ``real`` (B bool): the photos, which alone are real to (1)."""
    scores, logits = critic(batch["image"], side)
    fake, _ = critic(found.image, made)
    return {
        "critic": losses.wasserstein_loss(scores[real].float(), fake.float()),
        "labels": losses.attribute_loss(logits, batch["own"], batch["known"]),
    }


def add_lssl_arguments(parser):
    """What both modes are told."""
    parser.add_argument("--steps", type=int, default=100000, help="of D; G takes one in --critic-steps")
    parser.add_argument("--critic-steps", type=int, default=5, help="D's steps for one of G's")
    parser.add_argument("--adversary-from", type=int, default=0, metavar="STEP", help="first step with D")
    parser.add_argument("--preset", choices=["small", "paper"], default="small", help="the network's size")
    parser.add_argument("--size", type=int, default=128, help="side of the pictures, in pixels")
    parser.add_argument(
        "--scale", type=int, help="G sees pictures at a scale-th of their size (default: the preset's)"
    )
    parser.add_argument("--recipe", choices=list(RECIPES), default="released", help="the losses' weights")
    parser.add_argument("--ablation", choices=list(ABLATIONS), default="full", help="what is left out")
    parser.add_argument("--parser", help="a FaceParser: a zoo id or a run's folder; without: no parsing loss")
    parser.add_argument("--identity", help="a recogniser: a zoo id or folder; without: no such loss")
    parser.add_argument(
        "--perceptual",
        metavar="WEIGHTS",
        help="vgg16 (torchvision's, fetched once), or a safetensors file of its features; without: no perceptual loss",
    )
    parser.add_argument("--mouths", action="store_true", help="with a discriminator of mouths")
    parser.add_argument("--init", metavar="FOLDER", help="start from another run's networks")


def rescaled(net, size, scale):
    """An AttributeGenerator with the weights of another, for pictures of ``size`` at a ``scale``-th of it. Where that
    is another scale than its own, what was drawn as one pixel is one colour all over the pixels that stand for it."""
    settings = {name: value for name, value in net.config.items() if not name.startswith("_")}
    new = AttributeGenerator(**settings | {"input_size": size, "scale": scale})
    state, folded = net.state_dict(), 3 * net.config.scale**2
    if scale != net.config.scale:  # else each of the folded pixels has learned its own
        for name in ("draw.weight", "draw.bias"):
            colours = state[name][:folded].unflatten(0, (3, -1)).mean(1)
            state[name] = torch.cat([colours.repeat_interleave(scale**2, 0), state[name][folded:]])
    new.load_state_dict(state)
    return new


class LSSL:
    """G, D and what they are trained with; ``average`` is the G to export.

    Args:
        run: train.common.Run. settings: of the networks, where they are not the presets'.
    """

    def __init__(self, run, **settings):
        args = self.args = run.args
        self.run, self.ablated, self.weights = run, ABLATIONS[args.ablation], RECIPES[args.recipe]
        if args.init:
            net = AttributeGenerator.from_pretrained(model_folder(args.init))
            net = rescaled(net, args.size, args.scale or net.config.scale)
        else:
            settings |= {"scale": args.scale} if args.scale else {}
            net = AttributeGenerator.preset(args.preset, input_size=args.size, **settings)
        self.net = run.add(net)
        attributes = sum(map(len, net.groups.values()))
        critic = AttributeDiscriminator(attributes, size=args.size, side_channels=net.config.side_channels)
        self.critic = run.add(critic, "discriminators")
        if args.init and AttributeGenerator.load_config(model_folder(args.init))["input_size"] == args.size:
            load_discriminator(critic, args.init)  # one head has a weight a place
        self.frozen = [
            run.freeze(zoo.load(str(model_folder(name)) if Path(name).is_dir() else name), part)
            if name
            else None
            for name, part in ((args.parser, "parser"), (args.identity, "identity model"))
        ]
        self.frozen.append(
            run.freeze(VGG16Features(args.perceptual), "perceptual backbone") if args.perceptual else None
        )
        self.mouths = (
            run.add(MouthDiscriminator(EXPRESSIONS, MOUTH), "discriminators") if args.mouths else None
        )
        if self.mouths:
            load_discriminator(self.mouths, args.init, "mouths.safetensors")
        trained = (net, critic, *([self.mouths] if self.mouths else []))
        self.optimizers = [run.adam(m.parameters(), betas=(0.5, 0.999)) for m in trained]
        self.average = run.average(net)
        run.restore()

    def fit(self, samples, held_out):
        """Train on the samples, to the last step; ``held_out``: Samples to validate with."""
        run, args = self.run, self.args
        validation = default_collate([held_out[n] for n in range(24)])
        validation = {name: value.to(run.device) for name, value in validation.items()}
        self.net.train(), self.critic.train()
        for batch in run.batches(samples, args.steps, cycle=args.critic_steps):
            side, alone, terms = side_of(batch, self.ablated), run.step < args.adversary_from, {}
            if not alone:
                terms |= self.critic_step(batch, side)
            if alone or (run.step + 1) % args.critic_steps == 0:
                terms |= self.generator_step(batch, side, alone)
            if run.due(args.sample_every):
                terms["val"] = run.validated(self.average, self.validate(validation))
            run.log(**terms)
        run.save_discriminator(self.critic)
        if self.mouths:
            run.save_discriminator(self.mouths, "mouths.safetensors")

    @torch.no_grad()
    def validate(self, batch):
        """A grid of samples; the mean absolute error of those whose target is known."""
        side = side_of(batch, self.ablated)
        with self.run.autocast():
            shown = self.average.eval()(batch["image"], side, batch["y"])
        columns = {
            "input": batch["image"], "condition map": side, "output": shown.image, "predicted map": shown.condition,
            "target": batch["goal"],
        }  # fmt: skip
        for title in ("condition map", "predicted map"):
            if columns[title].shape[1] == 3:  # from [0, 1]
                columns[title] = 2 * columns[title] - 1
        self.run.grid("transfer", {title: x[:10] for title, x in columns.items()})
        sure = (batch["kept"] == 1).float()
        error = (shown.image.float() - batch["goal"]).abs().mean((1, 2, 3))
        return (error * sure).sum() / sure.sum().clamp(min=1)

    def critic_step(self, batch, side):
        """D's step; its terms."""
        real = batch["photo"] > 0
        if not real.any():
            self.run.update(self.optimizers[1], None)
            return {}
        with self.run.autocast():
            with torch.no_grad():
                found = self.net(batch["image"], side, batch["y"])
                made = without_side(found, self.ablated)
            terms = critic_terms(self.critic, batch, real, side, found, made)
        # Eagerly and in full precision: it is a gradient of gradients.
        terms["penalty"] = losses.gradient_penalty(
            lambda x: self.critic(x[:, :3], x[:, 3:])[0],
            torch.cat([batch["image"], side], 1)[real],
            torch.cat([found.image, made], 1)[real],
        )
        self.run.update(
            self.optimizers[1],
            terms["critic"] + self.weights["attribute"] * terms["labels"] + PENALTY * terms["penalty"],
        )
        return terms

    def generator_step(self, batch, side, alone):
        """G's step; its terms."""
        critics = [critic for critic in (self.critic, self.mouths) if critic]
        for critic in critics:
            critic.requires_grad_(False)
        with self.run.autocast():
            terms, found = generator_terms(
                self.net,
                None if alone else self.critic,
                self.mouths,
                batch,
                side,
                *self.frozen,
                self.args.recipe,
                self.ablated,
            )
        for critic in critics:
            critic.requires_grad_(True)
        self.run.update(self.optimizers[0], losses.total(terms, self.weights))
        self.run.average_step()
        if self.mouths:
            loss = None
            if "mouth" in terms:  # else no target of this batch is known
                with self.run.autocast():
                    real, fake = (cut_mouths(x, batch) for x in (batch["goal"], found.image.detach()))
                    scores, logits = self.mouths(real)
                    terms["mouths"] = losses.discriminator_loss(scores, self.mouths(fake)[0])
                    terms["told"] = told_expressions(logits, batch)
                loss = terms["mouths"] + terms["told"]
            self.run.update(self.optimizers[2], loss)
        return terms


def main():
    parser = Parser(__doc__)
    add_arguments(parser, out="runs/lssl", batch=8, lr=1e-4, scheduler="constant-linear", warm_up=0)
    add_lssl_arguments(parser)
    parser.add_argument("--pairs", metavar="FOLDER", help="of `facesym prepare pairs`; without: no pairs")
    parser.add_argument("--pair-share", type=float, default=0.5, help="of samples")
    args = parser.parse_args()
    run = Run(args)
    lssl = LSSL(run)
    faces = run.faces(args.size)
    labelled = sum(expression_of(row, GROUPS["expression"]) != UNKNOWN for row in faces.rows)
    pairs = run.pairs(args.pairs) if args.pairs else None
    samples = AttributeSamples(faces, args.seed, pairs, args.pair_share)
    held_out = AttributeSamples(
        run.faces(args.size, "val"), 0,
        run.pairs(args.pairs, "val") if args.pairs else None, args.pair_share,
    )  # fmt: skip
    ways = sum(len(way) for people in samples.ways.values() for way in people)
    run.print(
        f"{len(faces)} faces, {labelled} with an expression; {ways} ways between pairs' pictures; "
        f"{lssl.net.num_parameters()} parameters"
    )
    lssl.fit(samples, held_out)
    run.export(
        lssl.average, task="transfer", default=True, input_size=args.size, framing="ffhq",
        license="research use only (weights); Apache-2.0 (code)",
        paper="B. Bozorgtabar et al., Learn to synthesize and synthesize to learn, CVIU 2019",
    )  # fmt: skip


if __name__ == "__main__":
    launch(main)
