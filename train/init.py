"""Networks of another run or model that a run starts from (``--init``)."""

from pathlib import Path

import safetensors.torch


def model_folder(init):
    """Return the model's folder for ``--init``, which names a run or a model."""
    folder = Path(init)
    return folder / "model" if (folder / "model").is_dir() else folder


def load_discriminator(net, init, name="discriminator.safetensors"):
    """Load the weights that `Run.save_discriminator` wrote in the run of ``--init``, if there are any."""
    if init and (Path(init) / name).exists():
        net.load_state_dict(safetensors.torch.load_file(Path(init) / name))


def refuse_with_init(args, *names):
    """Reject options that set the size of the network if ``--init``, which sets it too, is given.

    Args:
        args: the parsed arguments.
        names: of the options, None or False by default.

    Raises:
        SystemExit: ``--init`` and one of the options are given.
    """
    given = [f"--{name.replace('_', '-')}" for name in names if getattr(args, name)]
    if args.init and given:
        raise SystemExit(f"the network is that of --init {args.init}: leave out {', '.join(given)}")


def settings(net):
    """Return a network's settings as in its config.json."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in net.config.items() if k[0] != "_"}
