"use strict";
(() => {
  const plain = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  const words = (text) => plain(text).split(/\s+/).filter(Boolean);

  // names that a reader gave to concepts on the pages of classes
  for (const given of document.querySelectorAll("[data-name-of]")) {
    try {
      const { key } = given.closest("[data-key]").dataset;
      given.textContent = localStorage.getItem(`xplique-craft:${key}:${given.dataset.nameOf}`) || "";
    } catch { /* private mode */ }
  }

  // on a phone the link of this page may lie beyond the edge
  const here = document.querySelector("nav.classes [aria-current]");
  here.closest("ul").scrollLeft = here.offsetLeft - here.closest("ul").clientWidth / 2;

  const tools = document.querySelector(".tools");
  if (tools) {
    const search = tools.querySelector("input");
    const order = tools.querySelector("select");
    const count = tools.querySelector("output");
    const table = document.querySelector("table.index");
    const entries = [...document.querySelectorAll(".entry")].map((element) => ({
      element,
      text: plain([...element.querySelectorAll(".name")].map((name) => name.textContent).join("\n")),
      link: element.matches("a") ? element : element.querySelector("a"),
      counted: !element.matches(".place"),
      failed: element.matches(".failed"),
    }));
    let shown = entries;

    const find = () => {
      const wanted = words(search.value);
      const failed = wanted.join(" ") === "not explained";
      shown = entries.filter((entry) => {
        const found = failed ? entry.failed : wanted.every((word) => entry.text.includes(word));
        entry.element.classList.toggle("away", !found);
        entry.element.classList.toggle("found", found && wanted.length > 0);
        return found;
      });
      const number = (list) => list.filter((entry) => entry.counted).length;
      const all = number(entries);
      count.textContent = wanted.length ? `${number(shown)} of ${all}` : `${all}`;
    };

    // what a column is sorted by: numbers as they are printed, a dash after all of them
    let sorted = order?.value;
    const collator = new Intl.Collator(undefined, { numeric: true });
    const headings = table ? [...table.tHead.rows[0].cells] : [];
    const value = (row, column) => {
      const text = row.cells[column]?.textContent.trim() ?? "";
      if (headings[column].dataset.sort === "name") return text;
      return row.cells[column]?.colSpan > 1 ? NaN : parseFloat(text.replace("\u2212", "-"));
    };
    const sort = () => {
      if (order.value === sorted) return;
      sorted = order.value;
      const [key, direction] = order.value.split(" ");
      const column = headings.findIndex((heading) => heading.dataset.sort === key);
      const sign = direction === "down" ? -1 : 1;
      for (const [place, heading] of headings.entries()) {
        if (!heading.dataset.sort) continue;
        const here = place === column;
        heading.setAttribute("aria-sort", here ? (sign < 0 ? "descending" : "ascending") : "none");
      }
      const keyed = entries.map((entry, place) => [value(entry.element, column), place, entry]);
      keyed.sort(([a, i], [b, j]) => {
        if (typeof a === "string") return sign * collator.compare(a, b) || i - j;
        if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b) || i - j;
        return sign * (a - b) || i - j;
      });
      const body = table.tBodies[0];
      body.append(...keyed.map(([, , entry]) => entry.element));
      entries.splice(0, entries.length, ...keyed.map(([, , entry]) => entry));
    };

    // search and order stand in the address, so that one can come back to them and hand them on
    const first = order?.value;
    const keep = () => {
      const state = new URLSearchParams();
      if (search.value) state.set("q", search.value);
      if (order && order.value !== first) state.set("sort", order.value);
      try { history.replaceState(null, "", `#${state}`); } catch { /* not every browser does for files */ }
    };
    const read = () => {
      const text = location.hash.slice(1);
      if (text && !text.includes("=")) return;
      const state = new URLSearchParams(text);
      search.value = state.get("q") ?? "";
      if (order) {
        order.value = state.get("sort") ?? first;
        if (order.selectedIndex < 0) order.value = first;
        sort();
      }
      find();
    };
    search.addEventListener("input", () => { find(); keep(); });
    order?.addEventListener("change", () => { sort(); find(); keep(); });
    for (const heading of headings) {
      const { sort: key, first: firstly } = heading.dataset;
      if (!key) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => {
        const other = firstly === "up" ? "down" : "up";
        order.value = `${key} ${order.value === `${key} ${firstly}` ? other : firstly}`;
        sort(); find(); keep();
      });
    }
    addEventListener("hashchange", read);
    tools.hidden = false;
    read();

    addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const at = document.activeElement;
      if (event.key === "/" && !at.matches("input, select, textarea")) {
        event.preventDefault();
        search.select();
        search.focus();
      } else if (event.key === "Enter" && at === search) {
        shown.find((entry) => entry.link)?.link.focus();
      } else if (event.key === "Escape" && at === search) {
        search.value = ""; find(); keep();
      } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        const links = shown.flatMap((entry) => entry.link ?? []);
        const place = links.indexOf(at);
        if (at !== search && place < 0) return;
        const next = event.key === "ArrowDown" ? place + 1 : place - 1;
        if (at === search && event.key === "ArrowUp") return;
        event.preventDefault();
        (next < 0 ? search : links[Math.min(next, links.length - 1)])?.focus();
      }
    });
  }

  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details")) details.open = true;
  });
})();
