// Keeps an open page true. An element says which figure it shows, and the stream brings the figures:
//   data-figure, data-state, data-counts, data-some, data-class   a path into them, by dots
//   data-derived, data-was   what follows from a figure, and is hidden when that is another one
//   data-at   on an element around: "COLLECTION KEY", where the path begins
// What is more than figures stays as it was, and the page says so when it has changed.

const OFFLINE_AFTER_MS = 15_000;
const SILENT_AFTER_MS = 40_000; // a heartbeat comes every 15 s
const AGAIN_MS = 5_000;

const main = document.querySelector("[data-stream]");
const sign = document.querySelector("[data-live]");
const stale = document.querySelector("[data-stale]");
const SIGNS = { live: "● Live", reconnecting: "◌ Reconnecting…", offline: "○ Offline", finished: "✓ Finished" };

let source = null;
let lastId = "";
let heardAt = 0;
let lostAt = 0;
let isFinished = false;

function lookUp(figures, path) {
  return path.split(".").reduce((found, name) => found?.[name], figures);
}

// The figures that an element's path begins in.
function figuresFor(element, figures) {
  const at = element.closest("[data-at]")?.dataset.at;
  if (at === undefined) return figures;
  const [name, key] = at.split(" ");
  const found = figures[name];
  return Array.isArray(found) ? found.find((each) => String(each.number) === key) : found?.[key];
}

function spanOf(className, ...content) {
  const span = document.createElement("span");
  span.className = className;
  span.append(...content);
  return span;
}

// A word of a state with its glyph and colour, as the server writes it.
function stateOf(word) {
  const [glyph, colour] = JSON.parse(sign.dataset.words)[word] ?? ["·", "dim"];
  const mark = spanOf("", glyph);
  mark.ariaHidden = "true";
  return spanOf(`state ${colour}`, mark, ` ${word.replaceAll("_", " ")}`);
}

const putters = {
  figure(element, value, from) {
    if (element.tagName === "PROGRESS") {
      element.max = lookUp(from, element.dataset.max) || 1;
      element.value = value;
      return;
    }
    const text = Array.isArray(value) ? value.join(", ") : String(value || (element.dataset.none ?? value ?? ""));
    if (element.textContent !== text) element.textContent = text;
  },
  state(element, word) {
    element.replaceChildren(...(word ? [stateOf(word)] : []));
  },
  counts(element, counts) {
    const some = Object.entries(counts ?? {}).filter(([, n]) => n).sort();
    element.replaceChildren(...some.flatMap(([word, n]) => [spanOf("count", stateOf(word), ` ${n}`), " "]));
  },
  some(element, value) {
    element.hidden = !value;
  },
  class(element, value) {
    element.className = value;
  },
  derived(element, value) {
    element.hidden = String(value ?? "") !== element.dataset.was;
  },
};

// Only what differs from what is shown is put, so that nobody's selection is lost.
const shown = new WeakMap();

function put(figures) {
  for (const [kind, putIn] of Object.entries(putters)) {
    for (const element of document.querySelectorAll(`[data-${kind}]`)) {
      const from = figuresFor(element, figures);
      if (!from) continue;
      const value = lookUp(from, element.dataset[kind]);
      const key = JSON.stringify([kind, value, lookUp(from, element.dataset.max ?? "")]);
      if (shown.get(element)?.[kind] === key) continue;
      shown.set(element, { ...shown.get(element), [kind]: key });
      putIn(element, value, from);
    }
  }
}

function say(state) {
  if (sign.dataset.live === state) return;
  sign.hidden = false;
  sign.dataset.live = state;
  sign.textContent = SIGNS[state];
}

function sayStale() {
  if (!stale || !stale.hidden) return;
  stale.hidden = false;
  stale.querySelector("a").href = location.href;
}

function hear(message) {
  lastId = message.lastEventId || lastId;
  heardAt = Date.now();
  lostAt = 0;
  say("live");
}

function take(message) {
  hear(message);
  const figures = JSON.parse(message.data);
  put(figures);
  if (main.dataset.shape && main.dataset.shape !== figures.shape) sayStale();
}

function lose() {
  lostAt ||= Date.now();
  say(!navigator.onLine || Date.now() - lostAt > OFFLINE_AFTER_MS ? "offline" : "reconnecting");
  if (source.readyState !== EventSource.CLOSED) return;
  sayStale(); // the server refuses: reloading the page tells why
  setTimeout(open, AGAIN_MS);
}

function open() {
  source?.close();
  if (isFinished || document.hidden) return;
  const where = new URL(main.dataset.stream, location.href);
  if (lastId) where.searchParams.set("last_event_id", lastId);
  heardAt = Date.now();
  source = new EventSource(where);
  source.addEventListener("error", lose);
  source.addEventListener("figures", take);
  source.addEventListener("heartbeat", hear);
  source.addEventListener("end", () => {
    isFinished = true;
    source.close();
    say("finished");
  });
}

function watch() {
  if (isFinished || document.hidden || Date.now() - heardAt < SILENT_AFTER_MS) return;
  lose();
  open();
}

// A browser keeps only few connections per server: a page that nobody sees gives its own back.
if (main && sign) {
  say("reconnecting");
  open();
  setInterval(watch, AGAIN_MS);
  document.addEventListener("visibilitychange", () => (document.hidden ? source?.close() : open()));
  addEventListener("offline", () => isFinished || say("offline"));
  addEventListener("online", open);
}
