"""The data set `micro-ct`: slices of simulated micro-CT scans of twelve invented fossil species.

The shape determines the species: shells, spirals and rows of chambers, varied for each specimen in
orientation, tilt and size. The grain of the rock, detector rings and noise are the same in all
slices of a specimen but differ between specimens, so a split by images leaks and gives a score
that is too optimistic; the set demonstrates this.

Arrays: Z slices, Y rows, X columns. Coordinates run from -1 to 1 within the volume.
"""

import math
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.volumes.slicing import SliceOptions, slice_volumes
from holotype.errors import UsageError

Volume = NDArray[np.float64]

DEFAULT_SPECIMENS = 8
DEFAULT_SLICES = 24
DEFAULT_SIZE = 64


def make_micro_ct(
    output: Path,
    *,
    species: int = 12,
    specimens: int = DEFAULT_SPECIMENS,
    slices: int = DEFAULT_SLICES,
    size: int = DEFAULT_SIZE,
    seed: int = 0,
) -> Path:
    """Simulate volumes and cut them along z: OUTPUT/SPECIES/SPECIMEN/z-0012.png and a table.

    Args:
        output: a directory that is new or empty.
        specimens: of each species.
        slices: of each specimen; empty ones are left out.
        size: height and width of a slice in pixels.
        seed: of the specimens; the species are always the same.

    Returns:
        `table.csv` with path, label and group (the specimen).

    Raises:
        UsageError: not 2 to 12 species, or another number too small.
    """
    if not 2 <= species <= len(SPECIES):
        raise UsageError(f"{species} species: expected 2 to {len(SPECIES)}.")
    if specimens < 1 or slices < 4 or size < 16:
        raise UsageError("expected at least 1 specimen, 4 slices and 16 pixels.")
    with tempfile.TemporaryDirectory() as scratch:
        for kind, name in enumerate(list(SPECIES)[:species]):
            folder = Path(scratch) / name
            folder.mkdir()
            for number in range(specimens):
                rng = np.random.default_rng([seed, kind, number])
                volume_ZYX = _simulate_scan(SPECIES[name], slices, size, rng)
                np.save(folder / f"specimen-{number:02d}.npy", volume_ZYX)
        return slice_volumes(Path(scratch), output, SliceOptions()).table


