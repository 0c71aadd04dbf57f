// CartPole as a game: gymnasium's CartPole-v1, number by number, for somebody at the keyboard.
//
// https://github.com/Farama-Foundation/Gymnasium/blob/v1.2.2/gymnasium/envs/classic_control/cartpole.py
// tests/server/test_page_in_browser.py lets this file follow that one.

const [GRAVITY, CART, POLE, HALF_LENGTH, FORCE, TAU] = [9.8, 1.0, 0.1, 0.5, 10.0, 0.02];
const FARTHEST = 2.4; // m
const STEEPEST = (12 * 2 * Math.PI) / 360; // rad
export const MOST_STEPS = 200; // as in lesson 01

/** A state as `reset` makes it: four numbers, each from -0.05 to 0.05. */
export const start = (draw = Math.random) => Array.from({ length: 4 }, () => 0.1 * draw() - 0.05);

/** The state a step later; `action` 0 pushes to the left, 1 to the right. */
export function step([x, speed, angle, turning], action) {
  const force = action === 1 ? FORCE : -FORCE;
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  const mass = CART + POLE;
  const moment = POLE * HALF_LENGTH;
  const temp = (force + moment * turning * turning * sin) / mass;
  const angular = (GRAVITY * sin - cos * temp) / (HALF_LENGTH * (4 / 3 - (POLE * cos * cos) / mass));
  const along = temp - (moment * angular * cos) / mass;
  return [x + TAU * speed, speed + TAU * along, angle + TAU * turning, turning + TAU * angular];
}

export const isOver = ([x, , angle]) => Math.abs(x) > FARTHEST || Math.abs(angle) > STEEPEST;
