"""Wrong loops of lesson 01 that used to be praised by the check, or to get full marks, and what is
wrong with each: topics of `serving.exercises.serve_and_learn.RUN_TOPICS`."""

from __future__ import annotations

from right_answers import variant

END = "client.end_episode(episode_id, observation, truncated=truncated)"
LOG = "client.log_returns(episode_id, reward)"
ALL = {"calls", "numbers", "ending", "result", "elsewhere", "training"}
SWALLOWS = """
def run_one_episode(env, training_enabled=True):
    obs, _ = env.reset()
    eid = client.start_episode(training_enabled=training_enabled)
    total = 0.0
    try:
        while True:
            obs, reward, terminated, truncated, _ = env.step(client.get_action(eid, obs))
            client.log_returns(eid, reward)
            total += reward
            if terminated:
                break
    except Exception:
        pass
    client.end_episode(eid, obs, truncated=truncated)
    return total
"""
DROPS_THE_FIRST = """
def run_one_episode(env, training_enabled=True):
    obs, _ = env.reset()
    eid = client.start_episode(training_enabled=training_enabled)
    rewards, done = [], False
    while not done:
        obs, reward, terminated, truncated, _ = env.step(client.get_action(eid, obs))
        client.log_returns(eid, reward)
        rewards.append(reward)
        done = terminated or truncated
    client.end_episode(eid, obs, truncated=truncated)
    return sum(rewards[-200:])
"""


def limited(steps: int) -> str:
    return variant(loop=f"for _ in range({steps}):", add="total += reward\nif terminated or truncated: break")  # fmt: skip


WRONG = {
    "plays until it falls": (variant(loop="while not terminated:"), ALL),
    "plays until its time is up": (variant(loop="while not truncated:"), ALL),
    "never reports a truncation": (
        variant(end="client.end_episode(episode_id, observation)"), {"ending", "elsewhere"}),
    "reports a truncation always": (
        variant(end="client.end_episode(episode_id, observation, truncated=True)"),
        {"ending", "elsewhere"}),
    "reports the wrong way round": (
        variant(end="client.end_episode(episode_id, observation, truncated=terminated)"),
        {"ending", "elsewhere"}),
    "a truncation is what took 200 steps": (
        variant(end="client.end_episode(episode_id, observation, truncated=total >= 200)"),
        {"ending", "elsewhere"}),
    "ignores training_enabled": (
        variant(start="episode_id = client.start_episode()"), {"training"}),
    "never trains": (
        variant(start="episode_id = client.start_episode(training_enabled=False)"),
        {"calls", "elsewhere"}),
    "trains only for evaluation": (
        variant(start="episode_id = client.start_episode(training_enabled=not training_enabled)"),
        {"calls", "elsewhere", "training"}),
    "has no training_enabled": (
        variant(signature="def run_one_episode(env):",
                start="episode_id = client.start_episode()"), {"training"}),
    "makes 100 steps at most": (limited(100), {"calls", "elsewhere"}),
    "makes 200 steps at most": (limited(200), {"calls", "elsewhere"}),
    "makes 500 steps at most": (limited(500), {"calls"}),
    "stops at a return of 195": (
        variant(loop="while not (terminated or truncated) and total < 195:"), {"calls"}),
    "returns the steps": (variant(add="total += 1"), {"elsewhere"}),
    "returns 200 at most": (variant(returns="return min(total, 200.0)"), {"result"}),
    "returns the latest 200 rewards": (DROPS_THE_FIRST, {"result", "elsewhere"}),
    "returns nothing below zero": (variant(returns="return max(total, 0.0)"), {"elsewhere"}),
    "logs nothing below zero": (
        variant(log="if reward > 0: client.log_returns(episode_id, reward)"), {"elsewhere"}),
    "logs whole numbers": (variant(log="client.log_returns(episode_id, int(reward))"), {"elsewhere"}),
    "logs 1": (variant(log="client.log_returns(episode_id, 1)"), {"elsewhere"}),
    "logs no reward after 200 steps": (
        variant(log="if total < 200: client.log_returns(episode_id, reward)"),
        {"numbers"}),
    "logs no reward of a fall": (
        variant(log="if not terminated: client.log_returns(episode_id, reward)"),
        {"numbers", "elsewhere"}),
    "logs no reward of a last step": (
        variant(log="if not truncated: client.log_returns(episode_id, reward)"),
        {"numbers", "elsewhere"}),
    "resets once more": (variant(returns="env.reset(); return total"), ALL - {"training"}),
    "resets after a truncation": (
        variant(returns="truncated and env.reset(); return total"), ALL - {"training"}),
    "swallows what goes wrong": (SWALLOWS, {"calls", "elsewhere"}),
    "plays an action of its own now and then": (
        variant(get="action = client.get_action(episode_id, observation)\n"
                    "if np.random.random() < 0.05: action = env.action_space.sample()"),
        {"calls", "elsewhere"}),
    "plays its own actions when evaluated": (
        variant(get="action = client.get_action(episode_id, observation)\n"
                    "if not training_enabled: action = 1 - action"), {"calls"}),
    "plays two actions only": (
        variant(step="observation, reward, terminated, truncated, info = env.step(min(action, 1))"),
        {"elsewhere"}),
    "asks about four numbers only": (
        variant(get="action = client.get_action(episode_id, (list(observation) + [0.0])[:4])"),
        {"elsewhere"}),
    "asks less often in long episodes": (
        variant(get="if total < 200 or total % 2: action = client.get_action(episode_id, observation)"),
        {"calls", "numbers"}),
    "ends long episodes with the first observation": (
        variant(first="observation, info = env.reset(); start = observation",
                end="client.end_episode(episode_id, observation if total < 200 else start, "
                    "truncated=truncated)"), {"ending"}),
    "never ends what was truncated": (
        variant(end=f"if terminated: {END}"), {"ending", "numbers", "elsewhere"}),
}  # fmt: skip
