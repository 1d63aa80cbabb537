// Offers, for a new table, the choice what a column becomes whose kinds mix: texts, or its main kind without the others.

import { byId, el, fill, option, show } from "./dom.js";
import { count, sentence, type, within } from "./words.js";

/** Return the columns that can be something else than texts. */
const undecided = (columns) => columns.filter((c) => c.mixed !== null && c.mixed.main_type !== "string");

const chooser = (column) => byId(`mixed-${column.letter}`);

/** Draw the choices for the columns of another sheet; all of them begin as texts. */
export function drawMixed(inspected, columns) {
  const several = undecided(columns);
  fill(
    byId("mixed"),
    el("legend", {}, "Columns with several kinds of cells"),
    several.map((column) => choice(column, inspected.sheet)),
  );
}

function choice(column, sheet) {
  const { cells, others, main_type: main, what } = column.mixed;
  const id = `mixed-${column.letter}`;
  const cell = (c) => el("li", {}, el("span", { class: "address" }, within(c.address, sheet)), " ", el("code", {}, c.value));
  return el(
    "div",
    { class: "field" },
    el("label", { htmlFor: id }, `Load ${column.header ?? `column ${column.letter}`} as`),
    el(
      "select",
      { id, "aria-describedby": `${id}-cells` },
      option("", "text: every cell as it is"),
      option(main, `${type(main)}: ${others === 1 ? "the row of 1 other cell is" : `the rows of ${count(others, "other cell")} are`} rejected`),
    ),
    el("div", { id: `${id}-cells`, class: "hint" }, sentence(what.replace(/ \(.*$/s, "")), el("ul", {}, cells.map(cell), others > cells.length && el("li", {}, "…"))),
  );
}

/** Show the choices where they decide: a table that exists, and a contract, have types of their own. */
export const showMixed = (columns, decides) => show(byId("mixed"), decides && undecided(columns).length > 0);

/**
 * Return the chosen types as an option of the service; undefined if all columns become texts.
 * @param {Array} columns of the sheet
 * @param {Map<string, string>} names letter -> name in the new table; "" leaves the column out
 */
export function mixedTypes(columns, names) {
  const chosen = undecided(columns).filter((c) => names.get(c.letter) && chooser(c).value);
  return chosen.length ? Object.fromEntries(chosen.map((c) => [c.name, chooser(c).value])) : undefined;
}
