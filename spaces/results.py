"""Result files and the HTML that describes a result."""

import html
import re
import zipfile

import cv2
import numpy as np
import panel
import parts
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from facesym.faces.load import Photo, load_image
from facesym.video import save_video

PAIR = 720  # height of the before/after image
MOVING = 480  # long side of the before/after GIF
LIGHT = {"normal": "normal light", "weak": "dim light", "side": "light from the side"}  # names for visitors
SMALL = 0.35  # fraction of the photo's short side; smaller faces get a close-up


class Files:
    """The files of a result, in a folder of their own.

    Args:
        task: the result's task.
        stem: stem of the photo's file name.
        suffix: appended to the stem; the files are named ``<stem>-<suffix>…``.
    """

    def __init__(self, task: str, stem: str, suffix: str):
        self.task, self.folder, self.stem = task, parts.private_folder(), f"{stem[:60]}-{suffix}"
        self.result = None
        self._count = 0

    def show(self, image: Image.Image, name: str, side: int = parts.SHOWN, edited: bool = True) -> str:
        """Write an image to display and return its path. Only edited images get a tag."""
        self._count += 1
        image = parts.shrink(image, side)
        if edited:
            return parts.publish(image, self.folder, f"{self._count}-{name}.webp", self.task)
        path = self.folder / f"{self._count}-{name}.jpg"
        image.convert("RGB").save(path, quality=92, icc_profile=image.info.get("icc_profile"))
        return str(path)

    def pair(self, label: str, before: Image.Image, after: Image.Image) -> panel.View:
        """Return a before/after view of a photo or face and its result."""
        if min(after.size) < parts.FRAME:  # small faces: browsers upscale coarsely
            size = [round(side * parts.FRAME / min(after.size)) for side in after.size]
            before, after = (image.resize(size, Image.Resampling.LANCZOS) for image in (before, after))
        return panel.View(label, self.show(before, "before", edited=False), self.show(after, "after"))

    def closeups(self, before: Image.Image, after: Image.Image, faces: list) -> list[panel.View]:
        """Return before/after views of up to six faces that are small in their photo."""
        small = [face for face in faces if face.box[3] - face.box[1] < SMALL * min(before.size)][:6]
        views = []
        for number, face in enumerate(small, 1):
            square = around(face.box, before.size)
            label = "Close-up" if len(small) == 1 else f"Close-up {number}"
            views.append(self.pair(label, before.crop(square), after.crop(square)))
        return views

    def whole(self, photo: Photo, after: Image.Image | None) -> list[panel.View]:
        """Return a before/after view of the whole photo, if there is a result."""
        return [] if after is None else [self.pair("Whole photo", photo.image, after)]

    def series(self, label: str, frames: list, labels: list[str], start: int, about: str) -> panel.View:
        """Return a view with a slider over frames. Each frame can be saved; its label gives its file name."""
        files = []
        for number, (frame, text) in enumerate(zip(frames, labels)):
            name = f"{self.stem}_{for_file(text) or number}.webp"
            path = parts.publish(parts.as_frame(frame), self.folder, name, self.task)
            files.append(path)
        return panel.View(label, frames=files, labels=labels, start=start, about=about)

    def picture(self, image: Image.Image) -> str:
        """Write the result image and return its path."""
        self.result = parts.publish(image, self.folder, f"{self.stem}.png", self.task)
        return self.result

    def downloads(self, before: Image.Image, after: Image.Image, whole: Image.Image | None = None) -> list:
        """Write the downloads of a before/after pair as (label, path), and `result`, which other tabs continue with."""
        files = [("Result (PNG)", self.picture(after))]
        if whole is not None:
            self.result = parts.publish(whole, self.folder, f"{self.stem}-whole-photo.png", self.task)
            files.append(("Whole photo (PNG)", self.result))
        before, after = load_image(before), load_image(after)  # both in sRGB
        both = side_by_side(before, after)
        files.append(
            (
                "Before | after (JPEG)",
                parts.publish(both, self.folder, f"{self.stem}-before-after.jpg", self.task),
            )
        )
        path = self.folder / f"{self.stem}-before-after.gif"
        save_video(fade(before, after), path, self.task, fps=5)
        files.append(("Before ⇄ after (GIF)", str(path)))
        return files

    def video(self, frames: list, kind: str = ".mp4") -> str:
        """Write a video or GIF and return its path."""
        path = self.folder / f"{self.stem}{kind}"
        save_video([parts.as_frame(frame) for frame in frames], path, self.task)
        return str(path)

    def zip(self, pictures: list) -> str:
        """Write (caption, image) pairs to a ZIP file and return its path."""
        path = self.folder / f"{self.stem}.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for caption, image in pictures:
                name = f"{self.stem}-{for_file(caption)}.png"
                archive.write(parts.publish(image, self.folder, name, self.task), name)
        return str(path)

    def grid(self, pictures: list, prefix: str = "step-") -> str:
        """Return (caption, image) pairs as an HTML grid with captions."""
        figures = []
        for caption, image in pictures:
            path = self.show(
                image, prefix + "".join(c if c.isalnum() else "-" for c in caption.lower()), parts.FRAME
            )
            figures.append(
                f'<figure><a href="{parts.url(path)}" target="_blank" rel="noopener">'
                f'<img src="{parts.url(path)}" alt="{html.escape(caption)}" loading="lazy" width="{image.width}" '
                f'height="{image.height}"></a><figcaption>{html.escape(caption)}</figcaption></figure>'
            )
        return f'<div class="grid">{"".join(figures)}</div>'


