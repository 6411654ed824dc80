// The leaderboard's table: sorting, picking and opening rows. `tell(what, value)` hears of each.

function wireBoard(root, tell) {
  for (const button of root.querySelectorAll("[data-sort]")) {
    button.onclick = () => tell("sort", button.dataset.sort);
  }
  const boxes = [...root.querySelectorAll("[data-pick]")];
  for (const box of boxes) {
    box.onchange = () => tell("pick", boxes.filter((each) => each.checked).map((each) => each.dataset.pick));
  }
  for (const anchor of root.querySelectorAll("[data-open]")) {
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
