"""Metrics of an output compared with its target: PSNR, SSIM, LPIPS-alex, identity, sharpness.

SSIM comes from scikit-image and LPIPS from its authors. torchmetrics is not used: its PSNR takes no mask, its SSIM pads
the borders and is lower by up to 0.02, and its LPIPS downloads a backbone (tests/test_metrics.py).

Images are uint8 RGB arrays: one HxWx3, or a batch NxHxWx3. Every metric returns one number per image: a float for
one image, an array of N for a batch. Required packages (extra ``eval``) are imported on first use.
"""

from __future__ import annotations

import importlib
import importlib.resources
import warnings
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import FacesymError, ZooError

if TYPE_CHECKING:
    import torch

SAME_PERSON = 0.6  # dlib: two descriptors closer than this count as the same person

# The face box of dlib's own detector in an aligned crop (FFHQ framing), averaged over 75 faces (standard deviation
# 0.04): x0, y0, x1, y1 as fractions of the side. It is fixed, so that artifacts in a face cannot move it.
FACE_BOX = (0.20, 0.30, 0.785, 0.885)

# Norms of the convolutions of torchvision's AlexNet, to distinguish it from other weights of the same shapes.
_ALEXNET_NORMS = {
    "features.0.weight": 17.8302,
    "features.3.weight": 26.1446,
    "features.6.weight": 28.6388,
    "features.8.weight": 26.1367,
    "features.10.weight": 20.5030,
}


def psnr(output: np.ndarray, target: np.ndarray, mask: np.ndarray | None = None) -> Any:
    """Peak signal-to-noise ratio of 8-bit images in dB; infinite for equal images.

    Args:
        output, target: …xHxWx3 uint8.
        mask: …xHxW bool; only pixels where it is True count. Empty masks give NaN.
    """
    output, target = _pair(output, target)
    square = np.square(output.astype(np.float64) - target).mean(-1)
    weight = np.ones(square.shape) if mask is None else np.broadcast_to(mask, square.shape).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = (square * weight).sum((-2, -1)) / weight.sum((-2, -1))
        return 10 * np.log10(255.0**2 / error)


def ssim(output: np.ndarray, target: np.ndarray) -> Any:
    """Structural similarity with the settings of the paper (Wang et al. 2004): a Gaussian window of sigma 1.5.

    Args:
        output, target: …xHxWx3 uint8.

    Returns:
        SSIM averaged over channels and pixels.
    """
    from skimage.metrics import structural_similarity

    output, target = _pair(output, target)
    return _each(
        lambda a, b: structural_similarity(
            a,
            b,
            channel_axis=-1,
            data_range=255,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        ),
        output,
        target,
    )


def lpips(
    output: np.ndarray,
    target: np.ndarray,
    backbone: str | Path,
    device: str | torch.device = "cpu",
    batch: int = 16,
) -> Any:
    """LPIPS 0.1 on AlexNet (Zhang et al. 2018): 0 for equal images, lower is better.

    Args:
        output, target: …xHxWx3 uint8, at least 32 pixels per side.
        backbone: safetensors file of torchvision's ImageNet AlexNet (``features.0.weight`` …). The ``lpips`` package
            contains only the heads; with another backbone the result is not LPIPS.
        device: device to run on.
        batch: number of images at a time.

    Raises:
        ZooError: the backbone is missing or is a different network.
        FacesymError: the ``lpips`` package is missing.
    """
    import torch

    output, target = _pair(output, target)
    network = _lpips_network(str(backbone), str(device))
    flat = [np.ascontiguousarray(x.reshape(-1, *x.shape[-3:])) for x in (output, target)]
    values = []
    with torch.inference_mode():
        for i in range(0, len(flat[0]), batch):
            a, b = (
                torch.from_numpy(x[i : i + batch]).to(device).permute(0, 3, 1, 2) / 127.5 - 1 for x in flat
            )
            values.append(network(a, b).flatten().double().cpu().numpy())
    return np.concatenate(values).reshape(output.shape[:-3])[()]


@lru_cache(maxsize=2)
def _lpips_network(backbone, device):
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not Path(backbone).is_file():
        raise ZooError(
            f"LPIPS needs torchvision's ImageNet AlexNet, but there is no file {backbone}: pass its path (--alexnet)"
        )
    try:
        weights = {key: value.float() for key, value in load_file(backbone).items()}
    except SafetensorError as error:
        raise ZooError(
            f"{backbone} is damaged or not a safetensors file ({error}): save torchvision's AlexNet again"
        ) from error
    for key, norm in _ALEXNET_NORMS.items():
        if key not in weights or abs(weights[key].norm().item() / norm - 1) > 0.002:
            raise ZooError(
                f"{backbone} is not torchvision's ImageNet AlexNet ({key} differs), without which LPIPS is not "
                "comparable: pass a file of its features (--alexnet)"
            )
    package = _import_lpips()
    # pnet_rand: skip torchvision's download; the random weights are replaced below.
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision warns about how lpips calls it
        network = package.LPIPS(net="alex", version="0.1", pnet_rand=True, verbose=False)
    layers = {
        key: f"slice{_slice(key)}.{key.split('.', 1)[1]}" for key in weights if key.startswith("features.")
    }
    network.net.load_state_dict({layers[key]: weights[key] for key in layers}, strict=True)
    return network.eval().requires_grad_(False).to(device)


