"""Run a policy over a recording again and compare its actions with those that were commanded.

mqe replay runs/bags/DAY --policy policy.onnx

With the policy that made the recording the actions must come out the same. With another one the figures say how far
the two differ on what that day's camera saw. A recording may hold several sessions, of several policies: each is judged
on its own. Goals that the policy would have refused as unreachable are counted. Exit code 1 where the same policy
answers otherwise on a session of its own.
"""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mqe_core.data.readers.bag_messages import NewestImages
    from mqe_core.robot.arrays import AnyArray, Images
    from mqe_core.runtime.onnx_policy import OnnxPolicy

log = logging.getLogger(__name__)

_UNTOLD = "it cannot be told which goal was theirs: several policy nodes showed one at that moment"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `mqe replay`."""
    parser.add_argument("bag", metavar="BAG", type=Path, help="an .mcap file, or a folder with some")
    parser.add_argument("--policy", metavar="FILE", type=Path, required=True, help="the .onnx file")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(args: argparse.Namespace) -> int:
    """Compare, print, and judge."""
    from mqe_core.data.readers.bag_messages import NewestImages, bag_files
    from mqe_core.data.readers.bag_sessions import Sessions, recorded_decisions
    from mqe_core.policy.bundle import PolicyBundle
    from mqe_core.runtime.onnx_policy import OnnxPolicy

    files = bag_files(args.bag)
    if not files:
        raise ValueError(f"{args.bag} holds no .mcap file; record one with record:=true")
    policy = OnnxPolicy(PolicyBundle.open(args.policy))
    sessions = Sessions(files)
    fingerprints = sessions.fingerprints()
    compared: dict[str, _Compared] = {}
    images = NewestImages()
    for decision in recorded_decisions(files, sessions, images):
        session = compared.setdefault(decision.session, _Compared())
        if decision.image is None or not decision.goals:
            session.missing += 1
        elif len(decision.goals) > 1:
            session.goal_untold += 1
        else:
            session.compare(policy, decision.image, decision.goals[0], decision.action)
    _warn(images)
    incomplete = [f"{file} {why}" for file, why in sessions.incomplete.items()]
    untold = sum(session.goal_untold for session in compared.values())
    if not any(session.differences for session in compared.values()):
        why = [f"of {untold} commands {_UNTOLD}"] if untold else []
        why = [*why, *incomplete] or ["was it recorded while the arm was driven?"]
        raise ValueError(f"{args.bag} holds no command with its image and goal; {'; '.join(why)}")
    judged = [
        _judge(name, sessions.goal_names[name], session, fingerprints.get(name), policy)
        for name, session in compared.items()
    ]
    if args.json:
        overall = _overall(judged, compared) | {"incomplete": incomplete, "sessions": [asdict(one) for one in judged]}
        print(json.dumps(overall, indent=2))
    else:
        print("\n".join([*incomplete, *(line for session in judged for line in _describe(session))]))
    return 1 if any(session.same_policy and session.agrees is False for session in judged) else 0


def _warn(images: NewestImages) -> None:
    """Tell of commands that are not compared, or perhaps with another image."""
    from mqe_core.data.readers.bag_messages import told_by_stamps

    if images.absent:
        log.warning("%d commands are not compared: their images are not in the recording", images.absent)
    if images.untold:
        log.warning("%d commands are not compared: several images carry the stamp of theirs", images.untold)
    if images.by_stamp:
        log.warning(told_by_stamps(images.by_stamp))


@dataclass
class _Compared:
    """The commands of one session."""

    differences: list[AnyArray] = field(default_factory=list)  # (7,) each: answered now, less commanded then
    missing: int = 0  # without image or goal
    goal_untold: int = 0
    distances: list[list[float | None]] = field(default_factory=list)  # steps_to_goal of each goal's commands
    _goal: Images | None = None  # of the newest command
    _last: int = -1  # the candidate that the policy chose for it; -1: none

    def compare(self, policy: OnnxPolicy, image: Images, goal: Images, action: AnyArray) -> None:
        """Note one command, `action (7,)`, for the goal in force."""
        if goal is not self._goal:
            self._goal, self._last = goal, -1
            self.distances.append([])
        answer = policy.act(image, goal, self._last)
        if answer.candidates is not None:
            self._last = answer.candidates.chosen
        self.distances[-1].append(answer.steps_to_goal)
        self.differences.append(answer.action - action)


@dataclass(frozen=True)
class _Judgement:
    """What --json says of a session. None where nothing was compared, or its policy cannot be told."""

    session: str
    goals: list[str]
    fingerprint: str | None
    same_policy: bool | None
    commands: int
    without_image_or_goal: int
    goal_untold: int
    refused_goals: int  # those that this policy would have refused as unreachable
    beyond_tolerance: int
    agrees: bool | None
    largest_difference: dict[str, float] | None  # by name of the action's component


def _judge(name: str, goals: list[str], session: _Compared, fingerprint: str | None, policy: OnnxPolicy) -> _Judgement:
    """Hold the answers of `policy` against the commands of one session."""
    import numpy as np

    sizes = np.abs(np.reshape(session.differences, (-1, 7)))  # (commands, 7)
    beyond = int((sizes > policy.contract.action_tolerance).any(axis=1).sum())
    return _Judgement(
        session=name,
        goals=goals,
        fingerprint=fingerprint,
        same_policy=None if fingerprint is None else fingerprint == policy.fingerprint,
        commands=len(sizes),
        without_image_or_goal=session.missing,
        goal_untold=session.goal_untold,
        refused_goals=sum(_refuses(policy, distances) for distances in session.distances),
        beyond_tolerance=beyond,
        agrees=beyond == 0 if len(sizes) else None,
        largest_difference=_by_name(sizes.max(axis=0)) if len(sizes) else None,
    )


def _refuses(policy: OnnxPolicy, distances: list[float | None]) -> bool:
    """Whether the policy's side would have ended a goal with these answers as unreachable."""
    from mqe_core.policy.reachability import UNREACHABLE, Reachability

    rule = Reachability(policy.contract.unreachable_steps)
    return UNREACHABLE in [rule.update(steps) for steps in distances]


