"""Expressions taken off by landmarks."""

import shutil

import cv2
import numpy as np
import pytest
from training import closed, lips

from facesym.data.expressions import eye_distance, mouth_opening
from facesym.data.neutral import Neutral, _without_folds, neutral_faces
from facesym.errors import ImageError
from facesym.faces.geometry import flip_landmarks

SIZE = 96


@pytest.fixture(scope="module")
def neutral(bank):
    return Neutral(bank, [closed(SIZE), closed(SIZE) * 1.1], [lips(128), lips(20)], count=800)


def smiling(size=SIZE):
    """The studio's smile: landmarks, and an image with white teeth between its lips, of the neutral face's skin."""
    marks, scale = closed(size), size / SIZE
    marks[[48, 54, 60, 64], 1] -= 4 * scale
    marks[[65, 66, 67], 1] += 6 * scale
    ramp = np.add.outer(np.arange(size), np.arange(size)) * 0.6 / scale + 10  # a shift of a pixel changes it
    image = np.rint(ramp).astype(np.uint8)[..., None].repeat(3, 2)
    cv2.fillPoly(image, [np.round(marks[60:68] * 16).astype(np.int32)], (255, 255, 255), cv2.LINE_8, 4)
    return image, marks


def test_landmarks_go_back_to_where_they_were(neutral):
    _, marks = smiling()

    def off(points):
        return np.abs(points - closed(SIZE))[48:].mean()

    assert off(neutral.landmarks(marks)) < 0.5 * off(marks)
    assert mouth_opening(neutral.landmarks(marks)) < 0.01 < mouth_opening(marks)


def test_a_mirrored_face_gives_the_mirror_image(neutral):
    _, marks = smiling()
    marks[54] += (2, -3)  # a lopsided smile
    mirrored = neutral.landmarks(flip_landmarks(marks, SIZE))
    np.testing.assert_allclose(mirrored, flip_landmarks(neutral.landmarks(marks), SIZE), atol=1e-6)


def test_teeth_go_the_lips_close_and_the_border_stays(neutral):
    image, marks = smiling()
    shown, goal = neutral.show(image, marks)
    assert (image > 200).sum() > 100 and (shown > 150).sum() == 0
    middle = np.rint((goal[62] + goal[66]) / 2).astype(int)
    assert shown[middle[1], middle[0]].max() < 60  # the line between closed lips
    off = np.abs(shown.astype(int) - image)
    assert max(off[:4].max(), off[-4:].max(), off[:, :4].max(), off[:, -4:].max()) <= 1


def test_lips_are_those_of_the_most_alike_face_in_the_photos_own_colour(bank):
    image, marks = smiling()
    alike, other = lips(int(image[66, 48, 0])), lips(250)
    other.image[..., 2] = 0
    made = [
        Neutral(bank, [closed(SIZE)], mouths, count=200).show(image, marks)[0]
        for mouths in ([alike], [other, alike])
    ]
    assert np.array_equal(*made)
    goal = Neutral(bank, [closed(SIZE)], [alike], count=200).show(image, marks)[1]
    x, y = np.rint((goal[57] + goal[66]) / 2).astype(int)
    assert np.ptp(made[0][y, x].astype(int)) < 30  # grey as this photo's lips, not red


def test_lips_take_the_photos_light_and_colour(bank):
    image, marks = smiling(3 * SIZE)  # the lips are some pixels wide
    net = Neutral(bank, [closed(SIZE)], [lips(int(image[198, 144, 0]), 3 * SIZE)], count=200)

    def shown(colour):
        photo = image.copy()
        cv2.fillPoly(photo, [np.rint(marks[48:60]).astype(np.int32)], colour)
        cv2.fillPoly(photo, [np.rint(marks[60:68]).astype(np.int32)], (255, 255, 255))
        made, goal = net.show(photo, marks)
        x, y = np.rint((goal[57] + goal[66]) / 2).astype(int)
        return made[y, x].astype(float)

    dark, bright = shown((60, 60, 60)), shown((150, 150, 150))
    assert bright.mean() > dark.mean() + 20
    plain, red = shown((110, 110, 110)), shown((150, 90, 90))
    assert red[0] - red[2] > plain[0] - plain[2] + 5


@pytest.mark.parametrize("down", [20, 60])
def test_a_mouth_at_the_border_or_beyond_is_no_error(neutral, down):
    image, marks = smiling()
    assert neutral.show(image, marks + np.array([0, down]))[0].shape == image.shape


def test_a_smiles_folds_go_and_pores_stay():
    marks = smiling()[1]
    x0, y0 = np.rint((marks[48] + marks[2]) / 2).astype(int)  # on the cheek
    y, x = np.mgrid[:SIZE, :SIZE]
    fold = 60 * np.exp(-(((x - x0) / (0.1 * eye_distance(marks))) ** 2))
    pores = np.where((x + y) % 2, 8, -8)

    def left(relief):
        photo = np.rint(150 - relief).astype(np.uint8)[..., None].repeat(3, 2)
        found = 150.0 - _without_folds(photo, marks, 1.0)[..., 0]
        return found[y0, x0 - 6 : x0 + 7]

    assert np.ptp(left(0 * fold)) == 0
    assert np.ptp(left(fold)) < 0.6 * 60
    assert np.abs(left(pores)).min() >= 6


def test_closed_mouths_are_training_peoples(studio, tmp_path):
    landmarks, mouths = neutral_faces([studio], 48)
    assert len(landmarks) == len(mouths) == 8
    assert mouths[0].image.shape == (48, 48, 3)
    np.testing.assert_allclose(mouths[0].points, (closed(SIZE) + 0.5) / 2 - 0.5, atol=1e-4)
    folder = shutil.copytree(studio, tmp_path / "held-out")
    (folder / "metadata.csv").write_text((studio / "metadata.csv").read_text().replace(",train,", ",test,"))
    with pytest.raises(ImageError, match="frontal and neutral"):
        neutral_faces([folder], 48)


def test_a_closed_mouth_gets_no_line(neutral):
    image = np.full((SIZE, SIZE, 3), 120, np.uint8)
    marks = closed(SIZE)
    marks[65:68] = marks[[63, 62, 61]] + (0, 0.1)
    shown, _ = neutral.show(image, marks)
    assert np.array_equal(shown, image)  # even skin stays so
