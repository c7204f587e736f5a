"""An image classifier that a laptop trains in seconds, and that needs numpy alone to serve.

Kernel least squares over four views of an image:

- texture: Coates, Lee & Ng, "An Analysis of Single-Layer Networks in Unsupervised Feature Learning", AISTATS 2011:
  contrast-normalised, ZCA-whitened 6x6 patches, a k-means dictionary, triangle activation, quadrant pooling;
- shape, coarse and fine: histograms of oriented gradients, Dalal & Triggs, CVPR 2005, over cells of 8 and 4 pixels;
- colour: the square root of each quadrant's histogram of 64 colours, which the other views know nothing of.

The kernel is the mean of a Gaussian on each view. A bicycle that rides to the left is still a bicycle, so the kernel
is averaged over the mirror image. Regularisation and temperature are chosen on leave-one-out predictions, which least
squares has in closed form (Rifkin & Lippert, "Notes on Regularized Least Squares", MIT 2007), so that a probability of
0.9 means correct nine times out of ten.
"""

import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

SIDE = 32
PATCH = 6
WORDS = 400  # centroids in the dictionary
PATCHES_OF_IMAGE = 30  # that the dictionary learns from
DICTIONARY_PATCHES = (5_000, 30_000)  # at least and at most: from fewer, one image less makes another model
COARSE, FINE = 8, 4  # pixels of a cell's side
ORIENTATIONS = 9
SHADES = 4  # of each of red, green and blue
REGULARISATIONS = 10.0 ** np.arange(-3, 2.5, 0.5)
TEMPERATURES = 2.0 ** np.arange(-8, 4, 0.125)
BATCH = 8  # images encoded at once: their activations stay near the processor's cache


@dataclass(frozen=True)
class Model:
    """A trained model; every field is an array, and they are all that the artifact holds."""

    patch_mean: Floats  # (108,)
    whitening: Floats  # (108, 108)
    words: Floats  # (WORDS, 108)
    centre: Floats  # (texture features,)
    scale: Floats  # (texture features,)
    texture: Floats  # (2 n, features) as the following: the training images, then their mirror images
    coarse_shape: Floats
    fine_shape: Floats
    colour: Floats
    coefficients: Doubles  # (n, num_classes)
    temperature: Doubles  # ()

    @classmethod
    def train(cls, images: NDArray[np.uint8], labels: NDArray[np.int64], *, num_classes: int) -> "Model":
        """Learn from RGB images (n, 32, 32, 3) and their labels (n,) in 0..num_classes-1; the same in, the same out.

        Time and memory grow with the square of n: 1,000 images are quick, 5,000 take about a gigabyte.
        Raises ValueError when there is nothing to learn from: a class without an image, or other shapes.
        """
        _check(images)
        if len(images) != len(labels):
            raise ValueError(f"{len(images)} images but {len(labels)} labels: each image needs one")
        if num_classes < 2 or set(np.unique(labels).tolist()) != set(range(num_classes)):
            raise ValueError(
                f"the labels are {np.unique(labels).tolist()}, but {num_classes} classes need each of 0.."
                f"{num_classes - 1} at least once, and two classes at least"
            )
        both = np.concatenate([images, images[:, :, ::-1]])
        patch_mean, whitening, words = _learn_dictionary(images)
        texture = _texture(both, patch_mean, whitening, words)
        centre, scale = texture.mean(axis=0), texture.std(axis=0) + np.float32(1e-4)
        views = ((texture - centre) / scale, _shape(both, COARSE), _shape(both, FINE), _colour(both))
        kernel = _kernel([_Training.of(view) for view in views], [view[: len(images)] for view in views])
        coefficients, temperature = _solve(kernel, np.eye(num_classes)[labels])
        return cls(patch_mean, whitening, words, centre, scale, *views, coefficients, temperature)

    def predict(self, images: NDArray[np.uint8]) -> Doubles:
        """Probabilities (n, num_classes) of RGB images (n, 32, 32, 3); each row sums to 1."""
        _check(images)
        texture = (_texture(images, self.patch_mean, self.whitening, self.words) - self.centre) / self.scale
        views = (texture, _shape(images, COARSE), _shape(images, FINE), _colour(images))
        kernel = _kernel(self._training, views)
        return _softmax(kernel @ self.coefficients / self.temperature)

    @cached_property
    def _training(self) -> "list[_Training]":
        return [_Training.of(view) for view in (self.texture, self.coarse_shape, self.fine_shape, self.colour)]

    def save(self, path: Path) -> None:
        with path.open("wb") as file:
            np.savez_compressed(file, **asdict(self))

    @classmethod
    def load(cls, path: Path) -> "Model":
        """Read what `save` wrote. The file is data, never code. Raises ValueError if it is something else."""
        content = path.read_bytes()
        try:
            # From memory: numpy leaves the file open when it is no complete archive
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                return cls(**{field.name: arrays[field.name] for field in fields(cls)})
        except (zipfile.BadZipFile, ValueError, KeyError, TypeError, EOFError, zlib.error) as error:
            raise ValueError(f"{path} is no model of the local trainer ({error}): train again") from error


