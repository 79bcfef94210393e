// The views in the order of their tabs. Each says what it needs of a backend.
import { CLASSIFIER_VIEW } from "./views/classifier.js";
import { LEARNING_VIEW } from "./views/learning.js";
import { NEXT_VIEW } from "./views/next.js";
import { TOKENS_VIEW } from "./views/tokens.js";

export const VIEWS = [CLASSIFIER_VIEW, NEXT_VIEW, TOKENS_VIEW, LEARNING_VIEW];
