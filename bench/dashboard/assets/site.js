// The static pages: charts are drawn from the data beside them.

for (const board of document.querySelectorAll(".board")) wireBoard(board, () => false);

for (const place of document.querySelectorAll(".chart")) {
  const figure = JSON.parse(place.querySelector("script").textContent);
  const dress = () => {
    const colour = getComputedStyle(document.body).color;
    Plotly.react(place, figure.data, { ...figure.layout, font: { color: colour }, autosize: true }, { displayModeBar: false, responsive: true });
  };
  dress();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", dress);
}
