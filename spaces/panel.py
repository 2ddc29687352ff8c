"""A tab's panel: its controls, button, progress and result."""

import html
import re
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import gradio as gr
import parts
from stage import need
from waiting import Queue, Stopped


@dataclass
class View:
    """A pair to compare, or a series to slide through.

    Attributes:
        label: name of the view, shown when there are several.
        before, after: paths of two images of the same size.
        frames, labels: paths and captions of the series.
        start: index of the first frame shown.
        about: label of the slider.
    """

    label: str
    before: str = ""
    after: str = ""
    frames: list = field(default_factory=list)
    labels: list = field(default_factory=list)
    start: int = 0
    about: str = ""


@dataclass
class Outcome:
    """The result of a tab's work.

    Attributes:
        views: list of `View`; the first is shown first.
        downloads: (label, path).
        numbers: one-line summary of the result, with Markdown's ** for bold.
        notes: warnings for the visitor.
        result: path of the image that other tabs can continue with.
        extras: HTML below the result.
    """

    views: list
    downloads: list
    numbers: str
    notes: list
    result: str
    extras: str = ""


@dataclass
class Tab:
    """A tab of the page. Its module defines it as ``tab``, along with these functions:

    - ``controls()``: builds the controls and returns the components.
    - ``work(tell, value, shot, *choices)``: runs the task and returns an `Outcome`; ``value`` is the stage's.
    - ``find_mask(tell, value, shot, *choices)``, in a tab with a brush: finds a mask. Returns a sentence and the
      stage's value with the mask.
    - ``api()``: adds the API endpoints.

    Attributes:
        name: the task.
        title, tagline: the name and the one-line description that visitors see.
        button: the main button's label.
        queue: the `Queue` in which its work waits.
    """

    name: str
    title: str
    tagline: str
    button: str
    pipeline: parts.Pipeline
    queue: parts.Queue = parts.MODELS


def result_value(outcome: Outcome | None, tab: Tab) -> dict:
    """Convert an outcome to the viewer's value."""
    if outcome is None:
        return {}
    views = [
        {
            "label": view.label,
            "before": parts.url(view.before) if view.before else "",
            "after": parts.url(view.after) if view.after else "",
            "frames": [parts.url(frame) for frame in view.frames],
            "labels": view.labels,
            "start": view.start,
            "about": view.about,
        }
        for view in outcome.views
    ]
    downloads = [
        {"label": label, "href": parts.url(path), "name": Path(path).name}
        for label, path in outcome.downloads
    ]
    return {"views": views, "downloads": downloads, "task": tab.name}


def bold(text: str) -> str:
    """Convert a line with ** for bold to HTML."""
    return re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", html.escape(text))


def status(fraction: float | None = None, text: str = "", notes=(), error: str = "") -> str:
    """Return the line under a button as HTML: a progress bar, numbers with notes, or an error."""
    if error:
        return f'<p class="error" role="alert">{html.escape(error)}</p>'
    if fraction is not None:
        percent = round(100 * fraction)
        return (
            f'<p>{html.escape(text)}</p><div class="bar" role="progressbar" aria-label="Progress" '
            f'aria-valuemin="0" aria-valuemax="100" aria-valuenow="{percent}"><i style="width:{percent}%"></i></div>'
        )
    notes = "".join(f'<p class="note">{html.escape(parts.without_folders(note))}</p>' for note in notes)
    return (f"<p>{bold(text)}</p>" if text else "") + notes


def status_line(elem_id: str) -> gr.HTML:
    """Return the component that shows a `status`."""
    return gr.HTML(
        "", html_template='<div class="status" role="status">${value}</div>', elem_id=elem_id,
        js_on_load=None, apply_default_css=False,
    )  # fmt: skip


class Viewer(gr.HTML):
    """Shows a result. Its value is a dict, see `result_value`; its "select" event carries the task to continue with and
    the URL of the frame on show, if it shows a series."""

    is_template = True

    def __init__(self, **options):
        super().__init__(
            {},
            html_template=parts.static("viewer.html"),
            js_on_load=parts.static("viewer.js"),
            apply_default_css=False,
            **options,
        )

    def postprocess(self, value):
        return value


@dataclass
class Panel:
    """The components of a tab and its running event."""

    module: ModuleType
    inputs: list
    status: gr.HTML
    viewer: Viewer
    extras: gr.HTML
    result: gr.State
    button: gr.Button
    cancel: gr.Button
    running: list = field(default_factory=list)

    @property
    def outputs(self):
        return [self.status, self.viewer, self.extras, self.result, self.button, self.cancel]

    def show(self, outcome):
        """Return values for ``outputs`` that show an outcome, or clear them if it is None."""
        if outcome is None:
            shown = "", {}, "", None
        else:
            shown = (
                status(text=outcome.numbers, notes=outcome.notes),
                result_value(outcome, self.module.tab),
                outcome.extras,
                outcome.result,
            )
        return *shown, gr.update(visible=True), gr.update(visible=False)

    def busy(self, text: str, viewer=None, clear=False):
        """Return values for ``outputs`` while a job runs."""
        old = gr.skip() if viewer is None and not clear else viewer or {}
        rest = ("", None) if clear else (gr.skip(), gr.skip())
        return text, old, *rest, gr.update(visible=False), gr.update(visible=True)

    def fail(self, error: str):
        """Return values for ``outputs`` after an error."""
        return status(error=error), {}, "", None, gr.update(visible=True), gr.update(visible=False)


