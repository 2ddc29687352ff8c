"""The wheel, installed away from the checkout, and README's examples run with it."""

import filecmp
import os
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facesym import space

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
# What a fit does does not depend on the installation: one second of it is enough here.
DRIVER = """
import shlex, sys
import facesym
from facesym.cli import main
from facesym.pipelines.rotate import RotatePipeline
fit = RotatePipeline.fit
RotatePipeline.fit = lambda self, crop, **options: fit(self, crop, **options | {"seconds": 1})
print(facesym.__file__)
for block in sys.argv[1:3]:
    if block == sys.argv[1]:
        exec(block)
        continue
    for line in block.splitlines():
        words = shlex.split(line, comments=True)
        try: main(words[1:])
        except SystemExit as end: assert not end.code, line
"""


def run(*command, **options):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=600, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """Folder of the programs of an environment that has the wheel and what it needs, but not the checkout."""
    root = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", root, ROOT)
    venv.create(root / "env", with_pip=False)
    programs = root / "env" / "bin"
    run(*pip, "--python", programs / "python", "install", "--no-deps", "--no-index", *root.glob("*.whl"))
    # The packages of this environment, but nothing that it has installed as editable: of a folder that is named in
    # a .pth file the .pth files do not count.
    site = sysconfig.get_path("purelib", vars={"base": str(root / "env")})
    (Path(site) / "packages.pth").write_text(sysconfig.get_path("purelib"))
    return programs


@pytest.fixture
def elsewhere(tmp_path, astronaut):
    """A folder with the photos and masks that README names."""
    photo, mask = astronaut.crop((96, 0, 352, 256)), np.zeros((256, 256), np.uint8)
    mask[95:130, 94:129] = 255  # an eye
    for folder, suffixes in (("photos", ("jpg", "png")), ("masks", ("png", "png"))):
        (tmp_path / folder).mkdir()
        for name, suffix in zip("ab", suffixes):
            picture = photo if folder == "photos" else Image.fromarray(mask)
            picture.save(tmp_path / folder / f"{name}.{suffix}")
    photo.save(tmp_path / "photo.jpg")
    Image.fromarray(mask).save(tmp_path / "mask.png")
    return tmp_path


def environment():
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def test_readme_s_examples_run_as_they_stand(programs, elsewhere):
    python = "\n".join(re.findall(r"```python\n(.*?)```", README, re.DOTALL))
    lines = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL)).replace("\\\n", " ").splitlines()
    commands = [line for line in lines if re.match(r"facesym (?!evaluate|prepare|export|zoo push)", line)]
    assert "facesym.load" in python and len(commands) > 3
    printed = run(
        programs / "python", "-c", DRIVER, python, "\n".join(commands), cwd=elsewhere, env=environment()
    )
    assert str(programs.parent) in printed.splitlines()[0]  # not the checkout
    outputs = re.findall(r'save\w*\((?:[\w.\[\]]+, )?"([\w.]+)"', python)
    outputs += [match[1] for line in commands if (match := re.search(r" -o (\S+)", line))]
    assert len(outputs) > 5 and [name for name in outputs if not (elsewhere / name).exists()] == []


def test_every_command_is_there(programs, tmp_path):
    told = run(programs / "facesym", "--help", cwd=tmp_path, env=environment())
    commands = re.findall(r"^  ([a-z]+)  +\w", told.partition("environment:")[0], re.M)
    assert {"complete", "study", "zoo", "export", "space", "evaluate", "prepare"} < set(commands)
    lines = "\n".join(f"facesym {command} --help" for command in commands)
    texts = run(programs / "python", "-c", DRIVER, "", lines, cwd=tmp_path, env=environment())
    assert all(f"usage: facesym {command}" in texts for command in commands)
    assert "train/" not in texts.replace("train/nfgan.py", "")


def test_the_space_of_an_installed_package_is_that_of_a_checkout(programs, tmp_path):
    run(programs / "facesym", "space", tmp_path / "installed", cwd=tmp_path, env=environment())
    space.lay_out(tmp_path / "clone")
    installed, clone = (
        {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "installed", tmp_path / "clone")
    )
    assert installed.keys() == clone.keys()
    assert [name for name in clone if not filecmp.cmp(installed[name], clone[name], shallow=False)] == []
