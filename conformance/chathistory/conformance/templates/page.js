
"use strict";
(() => {
  const root = document.documentElement;
  const all = (selector) => [...document.querySelectorAll(selector)];
  const said = document.getElementById("said");

  // Light and dark.
  const theme = document.getElementById("theme");
  const remember = (value) => { try { localStorage.setItem("chathistory-theme", value); } catch { /* not allowed */ } };
  const remembered = () => { try { return localStorage.getItem("chathistory-theme"); } catch { return null; } };
  const isDark = () => root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  const name = () => { theme.textContent = isDark() ? "Light colours" : "Dark colours"; };
  if (["light", "dark"].includes(remembered())) root.dataset.theme = remembered();
  theme.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; remember(root.dataset.theme); name(); });
  theme.hidden = false;
  name();

  // Filters.
  const form = document.getElementById("filters");
  const filter = () => {
    const outcomes = new Set(all("#filters input:checked").map((box) => box.value));
    const family = form.elements.family.value;
    for (const each of all("[data-outcome]")) {
      const has = each.dataset.outcome.trim().split(/\s+/).some((outcome) => outcomes.has(outcome));
      each.hidden = !has || (family !== "" && each.dataset.family !== family);
    }
    for (const group of all("[data-group]")) group.hidden = !group.querySelector("[data-row]:not([hidden])");
    const rows = all("[data-row]");
    document.getElementById("shown").textContent =
      `${rows.filter((row) => !row.hidden).length} of ${rows.length} clauses shown`;
  };
  form.addEventListener("change", filter);
  form.addEventListener("reset", () => setTimeout(filter));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  filter();

  // Scripts that share lines are put together when somebody wants to see them.
  const held = document.getElementById("scripts");
  const shared = held && JSON.parse(held.textContent);
  const fill = (pre) => {
    if (!shared || pre.textContent || !pre.dataset.script) return;
    const runs = shared.scripts[Number(pre.dataset.script)];
    const lines = [];
    for (let at = 0; at < runs.length; at += 2) lines.push(...shared.lines.slice(runs[at], runs[at] + runs[at + 1]));
    pre.textContent = lines.join("\n");
  };
  document.addEventListener("toggle", (event) => {
    if (event.target.open) for (const pre of event.target.querySelectorAll(":scope > pre[data-script]")) fill(pre);
  }, true);

  // Copying.
  const copyOld = (text) => {
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "unseen";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  };
  const copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      return copyOld(text);
    }
  };
  for (const button of all("[data-copy]")) {
    const label = button.textContent;
    button.hidden = false;
    button.addEventListener("click", async () => {
      const pre = document.getElementById(button.dataset.copy);
      fill(pre);
      const done = await copy(pre.textContent);
      button.focus();
      button.textContent = done ? "Copied" : "Not allowed";
      said.textContent = done ? "The script was copied" : "The browser does not allow to copy; open the script and select it";
      setTimeout(() => { button.textContent = label; said.textContent = ""; }, 3000);
    });
  }

  // A link to something folded or filtered away brings it to light.
  const reveal = () => {
    const target = document.getElementById(location.hash.slice(1));
    if (!target) return;
    if (target.closest("[hidden]")) form.reset();
    setTimeout(() => {
      if (target.tagName === "DETAILS") target.open = true;
      target.scrollIntoView();
      (target.querySelector(":scope > summary") || target).focus({ preventScroll: true });
    });
  };
  addEventListener("hashchange", reveal);
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#']");
    if (link && link.hash === location.hash) reveal();
  });
  if (location.hash) reveal();

  // On paper nothing is folded.
  let unfolded = [];
  addEventListener("beforeprint", () => {
    unfolded = all("details.violation:not([open])");
    for (const each of unfolded) each.open = true;
  });
  addEventListener("afterprint", () => { for (const each of unfolded) each.open = false; });
})();
