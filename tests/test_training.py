"""The training scripts, each for a few steps: what they learn from, what they write."""

import shutil
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
import torch
from training import stats, template, train

from facesym.data.faces import FaceFolders
from facesym.faces.geometry import FLIP_68
from facesym.models import LightCNN, SymmetricEncoder, SymmetricGenerator, SymmetrizerVAE
from facesym.models.symmfcnet import SymmFCNet
from train.arguments import Parser
from train.symmfc import RECIPES, SymmFC, add_symmfc_arguments, build, chosen_recipe

SYMMFC = ["--preset", "tiny", "--size", "64", "--sample-every", "100", "--lr", "1e-3"]


def test_all_three_phases_and_a_loadable_model(folders, tmp_path):
    text = train("symmfc.py", folders, tmp_path, *SYMMFC, "--masks", folders[1], "--phase-steps", 1, 1, 2)
    lines = stats(tmp_path)
    assert [line["phase"] for line in lines] == [1, 2, 3, 3]
    assert "landmark" in lines[0] and "absolute" not in lines[0]
    assert "absolute" in lines[1] and "landmark" not in lines[1]
    assert {"landmark", "absolute", "symmetry", "adversarial", "discriminator", "discriminator_parts"} <= set(
        lines[3]
    )
    assert "images/s" in text and "ETA" in text
    net = SymmFCNet.from_pretrained(tmp_path / "model")
    assert net.config.input_size == 64
    assert list((tmp_path / "samples").glob("*.png"))


def test_each_departure_from_the_paper_is_an_option_of_its_own():
    parser = Parser("")
    add_symmfc_arguments(parser)

    def recipe(*words):
        return chosen_recipe(parser.parse_args(words))

    assert recipe() == RECIPES["released"] and recipe("--recipe", "paper") == RECIPES["paper"]
    departures = [
        "--confidence-weight",
        "2",
        "--window",
        "96",
        "--completed",
        "--mask-weighted",
        "--detach-symmetry",
    ]
    mixed = recipe("--recipe", "paper", *departures)
    assert mixed == replace(RECIPES["released"], weights=RECIPES["paper"].weights)
    assert not SymmFCNet.preset("paper").config.copy_skip
    assert build(parser.parse_args(["--preset", "paper", "--copy-skip"])).config.copy_skip


def test_the_papers_losses_reach_all_networks(folders, vgg16, tmp_path):
    """C has no loss of its own; (13) and RecNet's losses move stage I, also with everything stage I learns left out."""
    options = ["--recipe", "paper", "--no-copy-skip", "--perceptual", vgg16, "--phase-steps", 0, 0, 2]
    train("symmfc.py", folders, tmp_path, *SYMMFC, *options)
    first, _ = stats(tmp_path)
    assert {"squared", "perceptual", "symmetry", "adversarial"} <= set(first)
    assert not {"confidence", "absolute", "feature", "identity"} & set(first)
    net, batch = SymmFCNet.preset("tiny", input_size=64, copy_skip=False).train(), torch.rand(2, 3, 64, 64)
    mask = torch.ones(2, 1, 64, 64)
    mask[..., 20:40, 10:30] = 0
    out = net(batch, mask)
    with mock.patch.object(SymmFC, "__init__", lambda self: None):
        trainer = SymmFC()
    trainer.net, trainer.recipe = net, RECIPES["paper"]
    trainer.symmetry_term(out).backward()
    assert net.flownet.out.weight.grad is not None and net.confidence.layers[0].weight.grad is not None
    net.zero_grad()
    trainer.recipe = RECIPES["released"]
    trainer.symmetry_term(net(batch, mask)).backward()
    assert net.recnet.stem[1].weight.grad is not None


def test_the_plain_net_and_landmarks_train(folders, tmp_path):
    train("symmfc.py", folders, tmp_path / "plain", *SYMMFC, "--ablation", "plain", "--phase-steps", 0, 1, 1)
    assert "landmark" not in stats(tmp_path / "plain")[1]
    text = train("landmarks.py", folders, tmp_path / "landmarks", "--steps", 2, "--width", 8)
    assert "held-out error" in text


def test_identity_trains_on_given_vectors_and_on_dlibs(folders, tmp_path):
    pytest.importorskip("dlib")
    text = train("identity.py", folders, tmp_path / "dlib", "--steps", 2)  # the folder has no identity.npy
    assert " val " in text and list((tmp_path / "dlib").glob("dlib-*.npy"))
    faces = tmp_path / "faces"
    shutil.copytree(folders[0], faces)
    vectors = np.random.default_rng(0).normal(size=(12, 128)).astype(np.float16)
    np.save(faces / "identity.npy", vectors)
    train("identity.py", [faces], tmp_path / "given", "--steps", 2)
    assert not list((tmp_path / "given").glob("dlib-*.npy"))
    net = LightCNN.from_pretrained(tmp_path / "given" / "model")
    assert net.config.embedding == 128


