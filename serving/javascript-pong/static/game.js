// One game at a time, in steps of 50 ms, drawn as often as the screen likes.

const SERVE_PAUSE = 700; // ms in which nothing moves, for people's sake; no step passes
const LONGEST_FRAME = 100; // ms; what a screen is later than that, the game stands still

/**
 * Phases: `ready`, `playing`, `paused`, `lost` (the server is; play goes on when it is back), `over`.
 *
 * hear: { step(state, event), phase(phase, message) } is told what happens.
 */
export class Game {
  constructor({ physics, court, draw, hear, random = Math.random }) {
    Object.assign(this, { physics, draw, hear, random });
    this.period = court.step_seconds * 1000;
    this.mostSteps = court.most_steps;
    this.phase = "ready";
    this.missing = ""; // who is, in a sentence, while the game is lost
    this.state = physics.start(random);
    this.before = this.state; // a step earlier, for drawing in between
    this.event = "";
    this.elapsed = 0; // ms since the latest step
    this.frames = 0;
    this.last = performance.now();
    requestAnimationFrame(this.#frame);
  }

  get playing() {
    return this.phase === "playing";
  }

  get underWay() {
    return this.phase === "playing" || this.phase === "paused" || this.phase === "lost";
  }

  start(left, right) {
    this.abandon();
    [this.left, this.right] = [left, right];
    this.state = this.before = this.physics.start(this.random);
    this.steps = 0;
    right.begin(this.state);
    this.#play();
  }

  pause() {
    if (this.playing) this.#enter("paused");
  }

  resume() {
    if (this.phase === "paused") this.#play();
  }

  /** The policy server cannot be reached: the game stands still until `found`. */
  lose(message) {
    if (this.playing || this.phase === "lost") this.#enter("lost", message);
  }

  found() {
    if (this.phase !== "lost") return;
    this.right.begin(this.state);
    this.#play();
  }

  /** Somebody else takes the right paddle, in the middle of the game. */
  replaceRight(player) {
    if (!this.underWay) return;
    this.right.end(this.state, true);
    this.right = player;
    player.begin(this.state);
  }

  /** Breaks the game off. */
  abandon(leaving = false) {
    if (this.underWay) this.right.end(this.state, true, leaving);
    this.#enter("ready");
  }

  #enter(phase, message = "") {
    this.phase = phase;
    this.missing = message;
    this.hear.phase(phase, message);
  }

  #play() {
    this.#wait();
    this.#enter("playing");
  }

  #wait() {
    this.waitUntil = performance.now() + SERVE_PAUSE;
  }

  #frame = (now) => {
    requestAnimationFrame(this.#frame);
    const passed = Math.min(Math.max(now - this.last, 0), LONGEST_FRAME);
    this.last = now;
    this.frames++;
    if (this.playing || this.phase === "over") {
      this.elapsed += passed;
      while (this.playing && now >= this.waitUntil && this.elapsed >= this.period) {
        this.elapsed -= this.period;
        this.#step();
      }
      this.elapsed = Math.min(this.elapsed, this.period);
    }
    this.draw(this.before, this.state, this.event, Math.min(this.elapsed / this.period, 1));
  };

  #step() {
    const { physics, left, right } = this;
    this.before = this.state;
    const moves = [left.move(this.state), right.move(this.state)];
    [this.state, this.event] = physics.step(this.state, ...moves, this.random);
    this.steps++;
    const over = physics.finished(this.state);
    const cutShort = !over && this.steps >= this.mostSteps;
    right.earn(physics.reward(this.event));
    if (over || cutShort) right.end(this.state, cutShort);
    else right.see(this.state);
    this.hear.step(this.state, this.event);
    if (this.event.endsWith("scores")) this.#wait();
    if (over || cutShort) this.#enter("over");
  }
}