def put_back(photo: Photo, result, output: Image.Image | None = None) -> Image.Image:
    """Paste the crop of a result with one face, or another ``output``, back into the photo."""
    from facesym.faces.align import align_face, ffhq_transform
    from facesym.faces.landmarks import find_points
    from facesym.faces.paste import paste_edit

    output = load_image(output or result.images[0])  # in sRGB, like photo.image
    transform = ffhq_transform(result.faces[0].points, output.width)
    points = find_points(align_face(photo.image, transform, output.width))
    return photo.restore(paste_edit(photo.image, output, transform, points))


def around(box: tuple, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return a square around a face's box, in pixels of a photo of ``size``: (x0, y0, x1, y1)."""
    side = min(round(2.2 * (box[3] - box[1])), *size)
    corner = [
        round(min(max((low + high - side) / 2, 0), most - side))
        for low, high, most in ((box[0], box[2], size[0]), (box[1], box[3], size[1]))
    ]
    return corner[0], corner[1], corner[0] + side, corner[1] + side


class Trim:
    """Trim aligned crops to the photo. Beyond the photo's edges a crop is padded by reflection, which doubles the chin.

    Args:
        size: (width, height) of the photo.
        transform: 2x3, photo pixel -> pixel of a crop of side ``side``.
    """

    def __init__(self, size: tuple[int, int], transform: np.ndarray, side: int):
        right, bottom = size[0] - 0.5, size[1] - 0.5
        corners = np.array([[-0.5, -0.5, 1], [right, -0.5, 1], [right, bottom, 1], [-0.5, bottom, 1]])
        shown = np.zeros((side, side), np.uint8)
        cv2.fillConvexPoly(shown, np.round(corners @ np.asarray(transform).T).astype(np.int32), 255)
        # Keep rows and columns that lie mostly inside the photo: a slight tilt leaves slivers at the edges.
        ends = []
        for axis in (0, 1):
            counts = (shown > 0).sum(axis)
            ends.append(np.flatnonzero(counts >= 0.7 * counts.max())[[0, -1]] + [0, 1])
        (left, right), (top, bottom) = ends
        self._box, self._shown = (left, top, right, bottom), Image.fromarray(shown)

    @classmethod
    def of(cls, photo: Photo, result) -> "Trim":
        """Build a `Trim` for the crop of a result with one face."""
        from facesym.faces.align import ffhq_transform

        side = result.crop[0].width
        return cls(photo.image.size, ffhq_transform(result.faces[0].points, side), side)

    def __call__(self, crop: Image.Image) -> Image.Image:
        """Return the part of the crop inside the photo; corners outside a tilted photo are blurred."""
        if self._shown.getextrema()[0] == 255:
            return crop
        shown = self._shown.resize(crop.size)
        scale = crop.width / self._shown.width
        blurred = crop.convert("RGB").filter(ImageFilter.GaussianBlur(crop.width / 12))
        filled = Image.composite(crop.convert("RGB"), blurred, shown)
        return filled.crop([round(edge * scale) for edge in self._box])


def side_by_side(before: Image.Image, after: Image.Image) -> Image.Image:
    """Combine both images side by side, with labels."""
    pictures = [parts.shrink(image.convert("RGB"), 2 * PAIR) for image in (before, after)]
    height = min(PAIR, *(picture.height for picture in pictures))
    pictures = [
        picture.resize((round(picture.width * height / picture.height), height), Image.Resampling.LANCZOS)
        for picture in pictures
    ]
    band, gap = max(22, height // 16), max(4, height // 120)
    width = sum(picture.width for picture in pictures) + gap
    both = Image.new("RGB", (width, height + band), "white")
    draw, font = ImageDraw.Draw(both), ImageFont.load_default(band * 0.6)
    x = 0
    for picture, label in zip(pictures, ("Before", "After: edited with AI")):
        both.paste(picture, (x, 0))
        draw.text((x + picture.width / 2, height + band / 2), label, "black", font, anchor="mm")
        x += picture.width + gap
    return both


def fade(before: Image.Image, after: Image.Image) -> list[Image.Image]:
    """Return frames that cross-fade between two images, pause at each, and label the edited one."""
    before, after = (parts.shrink(image.convert("RGB"), MOVING) for image in (before, after))
    before = before.resize(after.size)
    draw = ImageDraw.Draw(after)
    size = max(10, after.height // 26)
    draw.text(
        (size / 2, after.height - size / 2), "Edited with AI", "white", ImageFont.load_default(size), anchor="ls",
        stroke_width=max(1, size // 8), stroke_fill="black",
    )  # fmt: skip
    between = [Image.blend(before, after, step / 4) for step in range(1, 4)]
    return [before, before, before, *between, after, after, after]


def numbers(*texts: str) -> str:
    """Join the non-empty texts with dots to a one-line summary."""
    line = " · ".join(text for text in texts if text)
    return line[:1].upper() + line[1:]


def likeness(identity: list | None) -> str:
    """Format the identity similarity of result and photo for the summary."""
    return "" if identity is None else f"**{max(min(identity), 0):.0%}** alike"


def turned(yaw: float) -> str:
    """Format the yaw of a photo for the summary. Left and right are those of the image."""
    angle = round(yaw)
    if not angle:
        return "the head faces the camera"
    return f"the head is turned by **{abs(angle)}°** to the {'right' if angle > 0 else 'left'}"


def notes(result) -> list[str]:
    """Return the notes of a result, with one more if it may no longer look like the same person."""
    from facesym.pipelines.notes import with_likeness

    return with_likeness(result.notes, result.identity)


def side(angle: float) -> str:
    """Format a whole number of degrees with the side of the image that the head turns to."""
    angle = round(angle)
    return f"{'right' if angle > 0 else 'left'} {abs(angle)}°" if angle else "to the camera"


def degrees(angle: float) -> str:
    """Format a whole number of degrees with its sign."""
    return f"{round(angle):+d}°" if round(angle) else "0°"


def for_file(text: str) -> str:
    """Reduce a text to what may stand in a file name."""
    return re.sub(r"[^\w+-]+", "-", text).rstrip("-")


def named(attribute: str) -> str:
    """Return the name of an attribute for visitors: angles get a degree sign."""
    return LIGHT.get(attribute, attribute + "°" * attribute[-1].isdigit())


def heading(text: str) -> str:
    """Return a heading as HTML."""
    return f"<h3>{html.escape(text)}</h3>"


def paragraph(text: str) -> str:
    """Return a text with ** for bold as an HTML paragraph."""
    return f"<p>{panel.bold(text)}</p>"


def details(summary: str, content: str, text: str = "") -> str:
    """Return a collapsible section as HTML."""
    return f"<details><summary>{html.escape(summary)}</summary>{paragraph(text) if text else ''}{content}</details>"


def table(headers: list[str], rows: list) -> str:
    """Return a table as HTML."""
    head = "".join(f'<th scope="col">{html.escape(header)}</th>' for header in headers)
    body = "".join(
        f'<tr><th scope="row">{html.escape(name)}</th><td>{html.escape(value)}</td></tr>'
        for name, value in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
