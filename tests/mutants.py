"""Wrong answers a student would write, and the points each of them should lose.

A mutant is the reference answer with a few replacements. `loses` names the test cells that must
fail; all others must pass.
"""

from __future__ import annotations

from dataclasses import dataclass, field

RUN = "run_one_episode"
ALL_OF_RUN = {
    "test_calls", "test_numbers", "test_ending", "test_result", "test_elsewhere", "test_learning",
}  # fmt: skip

GET = "action = client.get_action(episode_id, observation)"
STEP = "observation, reward, terminated, truncated, info = env.step(action)"
LOG = "client.log_returns(episode_id, reward)"
ADD = "total += reward"
START = "episode_id = client.start_episode(training_enabled=training_enabled)"
END = "client.end_episode(episode_id, observation, truncated=truncated and not terminated)"
LOOP = "while not (terminated or truncated):"


@dataclass
class Mutant:
    name: str
    loses: set[str]
    replace: list[tuple[str, str]] = field(default_factory=list)
    cell: str = RUN

    def answers(self, reference: dict[str, str]) -> dict[str, str]:
        source = reference[self.cell]
        for old, new in self.replace:
            assert old in source, f"{self.name}: {old!r} is not in the reference answer"
            source = source.replace(old, new)
        return {**reference, self.cell: source}


def lines(*parts: str, indent: int = 8) -> str:
    return ("\n" + " " * indent).join(parts)


CALLS = {"test_calls", "test_elsewhere", "test_learning"}
NUMBERS = {"test_numbers", "test_elsewhere", "test_learning"}
ENDING = {"test_ending", "test_elsewhere", "test_learning"}

