// Sends requests to the service, and turns its error answers into exceptions.

/** An error answer of the service: the fact, its place, and what to do about it. */
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

  /** Whether the same request may succeed later. */
  get passes() {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

/** The service cannot be reached at all. */
export class Unreachable extends ServiceError {
  constructor() {
    super(0, { error: "The service does not answer.", choice: "Make sure that it is running, then try again." });
  }
}

const listeners = new Set();

/** Register a listener that is called when the service asks for the token (again). */
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
 * Send one request and return its JSON answer.
 * @throws {ServiceError} for every answer that is not a success
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
 * Upload a file once; later requests refer to it by the id in the answer.
 * @param {File} file
 * @param {(part: number) => void} progress called with the part sent so far, 0 to 1
 * @returns {{sent: Promise<Object>, stop: () => void}}
 */
export function sendFile(file, progress) {
  const call = new XMLHttpRequest(); // fetch does not report upload progress
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
