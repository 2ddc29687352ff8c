"""What LSSL is trained on: attributes, samples, the ways between a person's images."""

import numpy as np
import pytest
import torch
from training import template

from facesym.data.attributes import POSES, UNKNOWN, expression_of, pose_of, relight
from facesym.data.faces import FaceFolders
from facesym.data.lssl import (
    NAMES,
    AttributeSamples,
    RealismSamples,
    expression_strengths,
    group_offsets,
    pair_ways,
)
from facesym.models.lssl import GROUPS


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


def test_a_sample_changes_one_group(folders):
    samples = AttributeSamples(FaceFolders([folders[0]], 64))
    seen, asked_same = set(), False
    for n in range(60):
        sample = samples[n]
        group = int(np.searchsorted(group_offsets(), int(sample["y"].argmax()), side="right")) - 1
        seen.add(NAMES[group])
        same = torch.equal(sample["y"], sample["back"])  # asked for what it has: known
        asked_same |= same
        assert sample["kept"] == sample["still"] == (same or NAMES[group] == "light") and sample["photo"]
        ones = slice(group_offsets()[group], group_offsets()[group + 1])
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


def test_every_way_between_two_pictures_of_a_person_is_learned(folders, monkeypatch):
    monkeypatch.setattr(
        "facesym.data.lssl.draw_light", lambda rng: 0
    )  # halves are told by their brightness below
    monkeypatch.setattr(
        "facesym.data.lssl.expression_strengths", lambda pairs: [1.0, 1.0]
    )  # its smile is none
    samples = AttributeSamples(FaceFolders([folders[0]], 64), pairs=TwoPairs(), pair_fraction=1.0)
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
    # Made by simulation is only the turned image; the smile is a photo.
    ways = [
        (["frontal"], False), (["left 45"], True), (["right 45"], True), (["neutral"], True), (["happy"], True),
        (["frontal", "happy"], False), (["left 45", "neutral"], True), (["right 45", "neutral"], True),
    ]  # fmt: skip
    assert seen == {(frozenset(wishes), photo) for wishes, photo in ways}


def test_a_pose_is_asked_for_where_it_is_near_its_name():
    pairs = TwoPairs()

    def count():
        return {kind: [len(ways) for ways in people] for kind, people in pair_ways(pairs).items()}

    smiles = {("real", "happy"): [1], ("real", "neutral"): [1]}
    assert count() == smiles | {("to photo", "pose"): [2], ("to made", "pose"): [2]}
    pairs.rows[0]["yaw"] = "33.0"  # too far from "right 45" to be its image; from there it goes on
    assert count() == smiles | {("to photo", "pose"): [2]}
    pairs.rows[0] |= {"kind": "real", "yaw": "44.0"}  # to the front only, to the target and the smile
    assert count() == smiles | {("real", "pose"): [2]}
    pairs.rows[0] |= {"kind": "turned", "yaw": "44.0"}  # its target is no photo
    assert count() == smiles
    pairs.rows[1]["kind"] = "expressive"  # nor is this one's, but it shows the same head
    assert count() == {("to photo", "happy"): [1], ("to made", "neutral"): [1]}
    pairs.rows[1]["yaw"] = "7.0"  # turned to the front by the mesh
    assert count() == {}


def test_an_expressions_strength_stands_in_y(folders, monkeypatch):
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
    samples = AttributeSamples(FaceFolders([folders[0]], 64), pairs=pairs, pair_fraction=1.0)
    drawn = [samples[n] for n in range(100)]
    pale = [min(s["y"][:3].max(), s["back"][:3].max()) < 0.5 for s in drawn]  # the weaker surprise
    assert any(pale) and pale == [not s["known"][:3].any() for s in drawn]
    assert all(s["known"][3:].all() for s in drawn)  # pose and light
    happy = {round(float(s["y"][1]), 2) for s in drawn} - {0.0}
    assert happy == {0.5, 1.0}
    assert {round(float(s["back"][1]), 2) for s in drawn} - {0.0} == happy
    assert all(set(s[key].tolist()) <= {0.0, 1.0} for s in drawn for key in ("own", "wanted"))


def test_simulated_faces_are_made_photos_and_back(monkeypatch):
    """Mode (b): the turned photo is the side image; where the photo from the front is not known, the simulated face
    is what is left of it."""
    simulated = np.full((64, 64, 3), 90, np.uint8)
    monkeypatch.setattr("facesym.data.lssl.frontalize", lambda image, points, mesh: (simulated, points))
    pairs = TwoPairs()
    pairs.inputs[:] = 200
    pairs.targets[:] = 20
    samples = RealismSamples(pairs, None, 64)
    assert samples.faces == [0]  # the smiling face is not turned

    def level(x):
        return round(float(x.median()) * 127.5 + 127.5, -1)

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
