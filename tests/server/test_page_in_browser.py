"""The policy server's page in a real browser: Debian's Chromium, driven by Playwright.

Screenshots of every run are in the folder that the environment variable PAGE_SCREENSHOTS names.
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import time

import gymnasium as gym
import httpx
import numpy as np
import pytest
from browsers import NEEDS_CHROMIUM, TOUCH, asks_nobody_else, paddle_on, pages
from leftovers import free_port
from playwright.sync_api import Page, expect

from serving.client import PolicyClient
from serving.policy import Policy
from serving.running_server import RunningServer

DESKTOP = {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"}
PHONE = {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", **TOUCH}
ON_ITS_SIDE = {"viewport": {"width": 844, "height": 390}, "color_scheme": "dark", **TOUCH}

pytestmark = NEEDS_CHROMIUM

# Where the cart stands (m) and how the pole leans (rad), read from what is drawn.
CART = """() => {
  const moved = document.querySelector("#player .cart").transform.baseVal.consolidate().matrix;
  const turned = document.querySelector("#player .pole").transform.baseVal.consolidate().matrix;
  return [moved.e / 100, Math.atan2(turned.b, turned.a)];
}"""

PADDLE = paddle_on("#player canvas")

# On a machine that has one, too, the page finds that the processor draws.
NO_GRAPHICS_CARD = """
  const context = HTMLCanvasElement.prototype.getContext;
  HTMLCanvasElement.prototype.getContext = function (kind, ...options) {
    return kind === "webgl" ? null : context.call(this, kind, ...options);
  };
