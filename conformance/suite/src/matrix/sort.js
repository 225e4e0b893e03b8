for (const table of document.querySelectorAll("table.sortable")) {
  table.querySelectorAll("thead button").forEach((button, column) => {
    let sign = 1;
    button.addEventListener("click", () => {
      const value = row => row.cells[column].dataset.sort;
      const body = table.tBodies[0];
      const rows = [...body.rows].sort((a, b) => sign * value(a).localeCompare(value(b), "en", { numeric: true }));
      body.append(...rows);
      sign = -sign;
    });
  });
}
addEventListener("hashchange", () => {
  const shown = document.getElementById(location.hash.slice(1));
  if (shown) { shown.open = true; shown.scrollIntoView(); }
});
