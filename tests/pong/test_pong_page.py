"""The Pong page in a real browser: Debian's Chromium, driven by Playwright.

Screenshots of every run are in the folder that the environment variable PONG_SCREENSHOTS names.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from browsers import NEEDS_CHROMIUM, TOUCH, paddle_on, pages
from playwright.sync_api import Page, expect
from web_server import WebServer

from serving import do_rollouts
from serving.running_server import RunningServer

DESKTOP = {"width": 1280, "height": 860}
PHONE = {"width": 390, "height": 844}
ON_ITS_SIDE = ({"width": 844, "height": 390}, {"width": 568, "height": 320})
PLAYING = "body[data-phase=playing]"
PAUSED = "body[data-phase=paused]"
LOST = "body[data-phase=lost]"

pytestmark = NEEDS_CHROMIUM

PADDLE = paddle_on("#court")

# Milliseconds between the frames of so many seconds.
FRAMES = """seconds => new Promise(resolve => {
  const times = [];
  const frame = now => {
    times.push(now);
    if (now - times[0] < 1000 * seconds) return requestAnimationFrame(frame);
    resolve(times.slice(1).map((time, i) => time - times[i]));
  };
  requestAnimationFrame(frame);
})"""


@pytest.fixture(scope="module")
def a_policy_server():
    with RunningServer(8, 3) as server:
        yield server


@pytest.fixture(scope="module")
def a_web_server(a_policy_server):
    server = WebServer(a_policy_server.address)
    try:
        server.says("plays against")
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def a_web_server_that_only_acts():
    """With a policy server behind it that has no learner: it is up at once, and stays as it is."""
    with RunningServer(8, 3, learner=False) as policy_server:
        server = WebServer(policy_server.address)
        try:
            server.says("plays against")
            yield server
        finally:
            server.stop()


@pytest.fixture
def open_page(a_browser, request):
    """Opens pages; at the end none of them may have shown an alert or complained."""

    def watch(page: Page, address: str, complaints: list[str]) -> None:
        page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))

    usual = {"viewport": DESKTOP, "color_scheme": "dark"}
    with pages(a_browser, request, "PONG_SCREENSHOTS", watch, **usual) as open_:

        def open_and_wait(address: str, **options) -> Page:
            page = open_(address, **options)
            page.wait_for_selector("#level option", state="attached")  # its script has run
            return page

        yield open_and_wait


@pytest.fixture
def a_page(open_page, a_web_server) -> Page:
    return open_page(a_web_server.address)


def start(page: Page, mode: str = "one", training: bool = True) -> None:
    page.click(f"[data-mode={mode}]")
    page.set_checked("#training", training)
    page.click("#overlay-button")
    page.wait_for_selector(PLAYING)


def keep_playing(page: Page, seconds: float) -> None:
    """Moves up and down, and starts again when a game is over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for key in ("ArrowDown", "q", "a", "ArrowUp"):
            page.keyboard.down(key)
            page.wait_for_timeout(200)
            page.keyboard.up(key)
        if page.get_attribute("body", "data-phase") == "over":
            page.keyboard.press("Enter")


def figures(page: Page) -> dict[str, float]:
    """What the line under the decisions says: how many, how late, how fast."""
    data = page.eval_on_selector("#latency", "element => ({...element.dataset})")
    return {name: float(value) for name, value in data.items() if value}


def episodes(a_policy_server, since: int = 0):
    return a_policy_server.client().episodes(last=200).episodes[since:]


def until(condition, seconds: float = 15.0, what: str = "it"):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.1)
    return found


def test_it_loads_everything_from_its_own_server(open_page, a_web_server, a_browser):
    context = a_browser.new_context()
    page, asked = context.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(a_web_server.address)
    page.wait_for_selector("#connection:not([data-state=problem])")
    context.close()
    own = urlsplit(a_web_server.address).netloc
    assert {urlsplit(url).netloc for url in asked} == {own}
    assert len(asked) > 10


