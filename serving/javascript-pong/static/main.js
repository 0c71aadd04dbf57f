// Puts the page together: what each control does, and who plays against whom.

import { CourtView } from "./court-view.js";
import { Game } from "./game.js";
import { Input } from "./input.js";
import { Link, Lost, sentence } from "./link.js";
import { DecisionLog, showLive, tell } from "./panel.js";
import { makePhysics } from "./physics.js";
import {
  InPagePolicy,
  Person,
  PersonInPolicysPlace,
  Recorder,
  ScriptedOpponent,
  ServedPolicy,
} from "./players.js";
import { Policy } from "./policy.js";
import { Sound } from "./sound.js";
import { VersionChoice } from "./versions.js";

const LOOK_EVERY = 1000; // ms, at how learning goes
const FETCH_EVERY = 2000; // ms, at least, between two snapshots of the policy
const NEXT_DEMO_AFTER = 2000; // ms

const MODES = {
  one: {
    left: "You",
    right: "Policy",
    keys: "Arrow keys, Q and A, or a finger on the court.",
    fingers: "Your paddle follows your finger on the court.",
  },
  two: {
    left: "Left player",
    right: "Right player",
    keys: "Left: Q and A. Right: arrow keys. Or a finger each, on your half of the court.",
    fingers: "A finger each, on your half of the court.",
  },
  demo: {
    left: "Opponent",
    right: "Policy",
    keys: "The scripted opponent plays the policy.",
    fingers: "The scripted opponent plays the policy.",
  },
};

const $ = (id) => document.getElementById(id);
const link = new Link();
const court = await (await fetch("court.json")).json();
const physics = makePhysics(court);
const sound = new Sound();
const log = new DecisionLog();
const input = new Input($("court"), court);
const view = new CourtView($("court"), court, physics);

let mode = "one";
let live = { status: null, problem: null, curve: [], nobody: "" };
let keyboard = !matchMedia("(hover: none) and (pointer: coarse)").matches; // or until a key is pressed
let newest = null; // the policy that acts inside the page, or the version that was chosen
let nextDemo = 0;

const game = new Game({ physics, court, draw: view.draw, hear: { step, phase } });

// -- who plays --------------------------------------------------------------------------------------

const versions = new VersionChoice({ select: $("played-by"), hint: $("played-by-hint"), link, changed: playedBy });

/** The older version that plays; nobody learns from what it does. Of two people neither is one. */
const older = () => (mode === "two" ? null : versions.chosen);
const training = () => $("training").checked && older() === null;
const inPage = () => $("in-page").checked;

function leftPlayer() {
  if (mode === "demo") return new ScriptedOpponent(physics, court.levels[$("level").value]);
  return new Person(input, "left");
}

function rightPlayer() {
  const lost = (message) => game.lose(message);
  const decided = (decision) => log.add(decision);
  const recorder = training() && (mode === "two" || inPage()) ? new Recorder({ link, lost }) : null;
  if (mode === "two") return new PersonInPolicysPlace({ physics, input, recorder });
  if (inPage() && newest) {
    const steps = () => live.status?.env_steps ?? 0;
    const acting = { newest: () => newest, steps, training: training(), recorder };
    return new InPagePolicy({ physics, decided, ...acting });
  }
  const late = () => log.late();
  const version = versions.chosen;
  return new ServedPolicy({ link, physics, training: training(), version, lost, decided, late });
}

/** Whether this game can go on with no policy server. */
const alone = () => !training() && (mode === "two" || (inPage() && newest !== null));

function start() {
  log.clear();
  input.alone = mode === "one";
  game.start(leftPlayer(), rightPlayer());
  if (live.problem && !alone()) game.lose(live.problem);
  $("court").focus({ preventScroll: true });
}

