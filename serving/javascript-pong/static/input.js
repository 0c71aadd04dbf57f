// Keys and fingers, as moves of the paddles.

import { within } from "./physics.js";

const KEYS = {
  ArrowUp: ["arrows", -1],
  ArrowDown: ["arrows", 1],
  KeyQ: ["letters", -1],
  KeyA: ["letters", 1],
};

/**
 * Knows which keys are down and where the fingers are.
 *
 * Alone, a person may use the arrows, Q and A (where they are on a QWERTY keyboard), and the whole
 * court; of two, the left one has Q, A and the left half, the right one the rest.
 */
export class Input {
  constructor(element, court) {
    this.court = court;
    this.alone = true;
    this.active = false; // whether keys are ours: not while a person is using the controls
    this.down = new Map(); // code -> move, latest last
    this.fingers = new Map(); // pointer id -> { side, y }
    addEventListener("keydown", (event) => this.#key(event, true));
    addEventListener("keyup", (event) => this.#key(event, false));
    addEventListener("blur", () => this.#forget());
    for (const type of ["pointerdown", "pointermove", "pointerup", "pointercancel"]) {
      element.addEventListener(type, (event) => this.#pointer(event, element));
    }
  }

  /** The move of a person: -1 (up) to 1 (down). A finger says where to go. */
  move(side, state) {
    for (const finger of this.fingers.values()) {
      if (!this.alone && finger.side !== side) continue;
      const y = side === "left" ? state.leftY : state.rightY;
      return within((finger.y - y) / this.court.paddle_speed, -1, 1);
    }
    const keys = side === "left" ? "letters" : "arrows";
    const moves = [...this.down].filter(([code]) => this.alone || KEYS[code][0] === keys);
    return moves.length ? moves.at(-1)[1] : 0; // the key pressed last
  }

  #key(event, pressed) {
    const key = KEYS[event.code];
    if (!key || event.ctrlKey || event.metaKey || event.altKey) return;
    if (!pressed) {
      this.down.delete(event.code);
    } else if (this.active && !/^(SELECT|INPUT|TEXTAREA)$/.test(event.target.tagName)) {
      event.preventDefault(); // the page must not scroll
      if (!event.repeat) this.down.set(event.code, key[1]);
    }
  }

  #pointer(event, element) {
    if (event.type === "pointerdown" && this.active) {
      element.setPointerCapture(event.pointerId);
    } else if (!this.fingers.has(event.pointerId)) {
      return;
    }
    if (event.type === "pointerup" || event.type === "pointercancel") {
      this.fingers.delete(event.pointerId);
      return;
    }
    const box = element.getBoundingClientRect();
    const y = ((event.clientY - box.top) / box.height) * this.court.height;
    const half = event.clientX < box.left + box.width / 2 ? "left" : "right";
    const side = this.fingers.get(event.pointerId)?.side ?? half;
    this.fingers.set(event.pointerId, { side, y });
  }

  #forget() {
    this.down.clear();
    this.fingers.clear();
  }
}
