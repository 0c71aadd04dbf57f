// What stands beside the court: how learning goes, and every decision.

const ROWS = 40; // decisions that can be looked back on
const WRITE_EVERY = 250; // ms; laying out a table at every step would take time from the game
const ACTIONS = ["stay", "down", "up"];
const ARROWS = ["•", "↓", "↑"];
const SVG = "http://www.w3.org/2000/svg";

const $ = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const signed = (number, digits) => `${number < 0 ? "−" : ""}${Math.abs(number).toFixed(digits)}`;

/**
 * Version, exploration, mean return, steps, state: from `GET live`. `nobody` says in a word or two
 * who is missing if there is a problem.
 */
export function showLive({ status, problem, curve, nobody }) {
  const pill = $("connection");
  pill.dataset.state = problem ? "problem" : status.state;
  pill.textContent = problem ? nobody : said(status);
  tell($("problem"), problem ?? "");
  $("problem").hidden = !problem;
  $("version").textContent = status ? `v${whole.format(status.policy_version)}` : "–";
  // A policy gradient has no share of random actions: it draws all of them.
  const explores = status?.run === "DQN" ? `${Math.round(100 * status.exploration)}%` : "by chance";
  $("exploration").textContent = status ? explores : "–";
  const mean = status?.mean_return ?? null;
  $("return").textContent = mean === null ? "–" : signed(mean, 1);
  // Before the first update nothing was learned from the steps that are there.
  const learned = status?.updates ? status.env_steps - status.steps_waiting : 0;
  $("steps").textContent = status ? whole.format(learned) : "–";
  drawCurve($("curve"), curve ?? []);
}

/** Writes a sentence; a command to be typed, which it may end with, stands on a line of its own. */
export function tell(element, message) {
  const [, sentence, command] = message.match(/^(.*?)(?:: (python .*))?$/s);
  element.replaceChildren(sentence + (command ? ":" : ""));
  if (command) {
    const code = element.appendChild(document.createElement("code"));
    code.className = "command";
    code.textContent = command;
  }
}

function said({ state, updates_per_second: rate, why }) {
  if (state === "learning" && rate > 0) return `learning, ${whole.format(rate)} updates/s`;
  if (state === "starting" || state === "restarting") return `the learner is ${state}`;
  return state === "failed" ? `learning failed: ${why}` : state;
}

/** Mean return over env steps, as a line. */
function drawCurve(svg, points) {
  const [width, height, left, bottom] = [320, 120, 30, 18];
  const returns = points.map(([, value]) => value);
  const [low, high] = [Math.min(-5, ...returns), Math.max(5, ...returns)];
  const most = Math.max(1000, ...points.map(([steps]) => steps));
  const x = (steps) => left + (steps / most) * (width - left - 6);
  const y = (value) => 6 + ((high - value) / (high - low)) * (height - bottom - 6);
  const parts = [];
  for (const value of [-5, 0, 5]) {
    parts.push(made("line", { x1: left, x2: width - 6, y1: y(value), y2: y(value), class: "grid" }));
    parts.push(made("text", { x: left - 5, y: y(value) + 3.5, class: "tick end" }, signed(value, 0)));
  }
  parts.push(made("text", { x: left, y: height - 4, class: "tick" }, "0"));
  const far = most >= 10_000 ? `${whole.format(most / 1000)}k env steps` : `${whole.format(most)} env steps`;
  parts.push(made("text", { x: width - 6, y: height - 4, class: "tick end" }, far));
  if (points.length) {
    const line = points.map(([steps, value]) => `${x(steps).toFixed(1)},${y(value).toFixed(1)}`);
    parts.push(made("polyline", { points: line.join(" "), class: "curve" }));
    const [steps, value] = points.at(-1);
    parts.push(made("circle", { cx: x(steps), cy: y(value), r: 3, class: "now" }));
  }
  svg.replaceChildren(...parts);
  const [steps, value] = points.at(-1) ?? [];
  svg.setAttribute(
    "aria-label",
    points.length
      ? `Learning curve: mean return ${signed(value, 1)} after ${whole.format(steps)} env steps`
      : "Learning curve: no game has ended yet",
  );
}

function made(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

/** The log of decisions: the latest one as bars, the ones before as a table. */
export class DecisionLog {
  #count = 0;
  #times = [];
  #late = 0;
  #unwritten = [];

  constructor() {
    this.body = $("decisions");
    this.bars = ACTIONS.map((_, action) => $(`bar-${action}`));
    setInterval(() => this.#write(), WRITE_EVERY);
  }

  add(decision) {
    this.#count++;
    this.#times.push(decision.milliseconds);
    if (this.#times.length > 400) this.#times.shift();
    this.#unwritten.unshift(decision);
    if (this.#unwritten.length > ROWS) this.#unwritten.pop();
  }

  /** A decision came too late, or has not come yet: the last action was held. */
  late() {
    this.#late++;
  }

  clear() {
    this.#count = this.#late = 0;
    this.#times = [];
  }

  showLatency(framesPerSecond) {
    const sorted = [...this.#times].sort((a, b) => a - b);
    const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
    const element = $("latency");
    Object.assign(element.dataset, {
      decisions: this.#count,
      late: this.#late,
      p50: at(0.5) ?? "",
      p99: at(0.99) ?? "",
      fps: framesPerSecond ?? "",
    });
    const rate = framesPerSecond ? ` ${framesPerSecond} frames/s.` : "";
    const trip = sorted.length ? `${at(0.5).toFixed(1)} ms each, 99% within ${at(0.99).toFixed(0)} ms` : "none yet";
    element.textContent =
      `${whole.format(this.#count)} decisions: ${trip}; ${this.#late} late.${rate}`;
  }

  #write() {
    if (!this.#unwritten.length || !$("log").open) return;
    const decisions = this.#unwritten.splice(0);
    this.#showBars(decisions[0]);
    this.body.prepend(...decisions.map((decision) => this.#row(decision)));
    while (this.body.rows.length > ROWS) this.body.lastElementChild.remove();
  }

  #showBars({ values, action }) {
    const [low, high] = [Math.min(...values), Math.max(...values)];
    this.bars.forEach((bar, i) => {
      const share = high > low ? (values[i] - low) / (high - low) : 0;
      bar.querySelector(".fill").style.width = `${8 + 92 * share}%`;
      bar.querySelector(".value").textContent = values.length ? signed(values[i], 3) : "–";
      bar.classList.toggle("taken", i === action);
    });
  }

  #row({ observation, values, action, greedy, version }) {
    const row = document.createElement("tr");
    row.dataset.action = action;
    const cells = [
      ...observation.map((number) => signed(number, 2)),
      ...values.map((number) => signed(number, 2)),
      `${ARROWS[action]} ${ACTIONS[action]}${greedy ? "" : " (explored)"}`,
      `v${version}`,
    ];
    for (const [i, text] of cells.entries()) {
      const cell = row.insertCell();
      cell.textContent = text;
      if (i >= observation.length) cell.className = "said";
      if (i === observation.length + action) cell.classList.add("taken");
    }
    return row;
  }
}
