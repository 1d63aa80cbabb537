// Handles the options under "More choices": bad rows, error cells, hidden rows, repeated keys, method, lineage.

import { byId, show } from "./dom.js";

const LISTS = { error_cells: "error-cells", hidden: "hidden", method: "method" };

/** Reset all options to their defaults. */
export function resetStrictness() {
  byId("budget-any").checked = true;
  for (const id of [...Object.values(LISTS), "on-duplicate"]) byId(id).value = "";
  byId("lineage").checked = false;
}

/** Show the options that apply: the one for repeated keys only if there is a key. */
export function drawStrictness(keyed) {
  const error = budgetError();
  byId("max-error").textContent = error ?? "";
  show(byId("max-error"), error !== null);
  byId("max-rejects").setAttribute("aria-invalid", String(error !== null));
  show(byId("duplicate-field"), keyed);
}

/** Return what is wrong with the limit on bad rows, or null. */
export function budgetError() {
  if (!byId("budget-limit").checked) return null;
  const text = byId("max-rejects").value.trim();
  return /^(\d{1,9}|\d{1,2}(\.\d{1,6})?%|100%)$/.test(text) ? null : "Enter a number such as 10, or a percentage such as 0.5%.";
}

/** Return the choices that differ from the defaults, as options of the service. */
export function strictOptions(keyed) {
  const given = {};
  for (const [name, id] of Object.entries(LISTS)) if (byId(id).value) given[name] = byId(id).value;
  if (byId("budget-limit").checked) given.max_rejects = byId("max-rejects").value.trim();
  if (byId("lineage").checked) given.lineage = true;
  if (keyed && byId("on-duplicate").value) given.on_duplicate = byId("on-duplicate").value;
  return given;
}
