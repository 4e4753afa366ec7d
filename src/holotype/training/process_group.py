"""Several processes that train one network, as `torchrun` or `accelerate launch` start them.

The first process owns the run: it reads, audits, exports, predicts and writes. The others wait for
its gradient stages, train those with it, and end when it ends. Every step adds up the gradients of
all, so that the number of processes changes the weights only by rounding.

One process is the ordinary case, and nothing here then does anything.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from holotype.errors import ProcessLost, Terminated, TrainingDiverged

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter

WAIT = timedelta(days=30)  # for the first process, while it audits and exports

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Share:
    """The part of a process in work that several do: number `rank` of `size`."""

    rank: int = 0
    size: int = 1

    def slice_of(self, count: int) -> slice:
        """Which of `count` rows are those of this process; numbers differ by one at most."""
        base, more = divmod(count, self.size)
        first = self.rank * base + min(self.rank, more)
        return slice(first, first + base + (self.rank < more))


WHOLE = Share()


def process_share() -> Share:
    """Which process this is, from the environment that its launcher sets."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    return Share(int(os.environ.get("RANK", "0")), size) if size > 1 else WHOLE


def is_first_process() -> bool:
    """Whether this process owns the run."""
    return process_share().rank == 0


@dataclass(frozen=True)
class TrainingEnded:
    """The last message of the first process.

    Attributes:
        result: what it hands to the others; None where it failed.
    """

    result: Any = None


@contextmanager
def leading_processes(device: str) -> Iterator[Callable[[Any], None]]:
    """Join the other processes as the first one; they are told when the block ends.

    Yields:
        What sets the result that the others are told.
    """
    if process_share().size == 1:
        yield lambda result: None
        return
    import torch

    join_processes(device)
    results: list[Any] = []
    try:
        yield results.append
    finally:
        if torch.distributed.is_initialized():
            with suppress(ProcessLost):  # whoever is gone need not be told
                send(TrainingEnded(results[-1] if results else None))
            leave_processes()


@contextmanager
def working_together(share: Share) -> Iterator[None]:
    """A stage that all processes work on, the first of which leaves them where it fails alone.

    The others then wait for a sum, not for a message, and get `ProcessLost`.
    """
    try:
        yield
    except (TrainingDiverged, Terminated):  # all of them have seen it, and wait for a message
        raise
    except BaseException:
        if share.size > 1:
            leave_processes()
        raise


def join_processes(device: str) -> None:
    """Meet the other processes.

    Args:
        device: `cuda`: each process takes the GPU of its number on this host.
    """
    import torch

    if device == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
    torch.distributed.init_process_group(backend, timeout=WAIT)


def leave_processes() -> None:
    """Undo `join_processes`."""
    import torch

    torch.distributed.destroy_process_group()


def _reports_lost_processes(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """torch says that another process ended by a RuntimeError about a socket."""

    @wraps(function)
    def call(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
        try:
            return function(*arguments, **options)
        except RuntimeError as error:
            raise ProcessLost(
                "another process of this training has ended; its own message says why. The same "
                f"command with --output RUN --resume goes on. ({str(error).splitlines()[0][:120]})"
            ) from None

    return call


@_reports_lost_processes
def send(message: Any) -> None:
    """Hand a value from the first process to all others, which `receive` it."""
    import torch

    torch.distributed.broadcast_object_list([message], src=0, device=torch.device("cpu"))


@_reports_lost_processes
def receive() -> Any:
    """The next value that the first process sends; waits for it."""
    import torch

    messages: list[Any] = [None]
    torch.distributed.broadcast_object_list(messages, src=0, device=torch.device("cpu"))
    return messages[0]


@_reports_lost_processes
def sum_over_processes(numbers: Sequence[float], share: Share) -> list[float]:
    """The sums of the numbers of all processes; the same in each of them."""
    if share.size == 1:
        return list(numbers)
    import torch

    together = torch.tensor(numbers, dtype=torch.float64)
    torch.distributed.all_reduce(together)
    return [float(number) for number in together]


@_reports_lost_processes
def sum_gradients(parameters: "Iterable[Parameter]", numbers: "Tensor", share: Share) -> "Tensor":
    """Replace each gradient by the sum over all processes; one that a process lacks is 0 there.

    Args:
        numbers: (n), summed in the same message.

    Returns:
        Their sums (n), on their device.
    """
    if share.size == 1:
        return numbers
    import torch

    kept = list(parameters)
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in kept]
    flat = torch.cat([numbers, *(gradient.reshape(-1) for gradient in gradients)])
    torch.distributed.all_reduce(flat)
    start = len(numbers)
    for parameter in kept:
        part = flat[start : start + parameter.numel()]
        # In the memory format of the parameter, as backward leaves it.
        parameter.grad = torch.empty_like(parameter).copy_(part.view(parameter.shape))
        start += parameter.numel()
    return flat[: len(numbers)]
