"""The proof that a bundle answers as the torch network does.

Where the critic chooses, onnxruntime's choice must follow from its own distances to the last bit, and those be torch's
within the tolerance. So the two choose otherwise only in a near tie, and such rows are counted.
"""

from __future__ import annotations

import logging

import numpy as np
import torch

from mqe_core.learning.export.onnx_graph import OUTPUTS, DeployedPolicy
from mqe_core.policy.bundle import PolicyBundle
from mqe_core.policy.contract import ACTION_TOLERANCE, NONE_CHOSEN, STEPS_TOLERANCE
from mqe_core.policy.golden_check import tolerance_of
from mqe_core.robot.arrays import AnyArray, Bools, Floats, Images, Ints

_MOST_FLIPPED = 0.001  # share of candidates whose gripper lies so near its threshold that the two decide otherwise
_MOST_TIES = 0.05  # share of rows in which the two choose otherwise

logger = logging.getLogger(__name__)


def assert_parity(
    module: DeployedPolicy, bundle: PolicyBundle, observations: Images, goals: Images
) -> dict[str, float]:
    """Raise RuntimeError unless onnxruntime answers as torch does; returns the largest error of each output over its
    tolerance, and of a policy that chooses the share of rows with another choice (`near_ties`).

    Args:
        observations, goals: (n, S, S, 3) uint8 each. Batches of one and of several are compared, and of a policy that
            chooses every index chosen last.

    Tolerances: a thousandth of the action's range per dimension, one per cent of steps_to_goal, a thousandth of a
    candidate's distance.
    """
    worst = {"action": 0.0, "steps_to_goal": 0.0}
    asked = ties = 0
    for start, stop in [(i, i + 1) for i in range(min(4, len(observations)))] + [
        (i, i + 8) for i in range(0, len(observations), 8)
    ]:
        batch = observations[start:stop], goals[start:stop]
        last = _every_index(start, len(batch[0]), bundle.contract.candidates or 1)
        expected, got = _of_torch(module, bundle, *batch, last), bundle.run(*batch, last)
        if bundle.contract.chooses:
            other = _check_choice(expected, got, last, bundle)
            asked, ties = asked + len(other), ties + int(other.sum())
            same = ~other
            expected["action"], got["action"] = expected["action"][same], got["action"][same]
        for name in expected.keys() - {"chosen"}:
            error = np.abs(got[name] - expected[name]) / tolerance_of(name, expected[name], bundle.contract)
            largest = float(error.max(initial=0.0))
            worst[name] = max(worst.get(name, 0.0), largest if np.isfinite(largest) else np.inf)
    if max(worst.values()) > 1.0:
        others = "".join(
            f", {name} error {worst[name]:.2f}" for name in sorted(worst.keys() - {"action", "steps_to_goal"})
        )
        raise RuntimeError(
            f"onnxruntime and torch disagree: action error {worst['action']:.2f}, steps_to_goal error "
            f"{worst['steps_to_goal']:.2f}{others} times the "
            f"tolerance ({ACTION_TOLERANCE:g} of the action range, {STEPS_TOLERANCE:g} of steps_to_goal); "
            "use the pinned torch and onnxruntime"
        )
    if bundle.contract.chooses:
        worst["near_ties"] = ties / asked
        if worst["near_ties"] > _MOST_TIES:
            raise RuntimeError(
                f"onnxruntime and torch choose another candidate in {ties} of {asked} answers: the critic finds all "
                "equally near; train it longer"
            )
    logger.info(
        "parity on %d image pairs: largest error over tolerance %s",
        len(observations),
        {k: round(v, 4) for k, v in worst.items()},
    )
    return worst


def _every_index(start: int, rows: int, candidates: int) -> Ints:
    """(rows,): one index chosen last for each row, all of them and none in turn."""
    return (np.arange(start, start + rows) % (candidates + 1)) + NONE_CHOSEN


def _of_torch(
    module: DeployedPolicy, bundle: PolicyBundle, observations: Images, goals: Images, last: Ints
) -> dict[str, AnyArray]:
    inputs = [torch.from_numpy(values) for values in (observations, goals)]
    if bundle.contract.chooses:
        inputs.append(torch.from_numpy(last))
    with torch.no_grad():
        return {name: values.numpy() for name, values in zip(OUTPUTS, module(*inputs))}


def _check_choice(expected: dict[str, AnyArray], got: dict[str, AnyArray], last: Ints, bundle: PolicyBundle) -> Bools:
    """(B,): where the two choose otherwise. Candidates with another gripper are left out of both; RuntimeError where
    they are many, or the bundle's choice does not follow from its distances.
    """
    flipped: Bools = (np.abs(got["candidates"] - expected["candidates"])[..., 6] > 0.5).astype(bool)  # (B, N)
    if flipped.mean() > _MOST_FLIPPED and flipped.sum() > 1:
        raise RuntimeError(
            f"onnxruntime and torch decide the gripper otherwise in {flipped.sum()} of {flipped.size} candidates"
        )
    margin = bundle.contract.choice_margin
    assert margin is not None, "a policy that chooses states its margin"
    if not np.array_equal(got["chosen"], choice_of(got["distances"], last, margin)):
        raise RuntimeError(
            "the exported graph does not choose by its own distances; use the pinned torch and onnxruntime"
        )
    for name in ("candidates", "distances"):
        expected[name] = np.where(
            flipped.reshape(*flipped.shape, *(1,) * (expected[name].ndim - 2)), got[name], expected[name]
        )
    other: Bools = got["chosen"] != expected["chosen"]
    return other


def choice_of(distances: Floats, last: Ints, margin: float) -> Ints:
    """`choose` of (B, N) distances in its obvious form, row by row: the first of the least, or `last` within the
    margin of it."""
    chosen = []
    for row, before in zip(distances, last):
        best = int(row.argmin())
        kept = 0 <= before < len(row) and row[before] <= row[best] + np.float32(margin)
        chosen.append(int(before) if kept else best)
    return np.array(chosen, dtype=np.int64)
