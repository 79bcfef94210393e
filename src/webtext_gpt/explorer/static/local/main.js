// The page that serve.py export= writes: the app with the model that the page holds.
import { start } from "../app.js";
import { LocalBackend } from "./backend.js";
import { readWeights } from "./weights.js";

const contents = (id) => document.getElementById(id).textContent;
const { described, rules, shapes } = JSON.parse(contents("page-model"));
start(new LocalBackend(described, rules, readWeights(shapes, contents("page-weights"))));