def _slice(key):
    """Return the slice of a layer: lpips splits AlexNet's features into five slices and keeps the layer numbers."""
    return {0: 1, 3: 2, 6: 3, 8: 4, 10: 5}[int(key.split(".")[1])]


def _import_lpips():
    try:
        import_torchvision()
        import lpips as package
    except ImportError as error:
        raise FacesymError(
            f"LPIPS needs packages that are missing: pip install 'facesym[eval]' ({error})"
        ) from error
    return package


_KEPT: list[Any] = []


def import_torchvision() -> Any:
    """Import torchvision even if its operators fail to load (CPU build of torch with a CUDA build of torchvision)."""
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        import sys

        import torch

        # Remove the partial modules that the failed import leaves behind.
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _KEPT.append(library)  # the definitions live as long as this object
        import torchvision
    return torchvision


def dlib_landmarks(image: np.ndarray) -> np.ndarray:
    """Predict 68 landmarks of an aligned face with dlib.

    Args:
        image: SxSx3 uint8 in the FFHQ framing.

    Returns:
        68x2 float32 in pixels of the image.
    """
    shape = _dlib_shape(image)
    return np.array([(point.x, point.y) for point in shape.parts()], np.float32)


def identity_descriptor(images: np.ndarray) -> np.ndarray:
    """Compute dlib's face descriptor; descriptors of the same person lie within 0.6 of each other.

    For targets and outputs alike, dlib predicts 68 landmarks in the fixed box ``FACE_BOX`` and computes the descriptor
    on the chip aligned by them.

    Args:
        images: …xSxSx3 uint8 in the FFHQ framing.

    Returns:
        …x128 float64.
    """
    model = _dlib_models()[1]

    def one(image):
        return np.array(model.compute_face_descriptor(image, _dlib_shape(image)))

    return _each(one, np.ascontiguousarray(images))


def _dlib_shape(image):
    predictor, _, dlib = _dlib_models()
    height, width = image.shape[:2]
    x0, y0, x1, y1 = FACE_BOX
    box = dlib.rectangle(*(round(v) for v in (x0 * width, y0 * height, x1 * width, y1 * height)))
    return predictor(np.ascontiguousarray(image), box)


def require_dlib() -> None:
    """Raise FacesymError if dlib or its models are missing."""
    _dlib_models()


@lru_cache(maxsize=1)
def _dlib_models():
    try:
        dlib: Any = importlib.import_module("dlib")
        models = importlib.resources.files("face_recognition_models") / "models"
    except ImportError as error:
        raise FacesymError(f"dlib's models are missing: pip install 'facesym[eval]' ({error})") from error
    return (
        dlib.shape_predictor(str(models / "shape_predictor_68_face_landmarks.dat")),
        dlib.face_recognition_model_v1(str(models / "dlib_face_recognition_resnet_model_v1.dat")),
        dlib,
    )


def sharpness(images: np.ndarray) -> Any:
    """Sharpness of the inner face: standard deviation of the Laplacian of its grey values at 128x128.

    The inner face is the centre of the aligned crop (FFHQ framing) from brows to chin, without hair and background,
    whose texture would hide blurred eyes.

    Args:
        images: …xSxSx3 uint8.
    """
    x, y = slice(32, 96), slice(44, 104)
    return _each(lambda image: float(laplacian_at_128(image)[y, x].std()), np.asarray(images))


def laplacian_at_128(image: np.ndarray) -> np.ndarray:
    """Compute the Laplacian of the grey values of an HxWx3 uint8 image at 128x128: float32."""
    import cv2

    # INTER_AREA upscales in blocks, whose edges would count as detail.
    method = cv2.INTER_AREA if image.shape[0] > 128 else cv2.INTER_LINEAR
    small = cv2.resize(image, (128, 128), interpolation=method)
    return cv2.Laplacian(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32), cv2.CV_32F)


def _pair(output, target):
    output, target = np.asarray(output), np.asarray(target)
    if output.shape != target.shape or output.ndim < 3 or output.shape[-1] != 3:
        raise ValueError(
            f"expected two images of equal size (…xHxWx3), not {output.shape} and {target.shape}"
        )
    if output.dtype != np.uint8 or target.dtype != np.uint8:
        raise ValueError(f"expected 8-bit images (uint8, 0-255), not {output.dtype} and {target.dtype}")
    return output, target


def _each(measure, *batches):
    """Apply a metric of single images to each image of a batch."""
    if batches[0].ndim == 3:
        return measure(*batches)
    return np.array([measure(*images) for images in zip(*batches, strict=True)])
