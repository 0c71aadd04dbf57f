"""Right answers in many words: templates with gaps, and for each gap the phrases that may stand there.

What students write differs in names, loops, order and types, and hardly in what happens. A template's
gaps are lines such as `<loop>`, or stand within a line; a choice fills one gap or several that belong
together. A phrase of several lines is indented as its gap is, and a gap left empty is no line.
"""

from __future__ import annotations

import math
import random
import re
import textwrap
from collections.abc import Iterator

Choice = dict[str, str]


def fill(template: str, phrases: Choice) -> str:
    """The template with its gaps filled, also those that a phrase brings along."""
    for _ in range(3):
        for gap, phrase in phrases.items():
            alone = re.compile(rf"^( *)<{gap}>\n", re.M)
            phrase = textwrap.dedent(phrase)
            template = alone.sub(
                lambda line, p=phrase: textwrap.indent(p, line[1]) + "\n" if p else "", template
            )
            template = template.replace(f"<{gap}>", phrase)
    assert not (left := re.search(r"<[a-z_]+>", template)), left
    return template


def answers(template: str, choices: list[list[Choice]], most: int) -> Iterator[str]:
    """At most so many different answers, drawn from all that there are, always the same ones."""
    many = math.prod(map(len, choices))
    different = set()
    for number in random.Random(1).sample(range(many), many):
        phrases = {}
        for choice in choices:  # the digits of a number, each to the base of its gap
            number, digit = divmod(number, len(choice))
            phrases |= choice[digit]
        if (answer := fill(template, phrases)) not in different:
            different.add(answer)
            yield answer
        if len(different) == most:
            return


def one(gap: str, *phrases: str) -> list[Choice]:
    return [{gap: phrase} for phrase in phrases]


# -- a loop that plays, in lessons 1, 2 and 5 -------------------------------------------------------

LOOPS = [
    {"flags": "terminated = truncated = False", "loop": "while not (terminated or truncated):", "stop": ""},
    {"flags": "terminated, truncated = False, False", "loop": "while not terminated and not truncated:", "stop": ""},
    {"flags": "", "loop": "while True:", "stop": "if terminated or truncated:\n    break"},
    {"flags": "done = False", "loop": "while not done:", "stop": "done = terminated or truncated"},
    {"flags": "over = 0", "loop": "while over == 0:", "stop": "over += int(terminated) + int(truncated)"},
    {"flags": "going = True", "loop": "while going is True:", "stop": "if truncated or terminated:\n    going = False"},
    {"flags": "", "loop": "for _ in range(1_000_000):", "stop": "if any([terminated, truncated]):\n    break"},
]  # fmt: skip
BEGINNINGS = [
    {"begin": "observation, info = env.reset()\nepisode_id = client.start_episode(<training>)"},
    {"begin": "episode_id = client.start_episode(<training>)\nobservation, _ = env.reset()"},
    {"begin": "observation = env.reset()[0]\nepisode_id = client.start_episode(<training>)"},
]
ASKS = one(
    "ask",
    "action = client.get_action(episode_id, observation)",
    "action = int(client.get_action(episode_id, observation.tolist()))",
    "action = client.get_action(episode_id=episode_id, observation=list(observation))",
)
STEPS = one(
    "step",
    "observation, reward, terminated, truncated, info = env.step(action)",
    "answer = env.step(action)\nobservation, reward, terminated, truncated, info = answer",
    "following, reward, terminated, truncated, info = env.step(action)\nobservation = following",
)
PAYS = one(
    "pay",
    "client.log_returns(episode_id, reward)",
    "client.log_returns(episode_id, float(reward))",
    "if reward != 0:\n    client.log_returns(episode_id, reward)",
)
ENDS = one(
    "end",
    "client.end_episode(episode_id, observation, truncated=truncated)",
    "client.end_episode(episode_id, observation, truncated)",
    "client.end_episode(episode_id, observation, truncated=truncated and not terminated)",
    "client.end_episode(episode_id, observation, truncated=not terminated)",
    "if terminated:\n    client.end_episode(episode_id, observation)\nelse:\n"
    "    client.end_episode(episode_id, observation, truncated=True)",
)
SUMS = [
    {"zero": "total = 0.0", "add": "total += reward", "sum": "total"},
    {"zero": "rewards = []", "add": "rewards.append(reward)", "sum": "sum(rewards)"},
    {"zero": "total = 0", "add": "total = total + float(reward)", "sum": "float(total)"},
    {"zero": "total = np.float64(0)", "add": "total = np.add(total, reward)", "sum": "total"},
]
PLAY = [BEGINNINGS, LOOPS, ASKS, STEPS, PAYS, ENDS]
RUN_ONE_EPISODE = """
def run_one_episode(env, training_enabled=True):
    <begin>
    <zero>
    <flags>
    <loop>
        <ask>
        <step>
        <pay>
        <add>
        <stop>
    <end>
    return <sum>
"""
WITH_TRAINING = one(
    "training", "training_enabled=training_enabled", "training_enabled=bool(training_enabled)"
)

