"""Register pairs of small images: shift, scale, gain, offset and blur.

One image of each pair is fixed. The moving one is shifted and scaled along each axis, and its
brightness, contrast and sharpness are fitted; what these do not explain is the residual.

Shape suffixes: N pairs, R rows and K columns of pixels, M = R * K, P parameters.
Coordinates run from 0 to 1 across an image: `v = start + extent * u` is where in the moving image
the place u of the fixed one lies.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holotype.dataset.near_duplicates.pair_arrays import PairColumns
from holotype.dataset.near_duplicates.resize_blur_dct import Floats, gaussian_matrix
from holotype.dataset.near_duplicates.thresholds import DEFAULT

_REGISTRATION = DEFAULT.registration


@dataclass(frozen=True, eq=False)
class Registration(PairColumns):
    """N pairs after registration.

    Attributes:
        window_N4: start and extent down, start and extent across.
        gain_N: contrast of the fixed image over that of the moving one.
        offset_N: brightness of the fixed image over that of the moving one, in grey levels.
        residual_NRK: in grey levels; 0 outside the overlap.
        slope_NRK: gradient of the moving image in grey levels per pixel.
        overlap_NRK: 1 inside both images, 0 elsewhere.
        contrast_N: standard deviation of the fixed image in grey levels.
        fixed_NRK: the fixed image minus its mean.
    """

    window_N4: Floats
    gain_N: Floats
    offset_N: Floats
    residual_NRK: Floats
    slope_NRK: Floats
    overlap_NRK: Floats
    contrast_N: Floats
    fixed_NRK: Floats

    @property
    def residual_N(self) -> Floats:
        """Root mean square of the residual over the overlap, in grey levels."""
        overlap_N = np.maximum(self.overlap_NRK.sum((1, 2)), 1)
        return np.asarray(np.sqrt((self.residual_NRK**2).sum((1, 2)) / overlap_N))


def register(
    fixed_NRK: Floats,
    moving_NRK: Floats,
    window_N4: Floats,
    *,
    steps: int,
    margin: float = 0.0,
    robust: bool = False,
) -> Registration:
    """Register by Gauss-Newton on shift, scale, gain, offset and blur together.

    Args:
        window_N4: initial windows.
        steps: Gauss-Newton steps; with 0 the window stays and only gain, offset and blur are
            fitted.
        margin: border that is not compared, as a fraction of the side.
        robust: weigh pixels by Geman and McClure's function, so that an overlay on a small part
            of one image does not affect the fit of the rest.
    """
    mean_N11 = fixed_NRK.mean((1, 2), keepdims=True)
    fixed_NRK, moving_NRK = fixed_NRK - mean_N11, moving_NRK - mean_N11
    values_NM = fixed_NRK.reshape(len(fixed_NRK), -1)
    robust_weights_NM = np.ones_like(values_NM)
    for _ in range(steps):
        moved = _WarpedImages.warp(moving_NRK, window_N4, margin)
        design_NPM, weights_NM = moved.design_matrix(with_motion=True), moved.inside_NM
        solution_NP = _least_squares(design_NPM, values_NM, weights_NM * robust_weights_NM)
        if robust:
            robust_weights_NM = _robust_weights(
                values_NM - _fitted(solution_NP, design_NPM), weights_NM
            )
            solution_NP = _least_squares(design_NPM, values_NM, weights_NM * robust_weights_NM)
        window_N4 = _bounded(window_N4, solution_NP, fixed_NRK.shape[1:])
    moved = _WarpedImages.warp(moving_NRK, window_N4, margin)
    design_NPM = moved.design_matrix(with_motion=False)
    solution_NP = _least_squares(design_NPM, values_NM, moved.inside_NM * robust_weights_NM)
    if robust:
        fitted_NM = _fitted(solution_NP, design_NPM)
        robust_weights_NM = _robust_weights(values_NM - fitted_NM, moved.inside_NM)
        solution_NP = _least_squares(design_NPM, values_NM, moved.inside_NM * robust_weights_NM)
    # Fit again without the pixels that are clipped at black or white in one image.
    fitted_NM = _fitted(solution_NP, design_NPM)
    is_saturated_NM = _is_saturated(values_NM, moved.values, fitted_NM, mean_N11)
    weights_NM = moved.inside_NM * ~is_saturated_NM
    solution_NP = _least_squares(design_NPM, values_NM, weights_NM * robust_weights_NM)
    residual_NM = (values_NM - _fitted(solution_NP, design_NPM)) * weights_NM
    gain_N = solution_NP[:, 1]
    return Registration(
        window_N4,
        gain_N,
        solution_NP[:, 0],
        residual_NM.reshape(fixed_NRK.shape),
        np.hypot(moved.down, moved.across),
        moved.inside,
        fixed_NRK.std((1, 2)),
        fixed_NRK,
    )


def register_whole(
    fixed_NRK: Floats, moving_NRK: Floats, *, smoothing_px: float, steps: int, margin_px: int
) -> Registration:
    """Smooth pairs of square images and register them, from the place where they lie.

    Args:
        smoothing_px: standard deviation of the Gaussian.
        steps, margin_px: see `register`; the margin in pixels.
    """
    side = fixed_NRK.shape[1]
    smooth = gaussian_matrix(side, smoothing_px)
    return register(
        smooth @ fixed_NRK @ smooth.T,
        smooth @ moving_NRK @ smooth.T,
        np.tile(np.array([0, 1, 0, 1], np.float32), (len(fixed_NRK), 1)),
        steps=steps,
        margin=margin_px / side,
    )


def tangent_residual(
    fixed_NRK: Floats, moving_NRK: Floats, window_14: Floats, *, margin: float
) -> tuple[Floats, Floats]:
    """The residual (N, R, K) of one linear fit, and the overlap (1, R, K).

    The first half of one step of `register`, through one window for all pairs.

    Source:
        Simard, LeCun and Denker 1993, "Efficient pattern recognition using a new transformation
        distance" (the one-sided tangent distance).
    """
    mean_N11 = fixed_NRK.mean((1, 2), keepdims=True)
    values_NM = (fixed_NRK - mean_N11).reshape(len(fixed_NRK), -1)
    moved = _WarpedImages.warp(moving_NRK - mean_N11, window_14, margin)
    design_NPM = moved.design_matrix(with_motion=True)
    inside_M = moved.inside_NM[0] > 0
    solution_NP = _least_squares(design_NPM[:, :, inside_M], values_NM[:, inside_M])
    residual_NM = (values_NM - _fitted(solution_NP, design_NPM)) * moved.inside_NM
    return residual_NM.reshape(fixed_NRK.shape), moved.inside


def smoothed_difference(fit: Registration) -> Floats:
    """Smoothed absolute residual in grey levels, divided where the image is steep.

    Resampling errs most at steep places, so the residual there may be larger.
    """
    smooth = gaussian_matrix(fit.overlap_NRK.shape[1], _REGISTRATION.difference_smoothing_px)
    share_NRK = smooth @ fit.overlap_NRK @ smooth.T + np.float32(1e-3)
    residual_NRK = np.abs(smooth @ fit.residual_NRK @ smooth.T) / share_NRK
    steep_NRK = np.sqrt((smooth @ (fit.slope_NRK**2 * fit.overlap_NRK) @ smooth.T) / share_NRK)
    tolerance = np.float32(_REGISTRATION.slope_tolerance_px)
    return np.asarray(residual_NRK * fit.overlap_NRK / (1 + tolerance * steep_NRK))


def difference_quantile(difference_NRK: Floats, share: float, *, margin_px: int) -> Floats:
    """The quantile (N) of the differences inside a margin."""
    inner_NRK = difference_NRK[:, margin_px:-margin_px, margin_px:-margin_px]
    inner_NM = inner_NRK.reshape(len(inner_NRK), -1)
    place = int(share * inner_NM.shape[1])
    return np.asarray(np.partition(inner_NM, place, axis=1)[:, place])


def resampling_matrices(
    start: Floats, extent: Floats, length: int, margin: float
) -> tuple[Floats, NDArray[np.bool_]]:
    """Matrices (N, length, length) that resample windows of a line, and what lies inside (N, R).

    Catmull-Rom interpolation; a triangle filter would blur between pixels.
    """
    here_R = ((np.arange(length) + 0.5) / length).astype(np.float32)
    places_NR = start[:, None] + extent[:, None] * here_R
    inside_NR = (places_NR >= margin) & (places_NR <= 1 - margin)
    inside_NR = inside_NR & (here_R >= margin) & (here_R <= 1 - margin)
    pixel_NR = places_NR * length - np.float32(0.5)
    first_NR = np.floor(pixel_NR).astype(np.int64) - 1  # the first of four taps
    tap_NR4 = first_NR[:, :, None] + np.arange(4)
    distance = np.abs(pixel_NR[:, :, None] - tap_NR4).astype(np.float32)
    near = 1 + distance * distance * (1.5 * distance - 2.5)
    far = 2 + distance * (distance * (2.5 - 0.5 * distance) - 4)
    weights_NR4 = np.where(distance < 1, near, far)
    weights_NR4 *= (tap_NR4 >= 0) & (tap_NR4 < length) & (distance < 2)
    total = weights_NR4.sum(2, keepdims=True)
    weights_NR4 /= np.where(np.abs(total) < 1e-3, 1, total)
    matrix_NRR = np.zeros((len(start), length, length + 4), np.float32)  # four more for unused taps
    np.put_along_axis(
        matrix_NRR, np.where(weights_NR4 == 0, length + np.arange(4), tap_NR4), weights_NR4, 2
    )
    return matrix_NRR[:, :, :length], inside_NR


@dataclass(frozen=True, eq=False)
class _WarpedImages:
    """Moving images (N, R, K) resampled through their windows, with Laplacian and gradients."""

    values: Floats
    blur: Floats
    down: Floats
    across: Floats
    inside: Floats

    @classmethod
    def warp(cls, moving_NRK: Floats, window_N4: Floats, margin: float) -> "_WarpedImages":
        rows, columns = moving_NRK.shape[1:]
        matrix_NRR, inside_NR = resampling_matrices(window_N4[:, 0], window_N4[:, 1], rows, margin)
        matrix_NKK, inside_NK = resampling_matrices(
            window_N4[:, 2], window_N4[:, 3], columns, margin
        )
        values = matrix_NRR @ moving_NRK @ matrix_NKK.transpose(0, 2, 1)
        padded = np.pad(values, ((0, 0), (1, 1), (1, 1)), mode="edge")
        middle = padded[:, 1:-1, 1:-1]
        up, below = padded[:, :-2, 1:-1], padded[:, 2:, 1:-1]
        left, right = padded[:, 1:-1, :-2], padded[:, 1:-1, 2:]
        return cls(
            values=values,
            blur=up + below + left + right - 4 * middle,
            down=(below - up) / 2,
            across=(right - left) / 2,
            inside=(inside_NR[:, :, None] & inside_NK[:, None, :]).astype(np.float32),
        )

    @property
    def inside_NM(self) -> Floats:
        return self.inside.reshape(len(self.inside), -1)

    def design_matrix(self, *, with_motion: bool) -> Floats:
        """Regressors (N, P, M): offset, gain, blur, and per axis shift and growth."""
        free = [np.ones_like(self.values), self.values, self.blur]
        if with_motion:
            u_R1 = _centred(self.values.shape[1])[:, None]
            u_1K = _centred(self.values.shape[2])[None, :]
            free += [self.down, self.down * u_R1, self.across, self.across * u_1K]
        return np.stack(free, 1).reshape(len(self.values), len(free), -1)


def _centred(length: int) -> Floats:
    return ((np.arange(length) + 0.5) / length - 0.5).astype(np.float32)


def _least_squares(
    design_NPM: Floats, values_NM: Floats, weights_NM: Floats | None = None
) -> Floats:
    weighted = design_NPM if weights_NM is None else design_NPM * weights_NM[:, None, :]
    normal_NPP = (weighted @ design_NPM.transpose(0, 2, 1)).astype(np.float64)
    right_NP = (weighted @ values_NM[:, :, None])[:, :, 0].astype(np.float64)
    diagonal_NP = np.einsum("npp->np", normal_NPP)
    scale_NP = 1 / np.sqrt(diagonal_NP + 1e-6)
    normal_NPP = normal_NPP * scale_NP[:, :, None] * scale_NP[:, None, :]
    normal_NPP = normal_NPP + _REGISTRATION.ridge * np.eye(normal_NPP.shape[1])
    solved = np.linalg.solve(normal_NPP, (right_NP * scale_NP)[:, :, None])[:, :, 0]
    return np.asarray(solved * scale_NP, dtype=np.float32)


def _robust_weights(residual_NM: Floats, weights_NM: Floats) -> Floats:
    """Geman and McClure's weights; the scale is a multiple of the median absolute residual."""
    sample = slice(0, None, _REGISTRATION.median_stride)
    inside_NM = np.where(weights_NM[:, sample] > 0, np.abs(residual_NM[:, sample]), np.inf)
    inside_NM.sort(axis=1)
    middle_N = np.maximum(np.isfinite(inside_NM).sum(1) // 2 - 1, 0)
    middle_N1 = np.take_along_axis(inside_NM, middle_N[:, None], 1)
    scale_N1 = np.clip(_REGISTRATION.robust_scale * middle_N1, _REGISTRATION.min_robust_scale, 255)
    return np.asarray(1 / (1 + (residual_NM / scale_N1) ** 2) ** 2, dtype=np.float32)


def _fitted(solution_NP: Floats, design_NPM: Floats) -> Floats:
    return np.asarray((solution_NP[:, None, :] @ design_NPM)[:, 0])


def _is_saturated(
    fixed_NM: Floats, moved_NRK: Floats, fitted_NM: Floats, mean_N11: Floats
) -> NDArray[np.bool_]:
    """Pixels clipped at black or white in one image that the other would take further."""
    moved_NM = moved_NRK.reshape(fixed_NM.shape)
    black_N1 = _REGISTRATION.saturated_below - mean_N11[:, 0]
    white_N1 = _REGISTRATION.saturated_above - mean_N11[:, 0]
    return np.asarray(
        ((fixed_NM >= white_N1) & (fitted_NM > fixed_NM))
        | ((fixed_NM <= black_N1) & (fitted_NM < fixed_NM))
        | ((moved_NM >= white_N1) & (fixed_NM > fitted_NM))
        | ((moved_NM <= black_N1) & (fixed_NM < fitted_NM))
    )


def _bounded(window_N4: Floats, solution_NP: Floats, shape: tuple[int, ...]) -> Floats:
    """The window after one step of the fit, held within the largest step, shift and extent."""
    limits = _REGISTRATION
    gain_N = solution_NP[:, 1]
    gain_N = np.where(np.abs(gain_N) < limits.min_gain, limits.min_gain, gain_N)
    moved = window_N4.copy()
    for axis, length in enumerate(shape):
        step_2N = solution_NP[:, 3 + 2 * axis : 5 + 2 * axis].T / gain_N / length
        shift_N, growth_N = np.clip(step_2N, -limits.max_step, limits.max_step)
        extent_N = window_N4[:, 2 * axis + 1]
        centre_N = window_N4[:, 2 * axis] + extent_N / 2 + shift_N
        extent_N = np.clip(extent_N + growth_N, 1 / limits.max_extent, limits.max_extent)
        centre_N = np.clip(centre_N, 0.5 - limits.max_shift, 0.5 + limits.max_shift)
        moved[:, 2 * axis], moved[:, 2 * axis + 1] = centre_N - extent_N / 2, extent_N
    return moved
