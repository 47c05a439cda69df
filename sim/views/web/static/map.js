// A map of records: drag to move, the wheel to come nearer, a click to choose. What it shows can be
// read in the list beside it.

const NEAR = 14; // pixels within which a point is meant

class MemoryMap extends HTMLElement {
  async connectedCallback() {
    this.canvas = this.querySelector("canvas");
    this.said = this.querySelector("[role=status]");
    this.select = this.querySelector("select");
    const response = await fetch(this.getAttribute("src"));
    if (!response.ok) {
      this.said.textContent = "The map cannot be drawn.";
      return;
    }
    this.map = (await response.json()).map;
    this.known = this.map.advantages.some((value) => value !== null);
    if (!this.known) this.select.value = "episode";
    this.select.options[0].disabled = !this.known;
    this.at = Number(this.getAttribute("at") ?? -1);
    this.near = new Set((this.getAttribute("near") ?? "").split(",").filter(Boolean).map(Number));
    this.reset();
    this.select.addEventListener("change", () => this.draw());
    this.querySelector("[data-do=reset]").addEventListener("click", () => this.reset());
    this.listen();
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    const { drawn, records, variance } = this.map;
    const some = drawn < records ? `${drawn.toLocaleString("en")} of ${records.toLocaleString("en")} records` : `${records.toLocaleString("en")} records`;
    this.told = `${some}; the axes show ${Math.round(100 * (variance[0] + variance[1]))} % of how they differ.`;
    this.said.textContent = this.told;
    this.dataset.drawn = "yes";
  }

  reset() {
    this.scale = 1;
    this.left = this.top = 0;
    this.draw();
  }

  listen() {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.from = { x: event.offsetX, y: event.offsetY, left: this.left, top: this.top, moved: false };
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.from) {
        this.hover(event);
        return;
      }
      const [dx, dy] = [event.offsetX - this.from.x, event.offsetY - this.from.y];
      this.from.moved ||= Math.hypot(dx, dy) > 4;
      this.left = this.from.left + dx;
      this.top = this.from.top + dy;
      this.draw();
    });
    canvas.addEventListener("pointerup", (event) => {
      const { moved } = this.from ?? { moved: true };
      this.from = null;
      const found = moved ? -1 : this.find(event);
      if (found >= 0) location.href = `${this.getAttribute("page")}&at=${this.map.positions[found]}`;
    });
    canvas.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        const factor = Math.exp(-event.deltaY / 400);
        const scale = Math.min(200, Math.max(1, this.scale * factor));
        const ratio = scale / this.scale;
        this.left = event.offsetX - (event.offsetX - this.left) * ratio;
        this.top = event.offsetY - (event.offsetY - this.top) * ratio;
        this.scale = scale;
        this.draw();
      },
      { passive: false },
    );
  }

  place(n) {
    const size = this.canvas.clientWidth;
    const margin = 12;
    const unit = ((size - 2 * margin) / 10000) * this.scale;
    return [this.left + margin * this.scale + this.map.x[n] * unit, this.top + margin * this.scale + (10000 - this.map.y[n]) * unit];
  }

  find(event) {
    let best = -1;
    let nearest = NEAR;
    for (let n = 0; n < this.map.drawn; n += 1) {
      const [x, y] = this.place(n);
      const distance = Math.hypot(x - event.offsetX, y - event.offsetY);
      if (distance < nearest) [best, nearest] = [n, distance];
    }
    return best;
  }

  hover(event) {
    const n = this.find(event);
    if (n < 0) {
      this.said.textContent = this.told;
      return;
    }
    const { positions, episodes, advantages } = this.map;
    const worth = advantages[n] === null ? "" : `, advantage ${advantages[n].toFixed(2)}`;
    this.said.textContent = `Record ${positions[n]}, written by episode ${episodes[n]}${worth}`;
  }

  colour(name) {
    this.probe ??= this.appendChild(document.createElement("span"));
    this.probe.style.color = `var(${name})`;
    return getComputedStyle(this.probe).color;
  }

  draw() {
    const { canvas, map } = this;
    const ratio = window.devicePixelRatio || 1;
    const size = canvas.clientWidth;
    if (!size || !map) return;
    canvas.width = canvas.height = size * ratio;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const palette = ["--good", "--bad", "--faint", "--ink", "--accent", "--c0"].map((name) => this.colour(name));
    const [good, bad, faint, ink, accent] = palette;
    const latest = Math.max(1, ...map.episodes.slice(-1), map.episodes[0]);
    const byEpisode = this.select.value === "episode";
    const radius = map.drawn > 5000 ? 1.5 : 2.5;
    for (let n = 0; n < map.drawn; n += 1) {
      const [x, y] = this.place(n);
      if (x < -5 || y < -5 || x > size + 5 || y > size + 5) continue;
      const worth = map.advantages[n];
      pen.globalAlpha = 0.65;
      if (byEpisode) {
        pen.fillStyle = accent;
        pen.globalAlpha = 0.15 + (0.85 * map.episodes[n]) / latest;
      } else if (worth === null) pen.fillStyle = faint;
      else pen.fillStyle = worth >= 0 ? good : bad;
      pen.beginPath();
      pen.arc(x, y, radius, 0, 7);
      pen.fill();
    }
    pen.globalAlpha = 1;
    pen.strokeStyle = ink;
    for (let n = 0; n < map.drawn; n += 1) {
      const position = map.positions[n];
      if (position !== this.at && !this.near.has(position)) continue;
      const [x, y] = this.place(n);
      pen.lineWidth = position === this.at ? 2.5 : 1;
      pen.beginPath();
      pen.arc(x, y, position === this.at ? 7 : 5, 0, 7);
      pen.stroke();
    }
  }
}

customElements.define("billp-map", MemoryMap);
