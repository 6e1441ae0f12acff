(function () {
  "use strict";
  const plots = Array.from(document.querySelectorAll(".plot"));
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 560px)");
  const PRINT_WIDTH = 640;

  function theme(isDark) {
    const ink = isDark ? "#c9d0d9" : "#3a424d";
    return {
      font: { color: ink, family: getComputedStyle(document.body).fontFamily, size: narrow.matches ? 11 : 12.5 },
      hoverlabel: {
        align: "left",
        bgcolor: isDark ? "#242b34" : "#ffffff",
        bordercolor: isDark ? "#46505d" : "#c9d0d9",
        font: { color: isDark ? "#e8ebef" : "#16191d", size: 12.5 },
      },
    };
  }

  function draw(plot) {
    const figure = JSON.parse(plot.nextElementSibling.textContent);
    const options = { displayModeBar: false, responsive: true, doubleClick: "reset" };
    Plotly.newPlot(plot, figure.data, Object.assign(figure.layout, theme(dark.matches)), options);
  }

  function each(update) {
    plots.forEach(function (plot) { Plotly.relayout(plot, update(plot)); });
  }

  function onScreen() {
    each(function () { return Object.assign({ autosize: true, width: null }, theme(dark.matches)); });
  }

  function onPaper() {
    each(function () { return Object.assign({ width: PRINT_WIDTH }, theme(false)); });
  }

  function toggle(button) {
    const shown = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(shown));
    button.closest("article").querySelectorAll(".js-plotly-plot").forEach(function (plot) {
      const found = plot.data.map(function (trace, i) { return trace.meta === button.dataset.chip ? i : -1; }).filter(function (i) { return i >= 0; });
      if (found.length) { Plotly.restyle(plot, { visible: shown }, found); }
    });
  }

  function told(cell) {
    const text = cell.textContent.replace("\u2212", "-").replace(/,/g, "");
    return text === "–" ? -Infinity : /^[-+]?[\d.]+( %)?$/.test(text) ? parseFloat(text) : text;
  }

  function sort(head) {
    const place = head.cellIndex;
    const body = head.closest("table").tBodies[0];
    const rising = head.getAttribute("aria-sort") === "descending";
    head.parentNode.querySelectorAll("th").forEach(function (other) { other.removeAttribute("aria-sort"); });
    head.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const rows = Array.from(body.rows, function (row) { return { row: row, key: told(row.cells[place]) }; });
    rows.sort(function (a, b) { return (a.key < b.key ? -1 : a.key > b.key ? 1 : 0) * (rising ? 1 : -1); });
    rows.forEach(function (each) { body.appendChild(each.row); });
  }

  function sortable(box) {
    const search = document.createElement("input");
    Object.assign(search, { type: "search", className: "filter", placeholder: "Filter: words that a row holds" });
    search.setAttribute("aria-label", search.placeholder);
    search.addEventListener("input", function () {
      const words = search.value.toLowerCase().split(/\s+/);
      Array.from(box.querySelector("tbody").rows).forEach(function (row) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every(function (word) { return text.includes(word); });
      });
    });
    box.prepend(search);
    box.querySelectorAll("thead th").forEach(function (head) {
      head.tabIndex = 0;
      head.addEventListener("click", function () { sort(head); });
      head.addEventListener("keydown", function (event) { if (event.key === "Enter") { sort(head); } });
    });
  }

  plots.forEach(draw);
  document.querySelectorAll(".key button").forEach(function (button) { button.addEventListener("click", function () { toggle(button); }); });
  document.querySelectorAll(".sorted").forEach(sortable);
  dark.addEventListener("change", onScreen);
  narrow.addEventListener("change", onScreen);
  window.addEventListener("beforeprint", onPaper);
  window.addEventListener("afterprint", onScreen);
})();
