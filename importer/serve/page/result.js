// Shows the result of a run: what is in the table, what is not and why, and what to do about it.

import { get } from "./api.js";
import { byId, el, fill, table } from "./dom.js";
import { showError } from "./notice.js";
import { notesList } from "./notes.js";
import { count, moment, number, rule, seconds, sentence, within } from "./words.js";

const MOST_CELLS = 200;

/**
 * Show the result of a run.
 * @param {Object} run
 * @param {?Object} report
 * @param {Array<{text: string, act: Function, primary: ?boolean}>} actions
 */
export function showResult(run, report, actions) {
  byId("step-result").dataset.state = isEmptyHanded(run) ? "empty" : (run.outcome ?? run.state);
  byId("result-title").textContent = title(run, report);
  const place = byId("result");
  fill(
    place,
    el("p", { class: "hint" }, [run.workbook, run.sheet && `sheet ${run.sheet}`, moment(run.created_at)].filter(Boolean).join(" · ")),
    failure(run),
    before(run, report),
    figures(run, report),
    set(run),
    conservation(report),
    reportNotes(report),
    actions.length > 0 &&
      el("p", { class: "buttons" }, actions.map((a) => el("button", { type: "button", class: a.primary ? "primary" : null, on: { click: a.act } }, a.text))),
  );
}

/** Whether a load was published and yet put no row into the table: nothing that a reader should take for a success. */
export const isEmptyHanded = (run) =>
  ["published", "checked"].includes(run.outcome) && run.stats?.success_count === 0 && run.stats.total_records > 0;

const PRESENT = /^(([\d,]+) rows? (?:is|are) there already)(?: with the same ([^:]+))?(: mode upsert)?/;

/** Return that all rows are in the table already, {text, key}, if that is why nothing was loaded; else null. */
export function present(run, report) {
  const found = isEmptyHanded(run) && (report?.notes ?? []).map((note) => PRESENT.exec(note)).find(Boolean);
  if (!found || Number(found[2].replaceAll(",", "")) !== run.stats.total_records) return null;
  return { text: found[1], key: found[4] ? found[3] : null };
}

/** Return the result of a run in one sentence. */
export function title(run, report) {
  const stats = run.stats;
  const into = run.table ?? "the table";
  if (run.outcome === "already-imported") return `This workbook is already in ${into}; nothing was done`;
  if (run.state === "cancelled") return run.kind === "check" ? "The check was cancelled" : "Cancelled; nothing was loaded";
  if (run.state === "interrupted") return "Interrupted; nothing is visible in the table yet";
  if (run.state === "failed") return run.kind === "check" ? "This workbook would not load" : "Nothing was loaded";
  if (!stats) return run.message ?? "Done";
  if (isEmptyHanded(run)) {
    const checked = run.outcome === "checked";
    const rejected = checked ? "would be rejected" : stats.total_records === 1 ? "was rejected" : "were rejected";
    const why = present(run, report)?.text ?? `all ${count(stats.total_records, "row")} ${rejected}`;
    return `${checked ? "Nothing would be loaded" : "Nothing was loaded"}: ${why}`;
  }
  const would = run.outcome === "checked" ? "would be loaded into" : "are in";
  const all = stats.error_count === 0 && stats.success_count === stats.total_records;
  const which = all ? `All ${count(stats.total_records, "row")}` : `${number(stats.success_count)} of ${count(stats.total_records, "row")}`;
  const target = report?.target?.created ? `the new table ${into}` : into;
  return `${which} ${all && stats.total_records === 1 ? would.replace("are", "is") : would} ${target}`;
}

function failure(run) {
  if (!run.error || run.state === "cancelled") return null;
  const place = el("div");
  const { error, ...more } = run.error;
  showError(place, Object.assign(new Error(error), more));
  return place;
}

/** Explain that the workbook was loaded before, and is not loaded twice. */
function before(run, report) {
  if (run.outcome !== "already-imported") return null;
  const then = report?.run?.published_at;
  return el("p", {}, `The same rows went into the same table ${then ? moment(then) : "before"}. Loading a workbook twice is usually a mistake.`);
}

function figures(run, report) {
  const stats = run.stats;
  if (!stats || run.outcome === "already-imported") return null;
  const would = run.outcome === "checked" || run.state === "failed";
  const rows = report?.table_rows;
  const items = [
    ["Rows in the sheet", number(stats.total_records)],
    [would ? "Would load" : "Loaded", number(stats.success_count)],
    [would ? "Would be rejected" : "Rejected", number(stats.error_count), stats.error_count > 0],
  ];
  if (rows && (rows.updated || rows.unchanged)) {
    items.push(["New", number(rows.inserted)], ["Updated", number(rows.updated)], ["Unchanged", number(rows.unchanged)]);
  }
  if (rows?.deleted) items.push(["Removed before", number(rows.deleted)]);
  items.push(["Time", spent(stats)]);
  return el(
    "dl",
    { class: "figures" },
    items.map(([name, value, warn]) => el("div", { class: warn ? "warn" : null }, el("dt", {}, name), el("dd", {}, value))),
  );
}

