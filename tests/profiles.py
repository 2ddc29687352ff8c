"""ICC profiles for tests, as small as they come."""

import struct

import numpy as np
from PIL import ImageCms


def _profile(kind, space, connection, tags):
    """An ICC profile of version 2."""
    tags = {
        b"desc": b"desc" + struct.pack(">4xI", 5) + b"test\0" + bytes(79),
        b"cprt": b"text\0\0\0\0none\0",
    } | tags
    tags[b"wtpt"] = _xyz(D50)
    table, data, place = b"", b"", 128 + 4 + 12 * len(tags)
    for name, tag in tags.items():
        table += name + struct.pack(">2I", place + len(data), len(tag))
        data += tag + bytes(-len(tag) % 4)
    header = struct.pack(
        ">I4xI4s4s4s12x4s28x", place + len(data), 0x02400000, kind, space, connection, b"acsp"
    )
    header += _xyz(D50)[8:]
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


def _xyz(values):
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


def _gamma(gamma):
    return b"curv" + struct.pack(">4xIH2x", 1, round(gamma * 256))


def _rgb(gamma, *primaries):
    """``primaries``: XYZ of red, green and blue."""
    tags = {name: _gamma(gamma) for name in (b"rTRC", b"gTRC", b"bTRC")}
    tags |= {name: _xyz(xyz) for name, xyz in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries)}
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags)


def _table(kind, space, inputs, colour):
    """A profile that leads to Lab by a table of the corners of the cube; ``colour``: a corner -> Lab."""
    corners = [colour(np.array(corner)) for corner in np.ndindex((2,) * inputs)]
    values = bytes(round(v) for light, a, b in corners for v in (light * 2.55, a + 128, b + 128))
    identity = struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    ramp = bytes(range(256))
    table = b"mft1" + struct.pack(">4x4B", inputs, 3, 2, 0) + identity + ramp * inputs + values + ramp * 3
    return _profile(kind, space, b"Lab ", {b"A2B0": table})


def _inks(corner):
    inks = np.array([[62, -31, -48], [52, 81, -7], [95, -6, 96]], float)  # Lab of cyan, magenta and yellow
    used = corner[:3] > 0
    lab = inks[used].mean(0) * 0.85 ** (used.sum() - 1) if used.any() else np.array([96.0, 0, 2])
    return lab * (0.15 if corner[3] else 1)


D50 = (0.9642, 1, 0.8249)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
DISPLAY_P3 = _rgb(2.2, (0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841))
ADOBE_RGB = _rgb(2.2, (0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446))
GREY = _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _gamma(1.5)})
CMYK = _table(b"prtr", b"CMYK", 4, _inks)
SCANNER = _table(b"scnr", b"RGB ", 3, lambda rgb: (100 * rgb @ [0.3, 0.6, 0.1], 60 * (rgb[0] - rgb[1]), 0))
