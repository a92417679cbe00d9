"""A day of takeovers through the graph of `mqe up`, in real time: the operator's pad is on /joy."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from mqe_bringup.graph import build_graph
from mqe_bringup.scene_run import Say, own_domain, watching
from mqe_bringup.supervisor import Supervisor
from mqe_bringup.takeover_day import NOBODY, OPERATOR, POLICY, SceneOutcome


class LiveDay:
    """Its processes run from the beginning until `close`. What they say stands in logs in `out`.

    RuntimeError, with the end of its log, where a process ends.
    """

    def __init__(self, policy: Path, task: str, first_seed: int, out: Path, say: Say) -> None:
        os.environ.update(own_domain())
        graph = build_graph(
            {
                "backend": "sim",
                "policy": str(policy),
                "task": task,
                "seed": str(first_seed),
                "teleop": "topic",
                "record": str(out / "bag"),
                # The scene says whether it is solved, and the operator when it is enough.
                "reached_steps": "0",
                "stall_commands": "0",
                "unreachable_steps": "0",
            }
        )
        out.mkdir(parents=True, exist_ok=True)
        for line in graph.banner:
            say(line)
        os.environ.update(graph.environment)
        from mqe_bringup.operator_node import Operator
        from mqe_bringup.scripted_operator import ScriptedOperator
        from mqe_sim.client import Client

        assert graph.sim_address is not None  # the backend is the sim
        self._task, self._is_first = task, True
        with contextlib.ExitStack() as open_things:
            supervisor = Supervisor(graph.environment, log_folder=out)
            open_things.callback(supervisor.stop)
            supervisor.start(graph.processes)
            scene = open_things.enter_context(contextlib.closing(Client(graph.sim_address)))
            asking = open_things.enter_context(Operator(takes_signals=False, check=watching(supervisor)))
            self._operator = ScriptedOperator(asking, scene)
            self._open_things = open_things.pop_all()

    def play(self, seed: int, patience_s: float) -> SceneOutcome:
        """The policy drives until the scene is solved or the operator takes over from it."""
        operator = self._operator
        if not self._is_first:
            operator.next_scene(self._task, seed)
        self._is_first = False
        begin = time.monotonic()
        operator.begin_episode()
        solved_by = POLICY if operator.watch(patience_s) else NOBODY
        policy_s, begin = time.monotonic() - begin, time.monotonic()
        if solved_by == NOBODY and operator.take_over():
            solved_by = OPERATOR
        operator_s = 0.0 if solved_by == POLICY else time.monotonic() - begin
        operator.end_episode(keep=solved_by == OPERATOR)
        return SceneOutcome(seed, solved_by, round(policy_s, 1), round(operator_s, 1))

    def close(self) -> None:
        self._open_things.close()
