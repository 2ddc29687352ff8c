"""Many visitors at once, against a page that runs: python tests/load.py URL --visitors 40 --seconds 180 --pid PID

Each visitor has a photo with a mark of its own in a corner, asks for one thing after the other, and looks whether the
answer is its own photo. Prints the time that each task takes alone and under load, the errors, and the server's memory.
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
        self.files = {"photo": Image.fromarray(pixels), "mask": Image.fromarray(mask)}

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
        }[task]
        event = (await self.http.post(f"gradio_api/call/{task}", json={"data": data})).json()["event_id"]
        answer = (await self.http.get(f"gradio_api/call/{task}/{event}")).text
        if "event: complete" not in answer:
            raise RuntimeError(answer[-300:])
        result = json.loads(answer.rsplit("data: ", 1)[1])[0]
        picture = await self.http.get(f"gradio_api/file={result['path']}")
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
    raise SystemExit(asyncio.run(run(parser.parse_args())))
