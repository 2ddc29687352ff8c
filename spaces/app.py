"""The web page. `python spaces/app.py` starts it; GRADIO_SERVER_NAME and GRADIO_SERVER_PORT set its address."""

import importlib.util
import logging
import os
import signal
import sys
import uuid
import warnings
from pathlib import Path
from typing import NoReturn

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
# OpenMP threads that spin while they wait slow each other down on a shared machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if importlib.util.find_spec("facesym") is None:  # a clone without an installed facesym
    sys.path.append(str(Path(__file__).parent.parent))

import complete
import examples
import gradio as gr
import meta
import normalize
import panel
import parts
import rotate
import stage
import study
import symmetrize
import transfer
from starlette.middleware import Middleware
from waiting import stop_queues

import facesym.logging
from facesym.errors import ImageError

ETHICS = """<p><b>Use only photos of adults who agree to it, and label the results as edited when you share them.</b>
The models invent what they add.</p>
<details><summary>Consent, privacy and misuse</summary>
<p>Everything the models add is a guess and proves nothing: never use it to identify anyone, or to remove something
that a person wears for their own reasons. The asymmetry of a face in a photo is not a diagnosis. Every file you save
carries a metadata tag that says it was edited with AI; some sites strip such tags, so say it in words too. Some groups
of people are rare in the training data, and the models work less well for them: see the model cards.</p>
<p>Uploads are stored under names that cannot be guessed, shown to no one else, and deleted within about an hour. The
page logs nothing about them and sends no analytics.</p></details>"""
FOOTER = """<p>Code: Apache-2.0. Weights: research use only, see the model cards.
<a href="https://huggingface.co/facesym">Models and model cards</a> ·
<a href="https://huggingface.co/spaces/facesym/facesym/tree/main">Source</a> ·
<a href="https://www.apache.org/licenses/LICENSE-2.0">Licence</a></p>"""
MODULES = (complete, symmetrize, rotate, normalize, transfer)
# The system's own fonts: the page needs nothing from the network.
FONT = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Liberation Sans", "Arial", "sans-serif"]
THEME = gr.themes.Base(
    primary_hue="teal",
    neutral_hue="slate",
    font=[gr.themes.Font(name) for name in FONT],
    font_mono=[gr.themes.Font("ui-monospace"), gr.themes.Font("monospace")],
).set(
    body_background_fill="#f3f6f8",
    body_background_fill_dark="#0d141b",
    block_background_fill="transparent",
    block_background_fill_dark="transparent",
    block_label_text_color="*neutral_700",
    block_title_text_color="*neutral_800",
    block_title_text_color_dark="*neutral_100",
    block_border_width="0px",
    block_padding="0px",
    block_shadow="none",
    button_primary_background_fill="#0f766e",
    button_primary_background_fill_hover="#115e59",
    button_primary_background_fill_dark="#0f766e",
    button_primary_background_fill_hover_dark="#115e59",
    button_primary_text_color="white",
    button_secondary_text_color="*neutral_800",
    slider_color="#0f766e",
    slider_color_dark="#2dd4bf",
)
SESSIONS = 1000  # pages whose state Gradio keeps; each takes about 0.3 MB
NOTHING_RUNS = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
IN_TURN = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}


def build() -> gr.Blocks:
    """Build the page without starting it."""
    with gr.Blocks(
        title=meta.TITLE, analytics_enabled=False, delete_cache=(parts.SWEPT, parts.KEPT), fill_width=True
    ) as page:
        gr.HTML(
            html_template=parts.static("top.html").replace("CARDS", examples.cards([m.tab for m in MODULES])),
            js_on_load=parts.static("top.js"),
            apply_default_css=False,
            elem_id="top",
        )
        shot = gr.State(None, time_to_live=3600)
        with gr.Row(elem_id="workspace", equal_height=False):
            with gr.Column(min_width=300, elem_id="left"):
                for module in MODULES:
                    panel.lead(module)
                photo = stage.Stage()
                panels = [panel.controls_column(module) for module in MODULES]
            with gr.Column(min_width=300, elem_id="right"):
                for tab_panel in panels:
                    panel.result_column(tab_panel)
                shelf = examples.shelf()
                with gr.Column(elem_classes=["of-tab", "of-rotate"]):
                    generated = rotate.build_more()
        study.build()
        gr.HTML(ETHICS, elem_id="ethics", apply_default_css=False, js_on_load=None)
        gr.HTML(FOOTER, elem_id="foot", apply_default_css=False, js_on_load=None)
        for module in MODULES:
            module.api()
        study.api()
        connect(panels, generated, photo, shot, shelf)
    page.queue(max_size=400)  # the waiting lines in parts.py have limits of their own
    # Seconds between two looks at the queue, as on Windows: elsewhere an idle page takes 8 % of a core.
    page._queue.sleep_when_free, page._queue.progress_update_sleep_when_free = 0.05, 0.1
    return page


