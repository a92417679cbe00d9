"""A bundle's golden check: a few images, and the answers that this very graph gave to them at export.

Where the critic chooses, the candidates and their distances are compared, not the choice: two of them that are equally
near may change places on another machine. That the choice is the nearest one is checked on the answer itself.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnxruntime

from mqe_core import images
from mqe_core.policy.contract import (
    DISTANCES_TOLERANCE,
    STEPS_TOLERANCE,
    STEPS_TOLERANCE_FLOOR,
    BundleContract,
    BundleError,
)
from mqe_core.policy.golden_images import golden_pairs
from mqe_core.robot.arrays import AnyArray, Floats, Images

Run = Callable[[Images, Images], dict[str, AnyArray]]


def tolerance_of(name: str, values: AnyArray, contract: BundleContract) -> Floats:
    """How far an output may be from the expected ``values``, in a shape that broadcasts to theirs."""
    if name in ("action", "candidates"):
        return contract.action_tolerance
    share, least = (
        (DISTANCES_TOLERANCE, DISTANCES_TOLERANCE) if name == "distances" else (STEPS_TOLERANCE, STEPS_TOLERANCE_FLOOR)
    )
    tolerance: Floats = np.maximum(share * np.abs(values), least)
    return tolerance


def make_golden(run: Run, contract: BundleContract, example: tuple[Images, Images]) -> dict[str, Any]:
    """What a bundle stores: the example as PNG, the expected outputs for it and the counter pair, their tolerances."""
    size = contract.image_size
    for image in example:
        if image.shape != (size, size, 3) or image.dtype != np.uint8:
            raise ValueError(f"expected example images ({size}, {size}, 3) uint8, got {image.shape} {image.dtype}")
    answered = run(*golden_pairs(size, example))
    if not all(np.isfinite(values).all() for values in answered.values()):
        raise BundleError("the policy answers NaN or infinity to the golden images; train it again")
    outputs = _continuous(answered, contract)
    tolerance = {name: tolerance_of(name, values, contract).tolist() for name, values in outputs.items()}
    encoded = [base64.b64encode(images.encode_png(image)).decode() for image in example]
    expected = {name: values.tolist() for name, values in outputs.items()}
    return {
        "observation_png": encoded[0],
        "goal_png": encoded[1],
        "expected": expected,
        "tolerance": tolerance,
    }


def check_golden(run: Run, contract: BundleContract, golden: dict[str, Any]) -> None:
    """BundleError where this machine computes other outputs than the one that wrote the bundle."""
    try:
        observation, goal = (
            images.decode(base64.b64decode(golden[key], validate=True)) for key in ("observation_png", "goal_png")
        )
        outputs = _continuous(run(*golden_pairs(contract.image_size, (observation, goal))), contract)
        if set(golden["expected"]) != set(outputs) or set(golden["tolerance"]) != set(outputs):
            raise ValueError("other outputs than the graph's")
        deviations = {
            k: np.abs(outputs[k] - np.array(golden["expected"][k])) / np.array(golden["tolerance"][k]) for k in outputs
        }
    except BundleError:
        raise
    except (ValueError, TypeError, KeyError) as error:
        raise BundleError(f"its golden check is not usable ({error}); export the run again") from error
    for name, deviation in deviations.items():
        if not (deviation <= 1.0).all():
            raise BundleError(
                f"golden check failed: {name} is {deviation.max():.3g} times its tolerance away from what it was at "
                f"export; this machine's onnxruntime {onnxruntime.__version__} computes something else: install the "
                "pinned version"
            )


def _continuous(outputs: Mapping[str, AnyArray], contract: BundleContract) -> dict[str, AnyArray]:
    """The outputs without a choice and what follows from it; BundleError where that does not follow."""
    if not contract.chooses:
        return dict(outputs)
    row, chosen = np.arange(len(outputs["chosen"])), outputs["chosen"]
    candidates, distances = outputs["candidates"], outputs["distances"]
    if not (
        ((chosen >= 0) & (chosen < distances.shape[1])).all()
        and np.array_equal(outputs["action"], candidates[row, chosen])
        and (distances[row, chosen] == distances.min(axis=1)).all()
    ):
        raise BundleError("its action is not the candidate that is nearest to the goal; export the run again")
    return {name: outputs[name] for name in ("steps_to_goal", "candidates", "distances")}
