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
END = "client.end_episode(episode_id, observation, truncated=truncated)"
LOOP = "while not (terminated or truncated):"


@dataclass
class Mutant:
    """A wrong answer. `loses`: the tests it must lose; `may_lose`: those it loses too if the policy
    that it meets happens to be good enough for the mistake to show there."""

    name: str
    loses: set[str]
    replace: list[tuple[str, str]] = field(default_factory=list)
    cell: str = RUN
    may_lose: set[str] = field(default_factory=set)

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
    Mutant("plays on after truncation", ALL_OF_RUN, [(LOOP, "while not terminated:")],
           may_lose={"test_evaluate"}),
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
    Mutant("returns the number of steps", {"test_elsewhere", "test_evaluate"}, [(ADD, "total += 1")]),
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

# -- 02-pong ----------------------------------------------------------------------------------------

ALL_OF_PLAY = {
    "test_calls", "test_numbers", "test_ending", "test_result", "test_share", "test_evaluation",
    "test_train", "test_learning",
}  # fmt: skip
UNSEEN = {"test_calls", "test_evaluation", "test_train", "test_learning"}
UNTAUGHT = {"test_train", "test_learning"}
COUNTED_WRONG = {"test_result", "test_share"}

PONG_END = END
WON = 'won += info["event"] == "right scores"'
COUNTS = "return won, lost, steps"
EVALUATED = "play_game(env, training_enabled=False)"
SHARE = "won / (won + lost) if won + lost else 0.0"
RANDOM_GAME = """
def random_game(env):
    env.reset()
    won = lost = steps = 0
    terminated = truncated = False
    while not (terminated or truncated):
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        won += info["event"] == "right scores"
        lost += info["event"] == "left scores"
        steps += 1
    return won, lost, steps


def """
RANDOM_TEACHER = """
def watched_game(env):
    observation, info = env.reset()
    episode_id = client.start_episode()
    terminated = truncated = False
    steps = 0
    while not (terminated or truncated):
        action = env.action_space.sample()
        client.log_action(episode_id, observation, action)
        observation, reward, terminated, truncated, info = env.step(action)
        client.log_returns(episode_id, reward)
        steps += 1
    client.end_episode(episode_id, observation, truncated=truncated)
    return 0, 0, steps


def """


def server(name: str, *replace: tuple[str, str]) -> Mutant:
    return Mutant(name, {"test_server"}, list(replace), cell="start_server")


def play(name: str, loses: set[str], *replace: tuple[str, str]) -> Mutant:
    return Mutant(name, loses, list(replace), cell="play_game")


def share(name: str, loses: str, *replace: tuple[str, str]) -> Mutant:
    return Mutant(name, {loses}, list(replace), cell="share_of_points")


def train(name: str, loses: set[str], *replace: tuple[str, str]) -> Mutant:
    return Mutant(name, loses, list(replace), cell="train")


