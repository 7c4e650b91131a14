"use strict";
(() => {
  const store = {
    get(key) { try { return localStorage.getItem(key) || ""; } catch { return ""; } },
    set(key, value) {
      try { value ? localStorage.setItem(key, value) : localStorage.removeItem(key); } catch { /* private mode */ }
    },
  };

  // a name typed on a card shows wherever its concept is mentioned
  const show = (key, concept, name) => {
    for (const part of document.querySelectorAll(`[data-key="${key}"]`)) {
      for (const given of part.querySelectorAll(`[data-name-of="${concept}"]`)) given.textContent = name;
      for (const text of part.querySelectorAll(`[data-value-of="${concept}"] text`)) {
        text.dataset.value ??= text.textContent;
        text.textContent = name ? `${text.dataset.value.trimEnd()}  ${name}` : text.dataset.value;
      }
    }
  };
  for (const input of document.querySelectorAll("[data-naming]")) {
    const key = input.closest("[data-key]").dataset.key;
    const concept = input.dataset.naming;
    const place = `xplique-craft:${key}:${concept}`;
    input.value = store.get(place);
    show(key, concept, input.value);
    input.addEventListener("input", () => {
      const name = input.value.trim();
      store.set(place, name);
      show(key, concept, name);
    });
  }

  for (const buttons of document.querySelectorAll(".buttons")) {
    buttons.hidden = false;
    buttons.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      for (const box of buttons.closest(".view").querySelectorAll("[data-toggle]:enabled")) {
        box.checked = Boolean(button.dataset.all);
      }
    });
  }

  const links = new Map([...document.querySelectorAll("nav.classes a")].map((a) => [a.hash.slice(1), a]));
  if (links.size && "IntersectionObserver" in window) {
    const observer = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        const link = links.get(target.id);
        if (isIntersecting) {
          link.setAttribute("aria-current", "true");
          const list = link.closest("ul");
          list.scrollLeft = link.offsetLeft - list.clientWidth / 2;
        } else link.removeAttribute("aria-current");
      }
    }, { rootMargin: "-20% 0px -75% 0px" });
    for (const id of links.keys()) observer.observe(document.getElementById(id));
  }

  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details")) details.open = true;
  });
})();
