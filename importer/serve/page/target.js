// Shows the third step: where the rows go, and what happens to existing rows.

import { byId, el, fill, option, show } from "./dom.js";
import * as mapping from "./mapping.js";
import { drawMixed, mixedTypes, showMixed } from "./mixed.js";
import { isEmpty, loadable } from "./preview.js";
import { budgetError, drawStrictness, resetStrictness, strictOptions } from "./strictness.js";
import { count, number } from "./words.js";

let now = null; // {inspected, tables, contracts, firstRun}
let choices = new Map(); // target -> its mapping of columns, so that going back to a target loses nothing
let changed = () => {};

/** Prepare the step; `onChange` is called after every change. */
export function prepareTarget(onChange) {
  changed = onChange;
}

byId("step-target").addEventListener("change", (e) => {
  if (["place", "table", "contract"].includes(e.target.name || e.target.id)) drawPlace();
  refresh();
});
byId("step-target").addEventListener("input", (e) => {
  if (["new-name", "max-rejects"].includes(e.target.id)) refresh();
});

const place = () => document.querySelector("input[name=place]:checked")?.value ?? "new";
const mode = () => document.querySelector("input[name=mode]:checked")?.value ?? "append";
const isKeyed = () => now.inspected.origin === null && mode() === "upsert";
const chosenTable = () => now.tables.find((t) => t.table === byId("table").value);
const chosenContract = () => now.contracts.find((c) => c.name === byId("contract").value);

/**
 * Show the step for a workbook.
 * @param {Object} inspected result of its inspection
 * @param {{tables: Array, truncated: boolean}} found existing tables
 * @param {Array} contracts contracts of the service
 * @param {?Object} firstRun for fixed rejects, the run that rejected them: {options, published}, to load them as the other rows were loaded
 * @param {boolean} fresh whether this is another workbook, for which earlier choices are discarded
 */
export function showTarget(inspected, found, contracts, firstRun, fresh) {
  const { tables } = found;
  const before = now && !fresh ? { place: place(), table: byId("table").value, contract: byId("contract").value } : null;
  now = { inspected, tables, contracts, firstRun };
  if (!before || !sameColumns()) choices = new Map();
  drawMixed(inspected, loadable(inspected));
  fillTables(found.truncated);
  fillContracts();
  propose(before);
  showOrigin();
  drawPlace();
  refresh();
}

let lastColumns = "";

function sameColumns() {
  const columns = JSON.stringify(now.inspected.columns.map((c) => [c.letter, c.header]));
  const same = columns === lastColumns;
  lastColumns = columns;
  return same;
}

function fillTables(truncated) {
  show(byId("table-hint"), truncated);
  fill(
    byId("table"),
    now.tables.map((t) => option(t.table, `${t.table}${t.rows === null ? "" : ` (${count(t.rows, "row")})`}`)),
  );
  show(byId("choice-table"), now.tables.length > 0);
}

function fillContracts() {
  fill(
    byId("contract"),
    now.contracts.map((c) => option(c.name, c.error ? `${c.name} (cannot be used: ${c.error})` : c.name, { disabled: c.error !== null })),
  );
  show(byId("choice-contract"), now.contracts.some((c) => c.error === null));
}

/** Propose a target: the contract or table named like the workbook, else a new table of that name. */
function propose(before) {
  const name = now.inspected.suggested_table;
  const contract = now.contracts.find((c) => c.error === null && (c.table === name || c.name === name));
  const found = now.tables.find((t) => t.name === name && t.schema === "public") ?? now.tables.find((t) => t.name === name);
  if (before) {
    if (now.tables.some((t) => t.table === before.table)) byId("table").value = before.table;
    if (now.contracts.some((c) => c.name === before.contract)) byId("contract").value = before.contract;
    byId(`place-${before.place}`).checked = true;
    return;
  }
  byId("new-name").value = found ? "" : name;
  if (contract) byId("contract").value = contract.name;
  if (found) byId("table").value = found.table;
  byId(`place-${contract ? "contract" : found ? "table" : "new"}`).checked = true;
  byId("mode-append").checked = true;
  byId("columns").open = false;
  resetStrictness();
}

