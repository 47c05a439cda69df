// A click on a visit opens it as it went in both runs.

class Compare extends HTMLElement {
  connectedCallback() {
    this.addEventListener("drawn", (event) => this.listen(event.detail), true);
  }

  listen(view) {
    view.addEventListener("click", (_, item) => {
      const episode = item?.datum?.k;
      if (Number.isInteger(episode)) location.assign(this.getAttribute("to") + episode);
    });
  }
}

customElements.define("billp-compare", Compare);
