"""LSSL and the face parser: networks, losses, attributes, training."""

import copy

import numpy as np
import pytest
import torch
from PIL import Image
from test_simulate import closed, mesh_file  # noqa: F401
from test_training import folders, stats, template, train  # noqa: F401

import facesym
from facesym import FaceNotFoundError, ImageError, losses
from facesym.cli import main
from facesym.data.attributes import POSES, UNKNOWN, expression_of, pose_of, relight
from facesym.data.faces import FaceFolders, flip_landmarks
from facesym.models import AttributeDiscriminator, AttributeGenerator, FaceParser
from facesym.models.lssl import GROUPS, heat_map
from facesym.models.parser import CLASSES
from train.lssl import generator_terms
from train.lssl_data import (
    LOOKS,
    NAMES,
    AttributeSamples,
    RealismSamples,
    expression_strengths,
    pair_ways,
    places,
)
from train.parsing import UNKNOWN as UNLABELLED
from train.parsing import intersection_over_union, landmark_labels, load_labels


@pytest.fixture
def net():
    torch.manual_seed(0)
    return AttributeGenerator(widths=(8, 8, 16, 16, 16), blocks=1, input_size=64).eval()


def test_a_heat_map_is_one_at_each_landmark_and_nothing_far_from_all():
    points = torch.tensor([[[10.0, 20.0], [40.0, 50.0]]])
    side = heat_map(points, 64)
    assert side.shape == (1, 1, 64, 64) and side.max() <= 1
    assert side[0, 0, 20, 10] == 1 and side[0, 0, 50, 40] == 1  # row y, column x
    assert side[0, 0, 20, 30] < 1e-6


def test_attributes_by_name(net):
    y = net.attributes({"light": "dark", "expression": "happy"}, batch=2)
    assert y.shape == (2, sum(map(len, GROUPS.values()))) and y.sum() == 4
    assert y[0, 1] == 1 and y[0, 3 + 5 + 2] == 1
    assert net.attributes({}).sum() == 0
    for wrong in ({"light": "happy"}, {"mood": "happy"}):
        with pytest.raises(KeyError, match="happy"):
            net.attributes(wrong)


def test_a_group_may_be_emphasised():
    net = AttributeGenerator(widths=(8,) * 5, blocks=1, emphasis=(("expression", 2.0),), input_size=64)
    y = net.attributes({"expression": "happy", "light": "dark"})
    assert y[0, 1] == 2 and y[0, 3 + 5 + 2] == 1 and y.sum() == 3


def test_the_untrained_generator_keeps_the_face_and_y_reaches_every_place(net):
    image = torch.linspace(-1, 1, 64).expand(1, 3, 64, 64)
    side = torch.rand(1, 1, 64, 64)
    found = net(image, side, net.attributes({}))
    assert found.image.shape == image.shape and found.side.shape == side.shape
    assert found.latent.shape == (1, 16, 4, 4)  # h/16 × w/16
    assert found.side.min() >= 0 and found.side.max() <= 1 and found.image.abs().max() <= 1
    assert (found.image - image).abs().mean() < 0.3 * image.abs().mean()  # `copy` begins with x as it is
    other = net.decode(found.latent, net.attributes({"light": "dark"}), image)
    assert ((other.image - found.image).abs().amax(1) > 0).float().mean() > 0.95
    drawn = AttributeGenerator(widths=(8, 8, 16, 16, 16), blocks=1, copy=False)(
        image, side, y=net.attributes({})
    )
    assert drawn.flow is None and drawn.image.shape == image.shape


def test_a_network_may_see_pictures_smaller_than_they_are(net):
    torch.manual_seed(1)
    half = AttributeGenerator(widths=(8, 8, 16, 16, 16), blocks=1, scale=2, input_size=128)
    half.load_state_dict(net.state_dict())
    image, side = torch.rand(1, 3, 128, 128) * 2 - 1, torch.rand(1, 1, 128, 128)
    small = torch.nn.functional.avg_pool2d(image, 2), torch.nn.functional.avg_pool2d(side, 2)
    y = net.attributes({"expression": "happy"})
    found, seen = half(image, side, y), net(*small, y)
    torch.testing.assert_close(found.latent, seen.latent)
    assert found.image.shape == (1, 3, 128, 128) and found.side.shape == (1, 1, 128, 128)
    # What is looked up keeps the detail that the network did not see.
    detail = lambda x: (x - x.roll(1, -1)).abs().mean()  # noqa: E731
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
    assert found.mirrored.min() > 0.99


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
        terms = generator_terms(
            net, None, batch | {"goal_points": goal}, heat_map(points, 64), None, None, "released", ()
        )
        off[name] = terms["places"].item()
    # Each goal suits one of the two flows, which keep every place, and is as far off for the other.
    assert off["as it is"] == pytest.approx(off["mirrored"], rel=1e-3) and off["mirrored"] > 0.1


