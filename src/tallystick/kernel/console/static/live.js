// Keeps what is on the page as new as the server knows it. The page says how often, and which parts: every element with an id and
// data-region. It is asked for again as a whole, and those parts are put in the place of the old ones.
//
// Nothing depends on this: without it the page is what it was when it was asked for.

const every_ms = 1000 * Number(document.body.dataset.live);
const FAILURES_MAX = 5; // in a row; then whoever looks is told, and asks again by the button
const bar = document.getElementById("live");
const status = bar.querySelector("[role=status]");
const button = bar.querySelector("button");
const KEY = "tallystick-live";

let timer = 0;
let asking = null;
let failures = 0;
let ended = false;
let wanted = sessionStorage.getItem(KEY) !== "off";

function say(words) {
  if (status.textContent !== words) status.textContent = words;
}

// A part that somebody is using is left alone: the field that is typed in, the link that is focused, the text that is marked.
function inUse(region) {
  const selection = getSelection();
  return region.contains(document.activeElement) || (!selection.isCollapsed && selection.containsNode(region, true));
}

function replace(region, fresh) {
  if (inUse(region) || region.isEqualNode(fresh)) return;
  const open = [...region.querySelectorAll("details")].map((each) => each.open);
  const scrolled = [...region.querySelectorAll(".table")].map((each) => each.scrollLeft);
  region.replaceWith(fresh);
  fresh.querySelectorAll("details").forEach((each, place) => (each.open = open[place] ?? each.open));
  fresh.querySelectorAll(".table").forEach((each, place) => (each.scrollLeft = scrolled[place] ?? 0));
}

async function look() {
  asking = new AbortController();
  const answer = await fetch(location.href, { headers: { "Tallystick-Live": "1" }, signal: asking.signal });
  if (answer.redirected) {
    end("You are logged out.");
    return;
  }
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const region of document.querySelectorAll("[data-region]")) {
    const next = fresh.getElementById(region.id);
    if (next) replace(region, document.adoptNode(next));
  }
  document.title = fresh.title;
  failures = 0;
  say("");
  if (!fresh.body.dataset.live) end(""); // nothing changes any more
}

async function tick() {
  try {
    await look();
  } catch (error) {
    if (error.name === "AbortError") return;
    failures += 1;
    say("The page could not be brought up to date.");
    if (failures >= FAILURES_MAX) {
      turn(false);
      return;
    }
  }
  plan();
}

function plan() {
  clearTimeout(timer);
  if (wanted && !ended && document.visibilityState === "visible") timer = setTimeout(tick, every_ms);
}

function stop() {
  clearTimeout(timer);
  asking?.abort();
}

function end(words) {
  ended = true;
  button.hidden = true;
  say(words);
}

function turn(on) {
  wanted = on;
  sessionStorage.setItem(KEY, on ? "on" : "off");
  button.setAttribute("aria-pressed", String(on));
  stop();
  if (on) {
    failures = 0;
    tick();
  }
}

button.addEventListener("click", () => turn(!wanted));
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "hidden") stop();
  else if (wanted && !ended) tick();
});
button.setAttribute("aria-pressed", String(wanted));
bar.hidden = false;
plan();
