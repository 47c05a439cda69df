// The table of runs: sorted by a column, and runs chosen to be compared.

const AGAIN = 5000; // milliseconds between two looks at runs that go on

class Runs extends HTMLElement {
  connectedCallback() {
    this.body = this.querySelector("tbody");
    this.button = this.querySelector(".compare");
    this.order = [...this.body.rows]; // as the server has them: forks below their parents
    this.body.addEventListener("change", () => this.choose());
    for (const head of this.querySelectorAll("th[data-sort]")) this.sortable(head);
    this.choose();
    if (this.hasAttribute("live")) {
      setInterval(() => {
        const busy = this.querySelector(":checked, input[type=search]:focus") || document.hidden;
        if (!busy) location.reload();
      }, AGAIN);
    }
  }

  choose() {
    const count = this.body.querySelectorAll(":checked").length;
    this.button.disabled = count < 2;
    this.button.textContent = count < 2 ? "Compare" : `Compare ${count}`;
  }

  sortable(head) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => this.sort(head));
  }

  // A first click ascends, a second descends, a third gives back the order of the server.
  sort(head) {
    const next = { ascending: "descending", descending: null }[head.getAttribute("aria-sort")];
    for (const other of this.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
    if (next === null) {
      this.body.append(...this.order);
      return;
    }
    const direction = next ?? "ascending";
    head.setAttribute("aria-sort", direction);
    const sign = direction === "ascending" ? 1 : -1;
    const number = head.dataset.sort === "number";
    const key = (row) => {
      const cell = row.cells[head.cellIndex];
      return number ? parseFloat(cell.dataset.value) : (cell.dataset.value ?? cell.textContent.trim());
    };
    const rows = this.order.map((row) => [key(row), row]);
    rows.sort(([one], [other]) => {
      if (number && (isNaN(one) || isNaN(other))) return isNaN(one) - isNaN(other); // unknown: last
      return sign * (number ? one - other : one.localeCompare(other));
    });
    this.body.append(...rows.map(([, row]) => row));
  }
}

customElements.define("billp-runs", Runs);
