"""Simulated pairs: the mesh, expressions, turned heads, folders of pairs."""

import csv
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image
from training import closed, template

from facesym import FacesymError, ImageError
from facesym.data import expressions, selection, simulate
from facesym.data.pairs import Pairs, PairSamples
from facesym.faces.geometry import flip_landmarks


def looked_up(image, coordinates):
    return cv2.remap(image, coordinates[..., 0], coordinates[..., 1], cv2.INTER_LINEAR)


@pytest.mark.parametrize("seed", range(6))
def test_places_say_where_the_targets_pixels_went(bank, studio, seed):
    """What is seen of the target is found again in the simulated face at the coordinates given."""
    target = np.asarray(Image.open(studio / "0_neutral_front.webp"))
    made = simulate.simulate(np.random.default_rng(seed), target, closed(96), bank)
    back = looked_up(made.image, made.coordinates).astype(int)
    cells = np.asarray(Image.fromarray(target).resize((simulate.GRID,) * 2, Image.Resampling.BOX)).astype(int)
    inside = ((made.coordinates > 2) & (made.coordinates < 93)).all(-1) & made.seen
    inside[:6] = inside[-4:] = False
    assert inside.mean() > 0.3
    assert np.abs(back - cells)[inside].mean() < 25  # of 255; the texture's own deviation is over 60
    assert (
        np.abs(looked_up(made.image, made.coordinates[:, ::-1].copy()).astype(int) - cells)[inside].mean()
        > 40
    )


def test_a_head_turns_the_way_it_is_told(bank, studio):
    target = np.asarray(Image.open(studio / "0_neutral_front.webp"))
    vertices, _ = bank.mesh.fit(closed(96))
    for yaw in (-30, 30):
        _, coordinates, seen = simulate.turn_head(target, vertices, bank.mesh.neck, yaw)
        nose, ears = closed(96)[30], closed(96)[[1, 15]]

        def at(p, coordinates=coordinates):
            return coordinates[int(p[1]), int(p[0])]

        middle = (at(ears[0]) + at(ears[1])) / 2
        assert np.sign(at(nose)[0] - middle[0]) == np.sign(yaw)  # the nose is in front of the ears
        far, near = (0, 1) if yaw < 0 else (1, 0)
        hidden = [1 - seen[30:70, 8:40].mean(), 1 - seen[30:70, 56:88].mean()]
        assert hidden[far] > hidden[near]
    same, coordinates, seen = simulate.turn_head(target, vertices, bank.mesh.neck, 0)
    assert seen.mean() > 0.99 and np.abs(same.astype(int) - target).mean() < 3


def test_the_same_seed_gives_the_same_pair(bank, studio):
    target = np.asarray(Image.open(studio / "1_neutral_front.webp"))
    one, same, other = (
        simulate.simulate(np.random.default_rng(seed), target, closed(96), bank).image for seed in (4, 4, 5)
    )
    assert np.array_equal(one, same) and not np.array_equal(one, other)


def test_a_mesh_lies_on_its_landmarks(mesh_file):
    mesh = simulate.FaceMesh(mesh_file)
    points = closed(200) @ np.array([[0.98, 0.17], [-0.17, 0.98]]) + [30, 10]  # tilted
    vertices, _ = mesh.fit(points)
    off = np.linalg.norm(vertices[simulate.LANDMARK_VERTICES, :2] - points, axis=1)
    assert off[17:].mean() < 0.03 * np.linalg.norm(points[45] - points[36])


def test_what_is_no_mesh_and_no_bank_is_refused(tmp_path, folders, mesh_file):
    (tmp_path / "mesh.npz").write_bytes(b"no")
    with pytest.raises(ImageError, match="not a face mesh"):
        simulate.FaceMesh(tmp_path / "mesh.npz")
    with pytest.raises(ImageError, match="neutral and smiling"):
        expressions.Expressions(folders[0], simulate.FaceMesh(mesh_file), 64)
    with pytest.raises(ImageError, match="not a folder of pairs"):
        Pairs(tmp_path)


def test_the_classical_row_turns_a_face_to_the_front(bank):
    """The side that was seen is where it was before the head was turned."""
    size, points = 96, closed(96)
    texture = cv2.resize(
        np.random.default_rng(2).integers(0, 255, (12, 12, 3)).astype(np.uint8), (size, size)
    )
    framed, align = simulate._align_again(texture, points)
    points = points @ align[:, :2].T + align[:, 2]
    vertices, _ = bank.mesh.fit(points)
    for yaw, seen in ((30, np.s_[40:62, 38:48]), (-30, np.s_[40:62, 48:58])):  # beside the nose
        turned, coordinates, _ = simulate.turn_head(framed, vertices, bank.mesh.neck, yaw)
        moved = np.array([coordinates[round(float(y)), round(float(x))] for x, y in points])
        frontal, marks = simulate.frontalize(turned, moved, bank.mesh)
        # Those of what fills it, too.
        np.testing.assert_allclose(marks, flip_landmarks(marks, size), atol=1e-3)
        shown = points[:, 0] < 46 if yaw > 0 else points[:, 0] > 49
        _, unfilled, _ = simulate.turn_to(turned, moved, bank.mesh, 0)
        np.testing.assert_allclose(marks[shown], unfilled[shown], atol=1e-3)  # not the hidden side's
        assert np.abs(marks - unfilled).max() > 0.1
        frontal = frontal.astype(int)
        assert (
            np.abs(frontal[seen] - framed[seen]).mean()
            < 0.6 * np.abs(turned[seen].astype(int) - framed[seen]).mean()
        )
        inner = frontal[35:75, 28:68]
        assert (
            np.abs(inner[:, :17] - inner[:, ::-1][:, :17]).mean() < 1
        )  # what was hidden is the mirror image


