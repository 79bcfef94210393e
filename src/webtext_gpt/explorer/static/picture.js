// Drawings to keep, as SVG and PNG.
import { element } from "./dom.js";

/** Properties that our style sheet sets on parts of drawings. */
const KEPT = [
  "fill",
  "fill-opacity",
  "stroke",
  "stroke-width",
  "stroke-opacity",
  "stroke-dasharray",
  "opacity",
  "font-family",
  "font-size",
  "font-weight",
  "font-style",
  "text-anchor",
  "text-decoration-line",
  "dominant-baseline",
  "visibility",
  "display",
];
const PIXELS = 2;
const MARGIN = 16;

/**
 * Adds the buttons "SVG" and "PNG" to a container. `svg` is a drawing in the page, or a function
 * that draws one when it is asked for; `name` is the file's name without its ending.
 */
export function savePictures(container, svg, name) {
  const save = (kind, make) =>
    element("button", {
      type: "button",
      class: "save",
      text: kind,
      "aria-label": `${kind}: save this picture`,
      onclick: async () => download(await make(picture(svg)), `${name}.${kind.toLowerCase()}`),
    });
  container.append(
    element(
      "div",
      { class: "saves" },
      element("span", { class: "muted", text: "Save the picture:" }),
      save("SVG", svgBlob),
      save("PNG", pngBlob),
    ),
  );
}

/** A copy of the drawing that looks the same outside this page. */
function picture(svg) {
  const drawn = typeof svg === "function" ? svg() : svg;
  const isOurs = !drawn.isConnected;
  const stage = element("div", { class: "stage", "aria-hidden": "true" });
  if (isOurs) {
    document.body.append(stage);
    stage.append(drawn);
  }
  const copy = copied(drawn);
  stage.remove();
  return copy;
}

function copied(drawn) {
  const copy = drawn.cloneNode(true);
  const originals = [drawn, ...drawn.querySelectorAll("*")];
  const copies = [copy, ...copy.querySelectorAll("*")];
  originals.forEach((original, index) => {
    const computed = getComputedStyle(original);
    copies[index].removeAttribute("style");
    copies[index].removeAttribute("class");
    for (const property of KEPT) {
      const value = computed.getPropertyValue(property);
      const attribute = property === "text-decoration-line" ? "text-decoration" : property;
      if (value !== "") copies[index].setAttribute(attribute, value);
    }
  });
  const [full, tall] = ["width", "height"].map(
    (name) => Number(drawn.getAttribute(name)) + 2 * MARGIN,
  );
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  copy.setAttribute("width", full);
  copy.setAttribute("height", tall);
  copy.setAttribute("viewBox", `${-MARGIN} ${-MARGIN} ${full} ${tall}`);
  const background = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  const attributes = {
    x: -MARGIN,
    y: -MARGIN,
    width: full,
    height: tall,
    fill: getComputedStyle(document.body).backgroundColor,
  };
  for (const [name, value] of Object.entries(attributes)) background.setAttribute(name, value);
  copy.prepend(background);
  return copy;
}

function svgBlob(copy) {
  return new Blob([new XMLSerializer().serializeToString(copy)], { type: "image/svg+xml" });
}

async function pngBlob(copy) {
  const url = URL.createObjectURL(svgBlob(copy));
  try {
    const image = new Image();
    image.src = url;
    await image.decode();
    const canvas = element("canvas");
    canvas.width = PIXELS * Number(copy.getAttribute("width"));
    canvas.height = PIXELS * Number(copy.getAttribute("height"));
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    return await new Promise((done) => canvas.toBlob(done, "image/png"));
  } finally {
    URL.revokeObjectURL(url);
  }
}

function download(blob, name) {
  const url = URL.createObjectURL(blob);
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
