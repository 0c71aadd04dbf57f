"""Answers in other words, right and wrong, to what lessons 02, 04 and 05 ask: all right ones are praised,
no wrong one is. (Those to lesson 03 are in test_learn_from_logs.py.) Looked at by the very functions
that check cells, released cells and examiners ask; a thread serves, nobody learns."""

from __future__ import annotations

import pytest
from checks import CHECKS, names_of
from grading import reference_answers
from light_server import light_servers  # noqa: F401 - a fixture
from mutants import COMPARE, PONG

from serving.exercises import pong

pytestmark = pytest.mark.usefixtures("light_servers")

LOOP = """
def play_game(env, training_enabled=True):
    observation, info = env.reset()
    episode_id = client.start_episode(training_enabled=training_enabled)
    won, lost, steps = 0, 0, 0
    terminated = truncated = False
    while not (terminated or truncated):
        action = client.get_action(episode_id, observation)
        observation, reward, terminated, truncated, info = env.step(action)
        client.log_returns(episode_id, reward)
        won += info["event"] == "right scores"
        lost += info["event"] == "left scores"
        steps += 1
    client.end_episode(episode_id, observation, truncated=truncated)
    return won, lost, steps
"""


def changed(*replace: tuple[str, str], source: str = LOOP) -> str:
    for old, new in replace:
        assert old in source, old
        source = source.replace(old, new)
    return source


WHILE = "while not (terminated or truncated):"
STEP = "observation, reward, terminated, truncated, info = env.step(action)"
END = "client.end_episode(episode_id, observation, truncated=truncated)"
COUNT = '        won += info["event"] == "right scores"\n        lost += info["event"] == "left scores"\n'
RIGHT_GAMES = {
    "as the table says": LOOP,
    "truncated unless terminated": changed((END, END.replace("=truncated", "=truncated and not terminated"))),
    "not terminated": changed((END, END.replace("=truncated", "=not terminated"))),
    "an endless loop with a break": changed((WHILE, "while True:"), ("        steps += 1", "        steps += 1\n        if terminated or truncated:\n            break")),
    "at most as many steps as a game has": changed((WHILE, "for _ in range(3000):"), ("        steps += 1", "        steps += 1\n        if terminated or truncated:\n            break")),
    "the score at the end": changed((COUNT, ""), ("    return won", '    lost, won = info["score"]\n    return won')),
    "by rewards": changed((COUNT, "        won += reward == 1\n        lost += reward == -1\n")),
    "a list of arrays": changed(("return won, lost, steps", "return [np.int64(won), np.float32(lost), np.array(steps)]")),
    "only rewards that are some": changed(("        client.log_returns(episode_id, reward)", "        if reward:\n            client.log_returns(episode_id, float(reward))")),
    "observations as lists": changed(("get_action(episode_id, observation)", "get_action(episode_id, observation.tolist())")),
    "actions as ints of numpy": changed(("env.step(action)", "env.step(np.int64(action))")),
    "a helper for a step": changed((STEP, "observation, reward, terminated, truncated, info = one(env, action)"), ("\ndef play_game", "\ndef one(env, action):\n    return env.step(action)\n\n\ndef play_game")),
    "an answer in one name": changed((STEP, "answer = env.step(action)\n        observation, reward, terminated, truncated, info = answer")),
    "starts before it resets": changed(("    observation, info = env.reset()\n", ""), ("    won, lost", "    observation, info = env.reset()\n    won, lost")),
}  # fmt: skip
WRONG_GAMES = {
    **{f"{steps} steps at most": changed((WHILE, f"for _ in range({steps}):"), ("        steps += 1", "        steps += 1\n        if terminated or truncated:\n            break")) for steps in (8, 50, 100, 200, 500, 699)},
    "until it terminates": changed((WHILE, "while not terminated:")),
    "until it is truncated": changed((WHILE, "while not truncated:")),
    "until both": changed((WHILE, "while not (terminated and truncated):")),
    "until a point": changed((WHILE, "while not (terminated or truncated or reward):"), ("    terminated = truncated = False", "    terminated = truncated = False\n    reward = 0")),
    "until somebody has five points": changed((WHILE, 'while max(info["score"]) < 5:')),
    "never says truncated": changed((END, "client.end_episode(episode_id, observation)")),
    "always says truncated": changed((END, END.replace("=truncated", "=True"))),
    "says terminated for truncated": changed((END, END.replace("=truncated", "=terminated"))),
    "truncated after 100 steps": changed((END, END.replace("=truncated", "=steps >= 100"))),
    "ignores training_enabled": changed(("start_episode(training_enabled=training_enabled)", "start_episode()")),
    "never trains": changed(("start_episode(training_enabled=training_enabled)", "start_episode(training_enabled=False)")),
    "turns training_enabled round": changed(("start_episode(training_enabled=training_enabled)", "start_episode(training_enabled=not training_enabled)")),
    "leaves out rewards of hits": changed(("        client.log_returns(episode_id, reward)", "        client.log_returns(episode_id, round(reward))")),
    "counts from the first point": changed(("won, lost, steps = 0, 0, 0", "won, lost, steps = 0, 0, 1")),
}  # fmt: skip


