// The views in the order of their tabs. Each says what it needs of a backend.
import { ATTENTION_VIEW } from "./views/attention.js";
import { INSIDE_VIEW } from "./views/inside.js";
import { NEXT_VIEW } from "./views/next.js";
import { TOKENS_VIEW } from "./views/tokens.js";

export const VIEWS = [NEXT_VIEW, TOKENS_VIEW, ATTENTION_VIEW, INSIDE_VIEW];
