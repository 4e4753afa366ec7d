"""`holotype explain`: heatmaps of the evidence for a class."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from holotype.cli.options import AsJson
from holotype.cli.output import print_found, print_json, print_message, print_result
from holotype.errors import UsageError
from holotype.imaging.image_warnings import refusal_notes, warning_notes
from holotype.pipeline import explain as verb
from holotype.progress import to_stderr
from holotype.text_tables import text_table


def explain(
    run: str,
    /,
    *images: Path,
    output: Path,
    class_name: Annotated[str | None, Parameter(name="--class")] = None,
    method: Literal[
        "auto", "cam", "gradcam", "gradcam++", "integrated-gradients", "rollout", "occlusion"
    ] = "auto",
    layer: str | None = None,
    similar: int = 0,
    match: Path | None = None,
    as_json: AsJson = False,
) -> int:
    """Write each image with a heatmap over it. Exit code 1 if an image could not be used.

    Args:
        run: A run, a stage of it (RUN@STAGE), a bundle, or registry://NAME@ALIAS.
        images: Images, and folders with all images in them.
        output: A PNG file for one image, a folder for several.
        class_name: The class to explain; the predicted one by default.
        method: auto is what needs no torch: a class activation map, or occlusion. The methods
            with gradients, and rollout for transformers, need the run itself.
        layer: Whose map gradcam and gradcam++ look at; the last one that has a map.
        similar: Draw so many of the most similar training images (needs references: true in the
            recipe).
        match: Instead of heatmaps: labelled slices with their specimens as groups; the
            ones most like each specimen of IMAGES are written into the folder.
    """
    if not images:
        raise UsageError("no image was named; give the paths of images or folders.")
    if match is not None:
        matches = verb.explain(
            run, images, output=output, class_name=class_name, method=method, layer=layer,
            similar=similar, match=match, progress=to_stderr(),
        )  # fmt: skip
        print_found(matches, text_table(*matches.table()), as_json=as_json)
        if not as_json:
            print_result(f"matches  {output / 'matches.csv'}")
        return 0
    found = verb.explain(
        run, images, output=output, class_name=class_name, method=method, layer=layer,
        similar=similar, progress=to_stderr(),
    )  # fmt: skip
    if as_json:
        print_json(found.to_json())
    elif output.suffix.lower() == ".png":
        print_result(f"class        {found[0].label}")
        print_result(f"probability  {found[0].probability:.3f}")
        print_result(f"heatmap      {output} ({found[0].method})")
    elif found:
        print_result(text_table(*found.table()))
        for method_in_words in dict.fromkeys(one.method for one in found):
            print_result(f"method  {method_in_words}")
    for note in warning_notes(found.warnings):
        print_message(note)
    for note in refusal_notes("refused", found.refused):
        print_message(note)
    return 1 if found.refused else 0
