"""Batch norm over the images of a batch in all processes, on a CPU as on a GPU.

torch's own `SyncBatchNorm` runs on a GPU only.

Shape suffixes: N images of this process, C channels, … the places of a map.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm as AnyBatchNorm


class _SumOverProcesses(torch.autograd.Function):
    """The sum over all processes, through which gradients flow back to all of them."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        summed = values.clone()
        torch.distributed.all_reduce(summed)
        return summed

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return _SumOverProcesses.forward(context, gradient)


def _sum_over_processes(values: Tensor) -> Tensor:
    return cast(Tensor, _SumOverProcesses.apply(values))


def synchronised_batch_norm(norm: AnyBatchNorm, x: Tensor) -> Tensor:
    """What `norm` would give for the images of all processes, of which `x` has a share.

    In evaluation it is the norm's own forward pass. Its buffers move as in training on one device.

    Args:
        norm: with running statistics.
        x: (N, C, …).

    Source:
        Ioffe & Szegedy 2015, "Batch Normalization", algorithm 1.
    """
    if not norm.training:
        return type(norm).forward(norm, x)
    wide = x.float()  # sums of a batch in half precision would overflow
    axes = [axis for axis in range(x.ndim) if axis != 1]
    places = wide.new_tensor([x.numel() / x.shape[1]])
    sums = _sum_over_processes(torch.cat([wide.sum(axes), places]))
    count = sums[-1].detach()
    mean_C = sums[:-1] / count
    shape = (1, -1, *(1 for _ in axes[1:]))
    centred = wide - mean_C.view(shape)
    variance_C = _sum_over_processes(centred.square().sum(axes)) / count
    _move_running_statistics(norm, mean_C.detach(), variance_C.detach(), count)
    y = centred * torch.rsqrt(variance_C + norm.eps).view(shape)
    if norm.affine:
        y = y * norm.weight.view(shape) + norm.bias.view(shape)
    y = y.to(x.dtype)
    # timm's norms hold what follows them.
    for name in ("drop", "act"):
        if isinstance(layer := getattr(norm, name, None), nn.Module):
            y = layer(y)
    return y


def _move_running_statistics(
    norm: AnyBatchNorm, mean_C: Tensor, variance_C: Tensor, count: Tensor
) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked += 1
    momentum = norm.momentum
    if momentum is None:
        momentum = 1 / float(norm.num_batches_tracked)
    unbiased_C = variance_C * (count / (count - 1).clamp(min=1))
    norm.running_mean.lerp_(mean_C, momentum)
    norm.running_var.lerp_(unbiased_C, momentum)
