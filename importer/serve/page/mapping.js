// Maps the columns of the sheet to fields: proposes a mapping, shows the choices, and checks them.

import { el, fill, option } from "./dom.js";
import { count, type } from "./words.js";
import { kindsOf } from "./preview.js";

const plain = (text) => (text ?? "").trim().toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "_");

/**
 * Propose a mapping: first match as the service does, in its order, then ignoring letter case and punctuation.
 * @param {Array} columns of the sheet
 * @param {?Array<{name: string, title: ?string}>} fields of the target; null: a new table, every column becomes a field
 * @returns {Map<string, string>} letter -> field name; "" leaves the column out
 */
export function proposal(columns, fields) {
  if (fields === null) return new Map(columns.map((c) => [c.letter, c.name]));
  const found = new Map(columns.map((c) => [c.letter, ""]));
  const free = new Set(fields);
  const ways = [
    (c, f) => f.title && f.title === c.header,
    (c, f) => f.name === c.header,
    (c, f) => f.name === c.name,
    (c, f) => plain(f.title) === plain(c.header) || plain(f.name) === plain(c.header),
  ];
  for (const matches of ways) {
    for (const column of columns) {
      if (found.get(column.letter)) continue;
      const field = [...free].find((f) => matches(column, f));
      if (!field) continue;
      found.set(column.letter, field.name);
      free.delete(field);
    }
  }
  return found;
}

/**
 * Check the choices.
 * @returns {{wrong: Map<string, string>, unfilled: string[], loaded: number}} `wrong`: letter -> error; `unfilled`:
 *   names of fields that need a value and get none; `loaded`: number of columns that are loaded
 */
export function checkChoices(columns, fields, choices) {
  const wrong = new Map();
  const taken = new Map();
  for (const { letter } of columns) {
    const name = choices.get(letter);
    if (name === "" || name === undefined) continue;
    if (name.trim() === "") wrong.set(letter, "Give it a name, or leave it out.");
    else if (taken.has(name)) wrong.set(letter, `Column ${taken.get(name)} already fills ${name}.`);
    else taken.set(name, letter);
  }
  const unfilled = (fields ?? []).filter((f) => f.required && !taken.has(f.name)).map((f) => f.name);
  return { wrong, unfilled, loaded: taken.size };
}

/** Return the mapping as an option of the service; undefined when the service would do the same without it. */
export function asOption(columns, fields, choices) {
  const own = proposal(columns, fields);
  const same = columns.every((c) => choices.get(c.letter) === own.get(c.letter) && own.get(c.letter) !== "");
  if (same) return undefined;
  return Object.fromEntries(columns.map((c) => [c.letter, choices.get(c.letter)]).filter(([, name]) => name !== ""));
}

/** Return, in one line, how many columns are loaded and which are not. */
export function summary(columns, fields, choices) {
  const left = columns.filter((c) => !choices.get(c.letter));
  if (left.length === 0) return fields ? `All ${count(columns.length, "column")} are mapped` : `All ${count(columns.length, "column")}`;
  const names = left.slice(0, 3).map((c) => c.header ?? c.letter);
  const more = left.length > 3 ? ` and ${left.length - 3} more` : "";
  return `${columns.length - left.length} of ${count(columns.length, "column")}; left out: ${names.join(", ")}${more}`;
}

/**
 * Draw the choices.
 * @param {HTMLElement} place
 * @param {{columns: Array, sample: Array, fields: ?Array, choices: Map, changed: Function}} what
 */
export function draw(place, { columns, sample, fields, choices, changed }) {
  const report = el("div", { class: "map-report", role: "status" });
  const rows = columns.map((c) => row(c, sample, fields, choices, redraw));
  fill(
    place,
    el("p", { class: "hint" }, fields ? "Choose the field that each column of the sheet fills." : "Rename columns, or leave some out."),
    el("ul", { class: "map" }, rows.map((r) => r.node)),
    report,
  );
  function redraw(notify = true) {
    const { wrong, unfilled } = checkChoices(columns, fields, choices);
    for (const r of rows) r.showProblem(wrong.get(r.letter) ?? null);
    fill(report, unfilled.length > 0 && el("p", { class: "wrong" }, needs(unfilled)));
    if (notify) changed();
  }
  redraw(false);
}

export const needs = (unfilled) =>
  `${unfilled.join(", ")} ${unfilled.length === 1 ? "needs a value, and no column fills it" : "need values, and no column fills them"}: all rows would be rejected.`;

function row(column, sample, fields, choices, redraw) {
  const id = `map-${column.letter}`;
  const error = el("p", { class: "wrong", id: `${id}-error`, hidden: true });
  const control = fields ? chooser(id, column, fields, choices, redraw) : renamer(id, column, choices, redraw);
  const example = sample.map((r) => r.cells[column.letter]).find((t) => t);
  const node = el(
    "li",
    {},
    el(
      "label",
      { htmlFor: id, class: "from" },
      el("span", { class: "letter" }, el("span", { class: "unseen" }, "Column "), column.letter),
      el("span", { class: "head" }, column.header ?? "no header"),
      el("span", { class: "kinds" }, kindsOf(column)),
      example && el("span", { class: "example", "aria-hidden": "true" }, example),
    ),
    el("div", { class: "to" }, control.nodes, error),
  );
  function showProblem(text) {
    error.textContent = text ?? "";
    error.hidden = text === null;
    control.input.setAttribute("aria-invalid", String(text !== null));
  }
  return { node, showProblem, letter: column.letter };
}

/** Number of fields above which a list is filled only when it gets the focus. */
const MANY = 100;

/** Return a field's title, followed by its name where that differs. */
const called = ({ name, title }) => (!title ? name : plain(title) === plain(name) ? title : `${title}, ${name}`);

function chooser(id, column, fields, choices, redraw) {
  const chosen = choices.get(column.letter) ?? "";
  const offered = (those) => [
    option("", "leave it out"),
    those.map((f) => option(f.name, `${called(f)} (${type(f.type)}${f.required ? ", required" : ""})`)),
  ];
  const all = fields.filter((f) => f.fillable !== false);
  const select = el("select", { id, "aria-describedby": `${id}-error` }, offered(all.length > MANY ? all.filter((f) => f.name === chosen) : all));
  select.value = chosen;
  if (all.length > MANY) {
    // 1,600 lists of 1,600 options would be millions of elements; each list is filled when it gets the focus.
    select.addEventListener("focus", () => (fill(select, ...offered(all)), (select.value = choices.get(column.letter) ?? "")), { once: true });
  }
  select.addEventListener("change", () => {
    choices.set(column.letter, select.value);
    redraw();
  });
  return { nodes: [select], input: select };
}

/** Create the name input and checkbox of a column; a typed name is kept while its column is left out. */
function renamer(id, column, choices, redraw) {
  const chosen = choices.get(column.letter) ?? "";
  const input = el("input", { id, value: chosen || column.name, autocomplete: "off", maxLength: 63, "aria-describedby": `${id}-error` });
  const taken = el("input", { type: "checkbox", id: `${id}-in`, checked: chosen !== "", "aria-label": `Load column ${column.letter}` });
  input.spellcheck = false;
  function keep() {
    input.disabled = !taken.checked;
    choices.set(column.letter, taken.checked ? input.value || " " : "");
    redraw();
  }
  input.disabled = chosen === "";
  input.addEventListener("input", keep);
  taken.addEventListener("change", keep);
  return { nodes: [el("span", { class: "pair" }, taken, input)], input };
}
