// The policy, acting inside the page: the same network as serving/policy.py, from `GET policy`.

export class Policy {
  /** snapshot: what the policy server hands out as PolicySnapshot. */
  constructor(snapshot) {
    this.version = snapshot.version;
    this.kind = snapshot.kind;
    this.activation = snapshot.activation === "tanh" ? Math.tanh : (x) => (x > 0 ? x : 0);
    this.exploration = snapshot.exploration; // [[env steps, probability], ...]
    this.layers = snapshot.layers.map(({ weights, bias }) => ({
      inputs: weights.length,
      outputs: bias.length,
      weights: Float32Array.from(weights.flat()), // inputs x outputs
      bias: Float32Array.from(bias),
    }));
  }

  /** The network's outputs, one number an action. */
  values(observation) {
    let numbers = Float32Array.from(observation);
    this.layers.forEach(({ inputs, outputs, weights, bias }, i) => {
      const sums = Float64Array.from(bias);
      for (let input = 0; input < inputs; input++) {
        const number = numbers[input];
        if (number === 0) continue;
        for (let output = 0, at = input * outputs; output < outputs; output++, at++) {
          sums[output] += number * weights[at];
        }
      }
      const last = i === this.layers.length - 1;
      numbers = Float32Array.from(last ? sums : sums.map(this.activation));
    });
    return Array.from(numbers);
  }

  /** The probability of a random action after so many env steps, linear between the points. */
  explorationAfter(steps) {
    const points = this.exploration;
    if (steps <= points[0][0]) return points[0][1];
    for (let i = 1; i < points.length; i++) {
      const [[from, p], [to, q]] = [points[i - 1], points[i]];
      if (steps < to) return p + ((q - p) * (steps - from)) / (to - from);
    }
    return points[points.length - 1][1];
  }

  /** The action on one observation. `exploring`: as the server does in games that train. */
  act(observation, exploring = false, steps = 0, draw = Math.random) {
    const values = this.values(observation);
    const best = values.indexOf(Math.max(...values));
    let action = best;
    if (exploring && this.kind === "action_logits") {
      // The largest after adding Gumbel noise is a draw from the softmax.
      const noisy = values.map((value) => value - Math.log(-Math.log(draw() || 1e-12)));
      action = noisy.indexOf(Math.max(...noisy));
    } else if (exploring && draw() < this.explorationAfter(steps)) {
      action = Math.floor(draw() * values.length);
    }
    return { action, values, greedy: action === best, version: this.version };
  }
}
