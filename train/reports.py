"""Reports of a run: lines on screen, stats.jsonl, a tracker (tensorboard, wandb) and grids of samples."""

import json
import time

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

TITLE = 16  # pixels, height of the band with the columns' titles


def duration(seconds):
    """Format seconds: "40 s", "12 min", "3.4 h"."""
    return (
        f"{seconds:.0f} s"
        if seconds < 60
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )


def draw_grid(columns):
    """Arrange samples in one image: a row per sample, a titled column per tensor.

    Args:
        columns: {title: Bx3xHxW tensor in [-1, 1], or Bx1xHxW in [0, 1]}, all of one size.

    Returns:
        PIL image.
    """
    parts = [c.detach().float().cpu() for c in columns.values()]
    parts = [c.expand(-1, 3, -1, -1) * 2 - 1 if c.shape[1] == 1 else c for c in parts]
    image = torch.cat([torch.cat(list(c), 1) for c in parts], 2)  # 3 x (B·H) x (columns·W)
    array = ((image.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    grid = Image.new("RGB", (array.shape[1], array.shape[0] + TITLE), "white")
    grid.paste(Image.fromarray(np.ascontiguousarray(array)), (0, TITLE))
    draw, width = ImageDraw.Draw(grid), parts[0].shape[-1]
    for i, title in enumerate(columns):
        size = 12
        while size > 6 and draw.textlength(title, ImageFont.load_default(size)) > width - 2:
            size -= 1
        draw.text(
            (i * width + width / 2, TITLE / 2), title, "black", ImageFont.load_default(size), anchor="mm"
        )
    return grid


class Reports:
    """The reports of a `train.common.Run`."""

    def __init__(self, run):
        self.run, self.file, self.tracker = run, run.out / "stats.jsonl", run.args.report_to
        if self.tracker == "wandb":
            try:
                import wandb  # noqa: F401
            except ImportError:
                raise SystemExit("--report-to wandb needs the package wandb: pip install wandb") from None

    def begin(self):
        """Start the reports; drop the lines that an interrupted run wrote after its checkpoint."""
        run, self._start = self.run, time.monotonic()
        if run.main:
            (run.out / "args.json").write_text(json.dumps(vars(run.args), indent=2, default=str))
            if self.file.exists():
                lines = self.file.read_text().splitlines(keepends=True)
                self.file.write_text("".join(line for line in lines if json.loads(line)["step"] <= run.step))
        if self.tracker != "none":
            settings = {
                k: v if isinstance(v, int | float | str) else str(v) for k, v in vars(run.args).items()
            }
            run.accelerator.init_trackers("facesym", settings)

    def log(self, values):
        """Write a line for the current step; ``values`` are numbers, or tensors to average."""
        run = self.run
        values = {k: float(v.detach().mean()) if torch.is_tensor(v) else float(v) for k, v in values.items()}
        if run.optimizers:
            values.setdefault("lr", run.optimizers[0][0].param_groups[0]["lr"])
        done, seconds = run.step + 1 - run.first, time.monotonic() - self._start
        rate = done * run.args.batch * run.world / seconds
        left = duration((run.total - run.step - 1) * seconds / done)
        line = " ".join(f"{k} {v:.4g}" for k, v in values.items())
        run.print(f"step {run.step + 1}/{run.total}  {line}  {rate:.1f} images/s  ETA {left}")
        if run.main:
            with open(self.file, "a") as file:
                file.write(json.dumps({"step": run.step + 1, **values, "images_per_s": rate}) + "\n")
        run.accelerator.log(values, step=run.step + 1)

    def grid(self, name, columns):
        """Write the image of `draw_grid` to ``samples/`` and to the tracker."""
        step, grid = self.run.step + 1, draw_grid(columns)
        folder = self.run.out / "samples"
        folder.mkdir(exist_ok=True)
        grid.save(folder / f"{step:07d}-{name}.png")
        for tracker in self.run.accelerator.trackers:
            options = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
            tracker.log_images({name: np.asarray(grid)[None]}, step=step, **options)

    def end(self):
        """Close the tracker."""
        self.run.accelerator.end_training()
