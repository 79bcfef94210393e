// The page that serve.py serves: the app with a backend that asks the server.
import { start } from "./app.js";
import { HttpBackend } from "./backend.js";

start(new HttpBackend());
