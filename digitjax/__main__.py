"""The command `digitjax` or `python -m digitjax`: lists and runs the others, as in `digitjax predict photo.jpg`."""

import importlib
import sys
from collections.abc import Sequence

from digitjax import cli

COMMANDS = {
    "predict": ("digitjax.predict.__main__", "read the digits in pictures"),
    "batch": ("digitjax.batch", "read millions of pictures"),
    "train": ("digitjax.train.__main__", "train a network"),
    "evaluate": ("digitjax.evaluate", "measure a trained model, and draw its mistakes"),
    "report": ("digitjax.report.__main__", "write a one-page report of a run"),
    "export": ("digitjax.export", "write a model for other runtimes"),
    "data": ("digitjax.data.__main__", "show what is in a data set"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command that the first argument names, and passes on the rest."""
    name, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in COMMANDS:
        module, _ = COMMANDS[name]
        return int(importlib.import_module(module).main(rest))
    lines = [f"  {command:9} {about}" for command, (_, about) in COMMANDS.items()]
    usage = "\n".join(["usage: digitjax COMMAND ..., see digitjax COMMAND --help", "", *lines])
    if name in ("--help", "-h"):
        print(usage)
        return cli.EXIT_OK
    print(f"{usage}\n\ndigitjax: error: there is no command {name!r}", file=sys.stderr)
    return cli.EXIT_WRONG_USE


def run() -> None:
    """Runs the command line, and ends the process."""
    cli.leave(main())


if __name__ == "__main__":
    run()
