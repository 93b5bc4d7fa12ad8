// The address holds what is shown: run, tab, words, seed, settings. A reload or a link repeats it.

export const readUrl = () => Object.fromEntries(new URLSearchParams(location.hash.slice(1)));

export function writeUrl(values, { push = false } = {}) {
  const kept = Object.entries(values).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const url = `#${new URLSearchParams(kept)}`;
  if (url === location.hash) return;
  history[push ? "pushState" : "replaceState"](null, "", url);
}