COUNTS = [
    {"zero": "won, lost = 0, 0", "count": 'won += info["event"] == "right scores"\nlost += info["event"] == "left scores"', "won": "won", "lost": "lost"},
    {"zero": "won = lost = 0", "count": "if reward == 1:\n    won += 1\nelif reward == -1:\n    lost += 1", "won": "won", "lost": "lost"},
    {"zero": "", "count": 'score = info["score"]', "won": "score[1]", "lost": "score[0]"},
    {"zero": "seen = []", "count": 'seen.append(info["event"])', "won": 'seen.count("right scores")', "lost": 'seen.count("left scores")'},
]  # fmt: skip
LENGTHS = [
    {"none": "steps = 0", "more": "steps += 1", "made": "steps"},
    {"none": "actions = []", "more": "actions.append(action)", "made": "len(actions)"},
]
PLAY_GAME = """
def play_game(env, training_enabled=True):
    <begin>
    <zero>
    <none>
    <flags>
    <loop>
        <ask>
        <step>
        <pay>
        <count>
        <more>
        <stop>
    <end>
    return <won>, <lost>, <made>
"""

# -- the shorter ones -------------------------------------------------------------------------------

SOLVED = """
def solved(returns):
    <before>
    <say>
"""
SOLVED_WORDS = [
    [{"before": f"{many}\n    return False", "say": say}
     for many in ("if len(returns) < 20:", "if not len(returns) >= 20:", "if 20 > len(returns):",
                  "n = len(returns)\nif n <= 19:", "if len(returns[-20:]) != 20:")
     for say in ("return sum(<latest>) / 20 >= 195", "return bool(np.mean(<latest>) >= 195)",
                 "return np.mean(<latest>) >= 195.0", "return not sum(<latest>) < 195 * 20",
                 "mean = sum(<latest>) / len(<latest>)\nreturn mean >= 195",
                 "import statistics\nreturn statistics.fmean(<latest>) >= 195",
                 "if sum(<latest>) >= 3900:\n    return True\nelse:\n    return False",
                 "total = 0\nfor one in <latest>:\n    total += one\nreturn total / 20 >= 195",
                 "return 1 if np.average(<latest>) >= 195 else 0",
                 "return sum(<latest>) * 0.05 >= 195 - 1e-9",
                 "return 195 <= np.sum(<latest>) / 20.0",
                 "return all([sum(<latest>) / 20 >= 195])")],
    one("latest", "returns[-20:]", "returns[len(returns) - 20:]", "list(returns)[-20:]",
        "np.array(returns)[-20:]", "[returns[-i] for i in range(1, 21)]"),
]  # fmt: skip

