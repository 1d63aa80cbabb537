// Follows a run: by the service's event stream, or by a request every second where the stream fails.

import { ServiceError, get } from "./api.js";

const ENDED = new Set(["done", "failed", "cancelled", "interrupted"]);
const PAUSE = 1000; // ms between two requests

export const isEnded = (run) => ENDED.has(run.state);

/**
 * Follow a run to its end.
 * @param {string} id
 * @param {{progress: Function, note: Function, lost: Function, end: Function}} on callbacks: `progress`
 *   gets {state, queue_position, progress}; `note` gets a text; `lost` gets whether the service is unreachable; `end`
 *   gets the run, or null when the service no longer has it
 * @returns {() => void} stops following
 */
export function follow(id, on) {
  let source = null;
  let timer = null;
  let over = false;

  function stop() {
    over = true;
    source?.close();
    clearTimeout(timer);
  }

  function end(run) {
    if (over) return;
    stop();
    on.end(run);
  }

  async function ask() {
    source?.close();
    try {
      const { run } = await get(`/runs/${id}`);
      if (over) return;
      on.lost(false);
      if (isEnded(run)) return end(run);
      on.progress(run);
    } catch (error) {
      if (over) return;
      if (error instanceof ServiceError && error.status === 404) return end(null);
      on.lost(true);
    }
    timer = setTimeout(ask, PAUSE);
  }

  source = new EventSource(`/runs/${id}/events`);
  source.addEventListener("progress", (e) => !over && on.progress(JSON.parse(e.data)));
  source.addEventListener("note", (e) => !over && on.note(JSON.parse(e.data).text));
  source.addEventListener("end", (e) => end(JSON.parse(e.data).run));
  source.onopen = () => on.lost(false);
  source.onerror = () => {
    if (!over) ask();
  };
  return stop;
}
