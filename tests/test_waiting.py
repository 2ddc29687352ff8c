"""Waiting lines of the page: what visitors are told, and whose work goes first."""

import asyncio
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_who_waits_is_told_for_what_and_how_long():
    from waiting import BusyError, Queue, Stopped

    queue = Queue("a fit", most=2)
    queue.seconds = 20  # as measured
    go, told, ends = threading.Event(), [], []

    def work(tell, name):
        tell(0.5, "Fitting")
        assert go.wait(20)
        tell(0.6, "Fitting")
        return name

    async def visitor(name):
        try:
            async for news in queue.follow(work, name):
                told.append(news[1] if isinstance(news, tuple) else queue.describe(news)[1])
        except Exception as error:
            ends.append(error)

    async def both():
        first = asyncio.create_task(visitor("first"))
        await asyncio.sleep(0.4)
        second = asyncio.create_task(visitor("second"))
        await asyncio.sleep(0.4)
        await visitor("third")
        go.set()
        await asyncio.gather(first, second)

    asyncio.run(both())
    assert any(
        re.fullmatch(r"Waiting for a fit: 1 person is ahead of you, about \d+ s", str(x)) for x in told
    )
    assert any("Fitting" in str(x) and "left" in str(x) for x in told)
    assert {"first", "second"} <= set(map(str, told))
    (busy,) = ends
    assert isinstance(busy, BusyError) and "try again" in str(busy)
    assert not issubclass(Stopped, BusyError)


def test_a_duration_is_told_only_once_it_was_measured_and_without_loading():
    from waiting import LOADING, Queue

    queue, told = Queue("the models"), []

    def work(tell):
        tell(0.05, LOADING)
        time.sleep(0.5)
        tell(0.1, "Working")
        time.sleep(0.3)

    async def visit():
        async for news in queue.follow(work):
            if not isinstance(news, tuple):
                told.append(queue.describe(news)[1])

    asyncio.run(visit())
    assert {"Loading the model", "Working"} <= set(told) and not any("left" in text for text in told)
    assert 0.2 < queue.seconds < 0.5
    asyncio.run(visit())
    assert "Working · about 1 s left" in told and "Loading the model" in told


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux alone")
def test_fits_let_others_go_first():
    from waiting import Queue

    def priority(tell):
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    patient, usual = (asyncio.run(Queue("a fit", patient=value).run(priority)) for value in (True, False))
    assert patient > usual


def test_a_visitor_who_leaves_ends_the_work():
    from waiting import Queue, Stopped

    queue, ended = Queue("a fit"), []

    def work(tell):
        try:
            for _ in range(200):
                tell(0.1, "Fitting")
                time.sleep(0.05)
        except Stopped:
            ended.append(True)
            raise

    async def leave():
        news = queue.follow(work)
        async for _ in news:
            await asyncio.sleep(0.2)
            await news.aclose()

    asyncio.run(leave())
    queue._pool.shutdown()
    assert ended == [True]


@pytest.mark.parametrize("ends", ["late", "at once", "with an error"])
def test_a_run_ends_when_another_one_shows_its_result_in_the_same_place(ends):
    import gradio as gr
    import panel
    from waiting import Queue

    from facesym.errors import ImageError

    class Place:
        outputs = ()

        def show(self, result):
            return result

        def busy(self, text, **options):
            return "busy"

        def fail(self, error):
            return error

    def work(tell, name):
        if ends == "with an error" and name == "first":
            raise ImageError("no face")
        if ends == "late" or name == "second":
            time.sleep(0.5)
        return name

    place, queue, calls = Place(), Queue("the models", workers=2), [0]
    with gr.Blocks() as page:
        place.button, place.cancel, state = gr.Button(), gr.Button(), gr.State(calls)
        place.outputs = [gr.HTML()]
        for _ in "ab":
            panel.connect(place, queue, work, [gr.State()], state)
    first, second = (fn.fn for fn in page.fns.values() if fn.name == "answer")

    async def both():
        runs = [first(calls, "first"), second(calls, "second")]
        begun = [await anext(run) for run in runs]
        return begun, *[[news async for news in run][-1:] for run in runs]

    assert asyncio.run(both()) == (["busy", "busy"], [], ["second"])


def test_the_end_of_the_process_waits_for_no_job():
    """Running work ends at its next step, and waiting work does not begin."""
    code = """
import asyncio, sys, time
sys.path.insert(0, "spaces")
from waiting import Queue, stop_queues
queue = Queue("a fit")
def work(tell):
    for i in range(600):
        tell(i / 600, "Fitting")
        time.sleep(0.1)
async def main():
    jobs = [asyncio.create_task(queue.run(work)) for _ in range(3)]
    await asyncio.sleep(0.5)
    stop_queues()
    sys.exit()
asyncio.run(main())
"""
    begun = time.monotonic()
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, check=False)
    assert time.monotonic() - begun < 20


def test_the_log_names_no_files_of_visitors(caplog):
    import parts

    told = parts.wording(FileNotFoundError(f"no file {parts.CACHE}/0123/anna_2026-03-01_rest.jpg"))
    assert "anna" not in told and "anna" not in caplog.text and "no file …" in caplog.text
