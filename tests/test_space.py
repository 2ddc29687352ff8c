"""What is laid out as a Space."""

import json
import os
import re
import socket
import subprocess
import sysconfig
import time
import urllib.request
import venv
from importlib.metadata import distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from facesym.cli import main
from facesym.space import lay_out, push

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    folder = tmp_path_factory.mktemp("space") / "here"
    lay_out(folder)
    return folder


def packages(requirements):
    """Names of the installed packages that a requirements file asks for, with all that those need."""
    installed = {canonicalize_name(each.metadata["Name"]) for each in distributions()}
    wanted = [Requirement(line) for line in requirements.splitlines() if line and line[0] != "#"]
    found = set()
    while wanted:
        requirement = wanted.pop()
        extras = requirement.extras or {""}
        name = canonicalize_name(requirement.name)
        if (name, *sorted(extras)) in found or name not in installed:
            continue
        found.add((name, *sorted(extras)))
        for line in distribution(name).requires or []:
            needed = Requirement(line)
            if not needed.marker or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                needed.marker = None
                wanted.append(needed)
    return {name for name, *_ in found}


@pytest.fixture(scope="module")
def bare(space, tmp_path_factory):
    """The Python of an environment with the packages of the Space's requirements.txt alone: linked, not installed."""
    root = tmp_path_factory.mktemp("bare")
    venv.create(root, with_pip=False)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(root)}))
    for name in packages((space / "requirements.txt").read_text()):
        package = distribution(name)
        for top in {
            file.parts[0] for file in package.files or [] if file.parts[0] not in ("..", "__pycache__")
        }:
            if not (site / top).exists():
                (site / top).symlink_to(package.locate_file(top))
    return root / "bin" / "python"


def test_it_starts_with_its_own_requirements_alone(space, bare, tmp_path):
    """In an environment that knows no other facesym and no other package."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        "PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "GRADIO_TEMP_DIR": str(tmp_path / "cache"),
        "GRADIO_SERVER_PORT": str(port), "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen([bare, "app.py"], cwd=space, env=environment, stdout=log, stderr=log)
    try:
        page = b""
        for _ in range(600):
            try:
                page = urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).read()
                break
            except OSError:
                assert process.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.2)
        assert b"facesym: face models built on symmetry" in page, (tmp_path / "log").read_text()
        photos = tmp_path / "cache" / f"facesym-page-{os.getuid()}" / f"facesym-{process.pid}-abc"
        photos.mkdir(parents=True)
        process.terminate()  # as `docker stop` does
        process.wait(timeout=30)
        assert not photos.exists()
    finally:
        process.kill()
        process.wait()
    where = "import facesym; print(facesym.__file__)"
    found = subprocess.check_output([bare, "-c", where], cwd=space, env=environment, text=True)
    assert Path(found.strip()) == space / "facesym" / "__init__.py"


def test_weights_go_into_git_lfs_and_the_card_names_the_models(space):
    attributes = (space / ".gitattributes").read_text()
    for path in space.rglob("*.safetensors"):
        assert f"{path.relative_to(space).as_posix()} filter=lfs" in attributes
    yaml = pytest.importorskip("yaml")
    meta = yaml.safe_load((space / "README.md").read_text().split("---")[1])
    assert set(meta["models"]) == {
        entry["repo_id"] for entry in json.loads((ROOT / "zoo.json").read_text()) if entry["default"]
    }
    assert meta["license"] == "other" and "research" in meta["license_name"]
    pins = dict(re.findall(r"^([\w-]+)==(\S+)", (space / "requirements.txt").read_text(), re.M))
    assert meta["sdk_version"] == pins["gradio"] and meta["python_version"] == "3.12"  # as ZeroGPU takes it


def test_the_space_is_pushed_whole(space, monkeypatch):
    """To a Hub that notes what it is asked for."""
    asked = {}

    class Hub:
        def create_repo(self, repo_id, **options):
            asked["create"] = repo_id, options
            return f"https://hub.example/spaces/{repo_id}"

        def upload_folder(self, **options):
            asked["upload"] = options

    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    assert push(space, "anna/faces") == "https://hub.example/spaces/anna/faces"
    assert asked["create"] == (
        "anna/faces", {"repo_type": "space", "space_sdk": "gradio", "exist_ok": True}
    )  # fmt: skip
    upload = asked["upload"]
    assert (upload["repo_id"], upload["repo_type"], upload["folder_path"]) == ("anna/faces", "space", space)


def test_a_folder_with_something_in_it_is_left_alone(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SystemExit) as end:
        main(["space", str(tmp_path)])
    assert end.value.code == 1 and "not an empty folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