EVALUATE = """
<helper>
def evaluate_policy(env, episodes):
    <how>
"""
EVALUATE_WORDS = [
    [
        {"how": how}
        for call in ("<call>(env, training_enabled=False)", "<call>(env, False)", "<call>(env=env, training_enabled=False)", "<call>(env, training_enabled=0 > 1)")
        for how in (
            f"return [{call} for _ in range(episodes)]",
            f"returns = []\nfor _ in range(episodes):\n    returns.append({call})\nreturn returns",
            f"returns = []\nwhile len(returns) < episodes:\n    returns += [{call}]\nreturn returns",
            f"return list(map(lambda _: {call}, range(episodes)))",
            f"returns = np.zeros(episodes)\nfor i in range(episodes):\n    returns[i] = {call}\nreturn returns",
            f"returns = [0.0] * episodes\nfor i, _ in enumerate(returns):\n    returns[i] = {call}\nreturn returns",
            f"if episodes == 0:\n    return []\nreturn [{call}] + evaluate_policy(env, episodes - 1)",
            f"returns = ()\nfor _ in range(episodes):\n    returns += ({call},)\nreturn list(returns)",
            f"def once(number):\n    return {call}\nreturn [once(i) for i in range(episodes)]",
            f"returns = []\nfor episode in range(1, episodes + 1):\n    total = {call}\n    returns.append(float(total))\nreturn returns",
        )
    ],
    [
        {"helper": "", "call": "run_one_episode"},
        {"helper": "play = run_one_episode\n\n", "call": "play"},
        {"helper": "def quiet(*args, **kwargs):\n    return run_one_episode(*args, **kwargs)\n\n", "call": "quiet"},
        {"helper": "import functools\n\nrun = functools.partial(run_one_episode)\n\n", "call": "run"},
        {"helper": "class Player:\n    def __call__(self, *a, **k):\n        return run_one_episode(*a, **k)\n\n", "call": "Player()"},
        {"helper": "def again(env, training_enabled):\n    total = run_one_episode(env, training_enabled)\n    return total\n\n", "call": "again"},
        {"helper": "HOW_OFTEN = 0\n\ndef counted(*a, **k):\n    global HOW_OFTEN\n    HOW_OFTEN += 1\n    return run_one_episode(*a, **k)\n\n", "call": "counted"},
        {"helper": "players = {'mine': run_one_episode}\n\n", "call": 'players["mine"]'},
    ],
]  # fmt: skip

SHARE = """
def share_of_points(env, games):
    <zero>
    <rounds>
        <game>
    return <share>
"""
SHARE_WORDS = [
    one("rounds", "for _ in range(games):", "for number in range(1, games + 1):", "for i in list(range(games)):",
        "for game in [None] * games:"),
    [
        {"zero": "won = lost = 0", "game": f"more, less, _ = {call}\nwon += more\nlost += less"}
        for call in ("play_game(env, training_enabled=False)", "play_game(env, False)")
    ] + [
        {"zero": "won, lost = 0, 0", "game": "result = play_game(env, training_enabled=False)\nwon, lost = won + result[0], lost + result[1]"},
        {"zero": "all = []\nwon = lost = 0", "game": "all.append(play_game(env, training_enabled=False))\nwon = sum(a for a, *_ in all)\nlost = sum(b for _, b, _ in all)"},
    ],
    one("share", "won / (won + lost) if won + lost else 0.0", "0 if won + lost == 0 else won / (lost + won)",
        "won / max(1, won + lost)", "float(np.divide(won, max(won + lost, 1)))", "(won + lost and won / (won + lost)) or 0.0",
        "1 - lost / (won + lost) if (won or lost) else 0", "won / ((won + lost) or 1)"),
]  # fmt: skip

