// The shell around the views: text and checkpoint, tabs, errors, the introduction.
import { followCheckpoints } from "./checkpoint_list.js";
import { element } from "./dom.js";
import { roving } from "./dom.js";
import { introduce } from "./introduction.js";
import { Session } from "./session.js";
import { followTheme } from "./theme.js";
import { debounce } from "./timing.js";
import { serial } from "./timing.js";
import { VIEWS } from "./views.js";

const find = (id) => document.getElementById(id);

/** Fills the page with the views that the backend's model has, and keeps them up to date. */
export async function start(backend) {
  followTheme(find("theme"));
  try {
    const model = await backend.model();
    const session = new Session(model);
    const context = { backend, model, session };
    introduce(model);
    followText(session);
    followCheckpoints(find("checkpoints"), find("checkpoint"), context);
    const views = VIEWS.filter((view) => view.needs.every((need) => model.views.includes(need))
      && (view.isFor?.(model) ?? true));
    showViews(views, context);
  } catch (error) {
    report(error);
  }
}

/** Keeps the text field equal to the session, in both directions. */
function followText(session) {
  const text = find("text");
  const show = () => {
    if (text.value !== session.text) text.value = session.text;
  };
  const take = () => session.set({ text: text.value });
  text.addEventListener("input", debounce(take, 200));
  text.addEventListener("change", take);
  session.subscribe(show);
  show();
}

/** Makes a tab and a panel for each view, which is mounted and updated once it is opened. */
function showViews(views, context) {
  const shown = views.map((view) => tab(view, context));
  const buttons = shown.map(({ button }) => button);
  const open = (chosen) => {
    for (const each of shown) {
      each.button.setAttribute("aria-selected", each === chosen);
      each.panel.hidden = each !== chosen;
    }
    stop(chosen.button);
    history.replaceState(null, "", `#${chosen.view.id}`);
    update(chosen);
  };
  const stop = roving(find("tabs"), () => buttons);
  shown.forEach((each) => each.button.addEventListener("click", () => open(each)));
  find("tabs").append(...buttons);
  find("panels").append(...shown.map(({ panel }) => panel));
  context.session.subscribe((changed) => {
    if (!changed.has("text") && !changed.has("checkpoint")) return;
    shown.forEach((each) => (each.isStale = true));
    shown.filter(({ panel }) => !panel.hidden).forEach(update);
  });
  const named = shown.find(({ view }) => location.hash === `#${view.id}`);
  if (shown.length > 0) open(named ?? shown[0]);
}

function tab(view, context) {
  const panel = element("div", {
    id: `panel-${view.id}`, class: "panel", role: "tabpanel", "aria-labelledby": `tab-${view.id}`,
    hidden: true,
  });
  const button = element("button", {
    id: `tab-${view.id}`, type: "button", role: "tab", "aria-controls": panel.id, text: view.title,
    "aria-selected": "false",
  });
  let mounted;
  const refresh = serial(async () => {
    mounted ??= view.mount(panel, context);
    await mounted.update();
  });
  return { view, button, panel, refresh, isStale: true };
}

async function update(shown) {
  if (!shown.isStale) return;
  shown.isStale = false;
  shown.panel.setAttribute("aria-busy", "true");
  try {
    await shown.refresh();
    find("error").hidden = true;
  } catch (error) {
    shown.isStale = true;
    report(error);
  }
  shown.panel.setAttribute("aria-busy", "false");
}

/** Shows an error's sentence above the views. */
export function report(error) {
  find("error").textContent = error.message;
  find("error").hidden = false;
}
