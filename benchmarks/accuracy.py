"""Test accuracy of a recipe over several seeds: mean and standard deviation, with its size, its cost and calibration.

    python benchmarks/accuracy.py --preset best --idx-dir FOLDER --out FILE.json     # five trainings, one after another
    python benchmarks/accuracy.py --extra-datasets unipen --extra-dir FOLDER ...     # with digits by other writers, too

Each seed is a separate run of `python -m digitjax.train`, which reads the test set at its end. The file is written
after each seed. Seeds of the same recipe that it already holds aren't trained again, and a stopped run is resumed.
"""

import argparse
import dataclasses
import json
import math
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8
from sklearn.metrics import roc_auc_score

from digitjax.config import DIGITS, PRESETS, TrainConfig
from digitjax.data.arrays import Dataset
from digitjax.data.extra import FOLDS, load_extra
from digitjax.data.splits import load_splits
from digitjax.drawing.hands import divide_hands, draw_plain
from digitjax.nn import looks
from digitjax.nn.inference import TrainedModel
from digitjax.nn.looks import predict_logits
from digitjax.nn.networks import count_params, create_model, init_variables
from digitjax.runs.history import read_history
from digitjax.runs.weights import load_model


def count_multiply_adds(config: TrainConfig) -> int:
    """Counts the multiply-adds of matrix products and convolutions for one image."""
    network, images = create_model(config), jnp.zeros((1, 28, 28, 1), jnp.uint8)
    return _count(jax.make_jaxpr(lambda v: network.apply(v, images, train=False))(get_shapes(config)).jaxpr)


def get_shapes(config: TrainConfig) -> Any:
    """Returns the shapes of a network's variables, without computing them."""
    network = create_model(config)
    return jax.eval_shape(lambda: init_variables(network, jax.random.key(0)))


def _count(jaxpr: Any) -> int:
    total = 0
    for equation in jaxpr.eqns:
        outputs = math.prod(equation.outvars[0].aval.shape)
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            total += outputs * math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
        elif equation.primitive.name == "conv_general_dilated":
            kernel = equation.invars[1].aval.shape
            features = kernel[equation.params["dimension_numbers"].rhs_spec[0]]
            total += outputs * math.prod(kernel) // features
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", value)
            total += _count(inner) if hasattr(inner, "eqns") else 0
    return total


def train_seed(preset: str, config: TrainConfig, run: Path, sources: Sequence[str]) -> None:
    """Trains or resumes one seed in a separate process; `sources` are options that say where the data is."""
    command = [sys.executable, "-m", "digitjax.train", "--dataset", "mnist", "--preset", preset]
    command += ["--seed", str(config.seed), "--out", str(run), *sources]
    command += ["--extra-datasets", *config.extra_datasets] if config.extra_datasets else []
    command += ["--resume"] if (run / "config.json").exists() else []
    subprocess.run(command, check=True)  # noqa: S603 - the command is our own


def measure(run: Path, test: Dataset) -> dict[str, Any]:
    """Returns a finished run's figures, and for comparison those without test-time augmentation, and its cost."""
    report = json.loads((run / "report.json").read_text())
    history = read_history(run)
    trained = load_model(run)
    predict_logits(trained, test.images)  # compiles
    tta_seconds, _ = time_logits(trained, test.images, tta=True)
    plain_seconds, logits = time_logits(trained, test.images, tta=False)
    return {
        "errors": round(report["error"] * report["num_examples"]),
        **{name: report[name] for name in ("accuracy", "loss", "brier", "ece", "accuracy_at_99")},
        "plain_accuracy": float((logits.argmax(-1) == test.labels).mean()),
        "tta_cost": round(tta_seconds / plain_seconds, 2),
        "validation_accuracy": history[-1]["validation_accuracy"],
        "training_seconds": round(sum(record["seconds"] for record in history)),
        **measure_hands(trained),
    }


