"""Image grids and plots of results."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw


def picture_grid(columns: dict[str, np.ndarray]) -> Image.Image:
    """Arrange images in a grid: a dict of heading -> kxSxSx3 uint8, one column each."""
    size = next(iter(columns.values())).shape[1]
    body = np.concatenate([np.concatenate(list(images)) for images in columns.values()], axis=1)
    grid = Image.new("RGB", (body.shape[1], body.shape[0] + 24), "white")
    grid.paste(Image.fromarray(body), (0, 24))
    draw = ImageDraw.Draw(grid)
    for i, heading in enumerate(columns):
        draw.text((i * size + 4, 4), heading, fill="black", font_size=max(9, min(16, size // 10)))
    return grid


def save_sheet(rows: Iterable[Iterable[np.ndarray]], path: str | Path) -> None:
    """Save rows of images without headings: a list of lists of SxSx3 or SxS uint8."""
    Image.fromarray(np.concatenate([np.concatenate(list(row), 1) for row in rows])).save(path)


@contextmanager
def plot(path: str | Path, columns: int = 1, **size: Any) -> Iterator[list[Any]]:
    """Create axes and save the figure as an image on exit.

    Args:
        path: path of the image.
        columns: number of plots side by side.
        size: options of matplotlib's ``subplots``, e.g. figsize.

    Yields:
        A list of matplotlib axes.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, columns, squeeze=False, layout="constrained", **size)
    yield list(axes[0])
    figure.savefig(path, dpi=110)
    plt.close(figure)
