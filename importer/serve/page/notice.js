// Shows errors (fact, place and choice) and notes where they occurred.

import { el, fill, say, show } from "./dom.js";
import { number, sentence } from "./words.js";

/**
 * Show an error.
 * @param {HTMLElement} place element that shows it
 * @param {Error} error error a ServiceError, or an error of the page itself
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

/** Show a note that is not an error. */
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

/** Remove the error or note from an element. */
export function clear(place) {
  fill(place);
  show(place, false);
}
