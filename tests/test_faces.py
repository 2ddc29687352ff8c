"""The way from a photo to an aligned face and back."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from facesym.errors import FaceNotFoundError, ImageError
from facesym.faces.align import align_face, ffhq_transform, warp_mask_to_crop
from facesym.faces.detect import detect_faces, select_faces
from facesym.faces.geometry import turn, warp_points
from facesym.faces.landmarks import find_points
from facesym.faces.paste import diffuse, fill_smoothly, paste_completion, paste_face
from facesym.faces.pose import find_pose


# --- detect and align -----------------------------------------------------------------------------------------------
def test_the_face_is_found_at_any_size_and_in_place(astronaut):
    (face,) = detect_faces(astronaut)
    assert np.abs(face.points[0] - [204, 110]).max() < 10 and np.abs(face.points[1] - [245, 113]).max() < 12
    for scale in (0.5, 4):
        other = astronaut.resize((int(512 * scale), int(512 * scale)), Image.Resampling.LANCZOS)
        (again,) = detect_faces(other)
        assert np.abs(again.points / scale - face.points).max() < 3


def test_a_mirrored_photo_gives_mirrored_points(astronaut):
    (face,) = detect_faces(astronaut)
    (other,) = detect_faces(astronaut.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    mirrored = (other.points * [-1, 1] + [511, 0])[[1, 0, 2, 4, 3]]
    assert np.abs(mirrored - face.points).max() < 0.6


def test_a_face_that_fills_the_picture_is_found(astronaut):
    close = astronaut.crop((150, 20, 300, 200)).resize((1500, 1800), Image.Resampling.BICUBIC)
    assert len(detect_faces(close)) == 1


def test_selection(astronaut):
    pair = Image.new("RGB", (1024, 512))
    pair.paste(astronaut.resize((300, 300)), (0, 0))
    pair.paste(astronaut, (512, 0))
    faces = detect_faces(pair)
    assert len(faces) == 2 and faces[0].points[0, 0] < faces[1].points[0, 0]
    assert select_faces(faces) == [faces[1]] and select_faces(faces, 0) == [faces[0]]
    assert select_faces(faces, "all") == faces
    with pytest.raises(FaceNotFoundError, match="no face number 5"):
        select_faces(faces, 5)
    with pytest.raises(ImageError, match="largest"):
        select_faces(faces, "smallest")
    with pytest.raises(FaceNotFoundError, match="aligned=True"):
        select_faces(detect_faces(Image.new("RGB", (200, 200), "blue")))


def test_framing_follows_the_formula_and_undoes_a_rotation():
    points = np.array([[80, 100], [120, 100], [100, 120], [85, 145], [115, 145]], float)
    transform = ffhq_transform(points, 256)
    half = max(2 * 40, 1.8 * 45)
    middle = transform @ [100, 100 + 0.1 * 45, 1]
    assert np.allclose(middle, 127.5)
    assert np.isclose(np.hypot(*transform[:, 0]), 256 / (2 * half))
    angle = np.radians(30)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned = ffhq_transform(points @ turn.T, 256)
    for point in points:
        assert np.allclose(turned @ [*(turn @ point), 1], transform @ [*point, 1])
    with pytest.raises(ImageError, match="do not define a crop"):
        ffhq_transform(np.zeros((5, 2)), 256)


def test_aligning_is_antialiased_and_mirrors_the_border():
    stripes = Image.fromarray(np.tile(np.array([[0, 255]], np.uint8), (1000, 500))).convert("RGB")
    tenth = np.array([[0.1, 0, -0.45], [0, 0.1, -0.45]])
    assert np.asarray(align_face(stripes, tenth, 100))[10:-10, 10:-10].std() < 8  # 127 without antialiasing
    ramp = Image.fromarray(np.tile(np.arange(100, dtype=np.uint8), (100, 1))).convert("RGB")
    crop = np.asarray(align_face(ramp, np.array([[1.0, 0, 20], [0, 1, 0]]), 100))
    assert abs(int(crop[50, 10, 0]) - 10) <= 2  # ten pixels to the left of the border: mirrored


def test_no_pixel_of_the_hole_is_seen_as_known():
    hole = np.zeros((1000, 1000), bool)
    hole[501, 503] = True  # one pixel of a photo that shrinks twenty times
    transform = np.array([[0.05, 0, 0], [0, 0.05, 0]])
    seen = warp_mask_to_crop(hole, transform, 50)
    assert seen[25, 25] and seen.sum() < 30


# --- landmarks ------------------------------------------------------------------------------------------------------
def test_no_faces_have_no_landmarks():
    assert find_points([]).shape == (0, 68, 2)


def test_landmarks_of_the_astronaut(astronaut):
    (face,) = detect_faces(astronaut)
    transform = ffhq_transform(face.points, 256)
    points = find_points(align_face(astronaut, transform, 256))
    assert points.shape == (68, 2)
    five = np.array([transform @ [*p, 1] for p in face.points])
    eyes = np.linalg.norm(five[0] - five[1])
    assert np.linalg.norm(points[36:42].mean(0) - five[0]) < 0.1 * eyes
    assert np.linalg.norm(points[42:48].mean(0) - five[1]) < 0.1 * eyes
    assert np.linalg.norm(points[[48, 54]].mean(0) - five[3:].mean(0)) < 0.15 * eyes
    assert points[:17, 1].argmax() in range(6, 11)  # the chin


# --- paste ----------------------------------------------------------------------------------------------------------
@pytest.fixture
def placed(astronaut):
    (face,) = detect_faces(astronaut)
    transform = ffhq_transform(face.points, 256)
    return astronaut, transform, align_face(astronaut, transform, 256)


def test_pasting_a_hole_changes_the_hole_alone_and_meets_the_light(placed, eye_hole):
    photo, transform, crop = placed
    darker = Image.fromarray((np.asarray(crop) * 0.8).astype(np.uint8))
    done = np.asarray(paste_completion(photo, darker, transform, eye_hole))
    before = np.asarray(photo)
    assert (done[~eye_hole] == before[~eye_hole]).all()
    error = np.abs(done[eye_hole].astype(float) - before[eye_hole]).mean()
    assert error < 8 < np.abs(before[eye_hole] * 0.2).mean()


def test_a_changed_face_fades_into_the_photo(placed):
    photo, transform, crop = placed
    mask = np.zeros((256, 256), np.float32)
    mask[60:200, 60:200] = 1
    changed = np.asarray(crop).astype(int) + 25
    changed[100:150, 100:150] = 255
    done = np.asarray(
        paste_face(photo, Image.fromarray(changed.clip(0, 255).astype(np.uint8)), transform, mask)
    )
    before = np.asarray(photo).astype(int)
    x, y = np.linalg.inv(np.vstack([transform, [0, 0, 1]]))[:2] @ [125, 125, 1]
    assert done[round(y), round(x)].min() > 200  # the change is there
    assert (done[300:] == before[300:]).all()
    step = np.abs(np.diff(done.astype(int) - before, axis=1)).max(2)
    assert np.percentile(step[step > 0], 50) <= 5  # of 25 levels and more: no edge at the mask's border


def test_colours_are_matched_only_where_the_photo_shows_the_same(placed):
    """A face that comes to lie on the background must not take the background's colour."""
    photo, transform = placed[0], placed[1]
    grey = Image.new("RGB", (128, 128), (120, 110, 100))
    mask = np.zeros((128, 128), np.float32)
    mask[32:96, 32:96] = 1
    nowhere = np.asarray(paste_face(photo, grey, transform, mask, np.zeros((128, 128))))
    matched = np.asarray(paste_face(photo, grey, transform, mask))
    everywhere = np.asarray(paste_face(photo, grey, transform, mask, np.ones((128, 128))))
    assert (everywhere == matched).all() and (nowhere != matched).any()
    x, y = (np.linalg.inv(transform[:, :2]) @ (np.array([63.5, 63.5]) - transform[:, 2])).round().astype(int)
    assert tuple(nowhere[y, x]) == (120, 110, 100) != tuple(matched[y, x])


