// A list of decisions that is brought to the page: read as curation reads it, compared with what is
// decided here, and taken over once that was seen. Nothing of it is believed before.
"use strict";

gallery.loading = (() => {
  const { make, decisions } = gallery;
  const MOST_BYTES = 64 * 2 ** 20;
  const KINDS = { id: "string", keep: "boolean", note: "string", texts: "string" };
  const dialog = () => document.getElementById("load-dialog");

  // Shows what is in a file, and calls `done` when decisions were taken from it.
  const open = async ([file, ...more], done) => {
    try {
      if (more.length) throw new Error("one file at a time");
      const version = versionOf(file.name);
      if (file.size > MOST_BYTES) throw new Error(`${file.size} bytes, at most ${MOST_BYTES} are read`);
      ask(file.name, version, compare(version, read(decoded(await file.arrayBuffer()))), done);
    } catch (error) {
      show(file.name, [make("p", "bad text", error.message.slice(0, 500)), make("p", "", "Nothing was taken.")],
        [button("Close")]);
    }
  };

  const decoded = (bytes) => {
    try {
      return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    } catch {
      throw new Error("not UTF-8");
    }
  };

  // The version that a file is about, by its name; a page of one version takes a file of any other name.
  const versionOf = (name) => {
    const known = decisions.versions(), own = /^(.*)\.decisions\b/s.exec(name)?.[1];
    if (own === undefined && known.length === 1) return known[0];
    if (known.includes(own)) return own;
    const names = known.map((version) => `${version}.decisions.jsonl`).join(" or ");
    throw new Error(`this page takes ${names}: name the file so, if it is about that version`);
  };

  // Decisions by id. An Error names the line, and what is allowed there.
  const read = (text) => {
    const found = new Map();
    text.split("\n").forEach((line, n) => {
      if (!line.trim()) return;
      const [id, decision] = readLine(line, `line ${n + 1}`);
      if (found.has(id)) {
        throw new Error(`line ${n + 1}: ${JSON.stringify(id)} is decided a second time: leave one line of it`);
      }
      found.set(id, decision);
    });
    return found;
  };

  const readLine = (line, where) => {
    let row;
    try {
      row = JSON.parse(line);
    } catch {
      throw new Error(`${where}: not JSON`);
    }
    if (row === null || typeof row !== "object" || Array.isArray(row)) {
      throw new Error(`${where}: an object is needed, like {"id": …, "keep": true}`);
    }
    const unknown = Object.keys(row).find((name) => !Object.hasOwn(KINDS, name));
    if (unknown !== undefined) {
      throw new Error(`${where}: no field ${JSON.stringify(unknown)}; there are ${Object.keys(KINDS).join(", ")}`);
    }
    for (const [name, kind] of Object.entries(KINDS)) {
      const there = Object.hasOwn(row, name);
      if (!there && (name === "id" || name === "keep")) throw new Error(`${where}: ${name} is missing`);
      if (there && typeof row[name] !== kind) {
        throw new Error(`${where}: ${name}: ${kind === "boolean" ? "true or false" : "a text"} is needed`);
      }
    }
    return [row.id, { keep: row.keep, note: row.note ?? "", texts: row.texts ?? "" }];
  };

  // What is new here, decided otherwise here, alike, and about nothing that this page shows.
  const compare = (version, found) => {
    const shown = new Set();
    gallery.index.rows.forEach((_, n) => {
      if (gallery.decidable(n) && gallery.value(n, "version") === version) shown.add(gallery.id(n));
    });
    const told = { fresh: new Map(), other: new Map(), alike: 0, elsewhere: 0 };
    for (const [id, decision] of found) {
      const here = decisions.of(version, id);
      if (decisions.equal(here, decision)) told.alike += 1;
      else (here === null ? told.fresh : told.other).set(id, decision);
      if (!shown.has(id)) told.elsewhere += 1;
    }
    return told;
  };

  const ask = (name, version, { fresh, other, alike, elsewhere }, done) => {
    const counts = [
      [fresh.size, "new here"], [other.size, "decided otherwise here"], [alike, "decided alike here"],
      [elsewhere, "of these about no trajectory that is judged on this page: they stay in the list"],
    ].filter(([count]) => count);
    const take = (...some) => () => {
      some.forEach((decided) => decisions.take(version, decided));
      done();
    };
    show(name, [
      make("p", "text", `Decisions on ${version}:`),
      make("ul", "", counts.map(([count, what]) => make("li", "", `${count.toLocaleString("en")} ${what}`))),
      counts.length ? null : make("p", "", "none"),
    ], [
      fresh.size + other.size ? button(other.size ? "Take all of the file" : "Take them", take(fresh, other)) : null,
      fresh.size && other.size ? button("Take what is new, keep mine", take(fresh)) : null,
      button(fresh.size + other.size ? "Take none" : "Close"),
    ]);
  };

  const button = (text, action = () => {}) => {
    const made = make("button", "", text);
    made.addEventListener("click", () => { dialog().close(); action(); });
    return made;
  };

  const show = (name, lines, buttons) => {
    dialog().replaceChildren(make("h2", "text", name), ...lines.filter(Boolean),
      make("div", "hand", buttons));
    if (!dialog().open) dialog().showModal();
  };

  return { open };
})();
