// Counts the devices that match while the filters are typed: the form's own answer, put in place.

const form = document.querySelector("form[data-count]");
const QUIET_MS = 350;
let waiting = 0;
let asked = 0;

async function count(again = true) {
  const mine = ++asked;
  const sent = new URLSearchParams(new FormData(form));
  sent.set("go", "count");
  let answer;
  try {
    answer = await fetch(form.action, { method: "POST", body: sent });
  } catch {
    // A kept connection may end just then; and else the button still counts.
    if (again && mine === asked) waiting = setTimeout(count, QUIET_MS, false);
    return;
  }
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("matching");
  // Whoever typed on meanwhile is waited for.
  if (fresh && mine === asked) document.getElementById("matching").replaceChildren(...fresh.childNodes);
}

form?.addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(count, QUIET_MS);
});
