// The table within Streamlit. A click tells the whole of what is shown: one that overtakes another loses nothing of it.

const holder = (root) => root.querySelector(".holder") ?? root.appendChild(
  Object.assign(document.createElement("div"), { className: "holder" }));

function shown(board) {
  const boxes = [...board.querySelectorAll("[data-pick]")];
  const names = (some) => some.map((box) => box.dataset.pick);
  const heading = board.querySelector("th:is([aria-sort=ascending], [aria-sort=descending])");
  return {
    sort: heading.querySelector("[data-sort]").dataset.sort,
    picked: names(boxes.filter((box) => box.checked)),
    unpicked: names(boxes.filter((box) => !box.checked)),
  };
}

function show(board, { sort, picked }) {
  sortRows(board, board.querySelector(`[data-sort="${CSS.escape(sort)}"]`));
  for (const box of board.querySelectorAll("[data-pick]")) {
    box.checked = picked.includes(box.dataset.pick);
    box.closest("tr").classList.toggle("picked", box.checked);
  }
}

export default function ({ parentElement, data, setTriggerValue }) {
  const place = holder(parentElement);
  if (place.markup !== data.markup) {
    const focus = focused(parentElement);
    const open = [...place.querySelectorAll("details[open]")].map((details) => details.dataset.of);
    place.innerHTML = place.markup = data.markup;
    for (const details of place.querySelectorAll("details")) details.open = open.includes(details.dataset.of);
    if (data.heard < place.told?.turn) show(place, place.told); // the answer to an earlier click
    if (focus) parentElement.querySelector(focus)?.focus();
  }
  wireBoard(place, (what, value) => {
    if (what === "open") {
      setTriggerValue("open", value);
    } else {
      place.told = { ...shown(place), turn: Math.max(data.heard, place.told?.turn ?? 0) + 1 };
      setTriggerValue("shown", place.told);
    }
    return true;
  });
}
