"""The refinement of mouths: crops, the network, its training samples, and transfer."""

import re

import numpy as np
import pytest
import torch
from PIL import Image
from training import draw_face, make_faces, template

import facesym
from facesym.data.faces import FaceFolders
from facesym.evaluation import strengths
from facesym.evaluation.smiles import detail, measure_smiles, mouths, smile_pairs
from facesym.faces import mouth
from facesym.faces.align import align_face, ffhq_transform
from facesym.faces.detect import detect_faces
from facesym.faces.landmarks import find_points
from facesym.faces.mouth import (
    cut_mouth,
    darken_opening,
    mouth_box,
    mouth_shape,
    refine_mouth,
    shade_teeth,
    shows_expression,
)
from facesym.models import AttributeGenerator, MouthRefiner
from facesym.pipelines.neutral import neutral_mouth
from train.expression import NAMES
from train.expression import main as fit_expression
from train.mouth import Discriminator, MouthSamples, blurred_mouth, make_mouths, refiner_terms


def test_the_box_is_square_around_the_mouth_and_within_the_image():
    points = template(256)
    x, y, side = mouth_box(points, 256)
    low, high = points[48:].min(0), points[48:].max(0)
    assert abs(x + side / 2 - (low + high + 1)[0] / 2) <= 1 and side == round(1.7 * (high - low).max())
    for shift in ((-300, 0), (0, 300), (120, 120)):
        x, y, side = mouth_box(points + shift, 256)
        assert min(x, y) >= 0 and max(x, y) + side <= 256
    image = np.arange(256 * 256 * 3, dtype=np.uint32).reshape(256, 256, 3).astype(np.uint8)
    assert (cut_mouth(image, (10, 20, 64), 64) == image[20:84, 10:74]).all()


def test_an_untrained_network_changes_nothing_and_a_trained_one_nothing_at_the_border():
    net = MouthRefiner(widths=(4, 8), blocks=1, input_size=32).eval()
    image = torch.rand(2, 3, 32, 32) * 2 - 1
    assert torch.equal(net(image), image)
    torch.nn.init.normal_(net.out[0].weight)
    off = (net(image) - image).abs().mean((0, 1))
    assert off[12:20, 12:20].mean() > 5 * off[0].mean() and off[12:20, 12:20].mean() > 5 * off[:, -1].mean()
    with pytest.raises(ValueError, match="multiple of 4"):
        MouthRefiner(widths=(4, 8), input_size=30)


def open_mouth(gap):
    points = template(256)
    points[[61, 62, 63], 1] = points[60:68, 1].mean() - gap / 2
    points[[65, 66, 67], 1] = points[60:68, 1].mean() + gap / 2
    return points


def test_the_inside_of_an_open_mouth_darkens_below_the_teeth():
    image, points = np.full((256, 256, 3), 150, np.uint8), open_mouth(24)
    dark = darken_opening(image, points)
    x, y = np.round(points[60:68].mean(0)).astype(int)
    down = dark[y - 16 : y + 17, x, 0].astype(int)
    assert down[16] < 90 and (dark[y, x] < image[y, x] * 0.6).all()
    assert down[6] > 130 and (down[[0, -1]] == 150).all(), "teeth and lips stay light"
    assert (dark[:, : int(points[60, 0]) - 1] == 150).all() and (dark[: y - 14] == 150).all()
    assert darken_opening(np.full_like(image, 20), points).min() == 20, "what is dark stays"


@pytest.mark.parametrize("face", [60, 120, 200])
def test_teeth_have_the_light_of_the_face(face):
    """White teeth become little lighter than the cheeks, dark lines between them stay, and skin does not change."""
    image, points = np.full((256, 256, 3), face, np.uint8), open_mouth(30)
    x, y = np.round(points[60:68].mean(0)).astype(int)
    inside = (slice(y - 10, y + 11), slice(x - 20, x + 21))
    image[inside] = 250
    image[y - 10 : y + 11, x - 20 : x + 21 : 8] = face
    shaded = shade_teeth(image, points).astype(int)
    teeth, line = shaded[y, x + 8].mean(), shaded[y, x + 12].mean()
    assert face < teeth < (face + 3 * 250) / 4 + 5 and line < face + 5
    beside = np.ones(image.shape[:2], bool)
    beside[y - 24 : y + 25, x - 36 : x + 37] = False
    assert np.abs(shaded - image)[beside].max() <= 1


def test_a_closed_mouth_and_a_weak_change_darken_little():
    image = np.full((256, 256, 3), 150, np.uint8)
    assert (darken_opening(image, open_mouth(3)) == 150).all()
    falls = [
        150.0 - darken_opening(image, open_mouth(24), strength).min() for strength in (0, 0.02, 0.5, 1, 1.5)
    ]
    assert falls[0] == 0 and falls[1] < 3 and falls[1] < falls[2] < falls[3] == falls[4]