def _check(images: NDArray[np.uint8]) -> None:
    if images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE, 3):
        raise ValueError(f"images must be uint8 (n, {SIDE}, {SIDE}, 3), not {images.dtype} {images.shape}: resize them")


def _windows(images: NDArray[np.uint8]) -> Floats:
    """A view of every 6x6 patch: (n, 27, 27, 3, 6, 6)."""
    return sliding_window_view(images.astype(np.float32), (PATCH, PATCH), axis=(1, 2))


def _normalised(windows: Floats) -> Floats:
    """Patches as rows of 108 numbers, brightness and contrast removed."""
    patches: Floats = windows.reshape(-1, PATCH * PATCH * 3)
    patches = patches - patches.mean(axis=1, keepdims=True)
    patches /= np.sqrt(patches.var(axis=1, keepdims=True) + 10)
    return patches


def _learn_dictionary(images: NDArray[np.uint8]) -> tuple[Floats, Floats, Floats]:
    from sklearn.cluster import MiniBatchKMeans  # noqa: PLC0415 - serving must not need it

    windows = _windows(images)
    bounds = np.array(windows.shape[:3])[:, np.newaxis]
    count = int(np.clip(PATCHES_OF_IMAGE * len(images), *DICTIONARY_PATCHES))
    image, row, column = np.random.default_rng(0).integers(bounds, size=(3, count))
    patches = _normalised(windows[image, row, column])
    mean = patches.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(patches, rowvar=False))
    whitening = ((vectors / np.sqrt(values + 0.1)) @ vectors.T).astype(np.float32)
    k_means = MiniBatchKMeans(WORDS, batch_size=4096, n_init=1, max_iter=10, random_state=0)
    words: Floats = k_means.fit((patches - mean) @ whitening).cluster_centers_.astype(np.float32)
    return mean, whitening, words


def _texture(images: NDArray[np.uint8], mean: Floats, whitening: Floats, words: Floats) -> Floats:
    """How much each quadrant shows of each word: max(0, mean distance - distance), averaged over the patches."""
    halves = (slice(None, 14), slice(14, None))
    lengths = np.square(words).sum(axis=1)
    pooled = []
    for start in range(0, len(images), BATCH):
        windows = _windows(images[start : start + BATCH])
        patches = _normalised(windows)
        patches -= mean
        distances = np.sqrt(_squared_distances(patches @ whitening, words, lengths))
        activations = np.maximum(distances.mean(axis=1, keepdims=True) - distances, 0)
        activations = activations.reshape(*windows.shape[:3], -1)
        quadrants = [activations[:, rows, columns].mean(axis=(1, 2)) for rows in halves for columns in halves]
        pooled.append(np.concatenate(quadrants, axis=1))
    return np.concatenate(pooled)


