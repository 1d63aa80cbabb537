// Owns how an error is shown: the fact, its place and the choice, where it happened.

import { el, fill, say, show } from "./dom.js";
import { number, sentence } from "./words.js";

/**
 * Show an error.
 * @param {HTMLElement} place that holds it
 * @param {Error} error a ServiceError, or one of the page
 * @param {Array<{text: string, act: Function}>} actions
 */
export function showError(place, error, actions = []) {
  const wait = error.retryAfter ? `Try again in ${number(error.retryAfter)} s.` : null;
  const choice = error.choice ? sentence(error.choice) : wait;
  fill(
    place,
    el("p", { class: "fact" }, sentence(error.message)),
    error.place && el("p", { class: "place" }, error.place),
    error.details?.length > 0 && el("ul", {}, error.details.map((d) => el("li", {}, `${d.field}: ${d.message}`))),
    choice && el("p", { class: "choice" }, choice),
    actions.length > 0 &&
      el("p", { class: "buttons" }, actions.map((a) => el("button", { type: "button", on: { click: a.act } }, a.text))),
  );
  place.className = "notice bad";
  show(place);
  say(`${sentence(error.message)} ${choice ?? ""}`);
}

/** Show that something was done, or not done, without being an error. */
export function showNote(place, text, actions = []) {
  fill(
    place,
    el("p", { class: "fact" }, text),
    actions.length > 0 &&
      el("p", { class: "buttons" }, actions.map((a) => el("button", { type: "button", on: { click: a.act } }, a.text))),
  );
  place.className = "notice calm";
  show(place);
  say(text);
}

/** Take it away again. */
export function clear(place) {
  fill(place);
  show(place, false);
}
