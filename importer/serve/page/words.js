// Formats values for display: numbers, sizes, times, kinds of cells, rules, stages.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const one = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const day = new Intl.DateTimeFormat("en", { day: "numeric", month: "short", year: "numeric" });
const clock = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

/** 12345 -> 12,345 */
export const number = (n) => (n === null || n === undefined ? "–" : whole.format(n));

/** "1 row", "2 rows" */
export const count = (n, singular, plural = `${singular}s`) => `${number(n)} ${n === 1 ? singular : plural}`;

/** 787350 -> 769 KB */
export function size(bytes) {
  const units = ["bytes", "KB", "MB", "GB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) [value, unit] = [value / 1024, unit + 1];
  return `${value < 10 && unit ? one.format(value) : whole.format(value)} ${units[unit]}`;
}

/** 73.2 -> 1 min 13 s */
export function seconds(value) {
  if (value < 10) return `${one.format(value)} s`;
  if (value < 60) return `${whole.format(value)} s`;
  const rounded = Math.round(value);
  return `${whole.format(Math.floor(rounded / 60))} min ${rounded % 60} s`;
}

/** An ISO timestamp -> "today, 17:02", or the date and time. */
export function moment(iso) {
  const then = new Date(iso);
  const today = day.format(then) === day.format(new Date());
  return `${today ? "today" : day.format(then)}, ${clock.format(then)}`;
}

/** Return a text of the service as a sentence, with a capital letter and a full stop. */
export function sentence(text) {
  const trimmed = text.trim();
  const begun = trimmed.charAt(0).toUpperCase() + trimmed.slice(1);
  return /[.!?:…)]$/.test(begun) ? begun : `${begun}.`;
}

/** Return a cell's address without its sheet, if that is the given one: "Orders!D17" -> "D17". */
export function within(address, sheet) {
  const mark = (address ?? "").lastIndexOf("!");
  const name = (address ?? "").slice(0, Math.max(mark, 0)).replace(/^'|'$/g, "").replaceAll("''", "'");
  return mark >= 0 && name === sheet ? address.slice(mark + 1) : (address ?? "");
}

const KINDS = {
  text: ["text", "texts"],
  number: ["number", "numbers"],
  boolean: ["yes/no", "yes/no"],
  date: ["date", "dates"],
  datetime: ["date and time", "dates and times"],
  instant: ["date and time with an offset", "dates and times with an offset"],
  time: ["time", "times"],
  duration: ["duration", "durations"],
  error: ["error value", "error values"],
  formula: ["formula without a value", "formulas without a value"],
};

/** Return the label of a kind of cell, singular or plural. */
export const kind = (name, n = 2) => (KINDS[name] ?? [name, name])[n === 1 ? 0 : 1];

const TYPES = {
  bigint: "whole number",
  integer: "whole number",
  smallint: "whole number",
  "double precision": "number",
  real: "number",
  numeric: "number",
  number: "number",
  boolean: "yes/no",
  text: "text",
  string: "text",
  "character varying": "text",
  date: "date",
  time: "time",
  "time without time zone": "time",
  datetime: "date and time",
  timestamp: "date and time",
  "timestamp without time zone": "date and time",
  timestamptz: "date and time",
  "timestamp with time zone": "date and time",
  interval: "duration",
  duration: "duration",
};

/** Return the label of a column type or of a field type of a contract; an unknown type is its own label. */
export const type = (name) => TYPES[name] ?? TYPES[(name ?? "").replace(/\(.*\)/, "")] ?? name ?? "";

const RULES = {
  "type-error": "not a value of the expected type",
  "constraint-error": "breaks a rule of its column",
  "unique-error": "appears more than once, but must not",
  "primary-key": "the row's key is missing or appears more than once",
  "foreign-key": "points to something that does not exist",
  "missing-cell": "is blank, but must not be",
  "extra-cell": "a cell outside the columns",
  "error-cell": "holds an error such as #N/A",
  "uncalculated-formula": "a formula without a value",
  "database-error": "refused by the database",
};

/** Return the text for an error of a rule. */
export const rule = (name) => RULES[name] ?? name;

/** Stages of a load: their names, and what happens in them. A test holds them equal to importer/runtime/stage.py. */
export const STAGES = {
  open: ["Open", "Opening the workbook"],
  unpack: ["Unpack", "Unpacking the workbook"],
  read: ["Read", "Reading the cells"],
  load: ["Load", "Reading, checking and writing the rows"],
  plan: ["Plan", "Comparing with the table"],
  validate: ["Check", "Checking every row"],
  write: ["Write", "Writing the rows"],
  verify: ["Verify", "Comparing what was written with the workbook"],
  rejects: ["Rejects", "Writing the rejected rows"],
  publish: ["Finish", "Making the rows visible, all at once"],
};

/** Labels of the states of a run. */
export const STATES = {
  queued: "waiting",
  running: "running",
  done: "loaded",
  failed: "not loaded",
  cancelled: "cancelled",
  interrupted: "interrupted",
};
