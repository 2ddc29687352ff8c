"""facesym/metrics.py, on two portraits in the public domain (of scikit-image and matplotlib)."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as skimage_data

from facesym import metrics
from facesym.errors import ZooError
from facesym.faces.align import align_face
from facesym.faces.find import find_faces

BACKBONE = Path(os.environ.get("FACESYM_BACKBONES", "")) / "alexnet-imagenet-features.safetensors"


@pytest.fixture(scope="module")
def portrait(crop):
    return np.asarray(crop)


@pytest.fixture(scope="module")
def hopper():
    matplotlib = pytest.importorskip("matplotlib")
    with Image.open(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg") as photo:
        image = photo.convert("RGB")
    _, (index,), transforms = find_faces(image, "largest", 128)
    return np.asarray(align_face(image, transforms[index], 128))


def noisy(picture, sigma=20):
    noise = np.random.default_rng(0).normal(0, sigma, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def identity_distance(output, target):
    one, other = metrics.identity_descriptor(output), metrics.identity_descriptor(target)
    return np.linalg.norm(one - other, axis=-1)


def test_torchmetrics_has_the_same_psnr_and_another_ssim(portrait):
    metrics.import_torchvision()  # torchmetrics wants it
    from torchmetrics.functional import image

    result, target = (torch.tensor(x).permute(2, 0, 1)[None].double() for x in (noisy(portrait), portrait))
    psnr, ssim = metrics.psnr(noisy(portrait), portrait), metrics.ssim(noisy(portrait), portrait)
    assert image.peak_signal_noise_ratio(result, target, data_range=255.0) == pytest.approx(psnr, abs=1e-5)
    assert image.structural_similarity_index_measure(result, target, data_range=255.0) < ssim - 1e-3


def test_psnr_of_a_known_error():
    black, grey = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 10, np.uint8)
    assert metrics.psnr(grey, black) == pytest.approx(20 * np.log10(255 / 10))
    assert metrics.psnr(black, black) == np.inf


def test_psnr_within_a_mask_counts_only_the_mask():
    target, result = np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3), np.uint8)
    mask = np.zeros((4, 4), bool)
    mask[:2] = True
    result[:2], result[2:] = 5, 100
    assert metrics.psnr(result, target, mask) == pytest.approx(20 * np.log10(255 / 5))
    assert np.isnan(metrics.psnr(result, target, np.zeros((4, 4), bool)))


def test_ssim_falls_with_noise_and_is_one_for_equal_pictures(portrait):
    assert metrics.ssim(portrait, portrait) == pytest.approx(1)
    little, much = metrics.ssim(noisy(portrait, 5), portrait), metrics.ssim(noisy(portrait, 40), portrait)
    assert 1 > little > much > 0


@pytest.mark.parametrize("measure", [metrics.psnr, metrics.ssim, identity_distance])
def test_a_batch_gives_what_its_pictures_give(measure, portrait):
    truths = np.stack([portrait, portrait[:, ::-1], portrait])
    results = np.stack([noisy(x, s) for x, s in zip(truths, (5, 10, 20), strict=True)])
    singles = [measure(a, b) for a, b in zip(results, truths, strict=True)]
    assert np.shape(singles[0]) == ()
    np.testing.assert_allclose(measure(results, truths), singles)


def test_pictures_that_cannot_be_compared_are_refused():
    picture = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(ValueError, match="equal size"):
        metrics.psnr(picture, np.zeros((8, 9, 3), np.uint8))
    with pytest.raises(ValueError, match="8-bit"):
        metrics.psnr(picture / 255.0, picture / 255.0)


def test_identity_tells_people_apart(portrait, hopper):
    mirrored = np.ascontiguousarray(portrait[:, ::-1])
    assert identity_distance(noisy(portrait, 5), portrait) < 0.3
    assert identity_distance(mirrored, portrait) < metrics.SAME_PERSON
    assert identity_distance(hopper, portrait) > metrics.SAME_PERSON


def test_dlib_landmarks_lie_on_the_face(portrait):
    points = metrics.dlib_landmarks(portrait)
    assert points.shape == (68, 2) and points.dtype == np.float32
    eyes, nose, mouth = points[36:48].mean(0), points[27:36].mean(0), points[48:].mean(0)
    assert eyes[1] < nose[1] < mouth[1]
    assert 55 < nose[0] < 73 and 40 < eyes[1] < 64 < mouth[1] < 100


def test_sharpness_falls_when_the_face_is_blurred_but_not_with_its_surroundings(portrait):
    blurred = cv2.GaussianBlur(portrait, (0, 0), 2)
    surroundings = blurred.copy()
    surroundings[36:112, 24:104] = portrait[36:112, 24:104]
    sharp = metrics.sharpness(portrait)
    assert metrics.sharpness(blurred) < 0.5 * sharp
    assert metrics.sharpness(surroundings) == pytest.approx(sharp)


def save_backbone(path, shapes):
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    save_file({key: torch.randn(shape) * 0.02 for key, shape in shapes.items()}, path)


def test_lpips_refuses_a_random_backbone(tmp_path, portrait):
    shapes = {}
    for layer, shape in {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3)}.items():
        shapes |= {f"features.{layer}.weight": shape, f"features.{layer}.bias": shape[:1]}
    for layer, shape in {8: (256, 384, 3, 3), 10: (256, 256, 3, 3)}.items():
        shapes |= {f"features.{layer}.weight": shape, f"features.{layer}.bias": shape[:1]}
    save_backbone(tmp_path / "random.safetensors", shapes)
    with pytest.raises(ZooError, match="not torchvision's ImageNet AlexNet"):
        metrics.lpips(portrait, portrait, tmp_path / "random.safetensors")


def test_lpips_without_a_backbone_is_a_clear_error(tmp_path, portrait):
    with pytest.raises(ZooError, match="there is no file"):
        metrics.lpips(portrait, portrait, tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"no tensors here")
    with pytest.raises(ZooError, match="damaged"):
        metrics.lpips(portrait, portrait, tmp_path / "bad.safetensors")


def test_the_lpips_package_can_be_imported():
    assert hasattr(metrics._import_lpips(), "LPIPS")


@pytest.mark.skipif(
    not BACKBONE.is_file(), reason="FACESYM_BACKBONES names no folder with the AlexNet backbone"
)
def test_lpips_of_a_known_pair():
    # LPIPS's own reference images (0.722, 0.138) are not in its package; this value is of its code.
    target = skimage_data.astronaut()[0:256, 96:352]
    blurred = cv2.GaussianBlur(target, (0, 0), 3)
    assert metrics.lpips(blurred, target, BACKBONE) == pytest.approx(0.4541, abs=2e-3)
    pair = metrics.lpips(np.stack([target, blurred]), np.stack([target, target]), BACKBONE, batch=1)
    np.testing.assert_allclose(pair, [0, 0.4541], atol=2e-3)
