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
// What was entered before htmx was ready, or what the browser has filled in again, is looked up now.
const isChanged = (field) => field.options
  ? field.selectedIndex !== Math.max(0, [...field.options].findIndex((each) => each.defaultSelected))
  : field.checked !== field.defaultChecked || !["radio", "checkbox"].includes(field.type) && field.value !== field.defaultValue;
document.addEventListener("htmx:after:init", ({ target: form }) => {
  if (form instanceof HTMLFormElement && [...form.elements].some(isChanged)) {
    form.dispatchEvent(new Event("input", { bubbles: true }));
  }
});
