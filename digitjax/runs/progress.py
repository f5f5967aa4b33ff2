"""Shows the progress of a training run."""

import sys

from jaxtyping import Array, Float, Int32
from tqdm import tqdm

from digitjax.config import TrainConfig
from digitjax.runs.history import Record


class Progress:
    """A line per epoch and, on a terminal, a bar for the whole run with loss, accuracy, images/s and time left."""

    # Reading the metrics waits for the device, so it isn't done at every step.
    STEPS_BETWEEN = 20

    def __init__(self, num_steps: int, config: TrainConfig, show: bool) -> None:
        self._batch_size = config.batch_size
        self._epochs = config.epochs
        self._show = show
        self._bar = tqdm(
            total=num_steps * config.batch_size,
            unit=" images",
            unit_scale=True,
            bar_format="{percentage:3.0f}%|{bar:16}| {remaining} left, {rate_fmt}{postfix}",  # fits into 80 columns
            disable=not (show and sys.stderr.isatty()),  # a log file would fill with bars
        )

    def __enter__(self) -> "Progress":
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves the bar as it is."""
        self._bar.close()

    def start(self, step: int) -> int:
        """Sets the bar to the run's current position."""
        self._bar.update(step * self._batch_size)
        self._bar.unpause()
        return step

    def show(
        self, step: int, loss: Float[Array, ""], num_correct: Int32[Array, ""], num_examples: Int32[Array, ""]
    ) -> None:
        """Advances the bar by the steps done since the last time.

        Args:
          step: Steps done.
          loss: Sum of the mean losses of this epoch's batches so far.
          num_correct: Images of this epoch that were read correctly so far.
          num_examples: Images of this epoch so far.
        """
        if self._bar.disable or step % self.STEPS_BETWEEN:
            return
        n = int(num_examples)
        self._bar.set_postfix(
            loss=f"{float(loss) * self._batch_size / n:.3f}", accuracy=f"{int(num_correct) / n:.2%}", refresh=False
        )
        self._bar.update(step * self._batch_size - self._bar.n)

    def report(self, record: Record) -> None:
        """Prints an epoch's line."""
        if not self._show:
            return
        self._bar.update(record["step"] * self._batch_size - self._bar.n)
        self._bar.write(
            f"epoch {record['epoch']:>3}/{self._epochs}  loss {record['loss']:.4f}  accuracy {record['accuracy']:.2%}  "
            f"validation loss {record['validation_loss']:.4f}  accuracy {record['validation_accuracy']:.2%}  "
            f"{record['images_per_second']:,.0f} images/s",
            file=sys.stderr,
        )
