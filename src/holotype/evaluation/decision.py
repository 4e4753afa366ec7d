"""How logits become answers: fitted on validation or out of fold, sealed before test is read."""

from holotype.bundle.manifest import Decision
from holotype.evaluation.calibration import fit_temperature
from holotype.predictions import Predictions


def decide(predictions: Predictions) -> Decision:
    """The decision that these predictions support.

    Args:
        predictions: of pictures that trained nothing; never of the test part.
    """
    labelled = predictions.labelled()
    return Decision(
        temperature=fit_temperature(labelled),
        fitted_on=labelled.digest(),
        num_fitted=len(labelled),
    )
