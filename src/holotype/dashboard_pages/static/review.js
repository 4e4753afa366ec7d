// The keys of the review; every one presses a button or follows a link that is on the page.
"use strict";

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target.closest("input, textarea, select")) {
    if (event.key === "Enter" && event.target.id === "label" && event.target.value) {
      event.preventDefault();
      document.querySelector('[data-key="c"]').click();
    }
    return;
  }
  const label = document.getElementById("label");
  if (event.key === "c" && label && !label.value) {
    event.preventDefault();
    label.focus(); // choose by its first letters, then Enter
    return;
  }
  const found = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
  if (!found) return;
  event.preventDefault();
  found.click();
});