@pytest.mark.slow
def test_a_person_plays_for_twenty_seconds_by_keyboard(a_page, a_policy_server):
    """Is it drawn at the screen's rate, is every decision logged, does the policy learn from it?"""
    before = a_policy_server.client().status()
    start(a_page)
    frames = a_page.evaluate_handle(f"window.measured = ({FRAMES})(20); 0")
    keep_playing(a_page, 20)
    intervals = a_page.evaluate("window.measured")
    frames.dispose()
    assert np.median(intervals) < 40  # ms: by far not the game's 20 steps a second, also when busy
    a_page.wait_for_timeout(1500)
    seen = figures(a_page)
    print(f"frames {1000 / np.mean(intervals):.0f}/s, decisions {seen}")
    for _ in range(20):  # on a busy machine decisions come late, and fewer of them
        if (after := a_policy_server.client().status()).env_steps > before.env_steps + 100:
            break
        keep_playing(a_page, 5)
    assert after.env_steps > before.env_steps + 100
    rows = a_page.locator("#decisions tr")
    expect(rows.first.locator("td")).to_have_count(13)
    assert rows.count() > 20
    assert re.match(r"[•↓↑] (stay|down|up)", rows.first.locator("td").nth(11).inner_text())


def test_keys_move_the_paddle_and_not_the_page(a_page):
    start(a_page, training=False)
    a_page.wait_for_timeout(900)
    for keys, direction in ((["ArrowDown", "a"], 1), (["ArrowUp", "q"], -1)):
        for key in keys:
            y = a_page.evaluate(PADDLE, "left")
            a_page.keyboard.down(key)
            moved = lambda y=y, way=direction: way * (a_page.evaluate(PADDLE, "left") - y) > 20  # noqa: E731
            until(moved, what=f"the paddle to follow {key}")
            a_page.keyboard.up(key)
    assert a_page.evaluate("scrollY") == 0


@pytest.mark.slow
def test_the_policy_gets_newer_while_rollouts_run(a_page, a_policy_server, a_web_server):
    def version() -> int:
        return int(re.sub(r"\D", "", a_page.inner_text("#version")) or 0)

    a_policy_server.wait_until(lambda status: status.state != "starting", 120, "the learner")
    start(a_page, "demo")
    until(lambda: figures(a_page).get("decisions", 0) > 0, what="a decision")
    before, steps = version(), a_page.inner_text("#steps")
    command = [sys.executable, do_rollouts.__file__, f"--policy-server={a_policy_server.address}"]
    rollouts = subprocess.Popen([*command, "--steps=4000", "--quiet"])
    try:
        until(lambda: version() > before + 20, 180, "newer policies")
        assert a_page.inner_text("#steps") != steps
        until(lambda: a_page.locator("#curve polyline").count(), what="the learning curve")
        label = a_page.get_attribute("#curve", "aria-label")
        assert re.match(r"Learning curve: mean return −?\d+\.\d after [\d,]+ env steps", label)
        assert re.match(r"−?\d\.\d", a_page.inner_text("#return"))
        assert re.match(r"\d+%", a_page.inner_text("#exploration"))
        logged = a_page.locator("#decisions tr td:last-child")
        until(lambda: logged.first.inner_text() != f"v{before}", what="a newer policy's decision")
    finally:
        rollouts.terminate()
        rollouts.wait(30)


def test_pause_and_go_on_by_keyboard(a_page):
    start(a_page)
    for pause, resume in (("p", "p"), ("Space", "Space"), ("Escape", "Enter")):
        a_page.wait_for_timeout(300)
        a_page.keyboard.press(pause)
        a_page.wait_for_selector(PAUSED)
        expect(a_page.locator("#overlay-title")).to_have_text("Paused")
        decided = figures(a_page)
        a_page.wait_for_timeout(1200)
        assert figures(a_page).get("late", 0) == decided.get("late", 0)
        a_page.keyboard.press(resume)
        a_page.wait_for_selector(PLAYING)


