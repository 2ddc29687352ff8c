"""facesym: face models built on facial symmetry.

    import facesym
    pipe = facesym.load("complete")
    out = pipe("photo.jpg", mask="mask.png")  # white = missing
    out.save("done.png")

The five tasks are "complete", "symmetrize", "rotate", "normalize" and "transfer". help(facesym.load("rotate").__call__)
shows the arguments of a pipeline, and `facesym.zoo.list_models()` lists the models.

Names are imported on first use, so `import facesym` is fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import faces, logging, losses, metrics, models, pipelines, video, zoo
    from .errors import (
        DeviceError,
        FaceNotFoundError,
        FacesymError,
        ImageError,
        NothingFoundError,
        ZooError,
    )
    from .pipelines import load

__version__ = "1.0.0"

__all__ = [
    "DeviceError",
    "FaceNotFoundError",
    "FacesymError",
    "ImageError",
    "NothingFoundError",
    "ZooError",
    "__version__",
    "faces",
    "load",
    "logging",
    "losses",
    "metrics",
    "models",
    "pipelines",
    "video",
    "zoo",
]

_MODULES = {"faces", "logging", "losses", "metrics", "models", "pipelines", "video", "zoo"}


if not TYPE_CHECKING:  # it would make every name an attribute

    def __getattr__(name):
        if name in _MODULES:
            return import_module(f"{__name__}.{name}")
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{'pipelines' if name == 'load' else 'errors'}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