def test_the_choice_is_taught_also_where_it_seems_settled():
    """Where the drawn picture is nearer, the gradient asks for it, though next to nothing of it is seen."""
    logit = torch.full((1, 1, 2, 2), 9.0, requires_grad=True)
    target = torch.zeros(1, 3, 2, 2)
    found, drawn = torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 0.5)
    found[..., 0, 0], drawn[..., 0, 0] = 0.6, 0.1  # here alone
    losses.choice_loss(torch.sigmoid(logit), found, drawn, target).sum().backward()
    assert logit.grad[0, 0, 0, 0] == pytest.approx((0.5 - 0.05) / 4, rel=1e-3)
    assert (logit.grad.flatten()[1:] < 0).all() and logit.grad.flatten()[1:].abs().max() < 1e-3


def test_the_critics_heads_and_its_penalty():
    critic = AttributeDiscriminator(12, widths=(8, 8, 8, 8, 8), size=64)
    scores, logits = critic(torch.rand(2, 3, 64, 64), torch.rand(2, 1, 64, 64))
    assert scores.shape == (2, 1, 2, 2) and logits.shape == (2, 12)
    real, fake = torch.rand(3, 4, 8, 8), torch.rand(3, 4, 8, 8)
    # A linear critic's gradient is its weight everywhere: the penalty is (its norm − 1)².
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


def test_person_loss_is_nothing_for_the_same_and_moves_the_output_alone():
    recogniser = lambda x: torch.nn.functional.normalize(x.mean((2, 3)), dim=1)  # noqa: E731
    output, target = torch.rand(2, 3, 8, 8, requires_grad=True), torch.rand(2, 3, 8, 8, requires_grad=True)
    assert losses.person_loss(recogniser, target, target).item() == pytest.approx(0, abs=1e-6)
    assert losses.person_loss(recogniser, -target, target).item() == pytest.approx(2, abs=1e-6)
    losses.person_loss(recogniser, output, target).backward()
    assert output.grad.abs().sum() > 0 and target.grad is None


def test_an_empty_heat_map_is_not_the_best_answer():
    """Half the time a landmark is here, half the time there: the best map says half at both."""
    maps = torch.zeros(2, 1, 8, 8)
    maps[0, 0, 2, 2] = maps[1, 0, 5, 5] = 1
    half, empty = maps.mean(0, keepdim=True).expand(2, -1, -1, -1), torch.zeros(2, 1, 8, 8)
    assert losses.side_loss(maps, maps).max() < 1e-4 < losses.side_loss(half, maps).min()
    assert losses.side_loss(half, maps).mean() < losses.side_loss(empty, maps).mean()
    assert (half - maps).abs().mean() == (empty - maps).abs().mean()  # (6)'s difference cannot tell


def test_there_and_back_without_a_difference_costs_nothing():
    x, s, z = torch.rand(1, 3, 8, 8), torch.rand(1, 1, 8, 8), torch.rand(1, 2, 2, 2)
    assert losses.bidirectional_loss(x, x, s, s, z, z) == 0
    assert losses.bidirectional_loss(x, x + 0.1, s, s, z, z - 0.2).item() == pytest.approx(0.3, abs=1e-6)


def test_attributes_of_metadata():
    names = GROUPS["expression"]
    assert expression_of({"view": "front", "expression": "smiling", "neutral": "0.99"}, names) == 1
    assert expression_of({"neutral": "0.05", "happy": "0.95", "surprised": "0"}, names) == 1
    assert expression_of({"neutral": "0.5", "happy": "0.5"}, names) == UNKNOWN
    assert expression_of({"expression": "happiness"}, names) == UNKNOWN  # a crowd's label: noisy
    poses = tuple(POSES)
    assert [pose_of(yaw, poses) for yaw in (-50, -15, 4, 22, 40)] == [0, 1, 2, 3, 4]
    assert pose_of(80, poses) == pose_of(float("nan"), poses) == UNKNOWN


