"""Each released model's recipe, a few tiny steps long."""

import os
import re
import subprocess

import pytest
from training import ROOT, environment, make_faces, make_labels, make_masks, make_pairs, run_script

from facesym import cli, zoo

RECIPES = sorted(path.stem for path in (ROOT / "train" / "recipes").glob("*-*.sh"))


def run(name, *words, **variables):
    return subprocess.run(
        [str(ROOT / "train" / "recipes" / f"{name}.sh"), *words], env=environment() | variables, text=True,
        capture_output=True, timeout=280, check=False,
    )  # fmt: skip


@pytest.fixture
def recorder(tmp_path):
    """Stands for PYTHON in a recipe: writes down its arguments and does nothing, or fails at a word."""
    file = tmp_path / "recorder"
    file.write_text(
        """#!/usr/bin/env bash
        printf '%s\\n' "$@" "" >> "${0%/*}/commands"
        [[ " $* " != *" ${FAIL:-nowhere} "* ]]"""
    )
    file.chmod(0o755)
    return file


def recorded(recorder):
    """The arguments of each call of the recorder, in order."""
    text = (recorder.parent / "commands").read_text()
    return [call.split("\n") for call in text.removesuffix("\n\n").split("\n\n")]


@pytest.fixture(scope="module")
def data(mesh_file, studio, vgg16, tmp_path_factory):
    """What recipes are told by the environment."""
    root = tmp_path_factory.mktemp("recipes")
    make_faces(root / "faces" / "lfw")
    os.symlink(studio, root / "faces" / "london")
    return {
        "FACES": str(root / "faces"), "MASKS": str(make_masks(root / "masks")),
        "PARSING": str(make_labels(root / "labels")), "PAIRS": str(make_pairs(root / "pairs")),
        "MESH": str(mesh_file), "VGG16": str(vgg16), "SMOKE": "1",
    }  # fmt: skip


def test_every_released_model_has_a_recipe():
    made = {f"train/recipes/{name}.sh" for name in RECIPES}
    for entry in zoo.list_models():
        assert f"train/recipes/{entry['id'].removesuffix('-encoder')}.sh" in made


def test_the_guide_gives_the_recipes_times():
    guide = (ROOT / "train" / "README.md").read_text()
    for name in RECIPES:
        (time,) = re.findall(
            r'^budget "[^"]*" "([^"]*)"', (ROOT / f"train/recipes/{name}.sh").read_text(), re.MULTILINE
        )
        assert re.search(rf"^\| `{name}.sh` .*\| {time} \|$", guide, re.MULTILINE), name


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_makes_a_model(name, data, recorder, tmp_path):
    """Its commands run in this process, one after the other: Python and torch start once for all recipes."""
    before, out = zoo.ZOO_FILE.read_bytes(), tmp_path / "out"
    variables = data | {"OUT": str(out), "PYTHON": str(recorder)}
    if name == "nfgan-128":
        variables.pop("PAIRS")  # they are made
    done = run(name, **variables)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert name in done.stdout.splitlines()[0] and "on two CPU cores" in done.stdout
    commands = recorded(recorder)
    for script, *words in commands:
        if script == "-m":
            with pytest.raises(SystemExit, match=r"^0$"):
                cli.main(words[1:])
        else:
            run_script(os.path.basename(script), words)
    assert type(zoo.load(str(out / "exported"))).__name__ == zoo.get(name)["class"]
    assert zoo.ZOO_FILE.read_bytes() == before
    again = run(name, **variables)
    assert again.returncode == 0 and again.stdout == done.stdout.splitlines(keepends=True)[0]
    assert recorded(recorder) == commands  # nothing was left to do


def test_a_recipe_stops_at_a_stage_that_fails_and_continues_there(data, recorder, tmp_path):
    out = tmp_path / "out"
    variables = data | {"OUT": str(out), "PYTHON": str(recorder)}
    assert run("occlusion-256", **variables, FAIL=str(out / "all")).returncode == 1
    first, failed = recorded(recorder)
    assert run("occlusion-256", **variables).returncode == 0
    assert recorded(recorder)[2] == failed and recorded(recorder).count(first) == 1


def test_a_recipe_says_what_it_needs(tmp_path):
    done = run("symmfc-256", FACES=str(tmp_path))
    assert done.returncode == 2 and done.stderr == "error: set MASKS (see train/recipes/common.sh)\n"
    done = run("symmfc-256", "tpu", FACES=str(tmp_path))
    assert done.returncode == 2 and done.stderr == "error: tpu is neither cpu nor gpu\n"
