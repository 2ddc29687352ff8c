"""The symmetrizer: network, losses, targets, simulated palsy, asymmetry, and the way from photo to photo."""

import numpy as np
import pytest
import torch
from PIL import Image
from training import template

from facesym import ImageError, losses
from facesym.asymmetry import REGIONS, landmark_asymmetry, measure_asymmetry, region_indices
from facesym.data.symmetric import droop, simulate_palsy, symmetric_faces
from facesym.faces import parse
from facesym.faces.geometry import (
    DEPTH_68,
    FLIP_68,
    face_region,
    face_shown,
    flip_landmarks,
    symmetric_landmarks,
    warp_points,
)
from facesym.faces.landmarks import find_points
from facesym.faces.mirror import midline, mirror_composites
from facesym.models import SymmetrizerVAE
from facesym.models.symmetrizer import REMOVED, PatchDiscriminator, _one_half
from facesym.study.photo import measure_photo
from train.factor import factor_symmetrizer

TINY = dict(widths=(8, 8, 16, 16), latent=4, fold=2, input_size=64)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return SymmetrizerVAE(**TINY).eval()


# --- network --------------------------------------------------------------------------------------------------------
@torch.no_grad()
def test_exact_is_symmetric_to_the_last_bit_and_plain_is_not(net):
    x = torch.randn(2, 3, 64, 64).clamp(-1, 1)
    exact, plain = net(x, exact=True), net(x)
    assert torch.equal(exact.face, exact.face.flip(-1)) and torch.equal(exact.region, exact.region.flip(-1))
    assert not torch.allclose(plain.face, plain.face.flip(-1), atol=1e-3)
    torch.testing.assert_close(exact.region, (plain.region + plain.region.flip(-1)) / 2)


def test_a_symmetric_picture_has_the_detail_of_its_sharper_half():
    """The mean of two halves of independent detail has 0.7 of it."""
    picture = 0.1 * torch.randn(1, 3, 64, 64)
    picture[..., :32] *= 2
    made = _one_half(picture, torch.ones(1, 1, 64, 64))
    assert torch.equal(made, made.flip(-1))
    assert made.std() > 0.95 * picture[..., :32].std()
    torch.testing.assert_close(made, _one_half(picture.flip(-1), torch.ones(1, 1, 64, 64)))
    # The other half's light is in it all the same.
    lit = picture + torch.cat([torch.zeros(32), torch.ones(32)])
    torch.testing.assert_close(
        _one_half(lit, torch.ones(1, 1, 64, 64))[..., :10].mean(),
        made[..., :10].mean() + 0.5,
        atol=0.02,
        rtol=0,
    )


def test_detail_is_of_the_half_that_is_copied_from():
    """Each side leans to its own left half here, however much detail the other has."""
    picture, region = 0.1 * torch.randn(2, 3, 64, 64), torch.ones(2, 1, 64, 64)
    picture[..., 32:] *= 2
    choice = torch.full((2, 1, 64, 64), 0.5)
    choice[0, ..., :32] += 0.01
    choice[1, ..., 32:] += 0.01
    left, right = _one_half(picture, region, choice)
    assert left.std() < 0.6 * right.std()
    assert _one_half(picture, region)[0].std() > 0.9 * right.std()


@torch.no_grad()
def test_an_untrained_net_hands_the_picture_on(net):
    """Copying starts at the identity: stage 1 has little left to learn."""
    x = torch.nn.functional.interpolate(torch.randn(1, 3, 8, 8).clamp(-1, 1), (64, 64), mode="bilinear")
    out = net(x)
    assert (out.picture - x).abs().mean() < 0.25 * x.abs().mean()
    assert out.region.min() > 0.8


@torch.no_grad()
def test_outside_the_region_the_face_is_removed(net):
    state = net.maps.bias.clone()
    net.maps.bias[0] = -30
    out = net(torch.rand(1, 3, 64, 64))
    net.maps.bias.copy_(state)
    torch.testing.assert_close(out.face, torch.full_like(out.face, REMOVED))