def connect(
    panels: list, generated: panel.Viewer, photo: stage.Stage, shot: gr.State, shelf: gr.HTML
) -> None:
    """Connect the events that change the photo: each clears every tab's result and cancels running jobs.

    A rejected photo leaves the page as it is.
    """
    for tab_panel in panels:
        panel.wire(tab_panel, photo, shot)
    results = [output for tab_panel in panels for output in tab_panel.outputs]
    running = [event for tab_panel in panels for event in tab_panel.running]
    # A new value for each photo. Gradio cancels jobs when an event starts, before a photo is checked.
    taken = gr.State("")
    photo_state = [photo, shot, taken]

    def show(outcomes=None):
        """Return values for ``results``. ``outcomes``: {task: outcome} to show, by default nothing."""
        return [value for each in panels for value in each.show((outcomes or {}).get(each.module.tab.name))]

    def take(stage_value, new_shot):
        """Return values for ``photo_state``; a rejected photo changes only what the stage says."""
        if new_shot is None:
            return stage_value, gr.skip(), gr.skip()
        return stage_value, new_shot, uuid.uuid4().hex

    async def upload(stage_value):
        return take(*await stage.take(stage_value))

    async def go_on(event: gr.EventData, stage_value, result_path=None):
        try:
            path = parts.file_of(event.frame) if event.frame else result_path
            if not os.path.isfile(path or ""):
                raise ImageError(parts.DELETED)
            new_shot = await parts.QUICK.run(stage.look_at, path)
        except Exception as error:
            return take({**(stage_value or {}), "error": parts.wording(error)}, None)
        return take(stage.on_stage(new_shot), new_shot)

    def open_example(event: gr.EventData):
        stage_value, new_shot, outcomes = examples.open_example(int(event.index))
        return [stage_value, new_shot, *show(outcomes)]

    coming = [photo.upload(upload, photo, photo_state, trigger_mode="multiple", **IN_TURN)]
    for viewer, source in [*((each.viewer, [photo, each.result]) for each in panels), (generated, photo)]:
        coming.append(
            viewer.select(go_on, source, photo_state, **IN_TURN)
        )  # ``generated`` always shows a frame
    taken.change(show, None, results, cancels=running, **NOTHING_RUNS)
    replaced = {"cancels": running + coming, **NOTHING_RUNS}  # a photo on its way no longer comes
    photo.clear(lambda: [{}, None, *show()], None, [photo, shot, *results], **replaced)
    shelf.select(open_example, None, [photo, shot, *results], **replaced)


def stop(*_) -> NoReturn:
    """End the process, also while jobs run or wait: by default, SIGTERM ends Python without deleting the photos."""
    stop_queues()
    sys.exit()


def main() -> None:
    """Start the page; the models load in the background."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    warnings.filterwarnings("ignore", module=r"PIL\.")  # about size and metadata: facesym checks what matters
    facesym.logging.set_verbosity(logging.ERROR)  # notes on visitors' photos are for the visitors
    parts.log.setLevel(logging.INFO)
    for library in ("httpx", "mcp"):
        logging.getLogger(library).setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, stop)
    parts.start_sweeping()
    gr.set_static_paths([parts.EXAMPLES, parts.HERE / "static"])
    page = build()
    for module in MODULES:
        if not module.tab.pipeline.missing:
            module.tab.pipeline.start()
    page.launch(
        theme=THEME,
        app_kwargs={"middleware": [Middleware(meta.Head, tabs=[module.tab.name for module in MODULES])]},
        favicon_path=parts.HERE / "static" / "icon.svg",
        max_file_size="40mb",
        footer_links=["api"],
        run_history=False,  # it would store people's photos in the browser
        enable_monitoring=False,
        state_session_capacity=SESSIONS,
        mcp_server=importlib.util.find_spec("mcp") is not None,
    )


if __name__ == "__main__":
    main()
