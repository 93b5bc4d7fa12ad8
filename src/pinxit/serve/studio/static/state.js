// What the tabs share: the served runs, and the selected one.
export const state = { runs: [], run: null };
