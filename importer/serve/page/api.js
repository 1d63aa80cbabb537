// Owns the requests to the service, and what its errors look like to the rest of the page.

/** An answer that is no success: the fact, its place, and what to do about it. */
export class ServiceError extends Error {
  constructor(status, body, retryAfter = null) {
    super(body.error ?? "the service did not answer as expected");
    this.status = status;
    this.type = body.type ?? null;
    this.place = body.place ?? null;
    this.choice = body.choice ?? null;
    this.details = body.details ?? [];
    this.run = body.run ?? null;
    this.retryAfter = retryAfter;
  }

  /** Whether the same can succeed later. */
  get passes() {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

/** The service cannot be reached at all. */
export class Unreachable extends ServiceError {
  constructor() {
    super(0, { error: "The service does not answer.", choice: "See that it is running, then try again." });
  }
}

const listeners = new Set();

/** Be told when the service wants the token (again). */
export const onSignedOut = (listener) => listeners.add(listener);

function fail(status, text, retryAfter) {
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    body = { error: `The service answered with status ${status}.`, choice: "Try again." };
  }
  if (status === 401) for (const listener of listeners) listener();
  return new ServiceError(status, body ?? {}, retryAfter === null ? null : Number(retryAfter));
}

/**
 * One request with a JSON answer.
 * @throws {ServiceError} for every answer that is no success
 */
export async function request(method, path, body) {
  const json = body === undefined ? {} : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  let answer;
  let text;
  try {
    answer = await fetch(path, { method, ...json });
    text = await answer.text();
  } catch {
    throw new Unreachable();
  }
  if (!answer.ok) throw fail(answer.status, text, answer.headers.get("Retry-After"));
  return JSON.parse(text);
}

export const get = (path) => request("GET", path);
export const post = (path, body = {}) => request("POST", path, body);
export const remove = (path) => request("DELETE", path);

/**
 * Send a file, once; later requests name it by the id that this answers.
 * @param {File} file
 * @param {(part: number) => void} progress is told the part sent, 0 to 1
 * @returns {{sent: Promise<Object>, stop: () => void}}
 */
export function sendFile(file, progress) {
  const call = new XMLHttpRequest(); // fetch tells nothing of what was sent so far
  const sent = new Promise((done, failed) => {
    call.open("POST", "/uploads");
    call.upload.onprogress = (e) => e.lengthComputable && progress(e.loaded / e.total);
    call.onload = () => {
      if (call.status >= 200 && call.status < 300) done(JSON.parse(call.responseText).upload);
      else failed(fail(call.status, call.responseText, call.getResponseHeader("Retry-After")));
    };
    call.onerror = () => failed(new Unreachable());
    call.onabort = () => failed(new DOMException("stopped", "AbortError"));
    const form = new FormData();
    form.append("file", file);
    call.send(form);
  });
  return { sent, stop: () => call.abort() };
}