def test_lights():
    rng = np.random.default_rng(0)
    image = rng.integers(60, 200, (32, 32, 3)).astype(np.uint8)
    lit = {name: relight(rng, image, name) for name in GROUPS["light"]}
    assert all(x.min() >= 0 and x.max() <= 255 for x in lit.values())
    np.testing.assert_array_equal(lit["normal"], image)
    assert lit["weak"].std() < 0.6 * image.std() and lit["dark"].mean() < 0.5 * image.mean()
    left, right = lit["side"][:, :8].mean(), lit["side"][:, -8:].mean()
    assert left > 1.5 * right


def test_a_sample_changes_one_group(folders):  # noqa: F811
    samples = AttributeSamples(FaceFolders([folders[0]], 64))
    seen, asked_same = set(), False
    for n in range(60):
        sample = samples[n]
        group = int(np.searchsorted(places(), int(sample["y"].argmax()), side="right")) - 1
        seen.add(NAMES[group])
        same = torch.equal(sample["y"], sample["back"])  # asked for what it has: known
        asked_same |= same
        assert sample["kept"] == sample["still"] == (same or NAMES[group] == "light") and sample["photo"]
        ones = slice(places()[group], places()[group + 1])
        assert sample["y"].sum() == sample["back"].sum() == 1
        assert sample["y"][ones].sum() == sample["back"][ones].sum() == 1
        others = torch.ones(len(sample["y"]), dtype=torch.bool)
        others[ones] = False
        assert torch.equal(sample["wanted"][others], sample["own"][others])
        assert torch.equal(sample["wanted"][ones], sample["y"][ones])
        assert sample["known"][:3].sum() == 0  # these faces have no expression
        if same or NAMES[group] != "light":
            assert torch.equal(sample["goal"], sample["image"])
    assert seen == {"pose", "light"} and asked_same


class TwoPairs:
    """What Pairs holds: a face turned to the right, its left half white, and a smiling one, both with their frontal,
    neutral photo, whose upper half is white."""

    def __init__(self):
        self.size, self.target_of = 64, np.array([0, 0])
        self.inputs = np.zeros((2, 64, 64, 3), np.uint8)
        self.inputs[:, :, :32] = 200
        self.targets = np.zeros((1, 64, 64, 3), np.uint8)
        self.targets[:, :32] = 200
        self.points = np.stack([np.stack([template(64) + off, template(64)]) for off in (3, -3)])
        self.rows = [
            {"yaw": "44.0", "pitch": "2", "expression": "neutral", "kind": "simulated"},
            {"yaw": "1.0", "pitch": "0", "expression": "smiling", "kind": "real"},
        ]


def test_every_way_between_two_pictures_of_a_person_is_learned(folders, monkeypatch):  # noqa: F811
    monkeypatch.setattr(
        "train.lssl_data.draw_light", lambda rng: 0
    )  # halves are told by their brightness below
    monkeypatch.setattr("train.lssl_data.expression_strengths", lambda pairs: [1.0, 1.0])  # its smile is none
    samples = AttributeSamples(FaceFolders([folders[0]], 64), pairs=TwoPairs(), share=1.0)
    names = [name for group in GROUPS.values() for name in group]
    seen = set()
    for n in range(150):
        sample = samples[n]
        wishes = frozenset(names[k] for k in sample["y"].nonzero()[:, 0])
        seen.add((wishes, bool(sample["photo"])))
        # From the smile to the turned face the landmarks move by 6 pixels, else by 3.
        moved = 6 if len(wishes) == 2 else 3
        assert (sample["goal_points"] - sample["points"]).abs().mean() == pytest.approx(moved, rel=0.1)
        # The target alone has a white upper half.
        top = sample["goal"][:, 8:24, 24:40].mean() - sample["goal"][:, 40:56, 24:40].mean()
        assert (top > 0.7) == (wishes in ({"frontal"}, {"neutral"}))
        # A head at the mirror image's left has its white half at the right.
        left = sample["goal"][:, 24:40, 8:24].mean() - sample["goal"][:, 24:40, 40:56].mean()
        for side in {"left 45", "right 45"} & wishes:
            assert (left > 0) == (side == "right 45")
        assert sample["kept"] == 1 and sample["known"].all()
    # Made by simulation is only the turned picture; the smile is a photo.
    ways = [
        (["frontal"], False), (["left 45"], True), (["right 45"], True), (["neutral"], True), (["happy"], True),
        (["frontal", "happy"], False), (["left 45", "neutral"], True), (["right 45", "neutral"], True),
    ]  # fmt: skip
    assert seen == {(frozenset(wishes), photo) for wishes, photo in ways}


