"""Distillation: a network learns what a finished classifier thinks of the training images.

Shape suffixes: B images of a batch, N images, C classes.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from holotype.bundle.bundle import load_bundle
from holotype.bundle.inference import predict_index
from holotype.dataset.index import Index
from holotype.errors import InvalidRecipe
from holotype.predictions import softmax
from holotype.progress import Progress
from holotype.training.config.recipe import TeacherRecipe


def teacher_probabilities(
    teacher: TeacherRecipe, training: Index, progress: Progress
) -> NDArray[np.float32]:
    """What the teacher says of each training image itself, at the temperature of distillation.

    Returns:
        (N, C), in the order of the images and of the classes of the index.

    Raises:
        InvalidRecipe: it is another classifier than the recipe says.
    """
    bundle = load_bundle(teacher.run)
    if teacher.sha256 not in (None, bundle.sha256):
        raise InvalidRecipe(
            f"teacher: {teacher.run!r} holds the bundle {bundle.sha256}, and the recipe was "
            f"trained with {teacher.sha256}."
        )
    with progress.bar("asking the teacher") as update:
        found = predict_index(
            bundle, training, on_progress=lambda done: update(done, len(training))
        )
    if found.refused:
        raise found.refused[0]
    columns = [bundle.classes.index(name) for name in training.classes]
    return softmax(found.logits_NC[:, columns], teacher.temperature).astype(np.float32)


def distillation_loss(logits_BC: Tensor, teacher_BC: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of the softened answers with those of the teacher, (B,).

    Times the square of the temperature, so that its gradient is as large as that of the labels'
    loss whatever the temperature.

    Args:
        teacher_BC: probabilities at this temperature.

    Source:
        Hinton et al. 2015, "Distilling the Knowledge in a Neural Network", section 2.
    """
    log_student_BC = torch.log_softmax(logits_BC / temperature, dim=1)
    return -(teacher_BC * log_student_BC).sum(dim=1) * temperature**2
