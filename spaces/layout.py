"""Lay out a Hugging Face Space: `python spaces/layout.py FOLDER` (or `make space DIR=FOLDER`).

With ``--push OWNER/NAME`` the folder is uploaded to the Hub, where the Space starts. Without it, only the standard
library is needed, and you can push the folder with git.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
LARGE = 10_000_000  # bytes; the Hub requires Git LFS for files larger than this
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", "layout.py", "make_examples.py")


def lay_out(folder: Path) -> list[str]:
    """Write the files of the Space.

    Args:
        folder: a new or empty one.

    Returns:
        The files to track with Git LFS.
    """
    shutil.copytree(ROOT / "spaces", folder, ignore=LEFT_OUT, dirs_exist_ok=True)
    shutil.copytree(ROOT / "facesym", folder / "facesym", ignore=LEFT_OUT)
    shutil.copy(ROOT / "zoo.json", folder)
    shutil.copy(ROOT / "LICENSE", folder)
    write_card(folder / "README.md")
    large = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and (path.stat().st_size > LARGE or path.suffix == ".safetensors")
    )
    lines = [f"{name} filter=lfs diff=lfs merge=lfs -text\n" for name in large]
    (folder / ".gitattributes").write_text("".join(lines))
    return large


def write_card(file: Path) -> None:
    """List the models that the page runs in the card's front matter."""
    models = [entry["repo_id"] for entry in json.loads((ROOT / "zoo.json").read_text()) if entry["default"]]
    text = file.read_text(encoding="utf-8")
    _, matter, rest = text.split("---\n", 2)
    matter += "models:\n" + "".join(f"  - {model}\n" for model in models)
    file.write_text(f"---\n{matter}---\n{rest}", encoding="utf-8")


def push(folder: Path, repo_id: str) -> str:
    """Upload the folder to a Space, creating the Space if needed, and return its URL. This needs a token (`hf auth
    login` or HF_TOKEN)."""
    from huggingface_hub import HfApi

    hub = HfApi()
    address = hub.create_repo(repo_id, repo_type="space", space_sdk="gradio", exist_ok=True)
    # Delete files that an earlier layout had and this one does not.
    hub.upload_folder(
        repo_id=repo_id,
        repo_type="space",
        folder_path=folder,
        delete_patterns="*",
        commit_message="Update the page",
    )
    return str(address)


def main() -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a new or empty folder")
    parser.add_argument("--push", metavar="OWNER/NAME", help="upload the folder to this Space on the Hub")
    args = parser.parse_args()
    folder = args.folder
    if folder.exists() and any(folder.iterdir()):
        print(f"{folder} is not empty: name a new folder.", file=sys.stderr)
        return 2
    large = lay_out(folder)
    print(f"{folder} is a Space. In Git LFS: {', '.join(large)}")
    if args.push:
        print(f"Pushed to {push(folder, args.push)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
