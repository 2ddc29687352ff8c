"""NFGAN: the network, the gradients' ways, training, the pipeline."""

import shutil

import cv2
import numpy as np
import pytest
import torch
from nets import SETTINGS, small
from PIL import Image
from training import stats, train

import facesym
from facesym import ImageError
from facesym.data.pairs import PairSamples
from facesym.faces.align import align_face, ffhq_transform, finer_transform
from facesym.faces.detect import detect_faces
from facesym.models import LightCNN, NormalizedFaceGAN
from facesym.models.nfgan import NormalizedFaceDiscriminator, NormalizedFaceOutput, combine
from train import nfgan
from train.factor import factor

SMALL = SETTINGS["NormalizedFaceGAN"]


@pytest.fixture(scope="module")
def net():
    return small("NormalizedFaceGAN")


@pytest.fixture(scope="module")
def model(saved):
    return saved("NormalizedFaceGAN")


@pytest.fixture(scope="module")
def pipe(model):
    return facesym.load(str(model))


# --- the network


def test_the_printed_network():
    net = NormalizedFaceGAN.preset("paper")
    out = net.eval()(torch.zeros(2, 1, 64, 64))
    assert out.image.shape == (2, 1, 64, 64) and out.z.shape == (2, 256) and out.flow is None
    shapes = [tuple(m.weight.shape[:2]) for m in net.encoder if hasattr(m, "kernel_size")]
    assert shapes == [(32, 1), (64, 32), (128, 64), (256, 128)]
    assert isinstance(net.encoder[-1], torch.nn.Linear)  # FC2: no batch norm, no activation
    scores = NormalizedFaceDiscriminator(1)(torch.zeros(2, 1, 64, 64))
    assert scores.shape == (2, 1, 4, 4)


def test_all_that_dec_knows_of_the_face_goes_through_z(net):
    """Without copying, images with equal z are equal; with it, the flow and the choice are."""
    z, (a, b) = torch.randn(1, 8), torch.rand(2, 1, 3, 128, 128) * 2 - 1
    one, other = net.decode(z, a), net.decode(z, b)
    assert torch.equal(one.flow, other.flow) and torch.equal(one.choice, other.choice)
    assert torch.equal(one.synthesized, other.synthesized) and not torch.equal(one.image, other.image)


def test_the_three_sources():
    copied, drawn = torch.rand(2, 1, 3, 8, 8)

    def only(k):
        return torch.eye(3)[k][None, :, None, None].expand(1, 3, 8, 8)

    assert torch.equal(combine(copied, drawn, only(0)), copied)
    assert torch.equal(combine(copied, drawn, only(1)), copied.flip(-1))
    assert torch.equal(combine(copied, drawn, only(2)), drawn)


def test_leaning_to_the_photo_keeps_more_of_it(net):
    leaning = NormalizedFaceGAN(**SMALL, lean=3.0).eval()
    leaning.load_state_dict(net.state_dict())
    z, image = torch.randn(1, 8), torch.rand(1, 3, 128, 128) * 2 - 1
    plain, more = net.decode(z, image).choice, leaning.decode(z, image).choice
    torch.testing.assert_close(more.sum(1), torch.ones(1, 128, 128))
    torch.testing.assert_close(more[:, 0] / more[:, 2], 3 * plain[:, 0] / plain[:, 2])
    torch.testing.assert_close(more[:, 0] / more[:, 1], plain[:, 0] / plain[:, 1])
    assert torch.equal(leaning.train().decode(z, image).choice, net.train().decode(z, image).choice)
    net.eval()


def test_the_walk_begins_at_the_face_and_ends_at_the_result(net):
    image = torch.rand(1, 3, 128, 128) * 2 - 1
    z = net.encode(image)
    assert torch.allclose(net.decode(z, image, 0.0).image, image, atol=1e-4)
    assert torch.allclose(net.decode(z, image, 1.0).image, net(image).image, atol=1e-5)


