// The line to the policy server. Addresses are relative: the page may stand behind a proxy.

const AGAIN_AFTER = 1000; // ms
const SILENCE = 8000; // ms after which a stream that says nothing counts as lost

const token = new URLSearchParams(location.search).get("token");
const headers = token ? { Authorization: `Bearer ${token}` } : {};

/** Why nothing came, in a sentence. */
export class Lost extends Error {}

export async function get(path) {
  let response;
  try {
    response = await fetch(path, { headers, cache: "no-store" });
  } catch {
    throw new Lost("The policy server does not answer");
  }
  if (response.ok) return response;
  let why = `The server answered ${response.status}`;
  try {
    why = (await response.json()).error;
  } catch {
    // a proxy in between answers with a page of its own
  }
  throw Object.assign(new Lost(why), { status: response.status });
}

/**
 * Listens for as long as the page is open: `seen(message)` for each of the server's messages, and
 * `lost(error)` each time that there is nobody. An EventSource could not present a token.
 */
export async function listen(seen, lost) {
  for (;;) {
    try {
      await hear(seen);
    } catch (error) {
      lost(error);
    }
    await new Promise((resolve) => setTimeout(resolve, AGAIN_AFTER));
  }
}

async function hear(seen) {
  const abort = new AbortController();
  const options = { headers: { ...headers, Accept: "text/event-stream" }, cache: "no-store" };
  let watch = setTimeout(() => abort.abort(), SILENCE);
  try {
    const response = await fetch("events", { ...options, signal: abort.signal }).catch(() => {
      throw new Lost("The policy server does not answer");
    });
    if (!response.ok) {
      const refusal = await response.json().catch(() => ({}));
      throw Object.assign(new Lost(refusal.error ?? "The policy server does not answer"), { status: response.status });
    }
    const text = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let begun = "";
    for (;;) {
      const { done, value } = await text.read().catch(() => ({ done: true }));
      if (done) return; // it stopped, or has us ask anew
      clearTimeout(watch);
      watch = setTimeout(() => abort.abort(), SILENCE);
      const messages = (begun + value).split("\n\n");
      begun = messages.pop();
      const newest = messages.filter((message) => message.startsWith("data: ")).pop();
      if (newest) seen(JSON.parse(newest.slice(6))); // one that was missed is in the next
    }
  } finally {
    clearTimeout(watch);
    abort.abort();
  }
}
