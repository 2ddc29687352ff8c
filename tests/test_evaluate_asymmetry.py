"""`facesym evaluate` for identity, symmetry and measures of asymmetry, on small synthetic sets."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from symmetric import face, write_set

from facesym import evaluation
from facesym.errors import ImageError
from facesym.evaluation import asymmetry, identity, reference, symmetrize
from facesym.study.measures import MEASURES


def test_verification_pairs_are_balanced_and_counted_right():
    people = ["a"] * 5 + ["b"] * 2 + ["c"]
    same, different = identity.choose_pairs(people, 100, seed=0)
    assert len(same) == len(different) == 11
    assert all(people[i] == people[j] for i, j in same) and all(people[i] != people[j] for i, j in different)
    with pytest.raises(ImageError, match="10 pairs"):
        identity.choose_pairs(["a", "b"], 10, seed=0)
    rng = np.random.default_rng(0)
    near, far = rng.uniform(0, 1, 200), rng.uniform(2, 3, 200)
    accuracy, _, auc = identity.accuracy_and_auc(near, far)
    assert accuracy > 0.98 and auc == 1
    accuracy, _, auc = identity.accuracy_and_auc(near, rng.uniform(0, 1, 200))
    assert 0.35 < accuracy < 0.65 and 0.4 < auc < 0.6
    assert identity.accuracy_and_auc(far, near)[2] == 0


def test_verification_beside_dlib(tmp_path, capsys):
    from facesym.models import LightCNN

    write_set(tmp_path / "set", 128, 11)
    text = (tmp_path / "set" / "metadata.csv").read_text()
    for i in range(10, 0, -1):
        text = text.replace(f"person {i}", f"person {'ab'[i % 2]}")
    (tmp_path / "set" / "metadata.csv").write_text(text)
    LightCNN(widths=(4, 8, 8, 8), blocks=(0, 0, 0, 0)).save_pretrained(tmp_path / "net")
    evaluation.main(
        [
            "identity",
            "--faces",
            str(tmp_path / "set"),
            "--models",
            str(tmp_path / "net"),
            "-o",
            str(tmp_path / "out"),
        ]
    )
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert set(results["results"]) == {"dlib", "net"} and results["settings"]["pairs"] == 40
    assert "| dlib |" in capsys.readouterr().out


def test_table_one(sets, tmp_path, capsys):
    from facesym.models import SymmetrizerVAE

    torch.manual_seed(0)
    SymmetrizerVAE(widths=(8, 8, 16), latent=4, input_size=128).save_pretrained(tmp_path / "net")
    command = ["--faces", str(sets / "large"), "--size", "128", "-n", "2"]
    out = tmp_path / "out"
    evaluation.main(
        ["symmetrize", *command, "--models", str(tmp_path / "net"), "-o", str(out), "--grid", "1"]
    )
    table = json.loads((out / "results.json").read_text())["results"]["simulated palsy"]
    rows = {row["row"]: row for row in table["rows"]}
    assert table["pictures"] == 2 and (out / "grid-simulated-palsy.png").exists()
    assert list(rows) == ["mirror, left", "mirror, right", "mirror, average", "landmark target, left", "net"]
    assert rows["mirror, average"]["landmarks"] < 0.05 and rows["net"]["mae"] > 0
    assert "lpips" not in rows["net"]  # never printed without its backbone


def test_reliability_of_the_measures_of_asymmetry(sets, tmp_path, capsys):
    evaluation.main(["asymmetry", "--faces", str(sets / "large"), "-n", "1", "-o", str(tmp_path)])
    assert "| commissure_height |" in capsys.readouterr().out
    results = json.loads((tmp_path / "results.json").read_text())["results"]
    # These exactly symmetric faces are the same mirrored, tilted, shifted, compressed.
    assert set(results["repeats"]) >= {"mirrored", "half the size", "tilted by 20°", "shifted by 3 %"}
    assert all(change["commissure_height"] < 0.02 for change in results["repeats"].values())
    palsy = results["palsy"]["commissure_height"]
    assert (
        palsy["grows"] == 1
        and palsy["correlation"] > 0.95
        and len(palsy["means"]) == len(asymmetry.STRENGTHS)
    )
    assert set(results["acts"]) == set(asymmetry.ACTS) and results["persons"] == {}
    assert all(set(each) == {"region", "side", "change"} for each in results["acts"].values())
    with Image.open(tmp_path / "palsy.png") as plot:
        assert plot.width > 600


def test_a_healthy_range_needs_faces(sets, tmp_path):
    with pytest.raises(ImageError, match="20 are needed"):
        evaluation.main(["reference", "--faces", str(sets / "large"), "-o", str(tmp_path)])


def test_reliability_needs_landmarks(sets, tmp_path):
    with pytest.raises(ImageError, match="prepare the folder again"):
        asymmetry._resting([tmp_path], 0)


def test_a_regions_largest_difference_is_in_limits_of_its_measures():
    rng = np.random.default_rng(0)
    values = {measure.key: rng.normal(0, scale, 500) for scale, measure in enumerate(MEASURES, 1)}
    values = {key: np.concatenate([each, -each]).tolist() for key, each in values.items()}
    found = reference.largest_differences(values)
    assert np.mean(np.array(found["brow_largest"]) <= 1) == pytest.approx(0.95, abs=0.01)  # one measure
    assert np.mean(np.array(found["mouth_largest"]) <= 1) < 0.85  # five
    assert len(found["eye_largest"]) == 1000


def test_a_pout_is_pursed_and_pushed_to_its_side():
    picture, points = face(128)
    unit = np.linalg.norm(points[42:48].mean(0) - points[36:42].mean(0))
    shifts = np.array([asymmetry.ACTS["pout"][1][k] for k in range(48, 68)])
    moved = points[48:68] + unit * shifts
    assert np.ptp(moved[:, 0]) < np.ptp(points[48:68, 0])
    assert (moved[:, 0] - points[48:68, 0]).mean() == pytest.approx(-0.08 * unit)
    left, right = (asymmetry.act(picture, points, "pout", side) for side in ("left", "right"))
    assert (left != picture).any() and (left != right).any()


def test_errors_and_changes_come_from_pairs():
    found = asymmetry._reliability([[1.0, 1.2], [3.0, 2.8]])
    assert found["error"] == pytest.approx(0.2 / np.sqrt(2))
    assert found["smallest_change"] == pytest.approx(1.96 * 0.2) and found["between_people"] == pytest.approx(
        0.9
    )


def test_a_symmetric_picture_has_symmetric_landmarks():
    picture, _ = face(128)
    skewed = np.roll(picture, 3, axis=1).copy()
    skewed[:, :64] = np.roll(skewed[:, :64], 4, axis=0)
    assert symmetrize.landmark_residual(picture) < symmetrize.landmark_residual(skewed)
