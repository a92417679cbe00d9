"""Time and peak memory of a whole MQE update: losses, gradients, one Adam step. Batches are made beforehand.

    python benchmarks/update.py [--batch 256 1024] [--threads 1 2] [--observation state] [--rounds 9] [--json]

Widths 512, D 512, K 8, E 2; states of 29 numbers or images of 64 pixels, 8 actions. The forms:

here         as `mqe train` does it: the pairwise distances are compiled code
torch        the same without a compiler
inductor     `here`, with phi and psi through torch.compile
floor        the same without pairwise distances: each row meets its own goal alone
broadcast    the pairwise distances through one (E, B, B, D) tensor
jax          the official computation, jit-compiled (update_jax.py); states only, and only where jax is installed

Each form runs in a process of its own, so that its peak memory is its own. They take turns, three updates each, so that
what else the machine does slows all of them; a form's time is the median over the rounds of each round's best, with the
quartiles behind it, and its ratio to the floor the median of the rounds' ratios. On a busy machine read the one of
processor times. A form that would need more memory than is free is left out, and the table says so. Before any time is
taken all forms must agree on the loss.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles

FORMS = ("here", "torch", "inductor", "floor", "broadcast", "jax")
STATE_DIM, IMAGE_SIZE, ACTION_DIM, LATENT_DIM, MEMBERS = 29, 64, 8, 512, 2
UPDATES_PER_TURN = 3
# (E, B, B, D) tensors at the peak, as measured at B = 256
TENSORS_AT_THE_PEAK = {"broadcast": 5, "jax": 6}


class Worker:
    """One form in its own process, which updates when it is told to."""

    def __init__(self, form: str, batch: int, threads: int, observation: str) -> None:
        command = [sys.executable, __file__, "--worker", form, "--batch", str(batch), "--threads", str(threads)]
        command += ["--observation", observation]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ready = self._answer()

    def updates(self) -> dict:
        """Seconds and processor seconds of the best of a few updates."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a form ended early, with exit code {self._process.wait()}")
        return json.loads(line)


def work(form: str, batch: int, threads: int, observation: str) -> None:
    """The worker's side: warm up, say the loss and the peak memory, then answer each line with times."""
    make = make_jax_update if form == "jax" else make_update
    small, update = (make(form, rows, threads, observation) for rows in (8, batch))
    small()  # loads libraries, starts threads
    before, start = peak_mb(), time.monotonic()
    loss = update()
    first = time.monotonic() - start
    update()
    print(json.dumps({"loss": loss, "peak_mb": peak_mb() - before, "first_update_s": first}), flush=True)
    for _ in sys.stdin:
        times = []
        for _ in range(UPDATES_PER_TURN):
            wall, cpu = time.monotonic(), time.process_time()
            update()
            times.append((time.monotonic() - wall, time.process_time() - cpu))
        print(json.dumps({"wall_s": min(times)[0], "cpu_s": min(cpu for _, cpu in times)}), flush=True)


