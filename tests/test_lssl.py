"""LSSL: networks, losses, training."""

import copy

import numpy as np
import pytest
import torch
from nets import small
from training import make_pairs, stats, template, train

from facesym import losses
from facesym.data.lssl import LOOKS
from facesym.faces.geometry import flip_landmarks, heat_map
from facesym.models import AttributeDiscriminator, AttributeGenerator, FaceParser
from facesym.models.lssl import GROUPS, MouthDiscriminator
from facesym.models.parser import CLASSES
from train.lssl import rescaled
from train.lssl_terms import cut_mouths, expression_loss, generator_terms


@pytest.fixture
def net():
    return small("AttributeGenerator")


def test_a_heat_map_is_one_at_each_landmark_and_nothing_far_from_all():
    points = torch.tensor([[[10.0, 20.0], [40.0, 50.0]]])
    side = heat_map(points, 64)
    assert side.shape == (1, 1, 64, 64) and side.max() <= 1
    assert side[0, 0, 20, 10] == 1 and side[0, 0, 50, 40] == 1  # row y, column x
    assert side[0, 0, 20, 30] < 1e-6
    np.testing.assert_allclose(heat_map(points.numpy(), 64), side, rtol=1e-5, atol=1e-30)  # without torch


def test_attributes_by_name(net):
    y = net.attributes({"light": "dark", "expression": "happy"}, batch=2)
    assert y.shape == (2, sum(map(len, GROUPS.values()))) and y.sum() == 4
    assert y[0, 1] == 1 and y[0, 3 + 5 + 2] == 1
    assert net.attributes({}).sum() == 0
    for wrong in ({"light": "happy"}, {"mood": "happy"}):
        with pytest.raises(KeyError, match="happy"):
            net.attributes(wrong)


def test_a_group_or_an_attribute_of_it_may_be_emphasised():
    emphasis = ("expression", 2.0), ("surprised", 1.5)
    net = AttributeGenerator(widths=(8,) * 5, blocks=1, emphasis=emphasis, input_size=64)
    assert net.attributes({"expression": "surprised"})[0, 2] == 1.5
    y = net.attributes({"expression": "happy", "light": "dark"})
    assert y[0, 1] == 2 and y[0, 3 + 5 + 2] == 1 and y.sum() == 3


def test_the_untrained_generator_keeps_the_face_and_y_reaches_every_place(net):
    image = torch.linspace(-1, 1, 64).expand(1, 3, 64, 64)
    side = torch.rand(1, 1, 64, 64)
    found = net(image, side, net.attributes({}))
    assert found.image.shape == image.shape and found.condition.shape == side.shape
    assert found.latent.shape == (1, 16, 4, 4)  # h/16 × w/16
    assert found.condition.min() >= 0 and found.condition.max() <= 1 and found.image.abs().max() <= 1
    assert (found.image - image).abs().mean() < 0.3 * image.abs().mean()  # `copy` begins with x as it is
    other = net.decode(found.latent, net.attributes({"light": "dark"}), image)
    assert ((other.image - found.image).abs().amax(1) > 0).float().mean() > 0.95
    drawn = AttributeGenerator(widths=(8, 8, 16, 16, 16), blocks=1, copy=False)(
        image, side, y=net.attributes({})
    )
    assert drawn.flow is None and drawn.image.shape == image.shape


def test_a_network_may_see_pictures_smaller_than_they_are(net):
    half = rescaled(net, 128, scale=2)
    image, side = torch.rand(1, 3, 128, 128) * 2 - 1, torch.rand(1, 1, 128, 128)
    small = torch.nn.functional.avg_pool2d(image, 2), torch.nn.functional.avg_pool2d(side, 2)
    y = net.attributes({"expression": "happy"})
    found, seen = half(image, side, y), net(*small, y)
    torch.testing.assert_close(found.latent, seen.latent)
    assert found.image.shape == (1, 3, 128, 128) and found.condition.shape == (1, 1, 128, 128)
    torch.testing.assert_close(
        found.synthesized, seen.synthesized.repeat_interleave(2, 2).repeat_interleave(2, 3)
    )
    torch.testing.assert_close(rescaled(half, 64, scale=1)(*small, y).synthesized, seen.synthesized)
    with torch.no_grad():  # what is drawn has the full size: each pixel of the four is its own
        half.draw.bias[1] += 1
    other = half(image, side, y).synthesized - found.synthesized
    torch.testing.assert_close(rescaled(half, 128, scale=2).draw.bias, half.draw.bias)  # and stays it
    assert (other[:, 0, ::2, 1::2] > 0).all() and not other[:, 0, ::2, ::2].any() and not other[:, 1:].any()

    # What is looked up keeps the detail that the network did not see.
    def detail(x):
        return (x - x.roll(1, -1)).abs().mean()

    coarse = torch.nn.functional.interpolate(seen.image, scale_factor=2, mode="bilinear")
    assert detail(found.image) > 3 * detail(coarse)
    with pytest.raises(ValueError, match="scale"):
        AttributeGenerator(scale=2, input_size=48)