def test_the_code_is_a_sample_in_training_and_its_mean_afterwards(net):
    x = torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(net(x).face, net(x).face)
        net.train()
        different = not torch.equal(net(x).face, net(x).face)
        net.eval()
    assert different


@pytest.mark.parametrize("change", [{"copy": False}, {"mirror": False}, {"input_size": 128}, {"fold": 1}])
def test_variants_give_pictures_and_train_in_all_parts(change):
    net = SymmetrizerVAE(**TINY | change).train()
    side = net.config.input_size
    out = net(torch.rand(2, 3, side, side))
    assert out.face.shape == (2, 3, side, side) and (out.flow is None) == (change == {"copy": False})
    (out.face.square().mean() + losses.kl_loss(out.mean, out.log_variance)).backward()
    assert all(p.grad is not None for p in net.parameters())


def test_a_size_that_cannot_be_halved_is_refused():
    with pytest.raises(ValueError, match="halved"):
        SymmetrizerVAE(**TINY | {"input_size": 60})


def test_the_released_size_fits_the_package():
    net = SymmetrizerVAE()
    assert sum(p.numel() for p in net.parameters()) * 2 < 16e6


def test_block_scores_see_seventy_pixels():
    """pix2pix's PatchGAN: one score depends on a block of 70x70, whatever the image's size."""
    net = PatchDiscriminator(width=4).eval()
    x = torch.zeros(1, 3, 160, 192, requires_grad=True)
    scores = net(x)
    assert scores.shape == (1, 1, 18, 22) and scores.min() > 0 and scores.max() < 1
    scores[0, 0, 9, 11].backward()
    ys, xs = x.grad[0].abs().sum(0).nonzero().T
    assert int(ys.max() - ys.min()) + 1 == int(xs.max() - xs.min()) + 1 == 70


def test_losses_at_known_values():
    scores = torch.tensor([0.5, 1.0])
    assert losses.symmetrizer_generator_loss(scores, power=2) == pytest.approx(0.125)
    assert losses.symmetrizer_generator_loss(scores, power=1) == pytest.approx(0.25)
    value = losses.symmetrizer_discriminator_loss(scores, scores, fake_weight=2.0, power=1)
    assert value == pytest.approx(0.25 + 2 * 0.75)
    a, b = torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.5)
    u, v = torch.zeros(1, 2), torch.tensor([[0.0, 1.0]])
    assert losses.symmetrizer_identity_loss(a, b, u, v, vector_weight=3) == pytest.approx(0.5 + 1.5)
    assert losses.symmetrizer_identity_loss(a, b, u, v, 0, power=2) == pytest.approx(0.25)
    assert losses.kl_loss(torch.zeros(2, 3), torch.zeros(2, 3)) == 0
    assert losses.kl_loss(torch.ones(2, 3), torch.zeros(2, 3)) == pytest.approx(0.5)


# --- targets and palsy ----------------------------------------------------------------------------------------------
def test_targets_are_symmetric_and_keep_what_is_symmetric(face):
    image, points = face
    for target in symmetric_faces(image, points):
        assert (target == target[:, ::-1]).all()
    again = symmetric_faces(target, symmetric_landmarks(points, 256))
    for twice in again:
        assert np.abs(twice.astype(int) - target).mean() < 1


def test_flipping_the_picture_swaps_the_two_targets(face):
    image, points = face
    left, right = symmetric_faces(image, points)
    flipped = symmetric_faces(np.ascontiguousarray(image[:, ::-1]), flip_landmarks(points, 256))
    assert np.abs(flipped[0].astype(int) - right).mean() < 0.5 and np.abs(left.astype(int) - right).mean() > 1
    assert np.abs(flipped[1].astype(int) - left).mean() < 0.5


