"""Surroundings of the face from the mirror image of the photo."""

import cv2
import numpy as np
import pytest
from PIL import Image

import facesym
from facesym.faces.surroundings import (
    BACKWARD,
    fit_reflection,
    mirror_beyond,
    mirrored_transform,
    mirrored_weight,
    shown_in_mirror,
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
    assert off[:, FACE & RIGHT].mean() < 0.035


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
    wall = Image.new("RGB", (SIZE, SIZE), (40, 40, 40))
    for times in (1, 3):  # a larger crop
        fog = np.full((times * SIZE, times * SIZE, 3), 128, np.uint8)
        done = with_surroundings(fog, wall, np.eye(2, 3), weight)[times // 2 :: times, times // 2 :: times]
        assert (done[weight > 0.999] == 40).all() and (done[weight == 0] == 128).all()
    assert with_surroundings(fog, wall, np.eye(2, 3), 0 * weight) is fog


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


def symmetric_photo(side, roll=0.0):
    """Smooth random colours, symmetric about the vertical line through the middle, tilted by ``roll`` degrees."""
    rng = np.random.default_rng(0)
    half = rng.uniform(40, 215, (8, 4, 3)).astype(np.float32)
    wide = cv2.resize(
        np.concatenate([half, half[:, ::-1]], 1), (2 * side, 2 * side), interpolation=cv2.INTER_CUBIC
    )
    middle = side - 0.5
    turned = cv2.warpAffine(wide, cv2.getRotationMatrix2D((middle, middle), roll, 1), (2 * side, 2 * side))
    part = slice(side // 2, side // 2 + side)
    return turned[part, part].clip(0, 255).round().astype(np.uint8)


def crop_in_the_middle(side, scale, roll=0.0):
    """The transform of an upright crop of SIZE pixels in the middle of a tilted photo."""
    middle = (side - 1) / 2
    upright = cv2.getRotationMatrix2D((middle, middle), -roll, scale)
    upright[:, 2] += (SIZE - 1) / 2 - middle
    return upright


@pytest.mark.parametrize("roll", [0, 15])
@pytest.mark.parametrize("scale", [0.5, 1, 3])
def test_outside_the_crop_a_symmetric_photo_is_found_again(scale, roll):
    side = round(4 * SIZE / scale)
    photo, transform = symmetric_photo(side, roll), crop_in_the_middle(side, scale, roll)
    ys, xs = np.indices((side, side))
    across = np.cos(np.radians(roll)) * (xs - side / 2) - np.sin(np.radians(roll)) * (ys - side / 2)
    mask = across > 0
    masked = np.where(mask[..., None], np.uint8(255), photo)
    image, written = mirror_beyond(Image.fromarray(masked), mask, mask, MIDLINE, transform, SIZE, 0.0)
    filled = np.asarray(image, np.float32)
    assert (filled[~mask] == photo[~mask]).all()
    mirror = cv2.warpAffine(
        (~mask).astype(np.uint8), reflection_in_photo(transform), (side, side), flags=BACKWARD
    )
    seen = (across > 0.06 * side) & (mirror > 0)
    assert written[seen].all() and not written[~mask].any()
    assert np.abs(filled - photo)[seen].mean() < 1.5 and np.abs(filled - photo)[seen].max() < 40
    if not roll:
        assert seen[:, -1].any() and seen[-1].any()  # up to the photo's border
    else:
        assert (filled[-1, -1] == 255).all()  # its mirror pixel lies outside the photo


def reflection_in_photo(transform):
    there, midline = np.vstack([transform, [0, 0, 1]]), np.vstack([MIDLINE, [0, 0, 1]])
    return (np.linalg.inv(there) @ midline @ there)[:2]


def test_what_is_masked_or_outside_the_photo_is_not_mirrored():
    side = 1024
    photo, transform = symmetric_photo(side), crop_in_the_middle(side, 0.25)
    mask = np.indices((side, side))[1] >= side // 2
    mask[:, 100:103] = True  # a scratch
    shown = shown_in_mirror(mask, mirrored_transform(MIDLINE, transform), SIZE)
    assert shown[:, SIZE // 2 + 4 :].mean() > 0.9 and not shown[:, : SIZE // 2].any()
    transform[0, 2] += SIZE  # the right half of the crop shows the photo, so its mirror image lies outside
    shown = shown_in_mirror(mask, mirrored_transform(MIDLINE, transform), SIZE)
    assert not shown[:, SIZE // 2 + 12 :].any()
    transform[0, 2] -= SIZE
    masked = np.where(mask[..., None], np.uint8([255, 0, 255]), photo)
    smooth = Image.fromarray(
        np.where((mask & (np.indices(mask.shape)[1] > 200))[..., None], 128, masked).astype(np.uint8)
    )
    image, _ = mirror_beyond(smooth, mask, mask, MIDLINE, transform, SIZE, 0.0)
    filled = np.asarray(image).astype(int)
    magenta = (filled[..., 0] - filled[..., 1] > 120) & (filled[..., 2] - filled[..., 1] > 120)
    assert magenta[:, 200:].sum() == 0


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
    masked = np.where(hidden[..., None], np.uint8(200), photo)
    out = facesym.load("complete")(masked, hidden, aligned=aligned)
    done = np.asarray(out.images[0]).astype(int)
    assert np.abs(done[:, -28:] - (40, 160, 90)).mean() < 12
    assert (done[~hidden] == photo[~hidden]).all()
    assert any("without the network" in note for note in out.notes) == (not aligned)


def test_people_who_share_a_mask(astronaut):
    """Each is completed; what covers one does not bleed into the other."""
    half = np.asarray(astronaut)[:, 60:400]
    two = np.concatenate([half, half], 1)
    hidden = np.zeros(two.shape[:2], bool)
    hidden[:, 180:510] = True
    masked = np.where(hidden[..., None], np.uint8([255, 0, 255]), two)
    pipe = facesym.load("complete")
    out = pipe(masked, hidden, faces="all")
    done = np.asarray(out.images[0]).astype(int)
    assert len(out.faces) == 2 and (done[~hidden] == two[~hidden]).all()
    magenta = (done[..., 0] - done[..., 1] > 60) & (done[..., 2] - done[..., 1] > 60)
    assert magenta[hidden].sum() == 0
    eye = np.zeros_like(hidden)
    eye[100:140, 150:200] = eye[440:500, 400:600] = True  # and something beside the other, who is not covered
    alone = np.asarray(pipe(np.where(eye[..., None], np.uint8(255), two), eye).images[0])
    assert (alone[eye] != 255).any(1).all()
