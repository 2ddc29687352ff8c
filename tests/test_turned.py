"""Symmetric faces of turned heads."""

import cv2
import numpy as np
import pytest
from PIL import Image
from training import template

import facesym
from facesym.faces.geometry import (
    face_region,
    symmetric_landmarks,
    turn,
    warp_points,
)
from facesym.faces.landmarks import find_points
from facesym.faces.pixels import to_uint8
from facesym.faces.turn import to_front, turn_back, turned_photo


@pytest.mark.parametrize(("yaw", "noted"), [(19, False), (-25, True)])
def test_a_head_of_which_one_side_is_hardly_seen_is_noted(symmetrizer, large_crop, monkeypatch, yaw, noted):
    monkeypatch.setattr("facesym.faces.pose._both_ways", lambda pose: (float(yaw), 0.0))
    notes = symmetrizer(large_crop, aligned=True).notes
    assert any(f"about {abs(yaw)} degrees" in note and "averted side" in note for note in notes) == noted
    assert any("averted side" in note for note in notes) == noted


@pytest.fixture(scope="module")
def symmetric(face):
    """A symmetric face, turned to the front, and its landmarks."""
    image, points = face
    goal = symmetric_landmarks(points, len(image))
    warped, _ = warp_points(image.astype(np.float32), points, goal)
    return to_uint8((warped + warped[:, ::-1]) / 2), goal


@pytest.mark.parametrize("yaw", [-25, -10, 10, 25])
def test_the_symmetric_face_of_a_turned_head_is_turned_like_it(symmetric, yaw):
    image, points = symmetric
    goal = turn(points, yaw)
    turned = to_uint8(warp_points(image.astype(np.float32), points, goal)[0])
    front, there = to_front(turned, goal, yaw)
    assert np.abs(there - points).max() < 1e-3  # it is in the middle again
    back, region = (turn_back(image, there, goal) for image in (front, face_region(there, 256)))
    inside = face_region(goal, 256) > 0
    assert np.mean((region > 0.5) != inside) < 0.02
    assert np.abs(back.astype(int) - turned)[inside].mean() < 6

    pipe = facesym.load("symmetrize")
    output, alone = (np.asarray(pipe(turned, aligned=True, paste=p).images[0]) for p in (True, False))
    assert np.abs(output.astype(int) - alone)[cv2.erode(region, np.ones((9, 9))) > 0.5].mean() < 9
    moved = np.linalg.norm(
        find_points(Image.fromarray(output)) - find_points(Image.fromarray(turned)), axis=1
    )
    assert moved.mean() < 0.5 + abs(yaw) / 20  # pixels
    assert np.abs(output.astype(int) - turned)[inside].mean() < 12


def test_the_averted_side_of_a_head_turned_far_comes_from_the_other(symmetric):
    image, points = symmetric
    goal, red = turn(points, -40), np.array(image)
    red[:, :128] = (255, 0, 0)  # the half on the left is averted
    turned, _ = warp_points(red.astype(np.float32), points, goal)
    front, _ = to_front(to_uint8(turned), goal, -40)
    cheek = face_region(points, 256)[..., None] * (np.arange(256) < 80)[:, None] > 0
    assert (front[cheek[..., 0]] == (255, 0, 0)).all(-1).mean() < 0.3


@pytest.mark.parametrize("to", [20.0, -20.0])
def test_the_forehead_turns_with_the_brows(to):
    """Hair that stays where it is while the brow below it turns would fold at the brow's end."""
    picture, at = np.zeros((256, 256, 3), np.uint8), 40 + template(176)
    unit = np.linalg.norm(at[45] - at[36])
    for brow in (19, 24):
        x, y = (int(v) for v in np.round(at[brow] - (0, 0.4 * unit)))
        dot = cv2.circle(picture.copy(), (x, y), 6, (255, 255, 255), -1)
        turned = turned_photo(dot, at, 0.0, to, mirror=False)[0]
        before, after = (np.argwhere(image[..., 0] > 127).mean(0)[1] for image in (dot, turned))
        assert (after - before) / (turn(at, to) - at)[brow, 0] == pytest.approx(1, abs=0.25)
