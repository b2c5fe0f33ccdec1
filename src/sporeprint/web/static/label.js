// One key a label: the next item stands at once, and the label is sent meanwhile. Without this, the same form is sent by its buttons.
const form = document.getElementById("label"), keysOn = document.getElementById("keys-on");
const note = document.getElementById("note"), sheet = document.getElementById("sheet");
const area = () => document.getElementById("items");
const items = () => [...area().querySelectorAll(".item")];
let current = Math.max(0, items().findIndex((each) => !each.hidden));
const labelled = []; // ids in the order of their labels
const sent = new Map(); // id -> the answer to its last label

const show = (place) => {
  const all = items();
  current = Math.min(Math.max(place, 0), all.length);
  all.forEach((each, number) => { each.hidden = number !== current; });
  const item = all[current];
  form.hidden = !item;
  form.elements.prediction_id.value = item ? item.dataset.item : "";
  if (item && note.value !== (item.dataset.note || "")) note.value = item.dataset.note || "";
};

const say = (text) => { // what went wrong, in words of the server's page or of the browser
  const old = area().querySelector("[role=alert]");
  if (old) old.remove();
  if (!text) return;
  const box = document.createElement("div");
  box.className = "note";
  box.setAttribute("role", "alert");
  box.textContent = text;
  area().prepend(box);
};

const take = (html, item) => { // further items, how many wait, what the versions had answered
  const fresh = new DOMParser().parseFromString(html, "text/html").getElementById("items");
  for (const id of ["left", "last"]) {
    const [now, then] = [fresh.querySelector(`#${id}`), area().querySelector(`#${id}`)];
    if (then) then.remove();
    if (now) area().insertBefore(now, items()[0] || null);
  }
  const known = new Set(items().map((each) => each.dataset.item));
  for (const each of fresh.querySelectorAll(".item")) {
    if (known.has(each.dataset.item) || each.dataset.item === item.dataset.item) continue;
    each.hidden = true;
    area().append(each);
  }
  show(current);
};

const send = async (button) => {
  const item = items()[current];
  if (!item) return;
  const fields = new URLSearchParams(new FormData(form));
  fields.set("outcome", button.value);
  item.dataset.note = note.value;
  item.dataset.said = button.value;
  labelled.push(item.dataset.item);
  say("");
  show(current + 1);
  const post = () => fetch(form.action, { method: "POST", body: fields, headers: { "HX-Request": "true" } });
  try {
    // Of two labels of one item the later one has to stay, so it waits for the first.
    const before = sent.get(item.dataset.item) || Promise.resolve();
    const reply = before.then(post, post);
    sent.set(item.dataset.item, reply);
    const answer = await reply;
    const html = await answer.text();
    if (answer.ok) { take(html, item); return; }
    const problem = new DOMParser().parseFromString(html, "text/html").querySelector("[role=alert], .lede");
    throw new Error(problem ? problem.textContent : answer.statusText);
  } catch (error) { // nothing was kept: the item is here again, with all that was typed
    labelled.splice(labelled.lastIndexOf(item.dataset.item), 1);
    show(items().indexOf(item));
    say(error.message);
  }
};

const does = {
  back: () => show(current - 1),
  on: () => show(Math.min(current + 1, items().length - 1)),
  undo: () => { const id = labelled.pop(); if (id) show(items().findIndex((each) => each.dataset.item === id)); },
  note: () => note.focus(),
  sheet: () => { sheet.open = !sheet.open; },
};

form.addEventListener("submit", (event) => {
  event.preventDefault();
  event.stopImmediatePropagation(); // one button labels one item after the other
  if (event.submitter) send(event.submitter);
}, true);
form.addEventListener("click", (event) => {
  const button = event.target.closest("[data-does]");
  if (button) does[button.dataset.does]();
});

note.addEventListener("input", () => { // kept with its item, also when the answer to an earlier label arrives meanwhile
  const item = items()[current];
  if (item) item.dataset.note = note.value;
});

const isTyping = (element) => element.matches("input:not([type=checkbox]), select, textarea");
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && event.target === note) { note.blur(); return; }
  if (!keysOn.checked || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const button = [...form.querySelectorAll("[data-key]")].find((each) => each.dataset.key.split(" ").includes(key));
  if (!button || form.hidden && button.value) return;
  event.preventDefault();
  if (button.dataset.does) does[button.dataset.does](); else send(button);
});
keysOn.checked = localStorage.getItem("label-keys") !== "off";
keysOn.addEventListener("change", () => localStorage.setItem("label-keys", keysOn.checked ? "on" : "off"));
