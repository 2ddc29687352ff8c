"""The examples and their precomputed results, made by make_examples.py: opening one runs no model."""

import html
import json

import gradio as gr
import panel
import parts
import stage
from PIL import Image

INDEX = parts.EXAMPLES / "index.json"


def load() -> list[dict]:
    """Read the index that make_examples.py wrote: dicts of "tab", "title", "photo", "mask" (or None), "boxes",
    "before" and "after" (thumbnails), and "outcome". All paths are relative to the examples folder."""
    return json.loads(INDEX.read_text(encoding="utf-8")) if INDEX.exists() else []


LIST = load()


def _url(name: str) -> str:
    return parts.url(parts.EXAMPLES / name)


def moving(example: dict) -> str:
    """Return HTML that overlays an example's before and after images."""
    return (
        f'<span class="moving"><img src="{_url(example["before"])}" alt="" width="160" height="160">'
        f'<img class="over" src="{_url(example["after"])}" alt="" width="160" height="160"></span>'
    )


def cards(tabs: list) -> str:
    """Return the page's five tabs, as HTML buttons."""
    buttons = []
    for tab in tabs:
        first = next((example for example in LIST if example["tab"] == tab.name), None)
        buttons.append(
            f'<button type="button" role="tab" class="card" data-tab="{tab.name}" id="tab-{tab.name}" '
            f'aria-controls="panel-{tab.name}">{moving(first) if first else ""}'
            f"<b>{tab.title}</b><span>{html.escape(tab.tagline)}</span></button>"
        )
    return "".join(buttons)


def shelf() -> gr.HTML:
    """Return the clickable examples; the "select" event carries the index."""
    tiles = "".join(
        f'<button type="button" class="tile" data-tab="{example["tab"]}" data-index="{index}">{moving(example)}'
        f"<span>{html.escape(example['title'])}</span></button>"
        for index, example in enumerate(LIST)
    )
    return gr.HTML(
        html_template=f'<div class="shelf"><h2>Examples with results</h2><div class="tiles">{tiles}</div></div>',
        js_on_load=(
            "element.querySelectorAll('.tile').forEach((tile) => {"
            " tile.onclick = () => trigger('select', { index: Number(tile.dataset.index) }); });"
        ),
        apply_default_css=False,
        elem_id="examples",
    )


def open_example(index: int) -> tuple[dict, stage.Shot, dict]:
    """Return the stage's value, the `Shot` and {tab: outcome} of an example."""
    example = LIST[index]
    photo = str(parts.EXAMPLES / example["photo"])
    with Image.open(photo) as image:
        size = image.size
    shot = stage.Shot(photo, example["boxes"], size, photo, [])
    mask = parts.EXAMPLES / example["mask"] if example["mask"] else None
    return stage.on_stage(shot, mask), shot, {example["tab"]: outcome(example["outcome"])}


def outcome(stored: dict) -> panel.Outcome:
    """Return a stored outcome with absolute paths."""
    folder = parts.EXAMPLES

    def view(each):
        frames = [str(folder / frame) for frame in each["frames"]]
        pair = {key: str(folder / each[key]) if each[key] else "" for key in ("before", "after")}
        return panel.View(**{**each, **pair, "frames": frames})

    return panel.Outcome(
        views=[view(each) for each in stored["views"]],
        downloads=[(label, str(folder / path)) for label, path in stored["downloads"]],
        numbers=stored["numbers"],
        notes=stored["notes"],
        result=str(folder / stored["result"]),
        extras=stored["extras"].replace("FOLDER", parts.url(folder)),
    )
