// Which trajectories are listed: by facets, by what was decided, by words.
"use strict";

gallery.filter = (() => {
  const chosen = new Map();  // facet → a word, or "" for all
  const texts = [];  // of each row, folded, once they have been read
  let words = [], reading = null, read = 0;

  const HAND = "by hand", BESIDE = "problem";
  const HANDS = ["undecided", "accepted", "rejected"];

  // Every facet as { name, label, words, of: row → place of its word, or places }.
  const facets = () => {
    const told = gallery.index.facets.map(([name, label, some], at) =>
      ({ name, label, words: some, of: (n) => gallery.index.rows[n][at] }));
    const by = gallery.index.decisions.length ? [{ name: HAND, label: HAND, words: HANDS, of: hand }] : [];
    const met = told[0].words.length > 1
      ? [{ name: BESIDE, label: BESIDE, words: ["in one version", "in both"], of: shared }] : [];
    return [...told, ...by, ...met].filter((facet) => facet.words.length > 1);
  };

  const hand = (n) => {
    const decision = gallery.decisions.of(gallery.value(n, "version"), gallery.id(n));
    return decision && gallery.decidable(n) ? (decision.keep ? 1 : 2) : 0;
  };

  const shared = (n) => {
    const own = gallery.value(n, "version");
    return gallery.others(n).some((other) => gallery.value(other, "version") !== own) ? 1 : 0;
  };

  const has = (value, word) => (Array.isArray(value) ? value.includes(word) : value === word);

  // { rows, counts }: the rows that pass, and how many would for every word of every facet.
  const pass = (all) => {
    const asked = all.map((facet) => facet.words.indexOf(chosen.get(facet.name) ?? ""));
    const counts = all.map((facet) => new Array(facet.words.length).fill(0));
    const rows = [];
    for (let n = 0; n < gallery.index.rows.length; n += 1) {
      if (words.length && !speaks(n)) continue;
      let failed = -1, failures = 0;
      const values = all.map((facet) => facet.of(n));
      for (let f = 0; f < all.length && failures < 2; f += 1) {
        if (asked[f] >= 0 && !has(values[f], asked[f])) { failed = f; failures += 1; }
      }
      if (failures === 0) rows.push(n);
      for (let f = 0; f < all.length; f += 1) {
        if (failures > 1 || (failures === 1 && failed !== f)) continue;
        for (const value of [values[f]].flat()) counts[f][value] += 1;
      }
    }
    return { rows, counts };
  };

  const fold = (text) => text.normalize("NFKC").toLowerCase();
  const speaks = (n) => texts[n] !== undefined && words.every((word) => texts[n].includes(word));

  // Words that must all be there; what stands in quotes is one.
  const search = (text, told) => {
    words = [...text.matchAll(/"([^"]+)"?|(\S+)/g)].map((m) => fold(m[1] ?? m[2]));
    if (words.length) reading ??= readAll(told);
    told();
  };

  const spoken = (problem, record) => fold([
    record.id, problem.question, ...problem.options, problem.answer, record.stop,
    ...(record.verdict ?? []).slice(1),
    ...record.turns.flatMap((turn) => [turn.text, turn.detail ?? ""]),
  ].join("\n"));

  // Reads all texts, a few parts at once, and tells whenever more can be searched.
  const readAll = async (told) => {
    const { rows } = gallery.index, of = new Map();
    rows.forEach((_, n) => {
      const part = gallery.value(n, "part");
      if (!of.has(part)) of.set(part, []);
      of.get(part).push(n);
    });
    const waiting = [...of.keys()];
    let last = performance.now();
    const reader = async () => {
      for (let part = waiting.shift(); part !== undefined; part = waiting.shift()) {
        const { problems, records } = await gallery.part(part, false);
        for (const n of of.get(part)) {
          const record = records[gallery.value(n, "place")];
          texts[n] = spoken(problems.get(gallery.problem(n).name), record);
          read += 1;
        }
        if (performance.now() - last > 250) { told(); last = performance.now(); }
      }
    };
    await Promise.all([reader(), reader(), reader(), reader()]);
    told();
  };

  const progress = () =>
    (words.length && read < gallery.index.rows.length ? read / gallery.index.rows.length : 1);

  return { facets, pass, chosen, search, progress };
})();
