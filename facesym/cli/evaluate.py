"""`facesym evaluate` and `facesym prepare`: commands with parsers of their own, which are loaded when they run."""

from typing import Any

SUMMARIES = {
    "evaluate": "measure models on people held out from training",
    "prepare": "make folders of aligned faces for training and evaluation",
}


def add_parsers(commands: Any) -> None:
    """Make the commands known to the parser of `facesym`."""
    for name in SUMMARIES:
        commands.add_parser(name, add_help=False)


def run(command: str, argv: list[str]) -> int:
    """Run "evaluate" or "prepare": the exit status."""
    if command == "evaluate":
        from ..evaluation import main
    else:
        from ..data.prepare import main
    main(argv)
    return 0
