// The views in the order of their tabs. Each says what it needs of a backend.
import { NEXT_VIEW } from "./views/next.js";
import { TOKENS_VIEW } from "./views/tokens.js";

export const VIEWS = [NEXT_VIEW, TOKENS_VIEW];
