// What the views share: the text, the checkpoints and the chosen token.

/** Values with subscribers, who are told the names of those that changed. */
export class Session {
  #subscribers = new Set();

  /** Begins with a model's example and its default checkpoint. */
  constructor(model) {
    this.text = model.example;
    /** Second text of a pair, for classifiers that read pairs. */
    this.second = "";
    this.checkpoint = model.default;
    /** What the run has kept: `{id, label, step}` each. */
    this.checkpoints = model.checkpoints;
    /** What stands between two tokens of a text: nothing, or a space if tokens are words. */
    this.separator = model.kind === "music_model" ? " " : "";
    /** Index of the chosen token among those the model reads; null: the last. */
    this.position = null;
  }

  /** Changes `text`, `checkpoint`, `checkpoints` or `position`; a new text forgets the chosen position. */
  set(changes) {
    const values =
      "text" in changes && changes.text !== this.text ? { position: null, ...changes } : changes;
    const changed = Object.keys(values).filter((name) => this[name] !== values[name]);
    if (changed.length === 0) return;
    Object.assign(this, values);
    for (const tell of this.#subscribers) tell(new Set(changed));
  }

  /** Takes the checkpoints that a model has now; where the shown one has gone, the default one. */
  offer(model) {
    const isThere = model.checkpoints.some(({ id }) => id === this.checkpoint);
    const checkpoint = isThere ? this.checkpoint : model.default;
    this.set({ checkpoints: model.checkpoints, checkpoint });
  }

  /** Calls `tell` with the set of changed names after each change; returns how to stop it. */
  subscribe(tell) {
    this.#subscribers.add(tell);
    return () => this.#subscribers.delete(tell);
  }
}
