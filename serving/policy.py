"""The policy as a few matrices: acts in microseconds, needs neither torch nor Ray.

The learner publishes a `PolicySnapshot` after each round of updates. Its oracle is the RLModule it
was taken from: same observation, same numbers (tests/test_policy.py). As JSON (`GET /policy`) the
same snapshot lets a web page act by itself.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec
import numpy as np


class Layer(msgspec.Struct):
    """One fully connected layer: `weights` has a row per input and a column per output."""

    weights: list[list[float]]
    bias: list[float]


class PolicySnapshot(msgspec.Struct):
    """A multi-layer perceptron, and how to turn its outputs into an action: the policy as whoever
    evaluates it meets it.

    kind
        `action_values`: the outputs are expected returns, one an action (DQN). Greedy is the
        largest; exploring takes a random action with probability `exploration`.
        `action_logits`: the outputs are logarithms of unnormalised probabilities (PG, PPO). Greedy
        is the largest; exploring draws from the softmax.
    activation
        between the layers: `relu` or `tanh`; the last layer has none.
    exploration
        points (env steps, probability of a random action), linear in between.
    """

    version: int
    kind: Literal["action_values", "action_logits"]
    activation: Literal["relu", "tanh"]
    layers: list[Layer]
    exploration: list[tuple[int, float]]


class Decision(NamedTuple):
    action: int
    values: np.ndarray  # (actions,) float32: the network's outputs
    greedy: bool
    log_probability: float  # of this action under the exploring policy


class Policy:
    """Acts; see `PolicySnapshot` for the arguments. Never changes: newer weights, newer Policy.

    layers: pairs of weights (inputs, outputs) and bias (outputs,), float32.
    averaged: the same, averaged over the latest updates, for acting greedily; None: no other ones.
        Every update of a Q-network forgets a little here and there, and a policy that has just
        solved its task may fail at the next one. What one update forgets, its neighbours know:
        their average is steadier than each of them (https://arxiv.org/abs/1803.05407).
    """

    def __init__(
        self, version: int, kind: str, activation: str, layers, exploration=((0, 0.0),),
        averaged=None,
    ):  # fmt: skip
        self.version = version
        self.kind = kind
        self.activation = activation
        self.layers = _as_float32(layers)
        self.averaged = None if averaged is None else _as_float32(averaged)
        self.exploration_points = [(int(steps), float(p)) for steps, p in exploration]
        self._steps, self._probabilities = zip(*self.exploration_points)

    def snapshot(self) -> PolicySnapshot:
        """This policy as JSON sees it."""
        layers = [
            Layer(weights.tolist(), bias.tolist()) for weights, bias in self.averaged or self.layers
        ]
        return PolicySnapshot(
            self.version, self.kind, self.activation, layers, self.exploration_points
        )

    def pack(self) -> dict:
        """This policy for a socket or a file: plain types and raw little-endian float32."""
        return {
            "version": self.version,
            "kind": self.kind,
            "activation": self.activation,
            "layers": _pack(self.layers),
            "exploration": self.exploration_points,
            "averaged": self.averaged and _pack(self.averaged),
        }

    @classmethod
    def unpack(cls, packed: dict) -> Policy:
        averaged = packed.get("averaged")
        return cls(
            **{
                **packed,
                "layers": _unpack(packed["layers"]),
                "averaged": averaged and _unpack(averaged),
            }
        )

    @property
    def bytes(self) -> int:
        """Of its weights, which are nearly all of it."""
        layers = [*self.layers, *(self.averaged or ())]
        return sum(weights.nbytes + bias.nbytes for weights, bias in layers)

    @property
    def observation_size(self) -> int:
        return self.layers[0][0].shape[0]

    @property
    def action_size(self) -> int:
        return self.layers[-1][0].shape[1]

    def values(self, observations: np.ndarray, averaged: bool = False) -> np.ndarray:
        """The network's outputs, of the newest weights or of the averaged ones.

        observations: (..., observation size) -> (..., actions)."""
        *layers, last = self.averaged if averaged and self.averaged else self.layers
        hidden = np.asarray(observations, np.float32)
        for weights, bias in layers:
            hidden = hidden @ weights + bias  # (..., units)
            hidden = np.maximum(hidden, 0.0) if self.activation == "relu" else np.tanh(hidden)
        weights, bias = last
        return hidden @ weights + bias  # (..., actions)

    def exploration(self, env_steps: int) -> float:
        """The probability of a random action after so many env steps."""
        return float(np.interp(env_steps, self._steps, self._probabilities))

    def act(self, observation, env_steps: int, rng: np.random.Generator | None) -> Decision:
        """The action on one observation: greedy if `rng` is None, else exploring."""
        values = self.values(np.array(observation, np.float32), averaged=rng is None)
        greedy = int(values.argmax())
        if rng is None:
            return Decision(greedy, values, True, 0.0)
        if self.kind == "action_logits":
            # Adding Gumbel noise and taking the largest draws from the softmax:
            # https://en.wikipedia.org/wiki/Gumbel_distribution#Gumbel_reparameterization_tricks
            action = int((values + rng.gumbel(size=values.shape)).argmax())
            shifted = values - values.max()
            log_probability = float(shifted[action] - np.log(np.exp(shifted).sum()))
            return Decision(action, values, action == greedy, log_probability)
        epsilon = self.exploration(env_steps)
        action = int(rng.integers(len(values))) if rng.random() < epsilon else greedy
        probability = epsilon / len(values) + (1 - epsilon) * (action == greedy)
        return Decision(action, values, action == greedy, float(np.log(probability)))


def _as_float32(layers) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(np.float32(weights), np.float32(bias)) for weights, bias in layers]


def _pack(layers) -> list[tuple[int, int, bytes, bytes]]:
    return [(*weights.shape, weights.tobytes(), bias.tobytes()) for weights, bias in layers]


def _unpack(packed) -> list[tuple[np.ndarray, np.ndarray]]:
    return [
        (np.frombuffer(weights, "<f4").reshape(rows, columns), np.frombuffer(bias, "<f4"))
        for rows, columns, weights, bias in packed
    ]


def untrained(
    observation_size: int,
    action_size: int,
    hidden: list[int],
    seed: int | None = 0,
    kind: str = "action_values",
) -> Policy:
    """A policy that knows nothing: it serves until the learner has published its first one."""
    rng = np.random.default_rng(seed)
    sizes = [observation_size, *hidden, action_size]
    layers = [
        (rng.uniform(-1, 1, (inputs, outputs)) / np.sqrt(inputs), np.zeros(outputs))
        for inputs, outputs in zip(sizes, sizes[1:])
    ]
    if kind == "action_values":
        return Policy(0, kind, "relu", layers, [(0, 1.0)])
    # A hundredth in the last layer: all actions are about as probable, whatever is observed.
    # https://iclr-blog-track.github.io/2022/03/25/ppo-implementation-details/ (detail 2)
    layers[-1] = (layers[-1][0] / 100, layers[-1][1])
    return Policy(0, kind, "tanh", layers)
