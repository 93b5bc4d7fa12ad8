// What the tabs share: the served runs, the selected one, and its examples.
export const state = { runs: [], run: null, examples: null };
