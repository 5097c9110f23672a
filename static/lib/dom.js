// Views describe elements with `h`; `render` updates the page to match and touches only what differs.
// User text becomes text nodes and attributes, never markup. Control characters and marks that change
// the text direction are escaped, so that no text can pass for another.

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set([
  "svg",
  "g",
  "path",
  "rect",
  "line",
  "circle",
  "polyline",
  "text",
  "title",
]);
const LIVE = new Set(["value", "checked", "indeterminate", "selected", "open"]);

/**
 * Describes an element. `props`: attributes; `on…` handlers; `key` for items of lists; `style` as an
 * object; `mounted` is called with a new element once it is on the page. Children that are null or
 * false leave a gap, so that those behind them keep their elements (and the focus in them).
 */
export function h(tag, props, ...children) {
  return { tag, key: props?.key, props: props ?? {}, children: flat(children) };
}

/** Updates the children of `root` to match the descriptions. */
export function render(root, ...children) {
  const mounted = [];
  patchChildren(root, flat(children), mounted);
  for (const [call, node] of mounted) call(node);
}

function flat(children) {
  return children.flat(Infinity).map((child) => {
    if (child === null || child === undefined || child === false) return { text: "" };
    return typeof child === "object" ? child : { text: escaped(String(child)) };
  });
}

const INVISIBLE = /(?![\t\n])[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu; // controls, turns of direction

const escaped = (text) =>
  text.replace(INVISIBLE, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);

function patchChildren(parent, items, mounted) {
  const keys = new Set(items.map((item) => item.key).filter((key) => key !== undefined));
  const known = new Map();
  for (const node of [...parent.childNodes]) {
    if (node.key_ === undefined) continue;
    if (keys.has(node.key_)) known.set(node.key_, node);
    else node.remove(); // first, so that the others need not move: moving loses the focus
  }
  let at = parent.firstChild;
  let spare = count([...parent.childNodes], "key_") - count(items, "key"); // nodes without a key that are too many
  for (const item of items) {
    let node = known.get(item.key);
    if (item.key === undefined) {
      const isLoose = () => at && at.key_ === undefined;
      for (; spare > 0 && isLoose() && !fits(at, item); spare--) at = dropped(at);
      if (isLoose() && fits(at, item)) node = at;
      else if (isLoose() && spare === 0)
        at = dropped(at); // this place has another element now
      else spare++;
    }
    if (!node || !fits(node, item)) node = create(item);
    if (node === at) at = at.nextSibling;
    else parent.insertBefore(node, at);
    patch(node, item, mounted);
  }
  while (at) at = dropped(at);
}

const count = (items, key) => items.filter((item) => item[key] === undefined).length;

function dropped(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

function fits(node, item) {
  return item.tag === undefined ? node.nodeType === 3 : node.tag_ === item.tag;
}

function create(item) {
  if (item.tag === undefined) return document.createTextNode("");
  const node = SVG_TAGS.has(item.tag)
    ? document.createElementNS(SVG, item.tag)
    : document.createElement(item.tag);
  node.tag_ = item.tag;
  node.key_ = item.key;
  return node;
}

function patch(node, item, mounted) {
  if (item.tag === undefined) {
    if (node.data !== item.text) node.data = item.text;
    return;
  }
  const before = node.props_;
  if (before === item.props) return; // the very same description
  if (!before && item.props.mounted) mounted.push([item.props.mounted, node]);
  for (const name in before) if (!(name in item.props)) set(node, name, null, before[name]);
  for (const name in item.props) {
    if (!LIVE.has(name)) set(node, name, item.props[name], before?.[name]);
  }
  patchChildren(node, item.children, mounted);
  for (const name in item.props) {
    if (LIVE.has(name) && node[name] !== item.props[name]) node[name] = item.props[name];
  }
  node.props_ = item.props;
}

function set(node, name, value, before) {
  if (name === "key" || name === "mounted" || (value === before && name !== "style")) return;
  if (name.startsWith("on")) node[name] = value ?? null;
  else if (name === "style") setStyle(node, value ?? {}, before ?? {});
  else if (LIVE.has(name)) node[name] = value ?? (name === "value" ? "" : false);
  else if (name.startsWith("aria-") && value !== null && value !== undefined) {
    node.setAttribute(name, escaped(String(value)));
  } else if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else if (name === "title") node.setAttribute(name, escaped(String(value)));
  else node.setAttribute(name, value === true ? "" : value);
}

function setStyle(node, style, before) {
  for (const name in before) if (!(name in style)) node.style.removeProperty(name);
  for (const name in style)
    if (style[name] !== before[name]) node.style.setProperty(name, style[name]);
}
