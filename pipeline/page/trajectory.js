// One trajectory: what was asked, every turn with its drawings beside the truth, and what became of it.
"use strict";

gallery.trajectory = (() => {
  const { make } = gallery;
  const letter = (n) => String.fromCharCode(65 + n);
  const number = (value) => (value === null || value === undefined ? "–" : String(Math.round(value * 1000) / 1000));

  const figure = (name, caption, [width, height], more = []) => {
    const image = make("img");
    Object.assign(image, { loading: "lazy", decoding: "async", width, height, alt: caption });
    image.src = gallery.picture(name);
    const button = make("button", "picture", image);
    button.title = "Larger";
    button.addEventListener("click", () => gallery.zoom([[name, caption], ...more]));
    return make("figure", "", button, make("figcaption", "", caption));
  };

  const badge = (kind, ...text) => make("span", `badge ${kind}`, ...text);

  const verdict = (record) => {
    if (!record.verdict) return badge("", "not judged");
    const [keep, reason] = record.verdict;
    return badge(keep ? "good" : "bad", keep ? "kept" : "dropped", reason ? `: ${reason}` : "");
  };

  const head = ({ n, problem, record }) => {
    const { grade } = record, value = (name) => gallery.value(n, name);
    const answered = record.stop === "answered";
    const rules = ["paper", "strict", "helped"].filter((rule) => grade[rule]).join(", ") || "none";
    const drawn = grade.draw === null ? "unknown" : number(grade.draw);
    const detail = record.verdict?.[2];
    return make("div", "head",
      make("h2", "", record.id),
      make("div", "badges",
        verdict(record),
        badge(answered ? (grade.solved ? "good" : "bad") : "bad",
          answered ? (grade.solved ? "right" : "wrong") : record.stop),
        badge("", `${value("stage")} · ${value("writer")}`),
        gallery.index.facets[0][2].length > 1 ? badge("version", value("version")) : null,
        badge("", problem.task), badge("", problem.modality)),
      detail ? make("p", "why text", detail) : null,
      make("p", "facts", `S ${number(grade.total)} = correct ${number(grade.correct)}, format `
        + `${number(grade.format)}, drawing ${drawn}. Reflection: ${rules}. `
        + `Difficulty ${number(problem.difficulty)}.`),
      corrections(grade.corrections));
  };

  const corrections = (some) => (some.length
    ? make("ul", "corrections", some.map((c) => make("li", "text",
      `${c.kind} “${c.label}”, turn ${c.earlier_step + 1} → ${c.later_step + 1}`
        + (c.helped === null ? "" : c.helped ? ": nearer to the truth" : ": no nearer to the truth"))))
    : null);

  const question = (problem) => {
    const options = problem.options.map((option, n) => make(
      "li", letter(n) === problem.answer ? "text truth" : "text", `${letter(n)}. ${option}`));
    return make("div", "question",
      make("p", "text asked", problem.question),
      problem.options.length
        ? make("ol", "options", options)
        : make("p", "", "Truth: ", make("span", "text truth", problem.answer)),
      problem.conclusion ? make("p", "text faint", `Gold: ${problem.conclusion}`) : null,
      make("div", "pictures", problem.pictures.flatMap((name, k) => {
        const caption = problem.pictures.length > 1 ? `picture ${k + 1}` : "picture";
        const truth = problem.truth[k];
        const shown = [figure(name, caption, problem.sizes[k])];
        if (truth) shown.push(figure(truth, `truth${problem.pictures.length > 1 ? ` ${k + 1}` : ""}`,
          problem.sizes[k], [[name, caption]]));
        return shown;
      })),
      problem.truth.some(Boolean) ? null : make("p", "faint", "Where things are is not known here."));
  };

  const marked = (op) => make("li", "text",
    make("span", "op", op.type === "box" ? "▭" : "╱"), ` ${op.label} `,
    make("code", "", `[${op.p.join(", ")}]`), ` on ${op.k}`);

  const turn = (problem, told, place, stop) => {
    const pictures = told.views.flatMap(([k, base, name]) => {
      const truth = problem.truth[base - 1], size = problem.sizes[base - 1];
      const beside = truth ? [[truth, "truth"]] : [];
      const shown = [figure(name, `drawn: ${k}`, size, beside)];
      if (truth) shown.push(figure(truth, "truth", size, [[name, `drawn: ${k}`]]));
      return shown;
    });
    const words = make("div", "words",
      told.kind === "fault" ? null : make("p", "text thought", told.thought || "(no thought)"),
      told.ops?.length ? make("ul", "ops", told.ops.map(marked)) : null,
      told.kind === "answer"
        ? make("p", "", "Answer: ", make("strong", "text", told.answer),
          make("span", "faint text", `  truth: ${problem.answer}`)) : null,
      told.kind === "fault" ? make("p", "bad text", `${told.reason}: ${told.detail}`) : null,
      told.kind === "fault" ? make("pre", "text", told.text) : null,
      told.lenient?.length ? make("p", "faint", `Departs from the grammar: ${told.lenient.join(", ")}`) : null,
      told.kind === "fault" ? null : raw(told.text));
    const end = stop ? make("p", "faint", `Ended: ${stop}.`) : null;
    return make("section", `turn ${told.kind}`,
      make("h3", "", `Turn ${place + 1}`), make("div", "sides", words,
        pictures.length ? make("div", "pictures", pictures) : null), end);
  };

  const raw = (text) => {
    const details = make("details", "", make("summary", "", "as written"));
    details.addEventListener("toggle", () => {
      if (details.open && details.childElementCount === 1) details.append(make("pre", "text", text));
    });
    return details;
  };

  const show = (whole) => {
    const { n, problem, record } = whole, last = record.turns.length - 1;
    const article = make("article", "trajectory", head(whole), gallery.hand(whole), question(problem),
      record.turns.map((told, t) => turn(problem, told, t, t === last ? record.stop : "")));
    article.dataset.row = n;
    return article;
  };

  return { show };
})();