PONG = [
    server("serves CartPole's sizes", ("=3", "=2"), ("=8", "=4")),
    server("mixes up the sizes", ("=3", "=x"), ("=8", "=3"), ("=x", "=8")),
    server("forgets how many actions there are", (" --action-size=3", "")),
    server("keeps nothing", (" --checkpoint-file=pong", "")),
    server("forgets python", ("python ", "")),
    server("starts the page's server", ("simple_policy_server", "pong_web_server")),
    server("runs what there is not", ("DQN", "DQM")),
    play("asks about the observation before the latest", UNSEEN,
         (GET, "action = client.get_action(episode_id, locals().get('before', observation))"),
         (STEP, lines("before = observation", STEP))),
    play("plays at random", UNSEEN, ("env.step(action)", "env.step(env.action_space.sample())")),
    play("turns the actions round", UNSEEN, ("env.step(action)", "env.step((action + 1) % 3)")),
    play("follows the ball and logs it", UNSEEN,
         (GET, lines("action = 1 if observation[6] > 0 else 2",
                     "client.log_action(episode_id, observation, action)"))),
    play("follows the ball and tells nobody", UNSEEN | {"test_numbers", "test_ending"},
         (START, "pass"), (GET, "action = 1 if observation[6] > 0 else 2"), (LOG, "pass"),
         (PONG_END, "pass")),
    play("stops at the first point", UNSEEN, (LOOP, "while not (terminated or truncated or won or lost):")),
    play("plays on after truncation", ALL_OF_PLAY, (LOOP, "while not terminated:")),
    play("never lets the server learn", {"test_calls"} | UNTAUGHT,
         (START, "episode_id = client.start_episode(training_enabled=False)")),
    play("always lets the server learn", {"test_calls", "test_evaluation", "test_learning"},
         (START, "episode_id = client.start_episode()")),
    play("never logs a reward", {"test_numbers"} | UNTAUGHT, (LOG, "pass")),
    play("logs the reward of the step before", {"test_numbers"} | UNTAUGHT,
         (LOG, lines("client.log_returns(episode_id, locals().get('earned', 0.0))",
                     "earned = reward"))),
    play("leaves out the last reward", {"test_numbers"} | UNTAUGHT,
         (LOG, lines("if not (terminated or truncated):", "    " + LOG))),
    play("logs the score instead of the reward", {"test_numbers"} | UNTAUGHT,
         (LOG, 'client.log_returns(episode_id, info["score"][1] - info["score"][0])')),
    play("logs every reward twice", {"test_numbers"} | UNTAUGHT, (LOG, lines(LOG, LOG))),
    play("never ends the game", UNTAUGHT | {"test_numbers", "test_ending", "test_evaluation"},
         (PONG_END, "pass")),
    play("ends the game twice", ALL_OF_PLAY, (PONG_END, lines(PONG_END, PONG_END, indent=4))),
    play("ignores truncation", {"test_ending"} | UNTAUGHT,
         (PONG_END, "client.end_episode(episode_id, observation)")),
    play("calls every ending truncated", {"test_ending"} | UNTAUGHT,
         (PONG_END, "client.end_episode(episode_id, observation, truncated=True)")),
    play("ends with the observation before the last", {"test_ending"} | UNTAUGHT,
         (STEP, lines("last = observation", STEP)), (PONG_END, PONG_END.replace("observation,", "last,"))),
    play("counts only points won", COUNTED_WRONG, (COUNTS, "return won, 0, steps")),
    play("mixes up won and lost", COUNTED_WRONG, (COUNTS, "return lost, won, steps")),
    play("counts returned balls as points", COUNTED_WRONG, (WON, "won += reward > 0")),
    play("forgets the steps", COUNTED_WRONG | UNTAUGHT | {"test_evaluation"}, (COUNTS, "return won, lost")),
    play("returns the difference", COUNTED_WRONG | UNTAUGHT | {"test_evaluation"},
         (COUNTS, "return won - lost")),
    share("trains while it evaluates", "test_evaluation", (EVALUATED, "play_game(env)")),
    share("evaluates a random policy", "test_evaluation",
          ("def ", RANDOM_GAME), (EVALUATED, "random_game(env)")),
    share("plays one game less", "test_evaluation", ("range(games)", "range(games - 1)")),
    share("counts only points won, again", "test_share", (SHARE, "won")),
    share("counts games instead of points", "test_share",
          ("won += more_won", "won += more_won > more_lost"),
          ("lost += more_lost", "lost += more_won < more_lost")),
    share("averages the games' shares", "test_share",
          ("won += more_won", "won += more_won / max(1, more_won + more_lost)"), (SHARE, "won / games")),
    share("divides by the points lost", "test_share", (SHARE, "won / lost if lost else 0.0")),
    share("looks at the last game only", "test_share",
          ("won += more_won", "won = more_won"), ("lost += more_lost", "lost = more_lost")),
    share("reckons in per cent", "test_share", (SHARE, "100 * " + SHARE)),
    share("divides by nothing when nobody scores", "test_share", (SHARE, "won / (won + lost)")),
    train("trains without learning", UNTAUGHT, ("play_game(env)", "play_game(env, training_enabled=False)")),
    train("lets the server watch a random player", UNTAUGHT,
          ("play_game(env)", "watched_game(env)"), ("def ", RANDOM_TEACHER)),
    train("plays one game, whatever the steps", {"test_train"}, ("while made < steps", "if made < steps")),
    train("plays one game more", {"test_train"},
          ("    return made", "    return made + play_game(env)[2]")),
    train("returns what it was asked for", {"test_train"}, ("return made", "return steps")),
    train("returns nothing", {"test_train"}, ("    return made", "    return")),
]  # fmt: skip

# -- 04-compare-algorithms --------------------------------------------------------------------------

ALL_OF_CURVE = {"test_server", "test_episodes", "test_curve", "test_progress", "test_learning"}
SERVE = "with a_policy_server(4, 2, run=run, seed=seed) as client:"
PLAY = "total, length = play_episode(env, client)"
ROW = "curve.append([total, made, time.time() - began])"
TRAIN_MORE = "while made < steps:"


def curve(name: str, loses: set[str], *replace: tuple[str, str]) -> Mutant:
    return Mutant(name, loses, list(replace), cell="learning_curve")


def spread(name: str, *replace: tuple[str, str]) -> Mutant:
    return Mutant(name, {"test_spread"}, list(replace), cell="mean_and_spread")


def conclusion(name: str, *replace: tuple[str, str]) -> Mutant:
    return Mutant(name, {"test_conclusion"}, list(replace), cell="conclude")


