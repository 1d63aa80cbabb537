// Owns how elements are made. Texts only ever become text nodes: a cell that holds markup is shown as it was typed.

/** The element with an id. */
export const byId = (id) => document.getElementById(id);

/**
 * A new element.
 * @param {string} tag
 * @param {Object} attributes `class`, `on` (event -> listener), properties such as `value`, or attributes
 * @param {...(Node|string|number|null|Array)} children texts become text nodes; null is left out
 */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [type, listener] of Object.entries(value)) node.addEventListener(type, listener);
    else if (name === "class") node.className = value;
    else if (name in node && name !== "list" && name !== "form") node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false).map(asNode));
  return node;
}

const asNode = (child) => (child instanceof Node ? child : String(child));

/** Put these children in place of what a node holds. */
export function fill(node, ...children) {
  node.replaceChildren(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false).map(asNode));
}

/** Show or hide. */
export function show(node, shown = true) {
  node.hidden = !shown;
}

/** Move to a heading, so that those who listen hear where they are and those who look see it. */
export function goTo(heading) {
  document.title = `${heading.textContent} · Importer`;
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  heading.scrollIntoView({ block: "start", behavior: calm ? "auto" : "smooth" });
}

let spoken = null;

/** Say something to those who listen; the same text twice is said once. */
export function say(text) {
  if (text === spoken) return;
  spoken = text;
  byId("said").textContent = text;
}

/** An option of a select. */
export const option = (value, text, more = {}) => el("option", { value, ...more }, text);

/**
 * A table that scrolls sideways on its own where the screen is narrow.
 * @param {string} caption for those who listen
 * @param {Array<{text: string, number?: boolean}>} heads
 * @param {Array<Array>} rows of cells; the first of each is its heading
 */
export function table(caption, heads, rows, className = "") {
  const kind = (i) => (heads[i].number ? "number" : null);
  return el(
    "div",
    { class: `scroll ${className}`, tabIndex: 0, role: "region", "aria-label": caption },
    el(
      "table",
      {},
      el("caption", { class: "unseen" }, caption),
      el("thead", {}, el("tr", {}, heads.map((h, i) => el("th", { scope: "col", class: kind(i) }, h.text)))),
      el(
        "tbody",
        {},
        rows.map((cells) =>
          el("tr", {}, cells.map((c, i) => el(i ? "td" : "th", { scope: i ? null : "row", class: kind(i) }, c))),
        ),
      ),
    ),
  );
}

/** Ask before something that cannot be taken back. Resolves to whether it was confirmed. */
export function confirmed(question, yes) {
  const dialog = byId("confirm");
  byId("confirm-question").textContent = question;
  byId("confirm-yes").textContent = yes;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("close", () => done(dialog.returnValue === "yes"), { once: true });
  });
}
