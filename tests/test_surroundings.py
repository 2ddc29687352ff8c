"""Surroundings of the face from the mirror image of the photo."""

import numpy as np
import pytest
from PIL import Image

import facesym
from facesym.faces.surroundings import (
    fill_beyond,
    fit_reflection,
    mirrored_transform,
    mirrored_weight,
    with_surroundings,
)

SIZE = 128
FACE = np.hypot(*np.indices((SIZE, SIZE)) - SIZE / 2) < SIZE / 4
RIGHT = np.indices((SIZE, SIZE))[1] >= SIZE / 2
MIDLINE = np.array([[-1.0, 0, SIZE - 1], [0, 1, 0]])
TILTED = np.array([[-0.95, 0.08, 118], [0.06, 1.02, -3]])


def flow_of(reflection):
    """The flow into the flip, 2xSxS in [-1, 1]."""
    ys, xs = np.indices((SIZE, SIZE))
    x, y = (a * xs + b * ys + c for a, b, c in reflection)
    return ((2 * np.stack([SIZE - 1 - x, y]) + 1) / SIZE - 1).astype(np.float32)


def test_the_flow_is_extended_beyond_the_face():
    flow = np.where(FACE, flow_of(TILTED), 9.0).astype(np.float32)
    assert np.allclose(fit_reflection(flow, FACE, RIGHT), TILTED, atol=1e-3)


def test_what_the_mask_hides_of_the_face_decides():
    flow = np.where(RIGHT, flow_of(TILTED), flow_of(TILTED) + 0.2).astype(np.float32)
    off = np.abs(flow_of(fit_reflection(flow, FACE, RIGHT)) - flow)
    assert off[:, FACE & RIGHT].mean() < 0.05


@pytest.mark.parametrize("flow", [np.zeros((2, SIZE, SIZE)), flow_of(TILTED) + 1.5])
def test_a_fit_that_cannot_be_right_gives_the_midline(flow):
    assert (fit_reflection(flow, FACE, RIGHT) == MIDLINE).all()
    assert (fit_reflection(flow_of(TILTED), np.zeros_like(FACE), RIGHT) == MIDLINE).all()


def test_the_transform_to_the_mirror_image():
    transform = np.array([[0.5, 0.1, 3], [-0.1, 0.5, 20]])
    pixel = np.array([70.0, 40, 1])
    at = mirrored_transform(TILTED, transform) @ pixel
    assert np.allclose(
        TILTED @ (*at, 1), transform @ pixel
    )  # that pixel's mirror pixel is where it is in the crop


def test_the_hidden_side_of_a_symmetric_photo_is_found_again():
    weight = mirrored_weight(MIDLINE, RIGHT, FACE, RIGHT, yaw=5.0)
    assert (weight[~RIGHT] == 0).all() and weight[FACE & RIGHT].mean() < 0.1
    assert (weight > 0.99)[:, -SIZE // 4 :].mean() > 0.9
    fog, mirror = (np.full((SIZE, SIZE, 3), x, np.uint8) for x in (128, 40))
    done = with_surroundings(fog, mirror, weight)
    assert (done[weight > 0.999] == 40).all() and (done[weight == 0] == 128).all()


@pytest.mark.parametrize("case", ["small", "enclosed", "both sides", "turned", "only the face"])
def test_elsewhere_the_network_is_kept(case):
    mask, yaw = RIGHT.copy(), 0.0
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
    else:
        mask = FACE
    assert mirrored_weight(MIDLINE, ~mask[:, ::-1], FACE, mask, yaw).max() < 0.01


@pytest.mark.parametrize("scale", [0.5, 1, 3])
def test_outside_the_crop_a_symmetric_photo_is_found_again(scale):
    """At any size of the crop in the photo, whose pixels are random blocks."""
    rng = np.random.default_rng(0)
    side = round(4 * SIZE / scale)
    half = rng.integers(0, 256, (16, 8, 3), np.uint8)
    photo = np.asarray(Image.fromarray(np.concatenate([half, half[:, ::-1]], 1)).resize((side, side), 0))
    mask = np.indices((side, side))[1] >= side / 2
    transform = scale * np.array([[1, 0, -1.5 * SIZE / scale], [0, 1, -1.5 * SIZE / scale]])
    holed = Image.fromarray(np.where(mask[..., None], np.uint8(255), photo))
    filled = np.asarray(fill_beyond(holed, mask, mask, MIDLINE, transform, SIZE, 0.0)).astype(int)
    assert (filled[~mask] == photo[~mask]).all()
    off = np.abs(filled - photo)[:, round(0.53 * side) : -8].mean(2)
    assert np.median(off) <= 1 and off.mean() < 12  # blocks are mixed at their borders


def test_a_mask_that_only_the_photo_can_fill_is_filled_smoothly():
    photo = Image.new("RGB", (200, 200), (80, 120, 160))
    mask = np.zeros((200, 200), bool)
    mask[160:190, 20:180] = True  # on both sides: its mirror image is missing, too
    holed = np.where(mask[..., None], np.uint8(255), np.asarray(photo))
    transform = np.array([[1.0, 0, -36], [0, 1, -10]])
    filled = fill_beyond(Image.fromarray(holed), mask, mask, MIDLINE, transform, SIZE, 0.0)
    assert np.abs(np.asarray(filled).astype(int) - photo).max() <= 2


@pytest.fixture
def walled(astronaut):
    """A photo of 512 pixels whose wall is green, and the side of it that is hidden."""
    photo = np.asarray(astronaut.crop((110, 10, 330, 230)).resize((256, 256))).copy()
    head = np.hypot(*(np.indices((256, 256)) - np.array([[[140]], [[128]]]))) < 90
    photo[~head] = 40, 160, 90
    return np.pad(photo, ((64, 64), (128, 128), (0, 0)), "edge"), np.indices((384, 512))[1] >= 256


@pytest.mark.parametrize("aligned", [False, True])
def test_a_plain_wall_stays_plain_where_half_of_the_photo_is_hidden(walled, aligned):
    """RecNet alone generates an average background there, and nothing outside the crop."""
    photo, hidden = walled
    if aligned:
        photo, hidden = (x[64:-64, 128:-128] for x in walled)
    holed = np.where(hidden[..., None], np.uint8(200), photo)
    out = facesym.load("complete")(holed, hidden, aligned=aligned)
    done = np.asarray(out.images[0]).astype(int)
    assert np.abs(done[:, -28:] - (40, 160, 90)).mean() < 12
    assert (done[~hidden] == photo[~hidden]).all()
    assert any("without the network" in note for note in out.notes) == (not aligned)
