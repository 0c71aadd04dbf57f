// Plays an episode back: a drawing, actions and rewards over time, and controls for mouse and keys.
// No imports but drawings.js, whose names a notebook has in the same script.

import { columns, element, hue, short } from "./drawings.js";

const SPEEDS = [0.1, 0.25, 0.5, 1, 2, 4, 10];
const FRAME = 25; // ms at least between two frames, ...
const SPARING = 500; // ... where each of them takes time from a policy that learns, ...
const TELL = 200; // ... and between two texts while it plays: more often nobody can read
const WIDTH = 600; // of the strip, in its own units
const ACTIONS_HIGH = 22; // of the strip's height ...
const REWARDS_HIGH = 24; // ... and below it
const SIGNS = { // as paths: not every font has them
  start: "M1 3h1v10h-1zM7 3v10l-5-5zM14 3v10l-7-5z",
  back: "M13 3h-2v10h2zM9 3v10l-7-5z",
  play: "M4 3v10l9-5z",
  pause: "M4 3h3v10h-3zM9 3h3v10h-3z",
  on: "M3 3h2v10h-2zM7 3v10l7-5z",
  end: "M2 3v10l7-5zM9 3v10l5-5zM14 3h1v10h-1z",
};

/**
 * Builds itself into `root`. An episode is a transcript as `GET /episodes/NAME` answers it, from its
 * first step that is known.
 */
export class Player {
  #episode = null;
  #drawing = null;
  #step = 0;
  #from = -1; // the step that was drawn before, where it plays
  #due = 0; // share of the next step
  #last = 0; // when the latest frame was
  #frame = 0;
  #timer = 0;
  #told = -Infinity; // when the texts were written

