"""Shows what a data set holds: counts per class and split, and a picture of samples.

python -m digitjax.data --dataset digits
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from digitjax import cli
from digitjax.config import require_dataset
from digitjax.data.splits import load_splits


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataArguments(cli.SourceArguments):
    """The arguments of `python -m digitjax.data`."""

    dataset: str = "auto"
    """The data set, as in digitjax.train."""
    out: Path = Path("samples.png")
    """The file for the picture of samples."""


def show_data(args: DataArguments) -> int:
    """Prints the counts and draws the samples."""
    from digitjax.report import plots  # matplotlib, 0.5 s

    require_dataset(args.dataset)
    splits = load_splits(args.dataset, args.data_dir, args.idx_dir)
    counts = {name: np.bincount(part.labels, minlength=len(splits.class_names)) for name, part in splits.parts.items()}
    print(f"{splits.name}: {sum(count.sum() for count in counts.values()):,} images of 28x28\n")
    print("class " + "".join(f"{name:>12}" for name in counts))
    for i, class_name in enumerate(splits.class_names):
        print(f"{class_name:<6}" + "".join(f"{count[i]:12,}" for count in counts.values()))
    print("all   " + "".join(f"{count.sum():12,}" for count in counts.values()))
    rows = [splits.train.images[splits.train.labels == label][..., 0] for label in range(len(splits.class_names))]
    plots.save_sheet(args.out, rows, f"{splits.name}: training images of each class")
    print(f"\nsamples: {args.out}")
    return cli.EXIT_OK


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `python -m digitjax.data`."""
    return cli.run(show_data, DataArguments, argv, program="-m digitjax.data", about="Shows what a data set holds.")


if __name__ == "__main__":
    cli.leave(main())
