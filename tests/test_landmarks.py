"""The landmark network's training samples."""

from types import SimpleNamespace

import numpy as np
import pytest
from training import template

from train.landmarks import by_yaw, move_feature

PARTS = {
    "left brow": range(17, 22),
    "right brow": range(22, 27),
    "nose": range(29, 36),
    "mouth": range(48, 68),
    "chin": range(4, 13),
}


@pytest.mark.parametrize("seed", range(12))
def test_one_feature_moves_and_the_pixels_follow(seed):
    points = 64 + 0.65 * (template(128) - 64)
    y, x = np.mgrid[:128, :128].astype(np.float32)
    image = np.stack([2 * x, 2 * y, x + y], 2).astype(np.uint8)  # a pixel's colour says where it comes from
    warped, moved = move_feature(np.random.default_rng(seed), image, points)
    shift = moved - points
    (part,) = [name for name, indices in PARTS.items() if np.abs(np.delete(shift, indices, 0)).max() < 1e-9]
    unit = np.linalg.norm(points[42:48].mean(0) - points[36:42].mean(0))
    assert 0 < np.abs(shift).max() <= 0.18 * unit + 1e-9
    inside = ((moved > 1) & (moved < 126)).all(1)
    rows, columns = np.rint(moved[inside][:, ::-1]).astype(int).T
    assert np.abs(warped[rows, columns, :2] / 2 - points[inside]).max() < 2.5, part


def test_errors_are_averaged_by_yaw_or_over_all_where_it_is_unknown():
    error = np.array([0.01, 0.03, 0.05])
    known = SimpleNamespace(rows=[{"yaw": "-10"}, {"yaw": "20"}, {}])
    table = by_yaw(known, error)
    assert {band: row["error_percent"] for band, row in table.items()} == {"0-15": 1, "15-30": 3, "0-30": 2}
    assert by_yaw(SimpleNamespace(rows=[{}, {"yaw": ""}, {}]), error) == {
        "all": {"n": 3, "error_percent": 3.0}
    }


def test_every_feature_moves_at_times():
    points = 64 + 0.65 * (template(128) - 64)
    image = np.zeros((128, 128, 3), np.uint8)
    rng = np.random.default_rng(0)
    moved = np.any([move_feature(rng, image, points)[1] != points for _ in range(60)], (0, 2))
    assert moved[[k for indices in PARTS.values() for k in indices]].all() and not moved[36:48].any()
