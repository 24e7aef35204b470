// What a person decides: kept in this browser, over the list that was there when the page was made,
// and downloaded as the list that curation honours, one JSON object a line.
"use strict";

gallery.decisions = (() => {
  const listed = new Map();  // version → id → { keep, note, texts }, as the page was made with
  const changed = new Map();  // version → id → the same, or null for a decision taken back

  const place = (version) => `drawloop.decisions.${version}`;
  const equal = (a, b) =>
    a === b || (!!a && !!b && a.keep === b.keep && a.note === b.note && a.texts === b.texts);

  const open = (decisions) => {
    for (const [version, lines] of decisions) {
      listed.set(version, new Map(
        lines.map(([id, keep, note, texts]) => [id, { keep, note, texts }])));
      changed.set(version, recalled(version));
      for (const [id, now] of changed.get(version)) {
        if (equal(now, listed.get(version).get(id) ?? null)) changed.get(version).delete(id);
      }
    }
  };

  // What another visit left; nothing, where that cannot be read.
  const recalled = (version) => {
    try {
      const told = JSON.parse(localStorage.getItem(place(version)) ?? "[]");
      return new Map(told.filter(([id, d]) => typeof id === "string"
        && (d === null || (typeof d.keep === "boolean" && typeof d.note === "string"
          && typeof d.texts === "string"))));
    } catch {
      return new Map();
    }
  };

  const keep = (version) => {
    try {
      localStorage.setItem(place(version), JSON.stringify([...changed.get(version)]));
    } catch {
      // A browser that keeps nothing: decisions last as long as the page is open.
    }
  };

  const of = (version, id) => {
    const now = changed.get(version)?.get(id);
    return now === undefined ? listed.get(version)?.get(id) ?? null : now;
  };

  const put = (version, id, decision) => {
    if (equal(decision, listed.get(version)?.get(id) ?? null)) changed.get(version).delete(id);
    else changed.get(version).set(id, decision);
  };

  const set = (version, id, decision) => {
    put(version, id, decision);
    keep(version);
  };

  // Decisions from elsewhere, by id, in place of what was decided here.
  const take = (version, some) => {
    for (const [id, decision] of some) put(version, id, decision);
    keep(version);
  };

  const versions = () => [...listed.keys()];

  const forget = () => {
    for (const version of changed.keys()) {
      changed.get(version).clear();
      keep(version);
    }
  };

  // Versions with decisions that no downloaded list has yet, and how many.
  const unsaved = () =>
    [...changed].map(([version, some]) => [version, some.size]).filter(([, count]) => count);

  // The whole list of a version: what was listed, less what was taken back, and what is new.
  const lines = (version) => {
    const all = new Map(listed.get(version));
    for (const [id, now] of changed.get(version)) {
      if (now === null) all.delete(id);
      else all.set(id, now);
    }
    const ids = [...all.keys()].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
    return ids.map((id) => {
      const { keep: kept, note, texts } = all.get(id);
      return JSON.stringify({ id, keep: kept, ...(note && { note }), ...(texts && { texts }) });
    }).map((line) => `${line}\n`).join("");
  };

  const download = (version) => {
    const url = URL.createObjectURL(new Blob([lines(version)], { type: "application/jsonl" }));
    const link = document.createElement("a");
    link.href = url;
    link.download = `${version}.decisions.jsonl`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  };

  return { open, of, set, take, equal, versions, forget, unsaved, lines, download };
})();
