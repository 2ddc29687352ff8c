"""The training run: seeded streams, checkpoints, averaged weights, logs and sample grids.

A step is one batch per process. A checkpoint holds all state (networks, optimisers, averages), and a resumed run
continues exactly where it stopped: sample n of the stream depends only on the seed and n (facesym.data.faces.Samples),
the random numbers of a step only on the seed, the step and the process.
"""

import contextlib
import json
import signal
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed

from facesym.data.faces import FaceFolders
from facesym.data.metadata import find_folders, split_rows
from facesym.data.pairs import Pairs
from train import export
from train.arguments import settle
from train.checkpoints import Checkpoints, compare_arguments, open_folder, read
from train.loader import ordered_loader
from train.optimise import averaged, lr_fraction, share_buffers, share_gradients
from train.precision import Precision, clock
from train.reports import Reports
from train.timing import StepTimer


class Run:
    """A training run with its accelerator, timer, logs and checkpoints.

    Example::

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

    The networks are not wrapped in DistributedDataParallel, whose hooks do not allow a GAN step to run a network
    several times with some parts frozen. ``update`` averages the gradients over the processes instead.

    Raises:
        SystemExit: ``--out`` already holds a run, or the arguments differ from those of the run to resume.
    """

    def __init__(self, args):
        self.args, self.out = settle(args), Path(args.out)
        self.accelerator = Accelerator(
            mixed_precision="no",  # see `autocast`
            log_with=None if args.report_to == "none" else args.report_to,
            project_dir=str(self.out),
        )
        self.main, self.device = self.accelerator.is_main_process, self.accelerator.device
        self.world, self.rank = self.accelerator.num_processes, self.accelerator.process_index
        self.checkpoints = Checkpoints(self.out / "checkpoints", args.keep)
        open_folder(self.out, args, self.main, self.accelerator.wait_for_everyone)
        set_seed(args.seed)  # the same initial weights in every process
        self.step, self._stop, self.best = 0, 0, float("inf")
        self.nets, self.optimizers, self.averages, self._kept, self._plateaus = [], [], [], [self], []
        self.timer = StepTimer(self.device, args.profile)
        self.precision = Precision(args.precision, self._use_memory_format, self._mean, self.print)
        self._kept.append(self.precision)
        self.reports = Reports(self)
        self.print(f"{self.world} process(es) on {self.device}")

    # --- networks and optimisers --------------------------------------------------------------------------------
    def add(self, net, part=None):
        """Move a network to the device for training and add it to the checkpoints; ``part``: name in ``--profile``."""
        net = net.to(self.device)
        self.nets.append(net)
        self._kept.append(net)
        if part:
            self.timer.watch(net, part)
        return net

    def freeze(self, net, part):
        """Move a network to the device and freeze its weights; gradients still flow through it. ``part``: see `add`."""
        net = net.to(self.device).requires_grad_(False).eval()
        self.nets.append(net)
        self.timer.watch(net, part)
        return net

    def adam(self, parameters, betas=(0.9, 0.999), **options):
        """Create an AdamW optimiser that follows ``--lr-scheduler``, and add it to the checkpoints."""
        lr = self.args.lr
        optimizer = torch.optim.AdamW(list(parameters), lr, betas, **({"weight_decay": 0} | options))
        if self.args.lr_scheduler == "plateau":
            plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=5)
            self._plateaus.append(plateau)
            self._kept.append(plateau)
        self.optimizers.append((optimizer, lr))
        self._kept.append(optimizer)
        return optimizer

    @property
    def updates(self):
        """Whether the current step updates the weights (see ``--accumulate``)."""
        return (self.step + 1) % self.args.accumulate == 0

    def autocast(self):
        """Return the autocast context for forward passes."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision.name == "bf16")

    def update(self, optimizer, loss):
        """Backpropagate; every ``--accumulate`` steps, average the gradients over processes, clip them and step.

        Every process must call this equally often. A parameter is updated if any process has a gradient for it.

        Args:
            optimizer: from `adam`.
            loss: a scalar to backpropagate, or None if this process's batch has no loss.

        Returns:
            The gradients' norm before clipping, or None when the step only accumulates.
        """
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        if loss is not None:
            with self.timer.section(self.timer.backward_part(parameters)):
                (loss / self.args.accumulate).backward()
        if not self.updates:
            return None
        with self.timer.section("optimiser"):
            if self.world > 1:
                share_gradients(parameters, self._mean)
            norm = torch.nn.utils.clip_grad_norm_(parameters, self.args.max_grad_norm)
            if torch.isfinite(norm):  # one bad batch must not end a run
                optimizer.step()
            optimizer.zero_grad()
            if self.world > 1:
                share_buffers(self.nets)
        return norm

    def _mean(self, tensor):
        """Average a tensor over the processes."""
        return self.accelerator.reduce(tensor.to(self.device), "mean") if self.world > 1 else tensor

    def average(self, net):
        """Return an exponential moving average of the network's parameters (``--ema``); the first is exported."""
        if not self.averages:  # the network to export: report a wrong --config before training
            export.config_settings(self.args, net)
        average = averaged(net, self.args.ema)
        self.averages.append((average, net))
        self._kept.append(average)
        return average.module

    def average_step(self):
        """Update the averages; call once after the update of the averaged network."""
        if self.updates:
            with self.timer.section("average"):
                for average, net in self.averages:
                    average.update_parameters(net)

    def _use_memory_format(self, memory_format):
        """Convert the weights and the optimisers' state to a memory format."""
        for net in (*self.nets, *(average for average, _ in self.averages)):
            net.to(memory_format=memory_format)
        for optimizer, _ in self.optimizers:
            for state in optimizer.state.values():
                for name, value in state.items():
                    if torch.is_tensor(value) and value.ndim == 4:
                        state[name] = value.contiguous(memory_format=memory_format)

    # --- data ---------------------------------------------------------------------------------------------------
    def faces(self, size, split="train", folders=None, **options):
        """Load a split of ``--data``, or of other folders, at one size; ``options`` go to FaceFolders."""
        args = self.args
        options |= {
            "val_fraction": args.val_fraction or "auto",
            "cache": None if args.cache == "none" else args.cache,
        }
        with self.accelerator.main_process_first():  # the others use the images that it decodes
            limit = args.limit if split == "train" else None
            faces = FaceFolders(folders or args.data, size, (split,), limit=limit, **options)
        if split == "train":
            self.print(f"{len(faces)} images of {size} pixels" + (f"; {faces.note}" if faces.note else ""))
        return faces

    def held_out_faces(self, size, **options):
        """Load the faces to measure the finished model on; also return the split's name: "test", else "validation"."""
        rows, _ = split_rows(find_folders(self.args.data), ("test",))
        if any(map(options.get("keep", bool), rows)):
            return self.faces(size, "test", **options), "test"
        self.print("no images of the split test: the finished model is measured on the validation split")
        return self.faces(size, "val", **options), "validation"

    def pairs(self, folder, split="train"):
        """Load the pairs of a split from a folder."""
        limit = self.args.limit if split == "train" else None
        pairs = Pairs(folder, (split,), limit, self.args.val_fraction or "auto")
        if split == "train":
            self.print(f"{len(pairs)} pairs" + (f"; {pairs.note}" if pairs.note else ""))
        return pairs

    def sets(self):
        """Return the names of the folders of faces."""
        return [folder.resolve().name for folder in find_folders(self.args.data)]

    def batches(self, samples, total, cycle=1):
        """Yield batches from the current step up to ``total``; save checkpoints regularly, at the end and on signals.

        Args:
            samples: facesym.data.faces.Samples.
            total: number of steps of the whole run.
            cycle: number of steps after which the work repeats (the generator's turn, a penalty).
        """
        self.total, self.first = total, self.step
        self.precision.begin(total - self.step, cycle)
        self.reports.begin()
        with self._caught_signals():
            yield from self._steps(ordered_loader(self, samples, total), total)
        self._seed_step()

    def _steps(self, loader, total):
        """Yield the batches of `batches`."""
        save, loader = False, iter(loader)
        self.timer.switch("loader")
        while self.step < total:
            batch = self._to_device(next(loader))
            self._seed_step()
            self._set_learning_rates()
            started = clock(self.device)
            self.timer.switch("forward")
            yield batch
            self.timer.switch("loader")
            self.precision.step_done(clock(self.device) - started, self.args.batch * self.world)
            self.step += 1
            if self.timer.step_done():
                self._end_profile()
            # A checkpoint holds no gradients, so none is written while gradients accumulate.
            whole = self.step % self.args.accumulate == 0
            stop = self._asked_to_stop()
            save |= stop or self.step % self.args.save_every == 0 or self.step == total
            if save and (whole or self.step == total):
                self.save()
                save = False
                if stop and self.step < total:
                    self.print(f"stopped at step {self.step}; continue with --resume")
                    self.reports.end()
                    raise SystemExit(0)

    def _to_device(self, data):
        plain, images = torch.contiguous_format, self.precision.memory_format
        return {
            key: value.to(self.device, non_blocking=True).contiguous(
                memory_format=images if value.ndim == 4 else plain
            )
            for key, value in data.items()
        }

    def _seed_step(self):
        """Seed torch for this step by the seed, the process and the step."""
        seed = np.random.SeedSequence((self.args.seed, self.rank, self.step))
        torch.manual_seed(int(seed.generate_state(1, np.uint64)[0] >> np.uint64(1)))

    def _set_learning_rates(self):
        if self.args.lr_scheduler == "plateau":
            return
        fraction = lr_fraction(self.args.lr_scheduler, self.step, self.total, self.args.lr_warmup)
        for optimizer, lr in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr * fraction

    def _end_profile(self):
        self.print(self.timer.table(self.timer.steps * self.args.batch * self.world))
        raise SystemExit(0)

    def due(self, every):
        """Whether something done every ``every`` steps is due in the current step; always in the last one."""
        return (self.step + 1) % every == 0 or self.step + 1 == self.total

    # --- reports ------------------------------------------------------------------------------------------------
    def print(self, text):
        """Print a line from the main process."""
        if self.main:
            print(text, flush=True)

    def log(self, **values):
        """Log the current step on screen, in stats.jsonl and in the tracker (``--report-to``)."""
        if self.due(self.args.log_every):
            self.reports.log(values)

    def grid(self, name, columns):
        """Write a grid of samples to the run's folder and to the tracker; ``columns``: see `reports.draw_grid`."""
        if self.main:
            self.reports.grid(name, columns)

    def validated(self, net, figure):
        """Report a network's validation figure (lower is better) for ``best/`` and ``--lr-scheduler plateau``."""
        value = float(figure)
        for plateau in self._plateaus:
            plateau.step(value)
        if value < self.best:
            self.best = value
            if self.main:
                net.save_pretrained(self.out / "best", dtype=torch.float16)
                (self.out / "best" / "step.json").write_text(
                    json.dumps({"step": self.step + 1, "val": value})
                )
        return figure

    # --- checkpoints --------------------------------------------------------------------------------------------
    def state_dict(self):
        return {"step": self.step, "best": self.best, "arguments": self._arguments()}

    def load_state_dict(self, state):
        self.step, self.best = state["step"], state["best"]

    def _arguments(self):
        """Return the arguments, in JSON's types, and the number of processes."""
        return json.loads(json.dumps(vars(self.args) | {"processes": self.world}, default=str))

    def save(self):
        """Write a checkpoint atomically, then remove the oldest beyond ``--keep``."""
        if self.main:
            self.checkpoints.save([kept.state_dict() for kept in self._kept], self.step)
        self.accelerator.wait_for_everyone()

    def restore(self):
        """Load the checkpoint that ``--resume`` names; without it, start at step 0."""
        asked = self.args.resume
        if not asked:
            return
        path, states = self._find_checkpoint() if asked == "latest" else (Path(asked), read(Path(asked)))
        if path is None:
            self.print(f"no checkpoint in {self.out}; starting at step 0")
            return
        if states is None:
            raise SystemExit(f"--resume: {path} is missing or damaged")
        newer = [p for p in self.checkpoints.list() if p.name > path.name]
        if asked != "latest" and newer:
            raise SystemExit(
                f"--resume: {self.out} holds newer checkpoints than {path.name}; choose another --out"
            )
        compare_arguments(states[0]["arguments"], self._arguments())
        for kept, state in zip(self._kept, states, strict=True):
            kept.load_state_dict(state)
        self.print(f"resumed {path} at step {self.step}")

    def _find_checkpoint(self):
        found = self.checkpoints.newest(self.print)
        self.accelerator.wait_for_everyone()
        if self.main and found[0]:
            self.checkpoints.drop_after(found[0])
        self.accelerator.wait_for_everyone()
        return found

    def save_discriminator(self, net, name="discriminator.safetensors"):
        """Save a discriminator's weights in the run's folder, for ``--init`` of another run."""
        if self.main:
            state = {key: value.contiguous() for key, value in net.state_dict().items()}
            safetensors.torch.save_file(state, self.out / name)

    def export(self, net, **fields):
        """Write the (averaged) network as fp16 and its card to the run's folder.

        ``--export``, ``--push-to-hub`` and ``--zoo`` name further destinations.

        Args:
            net: a facesym Model.
            fields: fields of its zoo.json entry (task, input_size, training_data …), see facesym.zoo.register.
        """
        if self.main:
            export.export(self, net, fields)
        self.reports.end()

    @contextlib.contextmanager
    def _caught_signals(self):
        """Catch SIGINT and SIGTERM, which stop the run after the current step."""
        before = {name: signal.signal(name, self._on_signal) for name in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)

    def _on_signal(self, number, _):
        if number == signal.SIGINT and self._stop == signal.SIGINT:
            raise KeyboardInterrupt
        if not self._stop:
            self.print("stopping after this step (press Ctrl-C again to stop at once without saving)")
        self._stop = number

    def _asked_to_stop(self):
        # All processes stop if one has received a signal.
        if self.world == 1:
            return bool(self._stop)
        return self._mean(torch.tensor(float(bool(self._stop)))).item() > 0