def test_everything_can_be_reached_by_keyboard_alone(a_page):
    """Does Tab come by every control, and does each show that it has the focus?"""
    seen = []
    for _ in range(20):
        a_page.keyboard.press("Tab")
        seen.append(
            a_page.evaluate("""() => {
              const element = document.activeElement;
              const outline = getComputedStyle(element).outlineStyle;
              return [element.dataset.mode ?? element.id ?? element.className, outline];
            }""")
        )
    names = [name for name, _ in seen]
    for control in (
        "one",
        "two",
        "demo",
        "sound",
        "court",
        "overlay-button",
        "training",
        "in-page",
    ):
        assert control in names, control
    assert all(outline != "none" for name, outline in seen if name)
    # Two steps on from the top is "Watch it".
    a_page.focus("[data-mode=demo]")
    a_page.keyboard.press("Enter")
    expect(a_page.locator("[data-mode=demo]")).to_have_attribute("aria-pressed", "true")
    a_page.focus("#training")
    a_page.keyboard.press("Space")
    expect(a_page.locator("#training")).not_to_be_checked()
    a_page.focus("#overlay-button")
    a_page.keyboard.press("Enter")
    a_page.wait_for_selector(PLAYING)


def test_points_are_announced(a_page):
    start(a_page, training=False)
    announced = a_page.locator("#announcer[role=status][aria-live=polite]")
    expect(announced).to_have_text(
        re.compile(r"(You|Policy) scored. You \d, Policy \d\."), timeout=30_000
    )
    score = a_page.inner_text("#left-score"), a_page.inner_text("#right-score")
    assert f"You {score[0]}, Policy {score[1]}" in announced.inner_text()


def test_a_game_trains_only_while_its_switch_says_so(a_page, a_policy_server):
    """Does switching in the middle of a game end one episode and begin another?"""
    old = {episode.episode_id for episode in episodes(a_policy_server)}
    start(a_page)
    a_page.wait_for_timeout(1500)
    a_page.uncheck("#training")
    a_page.wait_for_timeout(1500)
    a_page.click("[data-mode=two]")  # breaks the game off

    def both():
        new = [e for e in episodes(a_policy_server) if e.episode_id not in old and e.ending]
        return new if len(new) == 2 else None

    trained, evaluated = until(both, what="two episodes")
    assert (trained.training_enabled, trained.ending) == (True, "truncated")
    assert (evaluated.training_enabled, evaluated.ending) == (False, "truncated")
    assert min(len(trained.actions), len(evaluated.actions)) > 5
    assert not a_policy_server.client().episodes().rejected


@pytest.mark.slow
def test_rewards_and_observations_arrive_as_the_environment_would_pay_them(a_page, a_policy_server):
    """Is a game in the page, in the server's record, a game as PongEnv plays it?"""
    old = {episode.episode_id for episode in episodes(a_policy_server)}
    start(a_page)
    a_page.wait_for_selector("body[data-phase=over]", timeout=90_000)
    won, lost = int(a_page.inner_text("#right-score")), int(a_page.inner_text("#left-score"))
    new = lambda: [e for e in episodes(a_policy_server) if e.episode_id not in old and e.ending]  # noqa: E731
    (episode,) = until(new, what="the episode")
    assert episode.ending == "terminated"
    hits = (sum(episode.rewards) - (won - lost)) / 0.1
    assert hits == pytest.approx(round(hits), abs=1e-6) and hits >= 0
    rows = np.array(episode.observations)
    assert (np.abs(rows[:, :6]) <= 1).all() and (np.abs(rows) <= 2).all()
    # The paddle goes where the actions say, one step later, unless an answer came late.
    moved = np.diff(rows[:, 4]) * 200
    meant = np.array([0, 14, -14])[episode.actions]
    free = (np.abs(rows[:-1, 4]) < 0.75) & (np.abs(rows[1:, 4]) < 0.85)
    assert (np.abs(moved - meant)[free] < 0.01).mean() > 0.5


