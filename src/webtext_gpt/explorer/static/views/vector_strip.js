// A small vector as a strip of bars, up for positive and down for negative numbers.

const HEIGHT = 32;
const WIDTH = 200;

/**
 * Strips of one length that share the component under the pointer or the keyboard.
 * @param {(component: number) => void} onComponent called when another component is chosen
 * @returns {{add: (parent, name: string, values: number[]) => void, show: (component) => void,
 *   clear: () => void}}
 */
export function vectorStrips(onComponent) {
  let strips = [];

  function add(parent, name, values) {
    const box = d3.select(parent).append("div").attr("class", "vector");
    const svg = box
      .append("svg")
      .attr("class", "strip")
      .attr("width", WIDTH)
      .attr("height", HEIGHT)
      .attr("viewBox", [0, 0, WIDTH, HEIGHT])
      .attr("tabindex", 0)
      .attr("role", "slider")
      .attr("aria-label", name)
      .attr("aria-valuemin", 1)
      .attr("aria-valuemax", values.length);
    const step = WIDTH / values.length;
    const largest = d3.max(values, Math.abs) || 1;
    svg
      .append("rect")
      .attr("class", "mark")
      .attr("width", Math.max(step, 2))
      .attr("height", HEIGHT);
    svg.append("path").attr("d", bars(values, step, largest));
    svg
      .append("line")
      .attr("x2", WIDTH)
      .attr("y1", HEIGHT / 2)
      .attr("y2", HEIGHT / 2);
    svg.on("pointermove click", (event) => {
      const component = Math.floor(d3.pointer(event, svg.node())[0] / step);
      onComponent(Math.max(0, Math.min(values.length - 1, component)));
    });
    svg.on("keydown", (event) => {
      const now = Number(svg.attr("aria-valuenow")) - 1;
      const moves = {
        ArrowLeft: now - 1,
        ArrowDown: now - 1,
        ArrowRight: now + 1,
        ArrowUp: now + 1,
        Home: 0,
        End: values.length - 1,
      };
      if (!(event.key in moves)) return;
      event.preventDefault();
      onComponent(Math.max(0, Math.min(values.length - 1, moves[event.key])));
    });
    strips.push({ svg, values, step, number: box.append("span").attr("class", "number") });
  }

  function show(component) {
    for (const { svg, values, step, number } of strips) {
      const said = d3.format(".3f")(values[component]);
      svg.select(".mark").attr("x", component * step);
      svg
        .attr("aria-valuenow", component + 1)
        .attr("aria-valuetext", `component ${component + 1}: ${said}`);
      number.text(said);
    }
  }

  return {
    add,
    show,
    clear: () => {
      strips = [];
    },
  };
}

function bars(values, step, largest) {
  const round = d3.format(".2f");
  const plain = (value) => round(value).replace("−", "-");
  return values
    .map((value, i) => {
      const high = (-value / largest) * (HEIGHT / 2 - 1);
      return `M${plain(i * step)},${HEIGHT / 2}v${plain(high)}h${plain(step * 0.85)}v${plain(-high)}z`;
    })
    .join("");
}
