// What script adds: copy buttons, list keys, focus after an answer, and a filter form that needs no button. Everything works without.
"use strict";

(() => {
  const announce = (text) => {
    const status = document.getElementById("announcer");
    if (status) status.textContent = text;
  };

  // Copy buttons: hidden until script runs, because they do nothing without it
  const prepare = (root) => {
    for (const part of root.querySelectorAll("button[data-copy], button[data-keys], input[data-slides], .chart-reader")) part.hidden = false;
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-copy]");
    if (!button || !navigator.clipboard) return;
    navigator.clipboard.writeText(button.dataset.copy).then(() => {
      const label = button.querySelector("[data-word]");
      if (label) label.textContent = "Copied";
      announce(`${button.dataset.what || "Text"} copied`);
    });
  });

  // A slider moves the number beside it, and the number the slider
  document.addEventListener("input", (event) => {
    const moved = event.target;
    if (moved.dataset.slides) document.getElementById(moved.dataset.slides).value = moved.value;
    else if (moved.id) for (const slider of document.querySelectorAll(`[data-slides="${moved.id}"]`)) slider.value = moved.value;
  });

  // Reading values off a chart: by its slider, or by pointing at it. What is read is the row of its table
  const drawn = (figure) => [...figure.querySelectorAll("svg.chart")].find((svg) => svg.getBoundingClientRect().width > 0);

  const plot = (svg) => {  // where the marks stand, in the drawing's own units
    const frame = svg.querySelector("path.background");
    const [, width, height] = frame.getAttribute("d").match(/M0,0h([\d.]+)v([\d.]+)/);
    const [, x, y] = svg.querySelector("g[transform]").getAttribute("transform").match(/translate\(([\d.]+),([\d.]+)\)/);
    return { x: +x, y: +y, width: +width, height: +height };
  };

  const read = (figure, place) => {
    const svg = drawn(figure);
    const count = +figure.dataset.wide;
    const shown = svg && svg.classList.contains("chart-narrow") ? +figure.dataset.narrow : count;
    const rows = figure.querySelectorAll("details tbody tr");
    const row = rows["lastFirst" in figure.dataset ? count - 1 - place : place];
    if (!row) return;
    const heads = [...figure.querySelectorAll("details thead th")].map((cell) => cell.textContent.trim());
    const [name, ...cells] = [...row.cells].map((cell) => cell.textContent.replace(/\s+/g, " ").trim());
    const said = cells.map((text, n) => (text ? `${heads[n + 1]} ${text}` : "")).filter(Boolean).join(", ");
    const slider = figure.querySelector(".chart-reader input");
    slider.value = place;
    slider.setAttribute("aria-valuetext", `${name}: ${said}`);
    figure.querySelector(".chart-reader output").textContent = `${name}: ${said}`;
    for (const old of figure.querySelectorAll(".reading")) old.remove();
    const at = place - (count - shown);
    if (!svg || at < 0) return;
    const box = plot(svg);
    const mark = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const along = figure.dataset.reads === "x";
    const step = (along ? box.width : box.height) / shown;
    const place_of = along
      ? { x: box.x + at * step, y: box.y, width: step, height: box.height }
      : { x: box.x, y: box.y + at * step, width: box.width, height: step };
    for (const [key, value] of Object.entries({ ...place_of, class: "reading" })) mark.setAttribute(key, value);
    svg.append(mark);
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest(".chart-reader button");
    if (!button) return;
    const figure = button.closest("figure");
    const part = document.getElementById(button.getAttribute("aria-controls"));
    part.hidden = !part.hidden;
    button.setAttribute("aria-expanded", String(!part.hidden));
    const slider = part.querySelector("input");
    if (part.hidden) {
      for (const old of figure.querySelectorAll(".reading")) old.remove();
    } else {
      read(figure, +slider.value);
      slider.focus();
    }
  });

  document.addEventListener("input", (event) => {
    if (event.target.closest(".chart-reader")) read(event.target.closest("figure"), +event.target.value);
  });

  document.addEventListener("pointermove", (event) => {
    const svg = event.target.closest("figure[data-reads] svg.chart");
    const figure = svg && svg.closest("figure");
    if (!figure || figure.querySelector(".chart-reader p").hidden) return;
    const box = plot(svg);
    const seen = svg.getBoundingClientRect();
    const scale = svg.viewBox.baseVal.width / seen.width;
    const along = figure.dataset.reads === "x";
    const from = along ? (event.clientX - seen.left) * scale - box.x : (event.clientY - seen.top) * scale - box.y;
    const count = +figure.dataset.wide;
    const shown = svg.classList.contains("chart-narrow") ? +figure.dataset.narrow : count;
    const at = Math.floor((from / (along ? box.width : box.height)) * shown);
    if (at >= 0 && at < shown) read(figure, at + count - shown);
  });

  // On a phone the menu is one line that scrolls: begin where one is
  const here = document.querySelector(".nav a[aria-current]");
  if (here) here.closest("ul").scrollLeft = here.offsetLeft - 16;

  // Show the password while it is typed
  document.addEventListener("change", (event) => {
    const box = event.target.closest("input[data-shows]");
    if (!box) return;
    const field = document.getElementById(box.dataset.shows);
    if (field) field.type = box.checked ? "text" : "password";
  });

  // After an answer the focus goes to what the answer marks
  document.addEventListener("htmx:afterSettle", (event) => {
    prepare(document);
    const target = event.detail.elt.matches("[data-focus]") ? event.detail.elt : event.detail.elt.querySelector("[data-focus]");
    if (target) target.focus();
  });

  // Keys: "/" searches, "?" tells the keys, "g" then a letter goes to a page, "u" goes up to the list one came from, with its filter;
  // in a list j, k and the arrows move, Enter opens, a goes to the row's Acknowledge button
  const typing = (element) => element.closest("input, select, textarea, [contenteditable]");

  const move = (row, step) => {
    const rows = [...row.closest("[data-list]").querySelectorAll("[data-row]")];
    const next = rows[rows.indexOf(row) + step];
    if (next) (next.querySelector("[data-open]") || next).focus();
  };

  const help = document.getElementById("keys");
  document.addEventListener("click", (event) => {
    if (event.target.closest("button[data-keys]")) help.showModal();
  });

  const PAGES = { i: "/inbox", s: "/substances", e: "/explore" };
  const GOING_MS = 1500;
  let going = 0;

  const up = () => {
    const above = [...document.querySelectorAll(".crumbs a")].pop();
    if (!above) return;
    const from = document.referrer ? new URL(document.referrer) : null;
    location.href = from && from.origin === location.origin && from.pathname === above.pathname ? from.href : above.href;
  };

  const anywhere = (key) => {
    if (key === "/") document.getElementById("header-search").focus();
    else if (key === "?") help.showModal();
    else if (key === "u") up();
    else if (key === "g") going = Date.now();
    else if (PAGES[key] && Date.now() - going < GOING_MS) location.href = PAGES[key];
    else return false;
    return true;
  };

  document.addEventListener("keydown", (event) => {
    if (help.open) return;
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    // single characters can be switched off in the account; arrows stay
    if (event.key.length === 1 && document.documentElement.dataset.shortcuts === "off") return;
    if (anywhere(event.key)) {
      event.preventDefault();
      return;
    }
    const list = event.target.closest("[data-list]");
    if (!list) return;
    const row = event.target.closest("[data-row]");
    if (!row) return;
    if (event.key === "j" || event.key === "ArrowDown") {
      event.preventDefault();
      move(row, 1);
    } else if (event.key === "k" || event.key === "ArrowUp") {
      event.preventDefault();
      move(row, -1);
    } else if (event.key === "a") {
      const button = row.querySelector("[data-acknowledge]");
      if (button) {
        event.preventDefault();
        button.focus();
      }
    }
  });

  prepare(document);
  const summary = document.getElementById("summary");
  if (summary && summary.matches("[data-focus]")) summary.focus();
})();
