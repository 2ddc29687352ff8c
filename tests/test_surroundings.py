"""Surroundings of the face from the mirrored half of the photo."""

import numpy as np
import pytest

import facesym
from facesym.faces.surroundings import extend_flow, mirrored, mirrored_weight, with_surroundings

SIZE = 128
FACE = np.hypot(*np.indices((SIZE, SIZE)) - SIZE / 2) < SIZE / 4
RIGHT = np.indices((SIZE, SIZE))[1] > SIZE / 2
MATRIX = np.array([[0.9, 0.05, 0.06], [-0.04, 1.02, 0.03]])


def flow_of(matrix, size=SIZE):
    at = (2 * np.arange(size) + 1) / size - 1
    return np.stack([a * at + b * at[:, None] + c for a, b, c in matrix]).astype(np.float32)


def test_the_flow_is_extended_beyond_the_face():
    flow = np.where(FACE, flow_of(MATRIX), 9.0).astype(np.float32)
    assert np.allclose(extend_flow(flow, FACE, RIGHT), MATRIX, atol=1e-5)


def test_what_the_mask_hides_of_the_face_decides():
    wrong = flow_of(MATRIX) + 0.2
    flow = np.where(RIGHT, flow_of(MATRIX), wrong).astype(np.float32)
    found = extend_flow(flow, FACE, RIGHT)
    ys, xs = np.nonzero(FACE & RIGHT)
    off = np.abs(flow_of(found) - flow)[:, ys, xs].mean()
    assert off < 0.05


@pytest.mark.parametrize("size", [SIZE, 2 * SIZE])
def test_the_flip_is_shown_at_any_size(size):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (size, size, 3), np.uint8)
    assert (mirrored(image, np.eye(2, 3)) == image[:, ::-1]).all()
    shift = np.array([[1, 0, 2 / SIZE], [0, 1, 0]])  # a pixel of SIZE to the right
    by = size // SIZE
    assert (mirrored(image, shift)[:, :-by] == image[:, ::-1][:, by:]).all()


def test_the_hidden_side_of_a_symmetric_photo_is_found_again():
    rng = np.random.default_rng(1)
    half = rng.integers(0, 256, (SIZE, SIZE // 2, 3), np.uint8)
    photo = np.concatenate([half, half[:, ::-1]], 1)
    fog = np.where(RIGHT[..., None], np.uint8(128), photo)
    weight = mirrored_weight(np.eye(2, 3), FACE, RIGHT, yaw=5.0)
    done = with_surroundings(fog, fog, np.eye(2, 3), weight)
    assert (weight[~RIGHT] == 0).all() and weight[FACE & RIGHT].mean() < 0.1
    far = weight > 0.999
    assert far[:, -SIZE // 4 :].mean() > 0.9 and (np.abs(done[far].astype(int) - photo[far]) <= 1).all()


@pytest.mark.parametrize("case", ["small", "enclosed", "both sides", "turned", "no face", "only the face"])
def test_elsewhere_the_network_is_kept(case):
    mask, yaw, face = RIGHT.copy(), 0.0, FACE
    if case == "small":
        mask = np.zeros_like(RIGHT)
        mask[100:118, 100:118] = True
    elif case == "enclosed":
        mask[:, 120:] = False  # the photo goes on there
    elif case == "both sides":
        mask = np.ones_like(RIGHT)
        mask[:20] = False
    elif case == "turned":
        yaw = 50.0
    elif case == "no face":
        face = np.zeros_like(FACE)
    else:
        mask = FACE
    assert mirrored_weight(np.eye(2, 3), face, mask, yaw).max() < 0.01


def test_a_plain_wall_stays_plain_where_half_of_the_photo_is_hidden(astronaut):
    """RecNet alone generates an average background there."""
    photo = np.asarray(astronaut.crop((110, 10, 330, 230)).resize((256, 256))).copy()
    head = np.hypot(*(np.indices((256, 256)) - np.array([[[140]], [[128]]]))) < 90
    photo[~head] = green = (40, 160, 90)
    hidden = np.indices((256, 256))[1] >= 128
    done = np.asarray(facesym.load("complete")(photo, hidden, aligned=True).images[0])
    wall = hidden & ~head
    wall[:, :228] = False
    assert np.abs(done[wall].astype(int) - green).mean() < 12
