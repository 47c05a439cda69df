// The episodes of a run: as many rows as are seen, of pages that are fetched when they are come to.

import { visible } from "./text.js";

const PAGE = 100; // rows that are fetched at a time
const KEPT = 40; // pages
const AROUND = 12; // rows above and below what is seen

const cell = (text, kind) => {
  const td = document.createElement("td");
  if (kind) td.className = kind;
  td.append(text);
  return td;
};

class Episodes extends HTMLElement {
  connectedCallback() {
    this.form = this.querySelector("form");
    this.view = this.querySelector(".rows");
    this.table = this.querySelector("table");
    this.body = this.querySelector("tbody");
    this.said = this.querySelector("[role=status]");
    this.pages = new Map();
    this.mark = 0; // of what was asked for last: answers to what was asked before are dropped
    this.form.querySelector("button").hidden = true;
    this.querySelector(".pager").hidden = true;
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("input", () => this.start());
    this.table.tHead.addEventListener("click", (event) => this.sort(event));
    this.view.addEventListener("scroll", () => this.draw(), { passive: true });
    this.start({ first: true });
  }

  query() {
    const told = [...new FormData(this.form)].filter(([name, value]) => value !== "" && !(name === "sort" && value === "episode"));
    return new URLSearchParams(told);
  }

  async start({ first = false } = {}) {
    this.mark += 1;
    this.pages.clear();
    if (!first) {
      this.view.scrollTop = 0;
      if (this.hasAttribute("address")) history.replaceState(null, "", `${this.getAttribute("src")}?${this.query()}`.replace(/\?$/, ""));
    }
    await this.fetch(0);
  }

  // Read again what is seen; for whoever knows that there is more.
  async refresh() {
    const first = Math.floor(this.view.scrollTop / this.height / PAGE);
    const last = Math.floor((this.view.scrollTop + this.view.clientHeight) / this.height / PAGE);
    this.mark += 1;
    this.pages.clear();
    for (let page = first; page <= last; page += 1) await this.fetch(page);
  }

  async fetch(page) {
    if (this.pages.has(page)) return;
    const mark = this.mark;
    this.pages.set(page, null);
    const query = this.query();
    query.set("from", page * PAGE);
    query.set("count", PAGE);
    const response = await fetch(`${this.getAttribute("src")}?json&${query}`).catch(() => null);
    if (mark !== this.mark) return;
    if (!response?.ok) {
      this.pages.delete(page);
      this.said.textContent = response ? "That cannot be shown." : "The server does not answer.";
      return;
    }
    const facts = await response.json();
    if (mark !== this.mark) return;
    this.take(page, facts);
  }

  take(page, facts) {
    this.pages.set(page, facts.rows);
    while (this.pages.size > KEPT) this.pages.delete(this.pages.keys().next().value);
    this.facts = facts;
    this.table.setAttribute("aria-rowcount", facts.matching + 1);
    this.said.textContent = `${facts.matching.toLocaleString("en")} of ${facts.total.toLocaleString("en")}`;
    this.reasons(facts);
    this.marked(facts.choice);
    this.draw();
  }

  reasons(facts) {
    const select = this.form.elements.reason;
    const known = new Set([...select.options].map((option) => option.value));
    for (const name of facts.reasons) if (!known.has(name)) select.append(new Option(visible(name), name));
    this.form.elements.phase.closest("label").hidden = !facts.tested;
  }

  marked(choice) {
    for (const link of this.table.tHead.querySelectorAll("[data-sort]")) {
      const th = link.closest("th");
      if (link.dataset.sort === choice.order) th.setAttribute("aria-sort", choice.falling ? "descending" : "ascending");
      else th.removeAttribute("aria-sort");
    }
  }

  sort(event) {
    const link = event.target.closest("[data-sort]");
    if (!link) return;
    event.preventDefault();
    const { sort, down } = this.form.elements;
    const name = link.dataset.sort;
    // What is worst or best is looked for first, of others the lowest number.
    down.value = sort.value === name ? (down.value ? "" : "1") : ["reward", "length"].includes(name) ? "1" : "";
    sort.value = name;
    this.start();
  }

  draw() {
    const count = this.facts.matching;
    const height = this.height;
    const first = Math.max(Math.floor(this.view.scrollTop / height) - AROUND, 0);
    const last = Math.min(Math.ceil((this.view.scrollTop + this.view.clientHeight) / height) + AROUND, count);
    const rows = [];
    for (let place = first; place < last; place += 1) {
      const page = Math.floor(place / PAGE);
      if (!this.pages.has(page)) this.fetch(page);
      rows.push(this.row(place, this.pages.get(page)?.[place % PAGE]));
    }
    const focused = document.activeElement?.closest?.("tr")?.getAttribute("aria-rowindex");
    this.body.replaceChildren(this.gap(first * height), ...rows, this.gap((count - last) * height));
    if (focused) this.body.querySelector(`tr[aria-rowindex="${focused}"] a`)?.focus({ preventScroll: true });
  }

  // Rows are all of one height, whatever stands in them: the style says so.
  get height() {
    this.rowHeight ??= parseFloat(getComputedStyle(this.view).getPropertyValue("--row")) * parseFloat(getComputedStyle(document.documentElement).fontSize);
    return this.rowHeight;
  }

  gap(height) {
    const row = document.createElement("tr");
    row.className = "gap";
    row.setAttribute("aria-hidden", "true");
    const td = row.appendChild(document.createElement("td"));
    td.colSpan = 6;
    td.style.height = `${height}px`;
    return row;
  }

  row(place, told) {
    const row = document.createElement("tr");
    row.setAttribute("aria-rowindex", place + 2);
    if (!told) {
      row.append(cell("…"), cell(""), cell(""), cell(""), cell("", "span"), cell(""));
      return row;
    }
    const link = document.createElement("a");
    link.href = `${this.getAttribute("episode")}?k=${told.episode}`;
    link.textContent = told.episode;
    const number = cell(link);
    if (told.phase === "test") number.append(" ", badge("test"));
    const user = cell(String(told.user), "n");
    if (told.session) user.append(`·${told.session}`);
    const why = told.end === "finished" ? told.reason : told.end === "failed" ? "failed" : "not written to its end";
    row.append(number, user, cell(String(told.length), "n"), cell(told.reward.toFixed(2), "n"), this.share(told), cell(visible(why)));
    return row;
  }

  share(told) {
    const space = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(space, "svg");
    svg.setAttribute("class", "share");
    svg.setAttribute("viewBox", "0 0 100 10");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    const bar = svg.appendChild(document.createElementNS(space, "rect"));
    bar.setAttribute("class", "c0");
    bar.setAttribute("height", "10");
    bar.setAttribute("width", this.facts.highest > 0 ? Math.max((100 * told.reward) / this.facts.highest, 0) : 0);
    return cell(svg, "span");
  }
}

function badge(text) {
  const element = document.createElement("span");
  element.className = "badge";
  element.textContent = text;
  return element;
}

customElements.define("billp-episodes", Episodes);