def test_a_pose_is_asked_for_where_it_is_near_its_name():
    pairs = TwoPairs()
    count = lambda: {kind: [len(ways) for ways in people] for kind, people in pair_ways(pairs).items()}  # noqa: E731
    smiles = {("real", "happy"): [1], ("real", "neutral"): [1]}
    assert count() == smiles | {("to photo", "pose"): [2], ("to made", "pose"): [2]}
    pairs.rows[0]["yaw"] = "33.0"  # too far from "right 45" to be its picture; from there it goes on
    assert count() == smiles | {("to photo", "pose"): [2]}
    pairs.rows[0] |= {"kind": "real", "yaw": "44.0"}  # to the front only, to the target and the smile
    assert count() == smiles | {("real", "pose"): [2]}
    pairs.rows[0] |= {"kind": "turned", "yaw": "44.0"}  # its target is no photo
    assert count() == smiles


def test_an_expressions_strength_stands_in_y(folders, monkeypatch):  # noqa: F811
    pairs = TwoPairs()
    pairs.inputs, pairs.target_of = np.zeros((6, 64, 64, 3), np.uint8), np.zeros(6, int)
    pairs.points = np.stack([np.stack([template(64)] * 2)] * 6).astype(np.float64)
    smile, gape = (dict(pairs.rows[1], expression=name) for name in ("smiling", "surprised"))
    pairs.rows = [*[smile] * 3, *[gape] * 2, dict(pairs.rows[1], expression="neutral")]
    eyes = np.linalg.norm(pairs.points[0, 0, 42:48].mean(0) - pairs.points[0, 0, 36:42].mean(0))
    pairs.points[:, :, 66] = pairs.points[:, :, 62]  # closed lips
    for i, wider in enumerate((2.0, 4.0, 4.0)):  # pixels; and how far the lips are parted
        pairs.points[i, 0, 66, 1] += 0.05 * wider * eyes
        pairs.points[i, 0, 48, 0] -= wider / 2
        pairs.points[i, 0, 54, 0] += wider / 2
    for i, lower in ((3, 0.1), (4, 0.4)):
        pairs.points[i, 0, 66, 1] += lower * eyes
    found = expression_strengths(pairs)
    assert found == pytest.approx([0.5, 1, 1, 0.1 / 0.325, 0.4 / 0.325, 1], abs=1e-4)
    samples = AttributeSamples(FaceFolders([folders[0]], 64), pairs=pairs, share=1.0)
    drawn = [samples[n] for n in range(100)]
    pale = [min(s["y"][:3].max(), s["back"][:3].max()) < 0.5 for s in drawn]  # the weaker surprise
    assert any(pale) and pale == [not s["known"][:3].any() for s in drawn]
    assert all(s["known"][3:].all() for s in drawn)  # pose and light
    happy = {round(float(s["y"][1]), 2) for s in drawn} - {0.0}
    assert happy == {0.5, 1.0}
    assert {round(float(s["back"][1]), 2) for s in drawn} - {0.0} == happy
    assert all(set(s[key].tolist()) <= {0.0, 1.0} for s in drawn for key in ("own", "wanted"))


def test_simulated_faces_are_made_photos_and_back(monkeypatch):
    """Mode (b): the turned photo is the side picture; where the photo from the front is not known, the simulated face
    is what is left of it."""
    simulated = np.full((64, 64, 3), 90, np.uint8)
    monkeypatch.setattr("train.lssl_data.frontalise", lambda image, points, mesh: (simulated, points))
    pairs = TwoPairs()
    pairs.inputs[:] = 200
    pairs.targets[:] = 20
    samples = RealismSamples(pairs, None, 64)
    assert samples.faces == [0]  # the smiling face is not turned
    level = lambda x: round(float(x.median()) * 127.5 + 127.5, -1)  # noqa: E731
    seen = set()
    for n in range(40):
        sample = samples[n]
        assert (
            sample["side"].shape == (3, 64, 64)
            and sample["side"].min() >= 0
            and sample["side"].median() > 0.6
        )
        assert torch.equal(sample["y"], sample["wanted"]) and torch.equal(sample["back"], sample["own"])
        photo = bool(sample["photo"])
        assert sample["own"].tolist() == [1 - photo, photo] and sample["kept"] == 1
        seen.add((photo, level(sample["image"]) > 60, level(sample["goal"]) > 60))
    assert seen == {(False, True, False), (True, False, True)}
    pairs.rows[0]["kind"] = "turned"
    unknown = [samples[n] for n in range(10)]
    assert all(s["kept"] < 1 and not s["photo"] and torch.equal(s["image"], s["goal"]) for s in unknown)


