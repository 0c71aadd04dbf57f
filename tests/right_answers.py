"""Right answers to `run_one_episode` of lesson 01, written as different people would write them."""

from __future__ import annotations

HEAD = "import numpy as np\n\n"


def variant(
    end: str = "client.end_episode(episode_id, observation, truncated=truncated)",
    log: str = "client.log_returns(episode_id, reward)",
    get: str = "action = client.get_action(episode_id, observation)",
    step: str = "observation, reward, terminated, truncated, info = env.step(action)",
    start: str = "episode_id = client.start_episode(training_enabled=training_enabled)",
    add: str = "total += reward",
    returns: str = "return total",
    first: str = "observation, info = env.reset()",
    loop: str = "while not (terminated or truncated):",
    begin: str = "total, terminated, truncated = 0.0, False, False",
    signature: str = "def run_one_episode(env, training_enabled=True):",
) -> str:
    """The usual answer, in which one or two lines are somebody else's."""
    return HEAD + "\n".join(
        [signature, *("    " + line for line in (first, start, begin, loop)),
         *("        " + part for line in (get, step, log, add) for part in line.split("\n")),
         *("    " + line for line in (end, returns))]
    )  # fmt: skip


WHILE_TRUE = """
def run_one_episode(env, training_enabled=True):
    obs, _ = env.reset()
    eid = client.start_episode(training_enabled=training_enabled)
    rewards = []
    while True:
        obs, reward, terminated, truncated, _ = env.step(client.get_action(eid, obs))
        client.log_returns(eid, reward)
        rewards.append(reward)
        if terminated or truncated:
            break
    client.end_episode(eid, obs, truncated)
    return sum(rewards)
"""
ENDS_IN_THE_LOOP = """
def run_one_episode(env, training_enabled=True):
    obs, info = env.reset()
    eid = client.start_episode(training_enabled=training_enabled)
    total = 0
    while True:
        action = client.get_action(eid, obs)
        obs, reward, terminated, truncated, info = env.step(action)
        total = total + reward
        client.log_returns(eid, reward, info)
        if terminated:
            client.end_episode(eid, obs)
            return total
        if truncated:
            client.end_episode(eid, obs, truncated=True)
            return total
"""
HELPERS = """
def ask(eid, obs):
    return client.get_action(eid, obs)

def tell(eid, reward):
    client.log_returns(eid, reward)

def one_step(env, eid, obs):
    obs, reward, terminated, truncated, _ = env.step(ask(eid, obs))
    tell(eid, reward)
    return obs, reward, terminated, truncated

def run_one_episode(env, training_enabled=True):
    obs, _ = env.reset()
    eid = client.start_episode(training_enabled=training_enabled)
    total, over = 0.0, False
    while not over:
        obs, reward, terminated, truncated = one_step(env, eid, obs)
        total += reward
        over = terminated or truncated
    client.end_episode(eid, obs, truncated=truncated)
    return total
"""
A_CLASS = """
class Player:
    def __init__(self, env, training_enabled):
        self.env, self.total = env, 0.0
        self.observation, _ = env.reset()
        self.id = client.start_episode(training_enabled=training_enabled)

    def step(self):
        action = client.get_action(self.id, self.observation)
        self.observation, reward, terminated, self.truncated, _ = self.env.step(action)
        client.log_returns(self.id, reward)
        self.total += reward
        return terminated or self.truncated

    def end(self):
        client.end_episode(self.id, self.observation, truncated=self.truncated)
        return self.total

def run_one_episode(env, training_enabled=True):
    player = Player(env, training_enabled)
    while not player.step():
        pass
    return player.end()
"""
A_GENERATOR = """
def steps(env, training_enabled):
    obs, _ = env.reset()
    eid = client.start_episode(training_enabled=training_enabled)
    ended = False
    while not ended:
        obs, reward, terminated, truncated, _ = env.step(client.get_action(eid, obs))
        client.log_returns(eid, reward)
        ended = terminated | truncated
        yield reward
    client.end_episode(eid, obs, truncated=truncated)

def run_one_episode(env, training_enabled=True):
    return sum(steps(env, training_enabled))
"""
RECURSIVE = """
def play(env, eid, obs):
    total = 0.0
    for _ in range(100):  # as deep as that recursion must not go
        obs, reward, terminated, truncated, _ = env.step(client.get_action(eid, obs))
        client.log_returns(eid, reward)
        total += reward
        if terminated or truncated:
            client.end_episode(eid, obs, truncated=truncated)
            return total
    return total + play(env, eid, obs)

def run_one_episode(env, training_enabled=True):
    obs, _ = env.reset()
    return play(env, client.start_episode(training_enabled=training_enabled), obs)
"""
OWN_ID = """
import itertools

count = itertools.count()

def run_one_episode(env, training_enabled=True):
    eid = f"episode-{'training' if training_enabled else 'evaluation'}-{next(count)}"
    client.start_episode(eid, training_enabled)
    obs, _ = env.reset()
    total, done = 0.0, False
    while not done:
        obs, reward, terminated, truncated, _ = env.step(client.get_action(eid, obs))
        client.log_returns(eid, reward)
        total, done = total + reward, terminated or truncated
    client.end_episode(eid, obs, truncated=truncated)
    return total
"""
A_DECORATOR = """
import functools, time

def timed(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        began = time.time()
        try:
            return function(*args, **kwargs)
        finally:
            wrapper.seconds = time.time() - began
    return wrapper

@timed
"""
AN_ALIAS = """
def run_one_episode(env, training_enabled=True):
    server, done, total = client, False, 0.0
    obs = env.reset()[0]
    eid = server.start_episode(training_enabled=training_enabled)
    while not done:
        action = server.get_action(eid, obs)
        result = env.step(action)
        obs, reward, done, total = result[0], result[1], result[2] or result[3], total + result[1]
        server.log_returns(eid, reward)
    server.end_episode(eid, obs, result[3])
    return total
"""
END_AND = "client.end_episode(episode_id, observation, truncated=truncated and not terminated)"