def peak_mb() -> float:
    """The largest memory of this process so far (Linux)."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def make_update(form: str, rows: int, threads: int, observation: str) -> Callable[[], float]:
    """An update of a fresh agent on one batch; its answer is the loss."""
    import torch

    from mqe_core.learning import quasimetric
    from mqe_core.learning.agents import mqe
    from mqe_core.learning.networks import heads
    from mqe_core.learning.rows.batch import Batch
    from mqe_core.learning.rows.observations import ObservationSpec

    torch.set_num_threads(threads)
    if form == "here" and quasimetric._checked_kernel() is None:
        raise RuntimeError("nothing is compiled here: see the log")
    if form == "torch":
        quasimetric._checked_kernel = lambda: None
    if form == "broadcast":
        heads.MRN.matrix = lambda head, x, y: head(x[:, :, None], y[:, None])
    if form == "floor":
        mqe.critic_loss = own_goals_loss
    torch.manual_seed(0)
    pixels = observation == "pixels"
    spec = ObservationSpec("pixels", IMAGE_SIZE) if pixels else ObservationSpec("state", state_dim=STATE_DIM)
    agent = mqe.MQEAgent(mqe.MQEConfig(), spec, ACTION_DIM)
    if form == "inductor":
        for networks in (agent.phi, agent.psi):
            networks.compile(dynamic=False)
    optimiser = torch.optim.Adam(agent.parameters(), lr=3e-4, fused=True)
    shape, names = (rows, IMAGE_SIZE, IMAGE_SIZE, 3) if pixels else (rows, STATE_DIM), agent.frames
    batch = Batch(
        frames={name: torch.randint(256, shape).byte() if pixels else torch.randn(shape) for name in names},
        steps={name: torch.randint(1, 40, (rows,)).float() for name in names},
        actions=2.0 * torch.rand(rows, ACTION_DIM) - 1.0,
    )

    def update() -> float:
        loss, _ = agent.loss(batch)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        return loss.item()

    return update


def own_goals_loss(phi_sa, psi_s, psi_waypoint, psi_goal, waypoint_steps, **settings):
    """`critic_loss` with as many distances as rows. The loss is another one, the gradients reach the same."""
    import torch

    from mqe_core.learning.agents import mqe

    head, discount, clip = (settings[name] for name in ("head", "discount", "linex_clip"))
    distance = head(phi_sa, psi_goal)  # (E, B)
    with torch.no_grad():
        target = head(psi_waypoint, psi_goal)
    pairs = mqe.backup_loss_pairs(distance[..., None], target[..., None], waypoint_steps, discount, clip)
    invariance = torch.expm1(-head(psi_s, phi_sa)).square().mean()
    return pairs.mean() + invariance, {"distance_own_goal": distance.mean().detach()}


def make_jax_update(form: str, rows: int, threads: int, observation: str) -> Callable[[], float]:
    from update_jax import make_update as make

    return make(rows, threads, STATE_DIM, ACTION_DIM)


def free_mb() -> float:
    return int(re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) / 1024


def measure(batch: int, threads: int, observation: str, forms: list[str], rounds: int) -> dict[str, dict]:
    """What each form took, by its name."""
    results: dict[str, dict] = {}
    workers: dict[str, Worker] = {}
    for form in forms:
        needed = TENSORS_AT_THE_PEAK.get(form, 0) * MEMBERS * batch**2 * LATENT_DIM * 4 / 2**20
        if needed > 0.8 * free_mb():
            results[form] = {"left_out": f"would need about {needed / 1024:.0f} GB, {free_mb() / 1024:.0f} GB are free"}
        else:
            workers[form] = Worker(form, batch, threads, observation)
    losses = {form: worker.ready["loss"] for form, worker in workers.items() if form not in ("floor", "jax")}
    if losses and not math.isclose(min(losses.values()), max(losses.values()), rel_tol=1e-5):
        raise RuntimeError(f"the forms disagree on the loss: {losses}")
    turns = [{form: worker.updates() for form, worker in workers.items()} for _ in range(rounds)]
    for form, worker in workers.items():
        worker.close()
        walls = [turn[form]["wall_s"] for turn in turns]
        quarters = quantiles(walls, n=4) if rounds > 1 else walls * 3
        results[form] = {
            "wall_s": median(walls),
            "wall_quartiles_s": [quarters[0], quarters[2]],
            "cpu_s": median(turn[form]["cpu_s"] for turn in turns),
            "peak_mb": worker.ready["peak_mb"],
            "first_update_s": worker.ready["first_update_s"],  # with what it compiles
            **{
                f"{kind}_ratio_to_floor": median(turn[form][f"{kind}_s"] / turn["floor"][f"{kind}_s"] for turn in turns)
                for kind in ("wall", "cpu")
            },
        }
    return {form: results[form] for form in forms}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[256, 1024])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--observation", nargs="+", choices=("state", "pixels"), default=["state"])
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", choices=FORMS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work(args.worker, args.batch[0], args.threads[0], args.observation[0])
        return
    runs = []
    if not args.json:
        columns = (
            "observation, B, threads, form, wall, quartiles, processor, peak memory, first update, wall to the floor, "
            "processor to the floor"
        )
        print(f"| {columns.replace(', ', ' | ')} |")
        print("|---" * 11 + "|")
    for observation in args.observation:
        for batch in args.batch:
            for threads in args.threads:
                forms = [form for form in FORMS if form in {*args.forms, "floor"}]
                if observation == "pixels" or importlib.util.find_spec("jax") is None:
                    forms = [form for form in forms if form != "jax"]
                results = measure(batch, threads, observation, forms, args.rounds)
                runs.append({"observation": observation, "batch": batch, "threads": threads, "forms": results})
                if not args.json:
                    print_rows(observation, batch, threads, results)
    if args.json:
        print(json.dumps(runs))


def print_rows(observation: str, batch: int, threads: int, results: dict[str, dict]) -> None:
    for form, result in results.items():
        begin = f"| {observation} | {batch} | {threads} | {form} |"
        if "left_out" in result:
            print(f"{begin} {result['left_out']} | | | | | | |", flush=True)
            continue
        low, high = (1e3 * quartile for quartile in result["wall_quartiles_s"])
        print(
            f"{begin} {1e3 * result['wall_s']:.0f} ms | {low:.0f}–{high:.0f} | {1e3 * result['cpu_s']:.0f} ms "
            f"| {result['peak_mb']:.0f} MB | {result['first_update_s']:.1f} s | {result['wall_ratio_to_floor']:.2f} "
            f"| {result['cpu_ratio_to_floor']:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
