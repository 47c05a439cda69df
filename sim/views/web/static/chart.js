// A Vega-Lite chart. Its specification stands in the element; expressions are interpreted, because
// the policy of the pages forbids to make code of text.

const script = new URL("vega.js", import.meta.url);
let vega; // fetched once, and only where there is a chart

export function vegaEmbed() {
  vega ??= new Promise((resolve, reject) => {
    const element = document.createElement("script");
    element.src = script;
    element.addEventListener("load", () => resolve(window.vegaEmbed));
    element.addEventListener("error", () => reject(new Error("vega.js cannot be loaded")));
    document.head.append(element);
  });
  return vega;
}

const dark = matchMedia("(prefers-color-scheme: dark)");

function config() {
  const style = getComputedStyle(document.documentElement);
  const probe = document.createElement("span");
  document.body.append(probe);
  const colour = (name) => {
    probe.style.color = `var(${name})`; // light-dark() is resolved by whoever uses it
    return getComputedStyle(probe).color;
  };
  const ink = colour("--faint");
  const line = colour("--line");
  const category = [0, 1, 2, 3, 4, 5, 6, 7].map((n) => colour(`--c${n}`));
  probe.remove();
  return {
    background: "transparent",
    mark: { color: category[0] },
    font: style.fontFamily,
    view: { stroke: "transparent" },
    axis: { labelColor: ink, titleColor: ink, gridColor: line, domainColor: line, tickColor: line, titleFontWeight: "normal" },
    legend: { labelColor: ink, titleColor: ink, titleFontWeight: "normal" },
    header: { labelColor: ink, titleColor: ink },
    title: { color: ink },
    text: { color: ink },
    range: { category },
  };
}

// Reasons have the colours that they have in bars: see `reason` in templating.py.
const reasons = { limit: 5, similar: 0, bored: 1, reward: 1, left: 2, failed: 6 };

function place(reason) {
  const bytes = new TextEncoder().encode(reason);
  return reasons[reason] ?? bytes.reduce((sum, byte) => sum + byte, 0) % 5;
}

export class Chart extends HTMLElement {
  // A chart with a name is drawn once its rows have come; others that come later are put into it.
  set rows(rows) {
    this.spec ??= JSON.parse(this.querySelector("script").textContent);
    this.spec.datasets = { rows };
    const names = [...new Set(rows.map((row) => row.what))].sort();
    const anew = this.isOfReasons && this.names?.join() !== names.join();
    this.names = names;
    if (this.drawn && !anew) this.drawn.view.data("rows", rows).runAsync();
    else this.draw();
  }

  get isOfReasons() {
    return this.getAttribute("name") === "reasons";
  }

  async connectedCallback() {
    this.spec ??= JSON.parse(this.querySelector("script").textContent);
    this.holder = document.createElement("div");
    this.append(this.holder);
    this.redraw = () => this.draw();
    dark.addEventListener("change", this.redraw);
    if (!this.hasAttribute("name")) await this.draw();
  }

  disconnectedCallback() {
    dark.removeEventListener("change", this.redraw);
    this.drawn?.finalize();
  }

  // One drawing after the other: each takes the place of what was there.
  draw() {
    this.last = (this.last ?? Promise.resolve()).then(() => this.drawNow());
    return this.last;
  }

  async drawNow() {
    const embed = await vegaEmbed();
    const look = config();
    if (this.isOfReasons) {
      const range = (this.names ?? []).map((name) => look.range.category[place(name)]);
      this.spec.encoding.color.scale = { domain: this.names ?? [], range };
    }
    this.drawn?.finalize();
    this.drawn = await embed(this.holder, this.spec, {
      ast: true,
      actions: false,
      defaultStyle: false,
      renderer: "canvas",
      config: look,
      logLevel: 1, // of an empty chart Vega would warn
      tooltip: { disableDefaultStyle: true },
    });
    this.dataset.drawn = "yes";
    this.dispatchEvent(new CustomEvent("drawn", { detail: this.drawn.view }));
  }
}

customElements.define("billp-chart", Chart);
