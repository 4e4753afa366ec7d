"""`holotype explain`: which part of a picture speaks for a class."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from holotype.cli.options import AsJson
from holotype.cli.output import show, show_json, tell, text_table
from holotype.errors import UsageError
from holotype.narration import to_stderr


def explain(
    run: Path,
    /,
    *pictures: Path,
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
    """Write each picture with a heatmap over it. Exit code 1 if a picture could not be used.

    Args:
        run: A run directory, or a bundle.
        pictures: Pictures, and folders with all pictures in them.
        output: A PNG file for one picture, a folder for several.
        class_name: The class to look for; the predicted one unless said otherwise.
        method: auto is what needs no torch: a class activation map, or occlusion. The methods
            with gradients, and rollout for transformers, need the run itself.
        layer: Whose map gradcam and gradcam++ look at; the last one that has a map.
        similar: Draw so many training pictures that look most alike (needs references: true in
            the recipe).
        match: Instead of heatmaps: labelled slices with their specimens as groups; the
            ones most like each specimen of PICTURES are written into the folder.
    """
    if not pictures:
        raise UsageError("no picture was named; give the paths of pictures or folders.")
    if similar < 0:
        raise UsageError(f"--similar {similar}: expected 0 or more.")
    if match is not None:
        if class_name or layer or similar or method != "auto":
            raise UsageError(
                "--match compares slices and draws no heatmap; leave out --class, --method, "
                "--layer and --similar."
            )
        return _match(run, pictures, match, output, as_json=as_json)

    from holotype.road.explained import explain_pictures

    sheets, refused = explain_pictures(
        run, pictures, output, class_name=class_name, method=method, layer=layer,
        num_similar=similar, narrator=to_stderr(),
    )  # fmt: skip
    answers = [
        {
            "file": str(sheet.file),
            "class": sheet.found.class_name,
            "probability": sheet.found.probability,
            "method": sheet.found.method,
            "sheet": str(sheet.output),
        }
        for sheet in sheets
    ]
    if as_json:
        show_json({"explanations": answers, "refused": [str(refusal) for refusal in refused]})
    elif output.suffix.lower() == ".png":
        (sheet,) = sheets
        show(f"class        {sheet.found.class_name}")
        show(f"probability  {sheet.found.probability:.3f}")
        show(f"heatmap      {output} ({sheet.found.method})")
    elif sheets:
        rows = [(a["file"], a["class"], f"{a['probability']:.3f}", a["sheet"]) for a in answers]
        show(text_table(("file", "class", "probability", "sheet"), rows))
        for said in dict.fromkeys(sheet.found.method for sheet in sheets):
            show(f"method  {said}")
    for refusal in refused:
        tell(f"refused: {refusal}")
    return 1 if refused else 0


def _match(
    run: Path, pictures: tuple[Path, ...], references: Path, output: Path, *, as_json: bool
) -> int:
    from holotype.road.explained import match_slices

    if output.suffix:
        raise UsageError(f"--output {str(output)!r}: --match writes into a folder; name one.")
    matches = match_slices(run, pictures, references, output, narrator=to_stderr())
    if as_json:
        show_json(matches.to_json())
        return 0
    rows = [
        (s.specimen, s.class_name, best.specimen, best.label, f"{best.ssim:.3f}",
         f"{best.ncc:.3f}", f"{best.dice:.3f}")
        for s in matches.specimens
        for best in s.ranked[:1]
    ]  # fmt: skip
    show(text_table(("specimen", "class", "most like", "label", "ssim", "ncc", "dice"), rows))
    show(f"matches  {output / 'matches.csv'}")
    return 0
