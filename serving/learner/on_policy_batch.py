"""The batch of on-policy learning: steps of one policy, and how much better each one was.

A policy gradient is only right for actions drawn from the policy that it changes. So a batch says
which policy versions it takes, refuses the steps of all others, and is emptied after each update.
"""

from __future__ import annotations

import numpy as np


class Stretch:
    """Consecutive steps of one episode, all in the batch; pieces come one after the other."""

    def __init__(self):
        self.pieces: list[tuple[np.ndarray, ...]] = []
        self.last: np.ndarray | None = None  # the observation after the latest step
        self.terminated = False

    def add(self, observations, *columns) -> None:
        self.pieces.append((observations[:-1], *columns))
        self.last = observations[-1]

    def columns(self) -> dict[str, np.ndarray]:
        """One row a step, and a last one for the observation after it, which is no step."""
        joined = [np.concatenate(parts) for parts in zip(*self.pieces)]
        observations, actions, rewards, log_probabilities = joined
        steps = len(actions)
        terminateds = np.zeros(steps + 1, bool)
        terminateds[-2] = self.terminated
        return {
            "obs": np.concatenate([observations, self.last[None]]),  # (steps + 1, size)
            "actions": np.append(actions, 0),
            "rewards": np.append(rewards, np.float32(0)),
            "action_logp": np.append(log_probabilities, np.float32(0)),
            "terminateds": terminateds,
            "loss_mask": np.arange(steps + 1) < steps,
        }


class Batch:
    """Steps taken by the policy versions in `versions`, and by no other.

    versions
        usually one. After a restart the same weights go by a second number.
    """

    def __init__(self):
        self.versions: set[int] = {0}
        self.steps = 0
        self._stretches: list[Stretch] = []
        self._open: dict[str, Stretch] = {}

    def __len__(self) -> int:
        return self.steps

    def empty(self, version: int) -> None:
        """Begins anew: from now on only steps of `version` are taken."""
        self.versions = {version}
        self.steps = 0
        self._stretches, self._open = [], {}

    def add(
        self, episode_id, observations, actions, rewards, log_probabilities, versions,
        terminated: bool, ended: bool,
    ) -> int:  # fmt: skip
        """A chunk of an episode: observations (k + 1, size), everything else (k,); k may be 0.

        Returns how many of the k steps were taken by one of `versions`, and so are in the batch.
        """
        right = np.isin(versions, list(self.versions))
        edges = np.flatnonzero(np.diff(np.concatenate([[False], right, [False]])))
        for first, stop in edges.reshape(-1, 2):
            stretch = self._open.get(episode_id) if first == 0 else None
            if stretch is None:
                stretch = self._open[episode_id] = Stretch()
                self._stretches.append(stretch)
            stretch.add(
                observations[first : stop + 1],
                actions[first:stop],
                rewards[first:stop],
                log_probabilities[first:stop],
            )
            stretch.terminated = bool(terminated and stop == len(right))
        if ended or (len(right) and not right[-1]):
            self.interrupt(episode_id)
        taken = int(right.sum())
        self.steps += taken
        return taken

    def interrupt(self, episode_id: str) -> None:
        """What comes next of this episode does not follow on what is here of it."""
        self._open.pop(episode_id, None)

    def columns(self) -> dict[str, np.ndarray]:
        """All stretches, one after the other; see `Stretch.columns`. `loss_mask` is false in the
        last row of each, whose observation only serves to bootstrap."""
        parts = [stretch.columns() for stretch in self._stretches]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def end_open_episodes(self) -> None:
        """No open episode goes on: its stretch is cut where it is, and bootstrapped from there."""
        self._open = {}

    def get_state(self) -> dict:
        return {
            "versions": sorted(self.versions),
            "steps": self.steps,
            "stretches": [
                {"pieces": list(s.pieces), "last": s.last, "terminated": s.terminated}
                for s in self._stretches
            ],
            "open": {name: self._stretches.index(s) for name, s in self._open.items()},
        }

    def set_state(self, state: dict) -> None:
        self.versions, self.steps = set(state["versions"]), state["steps"]
        self._stretches = []
        for stored in state["stretches"]:
            stretch = Stretch()
            stretch.pieces = [tuple(piece) for piece in stored["pieces"]]
            stretch.last, stretch.terminated = stored["last"], stored["terminated"]
            self._stretches.append(stretch)
        self._open = {name: self._stretches[i] for name, i in state["open"].items()}


def advantages(columns: dict, values: np.ndarray, gamma: float, gae_lambda: float) -> np.ndarray:
    """Generalized advantage estimates, (rows,); 0 in rows that are no steps.

    Equations 11 and 16 of https://arxiv.org/abs/1506.02438. The value after the last step of a
    stretch is `values` of its last observation, except that nothing follows where the episode
    terminated.

    columns: as `Batch.columns()`; values: (rows,), of each row's observation.
    """
    steps, continues = columns["loss_mask"], ~columns["terminateds"]
    following = np.append(values[1:], 0.0) * continues
    surprises = np.where(steps, columns["rewards"] + gamma * following - values, 0.0)  # (rows,)
    result, later = np.zeros(len(values), np.float64), 0.0
    fades = gamma * gae_lambda * steps  # forgets what comes after, where a stretch begins
    for row in range(len(values) - 1, -1, -1):
        later = result[row] = surprises[row] + fades[row] * later
    return result.astype(np.float32)
