// The page of an episode: steps are gone through by keys, prompts come when they are looked at.

import { visible } from "./text.js";

const make = (name, text, kind) => {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = visible(text);
  if (kind) element.className = kind;
  return element;
};

const took = (seconds) => (seconds < 1 ? `${Number((seconds * 1000).toPrecision(3))} ms` : `${seconds.toFixed(1)} s`);
const signs = { added: "+ ", removed: "− ", same: "  ", skipped: "… " };

class Episode extends HTMLElement {
  connectedCallback() {
    this.links = [...this.querySelectorAll(".steps a")];
    this.sections = new Map([...this.querySelectorAll(".step")].map((section) => [section.dataset.step, section]));
    this.columns = new Map([...this.querySelectorAll(".column")].map((column) => [column.dataset.step, column]));
    this.input = this.querySelector("input[type=search]");
    this.said = this.querySelector("[role=status]");
    this.addEventListener("click", (event) => this.clicked(event));
    this.addEventListener("toggle", (event) => this.opened(event), { capture: true });
    this.input.addEventListener("input", () => this.search());
    document.addEventListener("keydown", (event) => this.pressed(event));
    const marked = this.querySelector(".marked");
    if (marked) marked.scrollIntoView({ block: "center" });
    for (const details of this.querySelectorAll("details.call[open]")) this.load(details);
    this.keepInSight(this.columns.get(this.current));
    this.efforts();
  }

  get current() {
    return this.querySelector(".steps a[aria-current]")?.dataset.step;
  }

  clicked(event) {
    const target = event.target.closest("[data-step]");
    if (!target || target.matches(".step") || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (target.matches(".step a") && !target.dataset.step) return;
    if (this.choose(target.dataset.step)) event.preventDefault();
  }

  // Show a step; false if it is not in this page, which stands for a part of a long episode.
  choose(step) {
    const link = this.links.find((one) => one.dataset.step === step);
    if (!link) return false;
    const section = this.sections.get(step);
    if (!section) {
      location.assign(link.href);
      return true;
    }
    for (const [name, one] of this.sections) one.hidden = name !== step;
    for (const one of this.links) {
      if (one === link) one.setAttribute("aria-current", "true");
      else one.removeAttribute("aria-current");
    }
    for (const [name, column] of this.columns) column.classList.toggle("chosen", name === step);
    link.scrollIntoView({ block: "nearest" });
    this.keepInSight(this.columns.get(step));
    const heading = section.querySelector("h2");
    const { top } = heading.getBoundingClientRect();
    if (top < 0 || top > innerHeight - 60) heading.scrollIntoView({ block: "start" });
    this.said.textContent = heading.textContent;
    history.replaceState(null, "", link.href);
    return true;
  }

  // Scrolls the strip alone, never the page.
  keepInSight(column) {
    const view = this.querySelector(".strip");
    if (!column || !view) return;
    const place = column.getBoundingClientRect();
    const around = view.getBoundingClientRect();
    if (place.left < around.left + 40) view.scrollLeft -= around.left + 40 - place.left;
    if (place.right > around.right - 40) view.scrollLeft += place.right - around.right + 40;
  }

  move(by) {
    const seen = this.links.filter((link) => !link.parentElement.hidden);
    const focused = seen.indexOf(document.activeElement);
    const place = focused >= 0 ? focused : seen.findIndex((link) => link.dataset.step === this.current);
    const next = seen[Math.min(Math.max(place + by, 0), seen.length - 1)];
    if (next) this.choose(next.dataset.step);
    return next;
  }

  pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const typing = event.target.closest?.("input, textarea, select");
    if (typing) {
      if (typing === this.input) this.typed(event);
      return;
    }
    const inList = event.target.closest?.(".steps");
    const by = { j: 1, k: -1, ...(inList ? { ArrowDown: 1, ArrowUp: -1 } : {}) }[event.key];
    const beside = { "[": "prev", "]": "next" }[event.key];
    if (by) {
      const link = this.move(by);
      if (inList) link?.focus({ preventScroll: true }); // choose() has brought it into sight
    } else if (event.key === "/") {
      this.input.focus();
      this.input.select();
    } else if (beside) {
      document.querySelector(`a[rel=${beside}]`)?.click();
      return;
    } else {
      return;
    }
    event.preventDefault();
  }