RIGHT = {
    "the lesson's own": variant(),
    "truncated, but not where it fell": variant(end=END_AND),
    "truncated unless it fell": variant(
        end="client.end_episode(episode_id, observation, truncated=not terminated)"
    ),
    "truncated by position": variant(end="client.end_episode(episode_id, observation, truncated)"),
    "truncated as a number": variant(
        end="client.end_episode(episode_id, observation, truncated=int(truncated))"
    ),
    "two ways to end": variant(
        end="(client.end_episode(episode_id, observation, truncated=True) if truncated "
        "else client.end_episode(episode_id, observation))"
    ),
    "while True, and out": WHILE_TRUE,
    "ends and returns in the loop": ENDS_IN_THE_LOOP,
    "done": variant(
        begin="total, done = 0.0, False", loop="while not done:",
        add="total += reward; done = terminated or truncated",
    ),
    "two conditions": variant(loop="while not terminated and not truncated:"),
    "neither": variant(loop="while terminated == False and truncated == False:"),
    "helper functions": HELPERS,
    "a class": A_CLASS,
    "a generator": A_GENERATOR,
    "recursion": RECURSIVE,
    "a decorator": A_DECORATOR + variant().removeprefix(HEAD),
    "another name for client": AN_ALIAS,
    "ids of their own": OWN_ID,
    "the action as an int": variant(step="observation, reward, terminated, truncated, info = env.step(int(action))"),
    "the action as an array's number": variant(
        get="action = np.asarray(client.get_action(episode_id, observation))",
        step="observation, reward, terminated, truncated, info = env.step(action.item())",
    ),
    "the action as numpy has it": variant(
        get="action = np.int64(client.get_action(episode_id, observation))"
    ),
    "observations as lists": variant(
        get="action = client.get_action(episode_id, observation.tolist())",
        end="client.end_episode(episode_id, list(observation), truncated=truncated)",
    ),
    "observations as other arrays": variant(
        get="action = client.get_action(episode_id, np.asarray(observation, dtype=np.float64))",
        end="client.end_episode(episode_id, tuple(observation), truncated=truncated)",
    ),
    "rewards as floats": variant(log="client.log_returns(episode_id, float(reward))"),
    "rewards as numpy has them": variant(log="client.log_returns(episode_id, np.float32(reward))"),
    "adds before it logs": variant(log="total += reward", add="client.log_returns(episode_id, reward)"),
    "logs in two halves": variant(
        log="client.log_returns(episode_id, reward / 2)\nclient.log_returns(episode_id, reward / 2)"
    ),
    "logs nothing where there was none": variant(
        log="if reward != 0:\n    client.log_returns(episode_id, reward)"
    ),
    "logs the step before the next action": variant(
        begin="total, terminated, truncated, reward = 0.0, False, False, None",
        get="if reward is not None: client.log_returns(episode_id, reward)\n"
        "action = client.get_action(episode_id, observation)",
        log="pass",
        end="client.log_returns(episode_id, reward); "
        "client.end_episode(episode_id, observation, truncated=truncated)",
    ),
    "a total of numpy's": variant(begin="total, terminated, truncated = np.float64(0), False, False"),
    "a total in an array": variant(
        begin="rewards, terminated, truncated = [], False, False",
        add="rewards.append(reward)", returns="return np.array(rewards).sum()",
    ),
    "a rounded total": variant(returns="return round(total, 6)"),
    "starts before it resets": variant(
        first="episode_id = client.start_episode(training_enabled=training_enabled)",
        start="observation, info = env.reset()",
    ),
    "training by position": variant(
        start="episode_id = client.start_episode(None, training_enabled)"
    ),
    "a seed and options": variant(first="observation, info = env.reset(seed=7, options={})"),
    "looks at the server": variant(add="total += reward; client.status() if total == 1 else None"),
    "more arguments": variant(
        signature="def run_one_episode(env, training_enabled=True, verbose=False, *ignored):"
    ),
    "prints a lot": variant(add="total += reward; print(action, reward, end='')"),
    "a for loop that counts": variant(
        loop="for t in __import__('itertools').count():",
        add="total += reward\nif terminated or truncated: break",
    ),
}  # fmt: skip
