"use strict";
// Brings a page up to date while what it shows goes on. Without script the page loads itself again.
{
  const changes = new EventSource(document.currentScript.dataset.from);
  let busy = false;
  changes.onmessage = async () => {
    const main = document.getElementById("main");
    // Whoever fills in a form, or has chosen rows, is not disturbed.
    if (busy || main.querySelector("input:checked, input:focus, select:focus")) return;
    busy = true;
    try {
      const answer = await fetch(location.href);
      if (!answer.ok) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      main.replaceChildren(...page.getElementById("main").childNodes);
      if (!page.querySelector("script[data-from]")) changes.close();
    } finally {
      busy = false;
    }
  };
}
