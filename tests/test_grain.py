"""Grain of completed skin, and copied detail at the border of what the copy lacks."""

import cv2
import numpy as np
import pytest

from facesym.faces.copied import copied_weight
from facesym.faces.grain import AMOUNT, FINE, with_grain

SIZE = 128
SKIN = np.array([170, 130, 110])
FACE = np.zeros((SIZE, SIZE), bool)
FACE[16:112, 16:112] = True
MASK = np.zeros((SIZE, SIZE), bool)
MASK[40:88, 40:72] = True


@pytest.fixture
def skin():
    """Grainy, reddish skin, completed without grain."""
    noise = np.random.default_rng(1).normal(0, 8, (SIZE, SIZE, 1)) * [1.5, 1, 0.7]
    noise[MASK] = 0
    return np.uint8(np.clip(SKIN + noise, 0, 255))


def detail(image, where):
    return (image - cv2.GaussianBlur(image.astype(float), (0, 0), FINE * len(image)))[where]


@pytest.mark.parametrize("times", [2, 4])
def test_completed_skin_is_as_grainy_as_the_rest(skin, times):
    image, mask, face = (
        np.kron(x, np.ones((times, times, 1)[: x.ndim], x.dtype)) for x in (skin, MASK, FACE)
    )
    done = with_grain(image, mask, face)
    changed = (done != image).any(2)
    assert changed[mask].mean() > 0.9 and not changed[~mask].any()
    inner = cv2.erode(mask.astype(np.uint8), np.ones((9 * times,) * 2)) > 0
    ratio = detail(done, inner).std(0) / detail(image, face & ~mask).std(0)
    assert np.allclose(ratio, AMOUNT, atol=0.15), "in each colour"
    assert np.array_equal(done, with_grain(image, mask, face)), "the same every time"


def test_skin_that_has_detail_gets_no_grain(skin):
    full = np.where(MASK[..., None], np.roll(skin, 40, 1), skin)
    added = with_grain(full, MASK, FACE).astype(int) - full
    assert np.abs(added[MASK]).mean() < 1


def test_features_and_hair_do_not_make_skin_grainy(skin):
    """Hard stripes on a third of the face."""
    hairy = skin.copy()
    hairy[16:48, :, :] = np.where(np.arange(SIZE) % 4 < 2, 20, 220)[None, :, None]
    hairy[MASK] = skin[MASK]
    plain, other = (detail(with_grain(image, MASK, FACE), MASK).std() for image in (skin, hairy))
    assert other < 1.5 * plain


def test_without_visible_skin_nothing_changes(skin):
    assert np.array_equal(with_grain(skin, FACE, FACE), skin)


def test_the_rim_of_a_copy_is_not_used():
    """The copy's own mask lies to the right; where it begins, the copy is mixed with it."""
    image = np.full((SIZE, SIZE, 3), 120, np.uint8)
    trust = np.zeros((SIZE, SIZE), np.float32)
    trust[40:88, 40:60] = 0.3
    weight = copied_weight(image, image, trust, MASK, 0.0)
    assert weight[50:80, 44:54].min() > 0.9
    assert weight[:, 59:].max() < 0.3, "between copy and lack"
    assert weight[64, 40] > 0.5, "at the border of the mask, the copy continues what is visible"
