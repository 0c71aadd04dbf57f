"""Environments that students might invent for lesson 05: right ones, and degenerate ones.

Sources, as they would stand in the notebook's cell `my_env`.
"""

from __future__ import annotations

from dataclasses import dataclass

TREASURE = '''
class MyEnv(gym.Env):
    """Sparse: a corridor, a map that says at which end the treasure is, a reward only there."""

    def __init__(self):
        self.observation_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.action_space = gym.spaces.Discrete(3)  # stay, left, right

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.steps = 0, 0
        self.treasure = int(self.np_random.choice([-4, 4]))
        return self.observe(), {}

    def observe(self):
        return np.array([self.place / 4, self.treasure / 4], np.float32)

    def step(self, action):
        self.place += (0, -1, 1)[action]
        self.steps += 1
        terminated = abs(self.place) == 4
        reward = (1.0 if self.place == self.treasure else -1.0) if terminated else 0.0
        return self.observe(), reward, terminated, self.steps == 60 and not terminated, {}
'''

PIG = '''
class MyEnv(gym.Env):
    """One number: what has been thrown in this turn. Throw on (a 1 loses it all) or put it aside."""

    def __init__(self):
        self.observation_space = gym.spaces.Box(0.0, 1.0, (1,), np.float32)
        self.action_space = gym.spaces.Discrete(2)  # throw, put aside

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.turn, self.thrown = 0, 0
        return self.observe(), {}

    def observe(self):
        return np.array([min(self.thrown / 40, 1.0)], np.float32)

    def step(self, action):
        die, reward = int(self.np_random.integers(1, 7)), 0.0
        if action == 0 and die > 1:
            self.thrown += die
        else:
            reward = self.thrown / 20 if action == 1 else 0.0
            self.turn, self.thrown = self.turn + 1, 0
        return self.observe(), reward, self.turn >= 10 or self.thrown > 200, False, {}
'''

RIGHT = {"treasure": TREASURE, "pig": PIG}

LEARNING = frozenset({"test_act", "test_solved", "test_observing"})
SERVED = frozenset({"test_loop", "test_served"})
NOT_LEARNABLE = LEARNING | SERVED
UNPLAYABLE = frozenset({"test_spaces", "test_seed", "test_episodes", "test_reward", "test_sizes"}) | NOT_LEARNABLE  # fmt: skip

LEFT = ("1 - self.minute / self.MINUTES", "max(0.0, 1 - self.minute / self.MINUTES)")
OBSERVE = "        return np.array([2 * self.bank - 1, here / self.ROOM, there / self.ROOM, left], np.float32)"
STEP = "        reward = -0.01 * self.waiting.sum()"
RETURN = "        return self.observe(), float(reward), False, self.minute == self.MINUTES, {}"


@dataclass(frozen=True)
class Degenerate:
    """The reference's environment with a few replacements, what it has to lose, and a word of what
    the student is told."""

    name: str
    loses: frozenset[str]
    says: str
    replace: list[tuple[str, str]]

    def source(self, reference: str) -> str:
        for old, new in self.replace:
            assert old in reference, f"{self.name}: {old!r} is not in the reference"
            reference = reference.replace(old, new)
        return reference


def answers(reward: str) -> list[tuple[str, str]]:
    return [(RETURN, RETURN.replace("float(reward)", reward))]