function choose(chosen) {
  mode = chosen;
  for (const button of document.querySelectorAll("[data-mode]")) {
    button.setAttribute("aria-pressed", button.dataset.mode === mode);
  }
  $("level-choice").hidden = mode !== "demo";
  game.abandon();
  label();
}

function label() {
  const { left, right } = MODES[mode];
  $("left-name").textContent = left;
  $("right-name").textContent = older() === null ? right : `Policy v${older()}`;
  $("training").disabled = older() !== null;
  $("how").textContent = how();
  $("pausing").hidden = !keyboard;
  $("training-hint").textContent = training() ? learns() : "Nothing of this game reaches the learner.";
}

const how = () => MODES[mode][keyboard ? "keys" : "fingers"];

/** What becomes of a game that trains, in words. */
function learns() {
  const run = live.status?.run;
  // On-policy: only what the server's own policy has chosen counts.
  if ((run === "PG" || run === "PPO") && (mode === "two" || inPage())) {
    return `It learns nothing from this: ${run} counts only moves that the server chooses. DQN would learn.`;
  }
  if (mode === "two") return "It learns from what the right player does.";
  return `${explores()}, and learns from every step.`;
}

/** How much of what it does is chance, in words. */
function explores() {
  const { run, exploration } = live.status ?? {};
  if (run === "PG" || run === "PPO") return "It draws its moves by chance, the better ones more often";
  if (exploration === undefined) return "It explores";
  const share = `${Math.round(100 * exploration)}%`;
  if (exploration > 0.5) return `It still explores most of the time (${share} of its moves are random)`;
  return `It explores ${exploration > 0.1 ? "now and then" : "a little"} (${share} of its moves are random)`;
}

// -- what happens -----------------------------------------------------------------------------------

function step(state, event) {
  sound.play(event);
  if (!event.endsWith("scores")) return;
  showScore(state);
  const scorer = event.startsWith("left") ? $("left-name") : $("right-name");
  announce(`${scorer.textContent} scored. ${score(state)}.`);
}

function phase(now, message) {
  input.active = now === "playing";
  document.body.dataset.phase = now;
  const { state } = game ?? {};
  if (now === "ready" && state) showScore({ leftScore: 0, rightScore: 0 });
  if (now === "playing") showScore(state);
  if (now === "over") nextDemo = performance.now() + NEXT_DEMO_AFTER;
  const texts = {
    ready: ["Pong", how(), "Start"],
    paused: ["Paused", "", "Go on"],
    lost: ["Waiting for the server", message, ""],
    over: [state && winner(state), state && score(state), "Play again"],
  };
  const [title, text, action] = texts[now] ?? ["", "", ""];
  $("overlay").hidden = now === "playing";
  $("overlay-title").textContent = title;
  tell($("overlay-text"), text);
  $("overlay-hope").hidden = now !== "lost";
  $("overlay-button").textContent = action;
  $("overlay-button").hidden = !action;
  $("pause").disabled = now !== "playing" && now !== "paused";
  $("pause").textContent = now === "paused" ? "Go on" : "Pause";
  if (now !== "playing" && now !== "ready") announce(`${title}. ${text}`);
  if (now === "paused" || now === "over") $("overlay-button").focus({ preventScroll: true });
}

function winner(state) {
  if (state.leftScore === state.rightScore) return "A draw";
  const name = (state.leftScore > state.rightScore ? $("left-name") : $("right-name")).textContent;
  return name === "You" ? "You win" : `${name} wins`;
}

const score = (state) =>
  `${$("left-name").textContent} ${state.leftScore}, ${$("right-name").textContent} ${state.rightScore}`;

function showScore({ leftScore, rightScore }) {
  $("left-score").textContent = leftScore;
  $("right-score").textContent = rightScore;
}

function announce(text) {
  $("announcer").textContent = text;
}

// -- the controls -----------------------------------------------------------------------------------

function goOn() {
  if (game.phase === "paused") game.resume();
  else if (game.phase !== "playing" && game.phase !== "lost") start();
  $("court").focus({ preventScroll: true });
}