def test_warping_takes_a_dot_along_and_leaves_the_border():
    image = np.zeros((96, 96, 3), np.uint8)
    image[40:43, 30:33] = 255
    image[:, 0] = 77
    points = np.array([[31.0, 41], [60, 60], [20, 70], [70, 20]])
    warped, area = warp_points(image, points, points + np.array([[6, 4], [0, 0], [0, 0], [0, 0]]))
    ys, xs = np.nonzero(warped[:, 1:, 0] > 60)
    assert (xs.mean() + 1, ys.mean()) == pytest.approx((37, 45), abs=0.8)
    assert np.abs(warped[:, 0].astype(int) - 77).max() < 9 and area.shape == (96, 96) and area.min() > 0
    same, area = warp_points(image, points, points)
    assert np.abs(same.astype(int) - image).max() <= 2 and area == pytest.approx(1, abs=1e-3)


def test_a_droop_is_one_sided_graded_and_mirrors():
    points = template(200).astype(np.float64)
    assert (droop(points, "left", 0) == points).all()
    moved = droop(points, "left", 1) - points
    assert np.abs(moved[[22, 25, 44, 46, 10, 14, 16]]).max() == 0  # the healthy side's brow, lids, jaw
    assert moved[19, 1] > 0 and moved[38, 1] > moved[40, 1] > 0 and moved[48, 1] > moved[54, 1] == 0
    np.testing.assert_allclose(droop(points, "left", 0.5) - points, moved / 2)
    mirrored = flip_landmarks(droop(flip_landmarks(points, 200), "left", 1), 200)
    np.testing.assert_allclose(droop(points, "right", 1), mirrored)


def test_the_face_region_has_a_forehead_and_no_hair_above_it(face):
    _, points = face
    region = face_region(points, 256)
    assert region[tuple(np.round(points[30]).astype(int)[::-1])] == 1 and region[5, 128] == 0
    brow, low = points[17:27, 1].mean(), face_region(points, 256, forehead=0)
    assert low[int(brow) - 12, 128] == 0 and region[int(brow) - 12, 128] == 1
    assert (region >= low).all()


@pytest.mark.parametrize("size", [128, 256, 300])
def test_the_region_of_a_symmetric_face_is_symmetric(face, size):
    points = symmetric_landmarks(face[1] * size / 256, size)
    points = (points + flip_landmarks(points, size)) / 2
    for region in (face_region(points, size), face_shown(points, size)):
        assert region.any() and np.abs(region - region[:, ::-1]).mean() < 0.002


# --- asymmetry ------------------------------------------------------------------------------------------------------
def head(yaw, roll, size=256):
    """Landmarks of a symmetric head, turned and tilted: 68x2."""
    points = template(size).astype(np.float64)
    points = (points + flip_landmarks(points, size)) / 2 - (size - 1) / 2
    depth = DEPTH_68 * np.linalg.norm(points[45] - points[36])
    x = points[:, 0] * np.cos(np.radians(yaw)) + depth * np.sin(np.radians(yaw))
    turn = np.array(
        [
            [np.cos(np.radians(roll)), -np.sin(np.radians(roll))],
            [np.sin(np.radians(roll)), np.cos(np.radians(roll))],
        ]
    )
    return np.stack([x, points[:, 1]], 1) @ turn.T + (size - 1) / 2 + [7, -3]


@pytest.mark.parametrize("yaw, roll", [(0, 0), (15, 0), (-25, 0), (0, 6), (20, -5)])
def test_a_turned_or_tilted_symmetric_head_is_symmetric(yaw, roll):
    rest, found_roll, found_yaw = landmark_asymmetry(head(yaw, roll))
    assert np.abs(rest).max() < 0.012
    assert found_roll == pytest.approx(roll, abs=1.5) and found_yaw == pytest.approx(yaw, abs=3)


@pytest.mark.parametrize("yaw", [0, 20])
def test_the_indices_grow_with_the_palsy_whatever_the_pose(yaw):
    found = [region_indices(droop(head(yaw, 3), "left", s))[0] for s in (0, 0.4, 0.8, 1.2)]
    for name in ("brow", "mouth corner", "eye opening"):
        values = [regions[name] for regions in found]
        assert values == sorted(values) and values[-1] > values[0] + 0.02, name