"""


@pytest.fixture
def open_page(a_browser, request):
    """Opens pages; none of them may complain, or ask another host for anything."""
    with pages(a_browser, request, "PAGE_SCREENSHOTS", asks_nobody_else, **DESKTOP) as open_:
        yield open_


@pytest.fixture(scope="module")
def a_server():
    """Acts, and does not learn; a few games of CartPole have been played."""
    with RunningServer(4, 2, learner=False) as server:
        for seed in range(3):
            play(server.client(), "CartPole-v1", seed)
        yield server


def play(client: PolicyClient, name: str, seed: int, most: int = 500) -> list[list[float]]:
    """A game; what the simulator said it looked like, a row a step and one more at the end."""
    env = gym.make(name)
    observation, _ = env.reset(seed=seed)
    seen, over = [observation.tolist()], False
    episode_id = client.start_episode(f"{name}-{seed}")
    while not over and len(seen) <= most:
        action = client.get_action(episode_id, observation)
        observation, reward, terminated, truncated, _ = env.step(action)
        client.log_returns(episode_id, reward)
        seen.append(observation.tolist())
        over = terminated or truncated
    client.end_episode(episode_id, observation, truncated=not over)
    return seen


def make_step(client: PolicyClient, episode_id: str, step: int) -> None:
    """A step of an episode, whose cart is a decimetre further to the right with each."""
    client.get_action(episode_id, [step / 10, 0, 0, 0])
    client.log_returns(episode_id, 1.0)


def choose(page: Page, episode_id: str) -> None:
    page.click(f"#latest [data-episode='{episode_id}']")
    page.wait_for_selector(f"#player[data-episode='{episode_id}']")
    page.locator("#player .picture").focus()
    page.keyboard.press("Home")  # which ends playing, too


def at(page: Page) -> int:
    return int(page.locator("#player").get_attribute("data-step"))


def test_each_drawn_frame_is_the_simulators(a_server, open_page):
    """Do cart and pole stand, step by step, where the simulator had them and the transcript says?"""
    seen = play(a_server.client(), "CartPole-v1", 11)
    transcript = a_server.client().episode("CartPole-v1-11")
    page = open_page(a_server.address)
    choose(page, "CartPole-v1-11")
    assert page.locator("#player").get_attribute("data-drawn") == "cartpole"
    for step, (simulated, told) in enumerate(zip(seen, transcript.observations, strict=True)):
        assert at(page) == step
        place, angle = page.evaluate(CART)
        for expected in (simulated, told):
            assert math.isclose(place, expected[0], abs_tol=1e-5)
            assert math.isclose(angle, expected[2], abs_tol=1e-5)
        if step < len(transcript.actions):
            expect(page.locator(".told").first).to_contain_text(
                f"action {transcript.actions[step]}"
            )
        page.keyboard.press("ArrowRight")
    assert at(page) == len(seen) - 1
    expect(page.locator(".told").first).to_contain_text("terminated")


def test_what_came_between_two_pictures_is_drawn_too(a_server, open_page):
    """Where few pictures are drawn: do fainter poles stand where the transcript has them in between?"""
    episode = a_server.client().episode("CartPole-v1-0")
    page = open_page(a_server.address)
    way, nothing = page.evaluate(
        """async (episode) => {
          const { CartPoleDrawing } = await import("./page/look/drawings.js");
          const stage = document.createElement("div");
          const drawing = new CartPoleDrawing(stage);
          return [[8, 2], [8]].map((steps) => {
            drawing.draw(episode, ...steps);
            return stage.querySelector(".between").getAttribute("d");
          });
        }""",
        {"observations": episode.observations, "actions": episode.actions},
    )
    assert nothing == ""
    poles = [[float(n) for n in pole] for pole in re.findall(r"M(\S+) 0l(\S+) (\S+?)(?=M|$)", way)]
    assert len(poles) == 5
    for (place, x, y), (position, _, angle, _) in zip(
        poles, episode.observations[3:8], strict=True
    ):
        assert math.isclose(place, 100 * position, abs_tol=0.06)
        assert math.isclose(math.atan2(x, -y), angle, abs_tol=0.002)


def test_keys_play_pause_step_and_change_the_speed(a_server, open_page):
    """Can an episode be played back without a mouse?"""
    page = open_page(a_server.address)
    choose(page, "CartPole-v1-0")
    page.keyboard.press("-")
    page.keyboard.press("-")
    page.keyboard.press("-")
    expect(page.get_by_label("Speed")).to_have_value("0.1")
    page.keyboard.press("Space")
    page.wait_for_selector("#player[data-playing=true]")
    expect(page.locator("#player")).not_to_have_attribute("data-step", "0")
    page.keyboard.press("Space")
    page.wait_for_selector("#player[data-playing=false]")
    step = at(page)
    page.wait_for_timeout(400)  # two steps, if it still played
    assert at(page) == step
    page.keyboard.press("ArrowLeft")
    assert at(page) == step - 1
    page.keyboard.press("End")
    assert at(page) == len(a_server.client().episode("CartPole-v1-0").actions)


def test_an_episode_is_followed_while_it_is_played(open_page):
    """Does the picture follow the present episode as it goes on, and then the next one?"""
    with RunningServer(4, 2, learner=False) as server:
        page = open_page(server.address)
        client = server.client()
        for name in ("first", "second"):
            client.start_episode(name)
            for step in range(6):
                make_step(client, name, step)
                if step == 0:
                    page.wait_for_selector(f"#player[data-episode='{name}']")
            # The sixth reward travels with the next message.
            page.wait_for_selector(f"#player[data-episode='{name}'][data-step='5']")
            assert math.isclose(page.evaluate(CART)[0], 0.5, abs_tol=1e-5)
            client.end_episode(name, [0.6, 0, 0, 0])
            expect(page.locator("#watched")).to_contain_text("ended: terminated")


def test_an_episode_that_was_interrupted_is_left_for_the_next_one(open_page):
    """Whose kernel is interrupted leaves an episode open, and plays another one: is that one followed?"""
    with RunningServer(4, 2, learner=False) as server:
        page = open_page(server.address)
        client = server.client()
        for name in ("interrupted", "next"):
            client.start_episode(name)
            for step in range(4):
                make_step(client, name, step)
            page.wait_for_selector(f"#player[data-episode='{name}'][data-step='3']")
        page.wait_for_selector("#player[data-playing=true]")  # and it waits for what comes next
        client.get_action("next", [0.4, 0, 0, 0])
        page.wait_for_selector("#player[data-step='4']")


@pytest.mark.parametrize("size", [DESKTOP, PHONE, ON_ITS_SIDE], ids=["desktop", "phone", "side"])
def test_pong_is_its_court(open_page, size):
    """Is an episode of Pong drawn as its court, the paddle where the transcript has it?"""
    with RunningServer(8, 3, learner=False) as server:
        client = server.client()
        heights = [-0.5, 0.0, 0.6]
        client.start_episode("game")
        for height in heights:
            client.get_action("game", [0.2, -0.1, 0.6, 0.3, height, 0.1, 0, 0])
        client.end_episode("game", [0.2, -0.1, 0.6, 0.3, 0.0, 0.1, 0, 0])
        page = open_page(server.address, **size)
        choose(page, "game")
        page.wait_for_selector("#player[data-drawn=pong]")
        for step, height in enumerate(heights):
            expect(page.locator("#player")).to_have_attribute("data-step", str(step))
            assert abs(page.evaluate(PADDLE, "right") - (height + 1) * 200) < 1.5
            page.keyboard.press("ArrowRight")


def test_any_environment_is_its_numbers_over_time(open_page):
    """Are the observations of an environment that the page does not know drawn over time, with the
    numbers of the transcript?"""
    with RunningServer(6, 3, learner=False) as server:
        seen = play(server.client(), "Acrobot-v1", 1, most=120)
        page = open_page(server.address)
        choose(page, "Acrobot-v1-1")
        assert page.locator("#player").get_attribute("data-drawn") == "numbers"
        assert page.locator("#player .picture polyline").count() == 6
        for _ in range(7):
            page.keyboard.press("ArrowRight")
        shown = page.locator("#player .picture circle").evaluate_all(
            "dots => dots.map(d => +d.dataset.value)"
        )
        assert all(math.isclose(a, b, abs_tol=1e-5) for a, b in zip(shown, seen[7], strict=True))


@pytest.mark.parametrize("size", [DESKTOP, PHONE, ON_ITS_SIDE], ids=["desktop", "phone", "side"])
def test_it_says_what_the_server_does(a_server, open_page, size):
    """Are state, figures, a refused call and who plays there, within the width of the screen?"""
    client = a_server.client()
    with pytest.raises(ValueError, match="observation has 2"):
        client.get_action(client.start_episode(), [1, 2])
    page = open_page(a_server.address, **size)
    expect(page.locator("#state")).to_contain_text("idle")
    status = client.status()
    expect(page.locator("#episodes")).to_have_text(str(status.episodes))
    expect(page.locator("#steps")).to_have_text(f"{status.env_steps:,}")
    expect(page.locator("#refused")).to_contain_text("observation has 2 numbers: expected 4")
    expect(page.locator("#playing")).to_contain_text("0 steps, return 0")
    expect(page.locator("#curve")).to_have_attribute("aria-label", re.compile("mean return"))
    assert page.locator("#curve .means").get_attribute("points").count(",") >= 3
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0


def test_a_person_plays_the_simulators_cartpole(a_server, open_page):
    """Played by keyboard: is what the page computes, step by step, what gymnasium would?"""
    page = open_page(a_server.address)
    page.wait_for_selector("#game:not([hidden])")
    follow = """async () => {
      const { start, step, isOver } = await import("./page/cartpole.js");
      const states = [start()], actions = [];
      while (!isOver(states.at(-1))) {
        actions.push(Math.random() < 0.5 ? 0 : 1);
        states.push(step(states.at(-1), actions.at(-1)));
      }
      return [states, actions];
    }"""
    for _ in range(10):
        states, actions = page.evaluate(follow)
        env = gym.make("CartPole-v1").unwrapped
        env.reset()
        env.state = np.array(states[0], np.float64)
        for step, action in enumerate(actions):
            _, _, terminated, _, _ = env.step(action)
            assert np.allclose(env.state, states[step + 1], rtol=1e-9, atol=1e-12)
            assert terminated == (step == len(actions) - 1)


def test_keys_push_the_cart(a_server, open_page):
    """Held to one side: does the cart go there, is the pole down soon, and is the record kept?"""
    page = open_page(a_server.address)
    page.locator("#begin").click()
    page.keyboard.down("ArrowRight")
    page.wait_for_selector("#game[data-phase=over]")
    page.keyboard.up("ArrowRight")
    x, speed, angle, _ = json.loads(page.locator("#game").get_attribute("data-state"))
    assert x > 0 and speed > 0 and angle < -0.2
    steps = int(page.locator("#game").get_attribute("data-steps"))
    best = max(sum(one.rewards) for one in a_server.client().episodes(200).episodes)
    expect(page.locator("#game-said")).to_contain_text(
        f"{steps} steps. Your best at this pace: {steps}."
    )
    expect(page.locator("#game-said")).to_contain_text(f"The policy's best: {best:g}")
    page.locator("#game-stage").focus()
    page.keyboard.press("Space")
    page.wait_for_selector("#game[data-phase=playing]")


def test_a_lost_server_is_found_again(open_page):
    """Does the page say that the server is gone, and go on by itself when it is back?"""
    port = free_port()
    with RunningServer(4, 2, learner=False, port=port) as server:
        page = open_page(server.address)
        expect(page.locator("#state")).to_contain_text("idle")
    expect(page.locator("#problem")).to_contain_text("The policy server does not answer")
    expect(page.locator("#problem code")).to_contain_text("simple_policy_server.py")
    with RunningServer(4, 2, learner=False, port=port) as server:
        play(server.client(), "CartPole-v1", 5)
        expect(page.locator("#episodes")).to_have_text("1")
        expect(page.locator("#problem")).to_be_hidden()


def test_the_tiles_page_waits_for_a_server(open_page, a_free_port):
    """Where no policy server runs, does the page behind the tile say how to start one, and show it
    when it is there, whose token it finds by itself?"""
    page_port = free_port()
    command = [sys.executable, "-m", "serving.server.relay", f"--port={page_port}"]
    command.append(f"--policy-server=http://localhost:{a_free_port}")
    environment = {**os.environ, "POLICY_SERVER_TOKEN": "let-me-in"}
    relay = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        address = relay.stdout.readline().split()[-1]
        page = open_page(address)
        expect(page.locator("#problem")).to_contain_text("no policy server answers at")
        expect(page.locator("#problem code")).to_contain_text("simple_policy_server.py")
        with RunningServer(4, 2, learner=False, port=a_free_port, token="let-me-in") as server:
            client = PolicyClient(server.address, token="let-me-in", quiet=True)
            seen = play(client, "CartPole-v1", 3)
            expect(page.locator("#state")).to_contain_text("idle")
            choose(page, "CartPole-v1-3")
            page.keyboard.press("End")
            assert math.isclose(page.evaluate(CART)[0], seen[-1][0], abs_tol=1e-5)
        expect(page.locator("#problem")).to_be_visible()
    finally:
        relay.terminate()
        relay.wait(20)
        relay.stdout.close()


def test_a_token_in_the_address_is_enough(open_page):
    """Does the address that the terminal shows open the page, and one without say what is missing?"""
    with RunningServer(4, 2, learner=False, token="let-me-in") as server:
        page = open_page(f"{server.address}/?token=let-me-in")
        expect(page.locator("#state")).to_contain_text("idle")
        page = open_page(server.address)
        expect(page.locator("#problem")).to_contain_text("needs its token")


def test_it_is_live_while_a_policy_learns(open_page):
    """With a real learner: do curve, updates and policy versions grow on the page without reload?"""
    with RunningServer(4, 2) as server:
        page = open_page(server.address)
        page.add_init_script(NO_GRAPHICS_CARD)
        page.reload()
        seed, client = 0, server.client()
        while client.status().policy_version < 2:
            play(client, "CartPole-v1", seed := seed + 1)
        expect(page.locator("#version")).not_to_have_text("v0")
        expect(page.locator("#updates")).not_to_have_text("0")
        expect(page.locator("#curve .exploring")).to_have_count(1)
        pictures_are_few(page, client)
        # The policies that the page has are asked for here, too: no newer one may take their places.
        server.wait_until(lambda status: status.state == "idle", 30, "the learner to be done")
        versions_side_by_side(page, client)
        the_nearest_of_one_that_is_gone(page, client)


def pictures_are_few(page: Page, client: PolicyClient) -> None:
    """Where the processor draws, and learns: are episodes that are followed drawn twice a second, not
    fifty times?"""
    page.evaluate("""() => {
      window.pictures = 0;
      const count = (changes) => (window.pictures += changes.length);
      new MutationObserver(count).observe(document.getElementById("player"), { attributeFilter: ["data-step"] });
    }""")
    started, seed = time.monotonic(), 1000
    while time.monotonic() < started + 4:
        play(client, "CartPole-v1", seed := seed + 1)
    assert 0 < page.evaluate("window.pictures") < 20


def versions_side_by_side(page: Page, client: PolicyClient) -> None:
    """From one start: does each version do on the page what it would in the simulator, and are the
    decisions marked that another one would make otherwise?"""
    page.locator("#travel summary").click()
    page.wait_for_selector(".lane[data-version]")
    expect(page.locator("#travel-said")).to_contain_text("From the same start")
    lanes = page.locator(".lane").evaluate_all("lanes => lanes.map(lane => ({...lane.dataset}))")
    versions = [int(lane["version"]) for lane in lanes]
    assert versions == sorted(versions) and versions[0] == 0 and versions[-1] >= 2
    policies = [policy_of(client.policy(version=version)) for version in versions]
    env = gym.make("CartPole-v1").unwrapped
    for lane, policy in zip(lanes, policies):
        env.reset()
        env.state = np.array(json.loads(page.locator("#travel").get_attribute("data-start")))
        for action, mark in zip(lane["actions"], lane["differs"], strict=True):
            decisions = [other.act(env.state, 0, None).action for other in policies]
            assert policy.act(env.state, 0, None).action == int(action)
            assert mark == ("x" if len(set(decisions)) > 1 else ".")
            _, _, over, _, _ = env.step(int(action))
        assert over or len(lane["actions"]) == 200


def the_nearest_of_one_that_is_gone(page: Page, client: PolicyClient) -> None:
    """The list of versions is older than the server's: does one that is not kept any more make way for
    its neighbour, without a word of it?"""

    def kept() -> list[int]:
        return [policy.version for policy in client.policies().policies]

    offered, seed = kept(), 2000
    fetched = page.locator(".lane").evaluate_all("lanes => lanes.map(lane => lane.dataset.version)")
    until = time.monotonic() + 60
    while not (gone := {*offered} - {*kept()} - {*map(int, fetched)}):
        assert time.monotonic() < until, "every version is kept"
        play(client, "CartPole-v1", seed := seed + 1)
    version = min(gone)
    expect(page.locator(".lane input").last).to_have_attribute("max", str(len(offered) - 1))
    page.locator(".lane input").last.fill(str(offered.index(version)))
    shown = page.locator(".lane").last
    expect(shown).not_to_have_attribute("data-version", fetched[-1])
    expect(page.locator("#travel-said")).to_contain_text("From the same start")
    found = int(shown.get_attribute("data-version"))
    assert 0 < abs(found - version) <= min(abs(one - version) for one in kept())


def policy_of(snapshot) -> Policy:
    layers = [(np.array(layer.weights), np.array(layer.bias)) for layer in snapshot.layers]
    return Policy(snapshot.version, snapshot.kind, snapshot.activation, layers)


def try_out(page: Page, call: str) -> tuple[str, dict]:
    """Executes a call of the description's page, by keyboard; the status and the body of its answer."""
    block = page.locator(f"#operations-default-{call}")
    block.get_by_role("button", expanded=False).first.focus()
    page.keyboard.press("Enter")
    execute = block.get_by_role("button", name="Execute")
    execute.focus()
    page.keyboard.press("Enter")
    answer = block.locator(".live-responses-table .response")
    status = answer.locator(".response-col_status").first.inner_text().split()[0]
    body = answer.locator(".highlight-code code").first.inner_text()
    return status, json.loads(body)


