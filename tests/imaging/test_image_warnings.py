"""However many images are refused, few lines say so."""

from holotype.errors import NotAnImage, TruncatedImage, UnsupportedFormat
from holotype.imaging.image_warnings import quoted, refusal_notes


def test_a_few_refused_images_are_named_each() -> None:
    refused = [NotAnImage(f"a/{n}.png", "no image", "expected PNG") for n in range(20)]
    notes = refusal_notes("left out", refused)
    assert notes[0] == "left out: 'a/0.png': no image; expected PNG"
    assert len(notes) == 20


def test_many_are_counted_by_their_reasons() -> None:
    refused = [
        UnsupportedFormat(f"{n}.jxl", "JPEG XL is not read", "convert it") for n in range(9000)
    ]
    refused += [NotAnImage("x.png", "no image", "expected PNG")]
    assert refusal_notes("refused", refused) == [
        "refused: 9,000 images: JPEG XL is not read; convert it: '0.jxl', '1.jxl', '2.jxl', …",
        "refused: 1 image: no image; expected PNG: 'x.png'",
    ]


def test_many_reasons_are_cut_off_and_what_is_not_named_is_counted() -> None:
    refused = [TruncatedImage(f"{n}.png", f"damaged ({n})", "copy it") for n in range(500)]
    notes = refusal_notes("left out", refused)
    assert len(notes) == 21
    assert notes[-1] == "left out: 480 images more, for other reasons."


def test_names_reach_no_terminal_as_they_are() -> None:
    assert quoted("a\x1b[31m.png") == r"'a\x1b[31m.png'"
    assert quoted(r"b\xe4r.png") == r"'b\xe4r.png'"  # bytes that are no UTF-8, escaped before
