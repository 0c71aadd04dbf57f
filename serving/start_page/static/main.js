// Puts the page together: how far the lessons are, and what each button does.

import { element } from "./look/drawings.js";

const LOOK_EVERY = 1500; // ms
const LONGEST = 150_000; // ms; a server that is stopped saves first

const $ = (id) => document.getElementById(id);
// Addresses are relative: the page may stand behind a proxy, as a tile or by its port.
const jupyter = location.pathname.match(/^(.*\/)(my-lessons|proxy\/\d+)\/$/)?.[1];
// JupyterLab shows the page in a tab of its own, and may let it open the lessons beside it.
const lab = window.parent === window ? undefined : window.parent.jupyterapp;
const rows = new Map(); // by the lesson's name
let seen = null;
let doing = false;

/** A request and its answer; throws an Error whose message is a sentence. */
async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(LONGEST), ...options });
  } catch {
    throw new Error("This page's own server does not answer. Does JupyterLab still run?");
  }
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  throw new Error(answer.error ?? `The server answered ${response.status}.`);
}

const post = (call, lesson) => ask(call, { method: "POST", body: JSON.stringify({ lesson }) });

/** What a button does: one thing at a time, and what came of it in a sentence. */
async function act(what, action) {
  doing = true;
  tell("problem", "");
  tell("done", `${what} ...`);
  lock();
  try {
    tell("done", sentence((await action()).says));
  } catch (error) {
    tell("done", "");
    tell("problem", sentence(error.message));
  }
  doing = false;
  await look();
}

function tell(id, text) {
  $(id).hidden = !text;
  $(id).textContent = text;
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

class Row {
  constructor(lesson) {
    this.name = lesson.name;
    this.link = element("span", {});
    this.mark = element("small", {});
    this.filled = element("span", {});
    this.told = element("p", { class: "hint" });
    this.start = this.#button("Start its server", "start", `Starting the policy server of ${lesson.title}`);
    this.policy = this.#button("A fresh policy", "fresh-policy", "Beginning the policy anew");
    this.fresh = element("button", { type: "button", "aria-label": `A fresh lesson: ${lesson.title}` }, "A fresh lesson");
    this.fresh.addEventListener("click", () => act(`Beginning ${lesson.title} anew`, () => this.#freshLesson()));
    const title = document.createElement("h3");
    title.append(this.link, this.mark);
    const bar = element("div", { class: "bar", "aria-hidden": "true" }, this.filled);
    this.root = document.createElement("li");
    this.root.className = "card lesson";
    this.root.dataset.lesson = lesson.name;
    this.root.append(title, bar, this.told, element("div", { class: "toolbar" }, this.start, this.policy, this.fresh));
    this.#addLink(lesson);
  }

  show(lesson, server, locked) {
    const serves = server.lesson === lesson.name;
    this.root.classList.toggle("serves", serves);
    this.mark.textContent = [serves ? "its server runs" : "", lesson.is_complete ? "✓ all right" : ""].filter(Boolean).join(", ");
    this.filled.style.width = `${lesson.of_points ? (100 * lesson.points) / lesson.of_points : 0}%`;
    this.told.textContent = lesson.of
      ? `${lesson.right} of ${lesson.of} checked are right, about ${lesson.points} of ${lesson.of_points} points; checked ${lesson.checked}.`
      : `Not checked yet; ${lesson.of_points} points.`;
    this.start.hidden = !lesson.has_server;
    this.start.disabled = locked || serves;
    this.policy.hidden = !lesson.policy;
    this.policy.disabled = locked;
    this.fresh.disabled = locked;
  }

  #button(text, call, what) {
    const button = element("button", { type: "button", "aria-label": `${text}: ${this.name}` }, text);
    button.addEventListener("click", () => act(what, () => post(call, this.name)));
    return button;
  }

  #addLink({ title, path }) {
    if (!path || jupyter === undefined) return this.link.replaceWith(title);
    const link = document.createElement("a");
    link.href = `${jupyter}lab/tree/${path.split("/").map(encodeURIComponent).join("/")}`;
    link.target = "_top"; // where JupyterLab cannot be asked, it is loaded with the lesson
    link.textContent = title;
    if (lab) {
      link.addEventListener("click", (event) => {
        event.preventDefault();
        lab.commands.execute("docmanager:open", { path });
      });
    }
    this.path = path;
    this.link.replaceWith(link);
  }

  /** A lesson that is open is saved first, so that nothing is lost, and shows itself anew after. */
  async #freshLesson() {
    const open = lab ? [...lab.shell.widgets("main")].find((tab) => tab.context?.path === this.path) : null;
    await open?.context.save();
    const answer = await post("fresh-lesson", this.name);
    await open?.context.revert();
    return answer;
  }
}

/** What can be clicked now. */
function lock() {
  if (!seen) return;
  const locked = doing || seen.busy !== null;
  for (const lesson of seen.lessons) rows.get(lesson.name).show(lesson, seen.server, locked);
  $("stop").disabled = locked || !seen.server.is_running;
}

function show() {
  const { lessons, server, busy } = seen;
  for (const lesson of lessons) {
    if (rows.has(lesson.name)) continue;
    rows.set(lesson.name, new Row(lesson));
    $("lessons").append(rows.get(lesson.name).root);
  }
  lock();
  const title = lessons.find(({ name }) => name === server.lesson)?.title;
  $("pill").dataset.state = busy ? "starting" : server.is_running ? "learning" : "idle";
  const which = server.is_running ? `the server of ${title ?? "no lesson"} runs` : "no policy server runs";
  $("pill").textContent = busy ?? which;
  $("server").textContent = server.says;
  $("watch").hidden = !server.is_running;
  $("watch").href = jupyter === undefined ? server.address : `${jupyter}policy-server/`;
}

async function look() {
  try {
    seen = await ask("state");
    if (document.body.classList.replace("lost", "found")) tell("problem", "");
    show();
  } catch (error) {
    document.body.classList.add("lost");
    $("pill").dataset.state = "problem";
    $("pill").textContent = "not reached";
    tell("problem", error.message);
  }
}

$("stop").addEventListener("click", () => act("Stopping the policy server, which saves", () => post("stop", "")));

for (;;) {
  if (!document.hidden && !doing) await look();
  await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY));
}