function showOrigin() {
  const { origin } = now.inspected;
  for (const id of ["place", "mode", "columns"]) show(byId(id), origin === null);
  show(byId("origin"), origin !== null);
  if (origin === null) return;
  const usable = now.contracts.filter((c) => c.error === null);
  fill(
    byId("origin"),
    el("p", {}, "These rows were rejected from ", el("strong", {}, origin.workbook), ". They go into the same table as the others: ", el("strong", {}, origin.table), "."),
    now.firstRun?.published === false &&
      el("p", { class: "notice warn" }, `The good rows of ${origin.workbook} are not in the table, because that load was not published. Fix ${origin.workbook} itself to load all of its rows.`),
    usable.length > 0 && [
      el("label", { htmlFor: "origin-rules" }, "Checked by the rules of"),
      el("select", { id: "origin-rules" }, option("", "the table"), usable.map((c) => option(c.name, `contract ${c.name}`))),
    ],
  );
  const likely = usable.find((c) => c.table !== null && [origin.table, origin.table.split(".").at(-1)].includes(c.table));
  if (usable.length > 0) byId("origin-rules").value = now.firstRun?.options.contract ?? likely?.name ?? "";
}

/** Return the fields of the chosen target; null for a new table. */
function fields() {
  if (place() === "contract") return chosenContract()?.fields ?? [];
  return place() === "table" ? (chosenTable()?.columns ?? []) : null;
}

function currentChoices() {
  const key = `${place()} ${place() === "table" ? byId("table").value : place() === "contract" ? byId("contract").value : ""}`;
  if (!choices.has(key)) choices.set(key, mapping.proposal(loadable(now.inspected), fields()));
  return choices.get(key);
}

function drawPlace() {
  if (now.inspected.origin !== null) return;
  const columns = loadable(now.inspected);
  mapping.draw(byId("mapping"), {
    columns, sample: now.inspected.sample, fields: fields(), choices: currentChoices(), changed: refresh,
  });
  const checked = mapping.checkChoices(columns, fields(), currentChoices());
  if (place() !== "new" && (checked.unfilled.length || checked.loaded < columns.length)) byId("columns").open = true;
  drawKeys();
  const contract = chosenContract();
  byId("contract-hint").textContent = contract ? contractHint(contract) : "";
}

const contractHint = (contract) =>
  `Rules for ${count(contract.fields.length, "column")}. The rows go into table ${contract.table ?? now.inspected.suggested_table}.`;

/** Return the table that the contract's rows go into, if it exists. */
function contractTable() {
  const name = chosenContract()?.table ?? now.inspected.suggested_table;
  return now.tables.find((t) => t.table === name || t.name === name);
}

function keys() {
  if (place() === "table") return chosenTable()?.keys.map((k) => k.columns) ?? [];
  if (place() === "new") return [...currentChoices().values()].filter((n) => n.trim()).map((n) => [n]);
  const own = chosenContract()?.primary_key ?? [];
  return own.length ? [own] : (contractTable()?.keys.map((k) => k.columns) ?? []);
}

function drawKeys() {
  const filled = new Set(currentChoices().values());
  const usable = keys().filter((columns) => columns.every((c) => filled.has(c)));
  const before = byId("key").value;
  fill(byId("key"), usable.map((columns) => option(columns.join(","), columns.join(" and "))));
  if (usable.some((columns) => columns.join(",") === before)) byId("key").value = before;
  byId("mode-upsert").disabled = usable.length === 0;
  byId("upsert-hint").textContent = usable.length ? "" : whyNoKey();
  if (usable.length === 0 && mode() === "upsert") byId("mode-append").checked = true;
}

function whyNoKey() {
  const all = keys();
  if (all.length === 0) return "Not possible here: there is no key that identifies rows.";
  return `Not possible yet: no column fills the key, ${all.map((c) => c.join(" and ")).join(", or ")}.`;
}