def test_two_players_teach_the_policy_by_example(a_page, a_policy_server):
    old = {episode.episode_id for episode in episodes(a_policy_server)}
    start(a_page, "two")
    a_page.wait_for_timeout(800)
    a_page.keyboard.down("ArrowDown")
    a_page.keyboard.down("q")
    both = lambda: a_page.evaluate(PADDLE, "right") > 220 and a_page.evaluate(PADDLE, "left") < 180  # noqa: E731
    until(both, what="the paddles to follow")
    a_page.wait_for_timeout(1500)
    a_page.keyboard.up("ArrowDown")
    a_page.keyboard.up("q")
    a_page.click("[data-mode=one]")
    new = lambda: [e for e in episodes(a_policy_server) if e.episode_id not in old and e.ending]  # noqa: E731
    (episode,) = until(new, what="the episode")
    assert set(episode.sources) == {"log"} and episode.training_enabled
    assert episode.actions.count(1) > 10  # down


def test_late_answers_hold_the_last_action_and_are_counted(a_page):
    """With a line that takes 120 ms: does the game go on, with one request in flight?"""
    in_flight, most = 0, 0

    def slowly(route):
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        a_page.wait_for_timeout(120)
        in_flight -= 1
        route.continue_()

    a_page.route("**/get_action", slowly)
    start(a_page, training=False)
    # While the line is still slow: what is asked on a quick one would be counted, too.
    for _ in range(100):
        a_page.wait_for_timeout(100)
        if (seen := figures(a_page)).get("decisions", 0) > 5:
            break
    a_page.unroute_all(behavior="ignoreErrors")
    assert seen["late"] > seen["decisions"] > 5
    assert most == 1
    expect(a_page.locator(LOST)).to_have_count(0)


@pytest.mark.slow
def test_a_lost_policy_server_pauses_the_game_until_it_is_back(open_page, tmp_path, a_free_port):
    with RunningServer(8, 3, folder=tmp_path, port=a_free_port) as policy_server:
        web_server = WebServer(policy_server.address)
        try:
            page = open_page(web_server.address)
            start(page, "demo")
            until(lambda: page.locator("#decisions tr").count() > 5, what="decisions")
            policy_server.kill()
            page.wait_for_selector(LOST)
            expect(page.locator("#overlay-text")).to_contain_text("No policy server answers")
            expect(page.locator("#problem")).to_contain_text("simple_policy_server.py")
            expect(page.locator("#connection")).to_have_text("no policy server")
            # What is to be typed stands alone, and so does what comes after it.
            command = page.locator("#overlay-text .command")
            assert command.inner_text().startswith("python ")
            assert command.inner_text().endswith("--checkpoint-file=pong")
            expect(page.locator("#overlay-hope")).to_be_visible()
            score = page.inner_text(".score")
            page.screenshot(path=tmp_path / "lost.png")
            page.wait_for_timeout(1500)
            assert page.inner_text(".score") == score
            decided = figures(page)["decisions"]

            policy_server.start()
            page.wait_for_selector(PLAYING)
            until(lambda: figures(page)["decisions"] > decided + 5, what="decisions again")
            expect(page.locator("#problem")).to_be_hidden()

            # The web server itself, too.
            port = urlsplit(web_server.address).port
            web_server.stop()
            page.wait_for_selector(LOST)
            expect(page.locator("#overlay-text")).to_contain_text("web server does not answer")
            expect(page.locator("#connection")).to_have_text("no web server")
            web_server = WebServer(policy_server.address, port=port)
            page.wait_for_selector(PLAYING)
        finally:
            web_server.stop()


@pytest.mark.slow
def test_no_policy_server_and_one_of_the_wrong_sizes_are_named(open_page, policy_servers, nobody):
    for address, said in ((nobody, "No policy server"), (policy_servers(4, 2).address, "8 and 3")):
        web_server = WebServer(address)
        try:
            page = open_page(web_server.address)
            expect(page.locator("#problem")).to_contain_text(said, ignore_case=True)
            page.keyboard.press("Enter")
            page.wait_for_selector(LOST)
            # Two people can play all the same.
            page.click("[data-mode=two]")
            page.uncheck("#training")
            page.click("#overlay-button")
            page.wait_for_selector(PLAYING)
            page.wait_for_timeout(1500)
            expect(page.locator(PLAYING)).to_have_count(1)
        finally:
            web_server.stop()


