"""All tuned constants of the near-duplicate search.

Each field has an entry under its name (`candidates.num_nearest`) in docs/log.md, "Near-duplicate
search: where each threshold comes from"; a test compares the values. Changing one that is not
marked "speed only" needs a new `_CACHE_VERSION` in `search`. The sizes of fingerprints are a file
format and stand in `holotype.dataset.audit_fingerprints`.

Units: "grey levels" are of 255; "contrasts" are standard deviations of the fixed image; shares
and shifts are fractions of a side or area. Tuples over regions are ordered as `transforms.regions`.
"""

from dataclasses import dataclass

PerRegion = tuple[float, float, float, float]


@dataclass(frozen=True)
class SearchThresholds:
    """Which images are searched."""

    min_side_px: int = 12  # of the stored grey image; smaller images are not searched


@dataclass(frozen=True)
class ClusterThresholds:
    """When a cluster is oversized: both must be exceeded."""

    oversized_min_images: int = 10  # images
    oversized_min_share: float = 0.01  # of all images


@dataclass(frozen=True)
class KindThresholds:
    """How the kind of a near-duplicate is named; no decision depends on these."""

    moved_shift_px: float = 0.25  # shift above which a pair is "cropped"
    moved_scale_px: float = 0.4  # change of extent above which a pair is "cropped"
    brightened_gain: float = 0.015  # |gain - 1| above which a pair is "brightness"
    brightened_offset: float = 1.5  # grey levels above which a pair is "brightness"
    recompressed_difference: float = 0.05  # grey levels above which a pair is "recompressed"


@dataclass(frozen=True)
class TransformThresholds:
    """Through which transforms candidates are looked up."""

    regions: tuple[PerRegion, ...] = (  # top, bottom, left, right: whole, inner, upper, lower
        (0, 1, 0, 1),
        (0.1, 0.9, 0.1, 0.9),
        (0, 0.45, 0, 1),
        (0.55, 1, 0, 1),
    )
    region_min_sides_px: PerRegion = (0, 28, 48, 48)  # least side of a pair, by region
    centred_crop: float = 0.0125  # share cut off on each side
    crops: tuple[tuple[float, tuple[float, ...]], ...] = (  # share cut off, places along each axis
        (0.025, (0, 1)),
        (0.05, (0, 0.5, 1)),
        (0.1, (0, 0.5, 1)),
    )
    frame_cuts: tuple[float, ...] = (0.1, 0.08, 0.06)  # share cut off on each side, for frames


@dataclass(frozen=True)
class CandidateThresholds:
    """Descriptors and the search for their nearest neighbours."""

    thumbnail_px: int = 32  # side of the images that descriptors are computed from
    descriptor_px: int = 12  # side of the region that is transformed into frequencies
    max_frequency: int = 6  # half waves down plus across: 27 coefficients
    clip_deviations: float = 2.0  # standard deviations at which pixels are clipped
    clip_passes: int = 2  # times the clipping is repeated
    min_contrast: float = 0.7  # grey levels; below, an image has no descriptor
    num_nearest: int = 2  # neighbours per transform
    num_nearest_oriented: int = 8  # neighbours by the orientation-invariant descriptor
    num_probes: int = 4  # partitions searched per query
    max_partition_size: int = 512  # vectors; larger partitions are bisected
    min_similarity: PerRegion = (0.87, 0.93, 0.95, 0.95)  # cosine, by region
    region_penalty: float = 0.03  # cosine, subtracted for regions other than the whole
    max_candidates: tuple[int, int, int, int] = (8, 2, 2, 2)  # pairs per image, by region
    max_log_aspect_difference: float = 0.12  # of log(width / height)


