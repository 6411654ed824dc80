// The leaderboard's table: rows are sorted and picked in place. `tell(what, value)` hears of each sort, pick and opening,
// and says whether it takes the opening over from the link.

const number = (cell) => parseFloat(cell.innerText.replaceAll(",", ""));

function sortRows(board, button) {
  const heading = button.closest("th");
  const place = [...heading.parentElement.children].indexOf(heading);
  const down = button.dataset.down === "true";
  const before = (one, other) => {
    const apart = one.classList.contains("apart") - other.classList.contains("apart");
    if (apart) return apart;
    const [left, right] = [one.children[place], other.children[place]];
    if (heading.classList.contains("method")) return left.innerText.localeCompare(right.innerText);
    const [a, b] = [number(left), number(right)];
    if (isNaN(a) || isNaN(b)) return isNaN(a) - isNaN(b);
    return down ? b - a : a - b;
  };
  for (const body of board.querySelectorAll("tbody")) {
    body.append(...[...body.querySelectorAll("tr[data-row]")].sort(before));
  }
  for (const each of board.querySelectorAll("th[aria-sort]")) each.setAttribute("aria-sort", "none");
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
}

function wireBoard(board, tell) {
  for (const button of board.querySelectorAll("[data-sort]")) {
    button.onclick = () => {
      sortRows(board, button);
      tell("sort", button.dataset.sort);
    };
  }
  for (const box of board.querySelectorAll("[data-pick]")) {
    box.onchange = () => {
      box.closest("tr").classList.toggle("picked", box.checked);
      tell("pick", box.dataset.pick);
    };
  }
  for (const anchor of board.querySelectorAll("[data-open]")) {
    anchor.onclick = (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey) return;
      if (tell("open", anchor.dataset.open)) event.preventDefault();
    };
  }
}

// What has the focus, so that a table that is drawn anew keeps it.
function focused(root) {
  const element = root.activeElement;
  const name = ["sort", "pick", "open"].find((each) => element?.dataset?.[each]);
  return name && `[data-${name}="${CSS.escape(element.dataset[name])}"]`;
}