@pytest.fixture
def nobody(a_free_port) -> str:
    return f"http://localhost:{a_free_port}"


def test_the_policy_acts_inside_the_page_with_no_request_a_step(a_page, a_policy_server):
    asked = []
    a_page.on("request", lambda request: asked.append(request.url.rsplit("/", 1)[-1]))
    a_page.check("#in-page")
    expect(a_page.locator("#in-page-hint")).to_contain_text("acts here, in the page")
    start(a_page, "demo", training=False)
    until(lambda: figures(a_page).get("decisions", 0) > 30, what="decisions")
    assert "get_action" not in asked and "start_episode" not in asked
    assert figures(a_page)["late"] == 0 and figures(a_page)["p50"] < 5

    # Training, it tells the server what it did.
    old = {episode.episode_id for episode in episodes(a_policy_server)}
    a_page.check("#training")
    a_page.wait_for_timeout(2500)
    a_page.click("[data-mode=one]")
    new = lambda: [e for e in episodes(a_policy_server) if e.episode_id not in old and e.ending]  # noqa: E731
    (episode,) = until(new, what="the episode")
    assert set(episode.sources) == {"log"} and len(episode.actions) > 20
    assert "get_action" not in asked


@pytest.mark.slow
def test_page_and_server_agree_on_ten_thousand_observations(a_page, a_policy_server):
    client = a_policy_server.client()
    a_policy_server.wait_until(lambda status: status.state == "idle", 120, "the learner")
    rng = np.random.default_rng(0)
    observations = rng.uniform(-1, 1, (10_000, 8)).astype(np.float32)
    observations[:, 6:] *= 2
    version = client.policy().version
    mine = a_page.evaluate(
        """async observations => {
          const { Policy } = await import("./policy.js");
          const policy = new Policy(await (await fetch("policy")).json());
          return observations.map(observation => policy.act(observation));
        }""",
        observations.tolist(),
    )
    episode = client.start_episode(training_enabled=False)
    theirs = [client.get_action(episode, observation) for observation in observations]
    client.end_episode(episode, observations[0])
    assert client.policy().version == version
    assert {decision["version"] for decision in mine} == {version}
    values = np.array([decision["values"] for decision in mine])
    best, second = np.sort(values, axis=1)[:, -1], np.sort(values, axis=1)[:, -2]
    clear = best - second > 1e-5  # equal but for the last bit, it may be either
    assert clear.mean() > 0.999
    assert (np.array([decision["action"] for decision in mine]) == theirs)[clear].all()


def test_exploration_in_the_page_is_the_servers(a_page):
    """Does the page interpolate between the points of exploration as numpy does?"""
    points = [[0, 1.0], [2000, 0.02], [5000, 0.5]]
    steps = [0, 1, 1000, 1999, 2000, 3500, 5000, 9999]
    probabilities = a_page.evaluate(
        """async ([exploration, steps]) => {
          const { Policy } = await import("./policy.js");
          const layers = [{ weights: [[1, 2]], bias: [0, 0] }];
          const policy = new Policy({ version: 1, kind: "action_values", layers, exploration });
          return steps.map(many => policy.explorationAfter(many));
        }""",
        [points, steps],
    )
    assert probabilities == pytest.approx(np.interp(steps, *zip(*points)))


