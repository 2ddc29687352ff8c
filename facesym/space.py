"""Write the web page as a Hugging Face Space: a folder with all files that it needs."""

import shutil
from pathlib import Path

from .errors import FacesymError
from .hub import publish_space
from .zoo import ZOO_FILE, list_models

_PACKAGE = Path(__file__).parent
LFS_BYTES = 10_000_000  # bytes; the Hub requires Git LFS for larger files
IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc", "make_examples.py")

__all__ = ["lay_out", "push"]


def page_folder() -> Path:
    """Return the folder with the page's files: inside an installed package, or `spaces/` in a checkout.

    Raises:
        FacesymError: there is no such folder, as in a Space.
    """
    for folder in (_PACKAGE / "page", _PACKAGE.parent / "spaces"):
        if (folder / "static" / "page.css").exists():  # Hugging Face's package is called `spaces` too
            return folder
    raise FacesymError("This copy of facesym has no web page: install the package, or use a clone.")


def lay_out(folder: Path) -> list[str]:
    """Write the Space's files.

    Args:
        folder: a new or empty folder.

    Returns:
        Paths of the files for Git LFS, relative to the folder; .gitattributes lists them.

    Raises:
        FacesymError: the folder is not empty, or this copy of facesym has no page.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FacesymError(f"{folder} is not an empty folder: choose a new one.")
    page = page_folder()
    shutil.copytree(page, folder, ignore=IGNORED, dirs_exist_ok=True)
    shutil.copytree(_PACKAGE, folder / "facesym", ignore=_without_page)
    shutil.copy(ZOO_FILE, folder / "facesym")
    if not (folder / "LICENSE").exists():  # a checkout has it at its root
        shutil.copy(_PACKAGE.parent / "LICENSE", folder)
    _write_card(folder / "README.md")
    large = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and (path.stat().st_size > LFS_BYTES or path.suffix == ".safetensors")
    )
    lines = [f"{name} filter=lfs diff=lfs merge=lfs -text\n" for name in large]
    (folder / ".gitattributes").write_text("".join(lines))
    return large


def push(folder: Path, repo_id: str) -> str:
    """Upload the folder as the content of a Space on the Hub; create the Space if it does not exist.

    Args:
        folder: see `lay_out`.
        repo_id: "owner/name".

    Returns:
        URL of the Space.

    Raises:
        ZooError: there is no network, or the token has no write access.
    """
    return publish_space(repo_id, folder, "Update the page")


def _without_page(folder, names):
    """Return the names in the package that `shutil.copytree` ignores."""
    page = {"page"} if Path(folder) == _PACKAGE else set()
    return IGNORED(folder, names) | (page & set(names))


def _write_card(file):
    """Add the models that the page runs to the front matter of the card."""
    models = [entry["repo_id"] for entry in list_models() if entry["default"]]
    text = file.read_text(encoding="utf-8")
    _, matter, rest = text.split("---\n", 2)
    matter += "models:\n" + "".join(f"  - {model}\n" for model in models)
    file.write_text(f"---\n{matter}---\n{rest}", encoding="utf-8")
