// What the views share: the text, the checkpoint and the chosen token.

/** Values with subscribers, who are told the names of those that changed. */
export class Session {
  #subscribers = new Set();

  constructor(text, checkpoint) {
    this.text = text;
    this.checkpoint = checkpoint;
    /** Index of the chosen token among those the model reads; null: the last. */
    this.position = null;
  }

  /** Changes `text`, `checkpoint` or `position`; a new text forgets the chosen position. */
  set(changes) {
    const values =
      "text" in changes && changes.text !== this.text ? { position: null, ...changes } : changes;
    const changed = Object.keys(values).filter((name) => this[name] !== values[name]);
    if (changed.length === 0) return;
    Object.assign(this, values);
    for (const tell of this.#subscribers) tell(new Set(changed));
  }

  /** Calls `tell` with the set of changed names after each change; returns how to stop it. */
  subscribe(tell) {
    this.#subscribers.add(tell);
    return () => this.#subscribers.delete(tell);
  }
}
