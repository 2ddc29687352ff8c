"""The shading of smiles: learned from photos of different people, laid on a face and taken off."""

import cv2
import numpy as np
import pytest
from PIL import Image
from training import closed, lips

from facesym.data import simulate
from facesym.data.neutral import Neutral
from facesym.data.shading import LEAST_FACES, STRONGEST, mean_smile_shading
from facesym.faces.geometry import flip_landmarks

SIZE = 96
DARK = 0.7  # what a smile leaves of the light on a cheek
REACH = 4  # pixels that the corners go out, and up


def grin():
    marks = closed(SIZE)
    marks[[48, 60]] += (-REACH, -REACH)
    marks[[54, 64]] += (REACH, -REACH)
    return marks


def cheeks():
    """SxSx1: the light that a smile leaves."""
    light, marks = np.ones((SIZE, SIZE), np.float32), closed(SIZE)
    for a, b in ((48, 2), (54, 14)):
        cv2.circle(light, np.rint(0.6 * marks[a] + 0.4 * marks[b] - (0, 8)).astype(int).tolist(), 6, DARK, -1)
    return cv2.GaussianBlur(light, (0, 0), 1.5)[..., None]


def folder_of(path, seed=0, happy=LEAST_FACES, split="train", light=1.0):
    """People who smile and as many as LEAST_FACES who do not, each of a brightness of their own."""
    path.mkdir()
    rng, rows, points = np.random.default_rng(seed), ["file_name,subject,split,yaw,neutral,happy"], []
    for person in range(LEAST_FACES + happy):
        smiles = person >= LEAST_FACES
        image = np.full((SIZE, SIZE, 3), rng.uniform(120, 200)) * light * (cheeks() if smiles else 1)
        Image.fromarray(np.rint(image).astype(np.uint8)).save(path / f"{person}.webp", lossless=True)
        rows.append(f"{person}.webp,{person},{split},0,{1 - smiles},{int(smiles)}")
        points.append(grin() if smiles else closed(SIZE))
    (path / "metadata.csv").write_text("\n".join(rows))
    np.save(path / "landmarks.npy", np.array(points, np.float32))
    return path


@pytest.fixture(scope="module")
def shading(tmp_path_factory):
    return mean_smile_shading([folder_of(tmp_path_factory.mktemp("faces") / "people")], SIZE)


def cheek(image):
    """The mean of both cheeks' darkest spots."""
    y, x = np.nonzero(cheeks()[..., 0] < DARK + 0.02)
    return image[y, x].mean()


def test_what_smiles_do_to_the_light_is_found_whatever_each_photos_own(shading):
    assert cheek(np.exp(shading.ratio)) == pytest.approx(DARK, abs=0.08)
    assert np.abs(shading.ratio - shading.ratio[:, ::-1]).mean() < 1e-3  # but for pixels at the mask's rim
    still = np.concatenate([shading.ratio[: SIZE // 4].ravel(), shading.ratio[:, :8].ravel()])
    assert np.abs(still).max() < 1e-3  # hair and background
    x, y = np.rint(shading.points[48:60].mean(0)).astype(int)
    assert shading.ratio[y, x] == 0  # lips


def test_a_smile_of_the_mean_strength_counts_one(shading):
    assert shading.strength(grin(), closed(SIZE)) == pytest.approx(1, abs=0.01)
    assert shading.strength(closed(SIZE), closed(SIZE)) == 0
    assert shading.strength(closed(SIZE), grin()) == 0  # not below none
    far = closed(SIZE) + 4 * (grin() - closed(SIZE))
    assert shading.strength(far * 2, closed(SIZE) * 2) == STRONGEST


def test_added_and_taken_off_again_a_face_is_as_it_was(shading):
    image = np.random.default_rng(0).integers(60, 190, (SIZE, SIZE, 3)).astype(np.uint8)
    smiling = shading.add(image, closed(SIZE), 1)
    assert cheek(smiling.astype(float)) < 0.8 * cheek(image.astype(float))
    back = shading.add(smiling, closed(SIZE), -1)
    assert np.abs(back.astype(int) - image).max() <= 1
    assert np.array_equal(shading.add(image, closed(SIZE), 0), image)


def test_it_lies_where_the_face_is_whatever_the_pictures_size(shading):
    marks = (flip_landmarks(closed(SIZE), SIZE) + 0.5) * 2 - 0.5
    image = np.full((2 * SIZE, 2 * SIZE, 3), 150, np.uint8)
    shown = cv2.resize(
        shading.add(image, marks + np.array([10, 0]), 1), (SIZE, SIZE), interpolation=cv2.INTER_AREA
    )
    assert cheek(np.roll(shown, -5, 1).astype(float)) < 0.8 * 150


def test_one_folders_light_is_not_anothers_smiles(tmp_path, shading):
    """Where all smile but a few faces are dark, and where few smile bright."""
    folders = [
        folder_of(tmp_path / "dark", 1, happy=2 * LEAST_FACES, light=0.5),
        folder_of(tmp_path / "bright", 2, light=1.2),
    ]
    found = mean_smile_shading(folders, SIZE)
    assert cheek(found.ratio) == pytest.approx(cheek(shading.ratio), abs=0.05)


def test_too_few_smiles_or_held_out_people_teach_nothing(tmp_path):
    few = folder_of(tmp_path / "few", happy=LEAST_FACES - 1)
    assert mean_smile_shading([few, folder_of(tmp_path / "held-out", split="test")], SIZE) is None


def test_made_smiles_get_it_and_real_ones_lose_it(bank, shading, monkeypatch):
    image, marks = np.full((SIZE, SIZE, 3), 150, np.uint8), closed(SIZE)
    monkeypatch.setattr(bank, "draw", lambda rng, points: ("smiling", grin()))
    made = []
    for given in (None, shading):
        monkeypatch.setattr(bank, "shading", given)
        for seed in range(50):
            one = simulate.simulate(np.random.default_rng(seed), image, marks, bank)
            if one.expression == "smiling" and one.yaw == one.pitch == 0:
                break
        made.append(one.image)
    plain, shaded = (cheek(x.astype(float)) for x in made)
    assert shaded < plain - 20
    photo, taken = np.full((SIZE, SIZE, 3), 100, np.uint8), []
    for given in (None, shading):
        monkeypatch.setattr(bank, "shading", given)
        taken.append(Neutral(bank, [closed(SIZE)], [lips(100)], count=400).show(photo, grin())[0])
    without, neutral = (cheek(x.astype(float)) for x in taken)
    assert neutral > without + 15
