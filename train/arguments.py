"""The command line of the training scripts: shared options and one-line errors."""

import argparse
import os
import sys

from facesym.data.decoded import cache_folder
from facesym.errors import FacesymError
from train.launcher import fail, relaunch

SCHEDULERS = ("constant", "linear", "cosine", "constant-linear", "plateau")


class _Help(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Keep the description's line breaks and show the options' defaults."""

    def _get_help_string(self, action):
        if action.default in (None, False, []):
            return action.help
        return super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """A parser that shows defaults in ``--help`` and prints errors in one line, by one process only."""

    def __init__(self, description):
        super().__init__(description=description, formatter_class=_Help, allow_abbrev=False)

    def error(self, message):
        fail(f"{self.prog}: {message} (see --help)", 2)


def launch(main):
    """Call a script's ``main`` and print the user's errors in one line, without a traceback."""
    relaunch()
    try:
        main()
    except FacesymError as error:
        fail(f"error: {error}")
    except SystemExit as end:
        if isinstance(end.code, str):
            fail(f"error: {end.code}")
        raise
    except KeyboardInterrupt:
        fail("stopped; progress since the last checkpoint is lost", 130)


def add_arguments(parser, *, out, batch, lr, scheduler="cosine", warm_up=100):
    """Add the options that every training script takes.

    Args:
        parser: a `Parser`.
        out: default of ``--out``.
        batch: default of ``--batch``.
        lr: default of ``--lr``.
        scheduler: default of ``--lr-scheduler``.
        warm_up: default of ``--lr-warmup``.
    """
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        nargs="+",
        required=True,
        metavar="FOLDER",
        help="folders of aligned faces (from `facesym prepare`), or a folder that holds them",
    )
    data.add_argument("--limit", type=int, metavar="N", help="use only the first N images, for a quick try")
    data.add_argument(
        "--val-fraction", type=float, metavar="FRACTION",
        help="fraction to hold out for validation (default: the folders' own split, otherwise 0.05)",
    )  # fmt: skip
    data.add_argument(
        "--cache", default=str(cache_folder()), metavar="FOLDER",
        help="folder for decoded images, shared between processes and runs; none: memory only",
    )  # fmt: skip
    data.add_argument("--workers", type=int, default=1, help="number of loader processes")
    data.add_argument(
        "--seed", type=int, default=0, help="seed of the initial weights, the order and the augmentation"
    )
    _add_optimisation(parser.add_argument_group("optimisation"), batch, lr, scheduler, warm_up)
    _add_output(parser.add_argument_group("run"), out)


def _add_optimisation(group, batch, lr, scheduler, warm_up):
    group.add_argument("--batch", type=int, default=batch, help="images per step and process")
    group.add_argument(
        "--accumulate", type=int, metavar="STEPS",
        help="steps to accumulate gradients over (default: accelerate's setting, otherwise 1)",
    )  # fmt: skip
    group.add_argument("--lr", type=float, default=lr, help="highest learning rate")
    group.add_argument(
        "--lr-scheduler", choices=SCHEDULERS, default=scheduler,
        help="linear, cosine: fall to 0; constant-linear: fall to 0 from the middle of the run; plateau: divide by 10 "
        "when the validation figure stops improving",
    )  # fmt: skip
    group.add_argument(
        "--lr-warmup", type=int, default=warm_up, metavar="STEPS",
        help="number of first steps in which the learning rate rises (at most a tenth of the run)",
    )  # fmt: skip
    group.add_argument("--max-grad-norm", type=float, default=10.0, help="clip gradients to this norm")
    group.add_argument(
        "--ema", type=float, default=0.999, help="decay of the averaged weights, which are exported"
    )
    group.add_argument(
        "--precision", choices=["auto", "no", "bf16"], default="auto",
        help="no: fp32; auto: accelerate's setting if given, otherwise the fastest in the first steps",
    )  # fmt: skip


def _add_output(group, out):
    group.add_argument("--out", default=out, help="folder for checkpoints, samples, logs and the model")
    group.add_argument("--log-every", type=int, default=1, metavar="STEPS", help="log every STEPS steps")
    group.add_argument(
        "--sample-every", type=int, default=500, metavar="STEPS",
        help="validate and write a grid of samples every STEPS steps",
    )  # fmt: skip
    group.add_argument(
        "--save-every", type=int, default=500, metavar="STEPS", help="write a checkpoint every STEPS steps"
    )
    group.add_argument("--keep", type=int, default=2, help="number of checkpoints to keep")
    group.add_argument(
        "--resume",
        nargs="?",
        const="latest",
        metavar="CHECKPOINT",
        help="continue from this checkpoint, or from the newest one in --out",
    )
    group.add_argument("--overwrite", action="store_true", help="delete the run in --out and start again")
    group.add_argument(
        "--report-to",
        choices=["tensorboard", "wandb", "none"],
        default="tensorboard",
        help="tracker to write to, besides stats.jsonl",
    )
    group.add_argument(
        "--profile", type=int, metavar="STEPS", help="time the parts of STEPS steps, print a table and stop"
    )
    group.add_argument("--export", metavar="FOLDER", help="also write the finished model and its card here")
    group.add_argument(
        "--config", nargs="+", default=[], metavar="KEY=VALUE",
        help="settings of the finished model that do not affect its weights (values as JSON)",
    )  # fmt: skip
    group.add_argument("--push-to-hub", metavar="OWNER/NAME", help="upload the finished model and its card")
    group.add_argument(
        "--zoo", metavar="ID", help="add the finished model to facesym/weights and zoo.json (for recipes)"
    )


def settle(args):
    """Fill in the options that were not given from the settings of `accelerate launch`, and check them.

    ``--mixed_precision no`` is accelerate's default, so it does not count as a setting.
    """
    if args.accumulate is None:
        args.accumulate = int(os.environ.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS") or 1)
    asked = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if args.precision == "auto" and asked != "no":
        if asked != "bf16":
            raise SystemExit(f"--mixed_precision {asked} is not supported: use bf16 or no")
        args.precision = asked
    for name in ("accumulate", "batch", "log_every", "sample_every", "save_every", "keep"):
        if getattr(args, name) < 1:
            raise SystemExit(f"--{name.replace('_', '-')} must be at least 1, not {getattr(args, name)}")
    return args


def refuse_plateau(args, needed):
    """Reject ``--lr-scheduler plateau`` in a run without a validation figure, in which the rate would never fall.

    Args:
        args: the parsed arguments.
        needed: what the run lacks to have such a figure.

    Raises:
        SystemExit: the scheduler is "plateau".
    """
    if args.lr_scheduler == "plateau":
        raise SystemExit(
            f"--lr-scheduler plateau needs a validation figure: use {needed}, or another scheduler"
        )


def command_line():
    """Return the command of this process as it was typed."""
    import shlex

    return shlex.join(["python", *sys.argv]) if sys.argv[0].endswith(".py") else shlex.join(sys.argv)