def test_light_changes_what_is_looked_up(net):
    """Gain and shift are of values from 0 (black): twice as bright, and a tenth of the range more."""
    net = copy.deepcopy(net)
    with torch.no_grad():
        net.maps.weight.zero_()
        net.maps.bias.copy_(torch.tensor([0, 0, 30, np.log(2), 0.2, 0, 0, -30]))
    image = torch.full((1, 3, 64, 64), -0.6)  # a fifth of the range
    found = net(image, torch.rand(1, 1, 64, 64), net.attributes({}))
    torch.testing.assert_close(found.image, torch.full_like(image, 0.0), atol=1e-5, rtol=0)


def test_what_a_turned_head_hides_is_looked_up_in_the_mirror_image(net):
    net = copy.deepcopy(net)
    with torch.no_grad():
        net.maps.weight.zero_()
        net.maps.bias.copy_(torch.tensor([0, 0, 30.0, 0, 0, 0, 0, 30]))
    image = torch.rand(1, 3, 64, 64) * 2 - 1
    found = net(image, torch.rand(1, 1, 64, 64), net.attributes({}))
    torch.testing.assert_close(found.image, image.flip(-1), atol=1e-4, rtol=0)
    assert found.mirror_mask.min() > 0.99


def test_both_flows_are_taught_where_the_landmarks_are(net):
    """The mirror image has the landmarks mirrored, and the left eye's where the right one's were."""
    net, points = copy.deepcopy(net), torch.from_numpy(template(64)).float()[None] + torch.tensor([4.0, 0])
    with torch.no_grad():
        net.maps.weight.zero_()
        net.maps.bias.copy_(torch.tensor([0, 0, 30.0, 0, 0, 0, 0, 30]))
    image, wanted = torch.rand(1, 3, 64, 64), net.attributes({"expression": "happy"})
    one, mirrored = torch.ones(1), torch.from_numpy(flip_landmarks(points.numpy(), 64))
    batch = {
        "image": image, "goal": image, "points": points, "y": wanted, "kept": one, "still": one, "wanted": wanted,
        "back": wanted, "known": torch.ones_like(wanted),
    }  # fmt: skip
    off = {}
    for name, goal in (("as it is", points), ("mirrored", mirrored)):
        terms, _ = generator_terms(
            net,
            None,
            None,
            batch | {"goal_points": goal},
            heat_map(points, 64),
            None,
            None,
            None,
            "released",
            (),
        )
        off[name] = terms["flow"].item()
    # Each goal suits one of the two flows, which keep every place, and is as far off for the other.
    assert off["as it is"] == pytest.approx(off["mirrored"], rel=1e-3) and off["mirrored"] > 0.1


def test_mouths_are_cut_at_the_goals_landmarks_where_these_are_known():
    points = torch.from_numpy(template(128)).float()[None].repeat(3, 1, 1)
    mouth = points[0, 48:].mean(0).round().int().tolist()
    image = torch.zeros(3, 1, 128, 128)
    image[:, :, mouth[1] - 2 : mouth[1] + 3, mouth[0] - 2 : mouth[0] + 3] = torch.tensor([1.0, 2, 3])[
        :, None, None, None
    ]
    found = cut_mouths(image, {"goal_points": points, "kept": torch.tensor([1.0, 0.2, 1])})
    assert found.shape == (2, 1, 48, 48)
    assert found[:, 0, 22:26, 22:26].mean((1, 2)).tolist() == pytest.approx([1, 3], abs=0.3)
    assert not found[:, 0, 0].any()