def test_passes_are_runs_on_the_results(model, pipe, tmp_path):
    """Two passes of a network are its result's result; of the walk, too, both ends are what they are of one."""
    shutil.copytree(model, tmp_path / "net")
    NormalizedFaceGAN(**SMALL, passes=2).save_config(tmp_path / "net")
    twice = facesym.load(str(tmp_path / "net"))
    crop = Image.fromarray(np.random.default_rng(0).integers(0, 255, (128, 128, 3), np.uint8))
    (once,) = pipe.run(crop, crop, 20.0)
    wanted = np.asarray(pipe.run(once, once, 20.0)[0], int)
    made, (first, last) = twice.run(crop, crop, 20.0), twice.run(crop, crop, 20.0, [0, 1])
    assert np.abs(np.asarray(made[0], int) - wanted).max() <= 3 < np.abs(wanted - np.asarray(once)).max()
    assert np.abs(np.asarray(first, int) - np.asarray(crop)).max() <= 1 and last == made[0]


def test_a_larger_crop_gives_a_larger_result_of_the_same_face(net):
    image = torch.nn.functional.interpolate(torch.rand(1, 3, 16, 16) * 2 - 1, (256, 256), mode="bicubic")
    small = torch.nn.functional.avg_pool2d(image, 2)
    z = net.encode(small)
    large = net.decode(z, image).image
    assert large.shape[-1] == 256
    assert (torch.nn.functional.avg_pool2d(large, 2) - net.decode(z, small).image).abs().mean() < 0.02


@pytest.mark.parametrize(
    "wrong", [{"latent": 6}, {"kernel": 5}, {"encoder_widths": (8,) * 6}, {"copy": False, "passes": 2}]
)
def test_settings_that_make_no_network_are_refused(wrong):
    with pytest.raises(ValueError):
        NormalizedFaceGAN(**(SMALL | wrong))


def test_adversarial_and_symmetry_errors_reach_dec_but_not_enc():
    """Algorithm 1: Enc's gradients are those of its own terms, as if the others were not there; Dec has all."""
    torch.manual_seed(0)
    net, discriminator = NormalizedFaceGAN(**SMALL), NormalizedFaceDiscriminator(3, (8, 8))
    image, target = torch.rand(2, 4, 3, 128, 128) * 2 - 1

    def gradients(weights):
        net.zero_grad()
        z = net.encode(image)
        handed = z.detach().requires_grad_(True)
        out = net.decode(handed, image)
        terms = {
            "pixel": facesym.losses.pixel_loss(out.image, target),
            "symmetry": facesym.losses.mirror_loss(out.image),
            "adversarial": facesym.losses.generator_loss(discriminator(out.image)),
        }
        nfgan.routed_loss(z, handed, terms, weights).backward()
        return [
            torch.cat([p.grad.flatten() if p.grad is not None else p.new_zeros(p.numel()) for p in part])
            for part in (list(net.encoder.parameters()), [*net.decoder.parameters(), *net.draw.parameters()])
        ]

    enc, dec = gradients({"pixel": 1.0, "symmetry": 0.0, "adversarial": 0.0})
    for name in ("symmetry", "adversarial"):
        weights = {"pixel": 1.0, "symmetry": 0.0, "adversarial": 0.0} | {name: 1.0}
        enc_more, dec_more = gradients(weights)
        assert enc.abs().max() > 0 and torch.allclose(enc_more, enc, rtol=1e-3, atol=1e-7)
        assert (dec_more - dec).abs().max() > 1e-3 * dec.abs().max()
    net.zero_grad()
    facesym.losses.pixel_loss(
        net(image).image, target
    ).backward()  # the ordinary way, for the pixel term alone
    plain = torch.cat([p.grad.flatten() for p in net.encoder.parameters()])
    assert torch.allclose(enc, plain, rtol=1e-3, atol=1e-6)


def test_losses_are_zero_where_they_should_be():
    half = torch.rand(1, 3, 16, 8)
    symmetric = torch.cat([half, half.flip(-1)], -1)
    assert facesym.losses.mirror_loss(symmetric) < 1e-6
    assert facesym.losses.mirror_loss(torch.rand(1, 3, 16, 16)) > 0.1
    light = torch.linspace(0, 1, 32)[None, None, None].expand(1, 1, 32, 32)  # even light from one side
    inner = facesym.losses.laplacian(light)[..., 1:-1, 1:-1]
    assert inner.abs().max() < 1e-5
    features = [torch.rand(1, 4, 2, 2), torch.rand(1, 8)]
    assert facesym.losses.identity_feature_loss(features, features) == 0


