// The page of a run that goes on: numbers and charts as the server sends them, and the controls.

const phrase = {
  running: "under way",
  paused: "paused",
  finished: "has come to its end",
  stopped: "was stopped",
};

class LiveRun extends HTMLElement {
  async connectedCallback() {
    this.charts = Object.fromEntries(
      [...this.querySelectorAll("billp-chart[name]")].map((chart) => [chart.getAttribute("name"), chart]),
    );
    for (const button of this.querySelectorAll("[data-do]")) {
      button.addEventListener("click", () => this.control(button.dataset.do));
    }
    this.querySelector(".controls form")?.addEventListener("submit", (event) => this.change(event));
    if (this.charts.rewards) {
      await customElements.whenDefined("billp-chart");
      await this.trend();
    }
    if (this.getAttribute("src")) this.listen();
  }

  disconnectedCallback() {
    this.source?.close();
  }

  async trend() {
    const response = await fetch(this.getAttribute("trend"));
    if (response.ok) this.draw((await response.json()).rows);
  }

  draw(rows) {
    for (const [name, chart] of Object.entries(this.charts)) {
      chart.rows = rows[name];
      chart.closest("figure").hidden = rows[name].length === 0;
    }
  }

  listen() {
    this.source = new EventSource(this.getAttribute("src")); // comes back by itself
    this.source.addEventListener("tick", (event) => this.tick(JSON.parse(event.data)));
    this.source.addEventListener("trend", (event) => {
      this.draw(JSON.parse(event.data));
      document.querySelector("billp-episodes")?.refresh?.(); // there are episodes that were not
    });
    this.source.addEventListener("end", (event) => this.end(JSON.parse(event.data)));
    this.source.addEventListener("error", () => this.say("The server does not answer; trying again."));
    this.source.addEventListener("open", () => this.say(""));
  }

  say(text) {
    this.querySelector("#said").textContent = text;
  }

  tick(told) {
    this.set("standing", phrase[told.standing] ?? told.standing);
    for (const [name, value] of Object.entries(told.tiles)) this.set(name, value);
    this.pulse(told.pulse);
    this.lanes(told);
    for (const button of this.querySelectorAll("[data-do]")) {
      button.hidden = button.dataset.do === (told.standing === "paused" ? "pause" : "go-on");
    }
  }

  set(id, value) {
    const element = this.querySelector(`#${id}`);
    if (element && element.textContent !== value) element.textContent = value;
  }

  // Tiles are made once and then only filled: nothing moves.
  pulse(pairs) {
    const list = this.querySelector("#pulse");
    if (!list || !pairs) return;
    list.hidden = pairs.length === 0;
    pairs.forEach(([name, value], place) => {
      let tile = list.children[place];
      if (!tile) {
        tile = document.createElement("div");
        tile.className = "tile";
        tile.append(document.createElement("dt"), document.createElement("dd"));
        list.append(tile);
      }
      tile.firstChild.textContent = name;
      if (tile.lastChild.textContent !== value) tile.lastChild.textContent = value;
    });
    while (list.children.length > pairs.length) list.lastChild.remove();
  }

  lanes(told) {
    const section = this.querySelector("#lanes");
    if (!section || !told.lanes) return;
    section.hidden = told.lanes.length === 0 && !told.waits;
    this.set("waits", told.waits);
    const list = section.querySelector("ol");
    told.lanes.forEach((lane, place) => {
      const item = list.children[place] ?? list.appendChild(document.createElement("li"));
      const text = `${lane.episode} · user ${lane.user} · step ${lane.step} · ${lane.seconds.toFixed(0)} s`;
      if (item.textContent !== text) item.textContent = text;
      item.classList.toggle("late", lane.late);
    });
    while (list.children.length > told.lanes.length) list.lastChild.remove();
  }

  async end(told) {
    this.source.close();
    this.set("standing", phrase[told.standing] ?? told.standing);
    this.say(told.said);
    for (const control of this.querySelectorAll(".controls button, .controls input")) control.disabled = true;
    this.querySelector("#lanes")?.setAttribute("hidden", "");
    if (told.reload) setTimeout(() => location.reload(), 500);
  }

  // -- controls

  async control(what, body = {}) {
    const run = this.getAttribute("run").split("/").map(encodeURIComponent).join("/");
    const response = await fetch(`/control/${what}/${run}`, {
      method: "POST",
      headers: {
        "X-Billp-Control": document.querySelector("meta[name=billp-control]").content,
        "Content-Type": "application/json",
      },
      body: JSON.stringify(body),
    }).catch(() => null);
    this.say(response ? await response.text() : "The server does not answer.");
  }

  change(event) {
    event.preventDefault();
    const told = [...new FormData(event.target)].filter(([, value]) => value !== "");
    this.control("change", Object.fromEntries(told.map(([name, value]) => [name, Number(value)])));
  }
}

customElements.define("billp-live", LiveRun);
