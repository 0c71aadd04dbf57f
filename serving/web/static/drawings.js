// How an observation is drawn. No imports: a notebook puts this file into its output as it is.
//
// A drawing has `pace`, the milliseconds a step takes when played, and `draw(episode, step, from)`: what is
// played need not be drawn at each step, and `from` is the one that was drawn before.

const SVG_NAMESPACE = "http://www.w3.org/2000/svg";
const HUES = ["right", "left", "third", "fourth", "fifth", "sixth"]; // colours of the style sheet
const MOST_LINES = 12; // of an observation's numbers
const MOST_COLUMNS = 600; // of a picture over time
const MOST_EXPOSURES = 5; // of what came between two pictures

/** An element, of SVG or HTML, with its attributes and what is in it. */
export function element(name, attributes = {}, ...inside) {
  const html = /^(div|p|button|input|label|select|option|span|b|li|small|code)$/.test(name);
  const made = html ? document.createElement(name) : document.createElementNS(SVG_NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...inside);
  return made;
}

export const hue = (index) => `var(--${HUES[index % HUES.length]})`;

/** A number in four digits or so. */
export function short(number) {
  const digits = Math.abs(number) >= 100 ? 0 : Math.abs(number) >= 10 ? 1 : 3;
  return String(Number(number.toFixed(digits))).replace("-", "−");
}

/** Which steps a picture over time has room for. */
export function columns(steps) {
  const width = Math.max(1, Math.ceil(steps / MOST_COLUMNS));
  return Array.from({ length: Math.ceil(steps / width) }, (_, i) => i * width);
}

/** Steps between two pictures, evenly: as in a photograph of several exposures they show the way. */
function exposures(from, step) {
  const many = Math.min(MOST_EXPOSURES, Math.max(0, step - from - 1));
  return Array.from({ length: many }, (_, i) => from + Math.round(((i + 1) * (step - from)) / (many + 1)));
}

/**
 * CartPole: cart position (m), its velocity, the pole's angle (rad), its angular velocity.
 * https://gymnasium.farama.org/environments/classic_control/cart_pole/
 */
export class CartPoleDrawing {
  pace = 20;

  constructor(stage) {
    const scale = 100; // of the picture, a metre; the track ends 2.4 m from the middle
    this.scale = scale;
    this.pole = element("line", { x1: 0, y1: 0, x2: 0, y2: -scale, class: "pole" });
    this.push = element("path", { class: "push" });
    this.cart = element(
      "g",
      { class: "cart" },
      element("rect", { x: -25, y: -15, width: 50, height: 30, rx: 4 }),
      this.push,
      this.pole,
      element("circle", { r: 5, class: "axle" }),
    );
    const track = [-2.4, 0, 2.4].map((x) =>
      element("line", { x1: x * scale, x2: x * scale, y1: 10, y2: 22, class: "mark" }),
    );
    const ground = element("line", { x1: -290, x2: 290, y1: 16, y2: 16, class: "ground" });
    const picture = { viewBox: "-290 -130 580 170", role: "img", "aria-label": "Cart and pole" };
    this.between = element("path", { class: "between" });
    stage.replaceChildren(element("svg", picture, ground, ...track, this.between, this.cart));
  }

  draw({ observations, actions }, step, from = step - 1) {
    const poles = exposures(from, step).map((earlier) => {
      const [x, , angle] = observations[earlier];
      const way = [x, Math.sin(angle), -Math.cos(angle)].map((number) => (number * this.scale).toFixed(1));
      return `M${way[0]} 0l${way[1]} ${way[2]}`;
    });
    this.between.setAttribute("d", poles.join(""));
    const [x, , angle] = observations[step];
    this.cart.setAttribute("transform", `translate(${x * this.scale} 0)`);
    this.pole.setAttribute("transform", `rotate(${(angle * 180) / Math.PI})`);
    const way = actions[step] === undefined ? 0 : actions[step] ? 1 : -1; // 0 pushes to the left
    this.push.setAttribute("d", way ? `M${way * 30} -5 l${way * 18} 5 l${-way * 18} 5z` : "");
  }
}

/** Pong, from what the right paddle sees: `PongEnv` has the table of its eight numbers. */
export class PongDrawing {
  pace = 50;

