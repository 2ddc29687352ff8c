"""Every training script with the arguments of a small run; and, as a program, all of them for three steps each, in
one of several processes: what each has in the end is written as fingerprints.

    RANK=0 WORLD_SIZE=2 … python tests/scripts.py '{"scripts": {NAME: ARGUMENTS}, "result": PATH}'
"""

import hashlib
import json
import os
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from training import arguments, make_faces, make_labels, make_masks, make_pairs, run_script


def prepare(folder):
    """Make what the scripts are trained on in a folder."""
    from facesym.models import (
        AttributeGenerator,
        FaceParser,
        LandmarkNet,
        LightCNN,
        MouthRefiner,
        SymmetrizerVAE,
    )

    for name, make in (
        ("faces", make_faces),
        ("masks", make_masks),
        ("labels", make_labels),
        ("pairs", make_pairs),
    ):
        make(folder / name)
    AttributeGenerator(widths=(8,) * 5, blocks=1, input_size=64).save_pretrained(folder / "generator")
    LightCNN(widths=(4, 8, 8, 8), blocks=(0, 0, 0, 0)).save_pretrained(folder / "identity")
    LandmarkNet(width=8).save_pretrained(folder / "landmarks")
    FaceParser(widths=(4, 4, 4), input_size=64).save_pretrained(folder / "parser")
    MouthRefiner(widths=(4, 8), blocks=1, input_size=32).save_pretrained(folder / "refiner")
    SymmetrizerVAE(widths=(8, 8, 16, 16), latent=4, fold=1, input_size=64).save_pretrained(
        folder / "symmetrizer"
    )
    np.save(
        folder / "faces" / "identity.npy", np.random.default_rng(0).normal(size=(12, 128)).astype(np.float16)
    )


def script_arguments(folder, out, mesh, vgg16):
    """{script: its arguments}, for runs into ``out``."""
    faces, identity, lr = folder / "faces", folder / "identity", ("--sample-every", 4)
    lssl = (
        "--size",
        64,
        "--discriminator-steps",
        2,
        "--identity",
        identity,
        "--parser",
        folder / "parser",
        *lr,
    )
    runs = {
        "symmfc": (faces, "--preset", "tiny", "--size", 64, "--masks", folder / "masks", "--perceptual", vgg16, *lr),
        "symgan": (
            faces, "--size", 64, "--width", 4, "--encoder", "--latent", 8, "--asymmetric", 2, "--r1-every", 2, *lr
        ),
        "symmetrize": (
            faces, "--stage", 3, "--size", 64, "--init", folder / "symmetrizer", "--identity", identity, *lr
        ),
        "lssl": (faces, "--pairs", folder / "pairs", "--mouths", "--perceptual", vgg16, *lssl),
        "realism": (folder / "pairs", "--mesh", mesh, *lssl),
        "nfgan": (folder / "pairs", "--preset", "paper", "--identity", "none", "--perceptual", vgg16, *lr),
        "parsing": (faces, "--labels", folder / "labels", "--size", 64, *lr),
        "occlusion": (faces, "--size", 64, "--held-out", 2, *lr),
        "mouth": (
            faces, "--model", folder / "generator", "--init", folder / "refiner", "--size", 64, *lr
        ),
        "landmarks": (faces, "--width", 8),
        "pose": (faces, "--init", folder / "landmarks"),
        "identity": (faces, *lr),
    }  # fmt: skip
    return {name: arguments([data], out / name, *more) for name, (data, *more) in runs.items()}


def steps(script, count):
    """The option for so many steps."""
    return ["--phase-steps", "1", "1", str(count - 2)] if script == "symmfc" else ["--steps", str(count)]


def fingerprint(states):
    """A hash of the tensors in nested dicts and lists."""
    digest = hashlib.sha256()

    def visit(value):
        if torch.is_tensor(value):
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        elif isinstance(value, dict):
            for key in value:
                visit(value[key])
        elif isinstance(value, list | tuple):
            for item in value:
                visit(item)

    visit(states)
    return digest.hexdigest()


def main():
    from train.common import Run

    settings, seen = json.loads(sys.argv[1]), {}

    def finish(run, *_, **__):
        seen.setdefault(name, fingerprint([kept.state_dict() for kept in run._kept]))

    for name, words in settings["scripts"].items():
        with mock.patch.object(Run, "export", finish):
            run_script(name, [*words, *steps(name, 3)])
    Path(f"{settings['result']}-{os.environ['RANK']}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main()
