"""How often each class really comes now, where only the mix of the classes has changed.

Shape suffixes: N images of the window, R of the reference, C classes.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ITERATIONS = 200


def shares_by_em_C(probabilities_NC: Floats, reference_shares_C: Floats) -> Floats:
    """The shares of classes that make the probabilities of the window most likely.

    Args:
        probabilities_NC: calibrated for `reference_shares_C`.

    Source:
        Saerens, Latinne and Decaestecker 2002, "Adjusting the Outputs of a Classifier to New a
        Priori Probabilities".
    """
    reference_C = np.clip(reference_shares_C, 1e-6, None)
    shares_C = reference_C / reference_C.sum()
    for _ in range(ITERATIONS):
        adjusted_NC = probabilities_NC * (shares_C / reference_C)
        new_C = (adjusted_NC / adjusted_NC.sum(axis=1, keepdims=True)).mean(axis=0)
        if np.abs(new_C - shares_C).max() < 1e-8:
            break
        shares_C = new_C
    return np.asarray(shares_C, np.float64)


def shares_by_confusion_C(
    predicted_N: NDArray[np.int64],
    reference_predicted_R: NDArray[np.int64],
    reference_targets_R: NDArray[np.int64],
    num_classes: int,
) -> Floats | None:
    """The shares that explain the answers by the confusion matrix of the reference.

    Returns:
        None where that matrix cannot be inverted, such as where a class is never predicted.

    Source:
        Lipton, Wang and Smola 2018, "Detecting and Correcting for Label Shift with Black Box
        Predictors" (BBSE).
    """
    C = num_classes
    pairs = np.bincount(reference_predicted_R * C + reference_targets_R, minlength=C * C)
    joint_CC = pairs.reshape(C, C) / len(reference_targets_R)  # predicted, true
    if np.linalg.cond(joint_CC) > 1e6:
        return None
    answered_C = np.bincount(predicted_N, minlength=C) / len(predicted_N)
    weights_C = np.clip(np.linalg.solve(joint_CC, answered_C), 0, None)
    shares_C = weights_C * joint_CC.sum(axis=0)
    return np.asarray(shares_C / shares_C.sum(), np.float64)
