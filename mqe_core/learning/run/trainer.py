"""One training run in memory: the trainer turns batches of a store into updates of an agent."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import nn

from mqe_core.data.frames import Frames
from mqe_core.learning.agents import AGENTS
from mqe_core.learning.networks.actor import Agent, Metrics
from mqe_core.learning.networks.encoders import ImageEncoder
from mqe_core.learning.networks.proposals import ProposalFlow
from mqe_core.learning.ranks.ranks import ALONE, Ranks
from mqe_core.learning.ranks.sharing import descend, shared_out
from mqe_core.learning.rows.actions import ActionScale
from mqe_core.learning.rows.batch import Batch
from mqe_core.learning.rows.batches import Batches
from mqe_core.learning.rows.training_data import TrainingData
from mqe_core.learning.run.checkpoint import MetricMeans, take_weights
from mqe_core.learning.run.cuda_graph import GraphedUpdate
from mqe_core.learning.run.run_config import RunConfig, TrainConfig
from mqe_core.learning.run.what_fits import card_of, too_large, too_large_share

VALIDATION_BATCHES = 4
MOST_UNCHECKED = 1000  # losses on a GPU


class Trainer:
    """Everything that changes during a run: networks, optimiser, random state, step; ``update`` moves it by one
    batch.
    """

    def __init__(
        self,
        store: Frames,
        config: RunConfig,
        progress: bool = True,
        scale: ActionScale | None = None,
        encoder: ImageEncoder | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        """``scale``: of the actions; fitted to the data where it is not given. ``encoder``: the frozen one of
        ``features_of``. ``ranks``: the processes that train this run.
        """
        self.config, self.ranks = config, ranks
        train = config.train
        if train.threads:
            torch.set_num_threads(train.threads)
        self.device = _choose_device(train.device, ranks)
        ranks.require_apart(self.device)
        torch.manual_seed(train.seed)
        self.rng = np.random.default_rng(train.seed)
        self.step = 0
        self.means = MetricMeans()
        self.data = TrainingData(
            store, config, self.device, scale=scale, encoder=encoder, progress=progress, ranks=ranks
        )
        observations = self.data.observations
        make_agent, action_dim = AGENTS[train.agent][0], self.data.actions.shape[1]
        statistics = observations.statistics() if train.standardise else None
        self.agent = make_agent(config.agent, observations.spec, action_dim, statistics).to(self.device)
        for module in self.agent.modules():
            if isinstance(module, ImageEncoder):
                module.pictures_at_once = train.pictures_at_once
            if isinstance(module, ProposalFlow):
                module.measure(self.data.changes(module.ahead))
        self._batches = Batches(self.data, self.rng, self.agent.frames, ranks)
        on_gpu = self.device.type == "cuda"
        groups = _groups(self.agent, train)
        # On a GPU the rates are tensors: a recorded update reads them there.
        self._rates = [torch.tensor(group["lr"], device=self.device) for group in groups] if on_gpu else []
        for group, rate in zip(groups, self._rates):
            group["lr"] = rate
        self.optimiser = torch.optim.Adam(groups, fused=True, capturable=on_gpu)
        # Crossed goals are another number of pairs in every batch, and a recording has one. In it no ranks talk, and
        # nothing is computed again.
        recorded = on_gpu and not (config.agent.actor_goals_crossed or ranks.world > 1 or train.pictures_at_once)
        self._descend = GraphedUpdate(self._descend_once) if recorded else self._descend_once
        self._unchecked: list[torch.Tensor] = []  # the last losses, on a GPU
        self.restart_average()

    def restart_average(self) -> None:
        """Begin the running mean of the weights with what they are now."""
        self.average = (
            [parameter.detach().clone() for parameter in self.agent.parameters()]
            if self.config.train.average_decay
            else []
        )

    def update(self) -> None:
        """One batch, one Adam step; RuntimeError when the loss is not finite: on a GPU only :meth:`check` says so.
        RuntimeError as well where the GPU's memory does not take the batch. BatchError, and nothing has changed, where
        the batch cannot be made.
        """
        batch = self._batches.take()
        self._set_learning_rate()
        loss, metrics = self._descend_or_say_what_fits(batch)
        self.step += 1
        if self.average:
            # Early on the mean is short, so that it forgets the initial weights.
            decay = min(self.config.train.average_decay, (1 + self.step) / (10 + self.step))
            with torch.no_grad():
                for mean, parameter in zip(self.average, self.agent.parameters()):
                    mean.lerp_(parameter, 1.0 - decay)
        self.means.add({"loss": loss, **metrics})
        if self.device.type == "cuda":
            self._unchecked.append(loss.clone())
            if len(self._unchecked) >= MOST_UNCHECKED:
                self.check()

    def _descend_or_say_what_fits(self, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        try:
            return self._descend(batch)
        except torch.OutOfMemoryError:
            pass  # what it holds is free once this block is left
        rows, card = len(batch.actions), card_of(self.device)
        if self.ranks.world > 1:
            raise RuntimeError(too_large_share(rows, self.ranks.world, card))
        weights = sum(parameter.numel() * parameter.element_size() for parameter in self.agent.parameters())
        self.optimiser.zero_grad(set_to_none=True)
        raise RuntimeError(too_large(self.agent, batch, card, 0 if self.optimiser.state else 2 * weights))

    def _descend_once(self, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """The loss, its gradient and the optimiser's step; nothing in it waits for a GPU."""
        with shared_out(self.agent, batch, self.ranks):
            loss, metrics = self.agent.loss(batch)
        if self.device.type == "cpu":
            _require_finite(loss.item(), self.step)
        self.optimiser.zero_grad(set_to_none=True)
        descend(loss, self.agent, self.ranks)
        self.agent.before_update()
        self.optimiser.step()
        self.agent.after_update()
        return loss.detach(), metrics

    def check(self) -> None:
        """RuntimeError where the loss of one of the updates since the last time was not finite. It waits for a GPU, so
        it is called when something is logged, and before anything is saved.
        """
        if self._unchecked:
            losses = torch.stack(self._unchecked).tolist()
            self._unchecked.clear()
            for number, loss in enumerate(losses):
                _require_finite(loss, self.step - len(losses) + number)

    def validate(self) -> dict[str, float]:
        """Mean metrics on the held-out episodes, on the same rows each time, unshifted; empty where nothing is held
        out.
        """
        if self.data.held_out_transitions is None:
            return {}
        means, rng = MetricMeans(), np.random.default_rng(self.config.train.seed + 1)
        with torch.no_grad():
            for _ in range(VALIDATION_BATCHES):
                batch = self.data.sample(rng, self.agent.frames, held_out=True)
                with shared_out(self.agent, batch, self.ranks):
                    _, metrics = self.agent.loss(batch)
                means.add(metrics)
        return {f"val/{name}": value for name, value in means.take().items()}

    def close(self) -> None:
        """End what works for it in other processes."""
        self.data.observations.close()

    def _set_learning_rate(self) -> None:
        train = self.config.train
        share = 1.0
        if train.schedule == "cosine":
            share = 0.5 * (1.0 + math.cos(math.pi * min(self.step / train.steps, 1.0)))
        if self.step < train.warmup_steps:
            share *= (self.step + 1) / train.warmup_steps
        full_rates = (train.learning_rate, train.actor_learning_rate)  # of the groups, where there are two
        for group, rate in zip(self.optimiser.param_groups, full_rates):
            if self._rates:
                group["lr"].fill_(rate * share)
            else:
                group["lr"] = rate * share

    def policy_weights(self) -> dict[str, torch.Tensor]:
        """The agent's state for evaluation and export: with the running mean of its parameters where one is kept.
        RuntimeError as :meth:`check`.
        """
        self.check()
        means = dict(zip(self.agent.parameters(), self.average))
        # Under all of its names, where a module stands in two places.
        named = self.agent.named_parameters(remove_duplicate=False)
        return {**self.agent.state_dict(), **{name: means[value] for name, value in named if value in means}}

    def state(self) -> dict[str, Any]:
        """Everything that ``restore`` needs to continue bit for bit, on any device; RuntimeError as :meth:`check`."""
        self.check()
        optimiser = self.optimiser.state_dict()
        for group in optimiser["param_groups"]:
            group |= {"lr": float(group["lr"]), "capturable": False}
        sums, count = self.means.state()
        return {
            "step": self.step,
            "agent": self.agent.state_dict(),
            "average": self.average,
            "optimiser": optimiser,
            "numpy_rng": self._batches.random_state,
            "torch_rng": torch.get_rng_state(),
            "gpu_rng": torch.cuda.get_rng_state() if self.device.type == "cuda" else None,
            "metric_sums": sums,
            "metric_count": count,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``, before the first update; ValueError where it is of other networks."""
        self.step = state["step"]
        take_weights(self.agent, state["agent"])
        self.optimiser.load_state_dict(state["optimiser"])
        for group, rate in zip(self.optimiser.param_groups, self._rates):
            group |= {"lr": rate, "capturable": True}
        self.average = [mean.to(self.device) for mean in state.get("average", ())]
        self._batches.restore(state["numpy_rng"])
        torch.set_rng_state(state["torch_rng"])
        if self.device.type == "cuda" and state.get("gpu_rng") is not None:
            torch.cuda.set_rng_state(state["gpu_rng"])
        self.means.restore(state["metric_sums"], state["metric_count"], self.device)


def _require_finite(loss: float, step: int) -> None:
    if not math.isfinite(loss):
        raise RuntimeError(
            f"the loss is {loss} at step {step}: lower learning_rate, and look for broken actions in the data; "
            "the last checkpoint is intact"
        )


def _groups(agent: Agent, train: TrainConfig) -> list[dict[str, Any]]:
    """The optimiser's groups: the policies apart, where they have a rate of their own."""
    if not train.actor_learning_rate:
        return [{"params": list(agent.parameters()), "lr": train.learning_rate}]
    others: list[nn.Parameter] = []
    policies: list[nn.Parameter] = []
    for name, parameter in agent.named_parameters():
        (policies if name.split(".")[0] in agent.policies else others).append(parameter)
    return [{"params": others, "lr": train.learning_rate}, {"params": policies, "lr": train.actor_learning_rate}]


def _choose_device(asked: str, ranks: Ranks) -> torch.device:
    """The rank's own GPU, where there are any. ValueError where one is asked for and torch sees none."""
    if asked == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "device is cuda, and torch sees no GPU here: install a torch with CUDA, or leave device at auto"
        )
    if asked == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    if ranks.world == 1:
        return torch.device("cuda")
    # Of all GPUs of the machine the one of the rank's number there; or the one that it is shown.
    device = torch.device("cuda", ranks.local_rank % torch.cuda.device_count())
    torch.cuda.set_device(device)
    return device
