"""`mqe eval --run`: a trained run in OGBench's environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mqe_core.learning.networks.actor import PolicyModule
from mqe_core.learning.run.run_folder import load_run
from mqe_core.ogbench.environments import Widths
from mqe_core.ogbench.evaluation import Evaluator, TaskOutcome, overall
from mqe_core.ogbench.names import DatasetName, parse_name
from mqe_core.ogbench.training import as_policy, require_widths
from mqe_core.policy.choice import check_choice


@dataclass(frozen=True)
class LoadedRun:
    """A run that was trained on OGBench, ready to act."""

    path: Path
    name: DatasetName  # of the data
    module: PolicyModule
    agent: str
    step: int
    widths: Widths


def load(
    run: Path,
    environment: str | None = None,
    checkpoint: str = "latest",
    changes: Mapping[str, Any] | None = None,
) -> LoadedRun:
    """The run in a folder, for its own data set's environment or that of another name; ValueError where it is of
    neither. ``changes`` as in :func:`load_run`.
    """
    agent, config, metadata = load_run(run, checkpoint, changes)
    trained_on = metadata["data"]["metadata"].get("name")
    if environment is None and (metadata["data"]["metadata"].get("kind") != "ogbench" or not trained_on):
        raise ValueError(f"{run} was not trained on a data set of OGBench: name the environment with --env")
    name = parse_name(environment or trained_on)
    widths = Widths(metadata["observation"]["state_dim"], len(metadata["action_low"]))
    return LoadedRun(Path(run), name, agent.policy_module(), config.train.agent, metadata["step"], widths)


def evaluate_run(run: LoadedRun, episodes: int, seed: int, choice: str = "critic") -> list[TaskOutcome]:
    """Every task; ValueError where the run's widths are not the environment's. ``choice``: one of CHOICES."""
    check_choice(choice, run.module.agent.candidates > 1)
    first = Evaluator(run.name, 1, seed)
    require_widths(run.name, first.widths, run.widths, str(run.path))
    return Evaluator(run.name, episodes, seed)(as_policy(run.module, seed if choice == "random" else None))


def summary(run: LoadedRun, outcomes: list[TaskOutcome], episodes: int, seed: int) -> dict[str, Any]:
    """The result as `--json` prints it."""
    return {
        "run": str(run.path),
        "agent": run.agent,
        "step": run.step,
        "env": run.name.text,
        "episodes": episodes,
        "seed": seed,
        "success": overall(outcomes),
        "tasks": {f"task{outcome.task}": outcome.rate for outcome in outcomes},
        "mean_steps": {f"task{outcome.task}": float(outcome.steps.mean()) for outcome in outcomes},
    }
