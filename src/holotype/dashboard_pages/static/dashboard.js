// What scripts add to pages that work without them.
"use strict";

// Forms that are sent again whenever a choice changes: <form data-submit-on-change>.
document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-submit-on-change]");
  if (form) form.requestSubmit();
});
