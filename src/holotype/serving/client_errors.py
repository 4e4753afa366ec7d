"""What `Client` says where a server refuses a request, or an image of one."""

from holotype.bundle.image_sources import ImageSource
from holotype.errors import EmptyFile, FileTooLarge, HolotypeError, ImageError

IMAGE_PROBLEMS: dict[str, type[ImageError]] = {
    "no_image": EmptyFile,
    "body_too_large": FileTooLarge,
    **{kind("", "", "").problem: kind for kind in ImageError.__subclasses__()},
}
_REASONS = {
    "no_image": "it has 0 bytes",
    "empty_file": "it has 0 bytes",
    "body_too_large": "the server takes no file as large",
    "not_an_image": "the server reads it as no image",
    "unsupported_format": "the server does not read this format",
    "unsupported_mode": "the server does not read this kind of pixel",
    "truncated_image": "it is cut off or damaged",
    "too_many_pixels": "it has more pixels than the server takes",
    "unreadable_file": "the server cannot read it",
}


class ServerError(HolotypeError):
    """The server refused a request, or could not be reached.

    Attributes:
        status: of HTTP; 0 where there was no answer.
        problem: what the server calls it, such as ``overloaded``.
        advice: what the server says to do.
    """

    def __init__(self, status: int, problem: str, message: str, advice: str = "") -> None:
        self.status = status
        self.problem = problem
        self.advice = advice
        super().__init__(message)


def image_error(source: ImageSource, problem: str, advice: str) -> ImageError:
    """The error of an image that the server refused."""
    reason = _REASONS.get(problem, "the server refused it")
    if problem == "no_image":  # what the server says of it is for who writes requests
        advice = "copy or export it again"
    return IMAGE_PROBLEMS[problem](source.id, reason, f"{advice[:1].lower()}{advice[1:]}")


def refusal(error: ServerError | ImageError, source: ImageSource) -> ImageError:
    """The error of an image, which may have been found here; one of the request is raised again."""
    if isinstance(error, ImageError):
        return error
    if error.problem not in IMAGE_PROBLEMS:
        raise error
    return image_error(source, error.problem, error.advice)