def test_outside_the_face_a_turned_photo_teaches_nothing(turned, net):
    samples = PairSamples(turned, 128)
    rows = {row["kind"]: samples.pair(i, np.random.default_rng(0)) for i, row in enumerate(turned.rows)}
    assert rows["simulated"]["trust"].min() == 1
    trust = rows["turned"]["trust"]
    assert trust[0, 78, 64] == 1 and trust[0, 5, 5] == 0
    batch = {key: value[None] for key, value in rows["turned"].items()}
    out = net(batch["image"])
    image = out.image.detach().requires_grad_()
    terms = nfgan.generator_terms(
        NormalizedFaceOutput(image, out.z, out.synthesized, out.flow, out.choice), batch, None, None, None
    )
    (gradient,) = torch.autograd.grad(terms["pixel"] + terms["inner"], image)
    assert gradient[0, :, trust[0] == 0].abs().max() == 0 < gradient[0, :, trust[0] == 1].abs().max()


def test_the_person_is_that_of_the_target_where_it_is_a_photo(turned, net):
    samples, judge = PairSamples(turned, 128), LightCNN(widths=(4, 8, 8, 8), blocks=(0, 0, 0, 0)).eval()
    for kind, nothing, something in (("simulated", "target", "image"), ("turned", "image", "target")):
        i = next(i for i, row in enumerate(turned.rows) if row["kind"] == kind)
        batch = {key: value[None] for key, value in samples.pair(i, np.random.default_rng(0)).items()}
        out = net(batch["image"])

        def identity(name):
            made = NormalizedFaceOutput(batch[name], out.z, out.synthesized, out.flow, out.choice)  # noqa: B023
            return nfgan.generator_terms(made, batch, None, judge, None)["identity"]  # noqa: B023

        assert identity(nothing) < 1e-6 < 1e-4 < identity(something)


def test_the_released_kind_trains(pairs, vgg16, tmp_path):
    train("nfgan.py", (pairs,), tmp_path, "--steps", 1, "--perceptual", vgg16)
    terms = {
        "pixel",
        "symmetry",
        "feature",
        "identity",
        "flow",
        "landmark",
        "smooth",
        "adversarial",
        "discriminator",
        "r1",
    }
    assert terms | {"adversarial", "discriminator", "r1", "val"} <= set(stats(tmp_path)[-1])
    net = NormalizedFaceGAN.from_pretrained(tmp_path / "model")
    assert net.size == 128 and net.config.copy
    assert list((tmp_path / "samples").glob("*.png")) and (tmp_path / "discriminator.safetensors").exists()


def test_the_printed_kind_trains(pairs, tmp_path):
    train("nfgan.py", (pairs,), tmp_path, "--steps", 1, "--preset", "paper", "--identity", "none")
    net = NormalizedFaceGAN.from_pretrained(tmp_path / "model")
    assert net.size == 64 and net.config.channels == 1


def test_places_off_by_a_known_way():
    flow = torch.zeros(1, 2, 64, 64)
    places = torch.zeros(1, 2, 32, 32)
    places[:, 0, :, 16:] = 0.3
    weight = torch.zeros(1, 1, 32, 32)
    weight[..., 16:] = 1
    assert facesym.losses.flow_endpoint_loss(flow, places, weight) == pytest.approx(0.3, abs=1e-2)
    assert facesym.losses.flow_endpoint_loss(flow, places, weight.flip(-1)) < 2e-3


# --- pipeline


def test_a_mirrored_head_gives_the_mirrored_face(pipe, crop):
    mirrored = Image.fromarray(np.ascontiguousarray(np.asarray(crop)[:, ::-1]))
    (one,), (other,) = pipe.run(crop, crop, 20.0), pipe.run(mirrored, mirrored, -20.0)
    assert np.abs(np.asarray(one).astype(int) - np.asarray(other)[:, ::-1]).max() <= 1


