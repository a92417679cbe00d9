"""Run a policy over a recording again and compare its actions with those that were commanded.

mqe replay runs/bags/DAY --policy policy.onnx

With the policy that made the recording the actions must come out the same; with another one the figures say how
far the two differ on what that day's camera saw. A recording may hold several sessions, of several policies: each is
judged on its own. Exit code 1 where the same policy answers otherwise on a session of its own.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path

_UNTOLD = "it cannot be told which goal was theirs: several policy nodes showed one at that moment"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bag", metavar="BAG", type=Path, help="an .mcap file, or a folder with some")
    parser.add_argument("--policy", metavar="FILE", type=Path, required=True, help="the .onnx file")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(args: argparse.Namespace) -> int:
    """Compare, print, and judge."""
    from mqe_core.bundle import PolicyBundle
    from mqe_core.data.bag_messages import bag_files
    from mqe_core.data.bag_sessions import Sessions, recorded_decisions
    from mqe_core.runtime.policy import OnnxPolicy

    files = bag_files(args.bag)
    if not files:
        raise ValueError(f"{args.bag} holds no .mcap file; record one with record:=true")
    policy = OnnxPolicy(PolicyBundle.open(args.policy))
    sessions = Sessions(files)
    fingerprints = sessions.fingerprints()
    compared: dict[str, _Compared] = {}
    for decision in recorded_decisions(files, sessions):
        session = compared.setdefault(decision.session, _Compared())
        if decision.image is None or not decision.goals:
            session.missing += 1
        elif len(decision.goals) > 1:
            session.goal_untold += 1
        else:
            session.differences.append(policy.act(decision.image, decision.goals[0]).action - decision.action)
    incomplete = [f"{file} {why}" for file, why in sessions.incomplete.items()]
    untold = sum(session.goal_untold for session in compared.values())
    if not any(session.differences for session in compared.values()):
        why = [f"of {untold} commands {_UNTOLD}"] if untold else []
        why = [*why, *incomplete] or ["was it recorded while the arm was driven?"]
        raise ValueError(f"{args.bag} holds no command with its image and goal; {'; '.join(why)}")
    judged = [
        {"session": name, "goals": sessions.goal_names[name]} | _judge(session, fingerprints.get(name), policy)
        for name, session in compared.items()
    ]
    if args.json:
        print(json.dumps(_overall(judged, compared) | {"incomplete": incomplete, "sessions": judged}, indent=2))
    else:
        print("\n".join([*incomplete, *(line for session in judged for line in _describe(session))]))
    return 1 if any(session["same_policy"] and session["agrees"] is False for session in judged) else 0


@dataclass
class _Compared:
    """The commands of one session."""

    differences: list = field(default_factory=list)  # (7,) each: answered now, less commanded then
    missing: int = 0  # without image or goal
    goal_untold: int = 0


def _judge(session: _Compared, fingerprint: str | None, policy) -> dict:
    """What --json says of a session; null where nothing was compared, or its policy cannot be told."""
    import numpy as np

    sizes = np.abs(np.reshape(session.differences, (-1, 7)))  # (commands, 7)
    beyond = int((sizes > policy.contract.action_tolerance).any(axis=1).sum())
    return {
        "fingerprint": fingerprint,
        "same_policy": None if fingerprint is None else fingerprint == policy.fingerprint,
        "commands": len(sizes),
        "without_image_or_goal": session.missing,
        "goal_untold": session.goal_untold,
        "beyond_tolerance": beyond,
        "agrees": beyond == 0 if len(sizes) else None,
        "largest_difference": _by_name(sizes.max(axis=0)) if len(sizes) else None,
    }


def _overall(judged: list[dict], compared: dict[str, _Compared]) -> dict:
    """The same over all sessions together."""
    import numpy as np

    sizes = np.abs([difference for session in compared.values() for difference in session.differences])
    total = {
        key: sum(session[key] for session in judged)
        for key in ("commands", "without_image_or_goal", "goal_untold", "beyond_tolerance")
    }
    return {
        **total,
        "same_policy": all(session["same_policy"] is True for session in judged),
        "agrees": total["beyond_tolerance"] == 0,
        "largest_difference": _by_name(sizes.max(axis=0)),
        "mean_difference": _by_name(sizes.mean(axis=0)),
    }


def _by_name(values) -> dict[str, float]:
    from mqe_core.bundle_contract import ACTION_NAMES

    return dict(zip(ACTION_NAMES, values.tolist()))


def _describe(session: dict) -> list[str]:
    whose = {
        True: "the policy that made them",
        False: f"another policy (recorded: {(session['fingerprint'] or '')[:12]})",
        None: "a policy that may be another one (which made them cannot be told)",
    }[session["same_policy"]]
    towards = f" towards {', '.join(session['goals'])}" if session["goals"] else ""
    lines = [
        f"session {session['session']}{towards}",
        f"  {session['commands']} commands replayed with {whose}, {session['without_image_or_goal']} without image or goal",
    ]
    if session["goal_untold"]:
        lines.append(f"  {session['goal_untold']} commands not compared, as {_UNTOLD}")
    if session["commands"]:
        largest = "  ".join(f"{name} {value:.2g}" for name, value in session["largest_difference"].items())
        lines += [f"  largest difference  {largest}", f"  {_verdict(session)}"]
    return lines


def _verdict(session: dict) -> str:
    if session["agrees"]:
        return "within the bundle's tolerance"
    reason = {
        True: "the same policy answers otherwise: another processor or onnxruntime, or the recording is not what it saw",
        False: "as a session of another policy may",
        None: "as a session of another policy would",
    }[session["same_policy"]]
    return f"{session['beyond_tolerance']} of {session['commands']} beyond the bundle's tolerance, {reason}"
