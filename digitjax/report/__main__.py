"""Writes a one-page report of a training run, `report.html` in its folder; training does so itself when it ends.

python -m digitjax.report checkpoints/mnist-default
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from digitjax import cli
from digitjax.report.page import write_report


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportArguments(cli.Arguments):
    """The arguments of `python -m digitjax.report`."""

    run: Annotated[Path, tyro.conf.Positional]
    """A training run's folder; report.html goes there."""


def report(args: ReportArguments) -> int:
    """Writes the page."""
    print(write_report(args.run))
    return cli.EXIT_OK


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `python -m digitjax.report`."""
    return cli.run(
        report, ReportArguments, argv, program="-m digitjax.report", about="Writes a one-page report of a training run."
    )


if __name__ == "__main__":
    cli.leave(main())
