"""From photo to photo: one pipeline per task, and `load`, which finds the one that a model belongs to."""

from ..errors import ZooError

# The class of the network says which pipeline runs it.
_PIPELINES = {
    "AttributeGenerator": ("transfer", "TransferPipeline"),
    "NormalizedFaceGAN": ("normalize", "NormalizePipeline"),
    "SymmFCNet": ("complete", "CompletePipeline"),
    "SymmetricGenerator": ("rotate", "RotatePipeline"),
    "SymmetrizerVAE": ("symmetrize", "SymmetrizePipeline"),
}


def load(name, *, device="cpu", dtype=None):
    """A pipeline, ready to be called.

    Args:
        name: a task ("complete"), a zoo id ("symmfc-256"), a local model folder, or a Hub repository "owner/name".
        device: where the network runs, e.g. "cuda".
        dtype: type of its weights, e.g. torch.bfloat16; default float32.

    Raises:
        ZooError: nothing of that name, its weights are missing or altered, or no pipeline runs this network.
    """
    from importlib import import_module

    from .. import zoo

    net = zoo.load(name, device=device, dtype=dtype)
    kind = type(net).__name__
    if kind not in _PIPELINES:
        raise ZooError(
            f"{name} is a {kind}, which has no pipeline of its own: use facesym.zoo.load({str(name)!r})."
        )
    module, pipeline = _PIPELINES[kind]
    return getattr(import_module(f".{module}", __name__), pipeline)(net)