def test_a_face_and_its_mirror_image_are_as_asymmetric(large_crop, face):
    mirrored = Image.fromarray(np.ascontiguousarray(np.asarray(large_crop)[:, ::-1]))
    one, other = measure_asymmetry(large_crop), measure_asymmetry(mirrored)
    assert tuple(one.regions) == REGIONS
    for name, value in one.regions.items():
        assert other.regions[name] == pytest.approx(value, rel=0.05, abs=2e-3)
    assert other.yaw == pytest.approx(-one.yaw, abs=0.2)
    assert np.abs(one.heatmap - other.heatmap[:, ::-1]).mean() < 0.1 * one.heatmap.mean()


def test_a_symmetric_picture_has_no_asymmetry_and_a_palsy_has_much(large_crop, face):
    image, points = face
    symmetric = symmetric_faces(image, points)[0]
    none = measure_asymmetry(Image.fromarray(symmetric))
    assert none.overall < 1e-3 and none.heatmap.max() < 0.05
    sick, _ = simulate_palsy(symmetric, symmetric_landmarks(points, 256), "left", 1.0)
    much = measure_asymmetry(Image.fromarray(sick))
    assert much.overall > 0.02 and much.regions["mouth corner"] > 0.04
    mouth = np.round(points[48:68].mean(0)).astype(int)
    assert much.heatmap[mouth[1] - 15 : mouth[1] + 15, mouth[0] - 40 : mouth[0] + 40].max() > 1


# --- mirroring ------------------------------------------------------------------------------------------------------
def test_composites_are_mirrored_about_the_tilted_middle_line(large_crop):
    points = head(0, 8)
    _, direction = midline(points)
    assert np.degrees(np.arctan2(-direction[0], direction[1])) == pytest.approx(8, abs=0.5)
    made = mirror_composites(large_crop, points)
    image = np.asarray(large_crop).astype(int)
    left, right = (np.asarray(made[name]).astype(int) for name in ("left", "right"))
    assert (left[:, :60] == image[:, :60]).all() and (right[:, -60:] == image[:, -60:]).all()
    assert np.abs(left[:, -60:] - image[:, -60:]).mean() > 5
    # Composites of the composite change nothing: it is symmetric about that line.
    again = np.asarray(mirror_composites(made["left"], points)["right"]).astype(int)
    assert np.abs(again - left)[20:-20, 20:-20].mean() < 2


# --- pipeline -------------------------------------------------------------------------------------------------------
def test_only_the_face_changes(symmetrizer, astronaut):
    out = symmetrizer(astronaut)
    before, after = np.asarray(astronaut), np.asarray(out.images[0])
    changed = (before != after).any(2)
    assert after.shape == before.shape and 0.02 < changed.mean() < 0.5
    assert not changed[300:].any() and not changed[:, :90].any()  # the suit, the flag
    assert set(out.asymmetry[0]) == {"overall", *REGIONS, "roll", "yaw"}
    assert out.heatmap[0].shape == out.crop[0].size == (128, 128) and out.composites == [{}]
    assert len(out.faces) == 1 and out.notes == []


def test_the_roll_is_that_of_the_head_in_the_photo(symmetrizer, astronaut):
    """As `facesym study` measures it."""
    for angle in (0, -30):
        tilted = astronaut.rotate(angle, expand=True)
        roll = symmetrizer(tilted).asymmetry[0]["roll"]
        assert roll == pytest.approx(measure_photo(tilted).roll, abs=3)
        assert abs(roll + angle) < 20


def test_an_aligned_crop_comes_back_exactly_symmetric(symmetrizer, large_crop):
    exact = np.asarray(symmetrizer(large_crop, aligned=True, paste=False).images[0])
    assert (exact == exact[:, ::-1]).all()
    plain = np.asarray(symmetrizer(large_crop, aligned=True, paste=False, exact=False).images[0])
    assert (plain != plain[:, ::-1]).any()


