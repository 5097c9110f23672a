// Icons: strokes on a grid of 16 by 16.

import { h } from "./dom.js";

const PATHS = {
  pending: "M8 2.5a5.5 5.5 0 1 1 0 11a5.5 5.5 0 0 1 0-11M8 5v3.2l2 1.3",
  running: "M5 3.2v9.6L12.5 8z",
  completed: "M3 8.5l3.3 3.3L13 4.7",
  failed: "M4 4l8 8M12 4l-8 8",
  cancelled: "M8 2.5a5.5 5.5 0 1 1 0 11a5.5 5.5 0 0 1 0-11M4.2 11.8l7.6-7.6",
  close: "M4 4l8 8M12 4l-8 8",
  retry: "M12.5 5.5A5.2 5.2 0 1 0 13.2 9M12.8 2.5v3.2H9.6",
  trash: "M3 4.5h10M6.5 4.5v-2h3v2M4.5 4.5l.6 9h5.8l.6-9M6.8 7v4M9.2 7v4",
  copy: "M5.5 5.5h7.5v8H5.5zM3 10.5v-8h7.5",
  edit: "M3 13l.6-3L10.8 2.8l2.4 2.4L6 12.4z",
  pause: "M5.5 3.5v9M10.5 3.5v9",
  expand: "M9.5 2.5h4v4M13.5 2.5l-5 5M6.5 13.5h-4v-4M2.5 13.5l5-5",
  plus: "M8 3v10M3 8h10",
  down: "M4 6l4 4 4-4",
  warn: "M8 2.2L14.5 13.5h-13zM8 6.5v3.2M8 11.6v.2",
  auto: "M8 2.5a5.5 5.5 0 1 1 0 11a5.5 5.5 0 0 1 0-11M8 2.5v11M8 5.5h4.8M8 8h5.5M8 10.5h4.8",
  light:
    "M8 5.2a2.8 2.8 0 1 1 0 5.6a2.8 2.8 0 0 1 0-5.6M8 1.2v1.6M8 13.2v1.6M1.2 8h1.6M13.2 8h1.6M3.2 3.2l1.1 1.1M11.7 11.7l1.1 1.1M3.2 12.8l1.1-1.1M11.7 4.3l1.1-1.1",
  dark: "M13.2 9.6A5.6 5.6 0 0 1 6.4 2.8a5.6 5.6 0 1 0 6.8 6.8z",
};

/** Decoration: text beside it or the button's label carries the meaning. */
export const icon = (name) =>
  h(
    "svg",
    { class: `icon icon-${name}`, viewBox: "0 0 16 16", "aria-hidden": "true" },
    h("path", { d: PATHS[name] }),
  );
