"""Light on the photo's own pixels, and the person apart from the background."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from facesym import ZooError
from facesym.faces.align import align_face, ffhq_transform
from facesym.faces.detect import detect_faces
from facesym.faces.geometry import face_region
from facesym.faces.landmarks import find_points
from facesym.faces.light import LightChange, relight, relight_photo
from facesym.faces.matte import behind, person_matte
from facesym.pipelines.compose import compose, copy_person
from facesym.pipelines.crops import to_image

EXAMPLES = Path(__file__).parents[1] / "spaces/examples"
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


def test_the_wall_goes_on_behind_the_person(person, points):
    image, where = person
    assert np.abs(behind(image, where.astype(np.float32), points) - np.float32(WALL)).max() < 25


def test_the_background_keeps_its_texture_and_clothes_are_not_continued(person, points):
    image, where = person
    rng = np.random.default_rng(1)
    leaves = cv2.GaussianBlur(rng.normal(0, 120, (SIDE, SIDE)), (0, 0), 1.5)[..., None]
    image = np.where(where[..., None], COAT, WALL + leaves).clip(0, 255).astype(np.uint8)
    chin = int(points[8, 1])
    image[chin:, :30] = image[chin:, -30:] = 250  # a shirt that the matte misses
    filled = behind(image, where.astype(np.float32), points).astype(np.float32)
    inner = cv2.erode(where.astype(np.uint8), np.ones((15, 15))) > 0
    visible = ~where & (np.arange(SIDE)[:, None] < chin)
    assert filled[inner].std(0).min() > 0.6 * image[visible].std(0).min()
    assert np.abs(filled[inner].mean(0) - image[visible].mean(0)).max() < 30


def test_a_grainy_wall_continues_without_stains(person, points):
    image, where = person
    grain = cv2.GaussianBlur(np.random.default_rng(1).normal(0, 28, (SIDE, SIDE)), (0, 0), 1)[..., None]
    image = np.where(where[..., None], COAT, WALL + grain).clip(0, 255).astype(np.uint8)
    filled = behind(image, where.astype(np.float32), points).astype(np.float32)
    coarse = cv2.GaussianBlur(filled, (0, 0), 6)
    inner = cv2.erode(where.astype(np.uint8), np.ones((9, 9))) > 0
    assert np.abs(coarse[inner].mean(0) - coarse[~where].mean(0)).max() < 3
    assert coarse[inner].std(0).max() < 3
    fine = filled - cv2.GaussianBlur(filled, (0, 0), 0.7)
    assert fine[inner].std() > 0.55 * fine[~where].std()


@pytest.mark.parametrize("side", [64, 100, 128, 301, 384])
@pytest.mark.parametrize("shown", [0, 1, 40])
def test_a_narrow_strip_of_background_is_continued_at_any_size(side, shown):
    """In hundredths of the side; where none is left beside the person's rim, the crop is returned."""
    points = np.full((68, 2), 0.6 * side)
    image = np.full((side, side, 3), COAT, np.uint8)
    shown = -(-shown * side // 100) + round(0.03 * side) if shown else 0  # the rim is not continued
    image[:, :shown] = WALL
    matte = np.ones((side, side), np.float32)
    matte[:, :shown] = 0
    filled = behind(image, matte, points)
    assert (filled == (np.array(WALL if shown else COAT))).all(2).mean() > 0.9


@pytest.mark.parametrize("background", [-8.0, 3.0])
def test_a_background_that_the_parser_takes_for_a_person_is_told_by_its_lower_logit(
    person, points, monkeypatch, background
):
    image, where = person

    def parser(_, x, __):
        logits = np.full((1, 7, SIDE, SIDE), -20, np.float32)
        logits[0, 0] = 0
        # The coat is less green than the wall.
        logits[0, 2] = np.where(x[0, 1] < -0.2, 11, background + np.linspace(0, 1, SIDE))
        return logits

    monkeypatch.setattr("facesym.faces.parse.run_network", parser)
    found = person_matte(image, points) > 0.5
    assert (found & where).sum() > 0.9 * (found | where).sum()


@pytest.fixture(scope="module", params=["astronaut", "grace-hopper"])
def portrait(request):
    """An aligned portrait, SxSx3 uint8, its matte and its landmarks."""
    photo = Image.open(EXAMPLES / f"{request.param}.jpg").convert("RGB")
    (face,) = detect_faces(photo)
    image = np.asarray(align_face(photo, ffhq_transform(face.points, 2 * SIDE), 2 * SIDE))
    points = find_points(Image.fromarray(image))
    return image, person_matte(image, points), points


def in_front_of_wall(image, matte):
    return np.rint(matte[..., None] * image + (1 - matte[..., None]) * WALL).astype(np.uint8)


def test_the_person_is_found_in_front_of_any_background(portrait):
    image, matte, points = portrait
    face = face_region(points, len(image)) > 0
    assert matte[face].mean() > 0.98 and 0.3 < matte.mean() < 0.9
    again = person_matte(in_front_of_wall(image, matte), points) > 0.5
    assert (again & (matte > 0.5)).sum() > 0.9 * (again | (matte > 0.5)).sum()


@dataclass
class Face:
    crop: Image.Image
    layers: tuple | None = None


def moved_by(net, face, steps, images):
    """Stands for `copy_images`: move images to the right by ``net`` pixels and darken them. What enters at the left
    repeats the border."""
    moved = [np.concatenate([image[:, :1]] * net + [image[:, :-net]], 1) for image in map(np.asarray, images)]
    return [(0.8 * each / 127.5 - 1).transpose(2, 0, 1).astype(np.float32) for each in moved]


@pytest.mark.parametrize("portrait", ["grace-hopper"], indirect=True)
def test_no_outline_stays_beside_the_shoulders(portrait):
    """Pixels below the mouth continue the wall, too, if they look like those above."""
    image, matte, points = portrait
    filled = behind(image, matte, points).astype(np.float32)
    person, steps = cv2.dilate((matte > 0.1).astype(np.uint8), np.ones((17, 17))), []
    for y in range(int(points[57, 1]) + 8, 235):
        x = np.flatnonzero(person[y])[-1]
        steps.append(filled[y, x - 14 : x - 8].mean(0) - filled[y, x + 3 : x + 9].mean(0))
    assert np.abs(steps).mean() < 15


def test_a_moved_person_is_laid_over_the_photos_background(portrait, monkeypatch):
    monkeypatch.setattr("facesym.pipelines.compose.copy_images", moved_by)
    image, matte, points = portrait
    crop = in_front_of_wall(image, matte)
    crop[90:120, 0] = image[128, 128]  # another person's sleeve, of which the network makes a streak
    face = Face(Image.fromarray(crop))
    output = to_image(moved_by(12, face, [], [face.crop])[0])
    laid = np.asarray(
        compose(output, points + np.float32([12, 0]), 12, face, [np.zeros((1, 11))], points)
    ).astype(int)
    output = np.asarray(output)
    inner = cv2.erode((np.roll(matte, 12, 1) > 0.9).astype(np.uint8), np.ones((25, 25))) > 0
    assert np.abs(laid - output)[inner].mean() < 2
    person = cv2.dilate(np.maximum(matte, np.roll(matte, 12, 1)), np.ones((15, 15)))
    outside = (person < 0.02)[:100]  # above the shoulders
    assert outside.sum() > 500 and np.abs(laid[:100] - WALL)[outside].mean() < 8


def test_the_person_is_the_one_with_the_face(portrait, monkeypatch):
    """A parser that misses the face, and one that sees no background."""
    image, _, points = portrait

    def parser(background):
        logits = np.full((1, 7, SIDE, SIDE), -9, np.float32)
        logits[0, 0] = np.where(background, 9, -20)
        monkeypatch.setattr("facesym.faces.parse.run_network", lambda *_: logits)

    face = face_region(points, len(image)) > 0
    parser(np.arange(SIDE) > 6)  # the person is a strip at the left
    assert person_matte(image, points)[face].mean() > 0.95
    parser(np.zeros(SIDE, bool))
    monkeypatch.setattr("facesym.pipelines.compose.copy_images", moved_by)
    crop = Image.fromarray(image)
    laid = np.asarray(compose(crop, points, 12, Face(crop), [np.zeros((1, 11))], points)).astype(int)
    moved = 0.8 * np.roll(image, 12, 1)[20:-20, 20:-20]
    assert np.abs(laid[20:-20, 20:-20] - moved)[~face[20:-20, 20:-20]].mean() < 2  # no background behind it


def test_a_matte_moves_as_the_network_moves_the_crop(monkeypatch):
    monkeypatch.setattr("facesym.pipelines.compose.copy_images", moved_by)
    matte = cv2.GaussianBlur(np.float32(np.indices((64, 64)).sum(0) < 50), (0, 0), 2)
    _, moved = copy_person(matte, 9, Face(Image.new("RGB", (64, 64))), [np.zeros((1, 11))])
    assert np.abs(moved[1:, 10:] - matte[1:, 1:-9]).max() < 0.03
    assert (moved[:, :9] < 0.03).all()  # nothing enters from outside


def test_a_person_at_the_border_stays_whole(monkeypatch):
    monkeypatch.setattr("facesym.pipelines.compose.copy_images", moved_by)
    matte = np.zeros((256, 256), np.float32)
    matte[:, :90] = 1
    _, moved = copy_person(matte, 1, Face(Image.new("RGB", (256, 256))), [np.zeros((1, 11))])
    assert (moved[:, :80] > 0.97).all()


def test_only_the_face_is_synthesized(portrait, monkeypatch):
    """What a network adds around the face shows the backgrounds that it was trained on."""
    monkeypatch.setattr("facesym.pipelines.compose.copy_images", moved_by)
    image, _, points = portrait
    white = Image.new("RGB", image.shape[1::-1], "white")
    laid = np.asarray(compose(white, points, 1, Face(Image.fromarray(image)), [np.zeros((1, 11))], points))
    face = face_region(points, len(image))
    assert (laid[cv2.erode(face, np.ones((35, 35)), borderValue=0) > 0] > 250).all()
    assert np.percentile(laid[face == 0], 99) <= np.percentile(image[face == 0], 99)


def test_the_layers_of_a_face_are_computed_once(portrait, monkeypatch):
    image, matte, points = portrait
    calls = []
    monkeypatch.setattr("facesym.pipelines.compose.copy_images", moved_by)
    monkeypatch.setattr("facesym.pipelines.compose.person_matte", lambda *_: calls.append(1) or matte)
    face = Face(Image.fromarray(image))
    first, again = (compose(face.crop, points, 12, face, [np.zeros((1, 11))], points) for _ in range(2))
    assert len(calls) == 1 and first == again


def test_a_parser_without_clothes_is_refused(portrait, monkeypatch):
    logits = np.zeros((1, 6, SIDE, SIDE), np.float32)
    monkeypatch.setattr("facesym.faces.parse.run_network", lambda *_: logits)
    with pytest.raises(ZooError, match="6 classes"):
        person_matte(portrait[0], portrait[2])


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
