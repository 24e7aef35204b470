// What the page shows: the index, and the parts with the texts, read when they are wanted.
// A part is a script that hands over JSON as a text. Nothing of it is ever run or read as markup.
"use strict";

const gallery = { index: null, waiting: new Map(), parts: new Map() };

const KEPT_PARTS = 24;  // read again when wanted again
const scripts = window.trustedTypes
  ? window.trustedTypes.createPolicy("parts", { createScriptURL: (url) => url })
  : { createScriptURL: (url) => url };

// Columns of a row of the index after those of the facets.
const COLUMNS = ["problem", "part", "place", "sample", "total", "picture"];

gallery.open = (text) => {
  const told = JSON.parse(text);
  told.column = new Map(told.facets.map(([name], n) => [name, n]));
  COLUMNS.forEach((name, n) => told.column.set(name, told.facets.length + n));
  gallery.index = told;
  gallery.alike = new Map();  // name of what is asked → its rows
  told.rows.forEach((row, n) => {
    const name = told.problems[row[told.column.get("problem")]][1];
    if (!gallery.alike.has(name)) gallery.alike.set(name, []);
    gallery.alike.get(name).push(n);
  });
  gallery.start();
};

// The value of a column: of a facet, its word.
gallery.value = (n, name) => {
  const { rows, facets, column } = gallery.index;
  const at = column.get(name), value = rows[n][at];
  return at < facets.length && !Array.isArray(value) ? facets[at][2][value] : value;
};

gallery.problem = (n) => {
  const [id, name, question] = gallery.index.problems[gallery.value(n, "problem")];
  return { id, name, question };
};

gallery.id = (n) => `${gallery.problem(n).id}#${gallery.value(n, "sample")}`;

gallery.others = (n) => gallery.alike.get(gallery.problem(n).name).filter((other) => other !== n);

gallery.decidable = (n) => gallery.index.decidable.includes(gallery.value(n, "stage"));

gallery.take = (number, text) => {
  const told = JSON.parse(text);
  gallery.waiting.get(number)?.resolve({ problems: new Map(told.problems), records: told.records });
};

// A part, read once while it is wanted often. `keep` false: it is only passed through.
gallery.part = (number, keep = true) => {
  if (gallery.parts.has(number)) {
    const found = gallery.parts.get(number);
    gallery.parts.delete(number);
    gallery.parts.set(number, found);  // the last one to be forgotten
    return found;
  }
  if (gallery.waiting.has(number)) return gallery.waiting.get(number).promise;
  const waiting = {}, script = document.createElement("script");
  waiting.promise = new Promise((resolve, reject) => Object.assign(waiting, { resolve, reject }));
  gallery.waiting.set(number, waiting);
  const name = `data/part-${String(number).padStart(5, "0")}.js`;
  script.src = scripts.createScriptURL(name);
  script.onerror = () => waiting.reject(new Error(`${name} cannot be read: make the gallery again`));
  document.head.append(script);
  const over = () => { script.remove(); gallery.waiting.delete(number); };
  waiting.promise.then(over, over);
  if (keep) {
    gallery.parts.set(number, waiting.promise);
    waiting.promise.catch(() => gallery.parts.delete(number));
    if (gallery.parts.size > KEPT_PARTS) gallery.parts.delete(gallery.parts.keys().next().value);
  }
  return waiting.promise;
};

// Everything about a row: { n, problem, record }.
gallery.whole = async (n) => {
  const part = await gallery.part(gallery.value(n, "part"));
  const record = part.records[gallery.value(n, "place")];
  return { n, problem: part.problems.get(gallery.problem(n).name), record };
};

gallery.picture = (name) => `pictures/${name.slice(0, 2)}/${name}.webp`;

// Text as it is seen: what controls the reading order or is not printed at all is named instead.
gallery.visible = (text) => String(text)
  .replace(/[\u0000-\u0008\u000b-\u001f\u007f]/g, (c) =>
    c === "\u007f" ? "\u2421" : String.fromCharCode(0x2400 + c.charCodeAt(0)))
  .replace(/[\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]/gu, (c) =>
    `⟨U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);

// An element with a class and children; texts become text nodes, and never markup.
gallery.make = (tag, kind, ...children) => {
  const element = document.createElement(tag);
  if (kind) element.className = kind;
  for (const child of children.flat()) {
    if (child === null || child === undefined) continue;
    element.append(child instanceof Node ? child : gallery.visible(child));
  }
  return element;
};
