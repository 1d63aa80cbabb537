// Shows the second step: what is in the workbook, before anything is loaded.

import { byId, el, fill, option, show, table } from "./dom.js";
import { notesList } from "./notes.js";
import { count, kind, number, within } from "./words.js";

const FEW = 5; // number of problems that are shown without unfolding the list

/** Whether a column is one that a rejects workbook adds for the user; such columns are not loaded. */
export const isAdded = (column, inspected) => inspected.origin !== null && column.type === null;

/** Return the columns that can be loaded. */
export const loadable = (inspected) => inspected.columns.filter((c) => !isAdded(c, inspected));

/** Whether the sheet has nothing to load. */
export const isEmpty = (inspected) => inspected.rows.data === 0 || loadable(inspected).length === 0;

let chosen = () => {};

/** The named parts of the workbook: name, sheet, range, and the option that each is for. */
let named = [];

/** Prepare the step; `onChange` is called with {sheet, range or excel_table, header_row} when the user chooses others. */
export function preparePreview(onChange) {
  chosen = onChange;
}

byId("sheet").addEventListener("change", () => chosen({ sheet: byId("sheet").value }));
byId("piece").addEventListener("change", () => chosen(part()));
byId("header-row").addEventListener("change", () => {
  const text = byId("header-row").value.trim().replace(/\s*[-–]\s*/, "-");
  const right = /^\d{1,7}(-\d{1,7})?$/.test(text) || text === "";
  headerError(right ? null : "Enter a row such as 3, a range such as 2-4, or 0.");
  if (right) chosen({ ...part(), header_row: text || undefined });
});

/** Return what to read, as options: the sheet, and the part of it that the user typed or chose. */
function part() {
  const text = byId("piece").value.trim();
  const known = named.find((each) => each.name.toLowerCase() === text.toLowerCase());
  if (known) return { sheet: known.sheet, [known.option]: known.name };
  return text.includes("!") ? { range: text } : { sheet: byId("sheet").value, range: text || undefined };
}

function headerError(text) {
  const place = byId("header-error");
  place.textContent = text ?? "";
  show(place, text !== null);
  byId("header-row").setAttribute("aria-invalid", String(text !== null));
}

/** Show the result of an inspection. */
export function showPreview(inspected, asking) {
  const columns = loadable(inspected);
  byId("preview-summary").textContent =
    `${count(inspected.rows.data, "row")} and ${count(columns.length, "column")} in sheet “${inspected.sheet}”.` +
    aside(inspected.rows);
  showSheets(inspected);
  showParts(inspected, asking);
  const [first, last] = inspected.header_rows ?? [];
  byId("header-row").value = !inspected.header_row ? "0" : first === last ? first : `${first}-${last}`;
  headerError(null);
  fill(byId("preview-table"), isEmpty(inspected) ? nothing(inspected) : sample(inspected));
  fill(byId("preview-problems"), problems(inspected), notes(inspected));
}

function aside(rows) {
  const parts = [
    rows.hidden && `${count(rows.hidden, "row")} hidden`,
    rows.above_header && `${count(rows.above_header, "row")} above the header`,
    rows.blank && `${count(rows.blank, "blank row")}`,
  ].filter(Boolean);
  return parts.length ? ` In addition: ${parts.join(", ")}.` : "";
}

function showSheets(inspected) {
  const sheets = inspected.sheets.filter((s) => s.kind === "worksheet");
  fill(
    byId("sheet"),
    sheets.map((s) => option(s.name, s.visibility === "visible" ? s.name : `${s.name} (hidden)`)),
  );
  byId("sheet").value = inspected.sheet;
  show(byId("sheet-field"), sheets.length > 1);
}

function showParts(inspected, asking) {
  named = [
    ...inspected.excel_tables.map((each) => ({ ...each, option: "excel_table" })),
    ...inspected.defined_names.map((each) => ({ ...each, option: "range" })),
  ];
  const others = inspected.table.other_tables.map((range) => option(range, "another table of this sheet"));
  fill(byId("pieces"), [...others, ...named.map((each) => option(each.name, `${each.sheet}, ${each.range}`))]);
  byId("piece").value = asking.range ?? asking.excel_table ?? "";
}

