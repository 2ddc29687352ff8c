"""The networks, loaded when first used (importing this package does not import torch)."""

import importlib

_MODULES = {
    "AttributeDiscriminator": "lssl",
    "AttributeGenerator": "lssl",
    "FaceParser": "parser",
    "LandmarkNet": "landmark",
    "LightCNN": "lightcnn",
    "NormalizedFaceGAN": "nfgan",
    "SymmFCNet": "symmfcnet",
    "SymmetricDiscriminator": "symgan",
    "SymmetricEncoder": "symgan",
    "SymmetricGenerator": "symgan",
    "SymmetrizerVAE": "symmetrizer",
}

__all__ = [
    "AttributeDiscriminator",
    "AttributeGenerator",
    "FaceParser",
    "LandmarkNet",
    "LightCNN",
    "NormalizedFaceGAN",
    "SymmFCNet",
    "SymmetricDiscriminator",
    "SymmetricEncoder",
    "SymmetricGenerator",
    "SymmetrizerVAE",
]


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__():
    return __all__
