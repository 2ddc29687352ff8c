"""Train LSSL: faces' expression, pose and light changed on request.

    accelerate launch train/lssl.py --data FACES … --pairs PAIRS --parser runs/parsing --identity identity

A step trains D; each fifth also G. The paper's data are unpaired (``--data``); ``--pairs`` adds faces whose image
with other attributes is known (`facesym prepare pairs`), on which G can begin alone (``--adversary-from``).
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from torch.utils.data import default_collate

from facesym import losses
from facesym.data.attributes import UNKNOWN, expression_of
from facesym.data.lssl import AttributeSamples
from facesym.models import FaceParser, LightCNN
from facesym.models.lssl import (
    GROUPS,
    AttributeDiscriminator,
    AttributeGenerator,
    MouthDiscriminator,
)
from train.arguments import Parser, add_arguments, launch
from train.backbone import VGG16Features, load_frozen
from train.common import Run, load_discriminator, model_folder
from train.lssl_terms import (
    ABLATIONS,
    EXPRESSIONS,
    MOUTH,
    PENALTY,
    RECIPES,
    critic_terms,
    cut_mouths,
    generator_terms,
    side_of,
    told_expressions,
    without_side,
)


def add_lssl_arguments(parser):
    """What both modes are told."""
    parser.add_argument("--steps", type=int, default=100000, help="of D; G takes one in --critic-steps")
    parser.add_argument("--critic-steps", type=int, default=5, help="D's steps for one of G's")
    parser.add_argument("--adversary-from", type=int, default=0, metavar="STEP", help="first step with D")
    parser.add_argument("--preset", choices=["small", "paper"], default="small", help="the network's size")
    parser.add_argument("--size", type=int, default=128, help="side of the images, in pixels")
    parser.add_argument(
        "--scale", type=int, help="G sees images at a scale-th of their size (default: the preset's)"
    )
    parser.add_argument("--recipe", choices=list(RECIPES), default="released", help="the losses' weights")
    parser.add_argument("--ablation", choices=list(ABLATIONS), default="full", help="what is left out")
    parser.add_argument("--parser", help="a FaceParser: a zoo id or a run's folder; without: no parsing loss")
    parser.add_argument("--identity", help="an identity model: a zoo id or folder; without: no such loss")
    parser.add_argument(
        "--perceptual",
        metavar="WEIGHTS",
        help="vgg16 (torchvision's, fetched once), or a safetensors file of its features; without: no perceptual loss",
    )
    parser.add_argument("--mouths", action="store_true", help="with a discriminator of mouths")
    parser.add_argument("--init", metavar="FOLDER", help="start from another run's networks")


def rescaled(net, size, scale):
    """An AttributeGenerator with the weights of another, for images of ``size`` at a ``scale``-th of it. Where that
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
            load_frozen(run, args.parser, FaceParser, "parser"),
            load_frozen(run, args.identity, LightCNN, "identity model"),
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
    parser.add_argument("--pair-fraction", type=float, default=0.5, help="of samples")
    args = parser.parse_args()
    run = Run(args)
    lssl = LSSL(run)
    faces = run.faces(args.size)
    labelled = sum(expression_of(row, GROUPS["expression"]) != UNKNOWN for row in faces.rows)
    pairs = run.pairs(args.pairs) if args.pairs else None
    samples = AttributeSamples(faces, args.seed, pairs, args.pair_fraction)
    held_out = AttributeSamples(
        run.faces(args.size, "val"), 0,
        run.pairs(args.pairs, "val") if args.pairs else None, args.pair_fraction,
    )  # fmt: skip
    ways = sum(len(way) for people in samples.ways.values() for way in people)
    run.print(
        f"{len(faces)} faces, {labelled} with an expression; {ways} ways between pairs' images; "
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
