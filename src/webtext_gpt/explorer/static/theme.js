// Light and dark: the system's choice until the reader makes one.
import { recall } from "./storage.js";
import { remember } from "./storage.js";

/** Sets `data-theme` on the page, follows the system, and lets `button` change it. */
export function followTheme(button) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const current = () => recall("theme") ?? (system.matches ? "dark" : "light");
  const show = () => {
    const other = current() === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = current();
    button.textContent = other === "dark" ? "Dark" : "Light";
    button.setAttribute("aria-label", `${button.textContent} theme`);
  };
  button.addEventListener("click", () => {
    remember("theme", current() === "dark" ? "light" : "dark");
    show();
  });
  system.addEventListener("change", show);
  show();
}
