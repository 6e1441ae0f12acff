(function () {
  "use strict";
  const plots = Array.from(document.querySelectorAll(".plot"));
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 560px)");
  const PRINT_WIDTH = 640;

  function theme(isDark) {
    const ink = isDark ? "#c9d0d9" : "#3a424d";
    return {
      "font.color": ink,
      "font.family": getComputedStyle(document.body).fontFamily,
      "font.size": narrow.matches ? 11 : 12.5,
      "hoverlabel.bgcolor": isDark ? "#242b34" : "#ffffff",
      "hoverlabel.bordercolor": isDark ? "#46505d" : "#c9d0d9",
      "hoverlabel.font.color": isDark ? "#e8ebef" : "#16191d",
      "hoverlabel.font.size": 12.5,
    };
  }

  function draw(plot) {
    const figure = JSON.parse(plot.nextElementSibling.textContent);
    const options = { displayModeBar: false, responsive: true, doubleClick: "reset" };
    Plotly.newPlot(plot, figure.data, figure.layout, options);
    Plotly.relayout(plot, theme(dark.matches));
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
    const plot = button.closest("article").querySelector(".frontier");
    if (!plot) { return; }
    const found = plot.data.map(function (trace, i) { return trace.meta === button.dataset.chip ? i : -1; }).filter(function (i) { return i >= 0; });
    if (found.length) { Plotly.restyle(plot, { visible: shown }, found); }
  }

  plots.forEach(draw);
  document.querySelectorAll(".key button").forEach(function (button) { button.addEventListener("click", function () { toggle(button); }); });
  dark.addEventListener("change", onScreen);
  narrow.addEventListener("change", onScreen);
  window.addEventListener("beforeprint", onPaper);
  window.addEventListener("afterprint", onScreen);
})();
