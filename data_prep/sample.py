"""Synthetic data: an archive in CIFAR-100's format with the configured classes, for where that cannot be had.

Bicycles and motorcycles are drawn as such; every other class gets a shape and pattern of its own. Pose, light,
background, noise and occlusion vary, and some bicycles are as stout as light motorcycles, so that a classifier
has something to learn and something to get wrong.
"""

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from data_prep.cifar import IMAGE_SIZE, SPLITS, SYNTHETIC_MARK, write_archive
from data_prep.errors import DataSetError
from data_prep.files import only_one, replaced_file
from data_prep.options import EnvironmentName, Quiet
from data_prep.progress import Progress, progress_bars, silent
from stacks.config import load_environment
from stacks.shared.cifar_100 import CLASS_NAMES

TRAIN_PER_CLASS, TEST_PER_CLASS = 500, 100  # as in CIFAR-100
SEED = 100
_VERSION = 1  # of the drawings
_SCALE = 4  # drawn this much larger, then reduced, which smooths the lines
_SIZE = IMAGE_SIZE * _SCALE

Colour = tuple[int, int, int]
Point = tuple[float, float]
Grid = NDArray[np.float64]


def sample(
    path: Annotated[Path, typer.Argument(help="Archive to write.")],
    *,
    env: EnvironmentName = "dev",
    train: Annotated[int, typer.Option(min=1, max=500, help="Training images per class.")] = TRAIN_PER_CLASS,
    test: Annotated[int, typer.Option(min=1, max=500, help="Test images per class.")] = TEST_PER_CLASS,
    quiet: Quiet = False,
) -> None:
    """Generate an archive in CIFAR-100's format with synthetic images of the environment's classes."""
    with progress_bars(quiet=quiet) as progress:
        generate_archive(
            path,
            classes=load_environment(env).classes,
            train_per_class=train,
            test_per_class=test,
            progress=progress,
        )
    typer.echo(path)


def synthetic_archive(cache: Path, classes: tuple[str, ...], progress: Progress = silent) -> Path:
    """The path of the synthetic archive of `classes` in `cache`, generated if it is not there yet."""
    key = hashlib.sha256(" ".join((str(_VERSION), *classes)).encode()).hexdigest()[:12]
    target = cache / f"synthetic-{key}.tar.gz"
    with only_one(target):
        if not target.is_file():
            generate_archive(target, classes=classes, progress=progress)
    return target


