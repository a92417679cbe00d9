"""The MQE update as the official agent computes it, in jax: all pairs broadcast, one jit-compiled function.

Written from the formulas on docs/algorithm.md, with the official order of operations: each of psi's four uses is a pass
of its own, and the pairs are one (E, B, B, D) difference. It serves update.py as the official form's time; the golden
vectors of tests/golden are what correctness is held against.
"""

from __future__ import annotations

import os
from collections.abc import Callable

WIDTHS, LATENT, COMPONENTS, MEMBERS = (512, 512, 512), 512, 8, 2
DISCOUNT, CLIP, DIAGONAL, ALPHA, RATE = 0.995, 5.0, 0.5, 0.1, 3e-4


def make_update(rows: int, threads: int, state_dim: int, action_dim: int) -> Callable[[], float]:
    """An update of fresh networks on one batch; its answer is the loss."""
    if threads == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # jax has no other way to one thread
    import jax
    import jax.numpy as jnp

    keys = iter(jax.random.split(jax.random.PRNGKey(0), 99))

    def layers(sizes: list[int]) -> list[dict]:
        return [
            {
                "kernel": jax.nn.initializers.xavier_uniform()(next(keys), (a, b)),
                "bias": jnp.zeros(b),
                "gain": jnp.ones(b),
                "shift": jnp.zeros(b),
            }
            for a, b in zip(sizes[:-1], sizes[1:])
        ]

    def ensemble(sizes: list[int]) -> list[dict]:
        return jax.tree_util.tree_map(lambda *members: jnp.stack(members), *(layers(sizes) for _ in range(MEMBERS)))

    parameters = {
        "phi": ensemble([state_dim + action_dim, *WIDTHS, LATENT]),
        "psi": ensemble([state_dim, *WIDTHS, LATENT]),
        "actor": layers([2 * state_dim, *WIDTHS, action_dim]),
    }

    def mlp(stack: list[dict], x, norm: bool):
        for layer in stack[:-1]:
            x = jax.nn.gelu(x @ layer["kernel"] + layer["bias"])
            if norm:
                centred = x - x.mean(-1, keepdims=True)
                x = centred * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-6) * layer["gain"] + layer["shift"]
        return x @ stack[-1]["kernel"] + stack[-1]["bias"]

    members = jax.vmap(lambda stack, x: mlp(stack, x, True), in_axes=(0, None))

    def distance(x, y):
        z = (x - y).reshape(*jnp.broadcast_shapes(x.shape, y.shape)[:-1], COMPONENTS, LATENT // COMPONENTS)
        half = LATENT // COMPONENTS // 2
        asymmetric = jax.nn.relu(z[..., :half].max(-1))
        symmetric = jnp.linalg.norm(z[..., half:] + 1e-8, axis=-1)
        return (asymmetric + symmetric).mean(-1) / jnp.sqrt(LATENT)

    def loss(parameters, batch):
        phi = members(parameters["phi"], jnp.concatenate([batch["observation"], batch["action"]], -1))
        psi_s, psi_goal = (members(parameters["psi"], batch[name]) for name in ("observation", "goal"))
        psi_waypoint = members(parameters["psi"], batch["waypoint"])
        d = distance(phi[:, :, None], psi_goal[:, None])
        target = jax.lax.stop_gradient(distance(psi_waypoint[:, :, None], psi_goal[:, None]))
        difference, weight = d - target, (DISCOUNT ** batch["steps"])[:, None]
        linex = weight * jnp.exp(jnp.minimum(difference, CLIP)) - d
        pairs = jnp.where(difference > CLIP, difference, linex)
        own = jnp.diagonal(pairs, axis1=1, axis2=2)
        backup = (1.0 - DIAGONAL) * pairs.mean() + DIAGONAL * own.mean()
        invariance = jnp.square(jnp.exp(-distance(psi_s, phi)) - 1.0).mean()

        chosen = mlp(parameters["actor"], jnp.concatenate([batch["observation"], batch["actor_goal"]], -1), False)
        fixed = jax.lax.stop_gradient({name: parameters[name] for name in ("phi", "psi")})
        action = jnp.clip(chosen, -1.0, 1.0)
        phi_chosen = members(fixed["phi"], jnp.concatenate([batch["observation"], action], -1))
        q = -distance(phi_chosen, members(fixed["psi"], batch["actor_goal"])).max(0)
        log_prob = -0.5 * jnp.square(chosen - batch["action"]).sum(-1)
        actor = -q.mean() / jax.lax.stop_gradient(jnp.abs(q).mean() + 1e-6) - ALPHA * log_prob.mean()
        return backup + invariance + actor, {"own": jnp.diagonal(d, axis1=1, axis2=2).mean(), "mean": d.mean()}

    @jax.jit
    def step(parameters, first, second, count, batch):
        (value, metrics), gradients = jax.value_and_grad(loss, has_aux=True)(parameters, batch)
        tree_map = jax.tree_util.tree_map
        first = tree_map(lambda m, g: 0.9 * m + 0.1 * g, first, gradients)
        second = tree_map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradients)
        scale = jnp.sqrt(1.0 - 0.999**count) / (1.0 - 0.9**count)
        parameters = tree_map(lambda p, m, v: p - RATE * scale * m / (jnp.sqrt(v) + 1e-8), parameters, first, second)
        return parameters, first, second, value, metrics

    def normal(*shape: int):
        return jax.random.normal(next(keys), shape)

    batch = {name: normal(rows, state_dim) for name in ("observation", "waypoint", "goal", "actor_goal")}
    batch |= {"action": jnp.tanh(normal(rows, action_dim)), "steps": 20.0 + 5.0 * normal(rows)}
    zeros = jax.tree_util.tree_map(jnp.zeros_like, parameters)
    state = [parameters, zeros, zeros, 0]

    def update() -> float:
        count = state[3] + 1
        *moved, value, _ = step(*state[:3], float(count), batch)
        state[:] = [*moved, count]
        return float(value)

    return update
