"""The transfer pipeline."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

import facesym
from facesym import ImageError
from facesym.faces.appearance import estimate_attributes
from facesym.faces.landmarks import find_points
from facesym.faces.matte import person_matte
from facesym.models.lssl import GROUPS
from facesym.pipelines import compose, transfer

EXAMPLES = Path(__file__).parents[1] / "spaces" / "examples"


@pytest.fixture(scope="module")
def model(saved):
    return saved("AttributeGenerator")


@pytest.fixture(scope="module")
def aligned_portraits():
    """{name: RGB crop of 128 pixels}."""
    pipe = facesym.load("transfer")
    jobs = {
        name: pipe(str(EXAMPLES / f"{name}.jpg"), to="dark").crop[0] for name in ("astronaut", "grace-hopper")
    }
    return {
        name: crop.convert("RGB").resize((128, 128), Image.Resampling.LANCZOS) for name, crop in jobs.items()
    }


def test_a_photo_is_changed_by_the_strength_asked_for(model, astronaut):
    pipe = facesym.load(str(model))
    result = pipe(astronaut, to=["happy", "dark"], grid=True)
    assert (
        result.images[0].size == result.crop[0].size and result.crop[0].width > 64
    )  # the photo's own pixels
    assert list(result.grid[0]) == [name for names in GROUPS.values() for name in names]
    assert len(result.identity) == 1
    none = np.asarray(pipe(astronaut, to="happy", strength=0).images[0], int)
    full = np.asarray(pipe(astronaut, to="happy").images[0], int)
    assert np.abs(none - full).max() > 0


def test_a_changed_expression_leaves_what_is_outside_the_face(model, astronaut):
    pipe = facesym.load(str(model))
    for to, rest in (("happy", True), (["happy", "dark"], False)):
        result = pipe(astronaut, to=to)
        same = (np.asarray(result.images[0]) == np.asarray(result.crop[0])).all(-1)
        side = len(same)
        assert same[: side // 20].all() == same[:, : side // 20].all() == rest  # the top, and the left
        assert same[side // 2 : side * 3 // 4, side * 2 // 5 : side * 3 // 5].mean() < 0.2


def test_an_expression_is_given_to_the_result_again_and_nothing_else_is(model, astronaut):
    pipe = facesym.load(str(model))
    crop = pipe(astronaut, to="happy").crop[0].resize((64, 64))
    ways = [
        {"expression": "happy"},
        {"light": "dark"},
        {"pose": "left 20"},
        {"expression": "happy", "light": "dark"},
    ]
    once = pipe.run(crop, crop, ways)
    pipe.net.register_to_config(passes=2)
    twice = pipe.run(crop, crop, ways)
    assert [a == b for a, b in zip(once, twice)] == [False, True, True, False]
    net, seen = pipe.net, []
    net.encoder.register_forward_hook(lambda layer, given, found: seen.append(given[0].clone()))
    (made,) = pipe.run(crop, crop, ways[3:])
    # Twice to see whether the face smiles. Then for the expression, the second time on its result and on where it says
    # that the landmarks are; and at last for the light.
    first, second, lit = seen[2:]
    with torch.inference_mode():
        result = net.decode(net.encoder(first), net.attributes(ways[0]), first[:, :3])
    assert torch.allclose(second, torch.cat([result.image, 2 * result.condition - 1], 1), atol=1e-5)
    assert (lit[:, :3] != first[:, :3]).any() and made.size == crop.size


@pytest.mark.parametrize(
    ("to", "after"),
    [
        ("surprised", {"expression": "surprised"}),
        ("neutral", {"expression": "neutral"}),
        ("right 20", {"pose": "right 20"}),
        (["dark", "left 20"], {"light": "dark", "pose": "left 20"}),
        ("side", {"light": "side"}),
        ("weak", {"light": "weak"}),
    ],
)
def test_a_result_names_the_attributes_before_and_after(to, after, astronaut):
    before = {"expression": "happy", "pose": "frontal", "light": "normal"}
    result = facesym.load("transfer")(astronaut, to=to)
    assert result.attributes == [(before, before | after)]


def test_attributes_are_told_of_the_groups_and_names_of_the_network_only(aligned_portraits):
    crop = aligned_portraits["astronaut"]
    assert estimate_attributes(crop, {"pose": ("left 45", "right 45"), "mood": ("happy",)}).keys() == {"pose"}
    assert estimate_attributes(crop, {"expression": ("neutral", "surprised")}) == {}


@pytest.mark.parametrize("portrait", ["astronaut", "grace-hopper"])
@pytest.mark.parametrize("to", ["happy", "surprised", "neutral"])
def test_strength_is_monotone_and_an_open_smile_is_left_alone(to, portrait, aligned_portraits):
    pipe, crop = facesym.load("transfer"), aligned_portraits[portrait]
    frames = [pipe.run(crop, crop, [{"expression": to}], strength)[0] for strength in np.linspace(0, 1.5, 7)]
    assert frames[0] == crop
    smiles = portrait == "astronaut"
    if to == "happy":
        assert all((frame == crop) == smiles for frame in frames[1:5])
    points = find_points(frames)
    unit = np.linalg.norm(points[0, 45] - points[0, 36])
    width, opening = (
        np.linalg.norm(points[:, a] - points[:, b], axis=1) / unit for a, b in ((54, 48), (66, 62))
    )
    # Rising, but for what the landmarks waver by.
    rising = {"happy": [width, opening], "surprised": [opening], "neutral": [-width, -opening]}[to]
    first = 2 if smiles and to == "surprised" else 0  # an open smile closes before the mouth opens again
    assert all((np.diff(each[first:]) > -0.02).all() for each in rising)
    if to != "neutral" and not smiles:
        assert rising[-1][-1] > rising[-1][0] + 0.05


def test_a_head_turns_to_the_other_side_from_its_mirror_image(model, astronaut, monkeypatch):
    pipe = facesym.load(str(model))
    crop = pipe(astronaut, to="happy").crop[0].resize((64, 64))

    def turned(image, yaw, pose):
        monkeypatch.setattr(transfer, "find_points_and_pose", lambda x: (find_points(x), (yaw, 0.0)))
        return np.asarray(pipe.run(image, image, [{"pose": pose}])[0], int)

    mirrored = ImageOps.mirror(crop)
    assert np.abs(turned(crop, 30, "left 20") - turned(mirrored, -30, "left 20")).max() <= 1
    assert np.abs(turned(crop, 0, "left 20") - turned(mirrored, -30, "left 20")).max() > 1


def test_unchanged_faces_are_not_pasted(model, astronaut, monkeypatch):
    pipe = facesym.load(str(model))
    for options in ({"to": "happy", "strength": 0}, {"grid": True}):
        assert (np.asarray(pipe(astronaut, paste=True, **options).images[0]) == np.asarray(astronaut)).all()
    two = Image.new("RGB", (2 * astronaut.width, astronaut.height))
    for x in (0, astronaut.width):
        two.paste(astronaut, (x, 0))
    monkeypatch.setattr(pipe, "_smiling", lambda faces: [True, False])  # the first smiles openly
    made = pipe(two, to="happy", faces="all", paste=True, batch_size=2).images[0]
    changed = (np.asarray(made) != np.asarray(two)).any((0, 2))
    assert not changed[: astronaut.width].any() and changed[astronaut.width :].any()


@pytest.mark.parametrize(
    ("to", "strength", "noted"),
    [("left 20", 0.5, True), ("left 20", 0, False), ("right 20", 1, False), ("happy", 1, False)],
)
def test_a_note_says_that_the_sides_are_swapped(model, astronaut, monkeypatch, to, strength, noted):
    monkeypatch.setattr(transfer, "find_points_and_pose", lambda x: (find_points(x), (15.0, 0.0)))
    result = facesym.load(str(model))(astronaut, to=to, strength=strength, grid=True)
    assert any("left and right are swapped" in note for note in result.notes) == noted


def test_the_person_is_found_once_for_all_turns_to_a_side(model, crop, monkeypatch):
    calls = []
    monkeypatch.setattr(transfer, "find_points_and_pose", lambda x: (find_points(x), (10.0, 0.0)))
    monkeypatch.setattr(
        compose, "person_matte", lambda image, points: calls.append(image) or person_matte(image, points)
    )
    small = crop.resize((64, 64))
    poses = ["left 20", "left 45", "left 45"]
    facesym.load(str(model)).run(small, small, [{"pose": pose} for pose in poses])
    assert len(calls) == 1 and (calls[0] == np.asarray(ImageOps.mirror(small))).all()


def test_what_makes_no_sense_is_refused(model, astronaut):
    pipe = facesym.load(str(model))
    for options, told in (
        ({"to": "grumpy"}, "expression: neutral"),
        ({"to": ["happy", "neutral"]}, "Choose one expression"),
        ({"to": 5}, "must be the name of an attribute or a list"),
        ({}, "Name a target"),
        ({"to": "left 20", "paste": True}, "leave out paste"),
        ({"to": "happy", "strength": 2}, "strength"),
        ({"to": "happy", "strength": "much"}, "strength"),
    ):
        with pytest.raises(ImageError, match=told):
            pipe(astronaut, **options)
