// Draws the court on a canvas, at any moment between two steps.

const TRAIL = 10; // places of the ball that are remembered
const GLOW = 180; // ms that a paddle glows after a hit

export class CourtView {
  constructor(canvas, court, physics) {
    Object.assign(this, { canvas, court, physics });
    this.pen = canvas.getContext("2d");
    this.calm = matchMedia("(prefers-reduced-motion: reduce)");
    this.trail = [];
    this.hit = { side: "", at: -Infinity };
    this.seen = null; // what was drawn last: the step ...
    this.part = null; // ... and how far it had got
    this.#paint();
    matchMedia("(prefers-color-scheme: light)").addEventListener("change", () => this.#paint());
    new ResizeObserver(() => this.#fit()).observe(canvas);
    this.#fit();
  }

  /** `part`, from 0 to 1: how far the step from `before` to `after`, with its `event`, has got. */
  draw = (before, after, event, part) => {
    if (after === this.seen && part === this.part) return; // nothing has moved
    if (after !== this.seen) this.#newStep(after, event);
    this.part = part;
    const { pen, court } = this;
    pen.setTransform(this.scale, 0, 0, this.scale, 0, 0);
    pen.fillStyle = this.colours.court;
    pen.fillRect(0, 0, court.width, court.height);
    this.#net();
    const between = (from, to) => from + (to - from) * part;
    const edge = court.paddle_gap;
    this.#paddle("left", edge, between(before.leftY, after.leftY));
    const right = court.width - edge - court.paddle_width;
    this.#paddle("right", right, between(before.rightY, after.rightY));
    this.#ball(this.#ballAt(before, after, event, part));
  };

  /** The ball was there. */
  leave(place) {
    this.trail.push(place);
    if (this.trail.length > TRAIL) this.trail.shift();
  }

  /** Takes the colours from the style sheet, which has them for both colour schemes. */
  #paint() {
    const styles = getComputedStyle(document.documentElement);
    const colour = (name) => [name, styles.getPropertyValue(`--${name}`).trim()];
    this.colours = Object.fromEntries(["court", "net", "ball", "left", "right"].map(colour));
    this.part = null; // draw anew
  }

  #newStep(after, event) {
    this.seen = after;
    if (event.endsWith("scores")) this.trail = [];
    if (event.endsWith("hits")) this.hit = { side: event.split(" ")[0], at: performance.now() };
  }

  /** On its old way until it meets the paddle, and on its new one from there. */
  #ballAt(before, after, event, part) {
    if (before === after) return { x: after.ballX, y: after.ballY }; // the game has not begun
    const { bounced, LEFT_LINE, RIGHT_LINE } = this.physics;
    const x = before.ballX + before.ballVx * part;
    const onward = { x, y: bounced(before.ballY + before.ballVy * part) };
    if (event.endsWith("scores")) return part < 1 ? onward : { x: after.ballX, y: after.ballY };
    const beyond = before.ballVx < 0 ? x < LEFT_LINE : x > RIGHT_LINE;
    if (!event.endsWith("hits") || !beyond) return onward;
    const rest = 1 - part;
    return { x: after.ballX - after.ballVx * rest, y: bounced(after.ballY - after.ballVy * rest) };
  }

  #net() {
    const { pen, court } = this;
    pen.strokeStyle = this.colours.net;
    pen.lineWidth = 2;
    pen.setLineDash([10, 12]);
    pen.beginPath();
    pen.moveTo(court.width / 2, 6);
    pen.lineTo(court.width / 2, court.height);
    pen.stroke();
    pen.setLineDash([]);
  }

  #paddle(side, x, y) {
    const { pen, court } = this;
    const age = performance.now() - this.hit.at;
    const glows = this.hit.side === side && age < GLOW && !this.calm.matches;
    pen.fillStyle = this.colours[side];
    pen.shadowColor = this.colours[side];
    pen.shadowBlur = glows ? 28 * (1 - age / GLOW) * this.scale : 0;
    pen.beginPath();
    pen.roundRect(x, y - court.paddle_height / 2, court.paddle_width, court.paddle_height, 4);
    pen.fill();
    pen.shadowBlur = 0;
  }

  #ball({ x, y }) {
    const { pen, court } = this;
    pen.fillStyle = this.colours.ball;
    if (!this.calm.matches) {
      this.leave({ x, y });
      this.trail.forEach((place, i) => {
        pen.globalAlpha = (0.22 * i) / TRAIL;
        this.#disc(place.x, place.y, court.ball_radius * (0.4 + (0.6 * i) / TRAIL));
      });
      pen.globalAlpha = 1;
    }
    this.#disc(x, y, court.ball_radius);
  }

  #disc(x, y, radius) {
    this.pen.beginPath();
    this.pen.arc(x, y, radius, 0, 2 * Math.PI);
    this.pen.fill();
  }

  #fit() {
    const width = this.canvas.clientWidth * Math.min(devicePixelRatio || 1, 2);
    this.scale = width / this.court.width;
    this.canvas.width = Math.round(width);
    this.canvas.height = Math.round(this.scale * this.court.height);
    this.part = null; // draw anew
  }
}