def test_the_shadowed_half_of_a_face_keeps_its_dark_parts():
    """Skin of 100 in the photo and 200 in the crop: a spot of 60 there is one of about 30 in the photo, not of 0."""
    photo = Image.new("RGB", (128, 128), (100, 100, 100))
    crop = np.full((128, 128, 3), 200, np.uint8)
    crop[56:72, 56:72] = 60
    mask = np.zeros((128, 128), np.float32)
    mask[16:112, 16:112] = 1
    done = np.asarray(paste_face(photo, Image.fromarray(crop), np.eye(2, 3), mask))
    assert np.abs(done[62:66, 62:66].astype(int) - 30).max() <= 4
    assert np.abs(done[30:40, 30:40].astype(int) - 100).max() <= 2


def test_diffusion_solves_laplace_and_keeps_what_is_known():
    values = np.zeros((40, 60, 1), np.float32)
    values[:, -1] = 59
    known = np.zeros((40, 60), bool)
    known[:, [0, -1]] = True
    result = diffuse(values, known)
    assert np.abs(result[..., 0] - np.arange(60)).max() < 3
    assert (result[known] == values[known]).all()


def test_nothing_of_the_hidden_thing_remains_after_smoothing():
    photo = np.full((50, 50, 3), 90, np.uint8)
    hole = np.zeros((50, 50), bool)
    hole[20:30, 20:30] = True
    photo[hole] = 255
    assert np.abs(np.asarray(fill_smoothly(Image.fromarray(photo), hole)).astype(int) - 90).max() <= 1