def test_mode_b_is_trained(mesh_file, tmp_path):  # noqa: F811
    folder = tmp_path / "pairs"
    for name in ("inputs", "targets"):
        (folder / name).mkdir(parents=True)
    rows = ["input,target,subject,split,kind,yaw,pitch,expression"]
    rng = np.random.default_rng(0)
    for i in range(3):
        for name in ("inputs", "targets"):
            Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(folder / name / f"{i}.webp")
        rows.append(f"{i}.webp,{i}.webp,{i},train,simulated,{-20 * i},0,neutral")
    (folder / "pairs.csv").write_text("\n".join(rows))
    np.save(folder / "points.npy", np.stack([np.stack([closed(64)] * 2)] * 3).astype(np.float32))
    np.save(folder / "places.npy", np.zeros((3, 2, 2, 3), np.float16))
    train(
        "realism.py", (folder,), tmp_path / "b", "--mesh", mesh_file, "--size", 64, "--steps", 2, "--critic-steps", 1,
        "--sample-every", 2, "--seed", 2,
    )  # fmt: skip
    assert {"critic", "labels", "adversarial", "attribute", "bidirectional", "side"} <= set(
        stats(tmp_path / "b")[-1]
    )
    net = AttributeGenerator.from_pretrained(tmp_path / "b" / "model")
    assert net.groups == LOOKS and net.config.side_channels == 3
    found = net(torch.zeros(1, 3, 64, 64), torch.rand(1, 3, 64, 64), net.attributes({"look": "photo"}))
    assert found.side.shape == (1, 3, 64, 64)


def test_landmark_labels_name_the_features():
    points = template(128)
    labels = landmark_labels(points, 128)
    at = lambda k: CLASSES[labels[tuple(np.round(points[k].mean(0))[::-1].astype(int))]]  # noqa: E731
    assert at(slice(36, 42)) == at(slice(17, 22)) == "eyes and brows"
    assert at(slice(48, 60)) == "mouth" and at([30, 33]) == "nose" and at([2, 31]) == "skin"
    assert labels[2, 2] == UNLABELLED and CLASSES.index("hair") not in labels


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labelled")
    rng = np.random.default_rng(0)
    rows = ["file_name,label,subject,split"]
    for i in range(4):
        labels = np.zeros((64, 64), np.uint8)
        labels[10:54, 12:52] = 1
        labels[20:28, 18:46] = 3
        picture = np.array([[0, 80, 0], [220, 180, 160], [0, 0, 0], [40, 20, 20]], np.uint8)[labels]
        Image.fromarray(picture + rng.integers(0, 9, picture.shape, np.uint8)).save(folder / f"{i}.webp")
        Image.fromarray(labels).save(folder / f"{i}.label.png")
        rows.append(f"{i}.webp,{i}.label.png,{i},{'train' if i < 3 else 'test'}")
    (folder / "metadata.csv").write_text("\n".join(rows))
    return folder


def test_intersection_over_union(labelled):
    pictures = load_labels(labelled, 64, ("test",))

    class Truth(torch.nn.Module):
        def forward(self, images):
            labels = torch.from_numpy(pictures[0][1].astype(np.int64))[None]
            return torch.nn.functional.one_hot(labels, len(CLASSES)).permute(0, 3, 1, 2).float()

    class Skin(torch.nn.Module):
        def forward(self, images):
            logits = torch.zeros(1, len(CLASSES), 64, 64)
            logits[:, 1] = 1
            return logits

    right = intersection_over_union(Truth(), pictures)
    assert right["background"] == right["skin"] == right["eyes and brows"] == 1
    share = (pictures[0][1] == 1).mean()
    assert intersection_over_union(Skin(), pictures)["skin"] == pytest.approx(share)


def test_label_maps_that_make_no_sense_are_refused(labelled, tmp_path):
    for file in labelled.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    Image.fromarray(np.full((64, 64), 9, np.uint8)).save(tmp_path / "3.label.png")
    with pytest.raises(ImageError, match="0 to 5"):
        load_labels(tmp_path, 64, ("test",))
    (tmp_path / "3.label.png").unlink()
    with pytest.raises(ImageError, match="cannot read"):
        load_labels(tmp_path, 64, ("test",))


