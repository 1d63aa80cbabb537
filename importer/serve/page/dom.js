// Creates DOM elements. Texts always become text nodes, so that a cell that holds markup is shown as it was typed.

/** Return the element with an id. */
export const byId = (id) => document.getElementById(id);

/**
 * Create an element.
 * @param {string} tag
 * @param {Object} attributes `class`, `on` (event -> listener), properties such as `value`, or attributes
 * @param {...(Node|string|number|null|Array)} children texts become text nodes; null, undefined and false are left out
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

/** Replace the children of a node. */
export function fill(node, ...children) {
  node.replaceChildren(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false).map(asNode));
}

/** Show or hide an element. */
export function show(node, shown = true) {
  node.hidden = !shown;
}

/** Move the focus and the view to a heading, so that screen readers announce it and it can be seen. */
export function goTo(heading) {
  document.title = `${heading.textContent} · Importer`;
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  heading.scrollIntoView({ block: "start", behavior: calm ? "auto" : "smooth" });
}

let spoken = null;

/** Announce a text to screen readers; the same text twice in a row is announced once. */
export function say(text) {
  if (text === spoken) return;
  spoken = text;
  byId("said").textContent = text;
}

/** Create an option of a select. */
export const option = (value, text, more = {}) => el("option", { value, ...more }, text);

/**
 * Create a table that scrolls sideways on its own where the screen is narrow.
 * @param {string} caption read by screen readers, not shown
 * @param {Array<{text: string, number?: boolean}>} heads
 * @param {Array<Array>} rows cells of each row; the first cell is the row's heading
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

/** Ask for confirmation of something that cannot be undone. Resolves to whether it was confirmed. */
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
