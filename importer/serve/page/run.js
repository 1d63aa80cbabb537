// Owns the view of a load (or check) under way: its stages, rows and rate, and cancelling it.

import { ServiceError, get, remove } from "./api.js";
import { byId, el, fill, say, show } from "./dom.js";
import { follow, isEnded } from "./events.js";
import { clear, showError, showNote } from "./notice.js";
import { STAGES, count, number, seconds } from "./words.js";

let stop = null;
let current = null; // id of the run that is shown
let known = null; // rows that the sheet has, where the page knows
let ended = () => {};

byId("cancel").addEventListener("click", cancel);

/**
 * Show a run and follow it.
 * @param {Object} run
 * @param {?number} sheetRows that the sheet has, where that is known
 * @param {(run: ?Object) => void} onEnd is told once; null when the service forgot it
 */
export function showRun(run, sheetRows, onEnd) {
  leaveRun();
  current = run.id;
  known = sheetRows;
  ended = onEnd;
  byId("run-title").textContent = run.kind === "check" ? "Checking" : "Loading";
  byId("run-what").textContent = [run.workbook, run.table && `into ${run.table}`].filter(Boolean).join(" ");
  byId("cancel").disabled = false;
  byId("cancel").textContent = "Cancel";
  byId("run-bar").removeAttribute("value");
  byId("run-rows").textContent = "";
  fill(byId("run-stages"));
  clear(byId("run-note"));
  show(byId("step-run"));
  draw(run);
  stop = follow(run.id, { progress: draw, note: (text) => showNote(byId("run-note"), text), lost, end });
}

/** Stop looking on; the run goes on. */
export function leaveRun() {
  stop?.();
  stop = null;
  current = null;
  show(byId("step-run"), false);
}

function end(run) {
  const tell = ended;
  leaveRun();
  tell(run);
}

function lost(away) {
  const note = byId("run-note");
  if (away) showError(note, new Error("The service does not answer. The load goes on if it is running; this page keeps asking."));
  else if (note.classList.contains("bad")) clear(note);
}

function draw({ state, queue_position: position, progress }) {
  if (state === "queued") {
    const ahead = position > 1 ? `${number(position - 1)} before it` : "next in line";
    tellStage(`Waiting for others to finish: ${ahead}`);
    return;
  }
  if (!progress) {
    tellStage("Starting");
    return;
  }
  tellStage(`${STAGES[progress.stage]?.[1] ?? progress.stage_label}`);
  byId("run-bar").value = Math.max(byId("run-bar").value || 0, part(progress) * 100);
  byId("run-rows").textContent = rows(progress);
  fill(byId("run-stages"), stages(progress));
  if (progress.note && byId("run-note").hidden) showNote(byId("run-note"), progress.note);
}

/** The part of the whole that is done, 0 to 1: every stage counts alike, which is honest enough and never goes back. */
function part({ stage, stages: all, done_rows: done, total_rows: told }) {
  const total = told ?? known;
  const at = Math.max(all.indexOf(stage), 0);
  return (at + (total ? Math.min(done / total, 1) : 0)) / all.length;
}

function rows({ done_rows: done, total_rows: told, rows_per_second: rate, elapsed }) {
  const total = told ?? known;
  const parts = [];
  if (total && done && done <= total) parts.push(`${number(done)} of ${count(total, "row")}`);
  else if (done) parts.push(count(done, "row"));
  if (rate) parts.push(`${number(rate)} rows a second`);
  if (elapsed >= 1) parts.push(seconds(Math.floor(elapsed)));
  return parts.join(" · ");
}

function stages({ stage, stages: all }) {
  const at = all.indexOf(stage);
  return all.map((name, i) =>
    el("li", { class: i < at ? "past" : i === at ? "present" : null }, STAGES[name]?.[0] ?? name),
  );
}

/** Those who listen hear of each stage once, not of every row. */
function tellStage(text) {
  byId("run-stage").textContent = text;
  say(text);
}

async function cancel() {
  const id = current;
  const button = byId("cancel");
  button.disabled = true;
  button.textContent = "Cancelling…";
  try {
    const { run } = await get(`/runs/${id}`);
    // Removing a run that ended meanwhile would take it from the history.
    const last = isEnded(run) ? run : (await remove(`/runs/${id}`)).run;
    if (current === id) end(last);
  } catch (error) {
    if (current !== id) return;
    button.disabled = false;
    button.textContent = "Cancel";
    if (error instanceof ServiceError) showError(byId("run-note"), error);
    else throw error;
  }
}
