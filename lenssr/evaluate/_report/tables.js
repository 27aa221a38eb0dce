"use strict";
// Tables that are sorted by the heads of their columns, the largest first.
(() => {
  function key(row, k) {
    const { textContent, dataset } = row.cells[k];
    return dataset.value === undefined ? textContent : Number(dataset.value);
  }

  function sortBy(table, head) {
    const falling = head.getAttribute("aria-sort") !== "descending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", falling ? "descending" : "ascending");
    const rows = [...table.tBodies[0].rows].map((row) => [key(row, head.cellIndex), row]);
    rows.sort(([a], [b]) => {
      // Words in a column of numbers stand for nothing: they are last, whichever way.
      if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
      const order = typeof a === "number" ? b - a : b.localeCompare(a);
      return falling ? order : -order;
    });
    table.tBodies[0].append(...rows.map(([, row]) => row));
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    for (const head of table.tHead.rows[0].cells) {
      const button = document.createElement("button");
      button.type = "button";
      button.title = "Sort";
      button.append(...head.childNodes);
      button.addEventListener("click", () => sortBy(table, head));
      head.append(button);
    }
  }
})();
