"""The networks. They are imported on first use, so importing this package does not import torch."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .landmark import LandmarkNet
    from .lightcnn import LightCNN
    from .lssl import AttributeDiscriminator, AttributeGenerator
    from .nfgan import NormalizedFaceGAN
    from .occlusion import OcclusionNet
    from .parser import FaceParser
    from .refiner import MouthRefiner
    from .symgan import SymmetricDiscriminator, SymmetricEncoder, SymmetricGenerator
    from .symmetrizer import SymmetrizerVAE
    from .symmfcnet import SymmFCNet

__all__ = [
    "AttributeDiscriminator",
    "AttributeGenerator",
    "FaceParser",
    "LandmarkNet",
    "LightCNN",
    "MouthRefiner",
    "NormalizedFaceGAN",
    "OcclusionNet",
    "SymmFCNet",
    "SymmetricDiscriminator",
    "SymmetricEncoder",
    "SymmetricGenerator",
    "SymmetrizerVAE",
]

_MODULES = {
    "AttributeDiscriminator": "lssl",
    "AttributeGenerator": "lssl",
    "FaceParser": "parser",
    "LandmarkNet": "landmark",
    "LightCNN": "lightcnn",
    "MouthRefiner": "refiner",
    "NormalizedFaceGAN": "nfgan",
    "OcclusionNet": "occlusion",
    "SymmFCNet": "symmfcnet",
    "SymmetricDiscriminator": "symgan",
    "SymmetricEncoder": "symgan",
    "SymmetricGenerator": "symgan",
    "SymmetrizerVAE": "symmetrizer",
}


if not TYPE_CHECKING:  # it would make every name an attribute

    def __getattr__(name):
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
