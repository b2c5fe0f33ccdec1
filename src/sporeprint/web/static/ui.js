// Small helps; every page works without them.
// What moves something is confirmed first; without scripts a page of its own asks.
document.addEventListener("submit", (event) => {
  const dialog = document.getElementById(event.target.dataset.confirm ?? "");
  const button = event.submitter;
  if (!dialog || !button || button.name === "confirmed" || button.hasAttribute("formaction")) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  dialog.showModal();
});
document.addEventListener("click", (event) => event.target.closest("[data-close]")?.closest("dialog").close());
document.addEventListener("submit", (event) => {
  const button = event.submitter;
  if (!button || event.target.method !== "post" && button.formMethod !== "post") return;
  // A second click sends nothing: the first one is on its way.
  if (button.dataset.sent) { event.preventDefault(); return; }
  button.dataset.sent = "yes";
  button.setAttribute("aria-busy", "true");
  if (button.dataset.busy) [button.textContent, button.dataset.busy] = [button.dataset.busy, button.textContent];
});
addEventListener("pageshow", () => { // back from the answer: the form can be sent again
  for (const button of document.querySelectorAll("[data-sent]")) {
    delete button.dataset.sent;
    button.removeAttribute("aria-busy");
    if (button.dataset.busy) [button.textContent, button.dataset.busy] = [button.dataset.busy, button.textContent];
  }
});
// Lines to copy.
const offerCopies = () => {
  if (!navigator.clipboard) return; // without TLS there is one on the machine itself alone
  for (const same of document.querySelectorAll("details.same:not(:has(button))")) {
    const button = Object.assign(document.createElement("button"), { type: "button", className: "plain", textContent: same.dataset.copy });
    button.addEventListener("click", () => navigator.clipboard.writeText(same.querySelector("pre").textContent)
      .then(() => { button.textContent = same.dataset.copied; }));
    same.append(button);
  }
};
offerCopies();
document.addEventListener("htmx:after:swap", offerCopies);
// What was entered before htmx was ready, or what the browser has filled in again, is looked up now.
const isChanged = (field) => field.options
  ? field.selectedIndex !== Math.max(0, [...field.options].findIndex((each) => each.defaultSelected))
  : field.checked !== field.defaultChecked || !["radio", "checkbox"].includes(field.type) && field.value !== field.defaultValue;
document.addEventListener("htmx:after:init", ({ target: form }) => {
  const field = form instanceof HTMLFormElement && [...form.elements].find(isChanged);
  if (field) field.dispatchEvent(new Event(field.type === "text" ? "input" : "change", { bubbles: true }));
});
// What is looked up again and again: not while nobody sees the page, and not what the page has already.
const tags = new WeakMap();
document.addEventListener("htmx:config:request", (event) => {
  const { sourceEvent, sourceElement, request } = event.detail.ctx;
  if (sourceEvent.type !== "every") return;
  if (document.hidden) event.preventDefault();
  else if (tags.has(sourceElement)) request.headers["If-None-Match"] = tags.get(sourceElement);
});
const problem = document.getElementById("problem");
document.addEventListener("htmx:before:response", ({ detail: { ctx } }) => {
  const tag = ctx.response.headers.get("etag");
  if (tag) tags.set(ctx.sourceElement, tag);
  if (ctx.response.status < 400) problem.replaceChildren(); // otherwise it says what is wrong, and the page stays as it is
});
document.addEventListener("htmx:error", () => {
  const note = Object.assign(document.createElement("p"), { className: "note", role: "alert", textContent: problem.dataset.lost });
  problem.replaceChildren(note);
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  for (const each of document.querySelectorAll("[hx-trigger^=every]")) each.dispatchEvent(new CustomEvent("every"));
});
// The arrow keys read a chart, as the pointer does; Escape ends it.
document.addEventListener("focusin", ({ target }) => target.matches?.(".chart svg") && readChart(target, 0));
document.addEventListener("focusout", ({ target }) => target.matches?.(".chart svg") && readChart(target, NaN));
document.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity, Escape: NaN }[event.key];
  if (step === undefined || !event.target.matches?.(".chart svg")) return;
  event.preventDefault();
  readChart(event.target, step);
});
const readChart = (svg, step) => {
  const places = [...svg.querySelectorAll(".readout")];
  const now = places.findIndex((each) => each.classList.contains("on"));
  places[now]?.classList.remove("on");
  const next = places[Math.min(Math.max((now < 0 ? places.length - 1 : now) + step, 0), places.length - 1)];
  next?.classList.add("on");
  svg.nextElementSibling?.matches("output") || svg.after(Object.assign(document.createElement("output"), { className: "hidden" }));
  svg.nextElementSibling.textContent = next ? [...next.querySelectorAll("text")].map((each) => each.textContent).join(" · ") : "";
};
const offerKeys = () => {
  for (const each of document.querySelectorAll(".chart svg:has(.readout)")) each.tabIndex = 0;
};
offerKeys();
document.addEventListener("htmx:after:swap", offerKeys);
