// What script adds: copy buttons, list keys, focus after an answer, and a filter form that needs no button. Everything works without.
"use strict";

(() => {
  const announce = (text) => {
    const status = document.getElementById("announcer");
    if (status) status.textContent = text;
  };

  // Copy buttons: hidden until script runs, because they do nothing without it
  const prepare = (root) => {
    for (const part of root.querySelectorAll("button[data-copy], button[data-keys], input[data-slides]")) part.hidden = false;
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
