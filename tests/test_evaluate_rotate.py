"""`facesym evaluate rotate` and `symgan`, on small synthetic sets and tiny random networks."""

import json

import numpy as np
import pytest
import torch

from facesym import evaluation, metrics
from facesym.evaluation import features, symgan


def test_mirror_errors_of_known_series():
    ramp = torch.linspace(-1, 1, 9)[
        :, None, None, None, None
    ]  # from a face over a symmetric one to its mirror image
    picture = torch.linspace(-1, 1, 8).expand(1, 3, 8, 8)
    own, pairs = symgan.mirror_errors(ramp * picture)
    assert own[4] == 0 and own[0] == pytest.approx(own[8]) and own[0] > own[1] > own[2] > own[3] > 0
    assert pairs == 0
    _, pairs = symgan.mirror_errors((ramp + 0.1) * picture)
    assert pairs == pytest.approx(4 * 0.01 * picture.square().mean().item(), rel=1e-4)


def test_frechet_distance_of_known_distributions():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((4000, 3))
    assert features.frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert features.frechet_distance(a, a + np.array([2, 0, 0])) == pytest.approx(4, abs=1e-6)
    assert features.frechet_distance(a, 3 * a) == pytest.approx(3 * 4, rel=0.05)  # 3 · (3 − 1)²


def test_generators_are_compared(sets, alexnet, tmp_path, capsys):
    from facesym.models import SymmetricGenerator

    models = []
    for kind in ("plain", "zprime", "flip"):
        SymmetricGenerator(kind, latent=12, first=4, widths=(16, 8, 8)).save_pretrained(tmp_path / kind)
        models.append(f"{kind}={tmp_path / kind}")
    options = [
        "symgan",
        "--faces",
        sets / "large",
        sets / "small",
        "--models",
        *models,
        "--alexnet",
        alexnet,
        "-n",
        6,
    ]
    evaluation.main([str(x) for x in [*options, "-o", tmp_path / "out"]])
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    middle = {row["row"]: row["own_mirror"][4] for row in results["results"]}
    assert middle["zprime"] < 1e-9 and middle["flip"] < 1e-9 < middle["plain"]
    assert all(np.isfinite(row["frechet"]) for row in results["results"])
    assert (tmp_path / "out" / "mirror.png").exists() and (tmp_path / "out" / "sweep-flip.png").exists()
    assert "| zprime |" in capsys.readouterr().out


def test_fits_are_measured(sets, tmp_path, capsys, monkeypatch):
    from facesym.models import SymmetricGenerator

    monkeypatch.setattr(metrics, "lpips", lambda a, b, *_: np.zeros(len(a)))
    SymmetricGenerator(latent=12, first=4, widths=(16, 8, 8, 8), yaw=True).save_pretrained(tmp_path / "net")
    options = [
        "rotate",
        "--ablation",
        "--faces",
        sets / "large",
        "--models",
        tmp_path / "net",
        "--alexnet",
        "none",
        "-n",
        2,
    ]
    evaluation.main([str(x) for x in [*options, "--steps", 3, "-o", tmp_path / "out"]])
    results = json.loads((tmp_path / "out" / "results.json").read_text())["results"]
    rows, groups = results["rows"], {row["row"]: row for row in results["groups"]}
    everyone = groups["net, set large"]
    assert everyone == rows[0] | {"row": "net, set large", "n": 2}
    assert [row["row"] for row in rows] == ["net", "net, no views", "net, no detail", "landmark warp"]
    assert rows[0]["reached"] in (0.0, 0.5, 1.0) and "reached" not in rows[-1]
    assert rows[0]["psnr_after"] > rows[0]["psnr_before"] and "psnr_after" not in rows[3]
    assert rows[3]["yaw_measured"]["-10"] < rows[3]["yaw_measured"]["10"]
    # Three steps fit nothing: the photo's own pixels are all that there is to see.
    assert rows[0]["sharpness"] > 2 * rows[2]["sharpness"]
    assert "| landmark warp |" in capsys.readouterr().out and (tmp_path / "out" / "grid.png").exists()
