// Versions of the policy side by side: the same start of CartPole, played inside the page by each, and
// where they would have decided otherwise.

import { CartPoleDrawing, element, short } from "./look/drawings.js";
import { MOST_STEPS, isOver, start, step } from "./cartpole.js";
import { get } from "./link.js";

const LANES = 3;
const PACE = 20; // ms a step
const GONE = 410; // the status of a version that is not kept any more
const WAYS = ["left", "right"];
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** What a policy does from `state` on: states, actions, and for each whether `others` differ. */
export function played(policy, others, state) {
  const [states, actions, differs] = [[state], [], []];
  while (actions.length < MOST_STEPS && !isOver(states.at(-1))) {
    const seen = states.at(-1);
    const { action } = policy.act(seen);
    differs.push(others.filter((other) => other.act(seen).action !== action).map((other) => other.version));
    actions.push(action);
    states.push(step(seen, action));
  }
  return { states, actions, differs };
}

export class TimeTravel {
  #policies = new Map(); // those that were fetched
  #asked = false;
  #step = 0;
  #last = 0;
  #due = 0;

  constructor({ root, lanes, again, said }) {
    Object.assign(this, { root, said });
    this.lanes = Array.from({ length: LANES }, (_, i) => new Lane(i, () => this.#play()));
    lanes.replaceChildren(...this.lanes.map((lane) => lane.root));
    again.addEventListener("click", () => this.#play(true));
    root.addEventListener("toggle", () => root.open && this.#open());
    this.state = start();
  }

  /** A server that was started anew keeps other policies. */
  forget() {
    this.#policies.clear();
    this.#asked = false;
  }

  async #open() {
    try {
      await this.#ask();
    } catch (error) {
      this.said.textContent = `${error.message}.`;
      return;
    }
    await this.#play();
  }

  /** Which versions the server keeps: while a policy learns, some are left out every second. */
  async #ask() {
    const { policies: kept } = await (await get("policies")).json();
    for (const lane of this.lanes) lane.offer(kept, this.#asked);
    this.#asked = true;
  }

  /** Lets every lane's version play, from where they started before or from another start. */
  async #play(anew = false) {
    if (anew) {
      this.state = start();
      await this.#open();
      return;
    }
    let policies;
    try {
      policies = await this.#chosen();
    } catch (error) {
      this.said.textContent = `${error.message}.`;
      return;
    }
    this.lanes.forEach((lane, i) => {
      const others = policies.filter((other) => other.version !== policies[i].version);
      lane.show(played(policies[i], others, this.state));
    });
    this.root.dataset.start = JSON.stringify(this.state);
    const lengths = this.lanes.map((lane) => `v${lane.version} stands for ${lane.length} steps`);
    this.said.textContent = `From the same start ${lengths.join(", ")}. Marks: another one would have decided otherwise.`;
    const before = this.#step;
    this.#step = this.#due = 0;
    this.#last = performance.now();
    if (!before || before >= Math.max(...this.lanes.map((lane) => lane.length))) {
      requestAnimationFrame((now) => this.#go(now));
    }
  }

  /** The lanes' policies. One that was left out since the server was asked makes way for the nearest. */
  async #chosen() {
    for (let tries = 3; ; tries--) {
      try {
        return await Promise.all(this.lanes.map((lane) => this.#policy(lane.version)));
      } catch (error) {
        if (error.status !== GONE || !tries) throw error;
        await this.#ask();
      }
    }
  }

  async #policy(version) {
    if (!this.#policies.has(version)) {
      const [{ Policy }, answer] = await Promise.all([
        import("./pong/policy.js"),
        get(`policy?version=${version}`),
      ]);
      this.#policies.set(version, new Policy(await answer.json()));
    }
    return this.#policies.get(version);
  }

  #go(now) {
    this.#due += Math.max(0, now - this.#last) / PACE;
    this.#last = Math.max(now, this.#last);
    this.#step += Math.floor(this.#due);
    this.#due %= 1;
    const end = Math.max(...this.lanes.map((lane) => lane.length));
    for (const lane of this.lanes) lane.draw(this.#step);
    if (this.#step < end && this.root.open) requestAnimationFrame((next) => this.#go(next));
    else this.#step = 0;
  }
}

/** The place of the version that is the least apart from this one. */
function nearest(kept, wanted) {
  const apart = kept.map(({ version }) => Math.abs(version - wanted));
  return apart.indexOf(Math.min(...apart));
}

/** One version: a slider over those that are kept, its cart, and where others would differ. */
class Lane {
  #kept = [];
  #game = null;

  constructor(place, changed) {
    this.place = place; // 0: the oldest version at first, ... the last: the newest
    this.slider = element("input", { type: "range", min: 0, max: 0, value: 0, "aria-label": `Version, number ${place + 1} of ${LANES}` });
    this.title = element("b", {});
    this.about = element("small", {});
    const stage = element("div", { class: "picture" });
    this.marks = element("svg", { class: "strip differences", viewBox: `0 0 ${MOST_STEPS} 8`, preserveAspectRatio: "none", role: "img", "aria-label": "Steps at which another version would decide otherwise" });
    this.told = element("p", { class: "told" });
    this.root = element("div", { class: "lane player" }, this.title, element("span", {}, " "), this.about, this.slider, stage, this.marks, this.told);
    this.drawing = new CartPoleDrawing(stage);
    this.slider.addEventListener("input", () => this.#name());
    this.slider.addEventListener("change", changed);
  }

  get version() {
    return this.#kept[Number(this.slider.value)].version;
  }

  get length() {
    return this.#game?.actions.length ?? 0;
  }

  /** Which versions there are; a choice that was made stays, or the nearest to it. */
  offer(kept, chosen) {
    const before = chosen ? this.version : null;
    this.#kept = kept;
    this.slider.max = kept.length - 1;
    const share = this.place / (LANES - 1);
    this.slider.value = before === null ? Math.round(share * (kept.length - 1)) : nearest(kept, before);
    this.#name();
  }

  show(game) {
    this.#game = game;
    const marks = game.differs.flatMap((others, at) => (others.length ? [`M${at} 0h1v8h-1z`] : []));
    this.marks.replaceChildren(element("path", { d: marks.join(""), class: "differs" }));
    this.root.dataset.version = this.version;
    this.root.dataset.actions = game.actions.join("");
    this.root.dataset.differs = game.differs.map((others) => (others.length ? "x" : ".")).join("");
    this.draw(0);
  }

  draw(wanted) {
    const { states, actions, differs } = this.#game;
    const at = Math.min(wanted, actions.length);
    this.drawing.draw({ observations: states, actions }, at);
    const others = differs[at] ?? [];
    this.root.classList.toggle("otherwise", others.length > 0);
    const else_ = others.length ? `: ${others.map((version) => `v${version}`).join(" and ")} would push ${WAYS[1 - actions[at]]}` : "";
    this.told.textContent = at < actions.length ? `step ${at}, pushes ${WAYS[actions[at]]}${else_}` : `${at} steps`;
  }

  #name() {
    const { version, env_steps: steps, mean_return: mean, names } = this.#kept[Number(this.slider.value)];
    this.title.textContent = `v${version}${names.length ? ` (${names.join(", ")})` : ""}`;
    this.about.textContent = `after ${whole.format(steps)} steps${mean === null ? "" : `, mean return ${short(mean)}`}`;
    this.slider.setAttribute("aria-valuetext", this.title.textContent);
  }
}
