"""What is laid out as a Space."""

import json
import re
import subprocess
import sys
from pathlib import Path

import layout
import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    folder = tmp_path_factory.mktemp("space") / "here"
    subprocess.run([sys.executable, ROOT / "spaces" / "layout.py", folder], check=True)
    return folder


def test_it_has_all_that_the_page_needs_and_starts_building(space):
    """In an environment that knows no other facesym, from the Space's own folder."""
    code = "import app, facesym; app.build(); print(facesym.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=space, env={"PATH": "/usr/bin:/bin", "HOME": str(space)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    if ROOT not in Path(sys.executable).parents:
        assert Path(done.stdout.strip().splitlines()[-1]) == space / "facesym" / "__init__.py"


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
    assert meta["sdk_version"] == pins["gradio"] and meta["python_version"] == "3.11"


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
    assert layout.push(space, "anna/faces") == "https://hub.example/spaces/anna/faces"
    assert asked["create"] == (
        "anna/faces", {"repo_type": "space", "space_sdk": "gradio", "exist_ok": True}
    )  # fmt: skip
    upload = asked["upload"]
    assert (upload["repo_id"], upload["repo_type"], upload["folder_path"]) == ("anna/faces", "space", space)


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    done = subprocess.run(
        [sys.executable, ROOT / "spaces" / "layout.py", tmp_path], capture_output=True, text=True
    )
    assert done.returncode == 2 and "not empty" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