def _overall(judged: list[_Judgement], compared: dict[str, _Compared]) -> dict[str, object]:
    """The same over all sessions together."""
    import numpy as np

    sizes = np.abs([difference for session in compared.values() for difference in session.differences])
    beyond = sum(session.beyond_tolerance for session in judged)
    return {
        "commands": sum(session.commands for session in judged),
        "without_image_or_goal": sum(session.without_image_or_goal for session in judged),
        "goal_untold": sum(session.goal_untold for session in judged),
        "refused_goals": sum(session.refused_goals for session in judged),
        "beyond_tolerance": beyond,
        "same_policy": all(session.same_policy is True for session in judged),
        "agrees": beyond == 0,
        "largest_difference": _by_name(sizes.max(axis=0)),
        "mean_difference": _by_name(sizes.mean(axis=0)),
    }


def _by_name(values: AnyArray) -> dict[str, float]:
    from mqe_core.policy.contract import ACTION_NAMES

    return dict(zip(ACTION_NAMES, values.tolist()))


def _describe(session: _Judgement) -> list[str]:
    whose = {
        True: "the policy that made them",
        False: f"another policy (recorded: {(session.fingerprint or '')[:12]})",
        None: "a policy that may be another one (which made them cannot be told)",
    }[session.same_policy]
    towards = f" towards {', '.join(session.goals)}" if session.goals else ""
    lines = [
        f"session {session.session}{towards}",
        f"  {session.commands} commands replayed with {whose}, {session.without_image_or_goal} without image or goal",
    ]
    if session.goal_untold:
        lines.append(f"  {session.goal_untold} commands not compared, as {_UNTOLD}")
    if session.refused_goals:
        lines.append(f"  {session.refused_goals} of its goals this policy refuses as unreachable")
    if session.largest_difference is not None:
        largest = "  ".join(f"{name} {value:.2g}" for name, value in session.largest_difference.items())
        lines += [f"  largest difference  {largest}", f"  {_verdict(session)}"]
    return lines


def _verdict(session: _Judgement) -> str:
    if session.agrees:
        return "within the bundle's tolerance"
    reason = {
        True: "the same policy answers otherwise: another processor or onnxruntime, or the recording is not what "
        "it saw",
        False: "as a session of another policy may",
        None: "as a session of another policy would",
    }[session.same_policy]
    return f"{session.beyond_tolerance} of {session.commands} beyond the bundle's tolerance, {reason}"
