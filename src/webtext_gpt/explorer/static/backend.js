// Asks the server; numbers in bulk come as little-endian float32.

/** The model behind the server that served this page. Failures are errors with a sentence. */
export class HttpBackend {
  /** Of a checkpoint's model; the default one's without arguments. */
  model(args = {}) {
    return json(get(`model${query(args)}`));
  }
  curve() {
    return json(get("curve"));
  }
  next(args) {
    return json(post("next", args));
  }
  tree(args) {
    return json(post("tree", args));
  }
  tokens(args) {
    return json(post("tokens", args));
  }
  head(args) {
    return json(post("head", args));
  }
  lens(args) {
    return json(post("lens", args));
  }
  units(args) {
    return json(post("units", args));
  }
  neighbours(args) {
    return json(post("neighbours", args));
  }
  classify(args) {
    return json(post("classify", args));
  }
  attributions(args) {
    return json(post("attributions", args));
  }
  translate(args) {
    return json(post("translate", args));
  }

  piece(args) {
    return json(post("piece", args));
  }
  compose(args) {
    return json(post("compose", args));
  }
  midi(args) {
    return json(post("midi", args));
  }

  /** The weights of every target token on every source token, row after row. */
  alignment(args) {
    return floats(post("alignment", args));
  }

  /** `{size: T, weights}`: rows of the lower triangle, one after another. */
  async attention(args) {
    const weights = await floats(post("attention", args));
    return { size: (Math.sqrt(8 * weights.length + 1) - 1) / 2, weights };
  }

  /** The position's row of every head: (n_layer, n_head, position + 1), flat. */
  heads(args) {
    return floats(post("heads", args));
  }

  /** `{rows, columns, kind, values}`: the position vectors, row after row. */
  async positions(args) {
    const response = await get(`positions${query(args)}`);
    const header = (name) => response.headers.get(name);
    return {
      rows: Number(header("X-Rows")),
      columns: Number(header("X-Columns")),
      kind: header("X-Kind"),
      values: await floats(response),
    };
  }
}

function query({ checkpoint }) {
  return checkpoint === undefined ? "" : `?checkpoint=${encodeURIComponent(checkpoint)}`;
}

function get(path) {
  return ask(path, {});
}

function post(path, args) {
  const headers = { "Content-Type": "application/json" };
  return ask(path, { method: "POST", headers, body: JSON.stringify(args) });
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(`api/${path}`, options);
  } catch {
    throw new Error("The server does not answer. Start serve.py again, then reload this page.");
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  throw new Error(body.error ?? `The server answered ${response.status} to ${path}.`);
}

async function json(response) {
  return (await response).json();
}

async function floats(response) {
  return new Float32Array(await (await response).arrayBuffer());
}