def praised(capsys, check, *functions) -> bool:
    capsys.readouterr()
    right = check(*functions)
    said = capsys.readouterr().out
    assert right == ("Well done!" in said) and right == ("✗" not in said), said
    return right


@pytest.mark.parametrize("name", RIGHT_GAMES)
def test_a_right_game_is_praised(name, capsys):
    names = names_of("02-pong", play_game=RIGHT_GAMES[name])
    assert praised(capsys, pong.check_play_game, names["play_game"])


@pytest.mark.parametrize("name", WRONG_GAMES)
def test_a_wrong_game_is_not(name, capsys):
    names = names_of("02-pong", play_game=WRONG_GAMES[name])
    assert not praised(capsys, pong.check_play_game, names["play_game"])


OTHER = {
    "share_of_points": {
        "one sum": "def share_of_points(env, games):\n    games = [play_game(env, False) for _ in range(games)]\n    won, lost = sum(g[0] for g in games), sum(g[1] for g in games)\n    return won / max(1, won + lost)",
        "arrays": "def share_of_points(env, games):\n    table = np.array([play_game(env, training_enabled=False) for _ in range(games)])\n    won, lost, _ = table.sum(axis=0)\n    return won / (won + lost) if won + lost else 0",
        "while": "def share_of_points(env, games):\n    won = points = 0\n    while games > 0:\n        w, l, _ = play_game(env, False)\n        won, points, games = won + w, points + w + l, games - 1\n    return 0.0 if points == 0 else won / points",
        "catches": "def share_of_points(env, games):\n    won = lost = 0\n    for _ in range(games):\n        w, l, n = play_game(env, training_enabled=False)\n        won += w\n        lost += l\n    try:\n        return won / (won + lost)\n    except ZeroDivisionError:\n        return 0",
        "a loop of its own": LOOP.replace("play_game(env, training_enabled=True)", "own(env)").replace("training_enabled=training_enabled", "training_enabled=False") + "\n\ndef share_of_points(env, games):\n    all = [own(env) for _ in range(games)]\n    won, lost, _ = map(sum, zip(*all))\n    return float(won) / float(won + lost) if won or lost else 0.0",
        "recursion": "def share_of_points(env, games, won=0, lost=0):\n    if not games:\n        return won / (won + lost) if won + lost else 0.0\n    w, l, _ = play_game(env, training_enabled=False)\n    return share_of_points(env, games - 1, won + w, lost + l)",
        "one minus what was lost": "def share_of_points(env, games):\n    won = lost = 0\n    for _ in range(games):\n        w, l, n = play_game(env, training_enabled=False)\n        won += w\n        lost += l\n    return 1 - lost / (won + lost) if won + lost else 0.0",
        "of numpy": "def share_of_points(env, games):\n    won, lost, _ = np.sum([play_game(env, training_enabled=False) for _ in range(games)], axis=0)\n    return np.float32(won / max(won + lost, 1))",
    },
    "train": {
        "adds up": "def train(env, steps):\n    made = 0\n    while made < steps:\n        made += play_game(env)[2]\n    return made",
        "counts down": "def train(env, steps):\n    left = steps\n    while left > 0:\n        left -= play_game(env, True)[-1]\n    return steps - left",
        "breaks": "def train(env, steps):\n    made = 0\n    while True:\n        if made >= steps:\n            break\n        won, lost, n = play_game(env, training_enabled=True)\n        made = made + n\n    return made",
        "a list": "def train(env, steps):\n    lengths = []\n    while sum(lengths) < steps:\n        *_, n = play_game(env)\n        lengths.append(n)\n    return sum(lengths)",
        "a for loop": "def train(env, steps):\n    made = 0\n    for _ in range(steps):\n        made += play_game(env)[2]\n        if made >= steps:\n            return made\n    return made",
        "recursion": "def train(env, steps):\n    n = play_game(env)[2]\n    return n if n >= steps else n + train(env, steps - n)",
        "numpy": "def train(env, steps):\n    made = np.int64(0)\n    while np.less(made, steps):\n        made += play_game(env)[2]\n    return made",
        "a float": "def train(env, steps):\n    made = 0.0\n    while made < steps:\n        won, lost, n = play_game(env)\n        made += n\n        print(made)\n    return made",
    },
}  # fmt: skip


