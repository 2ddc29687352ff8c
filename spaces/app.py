"""The page. `python spaces/app.py` starts it; GRADIO_SERVER_NAME and GRADIO_SERVER_PORT say where."""

import importlib.util
import logging
import os
import sys
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
if importlib.util.find_spec("facesym") is None:  # a clone in which it was not installed
    sys.path.append(str(Path(__file__).parent.parent))

import complete
import gradio as gr
import normalize
import rotate
import symmetrize
import transfer

TITLE = "facesym: face models built on symmetry"
HEADER = """
# facesym
**Complete**: something hides part of a face in your photo? Paint over it, and get it completed from the mirrored half.
**Symmetrize**: see a face as it would be if both halves were alike, and measure how much they differ.
**Rotate**: turn the head in a photo a little to either side.
**Normalize**: make a turned, smiling face frontal and neutral.
**Transfer**: change a face's expression, pose or light.
"""
ETHICS = """
Only photos of adults who agree to it. What the models put in is **made up**, not what was there: never use it to
identify anyone. Say that the picture was edited when you show it; the download carries a tag that says so.
Uploads are not kept: they are deleted within about an hour, and no one else sees them.
"""
CSS = """
.gradio-container { max-width: 1180px !important; margin: 0 auto !important; }
#header h1 { font-size: 1.9rem; margin: 0.2rem 0; }
#header p { font-size: 1.05rem; }
#ethics { border-left: 3px solid var(--color-accent); padding-left: 0.8rem; }
#ethics p, #numbers p { font-size: 0.9rem; }
#how .grid-wrap { max-height: none; }
@media (max-width: 640px) { #header p { font-size: 1rem; } #ethics p { font-size: 0.82rem; } }
#stage { position: relative; }
#stage #photo { position: absolute; inset: 0; z-index: 20; }
#stage:has(#photo) #editor { visibility: hidden; }
.notice { border: 1px solid var(--color-accent); border-radius: var(--radius-md); padding: 0.6rem 0.9rem; }
"""
# The system's own fonts: the page needs nothing from the network.
FONT = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Liberation Sans", "Arial", "sans-serif"]
THEME = gr.themes.Soft(
    primary_hue="teal",
    neutral_hue="slate",
    font=[gr.themes.Font(name) for name in FONT],
    font_mono=[gr.themes.Font("ui-monospace"), gr.themes.Font("monospace")],
)


def build() -> gr.Blocks:
    """The page, not started yet. A tab is a module with `build()` (its content) and `pipeline` (its model)."""
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gr.Markdown(HEADER, elem_id="header")
        gr.Markdown(ETHICS, elem_id="ethics")
        with gr.Tab("Complete", id="complete"):
            complete.build()
        with gr.Tab("Symmetrize", id="symmetrize"):
            symmetrize.build()
        with gr.Tab("Rotate", id="rotate"):
            rotate.build()
        with gr.Tab("Normalize", id="normalize"):
            normalize.build()
        with gr.Tab("Transfer", id="transfer"):
            transfer.build()
    page.queue(max_size=20)
    return page


def main() -> None:
    """Start the page; the models load meanwhile."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    page = build()
    for tab in (complete, symmetrize, rotate, normalize, transfer):
        if not tab.pipeline.missing:
            tab.pipeline.start()
    page.launch(
        theme=THEME,
        css=CSS,
        max_file_size="40mb",
        footer_links=["api"],
        run_history=False,  # it would keep people's photos in the browser
        enable_monitoring=False,
        mcp_server=importlib.util.find_spec("mcp") is not None,
    )


if __name__ == "__main__":
    main()
