// "Play it yourself": CartPole by keyboard or by finger, against what the policy has reached.

import { CartPoleDrawing, element } from "./look/drawings.js";
import { MOST_STEPS, isOver, start, step } from "./cartpole.js";

const STEP = 20; // ms, as CartPole has it
const KEYS = { ArrowLeft: 0, ArrowRight: 1, a: 0, d: 1 };
const BEST = "cartpole-best"; // in the browser's own memory

export class Game {
  #state = start();
  #actions = [];
  #held = []; // keys that are down, the latest last
  #due = 0;
  #last = 0;
  #policys = null; // [best, mean] returns

  constructor({ root, stage, begin, slower, said }) {
    Object.assign(this, { root, begin, slower, said });
    this.drawing = new CartPoleDrawing(stage);
    begin.addEventListener("click", () => this.start());
    stage.addEventListener("keydown", (event) => this.#key(event, true));
    stage.addEventListener("keyup", (event) => this.#key(event, false));
    stage.addEventListener("blur", () => (this.#held = []));
    stage.addEventListener("pointerdown", (event) => {
      const box = stage.getBoundingClientRect();
      this.#held = [["finger", event.clientX < box.left + box.width / 2 ? 0 : 1]];
      if (!this.isPlaying) this.start();
    });
    for (const name of ["pointerup", "pointercancel", "pointerleave"]) {
      stage.addEventListener(name, () => (this.#held = []));
    }
    this.stage = stage;
    this.#draw();
  }

  get isPlaying() {
    return this.root.dataset.phase === "playing";
  }

  /** What the policy has reached: its best return, and the mean of its latest 20. */
  compare(best, mean) {
    this.#policys = best === null ? null : [best, mean];
    if (!this.isPlaying) this.#tell();
  }

  start() {
    this.#state = start();
    this.#actions = [];
    this.root.dataset.phase = "playing";
    this.#due = 0;
    this.#last = performance.now();
    this.stage.focus({ preventScroll: true });
    requestAnimationFrame((now) => this.#go(now));
  }

  #key(event, down) {
    const action = KEYS[event.key];
    if (event.key === " " && down && !this.isPlaying) this.start();
    else if (action === undefined) return;
    else {
      this.#held = this.#held.filter(([key]) => key !== event.key);
      if (down) this.#held.push([event.key, action]);
    }
    event.preventDefault();
  }

  /** Every step pushes; who presses nothing pushes to and fro. */
  #action() {
    return this.#held.at(-1)?.[1] ?? this.#actions.length % 2;
  }

  #go(now) {
    this.#due += Math.max(0, now - this.#last) / (STEP * Number(this.slower.value));
    this.#last = Math.max(now, this.#last);
    // A page that was out of sight does not make up for it.
    for (this.#due = Math.min(this.#due, 5); this.#due >= 1 && this.isPlaying; this.#due--) {
      const action = this.#action();
      this.#actions.push(action);
      this.#state = step(this.#state, action);
      if (isOver(this.#state) || this.#actions.length === MOST_STEPS) this.#end();
    }
    this.#draw();
    if (this.isPlaying) requestAnimationFrame((next) => this.#go(next));
  }

  #draw() {
    this.drawing.draw({ observations: [this.#state], actions: this.#actions.slice(-1) }, 0);
    this.root.dataset.state = JSON.stringify(this.#state);
    this.root.dataset.steps = this.#actions.length;
    this.#tell();
  }

  #end() {
    this.root.dataset.phase = "over";
    const name = `${BEST}-${this.slower.value}`;
    localStorage.setItem(name, Math.max(this.#actions.length, this.#best()));
  }

  #best = () => Number(localStorage.getItem(`${BEST}-${this.slower.value}`) ?? 0);

  #tell() {
    const mine = this.isPlaying || this.#actions.length ? `${this.#actions.length} steps. ` : "";
    const best = this.#best() ? `Your best${this.slower.value === "1" ? "" : " at this pace"}: ${this.#best()}. ` : "";
    const policys = this.#policys
      ? `The policy's best: ${this.#policys[0]}, and ${this.#policys[1].toFixed(1)} on average of its latest 20.`
      : "The policy has not finished an episode yet.";
    const text = mine + best + policys;
    if (this.said.textContent !== text) this.said.replaceChildren(element("span", {}, text));
  }
}
