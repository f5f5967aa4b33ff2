import nbformat as nbf, sys
nb=nbf.v4.new_notebook(); C=[]
md=lambda s: C.append(nbf.v4.new_markdown_cell(s.strip()))
py=lambda s: C.append(nbf.v4.new_code_cell(s.strip()))
md('''
# From MNIST to your own pictures

[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/digitjax/digitjax/blob/main/notebooks/digitjax.ipynb)

You write a small network in Flax, train it with optax, and look at its mistakes. Then you follow a photo on its way to the 28x28
pixels that a network sees, ask a trained model about it and why it thinks so, read a whole page, and take the model elsewhere.

It needs two minutes on two CPU cores. The pieces are those of [digitjax](../README.md), none of them rewritten for this page.
''')
py('''
from pathlib import Path

if not Path("../digitjax").is_dir():  # in Colab
    !git clone --quiet https://github.com/digitjax/digitjax && pip install --quiet -e './digitjax[onnx]'
    %cd digitjax/notebooks
''')
py('''
import dataclasses
import time
from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from flax import linen as nn
''')
md('''
## 1. Look at the data

`load_splits` gives the training, validation and test images. Epochs and settings are chosen on the validation images; the test
set is read once, at the end. Where MNIST can't be had, `auto` takes the small digits that scikit-learn bundles.
''')
py('''
from digitjax.data.splits import load_splits

splits = load_splits("auto")
print(splits.name, {name: part.images.shape for name, part in splits.parts.items()})

fig, axes = plt.subplots(4, 10, figsize=(8, 3.4))
for label, column in enumerate(axes.T):
    for ax, image in zip(column, splits.train.images[splits.train.labels == label]):
        ax.imshow(image[..., 0], cmap="gray_r")
        ax.axis("off")
''')
py('''
fig, axes = plt.subplots(1, 2, figsize=(8, 2.4))
axes[0].bar(range(10), np.bincount(splits.train.labels))
axes[0].set(title="Training images of each digit", xticks=range(10))
axes[1].imshow(splits.train.images.mean(axis=0)[..., 0], cmap="gray_r")
axes[1].set(title="Their mean: centred, 20 pixels high", xticks=[], yticks=[])
fig.tight_layout()
''')
md('''
## 2. Write a network

A Linen module says how images become logits; its parameters live outside of it, in a plain tree of arrays. `Conv` is Flax's,
with gradients that are fast on a CPU, too ([why](../benchmarks/README.md)); `normalize_pixels` brings 0..255 to mean 0 and standard
deviation 1.
''')
py('''
from digitjax.nn import layers
from digitjax.nn.networks import Conv, count_params, normalize_pixels


class SmallCNN(nn.Module):
    """Two convolutions, each with ReLU and 2x2 pooling, then two dense layers."""

    @nn.compact
    def __call__(self, images):
        x = normalize_pixels(images)  # [n, 28, 28, 1]
        x = layers.max_pool(nn.relu(Conv(32, (5, 5))(x)))  # [n, 12, 12, 32]
        x = layers.max_pool(nn.relu(Conv(64, (3, 3))(x)))  # [n, 5, 5, 64]
        x = x.reshape(x.shape[0], -1)
        x = nn.relu(nn.Dense(64)(x))
        return nn.Dense(10)(x)


network = SmallCNN()
params = network.init(jax.random.key(0), splits.train.images[:1])
print(f"{count_params(params):,} parameters")
jax.tree.map(jnp.shape, params)
''')
md('''
## 3. Train it

The step is a pure function: parameters and the optimiser's state go in, new ones come out. `jit` compiles it, and `scan` runs a
whole epoch on the device. On the way, `augment_images` turns, slants, scales and shifts each image a little, so that no image
comes twice.
''')
py('''
from digitjax.config import AugmentConfig
from digitjax.nn.augment import augment_images

EPOCHS, BATCH = 3, 128
num_steps = EPOCHS * (len(splits.train.labels) // BATCH)
optimizer = optax.adamw(optax.cosine_onecycle_schedule(num_steps, 4e-3))


def loss_fn(params, images, labels):
    logits = network.apply(params, images)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    return loss, (logits.argmax(-1) == labels).mean()


def train_step(state, batch):
    params, opt_state, key = state
    key, augment_key = jax.random.split(key)
    images, labels = batch
    images = augment_images(augment_key, images, AugmentConfig())
    (loss, accuracy), grads = jax.value_and_grad(loss_fn, has_aux=True)(params, images, labels)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    return (optax.apply_updates(params, updates), opt_state, key), (loss, accuracy)


@jax.jit
def train_epoch(state, images, labels):
    key, order_key = jax.random.split(state[2])
    order = jax.random.permutation(order_key, len(labels))[: len(labels) // BATCH * BATCH].reshape(-1, BATCH)
    state, metrics = jax.lax.scan(lambda s, i: train_step(s, (images[i], labels[i])), (*state[:2], key), order)
    return state, jax.tree.map(jnp.mean, metrics)


@jax.jit
def predict(params, images):
    return network.apply(params, images)


history = []
state = params, optimizer.init(params), jax.random.key(1)
train_images, train_labels = jnp.asarray(splits.train.images), jnp.asarray(splits.train.labels)
for epoch in range(1, EPOCHS + 1):
    begin = time.perf_counter()
    state, (loss, accuracy) = train_epoch(state, train_images, train_labels)
    validation = float((predict(state[0], splits.validation.images).argmax(-1) == splits.validation.labels).mean())
    history.append((epoch, float(loss), float(accuracy), validation))
    print("epoch {}: loss {:.3f}, accuracy {:.2%}, validation {:.2%}".format(*history[-1]), end="")
    print(f", {time.perf_counter() - begin:.0f} s")
''')
py('''
epochs, losses, accuracies, validations = zip(*history)
fig, axes = plt.subplots(1, 2, figsize=(8, 2.6))
axes[0].plot(epochs, losses, marker="o")
axes[0].set(title="Training loss", xlabel="epoch", xticks=epochs)
axes[1].plot(epochs, [100 * (1 - a) for a in accuracies], marker="o", label="training, augmented")
axes[1].plot(epochs, [100 * (1 - a) for a in validations], marker="o", label="validation")
axes[1].set(title="Errors, %", xlabel="epoch", xticks=epochs)
axes[1].legend()
fig.tight_layout()
''')
md('''
## 4. See what it gets wrong

Now the test set, once. The colours of the confusion matrix show the mistakes, which the diagonal would drown.
''')
py('''
from sklearn.metrics import ConfusionMatrixDisplay

logits = np.asarray(predict(state[0], splits.test.images))
preds, labels = logits.argmax(-1), splits.test.labels
print(f"{(preds == labels).mean():.2%} of the test images are right, {(preds != labels).sum()} are wrong")

fig, ax = plt.subplots(figsize=(4.6, 4.6))
display = ConfusionMatrixDisplay.from_predictions(labels, preds, ax=ax, cmap="Oranges", colorbar=False)
display.im_.set_clim(0, max(1, (display.confusion_matrix - np.diag(np.diag(display.confusion_matrix))).max()))
''')
py('''
wrong = np.flatnonzero(preds != labels)
margins = logits[wrong, preds[wrong]] - logits[wrong, labels[wrong]]
fig, axes = plt.subplots(2, 10, figsize=(8, 2.4))
for ax in axes.flat:
    ax.axis("off")
for ax, i in zip(axes.flat, wrong[np.argsort(-margins)]):
    ax.imshow(splits.test.images[i, ..., 0], cmap="gray_r")
    ax.set_title(f"{labels[i]}, read as {preds[i]}", fontsize=7)
''')
md('''
## 5. From a photo to 28x28 pixels

A network that knows MNIST fails on a photo, because a photo doesn't look like MNIST. So all pictures go the way on which MNIST
was made: find the ink, take the digit, scale it to 20 pixels, and centre its mass. This is a 7 on squared paper, in uneven
light. Take a picture of your own: change the path.
''')
py('''
from digitjax.pictures.ink import extract_ink
from digitjax.pictures.preprocess import draw_digit, find_digit
from digitjax.pictures.source import load_picture

photo = "../demo/examples/squared_paper.jpg"
picture = load_picture(photo, 256)  # upright, grey, no side longer than 256 pixels
ink = extract_ink(picture.gray, max(picture.gray.shape) / 3)  # how much each pixel stands out from the paper
digit = find_digit(ink)  # which of it is the digit: no rules, no specks, no neighbours
canonical = draw_digit(ink, digit)  # as MNIST's makers would have drawn it

fig, axes = plt.subplots(1, 4, figsize=(9, 2.6))
steps = {"brightness": picture.gray, "ink": 255 - ink, "the digit": ~digit, "what the network sees": 255 - canonical}
for ax, (title, step) in zip(axes, steps.items()):
    ax.imshow(step, cmap="gray")
    ax.set_title(title, fontsize=9)
    ax.axis("off")
''')
md('''
## 6. Ask a trained model, and why it thinks so

The weights that ship were trained longer, on more hands, and with letters and scribbles that are no digit: they say when there
is none. `explain` shows which ink decided (integrated gradients).
''')
py('''
from digitjax import Recognizer

recognizer = Recognizer.load()
prediction = recognizer.predict_digit(photo)
print(prediction.digit, f"{prediction.confidence:.1%}", prediction.box)
for name in ("letter", "scribble"):
    other = recognizer.predict_digit(f"../demo/examples/{name}.jpg")
    print(name, other.digit, other.reason)

saliency = recognizer.explain(prediction)
fig, axes = plt.subplots(1, 3, figsize=(9, 2.6))
axes[0].imshow(prediction.canonical, cmap="gray_r")
axes[1].imshow(saliency, cmap="PuOr_r", vmin=-abs(saliency).max(), vmax=abs(saliency).max())
axes[1].set_title("for it (orange) and against it (purple)", fontsize=9)
axes[2].barh(range(10), prediction.probabilities)
axes[2].set(yticks=range(10), xlim=(0, 1))
axes[2].invert_yaxis()
for ax in axes[:2]:
    ax.axis("off")
''')
md('''
## 7. Read a whole page

`read` finds all digits, row by row, with a box for each.
''')
py('''
page = "../demo/examples/number.jpg"
reading = recognizer.read(page)
print(reading.text)

fig, ax = plt.subplots(figsize=(8, 3))
ax.imshow(plt.imread(page), cmap="gray")
for digit in (digit for line in reading.lines for digit in line):
    left, top, right, bottom = digit.box
    ax.add_patch(plt.Rectangle((left, top), right - left, bottom - top, fill=False, color="tab:orange"))
    ax.text(left, top - 4, digit.label, color="tab:orange", fontsize=12)
ax.axis("off");
''')
md('''
## 8. Take it elsewhere

Exported, the network needs no digitjax: ONNX runs in other languages and on phones, StableHLO wherever JAX does
([more](../docs/runtimes.md)). Both are compared with JAX before they are written.
''')
py('''
!python -m digitjax.export --format stablehlo --out /tmp/digitjax.stablehlo

exported = jax.export.deserialize(bytearray(Path("/tmp/digitjax.stablehlo").read_bytes()))
logits, probs, is_digit_scores = exported.call(prediction.canonical[None, ..., None])
print(int(probs.argmax()), float(is_digit_scores[0]))
''')
md('''
## Where to go on

`python -m digitjax.train` does all of this with checkpoints, resuming, calibration and a report; [docs/training.md](../docs/training.md)
shows how, also with your own classes. [docs/design.md](../docs/design.md) says how the code is laid out.
''')
nb.cells=C
for i,c in enumerate(nb.cells): c['id']=f"cell-{i:02}"
nb.metadata={"kernelspec":{"display_name":"Python 3","language":"python","name":"python3"},"language_info":{"name":"python"}}
nbf.write(nb,sys.argv[1])