function refresh() {
  if (now === null) return;
  if (now.inspected.origin === null) {
    // The table does not exist yet: there are no rows to keep or replace, but a key may be chosen for later loads.
    const isNew = place() === "new" || (place() === "contract" && !contractTable());
    byId("columns-summary").textContent = mapping.summary(loadable(now.inspected), fields(), currentChoices());
    drawKeys();
    byId("mode").querySelector("legend").textContent = isNew ? "When more rows come later" : "Existing rows";
    show(byId("mode"), !isNew || !byId("mode-upsert").disabled);
    show(byId("mode-replace").closest(".choice"), !isNew);
    if (isNew && mode() === "replace") byId("mode-append").checked = true;
    label("mode-append", isNew ? "they are added" : "are kept; the new rows are added");
    label("mode-upsert", isNew ? "they update rows with the same key" : "are updated where the key is the same; other rows are added");
  }
  showMixed(loadable(now.inspected), decidesTypes());
  const error = nameError();
  byId("new-error").textContent = error ?? "";
  show(byId("new-error"), error !== null);
  byId("new-name").setAttribute("aria-invalid", String(error !== null));
  drawStrictness(isKeyed());
  changed();
}

const label = (id, text) => {
  document.querySelector(`label[for=${id}]`).textContent = text;
};

function nameError() {
  if (now.inspected.origin !== null || place() !== "new") return null;
  const name = byId("new-name").value.trim();
  if (name === "") return "Give the new table a name.";
  // The same name in another schema may be intended; only the server knows which schema a bare name means.
  return now.tables.some((t) => t.table === name) || now.tables.filter((t) => t.name === name).length === 1
    ? "A table of this name already exists. Choose it below, or enter another name."
    : null;
}

/** Return what prevents the load from starting, {text, element to go to}, or null. */
export function obstacle() {
  const row = byId("header-row");
  if (row.getAttribute("aria-invalid") === "true") return { text: byId("header-error").textContent, element: row };
  if (isEmpty(now.inspected)) return { text: "There are no rows to load.", element: byId("header-row") };
  if (nameError()) return { text: nameError(), element: byId("new-name") };
  if (budgetError()) return { text: budgetError(), element: byId("max-rejects") };
  if (now.inspected.origin !== null) return null;
  const { wrong, unfilled, loaded } = mapping.checkChoices(loadable(now.inspected), fields(), currentChoices());
  const [letter] = wrong.keys();
  if (letter) return { text: `Column ${letter}: ${wrong.get(letter)}`, element: byId(`map-${letter}`) };
  if (loaded === 0) return { text: "No column is loaded. Choose at least one.", element: byId("columns").querySelector("summary") };
  if (unfilled.length) return { text: mapping.needs(unfilled), element: byId("mapping").querySelector("select") };
  return null;
}

/** Whether the cells decide the types of the columns. */
const decidesTypes = () => now.inspected.origin === null && place() === "new";

/** Return the choices as options of the service. */
export function targetOptions() {
  const strict = strictOptions(isKeyed());
  if (now.inspected.origin !== null) return { ...now.firstRun?.options, contract: byId("origin-rules")?.value || undefined, ...strict };
  return {
    ...strict,
    table: place() === "new" ? byId("new-name").value.trim() : place() === "table" ? chosenTable().quoted : undefined,
    contract: place() === "contract" ? byId("contract").value : undefined,
    mode: mode() === "append" ? undefined : mode(),
    key: isKeyed() ? byId("key").value : undefined,
    mapping: mapping.asOption(loadable(now.inspected), fields(), currentChoices()),
    types: decidesTypes() ? mixedTypes(loadable(now.inspected), currentChoices()) : undefined,
  };
}

/** Return what a load would do, in one sentence. */
export function targetSentence() {
  const rows = count(now.inspected.rows.data, "row");
  if (now.inspected.origin !== null) return `${rows} into ${now.inspected.origin.table}.`;
  if (place() === "new") return `${rows} into the new table ${byId("new-name").value.trim() || "…"}.`;
  const target = place() === "table" ? chosenTable() : contractTable();
  const name = target?.table ?? chosenContract()?.table ?? now.inspected.suggested_table;
  if (!target) return `${rows} into the new table ${name}.`;
  if (mode() === "append") return `${rows} are added to ${name}.`;
  if (mode() === "upsert") return `${rows} are merged into ${name}, by ${byId("key").selectedOptions[0]?.text}.`;
  const those = target.rows === null ? "all rows" : `all ${number(target.rows)} rows`;
  return `${rows} replace ${those} of ${name}.`;
}

/** Whether existing rows would be removed. */
export const replaces = () => now.inspected.origin === null && mode() === "replace";
