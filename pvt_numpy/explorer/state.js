/* The state: all that the reader can choose. Everything is drawn from it, and the address after the # is written from it. */
"use strict";

const state = {
  picture: 0, // which one, counted from 1; 0 before the first is shown
  stage: null, // one of page.stages
  block: null, // one of stage.blocks
  head: MEAN,
  place: { x: 0.5, y: 0.5, classToken: false }, // the query, kept when the stage changes
  pin: null, // a place, or null
  reverse: false,
  key: null, // the key in "one score"; null: the one read most
};
