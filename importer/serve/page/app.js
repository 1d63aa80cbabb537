// Connects the steps of the page: choose a workbook, preview it, choose the target, load, show the result.

import { ServiceError, get, post } from "./api.js";
import { byId, confirmed, goTo, say, show } from "./dom.js";
import { isEnded } from "./events.js";
import { prepareHistory, refreshHistory } from "./history.js";
import { originOptions } from "./origin.js";
import { clear, showError, showNote } from "./notice.js";
import { preparePreview, showPreview } from "./preview.js";
import { present, showResult, title } from "./result.js";
import { leaveRun, showRun } from "./run.js";
import { signIn } from "./signin.js";
import { obstacle, prepareTarget, replaces, showTarget, targetOptions, targetSentence } from "./target.js";
import { count, number } from "./words.js";
import { readings, textOptions } from "./textfile.js";
import { prepareWorkbook, send, showEmpty } from "./workbook.js";

/** The current workbook: its file (null after a reload), its upload, and options and result of the last inspection. */
let hand = null;
let started = false;
let asked = 0; // number of inspections so far; only the answer to the last one is shown

signIn(start).catch((error) => {
  show(byId("steps"));
  showError(byId("workbook-error"), error, [{ text: "Try again", act: () => location.reload() }]);
});

async function start() {
  if (!started) {
    started = true;
    preparePreview((asking) => hand && inspect({ ...textOptions(hand.asking), ...asking }));
    prepareTarget(drawAction);
    prepareHistory((run) => openRun(run.id));
    byId("load").addEventListener("click", () => begin("/upload"));
    byId("check").addEventListener("click", () => begin("/check"));
    prepareWorkbook(Infinity, takeFile);
    addEventListener("hashchange", followAddress);
    followAddress();
  }
  refreshHistory();
  const about = await get("/about").catch(() => null);
  if (about === null) return;
  prepareWorkbook(about.limits.upload_bytes, takeFile);
  byId("about").textContent = `importer ${about.version}, ${about.database === "embedded" ? "with an embedded database" : "with a database server"}`;
}

/** Open the run in the page's address; a reload or a shared link then shows it. */
function followAddress() {
  const id = /^#run=([0-9a-f-]+)$/.exec(location.hash)?.[1];
  if (id) openRun(id);
}

const address = (id) => history.replaceState(null, "", id ? `#run=${id}` : location.pathname);

// ---- THE WORKBOOK -------------------------------------------------------------------------------------------------

async function takeFile(file) {
  leaveRun();
  hand = null;
  address(null);
  showSteps(false);
  show(byId("step-result"), false);
  clear(byId("workbook-error"));
  const upload = await send(file);
  if (!upload) return;
  hand = { file, upload, asking: {}, inspected: null, run: null };
  await inspect({}, true);
}

function showSteps(shown) {
  for (const id of ["step-preview", "step-target", "action"]) show(byId(id), shown);
}

/** Inspect the current workbook and show the result. After an error, the steps keep showing the previous one. */
async function inspect(asking, fresh = false) {
  const mine = ++asked;
  const holder = fresh ? byId("step-workbook") : byId("step-preview");
  holder.setAttribute("aria-busy", "true");
  enableLoad(false);
  say("Reading the workbook");
  const error = byId(fresh ? "workbook-error" : "preview-error");
  try {
    const inspected = await withUpload((upload) => post("/inspect", { ...asking, upload }));
    const [tables, contracts, firstRun] = await Promise.all([get("/tables"), get("/contracts"), originOptions(inspected)]);
    if (mine !== asked) return;
    hand.asking = asking;
    hand.inspected = inspected;
    hand.stale = false;
    clear(error);
    clear(byId("action-error"));
    showSteps(true);
    showPreview(inspected, asking);
    showTarget(inspected, tables, contracts.contracts, firstRun, fresh);
    say(`Found ${byId("preview-summary").textContent}`);
    if (fresh) goTo(byId("preview-title"));
  } catch (problem) {
    if (mine !== asked) return;
    if (!(problem instanceof ServiceError)) throw problem;
    hand.stale = true;
    if (fresh) showEmpty();
    const ways = readings(problem, (options) => inspect({ ...asking, ...options }, fresh));
    showError(error, problem, problem.passes ? [{ text: "Try again", act: () => inspect(asking, fresh) }] : ways);
  } finally {
    if (mine === asked) {
      holder.removeAttribute("aria-busy");
      enableLoad(true);
    }
  }
}

function enableLoad(able) {
  for (const id of ["load", "check"]) byId(id).disabled = !able;
}

/** Call `act` with the id of the upload; if the service has removed the upload, send the file again first. */
async function withUpload(act) {
  try {
    return await act(hand.upload.id);
  } catch (error) {
    if (error.type !== "UploadGone" || hand.file === null) throw error;
    const upload = await send(hand.file);
    if (upload === null) throw error;
    hand.upload = upload;
    return act(upload.id);
  }
}

// ---- THE LOAD -----------------------------------------------------------------------------------------------------

/** Show, beside the two buttons, what they would do. */
function drawAction() {
  byId("action-text").textContent = targetSentence();
  const rows = hand?.inspected?.rows.data;
  byId("load").textContent = rows ? `Load ${count(rows, "row")}` : "Load";
  if (isChecked()) show(byId("step-result"), false);
}