class Brighter(torch.nn.Module):
    """Brightens what it is shown."""

    config = MouthRefiner(widths=(4, 8), input_size=32).config
    device, dtype = torch.device("cpu"), torch.float32

    def forward(self, image):
        return image + 0.4


@pytest.mark.parametrize("size", [128, 300])
def test_the_refinement_is_put_back_where_the_mouth_is(size, monkeypatch):
    monkeypatch.setattr(mouth, "network", Brighter)
    image, points = np.full((size, size, 3), 100, np.uint8), template(size)
    out = refine_mouth(image, points)
    x, y, side = mouth_box(points, size)
    assert (out[y : y + side, x : x + side] == 151).all()
    assert (out != image).any(-1).sum() == side**2


def test_a_mouths_shape_does_not_depend_on_size_place_and_tilt():
    points = np.random.default_rng(0).normal(size=(3, 68, 2)) * 20 + 64
    turn = np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    np.testing.assert_allclose(mouth_shape(points @ turn.T * 3 + 7), mouth_shape(points), atol=1e-9)


def test_a_smile_is_told_and_removed(astronaut):
    """The portrait smiles; without the smile the lips are closed, and the face above the nose is the photo's."""
    transform = ffhq_transform(detect_faces(astronaut)[0].points, 256)
    crop = align_face(astronaut, transform, 256)
    points = find_points(crop)
    assert shows_expression(points)
    unchanged, made = neutral_mouth(crop, [0.0, 1.0])
    assert unchanged.tobytes() == crop.tobytes()
    moved = find_points(made)
    assert not shows_expression(moved)
    assert mouth_shape(moved)[0] < 0.5 * mouth_shape(points)[0]
    change = np.abs(np.asarray(made).astype(int) - np.asarray(crop))
    assert change[: int(points[28, 1])].max() == 0 and change[int(points[33, 1]) :].mean() > 2


def test_transfer_refines_the_mouths_that_the_network_blurs(astronaut, monkeypatch):
    pipe = facesym.load("transfer")
    seen = []
    monkeypatch.setattr(
        "facesym.faces.mouth.refine_mouth", lambda image, points: seen.append(points) or image
    )
    pipe(astronaut, to="neutral")
    assert len(seen) == 1
    pipe(astronaut, to="left 45")  # far turns smear the mouth
    assert len(seen) == 2
    for name in ("surprised", "frontal", "dark", ["left 45", "surprised"]):
        pipe(astronaut, to=name)
    assert len(seen) == 2


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    torch.manual_seed(0)
    net = AttributeGenerator(widths=(8,) * 5, blocks=1, input_size=64).eval()
    faces = FaceFolders([make_faces(tmp_path_factory.mktemp("faces") / "set")], 64)
    return MouthSamples(make_mouths(net, faces, 32, 0), 32)


def test_samples_have_a_target_or_none(samples):
    found = [samples[n] for n in range(24)]
    paired = [each for each in found if each["paired"]]
    assert 0 < len(paired) < 24
    for each in paired:  # a blurred mouth, in the place and colours of its target
        off = (each["input"] - each["target"]).abs().mean(0)
        assert off.mean() < 0.2 and off[:2].mean() < off[12:20, 12:20].mean() + 0.05
    assert all(torch.equal(samples[3][name], found[3][name]) for name in found[3])


def test_the_blur_stays_within_the_lips():
    rng, size = np.random.default_rng(0), 128
    points = (template(128)[48:] - [64, 95]) * 2 + 64
    image = rng.integers(0, 255, (size, size, 3), np.uint8)
    out = blurred_mouth(rng, image, points)
    middle = points[12:].mean(0).round().astype(int)
    assert detail(out) < 0.7 * detail(image)
    assert out[middle[1], middle[0]].astype(float).std() < 60
    corner = np.abs(out[:8, :8].astype(int) - image[:8, :8])
    assert np.median(corner) < 40


def test_without_a_target_colours_are_kept(samples):
    class Shifted(torch.nn.Module):
        def forward(self, image):
            return image + 0.5

    batch = torch.utils.data.default_collate([samples[n] for n in range(12)])
    discriminator = Discriminator((8, 8))
    terms, _ = refiner_terms(torch.nn.Identity(), discriminator, batch)
    moved, _ = refiner_terms(Shifted(), discriminator, batch)
    assert terms["colour"] == 0 and abs(moved["colour"] - 0.5) < 1e-3
    alone = {name: value[batch["paired"] == 0] for name, value in batch.items()}
    terms, _ = refiner_terms(torch.nn.Identity(), discriminator, alone)
    assert terms["absolute"] == 0 and "features" not in terms


