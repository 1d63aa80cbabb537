// Shows the list of earlier loads with their results, and resumes or removes them.

import { ServiceError, get, post, remove } from "./api.js";
import { byId, confirmed, el, fill, say, show } from "./dom.js";
import { isEnded } from "./events.js";
import { clear, showError } from "./notice.js";
import { STATES, count, moment } from "./words.js";

const PAGE = 10;
const PAUSE = 3000; // ms between two refreshes while a run is not ended

let timer = null;
let drawn = ""; // the list as it is shown
let shown = PAGE;
let opened = () => {};

/** Prepare the list; `onOpen` is called with a run that the user wants to see. */
export function prepareHistory(onOpen) {
  opened = onOpen;
}

byId("history-more").addEventListener("click", () => {
  shown += PAGE;
  refreshHistory();
});

/** Request the list again and show it. */
export async function refreshHistory() {
  clearTimeout(timer);
  let answer;
  try {
    answer = await get(`/runs?limit=${shown}`);
  } catch (error) {
    if (error.status !== 401) showError(byId("history-error"), error, [{ text: "Try again", act: refreshHistory }]);
    return;
  }
  clear(byId("history-error"));
  const focused = document.activeElement?.closest?.("#history-list") ? document.activeElement.dataset.what : null;
  const runs = answer.runs.filter((r) => r.kind === "upload");
  show(byId("history"), runs.length > 0);
  show(byId("to-history"), runs.length > 0);
  if (JSON.stringify(runs) !== drawn) fill(byId("history-list"), runs.map(item)); // unchanged, it keeps scroll position and focus
  drawn = JSON.stringify(runs);
  show(byId("history-more"), answer.more);
  if (focused) byId("history-list").querySelector(`[data-what="${focused}"]`)?.focus();
  if (runs.some((r) => !isEnded(r))) timer = setTimeout(refreshHistory, PAUSE);
}

function item(run) {
  const state = run.outcome === "already-imported" ? "already loaded" : (STATES[run.state] ?? run.state);
  return el(
    "li",
    { class: "run" },
    el(
      "div",
      { class: "run-main" },
      el("p", {},
        el("button", { type: "button", class: "link", "data-what": `open-${run.id}`, on: { click: () => opened(run) } }, run.workbook),
        run.table && [" → ", run.table],
      ),
      el("p", { class: "hint" }, moment(run.created_at), what(run)),
    ),
    el("span", { class: `state ${run.state}` }, state),
    el("div", { class: "buttons" }, actions(run)),
  );
}

function what(run) {
  if (run.state === "failed" && run.error) return ` · ${run.error.error}`;
  if (run.state === "interrupted") return run.resumable ? " · can continue where it stopped; nothing is loaded twice" : "";
  if (run.state !== "done" || !run.stats || run.outcome === "already-imported") return "";
  const bad = run.stats.error_count;
  return ` · ${count(run.stats.success_count, "row")} loaded${bad ? `, ${count(bad, "row")} to fix` : ""}`;
}

function actions(run) {
  const button = (name, text, act) =>
    el("button", { type: "button", class: "small", "data-what": `${name}-${run.id}`, "aria-label": `${text}: ${run.workbook}`, on: { click: act } }, text);
  return [
    run.resumable && button("resume", "Resume", () => resume(run)),
    isEnded(run) && button("remove", "Remove", () => forget(run)),
  ];
}

async function resume(run) {
  try {
    opened((await post(`/runs/${run.id}/resume`)).run);
  } catch (error) {
    showFailure(error);
  }
}

async function forget(run) {
  const kept = run.state === "interrupted" ? "What it has written so far is deleted; the table stays as it is." : "The table keeps its rows.";
  if (!(await confirmed(`Remove ${run.workbook} of ${moment(run.created_at)} from this list? ${kept}`, "Remove"))) return;
  try {
    await remove(`/runs/${run.id}`);
    say("Removed.");
    await refreshHistory();
  } catch (error) {
    showFailure(error);
  }
  byId("history-title").tabIndex = -1;
  byId("history-title").focus();
}

function showFailure(error) {
  if (!(error instanceof ServiceError)) throw error;
  showError(byId("history-error"), error);
}
