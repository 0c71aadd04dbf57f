// Puts the page together: what the server says twice a second, and where it is shown.

import { drawCurve } from "./curve.js";
import { Game } from "./game.js";
import { listen } from "./link.js";
import { element, short } from "./look/drawings.js";
import { TimeTravel } from "./time-travel.js";
import { Watch } from "./watch.js";

const HELD = 4000; // ms that the list of episodes stands still after somebody pointed at it
const RATE_OVER = 3; // seconds
const SPARING = 900; // ms at least between two pictures of it all, where they take time from learning

const $ = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const watch = new Watch({ root: $("player"), follow: $("follow"), choice: $("drawing"), told: $("watched") });

const game = new Game({ root: $("game"), stage: $("game-stage"), begin: $("begin"), slower: $("slower"), said: $("game-said") });
const travel = new TimeTravel({ root: $("travel"), lanes: $("lanes"), again: $("travel-again"), said: $("travel-said") });

let seen = null;
let shown = -Infinity; // when
let counted = []; // [uptime, steps] of the latest seconds
let heldUntil = 0;

for (const name of ["pointermove", "focusin", "keydown"]) {
  $("latest").addEventListener(name, () => (heldUntil = performance.now() + HELD));
}
new ResizeObserver(() => seen && showCurve(true)).observe($("curve"));

$("docs").search = location.search; // which may hold a token
listen(show, lost);

function show(message) {
  seen = message;
  if (document.hidden) return; // nobody looks; the next message has everything again
  watch.hear(message);
  if (watch.sparing && performance.now() - shown < SPARING) return;
  shown = performance.now();
  document.body.classList.remove("lost");
  $("problem").hidden = true;
  const { status } = message;
  const { state, why } = status;
  $("state").dataset.state = state;
  $("state").textContent = said(status);
  if (why && state !== "failed") tell(why);
  $("claim").textContent = `${status.run} · ${count(status.observation_size, "number")} in, ${count(status.action_size, "action")} out`;
  showFigures(status);
  showCurve();
  showLatest(message.ended);
  showPlaying(message.playing, status.open_episodes);
  showRefused(message.refused);
  $("game").hidden = $("travel").hidden = status.observation_size !== 4 || status.action_size !== 2;
  game.compare(message.best, status.mean_return);
}

function lost(error) {
  document.body.classList.add("lost");
  $("state").dataset.state = "problem";
  $("state").textContent = "not reached";
  counted = [];
  shown = -Infinity;
  travel.forget();
  if (error.status === 401) {
    return tell("This policy server needs its token: open the address that its terminal shows.");
  }
  const port = seen ? "The page goes on by itself when it is back." : "The page begins by itself when one runs.";
  tell(`${error.message}. ${port} In JupyterLab a button of the tile My lessons starts one; in a terminal of the kit's folder, this does, for lesson 01:`, HOW_TO_START);
}

const HOW_TO_START =
  "python serving/simple_policy_server.py --observation-size=4 --action-size=2 --run=DQN --checkpoint-file=cartpole";

function tell(sentence, command) {
  $("problem").hidden = false;
  if ($("problem").dataset.says === sentence) return;
  $("problem").dataset.says = sentence;
  $("problem").replaceChildren(sentence);
  if (command) $("problem").append(element("code", { class: "command" }, command));
}

function said({ state, updates_per_second: rate, why, steps_waiting: waiting }) {
  if (state === "learning") return rate > 0 ? `learning, ${whole.format(rate)} updates/s` : "learning";
  if (state === "idle") return "idle: it waits for somebody to play";
  if (state === "starting") return waiting ? "acting; the learner is starting" : "the learner is starting";
  return state === "restarting" ? "the learner is restarting" : `learning failed: ${why}`;
}

const count = (many, what) => `${whole.format(many)} ${what}${many === 1 ? "" : "s"}`;