@dataclass(frozen=True)
class CoarseThresholds:
    """Registration at low resolution, and which pairs it leaves."""

    side_px: int = 16  # side of the registered images
    steps: int = 2  # Gauss-Newton steps
    margin_px: int = 2  # border that is not compared
    smoothing_px: float = 1.0  # standard deviation of the Gaussian
    min_contrast: float = 1.0  # grey levels; least contrast that differences are divided by
    oriented_limit: float = 0.07  # contrasts; mean difference of mirrored and turned pairs
    region_limits: PerRegion = (0.13, 0.1, 0.05, 0.05)  # contrasts; mean difference, by region
    quantile: float = 0.7  # share of pixels whose difference is bounded, too, ...
    quantile_to_mean: float = 1.36  # ... by so many times the limit of the mean
    outside_text_quantile: float = 0.6  # share of all pixels, where half may hold a text, ...
    outside_text_limit: float = 0.18  # ... that must differ by less than so many contrasts
    difference_cap: float = 0.25  # contrasts; cap of one pixel's difference in the mean
    max_shortlisted: int = 10  # pairs per image that are registered further
    peak_to_mean: float = 2.75  # lower bound of pruned pairs: maximum over mean, per 16 px of side
    peak_side_px: int = 48  # side below which that factor falls linearly


@dataclass(frozen=True)
class RegistrationThresholds:
    """Gauss-Newton registration and the difference that remains."""

    max_extent: float = 1.13  # largest extent of the window; its inverse is the smallest
    max_shift: float = 0.08  # largest shift of the window's centre
    max_step: float = 0.03  # largest shift and growth in one step
    min_gain: float = 0.2  # least |gain| that a step is divided by
    ridge: float = 1e-7  # added to the diagonal of the normalised normal equations
    saturated_below: float = 8.0  # grey levels; at or below, a pixel may be clipped
    saturated_above: float = 231.0  # grey levels; at or above, a pixel may be clipped
    robust_scale: float = 3.0  # Geman-McClure scale, in medians of the residual
    min_robust_scale: float = 0.5  # grey levels; least scale
    median_stride: int = 7  # of the pixels that the median is taken of
    difference_smoothing_px: float = 0.7  # standard deviation of the Gaussian
    slope_tolerance_px: float = 0.1  # misregistration tolerated, times the local slope


@dataclass(frozen=True)
class VerificationThresholds:
    """Which pairs are measured at which resolution."""

    min_registration_side_px: int = 20  # smaller images are compared without registration
    steps: int = 2  # Gauss-Newton steps at each resolution
    smoothing_px: float = 1.0  # standard deviation of the Gaussian before registration
    unregistered_smoothing_px: float = 0.5  # the same for images compared without registration
    min_margin_px: int = 2  # border that is not compared
    coarse_limit: float = 8.0  # grey levels at 16 px; above, a pair is not registered further
    half_resolution_limit: float = 3.5  # grey levels; below, measured at full resolution
    half_resolution_limit_region: float = 7.0  # the same for pairs through a region
    skip_limit: float = 12.0  # grey levels; at or above, competitors of a copy are not measured
    chroma_smoothing_px: float = 0.7  # standard deviation of the Gaussian over chroma
    chroma_moved_window: float = 0.01  # offset of the window above which a pair counts as moved
    chroma_slope_tolerance_px: float = 0.25  # misregistration of chroma tolerated, in place
    chroma_slope_tolerance_moved_px: float = 0.5  # the same for moved pairs
    chroma_max_overlay: float = 0.01  # share of overlay up to which a chroma pixel is compared


