// A grid of pixels to draw on: pointer or arrow keys and space. Ink is one hexadecimal digit a pixel.

const LEVELS = 15;
const SIDE = 256;

export default function ({ parentElement, data, setTriggerValue }) {
  const canvas = parentElement.querySelector("canvas");
  const { rows, columns, ink } = data;
  if (canvas.ink === undefined || (canvas.sent !== ink && !canvas.drawing)) {
    canvas.ink = [...ink.padEnd(rows * columns, "0")].map((digit) => parseInt(digit, 16) || 0);
    canvas.sent = ink;
  }
  canvas.width = canvas.height = SIDE;
  canvas.at ??= 0;
  const wide = SIDE / columns;
  const high = SIDE / rows;
  const paint = canvas.getContext("2d");

  const show = () => {
    canvas.ink.forEach((level, k) => {
      const grey = Math.round((255 * level) / LEVELS);
      paint.fillStyle = `rgb(${grey},${grey},${grey})`;
      paint.fillRect((k % columns) * wide, Math.floor(k / columns) * high, Math.ceil(wide), Math.ceil(high));
    });
    if (canvas.matches(":focus-visible")) {
      paint.strokeStyle = "#E69F00";
      paint.lineWidth = 3;
      paint.strokeRect((canvas.at % columns) * wide + 1, Math.floor(canvas.at / columns) * high + 1, wide - 2, high - 2);
    }
  };
  const send = () => {
    canvas.sent = canvas.ink.map((level) => level.toString(16)).join("");
    setTriggerValue("ink", canvas.sent);
  };
  const add = (column, row, level) => {
    if (column >= 0 && row >= 0 && column < columns && row < rows) {
      const k = row * columns + column;
      canvas.ink[k] = Math.max(canvas.ink[k], level);
    }
  };
  const stroke = (event) => {
    const box = canvas.getBoundingClientRect();
    const column = Math.floor(((event.clientX - box.left) / box.width) * columns);
    const row = Math.floor(((event.clientY - box.top) / box.height) * rows);
    add(column, row, LEVELS);
    for (const [across, down] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) add(column + across, row + down, 4);
    show();
  };
  canvas.onpointerdown = (event) => {
    canvas.drawing = true;
    canvas.setPointerCapture(event.pointerId);
    stroke(event);
  };
  canvas.onpointermove = (event) => canvas.drawing && stroke(event);
  canvas.onpointerup = () => {
    canvas.drawing = false;
    send();
  };
  const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
  canvas.onkeydown = (event) => {
    if (event.key in moves) canvas.at = Math.min(Math.max(canvas.at + moves[event.key], 0), canvas.ink.length - 1);
    else if (event.key === " ") canvas.ink[canvas.at] = canvas.ink[canvas.at] ? 0 : LEVELS;
    else return;
    event.preventDefault();
    show();
    if (event.key === " ") send();
  };
  canvas.onfocus = canvas.onblur = show;
  parentElement.querySelector("button").onclick = () => {
    canvas.ink.fill(0);
    show();
    send();
  };
  show();
}
