"""Group copies into clusters that a split keeps together.

Clusters are the connected components of equal files and near-duplicate pairs: if b is a copy of a
and c is a copy of b, all three show one image, even where a and c differ too much to be verified.
"""

from collections.abc import Iterable, Sequence

from holotype.dataset.near_duplicates.thresholds import DEFAULT


def resolve_clusters(
    pairs: Iterable[tuple[str, str]], equal_files: Sequence[frozenset[str]], num_images: int
) -> tuple[list[frozenset[str]], list[frozenset[str]]]:
    """Clusters of copies, and oversized clusters of near-duplicate pairs.

    Files of equal bytes are copies however many there are, so they are kept together even if an
    oversized cluster holds them.

    Args:
        pairs: paths of near-duplicate pairs.
        equal_files: paths of files of equal bytes, two or more each.
        num_images: number of readable images in the data set.
    """
    kept, too_large = separate_oversized(connected_clusters([*equal_files, *pairs]), num_images)
    kept += [files for files in equal_files if not any(files <= cluster for cluster in kept)]
    return sorted(kept, key=min), [c for c in too_large if c not in set(equal_files)]


def connected_clusters(copies: Iterable[Iterable[str]]) -> list[frozenset[str]]:
    """Connected components of sets of paths that are copies of each other, sorted by first path."""
    from scipy.cluster.hierarchy import DisjointSet

    joined = DisjointSet()
    for first, *others in copies:
        joined.add(first)
        for path in others:
            joined.add(path)
            joined.merge(first, path)
    return sorted(map(frozenset, joined.subsets()), key=min)


def separate_oversized(
    clusters: Iterable[frozenset[str]], num_images: int
) -> tuple[list[frozenset[str]], list[frozenset[str]]]:
    """Clusters to keep together, and oversized ones, both in the order given.

    An oversized cluster holds more than ten images and more than 1 % of the data set. Rather than
    copies, it is likely to be a class of images so alike that false pairs chain them together, and
    keeping it together would move a whole class to one side of a split. It is reported instead.
    """
    kept: list[frozenset[str]] = []
    oversized: list[frozenset[str]] = []
    limits = DEFAULT.clusters
    min_images = max(limits.oversized_min_images, limits.oversized_min_share * num_images)
    for cluster in clusters:
        (oversized if len(cluster) > min_images else kept).append(cluster)
    return kept, oversized
