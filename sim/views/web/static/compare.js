// A click on a visit opens it as it went in both runs.

class Compare extends HTMLElement {
  connectedCallback() {
    const chart = this.querySelector("billp-chart");
    chart.addEventListener("drawn", (event) => this.listen(event.detail));
    if (chart.drawn) this.listen(chart.drawn.view); // it may have been quicker than this module
  }

  listen(view) {
    view.addEventListener("click", (_, item) => {
      const episode = item?.datum?.k;
      if (Number.isInteger(episode)) location.assign(this.getAttribute("to") + episode);
    });
  }
}

customElements.define("billp-compare", Compare);