@dataclass(frozen=True)
class DecisionThresholds:
    """Which differences make a near-duplicate; the ratio test is described in the decision."""

    unconditional_limit: float = 0.75  # grey levels; near-duplicate without a ratio test
    close_limit: float = 1.4  # grey levels; near-duplicate if `close_ratio` holds
    close_ratio: float = 2.0  # next difference over this one
    loose_limit: float = 4.5  # grey levels; near-duplicate if `loose_ratio` or `fine_ratio` holds
    loose_ratio: float = 4.0  # next difference over this one
    fine_ratio: float = 3.0  # the same, up to `unconditional_contrast_share`
    unconditional_contrast_share: float = 0.05  # of the contrast; bounds unconditional and fine
    max_contrast_share: float = 0.15  # of the contrast; bounds close and loose
    half_resolution_limits: tuple[float, float] = (1.5, 2.0)  # grey levels; low and high contrast
    half_resolution_contrast_share: float = 0.04  # of the contrast; the limit between those two
    half_resolution_max_contrast_share: float = 0.1  # of the contrast; bounds that limit
    half_resolution_ratio: float = 4.0  # next difference over this one
    max_noise: float = 5.5  # grey levels at full resolution that compression noise may make
    max_chroma_difference: float = 10.0  # levels of 255
    min_gain: float = 0.5  # contrast of one image over the other, above
    max_gain: float = 2.0  # and below
    reproduction_limit: float = 8.0  # grey levels up to which reproduction is tried
    reproduction_ratio_resized: float = 1.1  # ratio test for trying, of images of two sizes
    reproduction_ratio: float = 1.3  # the same of images of one size


@dataclass(frozen=True)
class OverlayThresholds:
    """Frames and texts over one of two images."""

    frame_width: float = 0.075  # share of the side that is not compared
    max_text_area: float = 0.15  # share of the image that a text's box may cover
    min_text_difference: float = 5.0  # grey levels between a text and the image below it
    text_box_padding_px: int = 2  # added around what differs
    max_aligned_shift: float = 0.03  # largest shift of a pair that lies in place
    max_aligned_scale: float = 0.06  # largest difference of extent of a pair that lies in place
    prefilter_side_px: int = 16  # side of the first comparison
    prefilter_quantile: float = 0.7  # share of pixels that must differ by less than ...
    prefilter_limit: float = 0.25  # ... so many contrasts
    prefilter_min_contrast: float = 1.0  # grey levels; least contrast
    inside_frame_limit: float = 4.0  # grey levels at half resolution, inside the frame
    half_resolution_steps: int = 1  # Gauss-Newton steps
    steps: int = 2  # Gauss-Newton steps at full resolution
    half_resolution_text_share: float = 0.25  # of `min_text_difference`, to be reached
    half_resolution_area_factor: float = 3.0  # times `max_text_area`, not to be passed


@dataclass(frozen=True)
class ReproductionThresholds:
    """Resizing or recompressing one small image like the other."""

    min_quality: int = 15  # JPEG qualities that are tried, from ...
    max_quality: int = 98  # ... to
    quality_stride: int = 3  # of the first pass over qualities
    rounding_limit: float = 1.5  # grey levels that remain after the same operation
    min_contrast: float = 8.0  # grey levels; fainter images are not tried


@dataclass(frozen=True)
class BatchSizes:
    """How much is worked on together; speed and memory only."""

    query_images: int = 8192  # images looked up together
    resized_images: int = 512  # images resized together
    coarse_pairs: int = 192  # pairs registered together at low resolution
    registered_pairs: int = 32  # pairs registered together at half and full resolution
    num_threads: int = 2  # results do not depend on it


@dataclass(frozen=True)
class Thresholds:
    """All groups of constants."""

    search: SearchThresholds = SearchThresholds()
    clusters: ClusterThresholds = ClusterThresholds()
    kinds: KindThresholds = KindThresholds()
    transforms: TransformThresholds = TransformThresholds()
    candidates: CandidateThresholds = CandidateThresholds()
    coarse: CoarseThresholds = CoarseThresholds()
    registration: RegistrationThresholds = RegistrationThresholds()
    verification: VerificationThresholds = VerificationThresholds()
    decision: DecisionThresholds = DecisionThresholds()
    overlays: OverlayThresholds = OverlayThresholds()
    reproduction: ReproductionThresholds = ReproductionThresholds()
    batches: BatchSizes = BatchSizes()


DEFAULT = Thresholds()