const spent = (stats) => {
  const value = Number.parseFloat(stats.duration);
  return Number.isNaN(value) ? stats.duration : seconds(value);
};

/** Show the rejected rows: by rule, by cell, and as a workbook to fix. */
function set(run) {
  if (!run.rejects?.rows || run.outcome === "already-imported") return null;
  const cells = el("div", { id: "bad-cells" });
  if (run.links.bad_cells) showCells(cells, run);
  return el(
    "div",
    { class: "aside" },
    el("h3", {}, `${count(run.rejects.rows, "row")} to fix`),
    run.links.rejects && (run.outcome === "published" ? fixSteps(run) : list(run)),
    el("h4", {}, "What is wrong with them"),
    byReason(run),
    el("details", { class: "fold", id: "by-rule" }, el("summary", {}, "Details: the rules that they broke"), byRule(run)),
    cells,
  );
}

function fixSteps(run) {
  return [
    el("ol", { class: "fix-steps" },
      el("li", {}, el("a", { class: "button primary", href: run.links.rejects, download: "", id: "download" }, `Download ${count(run.rejects.rows, "row")} (.xlsx)`)),
      el("li", {}, "Fix the marked cells. Column _errors says what is wrong."),
      el("li", {}, "Save the workbook and drop it on this page again. Its rows go into the same table."),
    ),
  ];
}

/** Offer a list of the bad rows, not a workbook to fix: the good rows are not in the table either. */
const list = (run) =>
  el("p", {}, `Fix them in ${run.workbook} itself, then drop that workbook here again. `, el("a", { href: run.links.rejects, download: "" }, "Download a list of them (.xlsx)"));

/** Show equal reasons as one line each. */
function byReason(run) {
  const reasons = run.rejects.reasons ?? [];
  const heads = [{ text: "What is wrong" }, { text: "Where" }, { text: "Cells", number: true }];
  const rows = reasons.map((r) => [sentence(r.reason), el("span", { class: "address" }, r.cells), number(r.count)]);
  return reasons.length > 0 && table("What is wrong, equal reasons in one line", heads, rows);
}

function byRule(run) {
  const heads = [{ text: "Column" }, { text: "What is wrong" }, { text: "Cells", number: true }, { text: "First at" }];
  const rows = run.rejects.by_rule.map((r) => [
    r.column || "the row",
    [rule(r.rule), " ", el("code", { class: "hint" }, r.rule)],
    number(r.count),
    el("span", { class: "address" }, within(r.example, run.sheet)),
  ]);
  return table("What is wrong, by column and rule", heads, rows);
}

async function showCells(place, run) {
  let found;
  try {
    found = await get(`${run.links.bad_cells}?limit=${MOST_CELLS}`);
  } catch (error) {
    showError(place, error);
    return;
  }
  const heads = [{ text: "Cell" }, { text: "Column" }, { text: "What is wrong" }, { text: "Value" }];
  const rows = found.cells.map((c) => [
    el("span", { class: "address" }, within(c.address, run.sheet)),
    c.column ?? "the row",
    c.message,
    held(c),
  ]);
  const first = `${found.truncated ? "The first " : ""}${count(found.cells.length, "bad cell")}`;
  fill(place, el("h4", {}, first), table("Bad cells, with their addresses", heads, rows, "tall"));
}

const UNSAID = { "error-cell": "an error", "uncalculated-formula": "a formula" };

function held({ value, rule: name }) {
  if (value === null) return el("em", { class: "hint" }, UNSAID[name] ?? "blank");
  return el("span", { class: "value", title: value }, value);
}

/** Show the equation that accounts for every cell, column by column. */
function conservation(report) {
  const columns = report?.columns?.filter((c) => c.loaded !== null && c.loaded !== undefined);
  if (!columns?.length || report.outcome === "already-imported") return null;
  const names = ["cells", "loaded", "missing", "ignored", "rejected"];
  const sums = names.map((n) => columns.reduce((sum, c) => sum + (c[n] ?? 0), 0));
  const heads = [
    { text: "Column" },
    ...["Cells =", "loaded +", "declared blank +", "left out +", "rejected"].map((text) => ({ text, number: true })),
  ];
  const rows = columns.map((c) => [
    [el("span", { class: "letter" }, c.letter), " ", c.header ?? c.name],
    ...names.map((n) => number(c[n] ?? 0)),
  ]);
  rows.push(["All", ...sums.map(number)]);
  return el(
    "details",
    { class: "fold" },
    el("summary", {}, `Every one of the ${count(sums[0], "cell")} is accounted for`),
    table("Where the cells of every column went", heads, rows, "sums"),
  );
}

function reportNotes(report) {
  if (!report?.notes?.length || report.outcome === "already-imported") return null;
  return notesList(report.notes);
}
