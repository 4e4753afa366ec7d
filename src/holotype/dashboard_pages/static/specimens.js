// The slider shows its slice at once; without this script the button beside it does.
"use strict";

(() => {
  const slider = document.getElementById("at");
  if (slider) slider.addEventListener("change", () => slider.form.requestSubmit());
})();
