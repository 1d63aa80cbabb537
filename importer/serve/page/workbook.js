// Shows the first step: takes a workbook that was dropped, chosen or pasted, and uploads it.

import { ServiceError, sendFile } from "./api.js";
import { byId, say, show } from "./dom.js";
import { clear, showError } from "./notice.js";
import { size } from "./words.js";

let sending = null;
let limit = Infinity;
let arrived = () => {};

/**
 * Prepare the step.
 * @param {number} uploadBytes maximum size of a file, in bytes
 * @param {(file: File) => void} onFile called with every accepted file, before it is sent
 */
export function prepareWorkbook(uploadBytes, onFile) {
  limit = uploadBytes;
  arrived = onFile;
}

byId("file").addEventListener("change", (e) => take([...e.target.files]));
byId("another").addEventListener("click", () => byId("file").click());
byId("sending-stop").addEventListener("click", () => sending?.stop());
document.addEventListener("paste", (e) => {
  if (e.clipboardData?.files.length) take([...e.clipboardData.files]);
});
listenForDrops();

/** Accept files that are dropped anywhere on the page, at any time. */
function listenForDrops() {
  let depth = 0; // dragenter and dragleave fire for every element on the way
  const holdsFiles = (e) => [...(e.dataTransfer?.types ?? [])].includes("Files");
  const over = (on) => show(byId("overlay"), on);
  addEventListener("dragenter", (e) => {
    if (!holdsFiles(e)) return;
    depth += 1;
    over(true);
  });
  addEventListener("dragleave", (e) => {
    if (!holdsFiles(e)) return;
    depth -= 1;
    over(depth > 0);
  });
  addEventListener("dragover", (e) => holdsFiles(e) && e.preventDefault());
  addEventListener("drop", (e) => {
    if (!holdsFiles(e)) return;
    e.preventDefault();
    depth = 0;
    over(false);
    take([...e.dataTransfer.files]);
  });
}

function take(files) {
  byId("file").value = ""; // so that choosing the same file again, now fixed, is a change
  if (byId("steps").hidden || files.length === 0) return;
  const error = byId("workbook-error");
  const refused = refusal(files);
  if (refused) {
    showError(error, refused);
    error.scrollIntoView({ block: "nearest" });
    return;
  }
  clear(error);
  arrived(files[0]);
}

/** Return why these files cannot be sent, or null. Their contents are checked by the service. */
function refusal(files) {
  const wrong = (message, place, choice) => Object.assign(new Error(message), { place, choice });
  if (files.length > 1) return wrong(`${files.length} files were given`, null, "Choose one workbook at a time.");
  const [file] = files;
  if (!/\.(xls[xmb]?|xlt[xm]|ods|csv|tsv)$/i.test(file.name)) {
    return wrong("this is not a workbook that can be read", file.name, "Save it as .xlsx or .csv first.");
  }
  if (file.size > limit) {
    return wrong(`the file has ${size(file.size)}; the limit is ${size(limit)}`, file.name, "Split it into smaller ones.");
  }
  return file.size === 0 ? wrong("the file is empty", file.name, "Choose another one.") : null;
}

/**
 * Send a file and show the progress.
 * @param {File} file
 * @returns {Promise<Object|null>} the upload; null when it was stopped or failed, which the page then shows
 */
export async function send(file) {
  sending?.stop();
  const bar = byId("sending-bar");
  const mine = sendFile(file, (part) => {
    bar.value = part;
  });
  sending = mine;
  bar.value = 0;
  byId("sending-text").textContent = `Sending ${file.name}`;
  show(byId("sending"));
  show(byId("drop"), false);
  show(byId("chosen"), false);
  try {
    const upload = await mine.sent;
    showChosen(upload);
    return upload;
  } catch (error) {
    if (sending === mine) showFailure(file, error);
    return null;
  } finally {
    if (sending === mine) {
      sending = null;
      show(byId("sending"), false);
    }
  }
}

function showFailure(file, error) {
  showEmpty();
  if (error instanceof ServiceError) {
    showError(byId("workbook-error"), error, error.passes ? [{ text: "Send it again", act: () => arrived(file) }] : []);
  } else if (error.name === "AbortError") {
    say("Stopped. Nothing was sent.");
  } else {
    // The browser cannot read a file that was changed or moved since it was chosen.
    showError(byId("workbook-error"), Object.assign(error, { choice: "Choose the file again." }));
  }
}

/** Show the name and size of the current workbook. */
export function showChosen(upload) {
  byId("chosen-name").textContent = upload.name;
  byId("chosen-size").textContent = size(upload.size);
  show(byId("chosen"));
  show(byId("drop"), false);
}

/** Show the empty step again. */
export function showEmpty() {
  show(byId("chosen"), false);
  show(byId("drop"));
  if (document.activeElement === document.body) byId("file").focus({ preventScroll: true });
}
