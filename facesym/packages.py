"""Check that the packages of an extra are installed."""

from importlib.util import find_spec

from .errors import FacesymError


def require_packages(packages: tuple[str, ...], what: str, extra: str) -> None:
    """Check that packages are installed, without importing them.

    Args:
        packages: names to import.
        what: what needs them, e.g. "facesym evaluate".
        extra: the extra of pyproject.toml that installs them.

    Raises:
        FacesymError: some are missing; the message names them and the line that installs them.
    """
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise FacesymError(
            f"{what} needs packages that are missing ({', '.join(missing)}): pip install 'facesym[{extra}]'"
        )