def _simulate_scan(
    density: Callable[[Volume, Volume, Volume], Volume],
    slices: int,
    size: int,
    rng: np.random.Generator,
) -> NDArray[np.uint16]:
    """The scan of one specimen (Z, Y, X), 16 bits, with rock, rings and noise."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in (slices, size, size)), indexing="ij")
    scale = rng.uniform(0.7, 0.9)
    u, v, w = (axis / scale for axis in _rotate(x, y, z, rng))
    object_ZYX = density(u, v, w).clip(0, 1)
    rock_ZYX = _grain(y, x, z, rng)
    rings_ZYX = _rings(y, x, rng)
    brightness, contrast = rng.uniform(0.15, 0.35), rng.uniform(0.35, 0.5)
    levels_ZYX = brightness + contrast * object_ZYX
    levels_ZYX += rng.uniform(0.05, 0.13) * rock_ZYX * (1 - 0.7 * object_ZYX)
    levels_ZYX += rng.uniform(0.01, 0.06) * rings_ZYX
    levels_ZYX += _noise(levels_ZYX.shape, rng)
    return (levels_ZYX.clip(0, 1) * 65_535).astype(np.uint16)


def _rotate(
    x: Volume, y: Volume, z: Volume, rng: np.random.Generator
) -> tuple[Volume, Volume, Volume]:
    """Coordinates after a random shift, rotation about z and tilt."""
    x, y = x - rng.uniform(-0.12, 0.12), y - rng.uniform(-0.12, 0.12)
    turn, tilt = rng.uniform(0, 2 * math.pi), rng.uniform(-0.35, 0.35)
    x, y = math.cos(turn) * x + math.sin(turn) * y, math.cos(turn) * y - math.sin(turn) * x
    y, z = math.cos(tilt) * y + math.sin(tilt) * z, math.cos(tilt) * z - math.sin(tilt) * y
    return x, y, z


def _grain(y: Volume, x: Volume, z: Volume, rng: np.random.Generator) -> Volume:
    """The rock: a sum of waves with random directions and wavelengths."""
    grain = np.zeros_like(x)
    direction = rng.uniform(0, math.pi)
    for _ in range(6):
        angle, waves = direction + rng.normal(0, 0.4), rng.uniform(3, 14)
        along = math.cos(angle) * x + math.sin(angle) * y + rng.normal(0, 0.1) * z
        grain += np.sin(waves * math.pi * along + rng.uniform(0, 2 * math.pi))
    return grain / 3


def _rings(y: Volume, x: Volume, rng: np.random.Generator) -> Volume:
    """Ring artefacts of the detector, as circles about the axis of rotation."""
    radius = np.hypot(x - rng.uniform(-0.3, 0.3), y - rng.uniform(-0.3, 0.3))
    gains = rng.normal(0, 1, 40)
    return np.asarray(np.interp(radius * 25, np.arange(40), gains))


def _noise(shape: tuple[int, ...], rng: np.random.Generator) -> Volume:
    """Noise of random strength and smoothness."""
    noise = rng.normal(0, 1, shape)
    smooth = rng.uniform(0, 0.5)
    noise = (1 - smooth) * noise + smooth * (np.roll(noise, 1, 1) + np.roll(noise, 1, 2)) / 2
    return rng.uniform(0.02, 0.05) * noise


# Species are functions from coordinates in the unit ball to densities from 0 to 1.


def _wall(distance: Volume, thickness: float) -> Volume:
    """1 where the distance from a surface is below the thickness, smoothly falling to 0."""
    return 1 / (1 + np.exp((np.abs(distance) - thickness) / 0.02))


def _shell(
    long: float, flat: float, thickness: float, ribs: int = 0
) -> Callable[[Volume, Volume, Volume], Volume]:
    """A hollow ellipsoid, optionally with ribs."""

    def density(u: Volume, v: Volume, w: Volume) -> Volume:
        radius = np.sqrt(u**2 / long**2 + v**2 / flat**2 + w**2)
        wave = 0.06 * np.cos(ribs * np.arctan2(v, u)) if ribs else 0.0
        return _wall(0.9 - radius + wave, thickness)

    return density


def _spiral(
    whorls: float, tube: float, rise: float = 0.0, keel: bool = False
) -> Callable[[Volume, Volume, Volume], Volume]:
    """A tube that spirals outwards and widens; with `rise`, like a snail shell."""

    def density(u: Volume, v: Volume, w: Volume) -> Volume:
        radius = np.hypot(u, v) + 1e-9
        turns = np.arctan2(v, u) / (2 * math.pi)
        best = np.full(u.shape, np.inf)
        for whorl in range(math.ceil(whorls) + 1):
            along = (turns + whorl).clip(0, whorls)
            centre = 0.12 + 0.72 * along / whorls
            width = tube * (0.4 + 0.6 * along / whorls)
            aside = w - rise * (1 - along / whorls)
            squeeze = 0.6 if keel else 1.0
            best = np.minimum(best, np.hypot((radius - centre), aside * squeeze) - width)
        return _wall(best + 0.02, 0.04)

    return density


def _chambers(
    *centres: tuple[float, float, float, float],
) -> Callable[[Volume, Volume, Volume], Volume]:
    """Hollow spheres (u, v, w, radius); where two overlap, both walls are kept."""

    def density(u: Volume, v: Volume, w: Volume) -> Volume:
        walls = np.zeros_like(u)
        for cu, cv, cw, radius in centres:
            distance = np.sqrt((u - cu) ** 2 + (v - cv) ** 2 + (w - cw) ** 2) - radius
            walls = np.maximum(walls, _wall(distance, 0.045))
        return walls

    return density


def _coil(chambers: int) -> tuple[tuple[float, float, float, float], ...]:
    angles = [2.6 * math.pi * k / chambers for k in range(chambers)]
    scale = [0.35 + 0.65 * k / chambers for k in range(chambers)]
    return tuple(
        (0.58 * g * math.cos(a), 0.58 * g * math.sin(a), 0.0, 0.34 * g)
        for a, g in zip(angles, scale, strict=True)
    )


SPECIES: dict[str, Callable[[Volume, Volume, Volume], Volume]] = {
    "shell-round": _shell(1.0, 1.0, 0.07),
    "spiral-tight": _spiral(3.5, 0.1),
    "chambers-line": _chambers(*((-0.66 + 0.3 * k, 0, 0, 0.14 + 0.035 * k) for k in range(5))),
    "shell-long": _shell(1.0, 0.5, 0.07),
    "spiral-loose": _spiral(2.0, 0.15),
    "chambers-pair": _chambers(
        *((-0.6 + 0.2 * k, 0.17 * (-1) ** k, 0, 0.15 + 0.02 * k) for k in range(7))
    ),
    "shell-ribbed": _shell(1.0, 0.95, 0.07, ribs=9),
    "spiral-snail": _spiral(2.75, 0.13, rise=0.7),
    "chambers-coil": _chambers(*_coil(8)),
    "shell-thick": _shell(1.0, 0.8, 0.16),
    "spiral-keeled": _spiral(2.5, 0.14, keel=True),
    "chambers-cluster": _chambers(
        (0.3, 0.25, 0.1, 0.36), (-0.3, 0.28, -0.1, 0.32), (0.02, -0.32, 0.1, 0.38),
        (0.0, 0.05, 0.4, 0.3), (0.0, 0.0, -0.4, 0.28),
    ),
}  # fmt: skip
