"""A trained run becomes a policy bundle: one ONNX graph from camera bytes to physical actions, proved equal
to the torch network.
"""

from __future__ import annotations

import csv
import dataclasses
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.data.units import check_step_limits
from mqe_core.files.disk import writing
from mqe_core.files.kinds import BUNDLE
from mqe_core.files.outputs import check_file
from mqe_core.learning.export.calibration import MIN_EPISODES, Calibration, calibrate
from mqe_core.learning.export.export_data import image_pairs, open_data, open_held_out
from mqe_core.learning.export.familiar_pictures import FamiliarCalibration, calibrate_familiarity
from mqe_core.learning.export.half import halved
from mqe_core.learning.export.onnx_graph import DeployedPolicy, deployed_policy, to_onnx
from mqe_core.learning.export.parity import assert_parity
from mqe_core.learning.export.still_picture import still_picture
from mqe_core.learning.networks.actor import ActorConfig
from mqe_core.learning.networks.flow import ChoiceConfig, FlowConfig
from mqe_core.learning.networks.proposals import ProposalConfig
from mqe_core.learning.rows.held_out import held_out_episodes
from mqe_core.learning.run.run_config import TrainConfig
from mqe_core.learning.run.run_folder import action_scale, load_run
from mqe_core.policy import reference_picture
from mqe_core.policy.bundle import PolicyBundle, write_bundle
from mqe_core.policy.contract import BundleContract
from mqe_core.policy.domain import SIM
from mqe_core.robot.arrays import Float32s, Images
from mqe_core.robot.spec import RobotSpec

logger = logging.getLogger(__name__)


def export_run(
    run: str | Path,
    out: str | Path,
    spec: RobotSpec,
    *,
    domain: str | None = None,
    checkpoint: str = "latest",
    data: str | Path | None = None,
    held_out: str | Path | None = None,
    changes: Mapping[str, Any] | None = None,
    half: bool = False,
) -> PolicyBundle:
    """Export the run folder `run` to the bundle `out`; returns it, opened and checked.

    Args:
        spec: robot that the policy is for.
        domain: what its images show; the training data's where not given.
        checkpoint: "latest" or the name of a kept one, such as "step_00003000".
        data: the store it was trained on, where it has moved; its images serve the parity and golden checks.
        held_out: a store of episodes that no training saw, that of the encoder included; they then serve those checks,
            and thresholds are measured on all of them.
        changes: keys of the agent's configuration that do not change its networks, such as `candidates`.
        half: keep the weights in float16, see half.py.

    The bundle's metrics state the parity: `parity/action` and so on, the largest error over its tolerance.

    Raises ValueError where the run cannot become a bundle, or `out` is another file than one, RuntimeError where
    onnxruntime and torch disagree.
    """
    check_file(Path(out), BUNDLE)
    agent, config, metadata = load_run(run, checkpoint, changes)
    observation = metadata["observation"]
    if observation["kind"] == "state":
        raise ValueError(
            f"{run} was trained on {observation['kind']} observations; a policy bundle takes camera images: "
            "train with --set observation=pixels"
        )
    scale = action_scale(metadata)
    check_step_limits(scale.low.tolist(), scale.high.tolist(), spec)
    size = observation["image_size"]
    module = deployed_policy(agent, torch.from_numpy(scale.low), torch.from_numpy(scale.high))
    if data is not None and held_out is not None:
        raise ValueError("--data and --held-out both say what to measure on: leave out one")
    store = open_data(metadata, data) if held_out is None else open_held_out(metadata, held_out)
    fraction = config.train.validation_fraction if held_out is None else 1.0
    calibration = _calibrate(module, store, metadata, fraction, config.train.seed) if store is not None else None
    trained = store if held_out is None else open_data(metadata, None)
    pictures = _familiar(store, trained, metadata, config.train)
    still = None if trained is None else still_picture(trained, metadata["camera"], size)
    if trained is not None and still is None:
        logger.warning("no picture of what the camera saw: the episodes share no view of the policy's size")
    contract = BundleContract(
        robot=spec.name,
        agent=metadata["agent"],
        domain=_choose_domain(domain, metadata["data"]["metadata"]["domain"]),
        image_size=size,
        control_hz=float(metadata["data"]["metadata"]["control_hz"]),
        action_low=tuple(scale.low.tolist()),
        action_high=tuple(scale.high.tolist()),
        discount=metadata["discount"],
        data_fingerprint=metadata["data"]["fingerprint"],
        commit=metadata["commit"] or "unknown",
        metrics={
            "step": metadata["step"],
            **last_metrics(Path(run) / "metrics.csv", metadata["step"]),
            **(calibration.metrics if calibration else {}),
            **(pictures.metrics if pictures else {}),
        },
        reached_steps=calibration.reached_steps if calibration else None,
        stall_commands=calibration.stall_commands if calibration else None,
        unreachable_steps=calibration.unreachable_steps if calibration else None,
        familiar_pictures=pictures.familiarity.encoded() if pictures and pictures.familiarity else None,
        reference_picture=None if still is None else reference_picture.encoded(still),
        **_choice(config.agent),
    )
    observations, goals = image_pairs(store, metadata["camera"], size)
    model = halved(to_onnx(module, size)) if half else to_onnx(module, size)
    # Beside `out` first: a policy that does not fit or is not the trained one neither lies around nor replaces a good
    # one.
    out = Path(out)
    candidate = out.with_name(f".{out.name}.partial-{os.getpid()}")
    try:
        write_bundle(model, contract, candidate, example=(observations[0], goals[0]))
        parity = assert_parity(module, PolicyBundle.open(candidate, spec), observations, goals)
        outputs = {output.name for output in model.graph.output}
        stated = {f"parity/{name}": value for name, value in parity.items() if name in outputs}
        contract = dataclasses.replace(contract, metrics={**contract.metrics, **stated})
        write_bundle(model, contract, candidate, example=(observations[0], goals[0]))
        with writing(out):
            candidate.replace(out)
    finally:
        candidate.unlink(missing_ok=True)
    return PolicyBundle.open(out, spec)