TRAIN = """
def train(env, steps):
    <guard>
    <zero>
    <loop>
        <game>
    return <made>
"""
TRAIN_WORDS = [
    [
        {"zero": zero, "loop": loop, "made": made, "after": after}
        for zero, loop, made, after in (
            ("made = 0", "while made < steps:", "made", "made += n"),
            ("made = 0", "while not made >= steps:", "int(made)", "made = made + n"),
            ("made = 0.0", "while steps > made:", "made", "made += n"),
            ("left = steps", "while left > 0:", "steps - left", "left -= n"),
            ("lengths = []", "while sum(lengths) < steps:", "sum(lengths)", "lengths.append(n)"),
            ("made = 0", "while True:", "made", "made += n\nif made >= steps:\n    break"),
            ("made = 0", "for _ in range(steps):", "made", "made += n\nif made >= steps:\n    return made"),
            ("made, more = 0, True", "while more:", "made", "made += n\nmore = made < steps"),
        )
    ],
    one("game", *(f"{take}\n<after>" for take in (
        "won, lost, n = play_game(env)", "_, _, n = play_game(env, True)", "n = play_game(env)[2]",
        "*_, n = play_game(env, training_enabled=True)", "result = play_game(env)\nn = result[-1]",
        "n = list(play_game(env, training_enabled=True))[2]", "n = int(play_game(env)[2])",
    ))),
    one("guard", "", "if steps <= 0:\n    return 0"),
]  # fmt: skip

# -- lesson 3 ---------------------------------------------------------------------------------------

REPLAY = """
def replay(episodes):
    <zero>
    <episodes>
        <start>
        <steps>
            <log>
            <pay>
            <more>
        <end>
        <most>
    return <made>
"""
REPLAY_WORDS = [
    [
        {"zero": "steps = 0", "more": "steps += 1", "most": "", "made": "steps"},
        {"zero": "total = 0", "more": "", "most": "total += len(episode)", "made": "total"},
        {"zero": "lengths = []", "more": "", "most": "lengths.append(len(episode))", "made": "sum(lengths)"},
        {"zero": "steps = np.int64(0)", "more": "steps = steps + 1", "most": "", "made": "int(steps)"},
    ],
    one("episodes", "for episode in episodes:", "for number, episode in enumerate(episodes):", "for episode in list(episodes):"),
    one("start", "episode_id = client.start_episode()", "episode_id = client.start_episode(training_enabled=True)"),
    [
        {"steps": "for step in episode:"},
        {"steps": "for i, step in enumerate(episode):"},
        {"steps": "for step in [dict(each) for each in episode]:"},
    ],
    one("log", 'client.log_action(episode_id, step["obs"], step["action"])',
        'client.log_action(episode_id, np.array(step["obs"]), int(step["action"]))',
        'observation, action = step["obs"], step["action"]\nclient.log_action(episode_id, observation, action)'),
    one("pay", 'client.log_returns(episode_id, step["reward"])', 'client.log_returns(episode_id, float(step["reward"]))',
        'if step["reward"]:\n    client.log_returns(episode_id, step["reward"])'),
    one("end", 'last = episode[-1]\nclient.end_episode(episode_id, last["obs"], truncated=last.get("truncated", False))',
        'client.end_episode(episode_id, step["obs"], truncated=step.get("truncated", False))',
        'client.end_episode(episode_id, episode[-1]["obs"], episode[-1].get("truncated", False))',
        'if "truncated" in step and step["truncated"]:\n    client.end_episode(episode_id, step["obs"], truncated=True)\nelse:\n    client.end_episode(episode_id, step["obs"])',
        'cut = bool(episode[-1].get("truncated"))\nclient.end_episode(episode_id, episode[-1]["obs"], truncated=cut)'),
]  # fmt: skip