def _shape(images: NDArray[np.uint8], cell: int) -> Floats:
    """Histograms of oriented gradients: square cells, 9 unsigned orientations, 2x2 blocks, L2-Hys normalisation."""
    padded = np.pad(np.sqrt(images.astype(np.float32) / 255), ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    across = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
    down = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    channel = np.hypot(across, down).argmax(axis=-1)[..., np.newaxis]
    across = np.take_along_axis(across, channel, -1)[..., 0]
    down = np.take_along_axis(down, channel, -1)[..., 0]
    position = np.arctan2(down, across) % np.pi * (ORIENTATIONS / np.pi)
    offset = np.abs(position[..., np.newaxis] - np.arange(ORIENTATIONS) - 0.5)
    votes = np.maximum(0, 1 - np.minimum(offset, ORIENTATIONS - offset)) * np.hypot(across, down)[..., np.newaxis]
    centres = (np.arange(SIDE // cell) + 0.5) * cell - 0.5
    share = np.maximum(0, 1 - np.abs(centres[:, np.newaxis] - np.arange(SIDE)) / cell).astype(np.float32)
    cells = np.einsum("ij,njkb,lk->nilb", share, votes, share, optimize=True)
    blocks = sliding_window_view(cells, (2, 2), axis=(1, 2))
    blocks = blocks.reshape(*blocks.shape[:3], -1)
    for ceiling in (0.2, np.inf):
        blocks = np.minimum(blocks / np.sqrt(np.square(blocks).sum(axis=-1, keepdims=True) + 0.01), ceiling)
    return np.asarray(blocks.reshape(len(images), -1), dtype=np.float32)


def _colour(images: NDArray[np.uint8]) -> Floats:
    """The square root of how much of each quadrant has each colour: Euclidean there is Hellinger's distance."""
    half = SIDE // 2
    shades = images.astype(np.intp) * SHADES // 256
    colours = (shades[..., 0] * SHADES + shades[..., 1]) * SHADES + shades[..., 2]
    quadrants = colours.reshape(-1, 2, half, 2, half).swapaxes(2, 3).reshape(-1, half * half)
    counts = np.stack([np.bincount(quadrant, minlength=SHADES**3) for quadrant in quadrants])
    return np.sqrt(counts.reshape(len(images), -1) / half**2, dtype=np.float32)


@dataclass(frozen=True)
class _Training:
    """One view of the training images and their mirror images, with what every prediction needs of it."""

    view: Floats  # (2 n, features)
    lengths: Floats  # (2 n,), squared
    spread: np.float32  # mean squared distance of two of them

    @classmethod
    def of(cls, view: Floats) -> "_Training":
        return cls(view, np.square(view).sum(axis=1), 2 * view.var(axis=0).sum())


def _kernel(training: Sequence[_Training], views: Sequence[Floats]) -> Doubles:
    """Mean of a Gaussian kernel on each view, averaged over each training image and its mirror image: (images, n)."""
    kernels = [
        np.exp(-_squared_distances(view, known.view, known.lengths) / known.spread)
        for known, view in zip(training, views, strict=True)
    ]
    both: Floats = np.mean(kernels, axis=0)
    kernel: Doubles = both.reshape(len(both), 2, -1).mean(axis=1, dtype=np.float64)
    return kernel


def _squared_distances(a: Floats, b: Floats, b_lengths: Floats) -> Floats:
    distances: Floats = np.square(a).sum(axis=1)[:, np.newaxis] - 2 * a @ b.T + b_lengths
    return np.maximum(distances, 0)


def _solve(kernel: Doubles, targets: Doubles) -> tuple[Doubles, Doubles]:
    """Coefficients of the regularised least squares, and the temperature, that predict left-out images best."""
    values, vectors = np.linalg.eigh((kernel + kernel.T) / 2)  # the dictionary is not mirrored: nearly symmetric
    targets = targets - 1 / targets.shape[1]
    candidates = []
    for regularisation in REGULARISATIONS:
        inverse = (vectors / (np.maximum(values, 0) + regularisation)) @ vectors.T
        coefficients = inverse @ targets
        left_out = targets - coefficients / np.diag(inverse)[:, np.newaxis]
        for temperature in TEMPERATURES:
            likelihood = _softmax(left_out / temperature)[targets > 0]
            candidates.append((-np.log(likelihood + 1e-12).mean(), coefficients, np.asarray(temperature)))
    _, coefficients, temperature = min(candidates, key=lambda candidate: candidate[0])
    return coefficients, temperature


def _softmax(scores: Doubles) -> Doubles:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
