// Small helps; every page works without them.
document.addEventListener("submit", (event) => {
  const button = event.submitter;
  if (!button || event.target.method !== "post" && button.formMethod !== "post") return;
  // A second click sends nothing: the first one is on its way.
  if (button.dataset.sent) { event.preventDefault(); return; }
  button.dataset.sent = "yes";
  button.setAttribute("aria-busy", "true");
});
addEventListener("pageshow", () => { // back from the answer: the form can be sent again
  for (const button of document.querySelectorAll("[data-sent]")) { delete button.dataset.sent; button.removeAttribute("aria-busy"); }
});
