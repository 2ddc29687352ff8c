"""Head pose from the features of the landmark network or from 68 landmarks."""

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

FARTHEST_YAW = 60.0  # degrees; landmarks are unreliable beyond

# A mean face at landmarks 27-47, 48, 54 (nose, eyes, mouth corners, which move least with expression). x to the
# image's right, y down, z to the viewer; unit: the distance of the eyes' centres. Our own fit to the landmarks of a few
# thousand faces of known yaw and pitch, symmetrized.
POSE_LANDMARKS = [*range(27, 48), 48, 54]
POSE_POINTS = np.array(
    [
        *[(0.0, -0.327, 0.112), (0.0, -0.145, 0.211), (0.0, 0.034, 0.321), (0.0, 0.217, 0.431)],
        *[(-0.22, 0.378, 0.169), (-0.113, 0.409, 0.212), (0.0, 0.438, 0.235)],
        *[(0.113, 0.409, 0.212), (0.22, 0.378, 0.169)],
        *[(-0.696, -0.27, -0.215), (-0.571, -0.349, -0.151), (-0.421, -0.345, -0.125)],
        *[(-0.294, -0.242, -0.117), (-0.434, -0.217, -0.129), (-0.583, -0.219, -0.155)],
        *[(0.294, -0.242, -0.117), (0.421, -0.345, -0.125), (0.571, -0.349, -0.151)],
        *[(0.696, -0.27, -0.215), (0.583, -0.219, -0.155), (0.434, -0.217, -0.129)],
        *[(-0.434, 0.748, -0.143), (0.434, 0.748, -0.143)],
    ]
)


def head_pose(landmarks: ArrayLike) -> tuple[float, float]:
    """Compute yaw and pitch in degrees by a scaled-orthographic fit of a mean face.

    Within ±60 degrees of yaw it differs from a fit of a full 3-D model by 2 degrees of yaw and 4 of pitch on average.
    The yaw of a profile is underestimated.

    Args:
        landmarks: 68x2, pixels.

    Returns:
        (yaw, pitch): yaw is negative when the nose points to the image's left, pitch when it points up.
    """
    model = POSE_POINTS - POSE_POINTS.mean(0)
    points = np.asarray(landmarks, np.float64)[POSE_LANDMARKS]
    affine = np.linalg.lstsq(model, points - points.mean(0), rcond=None)[0].T
    u, _, vt = np.linalg.svd(affine, full_matrices=False)
    x, y, z = np.cross(*(u @ vt))  # the viewing direction in the face's own axes
    return float(np.degrees(np.arcsin(np.clip(-x, -1, 1)))), float(-np.degrees(np.arctan2(y, z)))


def find_pose(crop: Image.Image) -> tuple[float, float]:
    """Predict yaw and pitch of an aligned face in degrees with the zoo's landmark network.

    The prediction is averaged over the crop and its mirror image. Unlike that of `head_pose`, this yaw is monotonic up
    to a profile.

    Args:
        crop: RGB image, a square crop in the FFHQ framing, upright.

    Returns:
        (yaw, pitch): yaw is negative when the nose points to the image's left, pitch when it points up.

    Raises:
        ZooError: the zoo's landmark network is unavailable.
    """
    from .landmarks import predict

    return _both_ways(predict([crop], points=False)[1])


def find_points_and_pose(crop: Image.Image) -> tuple[np.ndarray, tuple[float, float]]:
    """Predict landmarks and pose of a crop in one pass; see `facesym.faces.landmarks.find_points` and `find_pose`.

    Args:
        crop: RGB image, a square crop in the FFHQ framing, upright.

    Returns:
        68x2 float32, pixels of the crop; and (yaw, pitch).

    Raises:
        ZooError: the zoo's landmark network is unavailable.
    """
    from .landmarks import both_ways, predict, to_pixels

    landmarks, pose = predict([crop])
    return to_pixels(both_ways(landmarks)[0], crop.width), _both_ways(pose)


def _both_ways(pose):
    """Average the pose of an image and of its mirror image: 2x2 to (yaw, pitch)."""
    plain, mirrored = pose.tolist()
    return (plain[0] - mirrored[0]) / 2, (plain[1] + mirrored[1]) / 2
