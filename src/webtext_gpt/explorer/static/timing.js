// When asynchronous work runs.

/** Calls `f` once `milliseconds` have passed since the last call. */
export function debounce(f, milliseconds) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(f, milliseconds);
  };
}

/**
 * Runs `f` once at a time: calls during a run lead to one more run after it. So an old answer never
 * replaces a newer one, and typing does not queue requests. The promise ends with the last run,
 * whose failure alone counts.
 */
export function serial(f) {
  let running = null;
  let again = false;
  return () => {
    again = true;
    running ??= (async () => {
      try {
        while (again) {
          again = false;
          await f().catch((error) => {
            if (!again) throw error;
          });
        }
      } finally {
        running = null;
      }
    })();
    return running;
  };
}
