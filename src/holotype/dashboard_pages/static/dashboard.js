// What scripts add to pages that work without them.
"use strict";

// Forms that are sent again whenever a choice changes: <form data-submit-on-change>. By the keys a
// list changes at every letter and a field when it is left, so that there Enter or the button sends.
let isByKeys = false;
for (const kind of ["keydown", "pointerdown"]) {
  document.addEventListener(kind, () => { isByKeys = kind === "keydown"; }, true);
}
document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-submit-on-change]");
  if (form && !isByKeys) form.requestSubmit();
});

// A part that is loaded again by itself stays while somebody reads it: is in it by keys, or has
// opened something in it.
document.addEventListener("htmx:beforeRequest", (event) => {
  const part = event.detail.elt;
  const isRead = part.contains(document.activeElement) || part.querySelector("details[open]");
  if (part.matches("[hx-trigger^=every]") && isRead) event.preventDefault();
});
