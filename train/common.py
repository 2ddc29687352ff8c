"""What the training scripts share: arguments, seeded streams, checkpoints, EMA, logs, sample grids, export.

A step is one batch a process. Checkpoints hold everything (networks, optimisers, EMA, random states), are written
to a temporary folder and renamed, and a run resumed from one goes on exactly where it stopped: sample n of the
stream depends on the seed and n alone (facesym.data.faces.Samples).
"""

import json
import os
import re
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from PIL import Image
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from facesym import zoo
from facesym.ops import bf16_is_fast


def add_arguments(parser, *, out, batch, lr):
    """The options every training script takes; the keywords are the script's own defaults."""
    parser.add_argument(
        "--data", nargs="+", required=True, metavar="FOLDER", help="aligned faces (`facesym prepare`)"
    )
    parser.add_argument(
        "--out", default=out, help="folder of the run: checkpoints, samples, logs (default: %(default)s)"
    )
    parser.add_argument("--batch", type=int, default=batch, help="pictures a step and process")
    parser.add_argument("--accumulate", type=int, default=1, help="steps whose gradients are added up")
    parser.add_argument("--lr", type=float, default=lr)
    parser.add_argument(
        "--ema", type=float, default=0.999, help="decay of the averaged weights, the ones exported"
    )
    parser.add_argument(
        "--precision", choices=["auto", "no", "bf16"], default="auto", help="auto: bf16 where fast"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes that load and augment")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="use the first N pictures only (to try things out)")
    parser.add_argument("--log-every", type=int, default=1, metavar="STEPS")
    parser.add_argument(
        "--sample-every", type=int, default=500, metavar="STEPS", help="write a grid of samples"
    )
    parser.add_argument("--save-every", type=int, default=500, metavar="STEPS", help="write a checkpoint")
    parser.add_argument("--keep", type=int, default=2, help="checkpoints kept")
    parser.add_argument(
        "--resume", nargs="?", const="latest", help="go on from a checkpoint folder (default: the newest)"
    )
    parser.add_argument(
        "--export", metavar="ID", help="at the end, write fp16 weights to facesym/weights/ID and zoo.json"
    )


def model_folder(init):
    """The folder of the model that --init names: a run's folder, or a model's own."""
    folder = Path(init)
    return folder / "model" if (folder / "model").is_dir() else folder


def load_critic(critic, init, name="discriminator.safetensors"):
    """Load what `Run.save_critic` wrote into the run that --init names; nothing if there is none."""
    if init and (Path(init) / name).exists():
        critic.load_state_dict(safetensors.torch.load_file(Path(init) / name))


class Run:
    """One training run: owns the accelerator, the clock, the logs and the checkpoints.

    Use::

        run = Run(args)
        net = run.add(net)
        optimizer = run.adam(net.parameters())
        average = run.average(net)
        run.restore()
        for batch in run.batches(samples, total_steps):
            with run.autocast():
                loss = ...
            run.update(optimizer, loss)
            run.average_step()
            run.log(loss=loss)

    The networks are not wrapped in DistributedDataParallel: a GAN step runs a net several times with some of its
    parts frozen, which the wrapper's hooks do not allow. Gradients are averaged over the processes in ``update``.
    """

    def __init__(self, args):
        self.args, self.out = args, Path(args.out)
        precision = args.precision
        if precision == "auto":
            precision = "bf16" if bf16_is_fast() else "no"
        self.accelerator = Accelerator(
            mixed_precision=precision, log_with="tensorboard", project_dir=str(self.out)
        )
        set_seed(args.seed)  # the same networks in every process
        self.main, self.device = self.accelerator.is_main_process, self.accelerator.device
        self.autocast = self.accelerator.autocast
        if self.main:
            self.out.mkdir(parents=True, exist_ok=True)
            (self.out / "args.json").write_text(json.dumps(vars(args), indent=2, default=str))
        self.print(f"{self.accelerator.num_processes} process(es) on {self.device}, precision {precision}")
        self.accelerator.wait_for_everyone()
        self.accelerator.init_trackers("tensorboard")
        self.step, self.averages, self._stop = 0, [], False
        self.accelerator.register_for_checkpointing(self)
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, self._on_signal)

    # --- networks and optimisers --------------------------------------------------------------------------------
    def add(self, net):
        """Put a net on the device, in channels_last (which makes bf16 convolutions fast), and into the checkpoints."""
        net = net.to(self.device).to(memory_format=torch.channels_last)
        self.accelerator.register_for_checkpointing(net)
        return net

    def adam(self, parameters, lr=None, betas=(0.9, 0.999), **options):
        """An Adam(W) optimiser that is kept in the checkpoints."""
        optimizer = torch.optim.AdamW(
            list(parameters), lr or self.args.lr, betas, **({"weight_decay": 0} | options)
        )
        self.accelerator.register_for_checkpointing(optimizer)
        return optimizer

    def register(self, *objects):
        """Keep further objects with a state_dict (schedules) in the checkpoints."""
        self.accelerator.register_for_checkpointing(*objects)

    @property
    def updates(self):
        """Whether the step now running is one that moves the weights (see --accumulate)."""
        return (self.step + 1) % self.args.accumulate == 0

    def update(self, optimizer, loss, clip=10.0):
        """Backward; and, each ``--accumulate`` steps, average the gradients over the processes, clip them and step.

        Returns:
            The gradients' norm before clipping, or None when the step only accumulates.
        """
        (loss / self.args.accumulate).backward()
        if not self.updates:
            return None
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if self.accelerator.num_processes > 1:
            flat = torch.cat([p.grad.flatten() for p in parameters])
            flat = self.accelerator.reduce(flat, "mean")
            for p, grad in zip(parameters, flat.split([p.numel() for p in parameters])):
                p.grad.copy_(grad.view_as(p))
        norm = torch.nn.utils.clip_grad_norm_(parameters, clip)
        if torch.isfinite(norm):  # one bad batch must not end a run
            optimizer.step()
        optimizer.zero_grad()
        return norm

    def average(self, net):
        """An exponential moving average of the net's parameters; its buffers are copied, not averaged."""

        def blend(averaged, current, count):
            # A short memory at first, so that the start is forgotten soon.
            torch._foreach_lerp_(
                averaged, current, 1 - min(self.args.ema, (1 + float(count)) / (10 + float(count)))
            )

        average = AveragedModel(net, multi_avg_fn=blend)
        average.requires_grad_(False).eval()
        self.averages.append((average, net))
        self.accelerator.register_for_checkpointing(average)
        return average.module

    def average_step(self):
        """Move the averages; call once after the averaged net's update."""
        if self.updates:
            for average, net in self.averages:
                average.update_parameters(net)

    # --- data ---------------------------------------------------------------------------------------------------
    def batches(self, samples, total):
        """Yield batches from this run's step up to ``total``, saving on the way, at the end and when told to stop."""
        batch, world, rank = self.args.batch, self.accelerator.num_processes, self.accelerator.process_index
        order = ((step * world + rank) * batch + i for step in range(self.step, total) for i in range(batch))
        loader = DataLoader(
            samples,
            batch,
            sampler=_Once(order),
            num_workers=self.args.workers,
            pin_memory=self.device.type == "cuda",
            worker_init_fn=_ignore_signals,
        )
        self._total, self._start, self._clock = total, self.step, time.monotonic()
        for data in loader:
            yield {
                key: value.to(self.device, non_blocking=True).contiguous(
                    memory_format=torch.channels_last if value.ndim == 4 else torch.contiguous_format
                )
                for key, value in data.items()
            }
            self.step += 1
            if self._asked_to_stop():
                self.save()
                self.print(f"stopped at step {self.step}; go on with --resume")
                self.accelerator.end_training()
                raise SystemExit(0)
            if self.step % self.args.save_every == 0 or self.step == total:
                self.save()

    def due(self, every):
        """Whether something done every so many steps is due in the step now running (and in the last one)."""
        return (self.step + 1) % every == 0 or self.step + 1 == self._total

    # --- telling ------------------------------------------------------------------------------------------------
    def print(self, text):
        if self.main:
            print(text, flush=True)

    def log(self, **values):
        """One line for the step now running, on screen, in stats.jsonl and in tensorboard."""
        if not self.due(self.args.log_every):
            return
        values = {k: float(v.detach().mean()) if torch.is_tensor(v) else float(v) for k, v in values.items()}
        done, seconds = self.step + 1 - self._start, time.monotonic() - self._clock
        rate = done * self.args.batch * self.accelerator.num_processes / seconds
        eta = (self._total - self.step - 1) * seconds / done
        line = " ".join(f"{k} {v:.4g}" for k, v in values.items())
        self.print(f"step {self.step + 1}/{self._total}  {line}  {rate:.1f} images/s  ETA {eta / 60:.0f} min")
        if self.main:
            with open(self.out / "stats.jsonl", "a") as file:
                file.write(json.dumps({"step": self.step + 1, **values, "images_per_s": rate}) + "\n")
        self.accelerator.log(values, step=self.step + 1)

    def grid(self, name, columns):
        """Write a PNG whose columns are Bx3xHxW tensors in [-1, 1] (or Bx1xHxW in [0, 1]), a row a sample."""
        if not self.main:
            return
        columns = [c.detach().float().cpu() for c in columns]
        columns = [c.expand(-1, 3, -1, -1) * 2 - 1 if c.shape[1] == 1 else c for c in columns]
        picture = torch.cat([torch.cat(list(c), 1) for c in columns], 2)  # 3 x (B·H) x (columns·W)
        array = ((picture.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
        folder = self.out / "samples"
        folder.mkdir(exist_ok=True)
        Image.fromarray(np.ascontiguousarray(array)).save(folder / f"{self.step + 1:07d}-{name}.png")

    # --- checkpoints --------------------------------------------------------------------------------------------
    def state_dict(self):
        return {"step": self.step}

    def load_state_dict(self, state):
        self.step = state["step"]

    def save(self):
        """Write a checkpoint: all or nothing. The oldest beyond ``--keep`` are removed afterwards."""
        folder = self.out / "checkpoints"
        final, temporary = folder / f"step-{self.step:07d}", folder / f"tmp-{self.step:07d}"
        if self.main:
            shutil.rmtree(temporary, ignore_errors=True)
            folder.mkdir(exist_ok=True)
        self.accelerator.wait_for_everyone()
        self.accelerator.save_state(str(temporary))
        self.accelerator.wait_for_everyone()
        if self.main:
            shutil.rmtree(final, ignore_errors=True)
            os.replace(temporary, final)
            for old in self.checkpoints()[: -self.args.keep]:
                shutil.rmtree(old, ignore_errors=True)
        self.accelerator.wait_for_everyone()

    def checkpoints(self):
        """Finished checkpoints, oldest first."""
        found = (self.out / "checkpoints").glob("step-*")
        return sorted(path for path in found if re.fullmatch(r"step-\d+", path.name))

    def restore(self):
        """Load the checkpoint asked for by ``--resume``; without one, start at step 0."""
        if not self.args.resume:
            return
        if self.args.resume == "latest":
            if not self.checkpoints():
                self.print(f"no checkpoint in {self.out}; starting at step 0")
                return
            folder = self.checkpoints()[-1]
        else:
            folder = Path(self.args.resume)
            if not folder.is_dir():
                raise SystemExit(f"--resume: {folder} is not a folder")
        self.accelerator.load_state(str(folder))
        self.print(f"resumed {folder} at step {self.step}")

    def save_critic(self, critic, name="discriminator.safetensors"):
        """Keep a critic's weights in the run's folder, for another run's --init."""
        if self.main:
            state = {key: value.contiguous() for key, value in critic.state_dict().items()}
            safetensors.torch.save_file(state, self.out / name)

    def export(self, net, **fields):
        """Write the (averaged) net as fp16 to the run's folder and, with ``--export ID``, to the packaged weights.

        Args:
            net: a facesym Model.
            fields: of its zoo.json entry (task, input_size, training_data …); see facesym.zoo.register.
        """
        if not self.main:
            return
        net.save_pretrained(self.out / "model", dtype=torch.float16)
        self.print(f"wrote {self.out / 'model'}")
        if self.args.export:
            zoo.register(self.args.export, self.out / "model", **fields)
            folder = Path(zoo.__file__).parent / "weights" / self.args.export
            self.print(f"exported {folder}")

    def _on_signal(self, *_):
        self._stop = True

    def _asked_to_stop(self):
        # One process may have been signalled before the others: they agree on it.
        if self.accelerator.num_processes == 1:
            return self._stop
        if self._stop:
            self.accelerator.set_trigger()
        return self.accelerator.check_trigger()


def _ignore_signals(_):
    """A Ctrl-C reaches the whole process group: the loaders must live until the run has saved."""
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)


class _Once(torch.utils.data.Sampler):
    """A sampler over an iterator that is used up once."""

    def __init__(self, order):
        self.order = order

    def __iter__(self):
        return self.order