# --- tilted heads ---------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def upright(astronaut):
    (face,) = detect_faces(astronaut)
    return face


@pytest.mark.parametrize("angle", [-45, -20, 10, 30, 90, 135, 180, 270])
def test_a_tilted_face_is_cut_out_upright(astronaut, upright, angle):
    photo = astronaut.rotate(angle, Image.Resampling.BICUBIC, expand=True, fillcolor=(128, 128, 128))
    (face,) = detect_faces(photo)
    assert abs((face.roll - upright.roll + angle + 180) % 360 - 180) < 2
    crops = [
        align_face(p, ffhq_transform(f.points, 128), 128) for p, f in ((astronaut, upright), (photo, face))
    ]
    assert np.abs(np.subtract(*np.float32(crops))).mean() < 10


def test_a_face_alone_is_found_beside_a_much_larger_one(astronaut):
    photo = Image.new("RGB", (6000, 4000))
    photo.paste(astronaut.resize((284, 284)), (3000, 500))
    photo.paste(astronaut.resize((1700, 1700)), (200, 2000))
    faces = detect_faces(photo)
    assert len(faces) == 2
    assert faces[0].area > 20 * faces[1].area and faces[1].box[0] > 3000


def test_pictures_a_few_pixels_high_have_no_face():
    code = """
import numpy as np
from PIL import Image
from facesym.faces.detect import detect_boxes
rng = np.random.default_rng(0)
for size in [(1, 1), (300, 1), (2, 500), (1, 4000), (4000, 30), (7, 7), (1280, 16)]:
    assert detect_boxes(Image.fromarray(rng.integers(0, 255, (*size[::-1], 3), np.uint8))) == [], size
"""
    # What freed memory holds: a detector that reads it sees faces (OpenCV's does in slivers).
    for byte in (0, 85, 170):
        subprocess.run(
            [sys.executable, "-c", code], check=True, env={**os.environ, "MALLOC_PERTURB_": str(byte)}
        )


def test_the_pose_of_a_mirrored_face_is_mirrored(astronaut, upright):
    crop = align_face(astronaut, ffhq_transform(upright.points, 128), 128)
    yaw, pitch = find_pose(crop)
    mirrored_yaw, mirrored_pitch = find_pose(crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    assert mirrored_yaw == pytest.approx(-yaw, abs=0.1) and mirrored_pitch == pytest.approx(pitch, abs=0.1)
    points = find_points(crop)
    left, right = (
        find_pose(Image.fromarray(warp_points(np.asarray(crop), points, turn(points, degrees))[0]))[0]
        for degrees in (-20, 20)
    )
    assert left < yaw - 4 and right > yaw + 4
