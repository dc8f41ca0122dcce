"use strict";
// Presses the button that a key stands for, unless somebody types, or the key belongs to the browser.
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  if (event.target.closest("input, textarea, select")) return;
  document.querySelector(`button[data-key="${CSS.escape(event.key)}"]`)?.click();
});
