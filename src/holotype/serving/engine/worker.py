"""A worker process: opens bundles and answers images, one at a time, on one thread.

It decodes inline: a call of ONNX Runtime gets no faster with a second thread, and a decoder in
another process would cost a copy of the pixels. It ends when its input ends, so that it never
outlives the server; the signals that end the server do not end it, so that work is finished first.

Shape suffixes: C classes, D embedding.
"""

import ctypes
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import cached_property
from typing import Any, BinaryIO

from PIL import Image

from holotype.bundle.image_sources import Decoder, ImageInMemory
from holotype.dataset.image_facts import image_facts
from holotype.errors import HolotypeError, ImageError, TooManyPixels, UsageError
from holotype.explanation.explanation_figures import caption_of
from holotype.explanation.heatmap_drawing import captioned_row, scaled_rgb
from holotype.explanation.nearest_training import nearest_training_images
from holotype.explanation.specimen_matching import framed_grey
from holotype.identification.storage.gallery_images import THUMBNAIL_SIDE, thumbnail
from holotype.imaging.decode import LOCAL, NETWORK, DecodeOptions
from holotype.imaging.significant_bits import FULL_BITS
from holotype.pipeline.classifier import Classifier, load
from holotype.serving.engine.frames import BACKGROUND, Header, frame, read_frame_blocking

Answer = tuple[Header, list[bytes]]

_PR_SET_PDEATHSIG = 1  # of linux/prctl.h
_LOWEST_PRIORITY = 19


class UploadedImage(ImageInMemory):
    """The bytes of an upload, decoded once for all that is done with it."""

    @cached_property
    def _opened(self) -> tuple[Decoder, str]:
        return ImageInMemory.open(self)

    def open(self) -> tuple[Decoder, str]:
        return self._opened


class Worker:
    """The bundles that this process has open, and what it does with images."""

    def __init__(self, output: BinaryIO) -> None:
        self._classifiers: dict[str, Classifier] = {}
        self._output = output
        self._writing = threading.Lock()
        self._tasks: dict[str, Callable[[Classifier, UploadedImage, Header], Answer]] = {
            "predict": _predict,
            "embed": _embed,
            "explain": _explain,
            "identify": _identify,
            "neighbours": _neighbours,
        }
        self._without_classifier = {"thumbnail": _thumbnail, "frame": _frame}

    def handle(self, header: Header, body: bytes) -> None:
        """Answer one message; a bundle is opened beside, so that images go on."""
        if header["task"] == "open":
            threading.Thread(target=self._open, args=(header,)).start()
        elif header["task"] == "close":
            self._classifiers.pop(header["digest"], None)
        elif time.monotonic() > header["deadline"]:
            self._send({"id": header["id"], "status": "expired"})
        else:
            self._send(*self._answer(header, body))

    def _open(self, header: Header) -> None:
        try:
            classifier = load(header["path"])
            if header["digest"] not in ("", classifier.digest):
                raise UsageError(f"{header['path']}: the bundle is another one than was named.")
            for base in classifier.bundle.base_models:
                _ = base.backbone, base.head, base.references
            warm_up_ms = _warm_up(classifier)
        except Exception as error:  # who waits for the answer would wait for ever
            reason = {"problem": type(error).__name__, "message": str(error) or repr(error)}
            self._send({"id": header["id"], "status": "refused", **reason})
            return
        self._classifiers[classifier.digest] = classifier
        opened = {"digest": classifier.digest, "path": str(classifier.path), "ms": warm_up_ms}
        manifest = classifier.manifest.to_bytes()
        self._send({"id": header["id"], "status": "opened", **opened}, [manifest])

    def _answer(self, header: Header, body: bytes) -> Answer:
        started = time.perf_counter()
        policy = LOCAL if header.get("local") else NETWORK
        source = UploadedImage("<image>", body, policy=policy)
        try:
            if header["task"] in self._without_classifier:
                found, parts = self._without_classifier[header["task"]](source, header)
            else:
                classifier = self._classifiers[header["digest"]]
                found, parts = self._tasks[header["task"]](classifier, source, header)
        except ImageError as error:
            refused = {"problem": error.problem, "detail": _limit_and_size(error)}
            found, parts = {"status": "image_refused", **refused}, []
        except HolotypeError as error:
            found, parts = {"status": "refused", "message": str(error)}, []
        run_ms = (time.perf_counter() - started) * 1000
        return {"id": header["id"], "status": "answered", "run_ms": run_ms, **found}, parts

    def _send(self, header: Header, parts: list[bytes] | None = None) -> None:
        with self._writing:
            self._output.writelines(frame(header, parts or []))
            self._output.flush()


def _limit_and_size(error: ImageError) -> str:
    """What is said besides the problem: numbers only, and nothing that an upload spells."""
    if not isinstance(error, TooManyPixels):
        return ""
    return " ".join(f"{said[:1].upper()}{said[1:]}." for said in (error.reason, error.advice))


