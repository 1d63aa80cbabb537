// Shows a load (or check) in progress: its stages, rows and rate; and cancels it.

import { ServiceError, get, remove } from "./api.js";
import { byId, el, fill, say, show } from "./dom.js";
import { follow, isEnded } from "./events.js";
import { clear, showError, showNote } from "./notice.js";
import { STAGES, count, number, seconds } from "./words.js";

let stop = null;
let current = null; // id of the run that is shown
let known = null; // number of rows of the sheet; null if unknown
let ended = () => {};

byId("cancel").addEventListener("click", cancel);

/**
 * Show a run and follow it.
 * @param {Object} run
 * @param {?number} sheetRows number of rows of the sheet; null if unknown
 * @param {(run: ?Object) => void} onEnd called once with the ended run, or null when the service no longer has it
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

/** Stop following and showing the run; the run itself continues. */
export function leaveRun() {
  stop?.();
  stop = null;
  current = null;
  show(byId("step-run"), false);
}

function end(run) {
  const callback = ended;
  leaveRun();
  callback(run);
}

function lost(away) {
  const note = byId("run-note");
  if (away) showError(note, new Error("The service does not answer. The load continues if the service is running; this page keeps trying."));
  else if (note.classList.contains("bad")) clear(note);
}

function draw({ state, queue_position: position, progress }) {
  if (state === "queued") {
    const ahead = position > 1 ? `${number(position - 1)} before it` : "next in line";
    showStage(`Waiting for other loads to finish: ${ahead}`);
    return;
  }
  if (!progress) {
    showStage("Starting");
    return;
  }
  showStage(`${STAGES[progress.stage]?.[1] ?? progress.stage_label}`);
  byId("run-bar").value = Math.max(byId("run-bar").value || 0, part(progress) * 100);
  byId("run-rows").textContent = rows(progress);
  fill(byId("run-stages"), stages(progress));
  if (progress.note && byId("run-note").hidden) showNote(byId("run-note"), progress.note);
}

/** Return the part of the run that is done, 0 to 1; all stages have equal weight, so that it never goes back. */
function part({ stage, stages: all, done_rows: done, total_rows: total }) {
  const expected = total ?? known;
  const at = Math.max(all.indexOf(stage), 0);
  return (at + (expected ? Math.min(done / expected, 1) : 0)) / all.length;
}

function rows({ done_rows: done, total_rows: total, rows_per_second: rate, elapsed }) {
  const expected = total ?? known;
  const parts = [];
  if (expected && done && done <= expected) parts.push(`${number(done)} of ${count(expected, "row")}`);
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

/** Show a stage, and announce it once to screen readers; rows are not announced. */
function showStage(text) {
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
    // Deleting a run that has ended in the meantime would remove it from the history.
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