def test_expressions_of_mouths_are_told_where_they_are_known():
    """Of three mouths one is not known, of one the expression is not: what is said of these changes nothing."""
    wanted = torch.eye(3).repeat(1, 4)  # more attributes follow the expressions
    known = torch.tensor([[1.0], [1.0], [0.0]]).expand(3, 12)
    batch = {"kept": torch.tensor([1.0, 0.2, 1.0]), "wanted": wanted, "known": known}
    logits = torch.zeros(2, 3, requires_grad=True)  # of the first and the third
    expression_loss(logits, batch).backward()
    assert logits.grad[0, 0] < 0 < logits.grad[0, 1] and not logits.grad[1].any()
    right, wrong = torch.tensor([[9.0, -9, -9]] * 2), torch.tensor([[-9.0, 9, -9]] * 2)
    assert expression_loss(right, batch) < 0.01 < 1 < expression_loss(wrong, batch)
    scores, logits = MouthDiscriminator(3, 48)(torch.zeros(2, 3, 48, 48))
    assert scores.shape == (2, 1, 6, 6) and logits.shape == (2, 3)


def test_the_choice_is_taught_also_where_it_seems_settled():
    """Where the drawn image is nearer, the gradient asks for it, though next to nothing of it is seen."""
    logit = torch.full((1, 1, 2, 2), 9.0, requires_grad=True)
    target = torch.zeros(1, 3, 2, 2)
    found, drawn = torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 0.5)
    found[..., 0, 0], drawn[..., 0, 0] = 0.6, 0.1  # here alone
    losses.copy_choice_loss(torch.sigmoid(logit), found, drawn, target).sum().backward()
    assert logit.grad[0, 0, 0, 0] == pytest.approx((0.5 - 0.05) / 4, rel=1e-3)
    assert (logit.grad.flatten()[1:] < 0).all() and logit.grad.flatten()[1:].abs().max() < 1e-3


def test_the_discriminators_heads_and_its_penalty():
    discriminator = AttributeDiscriminator(12, widths=(8, 8, 8, 8, 8), size=64)
    scores, logits = discriminator(torch.rand(2, 3, 64, 64), torch.rand(2, 1, 64, 64))
    assert scores.shape == (2, 1, 2, 2) and logits.shape == (2, 12)
    real, fake = torch.rand(3, 4, 8, 8), torch.rand(3, 4, 8, 8)
    # A linear discriminator's gradient is its weight everywhere: the penalty is (its norm − 1)².
    weight = torch.rand(4, 8, 8)
    penalty = losses.gradient_penalty(lambda x: (x * weight).sum((1, 2, 3)), real, fake)
    torch.testing.assert_close(penalty, (weight.norm() - 1).square())
    assert losses.wasserstein_loss(torch.tensor([3.0]), torch.tensor([1.0])) == -2


def test_unlabelled_groups_teach_nothing():
    logits = torch.randn(2, 4, requires_grad=True)
    y, known = torch.tensor([[1.0, 0, 0, 1]] * 2), torch.tensor([[1.0, 1, 0, 0]] * 2)
    losses.attribute_loss(logits, y, known).backward()
    assert (logits.grad[:, :2] != 0).all() and (logits.grad[:, 2:] == 0).all()


def test_parsing_loss_looks_at_the_faces_that_stay(net):
    torch.manual_seed(0)
    source = torch.randn(2, 3, 4, 4)
    worse = torch.stack([20 * source[0], -20 * source[1]])
    assert losses.parsing_loss(worse, source, torch.tensor([1.0, 0.0])) < 0.5
    assert losses.parsing_loss(worse, source, torch.tensor([0.0, 1.0])) > 2
    assert losses.parsing_loss(worse, source, torch.zeros(2)) == 0


def test_identity_loss_is_zero_for_the_same_and_moves_the_output_alone():
    def recogniser(x):
        return torch.nn.functional.normalize(x.mean((2, 3)), dim=1)

    output, target = torch.rand(2, 3, 8, 8, requires_grad=True), torch.rand(2, 3, 8, 8, requires_grad=True)
    assert losses.identity_loss(recogniser, target, target).item() == pytest.approx(0, abs=1e-6)
    assert losses.identity_loss(recogniser, -target, target).item() == pytest.approx(2, abs=1e-6)
    losses.identity_loss(recogniser, output, target).backward()
    assert output.grad.abs().sum() > 0 and target.grad is None