SEED = frozenset({"test_seed"})
DEGENERATE = [
    Degenerate("pays for nothing", {"test_reward"} | NOT_LEARNABLE, "paid for nothing",
               answers("1.0")),
    Degenerate("pays by chance", {"test_reward"} | NOT_LEARNABLE, "paid for nothing",
               answers("float(self.np_random.random())")),
    Degenerate("never pays", {"test_reward"} | NOT_LEARNABLE, "no reward at all", answers("0.0")),
    Degenerate("ends after one step", {"test_episodes"} | NOT_LEARNABLE, "after one step",
               [(RETURN, RETURN.replace("False, self.minute == self.MINUTES", "True, False"))]),
    Degenerate("never ends", {"test_episodes"} | NOT_LEARNABLE, "had not ended after 200 steps",
               [LEFT, (RETURN, RETURN.replace("self.minute == self.MINUTES", "False"))]),
    Degenerate("never ends if nobody crosses", {"test_episodes"} | NOT_LEARNABLE,
               "nothing but action 0",
               [LEFT, (RETURN, RETURN.replace("self.minute == self.MINUTES",
                                              "self.minute >= self.MINUTES and bool(action)"))]),
    Degenerate("draws from numpy's global generator", SEED, "self.np_random",
               [("self.np_random.random(2)", "np.random.random(2)")]),
    Degenerate("seeds numpy's global generator", SEED, "disturb each other",
               [("super().reset(seed=seed)", "super().reset(seed=seed); np.random.seed(seed)"),
                ("self.np_random.random(2)", "np.random.random(2)")]),
    Degenerate("forgets the seed", SEED, "self.np_random",
               [("super().reset(seed=seed)", "super().reset()")]),
    Degenerate("always takes the same seed", SEED, "super().reset(seed=seed)",
               [("super().reset(seed=seed)", "super().reset(seed=1)")]),
    Degenerate("pays more from game to game", SEED, "nothing outside of self",
               [("super().reset(seed=seed)", "super().reset(seed=seed); MyEnv.SEATS += 1"),
                (STEP, "        reward = self.SEATS + 0.01 * action")]),
    Degenerate("does not clear the quay", SEED, "the one before it",
               [("        self.waiting = self.np_random.integers(0, 4, 2)",
                 "        self.waiting = getattr(self, 'waiting', self.np_random.integers(0, 4, 2))")]),
    Degenerate("shares the quay with others", SEED, "disturb each other",
               [("self.waiting", "MyEnv.waiting")]),
    Degenerate("leaves its space", UNPLAYABLE, "leaves the space: number 1 is",
               [("here / self.ROOM", "here")]),
    Degenerate("observes in doubles", UNPLAYABLE, "holds float64",
               [("left], np.float32)", "left])")]),
    Degenerate("observes a list", UNPLAYABLE, "is a list", [("np.array([2", "list([2"),
               ("left], np.float32)", "left])")]),
    Degenerate("observes one number less", UNPLAYABLE, "has the shape (3,)",
               [(", left], np.float32", "], np.float32")]),
    Degenerate("always shows the same", {"test_spaces", "test_sizes"} | NOT_LEARNABLE,
               "sees always the same",
               [(OBSERVE, "        return np.zeros(4, np.float32)")]),
    Degenerate("accepts only one action", UNPLAYABLE, "step 0 (action 1): step() raised KeyError",
               [(STEP, "        reward = {0: -0.01}[int(action)] * self.waiting.sum()")]),
    Degenerate("starts its actions at 1", UNPLAYABLE, "expected 0",
               [("Discrete(2)", "Discrete(2, start=1)")]),
    Degenerate("has no bounds", UNPLAYABLE, "give bounds that are numbers",
               [("Box(-1.0, 1.0", "Box(-np.inf, np.inf")]),
    Degenerate("returns four things", UNPLAYABLE, "expected observation, reward",
               [("self.minute == self.MINUTES, {}", "{}")]),
    Degenerate("needs an argument", UNPLAYABLE, "has to work without arguments",
               [("def __init__(self)", "def __init__(self, config)")]),
]  # fmt: skip

# Right by themselves, but what is learned in them is no credit: (name, what it loses, what is said).
POINTLESS = [
    Degenerate("pays for one and the same action", frozenset({"test_observing"}),
               "what is observed does not matter", answers("float(action == 1)")),
    Degenerate("pays for the time of day", frozenset({"test_solved", "test_observing", "test_seed"}),
               "that is no clear difference",
               [("super().reset(seed=seed)",
                 "super().reset(seed=seed); MyEnv.games = getattr(MyEnv, 'games', 0) + 1"),
                (RETURN, RETURN.replace("float(reward)",
                                        "float(self.games / 100 + np.random.random())"))]),
]  # fmt: skip

for _name, _sign in (("more", 1), ("less", -1)):
    POINTLESS.append(
        Degenerate(f"pays {_name} from game to game", frozenset({"test_solved", "test_observing", "test_seed"}),
                   "that is no clear difference",
                   [("super().reset(seed=seed)",
                     "super().reset(seed=seed); MyEnv.games = getattr(MyEnv, 'games', 0) + 1"),
                    (RETURN, RETURN.replace("float(reward)",
                                            f"float({_sign} * self.games + 1e-9 * action)"))])
    )  # fmt: skip

# Tabular Q-learning from random actions: learns each of these environments in a second, without
# RLlib.
QUICK_LEARN = """
def learn(env_class, iterations=12):
    env, table, rng = env_class(), {}, np.random.default_rng(0)
    actions = int(env.action_space.n)

    def values(observation):
        return table.setdefault(tuple(np.round(4 * observation).astype(int)), np.zeros(actions))

    for iteration in range(iterations):
        steps = 0
        while steps < 2000:
            observation, _ = env.reset(seed=int(rng.integers(2**31)))
            done = False
            while not done:
                row, action = values(observation), int(rng.integers(actions))
                observation, reward, terminated, truncated, _ = env.step(action)
                future = 0.0 if terminated else 0.97 * values(observation).max()
                row[action] += 0.05 * (reward + future - row[action])
                done, steps = terminated or truncated, steps + 1

    def act(observation):
        return int(values(observation).argmax())

    return act
"""
