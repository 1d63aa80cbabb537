// Owns the first step: a workbook dropped, chosen or pasted, and its way to the service.

import { ServiceError, sendFile } from "./api.js";
import { byId, say, show } from "./dom.js";
import { clear, showError } from "./notice.js";
import { size } from "./words.js";

let sending = null;
let limit = Infinity;
let arrived = () => {};

/**
 * Make the step ready.
 * @param {number} uploadBytes the largest file that the service takes
 * @param {(file: File) => void} onFile is told of every file, before it is sent
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

/** A file can be dropped anywhere on the page, at any time. */
function listenForDrops() {
  let depth = 0; // enter and leave are told of every element on the way
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
  byId("file").value = ""; // so that choosing the same, mended file again is a change
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

/** Why these files cannot be sent, or null. What is inside is the service's to judge. */
function refusal(files) {
  const wrong = (message, place, choice) => Object.assign(new Error(message), { place, choice });
  if (files.length > 1) return wrong(`${files.length} files were given`, null, "Give one workbook at a time.");
  const [file] = files;
  if (!/\.xls[xm]$/i.test(file.name)) {
    return wrong("this is not a workbook that can be read", file.name, "Save it as .xlsx in Excel first.");
  }
  if (file.size > limit) {
    return wrong(`the file has ${size(file.size)}; at most ${size(limit)} are taken`, file.name, "Split it into smaller ones.");
  }
  return file.size === 0 ? wrong("the file is empty", file.name, "Choose another one.") : null;
}

/**
 * Send a file, with its progress shown.
 * @param {File} file
 * @returns {Promise<Object|null>} the upload; null when it was stopped or failed, which is shown
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
    showError(byId("workbook-error"), Object.assign(error, { choice: "Choose the file once more." }));
  }
}

/** Show which workbook is in hand. */
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