  typed(event) {
    if (event.key === "Escape") {
      this.input.value = "";
      this.search();
      this.links.find((link) => link.dataset.step === this.current)?.focus();
    } else if (event.key === "Enter" || event.key === "ArrowDown") {
      const first = this.links.find((link) => !link.parentElement.hidden);
      if (first) {
        this.choose(first.dataset.step);
        first.focus();
      }
    } else {
      return;
    }
    event.preventDefault();
  }

  // A step is found by all that its cards say.
  search() {
    const words = this.input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const link of this.links) {
      const section = this.sections.get(link.dataset.step);
      const text = `${link.textContent} ${section?.textContent ?? ""}`.toLowerCase();
      const shown = words.every((word) => text.includes(word));
      link.parentElement.hidden = !shown;
      this.columns.get(link.dataset.step)?.classList.toggle("dim", !shown);
      count += shown;
    }
    this.said.textContent = words.length ? `${count} of ${this.links.length}` : "";
  }

  // -- calls

  async efforts() {
    const calls = this.querySelectorAll("details.call");
    if (!calls.length) return;
    const response = await fetch(this.getAttribute("calls")).catch(() => null);
    if (!response?.ok) return;
    const facts = await response.json();
    const told = new Map(facts.calls.map(([call, ended]) => [String(call.n), ended]));
    for (const details of calls) {
      const ended = told.get(details.dataset.call);
      if (!ended) continue;
      const waited = ended.wait > 0.05 ? `, ${took(ended.wait)} of it waiting` : "";
      const attempts = ended.attempts > 1 ? `, ${ended.attempts} attempts` : "";
      details.querySelector("[data-effort]").textContent = `, ${took(ended.latency)}${waited}${attempts}`;
    }
  }

  opened(event) {
    if (event.target.matches?.("details.call[open]")) this.load(event.target);
  }

  async load(details) {
    if (details.dataset.loaded) return;
    details.dataset.loaded = "yes";
    const place = details.querySelector(".prompt");
    place.replaceChildren(make("p", "The prompt is looked for …", "faint"));
    const response = await fetch(details.dataset.src).catch(() => null);
    if (!response?.ok) {
      delete details.dataset.loaded;
      place.replaceChildren(make("p", response ? "The prompt cannot be shown." : "The server does not answer.", "bad"));
      return;
    }
    place.replaceChildren(...this.prompt(await response.json()));
  }

  prompt(facts) {
    if (!facts.prompt) return [make("h4", "Prompt"), make("p", `It is not here: ${facts.how}.`, "faint")];
    const whole = make("div");
    for (const name of ["system", "text", "schema"]) {
      if (facts.prompt[name]) whole.append(make("h4", name === "text" ? "user" : name), make("pre", facts.prompt[name]));
    }
    const parts = [make("h4", "Prompt"), make("p", `${facts.how}.`, "faint")];
    if (!facts.changes) return [...parts, whole];
    const changes = make("pre", undefined, "diff");
    for (const line of facts.changes) changes.append(make("span", signs[line.change] + line.text, line.change));
    const choice = make("p", undefined, "row");
    const show = (one) => {
      whole.hidden = one !== whole;
      changes.hidden = one !== changes;
      for (const button of choice.children) button.setAttribute("aria-pressed", String(button.shows === one));
    };
    for (const [label, one] of [["Whole", whole], [`What differs from step ${facts.before.step}`, changes]]) {
      const button = make("button", label);
      button.type = "button";
      button.shows = one;
      button.addEventListener("click", () => show(one));
      choice.append(button);
    }
    show(changes);
    return [...parts, choice, changes, whole];
  }
}

customElements.define("billp-episode", Episode);