def test_results(pipe, astronaut):
    out = pipe(astronaut, walk=3)
    times = finer_transform(ffhq_transform(detect_faces(astronaut)[0].points, 128), 128)[1] // 128
    (walk,), (crop,), (yaw,) = out.walk, out.crop, out.yaw
    assert out.images[0].size == crop.size == (128 * times,) * 2
    assert len(walk) == 3 and len(out.identity) == 1 and abs(yaw) < 15
    assert np.abs(np.asarray(walk[0]).astype(int) - np.asarray(crop)).mean() < 2
    assert np.abs(np.asarray(walk[-1]).astype(int) - np.asarray(out.images[0])).max() <= 1


@pytest.mark.parametrize("walk", [1, -3, 2.5])
def test_a_walk_that_makes_no_sense_is_refused(pipe, astronaut, walk):
    with pytest.raises(ImageError, match="walk"):
        pipe(astronaut, walk=walk)


def test_a_finer_crop_shows_the_same():
    photo = Image.fromarray(
        cv2.resize(np.random.default_rng(0).integers(0, 255, (9, 9, 3)).astype(np.uint8), (400, 400))
    )
    transform = np.array([[0.3, 0.02, -5], [-0.02, 0.3, -3]])
    larger, side = finer_transform(transform, 64)
    assert side == 192
    fine = align_face(photo, larger, side).resize((64, 64), Image.Resampling.BOX)
    assert np.abs(np.asarray(fine).astype(int) - np.asarray(align_face(photo, transform, 64))).mean() < 2


def test_factored_weights_do_the_same_where_they_can():
    """On inputs that span fewer directions than the rank nothing is lost; with a rank of 1 something is."""
    torch.manual_seed(0)
    widths = (4, 8, 8, 8, 16)
    net = NormalizedFaceGAN(
        encoder_widths=widths, hidden=24, latent=32, decoder_widths=(40, 24, 16, 8, 8)
    ).eval()
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
                layer.running_mean.normal_(0, 0.1)
    images = torch.rand(6, 3, 128, 128) * 2 - 1
    with torch.no_grad():
        truth = net(images).image
        # Six images: FC1 sees six inputs, of which five directions remain beside the mean.
        same, less = (factor(net, rank, [images]) for rank in (11, 1))
        assert same.num_parameters() < net.num_parameters()
        assert isinstance(same.encoder[15], torch.nn.Sequential) and same.config.rank == 11
        off, much = ((small(images).image - truth).abs().mean() for small in (same, less))
    assert off < 0.2 * much
    torch.testing.assert_close(same.encode(images), net.encode(images), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    "yaw, smile_stays, first", [(10.0, False, True), (40.0, True, False), (40.0, False, None)]
)
def test_expressions_of_the_mouth_are_removed(pipe, astronaut, monkeypatch, yaw, smile_stays, first):
    """Before the network runs if the head is near frontal, otherwise from its output, if they are still there."""
    from facesym.pipelines import normalize

    seen = []

    def paint(crop, strengths):
        seen.extend(strengths)
        return [Image.blend(crop, Image.new("RGB", crop.size, "green"), strength) for strength in strengths]

    find = normalize.find_points_and_pose
    monkeypatch.setattr(normalize, "neutral_mouth", paint)
    monkeypatch.setattr(normalize, "find_points_and_pose", lambda crop: (find(crop)[0], (yaw, 0.0)))
    answers = iter([True] if first else [smile_stays])
    monkeypatch.setattr(normalize, "shows_expression", lambda points: next(answers))
    out = pipe(astronaut, walk=3)
    (walk,), (image,) = out.walk, out.images
    assert seen == ([] if first is None else [0.0, 0.5, 1.0])
    assert np.abs(np.asarray(walk[0]).astype(int) - np.asarray(out.crop[0])).mean() < 2
    assert np.abs(np.asarray(walk[-1]).astype(int) - np.asarray(image)).max() <= 1
    if first is not None:
        assert np.ptp(np.asarray(image)) < 140  # green


def test_faces_of_different_sizes_in_one_photo(pipe, astronaut):
    photo = Image.new("RGB", (1536, 1024))
    photo.paste(astronaut.resize((1024, 1024)), (0, 0))
    photo.paste(astronaut.resize((300, 300)), (1100, 100))
    out = pipe(photo, faces="all")
    assert len({image.size for image in out.images}) == 2 and len(out.identity) == 2
