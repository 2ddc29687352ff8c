"""Texture that is borrowed from what an image shows."""

import numpy as np
import pytest

from facesym.faces.texture import KEPT, LEAST, _nearest, borrow_texture, find_texture

SIZE = 128
NO_FACE = np.zeros((SIZE, SIZE), bool)


def weave(size=SIZE):
    """Rough on dark at the left, fine checks on bright at the right; and the same without detail."""
    coarse = np.full((size, size, 3), 60, np.uint8)
    coarse[:, size // 2 :] = 180
    y, x = np.indices((size, size))
    rough = np.where((x // 3 + y // 3) % 2, 20, -20)
    fine = np.where((x + y) % 2, 20, -20)
    detail = np.where(np.arange(size) < size // 2, rough, fine)
    return (coarse + detail[..., None]).astype(np.uint8), coarse


def textured(image, mask, face):
    return borrow_texture(image, mask, face, *find_texture(image, mask, face))


def test_the_nearest_is_found_in_parts():
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(KEPT, 29))  # all that varies is kept
    some, many = ((100 + 30 * rng.normal(size=(n, KEPT)) @ mixed).astype(np.float32) for n in (70, 500))
    expected = [np.square(many - one).sum(1).argmin() for one in some]
    assert _nearest(some, many).tolist() == expected


@pytest.fixture
def masked():
    picture, coarse = weave()
    mask = NO_FACE.copy()
    mask[50:80, 20:44] = mask[50:80, 84:108] = True
    return picture, np.where(mask[..., None], coarse, picture), mask


def test_each_masked_pixel_finds_its_like(masked):
    _, filled, mask = masked
    coordinates, sources = find_texture(filled, mask, NO_FACE)
    assert len(coordinates) > 200
    y, x = sources.T
    x = np.where(x < SIZE, x, 2 * SIZE - 1 - x)  # from the mirror image: where it is in the image
    assert ((coordinates[:, 1] < SIZE // 2) == (x < SIZE // 2)).all() and not mask[y, x].any()


def test_hair_runs_as_in_the_mirror_image():
    """Slanted lines at the left, their mirror image at the right: a mask there gets lines of its own side's slant."""
    y, x = np.indices((SIZE, SIZE))
    x = np.minimum(x, SIZE - 1 - x)
    lines = np.where((x - y) % 8 < 4, 100, 150).astype(np.uint8)[..., None].repeat(3, 2)
    mask = NO_FACE.copy()
    mask[30:98, 70:] = True  # all that runs so but the rim
    done = textured(np.where(mask[..., None], np.uint8(125), lines), mask, NO_FACE)
    inner = done[40:88, 80:118, 0].astype(float)
    along, across = (
        np.abs(inner[1:, 1:] - inner[:-1, :-1]).mean(),
        np.abs(inner[1:, :-1] - inner[:-1, 1:]).mean(),
    )
    assert across < 0.7 * along


def test_a_smooth_filling_gets_the_surroundings_texture(masked):
    picture, filled, mask = masked
    done = textured(filled, mask, NO_FACE)
    assert np.array_equal(done[~mask], filled[~mask])
    for part in (np.s_[55:75, 25:39], np.s_[55:75, 89:103]):
        assert filled[part].std() == 0
        assert done[part].std() > 0.4 * picture[part].std()
        assert abs(done[part].mean() - picture[part].mean()) < 6  # the colour is the network's


def test_a_face_is_left_alone(masked):
    _, filled, mask = masked
    face = NO_FACE.copy()
    face[:, : SIZE // 2] = True
    done = textured(filled, mask, face)
    assert np.array_equal(done[:, : SIZE // 2 - 6], filled[:, : SIZE // 2 - 6])
    assert done[55:75, 89:103].std() > 10


def test_a_larger_picture_gets_its_own_detail(masked):
    """Finds of the small image are copied in an image of twice its size, with what only that one shows."""
    _, filled, mask = masked
    coordinates, sources = find_texture(filled, mask, NO_FACE)
    large, coarse = weave(2 * SIZE)
    missing = mask.repeat(2, 0).repeat(2, 1)
    done = borrow_texture(
        np.where(missing[..., None], coarse, large), missing, missing & False, coordinates, sources, 2
    )
    assert np.array_equal(done[~missing], large[~missing])
    fine = done[110:150, 178:206].astype(float)
    # Checks of one pixel, which the small image has no room for.
    assert np.abs(np.diff(fine, axis=1)).mean() > 8


def test_where_nothing_is_known_nothing_is_borrowed():
    picture, _ = weave()
    mask = np.ones((SIZE, SIZE), bool)
    mask[60:66, 60:66] = False  # fewer than LEAST pixels to choose from
    assert (~mask).sum() < LEAST
    assert np.array_equal(textured(picture, mask, NO_FACE), picture)
    assert np.array_equal(textured(picture, NO_FACE, NO_FACE), picture)


def test_a_faces_colour_does_not_come_in():
    """A bright face before a dark background."""
    picture = np.full((SIZE, SIZE, 3), 40, np.uint8)
    face, mask = NO_FACE.copy(), NO_FACE.copy()
    face[30:100, 30:70] = True
    picture[face] = 200
    for hidden in (False, True):  # of the face
        mask[40:90, (50 if hidden else 70) : 110] = True
        done = textured(picture, mask, face).astype(int)
        assert np.abs(done - picture).max() <= 1
