// Finds the options for loading fixed rejects: those of the run that rejected them.

import { ServiceError, get } from "./api.js";
import { loadable } from "./preview.js";

const LOOKED_AT = 200; // number of newest runs that are searched for the first run

/**
 * Find the options of the run that a rejects workbook came from.
 * @param {Object} inspected
 * @returns {Promise<?{options: Object, published: boolean}>} null when it is not a rejects workbook, or that run is not
 *   found; `published`: whether the good rows of that run are in the table
 */
export async function originOptions(inspected) {
  const { origin } = inspected;
  if (origin === null) return null;
  try {
    const { runs } = await get(`/runs?limit=${LOOKED_AT}`);
    const first = runs.find((r) => r.kind === "upload" && r.workbook === origin.workbook && r.table === origin.table && r.rejects);
    if (!first) return null;
    return { options: inherited(await get(`/runs/${first.id}`), inspected), published: first.outcome === "published" };
  } catch (error) {
    if (error instanceof ServiceError) return null; // the table's own rules still apply
    throw error;
  }
}

/** Return those options of a run that also apply to its fixed rejects; `replace` does not, for example. */
function inherited({ run, report }, inspected) {
  const { contract, mode, key, on_duplicate: duplicate, error_cells: errors, timezone, lineage, mapping } = run.options ?? {};
  const keyed = mode === "upsert";
  return {
    contract: typeof contract === "string" ? contract : undefined,
    mode: keyed ? mode : undefined,
    key: keyed ? key : undefined,
    on_duplicate: keyed ? duplicate : undefined,
    error_cells: errors,
    timezone,
    lineage: lineage || undefined,
    mapping: mapping && report ? relettered(mapping, report, inspected) : undefined,
  };
}

/** Return the mapping with the letters of the rejects workbook, which has two more columns in front. */
function relettered(mapping, report, inspected) {
  const columns = loadable(inspected);
  if (columns.length !== report.columns.length) return undefined;
  const pairs = report.columns.map((c, i) => [columns[i].letter, mapping[c.letter]]);
  return Object.fromEntries(pairs.filter(([, name]) => name));
}
