"""Episodes played back in a notebook: `watch(client)`.

The output is an iframe with everything inside, so it works wherever outputs of HTML do (JupyterLab,
VS Code, an exported page) and asks nobody for anything. It is the player of the policy server's page.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from pathlib import Path

import msgspec

from serving.client import PolicyClient
from serving.protocol import EpisodeNotFound, Transcript

SERVING = Path(__file__).resolve().parents[1]
LOOK = SERVING / "web" / "static"
PONG = SERVING / "javascript-pong" / "static"
MOST_NUMBERS = 200_000  # of observations, and ...
MOST_DRAWN = 2_000_000  # ... characters of drawings, in one output
DIGITS = 5  # of a number; a picture shows no more
WIDTH, HEIGHT = 100, 60  # of what a function of one's own draws on

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>An episode</title><style>{style}
body {{ max-width: 46rem; margin: 0; padding: 0.25rem; background: var(--background); }}
</style><body><div id="player"></div><script type="module">{script}
const given = {given};
const root = document.getElementById("player"), player = new Player(root);
const drawings = {{
  cartpole: () => new CartPoleDrawing(player.stage),
  pong: () => new PongDrawing(player.stage, {{ CourtView, makePhysics, court: given.court }}),
  numbers: () => new NumbersDrawing(player.stage),
  pictures: () => new PicturesDrawing(player.stage, given),
}};
root.dataset.drawn = given.drawn;
player.show(given.episode, drawings[given.drawn]());
document.addEventListener("keydown", (event) => event.target === document.body && player.key(event));
</script></body></html>"""


class Playback:
    """What `watch` returns: a notebook shows it as the last expression of a cell."""

    def __init__(self, episode: Transcript, pictures: list[str] | None = None):
        self.episode = episode
        self._pictures = pictures

    def __repr__(self) -> str:
        total = sum(self.episode.rewards)
        return f"episode {self.episode.episode_id}: {len(self.episode.actions)} steps, return {total:g}"

    def _repr_html_(self) -> str:
        page = html.escape(self.page())
        height = {"pong": 640, "cartpole": 420, "numbers": 480, "pictures": 640}[self.drawn]
        return (
            f'<iframe srcdoc="{page}" sandbox="allow-scripts" title="{html.escape(repr(self))}" '
            f'style="width: 100%; max-width: 48rem; height: {height}px; border: 0"></iframe>'
        )

    @property
    def drawn(self) -> str:
        """How: as `pictures` of one's own, `cartpole`, `pong`, or `numbers` over time."""
        if self._pictures is not None:
            return "pictures"
        numbers, actions = len(self.episode.observations[0]), max(self.episode.actions) + 1
        # An episode need not hold every action.
        return {
            4: "cartpole" if actions <= 2 else "numbers",
            8: "pong" if actions <= 3 else "numbers",
        }.get(numbers, "numbers")

    def page(self) -> str:
        """The whole page that plays the episode."""
        given = {"drawn": self.drawn, "episode": msgspec.to_builtins(self.episode)}
        given["episode"]["observations"] = [
            [float(f"{number:.{DIGITS}g}") for number in row] for row in self.episode.observations
        ]
        sources = [LOOK / "drawings.js", LOOK / "player.js"]
        if self.drawn == "pong":
            given["court"] = json.loads((SERVING / "pong" / "court.json").read_text())
            sources += [PONG / "physics.js", PONG / "court-view.js"]
        if self._pictures is not None:
            given |= {"pictures": self._pictures, "width": WIDTH, "height": HEIGHT}
        style = "\n".join((LOOK / name).read_text() for name in ("look.css", "player.css"))
        script = "\n".join(_inline(source) for source in sources)
        # "</script>" in a name or a drawing would end the script.
        return PAGE.format(
            style=style, script=script, given=json.dumps(given).replace("<", "\\u003c")
        )


def watch(
    client: PolicyClient,
    episode_id: str | None = None,
    draw: Callable[[list[float]], str] | None = None,
) -> Playback:
    """Plays back an episode that the policy server remembers: the latest one that has ended, or the
    one of this id.

    draw
        a function of your own, from an observation to an SVG picture of it, 100 wide and 60 high
        (https://developer.mozilla.org/docs/Web/SVG/Tutorial):

            def draw(observation):
                x = 50 + 40 * observation[0]  # from -1 .. 1 to 10 .. 90
                return f'<circle cx="{x}" cy="30" r="5" fill="orange" />'

            watch(client, draw=draw)

    CartPole is drawn as cart and pole, Pong as its court, and any other environment as its numbers
    over time. Of a very long episode the latest part is shown. Raises EpisodeNotFound if there is
    none.
    """
    episode = client.episode(episode_id) if episode_id is not None else _latest(client)
    if not episode.actions:
        raise EpisodeNotFound(f"episode {episode.episode_id!r} has no step yet")
    episode = _latest_steps(episode, MOST_NUMBERS // len(episode.observations[0]))
    if draw is None:
        return Playback(episode)
    pictures = [
        _picture(draw, observation, step) for step, observation in enumerate(episode.observations)
    ]
    characters = 0
    for back, picture in enumerate(reversed(pictures)):
        characters += len(picture)
        if characters > MOST_DRAWN:
            episode = _latest_steps(episode, max(1, back - 1))
            break
    return Playback(episode, pictures[-len(episode.observations) :])


def _latest(client: PolicyClient) -> Transcript:
    """The latest episode that has ended; one that is open if none has."""
    last = 1
    while True:
        episodes = client.episodes(last=last).episodes
        ended = [episode for episode in episodes if episode.ending is not None and episode.actions]
        if ended or len(episodes) < last:
            break
        last *= 4
    if not (ended or episodes):
        raise EpisodeNotFound("the server remembers no episode yet: play one first")
    return (ended or episodes)[-1]


def _latest_steps(episode: Transcript, most: int) -> Transcript:
    extra = len(episode.actions) - max(1, most)
    if extra <= 0:
        return episode
    cut = {
        name: getattr(episode, name)[extra:]
        for name in ("observations", "actions", "rewards", "sources", "policy_versions", "seconds")
    }
    return msgspec.structs.replace(episode, dropped_steps=episode.dropped_steps + extra, **cut)


def _picture(draw: Callable[[list[float]], str], observation: list[float], step: int) -> str:
    picture = draw(observation)
    if not isinstance(picture, str):
        raise TypeError(
            f"draw(observation) returned {picture!r} for step {step}: expected SVG as text, such as "
            '<circle cx="50" cy="30" r="5" />'
        )
    return picture


def _inline(source: Path) -> str:
    """A module's text as a part of a larger script."""
    text = re.sub(r"^import [^;]*;$", "", source.read_text(), flags=re.M)
    return re.sub(r"^export ", "", text, flags=re.M)