def generate_archive(
    path: Path,
    *,
    classes: tuple[str, ...],
    train_per_class: int = TRAIN_PER_CLASS,
    test_per_class: int = TEST_PER_CLASS,
    seed: int = SEED,
    progress: Progress = silent,
) -> Path:
    """Generate images of `classes`, names of CIFAR-100, into an archive at `path`; equal arguments give equal bytes.

    Raises DataSetError for a class that CIFAR-100 does not have.
    """
    if unknown := [name for name in classes if name not in CLASS_NAMES]:
        raise DataSetError(f"class {unknown[0]!r} is not one of CIFAR-100; it has {', '.join(CLASS_NAMES)}")
    per_class = dict(zip(SPLITS, (train_per_class, test_per_class), strict=True))
    done, total = 0, sum(per_class.values()) * len(classes)
    splits = {}
    for split_number, (split, count) in enumerate(per_class.items()):
        order = np.random.default_rng([seed, split_number]).permutation(count * len(classes))
        names, labels, pixels = [], [], np.empty((len(order), IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
        for position, number in enumerate(order.tolist()):
            name, index = classes[number % len(classes)], number // len(classes)
            label = CLASS_NAMES.index(name)
            # Seeded by class and number, so a class looks the same whichever others are drawn with it
            pixels[position] = draw_image(name, np.random.default_rng([seed, split_number, label, index]))
            names.append(f"drawn_{name}_s_{index:06d}.png")
            labels.append(label)
            done += 1
            progress("Drawing images", done, total)
        splits[split] = (names, labels, pixels)
    with replaced_file(path) as new:
        write_archive(new, class_names=CLASS_NAMES, splits=splits, batch_label=SYNTHETIC_MARK)
    return path


def draw_image(name: str, random: np.random.Generator) -> NDArray[np.uint8]:
    """One image of a class, of shape (32, 32, 3)."""
    image = _background(random)
    layer = Image.new("RGBA", image.size)
    if name in _VEHICLES:
        _VEHICLES[name](ImageDraw.Draw(layer), random)
    else:
        _draw_emblem(layer, random, CLASS_NAMES.index(name))
    image.paste(*_posed(layer, random))
    _occlude(image, random)
    return _photographed(image, random)


def _background(random: np.random.Generator) -> Image.Image:
    """Two blurred colour fields with a horizon, and some clutter."""
    image = Image.new("RGB", (_SIZE, _SIZE), _colour(random, 90, 250))
    draw = ImageDraw.Draw(image)
    horizon = random.uniform(0.35, 0.95) * _SIZE
    draw.rectangle((0, horizon, _SIZE, _SIZE), fill=_colour(random, 60, 220))
    for _ in range(random.integers(0, 6)):
        x, y, width, height = (float(v) for v in random.uniform(0, _SIZE, 4))
        shape = draw.ellipse if random.random() < 0.5 else draw.rectangle
        shape((x, y, x + width / 3, y + height / 3), fill=_colour(random, 30, 250))
    return image.filter(ImageFilter.GaussianBlur(float(random.uniform(2, 8))))


def _posed(layer: Image.Image, random: np.random.Generator) -> tuple[Image.Image, tuple[int, int], Image.Image]:
    """The drawn object turned, mirrored, scaled and shifted: (image, position, mask)."""
    if random.random() < 0.5:
        layer = layer.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    layer = layer.rotate(float(random.normal(0, 9)), resample=Image.Resampling.BILINEAR)
    width, height = (int(_SIZE * random.uniform(0.7, 1.1)) for _ in range(2))
    width = int(min(width, height * 1.3))
    layer = layer.resize((width, height))
    x, y = (int((_SIZE - length) / 2 + random.normal(0, 0.06) * _SIZE) for length in (width, height))
    return layer, (x, y), layer.getchannel("A")


def _occlude(image: Image.Image, random: np.random.Generator) -> None:
    if random.random() < 0.35:
        x, y = (float(v) for v in random.uniform(0, _SIZE, 2))
        size = float(random.uniform(0.1, 0.35)) * _SIZE
        ImageDraw.Draw(image).rectangle((x, y, x + size, y + size * 1.5), fill=_colour(random, 20, 230))


def _photographed(image: Image.Image, random: np.random.Generator) -> NDArray[np.uint8]:
    """Reduced to 32x32, with exposure, contrast, softness and noise of a small photograph."""
    small = image.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BOX)
    if random.random() < 0.5:
        small = small.filter(ImageFilter.GaussianBlur(float(random.uniform(0.2, 0.8))))
    values = np.asarray(small, np.float32)
    values = (values - 128) * random.uniform(0.5, 1.1) + 128 + random.uniform(-30, 30)
    values += random.normal(0, random.uniform(2, 12), values.shape)
    return np.clip(values, 0, 255).astype(np.uint8)


def _colour(random: np.random.Generator, low: int, high: int) -> Colour:
    red, green, blue = random.integers(low, high, 3).tolist()
    return red, green, blue


def _wheel(
    canvas: ImageDraw.ImageDraw, centre: Point, *, radius: float, tyre: float, colour: Colour, spokes: int
) -> None:
    x, y = centre
    canvas.ellipse((x - radius, y - radius, x + radius, y + radius), outline=colour, width=max(2, round(tyre)))
    for spoke in range(spokes):
        angle = math.tau * spoke / spokes
        canvas.line((x, y, x + radius * math.cos(angle), y + radius * math.sin(angle)), fill=colour, width=1)


def _draw_bicycle(canvas: ImageDraw.ImageDraw, random: np.random.Generator) -> None:
    """Two thin wheels, a diamond frame, a saddle and handlebars; an e-bike has a stouter frame and a battery."""
    stout = float(random.beta(1.3, 3.5))
    dark, paint = _colour(random, 0, 70), _colour(random, 10, 220)
    radius = float(random.uniform(0.18, 0.23)) * _SIZE
    ground = 0.86 * _SIZE - radius
    rear, front = (0.25 * _SIZE, ground), (0.75 * _SIZE, ground)
    tyre = (0.02 + 0.045 * stout) * _SIZE
    for centre in (rear, front):
        _wheel(canvas, centre, radius=radius, tyre=tyre, colour=dark, spokes=int(random.choice([0, 8, 12])))
    crank = (0.46 * _SIZE, ground + 0.03 * _SIZE)
    seat = (0.40 * _SIZE, ground - float(random.uniform(0.22, 0.30)) * _SIZE)
    head = (0.66 * _SIZE, ground - float(random.uniform(0.22, 0.30)) * _SIZE)
    tube = round((0.02 + 0.04 * stout) * _SIZE)
    for start, end in ((rear, crank), (rear, seat), (seat, crank), (crank, head), (seat, head), (head, front)):
        canvas.line((*start, *end), fill=paint, width=tube)
    if stout > 0.45:
        middle = ((crank[0] + head[0]) / 2, (crank[1] + head[1]) / 2)
        canvas.ellipse(_around(middle, 0.09 * _SIZE, 0.06 * _SIZE), fill=dark)
    saddle = (seat[0] - 0.02 * _SIZE, seat[1] - 0.06 * _SIZE)
    canvas.line((*seat, *saddle), fill=paint, width=tube)
    canvas.ellipse(_around(saddle, 0.07 * _SIZE, 0.02 * _SIZE), fill=dark)
    bar = (head[0] + 0.02 * _SIZE, head[1] - 0.07 * _SIZE)
    canvas.line((*head, *bar), fill=paint, width=tube)
    reach = float(random.uniform(-0.06, 0.08)) * _SIZE
    canvas.line((*bar, bar[0] + reach, bar[1] + 0.02 * _SIZE), fill=dark, width=tube)


def _draw_motorcycle(canvas: ImageDraw.ImageDraw, random: np.random.Generator) -> None:
    """Two fat wheels, an engine block, a tank, a long seat, a fork and an exhaust; a light one has less of each."""
    light = float(random.beta(1.3, 3.5))
    dark, paint, metal = _colour(random, 0, 60), _colour(random, 10, 230), _colour(random, 90, 220)
    radius = float(random.uniform(0.15, 0.20)) * _SIZE
    ground = 0.84 * _SIZE - radius
    rear, front = (0.24 * _SIZE, ground), (0.78 * _SIZE, ground)
    tyre = (0.085 - 0.045 * light) * _SIZE
    for centre in (rear, front):
        _wheel(canvas, centre, radius=radius, tyre=tyre, colour=dark, spokes=int(random.choice([0, 5, 8])))
        canvas.ellipse(_around(centre, 0.05 * _SIZE, 0.05 * _SIZE), fill=metal)
    engine = (0.49 * _SIZE, ground - 0.02 * _SIZE)
    canvas.rectangle(_around(engine, (0.13 - 0.05 * light) * _SIZE, (0.11 - 0.04 * light) * _SIZE), fill=metal)
    head = (0.67 * _SIZE, ground - float(random.uniform(0.22, 0.30)) * _SIZE)
    canvas.line((*head, *front), fill=metal, width=round((0.05 - 0.02 * light) * _SIZE))
    tank = (0.56 * _SIZE, ground - 0.19 * _SIZE)
    canvas.ellipse(_around(tank, (0.15 - 0.04 * light) * _SIZE, (0.09 - 0.03 * light) * _SIZE), fill=paint)
    tail = (0.18 * _SIZE, ground - float(random.uniform(0.18, 0.27)) * _SIZE)
    canvas.line((tank[0], tank[1] + 2, *tail), fill=dark, width=round((0.08 - 0.03 * light) * _SIZE))
    canvas.line((*tail, *rear), fill=paint, width=round(0.03 * _SIZE))
    canvas.line((*engine, rear[0] - 0.06 * _SIZE, rear[1] + 0.02 * _SIZE), fill=metal, width=round(0.035 * _SIZE))
    canvas.line((*head, head[0] - 0.05 * _SIZE, head[1] - 0.08 * _SIZE), fill=dark, width=round(0.03 * _SIZE))
    if random.random() < 0.4:
        x, y = head
        corners = ((x, y), (x + 0.08 * _SIZE, y + 0.1 * _SIZE), (x - 0.02 * _SIZE, y - 0.12 * _SIZE))
        canvas.polygon(corners, fill=paint)


def _draw_emblem(layer: Image.Image, random: np.random.Generator, label: int) -> None:
    """One of ten outlines with one of ten patterns, in colours near the class's own."""
    corners, depth = _OUTLINES[label // 10]
    mask = Image.new("L", layer.size)
    ImageDraw.Draw(mask).polygon(
        [
            (_SIZE * (0.5 + reach * math.sin(angle)), _SIZE * (0.5 - reach * math.cos(angle)))
            for angle, reach in ((math.tau * i / corners, 0.42 * (depth if i % 2 else 1)) for i in range(corners))
        ],
        fill=255,
    )
    y, x = np.mgrid[:_SIZE, :_SIZE] / _SIZE - 0.5
    own = np.random.default_rng(label).integers(40, 216, 3)
    colours = np.clip(np.stack([own, 255 - own]) + random.integers(-35, 36, (2, 3)), 0, 255).astype(np.uint8)
    pattern = colours[_patterns(x, y)[label % 10].astype(int)]
    layer.paste(Image.fromarray(pattern), (0, 0), mask)


# (corners, how far every second one is pulled in): polygons, stars and flowers
_OUTLINES = ((3, 1.0), (4, 1.0), (5, 1.0), (6, 1.0), (40, 1.0), (6, 0.3), (8, 0.35), (10, 0.45), (12, 0.5), (18, 0.65))


def _patterns(x: Grid, y: Grid) -> tuple[NDArray[np.bool_], ...]:
    """Two-coloured patterns over coordinates from -0.5 to 0.5."""
    distance = np.hypot(x, y)
    return (
        distance < 0,
        y > 0,
        x > 0,
        np.sin(30 * y) > 0,
        np.sin(30 * x) > 0,
        np.sin(22 * (x + y)) > 0,
        np.sin(25 * x) * np.sin(25 * y) > 0,
        distance > 0.2,
        np.sin(40 * distance) > 0,
        np.minimum(abs(x), abs(y)) > 0.07,
    )


def _around(centre: Point, half_width: float, half_height: float) -> tuple[float, float, float, float]:
    x, y = centre
    return x - half_width, y - half_height, x + half_width, y + half_height


_VEHICLES: dict[str, Callable[[ImageDraw.ImageDraw, np.random.Generator], None]] = {
    "bicycle": _draw_bicycle,
    "motorcycle": _draw_motorcycle,
}
