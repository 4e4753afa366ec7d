"""What a stage leaves on disk: the best weights it reached, as plain tensors."""

from pathlib import Path
from typing import TYPE_CHECKING

from holotype.files import replacing

if TYPE_CHECKING:
    from holotype.models.classifier import Classifier


def write_checkpoint(classifier: "Classifier", directory: Path, stage: str) -> Path:
    """Write `directory/STAGE.safetensors`: tensors by name, and nothing that can be executed."""
    from safetensors.torch import save_file

    path = directory / f"{stage}.safetensors"
    state = {name: tensor.contiguous() for name, tensor in classifier.state_dict().items()}
    with replacing(path) as temporary:
        save_file(state, temporary)
    return path