def test_the_symmetrizers_stages_follow_each_other(folders, tmp_path):
    LightCNN(widths=(4, 8, 8, 8), blocks=(0, 0, 0, 0)).save_pretrained(tmp_path / "judge")
    options = ["--size", 64, "--steps", 2, "--identity", tmp_path / "judge"]
    before = None
    for stage in (1, 2, 3):
        out = tmp_path / f"stage{stage}"
        chain = ["--init", tmp_path / f"stage{stage - 1}"] if stage > 1 else []
        train("symmetrize.py", folders, out, "--stage", stage, *options, *chain)
        assert {"adversarial", "identity", "kl", "flow", "discriminator"} <= set(stats(out)[0])
        state = SymmetrizerVAE.from_pretrained(out / "model").state_dict()
        if before is not None:  # two steps from where the last stage ended, not from the start
            assert all((state[k] - before[k]).abs().max() < 0.1 for k in state if k.endswith("weight"))
        before = state
    train(
        "symmetrize.py", folders, tmp_path / "end", "--stage", 3, *options, "--no-copy", "--identity", "none"
    )
    assert "flow" not in stats(tmp_path / "end")[0]


def test_the_symmetrizers_targets(folders):
    """Stage 1: the image; 2: its face; 3: a symmetric face, of the healthy image where a palsy was simulated."""
    from train.symmetrize import SymmetrizerSamples, turned_side

    faces = FaceFolders([folders[0]], 128)

    def rng():
        return np.random.default_rng(3)

    one, two, three = (SymmetrizerSamples(faces, stage) for stage in (1, 2, 3))
    sample = one.sample(0, rng(), augment=False)
    assert (sample["target"] == sample["image"]).all() and (sample["region"] == 1).all()
    sample = two.sample(0, rng(), augment=False)
    face = sample["region"].bool().expand(3, -1, -1)
    assert (sample["target"][face] == sample["image"][face]).all() and (sample["target"][~face] == -1).all()
    healthy, sick = (three.sample(0, rng(), augment=False, palsy=strength) for strength in (0, 1.0))
    for drawn in (healthy, sick, three.sample(1, rng())):
        assert (drawn["target"] == drawn["target"].flip(-1)).all()
        assert drawn["goal"].shape == (68, 2) and drawn["sources"].shape == (2, 68, 2)
    assert (sick["image"] != healthy["image"]).any() and (sick["goal"] == healthy["goal"]).all()
    # In stage 3 the flow's two places at a landmark are that landmark in x and in x's mirror image.
    np.testing.assert_allclose(
        sick["sources"][1, :, 0].numpy(), -sick["sources"][0, FLIP_68, 0].numpy(), atol=1e-6
    )
    points = template(128)
    assert turned_side(points) is None
    points[27:31, 0] += 20
    assert turned_side(points) == "left" and turned_side(128 - points[FLIP_68] * [1, -1]) == "right"


@pytest.mark.parametrize("kind", ["zprime", "hard"])
def test_symmetric_gans_train(folders, tmp_path, kind):
    options = ["--kind", kind, "--size", 64, "--width", 4, "--steps", 2, "--r1-every", 1, "--sample-every", 2]
    train("symgan.py", folders, tmp_path, *options)
    assert {"generator", "discriminator", "r1"} <= set(stats(tmp_path)[1]) and list(
        (tmp_path / "samples").glob("*.png")
    )
    assert ("mirror" in stats(tmp_path)[1]) == (kind == "hard")
    net = SymmetricGenerator.from_pretrained(tmp_path / "model")
    assert net.size == 64 and net.config.kind == ("plain" if kind == "hard" else "zprime")


def test_a_symmetric_gan_trains_with_an_encoder(folders, tmp_path):
    options = ["--encoder", "--latent", 10, "--asymmetric", 3, "--size", 64, "--width", 4, "--steps", 3]
    options += ["--adversary-from", 1, "--sample-every", 3, "--no-augment"]
    train("symgan.py", folders, tmp_path, *options)
    first, _, last = stats(tmp_path)
    assert {"absolute", "kl", "yaw"} <= set(first) and "generator" not in first
    assert {"absolute", "kl", "yaw", "generator", "discriminator", "val"} <= set(last)
    net = SymmetricGenerator.from_pretrained(tmp_path / "model")
    encoder = SymmetricEncoder.from_pretrained(tmp_path / "encoder")
    assert net.config.yaw and encoder.config.latent == net.config.latent == 10
    with pytest.raises(SystemExit, match="--encoder needs"):  # a plain GAN's latents have no mirror
        train("symgan.py", folders, tmp_path, *options, "--kind", "plain")


def test_the_encoders_first_number_is_the_yaw_where_it_is_known():
    from train.symgan import encoder_terms

    encoder = SymmetricEncoder(latent=6, asymmetric=2, size=32, widths=(4, 4))
    image = torch.rand(3, 3, 32, 32)
    normal = torch.zeros(3, 6, requires_grad=True)
    yaw = torch.tensor([20.0, float("nan"), -20.0])
    terms = encoder_terms(encoder, normal, yaw, image, image, None, np.random.default_rng(0))
    assert terms["absolute"] == 0 and terms["yaw"] == 1
    terms["yaw"].backward()
    assert (
        (normal.grad[:, 1:] == 0).all()
        and normal.grad[0, 0] < 0 < normal.grad[2, 0]
        and normal.grad[1, 0] == 0
    )
    unknown = encoder_terms(encoder, normal, yaw * float("nan"), image, image, None, np.random.default_rng(0))
    assert "yaw" not in unknown
