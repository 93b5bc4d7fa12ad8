// The images that were made, kept in this browser (IndexedDB): the newest few hundred.

const MAX_ENTRIES = 600;
const STORE = "images";

const whenDone = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

let opened = null;

function openDatabase() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open("pinxit-studio", 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { autoIncrement: true });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

async function store(mode) {
  return (await openDatabase()).transaction(STORE, mode).objectStore(STORE);
}

// Adds the images of one action. A browser that keeps nothing (private, full) goes without.
export async function remember(entries) {
  const time = Date.now();
  try {
    const target = await store("readwrite");
    await Promise.all(entries.map((entry) => whenDone(target.add({ ...entry, time }))));
    await prune();
  } catch (error) {
    console.debug("history", error);
  }
}

async function prune() {
  const keys = await whenDone((await store("readonly")).getAllKeys());
  if (keys.length <= MAX_ENTRIES) return;
  const target = await store("readwrite");
  for (const key of keys.slice(0, keys.length - MAX_ENTRIES)) target.delete(key);
}

export const forgetAll = async () => whenDone((await store("readwrite")).clear());

// The images by action, newest first: [[entry, ...], ...].
export async function recall() {
  const batches = new Map();
  for (const entry of await whenDone((await store("readonly")).getAll())) {
    if (!batches.has(entry.time)) batches.set(entry.time, []);
    batches.get(entry.time).push(entry);
  }
  return [...batches.values()].reverse();
}