def _choice(config: ActorConfig) -> dict[str, Any]:
    """What the contract says of candidates; nothing where there is one mean."""
    if not isinstance(config, FlowConfig):
        return {}
    candidates, margin = (config.choices, config.choice_margin) if isinstance(config, ChoiceConfig) else (1, 0.0)
    if candidates == 1 and config.actor != "flow":
        return {}
    return {
        "candidates": candidates,
        "flow_steps": config.flow_steps,
        "choice_margin": margin,
        "answer_actions": 1,
        "proposal_steps": (config.proposal_steps or None) if isinstance(config, ProposalConfig) else None,
    }


def _choose_domain(asked: str | None, stated: str) -> str:
    if asked is None or asked == stated:
        return stated
    if stated == SIM:
        raise ValueError(
            "--domain real: the training data says that its images are simulated; a real camera would "
            "mislead the policy"
        )
    # Files of a real robot state no domain and count as real; so do simulated ones that somebody else wrote.
    logger.warning("the training data counts as %s images, the bundle will say %s as asked", stated, asked)
    return asked


def _calibrate(
    module: DeployedPolicy, store: EpisodeStore, metadata: dict[str, Any], fraction: float, seed: int
) -> Calibration | None:
    """Thresholds of steps_to_goal, from episodes that training did not see; None without a critic or too few of
    them.
    """
    if metadata["discount"] is None:
        return None

    def steps_to_goals(observations: Images, goals: Images) -> Float32s:
        with torch.no_grad():
            return module.policy.steps_to_goals(torch.from_numpy(observations), torch.from_numpy(goals)).numpy()

    calibration = calibrate(steps_to_goals, store, metadata["camera"], fraction, seed)
    if calibration is None:
        logger.warning(
            "no thresholds for steps_to_goal: fewer than %d episodes are held out; train with "
            "validation_fraction, or give more as --held-out",
            MIN_EPISODES,
        )
    elif calibration.reached_steps is None:
        logger.warning(
            "no thresholds for steps_to_goal: on held-out episodes it misses %.0f %% of the frames near the goal "
            "and takes %.0f %% of the far ones "
            "for near; the policy will not say that it has arrived",
            *(100.0 * calibration.metrics[f"calibration/reached_{name}"] for name in ("missed", "false")),
        )
    if calibration is not None and calibration.why_not_refused is not None:
        logger.warning("goals of other scenes will not be refused: %s", calibration.why_not_refused)
    return calibration


def _familiar(
    store: EpisodeStore | None, trained: EpisodeStore | None, metadata: dict[str, Any], config: TrainConfig
) -> FamiliarCalibration | None:
    """What training pictures look like, judged on held-out ones of `store`; None where the data or they are gone."""
    if store is None or trained is None:
        return None
    held_out = held_out_episodes(trained, config.validation_fraction, config.seed)
    seen = np.setdiff1d(np.arange(trained.num_episodes), held_out)
    apart = held_out if store is trained else np.arange(store.num_episodes)
    if not len(apart):
        return None
    result = calibrate_familiarity(trained, seen, store, apart, metadata["camera"])
    if result.why_off is not None:
        logger.warning("pictures unlike the training data will not be told: %s", result.why_off)
    return result


def last_metrics(table: Path, step: int) -> dict[str, float]:
    """The finite values of the last row of `metrics.csv` up to `step`; none where nothing was logged."""
    if not table.is_file():
        return {}
    try:
        with table.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if int(row["step"]) <= step]
        values = {name: float(value) for name, value in (rows[-1].items() if rows else ()) if value and name != "step"}
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise ValueError(f"{table}: no table of metrics that can be read ({error}); move it away to export") from error
    return {name: value for name, value in values.items() if np.isfinite(value)}
