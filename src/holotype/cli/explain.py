"""`holotype explain`: which part of an image speaks for a class."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from holotype.cli.options import AsJson
from holotype.cli.output import print_json, print_message, print_result
from holotype.errors import UsageError
from holotype.pipeline.explain import explain_images, match_slices
from holotype.progress import to_stderr
from holotype.terminal import text_table


def explain(
    run: Path,
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
        run: A run directory, or a bundle.
        images: Images, and folders with all images in them.
        output: A PNG file for one image, a folder for several.
        class_name: The class to look for; the predicted one unless said otherwise.
        method: auto is what needs no torch: a class activation map, or occlusion. The methods
            with gradients, and rollout for transformers, need the run itself.
        layer: Whose map gradcam and gradcam++ look at; the last one that has a map.
        similar: Draw so many training images that look most alike (needs references: true in
            the recipe).
        match: Instead of heatmaps: labelled slices with their specimens as groups; the
            ones most like each specimen of IMAGES are written into the folder.
    """
    if not images:
        raise UsageError("no image was named; give the paths of images or folders.")
    if similar < 0:
        raise UsageError(f"--similar {similar}: expected 0 or more.")
    if match is not None:
        if class_name or layer or similar or method != "auto":
            raise UsageError(
                "--match compares slices and draws no heatmap; leave out --class, --method, "
                "--layer and --similar."
            )
        return _match(run, images, match, output, as_json=as_json)

    sheets, refused = explain_images(
        run, images, output, class_name=class_name, method=method, layer=layer,
        num_similar=similar, progress=to_stderr(),
    )  # fmt: skip
    answers = [
        {
            "file": str(sheet.file),
            "class": sheet.heatmap.class_name,
            "probability": sheet.heatmap.probability,
            "method": sheet.heatmap.method,
            "sheet": str(sheet.output),
        }
        for sheet in sheets
    ]
    if as_json:
        print_json({"explanations": answers, "refused": [str(refusal) for refusal in refused]})
    elif output.suffix.lower() == ".png":
        (sheet,) = sheets
        print_result(f"class        {sheet.heatmap.class_name}")
        print_result(f"probability  {sheet.heatmap.probability:.3f}")
        print_result(f"heatmap      {output} ({sheet.heatmap.method})")
    elif sheets:
        rows = [(a["file"], a["class"], f"{a['probability']:.3f}", a["sheet"]) for a in answers]
        print_result(text_table(("file", "class", "probability", "sheet"), rows))
        for said in dict.fromkeys(sheet.heatmap.method for sheet in sheets):
            print_result(f"method  {said}")
    for refusal in refused:
        print_message(f"refused: {refusal}")
    return 1 if refused else 0


def _match(
    run: Path, images: tuple[Path, ...], references: Path, output: Path, *, as_json: bool
) -> int:
    if output.suffix:
        raise UsageError(f"--output {str(output)!r}: --match writes into a folder; name one.")
    matches = match_slices(run, images, references, output, progress=to_stderr())
    if as_json:
        print_json(matches.to_json())
        return 0
    rows = [
        (s.specimen, s.class_name, best.specimen, best.label, f"{best.ssim:.3f}",
         f"{best.ncc:.3f}", f"{best.dice:.3f}")
        for s in matches.specimens
        for best in s.ranked[:1]
    ]  # fmt: skip
    print_result(
        text_table(("specimen", "class", "most like", "label", "ssim", "ncc", "dice"), rows)
    )
    print_result(f"matches  {output / 'matches.csv'}")
    return 0
