"""What of images is not used, such as further pages or bands, in one line for each kind."""

from collections.abc import Mapping

from holotype.progress import pluralize

_NAMED = 3  # images in a line


def warning_notes(warnings: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Such as ``8 images: the file holds several frames or pages; …: 'a/0.tif', 'a/1.tif', …``.

    Args:
        warnings: name of an image -> its warnings, see `Image.warnings`.
    """
    by_kind: dict[str, list[str]] = {}
    for name, of_image in warnings.items():
        for warning in of_image:
            by_kind.setdefault(warning, []).append(name)
    return [
        f"warning: {pluralize(len(names), 'image')}: {warning}: "
        f"{', '.join(map(repr, names[:_NAMED]))}{', …' if len(names) > _NAMED else ''}"
        for warning, names in by_kind.items()
    ]


def warnings_as_json(warnings: Mapping[str, tuple[str, ...]]) -> list[dict[str, str]]:
    """One object for each warning: its `file`, and the `warning`."""
    return [
        {"file": name, "warning": warning}
        for name, of_image in warnings.items()
        for warning in of_image
    ]
