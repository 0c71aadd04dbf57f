// Short tones, made here, and only once somebody has asked for them.

const TONES = {
  "left hits": [330, 0.05],
  "right hits": [440, 0.05],
  "left scores": [196, 0.25],
  "right scores": [262, 0.25],
};

export class Sound {
  #context = null;
  on = false;

  /** Browsers allow sound only from a click or a key on. */
  toggle() {
    this.on = !this.on;
    if (this.on) this.#context ??= new AudioContext();
    return this.on;
  }

  play(event) {
    if (!this.on || !TONES[event]) return;
    const [pitch, seconds] = TONES[event];
    const now = this.#context.currentTime;
    const [tone, volume] = [this.#context.createOscillator(), this.#context.createGain()];
    tone.type = "triangle";
    tone.frequency.value = pitch;
    volume.gain.setValueAtTime(0.15, now);
    volume.gain.exponentialRampToValueAtTime(0.001, now + seconds);
    tone.connect(volume).connect(this.#context.destination);
    tone.start(now);
    tone.stop(now + seconds);
  }
}