def test_mirroring_on_request(symmetrizer, large_crop):
    out = symmetrizer(large_crop, aligned=True, paste=False, composites=True)
    assert list(out.composites[0]) == ["original", "left", "right", "average", "mirrored", "model"]
    for method in ("left", "right", "average"):
        image = symmetrizer(large_crop, aligned=True, paste=False, method=method).images[0]
        assert image.tobytes() == out.composites[0][method].tobytes()
    pasted = np.asarray(symmetrizer(large_crop, aligned=True, method="left").images[0])
    assert (pasted[:10] == np.asarray(large_crop)[:10]).all()  # the face alone


def test_a_turned_face_is_brought_to_the_front_and_is_a_picture_of_its_own(symmetrizer, pair, monkeypatch):
    yaws = [0.0, 42.0]
    monkeypatch.setattr("facesym.faces.pose._both_ways", lambda pose: (yaws.pop(0), 0.0))
    with pytest.warns(UserWarning, match="about 42 degrees.*made frontal"):
        out = symmetrizer(pair, faces="all")
    photo, own = out.images
    assert photo.size == pair.size and own.size == (128, 128)
    changed = (np.asarray(photo) != np.asarray(pair)).any(-1)
    assert changed[:, :300].any() and not changed[:, 300:].any()


def test_what_is_refused(symmetrizer, astronaut):
    with pytest.raises(ImageError, match="left, right, average"):
        symmetrizer(astronaut, method="median")


def test_flip_order_is_its_own_inverse():
    assert (FLIP_68[FLIP_68] == np.arange(68)).all() and (DEPTH_68[FLIP_68] == DEPTH_68).all()


def test_factored_layers_do_the_same_where_they_can():
    torch.manual_seed(0)
    net = SymmetrizerVAE(widths=(8, 8, 12, 12), latent=4, fold=2, input_size=128).train()
    images = torch.rand(4, 3, 128, 128) * 2 - 1
    with torch.no_grad():
        for _ in range(20):  # the norms' statistics
            net(images)
        net.eval()
        same, less = (factor_symmetrizer(net, rank, [images]) for rank in (12, 2))
        expected = net(images).picture
        assert (same(images).picture - expected).abs().max() < 1e-3
        assert (less(images).picture - expected).abs().max() > 1e-3
    assert less.num_parameters() < net.num_parameters()


def test_hair_over_one_half_of_the_forehead_stays_on_that_half(symmetrizer, large_crop, monkeypatch):
    points, size = find_points(large_crop), large_crop.width
    (x, y), (_, nose) = points[19].astype(int), points[33].astype(int)
    photo = np.array(large_crop)
    fringe, mirrored = np.s_[20 : y - 8, x - 20 : x], np.s_[20 : y - 8, size - x : size - x + 20]
    photo[fringe] = 20
    labels = np.zeros((7, size, size), np.float32)

    def result():
        monkeypatch.setattr(parse, "parse", lambda crop: labels)
        return np.asarray(symmetrizer(photo, aligned=True).images[0])

    assert (result()[mirrored] != photo[mirrored]).any()
    labels[2, : y - 8] = 1  # hair
    labels[2, nose + 20 :] = 1  # a beard
    covered = result()
    assert (covered[fringe] == photo[fringe]).all() and (covered[mirrored] == photo[mirrored]).all()
    assert (covered[nose + 20 :] != photo[nose + 20 :]).any()
    labels[2] = 1
    hair = parse.hair_over_face(photo, points)
    assert (hair == hair[:, ::-1]).all() and not hair[nose + 20 :].any()
    cheek = points[[29, 30, 33], 1].mean().astype(int), points[[36, 37, 48], 0].mean().astype(int)
    assert not hair[cheek]  # it has the colour of skin
