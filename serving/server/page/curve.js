// The learning curve: returns, their mean, exploration's share and the policy's versions over steps.

import { element, short } from "./look/drawings.js";

const [LEFT, RIGHT, TOP, BOTTOM] = [44, 40, 10, 34]; // px around the plot
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** `history` has rows [env steps, return, mean of the latest 20, exploration, policy version]. */
export function drawCurve(svg, history, exploresByShare) {
  const { clientWidth: width, clientHeight: height } = svg;
  if (!width) return;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  if (!history.length) {
    const says = "The curve begins with the first training episode that ends.";
    svg.replaceChildren(element("text", { x: width / 2, y: height / 2, class: "empty" }, says));
    svg.setAttribute("aria-label", "Learning curve: no training episode has ended yet");
    return;
  }
  const [first, last] = [history.length > 1 ? history[0][0] : 0, history.at(-1)[0]];
  const from = first < last / 3 ? 0 : first; // a server that goes on from a checkpoint begins late
  const ticks = ticksFor(Math.min(...history.map((row) => row[1])), Math.max(...history.map((row) => row[1])));
  const [low, high] = [ticks[0], ticks.at(-1)];
  const x = (steps) => LEFT + ((steps - from) / Math.max(1, last - from)) * (width - LEFT - RIGHT);
  const along = (share) => TOP + (1 - share) * (height - TOP - BOTTOM);
  const y = (value) => along((value - low) / (high - low));
  const line = (height_) => history.map((row) => `${x(row[0]).toFixed(1)},${height_(row).toFixed(1)}`).join(" ");

  const parts = ticks.flatMap((tick) => [
    element("line", { x1: LEFT, x2: width - RIGHT, y1: y(tick), y2: y(tick), class: "grid" }),
    element("text", { x: LEFT - 6, y: y(tick) + 4, class: "tick end" }, short(tick)),
  ]);
  parts.push(
    element("text", { x: LEFT, y: height - 4, class: "tick" }, whole.format(from)),
    element("text", { x: width - RIGHT, y: height - 4, class: "tick end" }, `${whole.format(last)} steps`),
  );
  for (const [steps, version] of versionsAlong(history, Math.max(2, Math.floor(width / 110)))) {
    const [at, bottom] = [x(steps), height - BOTTOM];
    parts.push(
      element("line", { x1: at, x2: at, y1: bottom, y2: bottom + 5, class: "versions" }),
      element("text", { x: at, y: bottom + 15, class: "tick", "text-anchor": "middle" }, `v${version}`),
    );
  }
  if (exploresByShare) {
    parts.push(element("polyline", { points: line((row) => along(row[3])), class: "exploring" }));
    for (const share of [0, 0.5, 1]) {
      parts.push(element("text", { x: width - RIGHT + 6, y: along(share) + 4, class: "tick" }, `${100 * share}%`));
    }
  }
  const dots = history.map((row) => `M${x(row[0]).toFixed(1)} ${y(row[1]).toFixed(1)}m-2 0a2 2 0 1 0 4 0a2 2 0 1 0 -4 0`);
  parts.push(
    element("path", { d: dots.join(""), class: "returns" }),
    element("polyline", { points: line((row) => y(row[2])), class: "means" }),
  );
  svg.replaceChildren(...parts);
  svg.setAttribute("aria-label", `Learning curve: mean return ${history.at(-1)[2]} after ${whole.format(last)} steps`);
}

/** Round numbers that have everything from `low` to `high` between the first and the last of them. */
function ticksFor(low, high) {
  const wide = high - low || 1;
  const power = 10 ** Math.floor(Math.log10(wide / 3));
  const step = [1, 2, 5, 10].map((by) => by * power).find((by) => wide / by <= 4);
  const first = Math.floor(low / step);
  const last = Math.max(first + 1, Math.ceil(high / step));
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/** Places along the curve with the policy's version there. */
function versionsAlong(history, many) {
  const [first, last] = [history[0][0], history.at(-1)[0]];
  const found = new Map();
  for (let i = 1; i <= many; i++) {
    const wanted = first + ((i - 0.5) / many) * (last - first);
    const row = history.find(([steps]) => steps >= wanted) ?? history.at(-1);
    if (!found.has(row[4])) found.set(row[4], row[0]);
  }
  return [...found].map(([version, steps]) => [steps, version]);
}