SERVE_AND_LEARN = [
    Mutant("always asks about the first observation", CALLS | ENDING,
           [(STEP, "_, reward, terminated, truncated, info = env.step(action)")]),
    Mutant("asks about the observation before the latest", CALLS,
           [(GET, "action = client.get_action(episode_id, locals().get('before', observation))"),
            (STEP, lines("before = observation", STEP))]),
    Mutant("never logs a reward", NUMBERS, [(LOG, "pass")]),
    Mutant("logs the running total", NUMBERS,
           [(LOG, "client.log_returns(episode_id, total + reward)")]),
    Mutant("logs every reward twice", NUMBERS, [(LOG, lines(LOG, LOG))]),
    Mutant("logs the negative reward", NUMBERS, [(LOG, "client.log_returns(episode_id, -reward)")]),
    Mutant("logs only the sum, at the end", NUMBERS,
           [(LOG, "pass"), (END, lines("client.log_returns(episode_id, total)", END, indent=4))]),
    Mutant("leaves out the last reward", NUMBERS,
           [(LOG, lines("if not (terminated or truncated):", "    " + LOG))]),
    Mutant("logs a reward for the next action", NUMBERS,
           [(GET, lines(GET, "if total: client.log_returns(episode_id, reward)")), (LOG, "pass")]),
    Mutant("logs 1 whatever the reward was", {"test_elsewhere"},
           [(LOG, "client.log_returns(episode_id, 1.0)")]),
    Mutant("logs before the first action", ALL_OF_RUN | {"test_evaluate"},
           [(GET, lines("client.log_returns(episode_id, 0.0)", GET))]),
    Mutant("never ends the episode", ENDING | {"test_numbers", "test_evaluate"}, [(END, "pass")]),
    Mutant("ends the episode twice", ALL_OF_RUN | {"test_evaluate"},
           [(END, lines(END, END, indent=4))]),
    Mutant("ends the episode twice and looks away", ENDING,
           [(END, lines(END, "try:", "    " + END, "except Exception:", "    pass", indent=4))]),
    Mutant("ends before the last reward", ALL_OF_RUN | {"test_evaluate"},
           [(LOG, lines("if terminated or truncated:",
                        "    " + END, LOG)), ("    " + END + "\n    return", "    return")]),
    Mutant("ends with the observation before the last", ENDING,
           [(STEP, lines("last = observation", STEP)),
            (END, END.replace("observation,", "last,"))]),
    Mutant("ignores truncation", ENDING,
           [(END, "client.end_episode(episode_id, observation)")]),
    Mutant("calls every ending truncated", ENDING,
           [(END, "client.end_episode(episode_id, observation, truncated=True)")]),
    Mutant("plays on after truncation", ALL_OF_RUN, [(LOOP, "while not terminated:")]),
    Mutant("always plays 200 steps", ALL_OF_RUN | {"test_evaluate"},
           [(LOOP, "for _ in range(200):")]),
    Mutant("stops after 5 steps", CALLS | {"test_evaluate"},
           [(LOOP, "for _ in range(5):"), (ADD, lines(ADD, "if terminated or truncated: break"))]),
    Mutant("plays at random", CALLS | {"test_evaluate"}, [("env.step(action)", "env.step(env.action_space.sample())")]),
    Mutant("plays by its own rule and asks nobody", CALLS | {"test_numbers", "test_ending", "test_evaluate"},
           [(START, "episode_id = None"), (GET, "action = int(observation[2] > 0)"), (LOG, "pass"), (END, "pass")]),
    Mutant("plays by its own rule and logs it", CALLS,
           [(GET, lines("action = int(observation[2] + observation[-1] > 0)",
                        "client.log_action(episode_id, observation, action)"))]),
    Mutant("plays the opposite action", CALLS | {"test_evaluate"},
           [("env.step(action)", "env.step((action + 1) % env.action_space.n)")]),
    Mutant("asks about a rounded observation", CALLS,
           [(GET, "action = client.get_action(episode_id, observation.round(1))")]),
    Mutant("asks twice a step", CALLS | {"test_numbers", "test_evaluate"}, [(GET, lines(GET, GET))]),
    Mutant("starts an episode for every step", ALL_OF_RUN - {"test_result"} | {"test_evaluate"},
           [(START, "pass"), (GET, lines(START, GET)), (END, "pass"), (LOG, lines(LOG, END))]),
    Mutant("resets once more at the end", ALL_OF_RUN,
           [("    return total", "    env.reset(); return total")]),
    Mutant("never lets the server learn", CALLS,
           [(START, "episode_id = client.start_episode(training_enabled=False)")]),
    Mutant("always lets the server learn", {"test_evaluate"},
           [(START, "episode_id = client.start_episode()")]),
    Mutant("returns nothing", {"test_result", "test_elsewhere", "test_evaluate"},
           [("    return total", "    return None")]),
    Mutant("returns the number of steps", {"test_elsewhere"}, [(ADD, "total += 1")]),
    Mutant("returns only the last reward", {"test_result", "test_elsewhere", "test_evaluate"},
           [(ADD, "total = reward")]),
    Mutant("knows only CartPole's actions", {"test_elsewhere"},
           [("env.step(action)", "env.step(min(action, 1))")]),
    Mutant("solved by one good episode", {"test_solved"},
           [("return len", "return max(returns, default=0) >= 195 or len")], cell="solved"),
    Mutant("solved before there are twenty", {"test_solved"},
           [("len(returns) >= 20 and sum(returns[-20:]) / 20", "len(returns) > 0 and sum(returns[-20:]) / len(returns[-20:])")],
           cell="solved"),
    Mutant("solved only above 195", {"test_solved"}, [(">= 195", "> 195")], cell="solved"),
    Mutant("solved by the mean of all", {"test_solved"},
           [("sum(returns[-20:]) / 20", "sum(returns) / len(returns)")], cell="solved"),
    Mutant("evaluates with learning", {"test_evaluate"},
           [("training_enabled=False", "training_enabled=True")], cell="evaluate_policy"),
    Mutant("evaluates one episode less", {"test_evaluate"},
           [("range(episodes)", "range(episodes - 1)")], cell="evaluate_policy"),
    Mutant("returns the mean of the evaluation", {"test_evaluate"},
           [("return [", "return sum(["), ("range(episodes)]", "range(episodes)]) / episodes")],
           cell="evaluate_policy"),
]  # fmt: skip
