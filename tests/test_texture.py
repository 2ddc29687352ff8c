"""Texture that is borrowed from what an image shows."""

import numpy as np
import pytest

from facesym.faces.texture import KEPT, LEAST, _nearest, borrow_texture, find_texture, with_texture

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


def test_the_nearest_is_found_in_parts():
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(KEPT, 29))  # all that varies is kept
    some, many = ((100 + 30 * rng.normal(size=(n, KEPT)) @ mixed).astype(np.float32) for n in (70, 500))
    expected = [np.square(many - one).sum(1).argmin() for one in some]
    assert _nearest(some, many).tolist() == expected


@pytest.fixture
def holed():
    picture, coarse = weave()
    hole = NO_FACE.copy()
    hole[50:80, 20:44] = hole[50:80, 84:108] = True
    return picture, np.where(hole[..., None], coarse, picture), hole


def test_each_place_finds_its_like(holed):
    _, filled, hole = holed
    places, sources = find_texture(filled, hole, NO_FACE)
    assert len(places) > 200
    y, x = sources.T
    x = np.where(x < SIZE, x, 2 * SIZE - 1 - x)  # from the mirror image: where it is in the image
    assert ((places[:, 1] < SIZE // 2) == (x < SIZE // 2)).all() and not hole[y, x].any()


def test_hair_runs_as_in_the_mirror_image():
    """Slanted lines at the left, their mirror image at the right: a hole there gets lines of its own side's slant."""
    y, x = np.indices((SIZE, SIZE))
    x = np.minimum(x, SIZE - 1 - x)
    lines = np.where((x - y) % 8 < 4, 100, 150).astype(np.uint8)[..., None].repeat(3, 2)
    hole = NO_FACE.copy()
    hole[30:98, 70:] = True  # all that runs so but the rim
    done = with_texture(np.where(hole[..., None], np.uint8(125), lines), hole, NO_FACE)
    inner = done[40:88, 80:118, 0].astype(float)
    along, across = (
        np.abs(inner[1:, 1:] - inner[:-1, :-1]).mean(),
        np.abs(inner[1:, :-1] - inner[:-1, 1:]).mean(),
    )
    assert across < 0.7 * along


def test_a_smooth_filling_gets_the_surroundings_texture(holed):
    picture, filled, hole = holed
    done = with_texture(filled, hole, NO_FACE)
    assert np.array_equal(done[~hole], filled[~hole])
    for part in (np.s_[55:75, 25:39], np.s_[55:75, 89:103]):
        assert filled[part].std() == 0
        assert done[part].std() > 0.4 * picture[part].std()
        assert abs(done[part].mean() - picture[part].mean()) < 6  # the colour is the network's


def test_a_face_is_left_alone(holed):
    _, filled, hole = holed
    face = NO_FACE.copy()
    face[:, : SIZE // 2] = True
    done = with_texture(filled, hole, face)
    assert np.array_equal(done[:, : SIZE // 2 - 6], filled[:, : SIZE // 2 - 6])
    assert done[55:75, 89:103].std() > 10


def test_a_larger_picture_gets_its_own_detail(holed):
    """Finds of the small image are copied in an image of twice its size, with what only that one shows."""
    _, filled, hole = holed
    places, sources = find_texture(filled, hole, NO_FACE)
    large, coarse = weave(2 * SIZE)
    missing = hole.repeat(2, 0).repeat(2, 1)
    done = borrow_texture(
        np.where(missing[..., None], coarse, large), missing, missing & False, places, sources, 2
    )
    assert np.array_equal(done[~missing], large[~missing])
    fine = done[110:150, 178:206].astype(float)
    # Checks of one pixel, which the small image has no room for.
    assert np.abs(np.diff(fine, axis=1)).mean() > 8


def test_where_nothing_is_known_nothing_is_borrowed():
    picture, _ = weave()
    hole = np.ones((SIZE, SIZE), bool)
    hole[60:66, 60:66] = False  # fewer than LEAST places to choose from
    assert (~hole).sum() < LEAST
    assert np.array_equal(with_texture(picture, hole, NO_FACE), picture)
    assert np.array_equal(with_texture(picture, NO_FACE, NO_FACE), picture)


def test_a_faces_colour_does_not_come_in():
    """A bright face before a dark background."""
    picture = np.full((SIZE, SIZE, 3), 40, np.uint8)
    face, hole = NO_FACE.copy(), NO_FACE.copy()
    face[30:100, 30:70] = True
    picture[face] = 200
    for hidden in (False, True):  # of the face
        hole[40:90, (50 if hidden else 70) : 110] = True
        done = with_texture(picture, hole, face).astype(int)
        assert np.abs(done - picture).max() <= 1