def test_smiles_are_compared_with_the_persons_own(tmp_path, monkeypatch):
    folder, rng = tmp_path / "people", np.random.default_rng(0)
    folder.mkdir()
    rows, points = ["file_name,subject,split,expression"], []
    for subject in range(3):
        for expression in ("neutral", "happy")[: 2 if subject else 1]:
            points.append(template(256))
            draw_face(rng, points[-1], 256).save(folder / f"{subject}-{expression}.webp")
            rows.append(f"{subject}-{expression}.webp,{subject},test,{expression}")
    (folder / "metadata.csv").write_text("\n".join(rows))
    np.save(folder / "landmarks.npy", np.stack(points).astype(np.float32))
    pairs = smile_pairs([folder])
    assert len(pairs) == 2 and all(set(pair) == {"neutral", "happy"} for pair in pairs)

    class Same:
        size = 128

        def run(self, small, crop, ways, strengths):
            assert small.width == 128 and crop.width == 256
            return [crop]

    monkeypatch.setattr("facesym.metrics.lpips", lambda a, b, _: np.abs(a.astype(float) - b).mean((1, 2, 3)))
    table = measure_smiles({"same": Same()}, [folder], None)
    assert [row["change"] for row in table] == ["neutral → happy"] * 2 + ["happy → neutral"] * 2
    assert table[0]["lpips"] == table[1]["lpips"] == table[2]["lpips"] and table[1]["people"] == 2
    assert mouths(np.zeros((1, 256, 256, 3), np.uint8)).shape == (1, 96, 96, 3)
    assert Image.open(folder / "1-happy.webp").width == 256


def test_steps_of_strength_in_one_direction_are_counted(monkeypatch):
    """A model that opens the mouth from strength to strength but once closes it by a step: five steps of six."""
    opened = iter([0, 1, 2, 1, 2, 3, 4] * 2)
    monkeypatch.setattr(strengths, "find_points", lambda image: image)
    monkeypatch.setattr(strengths, "mouth_shape", lambda points: np.full(4, 0.1 * points))

    class Opener:
        size, groups = 64, {"expression": ("surprised",), "light": ("dark",)}

        def run(self, small, crop, ways, each):
            assert small.width == 64 and ways == [{"expression": "surprised"}] * 7 and each[-1] == 1.5
            return [next(opened) for _ in ways]

    images = np.zeros((2, 128, 128, 3), np.uint8)
    (row,) = strengths.measure_strengths({"opener": Opener()}, images)
    assert row["steps"] == pytest.approx(5 / 6)
    assert row["means"] == pytest.approx([0, 0.1, 0.2, 0.1, 0.2, 0.3, 0.4])


def test_weights_are_fitted_that_tell_open_mouths(tmp_path, capsys):
    folder = make_faces(tmp_path / "faces")
    heading, *rows = (folder / "metadata.csv").read_text().splitlines()
    points = np.load(folder / "landmarks.npy")
    points[::2, [65, 66, 67]] += np.float32([0, 6])  # every other mouth is open
    np.save(folder / "landmarks.npy", points)
    lines = [f"{heading},neutral", *(f"{row},{i % 2}" for i, row in enumerate(rows))]
    (folder / "metadata.csv").write_text("\n".join(lines))
    fit_expression(["--data", str(folder)])
    said = capsys.readouterr().out
    assert "8 faces: weights (" in said and "area under the curve 1.000; expressions found 100%" in said
    assert "recognised" not in said  # there are two expressions only

    points[1::4, [48, 54]] += np.float32([[-8, -4], [8, -4]])  # every fourth mouth smiles
    np.save(folder / "landmarks.npy", points)
    kinds = ["surprised", "happy", "surprised", "neutral"]
    scores = [",".join(str(int(kinds[i % 4] == name)) for name in NAMES) for i in range(len(rows))]
    lines = [f"{heading},{','.join(NAMES)}", *(f"{row},{score}" for row, score in zip(rows, scores))]
    (folder / "metadata.csv").write_text("\n".join(lines))
    fit_expression(["--data", str(folder)])
    said = capsys.readouterr().out
    assert [f"{name}: weights (" in said for name in NAMES] == [True] * 3
    assert "100% recognised" in said and not re.search(r" \d?\d% recognised", said)

    (folder / "metadata.csv").write_text("\n".join([heading, *rows]))
    with pytest.raises(SystemExit, match="no train images with a yaw"):
        fit_expression(["--data", str(folder)])
