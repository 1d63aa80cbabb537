// Owns the story of the page: a workbook, what is in it, where it goes, the load, the result.

import { ServiceError, get, post } from "./api.js";
import { byId, confirmed, goTo, say, show } from "./dom.js";
import { isEnded } from "./events.js";
import { prepareHistory, refreshHistory } from "./history.js";
import { mendedOptions } from "./mended.js";
import { clear, showError, showNote } from "./notice.js";
import { preparePreview, showPreview } from "./preview.js";
import { showResult, title } from "./result.js";
import { leaveRun, showRun } from "./run.js";
import { signIn } from "./signin.js";
import { obstacle, prepareTarget, replaces, showTarget, targetOptions, targetSentence } from "./target.js";
import { count } from "./words.js";
import { prepareWorkbook, send, showEmpty } from "./workbook.js";

/** The workbook in hand: its file (null after a reload), upload, what was asked of it and what was found. */
let hand = null;
let started = false;
let asked = 0; // inspections so far; only the answer to the last one is shown

signIn(start).catch((error) => {
  show(byId("steps"));
  showError(byId("workbook-error"), error, [{ text: "Try again", act: () => location.reload() }]);
});

async function start() {
  if (!started) {
    started = true;
    preparePreview((asking) => hand && inspect(asking));
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
  byId("about").textContent = `importer ${about.version}, ${about.database === "embedded" ? "with a database of its own" : "with a database server"}`;
}

/** A run has an address, so that a reload (or a friend) finds it. */
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

/** Look into the workbook in hand. What does not work leaves what is shown as it is. */
async function inspect(asking, fresh = false) {
  const mine = ++asked;
  const holder = fresh ? byId("step-workbook") : byId("step-preview");
  holder.setAttribute("aria-busy", "true");
  enableLoad(false);
  say("Looking into the workbook");
  const error = byId(fresh ? "workbook-error" : "preview-error");
  try {
    const inspected = await withUpload((upload) => post("/inspect", { ...asking, upload }));
    const [tables, contracts, mended] = await Promise.all([get("/tables"), get("/contracts"), mendedOptions(inspected)]);
    if (mine !== asked) return;
    hand.asking = asking;
    hand.inspected = inspected;
    hand.stale = false;
    clear(error);
    clear(byId("action-error"));
    showSteps(true);
    showPreview(inspected);
    showTarget(inspected, tables, contracts.contracts, mended, fresh);
    say(`Found ${byId("preview-summary").textContent}`);
    if (fresh) goTo(byId("preview-title"));
  } catch (problem) {
    if (mine !== asked) return;
    if (!(problem instanceof ServiceError)) throw problem;
    hand.stale = true;
    if (fresh) showEmpty();
    showError(error, problem, problem.passes ? [{ text: "Try again", act: () => inspect(asking, fresh) }] : []);
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

/** Do something with the upload; when the service has dropped it meanwhile, send the file once more. */
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

/** What the two buttons would do, beside them. */
function drawAction() {
  byId("action-text").textContent = targetSentence();
  byId("load").textContent = hand?.inspected ? `Load ${count(hand.inspected.rows.data, "row")}` : "Load";
  if (byId("step-result").dataset.state === "checked" && !byId("step-result").hidden) show(byId("step-result"), false);
}

/** The sheet or header row that was asked for could not be shown: nobody has seen what would be loaded. */
const unseen = () => ({ text: "Choose a sheet and header row that can be shown first.", element: byId("header-row") });

async function begin(path, more = {}) {
  clear(byId("action-error"));
  const found = (hand.stale && unseen()) || obstacle();
  if (found) {
    showError(byId("action-error"), Object.assign(new Error(found.text)));
    found.element.closest("details:not([open])")?.setAttribute("open", "");
    found.element.focus();
    found.element.scrollIntoView({ block: "center" }); // the bar below would cover it
    return;
  }
  if (path === "/upload" && replaces() && !(await confirmed(`${targetSentence()} This cannot be undone.`, "Replace them"))) return;
  enableLoad(false);
  try {
    const { sheet } = hand.inspected;
    const { header_row } = hand.asking;
    const options = { sheet, header_row, ...targetOptions(), ...more, wait: false };
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
    showNote(byId("workbook-error"), "This load is no longer known: it was removed from the list.");
    return;
  }
  const { report } = await get(`/runs/${id}`).catch(() => ({ report: null }));
  showEnd(run, report);
}

/** Show how a run ended. The steps come back wherever something can be chosen differently. */
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
  showResult(run, report, actionsAfter(run, open));
  show(byId("step-result"));
  say(title(run, report));
  goTo(byId("result-title"));
}

const resume = (run) => ({ text: "Go on where it stopped", primary: true, act: () => goOn(run) });

function actionsAfter(run, stepsShown) {
  const actions = run.resumable ? [resume(run)] : [];
  if (!hand?.inspected) return actions;
  if (run.outcome === "already-imported" && run.id === hand.run) {
    actions.push({ text: "Load it once more all the same", act: () => begin("/upload", { again: true }) });
  }
  if (!stepsShown) actions.push({ text: `Back to ${hand.upload.name}`, act: back });
  return actions;
}

/** From a result to the steps, where everything is as it was chosen. */
function back() {
  address(null);
  show(byId("step-result"), false);
  showSteps(true);
  goTo(byId("target-title"));
  inspect(hand.asking); // the tables are others by now
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
    showResult(run, report, actionsAfter(run, false));
    show(byId("step-result"));
    goTo(byId("result-title"));
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    if (error.status !== 401) showError(byId("workbook-error"), error);
  }
}