def test_an_empty_heat_map_is_not_the_best_answer():
    """Half the time a landmark is here, half the time there: the best map says half at both."""
    maps = torch.zeros(2, 1, 8, 8)
    maps[0, 0, 2, 2] = maps[1, 0, 5, 5] = 1
    half, empty = maps.mean(0, keepdim=True).expand(2, -1, -1, -1), torch.zeros(2, 1, 8, 8)
    assert losses.condition_map_loss(maps, maps).max() < 1e-4 < losses.condition_map_loss(half, maps).min()
    assert losses.condition_map_loss(half, maps).mean() < losses.condition_map_loss(empty, maps).mean()
    assert (half - maps).abs().mean() == (empty - maps).abs().mean()  # (6)'s difference cannot tell


def test_there_and_back_without_a_difference_costs_nothing():
    x, s, z = torch.rand(1, 3, 8, 8), torch.rand(1, 1, 8, 8), torch.rand(1, 2, 2, 2)
    assert losses.bidirectional_loss(x, x, s, s, z, z) == 0
    assert losses.bidirectional_loss(x, x + 0.1, s, s, z, z - 0.2).item() == pytest.approx(0.3, abs=1e-6)


def test_mode_b_is_trained(mesh_file, tmp_path):
    folder = make_pairs(tmp_path / "pairs")
    train(
        "realism.py", (folder,), tmp_path / "b", "--mesh", mesh_file, "--size", 64, "--steps", 6,
        "--discriminator-steps", 1, "--sample-every", 2,
    )  # fmt: skip
    seen = {
        name for line in stats(tmp_path / "b") for name in line
    }  # not every batch has a photo, which D learns from
    assert {
        "discriminator",
        "labels",
        "adversarial",
        "attribute",
        "bidirectional",
        "condition",
        "val",
    } <= seen
    net = AttributeGenerator.from_pretrained(tmp_path / "b" / "model")
    assert net.groups == LOOKS and net.config.side_channels == 3
    found = net(torch.zeros(1, 3, 64, 64), torch.rand(1, 3, 64, 64), net.attributes({"look": "photo"}))
    assert found.condition.shape == (1, 3, 64, 64)


def test_parser_and_generator_are_trained(folders, labelled, vgg16, tmp_path):
    text = train(
        "parsing.py",
        folders,
        tmp_path / "p",
        "--labels",
        labelled,
        "--size",
        64,
        "--steps",
        3,
        "--sample-every",
        3,
    )
    assert "held-out people, IoU: background" in text
    parser = FaceParser.from_pretrained(tmp_path / "p" / "model")
    assert parser(torch.zeros(1, 3, 64, 64)).shape == (1, len(CLASSES), 64, 64)
    train(
        "lssl.py", folders, tmp_path / "g", "--parser", tmp_path / "p", "--size", 64, "--steps", 4,
        "--discriminator-steps", 2, "--sample-every", 4,
    )  # fmt: skip
    lines = stats(tmp_path / "g")
    assert {"discriminator", "labels", "penalty"} <= set(lines[0]) and "parsing" not in lines[0]  # D alone
    assert {"adversarial", "attribute", "identity", "bidirectional", "parsing", "smooth"} <= set(lines[1])
    assert (tmp_path / "g" / "samples" / "0000004-transfer.png").exists()
    AttributeGenerator.from_pretrained(tmp_path / "g" / "model")
    train(
        "lssl.py",
        folders,
        tmp_path / "s",
        "--size",
        64,
        "--steps",
        1,
        "--discriminator-steps",
        1,
        "--ablation",
        "stargan",
    )
    assert not {"bidirectional", "parsing"} & set(stats(tmp_path / "s")[0])
    train(
        "lssl.py", folders, tmp_path / "w", "--size", 64, "--steps", 2, "--discriminator-steps", 1,
        "--adversary-from", 1, "--perceptual", vgg16, "--mouths",
    )  # fmt: skip
    alone, both = stats(tmp_path / "w")
    assert {
        "identity",
        "condition",
        "flow",
        "smooth",
        "feature",
        "mouth",
        "mouths",
        "expression",
        "expression_labels",
    } <= set(alone)
    assert not {"discriminator", "adversarial"} & set(alone)
    assert {"discriminator", "penalty", "adversarial"} <= set(both)


def test_accumulated_steps_of_d_and_of_g_come_in_whole_groups(folders, tmp_path):
    train(
        "lssl.py", folders, tmp_path / "a", "--size", 64, "--steps", 8, "--discriminator-steps", 2,
        "--accumulate", 2, "--sample-every", 8,
    )  # fmt: skip
    # Whole groups of accumulated steps, one with D alone and one with G.
    assert [line["step"] for line in stats(tmp_path / "a") if "adversarial" in line] == [3, 4, 7, 8]
