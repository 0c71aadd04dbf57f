// The line to the web server, which relays to the policy server.

/** Nobody answers, or not in time; the message is a sentence for people. */
export class Lost extends Error {}

/** The policy server refused a message: a mistake of ours, or it has forgotten the episode. */
export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

const TIMEOUT = 5000; // ms

export class Link {
  constructor(token = new URLSearchParams(location.search).get("token")) {
    this.headers = { "Content-Type": "application/json" };
    if (token) this.headers.Authorization = `Bearer ${token}`;
  }

  get(what) {
    return this.#exchange(what, { headers: this.headers, cache: "no-store" });
  }

  /** `leaving`: the page is being closed, and the message has to outlive it. */
  post(call, message, leaving = false) {
    const body = JSON.stringify(message);
    const options = { method: "POST", headers: this.headers, body, priority: "high" };
    return this.#exchange(call, { ...options, keepalive: leaving });
  }

  async #exchange(path, options) {
    let response, answer;
    try {
      response = await fetch(path, { ...options, signal: AbortSignal.timeout(TIMEOUT) });
      answer = await response.json();
    } catch (error) {
      if (error.name === "TimeoutError") throw new Lost("The servers have not answered in time.");
      // A proxy in between may answer with a page of its own.
      throw new Lost("The Pong web server does not answer. Is it still running?");
    }
    if (response.ok) return answer;
    const why = answer.error ?? `the web server answered ${response.status}`;
    if (response.status >= 500) throw new Lost(sentence(why));
    throw new Refused(sentence(why), response.status);
  }
}

export function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