  /** Wants the Pong page's own `CourtView` and `makePhysics`, and its court. */
  constructor(stage, { CourtView, makePhysics, court }) {
    this.court = court;
    const label = { role: "img", "aria-label": "The court: the policy has the right paddle" };
    const canvas = document.createElement("canvas");
    for (const [key, value] of Object.entries(label)) canvas.setAttribute(key, value);
    stage.replaceChildren(canvas);
    this.view = new CourtView(canvas, court, makePhysics(court));
    this.drawn = -2;
  }

  draw({ observations, rewards }, step, from = step - 1) {
    const { width, height, top_speed: top, steepest, hit_reward: hit } = this.court;
    const ball = ([x, y]) => ({ x: ((x + 1) * width) / 2, y: ((y + 1) * height) / 2 });
    const [, , speed, slope, right, left] = observations[step];
    const { x: ballX, y: ballY } = ball(observations[step]);
    const ballVx = speed * top;
    const state = {
      ballX,
      ballY,
      ballVx,
      ballVy: slope * Math.abs(ballVx) * steepest,
      rightY: ((right + 1) * height) / 2,
      leftY: ((left + 1) * height) / 2,
    };
    if (from !== this.drawn) this.view.trail = [];
    this.drawn = step;
    for (let k = from + 1; k <= step; k++) {
      const served = Math.abs(rewards[k - 1] ?? 0) >= 1;
      if (served) this.view.trail = [];
      if (k < step) this.view.leave(ball(observations[k]));
    }
    const event = Math.abs((rewards[step - 1] ?? 0) - hit) < 1e-9 ? "right hits" : "";
    this.view.draw(state, state, event, 1);
  }
}

/** Any environment: its numbers over time, each between its own lowest and highest. */
export class NumbersDrawing {
  pace = 50;

  constructor(stage) {
    this.stage = stage;
    this.drawn = null;
  }

  draw(episode, step) {
    const { observations } = episode;
    if (this.drawn !== observations.length) this.#lines(observations);
    this.drawn = observations.length;
    const x = this.#x(step, observations.length);
    this.cursor.setAttribute("x1", x);
    this.cursor.setAttribute("x2", x);
    this.dots.forEach((dot, i) => {
      dot.setAttribute("cx", x);
      dot.setAttribute("cy", this.heights[i](observations[step][i]));
      dot.dataset.value = observations[step][i];
      this.values[i].textContent = short(observations[step][i]);
    });
  }

  #x = (step, rows) => 40 + (step / Math.max(1, rows - 1)) * 500;

  #lines(observations) {
    const size = observations[0].length;
    const shown = Math.min(size, MOST_LINES);
    const each = shown > 6 ? 26 : 40;
    const parts = [];
    this.dots = [];
    this.heights = [];
    this.values = [];
    const at = columns(observations.length);
    for (let i = 0; i < shown; i++) {
      const numbers = at.map((step) => observations[step][i]);
      const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
      const height = (value) =>
        (i + 1) * each - 5 - (high > low ? (value - low) / (high - low) : 0.5) * (each - 10);
      const places = at.map(
        (step, k) => `${this.#x(step, observations.length).toFixed(1)},${height(numbers[k]).toFixed(1)}`,
      );
      const middle = (i + 0.5) * each + 4;
      this.heights.push(height);
      this.dots.push(element("circle", { r: 3.5, fill: hue(i) }));
      this.values.push(element("text", { x: 548, y: middle, class: "tick" }));
      parts.push(
        element("text", { x: 34, y: middle, class: "tick end" }, String(i)),
        element("polyline", { points: places.join(" "), fill: "none", stroke: hue(i), "stroke-width": 1.5 }),
        this.values[i],
        this.dots[i],
      );
    }
    const bottom = shown * each;
    this.cursor = element("line", { y1: 0, y2: bottom, class: "cursor" });
    const label = `The observation's ${size} numbers over time${size > shown ? `, the first ${shown}` : ""}`;
    const picture = { viewBox: `0 0 600 ${bottom}`, role: "img", "aria-label": label };
    this.stage.replaceChildren(element("svg", picture, this.cursor, ...parts));
  }
}

/** Somebody else's pictures, an SVG's inside for each observation: `watch(client, draw=...)`. */
export class PicturesDrawing {
  pace = 50;

  constructor(stage, { pictures, width, height }) {
    this.pictures = pictures;
    const picture = { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Drawn by hand" };
    this.svg = element("svg", picture);
    stage.replaceChildren(this.svg);
  }

  draw(episode, step) {
    this.svg.innerHTML = this.pictures[step];
  }
}
