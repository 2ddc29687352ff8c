"""The web page as a Hugging Face Space: all that it needs in one folder."""

import shutil
from pathlib import Path

from .errors import FacesymError
from .hub import publish_space
from .zoo import ZOO_FILE, list_models

_PACKAGE = Path(__file__).parent
LARGE = 10_000_000  # bytes from which on the Hub wants a file in Git LFS
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", "make_examples.py")

__all__ = ["lay_out", "push"]


def page_folder() -> Path:
    """The folder of the page's own files: in the package once installed, `spaces/` in a checkout.

    Raises:
        FacesymError: there is none, as in a Space.
    """
    for folder in (_PACKAGE / "page", _PACKAGE.parent / "spaces"):
        if (folder / "static" / "page.css").exists():  # Hugging Face's package is called `spaces` too
            return folder
    raise FacesymError("This copy of facesym has no web page: install the package, or use a clone.")


def lay_out(folder: Path) -> list[str]:
    """Write the Space's files.

    Args:
        folder: a new or empty one.

    Returns:
        The files that belong in Git LFS, relative to the folder; .gitattributes lists them.

    Raises:
        FacesymError: the folder is not empty, or this copy of facesym has no page.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FacesymError(f"{folder} is not an empty folder: name a new one.")
    page = page_folder()
    shutil.copytree(page, folder, ignore=LEFT_OUT, dirs_exist_ok=True)
    shutil.copytree(_PACKAGE, folder / "facesym", ignore=_without_page)
    shutil.copy(ZOO_FILE, folder / "facesym")
    if not (folder / "LICENSE").exists():  # a checkout has it at its root
        shutil.copy(_PACKAGE.parent / "LICENSE", folder)
    _write_card(folder / "README.md")
    large = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and (path.stat().st_size > LARGE or path.suffix == ".safetensors")
    )
    lines = [f"{name} filter=lfs diff=lfs merge=lfs -text\n" for name in large]
    (folder / ".gitattributes").write_text("".join(lines))
    return large


def push(folder: Path, repo_id: str) -> str:
    """Make the folder the content of a Space on the Hub, and create that if need be.

    Args:
        folder: see `lay_out`.
        repo_id: "owner/name".

    Returns:
        The Space's address.

    Raises:
        ZooError: no network, or no right to write to the Space.
    """
    return publish_space(repo_id, folder, "Update the page")


def _without_page(folder, names):
    """What `shutil.copytree` leaves out of the package."""
    page = {"page"} if Path(folder) == _PACKAGE else set()
    return LEFT_OUT(folder, names) | (page & set(names))


def _write_card(file):
    """Put the models that the page runs into the card's front matter."""
    models = [entry["repo_id"] for entry in list_models() if entry["default"]]
    text = file.read_text(encoding="utf-8")
    _, matter, rest = text.split("---\n", 2)
    matter += "models:\n" + "".join(f"  - {model}\n" for model in models)
    file.write_text(f"---\n{matter}---\n{rest}", encoding="utf-8")
