"""The errors facesym raises on purpose. Each message says what was wrong and what to do about it."""


class FacesymError(Exception):
    """Base of every error that facesym raises on purpose."""


class FaceNotFoundError(FacesymError):
    """No face was found in the photo, or the face asked for does not exist."""


class ImageError(FacesymError):
    """An image or mask cannot be read, is too large, has the wrong size, or leaves nothing to do."""


class ZooError(FacesymError):
    """A model is unknown, or its weights are missing, altered or cannot be fetched."""


class DeviceError(FacesymError):
    """A device is unknown, or this machine or this build of torch does not have it."""