@pytest.mark.parametrize("function, name", [(f, n) for f, of in OTHER.items() for n in of])
def test_other_words_for_the_games_functions_are_praised(function, name, capsys):
    names = names_of("02-pong", **{function: OTHER[function][name]})
    assert praised(capsys, getattr(pong, f"check_{function}"), names[function])


WRONG_TRAININGS = [
    ("share_of_points", "won / (won + lost) if won + lost else 0.0", wrong)
    for wrong in (
        "won", "0.0", "1.0", "lost / (won + lost) if won + lost else 0.0", "won / games", "won / max(1, lost)",
        "won / (won + lost)", "won / (won + lost) if won + lost else None", "won / (won + lost) if won + lost else 0.5",
        "round(won / (won + lost), 1) if won + lost else 0.0", "(won - lost) / (won + lost) if won + lost else 0.0",
    )
] + [
    ("train", "while made < steps:", wrong)
    for wrong in ("while made <= steps:", "while made < steps / 2:", "for _ in range(1):", "for _ in range(3):",
                  "while made + 10 < steps:", "while made == 0:")
] + [
    ("train", "    return made", wrong)
    for wrong in ("    return steps", "    return None", "    return length", "    return made - length", "    return made, steps")
]  # fmt: skip


@pytest.mark.parametrize("function, old, new", WRONG_TRAININGS)
def test_wrong_trainings_and_shares_are_not_praised(function, old, new, capsys):
    source = reference_answers("02-pong")[function]
    names = names_of("02-pong", **{function: changed((old, new), source=source)})
    assert not praised(capsys, getattr(pong, f"check_{function}"), names[function])


# What two curves of the same run and seed cannot show; the examiner makes more.
UNSEEN = {
    "seeds nothing but the server",
    "plays every environment alike",
    "stops an episode too soon",
}


@pytest.mark.parametrize(
    "lesson, mutant",
    [
        pytest.param(lesson, mutant, id=f"{lesson}-{mutant.name}")
        for lesson, mutants in (("02-pong", PONG), ("04-compare-algorithms", COMPARE))
        for mutant in mutants
        if (lesson, mutant.cell) in CHECKS and mutant.name not in UNSEEN
    ],
)
def test_no_mutant_is_praised_by_the_visible_check(lesson, mutant, capsys):
    """Does what costs points show in the check cell already?"""
    names = names_of(
        lesson, **{mutant.cell: mutant.answers(reference_answers(lesson))[mutant.cell]}
    )
    assert not praised(capsys, CHECKS[lesson, mutant.cell], names[mutant.cell])
