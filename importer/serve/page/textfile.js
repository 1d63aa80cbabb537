// Offers the ways in which a text file could be read, where the service cannot decide between them.

const DELIMITERS = { comma: "Commas", semicolon: "Semicolons", tab: "Tabs", pipe: "Bars (|)" };

/**
 * Return actions for an error that says that a text file could be read in several ways; none for other errors.
 * @param {Error} problem
 * @param {(options: {encoding?: string, delimiter?: string}) => void} again reads the file with these options
 */
export function readings(problem, again) {
  if (/\bdelimiter is not clear\b/.test(problem.message)) {
    return Object.entries(DELIMITERS).map(([delimiter, text]) => ({ text: `${text} are between the columns`, act: () => again({ delimiter }) }));
  }
  const found = problem.message.matchAll(/([a-z0-9-]+) reads [“"]([^”"]*)/g);
  return [...found].map(([, encoding, word]) => ({ text: `Read “${word}”`, act: () => again({ encoding }) }));
}

/** Return the options that say how a text file is read, of those that were asked for. */
export const textOptions = ({ encoding, delimiter }) => ({ encoding, delimiter });
