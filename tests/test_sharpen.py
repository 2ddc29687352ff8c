"""Sharpening of synthesized faces."""

import cv2
import numpy as np
import pytest

from facesym.faces.sharpen import frontal_face, roughness, sharpen

SIZE = 256
REGION = frontal_face(SIZE)


@pytest.fixture
def photo():
    rng = np.random.default_rng(0)
    noise = cv2.GaussianBlur(rng.normal(0, 60, (SIZE, SIZE, 3)), (0, 0), 1.2)
    return np.uint8(np.clip(128 + 2 * noise, 0, 255))


def sharpness(image, where=REGION):
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.sqrt(np.square(cv2.Laplacian(grey, cv2.CV_32F)[where]).mean())


def test_a_soft_face_becomes_as_sharp_as_the_photo(photo):
    soft = cv2.GaussianBlur(photo, (0, 0), 0.7)
    assert sharpness(soft) < 0.8 * sharpness(photo)
    done = sharpen(soft, REGION, roughness(photo, REGION))
    inner = cv2.erode(REGION.astype(np.uint8), np.ones((25, 25))) > 0
    assert sharpness(done, inner) == pytest.approx(sharpness(photo, inner), rel=0.1)
    away = cv2.dilate(REGION.astype(np.uint8), np.ones((41, 41))) == 0
    assert (done[away] == soft[away]).all()


def test_a_sharp_face_does_not_change_and_a_blurred_one_is_not_overdone(photo):
    assert sharpen(photo, REGION, roughness(photo, REGION)) is photo
    blurred = cv2.GaussianBlur(photo, (0, 0), 4)
    done = sharpen(blurred, REGION, roughness(photo, REGION))
    assert sharpness(done) < 2 * sharpness(blurred)
    nothing = np.zeros_like(REGION)
    assert sharpen(blurred, nothing, roughness(photo, REGION)) is blurred
    flat = np.full_like(photo, 90)
    assert (sharpen(flat, REGION, roughness(photo, REGION)) == flat).all()
