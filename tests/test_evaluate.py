"""`facesym evaluate` and train/benchmark.py, on small synthetic sets and a tiny random network."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as skimage_data

import facesym
from facesym import evaluation, metrics
from facesym.errors import FacesymError, ImageError
from facesym.evaluation import asymmetry, complete, features, fills, identity, symgan, symmetrize
from facesym.evaluation import data as chosen
from facesym.evaluation.masks import irregular_masks
from facesym.faces.geometry import flip_landmarks
from train import benchmark, stages
from train.peers import LaMa, StarGAN


def face(size):
    """An exactly symmetric face and its landmarks: the astronaut's, made symmetric."""
    photo = Image.fromarray(skimage_data.astronaut()).crop((140, 15, 310, 185))
    pixels = np.asarray(photo.resize((size, size), Image.Resampling.LANCZOS)).copy()
    pixels[:, size // 2 :] = pixels[:, : size // 2][:, ::-1]
    points = metrics.dlib_landmarks(pixels)
    return pixels, (points + flip_landmarks(points, size)) / 2


def write_set(folder, size, count):
    folder.mkdir(parents=True)
    pixels, points = face(size)
    with open(folder / "metadata.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "subject", "split", "yaw"])
        for i in range(count):
            shaded = np.clip(pixels * (0.6 + 0.1 * i), 0, 255).astype(np.uint8)
            Image.fromarray(shaded).save(folder / f"{i}.webp", lossless=True)
            writer.writerow([f"{i}.webp", f"person {i}", "train" if i == 0 else "test", 0])
    np.save(folder / "landmarks.npy", np.stack([points] * count).astype(np.float32))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_set(root / "large", 128, 4)
    write_set(root / "small", 64, 3)
    (root / "masks").mkdir()
    shares = {"a": 0.1, "b": 0.3, "c": 0.9}
    with open(root / "masks" / "metadata.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "hole_share", "split"])
        for name, share in shares.items():
            mask = np.zeros((64, 64), np.uint8)
            mask[: round(64 * share)] = 255
            Image.fromarray(mask).save(root / "masks" / f"{name}.png")
            writer.writerow([f"{name}.png", share, "test"])
        writer.writerow(["gone.png", 0.2, "train"])
    return root


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    from facesym.models import SymmFCNet

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    SymmFCNet.preset("tiny").save_pretrained(folder)
    return folder


def run(data, out, *more):
    command = [
        "complete",
        "--faces",
        str(data / "large"),
        str(data / "small"),
        "--masks",
        str(data / "masks"),
    ]
    evaluation.main([*command, "-o", str(out), *map(str, more)])
    return json.loads((out / "results.json").read_text())


def test_the_whole_protocol(data, model_folder, tmp_path, capsys):
    out = tmp_path / "out"
    results = run(data, out, "--size", 64, "--models", model_folder, "--grid", 2)
    settings = results["settings"]
    assert settings["pictures"] == 5 and settings["sets"] == {"large": 3, "small": 2}  # test split only
    for kind in ("irregular", "centre", "one eye", "one half"):
        rows = {row["row"]: row for row in results["results"][kind]["rows"]}
        assert list(rows) == [
            "input",
            "Telea",
            "Navier-Stokes",
            "mirror + Telea",
            "tiny",
            "tiny, network alone",
        ]
        assert rows["Telea"]["ssim"] > rows["input"]["ssim"]
        for row in rows.values():
            assert row["psnr_in_mask"] < row["psnr"] and 0 < row["ssim"] < 1 and 0 <= row["same_person"] <= 1
            assert "lpips" not in row  # never printed without its backbone
        assert 0 <= rows["tiny, network alone"]["stage1_fraction_of_mask"] <= 1
        assert "stage1_fraction_of_mask" not in rows["Telea"]
        groups = {row["row"]: row["n"] for row in results["results"][kind]["groups"]}
        assert groups["tiny, set large"] + groups["tiny, set small"] == 5
        with Image.open(out / f"grid-{kind}.png") as grid:
            assert grid.size == (6 * 64, 2 * 64 + 24)
    assert results["results"]["centre"]["rows"][0]["mask_fraction"] == pytest.approx(0.375**2)
    assert results["results"]["irregular"]["rows"][0]["mask_fraction"] < 0.35  # the mask of 90 % is left out
    with open(out / "pictures.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 4 * 6 * 5
    printed = capsys.readouterr().out
    assert (
        "| Telea | 14.1% |" in printed and "tiny: " in printed and "against the best classical row" in printed
    )


def test_the_same_command_gives_the_same_files(data, model_folder, tmp_path):
    for out in ("one", "two"):
        run(data, tmp_path / out, "--size", 64, "--models", model_folder, "-n", 2)
    for name in ("results.json", "pictures.csv", "grid-irregular.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_small_pictures_are_not_enlarged(data):
    rows = chosen.select_pictures([data / "large", data / "small"], 128, 100, seed=0)
    assert {row["set"] for row in rows} == {"large"}
    with pytest.raises(ImageError, match="at least 256"):
        chosen.select_pictures([data / "large"], 256, 100, seed=0)


def test_fewer_pictures_are_the_first_of_more_and_keep_their_masks(data):
    folders = [data / "large", data / "small"]
    many, few = (chosen.select_pictures(folders, 64, count, seed=0) for count in (5, 2))
    assert many[:2] == few
    masks = [irregular_masks(data / "masks", rows, 64, 0.5, seed=0) for rows in (many, few)]
    np.testing.assert_array_equal(masks[0][:2], masks[1])


def test_landmarks_follow_the_picture_when_it_is_made_smaller(data):
    rows = chosen.select_pictures([data / "large"], 64, 1, seed=0)
    _, half = chosen.load_pictures(rows, 64)
    _, full = chosen.load_pictures(rows, 128)
    np.testing.assert_allclose(half * 2, full, atol=0.51)


def test_missing_data_is_a_clear_error(data, tmp_path, capsys):
    with pytest.raises(FacesymError, match="has no metadata"):
        run(data, tmp_path, "--size", 64, "--masks", tmp_path)
    with pytest.raises(FacesymError, match="there is no file"):
        run(data, tmp_path, "--size", 64, "--alexnet", tmp_path / "none.safetensors")
    assert not (tmp_path / "results.json").exists()


def test_chance_level_counts_pairs_of_different_people_only():
    descriptors = np.array([[0.0], [0.1], [0.5], [2.0]])
    assert complete.chance_level(descriptors, ["a", "a", "b", "c"]) == pytest.approx(2 / 5)
    assert complete.chance_level(descriptors[:2], ["a", "a"]) is None


@pytest.mark.parametrize("name", list(fills.CLASSICAL))
def test_classical_rows_leave_known_pixels_alone(name):
    picture, points = face(64)
    mask = np.zeros((64, 64), bool)
    mask[20:50, 10:34] = True
    filled = fills.CLASSICAL[name](np.where(mask[..., None], np.uint8(127), picture), mask, points)
    np.testing.assert_array_equal(filled[~mask], picture[~mask])


def test_the_mirror_row_restores_half_of_a_symmetric_face():
    picture, points = face(128)
    mask = np.zeros((128, 128), bool)
    mask[45:105, 20:64] = True  # one eye, half the nose and the mouth
    grey = np.where(mask[..., None], np.uint8(127), picture)
    scores = {
        name: metrics.psnr(fills.CLASSICAL[name](grey, mask, points), picture, mask)
        for name in ("Telea", "mirror + Telea")
    }
    assert scores["mirror + Telea"] > scores["Telea"] + 3


def test_the_mirror_row_copies_nothing_that_is_hidden_too():
    picture, points = face(128)
    mask = np.zeros((128, 128), bool)
    mask[40:80, 24:104] = True  # both eyes
    results = []
    for hidden in (0, 255):  # whatever is under the mask must not show
        results.append(fills.fill_mirror(np.where(mask[..., None], np.uint8(hidden), picture), mask, points))
    assert np.abs(results[0].astype(int) - results[1]).max() <= 1


class Echo(torch.nn.Module):
    """Returns what it was shown, brighter: reveals what the evaluation shows to a network and keeps of it."""

    def forward(self, image, mask):
        self.seen = image, mask
        return SimpleNamespace(completed=image + 0.5, half_mask=1 - 0.25 * (1 - mask))


def test_a_network_does_not_see_the_hole_nor_change_the_rest():
    picture, _ = face(64)
    masks = np.zeros((3, 64, 64), bool)
    masks[:, 10:30, 20:40] = True
    network = Echo()
    results, filled = complete.complete_with(network, np.stack([picture] * 3), masks, batch=2)
    image, mask = network.seen
    assert mask[0, 0, 15, 25] == 0 and mask[0, 0, 0, 0] == 1
    assert (image[:, :, 10:30, 20:40] == 0).all()
    np.testing.assert_array_equal(results[~masks], np.stack([picture] * 3)[~masks])
    assert (results[masks] == round((0.5 + 1) * 127.5)).all()
    np.testing.assert_allclose(filled, 0.25)


def test_a_network_for_larger_pictures_gets_them_larger_and_without_the_hole():
    picture, _ = face(64)
    masks = np.zeros((1, 64, 64), bool)
    masks[:, 10:30, 20:40] = True
    network, seen = Echo(), []
    network.config = SimpleNamespace(input_size=128)
    for hidden in (0, 255):
        shown = np.where(masks[..., None], np.uint8(hidden), picture[None])
        results, _ = complete.complete_with(network, shown, masks)
        seen.append(network.seen[0])
        np.testing.assert_array_equal(results[~masks], shown[~masks])
    assert seen[0].shape == (1, 3, 128, 128) and torch.equal(*seen)
    assert network.seen[1][0, 0, 20:60, 40:80].max() == 0 and network.seen[1].mean() == 1 - 400 / 64**2


@pytest.mark.parametrize("count", [300_000, 5_900_000, 12_000_000])
def test_the_yardstick_has_the_size_of_the_model(count):
    assert abs(benchmark.parameters(benchmark.unet_of_size(count)) / count - 1) < 0.05


def test_the_benchmark_times_both_networks(model_folder, capsys):
    threads = torch.get_num_threads()
    try:
        benchmark.main(
            [
                "complete",
                "--model",
                str(model_folder),
                "--size",
                "64",
                "--runs",
                "3",
                "--threads",
                "1",
                "--json",
            ]
        )
    finally:
        torch.set_num_threads(threads)
    report = json.loads(capsys.readouterr().out)
    model, texture, unet = report["rows"]
    assert texture["row"] == benchmark.TEXTURE and texture["median_ms"] > 0 == texture["parameters"]
    assert model["median_ms"] > 0 and unet["row"] == "plain U-Net" and report["settings"]["threads"] == 1
    assert abs(unet["parameters"] / model["parameters"] - 1) < 0.05


def test_symmetric_kernels_are_timed_beside_plain_ones(capsys):
    threads = torch.get_num_threads()
    try:
        benchmark.main(["layers", "--size", "64", "--runs", "1", "--threads", "1"])
    finally:
        torch.set_num_threads(threads)
    assert "| symmetric kernels | " in capsys.readouterr().out


def test_stages_add_up_and_nested_calls_count_once(tiny_model):
    clock = stages.Clock()
    with clock.stage("outer"), clock.stage("inner"):
        sum(range(300_000))
    assert clock.spent["inner"][0] > 10 * clock.spent["outer"][0] >= 0
    pipe = facesym.load(tiny_model)
    rows = stages.by_stage({"complete": pipe}, 0.1, 1)
    assert list(rows["complete"]) == [*stages.STAGES, "rest"] and rows["complete"]["detect"] > 1
    row = {"cpu_ms": 2.0, "p50_ms": 3.0, "p95_ms": 4.0}
    report = {
        "peers": {"LaMa": row | {"parameters": 27e6}},
        "tasks": {"complete": row},
        "stages": {"3 MP": rows},
    }
    assert "| complete |  | 2.0 | 3.0 | 4.0 | 1.00 | 1.00 | 0.25 |" in stages.table(report)


@pytest.mark.parametrize(("net", "millions", "channels"), [(LaMa, 27.0, 4), (StarGAN, 8.4, 8)])
def test_peers_have_the_published_sizes(net, millions, channels):
    net = net().eval()
    assert benchmark.parameters(net) / 1e6 == pytest.approx(millions, abs=0.06)
    with torch.inference_mode():
        assert net(torch.rand(1, channels, 64, 64)).shape == (1, 3, 64, 64)


# --- identity and symmetry ------------------------------------------------------------------------------------------
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


def test_table_one(data, tmp_path, capsys):
    from facesym.models import SymmetrizerVAE

    torch.manual_seed(0)
    SymmetrizerVAE(widths=(8, 8, 16), latent=4, input_size=128).save_pretrained(tmp_path / "net")
    command = ["--faces", str(data / "large"), "--size", "128", "-n", "2"]
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


def test_reliability_of_the_measures_of_asymmetry(data, tmp_path, capsys):
    evaluation.main(["asymmetry", "--faces", str(data / "large"), "-n", "1", "-o", str(tmp_path)])
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
    with Image.open(tmp_path / "palsy.png") as plot:
        assert plot.width > 600


def test_a_healthy_range_needs_faces(data, tmp_path):
    with pytest.raises(ImageError, match="20 are needed"):
        evaluation.main(["reference", "--faces", str(data / "large"), "-o", str(tmp_path)])


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


# --- rotate


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


def test_generators_are_compared(data, alexnet, tmp_path, capsys):
    from facesym.models import SymmetricGenerator

    models = []
    for kind in ("plain", "zprime", "flip"):
        SymmetricGenerator(kind, latent=12, first=4, widths=(16, 8, 8)).save_pretrained(tmp_path / kind)
        models.append(f"{kind}={tmp_path / kind}")
    options = [
        "symgan",
        "--faces",
        data / "large",
        data / "small",
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


def test_fits_are_measured(data, tmp_path, capsys, monkeypatch):
    from facesym.models import SymmetricGenerator

    monkeypatch.setattr(metrics, "lpips", lambda a, b, *_: np.zeros(len(a)))
    SymmetricGenerator(latent=12, first=4, widths=(16, 8, 8, 8), yaw=True).save_pretrained(tmp_path / "net")
    options = [
        "rotate",
        "--faces",
        data / "large",
        "--models",
        tmp_path / "net",
        "--alexnet",
        "none",
        "-n",
        2,
    ]
    evaluation.main([str(x) for x in [*options, "--steps", 3, "-o", tmp_path / "out"]])
    rows = json.loads((tmp_path / "out" / "results.json").read_text())["results"]
    assert [row["row"] for row in rows] == ["net", "net, no views", "net, no detail", "landmark warp"]
    assert rows[0]["psnr_after"] > rows[0]["psnr_before"] and "psnr_after" not in rows[3]
    assert rows[3]["yaw_measured"]["-10"] < rows[3]["yaw_measured"]["10"]
    # Three steps fit nothing: the photo's own pixels are all that there is to see.
    assert rows[0]["sharpness"] > 2 * rows[2]["sharpness"]
    assert "| landmark warp |" in capsys.readouterr().out and (tmp_path / "out" / "grid.png").exists()


def test_missing_packages_are_named_with_their_extra(monkeypatch, data, tmp_path):
    absent = ("lpips", "dlib")
    monkeypatch.setattr("facesym.packages.find_spec", lambda name: None if name in absent else name)
    with pytest.raises(FacesymError, match=r"dlib, lpips.*pip install 'facesym\[eval\]'"):
        evaluation.main(["asymmetry", "--faces", str(data / "large"), "-o", str(tmp_path)])


def test_the_command_names_itself_and_its_tasks(capsys):
    with pytest.raises(SystemExit):
        evaluation.main(["--help"])
    text = capsys.readouterr().out
    assert text.startswith("usage: facesym evaluate") and all(task in text for task in evaluation.TASKS)