def lead(module: ModuleType) -> None:
    """Build the heading above the photo, which says what the tab does."""
    tab = module.tab
    gr.HTML(
        f"<h2>{tab.title}</h2><p>{tab.tagline}</p>", apply_default_css=False, js_on_load=None,
        elem_classes=["lead", f"of-{tab.name}"],
    )  # fmt: skip


def controls_column(module: ModuleType) -> Panel:
    """Build a tab's left column: the controls and the button."""
    tab = module.tab
    with gr.Column(elem_id=f"panel-{tab.name}", elem_classes=["of-tab", f"of-{tab.name}"]):
        if tab.pipeline.missing:
            gr.HTML(
                "<p><b>The model for this tab has not been released yet.</b> The button will work once it has.</p>",
                elem_classes="notice",
            )
        inputs = module.controls()
        with gr.Row():
            button = gr.Button(tab.button, variant="primary", size="lg", elem_id=tab.name)
            cancel = gr.Button("Cancel", size="lg", visible=False, elem_id=f"{tab.name}-cancel")
        status = status_line(f"{tab.name}-status")
    return Panel(module, inputs, status, None, None, gr.State(None, time_to_live=3600), button, cancel)


def result_column(panel: Panel) -> None:
    """Build a tab's right column: the result."""
    name = panel.module.tab.name
    with gr.Column(elem_classes=["of-tab", "panel-result", f"of-{name}"]):
        panel.viewer = Viewer(elem_id=f"{name}-result")
        panel.extras = gr.HTML(
            "", js_on_load=None, elem_id=f"{name}-extras", apply_default_css=False, elem_classes="extras"
        )


def wire(panel: Panel, stage: gr.HTML, shot: gr.State) -> None:
    """Connect a tab's buttons."""
    tab = panel.module.tab

    def work(tell, value, photo, *choices):
        return panel.module.work(tell, value, need(photo, value), *choices)

    calls = gr.State([0])  # of both: they show their results in the same place
    panel.running = [connect(panel, tab.queue, work, [stage, shot, *panel.inputs], calls)]
    if hasattr(panel.module, "find_mask"):
        search = MaskSearch(panel, stage)
        inputs = [stage, shot, *panel.inputs]
        panel.running.append(connect(search, tab.queue, panel.module.find_mask, inputs, calls, stage.apply))


@dataclass
class MaskSearch:
    """A panel for `connect` whose result is a mask on the stage."""

    panel: Panel
    stage: gr.HTML

    @property
    def outputs(self):
        return [*self.panel.outputs, self.stage]

    @property
    def cancel(self):
        return self.panel.cancel

    def show(self, found):
        """Return values for ``outputs``: a sentence and the stage's value."""
        sentence, value = found
        _, *rest = self.panel.show(None)
        return status(text=sentence), *rest, value

    def busy(self, *args, **options):
        return *self.panel.busy(*args, **options), gr.skip()

    def fail(self, error: str):
        return *self.panel.fail(error), gr.skip()


def connect(
    panel, queue: Queue, work: Callable, inputs: list, calls: gr.State, event: Callable | None = None
):
    """Let a panel's button run a job, and its Cancel button end it.

    Args:
        panel: what has a ``button``, a ``cancel`` button and ``outputs``, and returns values for these with ``show``,
            ``busy`` and ``fail``, see `Panel`.
        queue: where the work waits.
        work: see `Queue.follow`.
        inputs: components with the work's arguments.
        calls: [0], the number of runs that have started, negative after Cancel. A run ends when another one with the
            same ``calls`` starts.
        event: what starts it, if not a click on the button.

    Returns:
        The event that runs.
    """

    async def answer(calls, *values):
        calls[0] = mine = abs(calls[0]) + 1  # negative after Cancel

        def replaced():  # what is shown now is another run's
            return calls[0] not in (mine, -mine)

        yield panel.busy(status(0, "Starting"), clear=True)
        last = None
        try:
            async with aclosing(queue.follow(work, *values)) as news:
                async for job in news:
                    if replaced():
                        return
                    if calls[0] != mine:
                        raise Stopped
                    if isinstance(job, tuple):
                        yield panel.show(job[1])
                        return
                    told = status(*queue.describe(job)), job.viewer
                    if told != last:
                        last = told
                        yield panel.busy(told[0], viewer=job.viewer)
        except Exception as error:
            if not replaced():
                yield panel.fail("Stopped." if isinstance(error, Stopped) else parts.wording(error))

    def cancel(calls):
        calls[0] = -abs(calls[0])
        return panel.fail("Stopped.")

    options = {"api_visibility": "private", "show_progress": "hidden"}
    running = (event or panel.button.click)(
        answer, [calls, *inputs], panel.outputs, concurrency_limit=None, **options
    )
    panel.cancel.click(cancel, calls, panel.outputs, cancels=[running], queue=False, **options)
    return running