def _warm_up(classifier: Classifier) -> float:
    """How long the second answer takes in milliseconds; the first one allocates."""
    side = io.BytesIO()
    size = (classifier.bundle.preprocessing.width, classifier.bundle.preprocessing.height)
    Image.new("RGB", size, (128, 128, 128)).save(side, format="PNG")
    for _ in range(2):
        started = time.perf_counter()
        classifier.predict_and_embed(side.getvalue())
    return (time.perf_counter() - started) * 1000


def _predict(classifier: Classifier, source: UploadedImage, header: Header) -> Answer:
    started = time.perf_counter()
    preprocessing = classifier.bundle.preprocessing
    image = source.open()[0](preprocessing.minimum_size, preprocessing.decode_options)
    decode_ms = (time.perf_counter() - started) * 1000
    found, embedding_ND = classifier.predict_and_embed(source, coverage=header.get("coverage"))
    if found.refused:
        raise found.refused[0]
    sets = found.prediction_sets
    answer = {
        "predicted": int(found.predicted_N[0]),
        "unknown": None if found.unknown_N is None else bool(found.unknown_N[0]),
        "set": None if sets is None else sets.included_NC[0].nonzero()[0].tolist(),
        "warnings": list(found.warnings.get(source.id, ())),
        "notes": list(found.notes),
        "decode_ms": decode_ms,
    }
    if header.get("image_facts"):
        assert isinstance(source.content, bytes)
        answer["image_facts"] = vars(image_facts(image, source.content))
    parts = [found.probabilities_NC[0].tobytes(), embedding_ND[0].tobytes()]
    if header.get("explain"):
        explained, pngs = _explain(classifier, source, header)
        return {**answer, "explanation": explained}, parts + pngs
    return answer, parts


def _embed(classifier: Classifier, source: UploadedImage, header: Header) -> Answer:
    return {}, [classifier.embed(source)[0].tobytes()]


def _identify(classifier: Classifier, source: UploadedImage, header: Header) -> Answer:
    """What a gallery compares: the embedding and the thumbnail."""
    decode_at, sha256 = source.open()
    size = (2 * THUMBNAIL_SIDE, 2 * THUMBNAIL_SIDE)
    small = thumbnail(decode_at(size, classifier.bundle.preprocessing.decode_options))
    return {"sha256": sha256}, [classifier.embed(source)[0].tobytes(), small.tobytes()]


def _explain(classifier: Classifier, source: UploadedImage, header: Header) -> Answer:
    found = classifier.explain(
        source, class_name=header.get("class"), method=header.get("method", "auto")
    )
    drawn, png = found.overlay_of_size(header.get("longest")), io.BytesIO()
    if header.get("caption") and found.class_heatmap.is_uniform:
        drawn = captioned_row([drawn], [(caption_of(found.class_heatmap), 12)])
    drawn.save(png, format="PNG")
    answer = {"class": found.label, "probability": found.probability, "method": found.method}
    return answer, [png.getvalue()]


def _neighbours(classifier: Classifier, source: UploadedImage, header: Header) -> Answer:
    decode_at, _ = source.open()
    preprocessing = classifier.bundle.preprocessing
    image = decode_at(preprocessing.minimum_size, preprocessing.decode_options)
    found = nearest_training_images(classifier.bundle, image, header["count"])
    rows: list[dict[str, Any]] = [
        {"file": one.name, "class": one.class_name, "cosine": one.cosine} for one in found
    ]
    return {"neighbours": rows}, []


def _thumbnail(source: UploadedImage, header: Header) -> Answer:
    longest = header["longest"]
    shortest = header.get("shortest", 1)
    tolerate_truncated = header.get("tolerate_truncated", True)  # to be seen
    shown = DecodeOptions(header.get("bits", FULL_BITS), tolerate_truncated)
    image = source.open()[0]((longest, longest), shown)
    drawn = scaled_rgb(image, (255, 255, 255), longest=longest, shortest=shortest)
    file_format = "PNG" if max(image.pixels.size) < shortest else "JPEG"  # which blurs edges
    content = io.BytesIO()
    drawn.save(content, format=file_format, quality=90)
    return {"media_type": f"image/{file_format.lower()}"}, [content.getvalue()]


def _frame(source: UploadedImage, header: Header) -> Answer:
    """A slice of a specimen as slices are compared."""
    image = source.open()[0](None, DecodeOptions())
    return {}, [framed_grey(image, header["side"]).tobytes()]


def _run_when_nothing_else_does() -> None:
    """A low priority alone keeps its processor for milliseconds after a request has come."""
    if hasattr(os, "SCHED_IDLE"):  # Linux
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    elif hasattr(os, "nice"):
        os.nice(_LOWEST_PRIORITY)


def _end_with_the_server() -> None:
    """A stopped process would not see that its input has ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    """Answer messages on standard input until it ends."""
    for name in ("SIGINT", "SIGTERM"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    if BACKGROUND in sys.argv[1:]:
        _run_when_nothing_else_does()
        _end_with_the_server()
    # Nothing that a library prints may come between the frames.
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    worker = Worker(output)
    while True:
        try:
            worker.handle(*read_frame_blocking(sys.stdin.buffer))
        except (EOFError, BrokenPipeError):
            os._exit(0)  # a bundle may still be opening; nobody waits for it


if __name__ == "__main__":
    main()