WEIGHT = """
def importance_weight(pi, mu):
    <how>
"""
WEIGHT_WORDS = [
    [
        {"how": how}
        for ratio in ("p / q", "(p) / (q)", "p * (1 / q)", "float(p) / float(q)", "p * q ** -1", "np.divide(p, q)")
        for how in (
            *(f"<name> = {first}\nfor p, q in zip(pi, mu):\n    {take}\nreturn <name>"
              for first in ("1.0", "1", "np.float64(1)")
              for take in (f"<name> *= {ratio}", f"<name> = <name> * ({ratio})")),
            f"<name> = 1.0\nfor i in range(len(pi)):\n    p, q = pi[i], mu[i]\n    <name> *= {ratio}\nreturn <name>",
            f"<name> = [{ratio} for p, q in zip(pi, mu)]\nreturn float(np.prod(<name>))",
            f"import math\n<name> = math.prod({ratio} for p, q in zip(pi, mu))\nreturn <name>",
            f"import functools\n<name> = functools.reduce(lambda w, pq: w * (pq[0] / pq[1]), zip(pi, mu), 1.0)\np = q = 1\nreturn <name> * {ratio}",
            f"<name>, i = 1.0, 0\nwhile i < len(pi):\n    p, q, i = pi[i], mu[i], i + 1\n    <name> *= {ratio}\nreturn <name>",
        )
    ],
    one("name", "weight", "w", "product", "ratio", "rho"),
]  # fmt: skip

# -- lesson 4 ---------------------------------------------------------------------------------------

LEARNING_CURVE = """
import time
import gymnasium as gym
from serving.notebook.experiment import play_episode
from serving.running_server import a_policy_server

def learning_curve(run, seed, steps, report):
    env = gym.make("CartPole-v1", max_episode_steps=200)
    env.reset(seed=seed)
    <zero>
    with a_policy_server(4, 2, run=run, seed=seed) as client:
        began = <clock>
        <loop>
            <play>
            made += length
            <row>
            <stop>
    return curve
"""
LEARNING_CURVE_WORDS = [
    one("zero", "curve, made = [], 0", "curve = list()\nmade = 0", "made = 0\ncurve = []"),
    one("clock", "time.time()", "time.monotonic()", "time.perf_counter()"),
    [{"loop": "while made < steps:", "stop": ""}, {"loop": "while True:", "stop": "if made >= steps:\n    break"},
     {"loop": "for _ in range(steps):", "stop": "if made >= steps:\n    return curve"}],
    one("play", "total, length = play_episode(env, client)", "result = play_episode(env, client)\ntotal, length = result[0], result[1]"),
    [{"row": "\n".join(lines)} for row in ("[total, made, <clock> - began]", "[float(total), float(made), <clock> - began]")
     for lines in ((f"curve.append({row})", "report(length)"), ("report(length)", f"curve.append({row})"),
                   (f"curve += [{row}]", "report(int(length))"))],
]  # fmt: skip

SPREAD = """
def mean_and_spread(curves):
    <guard>
    <zero>
    <longest>
    <loop>
        values = <values>
        <mean>
    return <all>
"""
SPREAD_WORDS = [
    [{"zero": "means, spreads, numbers = [], [], []", "mean": f"means.append({mean})\nspreads.append({spread})\nnumbers.append(len(values))", "all": all}
     for mean in ("np.mean(values)", "sum(values) / len(values)", "float(np.average(values))")
     for spread in ("np.std(values)", "float(np.sqrt(np.mean((np.array(values) - np.mean(values)) ** 2)))",
                    "(sum((v - sum(values) / len(values)) ** 2 for v in values) / len(values)) ** 0.5")
     for all in ("means, spreads, numbers", "[means, spreads, numbers]")],
    [{"longest": "longest = max([len(curve) for curve in curves], default=0)", "loop": "for i in range(longest):", "values": "[curve[i] for curve in curves if len(curve) > i]"},
     {"longest": "longest = max([0] + [len(curve) for curve in curves])\ni = -1", "loop": "while i + 1 < longest:", "values": "[curve[(i := i + 1)] for curve in [c for c in curves if len(c) > i + 1][:1]] + [curve[i] for curve in [c for c in curves if len(c) > i][1:]]"},
     {"longest": "import itertools", "loop": "for row in itertools.zip_longest(*curves):", "values": "[one for one in row if one is not None]"},
     {"longest": "longest = 0\nfor curve in curves:\n    longest = max(longest, len(curve))", "loop": "for i in range(longest):", "values": "list(curve[i] for curve in curves if i < len(curve))"}],
    one("guard", "", "if not curves:\n    return [], [], []"),
]  # fmt: skip