def test_it_fits_a_phone_and_follows_a_finger(open_page, a_web_server):
    page = open_page(a_web_server.address, viewport=PHONE, **TOUCH)
    for mode in ("two", "demo", "one"):
        page.tap(f"[data-mode={mode}]")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    for control in page.locator("button:visible, select:visible").all():
        assert control.bounding_box()["height"] >= 32
    page.tap("#overlay-button")
    page.wait_for_selector(PLAYING)
    page.wait_for_timeout(900)
    box = page.locator("#court").bounding_box()
    touches = page.context.new_cdp_session(page)
    for share in (0.85, 0.2):
        point = {"x": box["x"] + box["width"] / 2, "y": box["y"] + share * box["height"]}
        touches.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [point]})
        there = lambda y=share * 400: abs(page.evaluate(PADDLE, "left") - y) < 15  # noqa: E731
        until(there, what="the paddle under the finger")
        touches.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        if page.get_attribute("body", "data-phase") == "over":
            page.tap("#overlay-button")
            page.wait_for_timeout(900)


@pytest.mark.parametrize("screen", ON_ITS_SIDE, ids=lambda screen: f"{screen['width']}")
def test_it_fits_a_phone_on_its_side(open_page, a_web_server_that_only_acts, screen):
    """Are court, score and controls on the screen at once, and no word of keys that are not there?"""
    page = open_page(a_web_server_that_only_acts.address, viewport=screen, **TOUCH)
    assert page.evaluate("document.documentElement.scrollWidth") <= screen["width"]
    for control in ("#court", ".score", "[data-mode=demo]", "#pause"):
        box = page.locator(control).bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= screen["height"], control
    court = page.locator("#court").bounding_box()
    assert court["height"] > 0.7 * screen["height"]
    assert court["width"] / court["height"] == pytest.approx(1.6, rel=0.01)
    for words in ("Space", "Arrow", "Q and A"):
        expect(page.locator(f"text={words}").first).to_be_hidden()
    expect(page.locator("#how")).to_contain_text("finger")
    page.keyboard.press("KeyX")  # there is one after all
    expect(page.locator("#how")).to_contain_text("Arrow keys")
    expect(page.locator("#pausing")).to_be_visible()


