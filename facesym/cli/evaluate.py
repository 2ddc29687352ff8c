"""`facesym evaluate` and `facesym prepare`, whose parsers are imported only when they run."""

from typing import Any

SUMMARIES = {
    "evaluate": "measure models on people held out from training",
    "prepare": "make folders of aligned faces for training and evaluation",
}


def add_parsers(commands: Any) -> None:
    """Register the commands with the parser of `facesym`."""
    for name in SUMMARIES:
        commands.add_parser(name, add_help=False)


def run(command: str, argv: list[str]) -> int:
    """Run "evaluate" or "prepare" and return the exit status."""
    if command == "evaluate":
        from ..evaluation import main
    else:
        from ..data.prepare import main
    main(argv)
    return 0
