// The views in the order of their tabs. Each says what it needs of a backend.
import { ATTENTION_VIEW } from "./views/attention.js";
import { CLASSIFIER_VIEW } from "./views/classifier.js";
import { INSIDE_VIEW } from "./views/inside.js";
import { LEARNING_VIEW } from "./views/learning.js";
import { NEXT_VIEW } from "./views/next.js";
import { ROLL_VIEW } from "./views/piano_roll.js";
import { TOKENS_VIEW } from "./views/tokens.js";
import { TRANSLATION_LEARNING_VIEW } from "./views/translation_learning.js";
import { TRANSLATION_VIEW } from "./views/translation.js";

export const VIEWS = [
  CLASSIFIER_VIEW,
  TRANSLATION_VIEW,
  ROLL_VIEW,
  NEXT_VIEW,
  TOKENS_VIEW,
  ATTENTION_VIEW,
  INSIDE_VIEW,
  LEARNING_VIEW,
  TRANSLATION_LEARNING_VIEW,
];
