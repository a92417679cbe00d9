"""`make demo`: start the graph with the simulated arm, drive it to a goal image, record, and write a report.

Writes runs/demo/<time>/: video.mp4, steps_to_goal.png, bag/ (MCAP), report.html, and the log of each process.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from mqe_bringup.scene_run import run_scene
from mqe_core.files.disk import writing
from mqe_core.files.kinds import DEMO
from mqe_core.files.outputs import check_folder
from mqe_core.runtime.scene import FIRST_EVALUATION_SEED

NOT_SOLVED = 3
_GOAL = "drawer_place.png"
_TASK = "drawer_place"  # of the scenes that --seed makes
_ON_A_PAGE = (
    "to hold and steer it on a page: .venv/bin/pip install -r requirements/console.txt; "
    f".venv/bin/mqe up goal:={_GOAL} console:=true"
)


def say(text: str) -> None:
    sys.stdout.write(f"== {text}\n")
    sys.stdout.flush()


def run(seed: int | None, policy: str, out: Path) -> int:
    """Drive one scene. Returns the process exit code: NOT_SOLVED where the task's full score was not reached."""
    check_folder(out, DEMO)
    scene = {"goal": _GOAL} if seed is None else {"task": _TASK, "seed": str(seed)}
    goal = _GOAL if seed is None else str(_render_goal(seed, out))
    banner, outcome = run_scene({"policy": policy, "record": str(out / "bag"), **scene}, goal, out, say)
    say("drawing the report")
    from mqe_bringup.report import write_report

    with writing(out):
        summary = write_report(out, banner, outcome)
    say(_ON_A_PAGE)
    sys.stdout.write(f"{summary}\n")
    return 0 if outcome["success"] else NOT_SOLVED


def _render_goal(seed: int, out: Path) -> Path:
    from mqe_sim.goal_file import write_goal

    say(f"rendering the goal image of scene {seed}")
    out.mkdir(parents=True, exist_ok=True)
    path = out / _GOAL
    write_goal("widowx250s", _TASK, seed, path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--seed", type=int, help="another scene and goal (default: the shipped goal drawer_place.png)")
    parser.add_argument("--policy", default="", help="policy file (default: as for mqe up)")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/demo") / time.strftime("%Y-%m-%d_%H-%M-%S"),
        help="new folder to write",
    )
    args = parser.parse_args()
    try:
        # As `mqe eval` counts: scenes that no training data holds.
        scene = None if args.seed is None else FIRST_EVALUATION_SEED + args.seed
        sys.exit(run(scene, args.policy, args.out.absolute()))
    except (ValueError, RuntimeError, OSError) as error:
        sys.stderr.write(f"demo: {error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write("demo: interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
