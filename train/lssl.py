"""Train LSSL, which changes the expression, pose or light of a face.

    accelerate launch train/lssl.py --data FACES … --pairs PAIRS --parser runs/parsing --identity identity

Every step trains D; every fifth step also trains G. The paper's data are unpaired (``--data``). ``--pairs`` adds faces
with known targets (`facesym prepare pairs`), on which G can train alone at first (``--adversary-from``).
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
from train.common import Run
from train.init import load_discriminator, model_folder, refuse_with_init
from train.lssl_terms import (
    ABLATIONS,
    EXPRESSIONS,
    MOUTH,
    PENALTY,
    RECIPES,
    cut_mouths,
    discriminator_terms,
    expression_loss,
    generator_terms,
    input_condition,
    predicted_condition,
)


def add_lssl_arguments(parser):
    """Add the options that both modes share."""
    parser.add_argument(
        "--steps",
        type=int,
        default=100000,
        help="training steps; G is updated once for every --discriminator-steps updates of D",
    )
    parser.add_argument("--discriminator-steps", type=int, default=5, help="steps of D per step of G")
    parser.add_argument("--adversary-from", type=int, default=0, metavar="STEP", help="first step with D")
    parser.add_argument("--preset", choices=["small", "paper"], help="the network's size (default: small)")
    parser.add_argument("--size", type=int, default=128, help="side of the images, in pixels")
    parser.add_argument(
        "--scale", type=int, help="G's input is 1/SCALE of the image's size (default: the preset's)"
    )
    parser.add_argument("--recipe", choices=list(RECIPES), default="released", help="loss weights")
    parser.add_argument("--ablation", choices=list(ABLATIONS), default="full", help="parts to leave out")
    parser.add_argument("--parser", help="FaceParser for the parsing loss: a zoo id or a run's folder")
    parser.add_argument("--identity", help="model for the identity loss: a zoo id or a folder")
    parser.add_argument(
        "--perceptual",
        metavar="WEIGHTS",
        help="backbone of the perceptual loss: vgg16 (downloaded once) or a safetensors file of its features",
    )
    parser.add_argument("--mouths", action="store_true", help="add a discriminator for mouths")
    parser.add_argument("--init", metavar="FOLDER", help="start from the networks of another run")


def rescaled(net, size, scale):
    """Copy an AttributeGenerator for images of another ``size`` and ``scale``.

    When the scale changes, each output pixel of the old network becomes a block of equal pixels.
    """
    settings = {name: value for name, value in net.config.items() if not name.startswith("_")}
    new = AttributeGenerator(**settings | {"input_size": size, "scale": scale})
    state, folded = net.state_dict(), 3 * net.config.scale**2
    if scale != net.config.scale:  # at the same scale, each folded pixel has its own weights
        for name in ("draw.weight", "draw.bias"):
            colours = state[name][:folded].unflatten(0, (3, -1)).mean(1)
            state[name] = torch.cat([colours.repeat_interleave(scale**2, 0), state[name][folded:]])
    new.load_state_dict(state)
    return new


class LSSL:
    """G, D, their optimizers and losses; ``average`` is the averaged G to export.

    Args:
        run: train.common.Run.
        settings: network settings that differ from the preset.
    """

    def __init__(self, run, **settings):
        args = self.args = run.args
        self.run, self.ablated, self.weights = run, ABLATIONS[args.ablation], RECIPES[args.recipe]
        refuse_with_init(args, "preset")
        if args.init:
            net = AttributeGenerator.from_pretrained(model_folder(args.init))
            net = rescaled(net, args.size, args.scale or net.config.scale)
        else:
            settings |= {"scale": args.scale} if args.scale else {}
            net = AttributeGenerator.preset(args.preset or "small", input_size=args.size, **settings)
        self.net = run.add(net)
        attributes = sum(map(len, net.groups.values()))
        discriminator = AttributeDiscriminator(
            attributes, size=args.size, side_channels=net.config.side_channels
        )
        self.discriminator = run.add(discriminator, "discriminators")
        if args.init and AttributeGenerator.load_config(model_folder(args.init))["input_size"] == args.size:
            load_discriminator(discriminator, args.init)  # one head depends on the image size
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
        trained = (net, discriminator, *([self.mouths] if self.mouths else []))
        self.optimizers = [run.adam(m.parameters(), betas=(0.5, 0.999)) for m in trained]
        self.average = run.average(net)
        run.restore()

    def fit(self, samples, held_out):
        """Train on the samples up to the last step and validate on ``held_out`` (Samples)."""
        run, args = self.run, self.args
        validation = default_collate([held_out[n] for n in range(24)])
        validation = {name: value.to(run.device) for name, value in validation.items()}
        self.net.train(), self.discriminator.train()
        for batch in run.batches(samples, args.steps, cycle=args.discriminator_steps * args.accumulate):
            condition, alone, terms = input_condition(batch, self.ablated), run.step < args.adversary_from, {}
            if not alone:
                terms |= self.discriminator_step(batch, condition)
            turn = run.step // args.accumulate + 1  # of the optimisers, which step together
            if alone or turn % args.discriminator_steps == 0:
                terms |= self.generator_step(batch, condition, alone)
            if run.due(args.sample_every):
                terms["val"] = run.validated(self.average, self.validate(validation))
            run.log(**terms)
        run.save_discriminator(self.discriminator)
        if self.mouths:
            run.save_discriminator(self.mouths, "mouths.safetensors")

    @torch.no_grad()
    def validate(self, batch):
        """Write a grid of samples; return the mean absolute error of those with a known target."""
        condition = input_condition(batch, self.ablated)
        with self.run.autocast():
            output = self.average.eval()(batch["image"], condition, batch["y"])
        columns = {
            "input": batch["image"], "condition map": condition, "output": output.image,
            "predicted map": output.condition, "target": batch["goal"],
        }  # fmt: skip
        for title in ("condition map", "predicted map"):
            if columns[title].shape[1] == 3:  # from [0, 1]
                columns[title] = 2 * columns[title] - 1
        self.run.grid("transfer", {title: x[:10] for title, x in columns.items()})
        has_target = (batch["kept"] == 1).float()
        error = (output.image.float() - batch["goal"]).abs().mean((1, 2, 3))
        return (error * has_target).sum() / has_target.sum().clamp(min=1)

    def discriminator_step(self, batch, condition):
        """Take a step with D and return its terms."""
        real = batch["photo"] > 0
        if not real.any():
            self.run.update(self.optimizers[1], None)
            return {}
        with self.run.autocast():
            with torch.no_grad():
                output = self.net(batch["image"], condition, batch["y"])
                predicted = predicted_condition(output, self.ablated)
            terms = discriminator_terms(self.discriminator, batch, real, condition, output, predicted)
        # Second-order gradients need eager mode and full precision.
        terms["penalty"] = losses.gradient_penalty(
            lambda x: self.discriminator(x[:, :3], x[:, 3:])[0],
            torch.cat([batch["image"], condition], 1)[real],
            torch.cat([output.image, predicted], 1)[real],
        )
        self.run.update(
            self.optimizers[1],
            terms["discriminator"] + self.weights["attribute"] * terms["labels"] + PENALTY * terms["penalty"],
        )
        return terms

    def generator_step(self, batch, condition, alone):
        """Take a step with G and return its terms."""
        discriminators = [net for net in (self.discriminator, self.mouths) if net]
        for discriminator in discriminators:
            discriminator.requires_grad_(False)
        with self.run.autocast():
            terms, output = generator_terms(
                self.net,
                None if alone else self.discriminator,
                self.mouths,
                batch,
                condition,
                *self.frozen,
                self.args.recipe,
                self.ablated,
            )
        for discriminator in discriminators:
            discriminator.requires_grad_(True)
        self.run.update(self.optimizers[0], losses.total(terms, self.weights))
        self.run.average_step()
        if self.mouths:
            loss = None
            if "mouth" in terms:  # otherwise this batch has no known target
                with self.run.autocast():
                    real, fake = (cut_mouths(x, batch) for x in (batch["goal"], output.image.detach()))
                    scores, logits = self.mouths(real)
                    terms["mouths"] = losses.discriminator_loss(scores, self.mouths(fake)[0])
                    terms["expression_labels"] = expression_loss(logits, batch)
                loss = terms["mouths"] + terms["expression_labels"]
            self.run.update(self.optimizers[2], loss)
        return terms


def main():
    parser = Parser(__doc__)
    add_arguments(parser, out="runs/lssl", batch=8, lr=1e-4, scheduler="constant-linear", warm_up=0)
    add_lssl_arguments(parser)
    parser.add_argument("--pairs", metavar="FOLDER", help="pairs written by `facesym prepare pairs`")
    parser.add_argument("--pair-fraction", type=float, default=0.5, help="fraction of samples that are pairs")
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
        f"{len(faces)} faces, {labelled} with an expression label; {ways} kinds of pairs; "
        f"{lssl.net.num_parameters()} parameters"
    )
    lssl.fit(samples, held_out)
    run.export(
        lssl.average, task="transfer", default=True, input_size=args.size, framing="ffhq",
        paper="B. Bozorgtabar et al., Learn to synthesize and synthesize to learn, CVIU 2019",
    )  # fmt: skip


if __name__ == "__main__":
    launch(main)
