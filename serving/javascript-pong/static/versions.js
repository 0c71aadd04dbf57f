// Which of the policies that the server keeps plays: the one that acts now, or an older one.

const OFFER_EVERY = 5000; // ms
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export class VersionChoice {
  #offered = -Infinity; // when

  /** `changed()` hears of another choice, also when a version is not kept any more. */
  constructor({ select, hint, link, changed }) {
    Object.assign(this, { select, hint, link, changed });
    select.addEventListener("change", () => this.#chose(""));
  }

  /** The version's number, null: whichever acts. */
  get chosen() {
    return this.select.value === "" ? null : Number(this.select.value);
  }

  /** Renews what there is to choose, now and then, and not under somebody's fingers. */
  async offer() {
    const now = performance.now();
    if (document.activeElement === this.select || now - this.#offered < OFFER_EVERY) return;
    this.#offered = now;
    let kept;
    try {
      kept = (await this.link.get("policies")).policies;
    } catch {
      return; // the page says so elsewhere
    }
    const { chosen } = this;
    const older = kept.toReversed().map((one) => new Option(told(one), one.version));
    this.select.replaceChildren(this.select.options[0], ...older);
    const still = kept.some(({ version }) => version === chosen);
    this.select.value = still ? chosen : "";
    if (chosen !== null && !still) this.#chose(`v${chosen} is not kept any more. `);
  }

  #chose(why) {
    const older = `v${this.chosen} plays greedily, and nobody learns from it.`;
    this.hint.textContent = why + (this.chosen === null ? this.hint.dataset.none : older);
    this.changed();
  }
}

function told({ version, env_steps: steps, mean_return: mean, names }) {
  const name = names.length ? ` (${names.join(", ")})` : "";
  const played = mean === null ? "" : `, mean return ${mean.toFixed(1).replace("-", "−")}`;
  return `v${version}${name}: ${whole.format(steps)} steps${played}`;
}
