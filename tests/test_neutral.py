"""Expressions taken off by landmarks."""

import cv2
import numpy as np
import pytest
from test_simulate import bank, closed, mesh_file, studio  # noqa: F401 (fixtures)

from facesym.data.expressions import mouth_opening
from facesym.data.faces import flip_landmarks
from facesym.data.neutral import Neutral

SIZE = 96


@pytest.fixture(scope="module")
def neutral(bank):  # noqa: F811
    return Neutral(bank, [closed(SIZE), closed(SIZE) * 1.1], count=800)


def smiling():
    """The studio's smile: landmarks, and a picture with white teeth between its lips, of the neutral face's skin."""
    marks = closed(SIZE)
    marks[[48, 54, 60, 64], 1] -= 4
    marks[[65, 66, 67], 1] += 6
    ramp = np.add.outer(np.arange(SIZE), np.arange(SIZE)) * 0.6 + 10  # a shift of a pixel changes it
    image = np.rint(ramp).astype(np.uint8)[..., None].repeat(3, 2)
    cv2.fillPoly(image, [np.round(marks[60:68] * 16).astype(np.int32)], (255, 255, 255), cv2.LINE_8, 4)
    return image, marks


def test_landmarks_go_back_to_where_they_were(neutral):
    _, marks = smiling()
    off = lambda points: np.abs(points - closed(SIZE))[48:].mean()  # noqa: E731
    assert off(neutral.landmarks(marks)) < 0.5 * off(marks)
    assert mouth_opening(neutral.landmarks(marks)) < 0.01 < mouth_opening(marks)


def test_a_mirrored_face_gives_the_mirror_image(neutral):
    _, marks = smiling()
    marks[54] += (2, -3)  # a lopsided smile
    mirrored = neutral.landmarks(flip_landmarks(marks, SIZE))
    np.testing.assert_allclose(mirrored, flip_landmarks(neutral.landmarks(marks), SIZE), atol=1e-6)


def test_teeth_go_and_the_border_stays(neutral):
    image, marks = smiling()
    shown, goal = neutral.show(image, marks)
    assert (image > 200).sum() > 100 and (shown > 150).sum() == 0
    middle = np.rint((goal[62] + goal[66]) / 2).astype(int)
    assert shown[middle[1], middle[0]].max() < 100  # the line between closed lips
    off = np.abs(shown.astype(int) - image)
    assert max(off[:4].max(), off[-4:].max(), off[:, :4].max(), off[:, -4:].max()) <= 1


def test_a_closed_mouth_gets_no_line(neutral):
    image = np.full((SIZE, SIZE, 3), 120, np.uint8)
    marks = closed(SIZE)
    marks[65:68] = marks[[63, 62, 61]] + (0, 0.1)
    shown, _ = neutral.show(image, marks)
    assert np.array_equal(shown, image)  # even skin stays so