function togglePause() {
  if (game.playing) game.pause();
  else if (game.phase === "paused") goOn();
}

for (const button of document.querySelectorAll("[data-mode]")) {
  button.addEventListener("click", () => choose(button.dataset.mode));
}
$("overlay-button").addEventListener("click", goOn);
$("pause").addEventListener("click", togglePause);
$("sound").addEventListener("click", () => {
  const on = sound.toggle();
  $("sound").setAttribute("aria-pressed", on);
  $("sound").textContent = on ? "Sound on" : "Sound off";
});
$("level").addEventListener("change", () => choose("demo"));
$("training").addEventListener("change", () => {
  label();
  game.replaceRight(rightPlayer());
});
$("in-page").addEventListener("change", async () => {
  if (inPage() && !(await fetchPolicy())) return;
  game.replaceRight(rightPlayer());
  $("in-page-hint").textContent = inPage() ? inPageHint() : $("in-page-hint").dataset.off;
});

/** Another version was chosen. */
async function playedBy() {
  label();
  if (inPage()) await fetchPolicy();
  if (mode !== "two") game.replaceRight(rightPlayer());
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (!keyboard) {
    keyboard = true;
    label();
  }
  const ours = event.target === document.body || event.target === $("court");
  if (event.code === "KeyP" || event.code === "Escape" || (ours && event.code === "Space")) {
    if (game.underWay) togglePause();
    else if (event.code === "Space") goOn();
    else return;
    event.preventDefault();
  } else if (ours && event.code === "Enter" && !game.playing) {
    event.preventDefault();
    goOn();
  }
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) game.pause();
});
addEventListener("pagehide", () => game.abandon(true));

// -- how learning goes ------------------------------------------------------------------------------

const inPageHint = () => `Policy v${newest.version} acts here, in the page.`;

async function fetchPolicy() {
  try {
    const version = versions.chosen;
    newest = new Policy(await link.get(version === null ? "policy" : `policy?version=${version}`));
    $("in-page-hint").textContent = inPageHint();
    return true;
  } catch (error) {
    if (newest) return true; // an older one does meanwhile
    $("in-page").checked = false;
    $("in-page-hint").textContent = `There is no policy to be had: ${error.message}`;
    return false;
  }
}

async function look() {
  try {
    live = await link.get("live");
    if (live.problem) live.problem = sentence(live.problem);
    live.nobody = live.status ? "another policy server" : "no policy server";
  } catch (error) {
    const nobody = error instanceof Lost ? "no web server" : "no access";
    live = { ...live, problem: error.message, nobody };
  }
  showLive(live);
  label();
  if (live.problem && live.problem !== game.missing && !alone()) game.lose(live.problem);
  if (!live.problem || alone()) game.found();
  if (mode === "demo" && game.phase === "over" && performance.now() > nextDemo) start();
}

async function keepLooking() {
  let [frames, then, fetched] = [game.frames, performance.now(), 0];
  for (;;) {
    await look();
    const now = performance.now();
    const rate = Math.round((1000 * (game.frames - frames)) / Math.max(now - then, 1));
    log.showLatency(game.playing ? rate : null);
    [frames, then] = [game.frames, now];
    if (!live.problem) await versions.offer();
    const wanted = versions.chosen ?? live.status?.policy_version;
    const renewed = inPage() && !live.problem && wanted !== newest?.version;
    if (renewed && now - fetched > FETCH_EVERY) {
      await fetchPolicy();
      fetched = performance.now();
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY));
  }
}

$("level").append(
  ...Object.keys(court.levels).map((name) => {
    const chosen = name === court.default_level;
    return new Option(name, name, chosen, chosen);
  }),
);
$("log").open = matchMedia("(min-width: 60rem)").matches;
$("in-page-hint").dataset.off = $("in-page-hint").textContent;
choose("one");
keepLooking();