def test_prepared_pairs(pairs):
    with open(pairs / "pairs.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    kinds = [row["kind"] for row in rows]
    assert kinds.count("real") == 20 and kinds.count("simulated") == 30  # two inputs of each of ten people
    for row in rows:
        assert (pairs / "inputs" / row["input"]).exists() and (pairs / "targets" / row["target"]).exists()
        person = row["subject"]
        assert row["split"] == ("train" if int(person) < 8 else "val" if person == "8" else "test")
    assert (pairs / "preview.png").exists()


def test_the_side_that_is_turned_away_is_at_the_right(pairs):
    loaded = Pairs(pairs)
    samples = PairSamples(loaded, 64, augment=False)
    rng = np.random.default_rng(0)
    turned = [k for k, i in enumerate(samples.faces) if abs(float(loaded.rows[i]["yaw"])) > 15]
    assert turned
    for k in turned:
        row = samples.faces[k]
        sample = samples.sample(k, rng)
        image = loaded.inputs[row].astype(int)
        if float(loaded.rows[row]["yaw"]) < 0:
            image = image[:, ::-1]
        assert np.abs((sample["image"].permute(1, 2, 0).numpy() + 1) * 127.5 - image).max() < 1
        if loaded.rows[row]["kind"] == "simulated":  # the coordinates went along with the image
            coordinates = ((sample["coordinates"].permute(1, 2, 0).numpy() + 1) * 64 - 1) / 2
            found = looked_up(image.astype(np.uint8), coordinates.astype(np.float32)).astype(int)
            target = (sample["target"].permute(1, 2, 0).numpy() + 1) * 127.5
            cells = cv2.resize(target, (simulate.GRID,) * 2, interpolation=cv2.INTER_AREA)
            seen = sample["weight"][0].numpy() > 0.9
            seen &= ((coordinates > 2) & (coordinates < 61)).all(-1)
            assert np.abs(found - cells)[seen].mean() < 35


def test_real_pairs_get_their_share(pairs):
    loaded = Pairs(pairs)
    for share in (0.0, 0.6, 0.8):
        rows = PairSamples(loaded, 64, real_fraction=share).faces
        real = np.mean([loaded.rows[i]["kind"] == "real" for i in rows])
        assert abs(real - share) < 0.1


def test_web_photos_are_pairs_with_a_target_that_is_made(turned):
    kinds = [row["kind"] for row in turned.rows]
    assert [kinds.count(kind) for kind in ("turned", "expressive", "simulated")] == [10, 10, 6]
    for kind in ("turned", "expressive"):
        assert all(row["target"].startswith(f"{kind}-") == (row["kind"] == kind) for row in turned.rows)
    samples = PairSamples(turned, 64, turned_fraction=0.3, expressive_fraction=0.5)
    for kind, wanted in (("turned", 0.3), ("expressive", 0.5)):
        share = np.mean([turned.rows[i]["kind"] == kind for i in samples.faces])
        assert abs(share - wanted) < 0.15
    made = {i for i, row in zip(turned.target_of, turned.rows) if row["kind"] != "simulated"}
    assert made.isdisjoint(samples.guides) and len(
        samples.guides
    )  # the discriminator's real images are photos


@pytest.mark.parametrize(
    "row, frontal",
    [
        ({"yaw": "3", "pitch": "5", "neutral": "0.9"}, True),
        ({"yaw": "-14", "pitch": "5", "neutral": "0.9"}, False),
        ({"yaw": "3", "pitch": "-20", "neutral": "0.9"}, False),
        ({"yaw": "3", "pitch": "5", "neutral": "0.2"}, False),
        ({"yaw": "", "pitch": "", "neutral": ""}, False),
        ({"view": "front", "expression": "neutral", "yaw": "3"}, True),
        ({"view": "front", "expression": "smiling", "yaw": "3", "neutral": "1"}, False),
        ({"view": "left_3quarter", "expression": "neutral"}, False),
    ],
)
def test_who_is_frontal_and_neutral(row, frontal):
    assert selection.is_frontal_neutral(row, closed(96)) == frontal
    talking = closed(96)
    talking[65:68, 1] += 8
    assert not selection.is_frontal_neutral(row, talking)


@pytest.mark.parametrize("wrong", ["mesh", "full", "two of a name", "nothing"])
def test_pairs_that_cannot_be_made_leave_nothing_behind(studio, mesh_file, tmp_path, capsys, wrong):
    from facesym.data.prepare import main as prepare

    out, sets, mesh, count = tmp_path / "out", [str(studio)], mesh_file, "4"
    if wrong == "mesh":
        mesh = tmp_path / "mesh.npz"
        mesh.write_bytes(b"PK")
    elif wrong == "full":
        out.mkdir()
        (out / "pairs.csv").write_text("mine")
    elif wrong == "two of a name":
        shutil.copytree(studio, tmp_path / studio.name)
        sets.append(str(tmp_path / studio.name))
    else:
        count, sets = "0", [str(tmp_path / "gone")]
    with pytest.raises(FacesymError):
        prepare(
            ["pairs", str(out), *sets, "--mesh", str(mesh), "--expressions", str(studio), "--count", count]
        )
    assert not out.exists() or [path.name for path in out.iterdir()] == ["pairs.csv"]


def test_teeth_take_the_light_of_the_face_and_half_of_its_tint(mesh_file, studio):
    bank = expressions.Expressions(studio, simulate.FaceMesh(mesh_file), 96)
    smiling = closed(96)
    smiling[60:68, 1] = 0.74 * 96 + 1.2 * (template(96)[60:68, 1] - 0.74 * 96)
    bank.mouths = [expressions.Smile(0, np.full((96, 96, 3), 150, np.uint8), smiling, 1.0)]
    image = np.full((96, 96, 3), (150, 90, 70), np.uint8)
    shown, _ = bank.show(image, closed(96), smiling)
    tooth = shown[round((smiling[62, 1] + smiling[66, 1]) / 2), round(smiling[62, 0])].astype(float)
    tints = (np.array([150, 90, 70]) + 10) / 160
    assert tooth == pytest.approx(150 * np.sqrt(tints * tints.mean()), abs=3)


def test_a_mouth_open_farther_than_a_smile_has_teeth_above_and_is_dark_below(mesh_file, studio):
    size, skin = 96, 150
    bank = expressions.Expressions(studio, simulate.FaceMesh(mesh_file), size)
    points = closed(size)
    smiling = points.copy()
    smiling[60:68, 1] = 0.74 * size + 1.2 * (template(size)[60:68, 1] - 0.74 * size)
    white, black = (np.full((size, size, 3), skin, np.uint8) for _ in range(2))
    white[64:80], black[64:80] = 255, 0
    wide = smiling.copy()
    wide[60:68, 1] = 0.74 * size + 3 * (wide[60:68, 1] - 0.74 * size)
    bank.mouths = [expressions.Smile(0, black, wide, 1.0), expressions.Smile(0, white, smiling, 1.0)]
    image = np.full((size, size, 3), skin, np.uint8)

    def middle(picture, y):
        return picture[round(float(y)), round(float(points[62, 0]))]

    smile, _ = bank.show(image, points, smiling)  # the one of the two that is shaped alike
    assert middle(smile, (smiling[62, 1] + smiling[66, 1]) / 2).min() > 200
    surprised, _ = bank.show(image, points, smiling, teeth=0.3)
    height = smiling[66, 1] - smiling[62, 1]
    assert middle(surprised, smiling[62, 1] + 0.8 * height).max() < 130
    bank.mouths = bank.mouths[1:]
    gape = smiling.copy()
    gape[60:68, 1] = smiling[62, 1] + 3 * (smiling[60:68, 1] - smiling[62, 1])
    shown, _ = bank.show(image, points, gape)
    height = gape[66, 1] - gape[62, 1]
    assert middle(shown, gape[62, 1] + 0.2 * height).min() > 180
    assert middle(shown, gape[62, 1] + 0.75 * height).max() < 130
    assert middle(shown, gape[66, 1] + 4).min() > 140  # the chin


@pytest.mark.parametrize(
    "row, expressive",
    [
        ({"yaw": "3", "pitch": "5", "neutral": "0.1"}, True),
        ({"yaw": "-35", "pitch": "5", "neutral": "0.1"}, True),
        ({"yaw": "3", "pitch": "5", "neutral": "0.6"}, False),
        ({"yaw": "50", "pitch": "5", "neutral": "0.1"}, False),
        ({"yaw": "3", "pitch": "30", "neutral": "0.1"}, False),
        ({"yaw": "3", "pitch": "", "neutral": ""}, False),
        # A studio's: its neutral image is real.
        ({"view": "front", "expression": "smiling", "yaw": "3", "neutral": "0"}, False),
    ],
)
def test_who_has_an_expression(row, expressive):
    assert selection.is_expressive(row) == expressive
