// Who moves a paddle. At the end of each step the game asks both sides for move(state), a share of
// the paddle's speed. Who plays in the policy's place, on the right, is also told:
//   begin(state)            play starts here, or starts again after the server was lost
//   earn(reward)            for the latest move
//   see(state)              this is what the moves have led to
//   end(state, truncated)   the game is over, or breaks off

import { Lost } from "./link.js";
import { MOVES, STAY } from "./physics.js";

/** At the keys or with a finger on the court; see input.js. */
export class Person {
  constructor(input, side) {
    this.input = input;
    this.side = side;
  }

  move(state) {
    return this.input.move(this.side, state);
  }
}

/** The opponent that PongEnv plays against. */
export class ScriptedOpponent {
  constructor(physics, level) {
    this.physics = physics;
    this.level = level;
  }

  move(state) {
    return this.physics.opponent(state, this.level);
  }
}

/** An episode at the policy server; `version` asks for a policy of before. Requests go one at a time; `lost(message)` hears of failure. */
class Episode {
  #id = null;
  #inFlight = null;

  constructor({ link, training, version = null, lost }) {
    this.link = link;
    this.training = training;
    this.version = version;
    this.lost = lost;
    this.closed = false;
  }

  get busy() {
    return this.#inFlight !== null;
  }

  /** The answer, or null if there is none: the server is lost, or has forgotten the episode. */
  async say(call, message) {
    const saying = this.#say(call, message);
    this.#inFlight = saying;
    const answer = await saying;
    if (this.#inFlight === saying) this.#inFlight = null;
    return this.closed ? null : answer;
  }

  async #say(call, message) {
    try {
      if (this.#id === null) {
        const opening = { training_enabled: this.training, policy_version: this.version };
        this.#id = (await this.link.post("start_episode", opening)).episode_id;
      }
      const asked = performance.now();
      const answer = await this.link.post(call, { episode_id: this.#id, ...message });
      this.milliseconds = performance.now() - asked; // the latest round trip
      return answer;
    } catch (error) {
      this.#id = null; // what was open is abandoned; the server closes it in time
      const forgotten = error.status === 404 || error.status === 409;
      if (!forgotten && !this.closed) this.lost(error.message);
      if (!forgotten && !(error instanceof Lost)) console.error(error);
      return null;
    }
  }

  /** Whether the server knows of the episode, so that it goes on there. */
  get open() {
    return this.#id !== null;
  }

  /** Says a last word once what is in flight has come back; at once if the page is being left. */
  async end(message, leaving) {
    this.closed = true;
    if (!leaving) await this.#inFlight;
    if (this.#id === null) return;
    const last = { episode_id: this.#id, ...message };
    this.#id = null;
    await this.link.post("end_episode", last, leaving).catch(() => {}); // it ends by itself, later
  }
}

/** The policy server decides. A late answer holds the last action, and is counted. */
export class ServedPolicy {
  constructor({ link, physics, training, version, lost, decided, late }) {
    Object.assign(this, { physics, decided, late });
    this.episode = new Episode({ link, training, version, lost });
    this.action = STAY;
    this.acted = false; // whether the server holds an action that a reward could belong to
    this.reward = 0;
  }

  begin(state) {
    if (!this.episode.busy) this.#ask(this.physics.observe(state));
  }

  earn(reward) {
    this.reward += reward;
  }

  see(state) {
    if (this.episode.busy) this.late();
    else this.#ask(this.physics.observe(state));
  }

  move() {
    return MOVES[this.action];
  }

  async end(state, truncated, leaving = false) {
    const observation = this.physics.observe(state);
    const reward = this.acted ? this.reward : null;
    await this.episode.end({ observation, reward, truncated }, leaving);
  }

  async #ask(observation) {
    if (!this.episode.open) this.acted = false;
    const reward = this.acted ? this.reward : null;
    this.reward = 0; // what is earned from now on belongs to the action that is being asked for
    const message = { observation, reward, explain: true, patience: 0.04 };
    const answer = await this.episode.say("get_action", message);
    if (answer === null) {
      this.acted = false;
    } else if ("waiting_for" in answer) {
      this.reward += reward ?? 0; // nothing was recorded; ask again at the next step
      this.late();
    } else {
      this.acted = true;
      this.action = answer.action;
      this.decided({
        observation,
        action: answer.action,
        values: answer.values ?? [],
        greedy: answer.greedy ?? true,
        version: answer.policy_version,
        milliseconds: this.episode.milliseconds,
      });
    }
  }
}

/** Writes down what the right paddle does, for a policy that is to learn from watching. */
export class Recorder {
  static BLOCK = 20; // steps

  constructor({ link, lost }) {
    this.episode = new Episode({ link, training: true, lost });
    this.steps = [];
  }

  acts(observation, action) {
    this.steps.push({ observation, action, reward: 0 });
    if (this.steps.length > Recorder.BLOCK && !this.episode.busy) this.#send();
  }

  earns(reward) {
    if (this.steps.length) this.steps.at(-1).reward += reward;
  }

  async end(observation, truncated, leaving) {
    const steps = this.steps.splice(0);
    await this.episode.end({ observation, steps, truncated }, leaving);
  }

  async #send() {
    const steps = this.steps.splice(0, this.steps.length - 1); // the latest is not paid yet
    const answer = await this.episode.say("log_steps", { steps, patience: 0.04 });
    if (answer && "waiting_for" in answer) this.steps.unshift(...steps);
  }
}

/** The newest policy acts inside the page; `newest()` is a Policy, `steps()` its age. */
export class InPagePolicy {
  constructor({ physics, newest, steps, training, recorder, decided }) {
    Object.assign(this, { physics, newest, steps, training, recorder, decided });
  }

  begin(state) {
    this.#act(this.physics.observe(state));
  }

  earn(reward) {
    this.recorder?.earns(reward);
  }

  see(state) {
    this.#act(this.physics.observe(state));
  }

  move() {
    return MOVES[this.action];
  }

  async end(state, truncated, leaving = false) {
    await this.recorder?.end(this.physics.observe(state), truncated, leaving);
  }

  #act(observation) {
    const asked = performance.now();
    const decision = this.newest().act(observation, this.training, this.steps());
    this.action = decision.action;
    this.recorder?.acts(observation, decision.action);
    this.decided({ observation, ...decision, milliseconds: performance.now() - asked });
  }
}

/** A person in the policy's place: whole moves only, so that they can be written down as actions. */
export class PersonInPolicysPlace {
  constructor({ physics, input, recorder }) {
    Object.assign(this, { physics, input, recorder });
  }

  begin() {}

  earn(reward) {
    this.recorder?.earns(reward);
  }

  see() {}

  move(state) {
    const move = this.input.move("right", state);
    const action = Math.abs(move) < 0.5 ? STAY : MOVES.indexOf(Math.sign(move));
    this.recorder?.acts(this.physics.observe(state), action);
    return MOVES[action];
  }

  async end(state, truncated, leaving = false) {
    await this.recorder?.end(this.physics.observe(state), truncated, leaving);
  }
}
