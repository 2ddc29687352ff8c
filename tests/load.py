"""Many visitors at once, against a page that runs: python tests/load.py URL --visitors 40 --seconds 180 --pid PID

Each visitor has a photo with a mark of its own in a corner, asks for one thing after the other, and looks whether the
answer is its own photo. Prints the time that each task takes alone and under load, the errors, and the server's memory.

With --requests 500: that many requests by five visitors, and the server's memory after every 50 of them.
With --open: seconds from opening the page in a browser to an example's result, and to the result of a new photo.
"""

import argparse
import asyncio
import io
import json
import random
import statistics
import time
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

EXAMPLES = Path(__file__).parent.parent / "spaces" / "examples"
TASKS = ("symmetrize", "normalize", "transfer", "complete")
OTHERS = ("find_mask", "generate", "rotate")  # with --requests, besides the tasks
LOT = 50  # requests between two looks at the server's memory; one of them is a fit
BAND = 24  # pixels of the mark


class Visitor:
    """One visitor: a photo, and what it saw."""

    def __init__(self, url: str, number: int):
        self.number, self.seen, self.errors = number, [], []
        self.http = httpx.AsyncClient(base_url=url, timeout=600)
        self.draw = random.Random(number)
        base = Image.open(EXAMPLES / "astronaut.jpg").convert("RGB")
        pixels = np.array(base)
        pixels[:BAND, :BAND] = np.random.default_rng(number).integers(0, 256, (BAND, BAND, 3))
        self.photo = pixels
        mask = np.zeros(pixels.shape[:2], np.uint8)
        mask[95:120, 130:200] = 255
        covered = pixels.copy()
        covered[95:120, 130:200] = 20
        named = {"photo": pixels, "mask": mask, "covered": covered}
        self.files = {name: Image.fromarray(values) for name, values in named.items()}

    async def upload(self) -> dict:
        """Add the pictures: {name: what the API takes for it}."""
        taken = {}
        for name, image in self.files.items():
            file = io.BytesIO()
            image.save(file, "PNG")
            answer = await self.http.post(
                "gradio_api/upload", files={"files": (f"{name}.png", file.getvalue())}
            )
            taken[name] = {"path": answer.json()[0], "meta": {"_type": "gradio.FileData"}}
        return taken

    async def ask(self, task: str) -> float:
        """One request, from the upload to the picture: seconds."""
        start = time.monotonic()
        files = await self.upload()
        data = {
            "symmetrize": [files["photo"], "largest"],
            "complete": [files["photo"], files["mask"], "all"],
            "normalize": [files["photo"]],
            "transfer": [files["photo"], "happy", 1],
            "find_mask": [files["covered"], ["glasses", "sunglasses"]],
            "generate": [self.draw.randrange(10**6), 1],
            "rotate": [files["photo"], -20, 20],
        }[task]
        event = (await self.http.post(f"gradio_api/call/{task}", json={"data": data})).json()["event_id"]
        answer = (await self.http.get(f"gradio_api/call/{task}/{event}")).text
        if "event: complete" not in answer:
            raise RuntimeError(answer[-300:])
        result = json.loads(answer.rsplit("data: ", 1)[1])[0]
        picture = await self.http.get(f"gradio_api/file={result['path']}")
        if task in OTHERS:
            return time.monotonic() - start
        image = np.asarray(Image.open(io.BytesIO(picture.content)).convert("RGB"))
        if task in ("symmetrize", "complete") and (image[:BAND, :BAND] != self.photo[:BAND, :BAND]).any():
            raise RuntimeError(f"{task}: another visitor's picture")
        return time.monotonic() - start

    async def stay(self, seconds: float) -> None:
        """Ask for one thing after the other."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            task = self.draw.choice(TASKS)
            try:
                self.seen.append((task, await self.ask(task)))
            except Exception as error:
                self.errors.append(f"{task}: {error!r}"[:200])
            await asyncio.sleep(self.draw.uniform(0, 2))


def memory(pid: int | None) -> str:
    """The server's resident memory."""
    if not pid:
        return ""
    kilobytes = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmRSS" in line)
    return f"{int(kilobytes.split()[1]) / 1024:.0f} MB"


async def run_requests(options) -> int:
    """As many mixed requests as asked for, by five visitors; the exit status."""
    visitors = [Visitor(options.url, number) for number in range(5)]
    todo, errors = list(range(options.requests, 0, -1)), []

    async def work(visitor):
        while todo:
            number = todo.pop()
            if number % LOT == 0:
                print(f"memory after {number} requests {memory(options.pid)}", flush=True)
            task = "rotate" if number % LOT == 0 else visitor.draw.choice((*TASKS, *OTHERS[:2]))
            try:
                await visitor.ask(task)
            except Exception as error:
                errors.append(f"{task}: {error!r}"[:200])

    await asyncio.gather(*map(work, visitors))
    print(f"{len(errors)} errors; memory at the end {memory(options.pid)}")
    print(*errors[:5], sep="\n")
    return int(bool(errors))


def open_page(url: str) -> int:
    """Time the first results in a browser; the exit status."""
    from browser import CHROMIUM, FLAGS
    from playwright.sync_api import sync_playwright
    from visitor import open_tab, press, result, upload

    photo = (EXAMPLES / "astronaut.jpg").read_bytes()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for _ in range(3):
            page = browser.new_context(reduced_motion="reduce").new_page()
            start = time.monotonic()
            page.goto(url)
            page.locator(".tile:visible").first.click()
            result(page, "Complete").wait_for()
            example = time.monotonic() - start
            page.context.close()
            page = browser.new_context(reduced_motion="reduce").new_page()
            start = time.monotonic()
            page.goto(url)
            page.locator(".drop").wait_for()
            open_tab(page, "Symmetrize")
            upload(page, photo)
            press(page, "Symmetrize")
            own = time.monotonic() - start
            page.context.close()
            print(f"an example's result after {example:.1f} s, a new photo's after {own:.1f} s")
    return 0


async def run(options) -> int:
    """The whole run; the exit status."""
    first = Visitor(options.url, 0)
    for task in TASKS:
        await first.ask(task)  # so that every model is warm
    alone = {task: min([await first.ask(task) for _ in range(3)]) for task in TASKS}
    print("memory before", memory(options.pid))
    visitors = [Visitor(options.url, number + 1) for number in range(options.visitors)]
    await asyncio.gather(*(visitor.stay(options.seconds) for visitor in visitors))
    seen = [pair for visitor in visitors for pair in visitor.seen]
    errors = [error for visitor in visitors for error in visitor.errors]
    print("| task | alone, s | requests | median, s | p95, s |\n|---|---|---|---|---|")
    for task in TASKS:
        times = sorted(seconds for name, seconds in seen if name == task)
        if times:
            p95 = times[int(0.95 * (len(times) - 1))]
            print(
                f"| {task} | {alone[task]:.1f} | {len(times)} | {statistics.median(times):.1f} | {p95:.1f} |"
            )
    print(f"{len(seen)} requests, {len(errors)} errors; memory after {memory(options.pid)}")
    print(*errors[:5], sep="\n")
    return int(bool(errors))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", help="of the page, with a slash at its end")
    parser.add_argument("--visitors", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--pid", type=int, help="the server's process, to tell its memory")
    parser.add_argument("--requests", type=int, help="see above")
    parser.add_argument("--open", action="store_true", help="see above")
    given = parser.parse_args()
    if given.open:
        raise SystemExit(open_page(given.url))
    raise SystemExit(asyncio.run(run_requests(given) if given.requests else run(given)))
