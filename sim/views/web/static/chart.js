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

export class Chart extends HTMLElement {
  // Rows may come before the chart is drawn, and come again when it is drawn anew.
  set rows(rows) {
    this.spec ??= JSON.parse(this.querySelector("script").textContent);
    this.spec.datasets = { rows };
    this.drawn?.view.data("rows", rows).runAsync();
  }

  async connectedCallback() {
    this.spec ??= JSON.parse(this.querySelector("script").textContent);
    this.holder = document.createElement("div");
    this.append(this.holder);
    this.redraw = () => this.draw();
    dark.addEventListener("change", this.redraw);
    await this.draw();
  }

  disconnectedCallback() {
    dark.removeEventListener("change", this.redraw);
    this.drawn?.finalize();
  }

  async draw() {
    const embed = await vegaEmbed();
    this.drawn?.finalize();
    this.drawn = await embed(this.holder, this.spec, {
      ast: true,
      actions: false,
      defaultStyle: false,
      renderer: "canvas",
      config: config(),
      tooltip: { disableDefaultStyle: true },
    });
    this.dataset.drawn = "yes";
    this.dispatchEvent(new CustomEvent("drawn", { detail: this.drawn.view }));
  }
}

customElements.define("billp-chart", Chart);
