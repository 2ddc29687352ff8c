"""The errors that facesym raises. Each message says what is wrong and what to do."""

import re


class FacesymError(Exception):
    """Base class of facesym's errors."""


class FaceNotFoundError(FacesymError):
    """The photo shows no face, or the requested face does not exist."""


class ImageError(FacesymError):
    """An image or mask cannot be read, is too large, has the wrong size, or leaves nothing to do."""


class NothingFoundError(ImageError):
    """An automatic mask was requested, but nothing covers the face."""


class ZooError(FacesymError):
    """A model is unknown, or its weights are missing, altered or cannot be downloaded."""


class DeviceError(FacesymError):
    """A device is unknown, this machine or this build of torch does not have it, or weights cannot have the requested
    type."""


def command_message(error: Exception | str) -> str:
    """Reword the message of an error for the command line and its reports, which know no Python arguments.

    Args:
        error: the error, or its message.

    Returns:
        The message without hints at ``aligned=True``, and with ``--faces`` in place of ``faces=``.
    """
    text = re.sub(r"[;.][^;.]*aligned=True[^;.]*", "", str(error))
    return re.sub(r'\bfaces="?(-?\w+)"?', r"--faces \1", text)
