// Swagger UI for the API's documentation, with a heading between its title and what follows.
const dark = matchMedia("(prefers-color-scheme: dark)");
const followScheme = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", followScheme);
followScheme();
const heading = {
  wrapComponents: {
    AuthorizeBtnContainer: (Container, { React: { createElement, Fragment } }) => (values) =>
      createElement(Fragment, null, createElement("h2", null, "Operations"), createElement(Container, values)),
  },
};
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  presets: [SwaggerUIBundle.presets.apis],
  plugins: [heading],
  deepLinking: false, // its links would stand inside buttons
  displayRequestDuration: true,
  tryItOutEnabled: true,
  validatorUrl: null,
});
// What it leaves without a name, or out of reach of the keyboard.
const name = (selector, label) => {
  for (const each of document.querySelectorAll(selector)) if (!each.ariaLabel) each.ariaLabel = label(each);
};
new MutationObserver(() => {
  name("tr[data-param-name] :is(select, input, textarea)", (field) => field.closest("tr").dataset.paramName);
  name("textarea.body-param__text", () => "Body of the request");
  name(".close-modal", () => "Close");
  name(".copy-to-clipboard button", () => "Copy");
  for (const each of document.querySelectorAll("pre.microlight")) each.tabIndex = 0;
  for (const each of document.querySelectorAll("table[role=region]")) each.removeAttribute("role");
}).observe(document.getElementById("swagger-ui"), { childList: true, subtree: true });
