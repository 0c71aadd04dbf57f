// node follow_pong.mjs COURT.json GAMES.bin: lets physics.js follow games that Python has played.
//
// GAMES.bin is a row of doubles, per game: the level's index (-1: the left moves were anyhow),
// how many draws, how many steps, the draws, and then per step: left move, right move, event's
// index, reward, the state's 9 numbers, the observation's 8. Prints what came of it as JSON.
import { readFileSync } from "node:fs";
import { makePhysics } from "../../serving/javascript-pong/static/physics.js";

const EVENTS = ["", "left hits", "right hits", "left scores", "right scores"];
const court = JSON.parse(readFileSync(process.argv[2], "utf8"));
const bytes = readFileSync(process.argv[3]);
const numbers = new Float64Array(bytes.buffer, bytes.byteOffset, bytes.length / 8);
const levels = Object.values(court.levels);
const physics = makePhysics(court);

let at = 0;
const next = () => numbers[at++];
let [games, steps, largest] = [0, 0, 0];

function compare(what, expected, seen) {
  const difference = Math.abs(expected - seen);
  if (!(difference <= 1e-9)) {
    throw new Error(`game ${games}, step ${steps}: ${what} is ${seen}, Python has ${expected}`);
  }
  largest = Math.max(largest, difference);
}

while (at < numbers.length) {
  const [level, draws, length] = [next(), next(), next()];
  let drawn = at;
  at += draws;
  const end = at;
  const draw = () => {
    if (drawn >= end) throw new Error(`game ${games}: more draws than Python made`);
    return numbers[drawn++];
  };
  let [state, event] = [physics.start(draw), ""];
  for (let step = 0; step < length; step++) {
    const [leftMove, rightMove] = [next(), next()];
    if (level >= 0) compare("opponent", leftMove, physics.opponent(state, levels[level]));
    [state, event] = physics.step(state, leftMove, rightMove, draw);
    compare("event", next(), EVENTS.indexOf(event));
    compare("reward", next(), physics.reward(event));
    for (const [name, value] of Object.entries(state)) compare(name, next(), value);
    physics.observe(state).forEach((value, i) => compare(`observation[${i}]`, next(), value));
    steps++;
  }
  if (drawn !== end) throw new Error(`game ${games}: fewer draws than Python made`);
  games++;
}
console.log(JSON.stringify({ games, steps, largest }));
