for (const tools of document.querySelectorAll("[data-filters]")) {
  const rows = [...document.getElementById(tools.dataset.filters).tBodies[0].rows];
  const search = tools.querySelector("input[type=search]");
  const boxes = [...tools.querySelectorAll("input[type=checkbox]")];
  const count = tools.querySelector("output");
  const apply = () => {
    const word = search.value.trim().toLowerCase();
    const kinds = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    let shown = 0;
    for (const row of rows) {
      row.hidden = (kinds.size > 0 && !kinds.has(row.dataset.kind)) || !row.textContent.toLowerCase().includes(word);
      if (!row.hidden) shown += 1;
    }
    count.textContent = `${shown} of ${rows.length} shown`;
  };
  tools.addEventListener("input", apply);
  tools.hidden = false;
  apply();
}
