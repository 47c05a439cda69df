// Rows of a table that hold all the words that are typed; how many there are is said.

class Filter extends HTMLElement {
  connectedCallback() {
    this.input = this.querySelector("input[type=search]");
    this.said = this.querySelector("[role=status]");
    this.rows = [...document.querySelectorAll(`#${this.getAttribute("for")} tbody tr`)];
    this.texts = this.rows.map((row) => row.textContent.toLowerCase());
    this.input.addEventListener("input", () => this.apply());
    for (const select of this.querySelectorAll("select")) {
      select.addEventListener("change", () => this.apply());
    }
    this.apply();
  }

  apply() {
    const words = this.input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = [...this.querySelectorAll("select")].filter((select) => select.value);
    let count = 0;
    this.rows.forEach((row, place) => {
      const shown =
        words.every((word) => this.texts[place].includes(word)) &&
        chosen.every((select) => row.dataset[select.dataset.of] === select.value);
      row.hidden = !shown;
      count += shown;
    });
    if (this.said) this.said.textContent = `${count} of ${this.rows.length}`;
  }
}

customElements.define("billp-filter", Filter);
