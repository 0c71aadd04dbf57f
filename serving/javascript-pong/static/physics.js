// The game of Pong as pure functions: a state and two moves in, the next state out.
//
// serving/pong/physics.py says the same in Python and explains it; change both or none.
// tests/pong/test_pong_physics.py lets this file follow a thousand games of the other one. Only sums,
// products, quotients and comparisons of doubles, in the same order: they agree to the last bit.

export const [STAY, DOWN, UP] = [0, 1, 2]; // the actions ...
export const MOVES = [0, 1, -1]; // ... and what they do: shares of the paddle's speed

export function within(value, low, high) {
  return value < low ? low : value > high ? high : value;
}

/** The rules on one court; `court` is what court.json holds. */
export function makePhysics(court) {
  const HIGHEST = court.paddle_height / 2;
  const LOWEST = court.height - HIGHEST;
  const CEILING = court.ball_radius;
  const FLOOR = court.height - court.ball_radius;
  const LEFT_LINE = court.paddle_gap + court.paddle_width + court.ball_radius;
  const RIGHT_LINE = court.width - LEFT_LINE;
  const REACH = court.paddle_height / 2 + court.ball_radius;

  /** A new game: paddles in the middle; chance decides who serves. */
  function start(draw) {
    const middle = court.height / 2;
    const direction = draw() < 0.5 ? 1 : -1;
    return serve(direction, middle, middle, 0, 0, draw);
  }

  /** One step: [next state, what happened]. Moves are from -1 (up) to 1 (down). */
  function step(state, leftMove, rightMove, draw) {
    let { ballX: x, ballY: y, ballVx: vx, ballVy: vy, misjudged } = state;
    const { leftScore, rightScore } = state;
    const leftY = within(state.leftY + leftMove * court.paddle_speed, HIGHEST, LOWEST);
    const rightY = within(state.rightY + rightMove * court.paddle_speed, HIGHEST, LOWEST);

    const [line, paddleY] = vx < 0 ? [LEFT_LINE, leftY] : [RIGHT_LINE, rightY];
    const part = (line - x) / vx; // of this step, until the ball is at the paddle's line
    if (0 < part && part <= 1) {
      const yThere = bounced(y + vy * part);
      if (Math.abs(yThere - paddleY) <= REACH) {
        const event = vx < 0 ? "left hits" : "right hits";
        const speed = Math.min(Math.abs(vx) * court.speed_gain, court.top_speed);
        vx = vx < 0 ? speed : -speed;
        vy = speed * court.steepest * ((yThere - paddleY) / REACH);
        x = line + vx * (1 - part);
        [y, vy] = fly(yThere, vy, 1 - part);
        misjudged = 2 * draw() - 1;
        return [made(x, y, vx, vy, leftY, rightY, misjudged, leftScore, rightScore), event];
      }
    }

    x = x + vx;
    if (x < 0) return [serve(-1, leftY, rightY, leftScore, rightScore + 1, draw), "right scores"];
    if (x > court.width) {
      return [serve(1, leftY, rightY, leftScore + 1, rightScore, draw), "left scores"];
    }
    [y, vy] = fly(y, vy, 1);
    return [made(x, y, vx, vy, leftY, rightY, misjudged, leftScore, rightScore), ""];
  }

  /** Whether somebody has won the game. */
  function finished(state) {
    return Math.max(state.leftScore, state.rightScore) >= court.points_to_win;
  }

  /** What the right paddle is paid for what happened in a step. */
  function reward(event) {
    if (event === "right scores") return 1;
    if (event === "left scores") return -1;
    return event === "right hits" ? court.hit_reward : 0;
  }

  /** What the right paddle sees: eight numbers; PongEnv's docstring has the table. */
  function observe(state) {
    let heading = state.rightY;
    if (state.ballVx > 0) {
      const slope = state.ballVy / state.ballVx;
      heading = state.ballY + slope * (RIGHT_LINE - state.ballX);
    }
    return [
      (2 * state.ballX) / court.width - 1,
      (2 * state.ballY) / court.height - 1,
      state.ballVx / court.top_speed,
      state.ballVy / Math.abs(state.ballVx) / court.steepest,
      (2 * state.rightY) / court.height - 1,
      (2 * state.leftY) / court.height - 1,
      (2 * (state.ballY - state.rightY)) / court.height,
      within((2 * (heading - state.rightY)) / court.height, -2, 2),
    ];
  }

  /** The scripted opponent's move for the left paddle; `level` is one of court.levels. */
  function opponent(state, level) {
    let target = court.height / 2;
    if (state.ballVx < 0) {
      target = state.ballY + state.ballVy * ((LEFT_LINE - state.ballX) / state.ballVx);
      while (target < CEILING || target > FLOOR) target = bounced(target);
      const error = level.error * (-state.ballVx / court.top_speed);
      target = target + state.misjudged * error;
    }
    return within((target - state.leftY) / court.paddle_speed, -level.speed, level.speed);
  }

  /** Where a ball is that would be at y if it had not met a wall. */
  function bounced(y) {
    if (y < CEILING) return 2 * CEILING - y;
    return y > FLOOR ? 2 * FLOOR - y : y;
  }

  function fly(y, vy, part) {
    const free = y + vy * part;
    const there = bounced(free);
    return [there, there === free ? vy : -vy];
  }

  function serve(direction, leftY, rightY, leftScore, rightScore, draw) {
    const [x, y] = direction > 0 ? [LEFT_LINE, leftY] : [RIGHT_LINE, rightY];
    const vy = court.serve_speed * court.serve_steepest * (2 * draw() - 1);
    const misjudged = 2 * draw() - 1;
    const vx = direction * court.serve_speed;
    return made(x, y, vx, vy, leftY, rightY, misjudged, leftScore, rightScore);
  }

  return { start, step, finished, reward, observe, opponent, bounced, LEFT_LINE, RIGHT_LINE };
}

function made(ballX, ballY, ballVx, ballVy, leftY, rightY, misjudged, leftScore, rightScore) {
  return { ballX, ballY, ballVx, ballVy, leftY, rightY, misjudged, leftScore, rightScore };
}
