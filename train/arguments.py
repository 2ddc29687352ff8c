"""The command line of the training scripts: what they all take, and errors of one line."""

import argparse
import os
import sys

from facesym.data.decoded import cache_folder
from facesym.errors import FacesymError
from train.launcher import fail, relaunch

SCHEDULERS = ("constant", "linear", "cosine", "constant-linear", "plateau")


class _Help(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """The description as it is written, and each option's default where it has one."""

    def _get_help_string(self, action):
        if action.default in (None, False, []):
            return action.help
        return super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """A parser that shows defaults in ``--help`` and says what is wrong in one line, once for all processes."""

    def __init__(self, description):
        super().__init__(description=description, formatter_class=_Help, allow_abbrev=False)

    def error(self, message):
        fail(f"{self.prog}: {message} (see --help)", 2)


def launch(main):
    """Call a script's ``main``; what goes wrong by the user's doing is one line, not a traceback."""
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
        fail("stopped; nothing was saved since the last checkpoint", 130)


def add_arguments(parser, *, out, batch, lr, scheduler="cosine", warm_up=100):
    """The options that every training script takes; the keywords are the script's own defaults."""
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        nargs="+",
        required=True,
        metavar="FOLDER",
        help="aligned faces (`facesym prepare`), or their parent",
    )
    data.add_argument("--limit", type=int, help="use the first N images only (to try things out)")
    data.add_argument(
        "--val-fraction", type=float, metavar="FRACTION",
        help="hold out this fraction for validation (default: what the folders say, else a twentieth)",
    )  # fmt: skip
    data.add_argument(
        "--cache", default=str(cache_folder()), metavar="FOLDER",
        help="keep decoded images here, for the processes and for other runs; none: in memory alone",
    )  # fmt: skip
    data.add_argument("--workers", type=int, default=1, help="processes that load and augment")
    data.add_argument("--seed", type=int, default=0, help="of the networks, the order and the augmentation")
    _add_optimisation(parser.add_argument_group("optimisation"), batch, lr, scheduler, warm_up)
    _add_output(parser.add_argument_group("the run"), out)


def _add_optimisation(group, batch, lr, scheduler, warm_up):
    group.add_argument("--batch", type=int, default=batch, help="images a step and process")
    group.add_argument(
        "--accumulate", type=int, help="steps whose gradients are added up; default: accelerate's, or 1"
    )
    group.add_argument("--lr", type=float, default=lr, help="the highest learning rate")
    group.add_argument(
        "--lr-scheduler", choices=SCHEDULERS, default=scheduler,
        help="linear, cosine: down to 0; constant-linear: from the middle of the run; plateau: a tenth when the "
        "validation figure has stopped falling",
    )  # fmt: skip
    group.add_argument(
        "--lr-warmup", type=int, default=warm_up, metavar="STEPS",
        help="first steps, in which the learning rate rises (a tenth of the run at most)",
    )  # fmt: skip
    group.add_argument("--max-grad-norm", type=float, default=10.0, help="gradients are clipped to this norm")
    group.add_argument(
        "--ema", type=float, default=0.999, help="decay of the averaged weights, the ones exported"
    )
    group.add_argument(
        "--precision", choices=["auto", "no", "bf16"], default="auto",
        help="no: fp32; auto: accelerate's if it was told one, else the fastest of a few steps of each",
    )  # fmt: skip


def _add_output(group, out):
    group.add_argument("--out", default=out, help="folder of the run: checkpoints, samples, logs, the model")
    group.add_argument("--log-every", type=int, default=1, metavar="STEPS", help="write a line")
    group.add_argument(
        "--sample-every", type=int, default=500, metavar="STEPS", help="validate, write a grid of samples"
    )
    group.add_argument("--save-every", type=int, default=500, metavar="STEPS", help="write a checkpoint")
    group.add_argument("--keep", type=int, default=2, help="checkpoints kept")
    group.add_argument(
        "--resume",
        nargs="?",
        const="latest",
        metavar="CHECKPOINT",
        help="go on from --out's newest checkpoint, or this",
    )
    group.add_argument(
        "--overwrite", action="store_true", help="remove the run that --out holds, and start clean"
    )
    group.add_argument(
        "--report-to",
        choices=["tensorboard", "wandb", "none"],
        default="tensorboard",
        help="beside stats.jsonl",
    )
    group.add_argument(
        "--profile", type=int, metavar="STEPS", help="print what takes the time of so many steps, and stop"
    )
    group.add_argument("--export", metavar="FOLDER", help="write the finished model and its card here too")
    group.add_argument(
        "--config", nargs="+", default=[], metavar="KEY=VALUE",
        help="settings of the finished model that change no weight (values as JSON)",
    )  # fmt: skip
    group.add_argument("--push-to-hub", metavar="OWNER/NAME", help="upload the finished model and its card")
    group.add_argument(
        "--zoo", metavar="ID", help="for recipes: enter the finished model into facesym/weights and zoo.json"
    )


def settle(args):
    """What `accelerate launch` was told, where the script's own options say nothing.

    accelerate's ``--mixed_precision no`` is its default as well, so it says nothing either.
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


def command_line():
    """The command that runs, as it was given."""
    import shlex

    return shlex.join(["python", *sys.argv]) if sys.argv[0].endswith(".py") else shlex.join(sys.argv)