def measure_hands(trained: TrainedModel) -> dict[str, float]:
    """Returns how a run reads its held-out writers: digits right, right and accepted; others refused; AUROC."""
    figures, scores, truth = {}, [], []
    for name in trained.config.extra_datasets:
        digits, others = divide_hands(load_extra([name], fold=trained.config.seed % FOLDS)[1])
        images, labels = draw_plain([*digits, *others])
        answers = looks.answer(trained, images)
        is_digit = labels < len(DIGITS)
        is_right = (answers.logits.argmax(-1) == labels)[is_digit]
        is_accepted = answers.is_digit_scores >= trained.calibration.threshold
        if digits:
            figures[f"{name}_right"] = float(is_right.mean())
            figures[f"{name}_right_and_accepted"] = float((is_right & is_accepted[is_digit]).mean())
        if others:
            figures[f"{name}_others_refused"] = float(1 - is_accepted[~is_digit].mean())
        scores.append(answers.is_digit_scores)
        truth.append(is_digit)
    if scores:
        figures["hands_auroc"] = float(roc_auc_score(np.concatenate(truth), np.concatenate(scores)))
    return figures


def time_logits(
    trained: TrainedModel, images: UInt8[np.ndarray, "n 28 28 1"], *, tta: bool
) -> tuple[float, Float[np.ndarray, "n classes"]]:
    """Returns the seconds that computing the logits of all images takes, and the logits."""
    begin = time.perf_counter()
    logits = predict_logits(trained, images, tta=tta)
    return time.perf_counter() - begin, logits


def summarize(config: TrainConfig, seeds: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Returns means and standard deviations over the seeds."""
    columns = {name: [figures[name] for figures in seeds.values()] for name in next(iter(seeds.values()))}
    return {
        "num_seeds": len(seeds),
        "parameters": count_params(get_shapes(config)["params"]),
        "multiply_adds": count_multiply_adds(config),
        "mean": {name: float(np.mean(values)) for name, values in columns.items()},
        "standard_deviation": {
            name: float(np.std(values, ddof=1)) if len(values) > 1 else None for name, values in columns.items()
        },
    }


def main() -> None:
    """Trains what is missing, and prints and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS, default="best", help="the recipe (default: best)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="default: 0 to 4")
    parser.add_argument("--extra-datasets", nargs="*", default=[], help="as in digitjax.train")
    parser.add_argument("--idx-dir", type=Path, help="the folder of MNIST's four files")
    parser.add_argument("--extra-dir", type=Path, help="the folder of the extra data sets' files")
    parser.add_argument("--runs", type=Path, default=Path("checkpoints"), help="the folder of the runs' folders")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file of the figures")
    args = parser.parse_args()

    config = dataclasses.replace(
        PRESETS[args.preset], dataset="mnist", extra_datasets=tuple(args.extra_datasets), seed=0
    )
    folders = {"--idx-dir": args.idx_dir, "--extra-dir": args.extra_dir}
    sources = [word for option, folder in folders.items() if folder for word in (option, str(folder))]
    splits = load_splits("mnist", None, args.idx_dir)
    recipe, seeds = json.loads(config.to_json()), {}
    if args.out.exists() and (earlier := json.loads(args.out.read_text()))["recipe"] == recipe:
        seeds = earlier["seeds"]
    for seed in args.seeds:
        if str(seed) not in seeds:
            run = args.runs / f"accuracy-{args.preset}-{seed}"
            train_seed(args.preset, dataclasses.replace(config, seed=seed), run, sources)
            seeds[str(seed)] = measure(run, splits.test)
        seeds = dict(sorted(seeds.items()))
        results = {"preset": args.preset, "recipe": recipe, **summarize(config, seeds), "seeds": seeds}
        args.out.write_text(json.dumps(results, indent=2) + "\n")
        mean, spread = results["mean"]["accuracy"], results["standard_deviation"]["accuracy"] or 0
        print(f"seed {seed}: {seeds[str(seed)]['accuracy']:.2%}; mean of {len(seeds)}: {mean:.3%} ± {spread:.3%}")


if __name__ == "__main__":
    main()
