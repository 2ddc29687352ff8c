"""facesym: face models built on symmetry.

    import facesym
    pipe = facesym.load("complete")
    out = pipe("photo.jpg", mask="mask.png")  # white = what to fill in
    out.images[0].save("done.png")

Names are loaded on first use, so that `import facesym` costs nothing until a model is wanted.
"""

import importlib

__version__ = "0.1.0"

_WHERE = {
    "load": "facesym.pipelines",
    "FacesymError": "facesym.errors",
    "DeviceError": "facesym.errors",
    "FaceNotFoundError": "facesym.errors",
    "ImageError": "facesym.errors",
    "ZooError": "facesym.errors",
}
_MODULES = ("zoo", "models", "faces", "pipelines", "losses", "metrics", "video")

__all__ = [
    "DeviceError",
    "FaceNotFoundError",
    "FacesymError",
    "ImageError",
    "ZooError",
    "__version__",
    "load",
    "zoo",
]


def __getattr__(name: str):
    if name in _WHERE:
        value = getattr(importlib.import_module(_WHERE[name]), name)
        globals()[name] = value
        return value
    if name in _MODULES:
        return importlib.import_module(f"facesym.{name}")
    raise AttributeError(f"module 'facesym' has no attribute '{name}'")


def __dir__():
    return sorted({*globals(), *_WHERE, *_MODULES})