def test_parser_and_generator_are_trained(folders, labelled, tmp_path):  # noqa: F811
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
        "--critic-steps", 2, "--sample-every", 4,
    )  # fmt: skip
    lines = stats(tmp_path / "g")
    assert {"critic", "labels", "penalty"} <= set(lines[0]) and "parsing" not in lines[0]  # D alone
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
        "--critic-steps",
        1,
        "--ablation",
        "stargan",
    )
    assert not {"bidirectional", "parsing"} & set(stats(tmp_path / "s")[0])
    train("lssl.py", folders, tmp_path / "w", "--size", 64, "--steps", 2, "--critic-steps", 1, "--warm-up", 1)
    alone, both = stats(tmp_path / "w")
    assert {"identity", "side", "places", "smooth"} <= set(alone) and not {
        "critic",
        "adversarial",
    } & set(alone)
    assert {"critic", "penalty", "adversarial"} <= set(both)


# --- pipeline, command
@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("transfer")
    AttributeGenerator(widths=(8, 8, 16, 16, 16), blocks=1, input_size=64).save_pretrained(folder)
    return folder


def test_a_photo_is_changed_and_pasting_leaves_the_rest_alone(model, astronaut):
    pipe = facesym.load(str(model))
    result = pipe(astronaut, to=["happy", "dark"], grid=True)
    assert result.images[0].size == result.crop.size and result.crop.width > 64  # the photo's own pixels
    assert list(result.grid) == [name for names in GROUPS.values() for name in names]
    assert len(result.identity) == 1
    none = np.asarray(pipe(astronaut, to="happy", strength=0).images[0], int)
    full = np.asarray(pipe(astronaut, to="happy").images[0], int)
    assert np.abs(none - full).max() > 0
    pasted = pipe(astronaut, to="happy", paste=True).images[0]
    changed = (np.asarray(pasted) != np.asarray(astronaut)).any(-1)
    x, y, w, h = result.faces[0].box
    ys, xs = np.nonzero(changed)
    assert x - w / 2 < xs.min() and xs.max() < x + 1.5 * w and y - h / 2 < ys.min() and ys.max() < y + 1.5 * h


def test_a_changed_expression_leaves_what_is_outside_the_face(model, astronaut):
    pipe = facesym.load(str(model))
    for to, rest in (("happy", True), (["happy", "dark"], False)):
        result = pipe(astronaut, to=to)
        same = (np.asarray(result.images[0]) == np.asarray(result.crop)).all(-1)
        side = len(same)
        assert same[: side // 20].all() == same[:, : side // 20].all() == rest  # the top, and the left
        assert same[side // 2 : side * 3 // 4, side * 2 // 5 : side * 3 // 5].mean() < 0.2


def test_a_profile_is_warned_of(model, astronaut, monkeypatch):
    pipe = facesym.load(str(model))
    monkeypatch.setattr("facesym.pipelines.transfer.head_pose", lambda points: (-70.0, 0.0))
    with pytest.warns(UserWarning, match="about 70 degrees"):
        pipe(astronaut, to="happy")


def test_what_makes_no_sense_is_refused(model, astronaut):
    pipe = facesym.load(str(model))
    for options, told in (
        ({"to": "grumpy"}, "expression: neutral"),
        ({"to": ["happy", "neutral"]}, "exclude each other"),
        ({}, "Say what"),
        ({"to": "happy", "strength": 2}, "strength"),
        ({"to": "happy", "strength": "much"}, "strength"),
    ):
        with pytest.raises(ImageError, match=told):
            pipe(astronaut, **options)
    with pytest.raises(FaceNotFoundError):
        pipe(Image.new("RGB", (200, 200), "grey"), to="happy")


def test_command(model, astronaut, tmp_path, capsys):
    astronaut.save(tmp_path / "face.png")

    def call(*arguments):
        with pytest.raises(SystemExit) as stop:
            main(["transfer", str(tmp_path / "face.png"), "--model", str(model), *arguments])
        return stop.value.code

    assert call("--to", "happy", "--light", "dark", "--grid") == 0
    assert (tmp_path / "face-transfer.png").exists()
    assert len(list((tmp_path / "face-transfer-grid").iterdir())) == sum(map(len, GROUPS.values()))
    with Image.open(tmp_path / "face-transfer.png") as picture:
        assert "facesym" in str(picture.info)
    assert call("--light", "happy") == 1
    assert "no such light" in capsys.readouterr().err