def test_it_follows_the_colour_scheme(open_page, a_web_server_that_only_acts):
    """Light where the system is light, dark where it is dark, the court too; also when it changes?"""
    scheme_of = """() => {
      const pixel = document.getElementById("court").getContext("2d").getImageData(5, 5, 1, 1).data;
      const style = getComputedStyle(document.body);
      const brightness = colour => colour.match(/\\d+/g).slice(0, 3).reduce((a, b) => +a + +b) / 765;
      const [court, background] = [pixel[0] / 255, brightness(style.backgroundColor)];
      const text = brightness(style.color);
      if (Math.min(court, background) > 0.9 && text < 0.2) return "light";
      return Math.max(court, background) < 0.2 && text > 0.8 ? "dark" : "neither";
    }"""
    page = open_page(a_web_server_that_only_acts.address, color_scheme="light")
    for scheme in ("light", "dark", "light"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function(f"scheme => ({scheme_of})() === scheme", arg=scheme)


def test_it_says_how_much_is_learned_and_explored(open_page, a_web_server_that_only_acts):
    """Of a policy before its first update: nothing learned, and mostly chance?"""
    page = open_page(a_web_server_that_only_acts.address)
    start(page, "demo")
    until(lambda: figures(page).get("decisions", 0) > 10, what="decisions")
    expect(page.locator("#exploration")).to_have_text("100%")
    expect(page.locator("#training-hint")).to_contain_text("most of the time (100%")
    expect(page.locator("#steps")).to_have_text("0")


def test_there_is_no_sound_until_somebody_asks_for_it(open_page, a_web_server, a_browser):
    page = open_page(a_web_server.address)
    page.evaluate("""() => {
      window.made = 0;
      window.AudioContext = class extends AudioContext { constructor() { super(); made++; } };
    }""")
    start(page, training=False)
    page.wait_for_timeout(1500)
    assert page.evaluate("made") == 0
    page.click("#sound")
    expect(page.locator("#sound")).to_have_text("Sound on")
    assert page.evaluate("made") == 1


@pytest.mark.slow
def test_it_works_behind_jupyter(open_page, a_web_server, a_jupyter_server):
    """Under /user/ada/proxy/3000/, as on Binder: page, calls, and the guard against other sites?"""
    address = f"{a_jupyter_server}/proxy/{urlsplit(a_web_server.address).port}/"
    page = open_page(address)
    start(page, "demo")
    until(lambda: figures(page).get("decisions", 0) > 20, what="decisions")
    page.check("#in-page")
    expect(page.locator("#in-page-hint")).to_contain_text("acts here, in the page")
    assert page.url == address
    foreign = {"Origin": "https://evil.example"}
    assert httpx.post(address + "start_episode", json={}, headers=foreign).status_code == 403


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_reduced_motion_has_no_trail(open_page, a_web_server, motion):
    page = open_page(a_web_server.address, reduced_motion=motion)
    start(page, training=False)
    page.wait_for_timeout(1200)
    page.keyboard.press("p")
    # How many pixels near the ball are neither the court's colour nor a clear one.
    faint = page.evaluate("""() => {
      const canvas = document.getElementById("court");
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      let faint = 0;
      for (let i = 0; i < data.length; i += 4) {
        const grey = Math.abs(data[i] - data[i + 1]) < 14 && data[i + 2] - data[i] < 30;
        if (grey && data[i] > 28 && data[i] < 150 && data[i] !== 0x33) faint++;
      }
      return faint;
    }""")
    assert faint < 120 if motion == "reduce" else faint > 120


def test_the_log_of_decisions_can_be_folded_away(a_page):
    start(a_page, "demo", training=False)
    expect(a_page.locator("#decisions tr").first).to_be_visible()
    a_page.click("#log summary")
    expect(a_page.locator("#decisions tr").first).to_be_hidden()


def test_leaving_the_page_ends_its_episode(open_page, a_web_server, a_policy_server):
    old = {episode.episode_id for episode in episodes(a_policy_server)}
    page = open_page(a_web_server.address)
    start(page)
    new = lambda: [e for e in episodes(a_policy_server) if e.episode_id not in old]  # noqa: E731
    (episode,) = until(new, what="the episode")
    page.wait_for_timeout(500)
    page.goto("about:blank")
    ending = lambda: a_policy_server.client().episode(episode.episode_id).ending  # noqa: E731
    assert until(ending, what="the end of the episode") == "truncated"


@pytest.mark.slow
def test_any_version_that_is_kept_can_be_played(a_page, a_policy_server):
    """By keyboard: does the version that was chosen act, at the server and inside the page, does
    nobody learn from it, and the newest again when that is chosen?"""
    client = a_policy_server.client()
    # Games of Pong: others read the returns of this server's episodes.
    command = [sys.executable, do_rollouts.__file__, f"--policy-server={a_policy_server.address}"]
    while client.status().policy_version < 2:
        subprocess.run([*command, "--steps=500", "--quiet"], check=True, timeout=120)
    choice = a_page.locator("#played-by")
    expect(choice.locator("option").last).to_contain_text("v0: 0 steps")
    choice.focus()
    a_page.keyboard.press("End")
    expect(a_page.locator("#right-name")).to_have_text("Policy v0")
    expect(a_page.locator("#played-by-hint")).to_contain_text("nobody learns from it")
    expect(a_page.locator("#training")).to_be_disabled()
    before = client.status().env_steps
    a_page.click("[data-mode=demo]")
    a_page.click("#overlay-button")
    until(lambda: figures(a_page).get("decisions", 0) > 5, what="decisions")
    episode = client.episodes(last=1).episodes[-1]
    assert set(episode.policy_versions) == {0} and not episode.training_enabled
    a_page.check("#in-page")
    expect(a_page.locator("#in-page-hint")).to_have_text("Policy v0 acts here, in the page.")
    expect(a_page.locator("#decisions tr").first.locator("td").last).to_have_text("v0")
    assert client.status().env_steps == before
    a_page.uncheck("#in-page")
    choice.focus()
    a_page.keyboard.press("Home")
    expect(a_page.locator("#right-name")).to_have_text("Policy")
    expect(a_page.locator("#training")).to_be_enabled()
    until(lambda: client.status().env_steps > before, what="a step that trains")
