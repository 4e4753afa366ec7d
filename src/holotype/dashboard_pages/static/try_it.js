// Drop, paste and many images at once; without this script the form sends what its fields hold.
"use strict";

(() => {
  const form = document.querySelector("form.sending");
  if (!form) return;
  const status = form.querySelector(".sent");
  const maxImages = Number(form.dataset.maxImages);
  const maxBytes = Number(form.dataset.maxMib) * 1024 * 1024 - 64 * 1024;
  form.querySelectorAll(".with-script").forEach((one) => { one.hidden = false; });

  function* portions(files) {
    let portion = [], size = 0;
    for (const file of files) {
      if (portion.length && (portion.length >= maxImages || size + file.size > maxBytes)) {
        yield portion;
        portion = []; size = 0;
      }
      portion.push(file);
      size += file.size;
    }
    if (portion.length) yield portion;
  }

  async function send(files) {
    const fields = new FormData(form);
    let page = null, sent = 0;
    for (const portion of portions(files)) {
      fields.delete("images");
      portion.forEach((file) => fields.append("images", file, file.name || "pasted.png"));
      fields.set("reply", "json");
      status.textContent = `Sending: ${sent} of ${files.length} images are there.`;
      const answer = await fetch(form.action, { method: "POST", body: fields });
      if (!answer.ok) {
        const told = new DOMParser().parseFromString(await answer.text(), "text/html");
        status.textContent = told.querySelector("main")?.innerText || `Refused (${answer.status}).`;
        return;
      }
      const reply = await answer.json();
      fields.set("upload", reply.upload);
      page = new URL(reply.page, form.action);
      sent += portion.length;
    }
    if (page) window.location = page;
  }

  const trySending = (files) => send([...files].slice(0, 200)).catch(() => {
    status.textContent = "The server does not answer. Try again.";
  });

  form.addEventListener("submit", (event) => {
    const files = [...form.querySelectorAll("input[type=file]")].flatMap((one) => [...one.files]);
    if (!files.length) return;
    event.preventDefault();
    trySending(files);
  });
  const zone = form.querySelector(".drop");
  for (const name of ["dragenter", "dragover"]) {
    document.addEventListener(name, (event) => { event.preventDefault(); zone.classList.add("over"); });
  }
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) zone.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    if (event.dataTransfer.files.length && form.reportValidity()) trySending(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => {
    const files = event.clipboardData?.files ?? [];
    if (files.length && form.reportValidity()) {
      event.preventDefault();
      trySending(files);
    }
  });
})();
