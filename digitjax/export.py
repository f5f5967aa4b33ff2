"""Exports the trained network for other runtimes: as an ONNX model, or as StableHLO, which needs only JAX.

    python -m digitjax.export --format onnx           # digitjax.onnx, for ONNX Runtime and other readers of ONNX
    python -m digitjax.export --format stablehlo      # digitjax.stablehlo, for JAX on a CPU or an NVIDIA GPU

The exported model takes any number of preprocessed images, as in `Prediction.canonical`.
"""

import contextlib
import dataclasses
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from digitjax import cli
from digitjax.config import SIZE, DigitjaxError
from digitjax.nn import layers
from digitjax.nn.answers import read_logits
from digitjax.nn.inference import TrainedModel, compute_logits
from digitjax.nn.networks import Images
from digitjax.runs.weights import default_checkpoint, load_model

FormatName = Literal["onnx", "stablehlo"]

INPUT_NAME, OUTPUT_NAMES = "images", ("logits", "probs", "is_digit_scores")

PLATFORMS = ("cpu", "cuda")

# How far an exported model's outputs may differ from ours: runtimes sum in another order, and float32 rounds.
MAX_DIFFERENCE = 1e-4


class ExportError(DigitjaxError):
    """A model that can't be exported, or an export that doesn't compute what it should."""


def make_function(trained: TrainedModel) -> Callable[[Images], tuple[jax.Array, ...]]:
    """Returns the function that is exported.

    Returns:
      From uint8 images [n, 28, 28, 1], light ink on a dark background, to
        logits: float32 [n, classes].
        probs: float32 [n, classes], calibrated.
        is_digit_scores: float32 [n], how likely each image is to hold a digit at all; compare it with the threshold.
    """

    def predict(images: Images) -> tuple[jax.Array, ...]:
        logits = cast("jax.Array", trained.network.apply(trained.variables, images, train=False))
        return tuple(read_logits(logits, trained.config, trained.calibration.temperature))

    return predict


def export_stablehlo(trained: TrainedModel) -> bytes:
    """Returns the network as `jax.export` serializes it: StableHLO for each of `PLATFORMS`, for any number of images.

    `jax.export.deserialize(content).call(images)` runs it, without Flax, Orbax or digitjax.
    """
    images = jax.ShapeDtypeStruct(jax.export.symbolic_shape(f"n, {SIZE}, {SIZE}, 1"), jnp.uint8)
    with layers.plain():
        return bytes(jax.export.export(jax.jit(make_function(trained)), platforms=PLATFORMS)(images).serialize())


def export_onnx(trained: TrainedModel) -> bytes:
    """Returns the network as an ONNX model; its metadata holds temperature, threshold and training config.

    Raises:
      ExportError: The required packages aren't installed.
    """
    try:
        import onnx  # takes four seconds, with jax2onnx
        from jax2onnx import to_onnx
    except ImportError as error:
        raise ExportError(f"{error.name} is missing: pip install 'digitjax[onnx]'") from None
    with layers.plain(), contextlib.redirect_stdout(io.StringIO()):  # jax2onnx prints what it finds
        exported = to_onnx(
            make_function(trained),
            [jax.ShapeDtypeStruct(("n", SIZE, SIZE, 1), jnp.uint8)],
            model_name="digitjax",
            input_names=[INPUT_NAME],
            output_names=OUTPUT_NAMES,
        )
    # jax2onnx records some inner shapes with another order of axes. ONNX Runtime warns about them, and needs none.
    del exported.graph.value_info[:]
    calibration = {name: str(value) for name, value in trained.calibration._asdict().items()}
    onnx.helper.set_model_props(exported, {**calibration, "config": trained.config.to_json()})
    return exported.SerializeToString()


# ---------------------------------------------------------------- check

Outputs = Sequence[Float[np.ndarray, "..."]]


def run_stablehlo(content: bytes, images: UInt8[np.ndarray, "n 28 28 1"]) -> Outputs:
    """Runs what `export_stablehlo` returned."""
    return [np.asarray(output) for output in jax.export.deserialize(bytearray(content)).call(images)]


def run_onnx(content: bytes, images: UInt8[np.ndarray, "n 28 28 1"]) -> Outputs:
    """Runs what `export_onnx` returned in ONNX Runtime."""
    import onnxruntime  # comes with jax2onnx

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(list(OUTPUT_NAMES), {INPUT_NAME: images})


def check(trained: TrainedModel, outputs: Outputs, images: UInt8[np.ndarray, "n 28 28 1"]) -> float:
    """Returns the largest difference between an exported model's outputs and ours.

    Raises:
      ExportError: It is above `MAX_DIFFERENCE`, or an image is read as another digit.
    """
    logits = compute_logits(trained.apply, images)
    ours = read_logits(logits, trained.config, trained.calibration.temperature)
    difference = max(float(np.abs(a - b).max()) for a, b in zip(ours, outputs, strict=True))
    if not difference <= MAX_DIFFERENCE or (outputs[0].argmax(-1) != logits.argmax(-1)).any():
        raise ExportError(f"the exported model computes something else: its outputs differ by {difference:g}")
    return difference


# ---------------------------------------------------------------- command

NUM_CHECKED = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportArguments(cli.Arguments):
    """The arguments of `python -m digitjax.export`."""

    format: FormatName
    """onnx: one file for ONNX Runtime and others; stablehlo: one file for JAX, on a CPU or an NVIDIA GPU."""
    checkpoint: Path | None = None
    """A training run's folder (default: the shipped weights)."""
    out: Path | None = None
    """The file to write (default: digitjax.<format>)."""


def export(args: ExportArguments) -> int:
    """Runs the exported model, compares its outputs with ours, and writes the file."""
    trained = load_model(args.checkpoint or default_checkpoint())
    if args.format == "onnx":
        content, run = export_onnx(trained), run_onnx
    else:
        content, run = export_stablehlo(trained), run_stablehlo
    images = np.random.default_rng(0).integers(0, 256, (NUM_CHECKED, SIZE, SIZE, 1), np.uint8)
    difference = check(trained, run(content, images), images)
    out = args.out or Path(f"digitjax.{args.format}")
    out.write_bytes(content)
    print(f"{out}: {len(content):,} bytes; differs from JAX by at most {difference:.1g} on {NUM_CHECKED} random images")
    print(f"a picture whose is_digit_scores is below {trained.calibration.threshold:.6g} holds no digit")
    return cli.EXIT_OK


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `python -m digitjax.export`."""
    return cli.run(
        export, ExportArguments, argv, program="-m digitjax.export", about="Writes the network for other runtimes."
    )


if __name__ == "__main__":
    cli.leave(main())
