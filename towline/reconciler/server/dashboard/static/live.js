// Keeps the figures of an open page true: [data-figure] elements get their value from the stream,
// and when more than figures changed, the [data-part] sections are fetched again from the page itself.

const SETTLE_MS = 3000; // so long at least between two fetches of the page
const OFFLINE_AFTER_MS = 20000;
const AGAIN_MS = 5000;

const main = document.querySelector("[data-stream]");
const sign = document.querySelector("[data-live]");
const words = { live: "● Live", reconnecting: "◌ Reconnecting…", offline: "○ Offline", finished: "✓ Finished" };

let source = null;
let lastId = "";
let layout = null;
let lostAt = 0;
let isFinished = false;
let pending = 0;
let fetchedAt = 0;

function say(state) {
  if (sign.dataset.live === state) return;
  sign.hidden = false;
  sign.dataset.live = state;
  sign.textContent = words[state];
}

function lookUp(figures, path) {
  let found = figures;
  for (const [place, name] of path.split(".").entries()) {
    if (found === undefined || found === null) return undefined;
    // Batches are a list; their number is a property, not a place.
    found = Array.isArray(found) && place > 0 ? found.find((each) => String(each.number) === name) : found[name];
  }
  return found;
}

function put(element, figures) {
  const row = element.closest("[data-run]");
  const from = row ? figures.live?.[row.dataset.run] : figures;
  const value = lookUp(from, element.dataset.figure);
  if (value === undefined || value === null) return;
  if (element.tagName === "PROGRESS") {
    const total = from.total ?? from.progress?.total_devices;
    if (total) element.max = total;
    element.value = value;
  } else if (element.textContent !== String(value)) {
    element.textContent = String(value);
  }
}

// What the page is laid out by; while it stays the same, putting figures in place is enough.
function layoutOf(figures) {
  const batches = figures.batches?.map((each) => [each.number, each.state]);
  const live = Object.entries(figures.live ?? {}).map(([id, run]) => [id, run.status, run.failed]);
  return JSON.stringify([
    figures.status, figures.reason, figures.holds, batches, figures.progress?.failed, live, figures.runs,
    figures.online, figures.components,
  ]);
}

async function fetchParts() {
  pending = 0;
  fetchedAt = Date.now();
  let answer;
  try {
    answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  } catch {
    return;
  }
  if (answer.redirected) return location.reload(); // signed out
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of document.querySelectorAll("[data-part][id]")) {
    const other = fresh.getElementById(part.id);
    // Whoever types or stands in a part is not disturbed.
    if (other && other.innerHTML !== part.innerHTML && !part.contains(document.activeElement)) part.replaceWith(other);
  }
}

function fetchSoon() {
  if (pending) return;
  pending = setTimeout(fetchParts, Math.max(0, fetchedAt + SETTLE_MS - Date.now()));
}

function take(message) {
  lastId = message.lastEventId || lastId;
  lostAt = 0;
  say("live");
  const figures = JSON.parse(message.data);
  for (const element of document.querySelectorAll("[data-figure]")) put(element, figures);
  const now = layoutOf(figures);
  if (layout !== null && (now !== layout || figures.events.length)) fetchSoon();
  layout = now;
}

function lose() {
  if (isFinished) return;
  lostAt ||= Date.now();
  say(!navigator.onLine || Date.now() - lostAt > OFFLINE_AFTER_MS ? "offline" : "reconnecting");
  if (source.readyState === EventSource.CLOSED) {
    setTimeout(() => document.hidden || open(), AGAIN_MS);
    fetchSoon(); // a visit that is over leads to the sign-in page
  }
}

function open() {
  source?.close();
  const where = new URL(main.dataset.stream, location.href);
  if (lastId) where.searchParams.set("last_event_id", lastId);
  source = new EventSource(where);
  source.addEventListener("open", () => say("live"));
  source.addEventListener("error", lose);
  source.addEventListener("figures", take);
  source.addEventListener("end", () => {
    isFinished = true;
    source.close();
    say("finished");
    fetchSoon();
  });
}

// A browser keeps only few connections per server: a page that nobody sees gives its own back.
if (main && sign) {
  say("reconnecting");
  open();
  document.addEventListener("visibilitychange", () => {
    if (isFinished) return;
    if (document.hidden) source.close();
    else open();
  });
  addEventListener("offline", () => say("offline"));
  addEventListener("online", () => isFinished || open());
}