/** Return the kinds of a column's cells, the most frequent first: "text, 1 error value". */
export function kindsOf(column) {
  const kinds = Object.entries(column.kinds).sort((a, b) => b[1] - a[1]);
  if (kinds.length === 0) return "blank";
  if (kinds.length === 1) return kind(kinds[0][0], 1);
  return kinds.map(([name, n], i) => (i === 0 ? kind(name, n) : `${number(n)} ${kind(name, n)}`)).join(", ");
}

function sample(inspected) {
  const heads = inspected.columns.map((c) =>
    el(
      "th",
      { scope: "col" },
      el("span", { class: "letter" }, c.letter),
      el("span", { class: "head" }, c.header ?? "no header"),
      el("span", { class: "kinds" }, isAdded(c, inspected) ? "for information" : kindsOf(c)),
    ),
  );
  const { sample: first, last_rows: last } = inspected;
  const others = new Set(inspected.columns.flatMap((c) => c.mixed?.cells ?? []).map((c) => within(c.address, inspected.sheet)));
  const between = last.length > 0 && last[0].row > first.at(-1).row + 1;
  const rows = [
    first.map((row) => sampleRow(row, inspected.columns, others)),
    between && el("tr", { class: "between" }, el("td", { colSpan: inspected.columns.length + 1 }, "…")),
    last.map((row) => sampleRow(row, inspected.columns, others)),
  ];
  const caption = `The first ${last.length ? "and last rows" : "rows"} of sheet ${inspected.sheet}`;
  return el(
    "div",
    { class: "scroll sample", tabIndex: 0, role: "region", "aria-label": caption },
    el(
      "table",
      {},
      el("caption", { class: "unseen" }, caption),
      el("thead", {}, el("tr", {}, el("th", { scope: "col", class: "number" }, el("span", { class: "unseen" }, "Row")), heads)),
      el("tbody", {}, rows.flat().filter(Boolean)),
    ),
  );
}

/** Return a row; `others` has the addresses of cells that make their column mixed. */
function sampleRow(row, columns, others) {
  const cell = (c) => {
    const text = row.cells[c.letter] ?? "";
    const names = [isNumber(c) && "number", others.has(`${c.letter}${row.row}`) && "other"].filter(Boolean);
    return el("td", { class: names.join(" ") || null, title: text }, text);
  };
  return el("tr", {}, el("th", { scope: "row", class: "number" }, number(row.row)), columns.map(cell));
}

function nothing(inspected) {
  const where = inspected.header_row ? `below row ${number(inspected.header_row)} of sheet “${inspected.sheet}”` : `in sheet “${inspected.sheet}”`;
  return el("div", { class: "notice bad" }, el("p", { class: "fact" }, `There are no rows ${where}.`), el("p", {}, "Choose another sheet or header row."));
}

/** Whether a column is aligned as numbers: more than half of its cells are numbers. */
const isNumber = (column) => (column.kinds.number ?? 0) * 2 > column.cells;

function problems(inspected) {
  const found = inspected.problems;
  if (found.length === 0) return null;
  const item = (p) => el("li", {}, el("span", { class: "address" }, within(p.address, inspected.sheet)), ` ${kind(p.kind, 1)} `, p.raw && el("code", {}, p.raw));
  const more = found.length >= 20 ? "At least " : "";
  return el(
    "div",
    { class: "notice warn" },
    el("p", { class: "fact" }, `${more}${count(found.length, "cell")} ${found.length === 1 ? "needs" : "need"} attention.`),
    el("p", {}, "You can load the workbook anyway: the rows of these cells are rejected, for you to fix."),
    el("ul", {}, found.slice(0, FEW).map(item)),
    found.length > FEW &&
      el("details", {}, el("summary", {}, `${number(found.length - FEW)} more`), el("ul", {}, found.slice(FEW).map(item))),
  );
}

function notes(inspected) {
  if (inspected.notes.length === 0) return null;
  return notesList(inspected.notes);
}
