// Shows notes in plain words; what they advise to type as an option is for those who unfold it.

import { el } from "./dom.js";
import { sentence } from "./words.js";

/** Options of the service, by the names that notes use, from where on a note is advice on options. */
const ADVICE = /[;:,]\s*(?:or )?(?:types|parse_texts|mode|footer|header_row|hidden|date_order|decimal|columns|drift|again=true|mixed|sheet|range|excel_table)\b[ =].*$/;

/** Return a note without its advice on options. */
export const plain = (note) => note.replace(ADVICE, "");

/** Return the list of notes, and under it, folded, those that advise on options in full. */
export function notesList(notes) {
  const advised = notes.filter((n) => plain(n) !== n);
  return [
    el("ul", { class: "notes" }, notes.map((n) => el("li", {}, sentence(plain(n))))),
    advised.length > 0 &&
      el("details", { class: "fold" }, el("summary", {}, "Details: options of the command line and the service"),
        el("ul", { class: "notes" }, advised.map((n) => el("li", {}, sentence(n))))),
  ];
}