  /** `atEnd` is called when playing has come to the last step; `seek` when somebody chose a step. */
  constructor(root, { atEnd = () => {}, seek = () => {} } = {}) {
    this.root = root;
    this.atEnd = atEnd;
    this.onSeek = seek;
    this.speed = 1;
    this.sparing = false; // whether fewer frames will do
    root.classList.add("player");
    const button = (label, says, act) => {
      const sign = element("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, element("path", { d: SIGNS[label] }));
      const made = element("button", { type: "button", "aria-label": says, title: says }, sign);
      made.addEventListener("click", act);
      return made;
    };
    this.stage = element("div", { class: "picture", tabindex: "0", role: "group", "aria-label": "The episode: space plays, arrows step" });
    this.strip = element("svg", { class: "strip", viewBox: `0 0 ${WIDTH} ${ACTIONS_HIGH + REWARDS_HIGH}`, preserveAspectRatio: "none", role: "img", "aria-label": "Actions and rewards over time" });
    this.slider = element("input", { type: "range", min: 0, max: 0, value: 0, "aria-label": "Step" });
    this.slider.addEventListener("input", () => this.seek(Number(this.slider.value)));
    this.toggle = button("play", "Play (space)", () => (this.playing ? this.pause() : this.play()));
    this.speeds = element("select", { "aria-label": "Speed" }, ...SPEEDS.map((speed) => element("option", { value: speed }, `${speed}×`)));
    this.speeds.value = "1";
    this.speeds.addEventListener("change", () => (this.speed = Number(this.speeds.value)));
    const controls = element(
      "div",
      { class: "controls" },
      button("start", "To the start (Home)", () => this.seek(0)),
      button("back", "A step back (←)", () => this.seek(this.step - 1)),
      this.toggle,
      button("on", "A step on (→)", () => this.seek(this.step + 1)),
      button("end", "To the end (End)", () => this.seek(this.length)),
      this.speeds,
    );
    this.told = element("p", { class: "told" });
    this.numbers = element("p", { class: "told numbers-told" });
    root.replaceChildren(this.stage, this.told, this.strip, this.slider, controls, this.numbers);
    root.addEventListener("keydown", (event) => this.key(event));
  }

  get step() {
    return this.#step;
  }

  /** The last step that can be shown; its observation is there, an action may not be. */
  get length() {
    return Math.max(0, (this.#episode?.observations.length ?? 0) - 1);
  }

  get episode() {
    return this.#episode;
  }

  get playing() {
    return this.root.dataset.playing === "true";
  }

  get pace() {
    return this.#drawing?.pace ?? 50;
  }

  /** Another episode, from `step` on, drawn by `drawing`. */
  show(episode, drawing, step = 0) {
    this.#episode = episode;
    this.#drawing = drawing;
    this.#due = 0;
    this.#layOut();
    this.#draw(step);
  }

  /** The same episode went on: `episode` holds all of it. */
  extend(episode) {
    const waited = this.#step >= this.length;
    this.#episode = episode;
    this.#layOut();
    this.#draw(this.#step, this.#from);
    if (this.playing && waited) this.#goOn();
  }

  play() {
    if (!this.#episode) return;
    if (this.#step >= this.length && this.#episode.ending) this.#draw(0);
    this.root.dataset.playing = "true";
    this.#label("pause", "Pause (space)");
    this.#goOn();
  }

  pause() {
    this.root.dataset.playing = "false";
    this.#label("play", "Play (space)");
    this.#stop();
    if (this.#episode) this.#tell();
  }

  /** Goes to a step, as a person chose to. */
  seek(step) {
    this.pause();
    this.jump(step);
    this.onSeek();
  }

  jump(step) {
    if (this.#episode) this.#draw(Math.max(0, Math.min(this.length, step)));
  }

  /** What keys do; returns whether this was one of them. */
  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.tagName === "SELECT") return false;
    if (event.key === " " && event.target.tagName === "BUTTON") return false; // it presses the button
    const keys = {
      " ": () => (this.playing ? this.pause() : this.play()),
      ArrowLeft: () => this.seek(this.#step - 1),
      ArrowRight: () => this.seek(this.#step + 1),
      Home: () => this.seek(0),
      End: () => this.seek(this.length),
      "+": () => this.#faster(1),
      "-": () => this.#faster(-1),
    };
    if (!keys[event.key] || !this.#episode) return false;
    keys[event.key]();
    event.preventDefault();
    event.stopPropagation();
    return true;
  }

  #faster(by) {
    const at = SPEEDS.indexOf(this.speed) + by;
    this.speed = SPEEDS[Math.max(0, Math.min(SPEEDS.length - 1, at))];
    this.speeds.value = String(this.speed);
  }

  #label(sign, says) {
    this.toggle.querySelector("path").setAttribute("d", SIGNS[sign]);
    this.toggle.setAttribute("aria-label", says);
    this.toggle.title = says;
  }

  #goOn() {
    this.#last = performance.now();
    this.#next();
  }

  /** Asks for a frame once there is another step to draw. A browser that is asked for each frame makes
      sixty a second, also of those that change nothing. */
  #next() {
    this.#stop();
    const due = ((1 - this.#due) * this.pace) / this.speed;
    const wait = Math.max(this.sparing ? SPARING : FRAME, due);
    this.#timer = setTimeout(() => (this.#frame = requestAnimationFrame((now) => this.#go(now))), wait);
  }

  #stop() {
    clearTimeout(this.#timer);
    cancelAnimationFrame(this.#frame);
  }

  #go(now) {
    if (!this.playing) return;
    this.#due += (Math.max(0, now - this.#last) / this.pace) * this.speed;
    this.#last = Math.max(now, this.#last); // a frame's time may lie before the click that began it
    const steps = Math.floor(this.#due);
    if (steps) {
      this.#due -= steps;
      const step = Math.min(this.length, this.#step + steps);
      if (step !== this.#step) this.#draw(step, this.#step);
      if (step === this.length) {
        this.#due = 0;
        if (this.#episode.ending) this.pause();
        this.atEnd();
        return; // an open one may go on: see `extend`
      }
    }
    this.#next();
  }

  #draw(step, from = step - 1) {
    this.#step = step;
    this.#from = from;
    this.#drawing.draw(this.#episode, step, from);
    const x = this.#x(step + 0.5);
    this.cursor.setAttribute("x1", x);
    this.cursor.setAttribute("x2", x);
    this.root.dataset.step = step;
    if (!this.playing || performance.now() - this.#told > TELL) this.#tell();
  }

  /** The step in words and numbers. */
  #tell() {
    const { observations, actions, rewards, policy_versions: versions, sources, dropped_steps: dropped = 0 } = this.#episode;
    const step = this.#step;
    this.#told = performance.now();
    this.slider.value = step;
    const total = this.totals[Math.min(step, this.totals.length - 1)] ?? 0;
    const parts = [`step ${dropped + step} of ${dropped + actions.length}`];
    if (step < actions.length) {
      const who = sources[step] === "log" ? "logged" : `by v${versions[step]}`;
      parts.push(`action ${actions[step]} ${who}`, `reward ${short(rewards[step])}`);
    } else if (this.#episode.ending) parts.push(this.#episode.ending);
    parts.push(`return ${short(total)}`);
    this.told.textContent = parts.join(" · ");
    const seen = observations[step];
    this.numbers.textContent = `observation ${seen.slice(0, 12).map(short).join("  ")}${seen.length > 12 ? " …" : ""}`;
  }

  #x = (step) => (step / Math.max(1, this.length + 1)) * WIDTH;

  #layOut() {
    const { actions, rewards, observations } = this.#episode;
    this.slider.max = this.length;
    let total = 0;
    this.totals = rewards.map((reward) => (total += reward));
    const at = columns(actions.length);
    const wide = at.length > 1 ? at[1] : 1;
    const kinds = Math.max(2, ...at.map((step) => actions[step] + 1));
    const row = ACTIONS_HIGH / Math.min(kinds, 6);
    const marks = new Map();
    const bars = [];
    const sums = at.map((step) => rewards.slice(step, step + wide).reduce((a, b) => a + b, 0));
    const most = Math.max(1e-9, ...sums.map(Math.abs));
    const middle = ACTIONS_HIGH + (sums.some((sum) => sum < 0) ? REWARDS_HIGH / 2 : REWARDS_HIGH);
    const tallest = middle === ACTIONS_HIGH + REWARDS_HIGH ? REWARDS_HIGH - 3 : REWARDS_HIGH / 2 - 1;
    at.forEach((step, k) => {
      const action = actions[step] % 6;
      const [x, width] = [this.#x(step), this.#x(wide) + 0.2];
      const mark = `M${x.toFixed(2)} ${(action * row).toFixed(1)}h${width.toFixed(2)}v${(row - 1).toFixed(1)}h${(-width).toFixed(2)}z`;
      marks.set(action, (marks.get(action) ?? "") + mark);
      const tall = (sums[k] / most) * tallest;
      if (tall) bars.push(`M${x.toFixed(2)} ${middle}h${width.toFixed(2)}v${(-tall).toFixed(1)}h${(-width).toFixed(2)}z`);
    });
    this.cursor = element("line", { y1: 0, y2: ACTIONS_HIGH + REWARDS_HIGH, class: "cursor" });
    this.strip.replaceChildren(
      ...[...marks].map(([action, d]) => element("path", { d, fill: hue(action) })),
      element("path", { d: bars.join(""), class: "rewards" }),
      this.cursor,
    );
    this.root.dataset.rows = observations.length;
  }
}
