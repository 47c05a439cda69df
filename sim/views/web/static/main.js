// What makes pages live: each element's module is fetched where the element is, and nowhere else.

const modules = {
  "billp-chart": "chart.js",
  "billp-compare": "compare.js",
  "billp-copy": "copy.js",
  "billp-episode": "episode.js",
  "billp-episodes": "episodes.js",
  "billp-filter": "filter.js",
  "billp-live": "live.js",
  "billp-runs": "runs.js",
  "billp-map": "map.js",
};

const here = new URL(".", import.meta.url);

for (const [element, module] of Object.entries(modules)) {
  if (document.querySelector(element)) import(new URL(module, here));
}
