// The canvas knows no CSS: texts take the page's colour here, again whenever light and dark change.
function paintText() {
  const ink = getComputedStyle(document.body).color;
  for (const drawn of Bokeh.documents)
    for (const model of drawn.all_models)
      for (const key of ["axis_label_text_color", "major_label_text_color", "text_color"])
        if (key in model.properties) model.setv({[key]: ink});
}
Promise.all(Object.entries(PLOTS).map(([id, item]) => Bokeh.embed.embed_item(item, id))).then(() => {
  paintText();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paintText);
  document.body.dataset.drawn = "yes";
});

// Sorting: numbers by data-sort, the rest as text; what is missing comes last either way.
function sortBy(header) {
  const table = header.closest("table"), body = table.tBodies[0], column = header.cellIndex;
  const numeric = header.classList.contains("number");
  const first = numeric ? "descending" : "ascending", second = numeric ? "ascending" : "descending";
  const order = header.getAttribute("aria-sort") === first ? second : first;
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", order);
  const sign = order === "ascending" ? 1 : -1;
  const missing = cell => numeric && cell.dataset.sort === undefined;
  const compare = (a, b) => {
    if (missing(a) || missing(b)) return missing(a) - missing(b);
    return sign * (numeric ? a.dataset.sort - b.dataset.sort
      : a.textContent.localeCompare(b.textContent, undefined, {numeric: true}));
  };
  body.append(...[...body.rows].sort((a, b) => compare(a.cells[column], b.cells[column])));
}
for (const button of document.querySelectorAll("th button"))
  button.addEventListener("click", () => sortBy(button.closest("th")));

// Searching: in the first column and the texts, not in counts and scores.
function described(row) {
  const cells = [...row.cells].filter(cell => cell.cellIndex === 0 || !cell.classList.contains("number"));
  return cells.map(cell => cell.textContent.toLowerCase()).join(" ");
}
for (const field of document.querySelectorAll("input[type=search]")) {
  const rows = [...document.getElementById(field.dataset.table).tBodies[0].rows];
  const output = field.closest("p").querySelector("output");
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/);
    for (const row of rows) row.hidden = !words.every(word => described(row).includes(word));
    output.textContent = field.value ? `${rows.filter(row => !row.hidden).length} of ${rows.length}` : "";
  });
}
