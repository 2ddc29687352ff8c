"""Light on the photo's own pixels, and the person apart from the background."""

import cv2
import numpy as np
import pytest
from PIL import Image

from facesym.faces.landmarks import find_points
from facesym.faces.light import LightChange, relight, relight_photo
from facesym.faces.matte import behind, person_matte
from facesym.pipelines.layers import compose, moved, probes

SIDE = 128
WALL, COAT = (90, 160, 90), (60, 40, 120)


@pytest.fixture(scope="module")
def points(crop):
    """68x2, of a frontal face in a crop of SIDE pixels."""
    return find_points(crop.resize((SIDE, SIDE)))


@pytest.fixture(scope="module")
def person(points):
    """A drawn person in front of a wall, SxSx3 uint8, and where it is, SxS bool."""
    drawn = np.zeros((SIDE, SIDE), np.uint8)
    cv2.ellipse(drawn, (points[[27, 0, 16], 0].mean().astype(int).item(), 58), (36, 50), 0, 0, 360, 1, -1)
    cv2.rectangle(drawn, (20, 112), (108, 128), 1, -1)
    noise = np.random.default_rng(0).normal(0, 4, (SIDE, SIDE, 3))
    image = np.where(drawn[..., None] > 0, COAT, WALL) + noise
    return image.clip(0, 255).astype(np.uint8), drawn > 0


def test_the_person_is_cut_out_and_the_wall_goes_on_behind(person, points):
    image, where = person
    matte = person_matte(image, points)
    assert ((matte > 0.5) == where).mean() > 0.95
    assert np.abs(behind(image, matte, points) - np.float32(WALL)).max() < 25
    everything = np.full_like(image, 90)  # all looks alike: nothing is cut off
    assert person_matte(everything, points)[40:100, 40:90].min() > 0.9


def test_a_matte_goes_where_a_network_moves_the_photo(person, points):
    image, where = person
    matte = where.astype(np.float32)
    drawn = np.random.default_rng(1).uniform(-1, 1, (1, 3, SIDE, SIDE))

    def network(x):
        return 0.6 * (1.2 * (np.roll(x, 9, -1) + 1) - 0.1 - 1) + 0.4 * drawn

    found = moved(*map(network, probes(matte)))
    assert np.abs(found - np.roll(matte, 9, -1)).max() < 1e-3
    crop = Image.fromarray(image)
    laid = np.asarray(compose(Image.new("RGB", crop.size), found, crop, matte, points))
    away = cv2.dilate((where | (found > 0)).astype(np.uint8), np.ones((15, 15))) == 0
    assert (laid[away] == image[away]).all() and (laid[found == 1] == 0).all()


def test_light_is_the_faces_and_detail_and_the_wall_are_the_photos(points):
    rng = np.random.default_rng(0)
    small = rng.normal(120, 10, (SIDE, SIDE, 3)).clip(0, 255).round()
    image = np.kron(small, np.ones((2, 2, 1))) + rng.normal(0, 5, (2 * SIDE, 2 * SIDE, 1))
    image = image.clip(0, 255).astype(np.uint8)

    def lit(change):
        crop, *both = (
            Image.fromarray(x.clip(0, 255).astype(np.uint8)) for x in (image, small, change(small))
        )
        return np.asarray(relight(crop, LightChange(*both, points)), float)

    # A darker photo is darker all over, even if the network drew clouds on the wall.
    far = np.s_[:, : SIDE // 8]
    clouds = small * 0.5
    clouds[far] += rng.uniform(0, 90)
    assert np.abs(lit(lambda _: clouds) - 0.5 * image).max() < 4
    # Light from the left stays on the head.
    slope = np.linspace(1.4, 0.6, SIDE)[None, :, None]
    side = lit(lambda x: x * slope)
    middle = np.s_[SIDE // 2 : SIDE // 2 * 3, SIDE]
    assert side[middle].mean() == pytest.approx(image[middle].mean(), abs=8)
    assert side[SIDE, SIDE - 50].mean() > side[SIDE, SIDE + 50].mean() + 20
    left, right = side[:, :8].mean(), side[:, -8:].mean()
    assert abs(left - right) < 0.25 * 0.8 * 120


def test_light_changes_the_whole_photo_and_each_face_once(points):
    rng = np.random.default_rng(0)
    small = rng.normal(140, 10, (SIDE, SIDE, 3)).clip(0, 255).astype(np.uint8)
    slope = np.linspace(0.8, 0.2, SIDE)[None, :, None]
    face = Image.fromarray(small)
    dark = LightChange(face, Image.fromarray((0.5 * small).astype(np.uint8)), points)
    side = LightChange(face, Image.fromarray((slope * small).astype(np.uint8)), points)
    photo = Image.fromarray(np.full((2 * SIDE, 4 * SIDE, 3), 200, np.uint8))
    places = [np.array([[1, 0, -x], [0, 1, -20]], float) for x in (10, 2 * SIDE + 10)]
    lit = np.asarray(relight_photo(photo, [dark, dark], places), float)
    assert np.abs(lit - 100).max() < 4
    lit = np.asarray(relight_photo(photo, [dark, side], places), float)
    assert np.abs(lit[:, :10] - lit[0, 0]).max() < 3 and abs(lit[0, 0].mean() - 100) < 5
    row, middle = lit[20 + SIDE // 2].mean(1), 2 * SIDE + 10 + SIDE // 2
    assert row[middle - SIDE // 4] > row[middle + SIDE // 4] + 20
    assert np.abs(np.diff(lit.mean(2), axis=1)).max() < 12  # no seam
    away = [np.array([[1.0, 0, 5000], [0, 1, 5000]])]
    assert np.abs(np.asarray(relight_photo(photo, [dark], away), float) - 100).max() < 4
