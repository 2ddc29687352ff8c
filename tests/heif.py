"""Lets Pillow write HEIF in tests; facesym itself only reads it."""

import pillow_heif
from PIL import Image


def _save(image, file, name):
    pillow_heif.from_pillow(image).save(file)


Image.register_save("HEIF", _save)