@pytest.mark.parametrize("colours", ["dark", "light"])
def test_the_calls_can_be_tried_out(a_server, open_page, colours):
    """Is the description one link away, and does a call that is tried out there get its answer?"""
    page = open_page(a_server.address, color_scheme=colours)
    page.get_by_role("link", name="The calls, to try out").click()
    status, body = try_out(page, "status")
    assert status == "200" and body["observation_size"] == 4 and body["episodes"] >= 3
    page.get_by_role("link", name="policy server").click()
    expect(page.locator("#state")).to_contain_text("idle")


@pytest.mark.slow
def test_the_calls_can_be_tried_out_behind_jupyter_with_a_token(a_jupyter_server, open_page):
    """Do they go through /proxy/PORT/ under a base URL, with the token of the address?"""
    with RunningServer(4, 2, learner=False, token="let-me-in") as server:
        port = httpx.URL(server.address).port
        page = open_page(f"{a_jupyter_server}/proxy/{port}/?token=let-me-in")
        expect(page.locator("#state")).to_contain_text("idle", timeout=30_000)
        page.get_by_role("link", name="The calls, to try out").click()
        status, body = try_out(page, "policies")
        assert status == "200" and body["newest"] == 0


@pytest.mark.slow
def test_behind_jupyter(a_jupyter_server, a_server, open_page):
    """Does the page work through a Jupyter server's /proxy/PORT/ under a base URL, stream and all?"""
    port = httpx.URL(a_server.address).port
    page = open_page(f"{a_jupyter_server}/proxy/{port}/")
    expect(page.locator("#state")).to_contain_text("idle", timeout=30_000)
    page.wait_for_selector("#player[data-drawn=cartpole]")
    play(a_server.client(), "CartPole-v1", 77)
    choose(page, "CartPole-v1-77")
