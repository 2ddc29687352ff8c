"""The errors that facesym raises. Each message says what is wrong and what to do."""

import difflib
import re
from collections.abc import Iterable


class FacesymError(Exception):
    """Base class of facesym's errors."""


class FaceNotFoundError(FacesymError):
    """The photo shows no face, or the requested face does not exist."""


class OrientationError(FaceNotFoundError):
    """The photo shows a face, but not which way is up."""


class ImageError(FacesymError):
    """An image or mask cannot be read, is too large, has the wrong size, or leaves nothing to do."""


class NothingFoundError(ImageError):
    """An automatic mask was requested, but nothing covers the face.

    Attributes:
        SHORT: what happened, for lists of photos.
    """

    SHORT = "Found nothing to remove."


class ZooError(FacesymError):
    """A model is unknown, or its weights are missing, altered or cannot be downloaded."""


class DeviceError(FacesymError):
    """A device is unknown, this machine or this build of torch does not have it, or weights cannot have the requested
    type."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a sentence that suggests the known name closest to an unknown one, with a space before it.

    Args:
        name: the unknown name.
        known: the known names.

    Returns:
        For example ' Did you mean "happy"?'; empty if no known name is similar.
    """
    close = difflib.get_close_matches(name, list(known), n=1)
    return f' Did you mean "{close[0]}"?' if close else ""


def command_message(error: Exception | str) -> str:
    """Reword the message of an error for the command line and its reports, which know no Python arguments.

    Args:
        error: the error, or its message.

    Returns:
        The message without hints at ``aligned=True``, and with ``--faces``, ``--device`` and ``--mask`` in place of
        ``faces=``, ``device=`` and ``mask=``.
    """
    text = re.sub(r"[;.][^;.]*aligned=True[^;.]*", "", str(error))
    return re.sub(r'\b(faces|device|mask)="?(-?[\w.:]+)"?', r"--\1 \2", text)