/** Whether the result of a check is shown: it is that of the current choices. */
const isChecked = () => ["checked", "empty"].includes(byId("step-result").dataset.state) && !byId("step-result").hidden;

/** Say on the button what a load does, as the check of the same choices found out. */
function drawChecked({ success_count: good, error_count: bad }) {
  byId("load").textContent = good === 0 ? "Load" : `Load ${count(good, "row")}${bad ? `, set ${number(bad)} aside` : ""}`;
}

/** The obstacle when the chosen sheet or header row could not be shown: the user has not seen what would be loaded. */
const unseen = () => ({ text: "Choose a sheet and header row that can be shown first.", element: byId("header-row") });

async function begin(path, more = {}) {
  clear(byId("action-error"));
  const found = (hand.stale && unseen()) || obstacle();
  if (found) {
    showError(byId("action-error"), Object.assign(new Error(found.text)));
    found.element.closest("details:not([open])")?.setAttribute("open", "");
    found.element.focus();
    found.element.scrollIntoView({ block: "center" }); // the action bar at the bottom would cover it
    return;
  }
  if (path === "/upload" && replaces() && !(await confirmed(`${targetSentence()} This cannot be undone.`, "Replace them"))) return;
  enableLoad(false);
  try {
    const { sheet } = hand.inspected;
    const { range, excel_table, header_row } = hand.asking;
    const reading = { sheet, range, excel_table, header_row, ...textOptions(hand.asking) };
    const options = { ...reading, ...targetOptions(), ...more, wait: false };
    const { run } = await withUpload((upload) => post(path, { ...options, upload }));
    hand.run = run.id;
    watch(run);
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    showError(byId("action-error"), error);
  } finally {
    enableLoad(true);
  }
}

function watch(run) {
  showSteps(false);
  show(byId("step-result"), false);
  if (run.kind === "upload") address(run.id);
  showRun(run, hand?.run === run.id ? hand.inspected.rows.data : null, (last) => ended(run.id, last));
  goTo(byId("run-title"));
}

async function ended(id, run) {
  refreshHistory();
  if (run === null) {
    show(byId("step-result"), false);
    showSteps(hand?.inspected !== null && hand !== null);
    showNote(byId("workbook-error"), "This load was removed from the list.");
    return;
  }
  const { report } = await get(`/runs/${id}`).catch(() => ({ report: null }));
  showEnd(run, report);
}

/** Show how a run ended. The steps are shown again where the user can make another choice. */
function showEnd(run, report) {
  const open = hand?.inspected && (run.kind === "check" || run.state !== "done");
  showSteps(Boolean(open));
  if (open && run.state === "cancelled") {
    show(byId("step-result"), false);
    showNote(byId("action-error"), `${title(run, report)}. Your choices are as they were.`);
    byId("load").focus();
    return;
  }
  if (open && run.error && !run.rejects?.rows) {
    show(byId("step-result"), false);
    const { error, ...more } = run.error;
    showError(byId("action-error"), Object.assign(new Error(error), more), run.resumable ? [resume(run)] : []);
    byId("load").focus();
    return;
  }
  showResult(run, report, actionsAfter(run, report, open));
  if (open && run.outcome === "checked") drawChecked(run.stats);
  show(byId("step-result"));
  say(title(run, report));
  goTo(byId("result-title"));
}

const resume = (run) => ({ text: "Continue where it stopped", primary: true, act: () => goOn(run) });

function actionsAfter(run, report, stepsShown) {
  const actions = run.resumable ? [resume(run)] : [];
  if (!hand?.inspected) return actions;
  if (run.outcome === "already-imported" && run.id === hand.run) {
    actions.push({ text: "Load it again anyway", act: () => begin("/upload", { again: true }) });
  }
  const there = present(run, report);
  if (there?.key && !stepsShown && run.id === hand.run) {
    const key = there.key.split(",").map((name) => name.trim()).join(",");
    actions.push({ text: "Update them instead", primary: true, act: () => begin("/upload", { mode: "upsert", key }) });
  }
  if (!stepsShown) actions.push({ text: `Back to ${hand.upload.name}`, act: back });
  return actions;
}

/** Go back from a result to the steps, with all choices as they were. */
function back() {
  address(null);
  show(byId("step-result"), false);
  showSteps(true);
  goTo(byId("target-title"));
  inspect(hand.asking); // the tables may have changed since
}

async function goOn(run) {
  try {
    watch((await post(`/runs/${run.id}/resume`)).run);
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    showError(byId("workbook-error"), error);
  }
}

// ---- EARLIER LOADS ------------------------------------------------------------------------------------------------

async function openRun(id) {
  try {
    const { run, report } = await get(`/runs/${id}`);
    if (!isEnded(run)) {
      watch(run);
      return;
    }
    leaveRun();
    address(id);
    showSteps(false);
    showResult(run, report, actionsAfter(run, report, false));
    show(byId("step-result"));
    goTo(byId("result-title"));
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    if (error.status !== 401) showError(byId("workbook-error"), error);
  }
}
