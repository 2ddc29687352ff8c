"""`facesym evaluate complete`, and what all tasks share, on small synthetic sets and a tiny random network."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import numpy as np
import pytest
import torch
from PIL import Image
from symmetric import face

from facesym import evaluation, metrics, zoo
from facesym.data.occluders import draw_occluders
from facesym.errors import FacesymError, ImageError
from facesym.evaluation import complete, fills
from facesym.evaluation import data as chosen
from facesym.evaluation.groups import group_gains, groups
from facesym.evaluation.masks import irregular_masks
from facesym.evaluation.tables import mean_row, zoo_metrics
from facesym.faces.landmarks import find_points

pytestmark = pytest.mark.usefixtures("quick_descriptor")


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    from facesym.models import SymmFCNet

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    SymmFCNet.preset("tiny").save_pretrained(folder)
    return folder


def run(sets, out, *more):
    command = [
        "complete",
        "--faces",
        str(sets / "large"),
        str(sets / "small"),
        "--masks",
        str(sets / "masks"),
    ]
    evaluation.main([*command, "-o", str(out), *map(str, more)])
    return json.loads((out / "results.json").read_text())


def test_the_whole_protocol(sets, model_folder, tmp_path, capsys):
    out = tmp_path / "out"
    results = run(sets, out, "--size", 64, "--models", model_folder, "--grid", 2)
    settings = results["settings"]
    assert settings["pictures"] == 5 and settings["sets"] == {"large": 3, "small": 2}  # test split only
    for kind in ("irregular", "centre", "one eye", "one half", "one side", "eyewear"):
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
        assert groups.get("tiny, dark skin", 0) + groups.get("tiny, light skin", 0) <= 5
        with Image.open(out / f"grid-{kind}.png") as grid:
            assert grid.size == (6 * 64, 2 * 64 + 24)
    assert results["results"]["centre"]["rows"][0]["mask_fraction"] == pytest.approx(0.375**2)
    assert results["results"]["irregular"]["rows"][0]["mask_fraction"] < 0.35  # the mask of 90 % is left out
    with open(out / "pictures.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 5 * 6 * 6
    printed = capsys.readouterr().out
    assert (
        "| Telea | 14.1% |" in printed and "tiny: " in printed and "against the best classical row" in printed
    )


def test_the_same_command_gives_the_same_files(sets, model_folder, tmp_path):
    for out in ("one", "two"):
        run(sets, tmp_path / out, "--size", 64, "--models", model_folder, "-n", 2)
    for name in ("results.json", "pictures.csv", "grid-irregular.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_infinite_measures_do_not_count():
    """The PSNR of an image that a method restores exactly."""
    psnr = {"input": [20.0, 20, 20], "Telea": [30.0, np.inf, 32], "model": [33.0, 34, 36]}
    values = {name: {"psnr": np.array(each), "same_person": np.ones(3)} for name, each in psnr.items()}
    assert mean_row("Telea", values["Telea"] | {"lpips": np.full(3, np.nan)}) == {
        "row": "Telea", "psnr": 31, "same_person": 1
    }  # fmt: skip
    members = {"all": np.ones(3, bool), "exact": np.array([False, True, False])}
    whole, exact = group_gains(members, values, ["input", "Telea"])
    assert whole["gain"] == 3.5 and "gain" not in exact


def test_results_are_written_into_the_zoo(sets, model_folder, tmp_path, monkeypatch):
    entries = zoo.ZOO_FILE.read_text()
    monkeypatch.setattr(zoo, "ZOO_FILE", tmp_path / "zoo.json")
    zoo.ZOO_FILE.write_text(entries)
    before = {entry["id"]: entry["metrics"] for entry in zoo.list_models()}
    with pytest.raises(FacesymError, match="no model"):
        run(sets, tmp_path, "--size", 64, "--zoo", "nothing")
    run(sets, tmp_path, "--size", 64, "--models", f"symmfc-256={model_folder}", "-n", 2, "--zoo", "complete")
    after = {entry["id"]: entry["metrics"] for entry in zoo.list_models()}
    assert [id for id in after if after[id] != before[id]] == ["symmfc-256"]
    now = after["symmfc-256"]
    assert [each["data"].split("mask: ")[1] for each in now][:2] == ["irregular", "centre"]
    assert now[0]["values"]["Telea"].keys() >= {"psnr", "ssim", "same_person"}
    assert zoo_metrics("faces", "", [{"row": "a", "n": 3, "yaw": {"20": 0.12345}}])["values"] == {
        "a": {"yaw_20": 0.123}
    }
    schema = json.loads((Path(__file__).parents[1] / "zoo.schema.json").read_text())
    jsonschema.validate(json.loads(zoo.ZOO_FILE.read_text()), schema)


def test_small_pictures_are_not_enlarged(sets):
    rows = chosen.select_pictures([sets / "large", sets / "small"], 128, 100, seed=0)
    assert {row["set"] for row in rows} == {"large"}
    with pytest.raises(ImageError, match="at least 256"):
        chosen.select_pictures([sets / "large"], 256, 100, seed=0)


def test_fewer_pictures_are_the_first_of_more_and_keep_their_masks(sets):
    folders = [sets / "large", sets / "small"]
    many, few = (chosen.select_pictures(folders, 64, count, seed=0) for count in (5, 2))
    assert many[:2] == few
    masks = [irregular_masks(sets / "masks", rows, 64, 0.5, seed=0) for rows in (many, few)]
    np.testing.assert_array_equal(masks[0][:2], masks[1])


def test_landmarks_follow_the_picture_when_it_is_made_smaller(sets):
    rows = chosen.select_pictures([sets / "large"], 64, 1, seed=0)
    _, half = chosen.load_pictures(rows, 64)
    _, full = chosen.load_pictures(rows, 128)
    np.testing.assert_allclose(half * 2, full, atol=0.51)


def test_missing_data_is_a_clear_error(sets, tmp_path, capsys):
    with pytest.raises(FacesymError, match="has no metadata"):
        run(sets, tmp_path, "--size", 64, "--masks", tmp_path)
    (tmp_path / "metadata.csv").write_text("file_name,hole_share,split\n0.png,0.2,train\n")
    with pytest.raises(FacesymError, match=r"test split.*draw more with `facesym prepare"):
        irregular_masks(tmp_path, [], 64, 0.5, seed=0)
    with pytest.raises(FacesymError, match="there is no file"):
        run(sets, tmp_path, "--size", 64, "--alexnet", tmp_path / "none.safetensors")
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


def test_missing_packages_are_named_with_their_extra(monkeypatch, sets, tmp_path):
    absent = ("lpips", "dlib")
    monkeypatch.setattr("facesym.packages.find_spec", lambda name: None if name in absent else name)
    with pytest.raises(FacesymError, match=r"dlib, lpips.*pip install 'facesym\[eval\]'"):
        evaluation.main(["asymmetry", "--faces", str(sets / "large"), "-o", str(tmp_path)])


def test_the_command_names_itself_and_its_tasks(capsys):
    with pytest.raises(SystemExit):
        evaluation.main(["--help"])
    text = capsys.readouterr().out
    assert text.startswith("usage: facesym evaluate") and all(task in text for task in evaluation.TASKS)


def test_few_images_are_told():
    from facesym.evaluation.data import count_images

    assert (
        count_images(4, 2) == "4 images of 2 people (too few images for reliable figures: use at least 100)"
    )
    assert count_images(400, None) == "400 images of unknown people"


def test_groups_follow_ratings_of_skin_and_find_eyewear(crop):
    bare, points = np.asarray(crop), find_points(crop)
    worn, _ = draw_occluders(np.random.default_rng(0), bare, points, "sunglasses")
    rows = [{"set": "a", "skin": "80"}, {"set": "a", "skin": "10"}, {"set": "b"}, {"set": "b"}]
    found = groups(rows, np.stack([bare, bare, bare // 3, worn]), np.stack([points] * 4))
    assert found["glasses or sunglasses"].tolist() == [False, False, False, True]
    assert found["dark skin"].tolist()[:3] == [True, False, True]
    assert found["light skin"].tolist()[:3] == [False, True, False]
    assert found["set b"].tolist() == [False, False, True, True]
