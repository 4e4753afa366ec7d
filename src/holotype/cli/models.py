"""`holotype models`: the catalogue as a table."""

from dataclasses import asdict

from holotype.cli.options import AsJson
from holotype.cli.output import show, show_json, tell, tell_next, text_table


def models(*, as_json: AsJson = False) -> int:
    """Any other timm network is written timm:NAME."""
    from holotype.models.catalog import ARCHITECTURES, DEFAULT_MODEL
    from holotype.models.weights import availability

    weights = {row.name: availability(row.name) for row in ARCHITECTURES}
    if as_json:
        rows = [asdict(row) | {"weights": weights[row.name]} for row in ARCHITECTURES]
        show_json({"default": DEFAULT_MODEL, "models": rows})
        return 0
    header = ("model", "family", "million parameters", "pixels", "licence", "cam", "weights")
    show(
        text_table(
            header,
            [
                (
                    row.name,
                    row.family,
                    row.parameters_millions,
                    row.image_size,
                    row.licence,
                    row.cam,
                    weights[row.name],
                )
                for row in ARCHITECTURES
            ],
        )
    )
    tell(f"{DEFAULT_MODEL} is the default; any other timm network is written timm:NAME.")
    tell_next("holotype", "train", "DATA", "--model", "MODEL")
    return 0