COMPARE = [
    curve("always trains a DQN", {"test_server", "test_learning"}, ("run=run", 'run="DQN"')),
    curve("always takes the same seed", {"test_server", "test_learning"},
          (", seed=seed) as", ", seed=1) as")),
    curve("seeds nothing but the environment", {"test_server", "test_learning"},
          (", seed=seed) as", ") as")),
    curve("seeds nothing but the server", {"test_server", "test_learning"},
          ("    env.reset(seed=seed)  # the environment's luck; the server has a seed of its own\n", "")),
    curve("plays every environment alike", {"test_server", "test_learning"},
          ("env.reset(seed=seed)", "env.reset(seed=1)")),
    curve("mixes up the sizes", ALL_OF_CURVE, ("(4, 2,", "(2, 4,")),
    curve("a server for every episode", ALL_OF_CURVE,
          (SERVE, "if True:"), (PLAY, "with a_policy_server(4, 2, run=run, seed=seed) as client: " + PLAY)),
    curve("never stops its server", ALL_OF_CURVE,
          (SERVE, "client = serving.running_server.RunningServer(4, 2, run=run, seed=seed).start().client()\n"
                  "    if True:"), ("import time", "import time\n\nimport serving.running_server")),
    curve("makes one episode more", {"test_episodes", "test_learning"}, (TRAIN_MORE, "while made < steps or not curve or curve[-2:-1] and curve[-2][1] < steps:")),
    curve("stops an episode too soon", {"test_episodes", "test_learning"},
          (TRAIN_MORE, "while made < steps / 2:")),
    curve("counts episodes instead of steps", {"test_episodes", "test_learning"},
          (TRAIN_MORE, "while len(curve) < steps / 20:")),
    curve("evaluates instead of training", {"test_episodes", "test_learning"},
          ("def learning_curve", "def watch(client):\n    start = client.start_episode\n"
           "    client.start_episode = lambda: start(training_enabled=False)\n\n\ndef learning_curve"),
          ("        began", "        watch(client)\n        began")),
    curve("returns the mean instead of the return", {"test_curve"},
          (ROW, "curve.append([(sum(r[0] for r in curve) + total) / (len(curve) + 1), made, time.time() - began])")),
    curve("returns each episode's own steps", {"test_curve"}, ("[total, made,", "[total, length,")),
    curve("returns the time of day", {"test_curve"}, (" - began]", "]")),
    curve("times every episode on its own", {"test_curve"},
          (PLAY, lines("began = time.time()", PLAY, indent=12))),
    curve("returns only the returns", {"test_curve"}, (ROW, "curve.append(total)")),
    curve("returns nothing", {"test_curve"}, ("    return curve", "    return None")),
    curve("reports nothing", {"test_progress"}, ("report(length)", "pass")),
    curve("reports the steps so far", {"test_progress"}, ("report(length)", "report(made)")),
    curve("reports once, at the end", {"test_progress"},
          ("            report(length)\n", ""), ("    return curve", "    report(made)\n    return curve")),
    spread("cuts all to the shortest", ("max((len(curve) for curve in curves), default=0)",
                                        "min((len(curve) for curve in curves), default=0)")),
    spread("goes on with zeros", ("curve[i] for curve in curves if i < len(curve)",
                                  "curve[i] if i < len(curve) else 0.0 for curve in curves")),
    spread("goes on with the last value", ("curve[i] for curve in curves if i < len(curve)",
                                           "curve[min(i, len(curve) - 1)] for curve in curves")),
    spread("takes the variance", ("np.std(", "np.var(")),
    spread("takes the range", ("np.std(values)", "max(values) - min(values)")),
    spread("takes the median", ("np.mean(", "np.median(")),
    spread("counts all curves everywhere", ("numbers.append(len(values))", "numbers.append(len(curves))")),
    spread("fails without curves", (", default=0", "")),
    conclusion("knows the answer already", ("    return conclusion",
               '    return {**conclusion, "fewest_episodes": "DQN", "learns_from_logs": ["DQN"]}')),
    conclusion("takes the best seed", ("np.median(episodes)", "min(episodes)")),
    conclusion("takes the mean of the seeds", ("np.median(episodes)", "np.mean(episodes)")),
    conclusion("leaves out the seeds that failed", ("float(np.median(episodes))",
               'float(np.median([e for e in episodes if e < float("inf")] or [float("inf")]))')),
    conclusion("has another target", ("(curve, target)", "(curve, 150)")),
    conclusion("mixes up episodes and seconds", ("episodes, seconds = zip", "seconds, episodes = zip")),
    conclusion("takes the most", ("min(medians", "max(medians")),
    conclusion("names a run where all have failed", (' if medians[fewest] < float("inf") else None', "")),
    conclusion("counts all seeds as solved", ('sum(number < float("inf") for number in episodes)', "len(episodes)")),
    conclusion("believes that all learn from logs", (' if figures["updates"] > 0', "")),
    conclusion("takes logged steps for learning", ('figures["updates"] > 0', 'figures["logged_steps"] > 0')),
]  # fmt: skip