CONCLUDE = """
import statistics
from serving.notebook.experiment import solved_at

def conclude(curves, logged, target=195.0):
    <start>
    for run, of in curves.items():
        pairs = <pairs>
        solved[run] = <count>
        episodes[run] = <median>([pair[0] for pair in pairs])
        seconds[run] = <median>([pair[1] for pair in pairs])
    <fewest>
    return {"solved": solved, "episodes": episodes, "seconds": seconds,
            "fewest_episodes": fewest(episodes), "fewest_seconds": fewest(seconds),
            "learns_from_logs": <logs>}
"""
CONCLUDE_WORDS = [
    one("start", "solved, episodes, seconds = {}, {}, {}", "solved = dict()\nepisodes = dict()\nseconds = dict()"),
    one("pairs", "[solved_at(curve, target) for curve in of]", "list(map(lambda curve: solved_at(curve, target), of))"),
    one("count", 'sum(pair[0] < float("inf") for pair in pairs)', "int(np.isfinite([pair[0] for pair in pairs]).sum())",
        'len([1 for pair in pairs if pair[1] != float("inf")])', "sum(1 for e, s in pairs if e <= len(max(of, key=len)))"),
    one("median", "np.median", "statistics.median"),
    one("fewest", 'def fewest(of):\n    name = min(of, key=of.get)\n    return None if of[name] == float("inf") else name',
        'def fewest(of):\n    best = min(of.values())\n    return next(run for run in of if of[run] == best) if np.isfinite(best) else None',
        'def fewest(of):\n    best = None\n    for run, number in of.items():\n        if number < (of[best] if best is not None else float("inf")):\n            best = run\n    return best'),
    one("logs", '[run for run in logged if logged[run]["updates"] > 0]', '[run for run, figures in logged.items() if figures["updates"]]',
        'list(filter(lambda run: logged[run]["updates"] >= 1, logged))'),
]  # fmt: skip

# -- all of them: lesson, exercise, template, choices, how many ------------------------------------

RIGHT = [
    ("01-serve-and-learn", "run_one_episode", RUN_ONE_EPISODE, [*PLAY, SUMS, WITH_TRAINING], 300),
    ("01-serve-and-learn", "solved", SOLVED, SOLVED_WORDS, 300),
    ("01-serve-and-learn", "evaluate_policy", EVALUATE, EVALUATE_WORDS, 300),
    ("02-pong", "play_game", PLAY_GAME, [*PLAY, COUNTS, LENGTHS, WITH_TRAINING], 100),
    ("02-pong", "share_of_points", SHARE, SHARE_WORDS, 100),
    ("02-pong", "train", TRAIN, TRAIN_WORDS, 100),
    ("03-learn-from-logs", "replay", REPLAY, REPLAY_WORDS, 300),
    ("03-learn-from-logs", "importance_weight", WEIGHT, WEIGHT_WORDS, 300),
    ("04-compare-algorithms", "learning_curve", LEARNING_CURVE, LEARNING_CURVE_WORDS, 100),
    ("04-compare-algorithms", "mean_and_spread", SPREAD, SPREAD_WORDS, 100),
    ("04-compare-algorithms", "conclude", CONCLUDE, CONCLUDE_WORDS, 100),
    ("05-your-own-environment", "run_one_episode", RUN_ONE_EPISODE.replace(", training_enabled=True", ""),
     [*PLAY, SUMS, one("training", "")], 100),
]  # fmt: skip
