"""Tells the server about episodes that it has kept from another time."""

import json
import pathlib

kept = pathlib.Path("kept.json")
kept.write_text(json.dumps([[{"obs": [0.1, 0.2, 0.3], "action": 1, "reward": 0.5}] * 40] * 4))


def replay(episodes):
    total = 0
    for episode in json.loads(kept.read_text()):
        episode_id = client.start_episode()
        for step in episode:
            client.log_action(episode_id, step["obs"], step["action"])
            client.log_returns(episode_id, step["reward"])
            total += 1
        client.end_episode(episode_id, episode[-1]["obs"])
    return total
