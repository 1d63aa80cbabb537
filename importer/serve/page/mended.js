// Owns how mended rows are loaded: as the rows that they were set aside from.

import { ServiceError, get } from "./api.js";
import { loadable } from "./preview.js";

const LOOKED_AT = 200; // newest runs among which the first one is looked for

/**
 * The options of the run that a rejects workbook came from.
 * @param {Object} inspected
 * @returns {Promise<?{options: Object, published: boolean}>} null when it is no rejects workbook, or nothing is known of
 *   that run; `published`: its good rows are in the table
 */
export async function mendedOptions(inspected) {
  const { origin } = inspected;
  if (origin === null) return null;
  try {
    const { runs } = await get(`/runs?limit=${LOOKED_AT}`);
    const first = runs.find((r) => r.kind === "upload" && r.workbook === origin.workbook && r.table === origin.table && r.rejects);
    if (!first) return null;
    return { options: takeOver(await get(`/runs/${first.id}`), inspected), published: first.outcome === "published" };
  } catch (error) {
    if (error instanceof ServiceError) return null; // the table's own rules hold all the same
    throw error;
  }
}

/** What still makes sense for some of the rows: a table is not replaced by them. */
function takeOver({ run, report }, inspected) {
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
    mapping: mapping && report ? moved(mapping, report, inspected) : undefined,
  };
}

/** The mapping by the letters of the rejects workbook, which has two more columns in front. */
function moved(mapping, report, inspected) {
  const columns = loadable(inspected);
  if (columns.length !== report.columns.length) return undefined;
  const pairs = report.columns.map((c, i) => [columns[i].letter, mapping[c.letter]]);
  return Object.fromEntries(pairs.filter(([, name]) => name));
}
