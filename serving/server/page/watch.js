// Which episode is played back, and how: one that was chosen, or always the newest.

import { CartPoleDrawing, NumbersDrawing, PongDrawing } from "./look/drawings.js";
import { Player } from "./look/player.js";
import { get } from "./link.js";

const LOOK_EVERY = 250; // ms, at an open episode that goes on, ...
const LOOK_AGAIN = 1000; // ... and at one that does not, at the moment
const LAG = 1000; // ms that one may be behind an open episode that is played as slowly as it is drawn
const SILENT = 2000; // ms after which an open episode that is followed is left for a newer one
const SOFTWARE = /swiftshader|llvmpipe|softpipe|basic render/i; // what draws where there is no graphics card
const MOST_NUMBERS = 1_000_000; // of observations, in a page

export class Watch {
  #player;
  #size = [0, 0]; // of observations and actions
  #newest = null;
  #following = true;
  #busy = false;
  #chosen = null; // while something else was being fetched
  #kind = "";
  #grew = 0; // when the episode that is shown went on
  #looked = 0; // when the server was asked whether it did

  constructor({ root, follow, choice, told }) {
    Object.assign(this, { root, follow, choice, told });
    this.#player = new Player(root, { atEnd: () => this.#ended(), seek: () => this.#follow(false) });
    this.player = this.#player;
    follow.addEventListener("click", () => {
      this.#follow(!this.#following);
      if (this.#following) this.#goOn();
    });
    choice.addEventListener("change", () => this.#player.episode && this.#show(this.#player.episode, this.#player.step));
    document.addEventListener("keydown", (event) => {
      if (event.target === document.body) this.#player.key(event);
    });
    setInterval(() => this.#look(), LOOK_EVERY);
  }

  /** What the server says: its sizes, and which episode is the newest. */
  hear({ status, newest }) {
    const { observation_size: numbers, action_size: actions } = status;
    if (this.#size.join() !== `${numbers},${actions}`) {
      this.#size = [numbers, actions];
      for (const option of this.choice.options) {
        option.hidden = !["", "numbers", this.#natural()].includes(option.value);
      }
    }
    this.#newest = newest;
    this.sparing = status.updates_per_second > 0 && processorDraws();
    this.#spare();
    if (this.#following && newest && !this.#player.episode) this.#goOn();
  }

  /** Plays this episode, and no other after it. */
  async choose(id) {
    this.#follow(false);
    if (this.#busy) {
      this.#chosen = id;
    } else if (id === this.watched) {
      this.#player.jump(0);
      this.#player.play();
    } else {
      await this.#load(id);
    }
  }

  get watched() {
    return this.#player.episode?.episode_id ?? null;
  }

  #follow(on) {
    this.#following = on;
    this.follow.setAttribute("aria-pressed", on);
    this.#spare();
  }

  /** Few pictures of what plays by itself; what somebody chose is drawn as well as can be. */
  #spare() {
    this.#player.sparing = this.sparing && this.#following;
  }

  #natural() {
    return { "4,2": "cartpole", "8,3": "pong" }[this.#size.join()] ?? "numbers";
  }

  async #goOn() {
    if (this.#busy || !this.#newest || this.#newest === this.watched) return;
    await this.#load(this.#newest);
  }

  async #load(id) {
    if (this.#busy) return;
    this.#busy = true;
    try {
      const episode = await (await get(address(id))).json();
      if (!episode.observations.length) return;
      const most = Math.max(2, Math.floor(MOST_NUMBERS / episode.observations[0].length));
      await this.#show(shortened(episode, most), 0);
      this.#player.play();
    } catch (error) {
      this.told.textContent = `${error.message}.`; // it is not remembered any more, or nobody answers
    } finally {
      this.#free();
    }
  }

  #free() {
    this.#busy = false;
    const id = this.#chosen;
    this.#chosen = null;
    if (id && id !== this.watched) this.#load(id);
  }

  async #show(episode, step) {
    this.#kind = this.choice.value || this.#natural();
    const stage = this.#player.stage;
    let drawing;
    if (this.#kind === "cartpole") drawing = new CartPoleDrawing(stage);
    else if (this.#kind === "pong") drawing = new PongDrawing(stage, await court());
    else drawing = new NumbersDrawing(stage);
    this.root.dataset.drawn = this.#kind;
    this.root.dataset.episode = episode.episode_id;
    this.#player.show(episode, drawing, step);
    this.#grew = performance.now();
    this.#tell(episode);
  }

  #tell({ episode_id: id, training_enabled: trains, ending }) {
    const kind = trains ? "trains the policy" : "evaluates it";
    const how = ending === null ? "is being played" : `ended: ${ending}`;
    this.told.textContent = `Episode ${id} ${kind}, ${how}.`;
  }

  /** An open episode grows while it is watched. */
  async #look() {
    const player = this.#player;
    const episode = player.episode;
    if (this.#busy || !episode || episode.ending !== null || document.hidden) {
      if (!this.#busy && this.#following && episode && !player.playing && player.step >= player.length) this.#goOn();
      return;
    }
    const silent = performance.now() - this.#grew;
    if (this.#following && silent > SILENT && player.step >= player.length && this.#newest !== this.watched) {
      this.#goOn(); // whoever played it was interrupted, and plays another one
      return;
    }
    if (silent > SILENT && performance.now() - this.#looked < LOOK_AGAIN) return;
    this.#looked = performance.now();
    this.#busy = true;
    try {
      // The latest step's reward may not have been there yet.
      const since = episode.dropped_steps + Math.max(0, episode.actions.length - 1);
      const more = await (await get(`${address(episode.episode_id)}?since=${since}`)).json();
      if (more.dropped_steps === since) this.#extend(episode, more);
      else if (this.#following) player.show(more, new NumbersDrawing(player.stage)); // far behind
    } catch {
      // Nobody answers: the page says so already.
    } finally {
      this.#free();
    }
  }

  #extend(episode, more) {
    const keep = Math.max(0, episode.actions.length - 1);
    const grown = { ...more, dropped_steps: episode.dropped_steps };
    for (const name of ["observations", "actions", "rewards", "sources", "policy_versions", "seconds"]) {
      grown[name] = [...episode[name].slice(0, keep), ...more[name]];
    }
    if (grown.actions.length === episode.actions.length && grown.ending === null) return;
    const player = this.#player;
    this.#grew = performance.now();
    player.extend(grown);
    if (grown.ending !== episode.ending) this.#tell(grown);
    // An episode that is played at the drawing's own pace is watched live.
    const behind = player.length - player.step;
    const pace = (1000 * (grown.seconds.at(-1) ?? 0)) / Math.max(1, grown.actions.length);
    if (this.#following && pace > 0.5 * player.pace && behind * player.pace > LAG) {
      player.jump(player.length - 1);
    }
    if (this.#following && !player.playing) player.play();
  }

  #ended() {
    if (this.#following && this.#player.episode.ending !== null) this.#goOn();
  }
}

let byProcessor = null;

/** Whether this browser draws without a graphics card: with the processor, on which a policy learns if
    both are on one machine. */
function processorDraws() {
  if (byProcessor === null) {
    const context = document.createElement("canvas").getContext("webgl", { failIfMajorPerformanceCaveat: true });
    const names = context?.getExtension("WEBGL_debug_renderer_info");
    byProcessor = !context || SOFTWARE.test(names && context.getParameter(names.UNMASKED_RENDERER_WEBGL));
    context?.getExtension("WEBGL_lose_context")?.loseContext();
  }
  return byProcessor;
}

const address = (id) => `episodes/${encodeURIComponent(id)}`;

/** The latest `most` steps of an episode. */
function shortened(episode, most) {
  const extra = episode.actions.length - most;
  if (extra <= 0) return episode;
  const cut = { ...episode, dropped_steps: episode.dropped_steps + extra };
  for (const name of ["observations", "actions", "rewards", "sources", "policy_versions", "seconds"]) {
    cut[name] = episode[name].slice(extra);
  }
  return cut;
}

let parts = null;

/** Pong's own drawing, loaded where it is needed. */
async function court() {
  parts ??= Promise.all([
    import("./pong/court-view.js"),
    import("./pong/physics.js"),
    fetch(new URL("pong/court.json", import.meta.url)).then((answer) => answer.json()),
  ]).then(([{ CourtView }, { makePhysics }, numbers]) => ({ CourtView, makePhysics, court: numbers }));
  return parts;
}