function showFigures(status) {
  const played = status.env_steps + status.evaluation_steps;
  counted.push([status.uptime, played]);
  counted = counted.filter(([uptime]) => uptime <= status.uptime && uptime > status.uptime - RATE_OVER);
  const [since, before] = counted[0];
  const rate = status.uptime > since ? (played - before) / (status.uptime - since) : 0;
  const mean = status.mean_return;
  const figures = {
    steps: whole.format(status.env_steps),
    "steps-rate": whole.format(rate),
    episodes: whole.format(status.episodes),
    mean: mean === null ? "–" : short(mean),
    updates: whole.format(status.updates),
    "updates-rate": whole.format(status.updates_per_second),
    version: `v${whole.format(status.policy_version)}`,
    exploration: status.run === "DQN" ? `${Math.round(100 * status.exploration)}%` : "by chance",
  };
  for (const [id, text] of Object.entries(figures)) $(id).textContent = text;
  const age = status.checkpoint_age;
  const name = status.checkpoint_file?.split("/").at(-1);
  $("saved").textContent = [
    status.steps_waiting ? `${count(status.steps_waiting, "step")} to learn from.` : "",
    status.evaluation_steps ? `${count(status.evaluation_steps, "step")} of evaluations.` : "",
    age === null ? "" : `Saved to ${name} ${whole.format(age)} s ago.`,
  ].join(" ");
}

let drawn = ""; // what the curve shows

function showCurve(anew = false) {
  const shows = `${seen.status.run} ${seen.history.length} ${seen.history.at(-1)}`;
  if (!anew && shows === drawn) return;
  drawn = shows;
  const byShare = seen.status.run === "DQN";
  $("explores").hidden = !byShare;
  drawCurve($("curve"), seen.history, byShare);
}

function showLatest(ended) {
  const list = $("latest");
  for (const button of list.children) button.setAttribute("aria-pressed", button.dataset.episode === watch.watched);
  if (performance.now() < heldUntil && list.childElementCount) return;
  const known = new Map([...list.children].map((button) => [button.dataset.episode, button]));
  if (ended.length === list.childElementCount && ended[0]?.episode_id === list.firstElementChild?.dataset.episode) return;
  const longest = Math.max(1, ...ended.map((episode) => episode.steps));
  const all = ended.flatMap((episode) => episode.sketch);
  const [low, high] = [Math.min(0, ...all), Math.max(0, ...all)];
  const wanted = ended.map((episode) => {
    const button = known.get(episode.episode_id) ?? episodeButton(episode);
    const x = (i) => (100 * (i / Math.max(1, episode.sketch.length - 1)) * episode.steps) / longest;
    const y = (value) => 28 - (26 * (value - low)) / Math.max(1e-9, high - low);
    const points = episode.sketch.map((value, i) => `${x(i).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
    button.querySelector("polyline").setAttribute("points", points);
    return button;
  });
  list.replaceChildren(...wanted);
}

function episodeButton({ episode_id: id, training_enabled: trains, steps, total, version, ending }) {
  const kind = trains ? "" : ", evaluation";
  const button = element(
    "button",
    { type: "button", "data-episode": id, title: `${id}${kind}: ${count(steps, "step")}, ${ending}` },
    element("svg", { viewBox: "0 0 100 30", preserveAspectRatio: "none", "aria-hidden": "true" }, element("polyline")),
    element("b", {}, `${short(total)}`),
    element("small", {}, `${count(steps, "step")}, v${version}`),
  );
  button.classList.toggle("evaluation", !trains);
  button.addEventListener("click", () => watch.choose(id));
  return button;
}

function showPlaying(playing, many) {
  const lines = playing.map((episode) => {
    const name = element("b", {}, episode.episode_id.slice(0, 24));
    const silent = episode.idle > 2 ? `, silent for ${whole.format(episode.idle)} s` : "";
    const kind = episode.training_enabled ? "" : " (evaluation)";
    return element("li", {}, name, `${kind}: ${count(episode.steps, "step")}, return ${short(episode.total)}${silent}`);
  });
  if (many > playing.length) lines.push(element("li", {}, `and ${whole.format(many - playing.length)} more`));
  $("playing").replaceChildren(...(lines.length ? lines : [element("li", {}, "Nobody plays now.")]));
}

function showRefused(refused) {
  const lines = refused.map(({ call, status, error }) =>
    element("li", {}, element("b", {}, `${call} (${status})`), `: ${error}`),
  );
  $("refused").replaceChildren(...(lines.length ? lines : [element("li", {}, "Nothing so far.")]));
}
