// The page: filters, a list of which only the visible rows exist, what is looked at, and the keys.
"use strict";

(() => {
  const { make, filter, decisions, loading } = gallery;
  const TALL = 76;  // px, of a row of the list
  const SPARE = 6;  // rows that exist above and below the visible ones
  const $ = (id) => document.getElementById(id);

  let rows = [], facets = [], at = -1, beside = null, asked = 0;

  // The list -------------------------------------------------------------------------------------

  const line = (n, place) => {
    const picture = make("img");
    Object.assign(picture, { loading: "lazy", decoding: "async", alt: "" });
    picture.src = gallery.picture(gallery.value(n, "picture"));
    const kept = gallery.value(n, "verdict"), reason = gallery.value(n, "reason");
    const decision = gallery.decidable(n)
      && decisions.of(gallery.value(n, "version"), gallery.id(n));
    const row = make("div", "row", picture, make("div", "told",
      make("div", "name", gallery.id(n)),
      make("div", "question", gallery.problem(n).question),
      make("div", "state",
        make("span", kept === "kept" ? "dot good" : kept === "dropped" ? "dot bad" : "dot"),
        kept === "dropped" ? reason : kept === "kept" ? "kept"
          : `${gallery.value(n, "answer")}, ${gallery.value(n, "writer")}`,
        decision ? make("span", decision.keep ? "by-hand good" : "by-hand bad",
          decision.keep ? "accepted" : "rejected") : null,
        make("span", "score", `S ${gallery.value(n, "total")}`))));
    row.id = `row-${place}`;
    row.setAttribute("role", "option");
    row.setAttribute("aria-selected", String(place === at));
    row.style.transform = `translateY(${place * TALL}px)`;
    row.addEventListener("click", () => go(place));
    return row;
  };

  const draw = () => {
    const list = $("list"), first = Math.max(0, Math.floor(list.scrollTop / TALL) - SPARE);
    const last = Math.min(rows.length, Math.ceil((list.scrollTop + list.clientHeight) / TALL) + SPARE);
    $("rows").style.height = `${rows.length * TALL}px`;
    const shown = [];
    for (let place = first; place < last; place += 1) shown.push(line(rows[place], place));
    $("rows").replaceChildren(...shown);
    if (at >= first && at < last) list.setAttribute("aria-activedescendant", `row-${at}`);
    else list.removeAttribute("aria-activedescendant");
  };

  const go = (place) => {
    if (!rows.length) return;
    at = Math.max(0, Math.min(rows.length - 1, place));
    beside = null;
    const list = $("list"), top = at * TALL;
    if (top < list.scrollTop) list.scrollTop = top;
    else if (top + TALL > list.scrollTop + list.clientHeight) {
      list.scrollTop = top + TALL - list.clientHeight;
    }
    draw();
    look();
  };

  // Filters --------------------------------------------------------------------------------------

  const refresh = () => {
    const now = at >= 0 ? rows[at] : undefined;
    facets = filter.facets();
    const { rows: passed, counts } = filter.pass(facets);
    rows = passed;
    fill(counts);
    const all = gallery.index.rows.length, progress = filter.progress();
    $("count").textContent = `${rows.length.toLocaleString("en")} of ${all.toLocaleString("en")}`
      + (progress < 1 ? `, searched ${Math.round(progress * 100)} %` : "");
    at = rows.indexOf(now);
    if (at >= 0) return draw();
    $("list").scrollTop = 0;
    if (rows.length) return go(0);
    draw();
    $("detail").replaceChildren(make("p", "empty", progress < 1 ? "Searching…" : "Nothing passes."));
  };

  const fill = (counts) => {
    if ($("filters").childElementCount !== facets.length) {
      $("filters").replaceChildren(...facets.map(chooser));
    }
    facets.forEach((facet, f) => {
      const select = $("filters").children[f].querySelector("select");
      const chosen = filter.chosen.get(facet.name) ?? "";
      select.replaceChildren(option("", "all"), ...facet.words.map((word, w) =>
        option(word, `${gallery.visible(word)} (${counts[f][w].toLocaleString("en")})`)));
      select.value = chosen;
      select.classList.toggle("on", chosen !== "");
    });
  };

  const option = (value, text) => {
    const made = make("option", "", text);
    made.value = value;
    return made;
  };

  const chooser = (facet) => {
    const select = make("select");
    select.setAttribute("aria-label", facet.label);
    select.name = facet.name;
    select.addEventListener("change", () => {
      filter.chosen.set(facet.name, select.value);
      refresh();
    });
    return make("label", "", make("span", "", facet.label), select);
  };

  const clear = () => {
    filter.chosen.clear();
    $("search").value = "";
    filter.search("", refresh);
  };

  // What is looked at ----------------------------------------------------------------------------

  const look = async () => {
    const n = rows[at], number = (asked += 1);
    history.replaceState(null, "", `#${encodeURIComponent(mark(n))}`);
    try {
      const shown = [gallery.trajectory.show(await gallery.whole(n))];
      if (beside !== null) shown.push(gallery.trajectory.show(await gallery.whole(beside)));
      if (number !== asked) return;  // something else is looked at by now
      const columns = make("div", beside === null ? "columns" : "columns two", shown);
      $("detail").replaceChildren(siblings(n), columns);
      $("detail").scrollTop = 0;
    } catch (error) {
      if (number === asked) $("detail").replaceChildren(make("p", "empty bad", error.message));
    }
  };

  // What names a row in the page's address.
  const mark = (n) => ["version", "stage", "writer"].map((f) => gallery.value(n, f))
    .concat(gallery.id(n)).join("/");

  const siblings = (n) => {
    const others = gallery.others(n), several = gallery.index.facets[0][2].length > 1;
    if (!others.length) return make("div", "siblings faint", "No other trajectory of this problem.");
    const chips = others.slice(0, 60).map((other) => {
      const value = (name) => gallery.value(other, name);
      const chip = make("button", other === beside ? "chip on" : "chip",
        make("span", value("answer") === "right" ? "dot good" : "dot bad"),
        `${several ? `${value("version")} · ` : ""}${value("writer")} #${value("sample")}`,
        value("verdict") === "not judged" ? "" : ` ${value("verdict")}`);
      chip.addEventListener("click", () => {
        beside = other === beside ? null : other;
        look();
      });
      return chip;
    });
    return make("div", "siblings", make("span", "faint", "Beside it ( b ): "), chips);
  };

  const next = () => {
    const others = at < 0 ? [] : gallery.others(rows[at]);
    if (!others.length) return;
    const place = others.indexOf(beside) + 1;
    beside = place < others.length ? others[place] : null;
    look();
  };

  gallery.zoom = (pictures) => {
    $("zoomed").replaceChildren(...pictures.map(([name, caption]) => {
      const image = make("img");
      image.src = gallery.picture(name);
      image.alt = caption;
      return make("figure", "", image, make("figcaption", "", caption));
    }));
    $("zoom").showModal();
  };

  // Decisions ------------------------------------------------------------------------------------

  gallery.hand = ({ n, record }) => {
    if (!gallery.decidable(n)) return null;
    const version = gallery.value(n, "version"), decision = decisions.of(version, record.id);
    const button = (kind, text, keep) => {
      const made = make("button", decision?.keep === keep ? `${kind} on` : kind, text);
      made.addEventListener("click", () => decide(n, record, decision?.keep === keep ? null : keep));
      return made;
    };
    const note = make("input", "note");
    Object.assign(note, { placeholder: "Note ( n )", value: decision?.note ?? "", maxLength: 2000 });
    note.disabled = !decision;
    note.addEventListener("change", () => {
      const now = decisions.of(version, record.id);
      if (now) decisions.set(version, record.id, { ...now, note: note.value });
      told();
    });
    const other = decision?.texts && decision.texts !== record.texts;
    return make("div", "hand", button("accept", "Accept ( a )", true),
      button("reject", "Reject ( r )", false), note,
      other ? make("p", "bad", "This was decided about other words than these; it is not honoured.")
        : null);
  };

  const decide = (n, record, keep) => {
    const version = gallery.value(n, "version"), before = decisions.of(version, record.id);
    decisions.set(version, record.id,
      keep === null ? null : { keep, note: before?.note ?? "", texts: record.texts });
    told();
    refresh();
    look();
  };

  const decideHere = async (keep) => {
    if (at < 0 || !gallery.decidable(rows[at])) return;
    const n = rows[at];
    decide(n, (await gallery.whole(n)).record, keep);
  };

  const told = () => {
    const unsaved = decisions.unsaved(), count = unsaved.reduce((sum, [, some]) => sum + some, 0);
    $("decided").textContent = count ? `${count} decided, not downloaded` : "";
    $("download").hidden = $("forget").hidden = !count;
  };

  const changed = () => { told(); refresh(); if (at >= 0) look(); };

  const load = (files) => { if (files.length) loading.open([...files], changed); };

  // A file that is dropped is loaded, and never opened in place of the page.
  const dropped = (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    if (event.type === "drop" && !$("load").hidden) load(event.dataTransfer.files);
  };

  // Keys -----------------------------------------------------------------------------------------

  const KEYS = {
    j: () => go(at + 1), ArrowDown: () => go(at + 1), k: () => go(at - 1), ArrowUp: () => go(at - 1),
    Home: () => go(0), End: () => go(rows.length - 1),
    a: () => decideHere(true), r: () => decideHere(false), u: () => decideHere(null),
    n: () => document.querySelector(".note")?.focus(), b: next, c: clear,
    "/": () => $("search").focus(), "?": () => $("help").showModal(),
    Escape: () => { if (beside !== null) { beside = null; look(); } },
  };

  const pressed = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.target.matches("input, select, textarea")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (!Object.hasOwn(KEYS, event.key)) return;
    event.preventDefault();
    KEYS[event.key]();
  };

  gallery.start = () => {
    document.title = `${gallery.visible(gallery.index.title)} · gallery`;
    $("title").textContent = gallery.visible(gallery.index.title);
    $("notes").append(...gallery.index.notes.map((note) => make("p", "text", note)));
    decisions.open(gallery.index.decisions);
    document.addEventListener("keydown", pressed);
    $("list").addEventListener("scroll", () => requestAnimationFrame(draw), { passive: true });
    window.addEventListener("resize", draw);
    let timer = 0;
    $("search").addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => filter.search($("search").value, refresh), 120);
    });
    $("download").addEventListener("click", () =>
      decisions.unsaved().forEach(([version]) => decisions.download(version)));
    $("forget").addEventListener("click", () => { decisions.forget(); changed(); });
    $("load").hidden = !decisions.versions().length;
    $("load").addEventListener("click", () => $("file").click());
    $("file").addEventListener("change", () => { load($("file").files); $("file").value = ""; });
    ["dragover", "drop"].forEach((name) => document.addEventListener(name, dropped));
    $("help-open").addEventListener("click", () => $("help").showModal());
    $("zoom").addEventListener("click", () => $("zoom").close());
    told();
    let wanted = "";
    try { wanted = decodeURIComponent(location.hash.slice(1)); } catch { /* no address of ours */ }
    refresh();
    const found = wanted ? rows.findIndex((n) => mark(n) === wanted) : -1;
    if (found >= 0) go(found);
    performance.mark("usable");
  };
})();
